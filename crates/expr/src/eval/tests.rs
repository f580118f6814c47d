//! What expressions give. The files in `facts/` hold one expression a line, `=>`, and its value:
//! `error` where it fails when it runs, `refused` where it does not load. Durations are written as
//! Go writes them, instants in RFC 3339. They were observed on the reference implementation. The
//! variables are:
//!
//! | name | type | value |
//! |---|---|---|
//! | `u` | map of any | see [`facts`] |
//! | `p` | map of text | `{"a": "x", "empty": "", "program": "sshd"}` |
//! | `l` | list of text | `["one", "two", "three"]` |
//! | `t`, `d` | time, duration | `2024-02-29T13:05:09.123456789+02:00`, `1h30m0s` |
//! | `n`, `f`, `s` | int, float, text | `5`, `2.5`, `"héllo"` |

use std::sync::Arc;

use proptest::prelude::*;
use testudo_event::{Timestamp, duration};

use crate::{
    error::EvalError,
    eval::{access, eval, operators},
    functions::convert,
    host::{Handle, Host, NoServices, Services, Slot},
    schema::Schema,
    value::{Map, Value},
};

const SCHEMA: &str = "
record Event
  Meta map[string]string
  Open map[string]any
  Next *Event
  Note(string) bool mutates
var u map[string]any
var p map[string]string
var l []string
var t time
var d duration
var n int
var f float
var s string
var evt *Event
var o any
func fetch(string) string mutates
";

const EVENT: Handle = Handle::of(1);
const META: Handle = Handle::of(2);
const OPEN: Handle = Handle::of(3);

/// A world that writes down what is called.
struct World {
    variables: Vec<Value>,
    notes: Vec<String>,
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(Arc::new(entries.iter().map(|(k, v)| (Arc::from(*k), v.clone())).collect::<Map>()))
}

fn world() -> World {
    let time =
        Timestamp::parse_rfc3339("2024-02-29T13:05:09.123456789+02:00").map_or(Value::Nil, Value::Time);
    let duration = Value::Duration(90 * 60 * 1_000_000_000);
    let untyped = map(&[
        ("s", "text".into()),
        ("n", 200.0.into()),
        ("big", 1_700_000_000.0.into()),
        ("list", Value::list(vec!["a".into(), 2.0.into(), Value::Nil, true.into()])),
        ("m", map(&[("k", "v".into()), ("z", 0.0.into())])),
        ("nil", Value::Nil),
        ("b", true.into()),
        ("e", Value::list(vec![])),
        ("i", 7.into()),
        ("t", time.clone()),
        ("d", duration.clone()),
    ]);
    let variables = vec![
        untyped,
        map(&[("a", "x".into()), ("empty", "".into()), ("program", "sshd".into())]),
        Value::strings(["one", "two", "three"]),
        time,
        duration,
        5.into(),
        2.5.into(),
        "h\u{e9}llo".into(),
        Value::Object(EVENT),
        Value::Object(OPEN),
    ];
    World { variables, notes: Vec::new() }
}

fn contents(object: Handle) -> Option<Vec<(Arc<str>, Value)>> {
    match object {
        META => Some(vec![("ip".into(), "192.0.2.7".into()), ("none".into(), "".into())]),
        OPEN => Some(vec![("code".into(), 404.0.into())]),
        _ => None,
    }
}

impl Host for World {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, index: u16) -> Result<Value, EvalError> {
        Ok(self.variables[usize::from(index)].clone())
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        match (object, name) {
            (EVENT, "Meta") => Ok(Value::Object(META)),
            (EVENT, "Open") => Ok(Value::Object(OPEN)),
            (EVENT, "Next") => Ok(Value::Nil),
            _ => Err(EvalError::Input("no such field")),
        }
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        let entries = self.entries(object)?;
        Ok(entries.into_iter().find(|(k, _)| &**k == key).map(|(_, v)| v))
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        contents(object).ok_or(EvalError::Input("not a map"))
    }

    fn method(&mut self, _: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        let note = arguments.first().and_then(Value::as_str).unwrap_or("?").to_owned();
        let answer = match name {
            "Note" => Value::Bool(note != "no"),
            _ => Value::str(format!("<{note}>")),
        };
        self.notes.push(note);
        Ok(answer)
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        Ok(())
    }

    fn services(&self) -> &dyn Services {
        &NoServices
    }
}

fn show(value: &Value) -> String {
    let all = |items: Vec<String>| items.join(", ");
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Float(_) => {
            let text = convert::scalar_text(value);
            if text.contains(['.', 'e', 'N', 'I']) { text } else { text + ".0" }
        }
        Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
        Value::Time(time) => time.to_rfc3339_nano(),
        Value::Duration(nanos) => duration::format(*nanos),
        Value::List(items) => format!("[{}]", all(items.iter().map(show).collect())),
        Value::Map(map) => {
            format!("{{{}}}", all(map.iter().map(|(k, v)| format!("{k:?}: {}", show(v))).collect()))
        }
        other => other.to_string(),
    }
}

fn run(source: &str, world: &mut World) -> Result<Value, EvalError> {
    let schema = Schema::parse(SCHEMA).expect("the schema reads");
    match crate::compile_text(source, &schema, None) {
        Ok((_, node)) => eval(&node, world),
        Err(refused) => panic!("{source}: {refused}"),
    }
}

fn facts(text: &str) {
    let schema = Schema::parse(SCHEMA).expect("the schema reads");
    let mut world = world();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (source, expected) = line.split_once("  =>  ").expect("a fact is an expression and its value");
        let got = match crate::compile_text(source, &schema, None) {
            Err(_) => "refused".to_owned(),
            Ok((_, node)) => eval(&node, &mut world).map_or("error".to_owned(), |value| show(&value)),
        };
        if got != expected {
            wrong.push(format!("{source}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn facts_of_access() {
    facts(include_str!("../../facts/access.txt"));
}

#[test]
fn facts_of_operators() {
    facts(include_str!("../../facts/operators.txt"));
}

#[test]
fn facts_of_loops() {
    facts(include_str!("../../facts/loops.txt"));
}

#[test]
fn facts_of_text() {
    facts(include_str!("../../facts/text.txt"));
}

#[test]
fn facts_of_numbers() {
    facts(include_str!("../../facts/numbers.txt"));
}

#[test]
fn facts_of_conversions() {
    facts(include_str!("../../facts/conversions.txt"));
}

#[test]
fn facts_of_json() {
    facts(include_str!("../../facts/json.txt"));
}

#[test]
fn facts_of_collections() {
    facts(include_str!("../../facts/collections.txt"));
}

#[test]
fn facts_of_time() {
    facts(include_str!("../../facts/time.txt"));
}

/// What the host answers, and what is called in which order.
#[test]
fn hosts() {
    let table: &[(&str, &str, &[&str])] = &[
        ("evt.Meta.ip", "\"192.0.2.7\"", &[]),
        ("evt.Meta.absent", "\"\"", &[]),
        ("evt.Meta['absent'] == ''", "true", &[]),
        ("evt.Meta.absent ?? 'd'", "\"\"", &[]),
        ("evt.Open.absent", "nil", &[]),
        ("evt.Open.absent ?? 'd'", "\"d\"", &[]),
        ("evt.Open.code == 404", "true", &[]),
        ("evt.Open.code in [200, 404]", "true", &[]),
        ("'ip' in evt.Meta", "true", &[]),
        ("'none' in evt.Meta", "true", &[]),
        ("'absent' in evt.Meta", "false", &[]),
        ("'Meta' in o", "false", &[]),
        ("o.code", "404.0", &[]),
        ("o.absent", "nil", &[]),
        ("len(evt.Meta)", "2", &[]),
        ("keys(evt.Meta)", "[\"ip\", \"none\"]", &[]),
        ("values(evt.Open)", "[404.0]", &[]),
        ("get(evt.Meta, 'absent')", "nil", &[]),
        ("string(evt.Open)", "\"map[code:404]\"", &[]),
        ("toJSON(o)", "\"{\\n  \\\"code\\\": 404\\n}\"", &[]),
        ("evt.Next", "nil", &[]),
        ("evt.Next == nil", "true", &[]),
        ("evt.Next?.Meta.ip", "nil", &[]),
        ("evt.Next?.Note('a')", "nil", &[]),
        ("evt.Next?.Next.Next.Note('a') ?? 'd'", "\"d\"", &[]),
        ("evt.Next.Meta", "cannot look into nil", &[]),
        ("evt.Next.Note('a')", "cannot look into nil", &[]),
        ("evt.Note('a')", "true", &["a"]),
        ("fetch('a')", "\"<a>\"", &["a"]),
        ("evt.Note('no') && evt.Note('b')", "false", &["no"]),
        ("evt.Note('a') && evt.Note('b')", "true", &["a", "b"]),
        ("evt.Note('a') || evt.Note('b')", "true", &["a"]),
        ("evt.Note('no') || evt.Note('b')", "true", &["no", "b"]),
        ("evt.Note('a') ? evt.Note('b') : evt.Note('c')", "true", &["a", "b"]),
        ("fetch('a') ?? fetch('b')", "\"<a>\"", &["a"]),
        ("evt.Note('a'); evt.Note('b'); 3", "3", &["a", "b"]),
        ("let v = fetch('a'); v + v", "\"<a><a>\"", &["a"]),
        ("any(['a', 'b', 'c'], {evt.Note(#) && # == 'b'})", "true", &["a", "b"]),
        ("all(['a', 'no', 'c'], {evt.Note(#)})", "false", &["a", "no"]),
        ("find(['no', 'b', 'c'], {evt.Note(#)})", "\"b\"", &["no", "b"]),
        ("findLast(['a', 'b', 'c'], {evt.Note(#)})", "\"c\"", &["c"]),
        ("count(['a', 'no', 'c'], {evt.Note(#)})", "2", &["a", "no", "c"]),
        ("[fetch('a'), fetch('b')][1]", "\"<b>\"", &["a", "b"]),
        ("{'k': fetch('a')}.k", "\"<a>\"", &["a"]),
        ("fetch('a') + u.n", "+ does not take a value of kind float", &["a"]),
        ("map(['a'], {map(['b'], {fetch(#)})[0] + #})", "[\"<b>a\"]", &["b"]),
    ];
    for (source, expected, notes) in table {
        let mut world = world();
        let got = run(source, &mut world).map_or_else(|error| error.to_string(), |value| show(&value));
        assert_eq!(got, *expected, "{source}");
        assert_eq!(world.notes, *notes, "{source}");
    }
}

/// Where this implementation knows better than the reference, or cannot know.
#[test]
fn own_ways() {
    for (source, expected) in [
        ("u.t.Weekday() == 4", "true"),
        ("u.t.Month() in [1, 2]", "true"),
        ("map(u.m, #)", "[\"v\", 0.0]"),
        ("timezone('Europe/Zurich').String()", "\"Europe/Zurich\""),
        ("u.t.In(timezone('America/New_York')).String()", "\"2024-02-29 06:05:09.123456789 -0500 -0500\""),
        ("u.m.k.Nope()", "error"),
        ("o.Year()", "\"<?>\""),
        ("now()", "1970-01-01T00:00:00Z"),
    ] {
        let got = run(source, &mut world()).map_or("error".to_owned(), |value| show(&value));
        assert_eq!(got, expected, "{source}");
    }
}

#[test]
fn growth_is_bounded() {
    let doubled = |source: &str| format!("let big = reduce(1..40, [#acc, #acc], 'x'); {source}");
    let table = [
        ("len(map(1..n, 1..300000)) > 0".to_owned(), true),
        ("len(map(1..n, 1..100000)) > 0".to_owned(), false),
        ("reduce(1..40, #acc + #acc, 'text')".to_owned(), true),
        ("reduce(1..100000, [#acc], 1)".to_owned(), true),
        ("reduce(1..100000, {{'k': #acc}}, 1)".to_owned(), true),
        ("reduce(1..300, [#acc], 1) != nil".to_owned(), false),
        ("repeat(repeat('x', 9999), 9999)".to_owned(), true),
        ("map(1..200, repeat('x' + s, 100000))".to_owned(), true),
        ("concat(1..n * 100000, 1..n * 100000, l)".to_owned(), true),
        ("len(join(map(1..1000, s), repeat('-', 20000)))".to_owned(), true),
        ("len(replace(repeat('x', 10000), 'x', repeat('y', 10000)))".to_owned(), true),
        (doubled("len(big)"), true),
        ("let a = [l,l,l,l,l,l,l,l]; let b = [a,a,a,a,a,a,a,a]; let c = [b,b,b,b,b,b,b,b]; let e = [c,c,c,c,c,c,c,c]; \
          let g = [e,e,e,e,e,e,e,e]; let h = [g,g,g,g,g,g,g,g]; let i = [h,h,h,h,h,h,h,h]; flatten(i)".to_owned(), true),
        ("let a = [s,s,s,s,s,s,s,s]; let b = [a,a,a,a,a,a,a,a]; let c = [b,b,b,b,b,b,b,b]; let e = [c,c,c,c,c,c,c,c]; \
          let g = [e,e,e,e,e,e,e,e]; let h = [g,g,g,g,g,g,g,g]; let i = [h,h,h,h,h,h,h,h]; let j = [i,i,i]; toJSON(j)".to_owned(), true),
    ];
    for (source, expected) in table {
        let got = run(&source, &mut world());
        assert_eq!(got.as_ref().err() == Some(&EvalError::Budget), expected, "{source}: {:?}", got.err());
    }
}

/// What the parser lets through fits on the stack of a thread.
#[test]
fn deep_expressions_fit() {
    let nested = |open: &str, levels: usize, middle: &str, close: &str| {
        open.repeat(levels) + middle + &close.repeat(levels)
    };
    let table = [
        (nested("not ", 200, "u.b", ""), "true".to_owned()),
        (nested("[u.i, ", 200, "u.b", "]"), nested("[7, ", 200, "true", "]")),
        (nested("any(l, {", 80, "# == 'two'", "})"), "true".to_owned()),
        (nested("{'k': ", 200, "u.i", "}") + &".k".repeat(40), nested("{\"k\": ", 160, "7", "}")),
    ];
    for (source, expected) in table {
        let got = run(&source, &mut world()).map(|value| show(&value));
        assert_eq!(got, Ok(expected), "{source}");
    }
}

/// A list of numbers whose middle is cut by two bounds, the way the definition says it.
fn cut(items: &[i64], from: Option<i64>, to: Option<i64>) -> Vec<i64> {
    let len = items.len() as i64;
    let place = |at: i64| if at < 0 { (len + at).max(0) } else { at.min(len) };
    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(len)));
    (from..to).map(|at| items[at as usize]).collect()
}

proptest! {
    #[test]
    fn slices_are_cuts(
        items in prop::collection::vec(0i64..9, 0..6),
        from in prop::option::of(-8i64..8),
        to in prop::option::of(-8i64..8),
    ) {
        let list = Value::list(items.iter().map(|i| Value::Int(*i)).collect());
        let (from_value, to_value) = (from.map(Value::Int), to.map(Value::Int));
        let part = access::slice(&list, from_value.as_ref(), to_value.as_ref()).expect("slices never fail");
        let expected = Value::list(cut(&items, from, to).into_iter().map(Value::Int).collect());
        prop_assert!(operators::equal(&part, &expected));
    }

    #[test]
    fn slices_of_text_never_fail(text in "\\PC{0,6}", from in -20i64..20, to in -20i64..20) {
        let part = access::slice(&text.as_str().into(), Some(&from.into()), Some(&to.into()));
        prop_assert!(part.is_ok());
    }

    #[test]
    fn sorting_is_stable(keys in prop::collection::vec(-3i64..3, 0..30), descending: bool) {
        let values: Vec<Value> = keys.iter().map(|k| Value::Int(*k)).collect();
        let got = operators::ascending(&values, descending).expect("numbers are comparable");
        let mut expected: Vec<usize> = (0..keys.len()).collect();
        expected.sort_by_key(|at| if descending { -keys[*at] } else { keys[*at] });
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn sorting_survives_every_float(numbers in prop::collection::vec(any::<f64>(), 0..50), whole: i64) {
        let mut values: Vec<Value> = numbers.into_iter().map(Value::Float).collect();
        values.push(Value::Int(whole));
        prop_assert!(operators::ascending(&values, false).is_ok());
    }

    #[test]
    fn integers_wrap(a: i64, b: i64) {
        let sum = operators::add(&a.into(), &b.into()).ok();
        prop_assert!(matches!(sum, Some(Value::Int(sum)) if sum == a.wrapping_add(b)));
    }
}

use std::fmt::Write as _;

use crate::{Type, compile_text, core::Binary};

use super::*;

const SCHEMA: &str = "
record Line
  Raw string
  Labels map[string]string
record Alert
  Count int
  Name string
  GetScope() string
record Event
  Line Line
  Parsed map[string]string
  Meta map[string]string
  Unmarshaled map[string]any
  Alert *Alert
  Alerts []*Alert
  Time time
  Age duration
  Number int
  Ratio float
  Words []string
  GetMeta(string) string
  SetMeta(string, string) bool mutates
  Scale(float) float
var evt *Event
var n int
var anything any
func basename(string) string
func fetch(string) string blocks
";

fn schema() -> Schema {
    parse_schema(SCHEMA).unwrap()
}

/// The checked tree in short: `.x` a field, `[x]` an element, upper-case words the kinds of nodes.
fn dump(node: &Node) -> String {
    let list = |nodes: &[Node]| nodes.iter().map(dump).collect::<Vec<_>>().join(", ");
    let mark = |optional: bool| if optional { "?" } else { "" };
    match &node.kind {
        Kind::Const(value) => value_text(value),
        Kind::Variable(index) => format!("V{index}"),
        Kind::Env => "ENV".to_owned(),
        Kind::Local(local) => format!("L{local}"),
        Kind::Element(depth) => format!("#{depth}"),
        Kind::ElementIndex(depth) => format!("#index{depth}"),
        Kind::Accumulator(depth) => format!("#acc{depth}"),
        Kind::Field { of, name, optional } => format!("{}{}.{name}", dump(of), mark(*optional)),
        Kind::Index { of, key, optional } => format!("{}{}[{}]", dump(of), mark(*optional), dump(key)),
        Kind::Slice { of, from, to } => {
            let end = |n: &Option<Box<Node>>| n.as_ref().map_or(String::new(), |n| dump(n));
            format!("{}[{}:{}]", dump(of), end(from), end(to))
        }
        Kind::Chain(inner) => format!("<{}>", dump(inner)),
        Kind::Call { function, arguments } => format!("{}({})", function.name, list(arguments)),
        Kind::HostCall { name, arguments } => format!("HOST {name}({})", list(arguments)),
        Kind::Method { of, name, arguments, optional } => {
            format!("{}{}.{name}({})", dump(of), mark(*optional), list(arguments))
        }
        Kind::Negate(minus, of) => format!("({}{})", if *minus { "-" } else { "+" }, dump(of)),
        Kind::Not(of) => format!("NOT({})", dump(of)),
        Kind::Binary(operator, a, b) => format!("({} {operator:?} {})", dump(a), dump(b)),
        Kind::Matches(of, regex) => format!("MATCHES({}, {})", dump(of), regex.as_str()),
        Kind::InStrings(of, texts) => format!("IN({}, {})", dump(of), texts.join("|")),
        Kind::And(nodes) => format!("AND({})", list(nodes)),
        Kind::Or(nodes) => format!("OR({})", list(nodes)),
        Kind::Cond(a, b, c) => format!("IF({}, {}, {})", dump(a), dump(b), dump(c)),
        Kind::Coalesce(a, b) => format!("({} ?? {})", dump(a), dump(b)),
        Kind::List(nodes) => format!("LIST({})", list(nodes)),
        Kind::Map(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{}: {}", dump(k), dump(v))).collect();
            format!("MAP({})", pairs.join(", "))
        }
        Kind::Let(local, value, body) => format!("LET({local}, {}, {})", dump(value), dump(body)),
        Kind::Sequence(nodes) => format!("SEQ({})", list(nodes)),
        Kind::Loop { which, list, predicate, extra } => {
            let mut text = format!("{which:?}({}", dump(list));
            for part in predicate.iter().chain(extra) {
                write!(text, ", {}", dump(part)).unwrap();
            }
            text + ")"
        }
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::List(items) => format!("[{}]", items.iter().map(value_text).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries: Vec<_> = map.iter().map(|(k, v)| format!("{k}: {}", value_text(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Float(x) => format!("{x:?}"),
        other => other.to_string(),
    }
}

#[track_caller]
fn node(text: &str) -> Node {
    match compile_text(text, &schema(), None) {
        Ok((_, node)) => node,
        Err(error) => panic!("{text}: {error} at {:?}", &text[error.span.range()]),
    }
}

/// The place of the mistake, the message, and a part of the hint (`""`: no hint).
#[track_caller]
fn refuse_as(text: &str, want: Option<&Type>, at: &str, message: &str, hint: &str) {
    match compile_text(text, &schema(), want) {
        Ok((_, node)) => panic!("{text} is accepted: {}", dump(&node)),
        Err(error) => {
            assert_eq!((&text[error.span.range()], &*error.message), (at, message), "{text}");
            match error.hint {
                Some(found) => assert!(!hint.is_empty() && found.contains(hint), "{text}: hint {found}"),
                None => assert_eq!(hint, "", "{text}"),
            }
        }
    }
}

#[track_caller]
fn refuse(text: &str, at: &str, message: &str, hint: &str) {
    refuse_as(text, None, at, message, hint);
}

#[test]
fn resolved() {
    for (text, expected) in [
        ("evt.Parsed.program", "V0.Parsed[\"program\"]"),
        ("evt['Parsed']['a b']", "V0.Parsed[\"a b\"]"),
        ("evt.Unmarshaled.a.b[0]", "V0.Unmarshaled[\"a\"][\"b\"][0]"),
        ("evt.Alert?.Name", "<V0.Alert?.Name>"),
        ("evt.Unmarshaled?.x?.[n].y", "<V0.Unmarshaled?[\"x\"]?[V1][\"y\"]>"),
        ("evt.GetMeta('a')", "V0.GetMeta(\"a\")"),
        ("evt?.GetMeta('a')", "<V0?.GetMeta(\"a\")>"),
        ("evt.Time.Weekday().String()", "V0.Time.Weekday().String()"),
        ("evt.Age.Seconds() > 1", "(V0.Age.Seconds() Gt 1)"),
        ("basename(evt.Line.Raw)", "HOST basename(V0.Line.Raw)"),
        ("evt.Line.Raw | basename()", "HOST basename(V0.Line.Raw)"),
        ("Upper(evt.Line.Raw)", "Upper(V0.Line.Raw)"),
        ("$env.n", "V1"),
        ("$env['n']", "V1"),
        ("$env?.what", "<ENV?[\"what\"]>"),
        ("$env[evt.Line.Raw]", "ENV[V0.Line.Raw]"),
        ("anything.a.M(1)", "V2[\"a\"].M(1)"),
        ("evt.Line.Raw[n:-1]", "V0.Line.Raw[V1:-1]"),
        ("evt.Words[n]", "V0.Words[V1]"),
    ] {
        assert_eq!(dump(&node(text)), expected, "{text}");
    }
}

#[test]
fn sugar() {
    for (text, expected) in [
        ("n not in [1, n]", "NOT((V1 In LIST(1, V1)))"),
        ("1 < n < 3", "AND((1 Lt V1), (V1 Lt 3))"),
        ("1 < n < 3 and n != 2", "AND((1 Lt V1), (V1 Lt 3), (V1 Ne 2))"),
        ("n > 1 ?: false", "IF((V1 Gt 1), (V1 Gt 1), false)"),
        (
            "(n > 1 || n > 2) || (n > 3 || n > 4 && n < 9)",
            "OR((V1 Gt 1), (V1 Gt 2), (V1 Gt 3), AND((V1 Gt 4), (V1 Lt 9)))",
        ),
        ("any(evt.Alerts, .Count == n)", "Any(V0.Alerts, (#0.Count Eq V1))"),
        ("any(evt.Alerts, any(evt.Words, # == 'a'))", "Any(V0.Alerts, Any(V0.Words, (#0 Eq \"a\")))"),
        ("map(evt.Words, #index)", "Map(V0.Words, #index0)"),
        ("reduce(evt.Words, #acc + #, '')", "Reduce(V0.Words, (#acc0 Add #0), \"\")"),
        ("count(evt.Words)", "Count(V0.Words)"),
        ("let a = n; let b = a; a + b", "LET(0, V1, LET(1, L0, (L0 Add L1)))"),
        ("let a = (let b = n; b); a", "LET(0, LET(0, V1, L0), L0)"),
        ("any(evt.Words, {let w = #; w == 'a'})", "Any(V0.Words, LET(0, #0, (L0 Eq \"a\")))"),
        ("n; n", "SEQ(V1, V1)"),
        ("if n > 1 { 'a' } else { 'b' }", "IF((V1 Gt 1), \"a\", \"b\")"),
        ("evt.Scale(2)", "V0.Scale(2.0)"),
        ("evt.Scale(-(1 + 1))", "V0.Scale(-2.0)"),
    ] {
        assert_eq!(dump(&node(text)), expected, "{text}");
    }
}

#[test]
fn constants() {
    for (text, expected) in [
        ("1 + 2 * 3", "7"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        ("7 / 2", "3.5"),
        ("7 % 4", "3"),
        ("2 ** 10", "1024.0"),
        ("'a' + 'b'", "\"ab\""),
        ("-(1.5)", "-1.5"),
        ("not (1 == 1.0)", "false"),
        ("Upper('abc')", "\"ABC\""),
        ("Upper(Lower('Ab') + 'c')", "\"ABC\""),
        ("[1, 'a', nil]", "[1, \"a\", nil]"),
        ("{'a': 1, b: [2]}", "{a: 1, b: [2]}"),
        ("{'a': 1}.a", "1"),
        ("[1, 2, 3][-1]", "3"),
        ("'abcdef'[1:3]", "\"bc\""),
        ("'abc' matches '^a'", "true"),
        ("'a' in ['a', 'b']", "true"),
        ("nil ?? 'x'", "\"x\""),
        ("true ? n : 2", "V1"),
        ("n == 1 && true", "(V1 Eq 1)"),
        ("true && n == 1 && false && n == 2", "AND((V1 Eq 1), false)"),
        ("true || n == 1", "true"),
        ("n == 1 || true || n == 2", "OR((V1 Eq 1), true)"),
        ("anything && true", "AND(V2)"),
        ("{'Jan': '01'}[evt.Line.Raw]", "{Jan: \"01\"}[V0.Line.Raw]"),
        // What fails, fails when it runs.
        ("[1][5]", "[1][5]"),
        ("int('x')", "int(\"x\")"),
        // What depends on the world, is long, or writes, stays.
        ("File('a')", "File(\"a\")"),
        ("1..100000", "(1 Range 100000)"),
        ("LogInfo('a')", "LogInfo(\"a\")"),
        ("len(1..3)", "3"),
    ] {
        assert_eq!(dump(&node(text)), expected, "{text}");
    }
}

#[test]
fn special_forms() {
    for (text, expected) in [
        ("evt.Line.Raw in ['b', 'a']", "IN(V0.Line.Raw, b|a)"),
        ("anything in ['b', 'a']", "IN(V2, b|a)"),
        // A computed text makes no set: an untyped value that is no text is then just not in it.
        ("anything in ['b', Upper('a')]", "(V2 In [\"b\", \"A\"])"),
        ("evt.Line.Raw in ['b', Upper('a')]", "IN(V0.Line.Raw, b|A)"),
        ("anything in ['', nil]", "(V2 In [\"\", nil])"),
        ("n in [1, 2]", "(V1 In [1, 2])"),
        ("'a' in evt.Meta", "(\"a\" In V0.Meta)"),
        ("'Line' in evt", "true"),
        ("'What' in evt", "false"),
        ("evt.Line.Raw matches '^a.c$'", "MATCHES(V0.Line.Raw, ^a.c$)"),
        ("evt.Line.Raw matches Upper('a') + 'b'", "MATCHES(V0.Line.Raw, Ab)"),
        ("evt.Line.Raw matches evt.Parsed.x", "(V0.Line.Raw Matches V0.Parsed[\"x\"])"),
    ] {
        assert_eq!(dump(&node(text)), expected, "{text}");
    }
}

#[test]
fn types() {
    let list = |ty: Type| Type::List(Box::new(ty));
    for (text, expected) in [
        ("nil", Type::Nil),
        ("evt.Parsed.x", Type::String),
        ("evt.Unmarshaled.x", Type::Any),
        ("evt.Unmarshaled.x == 1", Type::Bool),
        ("n + 1", Type::Int),
        ("n + 1.5", Type::Float),
        ("n / 2", Type::Float),
        ("n ** 2", Type::Float),
        ("anything + 1", Type::Any),
        ("anything % 2", Type::Int),
        ("evt.Time - evt.Time", Type::Duration),
        ("evt.Time + evt.Age", Type::Time),
        ("evt.Age * 2", Type::Duration),
        ("n == 1 ? 'a' : nil", Type::String),
        ("n == 1 ? 'a' : 2", Type::Any),
        ("anything ?? 'a'", Type::Any),
        ("evt.Parsed.x ?? 'a'", Type::String),
        ("['a', 'b']", list(Type::String)),
        ("['a', 1]", list(Type::Any)),
        ("[]", list(Type::Any)),
        ("1..n", list(Type::Int)),
        ("evt.Words[1:]", list(Type::String)),
        ("evt.Words[0]", Type::String),
        ("filter(evt.Words, # == 'a')", list(Type::String)),
        ("map(evt.Words, len(#))", list(Type::Int)),
        ("map(evt.Words, #)[0] contains 'a'", Type::Bool),
        ("find(evt.Words, # == 'a')", Type::String),
        ("findIndex(evt.Words, # == 'a')", Type::Int),
        ("groupBy(evt.Words, #)", Type::Map(Box::new(list(Type::String)))),
        ("sortBy(evt.Words, #)", list(Type::String)),
        ("sum([1, n])", Type::Int),
        ("reduce(evt.Words, #acc + #)", Type::Any),
        ("first(evt.Words)", Type::Any),
        ("get(evt.Words, n)", Type::String),
        ("abs(n)", Type::Int),
        ("groupBy(evt.Words, len(#))[3]", list(Type::String)),
        ("3 in groupBy(evt.Words, len(#))", Type::Bool),
        ("first(evt.Alerts).Count", Type::Int),
        ("last(reverse(evt.Alerts))?.Name", Type::String),
        ("Split('a,b', ',')", list(Type::String)),
        ("evt.Alert?.Name", Type::String),
        ("evt.Time.Hour()", Type::Int),
        ("anything.Hour()", Type::Any),
    ] {
        assert_eq!(node(text).ty, expected, "{text}");
    }
}

#[test]
fn effects() {
    let effects = |mutates, blocks, impure| Effects { mutates, blocks, impure };
    for (text, expected) in [
        ("evt.Parsed.x == 'a'", Effects::PURE),
        ("evt.SetMeta('a', 'b')", effects(true, false, false)),
        ("n == 1 && evt.SetMeta('a', 'b')", effects(true, false, false)),
        ("any(evt.Words, evt.SetMeta(#, 'b'))", effects(true, false, false)),
        ("let x = fetch('a'); x == '' ? 1 : n", effects(false, true, false)),
        ("any(File('a'), # == evt.Line.Raw)", effects(false, false, true)),
        ("UnmarshalJSON(evt.Line.Raw, evt.Unmarshaled, 'x')", effects(true, false, false)),
        ("anything.SetMeta('a', 'b')", effects(true, false, false)),
        ("anything.GetMeta('a')", Effects::PURE),
    ] {
        assert_eq!(node(text).effects, expected, "{text}");
    }
}

#[test]
fn names_are_checked() {
    refuse("evtt.Parsed", "evtt", "there is no variable `evtt` here", "did you mean `evt`?");
    refuse("sshd == 'a'", "sshd", "there is no variable `sshd` here", "text stands in quotes");
    refuse("n == null", "null", "there is no variable `null` here", "write nil");
    refuse("True", "True", "there is no variable `True` here", "write true");
    refuse("$env.zzz", "zzz", "there is no variable `zzz` here", "known here");
    refuse("evt.Foo", "Foo", "Event has no field `Foo`", "its fields: Line, Parsed");
    refuse("evt.parsed.x", "parsed", "Event has no field `parsed`", "did you mean `Parsed`?");
    refuse("evt['Prased'].x", "'Prased'", "Event has no field `Prased`", "did you mean `Parsed`?");
    refuse("evt.GetMeta", "GetMeta", "Event has no field `GetMeta`", "call it with GetMeta(…)");
    refuse("evt.Line.Raw.x", "x", "a string has no field `x`", "");
    refuse("evt.Words.x", "x", "a list of string has no field `x`", "list[0]");
    refuse("(nil).x", "x", "nil has no field `x`", "");
    refuse("evt.GetMetaa('a')", "GetMetaa", "an Event has no method `GetMetaa`", "did you mean `GetMeta`?");
    refuse("evt.Line()", "Line", "an Event has no method `Line`", "it is a field");
    refuse("evt.Line.Raw.len()", "len", "a string has no method `len`", "write len(x)");
    refuse("n.String()", "String", "an int has no method `String`", "");
    refuse("uper('a')", "uper", "there is no function `uper`", "did you mean `upper`?");
    refuse("Upper", "Upper", "`Upper` is a function", "call it");
    refuse("n(1)", "n", "`n` is a variable, not a function", "");
    refuse("evt.Words[0]()", "evt.Words[0]", "only functions can be called, this is a string", "");
    refuse(
        "let evt = 1; 2",
        "let evt = 1; 2",
        "`evt` is already the name of a variable of the environment",
        "another",
    );
    refuse("let len = 1; 2", "let len = 1; 2", "`len` is already the name of a function", "another");
    refuse(
        "let a = 1; let a = 2; a",
        "let a = 2; a",
        "`a` is already the name of an outer variable",
        "another",
    );
    refuse("(let a = 1; a) + a", "a", "there is no variable `a` here", "known here: `evt`, `n`");
    refuse("any(evt.Words, #index == 0)", "#index", "`#index` is not known here", "`reduce` only");
    refuse("map(evt.Words, #acc)", "#acc", "`#acc` is not known here", "`reduce` only");
}

#[test]
fn operands_are_checked() {
    refuse("evt.Line.Raw == 5", "evt.Line.Raw == 5", "a string and an int are never equal", "int(x)");
    refuse("evt.Line.Raw > 5", "evt.Line.Raw > 5", "`>` does not take a string and an int", "int(x)");
    refuse(
        "evt.Words == 'a'",
        "evt.Words == 'a'",
        "a list of string and a string are never equal",
        "in list",
    );
    refuse("evt.Meta == {}", "evt.Meta == {}", "a map of string and a map are never equal", "");
    refuse("evt.Age == n", "evt.Age == n", "a duration and an int are never equal", "");
    refuse("evt.Time < evt.Age", "evt.Time < evt.Age", "`<` does not take a time and a duration", "");
    refuse("nil < 1", "nil < 1", "`<` does not take nil and an int", "");
    refuse("'a' + 1", "'a' + 1", "`+` does not take a string and an int", "string(x)");
    refuse("true + anything", "true + anything", "`+` does not take a bool and a value of any type", "");
    refuse("n - 'a'", "n - 'a'", "`-` does not take an int and a string", "");
    refuse("1.5 % 2", "1.5 % 2", "`%` does not take a float and an int", "");
    refuse("1 % 0", "0", "this divides by zero", "");
    refuse(
        "evt.Line.Raw contains n",
        "evt.Line.Raw contains n",
        "`contains` does not take a string and an int",
        "",
    );
    refuse(
        "evt.Words contains 'a'",
        "evt.Words contains 'a'",
        "`contains` does not take a list of string and a string",
        "'value' in list",
    );
    refuse(
        "evt.Line.Raw matches 'a('",
        "'a('",
        "this is not a regular expression: this group is never closed",
        r"write `\(` for a parenthesis",
    );
    refuse(
        "n in ['a']",
        "n in ['a']",
        "an int is never in a list of string: its elements are a string each",
        "",
    );
    refuse("n in evt.Meta", "n in evt.Meta", "the keys of a map are texts, this is an int", "");
    refuse("'a' in evt.Line.Raw", "'a' in evt.Line.Raw", "`in` does not look into a text", "contains");
    refuse("1 in nil", "1 in nil", "`in` takes a list or a map on its right side, this is nil", "");
    refuse("n && true", "n", "an operand of `&&` must be true or false, this is an int", "x > 0");
    refuse(
        "n == 1 || evt.Line.Raw",
        "evt.Line.Raw",
        "an operand of `||` must be true or false, this is a string",
        "x != ''",
    );
    refuse(
        "not evt.Line.Raw == 'a'",
        "evt.Line.Raw",
        "what stands after `not` must be true or false, this is a string",
        "not (a == b)",
    );
    refuse("-evt.Line.Raw", "evt.Line.Raw", "`-` before a value takes a number, this is a string", "");
    refuse("n ? 1 : 2", "n", "the question of a conditional must be true or false, this is an int", "x > 0");
    refuse("evt.Line.Raw[0]", "evt.Line.Raw[0]", "a string has no elements", "x[0:1]");
    refuse(
        "evt.Words['a']",
        "'a'",
        "an element of a list of string is chosen by an int, not by a string",
        "",
    );
    refuse("evt.Meta[1]", "1", "an element of a map of string is chosen by a string, not by an int", "");
    refuse("n[1:]", "n", "[:] takes a list or a text, this is an int", "");
    refuse("evt.Words['a':]", "'a'", "the ends of [:] are ints, this is a string", "");
    refuse("{(evt.Words): 1}", "evt.Words", "a key of a map is text, this is a list of string", "string(x)");
}

#[test]
fn arguments_are_checked() {
    refuse("Upper()", "Upper()", "`Upper` takes 1 argument, this call has 0", "usage: Upper(string)");
    refuse(
        "Split('a')",
        "Split('a')",
        "`Split` takes 2 arguments, this call has 1",
        "usage: Split(string, string)",
    );
    refuse(
        "trim()",
        "trim()",
        "`trim` takes at least 1 argument, this call has 0",
        "usage: trim(string, [string])",
    );
    refuse(
        "trim('a', 'b', 'c')",
        "trim('a', 'b', 'c')",
        "`trim` takes at most 2 arguments, this call has 3",
        "usage",
    );
    refuse(
        "Sprintf()",
        "Sprintf()",
        "`Sprintf` takes at least 1 argument, this call has 0",
        "value of any type …",
    );
    refuse("Split(n, ',')", "n", "argument 1 of `Split` must be a string, this is an int", "string(x)");
    refuse("Upper(nil)", "nil", "argument 1 of `Upper` must be a string, this is nil", "usage");
    refuse("evt.Scale(n)", "n", "argument 1 of `Scale` must be a float, this is an int", "float(x)");
    refuse("evt.GetMeta(1)", "1", "argument 1 of `GetMeta` must be a string, this is an int", "string(x)");
    refuse("evt.GetMeta()", "evt.GetMeta()", "`GetMeta` takes 1 argument, this call has 0", "usage");
    refuse(
        "basename('a', 'b')",
        "basename('a', 'b')",
        "`basename` takes 1 argument, this call has 2",
        "usage",
    );
    refuse(
        "UnmarshalJSON(evt.Line.Raw, evt.Parsed, 'x')",
        "evt.Parsed",
        "argument 2 of `UnmarshalJSON` must be a map, this is a map of string",
        "usage",
    );
    refuse("len(1)", "1", "`len` takes a text, a list or a map, this is an int", "");
    refuse("concat([1], n)", "n", "`concat` takes a list, this is an int", "");
    refuse("get(evt.Meta, 1)", "1", "`get` takes a string as key, this is an int", "");
    refuse("get(evt.Words, 'a')", "'a'", "`get` takes an int as position, this is a string", "");
    refuse("get(n, 'a')", "n", "`get` takes a list or a map, this is an int", "");
    refuse("abs('a')", "'a'", "`abs` takes a number, this is a string", "");
    refuse("any(evt.Meta, # == 'a')", "evt.Meta", "`any` takes a list, this is a map of string", "values(x)");
    refuse(
        "any(evt.Words, #)",
        "#",
        "the predicate of `any` must be true or false, this is a string",
        "compare",
    );
    refuse("sortBy(evt.Words, #, 1)", "1", "the order is 'asc' or 'desc', this is an int", "");
}

#[test]
fn what_is_wanted() {
    let wanted = |text: &str, want: Type| compile_text(text, &schema(), Some(&want)).is_ok();
    assert!(wanted("n == 1", Type::Bool));
    assert!(wanted("anything", Type::Bool));
    assert!(wanted("evt.Line.Raw", Type::String));
    assert!(wanted("n", Type::Float));
    assert!(!wanted("n", Type::String) && !wanted("nil", Type::Bool));
    refuse_as(
        "evt.Line.Raw",
        Some(&Type::Bool),
        "evt.Line.Raw",
        "this must be true or false, it is a string",
        "compare it",
    );
    refuse_as(
        "evt.Words",
        Some(&Type::Bool),
        "evt.Words",
        "this must be true or false, it is a list of string",
        "'value' in x",
    );
    refuse_as("n", Some(&Type::String), "n", "this must be a string, it is an int", "string(x)");
}

#[test]
fn written_out_size_is_limited() {
    // Every level of a chain in the middle of a chain is written twice.
    let mut text = "n".to_owned();
    for _ in 0..30 {
        text = format!("(1 < ({text} < 2 < 3 ? 1 : 2) < 3 ? 1 : 2)");
    }
    let error = compile_text(&text, &schema(), None).unwrap_err();
    assert_eq!(error.message, "the expression is too large once it is written out");
}

#[test]
fn deepest_expressions_do_not_exhaust_the_stack() {
    let parens = |unit: &str, n: usize, close: &str| format!("{}n{}", unit.repeat(n), close.repeat(n));
    for text in [
        parens("[", 248, "]"),
        parens("-", 248, ""),
        parens("{a:", 248, "}"),
        parens("string(", 240, ")"),
        parens("any([1],{#==", 80, "==1})"),
        format!("n{}", "+n".repeat(248)),
        format!("{}n", "n==1?1:".repeat(240)),
        format!("anything{}", ".x".repeat(248)),
    ] {
        let _ = compile_text(&text, &schema(), None);
    }
}

#[test]
fn wide_expressions_stay_wide() {
    let text = vec!["evt.Line.Raw contains 'a'"; 1_500].join(" or ");
    match node(&text).kind {
        Kind::Or(operands) => {
            assert_eq!(operands.len(), 1_500);
            assert!(operands.iter().all(|o| matches!(o.kind, Kind::Binary(Binary::Contains, ..))));
        }
        other => panic!("{other:?}"),
    }
}

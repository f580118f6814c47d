//! Helpers over text that follow Go's `strings` package: offsets are bytes, an empty separator
//! splits between code points, a cut set is a set of code points.

use std::borrow::Cow;

use memchr::memmem;

pub(crate) use super::case::{lower, upper};
use crate::{
    error::EvalError,
    functions::{Function, arguments, convert, declare},
    host::Host,
    value::Value,
};

/// Longest text in bytes that a helper may make out of shorter ones.
pub(super) const TEXT_MAX: usize = 16 << 20;

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("Upper(string) string", |_, args| reuse(args, upper(text(args, 0, "Upper")?))),
        ("Lower(string) string", |_, args| reuse(args, lower(text(args, 0, "Lower")?))),
        ("Match(string, string) bool", |_, args| {
            Ok(glob_match(text(args, 0, "Match")?, text(args, 1, "Match")?).into())
        }),
        ("Split(string, string) []string", |_, args| splitting(args, "Split", false, false)),
        ("SplitN(string, string, int) []string", |_, args| splitting(args, "SplitN", true, false)),
        ("SplitAfter(string, string) []string", |_, args| splitting(args, "SplitAfter", false, true)),
        ("SplitAfterN(string, string, int) []string", |_, args| splitting(args, "SplitAfterN", true, true)),
        ("Fields(string) []string", |_, args| {
            Ok(Value::strings(text(args, 0, "Fields")?.split_whitespace()))
        }),
        ("Join([]string, string) string", join),
        ("Index(string, string) int", |_, args| {
            Ok(offset(text(args, 0, "Index")?.find(text(args, 1, "Index")?)))
        }),
        ("IndexAny(string, string) int", |_, args| {
            let set = text(args, 1, "IndexAny")?;
            Ok(offset(text(args, 0, "IndexAny")?.find(|c| set.contains(c))))
        }),
        ("Replace(string, string, string, int) string", |_, args| {
            replacing(args, "Replace", arguments::int(args, 3, "Replace")?)
        }),
        ("ReplaceAll(string, string, string) string", |_, args| replacing(args, "ReplaceAll", -1)),
        ("Trim(string, string) string", |_, args| {
            let set = text(args, 1, "Trim")?;
            reuse(args, text(args, 0, "Trim")?.trim_matches(|c| set.contains(c)).into())
        }),
        ("TrimLeft(string, string) string", |_, args| {
            let set = text(args, 1, "TrimLeft")?;
            reuse(args, text(args, 0, "TrimLeft")?.trim_start_matches(|c| set.contains(c)).into())
        }),
        ("TrimRight(string, string) string", |_, args| {
            let set = text(args, 1, "TrimRight")?;
            reuse(args, text(args, 0, "TrimRight")?.trim_end_matches(|c| set.contains(c)).into())
        }),
        ("TrimSpace(string) string", |_, args| reuse(args, trim_space(text(args, 0, "TrimSpace")?).into())),
        ("TrimPrefix(string, string) string", |_, args| {
            let whole = text(args, 0, "TrimPrefix")?;
            reuse(args, whole.strip_prefix(text(args, 1, "TrimPrefix")?).unwrap_or(whole).into())
        }),
        ("TrimSuffix(string, string) string", |_, args| {
            let whole = text(args, 0, "TrimSuffix")?;
            reuse(args, whole.strip_suffix(text(args, 1, "TrimSuffix")?).unwrap_or(whole).into())
        }),
        ("Get([]string, int) string", get),
        ("ToString(any) string", |_, args| {
            Ok(match arguments::value(args, 0) {
                Value::Str(s) => Value::Str(s.clone()),
                _ => "".into(),
            })
        }),
        ("Atof(string) float", |_, args| Ok(atof(text(args, 0, "Atof")?).into())),
    ])
}

use arguments::text;

/// `result` as a value, sharing the first argument where nothing was changed.
pub(super) fn reuse(args: &[Value], result: Cow<'_, str>) -> Result<Value, EvalError> {
    if let Some(Value::Str(whole)) = args.first()
        && whole.len() == result.len()
        && matches!(result, Cow::Borrowed(_))
    {
        return Ok(Value::Str(whole.clone()));
    }
    Ok(Value::Str(result.into()))
}

fn offset(found: Option<usize>) -> Value {
    Value::Int(found.map_or(-1, |at| at as i64))
}

/// `TrimSpace`: without the Unicode white space around it.
pub(crate) fn trim_space(text: &str) -> &str {
    text.trim()
}

/// `Match`: whether all of `name` is of the form `pattern`, where `*` stands for any run of bytes
/// and `?` for one byte. Takes at most `pattern × name` steps.
pub(crate) fn glob_match(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to take up again with one byte more for the last `*`: only the last one ever needs it.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, n));
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (p, n) = (star, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn splitting(args: &[Value], what: &'static str, limited: bool, keep: bool) -> Result<Value, EvalError> {
    let limit = if limited { arguments::int(args, 2, what)? } else { -1 };
    Ok(Value::strings(split(text(args, 0, what)?, text(args, 1, what)?, limit, keep)))
}

/// The parts of `text` between separators, at most `limit` of them, all where it is negative. Parts
/// keep their separator at the end where `keep`.
pub(crate) fn split<'a>(text: &'a str, separator: &str, limit: i64, keep: bool) -> Vec<&'a str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    if limit == 0 {
        return parts;
    }
    let mut rest = text;
    if separator.is_empty() {
        while parts.len() + 1 < limit
            && let Some(c) = rest.chars().next()
        {
            let (one, more) = rest.split_at(c.len_utf8());
            parts.push(one);
            rest = more;
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        return parts;
    }
    while parts.len() + 1 < limit
        && let Some(at) = rest.find(separator)
    {
        let end = at + separator.len();
        parts.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    parts.push(rest);
    parts
}

fn join(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let (parts, glue) = (arguments::texts(args, 0, "Join")?, text(args, 1, "Join")?);
    let size = parts.iter().map(|p| p.len()).sum::<usize>() + glue.len().saturating_mul(parts.len());
    if size > TEXT_MAX {
        return Err(EvalError::Budget);
    }
    Ok(parts.join(glue).into())
}

fn get(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let items = arguments::list(args, 0, "Get")?;
    let Ok(at) = usize::try_from(arguments::int(args, 1, "Get")?) else {
        return Err(EvalError::OutOfRange);
    };
    match items.get(at) {
        None => Ok("".into()),
        Some(item @ Value::Str(_)) => Ok(item.clone()),
        Some(other) => Err(arguments::wrong("Get", other)),
    }
}

fn replacing(args: &[Value], what: &'static str, limit: i64) -> Result<Value, EvalError> {
    reuse(args, replace(text(args, 0, what)?, text(args, 1, what)?, text(args, 2, what)?, limit)?)
}

/// `text` with the first `limit` places of `old`, all where it is negative, replaced. An empty `old`
/// is found before each code point and at the end.
pub(crate) fn replace<'a>(
    text: &'a str,
    old: &str,
    new: &str,
    limit: i64,
) -> Result<Cow<'a, str>, EvalError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if old == new || limit == 0 {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::new();
    let (mut copied, mut count) = (0, 0);
    // An empty `old` is found at every byte; only those between code points are places.
    let places = memmem::find_iter(text.as_bytes(), old.as_bytes()).filter(|at| text.is_char_boundary(*at));
    for at in places.take(limit) {
        out.push_str(&text[copied..at]);
        out.push_str(new);
        copied = at + old.len();
        count += 1;
        if out.len() > TEXT_MAX {
            return Err(EvalError::Budget);
        }
    }
    if count == 0 {
        return Ok(Cow::Borrowed(text));
    }
    out.push_str(&text[copied..]);
    Ok(Cow::Owned(out))
}

/// The number a text begins to be: 0 where it is none, an infinity where it is out of range.
fn atof(text: &str) -> f64 {
    convert::parse_float(text).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::functions::helpers::testing::{call, fails};

    fn check_list(function: &str, args: &[Value], expected: &[&str]) {
        let Value::List(items) = call(function, args) else { panic!("{function} gives a list") };
        let items: Vec<_> = items.iter().map(|v| v.as_str().unwrap_or("?")).collect();
        assert_eq!(items, expected, "{function}{args:?}");
    }

    fn check_text(function: &str, args: &[Value], expected: &str) {
        assert_eq!(call(function, args).as_str(), Some(expected), "{function}{args:?}");
    }

    fn check_int(function: &str, args: &[Value], expected: i64) {
        assert!(matches!(call(function, args), Value::Int(i) if i == expected), "{function}{args:?}");
    }

    fn v(items: &[&str]) -> Vec<Value> {
        items.iter().map(|s| Value::from(*s)).collect()
    }

    fn vn(items: &[&str], n: i64) -> Vec<Value> {
        let mut all = v(items);
        all.push(n.into());
        all
    }

    #[test]
    fn globs() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("**", "", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "\u{e9}", false),
            ("??", "\u{e9}", true),
            ("*.php*", "/x/index.php?a", true),
            ("*a*b", "aab_ab", true),
            ("A", "a", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(glob_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn splits() {
        check_list("Split", &v(&["a,b,,c", ","]), &["a", "b", "", "c"]);
        check_list("Split", &v(&["", ","]), &[""]);
        check_list("Split", &v(&["", ""]), &[]);
        check_list("Split", &v(&["a\u{e9}b", ""]), &["a", "\u{e9}", "b"]);
        check_list("Split", &v(&["abc", "::"]), &["abc"]);
        check_list("SplitN", &vn(&["a,b,c", ","], 2), &["a", "b,c"]);
        check_list("SplitN", &vn(&["a,b,c", ","], 0), &[]);
        check_list("SplitN", &vn(&["a,b,c", ","], -3), &["a", "b", "c"]);
        check_list("SplitN", &vn(&["abc", ""], 2), &["a", "bc"]);
        check_list("SplitN", &vn(&["abc", ""], 9), &["a", "b", "c"]);
        check_list("SplitAfter", &v(&["a,b,c", ","]), &["a,", "b,", "c"]);
        check_list("SplitAfter", &v(&["a,", ","]), &["a,", ""]);
        check_list("SplitAfterN", &vn(&["a,b,c", ","], 2), &["a,", "b,c"]);
        check_list("Fields", &v(&["  a\tb\u{a0}c \n"]), &["a", "b", "c"]);
        check_list("Fields", &v(&["  "]), &[]);
    }

    #[test]
    fn indexes() {
        check_int("Index", &v(&["chicken", "ken"]), 4);
        check_int("Index", &v(&["\u{e9}a", "a"]), 2);
        check_int("Index", &v(&["a", "b"]), -1);
        check_int("Index", &v(&["a", ""]), 0);
        check_int("IndexAny", &v(&["golang", "gy"]), 0);
        check_int("IndexAny", &v(&["x\u{e9}y", "y\u{e9}"]), 1);
        check_int("IndexAny", &v(&["golang", ""]), -1);
    }

    #[test]
    fn replacements() {
        let table = [
            ("oink oink oink", "k", "ky", 2, "oinky oinky oink"),
            ("oink oink oink", "oink", "moo", -1, "moo moo moo"),
            ("oink", "x", "moo", -1, "oink"),
            ("oink", "o", "moo", 0, "oink"),
            ("aaa", "aa", "b", -1, "ba"),
            ("a\u{e9}", "", "-", -1, "-a-\u{e9}-"),
            ("a\u{e9}", "", "-", 2, "-a-\u{e9}"),
            ("", "", "x", -1, "x"),
            ("abc", "abc", "", -1, ""),
        ];
        for (text, old, new, n, expected) in table {
            check_text("Replace", &vn(&[text, old, new], n), expected);
            if n < 0 {
                check_text("ReplaceAll", &v(&[text, old, new]), expected);
            }
        }
        let long = "a".repeat(1 << 16);
        assert_eq!(fails("ReplaceAll", &v(&[&long, "a", &long])), EvalError::Budget);
    }

    #[test]
    fn trims_and_the_rest() {
        check_text("Trim", &v(&["\u{a1}\u{a1}Hello!\u{a1}", "!\u{a1}"]), "Hello");
        check_text("TrimLeft", &v(&["xxaxx", "x"]), "axx");
        check_text("TrimRight", &v(&["xxaxx", "x"]), "xxa");
        check_text("Trim", &v(&[" a ", ""]), " a ");
        check_text("TrimSpace", &v(&["\u{2003}\t a b\r\n"]), "a b");
        check_text("TrimPrefix", &v(&["/a/b", "/a"]), "/b");
        check_text("TrimPrefix", &v(&["/a/b", "b"]), "/a/b");
        check_text("TrimSuffix", &v(&["10.0.0.1:80", ":80"]), "10.0.0.1");
        check_text("Join", &[Value::strings(["a", "b"]), "-".into()], "a-b");
        check_text("Get", &[Value::strings(["a", "b"]), 1.into()], "b");
        check_text("Get", &[Value::strings(["a", "b"]), 2.into()], "");
        assert_eq!(fails("Get", &[Value::strings(["a"]), (-1).into()]), EvalError::OutOfRange);
        check_text("ToString", &["a".into()], "a");
        check_text("ToString", &[1.into()], "");
        check_text("ToString", &[Value::Nil], "");
        check_text("Upper", &["get".into()], "GET");
        assert_eq!(fails("Upper", &[Value::Nil]), EvalError::Kind { what: "Upper", got: "nil" });
    }

    #[test]
    fn numbers() {
        let table =
            [("1.5", 1.5), ("-2e3", -2000.0), ("", 0.0), ("x", 0.0), (" 1", 0.0), ("1e999", f64::INFINITY)];
        for (text, expected) in table {
            assert!(matches!(call("Atof", &[text.into()]), Value::Float(x) if x == expected), "{text}");
        }
    }

    /// What the definition says, by trying everything.
    fn glob_model(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (None, _) => false,
            (Some((b'*', more)), _) => (0..=name.len()).any(|n| glob_model(more, &name[n..])),
            (Some((b'?', more)), Some((_, rest))) => glob_model(more, rest),
            (Some((c, more)), Some((d, rest))) => c == d && glob_model(more, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_agree_with_the_definition(pattern in "[ab*?]{0,7}", name in "[ab]{0,8}") {
            prop_assert_eq!(glob_match(&pattern, &name), glob_model(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn splitting_loses_nothing(text in "[a,\u{e9};]{0,12}", separator in "[a,;]{0,2}", n in -1i64..5) {
            prop_assert_eq!(split(&text, &separator, n, true).concat(), if n == 0 { "" } else { &text });
            if n != 0 {
                prop_assert_eq!(split(&text, &separator, n, false).join(&separator), text);
            }
        }
    }
}

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// The expression in a form that shows its structure and can be read again.
fn show(expr: &Expr) -> String {
    let list = |items: &[Expr], between: &str| items.iter().map(show).collect::<Vec<_>>().join(between);
    match &expr.kind {
        ExprKind::Nil => "nil".to_owned(),
        ExprKind::Bool(b) => b.to_string(),
        ExprKind::Int(i) => i.to_string(),
        ExprKind::Float(x) => format!("{x:?}"),
        ExprKind::Str(s) => quoted(s),
        ExprKind::Bytes(b) => {
            let mut text = "b'".to_owned();
            for byte in b.iter() {
                write!(text, "\\x{byte:02x}").unwrap();
            }
            text + "'"
        }
        ExprKind::List(items) => format!("[{}]", list(items, ", ")),
        ExprKind::Map(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("({}): {}", show(k), show(v))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        ExprKind::Name(name) => name.to_string(),
        ExprKind::Env => "$env".to_owned(),
        ExprKind::Element => "#".to_owned(),
        ExprKind::ElementIndex => "#index".to_owned(),
        ExprKind::Accumulator => "#acc".to_owned(),
        ExprKind::Member { of, name, optional } => {
            format!("{}{}{name}", show(of), if *optional { "?." } else { "." })
        }
        ExprKind::Index { of, key, optional } => {
            format!("{}{}[{}]", show(of), if *optional { "?." } else { "" }, show(key))
        }
        ExprKind::Slice { of, from, to } => {
            let end = |e: &Option<Box<Expr>>| e.as_ref().map_or(String::new(), |e| show(e));
            format!("{}[{}:{}]", show(of), end(from), end(to))
        }
        ExprKind::Chain(inner) => show(inner),
        ExprKind::Call { function, arguments } => format!("{}({})", show(function), list(arguments, ", ")),
        ExprKind::Builtin { name, arguments } => format!("::{name}({})", list(arguments, ", ")),
        ExprKind::Closure(body) => format!("{{ {} }}", show(body)),
        ExprKind::Unary(operator, of) => {
            let operator = match operator {
                Unary::Not => "not ",
                Unary::Negate => "-",
                Unary::Plus => "+",
            };
            format!("({operator}{})", show(of))
        }
        ExprKind::Binary(operator, a, b) => format!("({} {} {})", show(a), symbol(*operator), show(b)),
        ExprKind::Compare { first, rest } => {
            let mut text = format!("({}", show(first));
            for (operator, operand) in rest {
                write!(text, " {} {}", symbol(*operator), show(operand)).unwrap();
            }
            text + ")"
        }
        ExprKind::And(operands) => format!("({})", list(operands, " && ")),
        ExprKind::Or(operands) => format!("({})", list(operands, " || ")),
        ExprKind::Cond { test, yes: None, no } => format!("({} ?: {})", show(test), show(no)),
        ExprKind::Cond { test, yes: Some(yes), no } => {
            format!("({} ? {} : {})", show(test), show(yes), show(no))
        }
        ExprKind::Let { name, value, body } => format!("(let {name} = {}; {})", show(value), show(body)),
        ExprKind::Sequence(parts) => format!("({})", list(parts, "; ")),
    }
}

fn quoted(text: &str) -> String {
    let mut out = "'".to_owned();
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(out, "\\{c}").unwrap(),
            c if c.is_control() => write!(out, "\\u{{{:x}}}", c as u32).unwrap(),
            c => out.push(c),
        }
    }
    out + "'"
}

fn symbol(operator: Binary) -> &'static str {
    match operator {
        Binary::Eq => "==",
        Binary::Ne => "!=",
        Binary::Lt => "<",
        Binary::Le => "<=",
        Binary::Gt => ">",
        Binary::Ge => ">=",
        Binary::In => "in",
        Binary::Matches => "matches",
        Binary::Contains => "contains",
        Binary::StartsWith => "startsWith",
        Binary::EndsWith => "endsWith",
        Binary::Range => "..",
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::Rem => "%",
        Binary::Pow => "**",
        Binary::Coalesce => "??",
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    match parse(text) {
        Ok(expr) => assert_eq!(show(&expr), expected, "{text}"),
        Err(error) => panic!("{text}: {error} at {:?}", error.span),
    }
}

/// The place of the mistake, the message, and a part of the hint (`""`: no hint).
#[track_caller]
fn refuse(text: &str, at: &str, message: &str, hint: &str) {
    let error = parse(text).map(|e| show(&e)).expect_err(text);
    assert_eq!((&text[error.span.range()], &*error.message), (at, message), "{text}");
    match error.hint {
        Some(found) => assert!(!hint.is_empty() && found.contains(hint), "{text}: hint {found}"),
        None => assert_eq!(hint, "", "{text}"),
    }
}

#[test]
fn literals() {
    for (text, expected) in [
        ("42", "42"),
        ("1_000", "1000"),
        ("1_0__0", "100"),
        ("042", "42"),
        ("0x2A", "42"),
        ("0X2a", "42"),
        ("0o52", "42"),
        ("0b1010", "10"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("1e9", "1000000000.0"),
        ("1E-2", "0.01"),
        ("9223372036854775807", "9223372036854775807"),
        ("1..3", "(1 .. 3)"),
        ("true", "true"),
        ("nil", "nil"),
        ("[]", "[]"),
        ("[1, 'a',]", "[1, 'a']"),
        ("{}", "{}"),
        ("{a: 1, 'b c': 2, 3: 4, (x + y): 5,}", "{('a'): 1, ('b c'): 2, ('3'): 4, ((x + y)): 5}"),
        ("{0x1F: 1}", "{('0x1F'): 1}"),
        ("b'a\\xff\\101é'", "b'\\x61\\xff\\x41\\xc3\\xa9'"),
        ("B\"'\"", "b'\\x27'"),
        ("$env", "$env"),
        ("$x", "$x"),
        ("_a1", "_a1"),
        ("größe", "größe"),
    ] {
        check(text, expected);
    }
}

#[test]
fn escapes() {
    for (text, expected) in [
        (r"'a\nb'", "a\nb"),
        (r"'\a\b\f\n\r\t\v\\'", "\x07\x08\x0c\n\r\t\x0b\\"),
        (r"'\''", "'"),
        (r#""\"""#, "\""),
        (r#"'"'"#, "\""),
        (r"'\x41\101\u0041\u{41}\U00000041'", "AAAAA"),
        (r"'\xff'", "\u{ff}"),
        (r"'\u{1F600}'", "\u{1F600}"),
        (r"'\ud83d'", "\u{fffd}"),
        (r"'\\d+\\.'", r"\d+\."),
        ("'a\rb'", "a\nb"),
        ("`a\\d\n'\"`", "a\\d\n'\""),
        ("`a``b`", "a`b"),
        ("````", "`"),
        ("''", ""),
    ] {
        let expr = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(expr.kind, ExprKind::Str(expected.into()), "{text}");
    }
}

#[test]
fn bad_literals() {
    let no_end = "this text does not end";
    let few = "this escape has not the digits that it needs";
    refuse(r"'\d+'", r"\d", r"`\d` is no escape", r"write \\d");
    refuse(r"'a\.b'", r"\.", r"`\.` is no escape", r"write \\.");
    refuse(r#"'say \"x\"'"#, r#"\""#, r#"`\"` is no escape"#, "stands for itself");
    refuse("'abc", "'", no_end, "close it with '");
    refuse("x == \"abc", "\"", no_end, "close it with \"");
    refuse("'a\nb'", "'", no_end, "on the same line");
    refuse("`abc", "`", no_end, "close it with `");
    refuse(r"'\", "'", no_end, "close it with '");
    refuse(r"'\x4'", r"\x4", few, "the forms are");
    refuse(r"'\18'", r"\1", few, "the forms are");
    refuse(r"'\u{}'", r"\u{", few, "the forms are");
    refuse(r"'\u{1234567}'", r"\u{", few, "the forms are");
    refuse(r"'\u{110000}'", r"\u{110000", r"`\u{110000` is not a character", "");
    refuse(r"'\400'", r"\4", r"`\4` is no escape", r"write \\4");
    refuse(r"b'\u0041'", r"b'\u0041'", "a byte array has no \\u escapes", "with \\x");
    refuse(
        "9223372036854775808",
        "9223372036854775808",
        "`9223372036854775808` is not a number of 64 bits",
        "",
    );
    refuse("0x", "0x", "`0x` is not a number of 64 bits", "");
    refuse("1e", "1e", "`1e` is not a number that a float can hold", "");
    refuse("1e400", "1e400", "`1e400` is not a number that a float can hold", "");
    refuse("5x", "5x", "`5x` is not a number", "");
    refuse("5m", "5m", "`5m` is not a number", "duration('5m')");
}

#[test]
fn precedence() {
    for (text, expected) in [
        ("a or b and c", "(a || (b && c))"),
        ("a || b || c && d && e", "(a || b || (c && d && e))"),
        ("a && (b && c)", "(a && (b && c))"),
        ("(a && b) && c", "(a && b && c)"),
        ("not a == b", "((not a) == b)"),
        ("!a && b", "((not a) && b)"),
        ("not (a == b)", "(not (a == b))"),
        ("not a in b", "((not a) in b)"),
        ("a == b == c", "((a == b) == c)"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a - b - c", "((a - b) - c)"),
        ("a % b / c", "((a % b) / c)"),
        ("not a + b", "((not a) + b)"),
        ("not a * b", "(not (a * b))"),
        ("-a * b", "((-a) * b)"),
        ("-2 ** 2", "(-(2 ** 2))"),
        ("2 ** 3 ** 2", "(2 ** (3 ** 2))"),
        ("2 ^ 3", "(2 ** 3)"),
        ("1 + 1 .. 2 * 3", "((1 + 1) .. (2 * 3))"),
        ("x in 1..3", "(x in (1 .. 3))"),
        ("z == x ?? y", "(z == (x ?? y))"),
        ("x ?? y ?? z", "((x ?? y) ?? z)"),
        ("z == x ?? y && w", "((z == (x ?? y)) && w)"),
        ("x ?? y ? a : b", "((x ?? y) ? a : b)"),
        ("a ?? b ** c ?? d", "refused"),
        ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
        ("a ? b ? c : d : e", "(a ? (b ? c : d) : e)"),
        ("a ?: b", "(a ?: b)"),
        ("a == 1 ?: b", "((a == 1) ?: b)"),
        ("a or b | f()", "f((a || b))"),
        ("a | f(b) | g() == c", "(g(f(a, b)) == c)"),
        ("a | any(# == 1)", "any(a, { (# == 1) })"),
        ("a + b contains c", "((a + b) contains c)"),
        ("a contains b and c startsWith d", "((a contains b) && (c startsWith d))"),
        ("a matches 'x' ? 1 : 2", "((a matches 'x') ? 1 : 2)"),
    ] {
        if expected == "refused" {
            assert!(parse(text).is_err(), "{text}");
        } else {
            check(text, expected);
        }
    }
}

#[test]
fn negated_and_chained() {
    for (text, expected) in [
        ("a not in b", "(not (a in b))"),
        ("a not   in b", "(not (a in b))"),
        ("a not contains b", "(not (a contains b))"),
        ("a not matches b", "(not (a matches b))"),
        ("a not startsWith b", "(not (a startsWith b))"),
        ("a not endsWith b && c", "((not (a endsWith b)) && c)"),
        ("a < b", "(a < b)"),
        ("a < b < c", "(a < b < c)"),
        ("a < b <= c > d", "(a < b <= c > d)"),
        ("a < b == c", "((a < b) == c)"),
        ("a < b + 1 < c and d", "((a < (b + 1) < c) && d)"),
    ] {
        check(text, expected);
    }
    refuse("a not b", "not", "expected an operator or the end, found `not`", "");
    refuse("a not == b", "not", "expected an operator or the end, found `not`", "");
}

#[test]
fn chains() {
    for (text, expected) in [
        ("a.b.c", "a.b.c"),
        ("a.not.in.matches.if", "a.not.in.matches.if"),
        ("a?.b.c", "a?.b.c"),
        ("a?.[0].b", "a?.[0].b"),
        ("(a?.b).c", "a?.b.c"),
        ("a[1:2]", "a[1:2]"),
        ("a[:2]", "a[:2]"),
        ("a[1:]", "a[1:]"),
        ("a[:]", "a[:]"),
        ("a[-4:]", "a[(-4):]"),
        ("a['x'][b ? 1 : 2]", "a['x'][(b ? 1 : 2)]"),
        ("a.M(1, 2,).N()", "a.M(1, 2).N()"),
        ("f(a)(b)", "f(a)(b)"),
        ("::len(a).b", "::len(a).b"),
        ("-a.b", "(-a.b)"),
        ("'abc'[1:]", "'abc'[1:]"),
        ("a | f().b", "f(a).b"),
        ("a // comment\n .b /* another */ .c", "a.b.c"),
    ] {
        check(text, expected);
    }
    let chain = |text: &str| matches!(parse(text).unwrap().kind, ExprKind::Chain(_));
    assert!(chain("a?.b") && chain("a?.b.c[1](d)") && chain("(a?.b).c"));
    assert!(!chain("a.b") && !chain("f(a?.b)") && !chain("(a?.b) + 1"));
}

#[test]
fn predicates() {
    for (text, expected) in [
        ("any(a, {# == 1})", "any(a, { (# == 1) })"),
        ("any(a, # == 1)", "any(a, { (# == 1) })"),
        ("all(a, {.b.c == 1})", "all(a, { (#.b.c == 1) })"),
        ("all(a, .b)", "all(a, { #.b })"),
        ("map(a, #index)", "map(a, { #index })"),
        ("reduce(a, #acc + #, 0)", "reduce(a, { (#acc + #) }, 0)"),
        ("sortBy(a, .b, 'desc',)", "sortBy(a, { #.b }, 'desc')"),
        ("count(a)", "count(a)"),
        ("count(a,)", "count(a)"),
        ("count(a, {true},)", "count(a, { true })"),
        ("filter(a, {let x = #; x > 1})", "filter(a, { (let x = #; (x > 1)) })"),
        ("filter(a, {f(#); # > 1;})", "filter(a, { (f(#); (# > 1)) })"),
        ("any(a, {any(.b, {# == 1})})", "any(a, { any(#.b, { (# == 1) }) })"),
        ("::any(a, #)", "::any(a, { # })"),
        ("any(a, {#.b[0] contains 'x'})", "any(a, { (#.b[0] contains 'x') })"),
    ] {
        check(text, expected);
    }
    refuse("#", "#", "this belongs to a predicate, and there is none around it", "element of a list");
    refuse(".x", ".", "a member of nothing", "in a predicate only");
    refuse("any(a)", ")", "expected a predicate, found `)`", "write any(list,");
    refuse("any(a,)", ")", "expected a predicate, found `)`", "write any(list,");
    refuse("a | any()", ")", "expected a predicate, found `)`", "write any(list,");
    refuse("any()", ")", "expected a list, found `)`", "write any(list,");
    refuse("any(a, {#foo})", "#foo", "`#foo` is unknown", "#acc");
    refuse("any(a, f(#); g())", ";", "expected `)`, found `;`", "in braces");
    refuse(
        "# a comment",
        "#",
        "this belongs to a predicate, and there is none around it",
        "element of a list",
    );
}

#[test]
fn blocks() {
    for (text, expected) in [
        ("let x = 1; x + 1", "(let x = 1; (x + 1))"),
        ("let x = 1; let y = x; x; y;", "(let x = 1; (let y = x; (x; y)))"),
        ("(let x = 1; x) + 1", "((let x = 1; x) + 1)"),
        ("a; b; c", "(a; b; c)"),
        ("(a; b;)", "(a; b)"),
        ("if a { b } else { c }", "(a ? b : c)"),
        ("if a { b; c } else if d { e } else { f }", "(a ? (b; c) : (d ? e : f))"),
        ("if a { let x = 1; x } else { 2 }", "(a ? (let x = 1; x) : 2)"),
        ("[if a {1} else {2}, 3]", "[(a ? 1 : 2), 3]"),
    ] {
        check(text, expected);
    }
    refuse("if a { b }", "", "the expression ends where `else` should stand", "needs an `else");
    refuse("if a { b } else { c } + 1", "+", "expected an operator or the end, found `+`", "");
    refuse("let x == 1; x", "==", "expected `=`, found `==`", "");
    refuse("let in = 1; 2", "in", "expected a name, found `in`", "");
    refuse("1 + let x = 1; x", "let", "expected a value, found `let`", "");
}

#[test]
fn mistakes() {
    refuse("", "", "the expression ends where a value should stand", "");
    refuse("a ==", "", "the expression ends where a value should stand", "");
    refuse("a = 'b'", "=", "expected an operator or the end, found `=`", "write ==");
    refuse("a === b", "=", "expected a value, found `=`", "write ==");
    refuse("a <> b", ">", "expected a value, found `>`", "write !=");
    refuse("a & b", "&", "`&` means nothing here", "write &&");
    refuse("a AND b", "AND", "expected an operator or the end, found `AND`", "write `and`");
    refuse(
        "a startswith b",
        "startswith",
        "expected an operator or the end, found `startswith`",
        "`startsWith`",
    );
    refuse("a ends_with b", "ends_with", "expected an operator or the end, found `ends_with`", "`endsWith`");
    refuse("(a || b", "(", "this `(` is never closed", "write `)`");
    refuse("f(a, [b, c)", ")", "expected `]`, found `)`", "");
    refuse("[a, b", "[", "this `[` is never closed", "write `]`");
    refuse("any(a, { # ", "{", "this `{` is never closed", "write `}`");
    refuse("a)", ")", "expected an operator or the end, found `)`", "closes nothing");
    refuse("'it's'", "s", "expected an operator or the end, found `s`", "");
    refuse("x ?? y == z", "==", "`??` and `==` stand side by side", "in parentheses");
    refuse("x ?? y not in z", "not", "`??` and `not` stand side by side", "in parentheses");
    refuse("a | b", "", "the expression ends where `(` should stand", "");
    refuse("a | 1", "1", "expected the name of a function, found `1`", "f(a, b)");
    refuse("{in: 1}", "in", "expected a key, found `in`", "a key is");
    refuse("{a 1}", "1", "expected `:`, found `1`", "");
    refuse("a /* b", "/*", "this comment does not end", "*/");
    refuse("a ? b", "", "the expression ends where `:` should stand", "");
    refuse("a.", "", "the expression ends where a name after the dot should stand", "");
    refuse("nil.a", ".", "expected an operator or the end, found `.`", "");
    refuse("1[0]", "[", "expected an operator or the end, found `[`", "");
    refuse("a.1", ".1", "expected an operator or the end, found `.1`", "");
    refuse("x == \u{201c}a\u{201d}", "\u{201c}", "`\u{201c}` means nothing here", "plain quotes");
    // What is wrong first is told first, also where the text has no end as tokens.
    refuse("a b 'c", "b", "expected an operator or the end, found `b`", "");
}

#[test]
fn wide_expressions_stay_flat() {
    for (operator, terms) in [("||", 4_999), ("&&", 4_999), ("or", 3_000)] {
        let text = vec!["a"; terms].join(&format!(" {operator} "));
        match parse(&text).unwrap().kind {
            ExprKind::Or(operands) | ExprKind::And(operands) => assert_eq!(operands.len(), terms),
            other => panic!("{other:?}"),
        }
    }
    let list = format!("[{}]", vec!["1"; 9_000].join(","));
    assert!(parse(&list).is_ok());
}

#[test]
fn limits() {
    let too_many = format!("the expression has more than {MAX_NODES} parts");
    let too_deep = format!("this is nested more than {MAX_DEPTH} levels deep");
    let repeated = |unit: &str, n: usize| unit.repeat(n);
    for (text, message) in [
        (vec!["a"; 6_000].join("||"), &too_many),
        (format!("[{}]", repeated("1,", 10_001)), &too_many),
        (format!("a{}", repeated("+a", 300)), &too_deep),
        (format!("a{}", repeated(".a", 500_000)), &too_deep),
        (format!("a{}", repeated("?.a", 300)), &too_deep),
        (format!("a{}", repeated("[0]", 300)), &too_deep),
        (format!("a{}", repeated("()", 300)), &too_deep),
        (format!("a{}", repeated("|f()", 300)), &too_deep),
        (format!("a{}", repeated("**a", 300)), &too_deep),
        (format!("a{}", repeated("??a", 300)), &too_deep),
        (repeated("(", 1_000_000), &too_deep),
        (repeated("[", 1_000_000), &too_deep),
        (repeated("-", 1_000_000), &too_deep),
        (repeated("not ", 300_000), &too_deep),
        (repeated("a?", 500_000), &too_deep),
        (repeated("a?b:", 300_000), &too_deep),
        (repeated("{a:", 300_000), &too_deep),
        (repeated("any(a,{", 100_000), &too_deep),
        (repeated("let a=1;", 100_000), &too_deep),
        (repeated("if a{1}else ", 100_000), &too_deep),
        (repeated("f(", 300_000), &too_deep),
        (repeated("a||(b&&", 300_000), &too_deep),
    ] {
        let error = parse(&text).expect_err("too large");
        assert_eq!(error.message, *message, "{}…", &text[..20]);
    }
    let nested = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    assert!(parse(&nested).is_ok());
    let sum = vec!["a"; 200].join("+");
    assert!(parse(&sum).is_ok());
}

/// Snippets that, in any order, make texts which look like expressions.
const SNIPPETS: &[&str] = &[
    "evt",
    ".Parsed",
    ".x",
    "?.y",
    "[0]",
    "[1:]",
    "?.[k]",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    "?",
    "??",
    " == ",
    " != ",
    "<",
    ">=",
    " in ",
    " not in ",
    " not ",
    " and ",
    "||",
    "&&",
    "!",
    "|",
    "..",
    "+",
    "-",
    "**",
    "'a'",
    "\"b\"",
    "`c`",
    "b'd'",
    "'\\",
    "1",
    "2.5",
    "0x",
    "nil",
    "true",
    "#",
    "#acc",
    ".f",
    "any(",
    "map(",
    "reduce(",
    "f(",
    "::len(",
    "let x = ",
    "if ",
    " else ",
    "matches",
    " contains ",
    "$env",
    "=",
    "&",
    "/*",
    "*/",
    "//",
    "\n",
    "é",
    "a",
    "b",
];

proptest! {
    #[test]
    fn never_panics_on_text(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn never_panics_on_tokens(parts in prop::collection::vec(prop::sample::select(SNIPPETS), 0..40)) {
        let text = parts.concat();
        match parse(&text) {
            // What parses is shown in a form that parses to the same.
            Ok(expr) => {
                let shown = show(&expr);
                let again = parse(&shown).map_err(|e| TestCaseError::fail(format!("{text}: {shown}: {e}")))?;
                prop_assert_eq!(show(&again), shown);
            }
            Err(error) => prop_assert!(text.get(error.span.range()).is_some(), "{} {:?}", text, error),
        }
    }
}

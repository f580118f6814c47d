//! The facts about RE2 that the translation rests on, each checked against Go's implementation of the syntax.

use proptest::prelude::*;

use super::*;

fn check(re2: &str, expected: &str) {
    assert_eq!(translate(re2).as_deref(), Ok(expected), "{re2}");
    parse_translated(expected).unwrap_or_else(|error| panic!("{re2} became {expected}: {error}"));
}

fn refused(re2: &str, offset: usize) {
    let error = translate(re2).expect_err(re2);
    assert_eq!(error.offset(), offset, "{re2}: {error}");
}

/// What `re2` finds in `text`, with its groups.
fn find<'t>(re2: &str, text: &'t str) -> Vec<Option<&'t str>> {
    let found = compile(re2).unwrap().captures(text);
    found.map(|groups| groups.iter().map(|group| Some(group?.as_str())).collect()).unwrap_or_default()
}

#[test]
fn ascii_classes_and_boundaries() {
    check(r"\d\D", "[0-9][^0-9]");
    check(r"\w\W", "[0-9A-Za-z_][^0-9A-Za-z_]");
    check(r"\s\S", r"[\t\n\x0C\r ][^\t\n\x0C\r ]");
    check(r"[\d\S]", r"[0-9[^\t\n\x0C\r ]]");
    check(r"[^\W]", "[^[^0-9A-Za-z_]]");
    check(r"\bx\B", r"(?-u:\b)x(?-u:\B)");
    check(r"[[:alpha:]-z]", r"[[:alpha:]\-z]");
    assert_eq!(find(r"\w+", "é1"), [Some("1")]);
    assert_eq!(find(r"\bx", "éx"), [Some("x")]);
    assert_eq!(find(r"[^\W]+", "é1"), [Some("1")]);
    assert!(find(r"\s", "\x0B\u{85}\u{A0}").is_empty());
    // Folding pulls in what folds to ASCII letters, in both.
    assert_eq!(find(r"(?i)\w", "\u{212A}"), [Some("\u{212A}")]);
}

#[test]
fn braces() {
    check("{", r"\{");
    check("a{}{,2}{2", r"a\{\}\{,2\}\{2");
    check("a{01}{1,02}", r"a\{01\}\{1,02\}");
    check(r#"{"ip":"#, r#"\{"ip":"#);
    check("%{X:y:int}", r"%\{X:y:int\}");
    check("a{2}b{2,}c{2,3}?", "a{2}b{2,}c{2,3}?");
    check("x{0}y{0,}", "x{0}y{0,}");
}

#[test]
fn classes() {
    check("[a[b]", r"[a\[b]");
    check("[[a]", r"[\[a]");
    check("[]a]", r"[\]a]");
    check("[^]a]", r"[^\]a]");
    check("[a&&b]", r"[a\&\&b]");
    check("[a~~+--c]", r"[a\~\~+-\-c]");
    check(r"[\w-.]", r"[0-9A-Za-z_\-.]");
    check(r"[\d-x]", r"[0-9\-x]");
    check("[a-]", r"[a\-]");
    check("[-a]", r"[\-a]");
    check("[+-=]", "[+-=]");
    check("[a^]", r"[a\^]");
    check(r"[\x41-\x{5A}\101\n]", r"[A-ZA\x0A]");
    check("[[:^digit:][:word:]]", "[[:^digit:][:word:]]");
    check("[[:x]", r"[\[:x]");
    check(r"[\pL\P{Greek}\p{^Lu}]", r"[\p{L}\P{Greek}\P{Lu}]");
    refused("x[[:foo:]]", 2);
    refused("x[b-a]", 2);
    refused(r"[a-\d]", 3);
    refused(r"[\Q]", 1);
    refused(r"[\b]", 1);
    refused("ab[c", 2);
    refused("[]", 0);
}

#[test]
fn escapes() {
    check(r"\<\>\_\-\/\:\@\%\=\ \#", "<>_-/:@%= #");
    check(r"\0\12\101\1234\08", r"\x00\x0AAS4\x008");
    check(r"\x41\x{1F600}\x{00000041}", "A\u{1F600}A");
    check(r"\a\f\n\r\t\v", r"\x07\x0C\x0A\x0D\x09\x0B");
    check(r"\A\z^$.", r"\A\z^$.");
    check(r"\pN\p{Lu}\P{^Greek}", r"\p{N}\p{Lu}\p{Greek}");
    check(r"a]b}\.\\", r"a\]b\}\.\\");
    for re2 in [
        r"\Z",
        r"\1",
        r"\8",
        r"\h",
        r"\G",
        r"\C",
        r"\_\y",
        r"\é",
        r"\xZ1",
        r"\x{}",
        r"\x{110000}",
        r"\x{D800}",
    ] {
        let offset = if re2.starts_with(r"\_") { 2 } else { 0 };
        refused(re2, offset);
    }
    refused(r"a\", 1);
    refused(r"a\p{Alphabetic}", 1);
    refused(r"\p{Lu", 0);
    refused(r"\p", 0);
}

#[test]
fn quotations() {
    check(r"\Qa.b\E.", r"a\.b.");
    check(r"\Qa\b", r"a\\b");
    check(r"x\Q.*", r"x\.\*");
    check(r"\Qab\E*", "ab*");
    check(r"a\Q\E*", "a*");
    refused(r"a\E", 1);
}

#[test]
fn groups() {
    check("(a)(?:b)(?P<n>c)(?<m>d)", "(a)(?:b)(?P<n>c)(?P<m>d)");
    check("(?P<1a>x)", "(x)");
    check("()|(|a)", "()|(|a)");
    check("(?P<n>x)(?<n>y)", "(?P<n>x)(y)");
    refused("a(?P<n-x>y)", 1);
    refused("a(?P<>y)", 1);
    for re2 in
        ["a(?=b)", "a(?!b)", "a(?<=b)", "a(?<!b)", "a(?>b)", "a(?x)b", "a(?P=n)", "a(?i-)b", "a(?-:b)", "a(?"]
    {
        refused(re2, 1);
    }
    refused("a)", 1);
    refused("a(b(c)", 1);
}

#[test]
fn flags() {
    check("(?i)a|b", "(?i)a|b");
    check("a(?i)b(?-i)c", "a(?i)b(?-i)c");
    check("(?ii)a(?)b(?i-i)c", "(?i)ab(?-i)c");
    check("(?sm-i)a", "(?ms)a");
    check("((?i)a)b(?s:.).", "((?i)a)b(?s:.).");
    check("(?i)(?-i:a)b", "(?:a)(?i)b");
    check("(?U)a*b+?c{2}", "a*?b+c{2}?");
    check("(?U:a*)a*", "(?:a*?)a*");
    check("(?i)", "");
    // Flags are no thing to repeat: the repetition reaches back over them.
    check("a(?i)*b", "a*(?i)b");
}

#[test]
fn repetitions() {
    check("a*?b+?c??", "a*?b+?c??");
    check("^*", "^*");
    for (re2, offset) in [("a**", 2), ("a*+", 2), ("a++", 2), ("a{2}{3}", 4), ("a+{2}", 2), ("a???", 3)] {
        refused(re2, offset);
    }
    for (re2, offset) in [("*", 0), ("a|*", 2), ("(*)", 1), ("(?i)*", 4), ("{1}", 0), ("a|+", 2)] {
        refused(re2, offset);
    }
    // What stands between may be empty; the second one then repeats the first.
    check(r"a*\Q\E?", "(?:a*)?");
    check(r"(a)*(?i)*", "(?:(a)*)*");
    check("a{1000}", "a{1000}");
    check("(a{10}b{99}){10}", "(a{10}b{99}){10}");
    check("((a{500}){2}){0}", "((a{500}){2}){0}");
    refused("a{1001}", 1);
    refused("a{2,1}", 1);
    refused("a{99999999999}", 1);
    refused("x(a{10}b{101}){10}", 14);
    refused("((a{100}){2}){6}", 13);
}

#[test]
fn offsets_of_groups_survive_rewriting() {
    let translation = scan(r"(a\d)(b)*(?i)*(?P<n>[)]\()").unwrap();
    assert_eq!(translation.regex, r"(a[0-9])(?:(b)*)*(?i)(?P<n>[)]\()");
    let openers: Vec<_> =
        translation.groups.iter().map(|g| (g.source, &translation.regex[g.opener.clone()])).collect();
    assert_eq!(openers, [(0, "("), (5, "("), (14, "(?P<n>")]);
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")*".repeat(depth));
    assert!(compile(&nested(MAX_GROUP_DEPTH)).is_ok());
    refused(&nested(MAX_GROUP_DEPTH + 1), MAX_GROUP_DEPTH);
    // The costliest nesting that is let through stays below the limit of the regex crate.
    let worst = (0..MAX_GROUP_DEPTH).fold("[^\\D]".to_owned(), |inner, _| format!(r"(b|c{inner}*\Q\E*)"));
    assert!(compile(&worst).is_ok());
}

#[test]
fn size_is_limited() {
    assert!(matches!(compile(r"(\pL{100}\PL{100}){10}"), Err(PatternError::TooBig { .. })));
}

/// Fragments that say something in RE2, to be strung together at random.
fn fragment() -> impl Strategy<Value = String> {
    let pieces: Vec<&'static str> = vec![
        "a",
        "b",
        "é",
        "1",
        " ",
        "-",
        ".",
        "^",
        "$",
        "|",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?-s:",
        "(?U)",
        "(?P<n>",
        "[",
        "]",
        "[^",
        "[:alpha:]",
        "&&",
        "~~",
        "--",
        "*",
        "+",
        "?",
        "{",
        "}",
        "{2}",
        "{2,}",
        "{,2}",
        "{1,3}",
        r"\d",
        r"\W",
        r"\b",
        r"\s",
        r"\Q",
        r"\E",
        r"\x41",
        r"\x{41}",
        r"\12",
        r"\pL",
        r"\p{Greek}",
        r"\p{^Lu}",
        r"\<",
        r"\\",
        r"\",
        ",",
        ":",
        "=",
        "<",
        ">",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn output_is_always_valid(re2 in prop_oneof![fragment(), any::<String>()]) {
        match scan(&re2) {
            Ok(translation) => {
                let hir = parse_translated(&translation.regex);
                prop_assert!(hir.is_ok(), "{} became {}", re2, translation.regex);
                let groups = hir.map(|hir| hir.properties().explicit_captures_len());
                prop_assert_eq!(groups, Ok(translation.groups.len()));
            }
            Err(error) => prop_assert!(re2.is_char_boundary(error.offset()), "{} at {}", re2, error.offset()),
        }
    }
}

//! The fast matcher says what the `regex` crate says: on generated expressions and texts, whatever their shape.

use proptest::prelude::*;
use regex::{Captures, Regex};
use testudo_pattern::backtrack::{Matcher, Outcome, Scratch, Unsupported};

/// Parts without structure.
fn leaf() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "abc",
        "-",
        " ",
        "é",
        "日",
        "x:",
        "\"",
        "0",
        "aba",
        "a=",
        "[ab]",
        "[^a]",
        "[^\"]",
        "[^ab\\n]",
        ".",
        "(?s:.)",
        "[a-cé]",
        "[0-9]",
        "[a-z0-9]",
        "[^\\s]",
        "[é日]",
        "[^é]",
        "(?i:ab)",
        "(?i:[a-c])",
        "(?i:k)",
        "(?-u:\\b)",
        "(?-u:\\B)",
        "^",
        "$",
        "(?m:^)",
        "(?m:$)",
        "[0-9A-Fa-f]{1,2}:",
        "[ab]+",
        "[^ ]*",
        ".*",
        ".*?",
        "[a-z]{2,3}",
        ".{2}",
        "[^\"]{1,2}?",
        "(?:25[0-5]|[01]?[0-9])",
    ])
    .prop_map(str::to_owned)
}

/// Expressions out of everything that grok patterns use.
fn expression() -> impl Strategy<Value = String> {
    leaf().prop_recursive(5, 40, 4, |inner| {
        let quantifier = prop::sample::select(vec![
            "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,3}", "{2,}", "{1,2}?", "{2,}?", "{3,9}", "{0,1}",
        ]);
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 2..5).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            1 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join("|"))),
            3 => inner.clone().prop_map(|part| format!("({part})")),
            4 => (inner.clone(), quantifier.clone()).prop_map(|(part, quantifier)| format!("(?:{part}){quantifier}")),
            // Shapes with treatments of their own: common prefixes, and loops over runs.
            2 => prop::collection::vec(inner.clone(), 4).prop_map(|parts| {
                format!("(?:{0}{1}|{0}{2}|{0}{3})", parts[0], parts[1], parts[2], parts[3])
            }),
            2 => (prop::sample::select(vec!["[ab]+", "([a-c]+)", "[^b]+", ".+"]), inner.clone(), inner.clone()).prop_map(
                |(run, other, after)| format!("(?:{run}|{other})*{after}")
            ),
            2 => (inner, quantifier).prop_map(|(part, quantifier)| format!("({part}){quantifier}")),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "ab",
        "abc",
        "aba",
        "-",
        " ",
        "é",
        "日",
        "x:",
        "\"",
        "0",
        "7",
        "12",
        "255",
        "\n",
        "a=",
        "k",
        "\u{212a}",
        "B",
        "A",
        "F:",
        "z",
        "ż",
        "\u{10348}",
    ]);
    prop_oneof![
        6 => prop::collection::vec(piece.clone(), 0..12).prop_map(|parts| parts.concat()),
        1 => prop::collection::vec(piece, 20..60).prop_map(|parts| parts.concat()),
    ]
}

/// Compares on all groups, then on some of them (`mask`).
fn compare(
    regex: &Regex,
    texts: &[impl AsRef<str>],
    mask: u64,
    scratch: &mut Scratch,
) -> Result<(), TestCaseError> {
    let pattern = regex.as_str();
    let all: Vec<usize> = (0..regex.captures_len()).collect();
    let some: Vec<usize> = all.iter().rev().copied().filter(|group| mask >> (group % 64) & 1 != 0).collect();
    for wanted in [all, some] {
        let matcher = match Matcher::new(pattern, &wanted) {
            Ok(matcher) => matcher,
            Err(Unsupported::EmptyRound) => continue,
            Err(error) => return Err(TestCaseError::fail(format!("{pattern}: {error}"))),
        };
        let mut spans = vec![None; wanted.len()];
        for text in texts {
            let text = text.as_ref();
            let expected = regex.captures(text);
            let outcome = matcher.search(text, scratch, &mut spans);
            check(pattern, text, outcome, &wanted, &spans, expected.as_ref())?;
            if let Some(start) = expected.as_ref().and_then(|expected| Some(expected.get(0)?.start())) {
                spans.fill(None);
                let outcome = matcher.search_at(text, start, scratch, &mut spans);
                check(pattern, text, outcome, &wanted, &spans, expected.as_ref())?;
            }
        }
    }
    Ok(())
}

fn check(
    pattern: &str,
    text: &str,
    outcome: Outcome,
    wanted: &[usize],
    spans: &[Option<(u32, u32)>],
    expected: Option<&Captures<'_>>,
) -> Result<(), TestCaseError> {
    match (outcome, expected) {
        (Outcome::GaveUp, _) | (Outcome::NoMatch, None) => {}
        (Outcome::Match, Some(expected)) => {
            for (&group, &span) in wanted.iter().zip(spans) {
                let expected = expected.get(group).map(|found| (found.start() as u32, found.end() as u32));
                prop_assert_eq!(span, expected, "{:?} on {:?}, group {}", pattern, text, group);
            }
        }
        _ => {
            let said = format!("{pattern:?} on {text:?}: {outcome:?} instead of {expected:?}");
            return Err(TestCaseError::fail(said));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn says_what_regex_says(
        pattern in expression(),
        texts in prop::collection::vec(text(), 20),
        mask in any::<u64>(),
    ) {
        let Ok(regex) = Regex::new(&pattern) else { return Ok(()) };
        compare(&regex, &texts, mask, &mut Scratch::default())?;
    }
}

/// Shapes that generation rarely hits.
#[test]
fn known_shapes() {
    let patterns = [
        r#"("(\\.|[^\\"]+)+")|""|('(\\.|[^\\']+)+')"#,
        r"(/([\w_%!$@:.,~-]+|\\.)*)+",
        r"^(.*)\?(.*)$",
        r"(a+)(b*)(a*)b",
        r"((a)|b)*c?",
        r"(?:(a)|(b)|(ab))+(b)?",
        r"(a|ab)(c|bcd)(d*)",
        r"(.*?)(\d+)$",
        r"(\S+) (\S+)",
        r"([^ ]+)+ x",
        r"(a{2}b){2}(c{1,2}){2,3}",
        r"((a{2}b){2,9}c){3}|a",
        r"(?:(a{1,2})?b){12,20}",
        r"(?:a*){3}b",
        r"(a|b)*?c",
        r"(?:ab|cd)+?(c|$)",
        r"^(?:(a|bb)-?){13,16}(.*)$",
        r"^(?:(a|bb)-?){13,16}?a$",
        r"^(?:(a|bb)-?){13,26}?a$",
        r"(?:(a|bb)-?){13,}?(a*)",
        r"-(?:(?-u:\b)(a))+(.*)",
        r"Failed|Fail(ed|ing)? now",
        r"é(?:ä|ö)x|é(?:ä|ö)y|éé",
    ];
    let texts = [
        "",
        "a",
        "ab",
        "aab",
        "abcd",
        "abab",
        "ababc",
        "aabaabccaabaabccc",
        "\"abc\\\"d\" x",
        "\"abc",
        "'x\\'y'",
        "\"\"",
        "a-a-bba-abbbba-a-a-abbaabb-aa-a-abb-a-a-a-aaa",
        "-aaa",
        "/a/b\\ c/é",
        "/index.php?a=b?c=d",
        "one two three",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa x",
        "cdabcdc",
        "Failing now",
        "abbabbaabbbababbbbabbb",
        "aaab",
        "éöy",
        "ééx",
        "12\n34",
    ];
    let mut scratch = Scratch::default();
    for pattern in patterns {
        let regex = Regex::new(pattern).expect(pattern);
        compare(&regex, &texts, 0b1010, &mut scratch).expect(pattern);
    }
}

#[test]
fn refuses_what_it_does_not_know() {
    let check = |pattern: &str, wanted: &[usize], expected: Unsupported| {
        assert_eq!(Matcher::new(pattern, wanted).err(), Some(expected), "{pattern}");
    };
    check("(a*)*", &[1], Unsupported::EmptyRound);
    check("(|a)+", &[], Unsupported::EmptyRound);
    check(r"\bé", &[], Unsupported::Assertion);
    check("(a)", &[0, 2], Unsupported::Group(2));
    check(&".é".repeat(20_000), &[], Unsupported::Size);
    assert!(matches!(Matcher::new("(", &[]), Err(Unsupported::Syntax(_))));
}

#[test]
fn gives_up_in_time() {
    // Every split of the run is tried: far more steps than a search may take, with or without remembering.
    let matcher = Matcher::new("^(?:(?:(a{1,9})){2,9}){2,9}$", &[1]).expect("supported");
    let mut scratch = Scratch::default();
    assert_eq!(matcher.search(&("a".repeat(300) + "b"), &mut scratch, &mut []), Outcome::GaveUp);
    // Exponential without remembering, linear with it.
    let matcher = Matcher::new("^(?:(a)|(ab)|b)*$", &[1, 2]).expect("supported");
    assert_eq!(matcher.search(&("ab".repeat(300) + "x"), &mut scratch, &mut []), Outcome::NoMatch);
}

#[test]
fn compiles_hostile_patterns_in_time_and_space() {
    let chain: Vec<String> = (1..1000).map(|len| "a".repeat(len)).collect();
    for pattern in [
        format!("{}x{}", "(?:a|b".repeat(120), ")+".repeat(120)),
        format!("{}x{}", "(?:a|ab|abc".repeat(120), "){2,9}".repeat(120)),
        chain.join("|"),
        "(?:[ab]x?c|d)".repeat(5000) + "e",
        "[ab]{1,9}[bc]{1,9}[ac]{1,9}x".repeat(2000) + "y",
    ] {
        // Supported or not, it comes back.
        if let Ok(matcher) = Matcher::new(&pattern, &[0]) {
            matcher.search("abcabcabx", &mut Scratch::default(), &mut []);
        }
    }
}

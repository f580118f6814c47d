//! The fast matcher says what the `regex` crate says: on generated expressions and texts, whatever their shape.

use proptest::prelude::*;
use regex::Regex;
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

/// Compares on all groups, then on some of them (`mask`), and returns what the matcher said.
fn compare(
    pattern: &str,
    text: &str,
    mask: u64,
    scratch: &mut Scratch,
) -> Result<Option<Outcome>, TestCaseError> {
    let Ok(regex) = Regex::new(pattern) else { return Ok(None) };
    compare_with(&regex, pattern, std::slice::from_ref(&text), mask, scratch).map(|_| Some(Outcome::Match))
}

fn compare_with<T: AsRef<str>>(
    regex: &Regex,
    pattern: &str,
    texts: &[T],
    mask: u64,
    scratch: &mut Scratch,
) -> Result<[usize; 3], TestCaseError> {
    let all: Vec<usize> = (0..regex.captures_len()).collect();
    let some: Vec<usize> = all.iter().rev().copied().filter(|group| mask >> (group % 64) & 1 != 0).collect();
    let mut counts = [0; 3];
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
            counts[outcome as usize] += 1;
            match outcome {
                Outcome::GaveUp => {}
                Outcome::NoMatch => {
                    prop_assert!(expected.is_none(), "{pattern:?} on {text:?}: missed {expected:?}");
                }
                Outcome::Match => {
                    let Some(expected) = expected else {
                        return Err(TestCaseError::fail(format!(
                            "{pattern:?} on {text:?}: false match {spans:?}"
                        )));
                    };
                    for (&group, &span) in wanted.iter().zip(&spans) {
                        let expected =
                            expected.get(group).map(|found| (found.start() as u32, found.end() as u32));
                        prop_assert_eq!(span, expected, "{:?} on {:?}, group {}", pattern, text, group);
                    }
                }
            }
        }
    }
    Ok(counts)
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
        let counts = compare_with(&regex, &pattern, &texts, mask, &mut Scratch::default())?;
        if std::env::var_os("BACKTRACK_COUNTS").is_some() {
            eprintln!("counts {counts:?}");
        }
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
        for text in texts {
            compare(pattern, text, 0b1010, &mut scratch).expect(pattern);
        }
    }
}

//! Literals that a text must contain to match, read off the structure of a regex.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Literals that neighbours may make together: all texts of the one before all of the other.
const MAX_PRODUCT: usize = 24;

/// Most literals that are worth looking for at once.
const MAX_LITERALS: usize = 96;

/// Characters of a class that are tried one by one.
const MAX_CLASS: usize = 6;

/// Rounds of a repetition that are written out.
const MAX_ROUNDS: u32 = 4;

/// Longest literal in bytes: beyond that a longer one does not select better.
const MAX_LITERAL_BYTES: usize = 32;

/// Literals of which at least one occurs in every match; `None` if there is no such set (or a poor one only).
pub(super) fn required(hir: &Hir) -> Option<Vec<String>> {
    sorted(Facts::of(hir, Case::Exact))
}

/// Literals in lower case of which every **ASCII** text that the regex (in the syntax of the `regex` crate)
/// matches contains at least one, whatever the case of its letters. `None` if there is no such set.
pub fn folded_literals(regex: &str) -> Option<Vec<String>> {
    sorted(Facts::of(&regex_syntax::parse(regex).ok()?, Case::Folded))
}

/// The literals of which a regex (in the syntax of the `regex` crate) looks for any, if this is all that it does.
pub fn plain_literals(regex: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::parse(regex).ok()?;
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    usable(&Facts::of(&hir, Case::Exact).exact?)
}

fn sorted(facts: Facts) -> Option<Vec<String>> {
    let whole = facts.exact.as_deref().and_then(usable);
    let best = better(whole, facts.required)?;
    let mut literals = best;
    literals.sort_unstable();
    literals.dedup();
    Some(literals)
}

/// How the literals are going to be looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// As they are.
    Exact,
    /// In lower case, in ASCII texts only.
    Folded,
}

/// What is known about the texts that a part of a regex matches.
struct Facts {
    /// Every text that it matches, if they are few and short.
    exact: Option<Vec<String>>,
    /// Of a repetition that takes at least one round: every text of a round.
    round: Option<Vec<String>>,
    /// Non-empty literals of which at least one occurs in every match.
    required: Option<Vec<String>>,
}

impl Facts {
    const UNKNOWN: Self = Self { exact: None, round: None, required: None };

    fn exactly(texts: Vec<String>) -> Self {
        Self { exact: Some(texts), ..Self::UNKNOWN }
    }

    fn of(hir: &Hir, case: Case) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::exactly(vec![String::new()]),
            HirKind::Literal(literal) => match str::from_utf8(&literal.0) {
                Ok(text) if case == Case::Folded => Self::exactly(vec![text.to_ascii_lowercase()]),
                Ok(text) => Self::exactly(vec![text.to_owned()]),
                Err(_) => Self::UNKNOWN,
            },
            HirKind::Class(class) => Self::of_class(class, case),
            HirKind::Capture(capture) => Self::of(&capture.sub, case),
            HirKind::Repetition(repetition) => {
                let inner = Self::of(&repetition.sub, case);
                match (repetition.min, repetition.max) {
                    (min @ 1..=MAX_ROUNDS, Some(max)) if min == max => Self {
                        exact: inner.exact.as_deref().and_then(|texts| power(texts, min)),
                        required: better(inner.exact.as_deref().and_then(usable), inner.required),
                        round: inner.exact,
                    },
                    (0, Some(1)) => Self {
                        exact: inner.exact.and_then(|texts| union(texts, vec![String::new()])),
                        ..Self::UNKNOWN
                    },
                    (0, _) => Self::UNKNOWN,
                    _ => Self {
                        required: better(inner.exact.as_deref().and_then(usable), inner.required),
                        round: inner.exact,
                        exact: None,
                    },
                }
            }
            HirKind::Concat(parts) => Self::of_concat(parts, case),
            HirKind::Alternation(branches) => Self::of_alternation(branches, case),
        }
    }

    fn of_class(class: &Class, case: Case) -> Self {
        let Class::Unicode(class) = class else { return Self::UNKNOWN };
        let last = if case == Case::Folded { '\x7f' } else { char::MAX };
        let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end().min(last));
        // Letters without regard to case are two.
        let chars = chars.take(2 * MAX_CLASS + 1);
        let mut chars: Vec<char> = match case {
            Case::Exact => chars.collect(),
            Case::Folded => chars.map(|c| c.to_ascii_lowercase()).collect(),
        };
        chars.sort_unstable();
        chars.dedup();
        if chars.is_empty() || chars.len() > MAX_CLASS {
            return Self::UNKNOWN;
        }
        Self::exactly(chars.into_iter().map(String::from).collect())
    }

    /// Neighbours whose texts are all known join to a run; each run, and each part of its own, is a candidate.
    fn of_concat(parts: &[Hir], case: Case) -> Self {
        let mut best = None;
        let mut run = vec![String::new()];
        let mut whole = true;
        for part in parts {
            let facts = Self::of(part, case);
            best = better(best, facts.required);
            // The first round ends a run, the last one begins another.
            if let (None, Some(round)) = (&facts.exact, facts.round) {
                let run_with_round = product(&run, &round);
                best = better(best, usable(run_with_round.as_deref().unwrap_or(&run)));
                run = round;
                whole = false;
                continue;
            }
            match facts.exact.map(|texts| (product(&run, &texts), texts)) {
                Some((Some(longer), _)) => run = longer,
                Some((None, texts)) => {
                    best = better(best, usable(&run));
                    run = texts;
                    whole = false;
                }
                None => {
                    best = better(best, usable(&run));
                    run = vec![String::new()];
                    whole = false;
                }
            }
        }
        if whole {
            return Self { exact: Some(run), required: best, round: None };
        }
        Self { required: better(best, usable(&run)), ..Self::UNKNOWN }
    }

    fn of_alternation(branches: &[Hir], case: Case) -> Self {
        let mut exact = Some(Vec::new());
        let mut required = Some(Vec::new());
        for branch in branches {
            let facts = Self::of(branch, case);
            let of_branch = better(facts.exact.as_deref().and_then(usable), facts.required);
            required = required.zip(of_branch).and_then(|(all, more)| union(all, more));
            exact = exact.zip(facts.exact).and_then(|(all, more)| union(all, more));
        }
        Self { exact, required, round: None }
    }
}

/// Every sequence of so many of the texts.
fn power(texts: &[String], rounds: u32) -> Option<Vec<String>> {
    (1..rounds).try_fold(texts.to_vec(), |heads, _| product(&heads, texts))
}

/// The texts themselves as a set to look for, unless one of them is empty and so occurs everywhere.
fn usable(texts: &[String]) -> Option<Vec<String>> {
    texts.iter().all(|text| !text.is_empty()).then(|| texts.to_vec())
}

fn union(mut all: Vec<String>, more: Vec<String>) -> Option<Vec<String>> {
    all.extend(more);
    (all.len() <= MAX_LITERALS).then_some(all)
}

/// Every text of `heads` followed by every one of `tails`.
fn product(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    let longest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0);
    if heads.len() * tails.len() > MAX_PRODUCT || longest(heads) + longest(tails) > MAX_LITERAL_BYTES {
        return None;
    }
    Some(heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect())
}

/// The set that selects better: the one whose most common literal is rarer, then the smaller one.
fn better(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    let score = |set: &Vec<String>| {
        let least = set.iter().map(|text| rarity(text)).min().unwrap_or(0);
        (least, std::cmp::Reverse(set.len()))
    };
    match (a, b) {
        (Some(a), Some(b)) => Some(if score(&b) > score(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// How much a literal tells: its bytes, those twice that are rare in paths, names and messages.
fn rarity(text: &str) -> usize {
    let common = |byte: u8| byte.is_ascii_alphanumeric() || b" /.,:;-_=&?[]".contains(&byte);
    text.bytes().map(|byte| if common(byte) { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::translate;

    fn check(re2: &str, expected: Option<&[&str]>) {
        let hir = translate::parse_translated(&translate::translate(re2).unwrap()).unwrap();
        let literals = required(&hir);
        let literals: Option<Vec<&str>> =
            literals.as_ref().map(|set| set.iter().map(String::as_str).collect());
        assert_eq!(literals.as_deref(), expected, "{re2}");
    }

    #[test]
    fn regexes_that_are_literals() {
        let check = |regex: &str, expected: &[&str]| {
            let literals = plain_literals(regex).unwrap_or_default();
            assert_eq!(literals, expected, "{regex}");
        };
        check("abc", &["abc"]);
        check(r" \(a\)|b c(?:d|e)?", &[" (a)", "b cd", "b ce", "b c"]);
        check("(?i)a", &["A", "a"]);
        for other in ["^abc", r"\babc|d", "ab?|", "a*", "a.b", "a+|b", "[a-z]", ""] {
            check(other, &[]);
        }
    }

    proptest! {
        /// They are found where the regex matches.
        #[test]
        fn literals_do_for_the_regex(
            parts in prop::collection::vec(
                prop::sample::select(vec!["a", "b", "é", "ab", "c?", "(?:ab){0,2}", r"\b", "$", "[ab]", "(?i:b)", "|", "|"]),
                0..7,
            ),
            text in "[abABcCé]{0,6}",
        ) {
            let regex = parts.concat();
            if let (Some(literals), Ok(whole)) = (plain_literals(&regex), regex::Regex::new(&regex)) {
                prop_assert_eq!(literals.iter().any(|literal| text.contains(literal.as_str())), whole.is_match(&text));
            }
        }
    }

    #[test]
    fn required_literals() {
        check("Failed password for .*", Some(&["Failed password for "]));
        check(r"\d+ (?:GET|POST) /x", Some(&[" GET /x", " POST /x"]));
        check("abc|de", Some(&["abc", "de"]));
        check("(a|b)c?d", Some(&["acd", "ad", "bcd", "bd"]));
        check("(?i)ab", Some(&["AB", "Ab", "aB", "ab"]));
        check("(?:abc)+[0-9]", Some(&["abc"]));
        check(r"^\bfoo$", Some(&["foo"]));
        check("x.*yz", Some(&["yz"]));
        check(".*|abc", None);
        check("(?:abc)?", None);
        check("or(?: |%20)+[0-9]", Some(&["or ", "or%20"]));
        check("(?:ab|c)+d", Some(&["abd", "cd"]));
        check("[.-]{2}", Some(&["--", "-.", ".-", ".."]));
        check("[|<].*(?:or|if)", Some(&["<", "|"]));
        check(r"\d+", None);
        check("", None);
    }

    #[test]
    fn folded() {
        let check = |regex: &str, expected: Option<&[&str]>| {
            let literals = folded_literals(regex);
            let literals: Option<Vec<&str>> =
                literals.as_ref().map(|set| set.iter().map(String::as_str).collect());
            assert_eq!(literals.as_deref(), expected, "{regex}");
        };
        check("(?i)kiss", Some(&["kiss"]));
        check("(?i)(/wp-.*\\.php|/wp-content/plugins/.*\\.(txt|md))$", Some(&["/wp-"]));
        check("/PUBLIC/[^/]+/../[./]+/", Some(&["/public/"]));
        check("[Aa]B", Some(&["ab"]));
        // A class of no ASCII letter promises nothing.
        check("[\u{e9}\u{c9}]", None);
        check("(", None);
        check(".*", None);
    }

    /// Regexes of a small alphabet, so that many texts match.
    fn regexes() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[abAB'%]{1,3}",
            Just("[ab]".to_owned()),
            Just(r"[\sa]".to_owned()),
            Just("[^a]".to_owned()),
            Just(".".to_owned()),
            Just("^".to_owned()),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                (inner, prop::sample::select(vec!["?", "*", "+", "{2}", "{1,2}", "+?", "{2,}"]))
                    .prop_map(|(part, rounds)| format!("(?:{part}){rounds}")),
            ]
        })
    }

    proptest! {
        /// Whatever matches has one of the literals.
        #[test]
        fn no_match_without_a_literal(
            regex in regexes(),
            folds in any::<bool>(),
            texts in prop::collection::vec("[abAB' %\u{17f}]{0,8}", 24),
        ) {
            let regex = format!("(?{}:{regex})", if folds { "i" } else { "-i" });
            let Some(compiled) = regex::Regex::new(&regex).ok() else { return Ok(()) };
            let exact = required(&regex_syntax::parse(&regex).unwrap());
            let folded = folded_literals(&regex);
            for text in texts.iter().filter(|text| compiled.is_match(text)) {
                let has = |literals: &Option<Vec<String>>, text: &str| {
                    literals.as_ref().is_none_or(|all| all.iter().any(|literal| text.contains(literal.as_str())))
                };
                prop_assert!(has(&exact, text), "{:?} in {:?}", exact, text);
                let lower = text.to_ascii_lowercase();
                prop_assert!(!text.is_ascii() || has(&folded, &lower), "{:?} in {:?}", folded, text);
            }
        }
    }
}

//! Why a pattern fails on a text, and what would help.
//!
//! A change is only proposed after it was made and the changed pattern matched the text.

use std::{borrow::Cow, collections::BTreeSet};

use testudo_pattern::{Grok, Library};
use testudo_rules::{
    plan::{GrokPattern, GrokSource, ParserNode},
    set::RuleSet,
};

/// Other patterns whose reach is measured; the rest share fewer words with the text.
const MEASURED: usize = 24;

/// Words of a text that are tried in the place of one that it does not have.
const WORDS_TRIED: usize = 24;

/// The longest text that is compared, in bytes: measuring is slow.
const MAX_TEXT: usize = 4096;

/// Definitions that may stand in for one that does not fit, the narrowest first.
const WIDER: &[&str] = &[
    "IPV6",
    "IP",
    "HOSTNAME",
    "IPORHOST",
    "INT",
    "NUMBER",
    "WORD",
    "USERNAME",
    "EMAILADDRESS",
    "URIPATHPARAM",
    "NOTSPACE",
    "QS",
    "DATA",
];

/// How a pattern fares with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Up to which byte the text follows the pattern.
    pub end: usize,
    /// The piece of the pattern that the text does not go past; `None` where it matches.
    pub wanted: Option<String>,
    /// A change to the pattern with which it matches.
    pub change: Option<Change>,
}

/// A change to a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do, in words.
    pub what: String,
    /// The pattern with the change.
    pub pattern: String,
    /// Up to which byte the text follows the pattern as it is, where the change tells that better: what a wildcard takes
    /// may be more than it should.
    pub end: Option<usize>,
}

/// A pattern of a set of rules that comes near to a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The rule.
    pub rule: String,
    /// The pattern.
    pub pattern: String,
    /// Up to which byte the text follows it.
    pub end: usize,
    /// Whether it matches.
    pub matches: bool,
}

/// The patterns of a set of rules.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    library: Library,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: String,
    pattern: String,
    /// The key of `evt.Parsed` that it reads; `None`: the whole line.
    key: Option<String>,
    words: BTreeSet<String>,
}

impl Catalogue {
    /// Gathers the patterns of parsers.
    pub fn new(rules: &RuleSet) -> Catalogue {
        let mut catalogue = Catalogue { library: Library::standard(), entries: Vec::new() };
        // Definitions may stand behind their use.
        let mut open: Vec<(&str, &str)> =
            rules.patterns.iter().map(|(name, body)| (name.as_str(), body.as_str())).collect();
        for parser in &rules.parsers {
            definitions(&parser.node, &mut open);
        }
        loop {
            let before = open.len();
            open.retain(|(name, body)| catalogue.library.define(name, body).is_err());
            if open.len() == before {
                break;
            }
        }
        for parser in &rules.parsers {
            catalogue.add(&parser.node, &parser.node.name);
        }
        catalogue
    }

    fn add(&mut self, node: &ParserNode, rule: &str) {
        if let Some(grok) = &node.grok
            && let Some(pattern) = &grok.pattern
        {
            let pattern = match pattern {
                GrokPattern::Name(name) => format!("%{{{name}}}"),
                GrokPattern::Inline(text) => text.clone(),
            };
            let key = match &grok.source {
                GrokSource::Parsed(key) => Some(Some(key.to_string())),
                GrokSource::Line => Some(None),
                GrokSource::Expression(_) => None,
            };
            if let Some(key) = key {
                self.entries.push(Entry { rule: rule.to_owned(), words: words(&pattern), pattern, key });
            }
        }
        for child in &node.nodes {
            self.add(child, rule);
        }
    }

    fn grok(&self, pattern: &str) -> Option<Grok> {
        Grok::new(&self.library.expand(pattern).ok()?, &|_| false).ok()
    }

    /// What a pattern of the set reads: a key of `evt.Parsed`, or `Some(None)` for the whole line.
    pub fn key_of(&self, pattern: &str) -> Option<Option<&str>> {
        self.entries.iter().find(|entry| entry.pattern == pattern).map(|entry| entry.key.as_deref())
    }

    /// How many words a pattern and a text have in common.
    pub fn likeness(&self, pattern: &str, text: &str) -> usize {
        words(pattern).intersection(&words(&shortened(text))).count()
    }

    /// How far a text follows a pattern, and what would help.
    pub fn reach(&self, pattern: &str, text: &str) -> Option<Reach> {
        let text = shortened(text);
        let furthest = self.grok(pattern)?.furthest(&text);
        let change = furthest.piece.and_then(|piece| self.change(pattern, piece, &text, furthest.end));
        let end = change.as_ref().and_then(|change| change.end).unwrap_or(furthest.end);
        Some(Reach { end, wanted: furthest.failed, change })
    }

    /// The pattern, of those that read what `key` says (`None`: the line), that matches the text or follows it furthest;
    /// that of `except` is none.
    pub fn nearest(&self, key: Option<&str>, text: &str, except: &str) -> Option<Near> {
        let text = shortened(text);
        let of_text = words(&text);
        let mut entries: Vec<(usize, usize)> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.key.as_deref() == key && entry.pattern != except)
            .map(|(at, entry)| (entry.words.intersection(&of_text).count(), at))
            .filter(|(shared, _)| *shared > 0)
            .collect();
        entries.sort_by_key(|(shared, at)| (std::cmp::Reverse(*shared), *at));
        let mut best: Option<Near> = None;
        for (_, at) in entries.into_iter().take(MEASURED) {
            let Entry { rule, pattern, .. } = &self.entries[at];
            let Some(grok) = self.grok(pattern) else { continue };
            let matches = grok.has_fields() && grok.is_match(&mut grok.create_cache(), &text);
            let end = if matches { text.len() } else { grok.furthest(&text).end };
            if best.as_ref().is_none_or(|best| (matches, end) > (best.matches, best.end)) {
                best = Some(Near { rule: rule.clone(), pattern: pattern.clone(), end, matches });
            }
        }
        best.filter(|best| best.matches || best.end > 0)
    }

    fn matches(&self, pattern: &str, text: &str) -> bool {
        self.grok(pattern)
            .is_some_and(|grok| grok.has_fields() && grok.is_match(&mut grok.create_cache(), text))
    }

    /// The first of the usual changes at a piece that makes the pattern match.
    fn change(&self, pattern: &str, piece: usize, text: &str, end: usize) -> Option<Change> {
        if text.len() > end.saturating_add(MAX_TEXT) {
            return None;
        }
        let tried = |what: String, pattern: String| {
            self.matches(&pattern, text).then_some(Change { what, pattern, end: None })
        };
        let rest = pattern.get(piece..)?;
        let (before, found) = (&pattern[..piece], text.get(end..)?);
        if let Some(reference) = reference(rest) {
            let after = &rest[reference.len()..];
            let field = reference
                .trim_start_matches("%{")
                .trim_end_matches('}')
                .split_once(':')
                .map(|(_, field)| field);
            // Where the line has nothing at this place, nothing wider helps.
            let wider = if word_of(found).is_empty() { &[][..] } else { WIDER };
            for wider in wider {
                let other = match field {
                    Some(field) => format!("%{{{wider}:{field}}}"),
                    None => format!("%{{{wider}}}"),
                };
                let what = format!("`{reference}` does not fit `{}`; `{other}` does", word_of(found));
                if let Some(change) = tried(what, format!("{before}{other}{after}")) {
                    return Some(change);
                }
            }
            let optional = format!("{before}(?:{reference})?{after}");
            let what = format!("`{reference}` may be absent: `(?:{reference})?`");
            return tried(what, optional).or_else(|| self.insertion(pattern, piece, text, found));
        }
        if rest == "$" {
            let what =
                format!("the line goes on after the end of the pattern with `{}`: drop `$`", head(found));
            return tried(what, before.to_owned());
        }
        self.other_word(pattern, piece, text, end)
            .or_else(|| {
                tried(
                    "the line writes it in other letters: begin with `(?i)`".to_owned(),
                    format!("(?i){pattern}"),
                )
            })
            .or_else(|| self.insertion(pattern, piece, text, found))
            .or_else(|| {
                let unbound = pattern.strip_prefix('^')?;
                let what =
                    "the line begins with something else: drop `^`, or match that before it".to_owned();
                tried(what, unbound.to_owned())
            })
    }

    /// Another word where the pattern has a constant one.
    fn other_word(&self, pattern: &str, piece: usize, text: &str, end: usize) -> Option<Change> {
        // Back to the beginning of the word, in both.
        let same = pattern[..piece]
            .chars()
            .rev()
            .zip(text[..end].chars().rev())
            .take_while(|(a, b)| a == b && a.is_alphanumeric())
            .map(|(c, _)| c.len_utf8())
            .sum::<usize>();
        let (at, from) = (piece - same, end - same);
        let wanted = &pattern[at..at + run(&pattern[at..])];
        if wanted.is_empty() {
            return None;
        }
        let after = &pattern[at + wanted.len()..];
        // The word at this place first; then, since a wildcard before it may have taken too much, any other.
        let others = text.char_indices().filter(|(at, _)| {
            let before = text[..*at].chars().next_back();
            *at != from && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        let mut tried = BTreeSet::new();
        for at_text in std::iter::once(from).chain(others.map(|(at, _)| at)) {
            let there = &text[at_text..at_text + run(&text[at_text..])];
            if there.is_empty() || there == wanted || !tried.insert(there) {
                continue;
            }
            if tried.len() > WORDS_TRIED {
                break;
            }
            let both = format!("(?:{wanted}|{there})");
            let what = format!("the pattern wants `{wanted}`, the line has `{there}`: `{both}`");
            let pattern = format!("{}{both}{after}", &pattern[..at]);
            if self.matches(&pattern, text) {
                return Some(Change { what, pattern, end: Some(at_text) });
            }
        }
        None
    }

    /// A word more in the line.
    fn insertion(&self, pattern: &str, piece: usize, text: &str, found: &str) -> Option<Change> {
        let word = word_of(found);
        let mut tries: Vec<(Cow<'_, str>, &str)> = Vec::new();
        if !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == ' ') {
            tries.push((format!("(?:{word} )?").into(), word));
        }
        tries.push((r"(?:\S+ )?".into(), word));
        tries.push((" ?".into(), " "));
        tries.into_iter().find_map(|(inserted, there)| {
            let changed = format!("{}{inserted}{}", &pattern[..piece], &pattern[piece..]);
            let what = format!("the line has `{there}` more there: `{inserted}`");
            self.matches(&changed, text).then_some(Change { what, pattern: changed, end: None })
        })
    }
}

fn definitions<'r>(node: &'r ParserNode, into: &mut Vec<(&'r str, &'r str)>) {
    into.extend(node.pattern_syntax.iter().map(|(name, body, _)| (name.as_str(), body.as_str())));
    for child in &node.nodes {
        definitions(child, into);
    }
}

/// A reference at the beginning of a pattern.
fn reference(pattern: &str) -> Option<&str> {
    let end = pattern.strip_prefix("%{")?.find('}')? + 3;
    Some(&pattern[..end])
}

/// The length of the word at the beginning of a text.
fn run(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// What a text begins with, up to a blank.
fn word_of(text: &str) -> &str {
    text.split(char::is_whitespace).next().unwrap_or_default()
}

/// The beginning of a text, for a sentence.
fn head(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Words with at least three letters, in lower case.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 2).map(str::to_lowercase).collect()
}

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    Cow::Borrowed(&text[..text.floor_char_boundary(MAX_TEXT)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::load;

    fn catalogue() -> Catalogue {
        let text = "name: me/x\nnodes:\n- grok:\n    apply_on: message\n    pattern: '^Failed login for %{WORD:user} from %{IP:ip}$'\n- grok:\n    apply_on: message\n    pattern: '^Connection closed by %{IP:ip} port %{INT:port}$'\n";
        let (rules, diagnostics) = load("parsers/s01-parse/x.yaml".as_ref(), text.to_owned());
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        Catalogue::new(&rules)
    }

    fn check(pattern: &str, text: &str, end: usize, what: Option<&str>) {
        let reach = catalogue().reach(pattern, text).expect("it compiles");
        let change = reach.change.map(|change| {
            assert!(catalogue().matches(&change.pattern, text));
            change.what
        });
        assert_eq!((reach.end, change.as_deref()), (end, what), "{pattern}");
    }

    #[test]
    fn changes_that_help() {
        let pattern = "^Failed login for %{WORD:user} from %{IP:ip}$";
        check(
            pattern,
            "Failed login for x by 1.2.3.4",
            19,
            Some("the pattern wants `from`, the line has `by`: `(?:from|by)`"),
        );
        check(
            pattern,
            "Failed login for x from mail.example.com",
            24,
            Some("`%{IP:ip}` does not fit `mail.example.com`; `%{HOSTNAME:ip}` does"),
        );
        check(
            pattern,
            "Failed login for x from 1.2.3.4 port 22",
            31,
            Some("the line goes on after the end of the pattern with ` port 22`: drop `$`"),
        );
        check(
            pattern,
            "Failed login for user x from 1.2.3.4",
            22,
            Some("the line has `x` more there: `(?:x )?`"),
        );
        check(
            pattern,
            "failed LOGIN for x from 1.2.3.4",
            0,
            Some("the line writes it in other letters: begin with `(?i)`"),
        );
        check(pattern, "something else", 0, None);
    }

    #[test]
    fn a_wildcard_that_took_too_much_hides_nothing() {
        let pattern = "^Failed login for %{GREEDYDATA:user} from %{IP:ip}$";
        check(
            pattern,
            "Failed login for x y by 1.2.3.4",
            21,
            Some("the pattern wants `from`, the line has `by`: `(?:from|by)`"),
        );
    }

    #[test]
    fn the_nearest_pattern() {
        let near =
            catalogue().nearest(Some("message"), "Connection closed by 1.2.3.4 port x", "").expect("one");
        assert_eq!((near.rule.as_str(), near.end, near.matches), ("me/x", 34, false));
        let near =
            catalogue().nearest(Some("message"), "Connection closed by 1.2.3.4 port 1", "").expect("one");
        assert!(near.matches);
        assert_eq!(catalogue().nearest(None, "Connection closed by 1.2.3.4 port 1", ""), None);
        assert_eq!(catalogue().nearest(Some("message"), "", ""), None);
    }
}

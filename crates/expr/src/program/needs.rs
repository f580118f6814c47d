//! What a filter cannot do without: slots that must hold one of a few texts, and literals of which one must
//! stand in a slot. Both are read off the filter when rules load, so that one look at an event settles them for
//! all rules at once.

use regex::Regex;
use testudo_pattern::folded_literals;

use super::{ListTest, Pure, Text};
use crate::host::Slot;

/// Longest literal, in bytes: a longer one selects no better.
const MAX_LITERAL_BYTES: usize = 24;

/// Literals that one filter may bring; one that needs more is asked itself.
const MAX_LITERALS: usize = 256;

/// A conjunct whose truth depends only on which of its constants one slot holds, if any.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'p> {
    /// The slot.
    pub slot: Slot,
    pub(super) test: &'p Pure,
}

impl Guard<'_> {
    /// Whether the conjunct holds for this text in the slot. The same for all texts that are none of
    /// [`Guard::constants`].
    pub fn holds(&self, text: &str) -> bool {
        self.test.holds_for(text)
    }

    /// The texts that the conjunct compares with.
    pub fn constants(&self) -> Vec<Box<str>> {
        let mut constants = Vec::new();
        self.test.constants(&mut constants);
        constants
    }
}

/// Literals of which one stands in a slot wherever a filter holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The slot.
    pub slot: Slot,
    /// The literals: not empty, ASCII letters in lower case, to be looked for in any case.
    pub literals: Vec<Box<[u8]>>,
    /// Nothing is promised about texts that are not ASCII: changing their case may give ASCII letters.
    pub ascii_only: bool,
    /// Nothing is promised about texts with `%` or `+`: unescaping them may give anything.
    pub plain_only: bool,
}

impl Need {
    /// One of these literals, in any case, anywhere in the slot.
    pub fn literals<'l>(slot: Slot, literals: impl IntoIterator<Item = &'l String>) -> Need {
        let folded = |literal: &String| literal.to_ascii_lowercase().into_bytes().into();
        let literals = literals.into_iter().map(folded).collect();
        Need { slot, literals, ascii_only: false, plain_only: false }
    }

    /// Whether a filter with this need can hold with this text in the slot.
    pub fn may_hold(&self, text: &str) -> bool {
        let folded = text.to_ascii_lowercase();
        (self.ascii_only && !text.is_ascii())
            || (self.plain_only && text.contains(['%', '+']))
            || self.literals.iter().any(|literal| memchr::memmem::find(folded.as_bytes(), literal).is_some())
    }
}

/// The alternatives that select best among those of several conjuncts.
pub(super) fn best<'p>(conjuncts: impl Iterator<Item = &'p Pure>) -> Option<Vec<Need>> {
    conjuncts.filter_map(needs).max_by_key(|needs| {
        let literals = || needs.iter().flat_map(|need| &need.literals);
        let shortest = literals().map(|literal| literal.len()).min().unwrap_or(usize::MAX);
        (shortest.min(4), std::cmp::Reverse(needs.len()), shortest, std::cmp::Reverse(literals().count()))
    })
}

/// Alternatives of which one is met wherever the test holds; none at all where it never does. `None`: nothing
/// is known.
fn needs(test: &Pure) -> Option<Vec<Need>> {
    match test {
        Pure::Const(false) => Some(Vec::new()),
        Pure::Equal(a, Text::Const(fixed))
        | Pure::Equal(Text::Const(fixed), a)
        | Pure::StartsWith(a, Text::Const(fixed))
        | Pure::EndsWith(a, Text::Const(fixed)) => of_texts(a, [&**fixed]),
        Pure::In(text, set) => of_texts(text, set.texts().iter().map(AsRef::as_ref)),
        Pure::ContainsFixed(text, needle) => of_bytes(text, [needle.bytes()]),
        Pure::Matches(text, pattern) => of_regexes(text, [pattern.regex()]),
        Pure::RegexpInFile(text, regexes) => of_regexes(text, regexes.iter()),
        Pure::List(text, list) => match &**list {
            ListTest::Contains(lines) => of_texts(text, lines.texts().iter().map(AsRef::as_ref)),
            ListTest::StartsWith(lines) | ListTest::EndsWith(lines) => of_texts(text, lines.texts()),
            ListTest::Never => Some(Vec::new()),
            ListTest::Equal(_) | ListTest::InRange(_) | ListTest::Always => None,
        },
        Pure::And(parts) => best(parts.iter()),
        Pure::Or(parts) => {
            let mut all: Vec<Need> = Vec::new();
            for need in parts.iter().map(needs).collect::<Option<Vec<_>>>()?.into_iter().flatten() {
                match all.iter_mut().find(|known| known.slot == need.slot) {
                    Some(known) => {
                        known.literals.extend(need.literals);
                        known.ascii_only |= need.ascii_only;
                        known.plain_only |= need.plain_only;
                    }
                    None => all.push(need),
                }
            }
            let literals: usize = all.iter().map(|need| need.literals.len()).sum();
            (literals <= MAX_LITERALS).then_some(all)
        }
        Pure::Cond(parts) => match &**parts {
            [test, yes, Pure::Const(false)] => best([test, yes].into_iter()),
            _ => None,
        },
        _ => None,
    }
}

fn of_regexes<'r>(text: &Text, regexes: impl IntoIterator<Item = &'r Regex>) -> Option<Vec<Need>> {
    let literals: Option<Vec<Vec<String>>> =
        regexes.into_iter().map(|regex| folded_literals(regex.as_str())).collect();
    let mut needs = of_texts(text, literals?.iter().flatten().map(String::as_str))?;
    // Letters without regard to case have cases beyond ASCII.
    needs.iter_mut().for_each(|need| need.ascii_only = true);
    Some(needs)
}

fn of_texts<'t>(text: &Text, literals: impl IntoIterator<Item = &'t str>) -> Option<Vec<Need>> {
    of_bytes(text, literals.into_iter().map(str::as_bytes))
}

fn of_bytes<'t>(text: &Text, literals: impl IntoIterator<Item = &'t [u8]>) -> Option<Vec<Need>> {
    let origin = text.origin()?;
    let mut folded: Vec<Box<[u8]>> = Vec::new();
    for literal in literals {
        if literal.is_empty() || folded.len() >= MAX_LITERALS {
            return None;
        }
        // The end of a path or a name tells more than its beginning.
        let end = &literal[literal.len().saturating_sub(MAX_LITERAL_BYTES)..];
        folded.push(end.to_ascii_lowercase().into());
    }
    Some(vec![Need {
        slot: origin.slot,
        literals: folded,
        ascii_only: origin.changes_case,
        plain_only: origin.unescapes,
    }])
}

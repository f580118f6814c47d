//! Which decisions are asked for.

use crate::place::{Place, Target};

use super::rows::{Row, text_of_form};
use super::{Index, label::LabelTexts};

/// Conditions on decisions, all of which must hold. The default asks for every decision that is not
/// simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The scope is one of these, exactly.
    pub scopes: Option<Vec<String>>,
    /// The scope is one of these, too. The API has two parameters for it.
    pub scope: Option<Vec<String>>,
    /// The value has exactly this text.
    pub value: Option<String>,
    /// The type is one of these, exactly.
    pub types: Option<Vec<String>>,
    /// The type is none of these.
    pub types_not: Vec<String>,
    /// The origin is one of these, exactly.
    pub origins: Option<Vec<String>>,
    /// The scenario is one of these, exactly.
    pub scenarios: Option<Vec<String>>,
    /// The scenario contains one of these, in any case.
    pub scenarios_containing: Option<Vec<String>>,
    /// The scenario contains none of these, in any case.
    pub scenarios_not_containing: Option<Vec<String>>,
    /// The value covers an address or range, or lies inside it.
    pub target: Option<Target>,
    /// The identity is one of these.
    pub uuids: Option<Vec<u128>>,
    /// Whether decisions for show are wanted, too.
    pub simulated: bool,
}

fn is_one_of(list: Option<&Vec<String>>, text: &str) -> bool {
    list.is_none_or(|list| list.iter().any(|item| item == text))
}

/// Whether a text contains a word, in any case.
fn contains_word(text: &str, lower: &str, word: &str) -> bool {
    if word.is_ascii() && text.is_ascii() {
        let (text, word) = (text.as_bytes(), word.as_bytes());
        return word.is_empty() || text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    }
    lower.contains(&word.to_lowercase())
}

impl Filter {
    /// Whether decisions of a label can be meant.
    fn takes_label(&self, label: &LabelTexts<'_>) -> bool {
        let words = |list: &[String]| {
            let lower = if label.scenario.is_ascii() { String::new() } else { label.scenario.to_lowercase() };
            list.iter().any(|word| contains_word(label.scenario, &lower, word))
        };
        (self.simulated || !label.simulated)
            && is_one_of(self.scopes.as_ref(), label.scope)
            && is_one_of(self.scope.as_ref(), label.scope)
            && is_one_of(self.types.as_ref(), label.kind)
            && !self.types_not.iter().any(|kind| kind == label.kind)
            && is_one_of(self.origins.as_ref(), label.origin)
            && is_one_of(self.scenarios.as_ref(), label.scenario)
            && self.scenarios_containing.as_deref().is_none_or(words)
            && !self.scenarios_not_containing.as_deref().is_some_and(words)
    }
}

/// What was found out about a label.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Unknown,
    Taken,
    Left,
}

/// A filter on its way over many rows: it asks about each label once.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) filter: Filter,
    epoch: u64,
    verdicts: Vec<u8>,
    value: Option<WantedValue>,
}

/// The rows that have the text that is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct WantedValue {
    network: Option<(Place, u32)>,
    text: Option<u32>,
}

impl Matcher {
    pub(super) fn new(filter: Filter, index: &Index) -> Matcher {
        let mut matcher = Matcher { filter, epoch: index.epoch, verdicts: Vec::new(), value: None };
        matcher.look_up(index);
        matcher
    }

    fn look_up(&mut self, index: &Index) {
        self.value = self.filter.value.as_deref().map(|text| WantedValue {
            network: Place::parse(text)
                .ok()
                .and_then(|(place, form)| text_of_form(form).map(|number| (place, number))),
            text: index.texts.find(text),
        });
    }

    /// Numbers of labels and texts change when the index is compacted.
    pub(super) fn refresh(&mut self, index: &Index) {
        if self.epoch != index.epoch {
            self.epoch = index.epoch;
            self.verdicts.clear();
        }
        self.look_up(index);
    }

    fn takes_label(&mut self, label: u32, index: &Index) -> bool {
        let at = label as usize;
        if at >= self.verdicts.len() {
            self.verdicts.resize(index.labels.len().max(at + 1), Verdict::Unknown as u8);
        }
        let known = self.verdicts[at];
        if known != Verdict::Unknown as u8 {
            return known == Verdict::Taken as u8;
        }
        let taken = self.filter.takes_label(&index.labels.get(label).key.texts(&index.texts));
        self.verdicts[at] = if taken { Verdict::Taken } else { Verdict::Left } as u8;
        taken
    }

    /// Whether a decision is asked for. When it is in force is another question.
    pub(super) fn takes(&mut self, row: &Row, index: &Index) -> bool {
        self.takes_label(row.label, index)
            && self.filter.target.is_none_or(|target| target.matches(row.place()))
            && self.value.is_none_or(|wanted| {
                wanted.text == Some(row.text) || wanted.network == Some((row.place(), row.text))
            })
            && self.filter.uuids.as_ref().is_none_or(|list| list.contains(&row.uuid()))
    }

    /// The places at which every row lies that is asked for. `None` when they are too many to be named.
    pub(super) fn places(&self, index: &Index) -> Option<Vec<Place>> {
        if let Some(target) = self.filter.target.filter(|target| target.contains) {
            return Some(index.lengths.covering(target.place()).collect());
        }
        let wanted = self.value?;
        let text = self.filter.value.as_deref()?;
        let mut places: Vec<Place> = Place::parse(text).ok().map(|(place, _)| place).into_iter().collect();
        if let Some(value) = wanted.text {
            places.extend(index.scopes.iter().map(|&scope| Place::named(scope, value)));
        }
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_case() {
        let check = |scenario: &str, word: &str, expected: bool| {
            assert_eq!(
                contains_word(scenario, &scenario.to_lowercase(), word),
                expected,
                "{word} in {scenario}"
            );
        };
        check("crowdsecurity/SSH-bf", "ssh", true);
        check("crowdsecurity/ssh-bf", "SSH-BF", true);
        check("crowdsecurity/ssh-bf", "http", false);
        check("Überfall", "überf", true);
        check("a", "", true);
        check("", "a", false);
    }

    #[test]
    fn conditions_on_labels() {
        let label = LabelTexts {
            scope: "Ip",
            kind: "ban",
            origin: "crowdsec",
            scenario: "demo/ssh-bf",
            simulated: false,
        };
        let list = |items: &[&str]| Some(items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>());
        let check =
            |filter: Filter, expected: bool| assert_eq!(filter.takes_label(&label), expected, "{filter:?}");
        let any = Filter::default;
        check(any(), true);
        check(Filter { scopes: list(&["Range", "Ip"]), ..any() }, true);
        check(Filter { scopes: list(&["ip"]), ..any() }, false);
        check(Filter { scopes: list(&["Ip"]), scope: list(&["Range"]), ..any() }, false);
        check(Filter { origins: list(&["CAPI", "lists"]), ..any() }, false);
        check(Filter { types: list(&["captcha"]), ..any() }, false);
        check(Filter { types_not: vec!["ban".to_owned()], ..any() }, false);
        check(Filter { types_not: vec!["allow".to_owned()], ..any() }, true);
        check(Filter { scenarios: list(&["demo/ssh"]), ..any() }, false);
        check(Filter { scenarios_containing: list(&["http", "SSH"]), ..any() }, true);
        check(Filter { scenarios_not_containing: list(&["http", "SSH"]), ..any() }, false);
        check(Filter { scenarios_not_containing: list(&["http"]), ..any() }, true);
        check(Filter { scopes: Some(Vec::new()), ..any() }, false);
        let simulated = LabelTexts { simulated: true, ..label };
        assert!(!any().takes_label(&simulated));
        assert!(Filter { simulated: true, ..any() }.takes_label(&simulated));
    }
}

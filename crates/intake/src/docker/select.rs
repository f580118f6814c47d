//! Which containers are read, and the labels that they bring along.

use std::collections::HashMap;

use super::Selection;
use crate::batch::Labels;

/// The label that asks for being read.
const ENABLE: &str = "crowdsec.enable";

/// What the names of labels for lines begin with.
const LABELS: &str = "crowdsec.labels.";

/// What becomes of a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is not read.
    No,
    /// It asks to be read and does not say as what.
    Unlabelled,
    /// It is read, with these labels beside those of the source.
    Yes(Labels),
}

impl Selection {
    /// Whether anything can be selected.
    pub(super) fn is_empty(&self) -> bool {
        self.titles().next().is_none()
    }

    /// Whether a container or service is selected. `names` have no slash in front.
    pub(super) fn choose(
        &self,
        id: &str,
        names: &[&str],
        labels: Option<&HashMap<String, String>>,
    ) -> Choice {
        let chosen = self.ids.iter().any(|wanted| wanted == id)
            || self.names.iter().any(|wanted| names.contains(&wanted.trim_start_matches('/')))
            || self.id_patterns.iter().any(|pattern| pattern.is_match(id))
            || names.iter().any(|name| {
                let name = format!("/{name}");
                self.name_patterns.iter().any(|pattern| pattern.is_match(&name))
            });
        if chosen {
            return Choice::Yes(Labels::new());
        }
        let Some(labels) = labels.filter(|_| self.by_labels) else { return Choice::No };
        if labels.get(ENABLE).is_none_or(|value| value != "true") {
            return Choice::No;
        }
        let found: Labels = labels
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(LABELS)?.to_owned(), value.clone())))
            .filter(|(key, _)| !key.is_empty())
            .collect();
        if found.is_empty() { Choice::Unlabelled } else { Choice::Yes(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        let pattern = |text: &str| vec![regex::Regex::new(text).expect("a regex")];
        let check = |selection: &Selection, labels: &[(&str, &str)], expected: Choice| {
            let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(selection.choose("abc", &["web", "alias"], Some(&labels)), expected, "{selection:?}");
        };
        let none = Selection::default();
        let yes = || Choice::Yes(Labels::new());
        check(&Selection { names: vec!["web".to_owned()], ..none.clone() }, &[], yes());
        check(&Selection { names: vec!["/alias".to_owned()], ..none.clone() }, &[], yes());
        check(&Selection { names: vec!["we".to_owned()], ..none.clone() }, &[], Choice::No);
        check(&Selection { ids: vec!["abc".to_owned()], ..none.clone() }, &[], yes());
        check(&Selection { ids: vec!["ab".to_owned()], ..none.clone() }, &[], Choice::No);
        check(&Selection { name_patterns: pattern("^/we"), ..none.clone() }, &[], yes());
        check(&Selection { name_patterns: pattern("^we"), ..none.clone() }, &[], Choice::No);
        check(&Selection { id_patterns: pattern("b"), ..none.clone() }, &[], yes());
        let by_labels = Selection { by_labels: true, ..none };
        check(&by_labels, &[], Choice::No);
        check(&by_labels, &[("crowdsec.enable", "false")], Choice::No);
        check(&by_labels, &[("crowdsec.enable", "true")], Choice::Unlabelled);
        check(
            &by_labels,
            &[("crowdsec.enable", "true"), ("crowdsec.labels.type", "nginx"), ("other", "x")],
            Choice::Yes(Labels::from([("type".to_owned(), "nginx".to_owned())])),
        );
    }
}

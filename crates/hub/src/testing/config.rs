//! The `config.yaml` of a functional test.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{HubError, files};

/// Largest file of a test that is read: a hundred times the largest of the public hub.
const MAX_TEST_BYTES: u64 = 64 << 20;

/// What is tested, and on what. Keys that are not known are ignored: several tests misspell some.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    parsers: Option<Vec<Option<String>>>,
    scenarios: Option<Vec<Option<String>>>,
    postoverflows: Option<Vec<Option<String>>>,
    log_file: Option<String>,
    log_type: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    ignore_parsers: Option<bool>,
    override_statics: Option<Vec<Static>>,
}

/// A static of `override_statics`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Static {
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parsed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enriched: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
}

impl Config {
    /// Reads the text of a file; the error is in words.
    pub(super) fn parse(text: &str) -> Result<Config, String> {
        // An empty document is a configuration of nothing.
        let options = serde_saphyr::options! { with_snippet: false };
        let config: Option<Config> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| format!("config.yaml: {error}"))?;
        Ok(config.unwrap_or_default())
    }

    pub(super) fn parsers(&self) -> impl Iterator<Item = &str> {
        names(self.parsers.as_ref())
    }

    pub(super) fn scenarios(&self) -> impl Iterator<Item = &str> {
        names(self.scenarios.as_ref())
    }

    pub(super) fn postoverflows(&self) -> impl Iterator<Item = &str> {
        names(self.postoverflows.as_ref())
    }

    pub(super) fn log_file(&self) -> &str {
        self.log_file.as_deref().unwrap_or_default()
    }

    pub(super) fn ignores_parsers(&self) -> bool {
        self.ignore_parsers.unwrap_or_default()
    }

    /// The labels of the log, its type among them.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let given = self.labels.iter().flatten();
        let mut labels: BTreeMap<String, String> =
            given.map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())).collect();
        labels.insert("type".to_owned(), self.log_type.clone().unwrap_or_default());
        labels
    }

    /// The document of the node `overrides`, if there is one. JSON is YAML too.
    pub(super) fn overrides(&self) -> Option<String> {
        let statics = self.override_statics.as_ref().filter(|statics| !statics.is_empty())?;
        let node = serde_json::json!({ "name": "overrides", "filter": "1==1", "statics": statics });
        Some(node.to_string())
    }
}

fn names(list: Option<&Vec<Option<String>>>) -> impl Iterator<Item = &str> {
    list.into_iter().flatten().flatten().map(String::as_str).filter(|name| !name.is_empty())
}

/// The text of a file of a test. Bytes that are no UTF-8 become replacement characters.
pub(super) fn read(path: &Path) -> Result<String, HubError> {
    let bytes = files::read(path, MAX_TEST_BYTES)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Longest line that the reference reads; a longer one ends its run.
const MAX_LINE_BYTES: usize = 64 << 10;

/// The lines of a log, without their ends; empty ones are skipped.
pub(super) fn log_lines(text: &str) -> Result<Vec<&str>, String> {
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    match lines.iter().position(|line| line.len() > MAX_LINE_BYTES) {
        Some(at) => Err(format!("line {} of the log is longer than {MAX_LINE_BYTES} bytes", at + 1)),
        None => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use testudo_rules::keys::{HUB_TEST, Shape};

    use super::*;

    /// What editors are told is what is read.
    #[test]
    fn the_table_of_keys_is_that_of_the_type() {
        let line = |key: &testudo_rules::keys::Key| match key.shape {
            Shape::List(Shape::Text) => format!("{}: [x]\n", key.name),
            Shape::List(_) => format!("{}: [{{meta: x, value: y}}]\n", key.name),
            Shape::Table(_) => format!("{}: {{x: y}}\n", key.name),
            Shape::Flag => format!("{}: true\n", key.name),
            _ => format!("{}: x\n", key.name),
        };
        let text: String = HUB_TEST.keys.iter().map(line).collect();
        let read = Config::parse(&text).expect("it is read");
        let Config {
            parsers: Some(_),
            scenarios: Some(_),
            postoverflows: Some(_),
            log_file: Some(_),
            log_type: Some(_),
            labels: Some(_),
            ignore_parsers: Some(true),
            override_statics: Some(_),
        } = &read
        else {
            panic!("a key is missing in the table: {read:?}")
        };
        let shown = format!("{read:?}");
        for key in HUB_TEST.names() {
            assert!(shown.contains(&format!("{key}: Some(")), "{key} is not read");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_a_line() {
        let told = Config::parse("parsers: [").expect_err("it is no YAML");
        assert!(told.starts_with("config.yaml: ") && told.contains("line 1"), "{told}");
        assert!(!told.contains('\n'), "{told}");
    }
}

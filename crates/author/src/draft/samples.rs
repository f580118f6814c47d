//! The text of a file of samples.

use std::fmt::Write as _;

use super::{Meaning, Names, yaml};
use crate::{
    hostile::WAYS,
    mine::{Example, Field, Kind, Mined, Part},
};

/// Peers of the samples that must be refused.
const SOMEBODY: &str = "203.0.113.7";

/// What stands above the samples.
pub(super) fn head(names: &Names, kind: &str) -> String {
    format!(
        "# Samples of {rule}, for `testudo rule test`. The lines below `matches` are your own, as they stand in the log: names and\n\
         # addresses in them are those of people. Replace them (203.0.113.0/24 and 2001:db8::/32 are addresses for examples)\n\
         # before you give this file to somebody.\nrule: {rule}\ntype: {}\n",
        yaml(kind),
        rule = names.rule
    )
}

/// The whole file.
pub(super) fn text(mined: &Mined, names: &Names, meanings: &[Meaning], refused: &[String]) -> String {
    let mut out = head(names, &mined.kind);
    out.push_str("matches:\n");
    for meaning in meanings {
        for example in meaning.form.examples.iter().take(2) {
            let _ = writeln!(
                out,
                "  - line: {}\n    meta: {{{}}}",
                yaml(&example.line),
                meta(names, meaning, example)
            );
        }
    }
    if !refused.is_empty() {
        out.push_str("refuses:\n");
    }
    for line in refused {
        let _ = writeln!(out, "  - line: {}", yaml(line));
    }
    let hostile: Vec<(String, bool)> =
        meanings.iter().filter_map(|meaning| Some((hostile(meaning)?, meaning.is_read))).collect();
    if !hostile.is_empty() {
        out.push_str(
            "# Lines with texts of a client's choice: {truth} is the client's address, {line} a text that the service writes as it is,\n\
             # but without line breaks. Does yours escape something, or let line breaks through? See docs/rule-tests.md.\n\
             hostile:\n",
        );
        for (line, is_read) in hostile {
            let unread = if is_read { "" } else { "\n    unread: true" };
            let _ = writeln!(out, "  - line: {}{unread}", yaml(&line));
        }
    }
    out
}

/// What must come out of an example.
fn meta(names: &Names, meaning: &Meaning, example: &Example) -> String {
    let mut pairs = vec![("service", names.service.clone()), ("log_type", meaning.log_type())];
    for (field, value) in meaning.form.fields().zip(&example.values) {
        if field.is_source {
            let address = value.split_once('%').map_or(value.as_str(), |(address, _)| address);
            pairs.push(("source_ip", if meaning.is_read { address.to_owned() } else { String::new() }));
        } else if field.name == "username" {
            pairs.push(("username", value.clone()));
        }
    }
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect();
    pairs.join(", ")
}

/// Lines that are none of the service's: something before, something behind, another program.
pub(super) fn refused(mined: &Mined, meanings: &[Meaning]) -> Vec<String> {
    let mut lines = Vec::new();
    let with_source = |meaning: &&Meaning| meaning.form.fields().any(|field| field.is_source);
    let chosen = meanings.iter().find(with_source).or_else(|| meanings.first());
    if let Some(example) = chosen.and_then(|meaning| meaning.form.examples.first()) {
        let message = &example.line[example.envelope.len()..];
        lines.push(format!("{}said {SOMEBODY}: {message}", example.envelope));
    }
    let envelope = meanings.iter().find_map(|meaning| Some(&meaning.form.examples.first()?.envelope));
    lines.push(format!("{}nothing that {} says", envelope.map_or("", String::as_str), mined.program));
    lines
}

/// A line of the form with places, if a client has a say in it and its address is in it.
pub(super) fn hostile(meaning: &Meaning) -> Option<String> {
    let form = &meaning.form;
    let example = form.examples.first()?;
    if !form.fields().any(|field| field.is_source) || !form.fields().any(|field| field.kind.is_of_client()) {
        return None;
    }
    // What looks like a place in the line itself would become one.
    if example.line.contains("{truth}") || WAYS.iter().any(|way| example.line.contains(&format!("{{{way}}}")))
    {
        return None;
    }
    let mut line = example.envelope.clone();
    let mut values = example.values.iter();
    for part in &form.parts {
        match part {
            Part::Constant(text) => line.push_str(text),
            Part::Field(field) => line.push_str(&place(field, values.next()?)),
        }
    }
    Some(line)
}

/// What stands in a hostile line for a field.
fn place(field: &Field, value: &str) -> String {
    match field.kind {
        Kind::Address if field.is_source => "{truth}".to_owned(),
        Kind::Path => "/{line}".to_owned(),
        Kind::Mail => "{line}@example.com".to_owned(),
        kind if kind.is_of_client() => "{line}".to_owned(),
        _ => value.to_owned(),
    }
}

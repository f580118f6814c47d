//! What was found as SARIF 2.1.0, which code hosts show beside the lines of a change.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::{Component, Path},
};

use serde_json::{Value, json};
use testudo_event::text::url_part;
use testudo_rules::{Diagnostic, Place, Severity};

/// The schema that the document fits.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The folder to which relative addresses are relative: that of the checkout, for code hosts.
const BASE: &str = "%SRCROOT%";

/// Writes one document with one run. Files below `base` are named relative to it. With `deny_advice` advice has the
/// level of errors.
///
/// # Errors
/// The writer's.
pub fn write(found: &[Diagnostic], deny_advice: bool, base: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut codes: Vec<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let level = |is_error: bool| if is_error || deny_advice { "error" } else { "warning" };
    let results: Vec<Value> = found
        .iter()
        .map(|diagnostic| {
            let mut text = diagnostic.message.clone();
            if let Some(hint) = &diagnostic.hint {
                let _ = write!(text, "\nhelp: {hint}");
            }
            json!({
                "ruleId": diagnostic.code,
                "ruleIndex": codes.binary_search(&diagnostic.code).unwrap_or_default(),
                "level": level(diagnostic.severity == Severity::Error),
                "message": { "text": text },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": artifact(&diagnostic.place.file.path, base),
                    "region": region(&diagnostic.place),
                } }],
            })
        })
        .collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| {
            let Explained { is_error, meaning, remedy } = explained(code);
            json!({
                "id": code,
                "shortDescription": { "text": meaning },
                "fullDescription": { "text": meaning },
                "help": { "text": remedy, "markdown": remedy },
                "defaultConfiguration": { "level": level(is_error) },
            })
        })
        .collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "testudo lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// What the pages of the documentation say of a code.
#[derive(Debug, PartialEq, Eq)]
struct Explained<'p> {
    is_error: bool,
    meaning: &'p str,
    remedy: &'p str,
}

fn explained(code: &str) -> Explained<'static> {
    let is_advice = code.starts_with('L');
    let page = if is_advice {
        include_str!("../../../docs/lint.md")
    } else {
        include_str!("../../../docs/codes.md")
    };
    let row = page.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(code)?.strip_prefix(" | "));
    let mut cells = row.unwrap_or_default().split('|').map(str::trim);
    let is_error = !is_advice && cells.next().is_some_and(|level| level.starts_with("error"));
    let meaning = cells.next().unwrap_or_default();
    let remedy = cells.next().unwrap_or_default();
    // The rest of the page is not there where this is read.
    let remedy = remedy.split_once(" [More]").map_or(remedy, |(remedy, _)| remedy);
    Explained { is_error, meaning, remedy }
}

fn region(place: &Place) -> Value {
    let end = (place.offset + place.length) as usize;
    let mut region = json!({ "startLine": place.line, "startColumn": place.column });
    if place.length > 0 {
        let end = Place::of(&place.file, end..end);
        region["endLine"] = end.line.into();
        region["endColumn"] = end.column.into();
    }
    region
}

/// The address of a file.
fn artifact(path: &str, base: &Path) -> Value {
    let absolute = std::path::absolute(base.join(path)).unwrap_or_else(|_| path.into());
    let mut parts: Vec<String> = Vec::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(part) => parts.push(url_part(&part.to_string_lossy())),
            Component::Prefix(drive) => parts.push(drive.as_os_str().to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => {}
        }
    }
    let above = base.components().filter(|part| matches!(part, Component::Normal(_) | Component::Prefix(_)));
    let above: Vec<String> = above
        .map(|part| match part {
            Component::Normal(part) => url_part(&part.to_string_lossy()),
            part => part.as_os_str().to_string_lossy().into_owned(),
        })
        .collect();
    match parts.strip_prefix(&above[..]) {
        Some(inside) if !inside.is_empty() => json!({ "uri": inside.join("/"), "uriBaseId": BASE }),
        _ => json!({ "uri": format!("file:///{}", parts.join("/")) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    #[test]
    fn every_code_is_explained() {
        for (code, meaning) in codes::ALL.iter().chain(testudo_rules::codes::ALL) {
            let found = explained(code);
            assert_eq!(found.meaning, *meaning);
            assert!(!found.remedy.is_empty() && !found.remedy.contains("]("), "{code}: {}", found.remedy);
        }
        assert!(explained("R001").is_error && explained("E001").is_error);
        assert!(!explained("R013").is_error && !explained("L001").is_error);
        assert_eq!(explained("E001").meaning, "A definition under `pattern_syntax` cannot be used.");
    }

    #[cfg(unix)]
    #[test]
    fn files_are_named_from_the_folder() {
        let check = |path: &str, uri: &str| {
            let found = artifact(path, Path::new("/srv/a b/rules"));
            assert_eq!(found["uri"], uri, "{path}");
            assert_eq!(found.get("uriBaseId").is_some(), !uri.starts_with("file:"), "{path}");
        };
        check("parsers/s01-parse/x.yaml", "parsers/s01-parse/x.yaml");
        check("./x.yaml", "x.yaml");
        check("/srv/a b/rules/x.yaml", "x.yaml");
        check("a/../ä b:c%.yaml", "%C3%A4%20b%3Ac%25.yaml");
        check("../other/x.yaml", "file:///srv/a%20b/other/x.yaml");
        check("/etc/x.yaml", "file:///etc/x.yaml");
        check("/srv/a b/rules", "file:///srv/a%20b/rules");
    }
}

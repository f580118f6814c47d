//! The text of a parser.

use std::{collections::BTreeSet, fmt::Write as _};

use testudo_event::{Layout, YearClock, parse_date};

use super::{Meaning, Names, counted, is_plain, yaml};
use crate::{
    mine::{Definition, Envelope, MAX_MESSAGE_BYTES, Mined},
    trial::SAMPLE_YEAR,
};

/// The whole file.
pub(super) fn text(mined: &Mined, names: &Names, meanings: &[Meaning]) -> String {
    let mut out = head(mined, meanings);
    let _ = writeln!(out, "name: {}", names.rule);
    let what = format!("{}: drafted from its log; say here what is read", mined.program);
    let _ = writeln!(out, "description: {}", yaml(&what));
    let filter = format!(
        "evt.Parsed.program == {} && len(evt.Parsed.message) < {MAX_MESSAGE_BYTES}",
        expression_text(&mined.program)
    );
    let _ = writeln!(
        out,
        "filter: {}",
        if filter.contains(": ") || filter.contains(" #") { yaml(&filter) } else { filter }
    );
    out.push_str("onsuccess: next_stage\n");
    let definitions: BTreeSet<Definition> =
        meanings.iter().flat_map(|meaning| meaning.form.definitions()).collect();
    if !definitions.is_empty() {
        out.push_str("pattern_syntax:\n");
    }
    for definition in &definitions {
        let _ = writeln!(out, "  {}: {}", definition.name(&names.prefix), yaml(&definition.pattern));
    }
    out.push_str("nodes:\n");
    for meaning in meanings {
        node(&mut out, names, meaning);
    }
    let _ = write!(out, "statics:\n  - meta: service\n    value: {}\n", yaml(&names.service));
    let fields = || meanings.iter().flat_map(|meaning| meaning.form.fields());
    if fields().any(|field| field.name == "username") {
        out.push_str("  - meta: username\n    expression: evt.Parsed.username\n");
    }
    date(&mut out, mined, meanings);
    out
}

/// What somebody must look at before the rule bans anybody.
fn head(mined: &Mined, meanings: &[Meaning]) -> String {
    let mut out = String::new();
    let of_what = match mined.envelope {
        Envelope::Syslog => format!("lines of {} in a syslog", mined.program),
        _ => format!("lines of the type {}", mined.kind),
    };
    let forms = counted(meanings.len(), "form", "forms");
    let _ = writeln!(
        out,
        "# Drafted by `testudo rule new` from {of_what}: {} of {} lines, in {forms}.",
        mined.covered, mined.lines
    );
    if mined.found > meanings.len() {
        let rest = mined.found - meanings.len();
        let _ = writeln!(
            out,
            "# {} with fewer lines have no pattern; --forms takes more.",
            counted(rest, "further form", "further forms")
        );
    }
    if mined.unusable > 0 {
        let _ = writeln!(
            out,
            "# {} left out: control characters, no UTF-8, or {MAX_MESSAGE_BYTES} bytes and more, whose end may be missing.",
            counted(mined.unusable, "line was", "lines were")
        );
    }
    out.push_str(
        "#\n# Check before it bans anybody:\n\
         # - Is client_ip the address of the connection, and not one that the client tells?\n\
         # - Names, paths and texts are the client's: what does the service do with quotes and line breaks in them? Send it some, and\n\
         #   change {line} in the hostile samples to the way in which it writes them (docs/rule-tests.md).\n\
         # - Is log_type right? Scenarios ask for it.\n\
         # - Forms that say nothing of an attack cost time: remove them.\n",
    );
    out.push_str("# Then: `testudo rule test`, and `testudo rule backtest` on a log of some weeks.\n");
    out
}

fn node(out: &mut String, names: &Names, meaning: &Meaning) {
    let form = &meaning.form;
    let _ = write!(out, "  # {}.", counted(form.count, "line", "lines"));
    let of_client: Vec<&str> =
        form.fields().filter(|field| field.kind.is_of_client()).map(|field| field.name.as_str()).collect();
    if !of_client.is_empty() {
        let _ = write!(out, " A client may choose: {}.", of_client.join(", "));
    }
    out.push('\n');
    if !meaning.is_read && form.fields().any(|field| field.is_source) {
        out.push_str("  # No address is taken from it: a text of the client's can imitate what stands around the address.\n");
    }
    let indent = match form.constant() {
        // A pattern must have a field to match.
        Some(text) => {
            let filter = format!("evt.Parsed.message == {}", expression_text(text));
            let _ = write!(out, "  - filter: {}\n    statics:\n", yaml(&filter));
            "      "
        }
        None => {
            let pattern = yaml(&form.pattern(&names.prefix));
            let _ =
                write!(out, "  - grok:\n      apply_on: message\n      pattern: {pattern}\n      statics:\n");
            "        "
        }
    };
    let _ = write!(out, "{indent}- meta: log_type\n{indent}  value: {}\n", yaml(&meaning.log_type()));
    if meaning.log_type() == "auth_success" {
        let _ = write!(out, "{indent}- meta: auth_status\n{indent}  value: success\n");
    }
    if let Some(source) = meaning.source() {
        let _ = write!(out, "{indent}- meta: source_ip\n{indent}  expression: evt.Parsed.{}\n", source.name);
    }
}

/// Where lines tell their own time.
fn date(out: &mut String, mined: &Mined, meanings: &[Meaning]) {
    if !is_plain(mined) {
        return;
    }
    let times = || {
        meanings.iter().flat_map(|meaning| {
            let places = meaning.form.fields().enumerate();
            places
                .filter(|(_, field)| field.name == "time")
                .filter_map(|(at, field)| Some((field, meaning.form.examples.first()?.values.get(at)?)))
        })
    };
    if times().next().is_none() {
        return;
    }
    out.push_str("  - target: evt.StrTime\n    expression: evt.Parsed.time\n");
    let clock = YearClock::Current(SAMPLE_YEAR);
    // What reads dates without being told a layout may read something else into them.
    let needed = times().filter_map(|(field, text)| Some((field.layout()?, text))).find(|(layout, text)| {
        parse_date(text, None, &clock) != parse_date(text, Some(&Layout::new(layout)), &clock)
    });
    if let Some((layout, _)) = needed {
        let _ = write!(out, "  - target: evt.StrTimeFormat\n    value: {}\n", yaml(layout));
    }
}

/// A text in an expression.
pub(super) fn expression_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

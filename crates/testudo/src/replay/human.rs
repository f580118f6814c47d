//! The report for people.

use std::{fmt::Write as _, time::Duration};

use testudo_event::Timestamp;

use super::report::{Report, Trouble};
use crate::table::{Align, Table, cut, grouped};

/// Sources that are shown.
const SHOWN_SOURCES: usize = 20;

/// Characters of a list of scenarios that are shown.
const SCENARIOS_WIDTH: usize = 60;

/// What reading and running took.
pub(crate) struct Times {
    pub(crate) loading: Duration,
    pub(crate) running: Duration,
    pub(crate) parsers: usize,
    pub(crate) scenarios: usize,
    pub(crate) evicted: u64,
}

fn day(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |t| t.utc().to_rfc3339().replace('T', " ").trim_end_matches('Z').to_owned(),
    )
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

pub(crate) fn render(report: &Report<'_>, times: &Times, too_long: u64, troubles: &[Trouble]) -> String {
    let mut text = String::new();
    files(&mut text, report, too_long);
    if report.alerts == 0 {
        text.push_str("\nNo alerts: no scenario found anything in these lines.\n");
    } else {
        scenarios(&mut text, report);
        sources(&mut text, report);
    }
    samples(&mut text, report);
    if !troubles.is_empty() {
        text.push_str("\nNOT READ\n");
        for trouble in troubles {
            let _ = writeln!(text, "  {}: {}", trouble.path, trouble.message);
        }
    }
    let lines: u64 = report.files.iter().map(|file| file.lines).sum();
    let seconds = times.running.as_secs_f64();
    let _ = writeln!(
        text,
        "\n{} lines in {:.2} s ({} lines/s), {} parsers and {} scenarios loaded in {:.0} ms.",
        grouped(lines),
        seconds,
        grouped(if seconds > 0.0 { (lines as f64 / seconds) as u64 } else { 0 }),
        times.parsers,
        times.scenarios,
        times.loading.as_secs_f64() * 1e3,
    );
    if times.evicted > 0 {
        let _ = writeln!(
            text,
            "{} buckets were given up for want of memory; the oldest went first.",
            grouped(times.evicted)
        );
    }
    text
}

fn files(text: &mut String, report: &Report<'_>, too_long: u64) {
    text.push_str("LINES\n");
    let mut table = Table::new(&[
        ("FILE", Align::Left),
        ("TYPE", Align::Left),
        ("LINES", Align::Right),
        ("PARSED", Align::Right),
        ("", Align::Right),
        ("UNPARSED", Align::Right),
        ("WHITELISTED", Align::Right),
        ("FROM", Align::Left),
        ("TO", Align::Left),
    ]);
    for file in &report.files {
        table.row(vec![
            file.path.clone(),
            file.kind.clone(),
            grouped(file.lines),
            grouped(file.parsed + file.whitelisted + file.outside),
            percent(file.parsed + file.whitelisted + file.outside, file.lines),
            grouped(file.unparsed + file.dropped),
            grouped(file.whitelisted),
            day(file.first),
            day(file.last),
        ]);
    }
    text.push_str(&table.render());
    if too_long > 0 {
        let _ = writeln!(text, "  {} lines longer than 1 MiB were skipped.", grouped(too_long));
    }
}

fn scenarios(text: &mut String, report: &Report<'_>) {
    let _ = writeln!(
        text,
        "\nALERTS BY SCENARIO  {} in all{}{}",
        grouped(report.alerts),
        if report.whitelisted > 0 {
            format!(", {} of them whitelisted", grouped(report.whitelisted))
        } else {
            String::new()
        },
        if report.simulated > 0 {
            format!(", {} simulated", grouped(report.simulated))
        } else {
            String::new()
        },
    );
    let mut table = Table::new(&[
        ("SCENARIO", Align::Left),
        ("ALERTS", Align::Right),
        ("SOURCES", Align::Right),
        ("DECISIONS", Align::Right),
        ("FIRST", Align::Left),
        ("LAST", Align::Left),
    ]);
    let mut rows: Vec<_> = report.scenarios.iter().collect();
    rows.sort_by(|a, b| b.1.alerts.cmp(&a.1.alerts).then(a.0.cmp(b.0)));
    for (name, scenario) in rows {
        table.row(vec![
            name.clone(),
            grouped(scenario.alerts),
            grouped(scenario.sources.len() as u64),
            grouped(scenario.decisions),
            day(scenario.first),
            day(scenario.last),
        ]);
    }
    text.push_str(&table.render());
}

fn sources(text: &mut String, report: &Report<'_>) {
    let banned = report.sources.values().filter(|source| source.decision.is_some()).count();
    let _ = writeln!(
        text,
        "\nSOURCES  {} in all, {} would have been remedied",
        grouped(report.sources.len() as u64),
        grouped(banned as u64)
    );
    let mut table = Table::new(&[
        ("SOURCE", Align::Left),
        ("FROM", Align::Left),
        ("ALERTS", Align::Right),
        ("DECISION", Align::Left),
        ("UNTIL", Align::Left),
        ("SCENARIOS", Align::Left),
    ]);
    let mut rows: Vec<_> = report.sources.iter().collect();
    rows.sort_by(|a, b| b.1.alerts.cmp(&a.1.alerts).then(a.0.cmp(b.0)));
    for (value, source) in rows.iter().take(SHOWN_SOURCES) {
        let (decision, until) = match &source.decision {
            Some(remedy) => (format!("{} {}", remedy.kind, remedy.duration), day(Some(remedy.until))),
            None => ("none".to_owned(), "-".to_owned()),
        };
        let from = format!("{} {}", source.country, source.autonomous_system);
        let scenarios: Vec<&str> = source.scenarios.iter().map(String::as_str).collect();
        table.row(vec![
            (*value).clone(),
            cut(from.trim(), 28),
            grouped(source.alerts),
            decision,
            until,
            cut(&scenarios.join(", "), SCENARIOS_WIDTH),
        ]);
    }
    text.push_str(&table.render());
    if rows.len() > SHOWN_SOURCES {
        let more = rows.len() - SHOWN_SOURCES;
        let _ = writeln!(text, "  … and {} more; `-o json` lists all.", grouped(more as u64));
    }
}

fn samples(text: &mut String, report: &Report<'_>) {
    if report.samples.is_empty() {
        return;
    }
    text.push_str("\nUNPARSED LINES, SAMPLES\n");
    for sample in &report.samples {
        let _ = writeln!(text, "  {}:{}  {}", sample.at.file, sample.at.line, cut(&sample.text, 140));
    }
    text.push_str("  `testudo explain` shows how far a line came.\n");
}

//! What is told: a line for each link as soon as it is known, or one JSON document.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::links::Link;
use crate::table::printable;

/// How a link was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Holds,
    Broken,
    NotHere,
    NotReached,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Holds => "holds",
            State::Broken => "broken",
            State::NotHere => "not_here",
            State::NotReached => "not_reached",
        }
    }

    fn mark(&self) -> &'static str {
        match self {
            State::Holds => "ok",
            State::Broken => "BROKEN",
            State::NotHere | State::NotReached => "-",
        }
    }
}

/// A link as it was found.
#[derive(Clone, Debug)]
pub(super) struct Row {
    link: Link,
    state: State,
    /// Microseconds since the first line was written.
    after_us: Option<i64>,
    seen: String,
    next: Option<String>,
}

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Report {
    is_human: bool,
    rows: Vec<Row>,
    /// What is told besides.
    notes: Vec<String>,
    /// What could not be taken back.
    left: Vec<String>,
    /// About the attack, for programs.
    about: Vec<(&'static str, Value)>,
    /// When the first line was written, in microseconds since 1970.
    pub(super) written_us: Option<i64>,
}

/// A time in three digits.
fn took(micros: i64) -> String {
    let millis = micros.max(0) as f64 / 1_000.0;
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        ..100.0 => format!("{millis:.1} ms"),
        ..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1_000.0),
    }
}

impl Report {
    pub(super) fn new(is_human: bool) -> Report {
        Report {
            is_human,
            rows: Vec::new(),
            notes: Vec::new(),
            left: Vec::new(),
            about: Vec::new(),
            written_us: None,
        }
    }

    fn print(&self, text: &str) {
        if self.is_human {
            // What cannot be printed can still be tested.
            let _ = writeln!(io::stdout(), "{text}");
        }
    }

    /// Says what the attack is.
    pub(super) fn begin(&mut self, sentence: &str, about: Vec<(&'static str, Value)>) {
        self.about = about;
        self.print(&printable(sentence));
        self.print("");
    }

    fn row(&mut self, row: Row) {
        if self.rows.is_empty() {
            self.print("  LINK       STATE       AFTER  WHAT WAS SEEN");
        }
        let after = row.after_us.map(took).unwrap_or_default();
        let (name, mark) = (row.link.name(), row.state.mark());
        self.print(format!("  {name:<9}  {mark:<6}  {after:>9}  {}", printable(&row.seen)).trim_end());
        self.rows.push(row);
    }

    /// A link holds, since a moment.
    pub(super) fn holds(&mut self, link: Link, at_us: Option<i64>, seen: impl Into<String>) {
        let after_us = at_us.zip(self.written_us).map(|(at, written)| (at - written).max(0));
        self.row(Row { link, state: State::Holds, after_us, seen: seen.into(), next: None });
    }

    /// A link is broken; this is to be done next.
    pub(super) fn broken(&mut self, link: Link, seen: impl Into<String>, next: impl Into<String>) {
        let (seen, next) = (seen.into(), Some(next.into()));
        self.row(Row { link, state: State::Broken, after_us: None, seen, next });
    }

    /// What makes a link is not here.
    pub(super) fn not_here(&mut self, link: Link, seen: impl Into<String>) {
        let seen = format!("{}, not tested", seen.into());
        self.row(Row { link, state: State::NotHere, after_us: None, seen, next: None });
    }

    /// Something to know besides.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Something could not be taken back.
    pub(super) fn left(&mut self, text: impl Into<String>) {
        self.left.push(text.into());
    }

    /// What could not be taken back, in words.
    pub(super) fn left_behind(&self) -> Option<String> {
        (!self.left.is_empty()).then(|| self.left.join("; "))
    }

    /// The first broken link.
    pub(super) fn first_broken(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.state == State::Broken)
    }

    /// Tells the rest. Returns whether all links hold.
    pub(super) fn end(mut self) -> io::Result<bool> {
        for link in Link::ALL {
            if !self.rows.iter().any(|row| row.link == link) {
                let seen = "not reached".to_owned();
                self.row(Row { link, state: State::NotReached, after_us: None, seen, next: None });
            }
        }
        let broken = self.first_broken().cloned();
        if self.is_human {
            self.conclude(broken.as_ref())?;
        } else {
            let text = serde_json::to_string_pretty(&self.document(broken.as_ref()))?;
            writeln!(io::stdout(), "{text}")?;
        }
        Ok(broken.is_none())
    }

    fn conclude(&self, broken: Option<&Row>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out)?;
        match broken {
            Some(Row { link, next, .. }) => {
                writeln!(out, "The first broken link is `{}`.", link.name())?;
                if let Some(next) = next {
                    writeln!(out, "  next: {}", printable(next))?;
                }
            }
            None => {
                let row = |link| self.rows.iter().find(|row| row.link == link && row.state == State::Holds);
                let enforced = [Link::Firewall, Link::Gate].into_iter().filter_map(row);
                let last = enforced.max_by_key(|row| row.after_us).or_else(|| row(Link::Decided));
                let end = match last.map(|row| (row.link, row.after_us.map(took).unwrap_or_default())) {
                    Some((Link::Decided, after)) => {
                        format!("{after} from the line to the decision. Nothing here enforces it.")
                    }
                    Some((link, after)) => format!("{after} from the line to the {}.", link.name()),
                    None => String::new(),
                };
                writeln!(out, "All links hold: {end}")?;
            }
        }
        for note in &self.notes {
            writeln!(out, "{}", printable(note))?;
        }
        for left in &self.left {
            writeln!(out, "LEFT BEHIND: {}", printable(left))?;
        }
        Ok(())
    }

    fn document(&self, broken: Option<&Row>) -> Value {
        let links: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "link": row.link.name(),
                    "state": row.state.name(),
                    "after_us": row.after_us,
                    "seen": row.seen,
                    "next": row.next,
                })
            })
            .collect();
        let mut document = json!({
            "schema": 1,
            "holds": broken.is_none(),
            "broken": broken.map(|row| row.link.name()),
            "written_us": self.written_us,
            "links": links,
            "notes": self.notes,
            "left_behind": self.left,
        });
        if let Value::Object(fields) = &mut document {
            fields.extend(self.about.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (micros, text) in [
            (-5, "0.00 ms"),
            (412, "0.41 ms"),
            (12_345, "12.3 ms"),
            (999_400, "999 ms"),
            (1_234_567, "1.23 s"),
        ] {
            assert_eq!(took(micros), text);
        }
    }

    #[test]
    fn the_first_broken_link_counts() {
        let mut report = Report::new(false);
        report.holds(Link::Daemon, None, "it runs");
        report.written_us = Some(1_000);
        report.holds(Link::Read, Some(1_250), "10 lines");
        report.broken(Link::Parsed, "no parser", "install one");
        report.not_here(Link::Gate, "no gate here");
        report.broken(Link::Removed, "still there", "wait");
        report.left("alert 7");
        let broken = report.first_broken().cloned();
        let document = report.document(broken.as_ref());
        assert_eq!((&document["holds"], &document["broken"]), (&json!(false), &json!("parsed")));
        assert_eq!(document["links"][1]["after_us"], json!(250));
        assert_eq!(document["links"][3]["seen"], json!("no gate here, not tested"));
        assert_eq!(document["left_behind"], json!(["alert 7"]));
    }
}

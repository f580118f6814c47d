//! Finds out what kind of log a file is, by trying: the type under which the parsers understand
//! most of its first lines is the one.

use std::{collections::BTreeMap, path::Path};

use testudo_engine::{Engine, Line, LineOutcome, NoObserver, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp};

/// Lines that are tried.
pub(crate) const SAMPLE_LINES: usize = 60;

/// Among types that do equally well, these come first, in this order.
const PREFERRED: &[&str] = &["syslog", "nginx", "apache2", "caddy", "traefik", "haproxy"];

#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.0 += usize::from(matches!(outcome, LineOutcome::Parsed | LineOutcome::Whitelisted));
    }

    fn overflow(&mut self, _: &Overflow, _: Line<'_>) {}
}

/// The type of a log with these first lines; `None`: no parser understands any of them.
pub(crate) fn guess(engine: &Engine, path: &Path, lines: &[String]) -> Option<String> {
    let name = path.to_string_lossy().to_lowercase();
    let mut types = engine.line_types();
    types.insert("syslog".to_owned());
    let mut best: Option<((usize, bool, usize), String)> = None;
    for kind in types {
        let labels = BTreeMap::from([("type".to_owned(), kind.clone())]);
        let sources = [Source { name: name.clone(), module: "file".to_owned(), labels }];
        let mut replay = Replay::new(engine, &sources, Timestamp::default());
        let mut count = Count::default();
        for (number, line) in (1..).zip(lines) {
            replay.line(0, number, line, &mut NoObserver, &mut count);
        }
        if count.0 == 0 {
            continue;
        }
        let preferred = PREFERRED.iter().position(|p| *p == kind).map_or(0, |at| PREFERRED.len() - at);
        // An exact name in the path says more than the order of preference.
        let score = (count.0, name.contains(&kind.to_lowercase()), preferred);
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, kind));
        }
    }
    best.map(|(_, kind)| kind)
}

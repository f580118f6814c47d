//! What the gate did, in the text format of Prometheus.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::challenge::Refusal;

/// The upper ends of the classes of the time that a check takes, in microseconds.
const CLASSES: [u64; 10] = [5, 10, 25, 50, 100, 250, 1_000, 5_000, 25_000, 100_000];

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was known about its visitor, or nothing that is enforced.
    Clean,
    /// It passed because its visitor is allowed, whatever else.
    Allowed,
    /// It passed, and the application is told.
    Marked,
    /// It passed with a pass.
    Passed,
    /// It passed a throttle.
    Slow,
    /// It passed a restriction.
    Harmless,
    /// It passed because decisions could not be looked up.
    Unchecked,
    /// It passed since its user has shown a second factor.
    Confirmed,
    /// It passed, and the application has to ask for a second factor.
    Mfa,
    /// It was refused: a ban.
    Banned,
    /// A challenge has to be answered first.
    Challenged,
    /// A second factor has to be shown first.
    Unconfirmed,
    /// It was refused: a second factor is asked for, and nobody knows whose.
    Unidentified,
    /// It was refused: its visitor may not do this.
    Restricted,
    /// It was refused: too many.
    Throttled,
    /// It was refused because decisions could not be looked up.
    Unavailable,
    /// The web server did not tell enough about it.
    Untold,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Clean,
        Self::Allowed,
        Self::Marked,
        Self::Passed,
        Self::Slow,
        Self::Harmless,
        Self::Unchecked,
        Self::Confirmed,
        Self::Mfa,
        Self::Banned,
        Self::Challenged,
        Self::Unconfirmed,
        Self::Unidentified,
        Self::Restricted,
        Self::Throttled,
        Self::Unavailable,
        Self::Untold,
    ];

    /// The name in figures and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Allowed => "allowed",
            Self::Marked => "marked",
            Self::Passed => "passed",
            Self::Slow => "slow",
            Self::Harmless => "harmless",
            Self::Unchecked => "unchecked",
            Self::Confirmed => "confirmed",
            Self::Mfa => "mfa",
            Self::Banned => "banned",
            Self::Challenged => "challenged",
            Self::Unconfirmed => "unconfirmed",
            Self::Unidentified => "unidentified",
            Self::Restricted => "restricted",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Untold => "untold",
        }
    }

    /// Whether a request with it goes on to the site.
    pub const fn passes(self) -> bool {
        match self {
            Self::Clean
            | Self::Allowed
            | Self::Marked
            | Self::Passed
            | Self::Slow
            | Self::Harmless
            | Self::Unchecked
            | Self::Confirmed
            | Self::Mfa => true,
            Self::Banned
            | Self::Challenged
            | Self::Unconfirmed
            | Self::Unidentified
            | Self::Restricted
            | Self::Throttled
            | Self::Unavailable
            | Self::Untold => false,
        }
    }
}

/// How a challenge was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Solved {
    Work,
    Question,
    Provider,
}

/// Counters of one gate.
#[derive(Debug, Default)]
pub struct Metrics {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    issued: AtomicU64,
    work: AtomicU64,
    questions: AtomicU64,
    provided: AtomicU64,
    refusals: [AtomicU64; Refusal::ALL.len()],
    classes: [AtomicU64; CLASSES.len() + 1],
    micros: AtomicU64,
    refused_connections: AtomicU64,
}

/// Sizes of tables, which are looked up when they are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) throttled: usize,
    pub(crate) questioned: usize,
    pub(crate) answered: usize,
}

impl Metrics {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_issued(&self) {
        self.issued.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_solved(&self, solved: Solved) {
        match solved {
            Solved::Work => &self.work,
            Solved::Question => &self.questions,
            Solved::Provider => &self.provided,
        }
        .fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn took(&self, time: Duration) {
        let micros = time.as_micros() as u64;
        let class = CLASSES.iter().position(|most| micros <= *most).unwrap_or(CLASSES.len());
        self.classes[class].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// How many requests had this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// All of it as text.
    pub(crate) fn text(&self, sizes: Sizes) -> String {
        let mut text = String::with_capacity(4 << 10);
        let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, u64)]| {
            let _ = write!(text, "# HELP testudo_gate_{name} {help}\n# TYPE testudo_gate_{name} {kind}\n");
            for (labels, value) in lines {
                let _ = writeln!(text, "testudo_gate_{name}{labels} {value}");
            }
        };
        let labelled = |label: &str, value: &str| format!("{{{label}=\"{value}\"}}");
        let outcomes =
            Outcome::ALL.map(|outcome| (labelled("outcome", outcome.name()), self.outcome(outcome)));
        family("requests_total", "counter", "Requests that were checked, by what became of them.", &outcomes);
        let issued = [(String::new(), self.issued.load(Relaxed))];
        family("challenges_issued_total", "counter", "Challenges that were shown.", &issued);
        let solved = [
            (labelled("by", "work"), self.work.load(Relaxed)),
            (labelled("by", "question"), self.questions.load(Relaxed)),
            (labelled("by", "provider"), self.provided.load(Relaxed)),
        ];
        family("challenges_solved_total", "counter", "Challenges that were answered well.", &solved);
        let refusals = Refusal::ALL.map(|refusal| {
            (labelled("reason", refusal.name()), self.refusals[refusal as usize].load(Relaxed))
        });
        family("answers_refused_total", "counter", "Answers that were refused.", &refusals);
        let connections = [(String::new(), self.refused_connections.load(Relaxed))];
        family("connections_broken_total", "counter", "Connections that ended with an error.", &connections);
        let tables = [
            (labelled("table", "throttled"), sizes.throttled as u64),
            (labelled("table", "questioned"), sizes.questioned as u64),
            (labelled("table", "answered"), sizes.answered as u64),
        ];
        family("table_entries", "gauge", "Entries of the bounded tables.", &tables);
        self.write_times(&mut text);
        text
    }

    fn write_times(&self, text: &mut String) {
        let name = "testudo_gate_check_seconds";
        let _ = write!(text, "# HELP {name} Time that a check takes.\n# TYPE {name} histogram\n");
        let mut sum = 0;
        for (class, count) in self.classes.iter().enumerate() {
            sum += count.load(Relaxed);
            let end =
                CLASSES.get(class).map_or("+Inf".to_owned(), |micros| (*micros as f64 / 1e6).to_string());
            let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {sum}");
        }
        let seconds = self.micros.load(Relaxed) as f64 / 1e6;
        let _ = write!(text, "{name}_sum {seconds}\n{name}_count {sum}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text() {
        let metrics = Metrics::default();
        metrics.count(Outcome::Banned);
        metrics.count_refused(Refusal::Used);
        metrics.count_solved(Solved::Work);
        for micros in [3, 7, 200, 1_000_000] {
            metrics.took(Duration::from_micros(micros));
        }
        let text = metrics.text(Sizes { throttled: 7, questioned: 0, answered: 2 });
        for line in [
            "testudo_gate_requests_total{outcome=\"banned\"} 1",
            "testudo_gate_requests_total{outcome=\"clean\"} 0",
            "testudo_gate_answers_refused_total{reason=\"used\"} 1",
            "testudo_gate_challenges_solved_total{by=\"work\"} 1",
            "testudo_gate_table_entries{table=\"throttled\"} 7",
            "testudo_gate_check_seconds_bucket{le=\"0.000005\"} 1",
            "testudo_gate_check_seconds_bucket{le=\"0.00025\"} 3",
            "testudo_gate_check_seconds_bucket{le=\"+Inf\"} 4",
            "testudo_gate_check_seconds_count 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}

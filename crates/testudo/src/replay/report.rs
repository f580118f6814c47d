//! What a replay found: collected in the order of the lines, told to people or to programs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use testudo_decide::{Profiles, is_simulated};
use testudo_engine::{Line, LineOutcome, Sink};
use testudo_event::{Alert, Overflow, Timestamp};
use testudo_expr::Services;
use testudo_rules::plan::Simulation;

/// Version of the JSON that programs read.
pub(crate) const SCHEMA: u32 = 1;

/// Unparsed lines that are shown, for each file.
const SAMPLES_PER_FILE: usize = 3;

/// Characters of a sample that are shown.
const SAMPLE_CHARS: usize = 200;

/// Where an alert was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Position {
    /// The file as it was given.
    pub(crate) file: String,
    /// Its line, from 1.
    pub(crate) line: u64,
}

/// An alert with what was decided about it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The line that made the bucket run over.
    pub(crate) at: Position,
    /// Whether a whitelist takes it back, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) whitelisted: Option<String>,
    /// The alert; its `decisions` say what would have been done.
    #[serde(flatten)]
    pub(crate) alert: Alert,
}

/// Alerts of one scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ByScenario {
    pub(crate) alerts: u64,
    pub(crate) sources: BTreeSet<String>,
    pub(crate) decisions: u64,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
}

/// Alerts and decisions about one source. Who only contributed may have decisions and no alerts.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct BySource {
    pub(crate) scope: String,
    pub(crate) country: String,
    pub(crate) autonomous_system: String,
    pub(crate) alerts: u64,
    pub(crate) scenarios: BTreeSet<String>,
    /// The decision that ends last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<Remedy>,
}

/// What is done about a source.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Remedy {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) duration: String,
    pub(crate) until: Timestamp,
}

/// A line that no parser understood.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    #[serde(flatten)]
    pub(crate) at: Position,
    pub(crate) text: String,
}

/// Lines of one file.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FileCounts {
    pub(crate) path: String,
    /// The type it was read as.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) lines: u64,
    pub(crate) parsed: u64,
    pub(crate) unparsed: u64,
    pub(crate) whitelisted: u64,
    pub(crate) dropped: u64,
    /// Outside of `--since` and `--until`.
    pub(crate) outside: u64,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
}

/// Takes findings as they come.
pub(crate) trait Stream {
    fn finding(&mut self, finding: &Finding);
}

/// Collects a run.
pub(crate) struct Report<'r> {
    profiles: &'r Profiles,
    simulation: &'r Simulation,
    /// The world behind the helpers of profiles.
    services: &'r dyn Services,
    /// Told every finding at once; findings are kept only where nobody streams them.
    stream: Option<&'r mut dyn Stream>,
    keep_findings: bool,
    pub(crate) files: Vec<FileCounts>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) scenarios: BTreeMap<String, ByScenario>,
    pub(crate) sources: BTreeMap<String, BySource>,
    pub(crate) samples: Vec<Sample>,
    sampled: Vec<usize>,
    pub(crate) alerts: u64,
    pub(crate) whitelisted: u64,
    pub(crate) simulated: u64,
    pub(crate) profile_errors: BTreeSet<String>,
}

impl<'r> Report<'r> {
    pub(crate) fn new(
        profiles: &'r Profiles,
        simulation: &'r Simulation,
        services: &'r dyn Services,
        files: Vec<FileCounts>,
        keep_findings: bool,
        stream: Option<&'r mut dyn Stream>,
    ) -> Report<'r> {
        Report {
            profiles,
            simulation,
            services,
            stream,
            keep_findings,
            sampled: vec![0; files.len()],
            files,
            findings: Vec::new(),
            scenarios: BTreeMap::new(),
            sources: BTreeMap::new(),
            samples: Vec::new(),
            alerts: 0,
            whitelisted: 0,
            simulated: 0,
            profile_errors: BTreeSet::new(),
        }
    }

    fn position(&self, line: Line<'_>) -> Position {
        let file = self.files.get(line.source as usize).map_or_else(String::new, |file| file.path.clone());
        Position { file, line: line.number }
    }

    fn add(&mut self, finding: Finding) {
        let alert = &finding.alert;
        self.alerts += 1;
        if finding.whitelisted.is_some() {
            self.whitelisted += 1;
        } else {
            self.simulated += u64::from(alert.simulated);
            let enforced = alert.decisions.iter().filter(|d| !d.simulated);
            let scenario = self.scenarios.entry(alert.scenario.clone()).or_default();
            scenario.alerts += 1;
            scenario.sources.insert(alert.source.value.clone());
            scenario.decisions += enforced.clone().count() as u64;
            scenario.first.get_or_insert(alert.stop_at);
            scenario.last = Some(alert.stop_at);
            let source = self.sources.entry(alert.source.value.clone()).or_default();
            alert.source.scope.clone_into(&mut source.scope);
            alert.source.cn.clone_into(&mut source.country);
            source.autonomous_system = alert.source.as_number_name();
            source.alerts += 1;
            source.scenarios.insert(alert.scenario.clone());
            for decision in enforced {
                // A decision may be about another who contributed, or about a network.
                let about = self
                    .sources
                    .entry(decision.value.clone())
                    .or_insert_with(|| BySource { scope: decision.scope.clone(), ..BySource::default() });
                about.scenarios.insert(alert.scenario.clone());
                if about.decision.as_ref().is_none_or(|known| decision.until > known.until) {
                    about.decision = Some(Remedy {
                        kind: decision.kind.clone(),
                        duration: decision.duration.clone(),
                        until: decision.until,
                    });
                }
            }
        }
        if let Some(stream) = &mut self.stream {
            stream.finding(&finding);
        }
        if self.keep_findings {
            self.findings.push(finding);
        }
    }
}

impl Sink for Report<'_> {
    fn line(&mut self, line: Line<'_>, outcome: LineOutcome) {
        let Some(file) = self.files.get_mut(line.source as usize) else { return };
        file.lines += 1;
        match outcome {
            LineOutcome::Parsed => file.parsed += 1,
            LineOutcome::Unparsed => file.unparsed += 1,
            LineOutcome::Dropped => file.dropped += 1,
            LineOutcome::Whitelisted => file.whitelisted += 1,
            LineOutcome::Outside => file.outside += 1,
        }
        if let Some(time) = line.time {
            if file.first.is_none_or(|first| time < first) {
                file.first = Some(time);
            }
            if file.last.is_none_or(|last| time > last) {
                file.last = Some(time);
            }
        }
        if outcome == LineOutcome::Unparsed && self.sampled[line.source as usize] < SAMPLES_PER_FILE {
            self.sampled[line.source as usize] += 1;
            let at = self.position(line);
            let text = line.text.chars().take(SAMPLE_CHARS).collect();
            self.samples.push(Sample { at, text });
        }
    }

    fn overflow(&mut self, overflow: &Overflow, line: Line<'_>) {
        let simulated = is_simulated(self.simulation, &overflow.alert.scenario);
        let own = || {
            let mut own = overflow.clone();
            own.alert.simulated = simulated;
            own
        };
        let decided = if overflow.whitelisted {
            own().into_alerts()
        } else {
            match self.profiles.decide(own(), self.services, &|_| false) {
                Ok(decided) => decided.into_iter().map(|decided| decided.alert).collect(),
                Err(error) => {
                    self.profile_errors.insert(error.to_string());
                    own().into_alerts()
                }
            }
        };
        let at = self.position(line);
        let whitelisted = overflow.whitelisted.then(|| overflow.whitelist_reason.clone());
        for alert in decided {
            self.add(Finding { at: at.clone(), whitelisted: whitelisted.clone(), alert });
        }
    }
}

/// What a report says for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'s> {
    schema: u32,
    files: &'s [FileCounts],
    lines: Lines,
    alerts: Alerts,
    scenarios: &'s BTreeMap<String, ByScenario>,
    sources: &'s BTreeMap<String, BySource>,
    unparsed: &'s [Sample],
    problems: Vec<Trouble>,
    /// All alerts, where they are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<&'s [Finding]>,
}

#[derive(Debug, Serialize)]
struct Lines {
    total: u64,
    parsed: u64,
    unparsed: u64,
    whitelisted: u64,
    dropped: u64,
    outside: u64,
    too_long: u64,
    not_utf8: u64,
}

#[derive(Debug, Serialize)]
struct Alerts {
    total: u64,
    whitelisted: u64,
    simulated: u64,
}

/// Something that could not be read or used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trouble {
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Report<'_> {
    /// The report; `whole`: with its findings.
    pub(crate) fn summary(
        &self,
        whole: bool,
        too_long: u64,
        not_utf8: u64,
        problems: Vec<Trouble>,
    ) -> Summary<'_> {
        let sum = |of: fn(&FileCounts) -> u64| self.files.iter().map(of).sum();
        Summary {
            schema: SCHEMA,
            files: &self.files,
            lines: Lines {
                total: sum(|f| f.lines),
                parsed: sum(|f| f.parsed),
                unparsed: sum(|f| f.unparsed),
                whitelisted: sum(|f| f.whitelisted),
                dropped: sum(|f| f.dropped),
                outside: sum(|f| f.outside),
                too_long,
                not_utf8,
            },
            alerts: Alerts { total: self.alerts, whitelisted: self.whitelisted, simulated: self.simulated },
            scenarios: &self.scenarios,
            sources: &self.sources,
            unparsed: &self.samples,
            problems,
            findings: whole.then_some(&*self.findings),
        }
    }
}

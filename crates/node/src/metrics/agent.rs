//! Metrics of the part that reads logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use testudo_engine::{Histogram as EngineHistogram, PARSING_BOUNDS, POURING_BOUNDS, SourceTallies, Tallies};
use testudo_intake::{Kind as SourceKind, State, Status};

use crate::agent::Agent;
use crate::prom::{Histogram, Kind, Page};

fn histogram(bounds: &'static [f64], found: &EngineHistogram) -> Histogram {
    let mut counts = found.counts.clone();
    counts.resize(bounds.len() + 1, 0);
    Histogram { bounds, counts, sum: found.nanos as f64 / 1e9 }
}

/// The label `source`: a file's path, or only its name where less is to be told.
fn source_label(source: &SourceTallies, full: bool) -> &str {
    if full || source.module != "file" {
        return &source.name;
    }
    Path::new(&source.name).file_name().and_then(|name| name.to_str()).unwrap_or(&source.name)
}

pub(super) fn write(page: &mut Page, agent: &Agent, full: bool) {
    let tallies = agent.tallies();
    lines(page, &tallies, full);
    nodes(page, &tallies, full);
    buckets(page, &tallies, full);
    sources(page, &agent.statuses(), full);
    own(page, agent, &tallies, full);
}

fn lines(page: &mut Page, tallies: &Tallies, full: bool) {
    let rows = || tallies.sources.iter().filter(|row| !row.name.is_empty() && row.hits > 0);
    page.family("cs_parser_hits_total", Kind::Counter, "Total events entered the parser.");
    for row in rows() {
        let labels = [("source", source_label(row, full)), ("type", &row.module)];
        page.count("cs_parser_hits_total", &labels, row.hits);
    }
    type Pick = fn(&SourceTallies) -> u64;
    let outcomes: [(&str, &str, Pick); 2] = [
        ("cs_parser_hits_ok_total", "Total events were successfully parsed.", |row| row.ok),
        ("cs_parser_hits_ko_total", "Total events were unsuccessfully parsed.", |row| row.ko),
    ];
    for (name, help, pick) in outcomes {
        page.family(name, Kind::Counter, help);
        for row in rows() {
            let labels =
                [("source", source_label(row, full)), ("type", &row.module), ("acquis_type", &row.kind)];
            page.count(name, &labels, pick(row));
        }
    }
    page.family("cs_parsing_time_seconds", Kind::Histogram, "Time spent parsing a line.");
    for row in rows() {
        let labels = [("type", row.module.as_str()), ("source", source_label(row, full))];
        page.histogram("cs_parsing_time_seconds", &labels, &histogram(&PARSING_BOUNDS, &row.parsing));
    }
    page.family("cs_bucket_pour_seconds", Kind::Histogram, "Time spent pouring an event.");
    for row in rows() {
        let labels = [("type", row.module.as_str()), ("source", source_label(row, full))];
        page.histogram("cs_bucket_pour_seconds", &labels, &histogram(&POURING_BOUNDS, &row.pouring));
    }
}

fn nodes(page: &mut Page, tallies: &Tallies, full: bool) {
    let all = || tallies.sources.iter().flat_map(|row| row.nodes.iter().map(move |node| (row, node)));
    if full {
        let names = [
            ("cs_node_hits_total", "Total events entered node."),
            ("cs_node_hits_ok_total", "Total events successfully exited node."),
            ("cs_node_hits_ko_total", "Total events unsuccessfully exited node."),
        ];
        for (at, (name, help)) in names.into_iter().enumerate() {
            page.family(name, Kind::Counter, help);
            for (row, node) in all() {
                let value = [node.hits, node.ok, node.ko][at];
                let labels = [
                    ("source", source_label(row, full)),
                    ("type", row.module.as_str()),
                    ("name", &*node.name),
                    ("stage", &*node.stage),
                    ("acquis_type", &row.kind),
                ];
                page.count(name, &labels, value);
            }
        }
    }
    let names = [
        ("cs_node_wl_hits_total", "Total events processed by whitelist node."),
        ("cs_node_wl_hits_ok_total", "Total events successfully whitelisted by node."),
    ];
    for (at, (name, help)) in names.into_iter().enumerate() {
        page.family(name, Kind::Counter, help);
        for (row, node) in all() {
            let Some((reason, matched)) = &node.whitelist else { continue };
            let labels = [
                ("source", source_label(row, full)),
                ("type", row.module.as_str()),
                ("name", &*node.name),
                ("reason", &**reason),
                ("stage", &*node.stage),
                ("acquis_type", &row.kind),
            ];
            page.count(name, &labels, if at == 0 { node.hits } else { *matched });
        }
    }
}

fn buckets(page: &mut Page, tallies: &Tallies, full: bool) {
    if full {
        page.family("cs_bucket_poured_total", Kind::Counter, "Total events were poured in bucket.");
        for row in &tallies.sources {
            for (scenario, count) in &row.poured {
                let labels =
                    [("source", row.name.as_str()), ("type", row.module.as_str()), ("name", &**scenario)];
                page.count("cs_bucket_poured_total", &labels, *count);
            }
        }
    }
    let names = [
        ("cs_bucket_instantiation_total", "Total buckets were instantiated."),
        ("cs_bucket_overflowed_total", "Total buckets overflowed."),
        ("cs_bucket_canceled_total", "Total buckets canceled."),
        ("cs_bucket_underflowed_total", "Total buckets underflowed."),
    ];
    for (at, (name, help)) in names.into_iter().enumerate() {
        page.family(name, Kind::Counter, help);
        for row in tallies.scenarios.iter().filter(|row| row.instantiated > 0) {
            let value = [row.instantiated, row.overflowed, row.canceled, row.underflowed][at];
            page.count(name, &[("name", &row.name)], value);
        }
    }
    page.family("cs_buckets", Kind::Gauge, "Number of buckets that currently exist.");
    for row in tallies.scenarios.iter().filter(|row| row.instantiated > 0 || row.buckets > 0) {
        page.count("cs_buckets", &[("name", &row.name)], row.buckets);
    }
    page.family("cs_cache_size", Kind::Gauge, "Entries per cache.");
    for (name, entries) in &tallies.stashes {
        page.count("cs_cache_size", &[("name", name), ("type", "stash")], *entries as u64);
    }
}

/// The counters of the sources, each kind under its own name.
fn sources(page: &mut Page, statuses: &[Status], full: bool) {
    let mut kinds: BTreeMap<SourceKind, Vec<&Status>> = BTreeMap::new();
    for status in statuses {
        kinds.entry(status.settings.kind).or_default().push(status);
    }
    for (kind, statuses) in kinds {
        page.family(kind.metric(), Kind::Counter, "Total lines that were read.");
        // Two sources may read streams of one name.
        let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for status in &statuses {
            let acquis = status.settings.labels.get("type").map_or("", String::as_str);
            for (stream, count) in status.counters.streams() {
                let name = if full || kind != SourceKind::File {
                    stream.to_string()
                } else {
                    stream.rsplit('/').next().unwrap_or_default().to_owned()
                };
                *counts.entry((name, acquis)).or_default() += count;
            }
        }
        for ((stream, acquis), count) in counts {
            let common = [("datasource_type", kind.name()), ("acquis_type", acquis)];
            let labels: Vec<(&str, &str)> = if kind == SourceKind::Http {
                [("path", "/"), ("src", stream.as_str())].into_iter().chain(common).collect()
            } else {
                [("source", stream.as_str())].into_iter().chain(common).collect()
            };
            page.count(kind.metric(), &labels, count);
        }
        if kind == SourceKind::Syslog {
            page.family(
                "cs_syslogsource_parsed_total",
                Kind::Counter,
                "Total messages that were understood.",
            );
            for status in &statuses {
                let acquis = status.settings.labels.get("type").map_or("", String::as_str);
                let (old, new) = (status.counters.rfc3164.get(), status.counters.rfc5424.get());
                for (format, count) in [("rfc3164", old), ("rfc5424", new)] {
                    let labels = [
                        ("source", status.settings.title.as_str()),
                        ("type", format),
                        ("datasource_type", kind.name()),
                        ("acquis_type", acquis),
                    ];
                    page.count("cs_syslogsource_parsed_total", &labels, count);
                }
            }
        }
    }
}

/// What other engines do not tell.
fn own(page: &mut Page, agent: &Agent, tallies: &Tallies, full: bool) {
    type Pick = fn(&Status) -> f64;
    let of_sources: [(&str, Kind, &str, Pick); 6] = [
        ("testudo_source_up", Kind::Gauge, "Whether a source runs.", |s| {
            f64::from(u8::from(matches!(s.state, State::Running | State::Finished)))
        }),
        ("testudo_source_restarts_total", Kind::Counter, "Starts of a source after it failed.", |s| {
            s.restarts as f64
        }),
        ("testudo_source_unread_bytes", Kind::Gauge, "Bytes that wait to be read.", |s| {
            s.counters.lag_bytes.get() as f64
        }),
        (
            "testudo_source_skipped_total",
            Kind::Counter,
            "Lines that were too long, or not understood.",
            |s| (s.counters.too_long.get() + s.counters.malformed.get()) as f64,
        ),
        (
            "testudo_source_gaps_total",
            Kind::Counter,
            "Times that lines were lost before they could be read.",
            |s| s.counters.gaps.get() as f64,
        ),
        ("testudo_source_refused_total", Kind::Counter, "Requests and connections that were refused.", |s| {
            s.counters.refused.get() as f64
        }),
    ];
    let statuses = agent.statuses();
    for (name, kind, help, pick) in of_sources {
        page.family(name, kind, help);
        for status in &statuses {
            let labels = [("source", status.settings.title.as_str()), ("kind", status.settings.kind.name())];
            page.sample(name, &labels, pick(status));
        }
    }
    page.family("testudo_lag_seconds", Kind::Gauge, "By how much the last line trailed its arrival.");
    for row in tallies.sources.iter().filter(|row| row.hits > 0) {
        let labels = [("source", source_label(row, full)), ("type", row.module.as_str())];
        page.sample("testudo_lag_seconds", &labels, (row.lag as f64 / 1e9).max(0.0));
    }
    let counts = &agent.counts;
    let watched = agent.watched.read().unwrap_or_else(PoisonError::into_inner).clone();
    let counters = [
        ("testudo_alerts_total", "Alerts that were made.", counts.alerts.get()),
        (
            "testudo_alerts_repeated_total",
            "Alerts that had been delivered before a crash.",
            counts.repeated.get(),
        ),
        ("testudo_alerts_dead_total", "Alerts that went to the dead letters.", counts.dead.get()),
        ("testudo_overflows_whitelisted_total", "Overflows that were taken back.", counts.whitelisted.get()),
        ("testudo_overflows_protected_total", "Overflows about protected addresses.", counts.protected.get()),
        ("testudo_alerts_without_remedy_total", "Alerts of rules that reach too far.", counts.stopped.get()),
        ("testudo_lines_skipped_total", "Lines that were skipped under overload.", counts.skipped.get()),
        (
            "testudo_delivery_failures_total",
            "Failed attempts to hand alerts over.",
            counts.failed_deliveries.get(),
        ),
        ("testudo_checkpoints_total", "Checkpoints that are on the disk.", counts.checkpoints.get()),
        ("testudo_reloads_total", "Reloads that were taken.", counts.reloads.get()),
        ("testudo_reloads_refused_total", "Reloads that were refused.", counts.refused_reloads.get()),
        ("testudo_panics_total", "Lines that were given up since the code failed.", tallies.counters.panics),
        (
            "testudo_buckets_evicted_total",
            "Buckets that had to go for want of room.",
            tallies.counters.evicted,
        ),
        ("testudo_scenarios_stopped_total", "Times that a scenario was stopped.", watched.trips),
    ];
    for (name, help, value) in counters {
        page.family(name, Kind::Counter, help);
        page.count(name, &[], value);
    }
    let gauges = [
        ("testudo_outbox_alerts", "Alerts that wait for the API.", agent.outbox.len() as f64),
        ("testudo_clients", "Clients that are remembered as good or bad.", watched.clients as f64),
        ("testudo_checkpoint_bytes", "Size of the last checkpoint.", counts.checkpoint_bytes.get() as f64),
        (
            "testudo_checkpoint_seconds",
            "Time to write the last checkpoint.",
            counts.checkpoint_millis.get() as f64 / 1e3,
        ),
    ];
    for (name, help, value) in gauges {
        page.single(name, Kind::Gauge, help, value);
    }
    page.family("testudo_scenario_stopped", Kind::Gauge, "When a stopped scenario acts again, Unix seconds.");
    for (name, until) in &watched.stopped {
        page.sample("testudo_scenario_stopped", &[("name", name)], *until as f64);
    }
    page.family(
        "testudo_line_to_decision_seconds",
        Kind::Histogram,
        "From reading a line to its decision being visible.",
    );
    page.histogram("testudo_line_to_decision_seconds", &[], &counts.latency());
}

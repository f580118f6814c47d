//! Finding out what is known about a value: from the database, the API, the daemon and log files.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use testudo_client::query;
use testudo_event::Prefix;
use testudo_store::{AlertFilter, AlertPage, Page, Store, StoredDecision, Target};
use testudo_wire::allowlist::reason;
use testudo_wire::decision::{round_to_seconds, seconds_text};
use testudo_wire::{Alert, AlertDecision};

use crate::commands::lines::last_about;
use crate::commands::unban::filters;
use crate::context::{Context, as_network};
use crate::daemon;
use crate::failure::{Done, Failure};
use crate::output::seconds;

use super::{Decided, Known, LastLines, Others, Puller};

/// Alerts that are looked at: what matters is what happened lately.
const ALERTS_MOST: u64 = 20;

/// Decisions that have ended, of which this many are shown.
const PAST_MOST: usize = 10;

/// Values of a key, files, and lines of a file that are shown.
const VALUES_MOST: usize = 5;
const FILES_MOST: usize = 3;
const LINES_MOST: usize = 3;

/// Decisions in force that are shown: of a large network there may be very many inside.
const DECISIONS_MOST: usize = 50;

/// Others whom an alert is about that are named.
const OTHERS_MOST: usize = 5;

/// A stored decision as alerts show it.
fn shown(decision: &StoredDecision, now_ms: i64) -> AlertDecision {
    AlertDecision {
        duration: seconds_text(round_to_seconds(decision.end_ms - now_ms)),
        id: decision.id,
        origin: decision.origin.clone(),
        scenario: decision.scenario.clone(),
        scope: decision.scope.clone(),
        simulated: decision.simulated,
        kind: decision.kind.clone(),
        value: decision.value.clone(),
    }
}

/// Whether a decision about one value is one about the other: it covers it.
fn concerns(decided: &str, asked: &str) -> bool {
    match as_network(asked).map(Prefix::canonical) {
        Some(asked) => as_network(decided)
            .map(Prefix::canonical)
            .is_some_and(|decided| decided.contains(asked.first()) && decided.contains(asked.last())),
        None => decided == asked,
    }
}

/// Whom else the decisions of an alert are about, if there is anybody.
fn others_of<'v>(alert_id: i64, decided: impl Iterator<Item = &'v str>, asked: &str) -> Option<Others> {
    let mut others = Others { alert_id, ..Others::default() };
    for value in decided.filter(|value| !concerns(value, asked)) {
        others.count += 1;
        if others.such_as.len() < OTHERS_MOST {
            others.such_as.push(value.to_owned());
        }
    }
    (others.count > 0).then_some(others)
}

pub(super) fn from_store(known: &mut Known, store: &Store, now_ms: i64) -> Done {
    let target = as_network(&known.value).and_then(|_| Target::parse(&known.value, true).ok());
    let filter = AlertFilter {
        target,
        value: target.is_none().then(|| known.value.clone()),
        ..AlertFilter::default()
    };
    let page = AlertPage { limit: ALERTS_MOST, ..AlertPage::default() };
    let mut newest = None;
    let value = known.value.clone();
    let (mut past, mut alerts, mut others) = (Vec::new(), Vec::new(), Vec::new());
    store.alerts(&filter, page, now_ms, |stored| {
        let decisions: Vec<_> = stored.decisions.iter().filter(|one| concerns(&one.value, &value)).collect();
        past.extend(decisions.iter().filter(|one| one.end_ms <= now_ms).map(|decision| Decided {
            alert_id: stored.alert.id,
            created_at: seconds(decision.created_ms),
            decision: shown(decision, now_ms),
        }));
        others.extend(others_of(
            stored.alert.id,
            stored.decisions.iter().map(|one| one.value.as_str()),
            &value,
        ));
        alerts
            .push(Alert::shown(&stored.alert, decisions.into_iter().map(|one| shown(one, now_ms)).collect()));
    })?;
    // Those in force are all there, also of alerts that are not, and of ranges around it.
    let index = store.index(now_ms);
    let mut known_ids = HashSet::new();
    for filter in filters(&known.value) {
        index.query(&filter, Page::default(), |view| {
            if !known_ids.insert(view.id()) {
                return;
            }
            if known.decisions.len() == DECISIONS_MOST {
                known.more_decisions += 1;
                return;
            }
            let label = view.label();
            newest = newest.max(Some(view.created_secs() * 1000));
            known.decisions.push(Decided {
                alert_id: view.alert(),
                created_at: seconds(view.created_secs() * 1000),
                decision: AlertDecision {
                    duration: seconds_text(round_to_seconds(view.end_ms() - now_ms)),
                    id: view.id(),
                    origin: label.origin.to_owned(),
                    scenario: label.scenario.to_owned(),
                    scope: label.scope.to_owned(),
                    simulated: label.simulated,
                    kind: label.kind.to_owned(),
                    value: view.value(),
                },
            });
        });
    }
    drop(index);
    past.truncate(PAST_MOST);
    (known.past_decisions, known.alerts, known.others) = (past, alerts, others);
    if let Some(target) = target {
        let allowed = store.allowed_by(target, now_ms);
        let text = |one: &testudo_store::Allowed| reason(&one.item.value, &one.list, &one.item.description);
        known.allowlisted_by = allowed.iter().map(text).collect();
    }
    let bouncers = store.bouncers().list();
    known.bouncers = bouncers
        .iter()
        .map(|bouncer| Puller {
            name: bouncer.name.clone(),
            last_pull: bouncer.last_pull_ms.map(seconds),
            has_pulled_since: match (bouncer.last_pull_ms, newest) {
                (Some(last), Some(newest)) => last >= newest,
                (last, None) => last.is_some(),
                (None, Some(_)) => false,
            },
        })
        .collect();
    Ok(())
}

/// On a machine without the database: what the API tells machines.
pub(super) fn from_api(known: &mut Known, cx: &Context<'_, '_>) -> Done {
    let api = cx.api()?;
    let network = as_network(&known.value);
    let name = match network {
        None => "value",
        Some(_) if known.value.contains('/') => "range",
        Some(_) => "ip",
    };
    let limit = ALERTS_MOST.to_string();
    let mut alerts =
        api.call(api.client.alerts(&query([(name, known.value.as_str()), ("limit", limit.as_str())])))?;
    for alert in &mut alerts {
        let values = alert.decisions.iter().map(|one| one.value.as_str());
        known.others.extend(others_of(alert.id, values, &known.value));
        alert.decisions.retain(|one| concerns(&one.value, &known.value));
        for decision in &alert.decisions {
            let is_over = decision.duration.starts_with('-') || decision.duration == "0s";
            let list = if is_over { &mut known.past_decisions } else { &mut known.decisions };
            list.push(Decided {
                alert_id: alert.id,
                created_at: alert.created_at.clone(),
                decision: decision.clone(),
            });
        }
    }
    known.past_decisions.truncate(PAST_MOST);
    known.alerts = alerts;
    if network.is_some() {
        match api.call(api.client.check_allowlists(&known.value)) {
            Ok(answer) if answer.allowlisted => known.allowlisted_by.push(answer.reason),
            Err(Failure::Client(error)) if error.status() == Some(404) => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

/// Why the daemon here would never ban it.
pub(super) fn protections(cx: &Context<'_, '_>, value: &str) -> Result<Vec<String>, Failure> {
    let Some(network) = as_network(value) else { return Ok(Vec::new()) };
    let network = network.canonical();
    let config = cx.config()?;
    let mut found = Vec::new();
    if config.own.protect.enabled {
        for prefix in &config.own.protect.never_ban {
            if prefix.canonical().contains(network.first()) {
                found.push(format!("{prefix} in testudo.protect.never_ban"));
            }
        }
    }
    // The daemon knows more: own addresses, gateways, resolvers, sessions.
    let status = daemon::status(config).unwrap_or_default();
    for one in status["agent"]["protected_addresses"].as_array().into_iter().flatten() {
        let (address, reason) =
            (one["address"].as_str().unwrap_or_default(), one["reason"].as_str().unwrap_or_default());
        if as_network(address).is_some_and(|prefix| prefix.canonical().contains(network.first())) {
            let text = format!("{address}: {reason}");
            if !found.contains(&text) {
                found.push(text);
            }
        }
    }
    Ok(found)
}

/// What the events and the context of an alert tell, but for what stands elsewhere.
pub(super) fn seen(alert: &Alert) -> BTreeMap<String, Vec<String>> {
    const ELSEWHERE: [&str; 5] = ["timestamp", "source_ip", "datasource_path", "datasource_type", "position"];
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |key: &str, value: String| {
        let values = found.entry(key.to_owned()).or_default();
        if !value.is_empty() && values.len() < VALUES_MOST && !values.contains(&value) {
            values.push(value);
        }
    };
    for pair in alert.events.iter().flat_map(|event| &event.meta) {
        if !ELSEWHERE.contains(&pair.key.as_str()) {
            add(&pair.key, pair.value.clone());
        }
    }
    for pair in &alert.meta {
        match serde_json::from_str::<Vec<String>>(&pair.value) {
            Ok(values) => values.into_iter().for_each(|value| add(&pair.key, value)),
            Err(_) => add(&pair.key, pair.value.clone()),
        }
    }
    found
}

/// The last lines about an address in the files from which its alerts come, where they are files of this
/// machine.
pub(super) fn last_lines(known: &Known) -> Vec<LastLines> {
    if as_network(&known.value).is_none() || known.value.contains('/') {
        return Vec::new();
    }
    let metas = known.alerts.iter().flat_map(|alert| &alert.events).flat_map(|event| &event.meta);
    let mut files: Vec<&str> = Vec::new();
    for pair in metas.filter(|pair| pair.key == "datasource_path" && pair.value.starts_with('/')) {
        if files.len() < FILES_MOST && !files.contains(&pair.value.as_str()) {
            files.push(&pair.value);
        }
    }
    let found = files.into_iter().map(|file| LastLines {
        file: file.to_owned(),
        lines: last_about(Path::new(file), &known.value, LINES_MOST),
    });
    found.filter(|one| !one.lines.is_empty()).collect()
}

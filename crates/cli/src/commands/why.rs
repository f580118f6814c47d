//! `why`: everything that is known about an address, on one screen.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;
use testudo_client::query;
use testudo_config::Output;
use testudo_event::Prefix;
use testudo_store::{AlertFilter, AlertPage, Page, Store, StoredDecision, Target};
use testudo_wire::allowlist::reason;
use testudo_wire::decision::{round_to_seconds, seconds_text};
use testudo_wire::{Alert, AlertDecision};

use crate::args::Why;
use crate::context::{Context, as_network};
use crate::daemon;
use crate::failure::{Done, Failure};
use crate::output::{Paint, Table, painted, printable, seconds};

use super::alerts::{as_text, subject};
use super::lines::last_about;
use super::unban::filters;

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

/// A bouncer, and whether it can know of the newest decision.
#[derive(Debug, Serialize)]
struct Puller {
    name: String,
    last_pull: Option<String>,
    /// Whether it has asked since the newest decision was made.
    has_pulled_since: bool,
}

/// Everything about a value.
#[derive(Debug, Default, Serialize)]
struct Known {
    schema: u32,
    value: String,
    decisions: Vec<Decided>,
    past_decisions: Vec<Decided>,
    alerts: Vec<Alert>,
    /// Decisions in force beyond those that are listed.
    more_decisions: usize,
    others: Vec<Others>,
    /// Of the newest alert: keys of its events and context, with their values.
    seen: BTreeMap<String, Vec<String>>,
    lines: Vec<LastLines>,
    allowlisted_by: Vec<String>,
    protected_by: Vec<String>,
    bouncers: Vec<Puller>,
}

#[derive(Debug, Serialize)]
struct Decided {
    alert_id: i64,
    created_at: String,
    #[serde(flatten)]
    decision: AlertDecision,
}

/// The last lines of a log file about an address.
#[derive(Debug, Serialize)]
struct LastLines {
    file: String,
    lines: Vec<String>,
}

/// Whom else the decisions of an alert are about.
#[derive(Debug, Default, Serialize)]
struct Others {
    alert_id: i64,
    count: usize,
    such_as: Vec<String>,
}

pub(crate) fn run(cx: &mut Context<'_, '_>, args: &Why) -> Done {
    let mut known = Known { schema: 1, value: args.value.clone(), ..Known::default() };
    if cx.config()?.serves_api() {
        let store = cx.store()?;
        from_store(&mut known, &store, cx.io.now_ms)?;
    } else {
        from_api(&mut known, cx)?;
    }
    known.protected_by = protections(cx, &args.value)?;
    if let Some(alert) = known.alerts.first() {
        known.seen = seen(alert);
    }
    known.lines = last_lines(&known);
    match cx.output() {
        Output::Json | Output::Raw => cx.json(&known, 1),
        Output::Human => tell(cx, &known),
    }
}

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

fn from_store(known: &mut Known, store: &Store, now_ms: i64) -> Done {
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
fn from_api(known: &mut Known, cx: &Context<'_, '_>) -> Done {
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
fn protections(cx: &Context<'_, '_>, value: &str) -> Result<Vec<String>, Failure> {
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

/// Where the line of an event stood, by its meta: source and position.
fn place(alert: &Alert) -> String {
    let Some(event) = alert.events.last() else { return String::new() };
    let meta =
        |key: &str| event.meta.iter().find(|pair| pair.key == key).map_or("", |pair| pair.value.as_str());
    let path = meta("datasource_path");
    match meta("position") {
        "" => path.to_owned(),
        position => format!("{path}:{position}"),
    }
}

/// What the events and the context of an alert tell, but for what stands elsewhere.
fn seen(alert: &Alert) -> BTreeMap<String, Vec<String>> {
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
fn last_lines(known: &Known) -> Vec<LastLines> {
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

fn heading(cx: &mut Context<'_, '_>, text: &str) -> Done {
    let text = if cx.is_fancy() { painted(text, Paint::Bold) } else { text.to_owned() };
    cx.line("")?;
    cx.line(text)
}

fn decided(list: &[Decided], head: &str) -> Table {
    let mut table = Table::new(["ID", "Action", head, "Scope:Value", "Source", "Reason", "Alert ID"]);
    for Decided { alert_id, decision, .. } in list {
        let mark = if decision.simulated { "(simul)" } else { "" };
        let left = decision.duration.trim_start_matches('-');
        table.row([
            decision.id.to_string(),
            format!("{mark}{}", decision.kind),
            left.to_owned(),
            format!("{}:{}", decision.scope, decision.value),
            decision.origin.clone(),
            decision.scenario.clone(),
            if *alert_id == 0 { String::new() } else { alert_id.to_string() },
        ]);
    }
    table
}

fn tell(cx: &mut Context<'_, '_>, known: &Known) -> Done {
    let source = known
        .alerts
        .iter()
        .map(|alert| &alert.source)
        .find(|source| !source.cn.is_empty() || !source.as_name.is_empty());
    let origin = source
        .map(|source| format!("{} {}", source.cn, as_text(source)).trim().to_owned())
        .unwrap_or_default();
    cx.line(if origin.is_empty() {
        printable(&known.value)
    } else {
        format!("{} ({})", printable(&known.value), printable(&origin))
    })?;
    if known.decisions.is_empty() {
        cx.line("\nNo decision is in force.")?;
    } else {
        heading(cx, "Decisions in force")?;
        cx.table(&decided(&known.decisions, "Ends in"))?;
        if known.more_decisions > 0 {
            cx.line(format_args!("… and {} more", known.more_decisions))?;
        }
    }
    if !known.past_decisions.is_empty() {
        heading(cx, "Decisions that have ended")?;
        cx.table(&decided(&known.past_decisions, "Ended before"))?;
    }
    if known.alerts.is_empty() {
        cx.line("\nNo alert is known.")?;
    } else {
        heading(cx, "Alerts")?;
        let mut table = Table::new(["ID", "Time", "Scenario", "About", "Events", "Seen by", "Where"]);
        for alert in &known.alerts {
            table.row([
                alert.id.to_string(),
                alert.stop_at.clone(),
                alert.scenario.clone(),
                subject(&alert.source),
                alert.events_count.to_string(),
                alert.machine_id.clone(),
                place(alert),
            ]);
        }
        cx.table(&table)?;
    }
    if !known.seen.is_empty() {
        heading(cx, "What was seen last")?;
        for (key, values) in &known.seen {
            cx.line(format_args!(" {:<18} {}", printable(key), printable(&values.join(", "))))?;
        }
    }
    for LastLines { file, lines } in &known.lines {
        heading(cx, &format!("Last lines in {}", printable(file)))?;
        lines.iter().try_for_each(|line| cx.line(format_args!(" {}", printable(line))))?;
    }
    if !known.others.is_empty() {
        heading(cx, "Whom else these alerts are about")?;
        let mut table = Table::new(["Alert ID", "Others", "Such as"]);
        for one in &known.others {
            table.row([one.alert_id.to_string(), one.count.to_string(), one.such_as.join(", ")]);
        }
        cx.table(&table)?;
    }
    if !known.allowlisted_by.is_empty() {
        heading(cx, "Allowed by")?;
        known.allowlisted_by.iter().try_for_each(|one| cx.line(format_args!(" - {}", printable(one))))?;
    }
    if !known.protected_by.is_empty() {
        heading(cx, "Never banned by this daemon")?;
        known.protected_by.iter().try_for_each(|one| cx.line(format_args!(" - {}", printable(one))))?;
    }
    if !known.bouncers.is_empty() && !known.decisions.is_empty() {
        heading(cx, "Bouncers, some seconds ago")?;
        let mut table = Table::new(["Name", "Last pull", "Knows of it"]);
        for bouncer in &known.bouncers {
            table.row([
                bouncer.name.clone(),
                bouncer.last_pull.clone().unwrap_or_else(|| "never".to_owned()),
                if bouncer.has_pulled_since { "yes" } else { "not yet" }.to_owned(),
            ]);
        }
        cx.table(&table)?;
    }
    next(cx, known)
}

/// What can be done next, if there is anything.
fn next(cx: &mut Context<'_, '_>, known: &Known) -> Done {
    let steps = steps(known, cx.io.program);
    if steps.is_empty() {
        return Ok(());
    }
    heading(cx, "What to do next")?;
    steps.iter().try_for_each(|step| cx.line(format_args!(" - {step}")))
}

fn steps(known: &Known, program: &str) -> Vec<String> {
    let value = printable(&known.value);
    let is_network = as_network(&known.value).is_some();
    let (is_allowed, is_protected) = (!known.allowlisted_by.is_empty(), !known.protected_by.is_empty());
    let mut steps = Vec::new();
    if let Some(first) = known.alerts.first() {
        steps.push(format!("see the events of an alert:  {program} alerts inspect -d {}", first.id));
    }
    if known.decisions.is_empty() {
        if is_network && !is_allowed && !is_protected {
            let flag = if value.contains('/') { "-r" } else { "-i" };
            steps.push(format!("ban it:                      {program} decisions add {flag} {value}"));
        }
        return steps;
    }
    steps.push(format!("lift it:                     {program} unban {value}"));
    if is_network && !is_allowed {
        steps.push(format!("never ban it again:          {program} allowlists add NAME {value}"));
    }
    if is_allowed {
        let why = "it is allowed, and there is a decision all the same: made by hand, or before the list";
        steps.push(why.to_owned());
    }
    let late: Vec<&str> =
        known.bouncers.iter().filter(|one| !one.has_pulled_since).map(|one| one.name.as_str()).collect();
    if !late.is_empty() {
        steps.push(format!("look after bouncers that have not asked since: {}", late.join(", ")));
    }
    steps
}

//! `alerts`: over the API, but for flushing.

use std::collections::BTreeMap;

use testudo_client::query;
use testudo_config::Output;
use testudo_store::FlushPolicy;
use testudo_wire::Alert;
use testudo_wire::alert::{Pair, Source};

use crate::args::{AlertsVerb, DeleteAlerts, FlushAlerts, InspectAlerts, ListAlerts};
use crate::context::{Context, age, nanos};
use crate::failure::{Done, Failure};
use crate::output::{Paint, Table, painted};

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &AlertsVerb) -> Done {
    match verb {
        AlertsVerb::List(args) => list(cx, args),
        AlertsVerb::Inspect(args) => inspect(cx, args),
        AlertsVerb::Delete(args) => delete(cx, args),
        AlertsVerb::Flush(args) => flush(cx, args),
    }
}

/// Number and name of the autonomous system.
pub(crate) fn as_text(source: &Source) -> String {
    format!("{} {}", source.as_number, source.as_name).trim().to_owned()
}

/// Who an alert is about.
pub(crate) fn subject(source: &Source) -> String {
    match (source.scope.as_str(), source.value.as_str()) {
        ("", "") => String::new(),
        (scope, "") => scope.to_owned(),
        (scope, value) => format!("{scope}:{value}"),
    }
}

/// The types of an alert's decisions with their counts: `ban:2 captcha:1`.
fn decided(alert: &Alert) -> String {
    let mut counts = BTreeMap::new();
    for decision in &alert.decisions {
        let mark = if decision.simulated { "(simul)" } else { "" };
        *counts.entry(format!("{mark}{}", decision.kind)).or_insert(0_u64) += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(kind, count)| format!("{kind}:{count}")).collect();
    counts.join(" ")
}

fn list(cx: &mut Context<'_, '_>, args: &ListAlerts) -> Done {
    let (since, until, limit) = (age(&args.since)?, age(&args.until)?, args.limit.to_string());
    let asked = query([
        ("include_capi", if args.all { "true" } else { "false" }),
        ("limit", limit.as_str()),
        ("since", since.as_str()),
        ("until", until.as_str()),
        ("ip", args.ip.as_str()),
        ("range", args.range.as_str()),
        ("contains", if args.contained { "false" } else { "" }),
        ("scenario", args.scenario.as_str()),
        ("decision_type", args.kind_of_decision.as_str()),
        ("scope", args.scope.as_str()),
        ("value", args.value.as_str()),
        ("origin", args.origin.as_str()),
        ("kind", args.kind.as_str()),
    ]);
    let api = cx.api()?;
    let alerts = api.call(api.client.alerts(&asked))?;
    match cx.output() {
        Output::Json => cx.json(&alerts, 1),
        Output::Raw => {
            let mut head =
                vec!["id", "scope", "value", "reason", "country", "as", "decisions", "created_at", "kind"];
            head.extend(args.machine.then_some("machine"));
            cx.csv(head)?;
            for alert in &alerts {
                let id = alert.id.to_string();
                let (as_text, decided) = (as_text(&alert.source), decided(alert));
                let mut fields: Vec<&str> = vec![
                    &id,
                    &alert.source.scope,
                    &alert.source.value,
                    &alert.scenario,
                    &alert.source.cn,
                    &as_text,
                    &decided,
                    // Under this name, other tools show when it began.
                    &alert.start_at,
                    &alert.kind,
                ];
                fields.extend(args.machine.then_some(alert.machine_id.as_str()));
                cx.csv(fields)?;
            }
            Ok(())
        }
        Output::Human if alerts.is_empty() => cx.line("No active alerts"),
        Output::Human => {
            let mut head = vec!["ID", "value", "reason", "country", "as", "decisions", "created_at", "kind"];
            head.extend(args.machine.then_some("machine"));
            let mut table = Table::new(head);
            for alert in alerts {
                let mut row = vec![
                    alert.id.to_string(),
                    subject(&alert.source),
                    alert.scenario.clone(),
                    alert.source.cn.clone(),
                    as_text(&alert.source),
                    decided(&alert),
                    alert.start_at.clone(),
                    alert.kind.clone(),
                ];
                row.extend(args.machine.then(|| alert.machine_id.clone()));
                table.row(row);
            }
            cx.table(&table)
        }
    }
}

fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::text(format!("bad alert id '{text}': it is a number")))
}

fn inspect(cx: &mut Context<'_, '_>, args: &InspectAlerts) -> Done {
    let api = cx.api()?;
    for id in &args.ids {
        let id = number(id)?;
        let alert = api.call(api.client.alert(id)).map_err(|error| match error {
            Failure::Client(error) => Failure::text(format!("can't find alert with id {id}: {error}")),
            error => error,
        })?;
        match cx.output() {
            Output::Human => describe(cx, &alert, args.details)?,
            // What is JSON is YAML as well, which others write here.
            Output::Json | Output::Raw => cx.json(&alert, 2)?,
        }
    }
    Ok(())
}

fn pairs(pairs: &[Pair]) -> Table {
    let mut table = Table::new(["Key", "Value"]);
    for pair in pairs {
        // The values of a key are a JSON list.
        match serde_json::from_str::<Vec<String>>(&pair.value) {
            Ok(values) => values.into_iter().for_each(|value| table.row([pair.key.clone(), value])),
            Err(_) => table.row([pair.key.clone(), pair.value.clone()]),
        }
    }
    table
}

fn describe(cx: &mut Context<'_, '_>, alert: &Alert, details: bool) -> Done {
    cx.line(format_args!("\n{}\n", "#".repeat(96)))?;
    for (name, value) in [
        ("ID", alert.id.to_string()),
        ("Date", alert.created_at.clone()),
        ("Machine", alert.machine_id.clone()),
        ("Simulation", alert.simulated.to_string()),
        ("Remediation", alert.remediation.to_string()),
        ("Kind", alert.kind.clone()),
        ("Reason", alert.scenario.clone()),
        ("Events Count", alert.events_count.to_string()),
        ("Scope:Value", subject(&alert.source)),
        ("Country", alert.source.cn.clone()),
        ("AS", as_text(&alert.source)),
        ("Begin", alert.start_at.clone()),
        ("End", alert.stop_at.clone()),
        ("UUID", alert.uuid.clone()),
    ] {
        let line = format!(" - {name:<12} : {}", crate::output::printable(&value));
        cx.line(line.trim_end())?;
    }
    cx.line("")?;
    let active: Vec<_> =
        alert.decisions.iter().filter(|decision| !decision.duration.starts_with('-')).collect();
    if !active.is_empty() {
        cx.line(" - Active Decisions  :")?;
        let mut table = Table::new(["ID", "scope:value", "action", "expiration", "created_at"]);
        for decision in active {
            table.row([
                decision.id.to_string(),
                format!("{}:{}", decision.scope, decision.value),
                decision.kind.clone(),
                decision.duration.clone(),
                alert.created_at.clone(),
            ]);
        }
        cx.table(&table)?;
    }
    if !alert.meta.is_empty() {
        cx.line("\n - Context  :")?;
        cx.table(&pairs(&alert.meta))?;
    }
    if details {
        cx.line("\n - Events  :")?;
        for event in &alert.events {
            let date = format!("\n- Date: {}", crate::output::printable(&event.timestamp));
            let date = if cx.is_fancy() { painted(&date, Paint::Bold) } else { date };
            cx.line(date)?;
            let mut table = Table::new(["Key", "Value"]);
            for pair in &event.meta {
                table.row([pair.key.clone(), pair.value.clone()]);
            }
            cx.table(&table)?;
        }
    }
    Ok(())
}

fn delete(cx: &mut Context<'_, '_>, args: &DeleteAlerts) -> Done {
    let asked = query([
        ("scope", args.scope.as_str()),
        ("value", args.value.as_str()),
        ("scenario", args.scenario.as_str()),
        ("ip", args.ip.as_str()),
        ("range", args.range.as_str()),
    ]);
    if asked.is_empty() && args.id.is_empty() && !args.all {
        return Err(Failure::text("at least one filter or --all must be specified"));
    }
    let asked = match asked.as_str() {
        _ if args.all => String::new(),
        _ if args.contained => format!("{asked}&contains=false"),
        _ => asked,
    };
    let api = cx.api()?;
    let count = if args.id.is_empty() || args.all {
        api.call(api.client.delete_alerts(&asked))?
    } else {
        api.call(api.client.delete_alert(number(&args.id)?))?
    };
    cx.note(format_args!("{count} alert(s) deleted"));
    Ok(())
}

fn flush(cx: &mut Context<'_, '_>, args: &FlushAlerts) -> Done {
    let store = cx.store()?;
    cx.note("Flushing alerts. !! This may take a long time !!");
    let policy = FlushPolicy {
        alerts_most: Some(args.max_items),
        alerts_age_ms: Some(nanos(&args.max_age)? / 1_000_000),
        ..FlushPolicy::default()
    };
    let flushed = store.flush(&policy, cx.io.now_ms)?;
    cx.note(format_args!("Alerts flushed: {}", flushed.alerts));
    Ok(())
}

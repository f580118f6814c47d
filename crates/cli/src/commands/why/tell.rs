//! Telling people what is known, and what to do next.

use testudo_wire::Alert;

use crate::commands::alerts::{as_text, subject};
use crate::context::{Context, as_network};
use crate::failure::Done;
use crate::output::{Paint, Table, painted, printable};

use super::{Decided, Known, LastLines};

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

pub(super) fn tell(cx: &mut Context<'_, '_>, known: &Known) -> Done {
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

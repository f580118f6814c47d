//! `decisions`: over the API.

use std::collections::HashMap;

use testudo_client::query;
use testudo_config::Output;
use testudo_event::alert::{SCOPE_IP, SCOPE_RANGE, normalise_scope};
use testudo_event::duration;
use testudo_wire::alert::PostedSource;
use testudo_wire::{Alert, AlertDecision, PostedAlert, PostedDecision};

use crate::args::{AddDecision, DecisionsVerb, DeleteDecisions, ListDecisions};
use crate::context::{Api, Context, age, as_network, without_days};
use crate::failure::{Done, Failure};
use crate::output::{Paint, Table, seconds};

use super::alerts::as_text;
use super::import;

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &DecisionsVerb) -> Done {
    match verb {
        DecisionsVerb::List(args) => list(cx, args),
        DecisionsVerb::Add(args) => add(cx, args),
        DecisionsVerb::Delete(args) => delete(cx, args),
        DecisionsVerb::Import(args) => import::run(cx, args),
    }
}

/// Time left in nanoseconds; what cannot be read has ended.
fn left(decision: &AlertDecision) -> i64 {
    duration::parse(&decision.duration).unwrap_or(0)
}

/// Leaves of each alert the decisions that are in force, and of several that say the same the one that lasts
/// longest. Alerts without any are left out. Returns how many were left out because of another.
pub(crate) fn keep_longest(alerts: &mut Vec<Alert>) -> usize {
    let mut longest: HashMap<(bool, String, String, String), (i64, i64)> = HashMap::new();
    let key = |one: &AlertDecision| (one.simulated, one.kind.clone(), one.scope.clone(), one.value.clone());
    for decision in alerts.iter().flat_map(|alert| &alert.decisions).filter(|one| left(one) > 0) {
        let found = longest.entry(key(decision)).or_insert((left(decision), decision.id));
        // Of equal ones the first that the server names.
        if left(decision) > found.0 {
            *found = (left(decision), decision.id);
        }
    }
    let mut duplicates = 0;
    for alert in alerts.iter_mut() {
        alert.decisions.retain(|decision| left(decision) > 0);
        let before = alert.decisions.len();
        alert.decisions.retain(|one| longest.get(&key(one)).is_some_and(|(_, id)| *id == one.id));
        duplicates += before - alert.decisions.len();
    }
    alerts.retain(|alert| !alert.decisions.is_empty());
    duplicates
}

fn list(cx: &mut Context<'_, '_>, args: &ListDecisions) -> Done {
    let (since, until, limit) = (age(&args.since)?, age(&args.until)?, args.limit.to_string());
    let scope = normalise_scope(&args.scope);
    let asked = query([
        ("has_active_decision", "true"),
        ("include_capi", if args.all { "true" } else { "false" }),
        ("limit", limit.as_str()),
        ("since", since.as_str()),
        ("until", until.as_str()),
        ("scope", scope),
        ("value", args.value.as_str()),
        ("decision_type", args.kind.as_str()),
        ("ip", args.ip.as_str()),
        ("range", args.range.as_str()),
        ("contains", if args.contained { "false" } else { "" }),
        ("origin", args.origin.as_str()),
        ("scenario", args.scenario.as_str()),
        ("simulated", if args.no_simulated { "false" } else { "" }),
    ]);
    let api = cx.api()?;
    let mut alerts = api.call(api.client.alerts(&asked))?;
    let duplicates = keep_longest(&mut alerts);
    match cx.output() {
        Output::Json => cx.json(&alerts, 1),
        Output::Raw => raw(cx, &alerts, args.machine),
        Output::Human if alerts.is_empty() => cx.line("No active decisions"),
        Output::Human => {
            let mut head = vec![
                "ID",
                "Source",
                "Scope:Value",
                "Reason",
                "Action",
                "Country",
                "AS",
                "Events",
                "expiration",
                "Alert ID",
            ];
            head.extend(args.machine.then_some("Machine"));
            let mut table = Table::new(head);
            for (alert, decision) in each(&alerts) {
                let plain = |text: String| (text, Paint::None);
                let mut row = vec![
                    plain(decision.id.to_string()),
                    plain(decision.origin.clone()),
                    plain(format!("{}:{}", decision.scope, decision.value)),
                    plain(decision.scenario.clone()),
                    plain(action(decision)),
                    plain(alert.source.cn.clone()),
                    plain(as_text(&alert.source)),
                    plain(alert.events_count.to_string()),
                    plain(decision.duration.clone()),
                    plain(alert.id.to_string()),
                ];
                row.extend(args.machine.then(|| plain(alert.machine_id.clone())));
                table.painted_row(row);
            }
            cx.table(&table)?;
            if duplicates > 0 {
                cx.line(format_args!("{duplicates} duplicated entries skipped"))?;
            }
            Ok(())
        }
    }
}

fn each(alerts: &[Alert]) -> impl Iterator<Item = (&Alert, &AlertDecision)> {
    alerts.iter().flat_map(|alert| alert.decisions.iter().map(move |decision| (alert, decision)))
}

fn action(decision: &AlertDecision) -> String {
    let mark = if decision.simulated { "(simul)" } else { "" };
    format!("{mark}{}", decision.kind)
}

fn raw(cx: &mut Context<'_, '_>, alerts: &[Alert], with_machine: bool) -> Done {
    let mut head = vec![
        "id",
        "source",
        "ip",
        "reason",
        "action",
        "country",
        "as",
        "events_count",
        "expiration",
        "simulated",
        "alert_id",
    ];
    head.extend(with_machine.then_some("machine"));
    cx.csv(head)?;
    for (alert, decision) in each(alerts) {
        let mut row = vec![
            decision.id.to_string(),
            decision.origin.clone(),
            format!("{}:{}", decision.scope, decision.value),
            decision.scenario.clone(),
            decision.kind.clone(),
            alert.source.cn.clone(),
            as_text(&alert.source),
            alert.events_count.to_string(),
            decision.duration.clone(),
            decision.simulated.to_string(),
            alert.id.to_string(),
        ];
        row.extend(with_machine.then(|| alert.machine_id.clone()));
        cx.csv(row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Scope and value of a decision by hand.
fn subject(args: &AddDecision) -> Result<(String, String), Failure> {
    let (scope, value) = if !args.ip.is_empty() {
        (SCOPE_IP, &args.ip)
    } else if !args.range.is_empty() {
        (SCOPE_RANGE, &args.range)
    } else {
        (normalise_scope(&args.scope), &args.value)
    };
    if value.is_empty() {
        return Err(Failure::text(
            "missing arguments, a value is required (--ip, --range or --scope and --value)",
        ));
    }
    check(scope, value)?;
    Ok((scope.to_owned(), value.clone()))
}

/// Whether a value can be one of its scope.
pub(crate) fn check(scope: &str, value: &str) -> Done {
    let is_good = match scope {
        SCOPE_IP => !value.contains('/') && as_network(value).is_some(),
        SCOPE_RANGE => as_network(value).is_some(),
        _ => true,
    };
    if is_good {
        return Ok(());
    }
    let is_range = scope == SCOPE_IP && as_network(value).is_some();
    let hint = if is_range { ": it is a range, for which there is --range" } else { "" };
    Err(Failure::text(format!(
        "invalid {} '{value}'{hint}",
        if scope == SCOPE_IP { "ip address" } else { "ip range" }
    )))
}

/// An alert that carries decisions by hand.
pub(crate) fn by_hand(now_ms: i64, reason: &str, decisions: Vec<PostedDecision>) -> PostedAlert {
    let now = Some(seconds(now_ms));
    PostedAlert {
        capacity: Some(0),
        decisions,
        events: Some(Vec::new()),
        events_count: Some(1),
        kind: "cscli".to_owned(),
        leakspeed: Some("0".to_owned()),
        message: Some(reason.to_owned()),
        remediation: true,
        scenario: Some(reason.to_owned()),
        scenario_hash: Some(String::new()),
        scenario_version: Some(String::new()),
        simulated: Some(false),
        start_at: now.clone(),
        stop_at: now,
        ..PostedAlert::default()
    }
}

fn add(cx: &mut Context<'_, '_>, args: &AddDecision) -> Done {
    let (scope, value) = subject(args)?;
    let duration = without_days(&args.duration)?;
    let reason = if args.reason.is_empty() {
        let who = cx.credentials()?.login;
        let who = if who.is_empty() { "a certificate".to_owned() } else { who };
        format!("manual '{}' from '{who}'", args.kind)
    } else {
        args.reason.clone()
    };
    let api = cx.api()?;
    let is_network = [SCOPE_IP, SCOPE_RANGE].contains(&scope.as_str());
    if is_network && !args.bypass_allowlist {
        refuse_allowed(&api, &value)?;
    }
    let mut alert = by_hand(
        cx.io.now_ms,
        &reason,
        vec![PostedDecision {
            duration: Some(duration),
            origin: Some("cscli".to_owned()),
            scenario: Some(reason.clone()),
            scope: Some(scope.clone()),
            simulated: None,
            kind: Some(args.kind.clone()),
            value: Some(value.clone()),
        }],
    );
    alert.source = Some(PostedSource {
        ip: if scope == SCOPE_IP { value.clone() } else { String::new() },
        range: if scope == SCOPE_RANGE { value.clone() } else { String::new() },
        scope: Some(scope),
        value: Some(value),
        ..PostedSource::default()
    });
    if api.call(api.client.post(&[alert]))?.is_empty() {
        return Err(Failure::text("the local API has not taken the decision: its log says why"));
    }
    cx.note("Decision successfully added");
    Ok(())
}

fn refuse_allowed(api: &Api, value: &str) -> Done {
    match api.call(api.client.check_allowlists(value)) {
        Ok(answer) if answer.allowlisted => Err(Failure::text(format!(
            "{value} is allowlisted by item {}, use --bypass-allowlist to add the decision anyway",
            answer.reason
        ))),
        // Servers that know no allowlists.
        Err(Failure::Client(error)) if error.status() == Some(404) => Ok(()),
        answer => answer.map(drop),
    }
}

fn delete(cx: &mut Context<'_, '_>, args: &DeleteDecisions) -> Done {
    let asked = query([
        ("ip", args.ip.as_str()),
        ("range", args.range.as_str()),
        ("type", args.kind.as_str()),
        ("value", args.value.as_str()),
        ("scenario", args.scenario.as_str()),
        ("origin", args.origin.as_str()),
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
        api.call(api.client.delete_decisions(&asked))?
    } else {
        let id = args.id.parse();
        let id = id.map_err(|_| Failure::text(format!("id '{}' is not an integer", args.id)))?;
        api.call(api.client.delete_decision(id))?
    };
    cx.note(format_args!("{count} decision(s) deleted"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: i64, decisions: &[(&str, &str, &str)]) -> Alert {
        let decisions = decisions.iter().enumerate().map(|(at, (duration, kind, value))| AlertDecision {
            duration: (*duration).to_owned(),
            id: id * 10 + at as i64,
            kind: (*kind).to_owned(),
            scope: "Ip".to_owned(),
            value: (*value).to_owned(),
            ..AlertDecision::default()
        });
        Alert { id, decisions: decisions.collect(), ..Alert::default() }
    }

    #[test]
    fn the_longest_of_equal_ones_stays() {
        let mut alerts = vec![
            alert(1, &[("1h", "ban", "192.0.2.1"), ("1h", "captcha", "192.0.2.1")]),
            alert(2, &[("4h", "ban", "192.0.2.1"), ("-3s", "ban", "192.0.2.2")]),
            alert(3, &[("2h", "ban", "192.0.2.1"), ("4h", "ban", "192.0.2.1")]),
        ];
        assert_eq!(keep_longest(&mut alerts), 3);
        let kept: Vec<i64> = each(&alerts).map(|(_, decision)| decision.id).collect();
        assert_eq!(kept, [11, 20]);
    }

    #[test]
    fn values_fit_their_scopes() {
        for (scope, value, is_good) in [
            ("Ip", "192.0.2.1", true),
            ("Ip", "2001:db8::1", true),
            ("Ip", "192.0.2.0/24", false),
            ("Ip", "example.com", false),
            ("Range", "192.0.2.0/24", true),
            ("Range", "192.0.2.0/33", false),
            ("Country", "NL", true),
        ] {
            assert_eq!(check(scope, value).is_ok(), is_good, "{scope} {value}");
        }
    }
}

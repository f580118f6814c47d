//! `why`: everything that is known about an address, on one screen.

mod gather;
mod tell;

use std::collections::BTreeMap;

use serde::Serialize;
use testudo_config::Output;
use testudo_wire::{Alert, AlertDecision};

use crate::args::Why;
use crate::context::Context;
use crate::failure::Done;

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
        gather::from_store(&mut known, &store, cx.io.now_ms)?;
    } else {
        gather::from_api(&mut known, cx)?;
    }
    known.protected_by = gather::protections(cx, &args.value)?;
    if let Some(alert) = known.alerts.first() {
        known.seen = gather::seen(alert);
    }
    known.lines = gather::last_lines(&known);
    match cx.output() {
        Output::Json | Output::Raw => cx.json(&known, 1),
        Output::Human => tell::tell(cx, &known),
    }
}

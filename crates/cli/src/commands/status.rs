//! `status`: how the node is, on one screen; what is wrong with it gives exit code 1.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use testudo_config::Output;
use testudo_store::Store;
use testudo_wire::decision::seconds_text;

use crate::args::Status;
use crate::context::{Context, page};
use crate::daemon;
use crate::failure::{Done, Failure};
use crate::output::{Align, Paint, Table, ago, maybe_seconds, painted, printable};
use crate::prometheus::{Sample, samples};

use super::machines::LATE_MS;

/// A bouncer that has not asked for so long has probably stopped: clients poll every ten seconds to every
/// few minutes.
const SILENT_MS: i64 = 15 * 60_000;

/// A source whose lines come later than this is behind.
const BEHIND_SECS: f64 = 60.0;

/// What was found out.
#[derive(Default)]
struct Found {
    all: Map<String, Value>,
    warnings: Vec<String>,
}

pub(crate) fn run(cx: &mut Context<'_, '_>, args: &Status) -> Done {
    let mut found = Found::default();
    found.all.insert("schema".to_owned(), 1.into());
    daemon(cx, &mut found)?;
    metrics(cx, args, &mut found)?;
    api(cx, &mut found)?;
    if cx.config()?.serves_api() {
        match cx.store() {
            Ok(store) => database(&mut found, &store, cx.io.now_ms)?,
            Err(error) => found.warnings.push(format!("the database cannot be read: {error}")),
        }
    }
    found.all.insert("warnings".to_owned(), json!(found.warnings));
    match cx.output() {
        Output::Json | Output::Raw => cx.json(&found.all, 1)?,
        Output::Human => tell(cx, &found)?,
    }
    if found.warnings.is_empty() { Ok(()) } else { Err(Failure::Said) }
}

/// What the daemon says about itself.
fn daemon(cx: &Context<'_, '_>, found: &mut Found) -> Done {
    let status = match daemon::status(cx.config()?) {
        Ok(status) => status,
        Err(error) => {
            found.warnings.push(format!("the daemon does not run, or this user may not ask it: {error}"));
            found.all.insert("daemon".to_owned(), Value::Null);
            return Ok(());
        }
    };
    if let Some(reason) = status["reload_refused"].as_str() {
        found
            .warnings
            .push(format!("the last reload was refused, the old configuration is in force: {reason}"));
    }
    let agent = &status["agent"];
    let each = |key: &str| agent[key].as_array().cloned().unwrap_or_default();
    for source in each("sources") {
        let name = format!("{} {}", text(&source, "kind"), text(&source, "title"));
        let state = text(&source, "state");
        if !matches!(state.as_str(), "running" | "finished") {
            found.warnings.push(format!("source {name} is {state}: {}", text(&source, "reason")));
        }
        if let Some(problem) = source["problem"].as_str() {
            found.warnings.push(format!("source {name}: {problem}"));
        }
    }
    for stream in each("streams") {
        if stream["lag_seconds"].as_f64().is_some_and(|lag| lag > BEHIND_SECS) {
            let lag = stream["lag_seconds"].as_f64().unwrap_or_default();
            found.warnings.push(format!("{} is {lag:.0}s behind", text(&stream, "name")));
        }
    }
    for stopped in each("stopped") {
        found.warnings.push(format!(
            "scenario {} is stopped: it would have banned too many good clients",
            text(&stopped, "scenario")
        ));
    }
    let count = |key: &str| agent[key].as_u64().unwrap_or_default();
    if count("outbox") > 0 && count("delivery_failures") > 0 {
        found.warnings.push(format!("{} alerts wait for the local API", count("outbox")));
    }
    if count("dead_letters") > 0 {
        found
            .warnings
            .push(format!("{} alerts could not be stored: see the dead letters", count("dead_letters")));
    }
    found.all.insert("daemon".to_owned(), status);
    Ok(())
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// What the metrics add: they are there for upstream daemons, too.
fn metrics(cx: &Context<'_, '_>, args: &Status, found: &mut Found) -> Done {
    let config = cx.config()?;
    let given = Some(args.url.clone()).filter(|url| !url.is_empty());
    let configured = config.commands.prometheus_uri.clone().filter(|_| config.prometheus.enabled);
    let Some(url) = given.or(configured) else { return Ok(()) };
    let samples = match page(&url) {
        Ok(page) => samples(&page),
        Err(error) => {
            found.warnings.push(format!("no metrics from {url}: {error}"));
            return Ok(());
        }
    };
    let sum = |wanted: &dyn Fn(&Sample) -> bool| -> u64 {
        samples.iter().filter(|sample| wanted(sample)).map(|sample| sample.value.max(0.0) as u64).sum()
    };
    let named = |name: &str| sum(&|sample| sample.name == name);
    found.all.insert(
        "counted".to_owned(),
        json!({
            "lines_read": sum(&|sample| sample.name.ends_with("source_hits_total")),
            "lines_parsed": named("cs_parser_hits_ok_total"),
            "lines_unparsed": named("cs_parser_hits_ko_total"),
            "lines_skipped": named("testudo_source_skipped_total") + named("testudo_lines_skipped_total"),
            "buckets": named("cs_buckets"),
            "overflows": named("cs_bucket_overflowed_total"),
        }),
    );
    Ok(())
}

/// Whether the API lets this machine in.
fn api(cx: &Context<'_, '_>, found: &mut Found) -> Done {
    let answer = cx.api().and_then(|api| {
        api.call(api.client.login())?;
        Ok(api.client.address().to_owned())
    });
    let told = match answer {
        Ok(address) => json!({"address": address, "logged_in": true}),
        Err(error) => {
            found.warnings.push(format!("the local API cannot be used: {error}"));
            json!({"logged_in": false})
        }
    };
    found.all.insert("local_api".to_owned(), told);
    Ok(())
}

/// Decisions, bouncers and machines.
fn database(found: &mut Found, store: &Store, now_ms: i64) -> Done {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let index = store.index(now_ms);
    for count in index.active_counts() {
        *kinds.entry(count.label.kind.to_owned()).or_default() += count.count;
    }
    found.all.insert("decisions".to_owned(), json!({"active": index.active(), "by_type": kinds}));
    drop(index);
    let mut bouncers = Vec::new();
    for bouncer in store.bouncers().list() {
        let is_silent = bouncer.last_pull_ms.is_some_and(|then| now_ms - then > SILENT_MS);
        if is_silent && let Some(then) = bouncer.last_pull_ms {
            found.warnings.push(format!("bouncer {} has not asked for {}", bouncer.name, ago(then, now_ms)));
        }
        bouncers.push(json!({
            "name": bouncer.name,
            "type": bouncer.kind,
            "version": bouncer.version,
            "last_pull": bouncer.last_pull_ms.map(|then| maybe_seconds(Some(then))),
            "seconds_ago": bouncer.last_pull_ms.map(|then| (now_ms - then).max(0) / 1000),
        }));
    }
    found.all.insert("bouncers".to_owned(), bouncers.into());
    let mut machines = Vec::new();
    for machine in store.machines().list() {
        if !machine.validated {
            found.warnings.push(format!(
                "machine {} waits to be let in: machines validate {}",
                machine.name, machine.name
            ));
        } else if let Some(then) = machine.last_heartbeat_ms.filter(|then| now_ms - then > LATE_MS) {
            found.warnings.push(format!(
                "machine {} gave no heartbeat for {}",
                machine.name,
                ago(then, now_ms)
            ));
        }
        machines.push(json!({
            "name": machine.name,
            "version": machine.version,
            "validated": machine.validated,
            "last_heartbeat": machine.last_heartbeat_ms.map(|then| maybe_seconds(Some(then))),
            "seconds_ago": machine.last_heartbeat_ms.map(|then| (now_ms - then).max(0) / 1000),
        }));
    }
    found.all.insert("machines".to_owned(), machines.into());
    Ok(())
}

fn ago_text(one: &Value) -> String {
    one["seconds_ago"].as_i64().map_or("never".to_owned(), |seconds| format!("{} ago", seconds_text(seconds)))
}

fn tell(cx: &mut Context<'_, '_>, found: &Found) -> Done {
    let none = Value::Null;
    let all = |key: &str| found.all.get(key).unwrap_or(&none);
    let daemon = all("daemon");
    if daemon.is_null() {
        line(cx, "Daemon", "not running, or not to be reached")?;
    } else {
        let uptime = seconds_text(daemon["uptime_seconds"].as_i64().unwrap_or_default());
        let version = text(daemon, "version");
        line(cx, "Daemon", &format!("version {version}, process {}, up for {uptime}", daemon["pid"]))?;
    }
    let api = all("local_api");
    let is_in = api["logged_in"].as_bool().unwrap_or_default();
    line(
        cx,
        "Local API",
        &if is_in { format!("answers at {}", text(api, "address")) } else { "cannot be used".to_owned() },
    )?;
    let agent = &daemon["agent"];
    if agent.is_object() {
        let detail = format!(
            "{} scenarios, {} buckets, {} alerts so far",
            agent["scenarios"], agent["buckets"], agent["alerts"]
        );
        line(cx, "Detection", &detail)?;
    }
    if let Some(counted) = found.all.get("counted") {
        let detail = format!(
            "{} read, {} parsed, {} unparsed, {} skipped",
            counted["lines_read"],
            counted["lines_parsed"],
            counted["lines_unparsed"],
            counted["lines_skipped"]
        );
        line(cx, "Lines", &detail)?;
    }
    if let Some(decisions) = found.all.get("decisions") {
        let kinds = decisions["by_type"].as_object().into_iter().flatten();
        let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind}")).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        line(cx, "Decisions", &format!("{} in force{kinds}", decisions["active"]))?;
    }
    sources(cx, agent)?;
    let lists = [("bouncers", "Last pull", "last_pull"), ("machines", "Last heartbeat", "last_heartbeat")];
    for (key, head, _) in lists {
        let Some(list) = found.all.get(key).and_then(Value::as_array).filter(|list| !list.is_empty()) else {
            continue;
        };
        let title = if key == "bouncers" { "Bouncers" } else { "Machines" };
        let mut table = Table::new(["Name", "Version", head]).titled(title);
        for one in list {
            let version = format!("{} {}", text(one, "type"), text(one, "version"));
            table.row([text(one, "name"), version.trim().to_owned(), ago_text(one)]);
        }
        cx.line("")?;
        cx.table(&table)?;
    }
    cx.line("")?;
    if found.warnings.is_empty() {
        return cx.line(if cx.is_fancy() {
            painted("Everything is well.", Paint::Green)
        } else {
            "Everything is well.".to_owned()
        });
    }
    for warning in &found.warnings {
        let warning = format!("! {}", printable(warning));
        cx.line(if cx.is_fancy() { painted(&warning, Paint::Yellow) } else { warning })?;
    }
    Ok(())
}

fn line(cx: &mut Context<'_, '_>, name: &str, value: &str) -> Done {
    cx.line(format_args!("{name:<10} {}", printable(value)))
}

fn sources(cx: &mut Context<'_, '_>, agent: &Value) -> Done {
    let list = |key: &str| agent[key].as_array().cloned().unwrap_or_default();
    let sources = list("sources");
    if sources.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["Source", "Type", "State", "Lines", "Unread bytes"])
        .titled("Sources")
        .aligned([Align::Left, Align::Left, Align::Left, Align::Right, Align::Right]);
    for source in &sources {
        let state = text(source, "state");
        let paint = if matches!(state.as_str(), "running" | "finished") { Paint::Green } else { Paint::Red };
        table.painted_row([
            (format!("{} {}", text(source, "kind"), text(source, "title")), Paint::None),
            (text(source, "type"), Paint::None),
            (state, paint),
            (source["lines"].to_string(), Paint::None),
            (source["unread_bytes"].to_string(), Paint::None),
        ]);
    }
    cx.line("")?;
    cx.table(&table)?;
    let streams = list("streams");
    if streams.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["Stream", "Lines", "Parsed", "Behind"]).titled("Streams").aligned([
        Align::Left,
        Align::Right,
        Align::Right,
        Align::Right,
    ]);
    for stream in &streams {
        table.row([
            text(stream, "name"),
            stream["lines"].to_string(),
            stream["parsed"].to_string(),
            format!("{:.1}s", stream["lag_seconds"].as_f64().unwrap_or_default()),
        ]);
    }
    cx.line("")?;
    cx.table(&table)
}

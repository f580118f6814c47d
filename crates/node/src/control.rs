//! The control socket: what `testudo status`, `testudo reload` and `testudo selftest` ask. Only the owner of the daemon may.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use testudo_event::net::parse_addr;
use testudo_intake::State;
use tokio::net::UnixListener;

use crate::agent::Agent;
use crate::clock;
use crate::daemon::Node;
use crate::page::Answer;
use crate::trace::{Refused, Trace};

/// Streams of one source that its status names. Files are few; senders of syslog may be many.
const STREAMS_MOST: usize = 100;

/// The path of the control socket in a folder of data.
pub fn control_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Opens the socket. One that another process left behind is replaced.
pub(crate) fn open(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|known| known.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What the agent part tells about itself.
pub(crate) fn agent_status(agent: &Agent) -> Value {
    let tallies = agent.tallies();
    let sources: Vec<Value> = agent
        .statuses()
        .iter()
        .map(|status| {
            let (state, reason) = match &status.state {
                State::Running => ("running", None),
                State::Waiting { reason, .. } => ("waiting", Some(reason.clone())),
                State::Skipped { reason } => ("skipped", Some(reason.clone())),
                State::Failed { reason } => ("failed", Some(reason.clone())),
                State::Finished => ("finished", None),
            };
            json!({
                "kind": status.settings.kind.name(),
                "title": status.settings.title,
                "type": status.settings.labels.get("type"),
                "state": state,
                "reason": reason,
                "problem": status.problem,
                "restarts": status.restarts,
                "lines": status.counters.lines.get(),
                "unread_bytes": status.counters.lag_bytes.get(),
                "skipped": status.counters.too_long.get() + status.counters.malformed.get(),
                "streams": status
                    .counters
                    .streams()
                    .into_iter()
                    .take(STREAMS_MOST)
                    .map(|(name, _)| name.to_string())
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let streams: Vec<Value> = tallies
        .sources
        .iter()
        .filter(|row| row.hits > 0)
        .map(|row| {
            json!({
                "name": row.name,
                "type": row.kind,
                "lines": row.hits,
                "parsed": row.ok,
                "lag_seconds": row.lag as f64 / 1e9,
            })
        })
        .collect();
    let watched = agent.watched.read().unwrap_or_else(PoisonError::into_inner).clone();
    let counts = &agent.counts;
    json!({
        "sources": sources,
        "streams": streams,
        "scenarios": tallies.scenarios.len(),
        "buckets": tallies.scenarios.iter().map(|row| row.buckets).sum::<u64>(),
        "alerts": counts.alerts.get(),
        "whitelisted": counts.whitelisted.get(),
        "protected": counts.protected.get(),
        "outbox": agent.outbox.len(),
        "delivery_failures": counts.failed_deliveries.get(),
        "dead_letters": counts.dead.get(),
        "checkpoints": counts.checkpoints.get(),
        "clients": watched.clients,
        "stopped": watched.stopped.iter().map(|(name, until)| json!({ "scenario": name, "until": until })).collect::<Vec<_>>(),
        "protected_addresses": agent.policy.protected().iter().map(|(prefix, reason)| {
            json!({ "address": prefix.to_string(), "reason": reason })
        }).collect::<Vec<_>>(),
        "now": clock::now().to_rfc3339(),
    })
}

/// What is asked of a trace: `POST /trace/MARK/ADDRESS` begins one, `GET /trace` tells what was seen, `DELETE /trace`
/// ends it and takes back alerts that the API does not have.
pub(crate) fn trace(node: &Node, method: &Method, path: &str) -> Answer {
    let Some(agent) = node.agent() else {
        return Answer::plain(StatusCode::CONFLICT, "this daemon reads no logs");
    };
    let told = |trace: Option<Trace>| match trace.map(|trace| serde_json::to_string(&trace)) {
        Some(Ok(text)) => Answer { status: StatusCode::OK, content_type: "application/json", text },
        _ => Answer::plain(StatusCode::NOT_FOUND, "no trace is on"),
    };
    match (method, path.strip_prefix("/trace/").and_then(|rest| rest.split_once('/'))) {
        (&Method::POST, Some((mark, address))) => {
            let Some(address) = parse_addr(address) else {
                return Answer::plain(StatusCode::BAD_REQUEST, "that is no address");
            };
            match agent.tracer.begin(mark, address) {
                Ok(()) => told(agent.tracer.look()),
                Err(Refused::Busy(left)) => Answer::plain(
                    StatusCode::CONFLICT,
                    format!("another attack is traced; that ends in {} s at the latest", left.as_secs() + 1),
                ),
                Err(Refused::Needle) => {
                    Answer::plain(StatusCode::BAD_REQUEST, "a mark has 8 to 64 letters, digits and hyphens")
                }
            }
        }
        (&Method::GET, None) if path == "/trace" => told(agent.tracer.look()),
        (&Method::DELETE, None) if path == "/trace" => told(agent.end_trace()),
        _ => Answer::plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "POST /trace/MARK/ADDRESS, GET /trace, DELETE /trace",
        ),
    }
}

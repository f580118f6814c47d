//! The control socket: what `testudo status` and `testudo reload` ask. Only the owner of the daemon may.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde_json::{Value, json};
use testudo_intake::State;
use tokio::net::UnixListener;

use crate::agent::Agent;
use crate::clock;

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

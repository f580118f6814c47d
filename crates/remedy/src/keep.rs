//! What is held, on the disk: so that a restart enforces at once, whether the API is there or not.
//!
//! The file is a snapshot of decisions as the API gives them, see `docs/snapshot.md`: whole, or refused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use testudo_wire::DecisionRef;
use testudo_wire::snapshot::{Kind, Snapshot, SnapshotError, SnapshotWriter};
use testudo_wire::stream::Side;

use crate::batch::{Batch, Collect as _};
use crate::enforcer::Rules;
use crate::group::{Action, Groups};
use crate::held::{Held, Update};

/// Entries of a block, which is what the writer holds at once.
const BLOCK: usize = 10_000;

/// A snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none.
    #[error("{path} cannot be used: {source}")]
    Snapshot {
        /// Where.
        path: PathBuf,
        /// Why.
        source: SnapshotError,
    },
}

/// Writes what is held; `wall_ms` are the milliseconds since 1970 at `now_ms`.
///
/// # Errors
/// It cannot be written; the file that was there stays.
pub fn save(path: &Path, held: &Held, groups: &Groups, now_ms: u64, wall_ms: i64) -> io::Result<()> {
    // Behind the whole name: others may differ in what looks like an extension.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let mut writer = SnapshotWriter::new(0, wall_ms);
    for decision in held.iter() {
        let group = groups.get(decision.group);
        let kind = match group.action {
            Action::Deny => "ban",
            Action::Throttle => "throttle",
        };
        let (origin, scenario) = group.origin.split_once(':').unwrap_or((&group.origin, ""));
        let net = decision.net;
        let value = format!("{}/{}", net.addr(), net.bits());
        let left = i64::try_from(decision.until_ms.saturating_sub(now_ms)).unwrap_or(i64::MAX);
        writer.add(Kind { scope: "Range", kind, origin, scenario }, &value, wall_ms.saturating_add(left));
        if writer.pending() >= BLOCK {
            file.write_all(&writer.block())?;
        }
    }
    file.write_all(&writer.finish())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Reads what was held; nothing where there is no file. Numbers of decisions are not kept: they are made up, below 0.
///
/// # Errors
/// It cannot be read, or is no whole snapshot.
pub fn load(
    path: &Path,
    groups: &mut Groups,
    rules: &Rules,
    now_ms: u64,
    wall_ms: i64,
) -> Result<Option<Update>, KeepError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeepError::Read { path: path.to_owned(), source }),
    };
    let snapshot =
        Snapshot::read(bytes).map_err(|source| KeepError::Snapshot { path: path.to_owned(), source })?;
    let mut batch = Batch::default();
    for (entry, id) in snapshot.entries().zip(1..) {
        let told = DecisionRef {
            id: -id,
            scope: entry.kind.scope.into(),
            value: entry.value.to_string().into(),
            kind: entry.kind.kind.into(),
            origin: entry.kind.origin.into(),
            scenario: entry.kind.scenario.into(),
            duration: format!("{}s", entry.end_secs.saturating_sub(wall_ms.div_euclid(1000))).into(),
            ..DecisionRef::default()
        };
        batch.take(Side::New, &told);
    }
    // What the rules of today refuse is left out.
    Ok(Some(batch.update(true, groups, rules, now_ms, |_, _, _| ())))
}

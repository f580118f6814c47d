//! Policy and keys, read again when their files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{ServeError, Service};
use crate::{gate::Gate, keys::Keys, policy::Policy};

/// What tells a file from an older one: when it was changed, and its size.
type Mark = Option<(SystemTime, u64)>;

/// The files, as they were when they were read.
#[derive(Debug)]
pub(super) struct Files {
    policy: (PathBuf, Mark),
    keys: (PathBuf, Mark),
}

impl Files {
    /// Reads them. The marks are taken before, so that no change in between is missed.
    pub(super) fn read(path: &Path) -> Result<(Self, Policy, Keys), ServeError> {
        let policy_mark = mark(path);
        let policy = Policy::load(path)?;
        let keys_mark = mark(&policy.key_file);
        let keys = Keys::load(&policy.key_file)?;
        let files =
            Self { policy: (path.to_owned(), policy_mark), keys: (policy.key_file.clone(), keys_mark) };
        Ok((files, policy, keys))
    }

    fn have_changed(&self) -> bool {
        [&self.policy, &self.keys].into_iter().any(|(path, old)| mark(path) != *old)
    }
}

/// Looks at the files for ever. What cannot be used is told once, and changes nothing.
pub(super) async fn watch(mut files: Files, service: Arc<Service>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !files.have_changed() {
            continue;
        }
        match Files::read(&files.policy.0) {
            Ok((fresh, policy, keys)) => {
                service.gate.replace(policy, keys);
                if fresh.keys.0 != files.keys.0 {
                    share(&service.gate, &fresh.keys.0);
                }
                files = fresh;
                tracing::info!("the gate has read its policy and keys again");
            }
            Err(error) => {
                files.policy.1 = mark(&files.policy.0);
                files.keys.1 = mark(&files.keys.0);
                tracing::error!(%error, "the gate goes on with its old policy and keys");
            }
        }
    }
}

/// Shares which challenges were answered with the gates of this machine that have the same key file.
pub(super) fn share(gate: &Gate, key_file: &Path) {
    let mut path = key_file.as_os_str().to_owned();
    path.push(".answered");
    if let Err(error) = gate.share_answered(Path::new(&path)) {
        let path = Path::new(&path).display();
        tracing::warn!(%path, %error, "gates with the same keys do not learn which challenges were answered here");
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

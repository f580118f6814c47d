//! Policy, keys and second factors, read again when their files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{ServeError, Service};
use crate::{
    gate::Gate,
    keys::Keys,
    mfa::Vault,
    policy::{Mark, Policy},
};

/// The files, as they were when they were read.
#[derive(Debug)]
pub(super) struct Files {
    policy: (PathBuf, Option<Mark>),
    keys: (PathBuf, Option<Mark>),
    users: (PathBuf, Option<Mark>),
    /// What the policy names beside these.
    others: Vec<(PathBuf, Option<Mark>)>,
}

impl Files {
    /// Reads them. The marks are taken before, so that no change in between is missed.
    ///
    /// Second factors that cannot be read are told, and are no reason to do without the rest: `None` then.
    pub(super) fn read(path: &Path) -> Result<(Self, Policy, Keys, Option<Vault>), ServeError> {
        let policy_mark = mark(path);
        let policy = Policy::load(path)?;
        let keys_mark = mark(&policy.key_file);
        let keys = Keys::load(&policy.key_file)?;
        let users_mark = mark(&policy.mfa_file);
        let users = Vault::load(&policy.mfa_file, &keys);
        if let Err(error) = &users {
            tracing::error!(%error, "users who are enrolled for a second factor are not known anew");
        }
        let files = Self {
            policy: (path.to_owned(), policy_mark),
            keys: (policy.key_file.clone(), keys_mark),
            users: (policy.mfa_file.clone(), users_mark),
            others: policy.files.iter().map(|(path, mark)| (path.clone(), Some(*mark))).collect(),
        };
        Ok((files, policy, keys, users.ok()))
    }

    fn all(&self) -> impl Iterator<Item = &(PathBuf, Option<Mark>)> {
        [&self.policy, &self.keys, &self.users].into_iter().chain(&self.others)
    }

    fn have_changed(&self) -> bool {
        self.all().any(|(path, old)| mark(path) != *old)
    }

    /// Takes them as they are, so that what is wrong is told once.
    fn mark_again(&mut self) {
        let fixed = [&mut self.policy, &mut self.keys, &mut self.users];
        for (path, old) in fixed.into_iter().chain(&mut self.others) {
            *old = mark(path);
        }
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
            Ok((fresh, policy, keys, users)) => {
                let needs_users = policy.needs_users();
                service.gate.replace(policy, keys);
                if let Some(users) = users {
                    service.gate.set_users(users);
                }
                if fresh.keys.0 != files.keys.0 {
                    share(&service.gate, &fresh.keys.0);
                }
                files = fresh;
                service
                    .needs_users
                    .send_if_modified(|old| std::mem::replace(old, needs_users) != needs_users);
                tracing::info!("the gate has read its policy and keys again");
            }
            Err(error) => {
                files.mark_again();
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

fn mark(path: &Path) -> Option<Mark> {
    std::fs::metadata(path).ok().map(|metadata| Mark::of(&metadata))
}

//! Secrets that a policy names: in it, or in files of their own that only their owner can read.

use std::{io::Read as _, path::PathBuf};

use testudo_config::{ConfigError, Secret, decode::At};

use super::{Mark, read::Complain};

/// The largest file that a policy may name, in bytes: a set of public keys, most likely.
const MAX_FILE: u64 = 256 << 10;

/// Whether a file has to be hidden from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    Yes,
    No,
}

impl Complain<'_> {
    /// A secret that is said in the policy or in a file. `about` is what needs it.
    pub(super) fn secret<T>(
        self,
        about: &At<T>,
        (inline, file): (Option<&At<Secret>>, Option<&At<String>>),
        files: &mut Vec<(PathBuf, Mark)>,
    ) -> Result<Secret, ConfigError> {
        let hint = "write it as `secret`, or better into a file of mode 0600 that `secret_file` names";
        match (inline, file) {
            (Some(secret), None) if !secret.value.is_empty() => Ok(secret.value.clone()),
            (None, Some(file)) => {
                let text = self.text_of(file, Hidden::Yes, files)?;
                let text = text.trim();
                if text.is_empty() {
                    return Err(self.about(file, format!("there is nothing in {}", file.value), hint));
                }
                Ok(Secret::new(text))
            }
            (Some(secret), Some(_)) => {
                Err(self.about(secret, "a secret and a file for it", "leave one of them"))
            }
            _ => Err(self.about(about, "the secret is missing", hint)),
        }
    }

    /// What is in a file, which is looked at again when it changes.
    pub(super) fn text_of(
        self,
        at: &At<String>,
        hidden: Hidden,
        files: &mut Vec<(PathBuf, Mark)>,
    ) -> Result<String, ConfigError> {
        let path = PathBuf::from(&at.value);
        let unreadable = |error: std::io::Error| {
            self.about(at, format!("cannot read {}: {error}", at.value), "name a file that the gate can read")
        };
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        #[cfg(unix)]
        if hidden == Hidden::Yes {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(unreadable)?.permissions().mode();
            if mode & 0o077 != 0 {
                let message = format!("others than its owner can use {}", at.value);
                return Err(self.about(at, message, "run `chmod 600` on it, then have the secret changed"));
            }
        }
        #[cfg(not(unix))]
        let _ = hidden;
        files.push((path, Mark::of(&file.metadata().map_err(unreadable)?)));
        let mut text = String::new();
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_FILE {
            return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
        }
        Ok(text)
    }

    /// A text that has to be there.
    pub(super) fn needed<T>(
        self,
        about: &At<T>,
        name: &str,
        text: Option<&At<String>>,
    ) -> Result<String, ConfigError> {
        match text {
            Some(at) if at.value.is_empty() => {
                Err(self.about(at, format!("`{name}` is empty"), "write it, or leave it out"))
            }
            Some(at) => Ok(at.value.clone()),
            None => Err(self.about(about, format!("missing `{name}`"), &format!("add `{name}:`"))),
        }
    }

    /// The address of a service elsewhere: over TLS, or on this machine.
    pub(super) fn service(self, at: &At<String>) -> Result<String, ConfigError> {
        let text = at.value.as_str();
        let is_plain = text.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
            && !text.contains(['\'', '"', '<', '>', ';', ',']);
        let local =
            text.strip_prefix("http://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        let is_local = local.is_some_and(|host| {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            name == "localhost" || name == "[::1]" || name.starts_with("127.")
        });
        let is_secure =
            text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if is_plain && (is_secure || is_local) {
            return Ok(text.to_owned());
        }
        let hint = "write `https://…`; without TLS only services on this machine are asked";
        Err(self.about(at, format!("`{text}` is no address of a service"), hint))
    }
}

//! A script that is called for each decision: `PROGRAM add|del VALUE SECONDS SCENARIO JSON`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::output;
use super::subject::Message;

/// For the last words of a script that has ended, and whose children keep its output open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a call has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("it cannot be started: {0}")]
    Start(std::io::Error),
    #[error("it did not end within {0:?} and was killed")]
    Timeout(Duration),
    #[error("{status}{words}")]
    Status {
        status: std::process::ExitStatus,
        /// What it wrote, if anything.
        words: String,
    },
    #[error("it cannot be waited for: {0}")]
    Wait(std::io::Error),
}

/// A program in a group of processes of its own, which is killed with it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) child: Child,
    number: Option<Pid>,
}

impl Group {
    pub(super) fn spawn(command: &mut Command) -> std::io::Result<Group> {
        let child = command.process_group(0).spawn()?;
        let number = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Group { child, number })
    }

    /// Kills it with its children; also those that it has left behind, just after it has ended: the system gives
    /// numbers in turn, so that this one cannot be another's yet.
    pub(super) fn kill(&mut self) {
        if let Some(number) = self.number.take() {
            // There may be nobody left.
            let _ = kill_process_group(number, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What has been waited for has no number any more.
        if self.child.id().is_some() {
            self.kill();
        }
    }
}

/// Calls a program about a message.
pub(super) async fn call(program: &Path, message: &Message, timeout: Duration) -> Result<(), CallError> {
    let mut command = Command::new(program);
    command.args(message.arguments()).envs(message.environment());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::spawn(&mut command).map_err(CallError::Start)?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let ended = {
        let reading = async {
            let stdout = async {
                if let Some(stdout) = stdout {
                    output::beginning(stdout, &mut out).await;
                }
            };
            let stderr = async {
                if let Some(stderr) = stderr {
                    output::beginning(stderr, &mut err).await;
                }
            };
            tokio::join!(stdout, stderr);
        };
        tokio::pin!(reading);
        let end = tokio::time::sleep(timeout);
        tokio::pin!(end);
        let mut has_read = false;
        let ended = loop {
            tokio::select! {
                status = group.child.wait() => break Some(status),
                () = &mut end => break None,
                () = &mut reading, if !has_read => has_read = true,
            }
        };
        if ended.is_some() && !has_read {
            // Without an end of its output, it has said what it had to.
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        ended
    };
    let Some(status) = ended else {
        group.kill();
        // Killed, it ends.
        let _ = group.child.wait().await;
        return Err(CallError::Timeout(timeout));
    };
    let status = status.map_err(CallError::Wait)?;
    let words = output::plain(if err.is_empty() { &out } else { &err });
    if status.success() {
        if !words.is_empty() {
            tracing::debug!(words, "the script has spoken");
        }
        return Ok(());
    }
    let words = if words.is_empty() { words } else { format!(": {words}") };
    Err(CallError::Status { status, words })
}

//! A script that keeps running and reads lines: fed in batches, watched, and begun anew when it ends.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::future::pending;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::book::Job;
use super::invoke::Group;
use super::output::{self, Moderate};

/// Before a script that ended is begun anew; each pause is twice the one before.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_mins(1);

/// A script that lives for so long works.
const STEADY: Duration = Duration::from_mins(1);

/// For a script to end by itself when nothing more will come.
const FAREWELL: Duration = Duration::from_secs(5);

/// For the last words of a script that was killed.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How a script is fed.
#[derive(Clone, Debug)]
pub(super) struct FeedSettings {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// How often it is begun anew; without a number, for ever.
    pub(super) retries: Option<u32>,
    /// It says what it has done.
    pub(super) acknowledge: bool,
    /// For an answer; or for reading on, where it does not answer.
    pub(super) timeout: Duration,
}

/// What became of a script.
#[derive(Debug)]
pub(super) enum Event {
    /// The batch was read, or, of a script that says so, done.
    Done(Vec<Job>),
    /// The batch was not done, or perhaps in part; the script goes on.
    Failed(Vec<Job>),
    /// The script was begun anew; it did not do the batch, if there was one.
    Restarted(Option<Vec<Job>>),
    /// It was begun anew as often as it may be.
    GaveUp(String),
}

/// What a script answers, one line of JSON: `{"done": 7}` or `{"failed": 7}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    done: u64,
    failed: u64,
}

/// What it answered last: there is one batch at a time.
type Answers = watch::Receiver<Answer>;

/// Feeds a script until no more batches come; then it has some seconds to end. `ending` is closed together with the
/// batches: a script that waits to be begun anew is not.
pub(super) async fn run(
    settings: FeedSettings,
    mut batches: mpsc::Receiver<Vec<Job>>,
    events: mpsc::Sender<Event>,
    mut ending: watch::Receiver<()>,
) {
    let mut feed = Feed { settings, number: 0, restarts: 0, pause: PAUSE_LEAST, is_told: false };
    let mut batch = None;
    loop {
        let reason = match feed.live(&mut batch, &mut batches, &events).await {
            Ok(()) => return,
            Err(reason) => reason,
        };
        if feed.settings.retries.is_some_and(|most| feed.restarts >= most) {
            // Whoever listens no more knows already.
            let _ = events.send(Event::GaveUp(reason)).await;
            return;
        }
        feed.restarts = feed.restarts.saturating_add(1);
        if std::mem::replace(&mut feed.is_told, true) {
            tracing::debug!(reason, "the script has ended again");
        } else {
            tracing::warn!(reason, "the script has ended; it is begun anew, after pauses that grow");
        }
        let pause = feed.pause;
        feed.pause = (pause * 2).min(PAUSE_MOST);
        tokio::select! {
            () = sleep(pause) => {}
            _ = ending.changed() => return,
        }
        if events.send(Event::Restarted(batch.take())).await.is_err() {
            return;
        }
    }
}

struct Feed {
    settings: FeedSettings,
    /// Of the last batch.
    number: u64,
    restarts: u32,
    pause: Duration,
    /// That the script does not live was told.
    is_told: bool,
}

/// What is written to the log of what a script says, and what it answers.
struct Ears {
    out: JoinHandle<()>,
    err: JoinHandle<()>,
    answers: Answers,
}

impl Feed {
    /// One life of the script. Why it ended, unless there is nothing more to tell it. A batch that was not done is left.
    async fn live(
        &mut self,
        batch: &mut Option<Vec<Job>>,
        batches: &mut mpsc::Receiver<Vec<Job>>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), String> {
        let mut command = Command::new(&self.settings.program);
        command.args(&self.settings.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group =
            Group::spawn(&mut command).map_err(|error| format!("it cannot be started: {error}"))?;
        let Some(mut stdin) = group.child.stdin.take() else { return Err("it has no input".to_owned()) };
        let mut ears = self.listen(&mut group);
        let steady = Instant::now() + STEADY;
        let mut is_steady = false;
        let reason = loop {
            tokio::select! {
                status = group.child.wait() => break Some(ended(status)),
                () = sleep_until(steady), if !is_steady => {
                    is_steady = true;
                    self.pause = PAUSE_LEAST;
                    if std::mem::take(&mut self.is_told) {
                        tracing::info!("the script works again");
                    }
                }
                next = batches.recv() => {
                    let Some(next) = next else { break None };
                    let told = {
                        let telling = self.tell(&mut stdin, &next, &mut ears.answers);
                        tokio::select! {
                            told = telling => told,
                            status = group.child.wait() => Err(ended(status)),
                        }
                    };
                    let event = match told {
                        Ok(true) => Event::Done(next),
                        Ok(false) => Event::Failed(next),
                        Err(reason) => {
                            *batch = Some(next);
                            break Some(reason);
                        }
                    };
                    if events.send(event).await.is_err() {
                        break None;
                    }
                }
            }
        };
        drop(stdin);
        if reason.is_none() && timeout(FAREWELL, group.child.wait()).await.is_err() {
            tracing::warn!("the script does not end though its input has; it is killed");
        }
        group.kill();
        // Killed, it ends.
        let _ = group.child.wait().await;
        let _ = timeout(LAST_WORDS, &mut ears.err).await;
        ears.out.abort();
        ears.err.abort();
        reason.map_or(Ok(()), Err)
    }

    /// Writes a batch and waits for its answer, if there will be one: whether it was done.
    async fn tell(
        &mut self,
        stdin: &mut ChildStdin,
        batch: &[Job],
        answers: &mut Answers,
    ) -> Result<bool, String> {
        self.number += 1;
        let number = self.number;
        let mut text = String::new();
        for job in batch {
            text.push_str(&job.message.json(true));
            text.push('\n');
        }
        if self.settings.acknowledge {
            let count = batch.len();
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{{\"action\":\"commit\",\"batch\":{number},\"count\":{count}}}");
        }
        let patience = self.settings.timeout;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match timeout(patience, stdin.write(rest)).await {
                Err(_) => return Err(format!("it has read nothing for {patience:?} and was killed")),
                Ok(Err(error)) => return Err(format!("it does not read: {error}")),
                Ok(Ok(0)) => return Err("it does not read".to_owned()),
                Ok(Ok(written)) => rest = &rest[written..],
            }
        }
        if !self.settings.acknowledge {
            return Ok(true);
        }
        let answered = async {
            let answer = answers.wait_for(|answer| answer.done == number || answer.failed == number).await;
            match answer.map(|answer| answer.done == number) {
                Ok(is_done) => is_done,
                // It has closed its output; that it ends is noticed elsewhere, or in vain waited for.
                Err(_) => pending().await,
            }
        };
        match timeout(patience, answered).await {
            Ok(done) => Ok(done),
            Err(_) => Err(format!("it has not answered for {patience:?} and was killed")),
        }
    }

    fn listen(&self, group: &mut Group) -> Ears {
        let (sender, answers) = watch::channel(Answer::default());
        let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
        let acknowledge = self.settings.acknowledge;
        let out = tokio::spawn(async move {
            let Some(stdout) = stdout else { return };
            let mut moderate = Moderate::default();
            output::lines(stdout, |line| match serde_json::from_str::<Answer>(line) {
                Ok(answer) if acknowledge && line.starts_with('{') => {
                    sender.send_replace(answer);
                }
                _ if moderate.admits() => tracing::debug!(line, "the script says"),
                _ => {}
            })
            .await;
        });
        let err = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            let mut moderate = Moderate::default();
            output::lines(stderr, |line| {
                if moderate.admits() {
                    tracing::info!(line, "the script says");
                }
            })
            .await;
        });
        Ears { out, err, answers }
    }
}

fn ended(status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it has ended: {status}"),
        Err(error) => format!("it cannot be waited for: {error}"),
    }
}

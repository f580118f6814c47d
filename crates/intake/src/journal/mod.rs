//! *journalctl*: the journal of systemd, by way of its own reader.
//!
//! `journalctl` has the permissions, the filters and the formats right; this asks it for JSON, so
//! that every entry has its cursor, and makes of that the lines that it would have printed.

mod entry;
#[cfg(all(test, unix))]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, OnceLock},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Command,
};

use crate::{
    batch::{BATCH_BYTES, Collector, MAX_LINE_BYTES, Stream},
    file::Cutter,
    outlet::{self, Outlet, Stopped},
    position::Position,
    source::{Mode, Run, Settings, Source, SourceError},
};

/// Longest entry in JSON: a line of bytes is four times as long there.
const MAX_ENTRY_BYTES: usize = 6 * MAX_LINE_BYTES;

/// Longest line of complaint.
const MAX_COMPLAINT_BYTES: u64 = 4 << 10;

/// What a *journalctl* source reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// `journalctl_filter`: arguments of `journalctl`, as they are.
    pub(crate) filters: Vec<String>,
    /// `since`.
    pub(crate) since: Option<String>,
    /// The program.
    pub(crate) program: PathBuf,
}

/// A *journalctl* source.
#[derive(Debug)]
pub struct JournalSource {
    settings: Settings,
    config: JournalConfig,
    /// When the source was started first, in seconds after 1970: where to begin again as long as
    /// there is no cursor.
    started: OnceLock<i64>,
}

impl JournalSource {
    /// A source of what `config` says.
    pub fn new(settings: Settings, config: JournalConfig) -> Self {
        JournalSource { settings, config, started: OnceLock::new() }
    }

    /// The arguments of the program.
    fn arguments(&self, cursor: Option<&str>) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut filters = self.config.filters.clone();
        if self.settings.mode == Mode::Tail {
            arguments.push("--follow".to_owned());
            match (cursor, self.started.get()) {
                (Some(cursor), _) => {
                    arguments.extend(["--no-tail".to_owned(), format!("--after-cursor={cursor}")]);
                    filters = without_since(filters);
                }
                (None, Some(started)) => {
                    arguments.extend(["--no-tail".to_owned(), format!("--since=@{started}")]);
                    filters = without_since(filters);
                }
                (None, None) => arguments.extend(["-n".to_owned(), "0".to_owned()]),
            }
        } else if let Some(since) = &self.config.since {
            arguments.extend(["--since".to_owned(), since.clone()]);
        }
        arguments.extend(filters);
        // Last, so that no filter undoes them.
        arguments.extend(["--all", "--no-pager", "--quiet", "--output=json"].map(str::to_owned));
        arguments
    }

    async fn follow(&self, outlet: &Outlet) -> Result<(), SourceError> {
        let src = format!("journalctl-{}", self.config.filters.join("."));
        let key = self.settings.key(&self.config.filters.join(" "));
        let positions = outlet.positions_of(&key);
        let cursor = positions.iter().find_map(|position| match position {
            Position::Journal { cursor } => Some(cursor.as_str()),
            _ => None,
        });
        let arguments = self.arguments(cursor);
        let now = outlet::now().unix();
        self.started.get_or_init(|| now);
        let program = self.config.program.display().to_string();
        let mut child = Command::new(&self.config.program)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(SourceError::io(format!("start {program}")))?;
        let (Some(output), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(SourceError::Missing(format!("{program} has no output")));
        };
        let stream = outlet.stream(&src, key, None);
        let (read, complaint) = tokio::join!(read(output, &stream, outlet), listen(complaints, outlet));
        if read? == Err(Stopped) {
            return Ok(());
        }
        let status = child.wait().await.map_err(SourceError::io(format!("wait for {program}")))?;
        if self.settings.mode == Mode::Cat && status.success() {
            return Ok(());
        }
        let how = if complaint.is_empty() { status.to_string() } else { format!("{status}: {complaint}") };
        Err(SourceError::Ended { program, how })
    }
}

impl Source for JournalSource {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn available(&self) -> Result<(), String> {
        let program = &self.config.program;
        let found = if program.components().count() > 1 {
            is_program(program)
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
        };
        if found { Ok(()) } else { Err(format!("executable file {} not found in $PATH", program.display())) }
    }

    fn run(self: Arc<Self>, outlet: Outlet) -> Run {
        Box::pin(async move {
            tokio::select! {
                () = outlet.stopped() => Ok(()),
                result = self.follow(&outlet) => result,
            }
        })
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// The program takes one beginning only.
fn without_since(filters: Vec<String>) -> Vec<String> {
    let mut rest = filters.into_iter();
    let mut kept = Vec::new();
    while let Some(filter) = rest.next() {
        if filter == "--since" || filter == "-S" {
            rest.next();
        } else if !filter.starts_with("--since=") {
            kept.push(filter);
        }
    }
    kept
}

async fn read(
    mut output: impl AsyncRead + Unpin,
    stream: &Arc<Stream>,
    outlet: &Outlet,
) -> Result<Result<(), Stopped>, SourceError> {
    let counters = outlet.counters();
    let mut cutter = Cutter::new(0, MAX_ENTRY_BYTES);
    let mut buffer = vec![0; BATCH_BYTES];
    loop {
        let count = output.read(&mut buffer).await.map_err(SourceError::io("read the journal"))?;
        if count == 0 {
            return Ok(Ok(()));
        }
        let mut lines = Collector::new(Arc::clone(stream));
        let now = outlet::now();
        let mut change = None;
        let cut = cutter.feed(&buffer[..count], &mut |json, _| {
            let Some(entry) = entry::parse(json) else {
                counters.malformed.add(1);
                return;
            };
            if let Some(time) = entry.time {
                counters.set_lag_nanos(now.nanos_since(time).max(0));
            }
            let position = entry.cursor.map(|cursor| Position::Journal { cursor });
            let last = entry.lines.len().wrapping_sub(1);
            for (at, line) in entry.lines.iter().enumerate() {
                if line.len() > MAX_LINE_BYTES {
                    counters.too_long.add(1);
                    continue;
                }
                lines.push_marked(line.as_bytes(), position.clone().filter(|_| at == last));
            }
            change = position.map(crate::position::Change::At).or(change.take());
        });
        counters.too_long.add(cut.too_long);
        if (change.is_some() || !lines.is_empty()) && outlet.send(lines.finish(now, change)).await.is_err() {
            return Ok(Err(Stopped));
        }
    }
}

/// Passes complaints on. Gives the last one.
async fn listen(complaints: impl AsyncRead + Unpin, outlet: &Outlet) -> String {
    let mut complaints = BufReader::new(complaints);
    let mut last = String::new();
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut complaints).take(MAX_COMPLAINT_BYTES);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return last,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if !text.is_empty() {
                    outlet.log.warn(format_args!("journalctl says: {text}"));
                    last = text;
                }
            }
        }
    }
}

//! What the script was told, on the disk: so that the next start tells it only what has changed.
//!
//! The file is made of lines of JSON. What is about to be told is written before it is; that it was done, afterwards.
//! After a crash nothing that the script may know is missing. A last line that is cut off is left out; any other that
//! cannot be read makes the whole file worthless, and everything is told anew.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::book::{Job, Memory};
use super::subject::{Act, Subject};

/// The format. A newer one is refused.
const VERSION: u32 = 1;

/// Lines that are no longer needed, beside one for each subject, before the file is written anew.
const WASTE_MOST: usize = 10_000;

/// Where the system says how often it was booted: a text that is another one each time.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// The first line.
    Testudo { script: u32, boot: String },
    /// The script is about to be told, or was: see `Done`.
    Add {
        #[serde(flatten)]
        subject: Subject,
        origin: String,
        scenario: String,
        id: i64,
        /// Milliseconds since 1970.
        until: i64,
    },
    /// It was told of the last `Add`.
    Done(Subject),
    /// It was told that this is over.
    Gone(Subject),
}

/// A journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("line {0} cannot be read")]
    Line(usize),
    #[error("it is of version {0}, and this program knows {VERSION}")]
    Version(u32),
}

/// A file cannot be had alone.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("another program has it")]
    Taken,
}

/// A file that others with the same journal wait for in vain, for as long as it is open. The journal itself is replaced.
pub(super) fn lock(path: &Path) -> Result<File, LockError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(beside(path, ".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LockError::Taken),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// A file beside another one, whose whole name it has, and more: `a.b` and `a.c` have not the same.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// What ends on one clock end on another one: now on this machine's that only goes forward, and since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) ms: u64,
    pub(super) wall_ms: i64,
}

impl Now {
    fn wall_of(self, until_ms: u64) -> i64 {
        if until_ms == 0 {
            return 0;
        }
        let left = i64::try_from(until_ms).unwrap_or(i64::MAX).saturating_sub(self.ms as i64);
        self.wall_ms.saturating_add(left)
    }

    fn ms_of(self, until: i64) -> u64 {
        let left = until.saturating_sub(self.wall_ms);
        u64::try_from((self.ms as i64).saturating_add(left)).unwrap_or(0)
    }
}

/// The file, open for more.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    boot: String,
    lines: usize,
}

impl Journal {
    pub(super) fn new(path: &Path) -> Self {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Journal { path: path.to_owned(), file: None, boot, lines: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the script was told by earlier runs. With `forget_at_boot`, nothing if that was before the machine was
    /// booted last.
    pub(super) fn load(&self, forget_at_boot: bool, now: Now) -> Result<Vec<Memory>, JournalError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut memories: HashMap<Subject, Memory> = HashMap::new();
        // What stands after the last line break was cut off.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for (number, line) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let record = serde_json::from_slice(line).map_err(|_| JournalError::Line(number + 1))?;
            match (number, record) {
                (0, Record::Testudo { script, .. }) if script > VERSION => {
                    return Err(JournalError::Version(script));
                }
                (0, Record::Testudo { boot, .. }) if forget_at_boot && boot != self.boot => {
                    return Ok(Vec::new());
                }
                (0, Record::Testudo { .. }) => {}
                (0, _) | (_, Record::Testudo { .. }) => return Err(JournalError::Line(number + 1)),
                (_, Record::Add { subject, origin, scenario, id, until }) => {
                    let until_ms = now.ms_of(until);
                    let memory =
                        Memory { subject: subject.clone(), origin, scenario, id, until_ms, confirmed: false };
                    memories.insert(subject, memory);
                }
                (_, Record::Done(subject)) => {
                    if let Some(memory) = memories.get_mut(&subject) {
                        memory.confirmed = true;
                    }
                }
                (_, Record::Gone(subject)) => {
                    memories.remove(&subject);
                }
            }
        }
        Ok(memories.into_values().collect())
    }

    /// Writes the file anew, and goes on with it.
    pub(super) fn rewrite(&mut self, memories: impl Iterator<Item = Memory>, now: Now) -> io::Result<()> {
        self.file = None;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = beside(&self.path, ".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = BufWriter::new(options.open(&new)?);
        let mut lines = 1;
        write(&mut out, &Record::Testudo { script: VERSION, boot: self.boot.clone() })?;
        for memory in memories {
            let confirmed = memory.confirmed.then(|| Record::Done(memory.subject.clone()));
            write(&mut out, &add(memory, now))?;
            lines += 1;
            if let Some(done) = confirmed {
                write(&mut out, &done)?;
                lines += 1;
            }
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.file = Some(file);
        self.lines = lines;
        Ok(())
    }

    /// Notes what is about to be told.
    pub(super) fn begin(&mut self, jobs: &[Job], now: Now) -> io::Result<()> {
        let adds = jobs.iter().filter(|job| job.message.act == Act::Add);
        self.append(adds.map(|job| {
            add(
                Memory {
                    subject: job.message.subject.clone(),
                    origin: job.message.origin.clone(),
                    scenario: job.message.scenario.clone(),
                    id: job.message.id,
                    until_ms: job.until_ms,
                    confirmed: false,
                },
                now,
            )
        }))
    }

    /// Notes that it was.
    pub(super) fn done(&mut self, jobs: &[Job]) -> io::Result<()> {
        self.append(jobs.iter().map(|job| match job.message.act {
            Act::Add => Record::Done(job.message.subject.clone()),
            Act::Del => Record::Gone(job.message.subject.clone()),
        }))
    }

    /// Whether most of the file is of no use any more.
    pub(super) fn is_wasteful(&self, known: usize) -> bool {
        self.lines > known * 4 + WASTE_MOST
    }

    /// Whether it cannot be appended to: it has to be written anew.
    pub(super) fn is_closed(&self) -> bool {
        self.file.is_none()
    }

    fn append(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut out = Vec::new();
        for record in records {
            write(&mut out, &record)?;
            self.lines += 1;
        }
        let written = file.write_all(&out);
        if written.is_err() {
            // Half a line may be there: nothing can be added after it.
            self.file = None;
        }
        written
    }
}

fn add(memory: Memory, now: Now) -> Record {
    let Memory { subject, origin, scenario, id, until_ms, .. } = memory;
    Record::Add { subject, origin, scenario, id, until: now.wall_of(until_ms) }
}

fn write(out: &mut impl io::Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::subject::Message;

    const NOW: Now = Now { ms: 50_000, wall_ms: 1_700_000_000_000 };

    fn job(act: Act, value: &str) -> Job {
        let subject = Subject { scope: "Ip".to_owned(), kind: "ban".to_owned(), value: value.to_owned() };
        let message = Message {
            act,
            subject,
            id: 1,
            uuid: String::new(),
            origin: "cscli".to_owned(),
            scenario: "manual\n".to_owned(),
            seconds: 60,
        };
        Job { message, until_ms: if act == Act::Add { 110_000 } else { 0 } }
    }

    fn values(memories: &[Memory]) -> Vec<(String, u64, bool)> {
        let mut values: Vec<_> = memories
            .iter()
            .map(|memory| (memory.subject.value.clone(), memory.until_ms, memory.confirmed))
            .collect();
        values.sort();
        values
    }

    #[test]
    fn what_was_told_is_known_after_a_crash_at_any_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let mut journal = Journal::new(&path);
        journal.rewrite(std::iter::empty(), NOW).expect("it is written");
        let (one, two) = (job(Act::Add, "192.0.2.1"), job(Act::Add, "192.0.2.2"));
        journal.begin(&[one.clone(), two.clone()], NOW).expect("it is written");
        let begun = fs::metadata(&path).expect("a file").len();
        journal.done(std::slice::from_ref(&one)).expect("it is written");
        journal.begin(&[job(Act::Del, "192.0.2.1")], NOW).expect("it is written");
        let done = fs::metadata(&path).expect("a file").len();
        journal.done(&[job(Act::Del, "192.0.2.1")]).expect("it is written");
        let bytes = fs::read(&path).expect("a file");
        let later = Now { ms: 10_000, wall_ms: NOW.wall_ms + 20_000 };
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("it is written");
            let known = values(&journal.load(true, later).expect("it is read"));
            // 60 s were left, of which 20 have passed.
            let both = |confirmed| {
                vec![("192.0.2.1".to_owned(), 50_000, confirmed), ("192.0.2.2".to_owned(), 50_000, false)]
            };
            if cut == bytes.len() {
                assert_eq!(known, both(false)[1..]);
            } else if cut as u64 >= done {
                assert_eq!(known, both(true));
            } else if cut as u64 == begun {
                assert_eq!(known, both(false));
            }
        }
    }

    #[test]
    fn a_journal_has_one_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join("new").join(name);
        let first = lock(&path("router.a")).expect("it is free");
        assert!(matches!(lock(&path("router.a")), Err(LockError::Taken)));
        lock(&path("router.b")).expect("it is another");
        drop(first);
        lock(&path("router.a")).expect("it is free again");
        assert_ne!(beside(&path("router.a"), ".new"), beside(&path("router.b"), ".new"));
    }

    #[test]
    fn what_is_no_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let journal = Journal::new(&path);
        let check = |text: &str, expected: &str| {
            fs::write(&path, text).expect("it is written");
            let told = journal.load(true, NOW).map(|memories| memories.len().to_string());
            assert_eq!(told.unwrap_or_else(|error| error.to_string()), expected, "{text:?}");
        };
        check("", "0");
        check("{\"done\"", "0");
        check("garbage\n", "line 1 cannot be read");
        check("{\"testudo\":{\"script\":2,\"boot\":\"\"}}\n", "it is of version 2, and this program knows 1");
        let header = format!("{{\"testudo\":{{\"script\":1,\"boot\":\"{}\"}}}}\n", journal.boot);
        check(&format!("{header}\0\0\0\n"), "line 2 cannot be read");
        let add = "{\"add\":{\"scope\":\"Ip\",\"type\":\"ban\",\"value\":\"192.0.2.1\",\"origin\":\"\",\"scenario\":\"\",\"id\":1,\"until\":1}}\n";
        check(&format!("{header}{add}"), "1");
        check(&format!("{{\"testudo\":{{\"script\":1,\"boot\":\"another\"}}}}\n{add}"), "0");
    }
}

//! Alerts on their way to the API: kept until it has acknowledged them, through restarts too.
//!
//! What is not acknowledged is part of every checkpoint. An API that knows the identities of alerts takes
//! none twice. For others, those that it acknowledged since the last checkpoint are noted in a journal
//! beside the state file: after a crash the lines since then are read again, and lead to alerts with the
//! same identities.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use testudo_event::{Alert, Timestamp};
use tokio::sync::Notify;

/// Alerts that may wait. An API that is away for days must not take all memory: an alert takes a few KiB.
pub(crate) const ALERTS_MOST: usize = 20_000;

/// Within this time, lines are read again that were read before a crash.
const READ_AGAIN_WITHIN: Duration = Duration::from_hours(1);

/// An alert that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Its number here.
    #[serde(skip)]
    number: u64,
    /// The alert; its `uuid` is set.
    pub(crate) alert: Alert,
    /// When the line arrived that led to it; unknown after a restart.
    #[serde(skip)]
    pub(crate) arrived: Option<Timestamp>,
    /// Whether it waits for something else before it is sent.
    #[serde(skip)]
    held: bool,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    /// How many of them are held.
    held: usize,
    next: u64,
    /// Identities that were acknowledged before a crash, and may come once more.
    acknowledged: HashSet<String>,
    journal: Option<Journal>,
}

/// The alerts that nobody has acknowledged.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    news: Notify,
}

/// What became of an alert that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits, under this number.
    Waits(u64),
    /// It was acknowledged before.
    Known,
    /// There is no more room.
    Full,
}

impl Outbox {
    /// An empty one. `journal` is where identities are noted, for APIs that do not know them.
    pub(crate) fn new(journal: Option<PathBuf>) -> io::Result<Outbox> {
        let mut inner = Inner::default();
        if let Some(path) = journal {
            let (journal, acknowledged) = Journal::open(&path)?;
            inner.journal = Some(journal);
            inner.acknowledged = acknowledged;
        }
        Ok(Outbox { inner: Mutex::new(inner), news: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an alert in. One that is held is not sent before [`Outbox::let_go`]; a restart lets it go.
    pub(crate) fn put(&self, alert: Alert, arrived: Option<Timestamp>, held: bool) -> Put {
        let mut inner = self.lock();
        if inner.acknowledged.remove(&alert.uuid) {
            return Put::Known;
        }
        if inner.waiting.len() >= ALERTS_MOST {
            return Put::Full;
        }
        let number = inner.next;
        inner.next += 1;
        inner.waiting.push_back(Waiting { number, alert, arrived, held });
        inner.held += usize::from(held);
        drop(inner);
        self.news.notify_one();
        Put::Waits(number)
    }

    /// Alerts that were held are sent.
    pub(crate) fn let_go(&self, numbers: &[u64]) {
        let mut inner = self.lock();
        let mut let_go = 0;
        for waiting in inner.waiting.iter_mut().filter(|waiting| numbers.contains(&waiting.number)) {
            let_go += usize::from(std::mem::take(&mut waiting.held));
        }
        inner.held -= let_go;
        drop(inner);
        self.news.notify_one();
    }

    /// Alerts that were held are not sent at all.
    pub(crate) fn take_back(&self, numbers: &[u64]) {
        let mut inner = self.lock();
        let before = inner.waiting.len();
        inner.waiting.retain(|waiting| !(waiting.held && numbers.contains(&waiting.number)));
        inner.held -= before - inner.waiting.len();
    }

    /// Alerts with these identities are not sent, unless that has begun. Returns how many waited.
    pub(crate) fn withdraw(&self, uuids: &[&str]) -> usize {
        let mut inner = self.lock();
        let before = inner.waiting.len();
        inner.waiting.retain(|waiting| !uuids.contains(&waiting.alert.uuid.as_str()));
        inner.held = inner.waiting.iter().filter(|waiting| waiting.held).count();
        before - inner.waiting.len()
    }

    /// The first alerts that wait, at most so many. They stay until they are acknowledged.
    pub(crate) fn first(&self, most: usize) -> Vec<Waiting> {
        self.lock().waiting.iter().filter(|waiting| !waiting.held).take(most).cloned().collect()
    }

    /// How many wait, those that are held too.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How many can be sent.
    pub(crate) fn ready(&self) -> usize {
        let inner = self.lock();
        inner.waiting.len() - inner.held
    }

    /// Waits until something was put in since the last call.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// These are dealt with.
    pub(crate) fn acknowledge(&self, done: &[Waiting]) -> io::Result<()> {
        let numbers: HashSet<u64> = done.iter().map(|waiting| waiting.number).collect();
        let mut inner = self.lock();
        inner.waiting.retain(|waiting| !numbers.contains(&waiting.number));
        match &mut inner.journal {
            Some(journal) => journal.note(done.iter().map(|waiting| waiting.alert.uuid.as_str())),
            None => Ok(()),
        }
    }

    /// What waits, for a checkpoint; and the journal from which on identities are not in it.
    pub(crate) fn save(&self) -> (Vec<u8>, u64) {
        let mut inner = self.lock();
        // Records of an alert can always be written.
        let bytes = serde_json::to_vec(&inner.waiting).unwrap_or_default();
        let generation = inner.journal.as_mut().map_or(0, Journal::turn);
        (bytes, generation)
    }

    /// A checkpoint with what [`Outbox::save`] gave is safe on the disk.
    pub(crate) fn saved(&self, generation: u64) -> io::Result<()> {
        self.lock().journal.as_mut().map_or(Ok(()), |journal| journal.forget_before(generation))
    }

    /// Takes over what a checkpoint has. Returns how many alerts that were.
    pub(crate) fn restore(&self, bytes: &[u8]) -> Result<usize, serde_json::Error> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let waiting: Vec<Waiting> = serde_json::from_slice(bytes)?;
        let count = waiting.len();
        for entry in waiting {
            self.put(entry.alert, None, false);
        }
        Ok(count)
    }
}

/// Identities, a line each, in files that are numbered from checkpoint to checkpoint.
struct Journal {
    path: PathBuf,
    generation: u64,
    /// The first file of this run that is still there.
    oldest: u64,
    /// The files of earlier runs. The lines that they are about may not have been read again when the first checkpoints
    /// are made: so they stay for a while, in case that this run is killed, too.
    inherited: Vec<u64>,
    inherited_until: Instant,
    file: Option<File>,
}

impl Journal {
    /// Reads what is there, and begins a new file.
    fn open(path: &Path) -> io::Result<(Journal, HashSet<String>)> {
        let mut known = HashSet::new();
        let mut numbers = Vec::new();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))?.flatten() {
            let number = entry
                .file_name()
                .to_str()
                .and_then(|found| found.strip_prefix(&name)?.strip_prefix('.')?.parse::<u64>().ok());
            if let Some(number) = number {
                numbers.push(number);
                // The last line of a crash may be half; a whole one ends.
                let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
                let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
                known.extend(whole.map(str::to_owned));
            }
        }
        let next = numbers.iter().max().map_or(0, |last| last.saturating_add(1));
        let journal = Journal {
            path: path.to_owned(),
            generation: next,
            oldest: next,
            inherited: numbers,
            inherited_until: Instant::now() + READ_AGAIN_WITHIN,
            file: None,
        };
        Ok((journal, known))
    }

    fn numbered(&self, number: u64) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(format!(".{number}"));
        PathBuf::from(path)
    }

    fn note<'i>(&mut self, identities: impl Iterator<Item = &'i str>) -> io::Result<()> {
        let mut text = String::new();
        for identity in identities {
            text.push_str(identity);
            text.push('\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            self.file = Some(options.open(self.numbered(self.generation))?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if written.is_err() {
            // It may end with half a line, and what comes next must not be the other half.
            self.turn();
        }
        written
    }

    /// Begins the next file; returns its number.
    fn turn(&mut self) -> u64 {
        if self.file.take().is_some() {
            self.generation += 1;
        }
        self.generation
    }

    fn forget_before(&mut self, generation: u64) -> io::Result<()> {
        while self.oldest < generation {
            remove(&self.numbered(self.oldest))?;
            self.oldest += 1;
        }
        if Instant::now() >= self.inherited_until {
            while let Some(number) = self.inherited.last() {
                remove(&self.numbered(*number))?;
                self.inherited.pop();
            }
        }
        Ok(())
    }
}

/// Removes a file, which may be gone.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(uuid: &str) -> Alert {
        Alert { uuid: uuid.to_owned(), scenario: "t/s".to_owned(), ..Alert::default() }
    }

    fn uuids(waiting: &[Waiting]) -> Vec<&str> {
        waiting.iter().map(|waiting| waiting.alert.uuid.as_str()).collect()
    }

    #[test]
    fn what_is_not_acknowledged_stays() {
        let outbox = Outbox::new(None).expect("it needs no file");
        for (number, uuid) in (0..).zip(["a", "b", "c"]) {
            assert_eq!(outbox.put(alert(uuid), None, false), Put::Waits(number));
        }
        let first = outbox.first(2);
        assert_eq!(uuids(&first), ["a", "b"]);
        outbox.acknowledge(&first[..1]).expect("there is no journal");
        let (bytes, _) = outbox.save();
        let after = Outbox::new(None).expect("it needs no file");
        assert_eq!(after.restore(&bytes).expect("it is read"), 2);
        assert_eq!(uuids(&after.first(9)), ["b", "c"]);
        assert_eq!(after.first(9)[0].alert, alert("b"));
    }

    #[test]
    fn what_is_held_waits_for_more() {
        let outbox = Outbox::new(None).expect("it needs no file");
        for (number, uuid) in (0..).zip(["a", "b", "c"]) {
            assert_eq!(outbox.put(alert(uuid), None, uuid != "b"), Put::Waits(number));
        }
        assert_eq!((uuids(&outbox.first(9)), outbox.ready(), outbox.len()), (vec!["b"], 1, 3));
        let (saved, _) = outbox.save();
        outbox.let_go(&[0, 1]);
        outbox.take_back(&[1, 2]);
        assert_eq!((uuids(&outbox.first(9)), outbox.ready(), outbox.len()), (vec!["a", "b"], 2, 2));
        // Nobody asks for names any more after a restart.
        let after = Outbox::new(None).expect("it needs no file");
        after.restore(&saved).expect("it is read");
        assert_eq!(after.ready(), 3);
    }

    #[test]
    fn what_is_withdrawn_is_not_sent() {
        let outbox = Outbox::new(None).expect("it needs no file");
        for uuid in ["a", "b", "c", "d"] {
            outbox.put(alert(uuid), None, uuid >= "c");
        }
        assert_eq!(outbox.withdraw(&["b", "c", "x"]), 2);
        assert_eq!((uuids(&outbox.first(9)), outbox.ready(), outbox.len()), (vec!["a"], 1, 2));
        outbox.let_go(&[2, 3]);
        assert_eq!(uuids(&outbox.first(9)), ["a", "d"]);
    }

    #[test]
    fn it_is_bounded() {
        let outbox = Outbox::new(None).expect("it needs no file");
        for at in 0..ALERTS_MOST {
            outbox.put(alert(&at.to_string()), None, false);
        }
        assert_eq!(outbox.put(alert("more"), None, false), Put::Full);
        assert_eq!(outbox.len(), ALERTS_MOST);
    }

    /// A crash at any point: what was acknowledged and comes again is known; what a checkpoint holds as
    /// waiting and was acknowledged later, too.
    #[test]
    fn a_crash_leads_to_nothing_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let open = || Outbox::new(Some(path.clone())).expect("it opens");
        let outbox = open();
        outbox.put(alert("a"), None, false);
        outbox.put(alert("b"), None, false);
        outbox.acknowledge(&outbox.first(1)).expect("it is noted");
        // A checkpoint is made, which has `b` waiting; `b` is acknowledged before it is on the disk.
        let (saved, generation) = outbox.save();
        outbox.acknowledge(&outbox.first(1)).expect("it is noted");
        outbox.saved(generation).expect("the older journal goes");
        drop(outbox);
        let outbox = open();
        outbox.restore(&saved).expect("it is read");
        assert_eq!(outbox.len(), 0, "`b` is known");
        // `a` lies before the checkpoint: its line is not read again, so it need not be known.
        assert_eq!(outbox.put(alert("a"), None, false), Put::Waits(0));
        // Without a checkpoint, all that was acknowledged is known.
        outbox.acknowledge(&outbox.first(1)).expect("it is noted");
        drop(outbox);
        fs::write(path.with_extension("7"), "half").expect("it is written");
        let outbox = open();
        assert_eq!(outbox.put(alert("a"), None, false), Put::Known);
        assert_eq!(outbox.put(alert("half"), None, false), Put::Waits(0), "a line that was cut off is none");
    }

    /// Killed twice: the first run after a crash makes a checkpoint before it has read all lines again.
    #[test]
    fn a_second_crash_leads_to_nothing_twice_either() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let open = || Outbox::new(Some(path.clone())).expect("it opens");
        let files = || fs::read_dir(folder.path()).expect("a folder").count();
        let outbox = open();
        outbox.put(alert("a"), None, false);
        outbox.acknowledge(&outbox.first(1)).expect("it is noted");
        drop(outbox);
        let outbox = open();
        outbox.put(alert("b"), None, false);
        outbox.acknowledge(&outbox.first(1)).expect("it is noted");
        let (_, generation) = outbox.save();
        outbox.saved(generation).expect("what is known is kept");
        assert_eq!(files(), 1, "`b` lies before the checkpoint");
        drop(outbox);
        let outbox = open();
        assert_eq!(outbox.put(alert("a"), None, false), Put::Known);
        // After a while all has been read again.
        if let Some(journal) = &mut outbox.lock().journal {
            journal.inherited_until = Instant::now();
        }
        outbox.saved(outbox.save().1).expect("it goes");
        assert_eq!(files(), 0);
    }
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc::Receiver};

use super::{follow::Follower, room::Room, *};
use crate::{
    batch::Batch,
    kind::Kind,
    outlet::Outlet,
    position::{Change, Position, Positions, Progress},
    testing,
};

/// A follower with everything that it hands out, and what was noted of that.
struct Bench {
    config: Arc<FileConfig>,
    runtime: Runtime,
    outlet: Outlet,
    batches: Receiver<Batch>,
    follower: Follower,
    /// Handed out and not noted yet.
    waiting: Vec<Batch>,
    noted: Positions,
    /// Lines that are noted, with how often.
    lines: BTreeMap<String, u32>,
    /// Where each line was said to stand: what is before it, and its offset.
    places: BTreeMap<String, BTreeSet<(Option<u64>, u64)>>,
    now: Duration,
}

fn config(patterns: &[String]) -> Arc<FileConfig> {
    Arc::new(FileConfig {
        patterns: patterns.iter().map(|text| Pattern::new(text).expect("a pattern")).collect(),
        exclude: vec![regex::Regex::new(r"\.skipped\.").expect("a regex")],
        max_line_bytes: 1 << 20,
        poll: None,
        discovery: None,
    })
}

impl Bench {
    fn new(patterns: &[String]) -> Bench {
        let config = config(patterns);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (outlet, batches) =
            runtime.block_on(async { testing::outlet(&testing::settings(Kind::File), Positions::default()) });
        let follower = Follower::new(Arc::clone(&config), outlet.clone());
        Bench {
            config,
            runtime,
            outlet,
            batches,
            follower,
            waiting: Vec::new(),
            noted: Positions::default(),
            lines: BTreeMap::new(),
            places: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    /// Lets so few files be open.
    fn narrow(&mut self, room: Option<usize>) {
        if let Some(room) = room {
            self.follower.room = Room::of(room);
        }
    }

    fn of(path: &Path) -> Bench {
        Bench::new(&[path.display().to_string()])
    }

    fn scan(&mut self) {
        self.follower.scan(self.now).expect("the outlet takes it");
        self.take();
    }

    /// One turn. Says whether there may be more.
    fn turn(&mut self) -> bool {
        let more = self.follower.turn(self.now).expect("the outlet takes it");
        self.take();
        more
    }

    fn take(&mut self) {
        while let Ok(batch) = self.batches.try_recv() {
            for (at, line) in batch.lines().enumerate() {
                let Some(Progress { change: Change::At(Position::File(position)), .. }) =
                    batch.progress_after(at)
                else {
                    panic!("no position after {line}");
                };
                let place = (batch.content_before(at), position.offset);
                self.places.entry(line.to_owned()).or_default().insert(place);
            }
            self.waiting.push(batch);
        }
    }

    /// Scans and reads everything.
    fn poll(&mut self) {
        self.scan();
        while self.turn() {}
        // What a truncation brought to light is read at once.
        while self.turn() {}
    }

    /// Notes so many lines and positions of what waits.
    fn note(&mut self, lines: usize) {
        let mut left = lines;
        while !self.waiting.is_empty() {
            let count = self.waiting[0].len();
            if count > left {
                break;
            }
            left -= count;
            let batch = self.waiting.remove(0);
            for line in batch.lines() {
                *self.lines.entry(line.to_owned()).or_default() += 1;
            }
            if let Some(progress) = batch.progress() {
                self.noted.apply(progress);
            }
        }
        let Some(batch) = self.waiting.first_mut().filter(|_| left > 0) else { return };
        // A part of a batch: its last lines stay in doubt, and come again after a restart.
        let batch = batch.clone();
        for line in batch.lines().take(left) {
            *self.lines.entry(line.to_owned()).or_default() += 1;
        }
        self.noted.apply(&batch.progress_after(left - 1).expect("a position"));
        self.waiting[0] = rest_of(&batch, left);
    }

    fn note_all(&mut self) {
        self.note(usize::MAX);
    }

    /// Goes on as after a crash: from what was noted.
    fn restart(&mut self) {
        self.waiting.clear();
        let (outlet, batches) = self
            .runtime
            .block_on(async { testing::outlet(&testing::settings(Kind::File), self.noted.clone()) });
        // What is noted survives as text.
        let text = serde_json::to_string(&outlet.positions()).expect("it can be written");
        assert_eq!(serde_json::from_str::<Positions>(&text).expect("it can be read"), self.noted);
        self.follower = Follower::new(Arc::clone(&self.config), outlet.clone());
        self.outlet = outlet;
        self.batches = batches;
        self.now = Duration::ZERO;
    }

    /// Does what is for a follower to do.
    fn does(&mut self, act: &Act, room: Option<usize>) {
        match act {
            Act::Poll => self.poll(),
            Act::Scan => self.scan(),
            Act::Turn => {
                self.turn();
            }
            Act::Note(lines) => self.note(usize::from(*lines)),
            Act::Restart => {
                self.restart();
                self.narrow(room);
            }
            _ => {}
        }
    }

    fn lines(&mut self) -> Vec<String> {
        self.note_all();
        std::mem::take(&mut self.lines).into_keys().collect()
    }
}

/// The lines of a batch from one on, as a batch of its own.
fn rest_of(batch: &Batch, from: usize) -> Batch {
    let mut at = 0;
    batch.clone().map_lines(|_| {
        at += 1;
        if at > from { crate::batch::Mapped::Same } else { crate::batch::Mapped::Lines(Vec::new()) }
    })
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("it opens");
    file.write_all(text.as_bytes()).expect("it is written");
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    (folder, path)
}

#[test]
fn what_was_there_is_not_read_and_what_comes_later_is() {
    let (folder, path) = folder();
    append(&path, "old\nhalf");
    let mut bench = Bench::new(&[folder.path().join("*.log").display().to_string()]);
    bench.poll();
    assert_eq!(bench.lines(), [""; 0]);
    append(&path, " of it\nnew\nnext");
    bench.poll();
    assert_eq!(bench.lines(), ["half of it", "new"]);
    append(&path, "\n");
    append(&folder.path().join("b.log"), "from the beginning\n");
    append(&folder.path().join("b.txt"), "not asked for\n");
    bench.poll();
    assert_eq!(bench.lines(), ["from the beginning", "next"]);
    // Files that appear while nobody looks are new, too.
    append(&folder.path().join("c.log"), "appeared meanwhile\n");
    append(&path, "written meanwhile\n");
    bench.restart();
    bench.poll();
    assert_eq!(bench.lines(), ["appeared meanwhile", "written meanwhile"]);
}

#[test]
fn a_path_that_does_not_exist_yet() {
    let (folder, _) = folder();
    let path = folder.path().join("sub/x.log");
    let mut bench = Bench::of(&path);
    bench.poll();
    fs::create_dir(folder.path().join("sub")).expect("a folder");
    append(&path, "first\n");
    bench.poll();
    assert_eq!(bench.lines(), ["first"]);
}

#[test]
fn a_partial_last_line_is_a_line_when_the_file_is_over() {
    let (_folder, path) = folder();
    append(&path, "");
    let mut bench = Bench::of(&path);
    bench.poll();
    append(&path, "whole\nhalf");
    bench.poll();
    assert_eq!(bench.lines(), ["whole"]);
    fs::remove_file(&path).expect("it goes");
    bench.poll();
    assert_eq!(bench.lines(), [""; 0]);
    bench.now = follow::QUIET * 2;
    bench.poll();
    assert_eq!(bench.lines(), ["half"]);
    // Nothing is left of it; what comes under its name is new.
    bench.scan();
    bench.note_all();
    assert!(bench.noted.streams.keys().all(|key| key.starts_with("watch:")), "{:?}", bench.noted);
    append(&path, "again\n");
    bench.poll();
    assert_eq!(bench.lines(), ["again"]);
}

#[test]
fn lines_that_are_too_long_are_skipped_and_counted() {
    let (_folder, path) = folder();
    append(&path, "");
    let mut bench = Bench::of(&path);
    bench.poll();
    append(&path, &format!("a\n{}\nb\n", "x".repeat((1 << 20) + 1)));
    bench.poll();
    assert_eq!(bench.lines(), ["a", "b"]);
    assert_eq!(bench.outlet.counters().too_long.get(), 1);
    bench.restart();
    append(&path, "c\n");
    bench.poll();
    assert_eq!(bench.lines(), ["c"]);
}

#[test]
fn compressed_files_are_read_once() {
    let (folder, path) = folder();
    let pattern = folder.path().join("*").display().to_string();
    append(&path, "x\n");
    pack(&path, &folder.path().join("before.gz"));
    let mut bench = Bench::new(&[pattern]);
    bench.poll();
    assert_eq!(bench.lines(), [""; 0]);
    let other = tempfile::tempdir().expect("a folder");
    append(&other.path().join("o"), &"in a gz\n".repeat(20_000));
    pack(&other.path().join("o"), &folder.path().join("after.gz"));
    bench.poll();
    bench.note_all();
    assert_eq!(bench.lines.get("in a gz"), Some(&20_000));
    bench.restart();
    bench.poll();
    bench.note_all();
    assert_eq!(bench.lines.get("in a gz"), Some(&20_000));
}

#[test]
fn copies_beside_a_log_are_not_read() {
    let (folder, path) = folder();
    append(&path, "");
    let mut bench = Bench::new(&[folder.path().join("*").display().to_string()]);
    bench.poll();
    append(&path, "once\n");
    bench.poll();
    fs::copy(&path, folder.path().join("a.log.1")).expect("a copy");
    bench.poll();
    append(&path, "twice\n");
    pack(&path, &folder.path().join("a.log.2.gz"));
    bench.poll();
    bench.note_all();
    assert!(bench.lines.values().all(|count| *count == 1), "{:?}", bench.lines);
    assert_eq!(bench.lines(), ["once", "twice"]);
}

#[test]
fn a_gap_is_told() {
    let (_folder, path) = folder();
    append(&path, "");
    let mut bench = Bench::of(&path);
    bench.poll();
    append(&path, "a\n");
    bench.poll();
    assert_eq!(bench.lines(), ["a"]);
    append(&path, "lost\n");
    fs::remove_file(&path).expect("it goes");
    append(&path, "b\n");
    bench.restart();
    bench.poll();
    assert_eq!(bench.lines(), ["b"]);
    assert_eq!(bench.outlet.counters().gaps.get(), 1);
}

#[test]
fn what_cannot_be_read_is_told_and_tried_again() {
    use std::os::unix::fs::PermissionsExt;

    let (_folder, path) = folder();
    append(&path, "before\n");
    let allow = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is set");
    allow(0o000);
    if File::open(&path).is_ok() {
        println!("skipped: nothing is forbidden to this user");
        return;
    }
    let mut bench = Bench::of(&path);
    bench.poll();
    assert!(bench.outlet.log.problem().is_some_and(|problem| problem.contains("cannot read")));
    allow(0o644);
    append(&path, "after\n");
    bench.poll();
    // Where it ended when it was seen first is where it is read from.
    assert_eq!(bench.lines(), ["after"]);
}

#[test]
fn a_log_that_is_replaced_by_a_copy_of_itself_goes_on() {
    let (folder, path) = folder();
    append(&path, "");
    let mut bench = Bench::of(&path);
    bench.poll();
    append(&path, &"a line that is long enough to be recognised\n".repeat(3));
    bench.poll();
    let copy = folder.path().join("new");
    fs::copy(&path, &copy).expect("a copy");
    fs::rename(&copy, &path).expect("it is renamed");
    append(&path, "after\n");
    bench.poll();
    bench.note_all();
    let counts: Vec<u32> = bench.lines.values().copied().collect();
    assert_eq!(counts, [3, 1], "{:?}", bench.lines);
}

/// While nobody looks, a log is written, copied, truncated, and begun anew with a few bytes that begin every line:
/// what the copy holds is not what stands in the log.
#[test]
fn a_few_bytes_do_not_stand_for_a_copy() {
    let (_folder, path) = folder();
    append(&path, "");
    let mut bench = Bench::of(&path);
    bench.poll();
    bench.note_all();
    append(&path, "line 1\nline 2\n");
    fs::copy(&path, path.with_extension("log.1")).expect("a copy");
    File::options().write(true).open(&path).expect("the log").set_len(0).expect("it is truncated");
    append(&path, "line");
    bench.restart();
    bench.poll();
    append(&path, " 3\n");
    bench.poll();
    assert_eq!(bench.lines(), ["line 1", "line 2", "line 3"]);
}

/// A line is begun, read, ended, copied and cut off, and the next begins in the same way: only the copy tells.
#[test]
fn a_copy_tells_of_a_line_that_begins_like_the_next() {
    for dies in [false, true] {
        let (folder, path) = folder();
        let mut bench = Bench::of(&path);
        bench.poll();
        append(&path, "line ");
        bench.poll();
        bench.note_all();
        append(&path, "1\n");
        fs::copy(&path, folder.path().join("a.log.1")).expect("it is copied");
        OpenOptions::new().write(true).truncate(true).open(&path).expect("it is truncated");
        append(&path, "line ");
        if dies {
            bench.restart();
        }
        bench.poll();
        append(&path, "2 is longer\nline 3");
        bench.poll();
        append(&path, " is not whole before\n");
        bench.poll();
        assert_eq!(
            bench.lines(),
            ["line 1", "line 2 is longer", "line 3 is not whole before"],
            "dies: {dies}"
        );
        assert_eq!(bench.outlet.counters().gaps.get(), 0);
    }
}

/// Every generation begins with the same line.
#[test]
fn a_common_first_line_hides_nothing() {
    for dies in [false, true] {
        let (folder, path) = folder();
        let mut bench = Bench::of(&path);
        bench.poll();
        append(&path, "# head\n");
        bench.poll();
        fs::copy(&path, folder.path().join("a.log.1")).expect("it is copied");
        OpenOptions::new().write(true).truncate(true).open(&path).expect("it is truncated");
        bench.poll();
        assert_eq!(bench.lines(), ["# head"]);
        if dies {
            bench.restart();
        }
        std::thread::sleep(TICK);
        append(&path, "# head\none\n");
        fs::rename(folder.path().join("a.log.1"), folder.path().join("a.log.2")).expect("it is renamed");
        fs::copy(&path, folder.path().join("a.log.1")).expect("it is copied");
        OpenOptions::new().write(true).truncate(true).open(&path).expect("it is truncated");
        append(&path, "# head\ntwo\n");
        bench.poll();
        let lines: Vec<_> = bench.lines().into_iter().filter(|line| line != "# head").collect();
        assert_eq!(lines, ["one", "two"], "dies: {dies}");
    }
}

fn pack(from: &Path, to: &Path) {
    let file = File::create(to).expect("it is created");
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packer.write_all(&fs::read(from).expect("it is read")).expect("it compresses");
    let file = packer.finish().expect("it compresses");
    let modified = fs::metadata(from).expect("it is there").modified().expect("a time");
    file.set_modified(modified).expect("the time is set");
}

/// What happens to a log, and to those who read it.
#[derive(Clone, Debug)]
enum Act {
    /// The program writes so many lines.
    Write(u8),
    /// It writes a line in two parts, with something between them.
    Half,
    /// Its log is renamed; a new one is made. It goes on in the old one until it reopens.
    Rename,
    /// Its log is copied and truncated.
    Copy,
    /// The link to its log is led to another one.
    Swap,
    /// It opens its log by name.
    Reopen,
    /// The rotated log with this number is compressed.
    Pack(u8),
    /// The follower looks and reads everything.
    Poll,
    /// It only looks.
    Scan,
    /// It reads one batch.
    Turn,
    /// So many lines are noted.
    Note(u8),
    /// The follower dies and goes on from what was noted.
    Restart,
}

fn acts(rotate: impl Strategy<Value = Act> + 'static) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..40u8).prop_map(Act::Write),
        1 => Just(Act::Half),
        3 => rotate,
        2 => Just(Act::Reopen),
        1 => (1..4u8).prop_map(Act::Pack),
        3 => Just(Act::Poll),
        1 => Just(Act::Scan),
        1 => Just(Act::Turn),
        2 => any::<u8>().prop_map(Act::Note),
        2 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..60)
}

/// The times of files move in steps of this. Files that come one after the other within one step look
/// as if they had come together; no real rotation is that quick.
const TICK: Duration = Duration::from_millis(5);

/// A program that writes numbered lines, and whoever rotates its log.
struct Writer {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    written: u32,
    half: bool,
    targets: u32,
    padding: &'static str,
}

impl Writer {
    fn new(folder: &Path, linked: bool, padding: &'static str) -> Writer {
        let path = folder.join("a.log");
        if linked {
            File::create(folder.join("target-0.txt")).expect("it is created");
            link(&folder.join("target-0.txt"), &path);
        }
        append(&path, "what was there before\n");
        let file = OpenOptions::new().append(true).open(&path).expect("it opens");
        Writer { folder: folder.to_owned(), path, file, written: 0, half: false, targets: 0, padding }
    }

    /// Does what is for a writer to do, and says whether it is.
    fn does(&mut self, act: &Act) -> bool {
        if matches!(act, Act::Rename | Act::Copy | Act::Swap | Act::Pack(_)) {
            std::thread::sleep(TICK);
        }
        match act {
            Act::Write(lines) => self.write(*lines),
            Act::Half => self.half(),
            Act::Rename => self.rename(),
            Act::Copy => self.copy(),
            Act::Swap => self.swap(),
            Act::Reopen => self.reopen(),
            Act::Pack(number) => self.pack(*number),
            _ => return false,
        }
        true
    }

    fn write(&mut self, lines: u8) {
        self.end_half();
        for _ in 0..lines {
            self.half();
            self.end_half();
        }
    }

    fn half(&mut self) {
        self.end_half();
        self.written += 1;
        write!(self.file, "{:06}", self.written).expect("it is written");
        self.half = true;
    }

    fn end_half(&mut self) {
        if std::mem::take(&mut self.half) {
            writeln!(self.file, "{}", self.padding).expect("it is written");
        }
    }

    fn reopen(&mut self) {
        self.end_half();
        self.file = OpenOptions::new().append(true).create(true).open(&self.path).expect("it opens");
    }

    /// Makes room for a rotated log with the number 1.
    fn shift(&self) {
        let name = |number: u32, ending: &str| self.folder.join(format!("a.log.{number}{ending}"));
        let last =
            (1..10_000).find(|n| !name(*n, "").exists() && !name(*n, ".gz").exists()).expect("a free one");
        for number in (1..last).rev() {
            for ending in ["", ".gz"] {
                if name(number, ending).exists() {
                    fs::rename(name(number, ending), name(number + 1, ending)).expect("it is renamed");
                }
            }
        }
    }

    fn rename(&mut self) {
        self.shift();
        fs::rename(&self.path, self.folder.join("a.log.1")).expect("it is renamed");
        File::create(&self.path).expect("it is created");
    }

    fn copy(&mut self) {
        // What is written after the copy and before the truncation is lost to everybody.
        self.end_half();
        self.shift();
        fs::copy(&self.path, self.folder.join("a.log.1")).expect("it is copied");
        OpenOptions::new().write(true).truncate(true).open(&self.path).expect("it is truncated");
    }

    fn swap(&mut self) {
        self.targets += 1;
        let target = self.folder.join(format!("target-{}.txt", self.targets));
        File::create(&target).expect("it is created");
        let new = self.folder.join("new link");
        link(&target, &new);
        fs::rename(&new, &self.path).expect("it is renamed");
    }

    fn pack(&self, number: u8) {
        let path = self.folder.join(format!("a.log.{number}"));
        // Nobody compresses what is still written to.
        if path.exists() && !same(&path, &self.file) {
            pack(&path, &self.folder.join(format!("a.log.{number}.gz")));
            fs::remove_file(path).expect("it goes");
        }
    }
}

fn same(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (a, b) = (fs::metadata(path).expect("it is there"), file.metadata().expect("it is open"));
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn link(target: &Path, path: &Path) {
    std::os::unix::fs::symlink(target, path).expect("it is linked");
}

fn play(
    acts: &[Act],
    linked: bool,
    glob: bool,
    padding: &'static str,
    room: Option<usize>,
) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::new(folder.path(), linked, padding);
    let pattern = if glob { folder.path().join("a.log*") } else { writer.path.clone() };
    let mut bench = Bench::of(&pattern);
    bench.narrow(room);
    bench.poll();
    bench.note_all();
    for act in acts {
        if !writer.does(act) {
            bench.does(act, room);
        }
    }
    writer.end_half();
    settled(&mut bench, &writer)
}

/// Whether all that was written was noted once, when the follower has read everything.
fn settled(bench: &mut Bench, writer: &Writer) -> Result<(), TestCaseError> {
    bench.poll();
    bench.poll();
    while std::mem::take(&mut bench.follower.lost) {
        bench.poll();
    }
    bench.note_all();
    let padding = writer.padding;
    let expected: BTreeMap<String, u32> =
        (1..=writer.written).map(|number| (format!("{number:06}{padding}"), 1)).collect();
    let wrong: Vec<String> = expected
        .keys()
        .chain(bench.lines.keys())
        .filter(|line| bench.lines.get(*line) != expected.get(*line))
        .map(|line| format!("{line:?} {:?}", bench.lines.get(line)))
        .collect();
    prop_assert!(wrong.is_empty(), "wrong: {:?}", wrong);
    // Whoever reads a line again, in whatever file, knows it again.
    let moved: Vec<_> = expected.keys().filter(|line| bench.places[*line].len() != 1).collect();
    prop_assert!(moved.is_empty(), "stand at several places: {:?}", moved);
    Ok(())
}

/// Like [`play`], with the writer at work while the follower looks and reads.
fn play_at_once(acts: &[Act], linked: bool, glob: bool, padding: &'static str) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::new(folder.path(), linked, padding);
    let pattern = if glob { folder.path().join("a.log*") } else { writer.path.clone() };
    let mut bench = Bench::of(&pattern);
    bench.poll();
    bench.note_all();
    let is_own = |act: &&Act| matches!(act, Act::Poll | Act::Scan | Act::Turn | Act::Note(_) | Act::Restart);
    let mut own = acts.iter().filter(is_own).cycle();
    let writer = std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for act in acts {
                writer.does(act);
            }
            writer.end_half();
            writer
        });
        while !writing.is_finished() {
            bench.does(own.next().unwrap_or(&Act::Poll), None);
        }
        writing.join().expect("it writes")
    });
    settled(&mut bench, &writer)
}

#[test]
fn what_is_no_file_is_told_once() {
    let (folder, path) = folder();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: there is no mkfifo");
        return;
    }
    append(&path, "");
    for (odd, what) in [(fifo.as_path(), "FIFO"), (folder.path(), "directory")] {
        let mut bench = Bench::new(&[odd.display().to_string(), path.display().to_string()]);
        bench.poll();
        let problem = bench.outlet.log.problem().expect("it is told");
        assert!(problem.contains(what) && problem.contains(&odd.display().to_string()), "{problem}");
        bench.outlet.log.warn("another");
        append(&path, &format!("{what}\n"));
        bench.poll();
        assert_eq!(bench.outlet.log.problem().as_deref(), Some("another"), "it is told once");
        assert_eq!(bench.lines(), [what], "the others are read");
    }
    // What a wildcard happens to match besides is none of anybody's business.
    let mut bench = Bench::new(&[folder.path().join("*").display().to_string()]);
    bench.poll();
    assert_eq!(bench.outlet.log.problem(), None);
}

#[test]
fn few_files_are_open_and_all_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |number: u32| folder.path().join(format!("{number}.log"));
    let check = |bench: &mut Bench, text: &str| {
        bench.poll();
        assert!(bench.follower.open <= 10, "{} are open", bench.follower.open);
        bench.note_all();
        let expected: BTreeMap<String, u32> =
            (0..100).map(|number| (format!("{text} {number}"), 1)).collect();
        assert_eq!(std::mem::take(&mut bench.lines), expected);
    };
    (0..100).for_each(|number| append(&path(number), "was there\n"));
    let mut bench = Bench::new(&[folder.path().join("*.log").display().to_string()]);
    bench.narrow(Some(10));
    bench.poll();
    (0..100).for_each(|number| append(&path(number), &format!("new {number}\n")));
    check(&mut bench, "new");
    // One that is told is opened without a scan.
    append(&path(50), "told\n");
    bench.follower.stir([path(50)].into());
    bench.turn();
    assert_eq!(bench.lines(), ["told"]);
    for number in 0..100 {
        append(&path(number), &format!("before {number}\n"));
        fs::rename(path(number), folder.path().join(format!("{number}.log.1"))).expect("it is renamed");
    }
    check(&mut bench, "before");
    (0..100).for_each(|number| append(&path(number), &format!("after {number}\n")));
    check(&mut bench, "after");
    assert_eq!(bench.outlet.counters().gaps.get(), 0);
}

/// Schedules that random ones found.
#[test]
fn every_line_once_when_things_happen_between_two_looks() {
    use Act::{Copy, Note, Pack, Poll, Rename, Reopen, Restart, Turn, Write};
    let schedules: &[&[Act]] = &[
        // The copy of a file that is gone but still open is no file of its own.
        &[Copy, Write(1), Rename, Reopen, Pack(1)],
        &[Copy, Rename, Write(1), Reopen, Rename, Rename, Pack(3)],
        &[Copy, Rename, Rename, Write(1), Reopen, Pack(2)],
        // The number of a rotated log says nothing about what is compressed under it.
        &[Write(1), Copy, Pack(1), Poll, Copy, Pack(1), Restart, Act::Scan, Copy, Reopen],
        // Nor is the empty copy of a file that is not known yet one that comes before it.
        &[Copy, Poll, Write(1), Rename, Copy, Turn, Note(0), Reopen, Rename, Write(1), Restart],
        &[Rename, Poll, Reopen, Rename, Write(1), Copy, Turn, Note(0), Reopen, Restart, Rename, Write(1)],
    ];
    for acts in schedules {
        play(acts, false, false, " and a few words more", None)
            .unwrap_or_else(|error| panic!("{acts:?}: {error}"));
    }
}

/// Schedules of each kind. More are played when the environment asks for them.
fn cases() -> u32 {
    std::env::var("TESTUDO_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_once_over_renames(acts in acts(Just(Act::Rename))) {
        play(&acts, false, false, "", None)?;
    }

    #[test]
    fn every_line_once_over_copies(acts in acts(Just(Act::Copy))) {
        play(&acts, false, false, "", None)?;
    }

    #[test]
    fn every_line_once_over_links(acts in acts(Just(Act::Swap))) {
        play(&acts, true, false, "", None)?;
    }

    #[test]
    fn every_line_once_over_all_kinds(acts in acts(prop_oneof![Just(Act::Rename), Just(Act::Copy)])) {
        play(&acts, false, false, " and a few words more", None)?;
    }

    #[test]
    fn every_line_once_when_the_rotated_ones_match(acts in acts(prop_oneof![Just(Act::Rename), Just(Act::Copy)])) {
        play(&acts, false, true, "", None)?;
    }

    #[test]
    fn every_line_once_with_few_open_files(
        acts in acts(prop_oneof![Just(Act::Rename), Just(Act::Copy)]),
        room in 0..3_usize,
        glob in any::<bool>(),
    ) {
        play(&acts, false, glob, " and a few words more", Some(room))?;
    }
}

proptest! {
    // What failed once may go well the next time: there is nothing to be made smaller.
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_line_once_over_renames_at_any_moment(acts in acts(Just(Act::Rename))) {
        play_at_once(&acts, false, false, " and a few words more")?;
    }

    #[test]
    fn every_line_once_over_copies_at_any_moment(acts in acts(Just(Act::Copy))) {
        play_at_once(&acts, false, false, " and a few words more")?;
    }

    #[test]
    fn every_line_once_over_links_at_any_moment(acts in acts(Just(Act::Swap))) {
        play_at_once(&acts, true, false, " and a few words more")?;
    }

    #[test]
    fn every_line_once_at_any_moment_when_the_rotated_ones_match(
        acts in acts(prop_oneof![Just(Act::Rename), Just(Act::Copy)]),
    ) {
        play_at_once(&acts, false, true, " and a few words more")?;
    }
}

/// Takes lines until there are so many.
async fn take(batches: &mut Receiver<Batch>, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(20), batches.recv()).await;
        let batch = batch.expect("lines come").expect("the source runs");
        lines.extend(batch.lines().map(str::to_owned));
    }
    lines
}

#[test]
fn the_source_wakes_up() {
    for poll in [false, true] {
        let (folder, path) = folder();
        append(&path, "old\n");
        let mut config = (*config(&[folder.path().join("*.log").display().to_string()])).clone();
        config.poll = Some(poll);
        let source = Arc::new(FileSource::new(testing::settings(Kind::File), config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (intake, mut batches) =
                crate::start(vec![source], Positions::default(), &crate::Options::default());
            // The first scan is over when the pattern is noted.
            while let Some(batch) = batches.recv().await {
                if batch.progress().is_some_and(|progress| progress.key.starts_with("watch:")) {
                    break;
                }
            }
            append(&path, "a\n");
            assert_eq!(take(&mut batches, 1).await, ["a"]);
            append(&folder.path().join("b.log"), "b\n");
            append(&folder.path().join("c.skipped.log"), "c\n");
            assert_eq!(take(&mut batches, 1).await, ["b"]);
            fs::rename(&path, folder.path().join("a.log.1")).expect("it is renamed");
            append(&path, "d\n");
            assert_eq!(take(&mut batches, 1).await, ["d"]);
            intake.stop();
            intake.ended().await;
        });
    }
}

#[test]
fn reading_once() {
    let (folder, path) = folder();
    append(&path, "a\nb\nc");
    pack(&path, &folder.path().join("b.log.gz"));
    let mut settings = testing::settings(Kind::File);
    settings.mode = crate::Mode::Cat;
    let pattern = folder.path().join("*").display().to_string();
    let source = Arc::new(FileSource::new(settings, (*config(&[pattern])).clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (_intake, mut batches) =
            crate::start(vec![source], Positions::default(), &crate::Options::default());
        let mut lines = Vec::new();
        while let Some(batch) = batches.recv().await {
            assert!(batch.stream.time_machine && batch.progress().is_none());
            lines.extend(batch.lines().map(str::to_owned));
        }
        assert_eq!(lines, ["a", "b", "c", "a", "b", "c"]);
    });
}

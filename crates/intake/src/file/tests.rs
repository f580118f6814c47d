use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc::Receiver};

mod schedules;

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

/// The times of files move in steps of this. Files that come one after the other within one step look
/// as if they had come together; no real rotation is that quick.
const TICK: Duration = Duration::from_millis(8);

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

/// Each day has a log of its own, and each begins with the same line.
#[test]
fn a_common_first_line_does_not_make_copies_of_other_logs() {
    for is_quiet in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bench = Bench::new(&[folder.path().join("app-*.log").display().to_string()]);
        bench.poll();
        let day = |day: u32| folder.path().join(format!("app-2026-01-0{day}.log"));
        append(&day(1), "# head of every log\n");
        bench.poll();
        append(&day(2), "# head of every log\n");
        if is_quiet {
            bench.poll();
        }
        append(&day(2), "one\n");
        bench.poll();
        append(&day(2), "two\n");
        bench.poll();
        let lines: Vec<_> = bench.lines().into_iter().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["one", "two"], "quiet: {is_quiet}");
    }
}

/// A log that was rotated before the first start, by its new name, is none of ours.
#[test]
fn what_was_rotated_before_the_first_start_is_not_read() {
    let (folder, path) = folder();
    append(&folder.path().join("a.log.1"), "# head\nold\n");
    std::thread::sleep(TICK);
    append(&path, "# head\n");
    // Who has not reopened its log yet.
    append(&folder.path().join("a.log.1"), "late\n");
    let mut bench = Bench::of(&path);
    bench.poll();
    append(&path, "new\n");
    bench.poll();
    assert_eq!(bench.lines(), ["new"]);
}

fn pack(from: &Path, to: &Path) {
    let file = File::create(to).expect("it is created");
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packer.write_all(&fs::read(from).expect("it is read")).expect("it compresses");
    let file = packer.finish().expect("it compresses");
    let modified = fs::metadata(from).expect("it is there").modified().expect("a time");
    file.set_modified(modified).expect("the time is set");
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

/// Whoever else follows files takes a part of the room, at any moment.
#[test]
fn what_is_closed_for_want_of_room_is_read_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |number: u32| folder.path().join(format!("{number}.log"));
    (0..10).for_each(|number| append(&path(number), "was there\n"));
    let mut bench = Bench::new(&[folder.path().join("*.log").display().to_string()]);
    bench.narrow(Some(100));
    bench.poll();
    (0..10).for_each(|number| append(&path(number), &format!("{number}\n")));
    bench.narrow(Some(2));
    bench.poll();
    assert!(bench.follower.open <= 2, "{} are open", bench.follower.open);
    assert_eq!(bench.lines(), (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
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

//! Random schedules: whatever happens to a log, and to those who read it, every line is read once.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::{Bench, TICK, append, pack};

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

impl Bench {
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
}

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

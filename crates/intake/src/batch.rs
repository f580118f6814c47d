//! Batches of lines, with the position after each of them.

use std::{collections::BTreeMap, sync::Arc};

use testudo_event::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    counters::Count,
    kind::Kind,
    position::{Change, FilePosition, Position, Progress},
};

/// Longest line that is handed out, in bytes. Longer ones are skipped and counted: no log line of
/// any use is longer.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Bytes of lines after which a source should hand a batch on.
pub const BATCH_BYTES: usize = 64 << 10;

/// Labels of a source: what `evt.Line.Labels` holds.
pub type Labels = BTreeMap<String, String>;

/// Where the lines of a batch come from: a file, a sender, a container.
#[derive(Debug)]
pub struct Stream {
    /// The source that reads it, by its place in the configuration.
    pub source: usize,
    /// Kind of the source: `evt.Line.Module`.
    pub kind: Kind,
    /// Name of the stream: `evt.Line.Src`.
    pub src: Arc<str>,
    /// `evt.Line.Labels`.
    pub labels: Arc<Labels>,
    /// The lines carry their own time: buckets are to run on that, not on the time of arrival.
    pub time_machine: bool,
    /// Key of its position; empty where the stream cannot be read again.
    pub key: Arc<str>,
    /// Counts its lines.
    pub count: Arc<Count>,
}

/// Lines of one stream, in order.
///
/// Lines hold no line ends and are not empty. Whoever has dealt with all of them notes
/// [`Batch::progress`]; a batch may be noted line by line with [`Batch::progress_after`].
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where they come from.
    pub stream: Arc<Stream>,
    /// When they arrived here.
    pub arrival: Timestamp,
    /// The lines, one after the other.
    pub text: String,
    /// Where each line ends in `text`.
    pub ends: Vec<u32>,
    marks: Marks,
    /// The first bytes of the file that the lines are in.
    beginning: Arc<[u8]>,
    progress: Option<Progress>,
}

/// What to note after each line.
#[derive(Clone, Debug)]
pub(crate) enum Marks {
    /// The stream cannot be read again.
    None,
    /// Offsets in a generation of a file.
    Offsets(Box<FilePosition>, Vec<u64>),
    /// Positions; none where the line is not the last of its entry.
    Each(Vec<Option<Position>>),
}

impl Batch {
    /// How many lines.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no line. Such a batch only brings a position.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A line by its number, from 0.
    pub fn line(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }

    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.line(at))
    }

    /// What to note when the line with this number, from 0, and all before it are done. There is
    /// nothing to note where the stream cannot be read again, and after a line that is only a part
    /// of what the source would have to read again as a whole.
    pub fn progress_after(&self, line: usize) -> Option<Progress> {
        let position = match &self.marks {
            Marks::None => return None,
            Marks::Offsets(position, offsets) => {
                let next = offsets.get(line + 1);
                let offset = *offsets.get(line).filter(|offset| next != Some(offset))?;
                Position::File(FilePosition { offset, ..(**position).clone() })
            }
            Marks::Each(positions) => positions.get(line)?.clone()?,
        };
        Some(Progress { key: Arc::clone(&self.stream.key), change: Change::At(position) })
    }

    /// A number that tells the content in which a line of a file stands from others: it is made of the bytes before the
    /// end of the line, a kilobyte of them at most. It stays the same when the file is renamed, copied or compressed, and
    /// for a later run that reads the line again. With the offset, it says which line it is.
    pub fn content_before(&self, line: usize) -> Option<u64> {
        let Marks::Offsets(_, offsets) = &self.marks else { return None };
        let offset = usize::try_from(*offsets.get(line)?).unwrap_or(usize::MAX);
        Some(xxh3_64(&self.beginning[..offset.min(self.beginning.len())]))
    }

    /// How many of its lines stand before a position of their own, whether they are still here or not.
    pub fn marked(&self) -> usize {
        match &self.marks {
            Marks::None => 0,
            Marks::Offsets(_, offsets) => offsets.len(),
            Marks::Each(positions) => positions.len(),
        }
    }

    /// What to note when the whole batch is done.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }
}

/// Collects lines into a batch.
#[derive(Debug)]
pub(crate) struct Collector {
    stream: Arc<Stream>,
    text: String,
    ends: Vec<u32>,
    marks: Marks,
    beginning: Arc<[u8]>,
}

impl Collector {
    /// For lines without positions, or with one each.
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Collector {
            stream,
            text: String::new(),
            ends: Vec::new(),
            marks: Marks::None,
            beginning: Arc::default(),
        }
    }

    /// For lines of a file whose content begins with `beginning`.
    pub(crate) fn of_file(stream: Arc<Stream>, position: FilePosition, beginning: &[u8]) -> Self {
        let marks = Marks::Offsets(Box::new(position), Vec::new());
        Collector { stream, text: String::new(), ends: Vec::new(), marks, beginning: beginning.into() }
    }

    /// The stream.
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Adds a line. Says whether it was UTF-8; if not, it has U+FFFD where it was none.
    pub(crate) fn push(&mut self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        self.text.push_str(&text);
        self.ends.push(self.text.len() as u32);
        matches!(text, std::borrow::Cow::Borrowed(_))
    }

    /// Adds a line of a file that ends at `offset`. Says whether it was UTF-8.
    pub(crate) fn push_at(&mut self, line: &[u8], offset: u64) -> bool {
        if let Marks::Offsets(_, offsets) = &mut self.marks {
            offsets.push(offset);
        }
        self.push(line)
    }

    /// Adds a line with its position, if it has one.
    pub(crate) fn push_marked(&mut self, line: &[u8], position: Option<Position>) -> bool {
        if let Marks::None = self.marks {
            self.marks = Marks::Each(vec![None; self.ends.len()]);
        }
        if let Marks::Each(positions) = &mut self.marks {
            positions.push(position);
        }
        self.push(line)
    }

    /// Bytes of the lines so far.
    #[cfg(feature = "http")]
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The batch. `change` is what to note when all of it is done; without it, that is what the last
    /// line says.
    pub(crate) fn finish(self, arrival: Timestamp, change: Option<Change>) -> Batch {
        let Collector { stream, text, ends, marks, beginning } = self;
        let mut batch = Batch { stream, arrival, text, ends, marks, beginning, progress: None };
        batch.progress = match change {
            Some(change) => Some(Progress { key: Arc::clone(&batch.stream.key), change }),
            None => batch.len().checked_sub(1).and_then(|last| batch.progress_after(last)),
        };
        batch
    }
}

impl Batch {
    /// The same batch with other lines: `lines` says what becomes of each one. A position goes with
    /// the last of the lines that one becomes.
    pub(crate) fn map_lines(self, mut lines: impl FnMut(&str) -> Mapped) -> Batch {
        let mut text = String::with_capacity(self.text.len());
        let mut ends = Vec::with_capacity(self.ends.len());
        let mut kept = Vec::with_capacity(self.ends.len());
        for (at, line) in self.lines().enumerate() {
            let mut add = |line: &str| {
                if !line.is_empty() {
                    text.push_str(line);
                    ends.push(text.len() as u32);
                    kept.push(at);
                }
            };
            match lines(line) {
                Mapped::Same => add(line),
                Mapped::Lines(new) => new.iter().for_each(|line| add(line)),
            }
        }
        // A line of which no more lines follow has the position of the line that it was made from,
        // whatever lines vanished after that.
        let is_last = |at: usize| kept.get(at + 1).is_none_or(|next| *next != kept[at]);
        let marks = match self.marks {
            Marks::None => Marks::None,
            Marks::Offsets(position, offsets) => {
                Marks::Offsets(position, kept.iter().map(|&at| offsets[at]).collect())
            }
            Marks::Each(positions) => Marks::Each(
                (0..kept.len()).map(|at| positions[kept[at]].clone().filter(|_| is_last(at))).collect(),
            ),
        };
        Batch { text, ends, marks, ..self }
    }
}

/// What becomes of a line.
#[derive(Debug)]
pub(crate) enum Mapped {
    /// Nothing.
    Same,
    /// These lines, in its place.
    Lines(Vec<Arc<str>>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// A batch of a file with these lines and offsets.
    fn batch(lines: &[(&str, u64)]) -> Batch {
        let position = crate::FilePosition {
            generation: 0,
            path: "a".to_owned(),
            device: 0,
            inode: 0,
            packed: false,
            head: crate::Head::default(),
            offset: 0,
            since: 0,
            created: None,
            born: None,
            state: crate::FileState::Open,
        };
        let mut collector =
            Collector::of_file(testing::stream(Kind::File, "a", "key"), position, b"a\nbc\nd\n");
        for (line, offset) in lines {
            assert!(collector.push_at(line.as_bytes(), *offset));
        }
        collector.finish(Timestamp::default(), None)
    }

    fn offsets(batch: &Batch) -> Vec<Option<u64>> {
        let offset = |progress: Progress| match progress.change {
            Change::At(Position::File(position)) => position.offset,
            change => panic!("{change:?}"),
        };
        (0..batch.len()).map(|line| batch.progress_after(line).map(offset)).collect()
    }

    #[test]
    fn a_position_after_every_line() {
        let batch = batch(&[("a", 2), ("bc", 5), ("d", 9)]);
        assert_eq!(batch.lines().collect::<Vec<_>>(), ["a", "bc", "d"]);
        assert_eq!(offsets(&batch), [Some(2), Some(5), Some(9)]);
        assert_eq!(batch.progress(), batch.progress_after(2).as_ref());
        assert_eq!(batch.progress_after(3), None);
        assert_eq!(batch.line(3), None);
    }

    #[test]
    fn what_stands_before_a_line_tells_it_from_others() {
        let before = |lines: &[(&str, u64)]| {
            let batch = batch(lines);
            (0..lines.len()).map(|line| batch.content_before(line)).collect::<Vec<_>>()
        };
        let all = before(&[("a", 2), ("bc", 5), ("d", 7), ("e", 9)]);
        assert!(all[0] != all[1] && all[1] != all[2], "{all:?}");
        assert_eq!(all[2], all[3], "the offset tells what is far from the beginning");
        assert_eq!(before(&[("bc", 5), ("e", 9)]), [all[1], all[3]], "however it is cut into batches");
        assert_eq!(batch(&[]).content_before(0), None);
    }

    #[test]
    fn lines_made_of_one_count_together() {
        let batch = batch(&[("a b", 4), ("none", 9), ("c", 11)]);
        let progress = batch.progress().cloned();
        let split = batch.map_lines(|line| match line {
            "none" => Mapped::Lines(Vec::new()),
            "c" => Mapped::Same,
            line => Mapped::Lines(line.split(' ').map(Arc::from).collect()),
        });
        assert_eq!(split.lines().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(offsets(&split), [None, Some(4), Some(11)]);
        assert_eq!(split.progress().cloned(), progress);
        // What vanished is done all the same.
        let gone = split.map_lines(|_| Mapped::Lines(Vec::new()));
        assert!(gone.is_empty());
        assert_eq!(gone.progress().cloned(), progress);
    }
}

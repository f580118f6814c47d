//! Where reading has come to, in a form that survives a restart.
//!
//! A position belongs to a stream: one file path, one journal filter, one container. The key of a
//! stream stays the same from run to run. [`Positions`] is what a checkpoint file holds; the file
//! itself, and that it is written in one piece, is the business of whoever runs the sources.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Generations of a file that are over and are remembered all the same, per path: so that a copy or
/// a compressed one of them is known for what it is.
pub const MAX_FINISHED: usize = 16;

/// Bytes at the beginning of a file that tell it from others. Log lines carry a time, so a few of
/// them do.
pub(crate) const HEAD_BYTES: usize = 1024;

/// The first bytes of a file, which tell it from every other one with the same inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many bytes.
    pub length: u32,
    /// XXH3 of them.
    pub hash: u64,
}

/// How far one generation of a log file was read. A file that is rotated becomes another
/// generation of its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// Number of the generation; later ones have higher numbers.
    pub generation: u64,
    /// Where the file was found last. It may have been renamed since.
    pub path: String,
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// It is a gzip or zstd file; offsets and head are those of its content.
    pub packed: bool,
    /// Its first bytes.
    pub head: Head,
    /// Bytes of whole lines that are done.
    pub offset: u64,
    /// Last change of the file when this generation of it was first seen, in nanoseconds after 1970:
    /// files beside it that did not change since are older.
    pub since: i64,
    /// When the file was created, in nanoseconds after 1970, where the file system knows it: an inode
    /// may be given to another file.
    pub created: Option<i64>,
    /// When the generation was: `created`, unless its file is a copy by now.
    pub born: Option<i64>,
    /// What is still expected of it.
    pub state: FileState,
}

impl FilePosition {
    /// From where on a file with these first bytes, of which it has the beginning, goes on after it. Nothing: it does
    /// not. A few bytes may begin every generation, and one that has more of them is another.
    pub(crate) fn rest_in(&self, head: &[u8]) -> Option<u64> {
        let known = u64::from(self.head.length);
        let is_all = known < HEAD_BYTES as u64 && (head.len() as u64) > known;
        is_all.then_some(if self.offset <= known { self.offset } else { 0 })
    }
}

/// What is expected of a generation of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It is followed.
    Open,
    /// It was read to its end, and no more was written to it for a while.
    Finished,
    /// Its content is that of another generation; it is not read.
    Copy,
}

/// How far a stream was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Position {
    /// In a generation of a log file.
    File(FilePosition),
    /// All files of a glob were found once: those that come later are new.
    Watched,
    /// In the journal.
    Journal {
        /// The cursor of the last entry that is done.
        cursor: String,
    },
    /// In the log of a container.
    Docker {
        /// The time of the last line that is done, in nanoseconds after 1970.
        time: i64,
        /// Lines with that very time that are done.
        lines: u32,
    },
}

/// A step forward of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The key of the stream.
    pub key: std::sync::Arc<str>,
    /// What to note.
    pub change: Change,
}

/// What to note about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is done up to here.
    At(Position),
    /// It is gone for good.
    Forget,
}

/// Positions cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PositionError {
    /// They were written by a later version.
    #[error("the positions have format {found}, and this program reads up to {}", Positions::SCHEMA)]
    Newer {
        /// Their format.
        found: u32,
    },
}

/// Positions of all streams: the content of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Version of this format.
    pub schema: u32,
    /// By the keys of streams. Files have an entry for each generation, everything else has one.
    pub streams: BTreeMap<String, Vec<Position>>,
}

impl Default for Positions {
    fn default() -> Self {
        Positions { schema: Self::SCHEMA, streams: BTreeMap::new() }
    }
}

impl Positions {
    /// The format that this program writes.
    pub const SCHEMA: u32 = 1;

    /// Whether this program can read them.
    ///
    /// # Errors
    /// They are of a later format.
    pub fn check(&self) -> Result<(), PositionError> {
        if self.schema > Self::SCHEMA {
            return Err(PositionError::Newer { found: self.schema });
        }
        Ok(())
    }

    /// What is known about a stream; empty where nothing is.
    pub fn of(&self, key: &str) -> &[Position] {
        self.streams.get(key).map_or(&[], Vec::as_slice)
    }

    /// Notes a step.
    pub fn apply(&mut self, progress: &Progress) {
        match &progress.change {
            Change::Forget => {
                self.streams.remove(&*progress.key);
            }
            Change::At(Position::File(position)) => {
                let known = self.streams.entry(progress.key.to_string()).or_default();
                put_generation(known, position.clone());
            }
            Change::At(position) => {
                self.streams.insert(progress.key.to_string(), vec![position.clone()]);
            }
        }
    }
}

/// Replaces a generation, in the order of their numbers; the oldest finished ones go.
fn put_generation(known: &mut Vec<Position>, position: FilePosition) {
    let number = |entry: &Position| match entry {
        Position::File(file) => file.generation,
        _ => 0,
    };
    match known.binary_search_by_key(&position.generation, number) {
        Ok(at) => known[at] = Position::File(position),
        Err(at) => known.insert(at, Position::File(position)),
    }
    let is_finished =
        |entry: &Position| matches!(entry, Position::File(file) if file.state != FileState::Open);
    let mut extra = known.iter().filter(|entry| is_finished(entry)).count().saturating_sub(MAX_FINISHED);
    known.retain(|entry| {
        let goes = extra > 0 && is_finished(entry);
        extra -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(generation: u64, offset: u64, finished: bool) -> FilePosition {
        FilePosition {
            generation,
            path: "a.log".to_owned(),
            device: 1,
            inode: generation,
            packed: false,
            head: Head { length: 3, hash: 7 },
            offset,
            since: 0,
            created: None,
            born: None,
            state: if finished { FileState::Finished } else { FileState::Open },
        }
    }

    fn at(key: &str, position: Position) -> Progress {
        Progress { key: key.into(), change: Change::At(position) }
    }

    #[test]
    fn the_last_step_counts() {
        let mut positions = Positions::default();
        positions.apply(&at("j", Position::Journal { cursor: "a".to_owned() }));
        positions.apply(&at("j", Position::Journal { cursor: "b".to_owned() }));
        assert_eq!(positions.of("j"), [Position::Journal { cursor: "b".to_owned() }]);
        positions.apply(&at("f", Position::File(generation(1, 10, false))));
        positions.apply(&at("f", Position::File(generation(2, 5, false))));
        positions.apply(&at("f", Position::File(generation(1, 20, true))));
        let expected = [Position::File(generation(1, 20, true)), Position::File(generation(2, 5, false))];
        assert_eq!(positions.of("f"), expected);
        positions.apply(&Progress { key: "f".into(), change: Change::Forget });
        assert_eq!(positions.of("f"), []);
    }

    #[test]
    fn finished_generations_are_bounded() {
        let mut positions = Positions::default();
        positions.apply(&at("f", Position::File(generation(0, 1, false))));
        for number in 1..=40 {
            positions.apply(&at("f", Position::File(generation(number, 1, true))));
        }
        let numbers: Vec<u64> = positions
            .of("f")
            .iter()
            .filter_map(|position| match position {
                Position::File(file) => Some(file.generation),
                _ => None,
            })
            .collect();
        assert_eq!(numbers, std::iter::once(0).chain(25..=40).collect::<Vec<_>>());
    }

    #[test]
    fn the_format_is_stable() {
        let mut positions = Positions::default();
        positions.apply(&at("file::a.log", Position::File(generation(1, 10, false))));
        positions.apply(&at("journalctl:x", Position::Journal { cursor: "s=1".to_owned() }));
        positions.apply(&at("docker:c", Position::Docker { time: 5, lines: 2 }));
        let expected = concat!(
            r#"{"schema":1,"streams":{"#,
            r#""docker:c":[{"kind":"docker","time":5,"lines":2}],"#,
            r#""file::a.log":[{"kind":"file","generation":1,"path":"a.log","device":1,"inode":1,"#,
            r#""packed":false,"head":{"length":3,"hash":7},"offset":10,"since":0,"created":null,"born":null,"#,
            r#""state":"open"}],"#,
            r#""journalctl:x":[{"kind":"journal","cursor":"s=1"}]}}"#,
        );
        let text = serde_json::to_string(&positions).expect("it can be written");
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Positions>(&text).expect("it can be read"), positions);
        let newer = Positions { schema: 2, ..positions };
        assert_eq!(newer.check(), Err(PositionError::Newer { found: 2 }));
    }
}

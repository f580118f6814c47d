//! What goes into a live run, and what comes out of it.

use std::{net::IpAddr, sync::Arc};

use testudo_event::{Overflow, Timestamp};

use crate::replay::{LineOutcome, Source};

/// A source of live lines. Sources may appear at any time; two that are equal are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LiveSource {
    /// Its name, module and labels.
    pub source: Source,
    /// Whether its lines always happen at the time that they tell.
    pub time_machine: bool,
}

/// A batch of lines of one source, in order.
#[derive(Clone, Debug)]
pub struct LiveBatch {
    /// Given by the caller, who gets it back; ascending.
    pub number: u64,
    /// Where the lines come from.
    pub source: Arc<LiveSource>,
    /// When they arrived.
    pub arrival: Timestamp,
    /// The lines, without their ends, one after the other.
    pub text: String,
    /// Where each line ends in `text`.
    pub ends: Vec<u32>,
}

impl LiveBatch {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The line at a position; `""` where there is none.
    pub fn line(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let (Some(start), Some(end)) = (start, self.ends.get(at)) else { return "" };
        self.text.get(start as usize..*end as usize).unwrap_or("")
    }
}

/// What a live run is given, in order.
#[derive(Clone, Debug)]
pub enum Input {
    /// Lines.
    Lines(LiveBatch),
    /// It is this late: timed buckets overflow, silences end, what is over is forgotten.
    Tick(Timestamp),
    /// The state at this point of the order is to be saved, and given to [`LiveSink::checkpoint`].
    Checkpoint,
}

/// What became of a live line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'l> {
    /// The line.
    pub text: &'l str,
    /// How far it came.
    pub outcome: LineOutcome,
    /// The time that it tells, if any.
    pub time: Option<Timestamp>,
    /// `evt.Meta.source_ip` of a line that was parsed, if it is an address.
    pub source_ip: Option<IpAddr>,
    /// Whether any scenario wanted it.
    pub poured: bool,
    /// Whether it was poured at the time that it tells, not at its arrival.
    pub late: bool,
    /// Whether it was left out because of its address; see [`Live::set_skip`](super::Live::set_skip).
    pub skipped: bool,
}

/// What let a bucket run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A line.
    Line {
        /// The number of its batch.
        batch: u64,
        /// Its position in the batch.
        line: usize,
    },
    /// Its time was up.
    Time,
}

/// Takes what a live run finds, in the order of the lines. It is called on the thread of [`Live::run`](super::Live::run), between
/// lines, and should not wait.
#[expect(unused_variables, reason = "the names of the parameters document the hooks")]
pub trait LiveSink {
    /// A line that is not empty is done; its overflows follow.
    fn line(&mut self, batch: &LiveBatch, at: usize, seen: Seen<'_>) {}

    /// A scenario takes the line that was told last.
    fn poured(&mut self, scenario: &str) {}

    /// A bucket ran over. Whitelisted ones are told too.
    fn overflow(&mut self, overflow: &Overflow, spot: Spot);

    /// All lines of a batch are poured, and so are those of all batches before it.
    fn done(&mut self, batch: LiveBatch) {}

    /// The state after all batches that were [`LiveSink::done`], for [`Live::restore`](super::Live::restore).
    fn checkpoint(&mut self, state: Vec<u8>) {}
}

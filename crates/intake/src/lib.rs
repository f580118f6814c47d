//! Live sources of lines: files, the journal, syslog, containers, HTTP.
//!
//! The way of a line: a [`Source`] reads it and puts it into its [`Outlet`], which transforms and
//! counts it; out of the channel of [`start`] come [`Batch`]es. After every line stands a position
//! ([`Batch::progress_after`]); whoever has dealt with the line notes it in [`Positions`], and a
//! later start goes on from there. Sources run on their own: one that fails is started again and
//! harms no other, and all of them wait while the channel is full.
//!
//! This crate is an edge: it has the sockets, the timers and the clock of the machine. Files are
//! read by plain threads, everything else by tasks of the runtime.

mod batch;
pub mod config;
mod counters;
pub mod docker;
pub mod file;
pub mod http;
pub mod journal;
mod kind;
mod log;
mod outlet;
mod position;
mod source;
mod supervise;
pub mod syslog;
#[cfg(test)]
mod testing;
mod tls;
mod transform;

pub use batch::{BATCH_BYTES, Batch, Labels, MAX_LINE_BYTES, Stream};
pub use counters::{Count, Counters, MAX_COUNTED_STREAMS, OTHER_STREAMS};
pub use kind::Kind;
pub use outlet::{Outlet, Stopped};
pub use position::{
    Change, FilePosition, FileState, Head, MAX_FINISHED, Position, PositionError, Positions, Progress,
};
pub use source::{Mode, Run, Settings, Source, SourceError};
pub use supervise::{FIRST_PAUSE, Intake, LONGEST_PAUSE, Options, State, Status, start};
pub use transform::Transform;

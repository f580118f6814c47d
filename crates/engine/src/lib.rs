//! The engine: compiles a whole set of rules and runs it over lines.
//!
//! Loading does the work ([`Engine::new`]): names become slots of a [`Record`], filters become an
//! index, patterns become matchers that capture only what is read. Running is three steps for each
//! line: parse (stages and nodes), select (which scenarios, which keys; then the event is frozen),
//! pour (buckets, overflows). The first two depend on the line alone and run on all cores; the
//! third runs in the order of the lines. [`Replay`] puts them together for lines of the past, [`Live`]
//! for lines as they are written.
//!
//! Everything here is synchronous, and no result depends on the clock of the machine.

mod bytes;
pub mod codes;
mod counters;
mod crew;
mod data;
mod detect;
mod dispatch;
mod engine;
mod host;
mod keys;
mod lane;
mod line;
mod listed;
mod live;
mod parse;
mod reads;
mod record;
mod replay;
mod snapshot;
mod stash;
mod world;

pub use counters::Counters;
pub use data::{DataError, MAX_FILE_BYTES, NameCheck};
pub use engine::{Engine, Options};
pub use keys::{Keys, Space};
pub use line::Skip;
pub use listed::{ListBuilder, ListTable, Listed};
pub use live::{
    Board, Histogram, Input, Live, LiveBatch, LiveSink, LiveSource, NodeTallies, OTHER_SOURCES,
    PARSING_BOUNDS, POURING_BOUNDS, Restored, ScenarioTallies, Seen, SourceTallies, Spot, StateError,
    Tallies,
};
pub use parse::{NoObserver, Node, Observer, Step};
pub use record::{Dump, EventKind, Mode, PlainValue, Record};
pub use replay::{Batch, Line, LineOutcome, Replay, Sink, Source};
pub use world::{ASN_DATABASE, CITY_DATABASE, DataSource, MissingData, NoData, ReverseDns, World};

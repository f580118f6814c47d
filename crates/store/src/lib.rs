//! What the local API knows: the decisions in memory, with a change log in the order of commits, and the
//! database behind them.
//!
//! [`Index`] answers every question about decisions and never waits for anything. The database keeps
//! everything through crashes. [`Store`] joins them: a change is in the database before it is in the index,
//! and in the index before it is acknowledged.
//!
//! Nothing here reads a clock: every function that needs the time takes it, in milliseconds since 1970.

mod db;
mod error;
pub mod index;
mod place;
mod records;
mod server;
mod sql;
mod store;
mod upstream;

pub use db::alerts::AlertFilter;
pub use error::StoreError;
pub use index::{
    Cursor, DecisionRef, Filter, Index, Page, Side, Since, Stream, StreamOptions, View, label::LabelTexts,
};
pub use place::{BadValue, Target};
pub use records::{
    Added, Allowlist, AllowlistItem, Bouncer, Machine, Metrics, NewAlert, NewDecision, Os, StoredAlert,
    StoredDecision,
};
pub use server::{BadTlsMode, Server, ServerTls, TlsMode};
pub use sql::{SqlError, SqlErrorKind};
pub use store::{
    AlertPage, Allowed, Bouncers, FlushPolicy, Flushed, Imported, Location, Machines, Store, StoreOptions,
    Watch, WatchNews,
};

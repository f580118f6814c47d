//! What the database holds, as its users see it.

use testudo_event::{Alert, Decision};

use crate::index::Cursor;
use crate::place::BadValue;

/// A decision that is to be stored with its alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDecision {
    /// Its identity; 0 for none.
    pub uuid: u128,
    /// The decision. It is in force until its `until`; whether it is simulated is said by its own flag.
    pub decision: Decision,
}

/// An alert that is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// Its identity; empty for none. An alert whose identity is known is not stored again.
    pub uuid: String,
    /// The number of the machine that reported it.
    pub machine: Option<i64>,
    /// The alert. Its number, identity, machine, creation time and decisions are not looked at.
    pub alert: Alert,
    /// Its decisions.
    pub decisions: Vec<NewDecision>,
}

/// What became of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Its number. `None` when it had decisions, and all of them were dropped: then it was not stored.
    pub id: Option<i64>,
    /// Whether an alert of its identity had been stored before, even if that was deleted since: then this
    /// one is left out, with its decisions, and the number is that of the first.
    pub known: bool,
    /// Why decisions were dropped.
    pub dropped: Vec<BadValue>,
}

/// A decision as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDecision {
    /// Its number.
    pub id: i64,
    /// The number of its alert, unless that was deleted.
    pub alert: Option<i64>,
    /// Its identity; 0 for none.
    pub uuid: u128,
    /// The scope of `value`.
    pub scope: String,
    /// The address, range, user … as it was received.
    pub value: String,
    /// `ban`, `captcha`, ….
    pub kind: String,
    /// Who decided.
    pub origin: String,
    /// The scenario or list behind it.
    pub scenario: String,
    /// Whether it is only for show.
    pub simulated: bool,
    /// When it ends, or was ended before its time; in milliseconds since 1970.
    pub end_ms: i64,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// An alert as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    /// The alert with its number, identity, machine and creation time, without decisions.
    pub alert: Alert,
    /// When it was stored, in milliseconds since 1970.
    pub created_ms: i64,
    /// Its decisions, if they were asked for.
    pub decisions: Vec<StoredDecision>,
}

/// The system that a client runs on, as it told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Os {
    /// Its name.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Its version.
    pub version: String,
}

/// A machine: an agent or a tool that logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its number, given by the store.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The hash of its password.
    pub password: String,
    /// `password` or `tls`.
    pub auth_type: String,
    /// Whether it may log in.
    pub validated: bool,
    /// The address from which it was last seen.
    pub ip: String,
    /// Its version.
    pub version: String,
    /// The system that it runs on.
    pub os: Os,
    /// Its features, separated by commas.
    pub feature_flags: String,
    /// Its scenarios, separated by commas.
    pub scenarios: String,
    /// The items of its hub, JSON.
    pub hub_state: String,
    /// Its kinds of sources, JSON.
    pub datasources: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
    /// When it last sent alerts.
    pub last_push_ms: Option<i64>,
    /// When it last sent a heartbeat.
    pub last_heartbeat_ms: Option<i64>,
}

/// A bouncer: a key, or a certificate's name, at one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bouncer {
    /// Its number, given by the store.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The hash of its key.
    pub key_hash: String,
    /// `api-key` or `tls`.
    pub auth_type: String,
    /// Whether it came to be because a key was used from another address.
    pub auto_created: bool,
    /// The address from which it asks; empty before the first time.
    pub ip: String,
    /// What it is.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// The system that it runs on.
    pub os: Os,
    /// Its features, separated by commas.
    pub feature_flags: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
    /// When it last asked for anything.
    pub last_pull_ms: Option<i64>,
    /// Its position in the stream.
    pub stream: Option<Cursor>,
}

/// An allowlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist {
    /// Its number, given by the store.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its identity at a console; empty for none.
    pub console_id: String,
    /// Whether it is managed by a console.
    pub from_console: bool,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
    /// Its items, those that have expired too.
    pub items: Vec<AllowlistItem>,
}

/// An item of an allowlist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowlistItem {
    /// An address or a range.
    pub value: String,
    /// Why it is there.
    pub description: String,
    /// When it ends; `None` for never.
    pub expires_ms: Option<i64>,
    /// When it was added.
    pub created_ms: i64,
}

/// A report of usage metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Its number, given by the store.
    pub id: i64,
    /// `LP` for agents, `RC` for bouncers.
    pub kind: String,
    /// The name of the machine or bouncer.
    pub sender: String,
    /// When it came.
    pub received_ms: i64,
    /// When it was passed on.
    pub pushed_ms: Option<i64>,
    /// The report, JSON.
    pub payload: String,
}

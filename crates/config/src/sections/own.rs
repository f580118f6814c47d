//! `testudo`: what other daemons do not have. Everything in it may be left out.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use testudo_event::net::Prefix;

use crate::value;

/// The section `testudo` as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Own {
    /// Positions, buckets and alerts on their way; `testudo.state` in the data folder by default,
    /// filled in.
    pub state_file: Option<PathBuf>,
    /// How often they are written.
    #[serde(deserialize_with = "value::duration")]
    pub checkpoint_interval: Duration,
    /// The rules in the binary are used; none: when nothing of a hub is installed, see
    /// [`crate::Config::own_rules`].
    pub own_rules: Option<bool>,
    /// Where the hub of rules is: a folder, or the address of a server; none: as the section `cscli` says.
    pub hub: Option<String>,
    /// Who is never banned.
    pub protect: Protect,
    /// How far a rule may reach.
    pub blast_radius: BlastRadius,
    /// What happens when lines come faster than they are read.
    pub overload: Overload,
    /// Beginnings of the user agents whose answers are compressed when they ask for it.
    pub compress_for: Vec<String>,
    /// How many threads parse; none: one for each core.
    pub workers: Option<usize>,
    /// What buckets may take, in bytes (`256MiB`); none: the engine's own limit.
    #[serde(deserialize_with = "value::size")]
    pub bucket_memory: Option<u64>,
    /// Alerts that could not be stored; `dead-letters.jsonl` in the data folder by default, filled in.
    pub dead_letters: Option<PathBuf>,
    /// The most events in an alert; none: as many as the rule keeps.
    pub max_alert_events: Option<usize>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            state_file: None,
            checkpoint_interval: Duration::from_secs(2),
            own_rules: None,
            hub: None,
            protect: Protect::default(),
            blast_radius: BlastRadius::default(),
            overload: Overload::default(),
            compress_for: Vec::new(),
            workers: None,
            bucket_memory: None,
            dead_letters: None,
            max_alert_events: None,
        }
    }
}

/// `testudo.protect`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protect {
    /// Loopback, own addresses, gateways and resolvers are never banned.
    pub enabled: bool,
    /// Nor are these.
    #[serde(deserialize_with = "value::prefixes")]
    pub never_ban: Vec<Prefix>,
    /// Nor are addresses with a login session that was authenticated.
    pub sessions: bool,
}

impl Default for Protect {
    fn default() -> Self {
        Self { enabled: true, never_ban: Vec::new(), sessions: true }
    }
}

/// `testudo.blast_radius`: a rule that would ban more of the good clients is stopped.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlastRadius {
    /// The share of them, from 0 to 1.
    pub share: f64,
    /// Fewer than this many stop no rule.
    pub least: u64,
    /// How long a client counts as one after its last good line.
    #[serde(deserialize_with = "value::duration")]
    pub window: Duration,
}

impl Default for BlastRadius {
    fn default() -> Self {
        Self { share: 0.02, least: 10, window: Duration::from_hours(1) }
    }
}

/// `testudo.overload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overload {
    /// A source that is further behind skips forward, and says what it skipped; none: it never does.
    #[serde(deserialize_with = "value::optional_duration")]
    pub skip_after: Option<Duration>,
}

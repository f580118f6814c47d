//! `why`, `status`, `unban`; the hub; and what stands for services that a node of ours does not use.

use clap::{Args, Subcommand};

/// Arguments that nobody looks at.
#[derive(Clone, Debug, Args)]
pub struct Unread {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<String>,
}

/// Arguments of `why`.
#[derive(Clone, Debug, Args)]
pub struct Why {
    /// An address, a range, or the value of another scope
    #[arg(value_name = "ADDRESS")]
    pub value: String,
}

/// Flags of `status`.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Where the metrics of the daemon are
    #[arg(short, long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub url: String,
}

/// Arguments of `unban`.
#[derive(Clone, Debug, Args)]
pub struct Unban {
    /// Addresses, ranges, or values of other scopes
    #[arg(value_name = "ADDRESS", required_unless_present = "all")]
    pub values: Vec<String>,
    /// End all decisions
    #[arg(long, conflicts_with = "values")]
    pub all: bool,
}

/// What can be done with items of one kind.
#[derive(Clone, Debug, Subcommand)]
pub enum ItemsVerb {
    /// List items
    List(ListItems),
    /// Show an item
    Inspect(ItemNames),
    /// Install items
    Install(Unread),
    /// Remove items
    #[command(aliases = ["delete", "rm"])]
    Remove(Unread),
    /// Upgrade items
    Upgrade(Unread),
}

/// Arguments of `list`.
#[derive(Clone, Debug, Default, Args)]
pub struct ListItems {
    /// Only these
    #[arg(value_name = "ITEM")]
    pub names: Vec<String>,
    /// With those that are not installed
    #[arg(short, long)]
    pub all: bool,
}

/// Names of items.
#[derive(Clone, Debug, Args)]
pub struct ItemNames {
    /// Names of items
    #[arg(value_name = "ITEM", required = true)]
    pub names: Vec<String>,
    /// Leave out what was counted
    #[arg(long)]
    pub no_metrics: bool,
}

/// What can be done with the hub.
#[derive(Clone, Debug, Subcommand)]
pub enum HubVerb {
    /// List items of all kinds
    List(ListHub),
    /// Fetch the index
    Update(Unread),
    /// Upgrade all items
    Upgrade(Unread),
    /// Show the branch
    Branch,
    /// Show the kinds of items
    Types,
}

/// Flags of `hub list`.
#[derive(Clone, Debug, Default, Args)]
pub struct ListHub {
    /// With those that are not installed
    #[arg(short, long)]
    pub all: bool,
}

/// What can be done about the central API.
#[derive(Clone, Debug, Subcommand)]
pub enum CapiVerb {
    /// Register there
    Register(Unread),
    /// Tell whether it is used
    Status,
}

/// What can be done about orders from the console.
#[derive(Clone, Debug, Subcommand)]
pub enum PapiVerb {
    /// Tell whether they are taken
    Status,
    /// Fetch them
    Sync,
}

/// What can be done about the console.
#[derive(Clone, Debug, Subcommand)]
pub enum ConsoleVerb {
    /// Enrol there
    Enroll(Unread),
    /// Share more
    Enable(Unread),
    /// Share less
    Disable(Unread),
    /// Show what would be shared
    Status,
}

/// What can be done about notifications.
#[derive(Clone, Debug, Subcommand)]
pub enum NotificationsVerb {
    /// List what is configured
    List,
    /// Show one
    Inspect(super::Name),
    /// Send a notification to try it
    Test(Unread),
    /// Send a notification about an alert again
    Reinject(Unread),
}

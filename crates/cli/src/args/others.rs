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
    Install(InstallItems),
    /// Remove items
    #[command(aliases = ["delete", "rm"])]
    Remove(RemoveItems),
    /// Upgrade items
    Upgrade(UpgradeItems),
}

/// How changes of the installation are made.
#[derive(Clone, Debug, Default, Args)]
pub struct Changes {
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Show what is to be done, and ask
    #[arg(short, long)]
    pub interactive: bool,
    /// Even what was changed on this machine, or is needed
    #[arg(long)]
    pub force: bool,
    /// Where the hub is: a folder, such as a checkout, the address of a server, or `embedded` for what this program
    /// carries; else as configured
    #[arg(long, value_name = "FOLDER|URL", default_value = "", hide_default_value = true)]
    pub source: String,
}

/// Arguments of `install`.
#[derive(Clone, Debug, Args)]
pub struct InstallItems {
    /// Names of items
    #[arg(value_name = "ITEM", required = true)]
    pub names: Vec<String>,
    /// Fetch them, and do not use them yet
    #[arg(short, long)]
    pub download_only: bool,
    /// Go on with the others where one fails
    #[arg(long)]
    pub ignore: bool,
    /// How.
    #[command(flatten)]
    pub changes: Changes,
}

/// Arguments of `remove`.
#[derive(Clone, Debug, Args)]
pub struct RemoveItems {
    /// Names of items
    #[arg(value_name = "ITEM", required_unless_present = "all")]
    pub names: Vec<String>,
    /// All of this kind
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Delete the hub's files, too
    #[arg(long)]
    pub purge: bool,
    /// How.
    #[command(flatten)]
    pub changes: Changes,
}

/// Arguments of `upgrade`.
#[derive(Clone, Debug, Args)]
pub struct UpgradeItems {
    /// Names of items
    #[arg(value_name = "ITEM", required_unless_present = "all")]
    pub names: Vec<String>,
    /// All of this kind
    #[arg(short, long, conflicts_with = "names")]
    pub all: bool,
    /// How.
    #[command(flatten)]
    pub changes: Changes,
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
    /// Show what was changed on this machine: against the version from which the file came or, where that is not known,
    /// the latest one. `--diff=latest`: against that in any case
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "original",
        value_parser = ["original", "latest"]
    )]
    pub diff: Option<String>,
    /// Show it the other way round: what would undo the change
    #[arg(long, requires = "diff")]
    pub rev: bool,
}

/// What can be done with the hub.
#[derive(Clone, Debug, Subcommand)]
pub enum HubVerb {
    /// List items of all kinds
    List(ListHub),
    /// Search names and descriptions
    Search(SearchHub),
    /// Install items of any kind
    Install(InstallItems),
    /// Remove items of any kind
    Remove(RemoveItems),
    /// Show an item of any kind
    Inspect(ItemNames),
    /// Fetch the index
    Update(UpdateHub),
    /// Upgrade all items, and fetch their data files anew
    Upgrade(UpgradeHub),
    /// Show the branch
    Branch,
    /// Show the kinds of items
    Types,
}

/// Arguments of `hub search`.
#[derive(Clone, Debug, Args)]
pub struct SearchHub {
    /// Words that are all in the name or the description
    #[arg(value_name = "TERM", required = true)]
    pub terms: Vec<String>,
}

/// Flags of `hub update`.
#[derive(Clone, Debug, Args)]
pub struct UpdateHub {
    /// The index carries the items' files; it does so anyway
    #[arg(long)]
    pub with_content: bool,
    /// Take an index that is older than the present one
    #[arg(long)]
    pub force: bool,
    /// Where the hub is: a folder, such as a checkout, or the address of a server; else as configured
    #[arg(long, value_name = "FOLDER|URL", default_value = "", hide_default_value = true)]
    pub source: String,
}

/// Flags of `hub upgrade`.
#[derive(Clone, Debug, Args)]
pub struct UpgradeHub {
    /// How.
    #[command(flatten)]
    pub changes: Changes,
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

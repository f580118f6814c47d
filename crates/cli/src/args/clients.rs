//! `bouncers` and `machines`.

use clap::{Args, Subcommand};

/// A name.
#[derive(Clone, Debug, Args)]
pub struct Name {
    /// Its name
    pub name: String,
}

/// What can be done with bouncers.
#[derive(Clone, Debug, Subcommand)]
pub enum BouncersVerb {
    /// List bouncers
    List,
    /// Add a bouncer, and show its key this once
    Add(AddBouncer),
    /// Delete bouncers, and what came to be from their keys
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteClients),
    /// Delete bouncers that do not ask any more
    Prune(PruneBouncers),
    /// Show a bouncer
    Inspect(Name),
}

/// Arguments of `bouncers add`.
#[derive(Clone, Debug, Args)]
pub struct AddBouncer {
    /// Its name
    pub name: String,
    /// Its key, instead of a new one
    #[arg(short, long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub key: String,
}

/// Arguments of `bouncers delete` and `machines delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteClients {
    /// Names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Pass over names that do not exist
    #[arg(long)]
    pub ignore_missing: bool,
}

/// Flags of `bouncers prune`.
#[derive(Clone, Debug, Args)]
pub struct PruneBouncers {
    /// How long they have not asked
    #[arg(short, long, value_name = "DURATION", default_value = "60m")]
    pub duration: String,
    /// Do not ask before
    #[arg(long)]
    pub force: bool,
}

/// What can be done with machines.
#[derive(Clone, Debug, Subcommand)]
pub enum MachinesVerb {
    /// List machines
    List,
    /// Add a machine, and write its credentials
    Add(AddMachine),
    /// Delete machines; their alerts stay
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteClients),
    /// Let a machine in that has registered
    Validate(Name),
    /// Delete machines that give no sign of life
    Prune(PruneMachines),
    /// Show a machine
    Inspect(InspectMachine),
}

/// Arguments of `machines add`.
#[derive(Clone, Debug, Args)]
pub struct AddMachine {
    /// Its name
    pub name: Option<String>,
    /// Make a password, and a name if there is none
    #[arg(short, long)]
    pub auto: bool,
    /// Ask for the password
    #[arg(short, long)]
    pub interactive: bool,
    /// The password, of at most 72 characters
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub password: String,
    /// Where the machine finds the local API
    #[arg(short, long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub url: String,
    /// Where its credentials are written; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub file: String,
    /// Replace a machine of this name, and the file
    #[arg(long)]
    pub force: bool,
}

/// Flags of `machines prune`.
#[derive(Clone, Debug, Args)]
pub struct PruneMachines {
    /// How long they have given no sign
    #[arg(short, long, value_name = "DURATION", default_value = "10m")]
    pub duration: String,
    /// Only those that were never let in
    #[arg(long)]
    pub not_validated_only: bool,
    /// Do not ask before
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `machines inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectMachine {
    /// Its name
    pub name: String,
    /// Show the items of its hub
    #[arg(short = 'H', long)]
    pub hub: bool,
}

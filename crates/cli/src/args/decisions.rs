//! `decisions` and `allowlists`.

use clap::{Args, Subcommand};

/// What can be done with decisions.
#[derive(Clone, Debug, Subcommand)]
pub enum DecisionsVerb {
    /// List decisions in force
    List(ListDecisions),
    /// Decide by hand
    Add(AddDecision),
    /// End decisions before their time
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteDecisions),
    /// Decide about everything in a file
    Import(ImportDecisions),
}

/// Flags of `decisions list`.
#[derive(Clone, Debug, Default, Args)]
pub struct ListDecisions {
    /// With those of lists of the community and others
    #[arg(short, long)]
    pub all: bool,
    /// Only those whose alert is younger than this, such as 4h or 30d
    #[arg(long, value_name = "AGE", default_value = "", hide_default_value = true)]
    pub since: String,
    /// Only those whose alert is older than this, such as 4h or 30d
    #[arg(long, value_name = "AGE", default_value = "", hide_default_value = true)]
    pub until: String,
    /// Only those of this type, such as ban or captcha
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    pub kind: String,
    /// Only those of this scope, such as ip or range
    #[arg(long, value_name = "SCOPE", default_value = "", hide_default_value = true)]
    pub scope: String,
    /// Only those of this origin, such as cscli, crowdsec, lists
    #[arg(long, value_name = "ORIGIN", default_value = "", hide_default_value = true)]
    pub origin: String,
    /// Only those about this value
    #[arg(short, long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    pub value: String,
    /// Only those of this scenario
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub scenario: String,
    /// Only those that cover this address
    #[arg(short, long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub ip: String,
    /// Only those that cover this range
    #[arg(short, long, value_name = "RANGE", default_value = "", hide_default_value = true)]
    pub range: String,
    /// How many alerts at most; 0 for all
    #[arg(short, long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: u64,
    /// Without those that are simulated
    #[arg(long = "no-simu")]
    pub no_simulated: bool,
    /// With the machine that reported each
    #[arg(short, long)]
    pub machine: bool,
    /// Those inside the range, instead of those that cover it
    #[arg(long)]
    pub contained: bool,
}

/// Flags of `decisions add`.
#[derive(Clone, Debug, Default, Args)]
pub struct AddDecision {
    /// An address: for --scope Ip --value IP
    #[arg(short, long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub ip: String,
    /// A range: for --scope Range --value RANGE
    #[arg(short, long, value_name = "RANGE", default_value = "", hide_default_value = true)]
    pub range: String,
    /// How long, such as 4h or 30d
    #[arg(short, long, value_name = "DURATION", default_value = "4h")]
    pub duration: String,
    /// What it is about
    #[arg(short, long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    pub value: String,
    /// What the value is, such as Ip, Range, Country, username
    #[arg(long, value_name = "SCOPE", default_value = "Ip")]
    pub scope: String,
    /// Why
    #[arg(short = 'R', long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    /// What is done, such as ban, captcha, throttle
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "ban")]
    pub kind: String,
    /// Even if an allowlist covers it
    #[arg(short = 'B', long)]
    pub bypass_allowlist: bool,
}

/// Flags of `decisions delete`.
#[derive(Clone, Debug, Default, Args)]
pub struct DeleteDecisions {
    /// Those that cover this address
    #[arg(short, long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub ip: String,
    /// Those that cover this range
    #[arg(short, long, value_name = "RANGE", default_value = "", hide_default_value = true)]
    pub range: String,
    /// Those of this type
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    pub kind: String,
    /// Those about this value
    #[arg(short, long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    pub value: String,
    /// Those of this scenario
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub scenario: String,
    /// Those of this origin
    #[arg(long, value_name = "ORIGIN", default_value = "", hide_default_value = true)]
    pub origin: String,
    /// The one with this number
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub id: String,
    /// All
    #[arg(long)]
    pub all: bool,
    /// Those inside the range, instead of those that cover it
    #[arg(long)]
    pub contained: bool,
}

/// Flags of `decisions import`.
#[derive(Clone, Debug, Args)]
pub struct ImportDecisions {
    /// The file; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub input: String,
    /// How long, where the file does not say
    #[arg(short, long, value_name = "DURATION", default_value = "4h")]
    pub duration: String,
    /// The scope, where the file does not say
    #[arg(long, value_name = "SCOPE", default_value = "Ip")]
    pub scope: String,
    /// Why, where the file does not say
    #[arg(short = 'R', long, value_name = "TEXT", default_value = "manual")]
    pub reason: String,
    /// What is done, where the file does not say
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "ban")]
    pub kind: String,
    /// How many are sent at once; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub batch: usize,
    /// csv, json or values (one a line)
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    pub format: String,
}

/// What can be done with allowlists.
#[derive(Clone, Debug, Subcommand)]
pub enum AllowlistsVerb {
    /// Make an allowlist (needs the database)
    Create(CreateAllowlist),
    /// List allowlists
    List,
    /// Delete an allowlist (needs the database)
    #[command(aliases = ["rm"])]
    Delete(super::Name),
    /// Allow addresses and ranges; decisions about them end (needs the database)
    Add(AddAllowed),
    /// Allow everything in a file (needs the database)
    Import(ImportAllowed),
    /// No longer allow addresses and ranges (needs the database)
    Remove(Values),
    /// Show an allowlist with its items
    Inspect(super::Name),
    /// Tell whether addresses and ranges are allowed
    Check(CheckValues),
}

/// Arguments of `allowlists create`.
#[derive(Clone, Debug, Args)]
pub struct CreateAllowlist {
    /// Its name
    pub name: String,
    /// What it is for
    #[arg(short, long, value_name = "TEXT", required = true)]
    pub description: String,
}

/// Arguments of `allowlists add`.
#[derive(Clone, Debug, Args)]
pub struct AddAllowed {
    /// The allowlist
    pub name: String,
    /// Addresses and ranges
    #[arg(value_name = "VALUE", required = true)]
    pub values: Vec<String>,
    /// For how long, such as 7d
    #[arg(short, long, value_name = "DURATION", default_value = "", hide_default_value = true)]
    pub expiration: String,
    /// Why
    #[arg(short = 'd', long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub comment: String,
}

/// Arguments of `allowlists import`.
#[derive(Clone, Debug, Args)]
pub struct ImportAllowed {
    /// The allowlist
    pub name: String,
    /// A CSV file with the columns value, expiration, comment; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub input: String,
}

/// Arguments of `allowlists remove`.
#[derive(Clone, Debug, Args)]
pub struct Values {
    /// The allowlist
    pub name: String,
    /// Addresses and ranges
    #[arg(value_name = "VALUE", required = true)]
    pub values: Vec<String>,
}

/// Arguments of `allowlists check`.
#[derive(Clone, Debug, Args)]
pub struct CheckValues {
    /// Addresses and ranges
    #[arg(value_name = "VALUE", required = true)]
    pub values: Vec<String>,
}

//! `alerts`.

use clap::{Args, Subcommand};

/// What can be done with alerts.
#[derive(Clone, Debug, Subcommand)]
pub enum AlertsVerb {
    /// List alerts, the newest first
    List(ListAlerts),
    /// Show everything about alerts
    Inspect(InspectAlerts),
    /// Delete alerts; their decisions end
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteAlerts),
    /// Delete old alerts (needs the database)
    Flush(FlushAlerts),
}

/// Flags of `alerts list`.
#[derive(Clone, Debug, Default, Args)]
pub struct ListAlerts {
    /// With those about lists of the community and others
    #[arg(short, long)]
    pub all: bool,
    /// Only those older than this, such as 4h or 30d
    #[arg(long, value_name = "AGE", default_value = "0s")]
    pub until: String,
    /// Only those younger than this, such as 4h or 30d
    #[arg(long, value_name = "AGE", default_value = "0s")]
    pub since: String,
    /// Only those about this address
    #[arg(short, long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub ip: String,
    /// Only those of this scenario
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub scenario: String,
    /// Only those about this range
    #[arg(short, long, value_name = "RANGE", default_value = "", hide_default_value = true)]
    pub range: String,
    /// Only those with decisions of this type, such as ban
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    pub kind_of_decision: String,
    /// Only those of this scope, such as ip or range
    #[arg(long, value_name = "SCOPE", default_value = "", hide_default_value = true)]
    pub scope: String,
    /// Only those about this value
    #[arg(short, long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    pub value: String,
    /// Only those with decisions of this origin, such as cscli or lists
    #[arg(long, value_name = "ORIGIN", default_value = "", hide_default_value = true)]
    pub origin: String,
    /// Only those of this kind, such as crowdsec, waf, cscli
    #[arg(long, value_name = "KIND", default_value = "", hide_default_value = true)]
    pub kind: String,
    /// Those whose decisions lie inside the range, instead of those that cover it
    #[arg(long)]
    pub contained: bool,
    /// With the machine that reported each
    #[arg(short, long)]
    pub machine: bool,
    /// How many at most; 0 for all
    #[arg(short, long, value_name = "NUMBER", default_value_t = 50)]
    pub limit: u64,
}

/// Arguments of `alerts inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectAlerts {
    /// Numbers of alerts
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// With all events
    #[arg(short, long)]
    pub details: bool,
}

/// Flags of `alerts delete`.
#[derive(Clone, Debug, Default, Args)]
pub struct DeleteAlerts {
    /// Those of this scope
    #[arg(long, value_name = "SCOPE", default_value = "", hide_default_value = true)]
    pub scope: String,
    /// Those about this value
    #[arg(short, long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    pub value: String,
    /// Those of this scenario
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub scenario: String,
    /// Those about this address
    #[arg(short, long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub ip: String,
    /// Those about this range
    #[arg(short, long, value_name = "RANGE", default_value = "", hide_default_value = true)]
    pub range: String,
    /// The one with this number
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub id: String,
    /// All
    #[arg(short, long)]
    pub all: bool,
    /// Those whose decisions lie inside the range, instead of those that cover it
    #[arg(long)]
    pub contained: bool,
}

/// Flags of `alerts flush`.
#[derive(Clone, Debug, Args)]
pub struct FlushAlerts {
    /// How many alerts may stay
    #[arg(long, value_name = "NUMBER", default_value_t = 5000)]
    pub max_items: u64,
    /// How old they may be
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub max_age: String,
}

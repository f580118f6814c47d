//! `cscli`: the commands.

use serde::Deserialize;

/// How a command writes its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Tables.
    #[default]
    Human,
    /// JSON.
    Json,
    /// Comma-separated values.
    Raw,
}

/// When a command uses colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

choice!(Output, "unknown output format", { "human" => Human, "json" => Json, "raw" => Raw });
choice!(Color, "unknown color choice", { "auto" => Auto, "yes" => Yes, "no" => No });

/// The section `cscli`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// How results are written.
    pub output: Output,
    /// When colours are used.
    pub color: Color,
    /// The branch of the hub; empty: that of this version.
    pub hub_branch: String,
    /// The index is fetched with the contents of items.
    pub hub_with_content: bool,
    /// Where the metrics of the daemon are.
    pub prometheus_uri: Option<String>,
    /// Where the hub is: the branch and the file take the places of the two `%s`.
    #[serde(rename = "__hub_url_template__")]
    pub hub_url_template: String,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            output: Output::default(),
            color: Color::default(),
            hub_branch: String::new(),
            hub_with_content: false,
            prometheus_uri: None,
            hub_url_template: "https://cdn-hub.crowdsec.net/crowdsecurity/%s/%s".to_owned(),
        }
    }
}

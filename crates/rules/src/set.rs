//! A whole set of rules, as a hub, an installation or the binary's own content gives it.

use std::{collections::HashMap, sync::Arc};

use crate::plan::{Context, Parser, Scenario};

/// Which published version of a hub item a file is; both empty for files of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Version in the hub's index.
    pub version: Arc<str>,
    /// SHA-256 of the file, in hex.
    pub hash: Arc<str>,
}

/// Everything that runs together. Each list is in running order: by path, then by document.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// Documents of parser files.
    pub parsers: Vec<Parser>,
    /// Documents of postoverflow files.
    pub postoverflows: Vec<Parser>,
    /// Documents of scenario files.
    pub scenarios: Vec<Scenario>,
    /// Alert context, merged.
    pub context: Context,
    /// Pattern definitions of an installation (name, text), in order; those of rules come after them.
    pub patterns: Vec<(String, String)>,
    /// Versions of scenario files, by their path.
    pub origins: HashMap<String, Origin>,
}

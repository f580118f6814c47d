//! The rules of the daemon: those of an installation, or those that the binary carries.

use std::collections::BTreeMap;
use std::sync::Arc;

use testudo_config::Config;
use testudo_engine::{Engine, Listed, Options};
use testudo_event::YearClock;
use testudo_hub::{DataFolders, Hub, Selection};
use testudo_rules::{Diagnostic, set::RuleSet};
use testudo_wire::metrics::HubItem;

use crate::agent::{NameMemory, Resolve};
use crate::clock;

/// Rules with what is wrong with them.
pub type OwnRules = fn() -> (RuleSet, Vec<Diagnostic>);

/// What the rules need besides the configuration.
#[derive(Clone)]
pub struct RuleSources {
    /// The rules that the binary carries.
    pub own: OwnRules,
    /// Finds out the names of addresses, where rules want them; none: nobody is asked.
    pub resolve: Option<Resolve>,
}

/// What the rules are, by kinds of items, for reports to the API.
pub(crate) type Items = BTreeMap<String, Vec<HubItem>>;

fn installed(config: &Config) -> (RuleSet, Vec<Diagnostic>, Items) {
    let mut selection = Selection::default();
    // One beside the rules is found without our help, and told about when it is damaged.
    let hub = Hub::open(&config.paths.hub_dir).ok();
    if let Err(error) = selection.directory(&config.paths.config_dir, hub.as_ref()) {
        tracing::warn!(%error, hint = error.hint(), "no rules are installed");
    }
    let loaded = selection.load();
    let mut items = Items::new();
    for file in &loaded.files {
        let (name, status) = match &file.item {
            Some(name) => (name.clone(), "official"),
            None => (file.installed.clone(), "custom"),
        };
        let item = HubItem { name, status: status.to_owned(), version: file.origin.version.to_string() };
        items.entry(file.kind.folder().to_owned()).or_default().push(item);
    }
    (loaded.rules, loaded.diagnostics, items)
}

/// Loads and compiles the rules. What cannot be used is told, and left out.
pub(crate) fn engine(
    config: &Config,
    sources: &RuleSources,
    names: &Arc<NameMemory>,
    listed: &Arc<Listed>,
) -> (Engine, Vec<Diagnostic>, Items) {
    let (rules, mut diagnostics, items) = if config.own_rules() {
        if config.has_installed_rules() {
            tracing::warn!(
                "the rules in {} are not used: `testudo.own_rules` is true, so those of this program are; \
                 leave the key out to use what is installed",
                config.paths.config_dir.display()
            );
        }
        let (rules, diagnostics) = (sources.own)();
        (rules, diagnostics, Items::new())
    } else {
        installed(config)
    };
    let mut options = Options::new(YearClock::NotAfter(clock::now()));
    if let Some(bytes) = config.own.bucket_memory {
        options.bucket_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    let folders = DataFolders::new(&[&config.paths.data_dir]);
    let (mut engine, more) = Engine::new(&rules, &folders, options);
    diagnostics.extend(more);
    if sources.resolve.is_some() {
        engine.world_mut().set_reverse_dns(Arc::clone(names) as _);
    }
    engine.world_mut().set_listed(Arc::clone(listed));
    (engine, diagnostics, items)
}

//! Changing what is installed: install, remove, upgrade, update.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testudo_config::Output;
use testudo_hub::install::{
    Carried, FolderSource, InstallError, Installation, Lock, Plan, Remove, Source, SourceError, Step, Upgrade,
};
use testudo_hub::{Hub, HubError, Item, ItemKind};
use testudo_rules::plan::DataFile;

use super::web::WebSource;
use crate::args::{Changes, InstallItems, RemoveItems, UpdateHub};
use crate::context::Context;
use crate::failure::{Done, Failure};

/// Data files are fetched anew when they are older, as the ecosystem does it.
const DATA_OLD: Duration = Duration::from_hours(24);

/// The branch of the ecosystem's hub, where none is configured.
const BRANCH: &str = "master";

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        Failure::text(error.to_string())
    }
}

pub(super) fn unusable(error: &HubError) -> Failure {
    Failure::text(format!("{error}; {}", error.hint()))
}

pub(super) fn installation(cx: &Context<'_, '_>) -> Result<Installation, Failure> {
    let paths = &cx.config()?.paths;
    Ok(Installation::new(&paths.config_dir, &paths.hub_dir, &paths.data_dir))
}

/// The installation, which nobody else changes meanwhile. Whoever only looks (`dry_run`) may do so without a right to it.
fn locked(cx: &mut Context<'_, '_>, dry_run: bool) -> Result<(Installation, Option<Lock>), Failure> {
    let installation = installation(cx)?;
    let lock = installation.lock(|| cx.note("Waiting for another command that changes what is installed."));
    let lock = match lock {
        Err(_) if dry_run => None,
        lock => Some(lock?),
    };
    Ok((installation, lock))
}

/// What this program carries.
pub(super) fn embedded(cx: &Context<'_, '_>) -> Vec<Item> {
    testudo_hub::embedded::items(cx.io.embedded, env!("CARGO_PKG_VERSION"))
}

/// The source that is no other than this program.
const EMBEDDED: &str = "embedded";

/// What a flag names as the source, else our own key.
fn named<'a>(cx: &'a Context<'_, '_>, given: &'a str) -> Result<&'a str, Failure> {
    let configured = cx.config()?.own.hub.as_deref().unwrap_or_default();
    Ok(if given.is_empty() { configured } else { given })
}

/// Where the hub is: as a flag or our own key says, else that of the ecosystem.
fn source(cx: &Context<'_, '_>, given: &str) -> Result<Box<dyn Source>, Failure> {
    let (config, named) = (cx.config()?, named(cx, given)?);
    if named == EMBEDDED {
        return Ok(Box::new(Nowhere));
    }
    if named.starts_with("https://") || named.starts_with("http://") {
        return Ok(Box::new(WebSource::at(named)));
    }
    if !named.is_empty() {
        if !Path::new(named).is_dir() {
            return Err(Failure::text(format!(
                "{named} is no folder, no address that begins with https://, and not `{EMBEDDED}`"
            )));
        }
        let web = WebSource::at(named);
        return Ok(Box::new(Checkout { folder: FolderSource::new(named), web }));
    }
    let commands = &config.commands;
    let branch = if commands.hub_branch.is_empty() { BRANCH } else { &commands.hub_branch };
    Ok(Box::new(WebSource::of_branch(&commands.hub_url_template, branch)))
}

/// The latest version of an item, from where the hub is.
pub(super) fn latest(cx: &Context<'_, '_>, item: &Item) -> Result<Vec<u8>, Failure> {
    let source = source(cx, "")?;
    Ok(testudo_hub::install::fetch(item, &*source)?)
}

/// Fetches the index.
fn fetch(
    cx: &mut Context<'_, '_>,
    installation: &Installation,
    source: &dyn Source,
    go_back: bool,
) -> Result<Hub, Failure> {
    let index = source.index().map_err(|error| {
        Failure::text(format!(
            "the index of the hub cannot be fetched: {error}; the one that is there stays. \
             Without a network, name a folder with a hub: --source FOLDER"
        ))
    })?;
    let hub = installation.update(&index, go_back)?;
    let count: usize = ItemKind::ALL.iter().map(|kind| hub.items(*kind).count()).sum();
    cx.note(format_args!("The index tells of {count} items."));
    known(cx, installation)
}

/// The hub that is known, with what this program carries.
fn known(cx: &Context<'_, '_>, installation: &Installation) -> Result<Hub, Failure> {
    installation.hub_with(&embedded(cx)).map_err(|error| unusable(&error))
}

/// The hub that is known; its index is fetched where there is none and something of it is asked for, or where a source is
/// named.
fn hub(
    cx: &mut Context<'_, '_>,
    installation: &Installation,
    source: &dyn Source,
    (kind, args): (Option<ItemKind>, &InstallItems),
) -> Result<Hub, Failure> {
    let is_there = cx.config()?.paths.index_path.exists();
    let given = &args.changes.source;
    let hub = known(cx, installation);
    if named(cx, given)? == EMBEDDED || is_there && given.is_empty() {
        return hub;
    }
    let is_carried = |hub: &Hub, name: &str| {
        let found = kind.map_or_else(|| kind_of(hub, name), Ok).and_then(|kind| hub.require(kind, name));
        found.is_ok_and(|item| item.is_embedded)
    };
    match hub {
        Ok(hub) if given.is_empty() && args.names.iter().all(|name| is_carried(&hub, name)) => Ok(hub),
        // An index that cannot be used is replaced.
        _ => fetch(cx, installation, source, false),
    }
}

pub(super) fn update(cx: &mut Context<'_, '_>, args: &UpdateHub) -> Done {
    let source = source(cx, &args.source)?;
    let (installation, _lock) = locked(cx, false)?;
    fetch(cx, &installation, &*source, args.force).map(drop)
}

/// The type of an item whose name alone is given: a collection before all others.
pub(super) fn kind_of(hub: &Hub, name: &str) -> Result<ItemKind, HubError> {
    let mut kinds = ItemKind::ALL.into_iter().rev();
    let found = kinds.find(|kind| hub.item(*kind, name).is_some());
    // The collection tells of what resembles it.
    found.map_or_else(|| hub.require(ItemKind::Collection, name).map(|item| item.kind), Ok)
}

/// `kind`: nothing where each item may be of any.
pub(super) fn install(cx: &mut Context<'_, '_>, kind: Option<ItemKind>, args: &InstallItems) -> Done {
    let source = source(cx, &args.changes.source)?;
    let (installation, _lock) = locked(cx, args.changes.dry_run)?;
    let hub = hub(cx, &installation, &*source, (kind, args))?;
    let mut all = Plan::default();
    let mut failed = false;
    for name in &args.names {
        let kind = kind.map_or_else(|| kind_of(&hub, name), Ok).map_err(|error| unusable(&error));
        let plan = kind.and_then(|kind| {
            let names = std::slice::from_ref(name);
            Ok(installation.plan_install(&hub, kind, names, args.download_only, args.changes.force)?)
        });
        match plan {
            Ok(plan) => all.extend(plan),
            Err(error) if args.ignore => {
                cx.complain(error);
                failed = true;
            }
            Err(error) => return Err(error),
        }
    }
    let done = change(cx, &installation, &hub, &all, &*source, &args.changes);
    if failed { done.and(Err(Failure::Said)) } else { done }
}

pub(super) fn remove(cx: &mut Context<'_, '_>, kind: Option<ItemKind>, args: &RemoveItems) -> Done {
    let (installation, _lock) = locked(cx, args.changes.dry_run)?;
    let hub = known(cx, &installation)?;
    let how = Remove { purge: args.purge, force: args.changes.force };
    let mut all = Plan::default();
    if args.names.is_empty() {
        for kind in kind.map_or_else(|| ItemKind::ALL.to_vec(), |kind| vec![kind]).into_iter().rev() {
            all.extend(installation.plan_remove(&hub, kind, &[], how)?);
        }
    }
    for name in &args.names {
        let kind = kind.map_or_else(|| kind_of(&hub, name), Ok).map_err(|error| unusable(&error))?;
        all.extend(installation.plan_remove(&hub, kind, std::slice::from_ref(name), how)?);
    }
    let nowhere = FolderSource::new("");
    change(cx, &installation, &hub, &all, &nowhere, &args.changes)
}

/// `kinds`: of which types; `names`: which of them, all where none is named.
pub(super) fn upgrade(
    cx: &mut Context<'_, '_>,
    kinds: &[ItemKind],
    names: &[String],
    changes: &Changes,
) -> Done {
    let source = source(cx, &changes.source)?;
    let (installation, _lock) = locked(cx, changes.dry_run)?;
    let is_carried = |item: &Item| item.is_embedded && installation.status(item).is_enabled;
    let is_embedded = named(cx, &changes.source)? == EMBEDDED;
    let mut is_fetched = true;
    let hub = if is_embedded {
        known(cx, &installation)?
    } else {
        match fetch(cx, &installation, &*source, false) {
            Ok(hub) => hub,
            // What is known of it may bring something all the same.
            Err(error) => {
                let hub = known(cx, &installation)?;
                if !cx.config()?.paths.index_path.exists() && !hub.embedded().any(is_carried) {
                    return Err(error);
                }
                cx.complain(error);
                is_fetched = false;
                hub
            }
        }
    };
    let plan = installation.plan_upgrade(&hub, kinds, names, Upgrade { force: changes.force })?;
    let changed = change(cx, &installation, &hub, &plan, &*source, changes);
    let changed = if is_fetched { changed } else { changed.and(Err(Failure::Said)) };
    // Data files are elsewhere.
    if names.is_empty() && !changes.dry_run && !is_embedded {
        let refreshed = installation.refresh_data(&hub, &*source, DATA_OLD)?;
        return tell(cx, &refreshed).and(changed);
    }
    changed
}

/// Shows a plan, and does it.
fn change(
    cx: &mut Context<'_, '_>,
    installation: &Installation,
    hub: &Hub,
    plan: &Plan,
    source: &dyn Source,
    how: &Changes,
) -> Done {
    if cx.output() == Output::Human {
        for note in &plan.notes {
            cx.warn(note);
        }
        if plan.is_empty() {
            cx.line("Nothing to install, upgrade or remove.")?;
        } else {
            show(cx, plan)?;
        }
    }
    let is_wanted =
        !how.dry_run && (!how.interactive || plan.is_empty() || cx.confirm("Do you want to continue?")?);
    let was_own = cx.config()?.own_rules();
    let carried = if is_wanted && !plan.is_empty() {
        let carried = installation.carry_out(hub, plan, source)?;
        installation.note_embedded(hub)?;
        carried
    } else {
        Carried::default()
    };
    if cx.output() != Output::Human {
        let text = |shown: &dyn std::fmt::Display| shown.to_string();
        let all = json!({
            "schema": 1,
            "done": is_wanted,
            "steps": if is_wanted { &carried.steps } else { &plan.steps }.iter().map(step).collect::<Vec<_>>(),
            "data": carried.data,
            "notes": plan.notes.iter().map(|note| text(note)).collect::<Vec<_>>(),
            "problems": carried.problems.iter().map(|problem| text(problem)).collect::<Vec<_>>(),
        });
        cx.json(&all, 1)?;
    }
    if was_own && !cx.config()?.own_rules() {
        cx.warn(
            "from the next reload on only rules that are installed run: those in the program were in use until now. \
             They are installed like others (`hub list -a` shows them), so install those of your other services, too",
        );
    }
    if carried.steps.iter().any(|step| matches!(step, Step::Enable(_))) {
        let twice: Vec<String> = installation.judged_twice(hub).into_iter().collect();
        if !twice.is_empty() {
            cx.warn(format_args!(
                "rules of the program and of a hub judge the same ({}): a source may get a ban from each. Use those of \
                 one origin for a service",
                twice.join(", ")
            ));
        }
    }
    tell(cx, &carried)?;
    if !carried.steps.is_empty() {
        cx.hint_reload();
    }
    Ok(())
}

/// What was fetched beside, and what was not done.
fn tell(cx: &mut Context<'_, '_>, carried: &Carried) -> Done {
    if !carried.data.is_empty() {
        cx.note(format_args!("Data files: {}.", carried.data.join(", ")));
    }
    for problem in &carried.problems {
        cx.complain(problem);
    }
    if carried.problems.is_empty() { Ok(()) } else { Err(Failure::Said) }
}

fn step(step: &Step) -> serde_json::Value {
    let item = step.item();
    let (what, from, to) = match step {
        Step::Download { from, to, .. } => ("download", from.as_deref(), Some(to.as_str())),
        Step::Enable(_) => ("enable", None, None),
        Step::Disable(_) => ("disable", None, None),
        Step::Purge(_) => ("purge", None, None),
    };
    json!({"step": what, "type": item.kind.folder(), "name": item.name, "from": from, "to": to})
}

/// What becomes of an item: several steps of it may be one thing.
fn title(plan: &Plan, step: &Step) -> Option<&'static str> {
    let item = step.item();
    let is_enabled = plan.steps.contains(&Step::Enable(item.clone()));
    let is_fetched =
        || plan.steps.iter().any(|other| matches!(other, Step::Download { .. }) && other.item() == item);
    match step {
        Step::Download { from: None, .. } if is_enabled => Some("📥 install"),
        Step::Download { from: None, .. } => Some("📥 download"),
        Step::Download { from: Some(_), .. } => Some("⬆️ upgrade"),
        Step::Enable(_) if is_fetched() => None,
        Step::Enable(_) => Some("✅ enable"),
        Step::Disable(_) => Some("❌ disable"),
        Step::Purge(_) => Some("🗑️ delete"),
    }
}

/// A plan by what is done and the type of item.
fn show(cx: &mut Context<'_, '_>, plan: &Plan) -> Done {
    let mut titles: Vec<&str> = Vec::new();
    for found in plan.steps.iter().filter_map(|step| title(plan, step)) {
        if !titles.contains(&found) {
            titles.push(found);
        }
    }
    cx.line("Action plan:")?;
    for wanted in titles {
        cx.line(wanted)?;
        for kind in ItemKind::ALL.into_iter().rev() {
            let is_it = |step: &&Step| step.item().kind == kind && title(plan, step) == Some(wanted);
            let names: Vec<String> = plan.steps.iter().filter(is_it).map(shown).collect();
            if !names.is_empty() {
                cx.line(format_args!(" {}: {}", kind.folder(), names.join(", ")))?;
            }
        }
    }
    Ok(())
}

fn shown(step: &Step) -> String {
    match step {
        Step::Download { item, from: None, to } => format!("{} ({to})", item.name),
        Step::Download { item, from: Some(from), to } => format!("{} ({from} → {to})", item.name),
        other => other.item().name.clone(),
    }
}

/// No place: what the program carries needs none.
struct Nowhere;

impl Source for Nowhere {
    fn index(&self) -> Result<Vec<u8>, SourceError> {
        Err(SourceError("what the program carries is known without an index".to_owned()))
    }

    fn item(&self, path: &str) -> Result<Vec<u8>, SourceError> {
        Err(SourceError(format!("{path} is not in the program")))
    }

    fn data(&self, file: &DataFile) -> Result<Vec<u8>, SourceError> {
        Err(SourceError(format!(
            "{} is not in the program; without `--source embedded` it is fetched",
            file.dest_file
        )))
    }
}

/// A folder with a hub, whose data files may be elsewhere: those come from where they are published.
struct Checkout {
    folder: FolderSource,
    web: WebSource,
}

impl Source for Checkout {
    fn index(&self) -> Result<Vec<u8>, SourceError> {
        self.folder.index()
    }

    fn item(&self, path: &str) -> Result<Vec<u8>, SourceError> {
        self.folder.item(path)
    }

    fn data(&self, file: &DataFile) -> Result<Vec<u8>, SourceError> {
        self.folder
            .data(file)
            .or_else(|here| self.web.data(file).map_err(|there| SourceError(format!("{here}, and {there}"))))
    }
}

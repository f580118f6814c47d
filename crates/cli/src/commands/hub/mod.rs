//! `hub` and the groups of its items: what is there, and changing it.

mod change;
mod diff;
mod web;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use testudo_config::Output;
use testudo_hub::install::{Installation, Local};
use testudo_hub::{Hub, HubError, Item, ItemKind};

use crate::args::{HubVerb, ItemNames, ItemsVerb, ListItems};
use crate::context::Context;
use crate::failure::{Done, Failure};
use crate::output::Table;

/// An item as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Shown {
    name: String,
    local_version: String,
    local_path: String,
    description: String,
    utf8_status: String,
    status: String,
}

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &HubVerb) -> Done {
    match verb {
        HubVerb::List(args) => {
            let mut all = serde_json::Map::new();
            for kind in ItemKind::ALL {
                let items = items(cx, kind, &ListItems { names: Vec::new(), all: args.all })?;
                if cx.output() == Output::Human {
                    cx.line(kind.folder().to_uppercase())?;
                    cx.table(&table(&items))?;
                }
                all.insert(kind.folder().to_owned(), serde_json::to_value(items)?);
            }
            match cx.output() {
                Output::Human => Ok(()),
                Output::Json => cx.json(&all, 1),
                Output::Raw => {
                    cx.csv(["name", "status", "version", "description", "type"])?;
                    for (kind, items) in &all {
                        for item in items.as_array().into_iter().flatten() {
                            let text = |key: &str| item[key].as_str().unwrap_or_default();
                            cx.csv([
                                text("name"),
                                text("status"),
                                text("local_version"),
                                text("description"),
                                kind,
                            ])?;
                        }
                    }
                    Ok(())
                }
            }
        }
        HubVerb::Types => ItemKind::ALL.iter().try_for_each(|kind| cx.line(kind.folder())),
        HubVerb::Branch => {
            let branch = cx.config()?.commands.hub_branch.clone();
            cx.line(if branch.is_empty() { "master" } else { &branch })
        }
        HubVerb::Search(args) => search(cx, &args.terms),
        HubVerb::Install(args) => change::install(cx, None, args),
        HubVerb::Remove(args) => change::remove(cx, None, args),
        HubVerb::Inspect(args) => args.names.iter().try_for_each(|name| inspect(cx, None, name, args)),
        HubVerb::Update(args) => change::update(cx, args),
        HubVerb::Upgrade(args) => change::upgrade(cx, &ItemKind::ALL, &[], &args.changes),
    }
}

pub(crate) fn items_of(cx: &mut Context<'_, '_>, kind: ItemKind, verb: &ItemsVerb) -> Done {
    match verb {
        ItemsVerb::List(args) => {
            let items = items(cx, kind, args)?;
            match cx.output() {
                Output::Json => {
                    let all: serde_json::Map<_, _> =
                        [(kind.folder().to_owned(), serde_json::to_value(items)?)].into_iter().collect();
                    cx.json(&all, 1)
                }
                Output::Raw => {
                    cx.csv(["name", "status", "version", "description"])?;
                    items.iter().try_for_each(|one| {
                        cx.csv([one.name.as_str(), &one.status, &one.local_version, &one.description])
                    })
                }
                Output::Human => {
                    cx.line(kind.folder().to_uppercase())?;
                    cx.table(&table(&items))
                }
            }
        }
        ItemsVerb::Inspect(args) => {
            args.names.iter().try_for_each(|name| inspect(cx, Some(kind), name, args))
        }
        ItemsVerb::Install(args) => change::install(cx, Some(kind), args),
        ItemsVerb::Remove(args) => change::remove(cx, Some(kind), args),
        ItemsVerb::Upgrade(args) => change::upgrade(cx, &[kind], &args.names, &args.changes),
    }
}

fn table(items: &[Shown]) -> Table {
    let mut table = Table::new(["Name", "📦 Status", "Version", "Local Path"]);
    for item in items {
        table.row([&item.name, &item.utf8_status, &item.local_version, &item.local_path]);
    }
    table
}

/// The hub that the installation knows, with what this program carries.
fn hub(cx: &Context<'_, '_>) -> Result<Hub, Failure> {
    let known = change::installation(cx)?.hub_with(&change::embedded(cx));
    known.map_err(|error| Failure::text(error.to_string()))
}

/// An item of the index. `carried`: what the program carries is in use.
fn shown(installation: &Installation, item: &Item, carried: bool) -> Shown {
    let status = installation.status(item);
    let (mark, word, version) = match &status.local {
        // An earlier program may have carried others.
        _ if carried && item.is_embedded && item.content.is_some() => {
            ("🐢", "enabled,embedded", item.version.clone())
        }
        _ if !status.is_enabled => ("🚫", "disabled", String::new()),
        Local::Version(version) if *version == item.version => ("✔️", "enabled", version.clone()),
        Local::Version(version) => ("⚠️", "enabled,update-available", version.clone()),
        Local::Changed | Local::Nothing => ("⚠️", "enabled,tainted", "?".to_owned()),
    };
    let path = installation.place(item);
    Shown {
        name: item.name.clone(),
        local_version: version,
        local_path: if status.is_enabled { path.display().to_string() } else { String::new() },
        description: item.description.clone(),
        utf8_status: format!("{mark}  {word}"),
        status: word.to_owned(),
    }
}

/// Items whose names or descriptions have all of these words.
fn search(cx: &mut Context<'_, '_>, terms: &[String]) -> Done {
    let (hub, installation) = (hub(cx)?, change::installation(cx)?);
    let config = cx.config()?;
    let carried = config.own_rules();
    if !config.paths.index_path.exists() {
        cx.note(
            "There is no index of a hub yet, `hub update` fetches one: this is what the program carries.",
        );
    }
    let terms: Vec<String> = terms.iter().map(|term| term.to_lowercase()).collect();
    let is_it = |item: &&Item| {
        let text = format!("{} {}", item.name, item.description).to_lowercase();
        terms.iter().all(|term| text.contains(term))
    };
    let all = ItemKind::ALL.into_iter().rev().flat_map(|kind| hub.items(kind));
    let found: Vec<(&Item, Shown)> =
        all.filter(is_it).map(|item| (item, shown(&installation, item, carried))).collect();
    match cx.output() {
        Output::Human if found.is_empty() => cx.line("Nothing found."),
        Output::Human => {
            let mut table = Table::new(["Type", "Name", "📦 Status", "Description"]);
            for (item, shown) in &found {
                table.row([item.kind.folder(), &shown.name, &shown.utf8_status, &shown.description]);
            }
            cx.table(&table)
        }
        Output::Json => {
            let rows: Vec<serde_json::Value> = found
                .iter()
                .map(|(item, shown)| {
                    let mut row = serde_json::json!(shown);
                    row["type"] = item.kind.folder().into();
                    row
                })
                .collect();
            cx.json(&rows, 1)
        }
        Output::Raw => {
            cx.csv(["type", "name", "status", "description"])?;
            found.iter().try_for_each(|(item, shown)| {
                cx.csv([item.kind.folder(), &shown.name, &shown.status, &shown.description])
            })
        }
    }
}

/// Rule files of a kind that are there.
fn files(config_dir: &Path, kind: ItemKind) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![(config_dir.join(kind.folder()), u8::from(kind.has_stages()))];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && depth > 0 {
                folders.push((path, depth - 1));
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                found.insert(path);
            }
        }
    }
    found
}

fn items(cx: &Context<'_, '_>, kind: ItemKind, args: &ListItems) -> Result<Vec<Shown>, Failure> {
    let config = cx.config()?;
    let (config_dir, carried) = (&config.paths.config_dir, config.own_rules());
    let (hub, installation) = (hub(cx)?, change::installation(cx)?);
    let mut local = files(config_dir, kind);
    let mut found = Vec::new();
    for item in hub.items(kind) {
        let item = shown(&installation, item, carried);
        local.remove(Path::new(&item.local_path));
        if args.all || item.status != "disabled" {
            found.push(item);
        }
    }
    for path in local {
        found.push(Shown {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            local_version: String::new(),
            local_path: path.display().to_string(),
            description: String::new(),
            utf8_status: "🏠  enabled,local".to_owned(),
            status: "enabled,local".to_owned(),
        });
    }
    if !args.names.is_empty() {
        found.retain(|item| args.names.contains(&item.name));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// `kind`: nothing where the item may be of any.
fn inspect(cx: &mut Context<'_, '_>, kind: Option<ItemKind>, name: &str, args: &ItemNames) -> Done {
    let hub = hub(cx)?;
    let has_index = cx.config()?.paths.index_path.exists();
    let unusable = |error: HubError| {
        if has_index {
            return change::unusable(&error);
        }
        let place = kind.map_or("the hub", ItemKind::folder);
        Failure::text(format!("can't find '{name}' in {place}: there is no index of a hub"))
    };
    let found = kind.map_or_else(|| change::kind_of(&hub, name), Ok);
    let item = found.and_then(|kind| hub.require(kind, name)).map_err(unusable)?;
    if let Some(against) = &args.diff {
        return diff::show(cx, item, against == "latest", args.rev);
    }
    let kind = item.kind;
    let local = shown(&change::installation(cx)?, item, cx.config()?.own_rules());
    let mut parts = serde_json::Map::new();
    for (kind, name) in &item.dependencies {
        let place = parts.entry(kind.folder()).or_insert_with(|| serde_json::json!([]));
        if let Some(list) = place.as_array_mut() {
            list.push(name.clone().into());
        }
    }
    let mut all = serde_json::json!({
        "type": kind.folder(),
        "stage": item.stage,
        "name": item.name,
        "file_name": item.file_name(),
        "description": item.description,
        "author": item.author(),
        "path": item.path,
        "version": item.version,
        "local_path": local.local_path,
        "local_version": local.local_version,
        "installed": !matches!(&*local.status, "disabled" | "enabled,embedded"),
        "embedded": item.is_embedded,
        "tainted": local.status.contains("tainted"),
        "up_to_date": matches!(&*local.status, "enabled" | "enabled,embedded"),
    });
    if let Some(map) = all.as_object_mut() {
        map.extend(parts);
    }
    cx.json(&all, 1)
}

//! `allowlists`: read over the API, changed in the database.

use testudo_config::Output;
use testudo_store::{Allowlist, AllowlistItem, Store, StoreError};
use testudo_wire::allowlist::{Allowlist as Shown, NEVER};

use crate::args::{AddAllowed, AllowlistsVerb, CreateAllowlist, ImportAllowed, Values};
use crate::context::{Context, as_network, nanos};
use crate::failure::{Done, Failure};
use crate::output::{Table, csv};

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &AllowlistsVerb) -> Done {
    match verb {
        AllowlistsVerb::Create(args) => create(cx, args),
        AllowlistsVerb::List => list(cx),
        AllowlistsVerb::Delete(args) => delete(cx, &args.name),
        AllowlistsVerb::Add(args) => add(cx, args),
        AllowlistsVerb::Import(args) => import(cx, args),
        AllowlistsVerb::Remove(args) => remove(cx, args),
        AllowlistsVerb::Inspect(args) => inspect(cx, &args.name),
        AllowlistsVerb::Check(args) => check(cx, &args.values),
    }
}

fn create(cx: &mut Context<'_, '_>, args: &CreateAllowlist) -> Done {
    let store = cx.store()?;
    let now_ms = cx.io.now_ms;
    let list = Allowlist {
        name: args.name.clone(),
        description: args.description.clone(),
        created_ms: now_ms,
        updated_ms: now_ms,
        ..Allowlist::default()
    };
    store.add_allowlist(&list, now_ms).map_err(|error| match error {
        StoreError::Exists { .. } => Failure::text(format!("allowlist '{}' already exists", args.name)),
        error => error.into(),
    })?;
    cx.line(format_args!("allowlist '{}' created successfully", args.name))
}

/// The list if it may be changed here.
fn own(store: &Store, name: &str) -> Result<Allowlist, Failure> {
    let list = store.allowlist(name).ok_or_else(|| Failure::text(format!("allowlist '{name}' not found")))?;
    if list.from_console {
        return Err(Failure::text(format!(
            "allowlist {name} is managed by console, cannot update with cscli"
        )));
    }
    Ok(list)
}

fn delete(cx: &mut Context<'_, '_>, name: &str) -> Done {
    let store = cx.store()?;
    own(&store, name)?;
    store.delete_allowlist(name)?;
    cx.line(format_args!("allowlist '{name}' deleted successfully"))
}

/// What is to be added: a value, how long it holds, and why.
struct New {
    value: String,
    expires_ms: Option<i64>,
    comment: String,
}

fn put(cx: &mut Context<'_, '_>, name: &str, news: Vec<New>) -> Done {
    let store = cx.store()?;
    let now_ms = cx.io.now_ms;
    let known = own(&store, name)?;
    let is_known = |value: &str, items: &[AllowlistItem]| {
        items.iter().any(|item| item.value == value && item.expires_ms.is_none_or(|end| end >= now_ms))
    };
    let mut items: Vec<AllowlistItem> = Vec::new();
    for new in news {
        if as_network(&new.value).is_none() {
            cx.complain(format_args!("unable to parse value {}: invalid ip address or range", new.value));
        } else if is_known(&new.value, &known.items) || is_known(&new.value, &items) {
            cx.note(format_args!("value {} already in allowlist", new.value));
        } else {
            items.push(AllowlistItem {
                value: new.value,
                description: new.comment,
                expires_ms: new.expires_ms,
                created_ms: now_ms,
            });
        }
    }
    if items.is_empty() {
        return cx.line("no new values for allowlist");
    }
    let count = items.len();
    let before = store.index(now_ms).active();
    store.update_allowlist(name, now_ms, |list| {
        // One that has expired makes room for its successor.
        list.items.retain(|item| !items.iter().any(|new| new.value == item.value));
        list.items.append(&mut items);
    })?;
    let ended = before.saturating_sub(store.index(now_ms).active());
    cx.line(format_args!("added {count} values to allowlist {name}"))?;
    if ended > 0 {
        cx.line(format_args!("{ended} decisions deleted by allowlists"))?;
    }
    Ok(())
}

/// When something ends that holds for so long from now; empty for ever.
fn expiry(text: &str, now_ms: i64) -> Result<Option<i64>, Failure> {
    if text.is_empty() || text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    let millis = nanos(text)? / 1_000_000;
    if millis <= 0 {
        return Err(Failure::text(format!("expiration '{text}' is not in the future")));
    }
    Ok(Some(now_ms.saturating_add(millis)))
}

fn add(cx: &mut Context<'_, '_>, args: &AddAllowed) -> Done {
    let expires_ms = expiry(&args.expiration, cx.io.now_ms)?;
    let new = |value: &String| New { value: value.clone(), expires_ms, comment: args.comment.clone() };
    put(cx, &args.name, args.values.iter().map(new).collect())
}

fn import(cx: &mut Context<'_, '_>, args: &ImportAllowed) -> Done {
    let text = cx.read(&args.input)?;
    let broken =
        |line: usize| Failure::text(format!("unable to parse csv: line {line}: a quote is not closed"));
    let mut records = csv::records(&text).map_err(broken)?;
    if records.is_empty() {
        return cx.line("no new values for allowlist");
    }
    let head: Vec<String> = records.remove(0).iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let place = |name: &str| head.iter().position(|known| known == name);
    let value = place("value");
    let value = value.ok_or_else(|| Failure::text("the first line of the file has no field 'value'"))?;
    let (expiration, comment) = (place("expiration"), place("comment"));
    let mut news = Vec::new();
    for record in &records {
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).map_or("", |text| text.trim());
        news.push(New {
            value: field(Some(value)).to_owned(),
            expires_ms: expiry(field(expiration), cx.io.now_ms)?,
            comment: field(comment).to_owned(),
        });
    }
    put(cx, &args.name, news)
}

fn remove(cx: &mut Context<'_, '_>, args: &Values) -> Done {
    let store = cx.store()?;
    let list = own(&store, &args.name)?;
    let is_meant = |item: &AllowlistItem| args.values.contains(&item.value);
    let count = list.items.iter().filter(|item| is_meant(item)).count();
    for value in args.values.iter().filter(|value| !list.items.iter().any(|item| item.value == **value)) {
        cx.note(format_args!("value {value} not in allowlist"));
    }
    if count == 0 {
        return cx.line("no value to remove from allowlist");
    }
    store.update_allowlist(&args.name, cx.io.now_ms, |list| list.items.retain(|item| !is_meant(item)))?;
    cx.line(format_args!("removed {count} values from allowlist {}", args.name))
}

fn list(cx: &mut Context<'_, '_>) -> Done {
    let api = cx.api()?;
    let lists = api.call(api.client.allowlists(true)).map_err(|error| match error {
        Failure::Client(error) if error.status() == Some(404) => Failure::text(format!(
            "the local API at {} knows no allowlists: it is too old",
            api.client.address()
        )),
        error => error,
    })?;
    match cx.output() {
        Output::Json => cx.json(&lists, 2),
        Output::Raw => {
            cx.csv(["name", "description", "created_at", "updated_at", "console_managed", "size"])?;
            lists.iter().try_for_each(|list| {
                let (managed, size) = (list.console_managed.to_string(), list.items.len().to_string());
                cx.csv([
                    list.name.as_str(),
                    list.description.as_str(),
                    list.created_at.as_str(),
                    list.updated_at.as_str(),
                    managed.as_str(),
                    size.as_str(),
                ])
            })
        }
        Output::Human => {
            let mut table =
                Table::new(["Name", "Description", "Created at", "Updated at", "Managed by Console", "Size"]);
            for list in &lists {
                table.row([
                    list.name.clone(),
                    list.description.clone(),
                    list.created_at.clone(),
                    list.updated_at.clone(),
                    if list.console_managed { "yes" } else { "no" }.to_owned(),
                    list.items.len().to_string(),
                ]);
            }
            cx.table(&table)
        }
    }
}

fn ends(item: &testudo_wire::allowlist::AllowlistItem) -> &str {
    if item.expiration == NEVER { "never" } else { &item.expiration }
}

fn inspect(cx: &mut Context<'_, '_>, name: &str) -> Done {
    let api = cx.api()?;
    let list: Shown = api.call(api.client.allowlist(name))?;
    match cx.output() {
        Output::Json => cx.json(&list, 2),
        Output::Raw => {
            cx.csv([
                "name",
                "description",
                "value",
                "comment",
                "expiration",
                "created_at",
                "console_managed",
            ])?;
            let managed = list.console_managed.to_string();
            list.items.iter().try_for_each(|item| {
                cx.csv([
                    list.name.as_str(),
                    list.description.as_str(),
                    item.value.as_str(),
                    item.description.as_str(),
                    ends(item),
                    item.created_at.as_str(),
                    managed.as_str(),
                ])
            })
        }
        Output::Human => {
            for (name, value) in [
                ("Allowlist", list.name.as_str()),
                ("Description", list.description.as_str()),
                ("Created at", list.created_at.as_str()),
                ("Updated at", list.updated_at.as_str()),
                ("Managed by Console", if list.console_managed { "yes" } else { "no" }),
            ] {
                cx.line(format_args!("{name:<18} : {}", crate::output::printable(value)))?;
            }
            let mut table = Table::new(["Value", "Comment", "Expiration", "Created at"]);
            for item in &list.items {
                table.row([item.value.as_str(), &item.description, ends(item), &item.created_at]);
            }
            cx.table(&table)
        }
    }
}

fn check(cx: &mut Context<'_, '_>, values: &[String]) -> Done {
    let api = cx.api()?;
    for value in values {
        let answer = match api.call(api.client.check_allowlists(value)) {
            Ok(answer) => answer,
            Err(error) => {
                cx.complain(format_args!("unable to check if {value} is allowlisted: {error}"));
                continue;
            }
        };
        if answer.allowlisted {
            cx.line(format_args!("{value} is allowlisted by item {}", answer.reason))?;
        } else {
            cx.line(format_args!("{value} is not allowlisted"))?;
        }
    }
    Ok(())
}

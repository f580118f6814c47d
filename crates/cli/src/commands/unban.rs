//! `unban`: ends decisions in the database, whatever else is down.

use std::collections::HashSet;

use testudo_config::Output;
use testudo_store::{Filter, Page, Store, Target};

use crate::args::Unban;
use crate::context::{Context, as_network};
use crate::failure::Done;
use crate::output::Table;

/// Decisions that are shown one by one; of more only the number is told.
const SHOWN_MOST: usize = 50;

/// The decisions in force about a value: those that cover it, and of a network also those inside.
pub(crate) fn filters(value: &str) -> Vec<Filter> {
    let everything = || Filter { simulated: true, ..Filter::default() };
    if as_network(value).is_none() {
        return vec![Filter { value: Some(value.to_owned()), ..everything() }];
    }
    let ways: &[bool] = if value.contains('/') { &[true, false] } else { &[true] };
    // What is an address to us is one to the store.
    let targets = ways.iter().filter_map(|contains| Target::parse(value, *contains).ok());
    targets.map(|target| Filter { target: Some(target), ..everything() }).collect()
}

struct Ended {
    ids: Vec<i64>,
    rows: Vec<[String; 5]>,
}

fn find(store: &Store, filters: &[Filter], now_ms: i64) -> Ended {
    let mut ended = Ended { ids: Vec::new(), rows: Vec::new() };
    let mut seen = HashSet::new();
    let index = store.index(now_ms);
    for filter in filters {
        index.query(filter, Page::default(), |view| {
            if !seen.insert(view.id()) {
                return;
            }
            ended.ids.push(view.id());
            if ended.rows.len() < SHOWN_MOST {
                let label = view.label();
                ended.rows.push([
                    view.id().to_string(),
                    format!("{}:{}", label.scope, view.value()),
                    label.kind.to_owned(),
                    label.origin.to_owned(),
                    label.scenario.to_owned(),
                ]);
            }
        });
    }
    ended
}

pub(crate) fn run(cx: &mut Context<'_, '_>, args: &Unban) -> Done {
    let store = cx.store()?;
    let now_ms = cx.io.now_ms;
    let filters: Vec<Filter> = if args.all {
        vec![Filter { simulated: true, ..Filter::default() }]
    } else {
        args.values.iter().flat_map(|value| filters(value)).collect()
    };
    let found = find(&store, &filters, now_ms);
    let count = store.end_decisions(&found.ids, now_ms)?;
    if cx.output() == Output::Json {
        return cx.json(&serde_json::json!({"schema": 1, "ended": count, "ids": found.ids}), 1);
    }
    if count == 0 {
        return cx.line(if args.all {
            "There is no decision in force."
        } else {
            "There is no decision in force about that."
        });
    }
    if cx.output() == Output::Human {
        let mut table = Table::new(["ID", "Scope:Value", "Action", "Source", "Reason"]);
        let shown = found.rows.len();
        found.rows.into_iter().for_each(|row| table.row(row));
        cx.table(&table)?;
        if found.ids.len() > shown {
            cx.line(format_args!("… and {} more", found.ids.len() - shown))?;
        }
    }
    cx.line(format_args!("{count} decision(s) ended. Bouncers lift them when they next ask."))
}

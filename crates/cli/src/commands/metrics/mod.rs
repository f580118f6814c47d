//! `metrics`: what the daemon counted, and what bouncers reported.

mod bouncers;
mod sections;

use serde_json::{Map, Value};
use testudo_config::Output;

use crate::args::{Metrics, MetricsVerb};
use crate::context::{Context, page};
use crate::failure::{Done, Failure};
use crate::output::Table;
use crate::prometheus::samples;

use sections::{BOUNCERS, SECTIONS, Section};

pub(crate) fn run(cx: &mut Context<'_, '_>, args: &Metrics) -> Done {
    if cx.output() == Output::Raw {
        return Err(Failure::text("output format 'raw' not supported for this command"));
    }
    match &args.verb {
        None => show(cx, args, &[]),
        Some(MetricsVerb::Show(names)) => show(cx, args, &names.sections),
        Some(MetricsVerb::List) => list(cx),
    }
}

/// The sections that are asked for; all when none is.
fn wanted(names: &[String]) -> Result<Vec<&'static Section>, Failure> {
    if names.is_empty() {
        return Ok(SECTIONS.iter().collect());
    }
    let mut found: Vec<&Section> = Vec::new();
    for name in names {
        let before = found.len();
        let meant = SECTIONS.iter().filter(|section| section.name == name || section.group == name);
        found.extend(meant);
        if found.len() == before && name != "bot-detection" {
            return Err(Failure::text(format!("unknown metrics type: {name}: see 'metrics list'")));
        }
    }
    found.sort_by_key(|section| section.name);
    found.dedup_by_key(|section| section.name);
    Ok(found)
}

fn show(cx: &mut Context<'_, '_>, args: &Metrics, names: &[String]) -> Done {
    let wanted = wanted(names)?;
    let config = cx.config()?;
    let url =
        if args.url.is_empty() { config.commands.prometheus_uri.clone() } else { Some(args.url.clone()) };
    let is_enabled = config.prometheus.enabled || !args.url.is_empty();
    let mut found = Vec::new();
    let scraped = match url.filter(|_| is_enabled) {
        Some(url) => page(&url).map_err(|error| format!("unable to fetch metrics from {url}: {error}")),
        None => Err("prometheus is not enabled, can't show metrics".to_owned()),
    };
    match scraped {
        Ok(page) => found = samples(&page),
        Err(problem)
            if wanted.iter().any(|section| section.name == BOUNCERS) && cx.config()?.serves_api() =>
        {
            cx.warn(problem);
        }
        Err(problem) => return Err(Failure::text(problem)),
    }
    let mut all = Map::new();
    for section in &wanted {
        let value = if section.name == BOUNCERS { Value::Null } else { section.collect(&found) };
        all.insert(section.name.to_owned(), value);
    }
    let reported = if all.contains_key(BOUNCERS) && cx.config()?.serves_api() {
        bouncers::collect(&cx.clients_store()?.metrics(false)?)
    } else {
        Vec::new()
    };
    if cx.output() == Output::Json {
        if let Some(place) = all.get_mut(BOUNCERS) {
            *place = bouncers::as_json(&reported);
        }
        return cx.json(&all, 1);
    }
    let format = |number: f64| if args.no_unit { whole(number) } else { short(number) };
    for section in wanted {
        let tables = if section.name == BOUNCERS {
            bouncers::tables(&reported, &format)
        } else {
            section.tables(&all[section.name], &format)
        };
        for table in tables.iter().filter(|table| !table.is_empty()) {
            cx.table(table)?;
            cx.line("")?;
        }
    }
    Ok(())
}

fn list(cx: &mut Context<'_, '_>) -> Done {
    if cx.output() == Output::Json {
        let all: Vec<Value> = SECTIONS
            .iter()
            .map(|one| serde_json::json!({"type": one.name, "title": one.title, "description": one.description}))
            .collect();
        return cx.json(&all, 1);
    }
    let mut table = Table::new(["Type", "Title", "Description"]);
    for section in SECTIONS {
        table.row([section.name, section.title, section.description]);
    }
    cx.table(&table)
}

/// A number as it is, with `-` for zero.
fn whole(number: f64) -> String {
    if number == 0.0 { "-".to_owned() } else { format!("{number:.0}") }
}

/// A number with a unit from 1000 on: `1.23k`; `-` for zero.
fn short(number: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    if number < 1000.0 {
        return whole(number);
    }
    let mut number = number;
    let mut unit = 0;
    while number >= 1000.0 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let text = format!("{number:.2}");
    format!("{}{}", text.trim_end_matches('0').trim_end_matches('.'), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, expected) in [
            (0.0, "-"),
            (7.0, "7"),
            (999.0, "999"),
            (1000.0, "1k"),
            (1234.0, "1.23k"),
            (2_500_000.0, "2.5M"),
            (1e21, "1000E"),
        ] {
            assert_eq!(short(number), expected);
        }
        assert_eq!((whole(1234.0), whole(0.0)), ("1234".to_owned(), "-".to_owned()));
    }

    #[test]
    fn groups_and_names() {
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            wanted(&asked).map(|found| found.iter().map(|section| section.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["alerts", "alerts"]).expect("known"), ["alerts"]);
        assert_eq!(names(&["appsec"]).expect("known"), ["appsec-engine", "appsec-rule"]);
        assert_eq!(names(&[]).expect("known").len(), SECTIONS.len());
        assert!(names(&["nonsense"]).is_err());
    }
}

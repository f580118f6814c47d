//! Checks of rule files: what will not load, and what its author may not mean.
//!
//! [`gather`] finds the files at some paths and those that run beside them. [`check`] gives everything that is
//! wrong with them: what the loaders and the engine refuse, which is asked of themselves, and advice of our own
//! ([`codes`]). [`schema`] describes rule files for editors. [`report`] writes it for people and for programs, [`junit`]
//! as build servers read it, [`sarif`] as code hosts do.

mod allow;
mod cells;
mod checks;
pub mod codes;
mod documents;
mod facts;
mod forge;
pub mod junit;
pub mod report;
pub mod sarif;
pub mod schema;
mod source;

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use testudo_engine::{Engine, NoData, Options};
use testudo_event::YearClock;
use testudo_pattern::Library;
use testudo_rules::{Diagnostic, Severity, plan::Expression, set::RuleSet};

pub use cells::Space;
pub use facts::{Definition, Facts, Read};
pub use source::{GatherError, Gathered, Input, Kind, folders_of, gather, recognise, root_of};

use crate::{
    checks::{conditions, labels, names, parsers, patterns, scenarios},
    documents::{Documents, File},
};

/// Whether a code is one of those that are told here.
pub fn is_code(code: &str) -> bool {
    let known = |list: &[(&str, &str)]| list.iter().any(|(known, _)| *known == code);
    known(codes::ALL) || known(testudo_rules::codes::ALL) || (code.starts_with('E') && code.len() == 4)
}

/// Reads files for what they do together.
pub fn facts(inputs: &[Input]) -> Facts {
    let files = in_parallel(inputs, documents::load);
    let mut facts = Facts::default();
    files.iter().for_each(|file| facts.add(file));
    facts
}

/// What is wrong with a file whose loader is in a crate that this one does not know: acquisition, samples.
pub type Foreign = fn(&Input) -> Vec<Diagnostic>;

/// Checks files. `beside`: what the files that run beside them do; these are not checked themselves. `foreign` is asked
/// about kinds whose loaders are elsewhere. What is found comes in the order of the files and of the places in them.
pub fn check(inputs: &[Input], beside: &Facts, foreign: Foreign) -> Vec<Diagnostic> {
    let files = in_parallel(inputs, documents::load);
    let mut facts = beside.clone();
    files.iter().for_each(|file| facts.add(file));
    let library = facts.library();
    let work: Vec<(&Input, &File)> = inputs.iter().zip(&files).collect();
    let advice = in_parallel(&work, |(_, file)| of_file(file, &facts, &library));
    let mut seen = names::Seen::default();
    let engine = of_engine(&files, beside);
    let mut all = Vec::new();
    for ((input, file), mut found) in work.into_iter().zip(advice) {
        same_names(file, &mut seen, &mut found);
        found.extend(file.diagnostics.iter().cloned());
        if matches!(file.documents, Documents::Foreign) {
            found.extend(foreign(input));
        }
        found.extend(engine.iter().filter(|d| d.place.file.path == input.file.path).cloned());
        allow::apply(&input.file, &mut found);
        found.sort_by(|a, b| (a.place.offset, a.code).cmp(&(b.place.offset, b.code)));
        found.dedup();
        all.append(&mut found);
    }
    all
}

/// Advice about the documents of a file, without a look at other files.
fn of_file(file: &File, facts: &Facts, library: &Library) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // What a firewall for web applications tells comes with its fields set.
    let own = Facts::default();
    let facts_for = |filter: Option<&Expression>| match filter {
        Some(filter) if filter.text.to_ascii_lowercase().contains("appsec") => &own,
        _ => facts,
    };
    match &file.documents {
        Documents::Parsers(list) => {
            parsers::chain(list, &mut found);
            for parser in list {
                names::author(&parser.node.name, &parser.node.place, &mut found);
                parsers::check(parser, false, facts_for(parser.node.filter.as_ref()), &mut found);
                patterns::check(parser, library, &mut found);
            }
        }
        Documents::Postoverflows(list) => {
            for parser in list {
                names::author(&parser.node.name, &parser.node.place, &mut found);
                parsers::check(parser, true, facts, &mut found);
                patterns::check(parser, library, &mut found);
            }
        }
        Documents::Scenarios(list) => {
            for scenario in list {
                names::author(&scenario.name, &scenario.place, &mut found);
                labels::check(scenario, &mut found);
                scenarios::check(scenario, facts_for(Some(&scenario.filter)), &mut found);
            }
        }
        Documents::Contexts(list) => {
            for expression in list.iter().flat_map(|context| context.fields.values().flatten()) {
                conditions::reads(expression, facts, &mut found);
            }
        }
        Documents::Collections(list) => {
            for collection in list {
                names::author(&collection.name, &collection.place, &mut found);
                names::items(collection, facts, &mut found);
            }
        }
        Documents::Profiles | Documents::Simulation | Documents::Foreign => {}
    }
    found
}

fn same_names(file: &File, seen: &mut names::Seen, found: &mut Vec<Diagnostic>) {
    match &file.documents {
        Documents::Parsers(list) => {
            list.iter().for_each(|item| seen.check(Kind::Parser, &item.node.name, &item.node.place, found));
        }
        Documents::Postoverflows(list) => {
            list.iter()
                .for_each(|item| seen.check(Kind::Postoverflow, &item.node.name, &item.node.place, found));
        }
        Documents::Scenarios(list) => {
            list.iter().for_each(|item| seen.check(Kind::Scenario, &item.name, &item.place, found));
        }
        Documents::Contexts(_)
        | Documents::Collections(_)
        | Documents::Profiles
        | Documents::Simulation
        | Documents::Foreign => {}
    }
}

/// What the engine refuses of the files together: patterns, above all.
fn of_engine(files: &[File], beside: &Facts) -> Vec<Diagnostic> {
    let patterns = beside.patterns().iter().map(|known| (known.name.clone(), known.body.clone())).collect();
    let mut rules = RuleSet { patterns, ..RuleSet::default() };
    for file in files {
        match &file.documents {
            Documents::Parsers(list) => rules.parsers.extend_from_slice(list),
            Documents::Postoverflows(list) => rules.postoverflows.extend_from_slice(list),
            _ => {}
        }
    }
    // No line runs: which year it is does not matter.
    let (_, mut diagnostics) = Engine::new(&rules, &NoData, Options::new(YearClock::Current(2000)));
    // Data files are where the rules will run.
    diagnostics.retain(|diagnostic| diagnostic.code != testudo_engine::codes::DATA_FILE);
    diagnostics
}

/// How many errors there are, and how many pieces of advice.
pub fn count(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    (errors, diagnostics.len() - errors)
}

/// Reads one file, with the stack of a worker.
fn loaded(input: &Input) -> File {
    let file = in_parallel(std::slice::from_ref(input), documents::load).pop();
    file.unwrap_or_else(|| documents::load(input))
}

/// What a worker may take for its stack: the deepest expression that is read needs more than a thread has by itself
/// in a build without optimisation.
const STACK_BYTES: usize = 16 << 20;

/// Does a piece of work for each item on all cores; results in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        let worker = || thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
        // Where there are no threads left, the work is done here.
        if !(0..workers).map(|_| worker()).fold(false, |any, started| any | started.is_ok()) {
            run();
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

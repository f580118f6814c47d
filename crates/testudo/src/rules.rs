//! Loads the rules that a command line asks for, and tells what is wrong with them.

use std::{io::IsTerminal, path::PathBuf};

use testudo_author::{Bundle, bundle};
use testudo_engine::{Engine, Options};
use testudo_hub::{DataFolders, Hub, Selection};
use testudo_rules::{Diagnostic, Severity, render_within, set::RuleSet};

use crate::{args::RuleArgs, content, failure::Failure, listed, terminal};

/// Loads the rules; without any choice, those that the binary carries.
pub(crate) fn load(args: &RuleArgs) -> Result<(RuleSet, Vec<Diagnostic>), Failure> {
    let (rules, mut diagnostics) = base(args)?;
    if args.with.is_empty() {
        return Ok((rules, diagnostics));
    }
    let with = bundle(&args.with)?;
    diagnostics.extend(with.diagnostics);
    Ok((bundle::over(rules, with.rules), diagnostics))
}

/// What the paths name: rule files, files of samples, folders with both.
pub(crate) fn bundle(paths: &[PathBuf]) -> Result<Bundle, Failure> {
    let mut bundle = Bundle::default();
    for path in paths {
        bundle.add(path).map_err(|error| {
            Failure::new(error.to_string()).hint(
                "name a rule file, a file of samples, or a folder with parsers/, scenarios/ and samples/",
            )
        })?;
    }
    Ok(bundle)
}

fn base(args: &RuleArgs) -> Result<(RuleSet, Vec<Diagnostic>), Failure> {
    if args.hub.is_none() && args.rules.is_none() {
        return Ok(content::rules());
    }
    let mut selection = Selection::default();
    let hub = args.hub.as_ref().map(Hub::open).transpose()?;
    if let Some(hub) = &hub {
        if args.all {
            selection.whole_hub(hub);
        } else if args.collections.is_empty() && args.rules.is_none() {
            return Err(Failure::new("no items of the hub are chosen")
                .hint("name collections with --collections, or take all items with --all"));
        } else {
            selection.collections(hub, &args.collections)?;
        }
    }
    if let Some(folder) = &args.rules {
        selection.directory(folder, hub.as_ref())?;
    }
    let loaded = selection.load();
    Ok((loaded.rules, loaded.diagnostics))
}

/// Loads and compiles the rules, and prints what is wrong with them.
pub(crate) fn engine(args: &RuleArgs, options: Options) -> Result<Engine, Failure> {
    compiled(args, options).map(|(_, engine)| engine)
}

/// The same, with the rules as they were loaded.
pub(crate) fn compiled(args: &RuleArgs, options: Options) -> Result<(RuleSet, Engine), Failure> {
    let listed = listed::read(&args.decisions)?;
    let (rules, mut diagnostics) = load(args)?;
    let (mut engine, more) = Engine::new(&rules, &DataFolders::new(&args.data), options);
    diagnostics.extend(more);
    print(&diagnostics);
    let (parsers, _) = engine.counts();
    if parsers == 0 {
        return Err(Failure::new("no parser is left to run")
            .hint("every line needs a parser; add the collection of the service, or a folder of rules"));
    }
    let own = args.hub.is_none() && args.rules.is_none();
    if listed.is_none() && engine.asks_lists() && !own {
        eprintln!("note: rules ask who is listed, and nobody is: give a list with --decisions FILE");
    }
    if let Some(listed) = listed {
        engine.world_mut().set_listed(listed);
    }
    Ok((rules, engine))
}

/// Prints errors in full, and warnings as one line each.
pub(crate) fn print(diagnostics: &[Diagnostic]) {
    let colour = std::io::stderr().is_terminal();
    let columns = terminal::columns(&std::io::stderr());
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Error => eprintln!("{}", render_within(diagnostic, colour, columns)),
            Severity::Warning => {
                let place = &diagnostic.place;
                eprintln!(
                    "warning[{}]: {}:{}: {}",
                    diagnostic.code, place.file.path, place.line, diagnostic.message
                );
            }
        }
    }
}

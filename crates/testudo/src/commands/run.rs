//! `testudo run`: the daemon.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use testudo_config::Config;
use testudo_engine::Options as EngineOptions;
use testudo_event::YearClock;
use testudo_node::{NodeError, Once, Options, RuleSources};

use crate::{
    args::{DATA_DIR, Level, RuleArgs, RunArgs},
    commands::replay::present,
    content,
    failure::{self, Failure},
    names,
    replay::{guess, input},
    rules,
};

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let options = options(args)?;
    if args.test {
        return test(&options);
    }
    match testudo_node::run(options, env!("CARGO_PKG_VERSION")) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{}", failure_of(&error));
            Ok(ExitCode::from(failure::FINDINGS))
        }
    }
}

fn failure_of(error: &NodeError) -> Failure {
    Failure::new(error.to_string())
}

/// As service managers use it: 0 when the daemon would start with all of it.
fn test(options: &Options) -> Result<ExitCode, Failure> {
    match testudo_node::test(options) {
        Ok(tested) => {
            rules::print(&tested.diagnostics);
            if tested.has_errors() {
                eprintln!("Configuration test done: the daemon starts, without the documents above");
                return Ok(ExitCode::from(failure::FINDINGS));
            }
            eprintln!("Configuration test done");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{}", failure_of(&error));
            Ok(ExitCode::from(failure::FINDINGS))
        }
    }
}

fn options(args: &RunArgs) -> Result<Options, Failure> {
    let data_dir = args.data_dir.clone();
    let config = match (&args.config, &data_dir) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(_)) => None,
        (None, None) => Config::find(),
    };
    let level = |level| match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warning => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    Ok(Options {
        config,
        data_dir: std::path::absolute(data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR)))
            .map_err(|error| Failure::new(format!("the folder of data: {error}")))?,
        listen: args.listen.clone(),
        files: files(args)?,
        once: args.dsn.clone().map(|dsn| Once {
            dsn,
            kind: args.kind.clone().unwrap_or_default(),
            labels: args.label.iter().cloned().collect(),
            transform: args.transform.clone(),
        }),
        no_agent: args.no_agent,
        no_api: args.no_api,
        log_level: args.log_level.map(level),
        rules: RuleSources { own: content::rules, resolve: Some(Arc::new(names::ask)) },
    })
}

/// The files that are named, with their types.
fn files(args: &RunArgs) -> Result<Vec<(PathBuf, String)>, Failure> {
    if args.files.is_empty() {
        return Ok(Vec::new());
    }
    let mut engine = None;
    let mut typed = Vec::new();
    for path in &args.files {
        let path = std::path::absolute(path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let kind = match &args.kind {
            Some(kind) => kind.clone(),
            None => {
                if engine.is_none() {
                    let options = EngineOptions::new(YearClock::NotAfter(present()));
                    engine = Some(rules::engine(&RuleArgs::default(), options)?);
                }
                let lines = input::first_lines(&path, guess::SAMPLE_LINES);
                let guessed = engine.as_ref().and_then(|engine| guess::guess(engine, &path, &lines));
                guessed.ok_or_else(|| {
                    Failure::new(format!("the type of {} cannot be guessed", path.display()))
                        .hint("give it with --type, e.g. --type syslog")
                })?
            }
        };
        typed.push((path, kind));
    }
    Ok(typed)
}

//! `simulation`: which scenarios only say what they would do.

use testudo_config::{Output, load_simulation, save_simulation};
use testudo_rules::plan::Simulation;

use crate::args::{SimulationVerb, Switch};
use crate::context::Context;
use crate::failure::{Done, Failure};

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &SimulationVerb) -> Done {
    match verb {
        SimulationVerb::Enable(args) => switch(cx, args, true),
        SimulationVerb::Disable(args) => switch(cx, args, false),
        SimulationVerb::Status => status(cx),
    }
}

fn load(cx: &Context<'_, '_>) -> Result<Simulation, Failure> {
    Ok(load_simulation(&cx.config()?.paths.simulation_path, cx.io.variable)?)
}

fn word(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

fn switch(cx: &mut Context<'_, '_>, args: &Switch, on: bool) -> Done {
    let mut simulation = load(cx)?;
    if args.global {
        // Exceptions from the old state would mean the opposite in the new one.
        simulation.exclusions.clear();
        simulation.simulation = on;
        cx.note(format_args!("global simulation: {}", word(on)));
    } else if args.scenarios.is_empty() {
        return Err(Failure::text("no scenario given: name some, or use --global"));
    }
    for scenario in args.scenarios.iter().filter(|_| !args.global) {
        let is_exception = on != simulation.simulation;
        let known = simulation.exclusions.contains(scenario);
        if known == is_exception {
            cx.note(format_args!("simulation mode for '{scenario}' is already {}", word(on)));
            continue;
        }
        if is_exception {
            simulation.exclusions.insert(scenario.clone());
        } else {
            simulation.exclusions.remove(scenario);
        }
        cx.note(format_args!("simulation mode for '{scenario}' {}", word(on)));
    }
    save_simulation(&cx.config()?.paths.simulation_path, &simulation)?;
    cx.hint_reload();
    Ok(())
}

fn status(cx: &mut Context<'_, '_>) -> Done {
    let simulation = load(cx)?;
    let names: Vec<&str> = simulation.exclusions.iter().map(String::as_str).collect();
    if cx.output() == Output::Json {
        return cx.json(&serde_json::json!({"simulation": simulation.simulation, "exclusions": names}), 1);
    }
    cx.line(format_args!("global simulation: {}", word(simulation.simulation)))?;
    if names.is_empty() {
        return Ok(());
    }
    let not = if simulation.simulation { "not " } else { "" };
    cx.line(format_args!("Scenarios {not}in simulation mode :"))?;
    names.iter().try_for_each(|name| cx.line(format_args!("  - {name}")))
}

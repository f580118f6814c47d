//! The documents of rule files, and the expressions in them.

use testudo_rules::{
    Diagnostic, load_collection, load_context, load_parsers, load_postoverflows, load_profiles,
    load_scenarios, load_simulation,
    plan::{
        Collection, Context, Expression, GrokSource, Parser, ParserNode, Scenario, Scope, Static, StaticValue,
    },
};

use crate::{Input, Kind};

/// A file that was read: what can be used of it, and what is wrong with the rest.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) documents: Documents,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The documents of a file that can be used.
#[derive(Clone, Debug)]
pub(crate) enum Documents {
    Parsers(Vec<Parser>),
    Postoverflows(Vec<Parser>),
    Scenarios(Vec<Scenario>),
    Contexts(Vec<Context>),
    Collections(Vec<Collection>),
    Profiles,
    Simulation,
    /// What loaders of other crates read.
    Foreign,
}

/// Reads a file.
pub(crate) fn load(input: &Input) -> File {
    let file = input.file.clone();
    let (documents, diagnostics) = match input.kind {
        Kind::Parser => {
            let loaded = load_parsers(file, &input.stage);
            (Documents::Parsers(loaded.items), loaded.diagnostics)
        }
        Kind::Postoverflow => {
            let loaded = load_postoverflows(file, &input.stage);
            (Documents::Postoverflows(loaded.items), loaded.diagnostics)
        }
        Kind::Scenario => {
            let loaded = load_scenarios(file);
            (Documents::Scenarios(loaded.items), loaded.diagnostics)
        }
        Kind::Context => {
            let loaded = load_context(file, true);
            (Documents::Contexts(loaded.items), loaded.diagnostics)
        }
        Kind::Collection => {
            let loaded = load_collection(file);
            (Documents::Collections(loaded.items), loaded.diagnostics)
        }
        Kind::Profiles => (Documents::Profiles, load_profiles(file).diagnostics),
        Kind::Simulation => (Documents::Simulation, load_simulation(file).diagnostics),
        Kind::Acquisition | Kind::Samples | Kind::Expectations | Kind::HubTest => {
            (Documents::Foreign, Vec::new())
        }
    };
    File { documents, diagnostics }
}

/// Calls `visit` for a node and those below it, from the top.
pub(crate) fn each_node<'n>(node: &'n ParserNode, visit: &mut dyn FnMut(&'n ParserNode)) {
    visit(node);
    node.nodes.iter().for_each(|child| each_node(child, visit));
}

/// The statics of a node, those of its grok first.
pub(crate) fn statics(node: &ParserNode) -> impl Iterator<Item = &Static> {
    node.grok.iter().flat_map(|grok| &grok.statics).chain(&node.statics)
}

/// Every expression of a node itself.
pub(crate) fn of_node(node: &ParserNode) -> Vec<&Expression> {
    let mut all: Vec<&Expression> = node.filter.iter().collect();
    all.extend(node.whitelist.iter().flat_map(|list| list.expressions.iter().chain(&list.contributors)));
    if let Some(GrokSource::Expression(expression)) = node.grok.as_ref().map(|grok| &grok.source) {
        all.push(expression);
    }
    all.extend(node.stash.iter().flat_map(|stash| [&stash.key, &stash.value]));
    all.extend(statics(node).filter_map(|item| match &item.value {
        StaticValue::Expression(expression) => Some(expression),
        StaticValue::Text(_) => None,
    }));
    all
}

/// Every expression of a scenario.
pub(crate) fn of_scenario(scenario: &Scenario) -> Vec<&Expression> {
    let mut all = vec![&scenario.filter];
    let Scenario { group_by, distinct, cancel_on, condition, overflow_filter, .. } = scenario;
    all.extend([group_by, distinct, cancel_on, condition, overflow_filter].into_iter().flatten());
    match &scenario.scope {
        Scope::Ip | Scope::Range(None) => {}
        Scope::Range(Some(expression)) | Scope::Custom(_, expression) => all.push(expression),
    }
    all.extend(
        scenario.bayesian.iter().flat_map(|bayesian| &bayesian.conditions).map(|item| &item.condition),
    );
    all
}

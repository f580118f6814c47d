//! Parsing: stages, trees of nodes, groks, whitelists. The order of everything is that of the rule
//! language's definition; each step says which.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use testudo_event::{Prefix, net, text};
use testudo_expr::{EvalError, Value};
use testudo_pattern::{Capture, Library};
use testudo_rules::plan::{
    Expression, Grok, GrokPattern, GrokSource, OnSuccess, Parser, ParserNode, Whitelist,
};

use crate::{
    eval,
    event::{Event, EventKind},
    scene::Scene,
    statics::{self, Enricher},
    world::{World, WorldFiles},
};

/// Why an event is dropped in the middle of parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;

/// A grok with its pattern compiled.
struct Pattern {
    regex: Regex,
    captures: Vec<Capture>,
}

/// A node with its patterns compiled.
struct Node {
    plan: ParserNode,
    pattern: Option<Pattern>,
    nodes: Vec<Node>,
}

/// All parsers, or all postoverflows.
pub(crate) struct Stages {
    /// The stages that have a node, sorted.
    names: Vec<Arc<str>>,
    nodes: Vec<(Arc<str>, Node)>,
}

impl Stages {
    /// Compiles documents. One that cannot be used is left out, with the reason in `disabled`.
    pub(crate) fn new(
        documents: &[Parser],
        world: &mut World,
        files: &WorldFiles,
        disabled: &mut Vec<String>,
    ) -> Stages {
        let mut library = Library::standard();
        let mut nodes = Vec::new();
        for document in documents {
            // Definitions of a document that is left out do not stay either.
            let mut extended = library.clone();
            match compile(&document.node, &mut extended) {
                Ok(node) => {
                    library = extended;
                    prepare(&node, world, files);
                    nodes.push((document.stage.clone(), node));
                }
                Err(reason) => disabled.push(format!("{}: {reason}", document.node.name)),
            }
        }
        let mut names: Vec<Arc<str>> = nodes.iter().map(|(stage, _)| stage.clone()).collect();
        names.sort();
        names.dedup();
        Stages { names, nodes }
    }

    /// Runs an event through all stages. Afterwards `process` says whether it came through.
    pub(crate) fn run(&self, event: &mut Event, enricher: &Enricher<'_>) -> Result<(), Dropped> {
        if event.stage.is_empty() {
            event.stage = self.names.first().map(ToString::to_string).unwrap_or_default();
        }
        event.process = false;
        event.time.get_or_insert(enricher.now());
        for (at, stage) in self.names.iter().enumerate() {
            let known = self.names.iter().position(|name| **name == *event.stage);
            if known.is_some_and(|place| place > at) {
                continue;
            }
            if *event.stage != **stage {
                return Ok(());
            }
            let mut any = false;
            for (_, node) in self.nodes.iter().filter(|(of, _)| of == stage) {
                let ok = self.node(node, event, enricher)?;
                any |= ok;
                let moves_on = ok && node.plan.on_success == OnSuccess::NextStage;
                if moves_on || *event.stage != **stage {
                    break;
                }
            }
            if !any {
                return Ok(());
            }
        }
        event.process = true;
        Ok(())
    }

    fn node(&self, node: &Node, event: &mut Event, enricher: &Enricher<'_>) -> Result<bool, Dropped> {
        let world = enricher.world;
        // 1. filter
        if let Some(filter) = &node.plan.filter {
            match run(filter, event, world) {
                Ok(Value::Bool(true)) => {}
                Ok(_) | Err(_) => return Ok(false),
            }
        }
        // 2. whitelist
        let whitelisted = node.plan.whitelist.as_ref().is_some_and(|list| whitelist(list, event, world));
        // 3. grok
        let mut ok = true;
        let mut matched = false;
        if let (Some(grok), Some(pattern)) = (&node.plan.grok, &node.pattern) {
            matched = apply(grok, pattern, event, world);
            ok = matched;
            if matched {
                statics::apply(&grok.statics, event, enricher)?;
            }
        }
        // 4. stash
        if matched || node.pattern.is_none() {
            for stash in &node.plan.stash {
                let value = run(&stash.value, event, world);
                let key = run(&stash.key, event, world);
                if let (Ok(Value::Str(value)), Ok(Value::Str(key))) = (value, key) {
                    world.stashes().set(&stash.name, &key, &value, stash.ttl, enricher.now());
                }
            }
        }
        // 5. children
        let stops = node.plan.on_success == OnSuccess::NextStage;
        for child in &node.nodes {
            if self.node(child, event, enricher)? {
                ok = true;
                if stops {
                    break;
                }
            } else if !matched {
                ok = false;
            }
        }
        // 6.
        if !ok {
            return Ok(false);
        }
        // 7. statics
        if whitelisted || node.plan.whitelist.as_ref().is_none_or(Whitelist::is_empty) {
            statics::apply(&node.plan.statics, event, enricher)?;
        }
        // 8. The next stage is that after the event's own one, which a child may have moved.
        if stops {
            let place = self.names.iter().position(|name| **name == *event.stage);
            if let Some(next) = place.and_then(|place| self.names.get(place + 1)) {
                event.stage = next.to_string();
            }
        }
        Ok(true)
    }
}

fn run(expression: &Expression, event: &mut Event, world: &World) -> Result<Value, EvalError> {
    eval::evaluate(&expression.ast, &mut Scene::of(event, world))
}

fn compile(plan: &ParserNode, library: &mut Library) -> Result<Node, String> {
    for (name, body, _) in &plan.pattern_syntax {
        library.define(name, body).map_err(|error| error.to_string())?;
    }
    let text = match plan.grok.as_ref().and_then(|grok| grok.pattern.as_ref()) {
        None => None,
        Some(GrokPattern::Name(name)) => Some(format!("%{{{name}}}")),
        Some(GrokPattern::Inline(text)) => Some(text.clone()),
    };
    let pattern = match text {
        None => None,
        Some(text) => {
            let expanded = library.expand(&text).map_err(|error| error.to_string())?;
            let regex = RegexBuilder::new(&expanded.regex).size_limit(SIZE_LIMIT).build();
            let regex = regex.map_err(|error| error.to_string())?;
            Some(Pattern { regex, captures: expanded.captures })
        }
    };
    let nodes = plan.nodes.iter().map(|child| compile(child, library)).collect::<Result<_, _>>()?;
    Ok(Node { plan: plan.clone(), pattern, nodes })
}

/// Bytes of a compiled pattern: enough for the largest ones of the library.
const SIZE_LIMIT: usize = 100 << 20;

fn prepare(node: &Node, world: &mut World, files: &WorldFiles) {
    for file in &node.plan.data {
        world.load(file, files);
    }
    for stash in &node.plan.stash {
        world.stashes().define(stash);
    }
    for child in &node.nodes {
        prepare(child, world, files);
    }
}

/// Applies a pattern. A pattern without fields never succeeds; fields that took no part are stored empty.
fn apply(grok: &Grok, pattern: &Pattern, event: &mut Event, world: &World) -> bool {
    let source = match &grok.source {
        GrokSource::Line => Some(event.line.raw.clone()),
        GrokSource::Parsed(key) => event.parsed.get(&**key).cloned(),
        GrokSource::Expression(expression) => match run(expression, event, world) {
            Err(_) => None,
            Ok(Value::Str(text)) => Some(text.to_string()),
            Ok(Value::Int(number)) => Some(number.to_string()),
            Ok(Value::Float(number)) => Some(text::go_f(number)),
            Ok(_) => Some(String::new()),
        },
    };
    let Some(source) = source.filter(|_| !pattern.captures.is_empty()) else { return false };
    let Some(found) = pattern.regex.captures(&source) else { return false };
    for capture in &pattern.captures {
        let value = found.get(capture.group).map_or("", |group| group.as_str());
        event.parsed.insert(capture.name.to_string(), value.to_owned());
    }
    true
}

/// Tests a whitelist and marks the event; whether this list matched.
fn whitelist(list: &Whitelist, event: &mut Event, world: &World) -> bool {
    let listed = |address| {
        let address = net::canonical(address);
        list.ips.iter().any(|ip| net::canonical(*ip) == address)
            || list.cidrs.iter().any(|range| unmapped(*range).contains(address))
    };
    let by_address = event.ip_sources().into_iter().any(listed);
    if event.kind == EventKind::Overflow {
        let mut contributors = std::mem::take(&mut event.overflow.alert.contributors);
        contributors.retain(|one| !net::parse_addr(&one.value).is_some_and(listed));
        contributors.retain(|one| {
            !list.contributors.iter().any(|expression| {
                let mut scene = Scene { contributor: Some(&one.value), ..Scene::of(event, world) };
                matches!(eval::evaluate(&expression.ast, &mut scene), Ok(Value::Bool(true)))
            })
        });
        event.overflow.alert.contributors = contributors;
    }
    let matched = by_address || {
        let mut hit = false;
        for expression in &list.expressions {
            match run(expression, event, world) {
                Ok(Value::Bool(true)) => hit = true,
                Ok(_) => continue,
                Err(_) => {}
            }
            break;
        }
        hit
    };
    if matched && !event.whitelisted {
        event.whitelisted = true;
        event.whitelist_reason = list.reason.to_string();
        if event.kind == EventKind::Overflow {
            event.overflow.whitelisted = true;
            event.overflow.whitelist_reason = list.reason.to_string();
        }
    }
    matched
}

/// A range of mapped addresses as the IPv4 range that it is.
fn unmapped(range: Prefix) -> Prefix {
    let address = net::canonical(range.first());
    if address == range.first() || range.bits() < 96 {
        return range;
    }
    Prefix::new(address, range.bits() - 96).unwrap_or(range)
}

#[cfg(test)]
mod tests;

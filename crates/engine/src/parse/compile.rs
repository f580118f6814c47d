//! Builds the stages from the plans of single documents: names to slots, filters to an index,
//! patterns to matchers that capture what is read.

use std::{collections::BTreeMap, sync::Arc};

use testudo_event::net;
use testudo_expr::{
    Slot,
    program::{Need, Program},
};
use testudo_pattern::{Defined, Expanded, Grok, Library, PatternError, backtrack::Tokens};
use testudo_rules::{
    Diagnostic, Place, Severity,
    plan::{self, GrokPattern, GrokSource, StaticValue, TextField},
};

use super::plan::{
    Hopeless, Method, Node, NodeGrok, Source, Stage, Stages, Stash, Static, Target, Value, Whitelist,
};
use crate::{
    codes,
    dispatch::{Dispatch, Scan},
    keys::{self, Keys, Space},
    reads::{EventResolver, Reads},
    world::World,
};

/// A node whose pattern waits until it is known which fields are read.
pub(crate) struct Pending {
    plan: Node,
    grok: Option<PendingGrok>,
    children: Vec<Pending>,
}

struct PendingGrok {
    source: Source,
    expanded: Expanded,
    statics: Vec<Static>,
    text: Arc<str>,
    place: Place,
}

/// What compiling needs to know and to tell.
pub(crate) struct Context<'c> {
    pub(crate) keys: &'c mut Keys,
    pub(crate) world: &'c World,
    pub(crate) library: Library,
    /// Whether the stages are those after an overflow.
    pub(crate) overflow: bool,
    pub(crate) diagnostics: &'c mut Vec<Diagnostic>,
    /// Layouts that rules name, to be compiled once.
    pub(crate) layouts: &'c mut Vec<Box<str>>,
}

/// Stages with their nodes, the patterns still open.
pub(crate) type PendingStages = Vec<(Arc<str>, Vec<Pending>)>;

/// Compiles all documents but for their patterns. A document that cannot be used is told and left out.
pub(crate) fn compile_stages(parsers: &[plan::Parser], context: &mut Context<'_>) -> PendingStages {
    let mut stages: BTreeMap<Arc<str>, Vec<Pending>> = BTreeMap::new();
    for parser in parsers {
        let library = context.library.clone();
        match node(&parser.node, context) {
            Ok(pending) => {
                declare_stashes(&parser.node, context.world);
                stages.entry(parser.stage.clone()).or_default().push(pending);
            }
            Err(diagnostic) => {
                context.diagnostics.push(diagnostic);
                // What a document that is left out has defined does not stay either.
                context.library = library;
            }
        }
    }
    stages.into_iter().collect()
}

fn declare_stashes(node: &plan::ParserNode, world: &World) {
    for item in &node.stash {
        world.lock_stashes().declare(&item.name, item.size, item.strategy);
    }
    node.nodes.iter().for_each(|child| declare_stashes(child, world));
}

/// What is wrong with a pattern. `place`: its text in the file.
fn pattern_diagnostic(error: &PatternError, text: &str, place: &Place, code: &'static str) -> Diagnostic {
    let at = error.offset();
    Diagnostic {
        code,
        severity: Severity::Error,
        message: error.to_string(),
        place: if at == 0 { place.clone() } else { place.within(text, at..text.len()) },
        hint: error.hint(),
    }
}

fn program(expression: &plan::Expression, context: &mut Context<'_>) -> Program {
    Reads::new(context.keys).add(&expression.node);
    Program::new(
        &expression.node,
        &mut EventResolver { keys: context.keys, overflow: context.overflow },
        context.world,
    )
}

fn node(plan: &plan::ParserNode, context: &mut Context<'_>) -> Result<Pending, Diagnostic> {
    // Definitions come before the node's own pattern and its children; the first of a name counts.
    for (name, body, place) in &plan.pattern_syntax {
        match context.library.define(name, body) {
            Ok(Defined::New) => {}
            Ok(Defined::Existed) => {
                let same = context.library.get(name).is_some_and(|existing| existing == body);
                if !same {
                    context.diagnostics.push(Diagnostic {
                        code: codes::PATTERN_EXISTS,
                        severity: Severity::Warning,
                        message: format!(
                            "the pattern `{name}` is defined already; this definition is not used"
                        ),
                        place: place.clone(),
                        hint: Some("give it a name of its own".to_owned()),
                    });
                }
            }
            Err(error) => return Err(pattern_diagnostic(&error, body, place, codes::PATTERN_DEFINITION)),
        }
    }
    let filter = plan.filter.as_ref().map(|filter| program(filter, context));
    let whitelist = plan.whitelist.as_ref().filter(|list| !list.is_empty()).map(|list| {
        let expressions: Vec<Program> = list.expressions.iter().map(|e| program(e, context)).collect();
        let writes = expressions.iter().any(|program| program.node().effects.mutates);
        let dispatch = (!writes).then(|| Dispatch::new(&expressions.iter().map(Some).collect::<Vec<_>>()));
        Whitelist {
            reason: list.reason.clone(),
            ips: list.ips.iter().map(|ip| net::canonical(*ip)).collect(),
            cidrs: list.cidrs.iter().map(|cidr| cidr.canonical()).collect(),
            expressions,
            contributors: list.contributors.iter().map(|e| program(e, context)).collect(),
            dispatch,
        }
    });
    let grok = match &plan.grok {
        Some(grok) => pending_grok(grok, context)?,
        None => None,
    };
    let stash = plan.stash.iter().map(|item| Stash {
        name: item.name.clone(),
        key: program(&item.key, context),
        value: program(&item.value, context),
        ttl: item.ttl,
    });
    let stash = stash.collect();
    let children = plan.nodes.iter().map(|child| node(child, context)).collect::<Result<_, _>>()?;
    let statics = statics(&plan.statics, context);
    Ok(Pending {
        plan: Node {
            name: plan.name.clone(),
            label: plan.label.clone(),
            id: Node::UNCOUNTED,
            on_success: plan.on_success,
            filter,
            whitelist,
            grok: None,
            stash,
            nodes: Vec::new(),
            hopeless: None,
            statics,
        },
        grok,
        children,
    })
}

fn pending_grok(grok: &plan::Grok, context: &mut Context<'_>) -> Result<Option<PendingGrok>, Diagnostic> {
    let source = match &grok.source {
        GrokSource::Line => Source::Line,
        GrokSource::Parsed(key) => Source::Slot(context.keys.intern_read(Space::Parsed, key)),
        GrokSource::Expression(expression) => Source::Expression(program(expression, context)),
    };
    let text: Arc<str> = match &grok.pattern {
        None => return Ok(None),
        Some(GrokPattern::Inline(text)) => text.as_str().into(),
        Some(GrokPattern::Name(name)) => match context.library.get(name) {
            Some(_) => format!("%{{{name}}}").into(),
            None => {
                return Err(Diagnostic {
                    code: codes::PATTERN_UNKNOWN,
                    severity: Severity::Error,
                    message: format!("there is no pattern `{name}`"),
                    place: grok.pattern_place.clone(),
                    hint: Some(
                        "define it under pattern_syntax, or use `pattern:` for a pattern written out".into(),
                    ),
                });
            }
        },
    };
    let expanded = context
        .library
        .expand(&text)
        .map_err(|error| pattern_diagnostic(&error, &text, &grok.pattern_place, codes::PATTERN_BAD))?;
    Ok(Some(PendingGrok {
        source,
        expanded,
        statics: statics(&grok.statics, context),
        text,
        place: grok.pattern_place.clone(),
    }))
}

fn statics(items: &[plan::Static], context: &mut Context<'_>) -> Vec<Static> {
    items
        .iter()
        .map(|item| {
            let target = target(&item.target, context.keys);
            let value = match &item.value {
                StaticValue::Text(text) => {
                    if matches!(target, Target::Slot(keys::STR_TIME_FORMAT)) {
                        context.layouts.push(text.as_ref().into());
                    }
                    Value::Constant(context.keys.constant(text))
                }
                StaticValue::Expression(expression) => {
                    let program = program(expression, context);
                    match program.slot() {
                        Some(slot) => Value::Slot(slot),
                        None => Value::Program(program),
                    }
                }
            };
            Static { target, value }
        })
        .collect()
}

fn target(target: &plan::Target, keys: &mut Keys) -> Target {
    match target {
        plan::Target::Method(name) => {
            let method = Method::named(name);
            if method == Method::Reputation {
                keys.ask_lists();
            }
            Target::Method(method)
        }
        plan::Target::Parsed(key) => Target::Slot(keys.intern(Space::Parsed, key)),
        plan::Target::Meta(key) => Target::Slot(keys.intern(Space::Meta, key)),
        plan::Target::Enriched(key) => Target::Slot(keys.intern(Space::Enriched, key)),
        plan::Target::Label(key) => Target::Slot(keys.intern(Space::Labels, key)),
        plan::Target::Unmarshaled(key) => Target::Unmarshaled(key.clone()),
        plan::Target::Nowhere(_) => Target::Nowhere,
        plan::Target::Field(field) => match field {
            TextField::StrTime => Target::Slot(keys::STR_TIME),
            TextField::StrTimeFormat => Target::Slot(keys::STR_TIME_FORMAT),
            TextField::MarshaledTime => Target::Slot(keys::MARSHALED_TIME),
            TextField::WhitelistReason => Target::Slot(keys::WHITELIST_REASON),
            TextField::LineRaw => Target::Slot(keys::LINE_RAW),
            TextField::LineSrc => Target::Slot(keys::LINE_SRC),
            TextField::LineModule => Target::Slot(keys::LINE_MODULE),
            TextField::Stage => Target::Stage,
            field => Target::Overflow(*field),
        },
    }
}

/// Patterns over one cell from which on looking for all their literals at once is quicker than each by itself.
const MIN_HOPELESS: usize = 4;

/// What the patterns of a set share while they are compiled.
#[derive(Debug, Default)]
pub(crate) struct Open {
    next_id: usize,
    tokens: Tokens,
}

/// Compiles the open patterns. `capture_all`: also of fields that no rule reads (traces, tests).
pub(crate) fn finish_groks(
    pending: PendingStages,
    keys: &mut Keys,
    capture_all: bool,
    open: &mut Open,
    diagnostics: &mut Vec<Diagnostic>,
) -> Stages {
    let mut stages = Vec::new();
    for (name, nodes) in pending {
        let Open { next_id, tokens } = &mut *open;
        let mut finisher = Finisher { keys, capture_all, next_id, tokens, diagnostics };
        let nodes: Vec<Node> = nodes.into_iter().filter_map(|node| finisher.node(node)).collect();
        if nodes.is_empty() {
            continue;
        }
        let filters: Vec<Option<&Program>> = nodes.iter().map(|node| node.filter.as_ref()).collect();
        let dispatch = Dispatch::new(&filters);
        let guards = dispatch.deciders();
        stages.push(Stage { name, nodes, dispatch, guards });
    }
    Stages { stages }
}

struct Finisher<'f> {
    keys: &'f mut Keys,
    capture_all: bool,
    next_id: &'f mut usize,
    tokens: &'f mut Tokens,
    diagnostics: &'f mut Vec<Diagnostic>,
}

impl Finisher<'_> {
    /// `None`: a pattern is too large; the top-level node is left out.
    fn node(&mut self, pending: Pending) -> Option<Node> {
        let mut node = pending.plan;
        if let Some(open) = pending.grok {
            let keys = &*self.keys;
            let wanted = |name: &str| self.capture_all || keys.is_read(Space::Parsed, name);
            let grok = match Grok::with_tokens(&open.expanded, &wanted, self.tokens) {
                Ok(grok) => grok,
                Err(error) => {
                    self.diagnostics.push(Diagnostic {
                        code: codes::PATTERN_BAD,
                        severity: Severity::Error,
                        message: format!("`{}`: {error}", node.label),
                        place: open.place,
                        hint: error.hint(),
                    });
                    return None;
                }
            };
            let slots = grok.fields().iter().map(|name| self.keys.intern(Space::Parsed, name)).collect();
            node.grok = Some(NodeGrok {
                source: open.source,
                grok,
                id: *self.next_id,
                slots,
                statics: open.statics,
                text: open.text,
            });
            *self.next_id += 1;
        }
        for child in pending.children {
            node.nodes.push(self.node(child)?);
        }
        node.hopeless = hopeless(&node.nodes);
        Some(node)
    }
}

/// The cell and the literals of a node that asks nothing before its pattern.
fn bare_pattern(node: &Node) -> Option<(Slot, &[String])> {
    let grok = node.grok.as_ref().filter(|_| node.filter.is_none() && node.whitelist.is_none())?;
    let slot = match grok.source {
        Source::Line => keys::LINE_RAW,
        Source::Slot(slot) => slot,
        Source::Expression(_) => return None,
    };
    Some((slot, grok.grok.required_literals()?))
}

/// Prepares one pass for the children that are patterns over the cell that most of them are applied on.
fn hopeless(children: &[Node]) -> Option<Hopeless> {
    let slots: Vec<Slot> = children.iter().filter_map(|child| Some(bare_pattern(child)?.0)).collect();
    let count = |slot: Slot| slots.iter().filter(|other| **other == slot).count();
    let slot = slots.iter().copied().max_by_key(|slot| count(*slot))?;
    if count(slot) < MIN_HOPELESS {
        return None;
    }
    let needs: Vec<(usize, Need)> = children
        .iter()
        .enumerate()
        .filter_map(|(at, child)| Some((at, bare_pattern(child).filter(|(of, _)| *of == slot)?.1)))
        .map(|(at, literals)| (at, Need::literals(slot, literals)))
        .collect();
    Some(Hopeless { slot, scan: Scan::new(slot, &needs, children.len())? })
}

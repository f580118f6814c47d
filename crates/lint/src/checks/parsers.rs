//! Parsers and postoverflows: the way through the stages, statics, whitelists.

use testudo_expr::{Type, Value, core::Kind as Core};
use testudo_rules::{
    Diagnostic,
    plan::{GrokSource, OnSuccess, Parser, ParserNode, StaticValue, Target},
};

use super::{advice, conditions, patterns};
use crate::{cells::Space, codes, documents, facts::Facts};

/// Looks at the parsers of a file as links of a chain.
pub(crate) fn chain(parsers: &[Parser], into: &mut Vec<Diagnostic>) {
    for parser in parsers {
        let early = parser.stage.starts_with("s00") || parser.stage.starts_with("s01");
        let top = &parser.node;
        // One document may find out what another one goes on with.
        if early && !parsers.iter().any(|parser| moves(&parser.node)) && !is_harmless(top) {
            into.push(advice(
                codes::STUCK,
                top.place.clone(),
                format!(
                    "nothing in `{}` moves the event on: it stays in `{}` and counts as not parsed",
                    top.name, parser.stage
                ),
                "add `onsuccess: next_stage`",
            ));
        }
    }
}

/// Whether a node or one below it moves the event to the next stage.
fn moves(node: &ParserNode) -> bool {
    node.on_success == OnSuccess::NextStage || node.nodes.iter().any(moves)
}

/// Looks at a parser or postoverflow.
pub(crate) fn check(parser: &Parser, overflow: bool, facts: &Facts, into: &mut Vec<Diagnostic>) {
    let top = &parser.node;
    if !overflow {
        cost(parser, into);
    }
    documents::each_node(top, &mut |node| {
        if let Some(filter) = &node.filter {
            let what =
                if std::ptr::eq(node, top) { "the filter of the parser" } else { "the filter of the node" };
            conditions::filter(filter, what, facts, into);
        }
        last_node(node, into);
        statics(node, into);
        whitelist(node, into);
        for expression in documents::of_node(node) {
            conditions::reads(expression, facts, into);
            patterns::matches(expression, into);
        }
        if let Some(grok) = &node.grok
            && let GrokSource::Parsed(key) = &grok.source
            && facts.reads_lines
            && !key.contains('.')
            && facts.texts(Space::Parsed, key).is_none()
        {
            into.push(advice(
                codes::NOT_SET,
                grok.place.clone(),
                format!("no parser here sets `evt.Parsed.{key}`, to which the pattern is applied: it never matches"),
                conditions::not_set_hint(Space::Parsed, key, facts),
            ));
        }
    });
}

/// What the parser costs each event.
fn cost(parser: &Parser, into: &mut Vec<Diagnostic>) {
    let top = &parser.node;
    if parser.stage.starts_with("s01") {
        match &top.filter {
            Some(filter) if conditions::is_indexed(filter) => {}
            Some(filter) => into.push(advice(
                codes::EVERY_EVENT,
                filter.place.clone(),
                "the filter has to be asked for every line: nothing in it can be looked up",
                "begin it with a comparison with fixed text, e.g. `evt.Parsed.program == 'nginx' && …`",
            )),
            None if has_grok(top) => into.push(advice(
                codes::EVERY_EVENT,
                top.place.clone(),
                "the parser has no filter: its patterns are tried on every line of every log",
                "add one, e.g. `filter: evt.Parsed.program == 'nginx'`",
            )),
            None => {}
        }
    }
}

/// A parser that only lets pass, or only remembers.
fn is_harmless(node: &ParserNode) -> bool {
    node.whitelist.is_some() || !node.stash.is_empty()
}

fn has_grok(node: &ParserNode) -> bool {
    let mut found = false;
    documents::each_node(node, &mut |node| found |= node.grok.is_some());
    found
}

/// Nodes of which each may fail, where only the last one counts.
fn last_node(node: &ParserNode, into: &mut Vec<Diagnostic>) {
    let may_fail = |child: &ParserNode| child.grok.is_some() || child.filter.is_some();
    let alternatives = node.nodes.iter().filter(|child| may_fail(child)).count();
    let last_fails = node.nodes.last().is_some_and(may_fail);
    let moves = |child: &ParserNode| child.on_success == OnSuccess::NextStage;
    if node.on_success == OnSuccess::Continue
        && node.grok.is_none()
        && alternatives > 1
        && last_fails
        && !node.statics.is_empty()
        && !node.nodes.iter().any(moves)
    {
        into.push(advice(
            codes::LAST_NODE,
            node.place.clone(),
            format!("of the {} nodes below `{}` all are tried, and only the last one decides whether its statics run",
                node.nodes.len(), node.label),
            "add `onsuccess: next_stage` to stop at the first that succeeds, or end with one that always does",
        ));
    }
}

fn statics(node: &ParserNode, into: &mut Vec<Diagnostic>) {
    let lists = [node.grok.as_ref().map_or(&[][..], |grok| &grok.statics), &node.statics];
    for list in lists {
        for (at, item) in list.iter().enumerate() {
            match &item.value {
                StaticValue::Expression(expression) => {
                    if let Some(what) = dropping(&expression.node.ty)
                        && !matches!(item.target, Target::Nowhere(_))
                    {
                        into.push(advice(
                            codes::STATIC_TYPE,
                            expression.place.clone(),
                            format!("the expression gives {what}, for which the whole event is dropped"),
                            "make it text, e.g. with `string( … )` or `… ? 'true' : 'false'`",
                        ));
                    }
                }
                StaticValue::Text(text) => {
                    let later = list[at + 1..].iter().any(|later| {
                        later.target == item.target
                            && matches!(&later.value, StaticValue::Text(_))
                            && !matches!(item.target, Target::Method(_) | Target::Nowhere(_))
                    });
                    if later {
                        into.push(advice(
                            codes::OVERWRITTEN,
                            item.place.clone(),
                            format!("`{text}` is overwritten by a static below it"),
                            "remove one of the two",
                        ));
                    }
                }
            }
        }
    }
}

/// A type of which the value of a static must not be.
fn dropping(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Bool => Some("a boolean"),
        Type::List(of) if **of == Type::String => Some("a list of texts"),
        Type::Time => Some("an instant"),
        Type::Duration => Some("a duration"),
        _ => None,
    }
}

fn whitelist(node: &ParserNode, into: &mut Vec<Diagnostic>) {
    let Some(whitelist) = &node.whitelist else { return };
    let of_events = whitelist.expressions.iter().map(|expression| {
        let always = "the expression always holds: every event is harmless, and nobody is ever banned";
        (expression, always, "say which events are meant")
    });
    let of_contributors = whitelist.contributors.iter().map(|expression| {
        let always = "the expression always holds: nobody is banned for what many did together";
        (expression, always, "say which contributors are meant")
    });
    for (expression, always, remedy) in of_events.chain(of_contributors) {
        let (code, message, remedy) = match expression.node.kind {
            Core::Const(Value::Bool(true)) if node.filter.is_none() => (codes::ALWAYS, always, remedy),
            Core::Const(Value::Bool(false)) => {
                (codes::NEVER, "the expression never holds", "mend or remove it")
            }
            _ => continue,
        };
        into.push(advice(code, expression.place.clone(), message, remedy));
    }
    for network in &whitelist.cidrs {
        if network.bits() == 0 && node.filter.is_none() {
            into.push(advice(
                codes::ALWAYS,
                super::key_place(&node.place, "whitelist"),
                format!("`{network}` holds every address: nobody is ever banned"),
                "name the networks that are meant",
            ));
        }
    }
}

//! Parser and postoverflow files: documents that are trees of nodes.

use std::sync::Arc;

use crate::{
    codes, data,
    expression::{self, Usage},
    keys,
    load::{self, Fields, Loaded, Loading},
    place::{Place, SourceFile},
    plan::{Grok, GrokPattern, GrokSource, NodeLabel, OnSuccess, Parser, ParserNode, Stash, Strategy},
    statics::{self, Under},
    whitelist,
    yaml::Node,
};

/// Reads a parser file. `stage` is the name of the folder that it stands in.
pub fn load_parsers(file: Arc<SourceFile>, stage: &str) -> Loaded<Parser> {
    load_with(file, stage, &Usages { test: Usage::TEST, value: Usage::VALUE, after_overflow: false })
}

/// Reads a postoverflow file: the same as a parser file, except that nothing waits for it, so that
/// its expressions may ask the network.
pub fn load_postoverflows(file: Arc<SourceFile>, stage: &str) -> Loaded<Parser> {
    let usages = Usages {
        test: Usage::TEST.after_overflow(),
        value: Usage::VALUE.after_overflow(),
        after_overflow: true,
    };
    load_with(file, stage, &usages)
}

/// How the expressions of the file are used.
struct Usages {
    test: Usage,
    value: Usage,
    /// They run on overflows.
    after_overflow: bool,
}

fn load_with(file: Arc<SourceFile>, stage: &str, usages: &Usages) -> Loaded<Parser> {
    let stage: Arc<str> = stage.into();
    load::documents(file, |load, document| {
        let errors = load.errors();
        let fields = Fields::read(load, document, &keys::PARSER);
        if ["name", "description", "author"].iter().all(|key| fields.text(load, key).is_none()) {
            if !document.is_null() && load.errors() == errors {
                let message = "the document is skipped: it has no name, no description and no author";
                let hint = "give it a name, e.g. `name: me/my-parser`".to_owned();
                load.warn(codes::EMPTY_DOCUMENT, document.span.clone(), message, hint);
            }
            return None;
        }
        Some(Parser { stage: Arc::clone(&stage), node: node(load, &fields, None, usages) })
    })
}

/// What a child takes from the node above it.
struct Parent<'p> {
    name: &'p str,
    label: &'p NodeLabel,
    /// The number of the child, from 1.
    number: usize,
}

/// What messages call a node whose own name, if it has one, is `name`.
fn label(load: &Loading, fields: &Fields<'_>, name: Option<&str>, parent: Option<&Parent<'_>>) -> NodeLabel {
    let place = load.place(&fields.span);
    let (rule, at) = match (name, parent) {
        (Some(name), _) => (name.into(), "".into()),
        (None, Some(Parent { label, number, .. })) if label.at.is_empty() => {
            (label.rule.clone(), number.to_string().into())
        }
        (None, Some(Parent { label, number, .. })) => {
            (label.rule.clone(), format!("{}.{number}", label.at).into())
        }
        (None, None) => (format!("{}:{}", place.file.path, place.line).into(), "".into()),
    };
    NodeLabel { rule, at, line: place.line }
}

fn node(load: &mut Loading, fields: &Fields<'_>, parent: Option<&Parent<'_>>, usages: &Usages) -> ParserNode {
    let errors = load.errors();
    load.format(fields);
    fields.ignore(load, &["author", "description", "stage"], &["debug", "profiling"], &["references"]);
    let own_name = fields.text(load, "name").map(|name| name.text).filter(|name| !name.is_empty());
    let label = label(load, fields, own_name, parent);
    let name: Arc<str> = match (own_name, parent) {
        (Some(name), _) => name.into(),
        (None, Some(parent)) => format!("child-{}", parent.name).into(),
        (None, None) => Arc::from(""),
    };
    let on_success = fields.choice(
        load,
        "onsuccess",
        &[("", OnSuccess::Continue), ("continue", OnSuccess::Continue), ("next_stage", OnSuccess::NextStage)],
    );
    let filter = expression::optional(load, fields, "filter", &usages.test);
    let whitelist = fields.get("whitelist");
    let whitelist =
        whitelist.and_then(|node| whitelist::read(load, node, &usages.test, usages.after_overflow));
    let pattern_syntax = pattern_syntax(load, fields);
    let grok = fields.get("grok").and_then(|node| grok(load, node, &usages.value));
    let stash = stash(load, fields, &usages.value);
    let statics = statics::read(load, fields, Under::Node, &usages.value);
    let data = data::read(load, fields);
    let children = fields.get("nodes");
    let children = children.map_or(&[][..], |list| load.list(list, "`nodes`"));
    let nodes: Vec<ParserNode> = (1..)
        .zip(children)
        .map(|(number, child)| {
            let fields = Fields::read(load, child, &keys::NODE);
            node(load, &fields, Some(&Parent { name: &name, label: &label, number }), usages)
        })
        .collect();
    let empty = grok.is_none() && statics.is_empty() && whitelist.is_none() && nodes.is_empty();
    // Where something was written but is wrong, that is the thing to mend.
    if empty && load.errors() == errors {
        let hint = "a node needs a `grok`, `nodes`, `statics` or a `whitelist`".to_owned();
        load.error(codes::EMPTY_NODE, fields.span.clone(), "the node does nothing", hint);
    }
    let place = load.place(&fields.span);
    ParserNode {
        name,
        label,
        place,
        on_success,
        filter,
        pattern_syntax,
        grok,
        statics,
        stash,
        whitelist,
        data,
        nodes,
    }
}

/// Pattern definitions in document order: one may use those before it.
fn pattern_syntax(load: &mut Loading, fields: &Fields<'_>) -> Vec<(String, String, Place)> {
    let Some(map) = fields.get("pattern_syntax") else { return Vec::new() };
    load.map(map, "`pattern_syntax`")
        .into_iter()
        .filter_map(|(name, pattern)| {
            let text = load.text(pattern, format_args!("pattern `{}`", name.text))?;
            Some((name.text.to_owned(), text.text.to_owned(), load.place(&pattern.span)))
        })
        .collect()
}

/// Reads a grok; `None` where it gives neither a source nor a pattern.
fn grok(load: &mut Loading, node: &Node, value: &Usage) -> Option<Grok> {
    let fields = Fields::read(load, node, &keys::GROK);
    let [apply_on, expression, name, inline] =
        ["apply_on", "expression", "name", "pattern"].map(|key| fields.text(load, key));
    let compiled = expression.and_then(|text| expression::compile(load, text, value));
    let statics = statics::read(load, &fields, Under::Grok, value);
    if let (Some(_), Some(inline)) = (name, inline) {
        let hint = "keep one of the two".to_owned();
        load.warn(codes::NO_EFFECT, inline.span.clone(), "`pattern` has no effect beside `name`", hint);
    }
    if let (Some(_), Some(expression)) = (apply_on, expression) {
        let hint = "keep one of the two".to_owned();
        load.warn(
            codes::NO_EFFECT,
            expression.span.clone(),
            "`expression` has no effect beside `apply_on`",
            hint,
        );
    }
    if let Some(inline) = inline.filter(|inline| inline.text.ends_with('\n')) {
        let hint = "write `|-` instead of `|`, or put the pattern into quotes".to_owned();
        let message = "the pattern ends with a line break, which no line has";
        load.warn(codes::NO_EFFECT, inline.span.clone(), message, hint);
    }
    let pattern = match (name, inline) {
        (Some(name), _) => Some(GrokPattern::Name(name.text.to_owned())),
        (None, Some(inline)) => Some(GrokPattern::Inline(inline.text.to_owned())),
        (None, None) => None,
    };
    let source = match (apply_on, expression) {
        (Some(text), _) if text.text == "Line.Raw" => GrokSource::Line,
        (Some(key), _) => {
            if key.text.contains('.') {
                let message = format!("`{}` is no key of `evt.Parsed`: the grok never runs", key.text);
                let hint =
                    "`apply_on` takes `Line.Raw` or a bare key; for anything else there is `expression`";
                load.warn(codes::PATH, key.span.clone(), message, hint.to_owned());
            }
            GrokSource::Parsed(key.text.into())
        }
        (None, Some(_)) => GrokSource::Expression(compiled?),
        (None, None) => {
            if pattern.is_some() {
                let hint = "add what it is matched against, e.g. `apply_on: message`".to_owned();
                load.error(codes::GROK, fields.span, "the grok has a pattern but no text for it", hint);
            } else if !statics.is_empty() {
                let hint = "add `apply_on` and `pattern`, or move the statics to the node".to_owned();
                load.warn(
                    codes::NO_EFFECT,
                    fields.span,
                    "the statics of a grok without pattern never run",
                    hint,
                );
            }
            return None;
        }
    };
    if pattern.is_none() && apply_on.is_some() {
        let hint = "add a `pattern`, or the `name` of one".to_owned();
        load.error(codes::GROK, fields.span, "the grok has no pattern", hint);
        return None;
    }
    let pattern_place = load.place(name.or(inline).map_or(&fields.span, |text| text.span));
    Some(Grok { source, pattern, pattern_place, statics, place: load.place(&fields.span) })
}

/// Reads the `stash` entries of a node.
fn stash(load: &mut Loading, fields: &Fields<'_>, value: &Usage) -> Vec<Stash> {
    let Some(list) = fields.get("stash") else { return Vec::new() };
    load.list(list, "`stash`").iter().filter_map(|entry| stash_entry(load, entry, value)).collect()
}

fn stash_entry(load: &mut Loading, node: &Node, usage: &Usage) -> Option<Stash> {
    /// Entries of a cache that does not say how many it holds.
    const DEFAULT_SIZE: usize = 100;
    /// Entries that a rule may ask for: about a gigabyte.
    const MAX_SIZE: i64 = 1_000_000;
    let fields = Fields::read(load, node, &keys::STASH);
    let what = "the stash";
    let name = fields.require(load, "name", what, "name the cache, e.g. `name: pids`");
    let key = fields.require(load, "key", what, "add the expression of the key, e.g. `key: evt.Parsed.pid`");
    let value = fields.require(load, "value", what, "add the expression of the value");
    let ttl = fields.require(load, "ttl", what, "say how long entries live, e.g. `ttl: 10s`");
    let size = match fields.integer(load, "size") {
        None | Some(0) => DEFAULT_SIZE,
        Some(size) if (1..=MAX_SIZE).contains(&size) => size as usize,
        Some(size) => {
            let message = format!("a stash cannot hold {size} entries");
            let hint = format!("write a number from 1 to {MAX_SIZE}");
            let span = fields.get("size").map_or(fields.span.clone(), |size| size.span.clone());
            load.error(codes::NUMBER, span, message, hint);
            DEFAULT_SIZE
        }
    };
    let strategy = fields.text(load, "strategy");
    let strategy = match strategy.map_or("LRU", |strategy| strategy.text) {
        "LRU" => Strategy::Lru,
        "LFU" => Strategy::Lfu,
        "ARC" => Strategy::Arc,
        other => {
            let message = format!("strategy `{other}` is unknown: LRU is used");
            let span = strategy.map_or(fields.span.clone(), |strategy| strategy.span.clone());
            load.warn(codes::UNKNOWN_VALUE, span, message, "known here: ARC, LFU, LRU".to_owned());
            Strategy::Lru
        }
    };
    let key = key.and_then(|text| expression::compile(load, text, usage));
    let value = value.and_then(|text| expression::compile(load, text, usage));
    let ttl = ttl.and_then(|text| load.duration(text, "ttl"));
    Some(Stash { name: name?.text.into(), key: key?, value: value?, ttl: ttl?, size, strategy })
}

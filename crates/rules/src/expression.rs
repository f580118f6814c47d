//! Expressions of rules: compiled against the environment of their key, with errors that point
//! into the rule file.

use std::{
    ops::Range,
    sync::{Arc, LazyLock},
};

use testudo_expr::{Effects, Schema, Type, core::Node};

use crate::{
    codes,
    load::{Fields, Loading, Text},
    plan::Expression,
    schema, spot,
};

/// What a key's expression is checked against.
pub(crate) struct Usage {
    schema: &'static LazyLock<Schema>,
    /// Type of its result; unknown at load is always allowed.
    want: Option<Type>,
    /// It runs when the event cannot change any more.
    frozen: bool,
    /// Lines wait for its result.
    on_the_way: bool,
}

impl Usage {
    /// A test in a parser or a scenario filter.
    pub(crate) const TEST: Usage =
        Usage { schema: &schema::EVENT, want: Some(Type::Bool), frozen: false, on_the_way: true };
    /// A value in a parser.
    pub(crate) const VALUE: Usage = Usage { want: None, ..Usage::TEST };
    /// `contributors` of a whitelist.
    pub(crate) const CONTRIBUTOR: Usage =
        Usage { schema: &schema::CONTRIBUTOR, on_the_way: false, ..Usage::TEST };
    /// `groupby`.
    pub(crate) const GROUP_BY: Usage = Usage { want: Some(Type::String), ..Usage::TEST };
    /// `distinct`.
    pub(crate) const DISTINCT: Usage = Usage { frozen: true, ..Usage::GROUP_BY };
    /// `cancel_on`.
    pub(crate) const CANCEL_ON: Usage = Usage { frozen: true, ..Usage::TEST };
    /// `condition` of a scenario or of a piece of evidence.
    pub(crate) const CONDITION: Usage = Usage { schema: &schema::CONDITION, ..Usage::CANCEL_ON };
    /// `overflow_filter`.
    pub(crate) const OVERFLOW_FILTER: Usage =
        Usage { schema: &schema::OVERFLOW, on_the_way: false, ..Usage::CANCEL_ON };
    /// `scope.expression`.
    pub(crate) const SCOPE: Usage = Usage { on_the_way: false, ..Usage::DISTINCT };
    /// Alert context.
    pub(crate) const CONTEXT: Usage =
        Usage { schema: &schema::CONTEXT, want: None, frozen: true, on_the_way: false };
    /// `filters` of a profile.
    pub(crate) const PROFILE: Usage =
        Usage { schema: &schema::PROFILE, want: Some(Type::Bool), frozen: false, on_the_way: false };
    /// `duration_expr` of a profile.
    pub(crate) const PROFILE_DURATION: Usage = Usage { want: Some(Type::String), ..Usage::PROFILE };

    /// The same, run on an overflow instead of on a line.
    pub(crate) fn after_overflow(self) -> Usage {
        Usage { on_the_way: false, ..self }
    }
}

/// Compiles an expression; what is wrong with it is reported.
pub(crate) fn compile(load: &mut Loading, text: Text<'_>, usage: &Usage) -> Option<Expression> {
    let file = Arc::clone(&load.file);
    let range = |span: Range<usize>| {
        let start = spot::locate(&file.text, text.span, text.text, span.start);
        start..spot::locate(&file.text, text.span, text.text, span.end).max(start)
    };
    let (ast, node) = match testudo_expr::compile_text(text.text, usage.schema, usage.want.as_ref()) {
        Ok(compiled) => compiled,
        Err(error) => {
            let hint =
                error.hint.or_else(|| is_commented(&file.text, text.span).then(|| COMMENTED.to_owned()));
            load.error(codes::EXPRESSION, range(error.span.range()), error.message, hint);
            return None;
        }
    };
    if usage.frozen
        && let Some(part) = culprit(&node, &|effects| effects.mutates)
    {
        load.error(
            codes::FROZEN,
            range(part.span.range()),
            "the expression changes something, but runs after the event is complete",
            "move the changing call to a parser, or to the `filter` or `groupby` of the scenario".to_owned(),
        );
    }
    if usage.on_the_way
        && let Some(part) = culprit(&node, &|effects| effects.blocks)
    {
        load.warn(
            codes::BLOCKS,
            range(part.span.range()),
            "the expression asks the network while a line waits for it",
            "the answer comes from a cache and is empty at first; a postoverflow may wait for the real one"
                .to_owned(),
        );
    }
    let whole = range(0..text.text.trim_end().len());
    let place = load.place(&whole);
    let scalar = load.place(text.span);
    Some(Expression { text: text.text.into(), ast: Arc::new(ast), node: Arc::new(node), place, scalar })
}

const COMMENTED: &str = "in YAML ` #` begins a comment: put the expression into quotes";

/// Whether a comment follows a text of the file, which is part of the expression more likely: `any(list, x == #)`.
fn is_commented(file: &str, text: &Range<usize>) -> bool {
    let rest = file.get(text.end..).unwrap_or_default();
    rest.trim_start_matches([' ', '\t']).starts_with('#')
}

/// The innermost part of an expression that has an effect, the first one of several.
fn culprit<'n>(node: &'n Node, has: &dyn Fn(Effects) -> bool) -> Option<&'n Node> {
    if !has(node.effects) {
        return None;
    }
    let mut inner = None;
    node.for_each_child(&mut |child| inner = inner.or_else(|| culprit(child, has)));
    inner.or(Some(node))
}

/// Compiles the expression of a key, if one is given.
pub(crate) fn optional(
    load: &mut Loading,
    fields: &Fields<'_>,
    key: &str,
    usage: &Usage,
) -> Option<Expression> {
    let text = fields.text(load, key)?;
    compile(load, text, usage)
}

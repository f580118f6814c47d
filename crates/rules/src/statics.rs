//! Statics: assignments of texts and of results of expressions to the event.

use crate::{
    codes,
    expression::{self, Usage},
    keys,
    load::{Fields, Loading, Text, suggestion},
    plan::{Static, StaticValue, Target, TextField},
    yaml::Node,
};

/// Where a list of statics stands; the two places are checked differently.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    /// The node itself.
    Node,
    /// Its `grok`.
    Grok,
}

/// Reads the `statics` of a node or grok.
pub(crate) fn read(load: &mut Loading, fields: &Fields<'_>, under: Under, value: &Usage) -> Vec<Static> {
    let Some(list) = fields.get("statics") else { return Vec::new() };
    load.list(list, "`statics`").iter().filter_map(|entry| entry_of(load, entry, under, value)).collect()
}

fn entry_of(load: &mut Loading, node: &Node, under: Under, usage: &Usage) -> Option<Static> {
    const DESTINATIONS: [&str; 5] = ["method", "parsed", "meta", "enriched", "target"];
    let fields = Fields::read(load, node, &keys::STATIC);
    let destinations: Vec<(&str, Text<'_>)> =
        DESTINATIONS.into_iter().filter_map(|key| fields.text(load, key).map(|text| (key, text))).collect();
    let value = value_of(load, &fields, under, usage);
    let Some(&(key, name)) = destinations.first() else {
        let hint = "name it with one of `meta`, `parsed`, `target` or `method`".to_owned();
        load.error(codes::STATIC, node.span.clone(), "the static has no destination", hint);
        return None;
    };
    if let Some((other, text)) = destinations.get(1) {
        let message = format!("`{other}` has no effect beside `{key}`");
        load.warn(codes::NO_EFFECT, text.span.clone(), message, "write two statics".to_owned());
    }
    let target = match key {
        "method" => method(load, name),
        "parsed" => Target::Parsed(name.text.into()),
        "meta" => Target::Meta(name.text.into()),
        "enriched" => {
            if under == Under::Node && destinations.len() == 1 {
                let hint = "name the destination with `meta`, `parsed` or `target`".to_owned();
                load.error(codes::STATIC, name.span.clone(), "`enriched` alone is no destination here", hint);
                return None;
            }
            Target::Enriched(name.text.into())
        }
        _ => path(load, name),
    };
    Some(Static { target, value: value?, place: load.place(&node.span) })
}

/// The value; the fixed text wins over the expression.
fn value_of(load: &mut Loading, fields: &Fields<'_>, under: Under, usage: &Usage) -> Option<StaticValue> {
    let text = fields.text(load, "value");
    let source = fields.text(load, "expression");
    let expression = source.and_then(|source| expression::compile(load, source, usage));
    match (text, source) {
        (Some(text), None) => Some(StaticValue::Text(text.text.into())),
        (Some(text), Some(source)) => {
            let hint = "keep one of the two".to_owned();
            load.warn(
                codes::NO_EFFECT,
                source.span.clone(),
                "`expression` has no effect beside `value`",
                hint,
            );
            Some(StaticValue::Text(text.text.into()))
        }
        (None, Some(_)) => expression.map(StaticValue::Expression),
        (None, None) => {
            let message = "the static has no value";
            let hint = "add a `value` that is not empty, or an `expression`".to_owned();
            match under {
                Under::Node => load.error(codes::STATIC, fields.span.clone(), message, hint),
                // Harmless: an empty text is never written.
                Under::Grok => load.warn(codes::NO_EFFECT, fields.span.clone(), message, hint),
            }
            None
        }
    }
}

fn method(load: &mut Loading, name: Text<'_>) -> Target {
    let known: Vec<&str> = keys::METHODS.iter().map(|(known, _)| *known).collect();
    if !known.contains(&name.text) {
        let message = format!("there is no enricher `{}`: the static does nothing", name.text);
        load.warn(codes::METHOD, name.span.clone(), message, suggestion(name.text, &known));
    }
    Target::Method(name.text.to_owned())
}

fn path(load: &mut Loading, path: Text<'_>) -> Target {
    let target = resolve(path.text);
    if let Target::Nowhere(_) = target {
        let message = format!("`{}` names no text of the event: nothing is set", path.text);
        let hint = if path.text.contains('.') {
            "paths look like `evt.Parsed.name`, `evt.Meta.name` or `evt.StrTime`".to_owned()
        } else {
            format!("did you mean `meta: {0}` or `parsed: {0}`?", path.text)
        };
        load.warn(codes::PATH, path.span.clone(), message, hint);
    }
    target
}

/// Gives a path its meaning: field names from the event down. The first map ends the walk, whatever
/// follows its key.
fn resolve(path: &str) -> Target {
    let nowhere = || Target::Nowhere(path.to_owned());
    let parts: Vec<&str> = path.strip_prefix("evt.").unwrap_or(path).split('.').collect();
    let field = match parts[..] {
        [map, key, ..]
            if !key.is_empty() && matches!(map, "Parsed" | "Meta" | "Enriched" | "Unmarshaled") =>
        {
            return match map {
                "Parsed" => Target::Parsed(key.into()),
                "Meta" => Target::Meta(key.into()),
                "Enriched" => Target::Enriched(key.into()),
                _ => Target::Unmarshaled(key.into()),
            };
        }
        ["Line", "Labels", key, ..] if !key.is_empty() => return Target::Label(key.into()),
        ["StrTime"] => TextField::StrTime,
        ["StrTimeFormat"] => TextField::StrTimeFormat,
        ["MarshaledTime"] => TextField::MarshaledTime,
        ["WhitelistReason"] => TextField::WhitelistReason,
        ["Stage"] => TextField::Stage,
        ["Line", "Raw"] => TextField::LineRaw,
        ["Line", "Src"] => TextField::LineSrc,
        ["Line", "Module"] => TextField::LineModule,
        ["Overflow", "Mapkey"] => TextField::OverflowMapkey,
        ["Overflow", "BucketId"] => TextField::OverflowBucketId,
        ["Overflow", "Alert", "Scenario"] => TextField::AlertScenario,
        ["Overflow", "Alert", "Message"] => TextField::AlertMessage,
        ["Overflow", "Alert", "Source", name] => match name {
            "Value" => TextField::SourceValue,
            "Scope" => TextField::SourceScope,
            "IP" => TextField::SourceIp,
            "Range" => TextField::SourceRange,
            "AsName" => TextField::SourceAsName,
            "AsNumber" => TextField::SourceAsNumber,
            "Cn" => TextField::SourceCn,
            _ => return nowhere(),
        },
        _ => return nowhere(),
    };
    Target::Field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |path: &str, expected: Target| assert_eq!(resolve(path), expected, "{path}");
        check("evt.StrTime", Target::Field(TextField::StrTime));
        check("StrTime", Target::Field(TextField::StrTime));
        check("evt.Parsed.x", Target::Parsed("x".into()));
        check("evt.Meta.x", Target::Meta("x".into()));
        check("evt.Unmarshaled.a.b", Target::Unmarshaled("a".into()));
        check("evt.Line.Labels.program", Target::Label("program".into()));
        check("evt.Line.Module", Target::Field(TextField::LineModule));
        check("evt.Overflow.Alert.Source.Value", Target::Field(TextField::SourceValue));
        for path in ["source_ip", "", "evt", "evt.", "evt.Parsed", "evt.Parsed.", "evt.Time", "evt.StrTime.x"]
        {
            check(path, Target::Nowhere(path.to_owned()));
        }
    }
}

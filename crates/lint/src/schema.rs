//! JSON Schemas of rule files, for editors: the keys that the loaders take, with what they are for.
//!
//! A schema is about one document of a file. It takes whatever the loaders take, so that it never complains
//! about a rule that runs; what it cannot say (an expression that does not compile) `testudo lint` does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use testudo_rules::keys::{self, Keys, Shape, Variables};

use crate::Kind;

/// Where the schemas can be had.
const HOME: &str = "docs/schemas";

/// The keys of a document of this kind; of an acquisition file, those of its kind of source are [`keys_of_source`].
pub fn keys_of(kind: Kind) -> &'static Keys {
    match kind {
        Kind::Parser | Kind::Postoverflow => &keys::PARSER,
        Kind::Scenario => &keys::SCENARIO,
        Kind::Context => &keys::CONTEXT,
        Kind::Collection => &keys::COLLECTION,
        Kind::Profiles => &keys::PROFILE,
        Kind::Simulation => &keys::SIMULATION,
        Kind::Acquisition => &keys::FILE_SOURCE,
        Kind::Samples => &keys::SAMPLES,
        Kind::Expectations => &keys::EXPECTATIONS,
        Kind::HubTest => &keys::HUB_TEST,
    }
}

/// The keys of an acquisition document by the value of its `source`.
pub fn keys_of_source(name: &str) -> Option<&'static Keys> {
    keys::LINE_SOURCES.iter().find(|(known, _)| *known == name).map(|(_, keys)| *keys)
}

/// Of which one must be there, in kinds of sources.
const ONE_OF: [(&str, [&str; 2]); 2] =
    [("file", ["filename", "filenames"]), ("http", ["listen_addr", "listen_socket"])];

/// What tells the kind of a source that does not say it.
fn telling(source: &str) -> &'static [&'static str] {
    match source {
        "file" => &["filename", "filenames"],
        "journalctl" => &["journalctl_filter"],
        _ => &[],
    }
}

/// The schema of a kind, in the draft of 2020-12.
pub fn schema(kind: Kind) -> Value {
    let mut definitions = Definitions { variables: kind == Kind::Acquisition, ..Definitions::default() };
    let keys = keys_of(kind);
    let mut what = keys.what;
    let mut root = match kind {
        Kind::Acquisition => {
            what = "an acquisition file";
            definitions.sources()
        }
        // Beside its context an item may say whatever it likes, and tests misspell keys.
        _ => definitions.map(keys, matches!(kind, Kind::Context | Kind::HubTest)),
    };
    while let Some(next) = definitions.open.pop() {
        let map = definitions.map(next.keys, next.open);
        definitions.done.insert(name_of(next.keys), map);
    }
    // A document may be empty: after a last `---`.
    root.insert("type".into(), json!(["object", "null"]));
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".into(), json!(format!("{HOME}/{}.schema.json", kind.name())));
    schema.insert("title".into(), json!(format!("Testudo: {what}")));
    schema.append(&mut root);
    if !definitions.done.is_empty() {
        schema.insert(
            "$defs".into(),
            definitions.done.into_iter().map(|(name, map)| (name, map.into())).collect::<Map<_, _>>().into(),
        );
    }
    schema.into()
}

/// A map whose definition is still to be written.
struct Open {
    keys: &'static Keys,
    open: bool,
}

#[derive(Default)]
struct Definitions {
    done: BTreeMap<String, Map<String, Value>>,
    seen: Vec<&'static str>,
    open: Vec<Open>,
    /// Whether variables of the environment are put in, so that `$PORT` may be a number.
    variables: bool,
}

/// The name of a definition: that of the map without its article.
fn name_of(keys: &Keys) -> String {
    let name = keys.what.replace('`', "");
    let name = name.split(',').next().unwrap_or_default();
    let name = name.trim_start_matches("a ").trim_start_matches("the ");
    name.replace(' ', "-")
}

impl Definitions {
    fn map(&mut self, keys: &'static Keys, open: bool) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for key in keys.keys {
            let mut property = self.shape(&key.shape);
            let mut text = key.text.to_owned();
            if let Shape::Expression(variables) = key.shape {
                text = format!("{text} An expression over {}.", names_of(variables));
            }
            if let Some(default) = key.default {
                text = format!("{text} Without it: `{default}`.");
            }
            property.insert("description".into(), text.into());
            properties.insert(key.name.into(), property.into());
            if key.required {
                required.push(key.name);
            }
        }
        let mut map = Map::new();
        map.insert("type".into(), json!(["object", "null"]));
        if !required.is_empty() {
            map.insert("required".into(), json!(required));
        }
        map.insert("properties".into(), properties.into());
        if !open {
            map.insert("additionalProperties".into(), false.into());
        }
        map
    }

    /// A document is what its `source` says, or else what its keys tell.
    fn sources(&mut self) -> Map<String, Value> {
        let one_of =
            |names: &[&str]| names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>();
        let mut cases = Vec::new();
        let mut told: Vec<&str> = vec!["source"];
        for (name, keys) in &keys::LINE_SOURCES {
            let says = json!({ "required": ["source"], "properties": { "source": { "enum": [name] } } });
            let tells = telling(name);
            told.extend(tells);
            let when = if tells.is_empty() {
                says
            } else {
                let tells = json!({ "not": { "required": ["source"] }, "anyOf": one_of(tells) });
                json!({ "anyOf": [says, tells] })
            };
            let mut then = vec![self.reference(keys, false)];
            if let Some((_, names)) = ONE_OF.iter().find(|(of, _)| of == name) {
                then.push(json!({ "anyOf": one_of(names) }));
            }
            cases.push(json!({ "if": when, "then": { "allOf": then } }));
        }
        let mut root = Map::new();
        if let Some(source) = keys::FILE_SOURCE.get("source") {
            let mut property = self.shape(&source.shape);
            property.insert("description".into(), source.text.into());
            root.insert("properties".into(), json!({ "source": property }));
        }
        root.insert(
            "anyOf".into(),
            json!([{ "enum": [null] }, { "type": ["object"], "anyOf": one_of(&told) }]),
        );
        root.insert("allOf".into(), cases.into());
        root
    }

    /// Nothing is the same as no key, wherever there is one.
    fn shape(&mut self, shape: &'static Shape) -> Map<String, Value> {
        let shape = match shape {
            Shape::Text
            | Shape::Expression(_)
            | Shape::Pattern
            | Shape::PatternName
            | Shape::Source
            | Shape::Cell(_)
            | Shape::Path
            | Shape::Address
            | Shape::Network
            | Shape::Item(_) => json!({ "type": ["string", "number", "boolean", "null"] }),
            Shape::Flag => json!({ "type": ["boolean", "null"] }),
            Shape::Integer(least) => json!({ "type": ["integer", "null"], "minimum": least }),
            Shape::Share => json!({ "type": ["number", "null"], "minimum": 0, "maximum": 1 }),
            Shape::Duration => {
                // Of numbers without a unit there is only 0.
                let pattern = r"^(|[-+]?0|[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)|\.[0-9]+(ns|us|µs|μs|ms|s|m|h))+)$";
                json!({ "type": ["string", "integer", "null"], "pattern": pattern, "minimum": 0, "maximum": 0 })
            }
            Shape::LongDuration => json!({ "type": ["string", "integer", "null"] }),
            Shape::Choice(choices) => {
                let mut values: Vec<Value> = choices.iter().map(|(name, _)| json!(name)).collect();
                let mut texts: Vec<Value> = choices.iter().map(|(_, text)| json!(text)).collect();
                // Empty text is no choice, and taken for none.
                values.extend([json!(""), Value::Null]);
                texts.extend([json!("As if it were not there."), json!("As if it were not there.")]);
                json!({ "enum": values, "markdownEnumDescriptions": texts })
            }
            Shape::Any => json!({}),
            Shape::List(of) => json!({ "type": ["array", "null"], "items": self.shape(of) }),
            Shape::Map(keys) => self.reference(keys, false),
            Shape::Open(keys) => self.reference(keys, true),
            Shape::Table(of) => {
                json!({ "type": ["object", "null"], "additionalProperties": self.shape(of) })
            }
            Shape::Either(shapes) => {
                let shapes: Vec<Value> = shapes.iter().map(|shape| self.shape(shape).into()).collect();
                json!({ "anyOf": shapes })
            }
        };
        let narrow = ["enum", "minimum", "pattern"].iter().any(|word| shape.get(word).is_some());
        let shape = if self.variables && (narrow || shape["type"] == json!(["boolean", "null"])) {
            json!({ "anyOf": [shape, { "type": ["string"], "pattern": r"\$" }] })
        } else {
            shape
        };
        match shape {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn reference(&mut self, keys: &'static Keys, open: bool) -> Value {
        if !self.seen.contains(&keys.what) {
            self.seen.push(keys.what);
            self.open.push(Open { keys, open });
        }
        json!({ "$ref": format!("#/$defs/{}", name_of(keys)) })
    }
}

/// What an expression may name, in words.
pub fn names_of(variables: Variables) -> &'static str {
    match variables {
        Variables::Event => "`evt`",
        Variables::Condition => "`evt`, `queue` and `leaky`",
        Variables::Overflow => "`queue`, `leaky` and `signal`",
        Variables::Context => "`evt`, `match` and `req`",
        Variables::Profile => "`Alert`",
        Variables::Contributor => "`evt` and `contributor`",
    }
}

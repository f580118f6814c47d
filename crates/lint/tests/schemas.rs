//! The schemas in `docs/schemas` are those of the loaders, and take every rule that the loaders take.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use regex::Regex;
use serde_json::{Map, Number, Value};
use testudo_lint::{Kind, gather, schema::schema};
use testudo_rules::{
    Severity, SourceFile, load_collection, load_context, load_parsers, load_profiles, load_scenarios,
    load_simulation,
    yaml::{self, Node, Resolved},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_files_are_up_to_date() {
    for kind in Kind::ALL {
        let path = root().join(format!("docs/schemas/{}.schema.json", kind.name()));
        let written = fs::read_to_string(&path).unwrap_or_default();
        let expected = format!("{:#}\n", schema(kind));
        let name = kind.name();
        assert!(
            written == expected,
            "write it anew: testudo lint --schema {name} > docs/schemas/{name}.schema.json"
        );
    }
}

#[test]
fn our_rules_fit() {
    assert!(fit(&root().join("content")) > 30);
}

#[test]
fn the_hub_fits() {
    let shared = std::env::var_os("TESTUDO_SHARED").map_or(root().join("../shared"), PathBuf::from);
    let hub = shared.join("hub");
    if !hub.is_dir() {
        eprintln!("skipped: no hub at {}", hub.display());
        return;
    }
    assert!(fit(&hub) > 500);
}

/// Holds every document below a folder to the schema of its kind; says how many there were.
fn fit(folder: &Path) -> usize {
    let gathered = gather(&[folder.to_owned()], &[]).expect("a folder");
    let mut documents = 0;
    for input in &gathered.inputs {
        let schema = schema(input.kind);
        for document in yaml::documents(&input.file.text).into_iter().flatten() {
            let verdict = holds(&schema, &schema, &json(&document), "");
            assert_eq!(verdict, Ok(()), "{}", input.file.path);
            documents += 1;
        }
    }
    documents
}

/// What the loaders say of a document, and what the schema says.
#[test]
fn loaders_and_schemas_agree_on_keys() {
    let check = |kind: Kind, text: &str, fits: bool| {
        let schema = schema(kind);
        let document = yaml::documents(text).remove(0).expect(text);
        let verdict = holds(&schema, &schema, &json(&document), "");
        assert_eq!(verdict.is_ok(), fits, "{text}: {verdict:?}");
        let file = Arc::new(SourceFile { path: "x.yaml".into(), text: text.into() });
        let diagnostics = match kind {
            Kind::Parser | Kind::Postoverflow => load_parsers(file, "s01-parse").diagnostics,
            Kind::Scenario => load_scenarios(file).diagnostics,
            Kind::Context => load_context(file, true).diagnostics,
            Kind::Collection => load_collection(file).diagnostics,
            Kind::Profiles => load_profiles(file).diagnostics,
            Kind::Simulation => load_simulation(file).diagnostics,
        };
        let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
        assert_eq!(errors.is_empty(), fits, "{text}: {errors:?}");
    };
    let scenario = "type: trigger\nname: a/b\ndescription: c\nfilter: 'true'\n";
    check(Kind::Scenario, scenario, true);
    check(
        Kind::Scenario,
        &format!("{scenario}blackhole: 5m\nlabels: {{remediation: true, of: mine}}\n"),
        true,
    );
    check(Kind::Scenario, &format!("{scenario}blackhole: 5\n"), false);
    check(Kind::Scenario, &format!("{scenario}blackhole: 0\n"), true);
    check(Kind::Scenario, &format!("{scenario}blackhole: soon\n"), false);
    check(Kind::Scenario, &format!("{scenario}filters: x\n"), false);
    check(Kind::Scenario, &format!("{scenario}scope: {{typ: Ip}}\n"), false);
    check(Kind::Scenario, &scenario.replace("trigger", "triggr"), false);
    check(Kind::Scenario, &scenario.replace("name: a/b\n", ""), false);
    let parser = "name: a/b\nonsuccess: next_stage\nstatics:\n  - meta: x\n    value: 1.0\n";
    check(Kind::Parser, parser, true);
    check(Kind::Parser, &parser.replace("next_stage", "next"), false);
    check(Kind::Parser, &parser.replace("value", "vale"), false);
    check(Kind::Parser, "name: a/b\nnodes:\n  - nodes:\n      - grok: {patern: x}\n", false);
    check(Kind::Profiles, "name: x\nfilters: ['true']\nattribution: {prefixes: {budget: 1}}\n", true);
    check(Kind::Profiles, "name: x\nfilters: ['true']\nattribution: prefixes\n", true);
    check(Kind::Profiles, "name: x\nfilters: ['true']\nattribution: {prefixes: {butget: 1}}\n", false);
    check(Kind::Profiles, "name: x\nfilters: ['true']\ndecisions: [{type: ban, duration: 2d}]\n", true);
    check(Kind::Simulation, "simulation: false\nexclusions: [a/b]\n", true);
    check(Kind::Simulation, "simulate: false\n", false);
    check(Kind::Collection, "parsers: [a/b]\n", true);
    check(Kind::Collection, "parser: [a/b]\n", false);
    check(Kind::Context, "context: {user: [evt.Meta.user]}\nanything: 1\n", true);
}

/// A document as JSON. What YAML takes for a boolean is one.
fn json(node: &Node) -> Value {
    match &node.kind {
        yaml::Kind::Scalar(scalar) => match scalar.resolved {
            Resolved::Null => Value::Null,
            Resolved::Bool(value) => Value::Bool(value),
            Resolved::Int(value) => Value::Number(value.into()),
            Resolved::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Resolved::Text => Value::String(scalar.text.clone()),
        },
        yaml::Kind::List(items) => items.iter().map(json).collect(),
        yaml::Kind::Map(entries) => {
            let text = |key: &Node| match &key.kind {
                yaml::Kind::Scalar(scalar) => scalar.text.clone(),
                _ => String::new(),
            };
            entries.iter().map(|(key, value)| (text(key), json(value))).collect::<Map<_, _>>().into()
        }
    }
}

/// Whether a value is as a schema says, as much of it as the schemas use. A keyword that is not known here is an
/// error: nothing stands in a schema without being checked.
fn holds(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let keywords = schema.as_object().ok_or_else(|| format!("{at}: no schema"))?;
    for (keyword, says) in keywords {
        let is = |fits: bool| if fits { Ok(()) } else { Err(format!("{at}: not {keyword} {says}: {value}")) };
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "markdownEnumDescriptions" => {}
            "$ref" => {
                let name = says.as_str().and_then(|path| path.strip_prefix("#/$defs/")).unwrap_or_default();
                holds(root, &root["$defs"][name], value, at)?;
            }
            "type" => {
                let fits = |name: &Value| match name.as_str().unwrap_or_default() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    _ => false,
                };
                is(list(says).iter().any(fits))?;
            }
            "enum" => is(list(says).contains(value))?,
            "minimum" => is(value.as_f64().is_none_or(|number| Some(number) >= says.as_f64()))?,
            "maximum" => is(value.as_f64().is_none_or(|number| Some(number) <= says.as_f64()))?,
            "pattern" => {
                let regex =
                    Regex::new(says.as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
                is(value.as_str().is_none_or(|text| regex.is_match(text)))?;
            }
            "required" => {
                is(!value.is_object()
                    || list(says).iter().all(|name| value.get(name.as_str().unwrap_or_default()).is_some()))?;
            }
            "anyOf" => is(list(says).iter().any(|schema| holds(root, schema, value, at).is_ok()))?,
            "items" => {
                for item in list(value) {
                    holds(root, says, &item, &format!("{at}[]"))?;
                }
            }
            "properties" => {
                for (name, schema) in says.as_object().into_iter().flatten() {
                    if let Some(value) = value.get(name) {
                        holds(root, schema, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = keywords.get("properties");
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.get(name).is_some()) {
                        continue;
                    }
                    if *says == false {
                        return Err(format!("{at}: `{name}` is not known"));
                    }
                    holds(root, says, value, &format!("{at}.{name}"))?;
                }
            }
            other => return Err(format!("{at}: `{other}` is no keyword that is known here")),
        }
    }
    Ok(())
}

//! The schemas in `docs/schemas` are those of the loaders, and take every rule that the loaders take.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use regex::Regex;
use serde_json::{Map, Number, Value};
use testudo_lint::{Kind, gather, recognise, schema::schema};
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

/// The functional tests of the hub, and our examples of what others read.
#[test]
fn real_tests_and_examples_fit() {
    let fits = |kind: Kind, path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let schema = schema(kind);
        for document in yaml::documents(&text).into_iter().flatten() {
            let verdict = holds(&schema, &schema, &json(&document), "");
            assert_eq!(verdict, Ok(()), "{}", path.display());
        }
    };
    // What stands in the documentation, as far as it is a whole document.
    let mut examples = 0;
    for entry in fs::read_dir(root().join("docs")).expect("a folder").flatten() {
        let Ok(page) = fs::read_to_string(entry.path()) else { continue };
        for block in page.split("\n```yaml\n").skip(1) {
            let text = block.split("\n```").next().unwrap_or_default();
            let Some((kind, _)) = recognise(Path::new("x.yaml"), text) else { continue };
            let schema = schema(kind);
            for document in yaml::documents(text) {
                let verdict = holds(&schema, &schema, &json(&document.expect(text)), "");
                assert_eq!(verdict, Ok(()), "{}: {text}", entry.path().display());
                examples += 1;
            }
        }
    }
    assert!(examples > 3, "{examples}");
    let shared = std::env::var_os("TESTUDO_SHARED").map_or(root().join("../shared"), PathBuf::from);
    let tests = shared.join("hub/.tests");
    let Ok(entries) = fs::read_dir(&tests) else {
        eprintln!("skipped: no tests at {}", tests.display());
        return;
    };
    let configs: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("config.yaml"))
        .filter(|path| path.is_file())
        .collect();
    assert!(configs.len() > 100);
    configs.iter().for_each(|path| fits(Kind::HubTest, path));
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
            // Their loaders are in other crates, which compare on their side.
            Kind::Acquisition | Kind::Samples | Kind::Expectations | Kind::HubTest => return,
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
    let files = "filenames: [/var/log/nginx/*.log]\nlabels: {type: nginx}\n";
    check(Kind::Acquisition, files, true);
    check(Kind::Acquisition, &format!("source: file\n{files}mode: cat\n"), true);
    check(Kind::Acquisition, &format!("source: file\n{files}mode: server\n"), false);
    check(Kind::Acquisition, &format!("{files}filenmae: /x\n"), false);
    check(Kind::Acquisition, &files.replace("[/var/log/nginx/*.log]", "/var/log/nginx/*.log"), false);
    check(Kind::Acquisition, "filenames: [/var/log/x]\n", false);
    check(Kind::Acquisition, "source: file\nlabels: {type: x}\n", false);
    check(Kind::Acquisition, "source: flie\nfilename: x\nlabels: {type: x}\n", false);
    check(Kind::Acquisition, "labels: {type: x}\n", false);
    check(Kind::Acquisition, "- filename: x\n", false);
    check(
        Kind::Acquisition,
        "journalctl_filter: [_SYSTEMD_UNIT=ssh.service]\nlabels: {type: syslog}\n",
        true,
    );
    check(Kind::Acquisition, "source: journalctl\nlabels: {type: syslog}\n", false);
    check(Kind::Acquisition, "source: docker\nuse_container_labels: true\n", true);
    check(Kind::Acquisition, "source: docker\ncontainer_name: web\n", false);
    check(Kind::Acquisition, "source: syslog\nlisten_port: '514'\nlabels: {type: syslog}\n", false);
    check(Kind::Acquisition, "source: syslog\nlisten_port: 514\nlabels: {type: syslog}\n", true);
    check(Kind::Acquisition, "source: syslog\nlisten_port: ${PORT}\nlabels: {type: syslog}\n", true);
    check(Kind::Acquisition, "source: file\nfilename: $LOG\nmode: $MODE\nlabels: {type: $TYPE}\n", true);
    let http = "source: http\nlisten_addr: 127.0.0.1:1\nauth_type: basic_auth\nlabels: {type: x}\n";
    check(Kind::Acquisition, &format!("{http}basic_auth: {{username: a, password: b}}\n"), true);
    check(Kind::Acquisition, &format!("{http}basic_auth: {{user: a, password: b}}\n"), false);
    check(Kind::Acquisition, &http.replace("listen_addr: 127.0.0.1:1\n", ""), false);
    check(Kind::Acquisition, &http.replace("basic_auth", "basic"), false);
    let samples = "rule: a/b\ntype: x\nmatches: [{line: a, meta: {x: 1}}]\n";
    check(Kind::Samples, samples, true);
    check(Kind::Samples, &samples.replace("meta", "mata"), false);
    check(Kind::Samples, &samples.replace("line: a, ", ""), false);
    check(
        Kind::Samples,
        &format!("{samples}quiet: [{{about: x, steps: [{{line: x, count: many}}]}}]\n"),
        false,
    );
    check(Kind::Expectations, "min_hits: 1\nbanned: [203.0.113.7]\n", true);
    check(Kind::Expectations, "min_hit: 1\n", false);
    check(Kind::Expectations, "max_banned: -1\n", false);
    check(Kind::HubTest, "parsers: [./a.yaml]\nlog_file: x.log\nparser: x\n", true);
    check(Kind::HubTest, "parsers: ./a.yaml\n", false);
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
            "allOf" => {
                for schema in list(says) {
                    holds(root, &schema, value, at)?;
                }
            }
            "not" => is(holds(root, says, value, at).is_err())?,
            "if" => {
                if holds(root, says, value, at).is_ok() {
                    holds(root, &keywords["then"], value, at)?;
                }
            }
            "then" => {}
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

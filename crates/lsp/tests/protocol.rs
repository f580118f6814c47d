//! The server as a client meets it: messages in, messages out.

use std::{
    fs,
    io::{BufReader, Cursor},
    path::Path,
};

use serde_json::{Value, json};
use testudo_lint::Input;
use testudo_lsp::{Ending, serve};
use testudo_rules::{Diagnostic, Place, Severity};

fn framed(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Knows one fault of files that `lint` does not read.
fn foreign(input: &Input) -> Vec<Diagnostic> {
    let found = input.file.text.find("wrong").map(|at| Diagnostic {
        code: "A002",
        severity: Severity::Error,
        message: "that is wrong".to_owned(),
        place: Place::of(&input.file, at..at + 5),
        hint: None,
    });
    found.into_iter().collect()
}

/// Lets the server read some bytes to their end; gives what it answered.
fn talk(bytes: Vec<u8>) -> (Vec<Value>, Ending) {
    let mut output = Vec::new();
    let ending =
        serve(BufReader::new(Cursor::new(bytes)), &mut output, foreign).expect("a vector takes everything");
    let mut answers = Vec::new();
    let mut rest = &output[..];
    while !rest.is_empty() {
        let text = std::str::from_utf8(rest).expect("UTF-8");
        let (head, _) = text.split_once("\r\n\r\n").expect("headers");
        let length: usize = head.trim_start_matches("Content-Length: ").parse().expect("a length");
        let body = &rest[head.len() + 4..][..length];
        answers.push(serde_json::from_slice(body).expect("JSON"));
        rest = &rest[head.len() + 4 + length..];
    }
    (answers, ending)
}

fn request(id: u64, method: &str, parameters: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters })
}

fn notification(method: &str, parameters: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": parameters })
}

fn open(uri: &str, text: &str) -> Value {
    notification(
        "textDocument/didOpen",
        json!({ "textDocument": { "uri": uri, "languageId": "yaml", "version": 1, "text": text } }),
    )
}

fn session(messages: &[Value]) -> Vec<Value> {
    let mut bytes = framed(&request(0, "initialize", json!({ "capabilities": {} })));
    bytes.extend(framed(&notification("initialized", json!({}))));
    messages.iter().for_each(|message| bytes.extend(framed(message)));
    bytes.extend(framed(&request(999, "shutdown", Value::Null)));
    bytes.extend(framed(&notification("exit", Value::Null)));
    let (answers, ending) = talk(bytes);
    assert_eq!(ending, Ending::Orderly);
    assert_eq!(answers[0]["result"]["capabilities"]["textDocumentSync"]["change"], 1);
    answers
}

fn answer(answers: &[Value], id: u64) -> &Value {
    &answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("no answer {id}: {answers:?}"))
        ["result"]
}

/// A text with `‸` at the place; the text, and the position.
fn marked(text: &str) -> (String, Value) {
    let at = text.find('‸').expect("a place");
    let before = &text[..at];
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().encode_utf16().count();
    (text.replace('‸', ""), json!({ "line": line, "character": column }))
}

/// A folder with a parser that fills some fields.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        (
            "parsers/s00-raw/p.yaml",
            "name: me/p\nfilter: evt.Parsed.program == 'p'\nonsuccess: next_stage\npattern_syntax:\n  MINE: '[a-z]+'\n\
             grok:\n  apply_on: message\n  pattern: '^%{MINE:user}$'\nstatics:\n  - meta: service\n    value: web\n\
             \x20 - parsed: program\n    expression: evt.Line.Src\n  - parsed: message\n    expression: evt.Line.Raw\n",
        ),
        (
            "scenarios/other.yaml",
            "type: trigger\nname: me/other\ndescription: x\nfilter: evt.Meta.service == 'web'\n",
        ),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }
    folder
}

fn uri(folder: &Path, path: &str) -> String {
    format!("file://{}", folder.join(path).display())
}

/// The labels that are proposed at `‸`.
fn proposals(path: &str, text: &str) -> Vec<String> {
    let folder = folder();
    let uri = uri(folder.path(), path);
    let (text, position) = marked(text);
    let at = json!({ "textDocument": { "uri": uri }, "position": position });
    let answers = session(&[open(&uri, &text), request(1, "textDocument/completion", at)]);
    let items = answer(&answers, 1).as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["label"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn completion() {
    let check = |path: &str, text: &str, with: &[&str], without: &[&str]| {
        let labels = proposals(path, text);
        for label in with {
            assert!(labels.iter().any(|known| known == label), "{text}: no {label} in {labels:?}");
        }
        for label in without {
            assert!(!labels.iter().any(|known| known == label), "{text}: {label} in {labels:?}");
        }
    };
    let (scenario, parser) = ("scenarios/s.yaml", "parsers/s01-parse/q.yaml");
    check(scenario, "type: leaky\n‸", &["filter", "groupby", "labels"], &["type", "grok"]);
    check(scenario, "type: ‸", &["leaky", "trigger"], &["filter"]);
    check(scenario, "filter: evt.‸\nname: [", &["Meta", "Parsed", "GetMeta", "Line"], &["evt"]);
    check(scenario, "filter: evt.Meta.‸", &["service"], &["user"]);
    check(scenario, "filter: evt.Parsed.‸", &["user", "program"], &["service"]);
    check(scenario, "filter: \"evt.Meta.service == '‸", &["web"], &[]);
    check(scenario, "filter: Is‸", &["IsIP", "evt", "any"], &["queue"]);
    check(scenario, "condition: ‸", &["queue", "leaky"], &[]);
    check(scenario, "condition: queue.‸", &["Queue"], &[]);
    check(scenario, "labels:\n  ‸", &["remediation"], &["filter"]);
    check(parser, "nodes:\n  - grok:\n      pattern: '^%{‸", &["MINE", "IP", "WORD"], &["evt"]);
    check(parser, "nodes:\n  - grok:\n      apply_on: ‸", &["message", "Line.Raw"], &["service"]);
    check(parser, "statics:\n  - meta: ‸", &["service"], &["user"]);
    check(parser, "statics:\n  - ‸", &["meta", "parsed", "method"], &["grok"]);
    check(parser, "onsuccess: ‸", &["next_stage"], &[]);
    check("collections/c.yaml", "parsers:\n  - ‸", &["me/p"], &["me/other"]);
    check("collections/c.yaml", "scenarios:\n  - ‸", &["me/other"], &["me/p"]);
}

#[test]
fn hover_and_definition() {
    let folder = folder();
    let check = |path: &str, text: &str, method: &str, expected: &str| {
        let uri = uri(folder.path(), path);
        let (text, position) = marked(text);
        let at = json!({ "textDocument": { "uri": uri }, "position": position });
        let answers = session(&[open(&uri, &text), request(1, method, at)]);
        let result = answer(&answers, 1).to_string();
        assert!(result.contains(expected), "{text}: {result}");
    };
    let hover = "textDocument/hover";
    let (scenario, parser) = ("scenarios/s.yaml", "parsers/s01-parse/q.yaml");
    check(scenario, "lea‸kspeed: 5s", hover, "one event leaks");
    check(scenario, "type: lea‸ky", hover, "Overflows when more");
    check(scenario, "filter: IsI‸P(evt.Parsed.x)", hover, "IsIP(string) bool");
    check(scenario, "filter: evt.Meta.serv‸ice == ''", hover, "`web`");
    check(scenario, "filter: evt.Meta.not‸hing == ''", hover, "No parser here sets it");
    check(parser, "grok:\n  pattern: '%{MI‸NE:x}'", hover, "[a-z]+");
    check(parser, "grok:\n  pattern: '%{IPOR‸HOST:x}'", hover, "Written out");
    check(parser, "# a comm‸ent", hover, "null");
    let definition = "textDocument/definition";
    check(parser, "grok:\n  pattern: '%{MI‸NE:x}'", definition, "s00-raw/p.yaml");
    check("collections/c.yaml", "scenarios:\n  - me/ot‸her", definition, "scenarios/other.yaml");
    check("collections/c.yaml", "scenarios:\n  - me/no‸thing", definition, "null");
}

#[test]
fn findings_come_by_themselves() {
    let folder = folder();
    let uri = uri(folder.path(), "scenarios/s.yaml");
    let text = "type: leaky\nname: me/é\ndescription: x\nfilter: evt.Meta.service == 'wep'\ncapacity: 1\nleakspeed: 5s\nfilters: x\n";
    let change = notification(
        "textDocument/didChange",
        json!({ "textDocument": { "uri": uri, "version": 2 }, "contentChanges": [{ "text": text.replace("filters: x\n", "groupby: evt.Meta.service\n") }] }),
    );
    // Without an `exit` the server checks at the end of the input.
    let mut bytes = framed(&request(0, "initialize", json!({})));
    bytes.extend(framed(&open(&uri, text)));
    let (answers, ending) = talk(bytes.clone());
    assert_eq!(ending, Ending::Abrupt);
    let published = answers.last().expect("an answer");
    assert_eq!(published["method"], "textDocument/publishDiagnostics");
    let unknown = &published["params"]["diagnostics"][0];
    assert_eq!(unknown["code"], "R003");
    assert_eq!(unknown["range"]["start"], json!({ "line": 6, "character": 0 }));
    assert_eq!(unknown["range"]["end"], json!({ "line": 6, "character": 7 }));
    // A change takes its place.
    bytes.extend(framed(&change));
    let (answers, _) = talk(bytes);
    let published = answers.last().expect("an answer");
    assert_eq!(published["params"]["version"], 2);
    let codes: Vec<&Value> = published["params"]["diagnostics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| &found["code"])
        .collect();
    assert_eq!(codes, ["L019", "L014"]);
}

#[test]
fn clients_that_do_as_they_like() {
    let check = |bytes: &[u8], expected: &[i64]| {
        let (answers, _) = talk(bytes.to_vec());
        let codes: Vec<i64> = answers.iter().filter_map(|answer| answer["error"]["code"].as_i64()).collect();
        assert_eq!(codes, expected, "{}", String::from_utf8_lossy(bytes));
    };
    check(b"", &[]);
    check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[]);
    check(b"Content-Length: 99999999999\r\n\r\n{}", &[-32700]);
    check(b"Content-Length: 3\r\n\r\n{{{", &[-32700]);
    check(&framed(&json!([1, 2])), &[-32600]);
    check(&framed(&json!({ "id": 1 })), &[-32600]);
    check(&framed(&json!({ "method": 5, "id": {} })), &[-32600]);
    check(&framed(&request(1, "textDocument/hover", json!({}))), &[-32002]);
    let mut bytes = framed(&request(1, "initialize", json!(5)));
    for message in [
        request(2, "initialize", json!({})),
        request(3, "nothing/known", json!({})),
        request(4, "textDocument/completion", json!({ "textDocument": 7, "position": [] })),
        request(
            5,
            "textDocument/hover",
            json!({ "textDocument": { "uri": "x" }, "position": { "line": -1 } }),
        ),
        notification(
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": "file:///%00/scenarios/x.yaml", "text": "a: [" } }),
        ),
        notification(
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": "file:///scenarios/x.yaml", "text": 5 } }),
        ),
        notification(
            "textDocument/didChange",
            json!({ "textDocument": { "uri": "y" }, "contentChanges": [{ "range": {}, "text": "x" }] }),
        ),
        notification("textDocument/didClose", json!({})),
        notification("$/anything", json!(null)),
        json!({ "jsonrpc": "2.0", "id": 9, "result": null }),
    ] {
        bytes.extend(framed(&message));
    }
    check(&bytes, &[-32600, -32601]);
}

#[test]
fn acquisition_files_are_completed_and_checked() {
    let uri = "file:///etc/testudo/acquis.d/web.yaml";
    let text = "source: syslog\nwrong: 1\nlis\n";
    let at = json!({ "textDocument": { "uri": uri }, "position": { "line": 2, "character": 3 } });
    let mut bytes = framed(&request(0, "initialize", json!({ "capabilities": {} })));
    bytes.extend(framed(&open(uri, text)));
    bytes.extend(framed(&request(1, "textDocument/completion", at)));
    // Without a word of goodbye what is open is checked at the end.
    let (answers, _) = talk(bytes);
    let published = answers.iter().find(|answer| answer["method"] == "textDocument/publishDiagnostics");
    let found = &published.expect("findings")["params"]["diagnostics"];
    assert_eq!(
        (&found[0]["message"], &found[0]["range"]["start"]["line"]),
        (&"that is wrong".into(), &1.into())
    );
    let completed = answers.iter().find(|answer| answer["id"] == 1).expect("an answer");
    let labels = completed["result"].as_array().expect("proposals").iter();
    let labels: Vec<&str> = labels.filter_map(|item| item["label"].as_str()).collect();
    assert!(labels.contains(&"listen_port") && !labels.contains(&"filenames"), "{labels:?}");
}

//! Rules that nobody should have written: every command that reads them refuses them in a sentence, and ends.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// A line that reaches parsers of `toyd`.
const LINE: &str = "Nov 30 09:00:00 host toyd[1]: login of root failed from 203.0.113.7\n";

fn testudo(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_testudo"))
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // It may end without having read all.
    let _: std::io::Result<()> = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn parser(more: &str) -> String {
    format!("name: me/bad\nfilter: evt.Parsed.program == 'toyd'\nonsuccess: next_stage\n{more}")
}

fn pattern(syntax: &str, pattern: &str) -> String {
    let syntax = if syntax.is_empty() { String::new() } else { format!("pattern_syntax:\n{syntax}") };
    let grok = format!("grok:\n  apply_on: message\n  pattern: '{pattern}'\n");
    parser(&format!("{syntax}{grok}statics:\n  - meta: log_type\n    value: x\n"))
}

fn expression(text: &str) -> String {
    parser(&format!("statics:\n  - meta: x\n    expression: \"{text}\"\n"))
}

/// What is wrong in a way that no document of a usual size is, and the sentence that says so.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = "nested more than 250 levels deep";
    let parts = "more than 10000 parts";
    let expands = "expands to more than";
    let counts = "is out of range";
    let double = |n: i32| format!("  A{n}: '%{{A{0}}}%{{A{0}}}'\n", n - 1);
    let doubled = format!("  A0: ab\n{}", (1..40).map(double).collect::<String>());
    let link = |n: i32| format!("  C{n}: '%{{C{}}}'\n", n - 1);
    let chain = format!("  C0: a\n{}", (1..200).map(link).collect::<String>());
    let aliases = vec!["*r"; 2_000].join(", ");
    let nine = |n: i32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "));
    let bomb: String = (1..12).map(nine).collect();
    let texts = |text: String| text.into_bytes();
    vec![
        ("parts", texts(expression(&vec!["evt.Meta.a == 'b'"; 5_000].join(" || "))), parts),
        ("brackets", texts(expression(&format!("{}true{}", "(".repeat(9_000), ")".repeat(9_000)))), deep),
        ("nots", texts(expression(&format!("{}true", "!".repeat(9_000)))), deep),
        ("repeats", texts(pattern("", "^((((a{100}){100}){100}){100})%{IP:source_ip}$")), counts),
        ("doubled", texts(pattern(&doubled, "^%{A39}%{IP:source_ip}$")), expands),
        ("chain", texts(pattern(&chain, "^%{C199}%{IP:source_ip}$")), "nested more than 30 deep"),
        ("itself", texts(pattern("  SELF: 'a%{SELF}'\n", "^%{SELF}$")), "cannot refer to itself"),
        ("fields", texts(pattern("", &"%{IP:a} ".repeat(5_000))), expands),
        ("bomb", texts(format!("a0: &a0 [x, x]\n{bomb}{}", parser(""))), "anchors and aliases"),
        ("aliases", texts(parser(&format!("references: [&r x, {aliases}]\n"))), "anchors and aliases"),
        ("anchor", texts(format!("a: &a [*a]\n{}", parser(""))), "cannot stand for a part of itself"),
        ("deep", texts(parser(&format!("nodes: {}", "[".repeat(9_000)))), "nested more than 48 deep"),
        ("values", texts(parser(&format!("references:\n{}", "  - x\n".repeat(100_000)))), "100000 values"),
        ("twice", texts(parser("onsuccess: continue\n")), "key `onsuccess` is given twice"),
        ("tabs", texts(parser("statics:\n\t- meta: x\n")), "indent with spaces"),
        ("nul", texts(parser("description: a\0b\n")), "a NUL byte"),
        ("bytes", [parser("description: ").as_bytes(), b"\xff\n"].concat(), "UTF-8"),
        ("huge", [parser("").into_bytes(), vec![b'#'; 5 << 20]].concat(), "split it"),
    ]
}

#[test]
fn every_command_refuses_them_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("toyd.log"), LINE).expect("it is written");
    let samples = "rule: me/bad\ntype: syslog\nmatches:\n  - line: x\n";
    for (name, text, sentence) in cases() {
        let root = folder.path().join(name);
        for place in ["parsers/s01-parse", "samples"] {
            fs::create_dir_all(root.join(place)).expect("a folder");
        }
        fs::write(root.join("parsers/s01-parse/bad.yaml"), &text).expect("it is written");
        fs::write(root.join("samples/bad.yaml"), samples).expect("it is written");
        let commands: [(&[&str], i32); 5] = [
            (&["lint", name], 1),
            (&["lint", name, "-o", "sarif"], 1),
            (&["rule", "test", name], 2),
            (&["rule", "backtest", name, "--logs", "toyd.log", "--no-cost"], 2),
            (&["replay", "--with", name, "--type", "syslog", "toyd.log"], 0),
        ];
        for (command, code) in commands {
            let output = testudo(folder.path(), command, b"");
            let told = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            let shown: String = told.chars().take(2_000).collect();
            assert_eq!(output.status.code(), Some(code), "{command:?}: {shown}");
            assert!(told.contains(sentence), "{command:?}: {shown}");
        }
    }
}

/// What looks odd and is none the worse for it.
#[test]
fn other_line_ends_and_marks_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = pattern("", "^login of %{DATA:user} failed from %{IP:source_ip}$");
    for (name, text) in [
        ("crlf", good.replace('\n', "\r\n")),
        ("mark", format!("\u{feff}{good}")),
        ("blanks", good.replace(": ", ":  \t")),
    ] {
        let root = folder.path().join(name);
        for place in ["parsers/s01-parse", "samples"] {
            fs::create_dir_all(root.join(place)).expect("a folder");
        }
        fs::write(root.join("parsers/s01-parse/bad.yaml"), text).expect("it is written");
        let samples = format!(
            "rule: me/bad\ntype: syslog\nmatches:\n  - line: '{}'\n    parsed: {{source_ip: 203.0.113.7}}\n",
            LINE.trim_end()
        );
        fs::write(root.join("samples/bad.yaml"), samples).expect("it is written");
        let output = testudo(folder.path(), &["rule", "test", name], b"");
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
    }
}

/// The language server tells the same, and goes on.
#[test]
fn the_language_server_lives_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let framed = |message: serde_json::Value| {
        let body = message.to_string();
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let mut input =
        framed(serde_json::json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}));
    let texts: Vec<_> = cases()
        .into_iter()
        .filter_map(|(name, text, sentence)| Some((name, String::from_utf8(text).ok()?, sentence)))
        .collect();
    for (name, text, _) in &texts {
        let document = serde_json::json!({
            "uri": format!("file:///nowhere/{name}/parsers/s01-parse/bad.yaml"),
            "languageId": "yaml", "version": 1, "text": text,
        });
        input.push_str(&framed(serde_json::json!({
            "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": document},
        })));
    }
    let output = testudo(folder.path(), &["lsp"], input.as_bytes());
    // It was left without a word.
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    for (name, _, sentence) in &texts {
        let published = told
            .split("Content-Length: ")
            .find(|message| message.contains("publishDiagnostics") && message.contains(&format!("/{name}/")));
        assert!(published.is_some_and(|message| message.contains(sentence)), "{name}: {published:?}");
    }
}

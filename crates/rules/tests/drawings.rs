//! Diagnostics as people see them.

use std::sync::Arc;

use testudo_rules::{SourceFile, load_parsers, load_scenarios, render};

fn file(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: "scenarios/me/rule.yaml".to_owned(), text: text.to_owned() })
}

#[track_caller]
fn check(drawings: &[String], expected: &str) {
    let got = drawings.join("\n\n");
    assert_eq!(got.trim(), expected.trim(), "\n{got}\n");
}

#[track_caller]
fn parser(text: &str, expected: &str) {
    let loaded = load_parsers(file(text), "s01-parse");
    check(&loaded.diagnostics.iter().map(|d| render(d, false)).collect::<Vec<_>>(), expected);
}

#[track_caller]
fn scenario(text: &str, expected: &str) {
    let loaded = load_scenarios(file(text));
    check(&loaded.diagnostics.iter().map(|d| render(d, false)).collect::<Vec<_>>(), expected);
}

#[test]
fn unknown_key() {
    scenario(
        "\
type: trigger
name: me/rule
description: \"one request is enough\"
fitler: evt.Meta.log_type == 'x'
filter: 'true'
",
        r"
error[R003]: unknown key `fitler` in a scenario
 --> scenarios/me/rule.yaml:4:1
  |
4 | fitler: evt.Meta.log_type == 'x'
  | ^^^^^^
  |
  = help: did you mean `filter`?
",
    );
}

#[test]
fn missing_keys_point_at_the_first_key() {
    scenario(
        "# a rule\n---\nname: me/rule\ntype: trigger\nfilter: 'true'\n",
        r"
error[R006]: the scenario has no `description`
 --> scenarios/me/rule.yaml:3:1
  |
3 | name: me/rule
  | ^^^^
  |
  = help: say in one line what it detects
",
    );
}

#[test]
fn broken_yaml() {
    parser(
        "name: me/rule\nfilter: \"evt.Line.Raw == 'x'\n",
        r#"
error[R001]: invalid indentation in multiline quoted scalar
 --> scenarios/me/rule.yaml:2:29
  |
2 | filter: "evt.Line.Raw == 'x'
  |                             ^
  |
  = help: close the quote, or indent the lines that follow
"#,
    );
}

#[test]
fn multi_line_values_are_marked_on_their_first_line() {
    scenario(
        "\
type: leaky
name: me/rule
description: x
filter: 'true'
capacity: 5
leakspeed: 10s
distinct: |
  evt.SetMeta('a', 'b') ?
    'x' :
    'y'
",
        r"
error[R012]: the expression changes something, but runs after the event is complete
 --> scenarios/me/rule.yaml:8:3
  |
8 |   evt.SetMeta('a', 'b') ?
  |   ^^^^^^^^^^^^^^^^^^^^^
  |
  = help: move the changing call to a parser, or to the `filter` or `groupby` of the scenario
",
    );
}

#[test]
fn foreign_characters_do_no_harm() {
    parser(
        "name: é\u{1b}[31m\n",
        r"
error[R001]: unexpected character: '\u{1b}'
 --> scenarios/me/rule.yaml:1:7
  |
1 | name: é␛[31m
  |       ^
",
    );
    parser(
        "name: a\nonsuccess: \"\\e[31mé\"\nstatics: [{meta: a, value: b}]\n",
        r#"
error[R007]: `onsuccess` cannot be `␛[31mé`
 --> scenarios/me/rule.yaml:2:12
  |
2 | onsuccess: "\e[31mé"
  |            ^^^^^^^^^
  |
  = help: known here: continue, next_stage
"#,
    );
}

#[test]
fn colours_are_only_added() {
    let loaded = load_scenarios(file("name: x\n"));
    let diagnostic = &loaded.diagnostics[0];
    let coloured = render(diagnostic, true);
    assert!(coloured.contains('\u{1b}'));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    assert_eq!(plain, render(diagnostic, false));
}

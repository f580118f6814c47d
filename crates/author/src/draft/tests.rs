use std::sync::Arc;

use testudo_rules::{SourceFile, load_parsers};

use super::*;
use crate::mine::{Wanted, mine};

/// Parsers that take off envelopes, as any set of rules has them.
pub(crate) fn context() -> RuleSet {
    let mut rules = RuleSet::default();
    for (path, text) in [
        ("plain.yaml", include_str!("../../../../content/parsers/s00-raw/plain.yaml")),
        ("syslog.yaml", include_str!("../../../../content/parsers/s00-raw/syslog.yaml")),
    ] {
        let file = Arc::new(SourceFile { path: path.to_owned(), text: text.to_owned() });
        rules.parsers.extend(load_parsers(file, "s00-raw").items);
    }
    rules
}

/// Drafts, runs the samples and gives the draft.
fn check(lines: &[&str]) -> (Mined, Draft) {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let mined = mine(&lines, &Wanted { forms: 20, fallback: "toyd".to_owned(), ..Wanted::default() });
    let names = Names::new("me/toyd").expect("a name");
    if mined.covered == 0 {
        // The command refuses such a log.
        return (mined, Draft::default());
    }
    let draft = draft(&mined, &names, &context()).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    let (rules, diagnostics) = bundle::load("parsers/s01-parse/toyd.yaml".as_ref(), draft.rule.clone());
    assert!(diagnostics.is_empty(), "{diagnostics:#?}\n{}", draft.rule);
    let (trial, diagnostics) = Trial::new(&bundle::over(context(), rules), &NoData);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}\n{}", draft.rule);
    let samples = Samples::parse("samples", &draft.samples)
        .unwrap_or_else(|error| panic!("{error}\n{}", draft.samples));
    for case in trial.run(&samples) {
        assert!(case.passed(), "{:?}\n{}\n{}", case, draft.rule, draft.samples);
    }
    (mined, draft)
}

#[test]
fn a_syslog_gives_a_rule_that_passes() {
    let (_, draft) = check(&[
        "Nov 30 09:14:00 web-1 toyd[1]: Bad password attempt for 'root' from 127.0.0.1:33062",
        "Nov 30 09:14:01 web-1 toyd[1]: Bad password attempt for 'a: b' from 127.0.0.1:33063",
        "Nov 30 09:14:02 web-1 toyd[1]: Password auth succeeded for 'anna' from 127.0.0.1:33064",
        "Nov 30 09:14:03 web-1 toyd[1]: Child connection from fe80::1%eth0:33064",
    ]);
    assert_eq!(draft.log_type.as_deref(), Some("toyd_failed-auth"));
    assert!(draft.rule.contains("value: auth_success"), "{}", draft.rule);
}

#[test]
fn a_log_without_an_envelope_tells_its_time() {
    let (_, draft) = check(&[
        "[2026-11-30 09:14] user \"x\" login failed ip=203.0.113.7",
        "[2026-11-30 09:15] user \"y\" login failed ip=203.0.113.8",
    ]);
    assert!(draft.rule.contains("evt.StrTime"), "{}", draft.rule);
    assert!(!draft.rule.contains("StrTimeFormat"), "the date is a known one: {}", draft.rule);
    let (_, draft) = check(&["30.11.2026 09:14:00 login of x failed from 203.0.113.7"]);
    assert!(draft.rule.contains("value: '02.01.2006 15:04:05'"), "{}", draft.rule);
}

#[test]
fn an_address_that_can_be_forged_is_not_taken() {
    let (_, draft) = check(&[
        "toyd: client 'a' from 203.0.113.7: said 'b' and left",
        "toyd: client 'c' from 203.0.113.8: said 'd' and left",
    ]);
    assert!(
        draft.samples.contains("unread: true") != draft.rule.contains("meta: source_ip"),
        "{}",
        draft.rule
    );
}

#[test]
fn odd_lines_give_rules_that_load() {
    check(&["x"]);
    check(&["%{IP:x} ${HOME} 'it''s' \\d+ # {line}: [a]", "- a: b"]);
    check(&["key: 'value' # no comment", "{not json", "'", "\"", "\\"]);
    let same = ["login failed for root from 203.0.113.7"; 50];
    let (mined, _) = check(&same);
    assert_eq!((mined.forms.len(), mined.covered), (1, 50));
}

#[test]
fn objects_of_json_give_a_rule_that_reads_their_keys() {
    let (_, draft) = check(&[
        r#"{"ts":1764492945.5,"msg":"login failed","client_ip":"203.0.113.7","user":"ro\"ot","n":1}"#,
        r#"{"ts":1764492946.5,"msg":"login failed","client_ip":"2001:db8::7","user":"admin","n":2}"#,
        r#"{"ts":1764492947.5,"msg":"login succeeded","client_ip":"203.0.113.8","user":"lena","n":3}"#,
    ]);
    assert_eq!(draft.log_type.as_deref(), Some("toyd_failed-auth"));
    assert!(
        draft.rule.contains("value: auth_success") && draft.samples.contains("{json}"),
        "{}",
        draft.samples
    );
    let (_, draft) = check(&[
        r#"{"time":"2026-11-30T09:00:00Z","request":{"remote_ip":"203.0.113.7","uri":"/x","method":"GET"},"status":404}"#,
    ]);
    assert_eq!(draft.log_type.as_deref(), Some("http_access-log"));
    check(&[r#"{"a":1}"#, "{}"]);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn line() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "(from|for|user|invalid|login|failed|by)",
            1 => "[0-9]{1,3}\\.0\\.113\\.[0-9]{1,2}(:[0-9]{1,5})?",
            1 => "'[a-z ]{0,6}'",
            1 => "[\\PC]{0,5}",
        ];
        proptest::collection::vec(piece, 1..7).prop_map(|pieces| pieces.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Whatever the lines are, the rule loads, understands them, and no hostile text blames anybody else.
        #[test]
        fn drafts_pass_their_own_samples(lines in proptest::collection::vec(line(), 1..5)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            check(&lines);
        }
    }
}

#[test]
fn names_of_rules() {
    assert_eq!(Names::new("me/my-d").map(|names| names.prefix).as_deref(), Some("ME_MY_D"));
    for wrong in ["x", "a/b/c", "/x", "x/", "a b/c", "a/b:c", "../x"] {
        assert!(Names::new(wrong).is_none(), "{wrong}");
    }
}

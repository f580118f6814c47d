//! The tree of commands itself: names, help, wrong arguments.

use clap::CommandFactory as _;

use super::*;
use crate::Cscli;

#[test]
fn the_tree_is_consistent() {
    Cscli::command().debug_assert();
}

#[test]
fn groups_without_verbs_show_their_help() {
    let text = command(&[], "").good();
    assert!(text.contains("Usage: cscli") && text.contains("decisions"), "{text}");
    for group in [
        "decisions",
        "alert",
        "bouncers",
        "machine",
        "allowlists",
        "simulation",
        "lapi",
        "config",
        "hub",
        "waf-rules",
    ] {
        let text = command(&[group], "").good();
        assert!(text.contains("Usage: cscli "), "{group}: {text}");
    }
    let text = command(&["decisions", "list", "--help"], "").good();
    for flag in ["--no-simu", "--contained", "-l, --limit", "-o, --output", "[default: 100]"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
}

#[test]
fn wrong_arguments_show_the_usage_and_the_error() {
    for (line, path, cause) in [
        ("nosuch", "cscli", "unrecognized subcommand 'nosuch'"),
        (
            "decisions lst",
            "cscli decisions",
            "unrecognized subcommand 'lst' tip: a similar subcommand exists: 'list'",
        ),
        ("decisions nosuch", "cscli decisions", "unrecognized subcommand 'nosuch'"),
        ("decision list --nosuch", "cscli decisions list", "unexpected argument '--nosuch' found"),
        (
            "bouncers delete",
            "cscli bouncers delete",
            "the following required arguments were not provided: <NAME>...",
        ),
        ("-o yaml alerts list", "cscli", "invalid value 'yaml' for '--output <FORMAT>'"),
    ] {
        let outcome = command(&line.split(' ').collect::<Vec<_>>(), "");
        assert!(!outcome.ok, "{line}");
        assert!(outcome.out.contains("Usage: cscli"), "{line}: {}", outcome.out);
        assert!(outcome.err.starts_with(&format!("Error: {path}: {cause}")), "{line}: {}", outcome.err);
        assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
    }
}

#[test]
fn what_needs_no_configuration() {
    assert!(command(&["version"], "").good().starts_with("version: v"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = command(&["completion", shell], "").good();
        assert!(script.contains("decisions"), "{shell}");
    }
    let error = command(&["-c", "/nowhere/config.yaml", "alerts", "list"], "").bad();
    assert!(error.starts_with("Error: cscli alerts list: cannot read /nowhere/config.yaml: "), "{error}");
}

#[test]
fn what_is_not_here_says_so() {
    let node = Node::start();
    for line in [
        "capi status",
        "papi status",
        "console enroll key",
        "collections install a/b --force",
        "hub update",
        "dashboard setup",
        "notifications test x",
        "config backup /x",
    ] {
        let error = node.go(line).bad();
        assert!(error.starts_with("Error: cscli "), "{line}: {error}");
    }
    assert!(node.go("console status -o raw").good().starts_with("option,enabled\ncustom,true\n"));
    assert_eq!(node.go("notifications list -o json").good(), "[]\n");
    assert_eq!(node.go("collections list -o json").good(), "{\n \"collections\": []\n}\n");
}

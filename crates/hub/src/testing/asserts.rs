//! Evaluates a file of assertions, leniently as the reference does and strictly beside it.

use serde::Serialize;
use testudo_expr::{Schema, Type, Value, compile_text, eval::eval};

use super::results::Results;

/// An assertion that is false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FalseLine {
    /// Name of its file.
    pub file: &'static str,
    /// Number of its line, from 1.
    pub line: usize,
    /// The assertion.
    pub text: String,
    /// The value that it is about, if there is one.
    pub actual: Option<String>,
    /// Whether the reference takes it for a failure. It overlooks assertions on scenarios that
    /// compare nothing, and those whose left side it cannot find out.
    pub recorded: bool,
}

/// Which results a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Parsers,
    Scenarios,
}

impl About {
    pub(super) fn file(self) -> &'static str {
        match self {
            About::Parsers => "parser.assert",
            About::Scenarios => "scenario.assert",
        }
    }

    fn schema(self) -> &'static Schema {
        match self {
            About::Parsers => &super::results::PARSERS,
            About::Scenarios => &super::results::SCENARIOS,
        }
    }
}

/// What a file of assertions gave.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) assertions: usize,
    pub(super) false_lines: Vec<FalseLine>,
    pub(super) errors: Vec<String>,
}

/// Evaluates every line that is not empty.
pub(super) fn evaluate(text: &str, about: About, results: &mut Results) -> Verdict {
    let mut verdict = Verdict::default();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        verdict.assertions += 1;
        let shimmed = shim(line);
        let expression = shimmed.as_deref().unwrap_or(line);
        let value = value(expression, about, Some(&Type::Bool), results);
        match value {
            Ok(Value::Bool(true)) => {}
            Ok(Value::Bool(false)) => {
                let variable = variable(expression);
                let compares = variable.is_some();
                let actual = self::value(variable.unwrap_or(expression), about, None, results);
                let recorded = actual.is_ok() && (compares || about == About::Parsers);
                verdict.false_lines.push(FalseLine {
                    file: about.file(),
                    line: number,
                    text: line.to_owned(),
                    actual: actual.ok().filter(|_| compares).map(|value| show(&value)),
                    recorded,
                });
            }
            Ok(other) => {
                let message = format!("is no test, its value is a {}", other.kind());
                verdict.errors.push(error(about, number, line, &message));
            }
            Err(message) => verdict.errors.push(error(about, number, line, &message)),
        }
    }
    verdict
}

fn error(about: About, line: usize, text: &str, message: &str) -> String {
    format!("{}:{line}: `{text}`: {message}", about.file())
}

fn value(text: &str, about: About, want: Option<&Type>, results: &mut Results) -> Result<Value, String> {
    let (_, node) = compile_text(text, about.schema(), want).map_err(|error| error.to_string())?;
    eval(&node, results).map_err(|error| error.to_string())
}

/// Paths of sources differ from machine to machine: older assertions on them are rewritten to
/// compare the last part.
fn shim(line: &str) -> Option<String> {
    if !line.contains("datasource_path") || line.contains("basename(") {
        return None;
    }
    let mut pieces = line.split("==");
    let (left, right) = (pieces.next()?, pieces.next()?);
    Some(format!("basename({left}) == {right}"))
}

/// What stands before the first ` == `, back to a space or an equals sign.
fn variable(text: &str) -> Option<&str> {
    text.match_indices(" == ").find_map(|(at, _)| {
        let left = &text[..at];
        let start = left.rfind([' ', '=']).map_or(0, |before| before + 1);
        (start < at).then(|| &left[start..])
    })
}

/// A value for people.
fn show(value: &Value) -> String {
    match value {
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| format!("{key:?}: {}", show(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_compared_by_their_last_part() {
        let check = |line: &str, expected: Option<&str>| assert_eq!(shim(line).as_deref(), expected);
        check("len(results) == 1", None);
        check(r#"m["datasource_path"] == "x.log" "#, Some(r#"basename(m["datasource_path"] ) ==  "x.log" "#));
        check(r#"basename(m["datasource_path"]) == "x.log""#, None);
        check(r#""datasource_path" in m"#, None);
        check(r#"m.datasource_path=="x"=="y""#, Some(r#"basename(m.datasource_path) == "x""#));
    }

    #[test]
    fn what_an_assertion_is_about() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(variable(text), expected, "{text}");
        check("len(results) == 1", Some("len(results)"));
        check(r#"results["a b"].c == "d == e""#, Some(r#"b"].c"#));
        check(r#"results["a=b"].c == 1"#, Some(r#"b"].c"#));
        check(r#""x" in results[0].Overflow.GetSources()"#, None);
        check("a==b", None);
        check(" == 1", None);
        check(" == 1 and b == 2", Some("b"));
    }

    proptest! {
        #[test]
        fn odd_lines_do_no_harm(line in "[a( =\"é\\[]{0,12}(datasource_path)?[ =b]{0,12}") {
            let _ = shim(&line);
            if let Some(found) = variable(&line) {
                prop_assert!(!found.is_empty() && !found.contains([' ', '=']));
            }
        }
    }
}

//! Results of checks and tests as JUnit's XML, which build servers read.
//!
//! There is no standard; this is the common part of what Jenkins, GitLab and GitHub's actions take:
//! `testsuites`, `testsuite`, `testcase` with at most one of `failure`, `error` and `skipped`.

use std::{
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

/// Cases that belong together: those of a file, of a folder, of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// What was tried, in order.
    pub cases: Vec<Case>,
}

/// One thing that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// What it is a case of: build servers group by it, and take dots for levels.
    pub class: String,
    /// Its name.
    pub name: String,
    /// The file that it is about, as it was given.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// How long it took, where that was measured.
    pub took: Option<Duration>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    #[default]
    Passed,
    /// Something is not as it should be.
    Failed(Details),
    /// It could not be tried.
    Broken(Details),
    /// It was left out, and why.
    Skipped(String),
}

/// Why a case did not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The sort of trouble: a code, or a word.
    pub kind: String,
    /// In one line.
    pub message: String,
    /// Everything there is to say, in several lines.
    pub text: String,
}

/// Writes suites as one document.
///
/// # Errors
/// The writer's.
pub fn write(suites: &[Suite], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    writeln!(out, "<testsuites{}>", totals(all()))?;
    for suite in suites {
        writeln!(out, "  <testsuite name=\"{}\"{}>", escaped(&suite.name), totals(suite.cases.iter()))?;
        for case in &suite.cases {
            write_case(case, out)?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn write_case(case: &Case, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escaped(&case.class), escaped(&case.name))?;
    if let Some(file) = &case.file {
        write!(out, " file=\"{}\"", escaped(file))?;
    }
    if let Some(line) = case.line {
        write!(out, " line=\"{line}\"")?;
    }
    if let Some(took) = case.took {
        write!(out, " time=\"{}\"", seconds(took))?;
    }
    let (element, details) = match &case.outcome {
        Outcome::Passed => return writeln!(out, "/>"),
        Outcome::Skipped(reason) => {
            writeln!(out, ">\n      <skipped message=\"{}\"/>", escaped(reason))?;
            return writeln!(out, "    </testcase>");
        }
        Outcome::Failed(details) => ("failure", details),
        Outcome::Broken(details) => ("error", details),
    };
    let Details { kind, message, text } = details;
    write!(out, ">\n      <{element} type=\"{}\" message=\"{}\">", escaped(kind), escaped(message))?;
    writeln!(out, "{}</{element}>\n    </testcase>", escaped(text))
}

/// The attributes that count cases.
fn totals<'c>(cases: impl Iterator<Item = &'c Case>) -> String {
    let (mut tests, mut failures, mut errors, mut skipped) = (0, 0, 0, 0);
    let mut took: Option<Duration> = None;
    for case in cases {
        tests += 1;
        match case.outcome {
            Outcome::Passed => {}
            Outcome::Failed(_) => failures += 1,
            Outcome::Broken(_) => errors += 1,
            Outcome::Skipped(_) => skipped += 1,
        }
        if let Some(time) = case.took {
            took = Some(took.unwrap_or_default().saturating_add(time));
        }
    }
    let mut text =
        format!(" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"");
    if let Some(took) = took {
        let _ = write!(text, " time=\"{}\"", seconds(took));
    }
    text
}

/// A decimal number of seconds.
fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// Text as it may stand in an element or an attribute; what XML cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Written out, they outlive the normalisation of attributes and of line ends.
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' => escaped.push_str("&#9;"),
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: Outcome) -> Case {
        Case { class: "rules".into(), name: name.into(), outcome, ..Case::default() }
    }

    fn written(suites: &[Suite]) -> String {
        let mut out = Vec::new();
        write(suites, &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn all_outcomes() {
        let details = Details { kind: "L001".into(), message: "a < b".into(), text: "one\ntwo".into() };
        let timed = Case {
            file: Some("a & b.yaml".into()),
            line: Some(7),
            took: Some(Duration::from_millis(1_250)),
            ..case("timed", Outcome::Passed)
        };
        let suite = Suite {
            name: "checks".into(),
            cases: vec![
                timed,
                case("failed", Outcome::Failed(details.clone())),
                case("broken", Outcome::Broken(details)),
                case("left out", Outcome::Skipped("no \"hub\"".into())),
            ],
        };
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" errors="1" skipped="1" time="1.250">
  <testsuite name="checks" tests="4" failures="1" errors="1" skipped="1" time="1.250">
    <testcase classname="rules" name="timed" file="a &amp; b.yaml" line="7" time="1.250"/>
    <testcase classname="rules" name="failed">
      <failure type="L001" message="a &lt; b">one&#10;two</failure>
    </testcase>
    <testcase classname="rules" name="broken">
      <error type="L001" message="a &lt; b">one&#10;two</error>
    </testcase>
    <testcase classname="rules" name="left out">
      <skipped message="no &quot;hub&quot;"/>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(written(&[suite]), expected);
    }

    #[test]
    fn nothing_is_a_document_too() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <testsuites tests=\"0\" failures=\"0\" errors=\"0\" skipped=\"0\">\n</testsuites>\n";
        assert_eq!(written(&[]), expected);
    }

    #[test]
    fn text_of_strangers_stays_text() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("]]></failure>", "]]&gt;&lt;/failure&gt;");
        check("a\u{1b}[31m\0b\u{ffff}", "a\u{fffd}[31m\u{fffd}b\u{fffd}");
        check("\t\r\n'é", "&#9;&#13;&#10;'é");
    }
}

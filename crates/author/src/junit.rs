//! Results as JUnit XML, which build servers show.

use std::fmt::Write as _;

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Result {
    /// What it belongs to, such as a rule.
    pub group: String,
    /// What was tried.
    pub name: String,
    /// The file that says so, and its line from 1; empty and 0 where there is none.
    pub file: String,
    /// See `file`.
    pub line: u32,
    /// What is wrong; `None` where it passed.
    pub failure: Option<String>,
}

/// The document. Times are left out: they would make two runs differ.
pub fn document(suite: &str, results: &[Result]) -> String {
    let failures = results.iter().filter(|result| result.failure.is_some()).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\"", results.len());
    let _ = writeln!(out, "<testsuites {counts}>\n  <testsuite name=\"{}\" {counts}>", escaped(suite));
    for result in results {
        let _ = write!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\"",
            escaped(&result.group),
            escaped(&result.name)
        );
        if !result.file.is_empty() {
            let _ = write!(out, " file=\"{}\" line=\"{}\"", escaped(&result.file), result.line);
        }
        match &result.failure {
            None => out.push_str("/>\n"),
            Some(failure) => {
                let first = failure.lines().next().unwrap_or_default();
                let _ = writeln!(
                    out,
                    ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                    escaped(first),
                    escaped(failure)
                );
            }
        }
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// Text for an element or an attribute in double quotes. What XML cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let passed =
            Result { group: "a/b".into(), name: "x".into(), file: "s.yaml".into(), line: 3, failure: None };
        let failed = Result {
            name: "\"]]></testcase>\u{1b}".into(),
            failure: Some("one & \ntwo".into()),
            file: String::new(),
            line: 0,
            ..passed.clone()
        };
        assert_eq!(
            document("s", &[passed, failed]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n  \
             <testsuite name=\"s\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n    \
             <testcase classname=\"a/b\" name=\"x\" file=\"s.yaml\" line=\"3\"/>\n    \
             <testcase classname=\"a/b\" name=\"&quot;]]&gt;&lt;/testcase&gt;\u{fffd}\">\n      \
             <failure message=\"one &amp; \">one &amp; &#10;two</failure>\n    </testcase>\n  \
             </testsuite>\n</testsuites>\n"
        );
    }
}

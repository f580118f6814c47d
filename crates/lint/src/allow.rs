//! Allowances: `# lint: allow CODE reason` in a rule file, for what is as its author wants it.
//!
//! At the end of a line it counts for that line, on a line of its own for the next line that is none. Above the
//! first key of a document it counts for the whole document.

use std::{ops::Range, sync::Arc};

use testudo_rules::{Diagnostic, Place, Severity, SourceFile};

use crate::{checks::advice, codes};

/// What an allowance looks like.
const MARK: &str = "# lint: allow";

/// Where an allowance counts.
enum Reach {
    /// On this line, counted from 1.
    Line(u32),
    /// From this byte on, up to the end of the document.
    Document(Range<usize>),
}

struct Allowance {
    codes: Vec<String>,
    reach: Reach,
    place: Place,
    used: bool,
}

/// Takes out what the file allows, and adds what is wrong with its allowances. Errors are never allowed.
pub(crate) fn apply(file: &Arc<SourceFile>, diagnostics: &mut Vec<Diagnostic>) {
    if !file.text.contains(MARK) {
        return;
    }
    let mut allowances = Vec::new();
    let mut wrong = Vec::new();
    let mut start = 0;
    // Whether the document has begun, and where.
    let mut document = 0;
    let mut begun = false;
    for (index, line) in file.text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim();
        if line.starts_with("---") {
            (document, begun) = (start, false);
        } else if let Some(at) = line.find(MARK).filter(|at| *at == 0 || line[..*at].ends_with([' ', '\t'])) {
            let own_line = trimmed.starts_with('#');
            let place = Place::of(file, start + at..start + line.trim_end().len());
            let number = index as u32 + 1;
            let reach = match (own_line, begun) {
                (true, false) => Reach::Document(document..file.text.len()),
                (true, true) => Reach::Line(next_line(&file.text, start + line.len(), number)),
                (false, _) => Reach::Line(number),
            };
            match read(&line[at + MARK.len()..]) {
                Ok(codes) => allowances.push(Allowance { codes, reach, place, used: false }),
                Err(message) => wrong.push(advice(
                    codes::ALLOWANCE,
                    place,
                    message,
                    "write `# lint: allow L012 the reason`, with one code or several joined by commas",
                )),
            }
        }
        begun |= !(trimmed.is_empty() || trimmed.starts_with('#') || line.starts_with("---"));
        start += line.len();
    }
    end_of_documents(&file.text, &mut allowances);
    diagnostics.retain(|diagnostic| {
        if diagnostic.severity == Severity::Error {
            return true;
        }
        let allowed = allowances.iter_mut().find(|allowance| {
            let reaches = match &allowance.reach {
                Reach::Line(line) => diagnostic.place.line == *line,
                Reach::Document(range) => range.contains(&(diagnostic.place.offset as usize)),
            };
            reaches && allowance.codes.iter().any(|code| code == diagnostic.code)
        });
        match allowed {
            Some(allowance) => {
                allowance.used = true;
                false
            }
            None => true,
        }
    });
    diagnostics.extend(wrong);
    diagnostics.extend(allowances.into_iter().filter(|allowance| !allowance.used).map(|allowance| {
        advice(codes::ALLOWANCE, allowance.place, "nothing needs this allowance", "remove it")
    }));
}

/// The codes of an allowance; else what is wrong with it.
fn read(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    let (codes, reason) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    if codes.is_empty() {
        return Err("the allowance names no code".to_owned());
    }
    let codes: Vec<String> = codes.split(',').map(str::to_owned).collect();
    if let Some(unknown) = codes.iter().find(|code| !crate::is_code(code)) {
        return Err(format!("there is no code `{unknown}`"));
    }
    if reason.trim().is_empty() {
        return Err("the allowance gives no reason".to_owned());
    }
    Ok(codes)
}

/// The number of the next line from `start` on that is neither empty nor a comment.
fn next_line(text: &str, start: usize, number: u32) -> u32 {
    let skipped =
        text[start..].lines().take_while(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    number + 1 + skipped.count() as u32
}

/// Ends allowances of documents where the next document begins.
fn end_of_documents(text: &str, allowances: &mut [Allowance]) {
    for allowance in allowances {
        if let Reach::Document(range) = &mut allowance.reach {
            let begin = allowance.place.offset as usize;
            if let Some(next) = text[begin..].find("\n---") {
                range.end = begin + next + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports one finding a line for each line that has `bad` in it; then the file says what it allows.
    fn check(text: &str, expected: &[&str]) {
        let file = Arc::new(SourceFile { path: "x.yaml".into(), text: text.into() });
        let mut diagnostics: Vec<Diagnostic> = text
            .match_indices("bad")
            .map(|(at, _)| advice(codes::AUTHOR, Place::of(&file, at..at + 3), "bad", ""))
            .collect();
        apply(&file, &mut diagnostics);
        let told: Vec<String> =
            diagnostics.iter().map(|d| format!("{} {} {}", d.place.line, d.code, d.message)).collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn allowances_reach_a_line_or_a_document() {
        check("a: bad # lint: allow L020 as it is\nb: bad", &["2 L020 bad"]);
        check("a: 1\n# lint: allow L020 why\n\n# more\nb: bad\nc: bad", &["6 L020 bad"]);
        check("# lint: allow L020,L019 why\na: bad\nb: bad\n---\nc: bad", &["5 L020 bad"]);
        check("---\n# lint: allow L020 why\na: bad", &[]);
    }

    #[test]
    fn allowances_that_cannot_be_used_are_told() {
        check("# lint: allow\na: bad", &["2 L020 bad", "1 L092 the allowance names no code"]);
        check("# lint: allow L020\na: bad", &["2 L020 bad", "1 L092 the allowance gives no reason"]);
        check("# lint: allow L999 why\na: bad", &["2 L020 bad", "1 L092 there is no code `L999`"]);
        check("# lint: allow L019 why\na: bad", &["2 L020 bad", "1 L092 nothing needs this allowance"]);
        check("a: 'no# lint: allow L020 why'\nb: bad", &["2 L020 bad"]);
    }
}

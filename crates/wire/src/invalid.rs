//! Documents that are JSON of the right shape but lack something, and the list of what they lack.

use std::fmt::Display;

/// What is wrong with a document: one line for each problem, with the path to it.
///
/// As text it is the message that clients of the API show:
/// `validation failure list:` and the problems, each on a line of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("validation failure list:\n{}", problems.join("\n"))]
pub struct Invalid {
    /// The problems, in the order of the fields' names.
    pub problems: Vec<String>,
}

impl Invalid {
    /// Nothing when there are no problems.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn check(problems: Vec<String>) -> Result<(), Invalid> {
        if problems.is_empty() { Ok(()) } else { Err(Invalid { problems }) }
    }
}

/// Collects the problems of one object.
pub(crate) struct Checker<'p> {
    path: &'p str,
    problems: &'p mut Vec<String>,
}

impl<'p> Checker<'p> {
    /// A collector for the object at `path`, empty for the document itself.
    pub(crate) fn new(path: &'p str, problems: &'p mut Vec<String>) -> Self {
        Checker { path, problems }
    }

    /// The path of a part of the object.
    pub(crate) fn path(&self, part: impl Display) -> String {
        if self.path.is_empty() { part.to_string() } else { format!("{}.{part}", self.path) }
    }

    /// Notes that a field is absent.
    pub(crate) fn required<T>(&mut self, name: &str, field: Option<&T>) {
        if field.is_none() {
            let path = self.path(name);
            self.problems.push(format!("{path} in body is required"));
        }
    }

    /// Notes that a text has not `least` to `most` characters.
    pub(crate) fn length(&mut self, name: &str, text: &str, least: usize, most: usize) {
        let path = self.path(name);
        let length = text.chars().count();
        if length < least {
            self.problems.push(format!("{path} in body should be at least {least} chars long"));
        } else if length > most {
            self.problems.push(format!("{path} in body should be at most {most} chars long"));
        }
    }

    /// Lets a part of the object note its own problems under its path.
    pub(crate) fn part(&mut self, part: impl Display, check: impl FnOnce(&mut Checker<'_>)) {
        let path = self.path(part);
        check(&mut Checker { path: &path, problems: &mut *self.problems });
    }

    /// Lets each item of a list note its own problems under its place.
    pub(crate) fn each<T>(&mut self, name: &str, items: &[T], check: impl Fn(&T, &mut Checker<'_>)) {
        for (at, item) in items.iter().enumerate() {
            self.part(format_args!("{name}.{at}"), |checker| check(item, checker));
        }
    }
}

//! Writes a parser, its samples and a scenario from the forms of a log's lines.
//!
//! What is written is tried at once: a form whose address the hostile samples can forge gets narrower patterns and, where
//! that does not help, loses its address.

mod json;
mod parser;
mod samples;
mod scenario;

use testudo_config::quoted;
use testudo_engine::NoData;
use testudo_rules::{Diagnostic, set::RuleSet};

use crate::{
    Samples, Trial, bundle,
    mine::{Envelope, Field, Form, Mined, Role, Strictness},
    trial::Part,
};

pub use self::scenario::{Sort, scenario};

/// A draft is tried and mended so many times. Each time something of it goes, so that the last one passes.
const ATTEMPTS: usize = 12;

/// Attempts after which forms with texts of clients are no longer mended one by one.
const PATIENT: usize = 4;

/// What is drafted.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The parser.
    pub rule: String,
    /// Its samples.
    pub samples: String,
    /// The log type of failed log-ins, or else of the first form with an address.
    pub log_type: Option<String>,
}

/// How the rule is called.
#[derive(Clone, Debug)]
pub struct Names {
    /// `author/name`.
    pub rule: String,
    /// What begins the names of its patterns.
    pub prefix: String,
    /// The service, in `evt.Meta.service`.
    pub service: String,
}

impl Names {
    /// Names after `author/name`; `None` where it is not of that form.
    pub fn new(rule: &str) -> Option<Names> {
        let (author, name) = rule.split_once('/')?;
        let fits = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.len() <= 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if !fits(author) || !fits(name) {
            return None;
        }
        let prefix = format!("{author}_{name}").to_uppercase().replace(['-', '.'], "_");
        Some(Names { rule: rule.to_owned(), prefix, service: name.to_owned() })
    }
}

/// A form with what it means.
#[derive(Clone, Debug)]
pub(crate) struct Meaning {
    pub(crate) form: Form,
    event: Option<Event>,
    /// The log type of an event that is no log-in.
    other: String,
    service: String,
    /// Whether its address is taken from it.
    pub(crate) is_read: bool,
    /// Whether it was put before the others, since one of them took its lines.
    is_moved: bool,
}

impl Meaning {
    /// The address that is taken from it.
    pub(crate) fn source(&self) -> Option<&Field> {
        self.form.fields().find(|field| field.is_source && self.is_read)
    }

    /// Its log type. A failure counts against somebody, so there must be an address.
    pub(crate) fn log_type(&self) -> String {
        match self.event {
            Some(Event::Success) => "auth_success".to_owned(),
            Some(Event::Failure) if self.source().is_some() => format!("{}_failed-auth", self.service),
            _ => self.other.clone(),
        }
    }

    fn has_example(&self, line: &str) -> bool {
        self.form.examples.iter().any(|example| example.line == line)
    }
}

/// Writes parser and samples, so that they load and pass. `context` are the rules beside which the parser runs: those
/// that take envelopes off.
///
/// # Errors
/// The draft does not load, which is a defect of this function.
pub fn draft(mined: &Mined, names: &Names, context: &RuleSet) -> Result<Draft, Vec<Diagnostic>> {
    if mined.envelope == Envelope::Json {
        return of_objects(mined, names, context);
    }
    let mut meanings = meanings(mined, names);
    let mut refused = samples::refused(mined, &meanings);
    for attempt in 0..ATTEMPTS {
        let draft = write(mined, names, &meanings, &refused);
        let failed = failed(&draft, names, context)?;
        if failed.is_empty() {
            return Ok(draft);
        }
        mend(&mut meanings, &mut refused, &failed, attempt);
    }
    // What cannot be mended one by one goes as a whole.
    meanings.iter_mut().for_each(|meaning| meaning.is_read = false);
    Ok(write(mined, names, &meanings, &[]))
}

/// The same for a log in JSON: keys that do not do as they should are left out.
fn of_objects(mined: &Mined, names: &Names, context: &RuleSet) -> Result<Draft, Vec<Diagnostic>> {
    let mut mined = mined.clone();
    let mut doubtful =
        [Role::Agent, Role::Method, Role::Request, Role::User, Role::Event, Role::Source].iter();
    loop {
        let json::Texts { rule, samples, log_type } = json::texts(&mined, names);
        let draft = Draft { rule, samples, log_type };
        let failed = failed(&draft, names, context)?;
        if failed.is_empty() {
            return Ok(draft);
        }
        // An address that can be forged is not taken.
        let is_forged = failed.iter().any(|(part, _)| *part == Part::Hostile);
        let Some(role) = doubtful.next().map(|role| if is_forged { Role::Source } else { *role }) else {
            return Ok(draft);
        };
        mined.keys.keys.retain(|key| key.role != role);
    }
}

/// Changes what failed.
fn mend(meanings: &mut Vec<Meaning>, refused: &mut Vec<String>, failed: &[(Part, String)], attempt: usize) {
    let is_failed = |part: Part, line: &str| failed.iter().any(|(of, about)| *of == part && about == line);
    refused.retain(|line| !is_failed(Part::Refuses, line));
    let mut first = Vec::new();
    let mut rest = Vec::new();
    for mut meaning in meanings.drain(..) {
        if samples::hostile(&meaning).is_some_and(|line| is_failed(Part::Hostile, &line)) {
            let narrow = |field: &mut Field| field.strictness = Strictness::Narrow;
            if attempt == 0 {
                meaning.form.fields_mut().for_each(narrow);
            } else {
                meaning.is_read = false;
            }
        } else if attempt >= PATIENT && meaning.form.fields().any(|field| field.kind.is_of_client()) {
            // One form may be blamed for what another one reads.
            meaning.is_read = false;
        }
        // Another form takes its lines: it comes before that or, where that one then lacks its own, is of no use.
        let of_its_own =
            failed.iter().any(|(part, line)| *part == Part::Matches && meaning.has_example(line));
        if of_its_own && meaning.is_moved {
            continue;
        }
        if of_its_own {
            meaning.is_moved = true;
            first.push(meaning);
        } else {
            rest.push(meaning);
        }
    }
    first.extend(rest);
    *meanings = first;
}

/// The samples that fail: their lists and lines.
fn failed(draft: &Draft, names: &Names, context: &RuleSet) -> Result<Vec<(Part, String)>, Vec<Diagnostic>> {
    let path = format!("parsers/{}/{}.yaml", bundle::DEFAULT_STAGE, names.service);
    let (rules, diagnostics) = bundle::load(path.as_ref(), draft.rule.clone());
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let (trial, diagnostics) = Trial::new(&bundle::over(context.clone(), rules), &NoData);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let Ok(samples) = Samples::parse("samples", &draft.samples) else { return Ok(Vec::new()) };
    let cases = trial.run(&samples).into_iter().filter(|case| !case.passed());
    Ok(cases.map(|case| (case.part, case.about)).collect())
}

fn write(mined: &Mined, names: &Names, meanings: &[Meaning], refused: &[String]) -> Draft {
    let read = || meanings.iter().filter(|meaning| meaning.source().is_some());
    let first = read().find(|meaning| meaning.event == Some(Event::Failure)).or_else(|| read().next());
    Draft {
        rule: parser::text(mined, names, meanings),
        samples: samples::text(mined, names, meanings, refused),
        log_type: first.map(Meaning::log_type),
    }
}

/// What the forms tell, by their words.
fn meanings(mined: &Mined, names: &Names) -> Vec<Meaning> {
    let service = &names.service;
    let mut taken = Vec::new();
    let mut meaning = |form: &Form| {
        let words = form.words();
        let event = kind_of_event(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let some: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| word.is_ascii()).take(3).collect();
        let stem = if some.is_empty() { "event".to_owned() } else { some.join("-") };
        let mut other = format!("{service}_{stem}");
        let mut number = 2;
        while taken.contains(&other) {
            other = format!("{service}_{stem}-{number}");
            number += 1;
        }
        taken.push(other.clone());
        Meaning { form: form.clone(), event, other, service: service.clone(), is_read: true, is_moved: false }
    };
    mined.forms.iter().map(&mut meaning).collect()
}

/// What rules commonly ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Success,
    Failure,
}

/// A guess at what words tell.
pub(crate) fn kind_of_event(words: &[&str]) -> Option<Event> {
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let about_login = has(&[
        "auth",
        "authenticate",
        "authenticated",
        "authentication",
        "credentials",
        "login",
        "logins",
        "logged",
        "logon",
        "passwd",
        "password",
        "passwords",
        "pubkey",
        "publickey",
        "user",
        "username",
        "account",
        "sasl",
    ]);
    let failed = has(&[
        "bad",
        "denied",
        "fail",
        "failed",
        "fails",
        "failure",
        "illegal",
        "incorrect",
        "invalid",
        "mismatch",
        "nonexistent",
        "refused",
        "rejected",
        "unauthorized",
        "unknown",
        "wrong",
        "not",
        "no",
    ]);
    let succeeded = has(&[
        "accepted",
        "authenticated",
        "logged",
        "ok",
        "success",
        "succeeded",
        "successful",
        "successfully",
    ]);
    // The end of a session says again what came before it.
    let ended = has(&["closed", "disconnect", "disconnected", "exit", "exited", "out"]);
    match (about_login && !ended, failed, succeeded) {
        (true, true, _) => Some(Event::Failure),
        (true, false, true) => Some(Event::Success),
        _ => None,
    }
}

/// A text in YAML, in single quotes where that is possible: patterns read best so.
pub(crate) fn yaml(text: &str) -> String {
    let plain = quoted(text);
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    if !plain.starts_with('"') || text.chars().any(is_odd) {
        return plain;
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Counts with their noun.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Whether lines of this log carry their own date.
pub(crate) fn is_plain(mined: &Mined) -> bool {
    mined.envelope != Envelope::Syslog
}

#[cfg(test)]
mod tests;

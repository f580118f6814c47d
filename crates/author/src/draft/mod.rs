//! Writes a parser, its samples and a scenario from the forms of a log's lines.
//!
//! What is written is tried at once: a form whose address the hostile samples can forge gets narrower patterns and, where
//! that does not help, loses its address.

mod parser;
mod samples;
mod scenario;

use testudo_config::quoted;
use testudo_engine::NoData;
use testudo_rules::{Diagnostic, set::RuleSet};

use crate::{
    Samples, Trial, bundle,
    mine::{Envelope, Form, Mined, Strictness},
    trial::Part,
};

pub use self::scenario::{Sort, scenario};

/// A rule is tried so many times: twice with narrower patterns, then with fewer addresses.
const ATTEMPTS: usize = 5;

/// What is drafted.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The parser.
    pub rule: String,
    /// Its samples.
    pub samples: String,
    /// Whether any line gives the address of a client.
    pub has_source: bool,
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
    pub(crate) log_type: String,
    /// Whether its address is taken from it.
    pub(crate) is_read: bool,
}

/// Writes parser and samples, so that they load and pass. `context` are the rules beside which the parser runs: those
/// that take envelopes off.
pub fn draft(mined: &Mined, names: &Names, context: &RuleSet) -> Result<Draft, Vec<Diagnostic>> {
    let mut meanings = meanings(mined, names);
    let mut draft = Draft::default();
    for attempt in 0..ATTEMPTS {
        draft = write(mined, names, &meanings);
        let failed = failed(&draft, names, context)?;
        if failed.is_empty() {
            break;
        }
        for meaning in &mut meanings {
            let touched = samples::hostile(meaning).is_some_and(|hostile| failed.contains(&hostile));
            // At the end everything with a text of the client's: one form may be blamed for what another one reads.
            let has_text = meaning.form.fields().any(|field| field.kind.is_of_client());
            if attempt == 0 && touched {
                meaning.form.fields_mut().for_each(|field| field.strictness = Strictness::Narrow);
            } else if touched || attempt + 2 >= ATTEMPTS && has_text {
                meaning.is_read = false;
            }
        }
    }
    Ok(draft)
}

/// The hostile lines that blame somebody else.
fn failed(draft: &Draft, names: &Names, context: &RuleSet) -> Result<Vec<String>, Vec<Diagnostic>> {
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
    let cases = trial.run(&samples);
    Ok(cases
        .into_iter()
        .filter(|case| case.part == Part::Hostile && !case.passed())
        .map(|case| case.about)
        .collect())
}

fn write(mined: &Mined, names: &Names, meanings: &[Meaning]) -> Draft {
    let read = |meaning: &&Meaning| meaning.is_read && meaning.form.fields().any(|field| field.is_source);
    let failures = meanings.iter().filter(read).find(|meaning| meaning.log_type.ends_with("failed-auth"));
    let first = failures.or_else(|| meanings.iter().find(read));
    Draft {
        rule: parser::text(mined, names, meanings),
        samples: samples::text(mined, names, meanings),
        has_source: first.is_some(),
        log_type: first.map(|meaning| meaning.log_type.clone()),
    }
}

/// What the forms tell, by their words.
fn meanings(mined: &Mined, names: &Names) -> Vec<Meaning> {
    let service = &names.service;
    let mut taken = Vec::new();
    let mut meaning = |form: &Form| {
        let words = form.words();
        let kind = kind_of_event(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let log_type = match kind {
            Some(Event::Success) => "auth_success".to_owned(),
            Some(Event::Failure) => format!("{service}_failed-auth"),
            None => {
                let some: Vec<&str> = words.iter().map(String::as_str).filter(|word| word.is_ascii()).take(3).collect();
                let stem = if some.is_empty() { "event".to_owned() } else { some.join("-") };
                let mut unique = format!("{service}_{stem}");
                let mut number = 2;
                while taken.contains(&unique) {
                    unique = format!("{service}_{stem}-{number}");
                    number += 1;
                }
                taken.push(unique.clone());
                unique
            }
        };
        Meaning { form: form.clone(), log_type, is_read: true }
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
        "auth", "authenticate", "authenticated", "authentication", "credentials", "login", "logins", "logged", "logon", "passwd",
        "password", "passwords", "pubkey", "publickey", "user", "username", "account", "sasl",
    ]);
    let failed = has(&[
        "bad", "denied", "fail", "failed", "fails", "failure", "illegal", "incorrect", "invalid", "mismatch", "nonexistent",
        "refused", "rejected", "unauthorized", "unknown", "wrong", "not", "no",
    ]);
    let succeeded = has(&["accepted", "authenticated", "logged", "ok", "success", "succeeded", "successful", "successfully"]);
    match (about_login, failed, succeeded) {
        (true, true, _) => Some(Event::Failure),
        (true, false, true) if !has(&["out", "before", "exit", "disconnect", "closed"]) => Some(Event::Success),
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

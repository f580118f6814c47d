//! Pages that ask for a second factor. They have no script.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};

use super::{Facts, Form, escape, facts_list, hidden, page, problem, text_for, words::words};
use crate::{challenge::Challenge, identity::User, visit::Visit};

/// Where codes are sent.
pub(crate) const CODE_PATH: &str = "/.well-known/testudo/mfa";

/// Where logins elsewhere begin and end.
pub(crate) const LOGIN_PATH: &str = "/.well-known/testudo/oidc";

/// Why somebody is asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Too late, or twice.
    Again,
    /// The code was wrong.
    Wrong,
    /// So many were wrong that the next one has to wait.
    Wait(Duration),
    /// Who has to be asked cannot be.
    Away,
}

/// What a page that asks for a second factor holds.
#[derive(Debug)]
pub(crate) struct Confirmation<'p> {
    pub(crate) challenge: &'p Challenge,
    pub(crate) user: Option<&'p User>,
    /// Where the visitor goes afterwards.
    pub(crate) target: &'p str,
    /// The form that it sends there.
    pub(crate) form: Option<&'p str>,
    /// What it sent is lost.
    pub(crate) is_lost: bool,
    pub(crate) trouble: Option<Trouble>,
}

/// Asks for a code of an authenticator app.
pub(crate) fn ask_for_code(
    visit: &Visit<'_>,
    confirmation: &Confirmation<'_>,
    facts: Facts<'_>,
) -> Response<Bytes> {
    let words = words(text_for(visit).code);
    let input = format!(
        "<div><label for=\"code\">{}</label>\n<input id=\"code\" name=\"code\" class=\"code\" inputmode=\"numeric\" \
         autocomplete=\"one-time-code\" autocapitalize=\"off\" spellcheck=\"false\" maxlength=\"32\" required autofocus \
         aria-describedby=\"hint\">\n<p id=\"hint\" class=\"soft\">{}</p></div>\n<button>{}</button>\n",
        words.code_label, words.code_hint, words.confirm
    );
    ask(visit, confirmation, (CODE_PATH, words.code_asked, ""), &input, facts)
}

/// Asks to log in elsewhere once more, at the host `at`.
pub(crate) fn ask_for_login(
    visit: &Visit<'_>,
    confirmation: &Confirmation<'_>,
    at: &str,
    facts: Facts<'_>,
) -> Response<Bytes> {
    let words = words(text_for(visit).code);
    let at = escape(at);
    let button = format!("<button>{}</button>\n", words.login.replace("{name}", &at));
    let asked = words.login_asked.replace("{name}", &at);
    ask(visit, confirmation, (LOGIN_PATH, &asked, &at), &button, facts)
}

fn ask(
    visit: &Visit<'_>,
    confirmation: &Confirmation<'_>,
    (path, asked, at): (&str, &str, &str),
    input: &str,
    facts: Facts<'_>,
) -> Response<Bytes> {
    let text = text_for(visit);
    let words = words(text.code);
    let mut wait = None;
    let trouble = confirmation.trouble.map(|trouble| match trouble {
        Trouble::Again => text.again.to_owned(),
        Trouble::Wrong => words.wrong.to_owned(),
        Trouble::Away => words.away.replace("{name}", at),
        Trouble::Wait(time) => {
            let seconds = time.as_millis().div_ceil(1_000).max(1) as u64;
            wait = Some(seconds);
            words.wait.replace("{n}", &seconds.to_string())
        }
    });
    let status = if wait.is_some() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN };
    let mut response = if visit.wants_page() {
        let mut body = format!("<h1>{}</h1>\n<p>{asked}</p>\n", words.confirm_title);
        let lost = confirmation.is_lost.then(|| text.not_kept.to_owned());
        for note in trouble.into_iter().chain(lost) {
            let _ = writeln!(body, "<p class=\"note\" role=\"alert\">{note}</p>");
        }
        if let Some(user) = confirmation.user {
            let name = format!("<strong>{}</strong>", escape(&user.name));
            let _ = writeln!(body, "<p class=\"soft\">{}</p>", words.user.replace("{name}", &name));
        }
        let _ = writeln!(body, "<form method=\"post\" action=\"{path}\" autocomplete=\"off\">");
        hidden(&mut body, "challenge", &confirmation.challenge.token());
        if let Some(user) = confirmation.user {
            hidden(&mut body, "user", &user.name);
        }
        hidden(&mut body, "target", confirmation.target);
        if let Some(form) = confirmation.form {
            hidden(&mut body, "form", form);
        }
        let _ = write!(body, "{input}</form>\n{}", facts_list(text, visit.address, facts));
        page(status, text, words.confirm_title, "", &body, Form::Leads)
    } else {
        problem(status, "mfa_required", trouble.as_deref().unwrap_or(asked), facts, wait)
    };
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

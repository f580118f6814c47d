//! Pages for people, and their short form for programs.
//!
//! A page holds everything that it needs. Only that of the challenge has a script, and works without it.

mod confirm;
mod provider;
mod text;
mod words;

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{
        ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use text::{Text, language};
use words::words;

pub(crate) use self::{
    confirm::{CODE_PATH, Confirmation, LOGIN_PATH, Trouble, ask_for_code, ask_for_login},
    provider::ask_by_provider,
};
use crate::{challenge::Challenge, kept, visit::Visit};

const STYLE: &str = include_str!("style.css");
const WORK: &str = include_str!("work.js");

/// Sends a form on by itself.
const SEND_ON: &str = "HTMLFormElement.prototype.submit.call(document.getElementById('form'));";

/// A tortoise's shell: a page without pictures from elsewhere.
const SHELL: &str = "<svg viewBox=\"3 11 42 30\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"3\" \
stroke-linejoin=\"round\" stroke-linecap=\"round\" aria-hidden=\"true\"><path d=\"M5 33a19 19 0 0 1 38 0z\"/>\
<path d=\"M17 24l7-5 7 5-2.5 9h-9zM24 19v-5M17 24l-8-2M31 24l8-2\"/><path d=\"M12 33v5M36 33v5\"/></svg>";

/// The path below which visitors talk to the gate itself, on every host.
pub const OWN_PATH: &str = "/.well-known/testudo/";

/// Where challenges are answered.
pub(crate) const ANSWER_PATH: &str = "/.well-known/testudo/answer";

/// What a visitor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// It is banned.
    Banned,
    /// The web server itself does not let it in.
    Forbidden,
    /// It may not do this.
    Restricted,
    /// Nobody knows who it is, and that matters.
    Unidentified,
    /// It has to wait.
    Throttled(Duration),
    /// Nothing can be said now.
    Unavailable,
}

/// What the page of a challenge holds.
#[derive(Debug)]
pub(crate) struct Puzzle<'p> {
    pub(crate) challenge: &'p Challenge,
    /// Where the visitor goes afterwards.
    pub(crate) target: &'p str,
    /// The form that it sends there.
    pub(crate) form: Option<&'p str>,
    /// What it sent is lost.
    pub(crate) is_lost: bool,
    /// It is not the first try.
    pub(crate) is_again: bool,
    /// How long those without JavaScript wait.
    pub(crate) wait: Duration,
    /// Tells the scripts of the page from others.
    pub(crate) nonce: [u8; 16],
}

/// The facts at the end of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'f> {
    pub(crate) decision: Option<u64>,
    pub(crate) contact: Option<&'f str>,
}

/// Refuses a request.
pub(crate) fn notice(visit: &Visit<'_>, notice: Notice, facts: Facts<'_>) -> Response<Bytes> {
    let text = text_for(visit);
    let (status, error, title, words, wait) = match notice {
        Notice::Banned => (StatusCode::FORBIDDEN, "banned", text.ban_title, text.ban, None),
        Notice::Forbidden => (StatusCode::FORBIDDEN, "forbidden", text.ban_title, text.forbidden, None),
        Notice::Restricted => (StatusCode::FORBIDDEN, "restricted", text.restrict_title, text.restrict, None),
        Notice::Unidentified => {
            let words = words(text.code);
            (StatusCode::FORBIDDEN, "identity_required", words.unknown_title, words.unknown, None)
        }
        Notice::Throttled(wait) => {
            let wait = wait.as_millis().div_ceil(1_000).max(1) as u64;
            (StatusCode::TOO_MANY_REQUESTS, "throttled", text.throttle_title, text.throttle, Some(wait))
        }
        Notice::Unavailable => {
            let (title, words) = (text.unavailable_title, text.unavailable);
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, words, Some(1))
        }
    };
    let words = words.replace("{n}", &wait.unwrap_or_default().to_string());
    let mut response = if visit.wants_page() {
        let body = format!("<h1>{title}</h1>\n<p>{words}</p>\n{}", facts_list(text, visit.address, facts));
        page(status, text, title, if wait.is_some() { "" } else { "stop" }, &body, Form::None)
    } else {
        problem(status, error, &words, facts, wait)
    };
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// Asks a visitor to answer a challenge.
pub(crate) fn challenge(visit: &Visit<'_>, puzzle: &Puzzle<'_>, facts: Facts<'_>) -> Response<Bytes> {
    let text = text_for(visit);
    if !visit.wants_page() {
        return problem(StatusCode::FORBIDDEN, "challenge_required", text.challenge, facts, None);
    }
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n", text.challenge_title, text.challenge);
    for (is_so, note) in [(puzzle.is_again, text.again), (puzzle.is_lost, text.not_kept)] {
        if is_so {
            let _ = writeln!(body, "<p class=\"note\" role=\"alert\">{note}</p>");
        }
    }
    let _ = writeln!(
        body,
        "<p id=\"status\" role=\"status\" class=\"soft\" data-working=\"{}\" data-done=\"{}\"></p>\n\
         <progress id=\"bar\" max=\"1\" value=\"0\" aria-labelledby=\"status\" hidden></progress>\n\
         <form id=\"challenge\" method=\"post\" action=\"{ANSWER_PATH}\" data-seed=\"{}\" data-bits=\"{}\" \
         autocomplete=\"off\">",
        text.working,
        text.done,
        puzzle.challenge.seed(),
        puzzle.challenge.difficulty,
    );
    hidden(&mut body, "challenge", &puzzle.challenge.token());
    hidden(&mut body, "answer", "");
    hidden(&mut body, "target", puzzle.target);
    if let Some(form) = puzzle.form {
        hidden(&mut body, "form", form);
    }
    let (a, b) = puzzle.challenge.question();
    let word =
        |number: u8| text.numbers.get(usize::from(number.saturating_sub(1))).copied().unwrap_or_default();
    let seconds = puzzle.wait.as_secs().max(1);
    let question = text.question.replace("{a}", word(a)).replace("{b}", word(b));
    let _ = write!(
        body,
        "<details id=\"other\" open>\n<summary>{}</summary>\n<p class=\"soft\">{}</p>\n\
         <div><label for=\"sum\">{question}</label>\n<input id=\"sum\" name=\"sum\" inputmode=\"numeric\" \
         pattern=\"[0-9]*\" maxlength=\"2\"></div>\n<button class=\"later\">{}</button>\n</details>\n</form>\n{}",
        text.other,
        text.other_how.replace("{n}", &seconds.to_string()),
        text.send,
        facts_list(text, visit.address, facts),
    );
    let nonce = URL_SAFE_NO_PAD.encode(puzzle.nonce);
    let style = format!(".later{{animation-delay:{seconds}s}}");
    page(
        StatusCode::FORBIDDEN,
        text,
        text.challenge_title,
        "",
        &body,
        Form::Script(Script { nonce, style, code: WORK, places: String::new() }),
    )
}

/// Lets a visitor in, and sends the form on that was kept.
pub(crate) fn send_on(
    visit: &Visit<'_>,
    target: &str,
    form: &kept::Form,
    cookie: HeaderValue,
    nonce: [u8; 16],
) -> Response<Bytes> {
    let text = text_for(visit);
    let mut body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<form id=\"form\" method=\"post\" enctype=\"{}\" action=\"{}\">\n",
        text.thanks_title,
        text.thanks,
        form.encoding.name(),
        escape(target),
    );
    for field in &form.fields {
        if field.is_file {
            let _ = writeln!(body, "<input type=\"file\" name=\"{}\" hidden>", escape(&field.name));
        } else {
            hidden(&mut body, &field.name, &field.value);
        }
    }
    let _ = writeln!(body, "<button>{}</button>\n</form>", text.go_on);
    let script = Script {
        nonce: URL_SAFE_NO_PAD.encode(nonce),
        style: String::new(),
        code: SEND_ON,
        places: String::new(),
    };
    let mut response = page(StatusCode::OK, text, text.thanks_title, "", &body, Form::Script(script));
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// Leads to the start of the site.
pub(crate) fn home() -> Response<Bytes> {
    let mut response = bare(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    response
}

/// An answer without a body that is not kept by anybody.
pub(crate) fn bare(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Plain text.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = bare(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    *response.body_mut() = text.into();
    response
}

/// JSON.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Bytes> {
    let mut response = plain(status, value.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn problem(
    status: StatusCode,
    error: &str,
    message: &str,
    facts: Facts<'_>,
    wait: Option<u64>,
) -> Response<Bytes> {
    let mut value = serde_json::json!({ "error": error, "message": message });
    if let Some(decision) = facts.decision {
        value["decision"] = decision.into();
    }
    if let Some(contact) = facts.contact {
        value["contact"] = contact.into();
    }
    if let Some(wait) = wait {
        value["retry_after"] = wait.into();
    }
    let mut response = json(status, &value);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Language, Cookie"));
    response
}

/// What a page lets a visitor do.
enum Form {
    /// Nothing.
    None,
    /// Send a form, which may lead elsewhere.
    Leads,
    /// That, and a script does so by itself.
    Script(Script),
}

struct Script {
    nonce: String,
    /// More style for this page.
    style: String,
    code: &'static str,
    /// Where it may load from, beside the page itself.
    places: String,
}

fn page(
    status: StatusCode,
    text: &Text,
    title: &str,
    class: &str,
    body: &str,
    form: Form,
) -> Response<Bytes> {
    let (style, code, policy) = match &form {
        // No word about where forms may lead: browsers hold it against what the site's own answer leads to.
        Form::Leads => ("", String::new(), "style-src 'unsafe-inline'".to_owned()),
        Form::Script(Script { nonce, style, code, places }) => {
            let more = if places.is_empty() {
                String::new()
            } else {
                format!(" {places}; frame-src {places}; connect-src {places}; img-src {places}")
            };
            let own_style = if places.is_empty() { String::new() } else { format!(" {places}") };
            (
                style.as_str(),
                format!("<script nonce=\"{nonce}\">\n{code}</script>\n"),
                format!("style-src 'unsafe-inline'{own_style}; script-src 'nonce-{nonce}'{more}"),
            )
        }
        Form::None => ("", String::new(), "style-src 'unsafe-inline'; form-action 'none'".to_owned()),
    };
    let html = format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n\
         <body>\n<main class=\"{class}\">\n{SHELL}\n{body}</main>\n{code}</body>\n</html>\n",
        text.code,
    );
    let mut response = plain(status, html);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(text.code));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Language, Cookie"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An answer is taken only with an `Origin`, which browsers hide under stricter rules.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    let policy = format!("default-src 'none'; base-uri 'none'; frame-ancestors 'self'; {policy}");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn text_for(visit: &Visit<'_>) -> &'static Text {
    let accepted = visit.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    language(accepted.unwrap_or_default())
}

fn facts_list(text: &Text, address: IpAddr, facts: Facts<'_>) -> String {
    let mut list = format!("<dl>\n<dt>{}</dt><dd>{address}</dd>\n", text.address);
    if let Some(decision) = facts.decision {
        let _ = writeln!(list, "<dt>{}</dt><dd>{decision}</dd>", text.decision);
    }
    if let Some(contact) = facts.contact {
        let escaped = escape(contact);
        let is_mail = contact.contains('@') && !contact.contains(char::is_whitespace);
        let link = if is_mail {
            Some(format!("mailto:{escaped}"))
        } else {
            Some(escaped.clone())
                .filter(|_| contact.starts_with("https://") || contact.starts_with("http://"))
        };
        let shown = link.map_or(escaped.clone(), |link| format!("<a href=\"{link}\">{escaped}</a>"));
        let _ = writeln!(list, "<dt>{}</dt><dd>{shown}</dd>", text.contact);
    }
    list.push_str("</dl>\n");
    list
}

fn hidden(body: &mut String, name: &str, value: &str) {
    let _ = writeln!(body, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value));
}

/// A text as it may stand in HTML, between quotes as well. Ends of lines stay what they are.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\r' => escaped.push_str("&#13;"),
            '\n' => escaped.push_str("&#10;"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Whether a form comes out of a page as it went in: browsers change lone ends of lines, and pages hold no null.
pub(crate) fn survives(fields: &[(String, String)]) -> bool {
    let is_well = |text: &str| {
        let rest = text.replace("\r\n", "");
        !rest.contains(['\r', '\n', '\0'])
    };
    // A field of this name is filled in by the browser.
    fields.iter().all(|(name, value)| is_well(name) && is_well(value) && name != "_charset_")
}

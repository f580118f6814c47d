//! The page that has a captcha provider look at a visitor.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{Response, StatusCode};

use super::{
    ANSWER_PATH, Facts, Form, Puzzle, Script, escape, facts_list, hidden, page, problem, text_for,
    words::words,
};
use crate::{
    provider::{Fallback, ProviderPolicy},
    visit::Visit,
};

const CODE: &str = include_str!("provider.js");

/// Asks a visitor to have a provider look.
pub(crate) fn ask_by_provider(
    visit: &Visit<'_>,
    puzzle: &Puzzle<'_>,
    provider: &ProviderPolicy,
    facts: Facts<'_>,
) -> Response<Bytes> {
    let text = text_for(visit);
    let words = words(text.code);
    let name = provider.service.title();
    if !visit.wants_page() {
        return problem(StatusCode::FORBIDDEN, "challenge_required", text.challenge, facts, None);
    }
    let mut body =
        format!("<h1>{}</h1>\n<p>{}</p>\n", text.challenge_title, words.provider.replace("{name}", name));
    for (is_so, note) in [(puzzle.is_again, text.again), (puzzle.is_lost, text.not_kept)] {
        if is_so {
            let _ = writeln!(body, "<p class=\"note\" role=\"alert\">{note}</p>");
        }
    }
    let data = [
        ("service", provider.service.name()),
        ("object", provider.service.object()),
        ("script", &provider.script()),
        ("key", &provider.site_key),
        ("action", &provider.action),
    ];
    let data = data.iter().fold(String::new(), |mut data, (name, value)| {
        let _ = write!(data, " data-{name}=\"{}\"", escape(value));
        data
    });
    let _ = writeln!(
        body,
        "<p id=\"status\" role=\"status\" class=\"soft\" data-working=\"{}\" data-done=\"{}\" data-failed=\"{}\"></p>\n\
         <form id=\"challenge\" method=\"post\" action=\"{ANSWER_PATH}\"{data} autocomplete=\"off\">\n<div id=\"widget\"></div>",
        words.loading, text.done, words.failed,
    );
    hidden(&mut body, "challenge", &puzzle.challenge.token());
    hidden(&mut body, "token", "");
    hidden(&mut body, "target", puzzle.target);
    if let Some(form) = puzzle.form {
        hidden(&mut body, "form", form);
    }
    match provider.fallback {
        Fallback::Always => {
            let _ = writeln!(
                body,
                "<details id=\"other\" open>\n<summary>{}</summary>\n<p class=\"soft\">{}</p>\n\
                 <button id=\"instead\" name=\"instead\" value=\"1\">{}</button>\n</details>",
                text.other,
                words.instead_how.replace("{name}", name),
                words.instead
            );
        }
        Fallback::Outage => {
            let _ = writeln!(body, "<noscript><p class=\"note\">{}</p></noscript>", words.needs_script);
        }
    }
    let _ = write!(body, "</form>\n{}", facts_list(text, visit.address, facts));
    let script = Script {
        nonce: URL_SAFE_NO_PAD.encode(puzzle.nonce),
        style: String::new(),
        code: CODE,
        places: provider.places(),
    };
    page(StatusCode::FORBIDDEN, text, text.challenge_title, "", &body, Form::Script(script))
}

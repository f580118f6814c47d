//! Who was at a provider of OpenID Connect: a sealed cookie that only the gate reads.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::header::HeaderValue;

use crate::{
    cookie,
    identity::{MAX_USER, User},
    keys::Keys,
    moment::Moment,
    seal::{self, RANDOM_BYTES},
    visit::Visit,
};

/// A kind of sealed cookie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    purpose: &'static str,
    secure_name: &'static str,
    plain_name: &'static str,
}

/// A user who was at the provider.
const USER: Sealed =
    Sealed { purpose: "user", secure_name: "__Host-testudo-user", plain_name: "testudo-user" };

/// A login that has begun.
pub(crate) const LOGIN: Sealed =
    Sealed { purpose: "login", secure_name: "__Host-testudo-login", plain_name: "testudo-login" };

/// The largest cookie, in bytes: browsers keep no more than four kilobytes.
const MAX_COOKIE: usize = 3_800;

/// The most cookies of one name that are looked at.
const MAX_TRIES: usize = 4;

impl Sealed {
    fn name(self, visit: &Visit<'_>) -> &'static str {
        if visit.is_https { self.secure_name } else { self.plain_name }
    }

    /// The line that gives a browser a text that only the gate reads. None if it is too long.
    pub(crate) fn set(
        self,
        keys: &Keys,
        visit: &Visit<'_>,
        owner: &[u8; 32],
        random: [u8; RANDOM_BYTES],
        text: &[u8],
        valid_for: Duration,
    ) -> Option<HeaderValue> {
        let value = URL_SAFE_NO_PAD.encode(seal::seal(keys, self.purpose, random, owner, text)?);
        let secure = if visit.is_https { "; Secure" } else { "" };
        let (name, seconds) = (self.name(visit), valid_for.as_secs());
        // Not `Strict`: a browser comes back from elsewhere with it.
        let line = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(line).ok().filter(|line| line.len() <= MAX_COOKIE)
    }

    /// The line that takes it away.
    pub(crate) fn clear(self, visit: &Visit<'_>) -> HeaderValue {
        let secure = if visit.is_https { "; Secure" } else { "" };
        let line = format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}", self.name(visit));
        HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static(""))
    }

    /// The texts that a browser was given, as far as they are its own.
    pub(crate) fn get<'k>(
        self,
        keys: &'k Keys,
        visit: &'k Visit<'_>,
        owner: &'k [u8; 32],
    ) -> impl Iterator<Item = Vec<u8>> + 'k {
        let values = cookie::values(visit.headers, self.name(visit)).take(MAX_TRIES);
        values.filter(|value| value.len() <= MAX_COOKIE).filter_map(move |value| {
            let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
            seal::open(keys, self.purpose, owner, &sealed).map(|opened| opened.text)
        })
    }
}

/// Whom a session belongs to. Networks change while a session goes on, so it is a host and a browser.
fn owner(visit: &Visit<'_>) -> [u8; 32] {
    visit.owner((0, 0))
}

/// The user of a session.
pub(crate) fn user(keys: &Keys, visit: &Visit<'_>, now: Moment) -> Option<User> {
    let owner = owner(visit);
    USER.get(keys, visit, &owner).find_map(|text| {
        let (until, name) = text.split_first_chunk()?;
        let holds = u64::from_be_bytes(*until) > now.wall;
        User::new(str::from_utf8(name).ok().filter(|_| holds)?)
    })
}

/// The line that begins a session.
pub(crate) fn begin(
    keys: &Keys,
    visit: &Visit<'_>,
    user: &User,
    random: [u8; RANDOM_BYTES],
    valid_for: Duration,
    now: Moment,
) -> Option<HeaderValue> {
    let until = now.wall.saturating_add(valid_for.as_millis() as u64);
    let mut text = Vec::with_capacity(8 + MAX_USER);
    text.extend(until.to_be_bytes());
    text.extend(user.name.as_bytes());
    USER.set(keys, visit, &owner(visit), random, &text, valid_for)
}

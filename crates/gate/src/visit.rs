//! A visitor's request, as the web server tells it.

use std::{borrow::Cow, net::IpAddr};

use hyper::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, USER_AGENT},
};
use sha2::{Digest as _, Sha256};
use testudo_event::net::Prefix;

use crate::{
    address::{self, Peer},
    metrics::Outcome,
    path,
    policy::{Policy, host_name},
    throttle::network,
};

/// The longest target that a visitor is sent back to, in bytes.
const MAX_TARGET: usize = 4_096;

/// Headers that some applications take for the method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// How the web server tells about a request. Each way has headers of its own that it always sets: one that it does
/// not set could be the visitor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The visitor's own request, `X-Original-URI` and `X-Original-Method` added.
    Original,
    /// A request about it: `X-Forwarded-Method`, `-Host`, `-Uri`.
    Forwarded,
    /// The visitor's own request to the gate.
    Own,
}

/// Why a request cannot be judged: the web server is not set up as it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// Nothing says whose request it is.
    #[error(
        "no header tells the client's address: let the web server send the one that `client_address` names"
    )]
    Address,
    /// Nothing says which target it has.
    #[error(
        "no header tells the request's target: let the web server send it, see the printed configuration"
    )]
    Target,
    /// Nothing says which method it has.
    #[error(
        "no header tells the request's method: let the web server send it, see the printed configuration"
    )]
    Method,
    /// There are more headers than are looked at.
    #[error("the request has too many headers")]
    Headers,
}

/// A visitor's request.
#[derive(Clone, Debug)]
pub struct Visit<'r> {
    /// The visitor's address, never in the mapped form.
    pub address: IpAddr,
    /// The host as policies name it.
    pub host: String,
    /// The method.
    pub method: Cow<'r, str>,
    /// Path and query.
    pub target: Cow<'r, str>,
    /// It came over TLS.
    pub is_https: bool,
    /// Its headers come from a trusted proxy, whose word about its user counts.
    pub from_proxy: bool,
    /// Its headers, among which are those that the web server added.
    pub headers: &'r HeaderMap,
}

impl<'r> Visit<'r> {
    /// Reads what a peer tells about a request. `method` and `target` are those of its own request.
    pub fn read(
        way: Way,
        peer: Peer,
        policy: &Policy,
        (method, target): (&'r str, &'r str),
        headers: &'r HeaderMap,
    ) -> Result<Self, Untold> {
        let address =
            address::client(peer, &policy.proxies, policy.address, headers).ok_or(Untold::Address)?;
        let header = |name: &str| text(headers, name);
        let (method, target, host) = match way {
            Way::Own => (Some(method.into()), Some(target.into()), header(HOST.as_str())),
            Way::Original => (header("x-original-method"), header("x-original-uri"), header(HOST.as_str())),
            Way::Forwarded => {
                (header("x-forwarded-method"), header("x-forwarded-uri"), header("x-forwarded-host"))
            }
        };
        let from_proxy = peer.is_trusted(&policy.proxies);
        let scheme = header("x-forwarded-proto").filter(|_| from_proxy);
        Ok(Self {
            address,
            host: host_name(&host.unwrap_or_default()),
            method: method.ok_or(Untold::Method)?,
            target: target.ok_or(Untold::Target)?,
            is_https: scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            from_proxy,
            headers,
        })
    }

    /// Where the visitor may be sent back to: a target on the same site, or its start.
    pub(crate) fn way_back(&self) -> &str {
        way_back(&self.target)
    }

    /// The same visitor's request to another place of the site.
    pub(crate) fn towards(&self, target: &'r str, has_form: bool) -> Self {
        let method = if has_form { "POST" } else { "GET" };
        Self { target: target.into(), method: method.into(), ..self.clone() }
    }

    /// The visitor's network, of so many bits.
    pub(crate) fn network(&self, (v4_bits, v6_bits): (u8, u8)) -> Prefix {
        network(self.address, v4_bits, v6_bits)
    }

    /// Whom challenges and passes belong to: one host, one network, one browser.
    pub(crate) fn owner(&self, bits: (u8, u8)) -> [u8; 32] {
        let network = self.network(bits);
        let agent = self.headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        let mut hash = Sha256::new();
        for part in [self.host.as_bytes(), network.to_string().as_bytes(), agent] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Whether it comes from a page of the same site, as far as the browser says. One that says nothing does not.
    pub(crate) fn is_from_same_site(&self) -> bool {
        let from_site = self.headers.get("sec-fetch-site").is_none_or(|value| value == "same-origin");
        let origin = text(self.headers, ORIGIN.as_str());
        let host = origin.as_deref().and_then(|origin| Some(host_name(origin.split_once("://")?.1)));
        from_site && host.is_some_and(|host| host == self.host)
    }

    /// Whether some applications would take it for a request of another method.
    pub(crate) fn overrides_method(&self) -> bool {
        self.headers.keys().any(|name| is_method_override(&known_as(name)))
    }

    /// Whether the web server says that a check refused it.
    pub(crate) fn was_refused(&self) -> bool {
        let outcome = text(self.headers, "x-testudo-outcome").unwrap_or_default();
        Outcome::ALL.iter().any(|refused| refused.name() == outcome && !refused.passes())
    }

    /// Whether the body is that of a plain form.
    pub(crate) fn has_form(&self) -> bool {
        let kind = text(self.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        self.method == "POST" && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// Whether a page would be seen by a person. A program gets JSON.
    pub(crate) fn wants_page(&self) -> bool {
        if let Some(place) = self.headers.get("sec-fetch-dest") {
            return matches!(place.as_bytes(), b"document" | b"iframe" | b"frame");
        }
        let accept = text(self.headers, ACCEPT.as_str()).unwrap_or_default().to_ascii_lowercase();
        accept.contains("text/html") || !accept.contains("json")
    }
}

/// The name of a header as programs know it that find headers in their environment: what is no letter and no digit is one
/// character there. CGI, WSGI and PHP cannot tell `X_Real_IP` from `X-Real-IP`.
pub(crate) fn known_as(name: &HeaderName) -> Cow<'_, str> {
    let is_other = |character: char| !character.is_ascii_alphanumeric() && character != '-';
    let name = name.as_str();
    if name.contains(is_other) { name.replace(is_other, "-").into() } else { name.into() }
}

/// Whether some applications take the header of this name, as [`known_as`] says it, for the method.
pub(crate) fn is_method_override(name: &str) -> bool {
    METHOD_OVERRIDES.contains(&name)
}

/// A target that leads to the same site, or its start.
pub(crate) fn way_back(target: &str) -> &str {
    let bytes = target.as_bytes();
    let is_plain = bytes.iter().all(|byte| matches!(byte, 0x21..=0x7e)) && bytes.len() <= MAX_TARGET;
    // Browsers take `//x` and `/\x` for the host x.
    let is_local = bytes.first() == Some(&b'/') && !matches!(bytes.get(1), Some(b'/' | b'\\'));
    if is_plain && is_local && path::path_of(target).starts_with('/') { target } else { "/" }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy::from_text("p", "hosts: [{names: ['*'], fail: open}]").expect("a policy")
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        });
        lines.collect()
    }

    fn same_site(lines: &[(&'static str, &str)]) -> bool {
        let mut headers = headers(lines);
        headers.insert(HOST, HeaderValue::from_static("example.org:8080"));
        let peer = Peer::Address(IpAddr::from([192, 0, 2, 1]));
        let visit = Visit::read(Way::Own, peer, &policy(), ("POST", "/"), &headers);
        visit.expect("it is told").is_from_same_site()
    }

    #[test]
    fn each_way_has_its_headers() {
        let headers = headers(&[
            ("host", "Example.org:8443"),
            ("x-original-uri", "/a"),
            ("x-original-method", "PUT"),
            ("x-forwarded-uri", "/b"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "other.org"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "198.51.100.1"),
        ]);
        let read = |way, peer| {
            let visit = Visit::read(way, peer, &policy(), ("POST", "/c"), &headers).expect("it is told");
            format!("{} {} {} {} {}", visit.address, visit.method, visit.host, visit.target, visit.is_https)
        };
        assert_eq!(read(Way::Original, Peer::Local), "198.51.100.1 PUT example.org /a true");
        assert_eq!(read(Way::Forwarded, Peer::Local), "198.51.100.1 GET other.org /b true");
        assert_eq!(read(Way::Own, Peer::Local), "198.51.100.1 POST example.org /c true");
        let stranger = Peer::Address(IpAddr::from([203, 0, 113, 1]));
        assert_eq!(read(Way::Own, stranger), "203.0.113.1 POST example.org /c false");
        let none = HeaderMap::new();
        let untold = |way, peer| Visit::read(way, peer, &policy(), ("GET", "/"), &none).err();
        assert_eq!(untold(Way::Own, Peer::Local), Some(Untold::Address));
        assert_eq!(untold(Way::Original, stranger), Some(Untold::Method));
    }

    #[test]
    fn only_a_browser_that_says_so_is_on_the_same_site() {
        assert!(same_site(&[("origin", "http://example.org:8080")]));
        assert!(same_site(&[("origin", "http://example.org"), ("sec-fetch-site", "same-origin")]));
        assert!(!same_site(&[("origin", "http://example.org"), ("sec-fetch-site", "cross-site")]));
        assert!(!same_site(&[("origin", "http://evil.org"), ("sec-fetch-site", "same-origin")]));
        assert!(!same_site(&[("origin", "http://example.org.evil.org")]));
        assert!(!same_site(&[("origin", "null")]));
        assert!(!same_site(&[("sec-fetch-site", "same-origin")]));
        assert!(!same_site(&[]));
    }

    #[test]
    fn a_method_is_overridden_in_any_spelling() {
        let peer = Peer::Address(IpAddr::from([192, 0, 2, 1]));
        for (name, overrides) in [
            ("x-http-method-override", true),
            ("x_http_method_override", true),
            ("x-http_method", true),
            ("x_method-override", true),
            ("x.http.method", true),
            ("x-http-methods", false),
            ("x_requested_with", false),
        ] {
            let headers = headers(&[(name, "DELETE")]);
            let visit = Visit::read(Way::Own, peer, &policy(), ("GET", "/"), &headers).expect("it is told");
            assert_eq!(visit.overrides_method(), overrides, "{name}");
        }
    }

    #[test]
    fn the_way_back_stays_on_the_site() {
        for target in ["/", "/a?b=c", "/a//b", "/?to=http://x.org/"] {
            assert_eq!(way_back(target), target);
        }
        for target in ["", "//evil.org", "/\\evil.org", "http://evil.org/", "/a b", "/a\r\nb", "/é", "x"] {
            assert_eq!(way_back(target), "/", "{target}");
        }
    }

    proptest! {
        #[test]
        fn a_way_back_is_always_local(target in "[ -~\\x00-\\x1f]{0,40}") {
            let back = way_back(&target);
            prop_assert!(back.starts_with('/') && !back.starts_with("//") && !back.starts_with("/\\"));
        }
    }
}

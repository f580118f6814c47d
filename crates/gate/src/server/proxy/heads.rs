//! Heads of requests and answers, on their way through the proxy.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Method, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
        TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
    http::request::Parts,
};

use crate::visit::{is_method_override, known_as};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Headers that belong to one connection only, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers by which the gate judges, or by which a body is understood, and which have other spellings than their own.
const MEANINGFUL: [HeaderName; 3] = [CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT];

/// The one protocol that a connection may change to. Others, `h2c` among them, would carry requests past the gate.
const TUNNEL: &str = "websocket";

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// Whose connection it came by.
    pub(super) peer: IpAddr,
    /// Whose it is.
    pub(super) client: IpAddr,
    /// Whether the peer is a trusted proxy.
    pub(super) is_trusted: bool,
    /// Whether it came over TLS.
    pub(super) is_tls: bool,
    /// Whether the connection is to become a tunnel.
    pub(super) is_tunnel: bool,
}

/// Refuses what servers may understand in different ways. What is left has a path, and one host in one place.
pub(super) fn check(parts: &mut Parts) -> Result<(), (StatusCode, &'static str)> {
    let bad = |text| Err((StatusCode::BAD_REQUEST, text));
    if parts.method == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "this is no proxy for other sites\n"));
    }
    let headers = &mut parts.headers;
    let is_alias = |name: &HeaderName| {
        let known = known_as(name);
        known != name.as_str() && (known == CONTENT_LENGTH.as_str() || known == TRANSFER_ENCODING.as_str())
    };
    if headers.keys().any(is_alias) {
        return bad("the length of the body is not clear\n");
    }
    let encodings: Vec<&[u8]> =
        headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    match encodings.as_slice() {
        [] if lengths <= 1 => {}
        [one]
            if one.eq_ignore_ascii_case(b"chunked") && lengths == 0 && parts.version == Version::HTTP_11 => {}
        _ => return bad("the length of the body is not clear\n"),
    }
    // A target with a host counts more than the header; both have to say the same afterwards.
    if let Some(authority) = parts.uri.authority() {
        let Ok(host) = HeaderValue::from_str(authority.as_str()) else { return bad("no host\n") };
        headers.insert(HOST, host);
    }
    let target = parts.uri.path_and_query().filter(|target| target.as_str().starts_with('/')).cloned();
    let Some(target) = target else { return bad("the target is no path\n") };
    parts.uri = Uri::from(target);
    let mut hosts = headers.get_all(HOST).iter();
    let is_one = matches!((hosts.next(), hosts.next()), (Some(host), None) if is_host(host.as_bytes()));
    if is_one { Ok(()) } else { bad("one header has to name the host\n") }
}

/// Whether it is a name or an address, with a port or without.
fn is_host(text: &[u8]) -> bool {
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    !text.is_empty() && text.iter().all(is_fine)
}

/// Whether the visitor asks for a tunnel that it may have.
pub(super) fn wants_tunnel(parts: &Parts) -> bool {
    let named = |name: &HeaderName, word: &str| {
        let mut words = parts.headers.get_all(name).iter().flat_map(words);
        words.any(|other| other.eq_ignore_ascii_case(word))
    };
    parts.method == Method::GET && named(&CONNECTION, "upgrade") && named(&UPGRADE, TUNNEL)
}

/// The elements of a header that is a list.
fn words(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// The headers that the site gets. `told` is what the gate tells it; in `identity`, a trusted proxy tells who the user is.
pub(super) fn to_site(
    visitor: &HeaderMap,
    told: &HeaderMap,
    identity: Option<&HeaderName>,
    ways: Ways,
) -> HeaderMap {
    let identity = identity.map(known_as);
    let named: Vec<&str> = visitor.get_all(CONNECTION).iter().flat_map(words).collect();
    let goes = |name: &HeaderName| {
        let known = known_as(name);
        let is_alias = known != name.as_str();
        let is_forwarding = known.starts_with("x-forwarded-") || known == "forwarded" || known == "x-real-ip";
        let is_identity = identity.as_ref() == Some(&known);
        let is_meant = || {
            is_forwarding
                || is_identity
                || is_method_override(&known)
                || known.starts_with("sec-fetch-")
                || HOP_BY_HOP.iter().any(|other| *other == *known)
                || MEANINGFUL.iter().any(|other| *other == *known)
        };
        HOP_BY_HOP.contains(name)
            || *name == EXPECT
            || known.starts_with("x-testudo-")
            || (is_forwarding || is_identity) && !ways.is_trusted
            || is_alias && is_meant()
            // Of what is needed to understand the request, nothing can be named away.
            || *name != HOST && *name != CONTENT_LENGTH && named.iter().any(|other| name == other)
    };
    let mut headers = HeaderMap::with_capacity(visitor.len() + told.len() + 4);
    for (name, value) in visitor.iter().filter(|(name, _)| !goes(name)) {
        headers.append(name, value.clone());
    }
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<String> = before.map(str::to_owned).chain([ways.peer.to_canonical().to_string()]).collect();
    set(&mut headers, FORWARDED_FOR, &hops.join(", "));
    set(&mut headers, REAL_IP, &ways.client.to_string());
    if let Some(host) = visitor.get(HOST) {
        headers.entry(FORWARDED_HOST).or_insert_with(|| host.clone());
    }
    let scheme = if ways.is_tls { "https" } else { "http" };
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
    for (name, value) in
        told.iter().filter(|(name, value)| name.as_str().starts_with("x-testudo-") && !value.is_empty())
    {
        headers.insert(name, value.clone());
    }
    if visitor.contains_key(TRANSFER_ENCODING) {
        // Else a body goes on only with methods that mostly have one.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if ways.is_tunnel {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(TUNNEL));
    }
    headers
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Takes away what belongs to the connection to the site.
pub(super) fn from_site(headers: &mut HeaderMap, is_tunnel: bool) {
    let named: Vec<HeaderName> =
        headers.get_all(CONNECTION).iter().flat_map(words).filter_map(|word| word.parse().ok()).collect();
    let upgrade = headers.get(UPGRADE).cloned();
    for name in named.iter().chain(&HOP_BY_HOP).filter(|name| **name != CONTENT_LENGTH) {
        // The site may ask for a password of its own by this name, as proxies in front of it did.
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade.filter(|_| is_tunnel) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = name.parse::<HeaderName>().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn checked(method: &str, target: &str, lines: &[(&str, &str)]) -> Result<(String, String), u16> {
        let (mut parts, ()) =
            Request::builder().method(method).uri(target).body(()).expect("a request").into_parts();
        parts.headers = headers(lines);
        check(&mut parts).map_err(|(status, _)| status.as_u16())?;
        Ok((parts.uri.to_string(), parts.headers[HOST].to_str().expect("text").to_owned()))
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let host = ("host", "example.org");
        let found = |path: &str, host: &str| Ok((path.to_owned(), host.to_owned()));
        assert_eq!(checked("GET", "/a?b", &[host]), found("/a?b", "example.org"));
        assert_eq!(checked("GET", "http://a.org:81/b?c", &[("host", "b.org")]), found("/b?c", "a.org:81"));
        assert_eq!(
            checked("POST", "/", &[host, ("transfer-encoding", "Chunked")]),
            found("/", "example.org")
        );
        assert_eq!(checked("POST", "/", &[host, ("content-length", "3")]), found("/", "example.org"));
        assert_eq!(checked("CONNECT", "a.org:443", &[host]), Err(405));
        for bad in [
            &[][..],
            &[host, host],
            &[("host", "a.org/b")],
            &[("host", "a.org, b.org")],
            &[("host", "u@a.org")],
            &[("host", "")],
            &[host, ("content-length", "3"), ("transfer-encoding", "chunked")],
            &[host, ("content-length", "3"), ("content-length", "3")],
            &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[host, ("transfer-encoding", "gzip, chunked")],
            &[host, ("transfer-encoding", "identity")],
            &[host, ("transfer_encoding", "chunked")],
            &[host, ("content-length", "3"), ("content_length", "0")],
        ] {
            assert_eq!(checked("POST", "/", bad), Err(400), "{bad:?}");
        }
        assert_eq!(checked("OPTIONS", "*", &[host]), Err(400));
    }

    fn sent(lines: &[(&str, &str)], is_trusted: bool) -> String {
        let ways = Ways {
            peer: IpAddr::from([192, 0, 2, 1]),
            client: IpAddr::from([198, 51, 100, 1]),
            is_trusted,
            is_tls: false,
            is_tunnel: false,
        };
        let told =
            headers(&[("x-testudo-outcome", "clean"), ("x-testudo-type", ""), ("cache-control", "no-store")]);
        let lines: Vec<_> = [("host", "a.org")].iter().chain(lines).copied().collect();
        let found = to_site(&headers(&lines), &told, Some(&HeaderName::from_static("x-remote-user")), ways);
        let mut lines: Vec<_> =
            found.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn a_stranger_says_nothing_about_its_way() {
        let own = "host: a.org\nx-forwarded-for: 192.0.2.1\nx-forwarded-host: a.org\nx-forwarded-proto: http\n\
                   x-real-ip: 198.51.100.1\nx-testudo-outcome: clean";
        assert_eq!(sent(&[], false), own);
        let claims = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("x-remote-user", "alice"),
            ("x_remote_user", "alice"),
            ("x_forwarded_for", "1.1.1.1"),
            ("x-testudo-outcome", "allowed"),
            ("x_testudo_outcome", "allowed"),
            ("x_testudo-type", "y"),
            ("x-testudo-type", "y"),
            ("x_http_method_override", "DELETE"),
            ("x-http_method", "DELETE"),
            ("x_method_override", "DELETE"),
            ("content_type", "text/html"),
            ("user_agent", "y"),
            ("proxy_connection", "y"),
            ("sec_fetch_site", "same-origin"),
            ("connection", "keep-alive, X-Forwarded-For, host, x-secret"),
            ("keep-alive", "1"),
            ("x-secret", "y"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
        ];
        assert_eq!(sent(&claims, false), own);
    }

    #[test]
    fn what_means_nothing_to_the_gate_goes_on_as_it_is() {
        let found =
            sent(&[("x_api_key", "1"), ("X-HTTP-Method-Override", "PATCH"), ("x.real.ip", "1.1.1.1")], true);
        assert!(
            found.contains("\nx_api_key: 1") && found.contains("\nx-http-method-override: PATCH"),
            "{found}"
        );
        assert!(!found.contains("1.1.1.1"), "{found}");
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let found = sent(
            &[
                ("x-forwarded-for", "203.0.113.7"),
                ("x-forwarded-proto", "https"),
                ("x_real_ip", "1.1.1.1"),
                ("x-remote-user", "alice"),
                ("x_remote_user", "bob"),
            ],
            true,
        );
        assert_eq!(
            found,
            "host: a.org\nx-forwarded-for: 203.0.113.7, 192.0.2.1\nx-forwarded-host: a.org\nx-forwarded-proto: https\n\
             x-real-ip: 198.51.100.1\nx-remote-user: alice\nx-testudo-outcome: clean"
        );
    }

    #[test]
    fn only_web_sockets_are_tunnels() {
        let wants = |lines: &[(&str, &str)]| {
            let (mut parts, ()) = Request::new(()).into_parts();
            parts.headers = headers(lines);
            wants_tunnel(&parts)
        };
        assert!(wants(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!wants(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")]));
        assert!(!wants(&[("upgrade", "websocket")]));
    }

    #[test]
    fn what_belongs_to_the_connection_to_the_site_stays_there() {
        let mut found =
            headers(&[("connection", "x-hop, close"), ("x-hop", "1"), ("keep-alive", "1"), ("a", "b")]);
        from_site(&mut found, false);
        assert_eq!(found, headers(&[("a", "b")]));
    }

    proptest! {
        #[test]
        fn a_stranger_never_changes_what_the_gate_tells(name in "[a-zA-Z_-]{1,20}", value in "[ -~]{0,20}") {
            let found = sent(&[(&name, &value), ("connection", &name)], false);
            for line in ["x-forwarded-for: 192.0.2.1", "x-real-ip: 198.51.100.1", "x-testudo-outcome: clean"] {
                prop_assert_eq!(found.lines().filter(|other| *other == line).count(), 1);
            }
        }
    }
}

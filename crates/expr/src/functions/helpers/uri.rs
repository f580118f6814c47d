//! What Go's `url.Parse` refuses, which decides whether `ParseUri` sees a query at all.

use super::url::{hex, unescape};

/// The query of a URI, still escaped; `None` where `uri` is not a valid one.
pub(crate) fn query(uri: &str) -> Option<&str> {
    let (uri, fragment) = uri.split_once('#').unwrap_or((uri, ""));
    if uri.bytes().any(|b| b < b' ' || b == 0x7f) {
        return None;
    }
    unescape(fragment, false, true)?;
    if uri == "*" {
        return Some("");
    }
    let (scheme, rest) = scheme(uri)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        if scheme.is_some() {
            // An opaque URI such as `mailto:x`: nothing in it is looked at.
            return Some(query);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return None;
        }
    }
    let mut path = rest;
    if let Some(after) = rest.strip_prefix("//").filter(|after| scheme.is_some() || !after.starts_with('/')) {
        let end = after.find('/').unwrap_or(after.len());
        is_authority(&after[..end]).then_some(())?;
        path = &after[end..];
    }
    unescape(path, false, true)?;
    Some(query)
}

/// The scheme, if there is one, and what follows it; `None` where the scheme is missing before `:`.
fn scheme(uri: &str) -> Option<(Option<&str>, &str)> {
    for (at, byte) in uri.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at > 0 => return Some((Some(&uri[..at]), &uri[at + 1..])),
            b':' => return None,
            _ => break,
        }
    }
    Some((None, uri))
}

fn is_authority(authority: &str) -> bool {
    let Some((user, host)) = authority.rsplit_once('@') else { return is_host(authority) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    is_host(host) && user.bytes().all(allowed) && unescape(user, false, true).is_some()
}

fn is_host(host: &str) -> bool {
    if let Some(open) = host.rfind('[') {
        if open > 0 {
            return false;
        }
        let Some(close) = host.rfind(']') else { return false };
        let (inside, port) = (&host[1..close], &host[close + 1..]);
        let (address, zone) = match inside.find("%25") {
            Some(at) => (&inside[..at], Some(&inside[at..])),
            None => (inside, None),
        };
        let address_is_good = address.parse::<std::net::Ipv6Addr>().is_ok();
        return is_port(port) && address_is_good && zone.is_none_or(|zone| escapes_are_good(zone, |_| true));
    }
    let port_is_good = host.rfind(':').is_none_or(|colon| is_port(&host[colon..]));
    // Only bytes beyond ASCII may be written as escapes in the name of a host.
    port_is_good && escapes_are_good(host, |byte| byte >= 0x80)
}

/// Whether an optional port is `:` and digits.
fn is_port(port: &str) -> bool {
    port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether `text` is made of bytes that a host may have, and of escapes of bytes that `may` allows.
fn escapes_are_good(text: &str, may: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == b'%' {
            let (Some(high), Some(low)) = (hex(bytes.get(at)), hex(bytes.get(at + 1))) else { return false };
            if !may(high << 4 | low) {
                return false;
            }
            at += 2;
        } else if byte < 0x80 && !byte.is_ascii_alphanumeric() && !b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries() {
        let table = [
            ("", Some("")),
            ("*", Some("")),
            ("/a?b=c", Some("b=c")),
            ("/a?b?c#d?e", Some("b?c")),
            ("http://h:80/a?q", Some("q")),
            ("http://u:p@h?q", Some("q")),
            ("http://[::1]:80?q", Some("q")),
            ("//h?q", Some("q")),
            ("///h?q", Some("q")),
            ("mailto:a?q", Some("q")),
            ("a/b:c?q", Some("q")),
            ("a b?q", Some("q")),
            ("1a:b?q", None),
            (":b?q", None),
            ("a%2?q", None),
            ("/a\n?q", None),
            ("/a?\x7f", None),
            ("/a?q#\n", Some("q")),
            ("/a#%zz?q", None),
            ("http://h:8x/?q", None),
            ("http://h y/?q", None),
            ("http://h%41/?q", None),
            ("http://[::1/?q", None),
            ("http://u^@h/?q", None),
        ];
        for (uri, expected) in table {
            assert_eq!(query(uri), expected, "{uri:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(uri in "[a:/?#%2@\\[\\]1\u{e9}.]{0,16}") {
            let _ = query(&uri);
        }
    }
}

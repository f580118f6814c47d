//! `JA4H`: the fingerprint of an HTTP request, made of its method and version, of the names of its
//! headers, and of its cookies.
//!
//! The request is a record or map with `Method`, `ProtoMajor`, `ProtoMinor` and `Header`, a map from
//! names to a value or a list of values. As that map has no order, the names are taken sorted.

use std::{fmt::Write, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    host::Host,
    value::{Map, Value},
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[("JA4H(any) string", |host, args| {
        let request = arguments::value(args, 0);
        if request.is_nil() {
            return Ok("".into());
        }
        let method = member(host, request, "Method")?;
        let headers = match member(host, request, "Header")? {
            Value::Nil => Arc::default(),
            headers => arguments::map(host, &[headers], 0, "JA4H")?,
        };
        let version =
            (digit(&member(host, request, "ProtoMajor")?), digit(&member(host, request, "ProtoMinor")?));
        Ok(fingerprint(method.as_str().unwrap_or_default(), version, &headers).into())
    })])
}

fn member(host: &dyn Host, of: &Value, name: &str) -> Result<Value, EvalError> {
    match of {
        Value::Object(handle) => host.field(*handle, name),
        Value::Map(map) => Ok(map.get(name).cloned().unwrap_or_default()),
        other => Err(arguments::wrong("JA4H", other)),
    }
}

fn digit(value: &Value) -> i64 {
    match value {
        Value::Int(i) => i.clamp(&0, &9).to_owned(),
        _ => 0,
    }
}

/// The values of a header, whatever the case of its name.
fn header<'m>(headers: &'m Map, name: &str) -> Vec<&'m str> {
    let Some((_, value)) = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) else {
        return Vec::new();
    };
    match value {
        Value::Str(text) => vec![text],
        Value::List(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn fingerprint(method: &str, (major, minor): (i64, i64), headers: &Map) -> String {
    let method: String = method.to_ascii_lowercase().chars().take(2).collect();
    let cookie_lines = header(headers, "Cookie");
    let mut cookies: Vec<&str> = cookie_lines
        .iter()
        .flat_map(|line| line.split(';'))
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty())
        .collect();
    cookies.sort_unstable();
    let mut cookie_names: Vec<_> =
        cookies.iter().map(|cookie| cookie.split('=').next().unwrap_or_default()).collect();
    cookie_names.sort_unstable();
    let referer = header(headers, "Referer");
    let apart = |name: &str| ["cookie", "referer"].iter().any(|n| name.eq_ignore_ascii_case(n));
    let names: Vec<&str> = headers.keys().map(|name| &**name).filter(|name| !apart(name)).collect();

    let mut out = format!("{method:0<2}{major}{minor}");
    out.push(if cookies.is_empty() { 'n' } else { 'c' });
    out.push(if referer.is_empty() { 'n' } else { 'r' });
    // Writing to a string cannot fail.
    let _ = write!(out, "{:02}{}", names.len().min(99), language(&header(headers, "Accept-Language")));
    for part in [&names, &cookie_names, &cookies] {
        out.push('_');
        out.push_str(&hash(part));
    }
    out
}

/// Four letters of the language that is wanted first.
fn language(lines: &[&str]) -> String {
    let first = lines.first().and_then(|line| line.split([',', ';']).next()).unwrap_or_default();
    let letters: String = first.to_ascii_lowercase().chars().filter(|c| *c != '-').take(4).collect();
    format!("{letters:0<4}")
}

/// Twelve hexadecimal digits for a list; zeros for an empty one.
fn hash(parts: &[&str]) -> String {
    if parts.is_empty() {
        return "0".repeat(12);
    }
    let digest = Sha256::digest(parts.join(",").as_bytes());
    digest.iter().take(6).fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::helpers::testing::{TestHost, call, call_on, fails};

    fn map(members: &[(&str, Value)]) -> Value {
        Value::Map(Arc::new(members.iter().map(|(k, v)| ((*k).into(), v.clone())).collect()))
    }

    #[test]
    fn fingerprints() {
        let bare = map(&[("Method", "GET".into()), ("ProtoMajor", 1.into()), ("ProtoMinor", 1.into())]);
        let zeros = "000000000000";
        assert_eq!(call("JA4H", &[bare]).as_str(), Some(&*format!("ge11nn000000_{zeros}_{zeros}_{zeros}")));
        let headers = map(&[
            ("Accept-Language", Value::strings(["en-US,en;q=0.5"])),
            ("Cookie", Value::strings(["b=2; a=1"])),
            ("Referer", Value::strings(["/"])),
            ("User-Agent", "x".into()),
        ]);
        let mut host = TestHost::default();
        host.map.insert("Method".into(), "POST".into());
        host.map.insert("ProtoMajor".into(), 2.into());
        host.map.insert("Header".into(), headers);
        let expected = format!(
            "po20cr02enus_{}_{}_{}",
            hash(&["Accept-Language", "User-Agent"]),
            hash(&["a", "b"]),
            hash(&["a=1", "b=2"])
        );
        assert_eq!(call_on(&mut host, "JA4H", &[TestHost::MAP]).as_str(), Some(&*expected));
        assert_eq!(hash(&["abc"]), "ba7816bf8f01");
    }

    #[test]
    fn no_request() {
        assert_eq!(call("JA4H", &[Value::Nil]).as_str(), Some(""));
        assert_eq!(fails("JA4H", &["x".into()]), EvalError::Kind { what: "JA4H", got: "string" });
    }
}

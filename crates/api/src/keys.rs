//! Bouncers: the keys and certificates with which they ask, and the row of each key at each address.

use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderName, USER_AGENT};
use sha2::{Digest as _, Sha512};
use testudo_store::Bouncer;

use crate::answer::Refusal;
use crate::machines::{certificate_name, has_unit};
use crate::operations::Access;
use crate::request::Ask;
use crate::service::Service;

const KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Bytes of a key that is made here.
const KEY_BYTES: usize = 32;

/// How bouncers are told apart that show a key from those with a certificate.
const WITH_KEY: &str = "api-key";
const WITH_CERTIFICATE: &str = "tls";

/// Bytes as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// A new key for a bouncer, 43 characters; only its hash is stored. `None` when the system has no
/// randomness.
pub fn new_key() -> Option<String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(encode(&bytes))
}

/// What is stored of a key: its SHA-512 in hexadecimal.
pub fn hash_key(key: &str) -> String {
    let mut text = String::with_capacity(128);
    for byte in Sha512::digest(key.as_bytes()) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// How a request is to be let in that machines and bouncers send alike.
pub(crate) fn either(ask: &Ask) -> Access {
    if ask.headers.contains_key(KEY) {
        Access::Bouncer
    } else if ask.headers.contains_key(AUTHORIZATION) || ask.header(&USER_AGENT).starts_with("crowdsec/") {
        Access::Machine
    } else {
        Access::Bouncer
    }
}

/// The name of the bouncer that asks, when everything about it is known. `None` when it has to be admitted
/// first: see [`admit`].
pub(crate) fn known(service: &Service, ask: &Ask) -> Result<Option<String>, Refusal> {
    let address = ask.client.to_string();
    if let Some(name) = named_by_certificate(service, ask)? {
        let Some(bouncer) = service.store().bouncers().get(&name) else { return Ok(None) };
        if bouncer.auth_type != WITH_CERTIFICATE {
            return Err(Refusal::forbidden());
        }
        if !ask.is_head() {
            note(service, ask, &bouncer, &address);
        }
        return Ok(Some(bouncer.name));
    }
    let hash = hash_of(ask)?;
    let rows = service.store().bouncers().find(|row| row.key_hash == hash);
    if rows.is_empty() && service.may_look_again(ask.now_ms) {
        return Ok(None);
    }
    if ask.is_head() {
        let first = rows.into_iter().filter(|row| row.auth_type == WITH_KEY).min_by_key(|row| row.id);
        return first.map(|row| Some(row.name)).ok_or_else(Refusal::forbidden);
    }
    match rows.iter().find(|row| row.ip == address) {
        Some(row) if row.auth_type == WITH_KEY => {
            note(service, ask, row, &address);
            Ok(Some(row.name.clone()))
        }
        Some(_) => Err(Refusal::forbidden()),
        None if rows.iter().any(|row| row.auth_type == WITH_KEY) => Ok(None),
        None => Err(Refusal::forbidden()),
    }
}

/// Gives a bouncer at a new address its row: the first one claims the row of the key, others get their own.
pub(crate) fn admit(service: &Service, ask: &Ask) -> Result<String, Refusal> {
    let address = ask.client.to_string();
    let bouncers = service.store().bouncers();
    let fresh = |name: String, key_hash: String, auth_type: &str| Bouncer {
        name,
        key_hash,
        auth_type: auth_type.to_owned(),
        auto_created: true,
        ip: address.clone(),
        created_ms: ask.now_ms,
        updated_ms: ask.now_ms,
        ..Bouncer::default()
    };
    let row = if let Some(name) = named_by_certificate(service, ask)? {
        // A key that nobody has.
        let key = new_key().ok_or_else(Refusal::forbidden)?;
        fresh(name, hash_key(&key), WITH_CERTIFICATE)
    } else {
        let hash = hash_of(ask)?;
        if bouncers.find(|row| row.key_hash == hash).is_empty() {
            // A command may have added it a moment ago.
            service.store().follow(ask.now_ms)?;
            if let Some(name) = known(service, ask)? {
                return Ok(name);
            }
        }
        let mut rows = bouncers.find(|row| row.key_hash == hash && row.auth_type == WITH_KEY);
        rows.sort_by_key(|row| row.id);
        let first = rows.first().ok_or_else(Refusal::forbidden)?;
        if rows.len() == 1 && first.ip.is_empty() {
            let claimed = bouncers.update(&first.name, |row| {
                row.ip.clone_from(&address);
                row.updated_ms = ask.now_ms;
            });
            let claimed = claimed?;
            note(service, ask, &claimed, &address);
            return Ok(claimed.name);
        }
        fresh(format!("{}@{address}", base_name(&first.name)), hash, WITH_KEY)
    };
    match bouncers.insert(row) {
        Ok(row) => {
            note(service, ask, &row, &address);
            Ok(row.name)
        }
        // Two first requests at once: the other one has made the row.
        Err(error) => known(service, ask)?.ok_or_else(|| {
            tracing::warn!(%error, "a bouncer was not admitted");
            Refusal::forbidden()
        }),
    }
}

/// A name without the addresses at its end.
fn base_name(name: &str) -> &str {
    let mut base = name;
    while let Some((rest, _)) = base.rsplit_once('@').filter(|(_, tail)| tail.parse::<IpAddr>().is_ok()) {
        base = rest;
    }
    base
}

fn hash_of(ask: &Ask) -> Result<String, Refusal> {
    let key = ask.header(&KEY);
    if key.is_empty() { Err(Refusal::forbidden()) } else { Ok(hash_key(key)) }
}

fn named_by_certificate(service: &Service, ask: &Ask) -> Result<Option<String>, Refusal> {
    let Some(certificate) = &ask.certificate else { return Ok(None) };
    if has_unit(certificate, &service.config().bouncers_allowed_ou) {
        Ok(Some(certificate_name(certificate, ask)))
    } else {
        Err(Refusal::forbidden())
    }
}

/// What a user agent says: a type and a version.
fn agent(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((kind, version)) if !version.contains('/') => (kind, version),
        _ => (text, "N/A"),
    }
}

/// Notes, in memory, what a bouncer is.
fn note(service: &Service, ask: &Ask, row: &Bouncer, address: &str) {
    let (kind, version) = agent(ask.header(&USER_AGENT));
    if row.kind != kind || row.version != version || row.ip != address {
        service.store().bouncers().touch(&row.name, |row| {
            kind.clone_into(&mut row.kind);
            version.clone_into(&mut row.version);
            address.clone_into(&mut row.ip);
            row.updated_ms = ask.now_ms;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_key() {
        assert_eq!(
            hash_key("demo-key-for-tests"),
            "46bf8457903e7d904ba27a05d08bfd5e0c46211df2d713358a34e93a4e07bbed7c9f0cd7169c33a7e5a01f504cd577d60efbc8da05368f8d926611b753a278d2"
        );
        let (one, other) = (new_key().expect("a key"), new_key().expect("a key"));
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
    }

    #[test]
    fn names_without_addresses() {
        let check = |name: &str, expected: &str| assert_eq!(base_name(name), expected);
        check("fw", "fw");
        check("fw@192.0.2.1", "fw");
        check("fw@192.0.2.1@2001:db8::1", "fw");
        check("fw@home", "fw@home");
        check("fw@home@192.0.2.1", "fw@home");
    }

    #[test]
    fn user_agents() {
        let check = |text: &str, kind: &str, version: &str| assert_eq!(agent(text), (kind, version));
        check("crowdsec-firewall-bouncer/v0.0.34", "crowdsec-firewall-bouncer", "v0.0.34");
        check("crowdsec-wasm-bouncer", "crowdsec-wasm-bouncer", "N/A");
        check("a/b/c", "a/b/c", "N/A");
        check("", "", "N/A");
    }
}

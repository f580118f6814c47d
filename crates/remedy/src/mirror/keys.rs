//! Who may fetch: keys of consumers, of which only hashes are kept, and the ways of the ecosystem's mirror.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use testudo_config::Secret;
use testudo_event::Prefix;
use testudo_event::net::canonical;

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// The shortest key: others can be guessed.
pub(super) const KEY_LEAST: usize = 16;

/// What stands before the hash of a key.
const HASH: &str = "sha256:";

/// A consumer, and the hash of its key.
#[derive(Clone)]
pub(super) struct Consumer {
    pub(super) name: String,
    hash: [u8; 32],
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a list lets in those who have no key of a consumer.
#[derive(Clone, Debug)]
pub(super) enum Guard {
    /// Everybody, unless there are consumers.
    None,
    /// Who knows a name and a password.
    Basic { user: String, password: Secret },
    /// Who comes from one of these networks.
    Networks(Vec<Prefix>),
}

/// Whether a request may have a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It may; whose it is, if it is a consumer's.
    Passes(Option<&'a str>),
    /// It has to say who it is.
    Unknown,
    /// It may not.
    Refused,
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A new key, and what stands for it in the configuration.
///
/// # Errors
/// The system has no random numbers.
pub fn new_key() -> Result<(String, String), getrandom::Error> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes)?;
    let key = hex(&bytes);
    let hash = format!("{HASH}{}", hex(&hash(&key)));
    Ok((key, hash))
}

impl Consumer {
    /// A consumer whose hash is in the configuration, as `sha256:` and 64 hexadecimal digits.
    pub(super) fn from_hash(name: String, text: &str) -> Result<Consumer, String> {
        let digits = text.strip_prefix(HASH).unwrap_or_default();
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("the key of {name:?} is no hash; `testudo mirror --new-key` makes both"));
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap_or_default();
        }
        Ok(Consumer { name, hash: bytes })
    }

    /// A consumer whose key is in a file that nobody else can read.
    pub(super) fn from_file(name: String, path: &Path) -> Result<Consumer, String> {
        let shown = path.display();
        let meta = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        if mode & 0o077 != 0 {
            return Err(format!("{shown} can be read by others: `chmod 600 {shown}`"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        let key = text.trim();
        if key.len() < KEY_LEAST {
            return Err(format!("{shown}: a key has at least {KEY_LEAST} characters"));
        }
        Ok(Consumer { name, hash: hash(key) })
    }
}

/// Whether a request may have a list. `key` is the one of its query.
pub(super) fn judge<'a>(
    guard: &Guard,
    consumers: &'a [Consumer],
    peer: IpAddr,
    headers: &HeaderMap,
    key: Option<&str>,
) -> Verdict<'a> {
    let (bearer, basic) = credentials(headers);
    let password = basic.as_ref().map(|(_, password)| password.as_str());
    for shown in [bearer.as_deref(), password, key].into_iter().flatten() {
        let shown = hash(shown);
        if let Some(found) = consumers.iter().find(|known| bool::from(known.hash.ct_eq(&shown))) {
            return Verdict::Passes(Some(&found.name));
        }
    }
    match guard {
        Guard::None if consumers.is_empty() => Verdict::Passes(None),
        Guard::None => Verdict::Unknown,
        Guard::Basic { user, password } => {
            let is_it = basic.is_some_and(|(shown_user, shown)| {
                let same =
                    hash(&shown_user).ct_eq(&hash(user)) & hash(&shown).ct_eq(&hash(password.expose()));
                bool::from(same)
            });
            if is_it { Verdict::Passes(None) } else { Verdict::Unknown }
        }
        Guard::Networks(nets) => {
            let peer = canonical(peer);
            if nets.iter().any(|net| net.contains(peer)) { Verdict::Passes(None) } else { Verdict::Refused }
        }
    }
}

/// What a request shows: a bearer's token, or a name and a password.
fn credentials(headers: &HeaderMap) -> (Option<String>, Option<(String, String)>) {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, rest)) = shown.and_then(|shown| shown.split_once(' ')) else { return (None, None) };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return (Some(rest.to_owned()), None);
    }
    let text = STANDARD.decode(rest).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair =
        text.and_then(|text| text.split_once(':').map(|(user, word)| (user.to_owned(), word.to_owned())));
    (None, pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_fetch() {
        let (key, hash) = new_key().expect("a key");
        let consumers = [Consumer::from_hash("router".to_owned(), &hash).expect("a consumer")];
        let secret = || serde_json::from_str::<Secret>("\"s3cret\"").expect("a secret");
        let basic = Guard::Basic { user: "u".to_owned(), password: secret() };
        let nets = Guard::Networks(vec![Prefix::parse("192.0.2.0/24").expect("a network")]);
        let check = |guard: &Guard, consumers: &[Consumer], peer: &str, shown: &str, key: Option<&str>| {
            let mut headers = HeaderMap::new();
            if !shown.is_empty() {
                headers.insert(AUTHORIZATION, shown.parse().expect("a header"));
            }
            match judge(guard, consumers, peer.parse().expect("an address"), &headers, key) {
                Verdict::Passes(name) => format!("passes {}", name.unwrap_or_default()),
                Verdict::Unknown => "unknown".to_owned(),
                Verdict::Refused => "refused".to_owned(),
            }
        };
        let peer = "203.0.113.1";
        assert_eq!(check(&Guard::None, &[], peer, "", None), "passes ");
        assert_eq!(check(&Guard::None, &consumers, peer, "", None), "unknown");
        assert_eq!(check(&Guard::None, &consumers, peer, "", Some(&key)), "passes router");
        assert_eq!(check(&Guard::None, &consumers, peer, &format!("bearer  {key}"), None), "passes router");
        let as_password = format!("Basic {}", STANDARD.encode(format!("anybody:{key}")));
        for guard in [&Guard::None, &basic, &nets] {
            assert_eq!(check(guard, &consumers, peer, &as_password, None), "passes router");
        }
        for shown in [
            "Basic !!",
            "Basic",
            "Bearer ",
            "Bearer x",
            "Digest x",
            &format!("Basic {}", STANDARD.encode("u")),
        ] {
            assert_eq!(check(&basic, &consumers, peer, shown, None), "unknown", "{shown}");
        }
        let right = format!("Basic {}", STANDARD.encode("u:s3cret"));
        assert_eq!(check(&basic, &[], peer, &right, None), "passes ");
        assert_eq!(
            check(&basic, &[], peer, &format!("Basic {}", STANDARD.encode("v:s3cret")), None),
            "unknown"
        );
        assert_eq!(check(&nets, &[], peer, &right, None), "refused");
        assert_eq!(check(&nets, &[], "::ffff:192.0.2.7", "", None), "passes ");
    }

    #[test]
    fn what_is_no_key() {
        let bad = |text: &str| Consumer::from_hash("x".to_owned(), text).is_err();
        assert!(
            bad("")
                && bad("sha256:")
                && bad(&"a".repeat(64))
                && bad(&format!("sha256:{}", "\u{e9}".repeat(32)))
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let read = |text: &str, mode: u32| {
            std::fs::write(&path, text).expect("it is written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("a mode");
            Consumer::from_file("x".to_owned(), &path)
        };
        assert!(read("0123456789abcdef\n", 0o600).is_ok());
        assert!(read("0123456789abcdef\n", 0o640).expect_err("others").contains("chmod 600"));
        assert!(read("short\n", 0o600).is_err());
    }
}

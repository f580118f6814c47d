//! Compression of answers, for those who ask for it and are known to understand it.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Body as _;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, USER_AGENT, VARY,
};
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::answer::{self, Answer};
use crate::pages::Pages;
use crate::service::OUR_AGENTS;

/// Answers shorter than this are not worth compressing.
const COMPRESS_LEAST: u64 = 1024;

/// Quick, and small already for lists that repeat themselves.
const ZSTD_LEVEL: i32 = 1;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Zstd,
    Gzip,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Gzip => "gzip",
        }
    }

    /// The encoding that a client accepts and may get; `known` are the beginnings of user agents.
    pub(crate) fn of(headers: &HeaderMap, known: &[String]) -> Option<Encoding> {
        let agent = text(headers, &USER_AGENT);
        if !agent.starts_with(OUR_AGENTS) && !known.iter().any(|known| agent.starts_with(known.as_str())) {
            return None;
        }
        let accepted = text(headers, &ACCEPT_ENCODING);
        [Encoding::Zstd, Encoding::Gzip].into_iter().find(|encoding| {
            accepted.split(',').any(|item| {
                let (name, weight) = item.split_once(';').unwrap_or((item, ""));
                name.trim().eq_ignore_ascii_case(encoding.name()) && !is_zero_weight(weight)
            })
        })
    }

    /// An answer, compressed; one that is short, or is sent as things happen, stays as it is.
    pub(crate) fn apply(self, answer: Answer) -> Answer {
        let hint = answer.body().size_hint();
        if answer.body().is_live() || hint.exact().is_some_and(|length| length < COMPRESS_LEAST) {
            return answer;
        }
        let Some(packer) = Packer::new(self) else { return answer };
        let packed = |inner| Box::new(Packed { inner, packer: Some(packer) }) as Box<dyn Pages>;
        let mut answer = answer::map_pages(answer, packed);
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(self.name()));
        answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        answer
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether `;q=0` stands behind an encoding.
fn is_zero_weight(text: &str) -> bool {
    text.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
}

enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Packer {
    /// `None` when there is no memory for it.
    fn new(encoding: Encoding) -> Option<Packer> {
        Some(match encoding {
            Encoding::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Zstd => Packer::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL).ok()?),
        })
    }

    /// What comes out for these bytes; it may be nothing yet.
    fn pack(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let out = match self {
            Packer::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Packer::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out))
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Another body, compressed as it is made.
struct Packed {
    inner: Box<dyn Pages>,
    packer: Option<Packer>,
}

impl Pages for Packed {
    fn next_page(&mut self) -> Option<Bytes> {
        loop {
            // Writing into memory does not fail.
            let packer = self.packer.as_mut()?;
            let Some(page) = self.inner.next_page() else {
                let rest = self.packer.take()?.finish().ok()?;
                return Some(rest.into());
            };
            let out = packer.pack(&page).ok()?;
            if !out.is_empty() {
                return Some(out.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_what() {
        let check = |agent: &str, accept: &str, expected: Option<Encoding>| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().expect(agent));
            headers.insert(ACCEPT_ENCODING, accept.parse().expect(accept));
            assert_eq!(Encoding::of(&headers, &["new-bouncer/".to_owned()]), expected, "{agent} {accept}");
        };
        check("testudo/0.1.0", "gzip, zstd", Some(Encoding::Zstd));
        check("new-bouncer/v1", "GZIP;q=0.5, br", Some(Encoding::Gzip));
        check("new-bouncer/v1", "zstd;q=0, gzip", Some(Encoding::Gzip));
        check("new-bouncer/v1", "zstd; q=0.0", None);
        check("new-bouncer/v1", "identity", None);
        check("old-bouncer/testudo/", "gzip, zstd", None);
        check("", "gzip", None);
    }
}

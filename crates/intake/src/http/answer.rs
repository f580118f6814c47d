//! Answers to one request.

use std::{io::Write as _, net::IpAddr, sync::Arc};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_ENCODING, HeaderName, HeaderValue},
};
use subtle::ConstantTimeEq;

use super::{
    Auth, HttpConfig,
    values::{Bad, Values},
};
use crate::{
    batch::{BATCH_BYTES, Collector, Stream},
    outlet::{self, Outlet},
};

/// Bytes of a compressed body that are unpacked at once: a small body may become a large one.
const PIECE_BYTES: usize = 1 << 10;

/// Answers a request. The lines of its body are handed out as they come.
pub(super) async fn answer(
    request: Request<Incoming>,
    peer: IpAddr,
    config: &HttpConfig,
    outlet: &Outlet,
) -> Response<Empty<Bytes>> {
    let result = accept(request, peer, config, outlet);
    let result = match config.timeout {
        Some(timeout) => {
            tokio::time::timeout(timeout, result).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
        }
        None => result.await,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = result.unwrap_or_else(|status| {
        outlet.counters().refused.add(1);
        outlet.log.debug(format_args!("{peer} was answered {status}"));
        status
    });
    for (name, value) in &config.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn accept(
    request: Request<Incoming>,
    peer: IpAddr,
    config: &HttpConfig,
    outlet: &Outlet,
) -> Result<StatusCode, StatusCode> {
    if request.uri().path() != config.path {
        return Err(StatusCode::NOT_FOUND);
    }
    let is_push = request.method() == Method::POST;
    if !is_push && request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !is_allowed(request.headers(), &config.auth) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    if !is_push {
        return Ok(StatusCode::OK);
    }
    let src = peer.to_canonical().to_string();
    let stream = outlet.stream(&src, "".into(), None);
    let status = StatusCode::from_u16(config.status).unwrap_or(StatusCode::OK);
    take(request, &stream, config, outlet).await.map(|()| status)
}

/// Whether the sender knows what it has to. Comparing takes the same time for every wrong answer.
fn is_allowed(headers: &HeaderMap, auth: &Auth) -> bool {
    let same = |a: &[u8], b: &[u8]| bool::from(a.ct_eq(b));
    match auth {
        // The handshake has seen to it.
        Auth::Certificate => true,
        Auth::Headers(wanted) => wanted.iter().all(|(name, value)| {
            headers.get(name).is_some_and(|given| same(given.as_bytes(), value.as_bytes()))
        }),
        Auth::Basic { user, password } => {
            let given = headers.get(AUTHORIZATION).and_then(|value| {
                let text = value.to_str().ok()?;
                let (scheme, code) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("basic").then(|| decode_base64(code.trim()))?
            });
            given.is_some_and(|given| same(&given, format!("{user}:{password}").as_bytes()))
        }
    }
}

/// Undoes the standard form of base 64.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// Where the lines of a body go.
struct Body<'b> {
    stream: &'b Arc<Stream>,
    outlet: &'b Outlet,
    values: Values,
    lines: Collector,
    /// Bytes that may still come.
    left: Option<u64>,
}

impl Body<'_> {
    /// Takes a piece of the body as it is after unpacking.
    async fn feed(&mut self, bytes: &[u8]) -> Result<(), StatusCode> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or(StatusCode::PAYLOAD_TOO_LARGE)?;
        }
        let counters = self.outlet.counters();
        let lines = &mut self.lines;
        let result = self.values.feed(bytes, &mut |value| {
            lines.push(&one_line(value));
        });
        if result == Err(Bad::TooLong) {
            counters.too_long.add(1);
        }
        if self.lines.bytes() >= BATCH_BYTES {
            self.send().await?;
        }
        result.map_err(status_of)
    }

    fn finish(&mut self) -> Result<(), StatusCode> {
        let lines = &mut self.lines;
        let result = self.values.finish(&mut |value| {
            lines.push(&one_line(value));
        });
        result.map_err(status_of)
    }

    async fn send(&mut self) -> Result<(), StatusCode> {
        let lines = std::mem::replace(&mut self.lines, Collector::new(Arc::clone(self.stream)));
        if lines.is_empty() {
            return Ok(());
        }
        let sent = self.outlet.send(lines.finish(outlet::now(), None)).await;
        sent.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// A value may be written over several lines; it is one line here.
fn one_line(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', value).is_none() {
        return value.into();
    }
    // Line ends stand between the parts of a value only, never inside of its texts.
    value.iter().map(|&byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }).collect()
}

fn status_of(bad: Bad) -> StatusCode {
    match bad {
        Bad::Syntax => StatusCode::BAD_REQUEST,
        Bad::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

/// Takes the body of a push. What came before something bad stays taken.
async fn take(
    request: Request<Incoming>,
    stream: &Arc<Stream>,
    config: &HttpConfig,
    outlet: &Outlet,
) -> Result<(), StatusCode> {
    let packed = match request.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => false,
        Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => true,
        Some(_) => return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    };
    let length = http_body::length(request.headers());
    if config.max_body.zip(length).is_some_and(|(most, length)| length > most) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut body = Body {
        stream,
        outlet,
        values: Values::default(),
        lines: Collector::new(Arc::clone(stream)),
        left: config.max_body,
    };
    let result = read(request.into_body(), packed, &mut body).await;
    body.send().await?;
    result
}

async fn read(mut incoming: Incoming, packed: bool, body: &mut Body<'_>) -> Result<(), StatusCode> {
    let bad = |_| StatusCode::BAD_REQUEST;
    let mut decoder = packed.then(|| MultiGzDecoder::new(Vec::new()));
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(bytes) = frame.into_data() else { continue };
        let Some(decoder) = &mut decoder else {
            body.feed(&bytes).await?;
            continue;
        };
        for piece in bytes.chunks(PIECE_BYTES) {
            decoder.write_all(piece).map_err(bad)?;
            let unpacked = std::mem::take(decoder.get_mut());
            body.feed(&unpacked).await?;
        }
    }
    if let Some(decoder) = decoder {
        let unpacked = decoder.finish().map_err(bad)?;
        body.feed(&unpacked).await?;
    }
    body.finish()
}

/// The announced length of a body.
mod http_body {
    use hyper::{HeaderMap, header::CONTENT_LENGTH};

    pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
        headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(decode_base64(text).as_deref(), expected.map(str::as_bytes), "{text}");
        };
        check("", Some(""));
        check("dXNlcjpwYXNz", Some("user:pass"));
        check("YQ==", Some("a"));
        check("YWI=", Some("ab"));
        check("YW I", None);
    }
}

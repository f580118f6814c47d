//! FastCGI in the role of an authorizer: how Apache and lighttpd ask about a request.
//!
//! The web server sends what a CGI program would find in its environment, and no body. Its word about the client's address
//! is `REMOTE_ADDR`; where that is a trusted proxy, its headers count as everywhere.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{HeaderMap, Response, header::CONTENT_TYPE};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::{BUFFER, HEAD_TIMEOUT, MAX_HEAD, Service, answer, headers::Headers};
use crate::{
    address::{self, Peer},
    policy::host_name,
    visit::{Untold, Visit},
};

const VERSION: u8 = 1;
const BEGIN: u8 = 1;
const ABORT: u8 = 2;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDOUT: u8 = 6;

/// The role of a program that says who may pass.
const AUTHORIZER: u16 = 2;
/// The flag of a connection that stays open.
const KEEP: u8 = 1;

/// How an exchange ends.
const COMPLETE: u8 = 0;
const OTHER_ROLE: u8 = 3;

/// The largest content of a record that is sent, in bytes.
const MAX_CONTENT: usize = 32 << 10;

/// What a web server may still send after an answer, in bytes, and how long it may take.
const MAX_REST: u64 = 64 << 10;
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// A record, without its padding.
struct Record {
    kind: u8,
    id: u16,
    content: Vec<u8>,
}

/// A request that is being read.
struct Exchange {
    id: u16,
    keeps: bool,
    params: Vec<u8>,
}

/// Answers the requests of one connection, one after the other.
pub(super) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: Arc<Service>,
) -> io::Result<()> {
    // A request is several small records, which mostly come together.
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut open: Option<Exchange> = None;
    loop {
        let record = tokio::time::timeout(HEAD_TIMEOUT, read(&mut stream)).await;
        // A connection that rests for too long ends as one that the web server closes.
        let Ok(Some(record)) = record.unwrap_or(Ok(None)) else {
            return Ok(());
        };
        match (record.kind, open.take()) {
            (BEGIN, None) => {
                let &[high, low, flags, ..] = record.content.as_slice() else {
                    return Err(bad("a beginning that is too short"));
                };
                if u16::from_be_bytes([high, low]) == AUTHORIZER {
                    let keeps = flags & KEEP != 0;
                    open = Some(Exchange { id: record.id, keeps, params: Vec::new() });
                } else {
                    write(&mut stream, END, record.id, &[0, 0, 0, 0, OTHER_ROLE, 0, 0, 0]).await?;
                }
            }
            (PARAMS, Some(mut exchange)) if exchange.id == record.id => {
                if record.content.is_empty() {
                    let response = answer_params(&exchange.params, &service)?;
                    send(&mut stream, exchange.id, &response).await?;
                    if !exchange.keeps {
                        stream.shutdown().await?;
                        // To close with something unread is to reset, and the answer could be lost.
                        let (mut rest, mut nowhere) = (stream.take(MAX_REST), tokio::io::sink());
                        let reading = tokio::io::copy(&mut rest, &mut nowhere);
                        return tokio::time::timeout(REST_TIMEOUT, reading).await.unwrap_or(Ok(0)).map(drop);
                    }
                } else {
                    exchange.params.extend(record.content);
                    if exchange.params.len() > MAX_HEAD {
                        return Err(bad("headers that are too long"));
                    }
                    open = Some(exchange);
                }
            }
            (ABORT, Some(exchange)) if exchange.id == record.id => {
                write(&mut stream, END, exchange.id, &[0; 8]).await?;
            }
            // A body, or something that only other roles need.
            (_, exchange) => open = exchange,
        }
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a record. None where the connection has ended.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Record>> {
    let mut head = [0; 8];
    if let Err(error) = stream.read_exact(&mut head).await {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let [version, kind, id_high, id_low, length_high, length_low, padding, _] = head;
    if version != VERSION {
        return Err(bad("not FastCGI"));
    }
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let mut content = vec![0; length + usize::from(padding)];
    stream.read_exact(&mut content).await?;
    content.truncate(length);
    Ok(Some(Record { kind, id: u16::from_be_bytes([id_high, id_low]), content }))
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), kind: u8, id: u16, content: &[u8]) -> io::Result<()> {
    stream.write_all(&record(kind, id, content)).await
}

/// A record of at most 64 KiB.
fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let [id_high, id_low] = id.to_be_bytes();
    let [length_high, length_low] = (content.len() as u16).to_be_bytes();
    let mut bytes = vec![VERSION, kind, id_high, id_low, length_high, length_low, 0, 0];
    bytes.extend(content);
    bytes
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), id: u16, response: &Response<Bytes>) -> io::Result<()> {
    let text = as_cgi(response);
    let mut bytes: Vec<u8> = text.chunks(MAX_CONTENT).flat_map(|chunk| record(STDOUT, id, chunk)).collect();
    bytes.extend(record(STDOUT, id, &[]));
    bytes.extend(record(END, id, &[0, 0, 0, 0, COMPLETE, 0, 0, 0]));
    stream.write_all(&bytes).await
}

/// A response as CGI programs give theirs. What the application is told goes by variables.
fn as_cgi(response: &Response<Bytes>) -> Vec<u8> {
    let mut bytes = format!("Status: {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        if response.status().is_success() && name.as_str().starts_with("x-testudo-") {
            let variable = name.as_str().to_ascii_uppercase().replace('-', "_");
            bytes.extend(format!("Variable-{variable}: ").bytes());
        } else {
            bytes.extend(format!("{name}: ").bytes());
        }
        bytes.extend(value.as_bytes());
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(response.body());
    bytes
}

fn answer_params(bytes: &[u8], service: &Service) -> io::Result<Response<Bytes>> {
    let params = params(bytes).ok_or_else(|| bad("parameters that cannot be read"))?;
    let start = Instant::now();
    let headers = headers(&params);
    let response = match headers.all().and_then(|headers| visit(&params, headers, service)) {
        Ok(visit) => {
            // What the visitor sent is not here: it is lost, unless there is nothing.
            let body = matches!(&*visit.method, "GET" | "HEAD").then_some(&[][..]);
            answer::decide(&visit, body, service)
        }
        Err(untold) => service.gate.untold(untold),
    };
    service.gate.metrics().took(start.elapsed());
    Ok(response)
}

/// The names and values of parameters.
fn params(mut bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let mut params = Vec::new();
    while !bytes.is_empty() {
        let name_length = length(&mut bytes)?;
        let value_length = length(&mut bytes)?;
        let (name, rest) = bytes.split_at_checked(name_length)?;
        let (value, rest) = rest.split_at_checked(value_length)?;
        params.push((str::from_utf8(name).ok()?, value));
        bytes = rest;
    }
    Some(params)
}

/// A length: one byte, or four of which the first bit is set.
fn length(bytes: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(first.into());
    }
    let (four, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some((u32::from_be_bytes(*four) & 0x7fff_ffff) as usize)
}

fn param<'p>(params: &[(&str, &'p [u8])], name: &str) -> Option<&'p [u8]> {
    params.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
}

/// The headers of the visitor's request.
fn headers(params: &[(&str, &[u8])]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in params {
        match *name {
            "CONTENT_TYPE" => headers.add(CONTENT_TYPE.as_str().as_bytes(), value),
            name => {
                if let Some(name) = name.strip_prefix("HTTP_") {
                    headers.add(name.replace('_', "-").as_bytes(), value);
                }
            }
        }
    }
    headers
}

fn visit<'p>(
    params: &[(&str, &'p [u8])],
    headers: &'p HeaderMap,
    service: &Service,
) -> Result<Visit<'p>, Untold> {
    let text = |name: &str| param(params, name).map(String::from_utf8_lossy).filter(|text| !text.is_empty());
    let peer =
        text("REMOTE_ADDR").and_then(|text| text.parse().ok()).map(Peer::Address).ok_or(Untold::Address)?;
    let client =
        service.gate.with_policy(|policy| address::client(peer, &policy.proxies, policy.address, headers));
    let host = text("HTTP_HOST").or_else(|| text("SERVER_NAME")).unwrap_or_default();
    let scheme = text("REQUEST_SCHEME");
    Ok(Visit {
        address: client.ok_or(Untold::Address)?,
        host: host_name(&host),
        method: text("REQUEST_METHOD").ok_or(Untold::Method)?,
        target: text("REQUEST_URI").ok_or(Untold::Target)?,
        is_https: scheme.is_some_and(|scheme| scheme == "https")
            || text("HTTPS").is_some_and(|https| https == "on"),
        // The headers are as the visitor sent them.
        from_proxy: false,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use hyper::{StatusCode, header::HeaderValue};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters() {
        let mut bytes = vec![4, 2];
        bytes.extend(b"NAMEok");
        bytes.extend([1, 0x80, 0, 0, 200]);
        bytes.extend([b'x'; 201]);
        let found = params(&bytes).expect("parameters");
        assert_eq!(found[0], ("NAME", &b"ok"[..]));
        assert_eq!((found[1].0, found[1].1.len()), ("x", 200));
        for bad in [&[4, 2, b'x'][..], &[0x80, 0], &[0xff, 0xff, 0xff, 0xff, 0], &[1, 0, 0xff]] {
            assert!(params(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_application_is_told_are_variables() {
        let mut response = Response::new(Bytes::from_static(b"x"));
        response.headers_mut().insert("x-testudo-outcome", HeaderValue::from_static("clean"));
        let text = String::from_utf8(as_cgi(&response)).expect("text");
        assert_eq!(text, "Status: 200 OK\r\nVariable-X_TESTUDO_OUTCOME: clean\r\n\r\nx");
        *response.status_mut() = StatusCode::FORBIDDEN;
        let text = String::from_utf8(as_cgi(&response)).expect("text");
        assert_eq!(text, "Status: 403 Forbidden\r\nx-testudo-outcome: clean\r\n\r\nx");
    }

    proptest! {
        #[test]
        fn any_parameters_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(params) = params(&bytes) {
                headers(&params);
            }
        }
    }
}

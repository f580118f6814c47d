//! Envoy's external authorization, `envoy.service.auth.v3`: over gRPC on a port of its own, over HTTP beside the other questions.
//!
//! Over gRPC Envoy tells everything: the address that its connection comes from, the head of the request, and its body as far as
//! it is configured to. So the gate's own path is answered as well: nothing of it ever reaches the site.
//! The numbers of fields are those of the published interface.

use std::{borrow::Cow, convert::Infallible, io, sync::Arc, time::Duration, time::Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE},
    http::request::Parts,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Service, answer,
    headers::Headers,
    protobuf::{Fields, Malformed, Message},
};
use crate::{
    address::{self, Peer},
    page, path,
    policy::host_name,
    visit::{Untold, Visit, Way, known_as},
};

/// Where the questions over HTTP are. Behind it stands what the visitor asked for.
pub(super) const HTTP_PATH: &str = "/envoy/";

/// The one operation over gRPC.
const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// How long a question may take to arrive.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest question, in bytes: a head, which Envoy bounds to 60 KiB and tells once or twice, and a body, of which it is told
/// to send 256 KiB.
const MAX_QUESTION: usize = 1 << 20;

/// Bytes in front of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Questions at one time on one connection.
const MAX_STREAMS: u32 = 256;

/// The largest head of a question itself, in bytes. What a visitor sent is in its message.
const MAX_GRPC_HEAD: u32 = 16 << 10;

/// How often it is looked whether Envoy is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Headers by which the visitor's connection and what is missing of the body are told.
const PEER: &str = "x-testudo-peer";
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// The header by which Envoy is told over HTTP what is to go before the site gets the request.
const REMOVED: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// Codes of gRPC.
const OK: u16 = 0;
const INVALID: u16 = 3;
const DENIED: u16 = 7;
const EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;

/// What is done about a header that is there already.
const OVERWRITE: u64 = 2;

/// Why a question over gRPC is not answered.
struct Fault(u16, &'static str);

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self(INVALID, "the message cannot be read")
    }
}

/// Answers the questions of one connection.
pub(super) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Arc<Service>,
) -> io::Result<()> {
    let answers = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(answer_grpc(request, &service).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_GRPC_HEAD)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answers);
    connection.await.map_err(io::Error::other)
}

type GrpcBody =
    http_body_util::Either<Full<Bytes>, http_body_util::combinators::WithTrailers<Full<Bytes>, Trailers>>;
type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;

async fn answer_grpc(request: Request<Incoming>, service: &Service) -> Response<GrpcBody> {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let refused = match () {
        () if request.method() != Method::POST => Some(StatusCode::METHOD_NOT_ALLOWED),
        () if !kind.starts_with(b"application/grpc") => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        () => None,
    };
    if let Some(status) = refused {
        return page::plain(status, "this port speaks gRPC\n").map(|text| GrpcBody::Left(Full::new(text)));
    }
    let found = match request.uri().path() {
        CHECK_PATH => check(request.into_body(), service).await,
        _ => Err(Fault(UNIMPLEMENTED, "only envoy.service.auth.v3.Authorization/Check is here")),
    };
    let (body, code, text) = match found {
        Ok(message) => (message, OK, ""),
        Err(Fault(code, text)) => (Bytes::new(), code, text),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    if !text.is_empty() {
        trailers.insert("grpc-message", HeaderValue::from_static(text));
    }
    let body = Full::new(body).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(GrpcBody::Right(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Answers a check.
async fn check(body: Incoming, service: &Service) -> Result<Bytes, Fault> {
    let reading = tokio::time::timeout(QUESTION_TIMEOUT, message(body));
    let message = reading.await.unwrap_or(Err(Fault(INVALID, "the message does not arrive")))?;
    let answer = Question::read(&message)?.answer(service).await;
    let mut bytes = BytesMut::with_capacity(PREFIX + answer.len());
    bytes.put_u8(0);
    bytes.put_u32(answer.len() as u32);
    bytes.extend_from_slice(&answer);
    Ok(bytes.freeze())
}

/// The one message of a question.
async fn message(mut body: impl Body<Data = Bytes> + Unpin) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault(INVALID, "the message breaks off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > PREFIX + MAX_QUESTION {
            return Err(Fault(EXHAUSTED, "the message is too large"));
        }
        bytes.extend_from_slice(&data);
    }
    let Some((&[compressed, a, b, c, d], message)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(Fault(INVALID, "the message is cut off"));
    };
    if compressed != 0 {
        return Err(Fault(UNIMPLEMENTED, "compressed messages are not read"));
    }
    if message.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return Err(Fault(INVALID, "one whole message is expected"));
    }
    bytes.drain(..PREFIX);
    Ok(bytes)
}

/// What Envoy tells about a request.
#[derive(Default)]
struct Question<'m> {
    /// The address that its connection comes from.
    source: &'m [u8],
    method: &'m [u8],
    path: &'m [u8],
    query: &'m [u8],
    host: &'m [u8],
    scheme: &'m [u8],
    body: &'m [u8],
    headers: Headers,
}

impl<'m> Question<'m> {
    /// Reads a `CheckRequest`.
    fn read(message: &'m [u8]) -> Result<Self, Malformed> {
        let mut question = Self::default();
        each(message, 1, |attributes| {
            each(attributes, 1, |peer| {
                each(peer, 1, |address| {
                    each(address, 1, |socket| each(socket, 2, |text| store(&mut question.source, text)))
                })
            })?;
            each(attributes, 4, |request| each(request, 2, |http| question.read_http(http)))
        })?;
        Ok(question)
    }

    /// Reads an `AttributeContext.HttpRequest`.
    fn read_http(&mut self, http: &'m [u8]) -> Result<(), Malformed> {
        for field in Fields::of(http) {
            let (field, value) = field?;
            let value = value.bytes();
            match field {
                2 => self.method = value,
                3 => self.read_header(value)?,
                4 => self.path = value,
                5 => self.host = value,
                6 => self.scheme = value,
                7 => self.query = value,
                // As text, or as bytes.
                11 | 12 => self.body = value,
                13 => each(value, 1, |header| self.read_header(header))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads an entry of the map of headers, or a `HeaderValue`.
    fn read_header(&mut self, header: &[u8]) -> Result<(), Malformed> {
        let (mut name, mut content) = (&[][..], &[][..]);
        for field in Fields::of(header) {
            match field? {
                (1, value) => name = value.bytes(),
                // As text, or as bytes.
                (2 | 3, value) => content = value.bytes(),
                _ => {}
            }
        }
        self.headers.add(name, content);
        Ok(())
    }

    /// The `CheckResponse`.
    async fn answer(&self, service: &Service) -> Vec<u8> {
        let start = Instant::now();
        let visit = match self.visit(service) {
            Ok(visit) => visit,
            Err(untold) => return denied(&service.gate.untold(untold)),
        };
        let body = is_whole(&visit, self.body.is_empty()).then_some(self.body);
        if path::path_of(&visit.target).starts_with(page::OWN_PATH) {
            return denied(&answer::own(&visit, body, service).await);
        }
        let response = answer::decide(&visit, body, service);
        service.gate.metrics().took(start.elapsed());
        if response.status().is_success() {
            allowed(response.headers(), visit.headers)
        } else {
            denied(&response)
        }
    }

    fn visit(&self, service: &Service) -> Result<Visit<'_>, Untold> {
        let text = |bytes| Some(String::from_utf8_lossy(bytes)).filter(|text| !text.is_empty());
        let headers = self.headers.all()?;
        let source = text(self.source).and_then(|text| text.parse().ok()).ok_or(Untold::Address)?;
        let (client, from_proxy) = service.gate.with_policy(|policy| {
            let peer = Peer::Address(source);
            let client = address::client(peer, &policy.proxies, policy.address, headers);
            (client, peer.is_trusted(&policy.proxies))
        });
        let mut target = text(self.path).ok_or(Untold::Target)?;
        if let Some(query) = text(self.query)
            && !target.contains('?')
        {
            target = Cow::Owned(format!("{target}?{query}"));
        }
        Ok(Visit {
            address: client.ok_or(Untold::Address)?,
            host: host_name(&text(self.host).unwrap_or_default()),
            method: text(self.method).ok_or(Untold::Method)?,
            target,
            is_https: self.scheme.eq_ignore_ascii_case(b"https"),
            from_proxy,
            headers,
        })
    }
}

/// Reads all values of one field of a message.
fn each<'m>(
    message: &'m [u8],
    wanted: u64,
    mut read: impl FnMut(&'m [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for field in Fields::of(message) {
        let (field, value) = field?;
        if field == wanted {
            read(value.bytes())?;
        }
    }
    Ok(())
}

fn store<'m>(place: &mut &'m [u8], value: &'m [u8]) -> Result<(), Malformed> {
    *place = value;
    Ok(())
}

/// Whether all of a body is here. An empty one may not have been sent to the gate at all.
fn is_whole(visit: &Visit<'_>, is_empty: bool) -> bool {
    let header = |name: &str| visit.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let has_none = || {
        matches!(&*visit.method, "GET" | "HEAD")
            || header(PARTIAL) == b"false"
            || header(CONTENT_LENGTH.as_str()) == b"0"
    };
    header(PARTIAL) != b"true" && (!is_empty || has_none())
}

/// Whether the gate tells something under this name, or one that programs cannot tell from it.
fn is_ours(name: &HeaderName) -> bool {
    known_as(name).starts_with("x-testudo-")
}

/// What a visitor tells under names that are the gate's, and what is told does not replace.
fn claims<'v>(told: &HeaderMap, visitor: &'v HeaderMap) -> impl Iterator<Item = &'v str> {
    let is_left = |name: &&HeaderName| is_ours(name) && told.get(*name).is_none_or(HeaderValue::is_empty);
    visitor.keys().filter(is_left).map(HeaderName::as_str)
}

/// Lets a request pass, and tells the site. What the visitor tells under such names goes.
fn allowed(told: &HeaderMap, visitor: &HeaderMap) -> Vec<u8> {
    let mut ok = Message::default();
    for (name, value) in told.iter().filter(|(name, value)| is_ours(name) && !value.is_empty()) {
        ok = ok.message(2, &header(name, value));
    }
    for name in claims(told, visitor) {
        ok = ok.bytes(5, name.as_bytes());
    }
    Message::default().message(1, &Message::default()).message(3, &ok).into_bytes()
}

/// Has Envoy give this answer.
fn denied(response: &Response<Bytes>) -> Vec<u8> {
    let status = Message::default().number(1, response.status().as_u16().into());
    let mut denied = Message::default().message(1, &status);
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        denied = denied.message(2, &header(name, value));
    }
    let denied = denied.bytes(3, response.body());
    let status = Message::default().number(1, DENIED.into());
    Message::default().message(1, &status).message(2, &denied).into_bytes()
}

/// A `HeaderValueOption`.
fn header(name: &HeaderName, value: &HeaderValue) -> Message {
    // Text has to be UTF-8 in messages.
    let value = String::from_utf8_lossy(value.as_bytes());
    let header = Message::default().bytes(1, name.as_str().as_bytes()).bytes(2, value.as_bytes());
    let option = Message::default().message(1, &header);
    // There may be several cookies; what is added unless something else is said.
    if *name == SET_COOKIE { option } else { option.number(3, OVERWRITE) }
}

/// Answers a question over HTTP: the visitor's request, its path behind ours, and the address of its connection in a header.
pub(super) async fn answer_http(
    parts: &Parts,
    body: Incoming,
    peer: Peer,
    service: &Service,
) -> Response<Bytes> {
    let body = answer::read(body, service.gate.max_body()).await;
    let start = Instant::now();
    let response = match visit_http(parts, peer, service) {
        Ok(visit) => {
            let body = body.as_deref().filter(|body| is_whole(&visit, body.is_empty()));
            let mut response = answer::decide(&visit, body, service);
            if response.status().is_success() {
                let claims: Vec<_> = claims(response.headers(), visit.headers).collect();
                if let Ok(claims) = HeaderValue::from_str(&claims.join(","))
                    && !claims.is_empty()
                {
                    response.headers_mut().insert(REMOVED, claims);
                }
            }
            response
        }
        Err(untold) => service.gate.untold(untold),
    };
    service.gate.metrics().took(start.elapsed());
    response
}

fn visit_http<'p>(parts: &'p Parts, peer: Peer, service: &Service) -> Result<Visit<'p>, Untold> {
    service.gate.with_policy(|policy| {
        // Whose connection it is may say who is trusted, and nobody else.
        let source = parts.headers.get(PEER).filter(|_| peer.is_trusted(&policy.proxies));
        let source = source.and_then(|value| value.to_str().ok()?.parse().ok()).ok_or(Untold::Address)?;
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let target = target.strip_prefix(HTTP_PATH.trim_end_matches('/')).ok_or(Untold::Target)?;
        let request = (parts.method.as_str(), target);
        let mut visit = Visit::read(Way::Own, Peer::Address(source), policy, request, &parts.headers)?;
        let scheme = parts.headers.get("x-forwarded-proto");
        visit.is_https = scheme.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
        Ok(visit)
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::{
        super::{MAX_HEADERS, tests::service},
        *,
    };

    fn question(source: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let wrap = |field, inner: Message| Message::default().message(field, &inner);
        let mut http = Message::default().bytes(2, b"GET").bytes(4, path.as_bytes());
        http = http.bytes(5, b"example.org").bytes(6, b"http").number(9, 0);
        for (name, value) in headers {
            let entry = Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes());
            http = http.message(3, &entry);
        }
        let socket = Message::default().bytes(2, source.as_bytes()).number(3, 4_711);
        let source = wrap(1, wrap(1, wrap(1, socket)));
        let attributes = source.message(4, &wrap(2, http));
        wrap(1, attributes).into_bytes()
    }

    fn ask(message: &[u8]) -> Result<String, Malformed> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let answer = runtime.block_on(Question::read(message)?.answer(&service()));
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[test]
    fn checks() {
        let forged = [("x-forwarded-for", "198.51.100.2")];
        let answer = ask(&question("198.51.100.1", "/", &forged)).expect("an answer");
        assert!(answer.starts_with("\n\u{2}\u{8}\u{7}"), "{answer:?}");
        assert!(answer.contains("banned"), "{answer:?}");
        let own = [
            ("x-testudo-outcome", "allowed"),
            ("x-testudo-x", "y"),
            ("x-testudo-type", "z"),
            ("x_testudo_outcome", "allowed"),
        ];
        let answer = ask(&question("198.51.100.2", "/", &own)).expect("an answer");
        assert!(answer.starts_with("\n\0\u{1a}"), "{answer:?}");
        assert!(answer.contains("\u{11}x-testudo-outcome\u{12}\u{5}clean"), "{answer:?}");
        // Field 5, which names what is to go.
        assert!(
            answer.contains("*\u{b}x-testudo-x") && answer.contains("*\u{e}x-testudo-type"),
            "{answer:?}"
        );
        assert!(answer.contains("*\u{11}x_testudo_outcome"), "{answer:?}");
        // A trusted proxy is believed; without an address nobody passes.
        assert!(ask(&question("127.0.0.1", "/", &forged)).expect("an answer").contains("clean"));
        assert!(ask(&question("", "/", &forged)).expect("an answer").contains("no header tells"));
        // Nothing of the gate's own path reaches the site.
        for path in ["/.well-known/testudo/", "/.well-known/testudo/../x", "/.well-known/testudo/answer"] {
            let answer = ask(&question("198.51.100.2", path, &[])).expect("an answer");
            assert!(answer.contains("location"), "{answer:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_user_is() {
        for (source, is_told) in [("127.0.0.1", true), ("198.51.100.1", false)] {
            let message = question(source, "/", &[("x-forwarded-for", "198.51.100.1")]);
            let question = Question::read(&message).expect("a question");
            let visit = question.visit(&service()).map(|visit| visit.from_proxy);
            assert_eq!(visit, Ok(is_told), "{source}");
        }
    }

    #[test]
    fn headers_that_cannot_be_read_hide_nobody() {
        let behind = |headers: &[(&str, &str)]| ask(&question("127.0.0.1", "/", headers)).expect("an answer");
        assert!(behind(&[("x-forwarded-for", "198.51.100.2")]).contains("clean"));
        assert!(behind(&[("x-forwarded-for", "\u{1}, 198.51.100.1")]).contains("banned"));
        let many: Vec<String> = (0..=MAX_HEADERS).map(|number| format!("a{number}")).collect();
        let mut many: Vec<_> = many.iter().map(|name| (name.as_str(), "b")).collect();
        many.push(("x-forwarded-for", "198.51.100.2"));
        assert!(!behind(&many).contains("clean"));
    }

    #[test]
    fn a_body_that_is_not_here_is_not_empty() {
        let whole = |method: &str, headers: &[(&'static str, &'static str)], is_empty| {
            let lines = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let headers: HeaderMap = lines.collect();
            let visit = Visit {
                address: IpAddr::from([198, 51, 100, 1]),
                host: String::new(),
                method: Cow::Owned(method.to_owned()),
                target: "/".into(),
                is_https: false,
                from_proxy: false,
                headers: &headers,
            };
            is_whole(&visit, is_empty)
        };
        assert!(whole("GET", &[], true));
        assert!(!whole("POST", &[], true));
        assert!(whole("POST", &[("content-length", "0")], true));
        assert!(whole("POST", &[(PARTIAL, "false")], true));
        assert!(whole("POST", &[(PARTIAL, "false")], false));
        assert!(!whole("POST", &[(PARTIAL, "true")], false));
    }

    proptest! {
        #[test]
        fn anything_is_answered_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ask(&bytes);
        }

        #[test]
        fn a_damaged_question_is_answered_or_refused(
            at in 0_usize..200,
            with in any::<u8>(),
            length in 0_usize..200,
        ) {
            let mut message = question("198.51.100.1", "/shop?a=1", &[("host", "example.org"), ("cookie", "a=b")]);
            message.truncate(length);
            if let Some(byte) = message.get_mut(at) {
                *byte = with;
            }
            let _ = ask(&message);
        }
    }
}

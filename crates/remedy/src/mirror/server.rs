//! What answers those who fetch lists.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hashbrown::HashMap;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use testudo_event::Timestamp;
use testudo_event::net::canonical;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::bodies::{Bodies, Encoding, Key};
use super::book::Book;
use super::config::MirrorConfig;
use super::counted::Counted;
use super::keys::{Verdict, judge};
use super::peers::Peers;
use super::query;
use super::tls::Tls;
use crate::clock::now_ms;
use crate::metrics::{family, line};

/// For the head of a request, and for TLS to begin.
const HEAD_MOST: Duration = Duration::from_secs(10);
/// For a connection as a whole: whoever reads slower than that holds a place of others.
const CONNECTION_MOST: Duration = Duration::from_mins(10);
/// The longest head of a request, in bytes, and the most fields in it.
const HEAD_BYTES: usize = 16 * 1024;
const HEAD_FIELDS: usize = 64;
/// Before accepting is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What those are told who come while nothing is known: seconds.
const COME_AGAIN: &str = "30";

const X_AGE: HeaderName = HeaderName::from_static("x-testudo-age");
const X_ITEMS: HeaderName = HeaderName::from_static("x-testudo-items");
const X_FALSE: HeaderName = HeaderName::from_static("x-testudo-falsely-covered");
const X_LEFT_OUT: HeaderName = HeaderName::from_static("x-testudo-left-out");

type Answer = Response<Full<Bytes>>;

/// What is known of the API.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// When it answered last, or was heard of, by the clock that only goes forward; nothing before the first time.
    pub(super) answered_ms: Option<u64>,
    /// The last question failed, since then.
    pub(super) lost_ms: Option<u64>,
}

/// What a consumer fetched last, and how often.
#[derive(Clone, Debug, Default, Serialize)]
struct Fetched {
    fetches: u64,
    /// Answered with 304: it had the list already.
    unchanged: u64,
    bytes: u64,
    last_fetch: Option<String>,
    last_list: Option<String>,
    last_status: u16,
}

/// Requests, by list, consumer and status.
type Requests = BTreeMap<(usize, String, u16), u64>;

/// What all connections share.
pub(super) struct Service {
    pub(super) config: MirrorConfig,
    pub(super) book: Arc<RwLock<Book>>,
    bodies: Arc<Bodies>,
    counted: Counted,
    pub(super) link: Mutex<Link>,
    fetched: Mutex<HashMap<String, Fetched>>,
    requests: Mutex<Requests>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    pub(super) fn new(config: MirrorConfig) -> Self {
        let book = Arc::new(RwLock::new(Book::new(config.limits.clone())));
        let bodies = Arc::new(Bodies::new(Arc::clone(&book), config.lists.clone().into()));
        let counted = Counted::new(Arc::clone(&book));
        Service {
            config,
            book,
            bodies,
            counted,
            link: Mutex::default(),
            fetched: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    /// Requests that were answered with a list, or with that it is unchanged.
    pub(super) fn served(&self) -> u64 {
        let requests = locked(&self.requests);
        requests
            .iter()
            .filter(|((_, _, status), _)| matches!(status, 200 | 304))
            .map(|(_, count)| count)
            .sum()
    }

    async fn answer<B>(self: &Arc<Self>, request: &Request<B>, peer: IpAddr) -> Answer {
        let is_head = request.method() == Method::HEAD;
        if request.method() != Method::GET && !is_head {
            let mut refused = told(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let path = request.uri().path();
        let answer = if let Some(list) = self.config.lists.iter().position(|list| list.endpoint == path) {
            self.list(list, request, peer).await
        } else if self.config.metrics.as_deref() == Some(path) {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            page(kind, self.metrics().await)
        } else if path == "/" {
            if self.config.status_from.iter().any(|net| net.contains(canonical(peer))) {
                page("application/json", self.status())
            } else {
                told(StatusCode::FORBIDDEN, "the status is for those that `status_from` names")
            }
        } else {
            told(StatusCode::NOT_FOUND, "there is no such list")
        };
        if is_head { without_body(answer) } else { answer }
    }

    /// A list, or why there is none.
    async fn list<B>(self: &Arc<Self>, list: usize, request: &Request<B>, peer: IpAddr) -> Answer {
        let headers = request.headers();
        let Some((query, key)) = query::read(request.uri().query().unwrap_or_default()) else {
            return told(StatusCode::BAD_REQUEST, "the parameters cannot be read");
        };
        let guard = &self.config.lists[list].guard;
        let verdict = judge(guard, &self.config.consumers, peer, headers, key.as_deref());
        let (consumer, answer) = match verdict {
            Verdict::Unknown => {
                let mut answer = told(StatusCode::UNAUTHORIZED, "a key is needed");
                let how = HeaderValue::from_static("Basic realm=\"blocklists\", charset=\"UTF-8\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, how);
                (None, answer)
            }
            Verdict::Refused => (None, told(StatusCode::FORBIDDEN, "this address may not have the list")),
            Verdict::Passes(consumer) => (consumer, self.fetch(Key { list, query }, headers, peer).await),
        };
        self.note(list, consumer, request.method() == Method::HEAD, &answer);
        answer
    }

    async fn fetch(self: &Arc<Self>, key: Key, headers: &HeaderMap, peer: IpAddr) -> Answer {
        let age = match self.age() {
            Ok(age) => age,
            Err(reason) => return later(reason),
        };
        let format = self.config.lists[key.list].format;
        let encoding = encoding(headers);
        let Ok((body, bytes)) = self.bodies.get(key, encoding, peer).await else {
            return later("too many wait already");
        };
        // A body that is packed is another one.
        let etag = match encoding {
            Encoding::Plain => body.etag.clone(),
            Encoding::Gzip => format!("{}-gzip\"", body.etag.trim_end_matches('"')),
            Encoding::Zstd => format!("{}-zstd\"", body.etag.trim_end_matches('"')),
        };
        let mut answer = Response::new(Full::new(bytes));
        if is_unchanged(headers, &body.etag, body.modified) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            *answer.body_mut() = Full::default();
        }
        let fields = answer.headers_mut();
        let mut put = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                fields.insert(name, value);
            }
        };
        put(CONTENT_TYPE, format.content_type());
        put(ETAG, &etag);
        put(LAST_MODIFIED, &httpdate::fmt_http_date(body.modified));
        // It is asked each time whether it is still so; what a key opens is for nobody between.
        put(CACHE_CONTROL, "private, no-cache");
        put(VARY, "Accept-Encoding, Authorization");
        match encoding {
            Encoding::Plain => {}
            Encoding::Gzip => put(CONTENT_ENCODING, "gzip"),
            Encoding::Zstd => put(CONTENT_ENCODING, "zstd"),
        }
        put(X_ITEMS, &body.lines.to_string());
        put(X_FALSE, &body.falsely.to_string());
        put(X_LEFT_OUT, &body.left_out.to_string());
        put(X_AGE, &age.as_secs().to_string());
        answer
    }

    /// How old what is held is: nothing as long as the API can be asked. Why it is not served, if so.
    fn age(&self) -> Result<Duration, &'static str> {
        let link = *locked(&self.link);
        let Some(answered) = link.answered_ms else { return Err("the API has not answered yet") };
        let Some(_) = link.lost_ms else { return Ok(Duration::ZERO) };
        let age = Duration::from_millis(now_ms().saturating_sub(answered));
        match self.config.stale_after {
            Some(most) if age > most => Err("the API is away for too long"),
            _ => Ok(age),
        }
    }

    fn note(&self, list: usize, consumer: Option<&str>, is_head: bool, answer: &Answer) {
        let status = answer.status().as_u16();
        let name = consumer.unwrap_or_default();
        *locked(&self.requests).entry((list, name.to_owned(), status)).or_default() += 1;
        if consumer.is_none() {
            return;
        }
        let mut all = locked(&self.fetched);
        let fetched = all.entry_ref(name).or_default();
        fetched.fetches += 1;
        fetched.unchanged += u64::from(status == 304);
        let size = hyper::body::Body::size_hint(answer.body()).exact().filter(|_| !is_head);
        fetched.bytes += size.unwrap_or(0);
        fetched.last_fetch =
            Some(Timestamp::from_unix(crate::clock::wall_ms().div_euclid(1_000), 0).to_rfc3339());
        fetched.last_list = Some(self.config.lists[list].endpoint.clone());
        fetched.last_status = status;
    }

    /// What metrics show. No label is an address.
    async fn metrics(&self) -> String {
        let counts = self.counted.get(now_ms()).await;
        let mut out = String::new();
        let name = "active_decision_count";
        family(&mut out, name, "gauge", "Decisions that are held.");
        line(&mut out, name, &[], counts.values().sum());
        let name = "testudo_mirror_decisions";
        family(&mut out, name, "gauge", "Decisions that are held.");
        for ((origin, kind), count) in &*counts {
            line(&mut out, name, &[("origin", origin), ("ip_type", kind)], *count);
        }
        let name = "testudo_mirror_requests_total";
        family(&mut out, name, "counter", "Requests for lists.");
        for ((list, consumer, status), count) in &*locked(&self.requests) {
            let list = &self.config.lists[*list].endpoint;
            let labels =
                [("list", list.as_str()), ("consumer", consumer.as_str()), ("status", &status.to_string())];
            line(&mut out, name, &labels, *count);
        }
        let name = "testudo_mirror_list_items";
        family(&mut out, name, "gauge", "Networks and other values of a list, as it was made last.");
        for (list, body) in self.config.lists.iter().zip(self.bodies.plain()) {
            if let Some(body) = body {
                line(&mut out, name, &[("list", &list.endpoint)], body.lines as u64);
            }
        }
        let link = *locked(&self.link);
        let name = "testudo_mirror_api_reachable";
        family(&mut out, name, "gauge", "Whether the API answers.");
        line(&mut out, name, &[], u64::from(link.answered_ms.is_some() && link.lost_ms.is_none()));
        out
    }

    fn status(&self) -> String {
        #[derive(Serialize)]
        struct Status<'a> {
            version: &'a str,
            api: Api,
            decisions: usize,
            lists: Vec<Listed<'a>>,
            consumers: BTreeMap<&'a str, Fetched>,
        }
        #[derive(Serialize)]
        struct Api {
            reachable: bool,
            seconds_since_answer: Option<u64>,
        }
        #[derive(Serialize)]
        struct Listed<'a> {
            endpoint: &'a str,
            format: &'a str,
            /// As it was made last; nothing before that.
            items: Option<usize>,
            bytes: Option<usize>,
            falsely_covered: Option<String>,
            left_out: Option<usize>,
            changed: Option<String>,
        }
        let link = *locked(&self.link);
        let lists = self.config.lists.iter().zip(self.bodies.plain()).map(|(list, body)| Listed {
            endpoint: &list.endpoint,
            format: list.format.name(),
            items: body.as_ref().map(|body| body.lines),
            bytes: body.as_ref().map(|body| body.plain.len()),
            falsely_covered: body.as_ref().map(|body| body.falsely.to_string()),
            left_out: body.as_ref().map(|body| body.left_out),
            changed: body.as_ref().map(|body| httpdate::fmt_http_date(body.modified)),
        });
        let fetched = locked(&self.fetched);
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            api: Api {
                reachable: link.answered_ms.is_some() && link.lost_ms.is_none(),
                seconds_since_answer: link.answered_ms.map(|at| now_ms().saturating_sub(at) / 1_000),
            },
            decisions: self.book.read().unwrap_or_else(PoisonError::into_inner).len(),
            lists: lists.collect(),
            consumers: self
                .config
                .consumers
                .iter()
                .map(|known| (known.name.as_str(), fetched.get(&known.name).cloned().unwrap_or_default()))
                .collect(),
        };
        // Texts and numbers always serialise.
        serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"
    }
}

/// The encoding that is preferred of those that are accepted.
fn encoding(headers: &HeaderMap) -> Encoding {
    let accepted = headers.get_all(ACCEPT_ENCODING);
    let accepted: Vec<&str> =
        accepted.iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).collect();
    let takes = |wanted: &str| {
        accepted.iter().any(|item| {
            let (name, weight) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
            name.trim().eq_ignore_ascii_case(wanted) && !matches!(weight, Some(Ok(0.0) | Err(_)))
        })
    };
    if takes("zstd") {
        Encoding::Zstd
    } else if takes("gzip") {
        Encoding::Gzip
    } else {
        Encoding::Plain
    }
}

/// Whether whoever asks has it already. Which encoding it had does not matter.
fn is_unchanged(headers: &HeaderMap, etag: &str, modified: SystemTime) -> bool {
    let bare = |tag: &str| {
        let tag = tag.trim().trim_start_matches("W/").trim_matches('"');
        tag.trim_end_matches("-gzip").trim_end_matches("-zstd").to_owned()
    };
    if headers.contains_key(IF_NONE_MATCH) {
        let wanted = bare(etag);
        let texts = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        return texts.flat_map(|text| text.split(',')).any(|tag| tag.trim() == "*" || bare(tag) == wanted);
    }
    let since = headers.get(IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| httpdate::parse_http_date(text).ok());
    // Dates have whole seconds, and two versions may be of the same one: only an older one is surely seen.
    since.is_some_and(|since| modified + Duration::from_secs(1) <= since)
}

fn page(kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn told(status: StatusCode, reason: &'static str) -> Answer {
    let mut answer = page("text/plain; charset=utf-8", format!("{reason}\n"));
    *answer.status_mut() = status;
    answer
}

fn later(reason: &'static str) -> Answer {
    let mut answer = told(StatusCode::SERVICE_UNAVAILABLE, reason);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
    answer
}

/// The answer to HEAD: its length is told, its body is not sent.
fn without_body(mut answer: Answer) -> Answer {
    if let Some(length) = hyper::body::Body::size_hint(answer.body()).exact()
        && answer.status() == StatusCode::OK
    {
        answer.headers_mut().insert(hyper::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *answer.body_mut() = Full::default();
    answer
}

/// Accepts connections for ever.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>, tls: Option<Arc<Tls>>) {
    let places = Arc::new(Semaphore::new(service.config.connections));
    let peers = Arc::new(Peers::default());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many files are open, or the peer is gone already.
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let peer = peer.ip();
        // Whoever has too many is let go without a word.
        let Some(own) = peers.enter(peer, service.config.connections_per_address) else { continue };
        let (service, tls) = (Arc::clone(&service), tls.clone());
        tokio::spawn(async move {
            let talking = talk(stream, peer, service, tls);
            if timeout(CONNECTION_MOST, talking).await.is_err() {
                tracing::debug!(%peer, "a connection took too long");
            }
            drop((place, own));
        });
    }
}

async fn talk(stream: TcpStream, peer: IpAddr, service: Arc<Service>, tls: Option<Arc<Tls>>) {
    // A list is written at once.
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(stream, peer, service).await,
        Some(tls) => match timeout(HEAD_MOST, TlsAcceptor::from(tls.current()).accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, service).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS does not begin"),
            Err(_) => tracing::debug!(%peer, "TLS does not begin in time"),
        },
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr, service: Arc<Service>) {
    let answering = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(&request, peer).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_MOST)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answering).await {
        tracing::debug!(%peer, %error, "a connection ended in the middle");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, text)| (name.clone(), text.parse().expect("a header"))).collect()
    }

    #[test]
    fn encodings() {
        let check = |text: &str, expected: Encoding| {
            assert_eq!(encoding(&headers(&[(ACCEPT_ENCODING, text)])), expected, "{text}");
        };
        check("gzip, deflate", Encoding::Gzip);
        check("GZIP;q=0.5, zstd", Encoding::Zstd);
        check("gzip;q=0", Encoding::Plain);
        check("gzip; q=0.000, br", Encoding::Plain);
        check("*", Encoding::Plain);
        assert_eq!(encoding(&HeaderMap::new()), Encoding::Plain);
    }

    #[test]
    fn unchanged() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let check = |name: HeaderName, text: &str| is_unchanged(&headers(&[(name, text)]), "\"abc\"", then);
        for tag in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc-gzip\"", "*"] {
            assert!(check(IF_NONE_MATCH, tag), "{tag}");
        }
        for tag in ["\"ab\"", "", "\"abcd\""] {
            assert!(!check(IF_NONE_MATCH, tag), "{tag}");
        }
        assert!(check(IF_MODIFIED_SINCE, "Sun, 09 Sep 2001 01:46:41 GMT"));
        assert!(!check(IF_MODIFIED_SINCE, "Sun, 09 Sep 2001 01:46:40 GMT"));
        assert!(!check(IF_MODIFIED_SINCE, "yesterday"));
    }
}

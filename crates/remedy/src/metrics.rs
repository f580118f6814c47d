//! Metrics, as Prometheus reads them: where they are, and a page that is set and served.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Before listening is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What those who connect may have.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// At once; others wait to be accepted.
    connections: usize,
    /// For the head of a request.
    head: Duration,
    /// For a connection as a whole.
    connection: Duration,
}

/// Descriptors are needed elsewhere, and few read metrics.
const LIMITS: Limits =
    Limits { connections: 16, head: Duration::from_secs(10), connection: Duration::from_secs(30) };

/// The page as it is.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Bytes>>);

impl Page {
    pub(crate) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn get(&self) -> Bytes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves the page at `/metrics` of a place such as `127.0.0.1:60601`, as soon as it can be listened there.
pub(crate) async fn serve(place: String, page: Page) {
    let mut is_told = false;
    let listener = loop {
        match TcpListener::bind(&place).await {
            Ok(listener) => break listener,
            Err(error) if !is_told => {
                is_told = true;
                tracing::warn!(%error, place, "metrics cannot be served yet");
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_AGAIN).await;
    };
    accept(listener, page, LIMITS).await;
}

async fn accept(listener: TcpListener, page: Page, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open, or the peer is gone already.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let page = page.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &page);
                async { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(limits.head);
            // Whoever goes away in the middle, or is too slow, has what there was.
            let _ = timeout(limits.connection, http.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let is_it = request.uri().path() == "/metrics";
    let mut response =
        Response::new(Full::new(if is_it { page.get() } else { Bytes::from("see /metrics\n") }));
    if !is_it {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Begins a family of metrics.
pub(crate) fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Adds one of them.
pub(crate) fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{name}{labels} {value}");
}

/// A port, which others write as a text.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "PortText")]
struct Port(u16);

#[derive(Deserialize)]
#[serde(untagged)]
enum PortText {
    Number(u16),
    Text(String),
}

impl TryFrom<PortText> for Port {
    type Error = String;

    fn try_from(text: PortText) -> Result<Self, String> {
        match text {
            PortText::Number(port) => Ok(Port(port)),
            PortText::Text(text) => text.parse().map(Port).map_err(|_| format!("{text:?} is no port")),
        }
    }
}

/// Where metrics are served.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Prometheus {
    enabled: bool,
    listen_addr: String,
    listen_port: Option<Port>,
}

impl Default for Prometheus {
    fn default() -> Self {
        Prometheus { enabled: false, listen_addr: "127.0.0.1".to_owned(), listen_port: None }
    }
}

impl Prometheus {
    /// The place, `address:port`, if there is to be one.
    pub(crate) fn place(&self, port: u16) -> Option<String> {
        let port = self.listen_port.map_or(port, |port| port.0);
        self.enabled.then(|| format!("{}:{port}", self.listen_addr))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// Long enough for any machine, so that what never ends fails.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn connect(place: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(place).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("it is taken");
        stream
    }

    #[test]
    fn those_who_say_nothing_are_let_go() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let place = listener.local_addr().expect("a place");
            let page = Page::default();
            page.set("all_is_well 1\n".to_owned());
            let limits = Limits {
                connections: 2,
                head: Duration::from_millis(50),
                connection: Duration::from_millis(500),
            };
            tokio::spawn(accept(listener, page, limits));
            let mut idle = Vec::new();
            for text in ["", "", "GET /met", "GET /metrics HTTP/1.1\r\nHost: a\r\n"] {
                idle.push(connect(place, text).await);
            }
            let mut stream = connect(place, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut answer = String::new();
            let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
            assert!(read.is_ok(), "those who came before hold all places");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("all_is_well 1\n"), "{answer}");
            for mut stream in idle {
                let mut rest = Vec::new();
                let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
                assert!(ended.is_ok(), "it is held open");
            }
        });
    }
}

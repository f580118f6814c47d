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
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;

/// Before listening is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

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
    loop {
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
            // Whoever goes away in the middle has what there was.
            let _ =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
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

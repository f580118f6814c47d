//! A small HTTP server for pages that the daemon makes about itself: metrics over TCP, control over a Unix
//! socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Connections at one time: a scraper, a person, a few scripts.
const CONNECTIONS_MOST: usize = 32;

/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait when the system cannot give another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) text: String,
}

impl Answer {
    /// A text for people.
    pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Answer {
        Answer { status, content_type: "text/plain; charset=utf-8", text: text.into() }
    }
}

/// Makes answers.
pub(crate) type Pages =
    Arc<dyn Fn(Method, String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Where connections come from.
pub(crate) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Answers until it is dropped.
pub(crate) async fn serve(door: Door, pages: Pages) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MOST));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let pages = Arc::clone(&pages);
        let accepted = match &door {
            Door::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    connection(stream, pages).await;
                    drop(permit);
                });
            }),
            Door::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    connection(stream, pages).await;
                    drop(permit);
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "a connection cannot be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn connection<S>(stream: S, pages: Pages)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let made = pages(method, path);
        async move {
            let Answer { status, content_type, text } = made.await;
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

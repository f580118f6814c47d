//! The pages of the daemon about itself: metrics for Prometheus, and the control socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::control;
use crate::daemon::{Node, NodeError, io_error};
use crate::page::{self, Answer, Door, Pages};

/// Opens the pages about the daemon: metrics, control.
pub(crate) async fn open(node: &Arc<Node>) -> Result<(), NodeError> {
    let config = node.config();
    let weak = Arc::downgrade(node);
    if config.prometheus.enabled {
        let place = format!("{}:{}", config.prometheus.listen_addr, config.prometheus.listen_port);
        match TcpListener::bind(&place).await {
            Ok(listener) => {
                let address: Option<SocketAddr> = listener.local_addr().ok();
                tracing::info!(?address, "metrics are served");
                let weak = weak.clone();
                let pages: Pages = Arc::new(move |method, path| {
                    let weak = weak.clone();
                    Box::pin(async move {
                        let Some(node) = weak.upgrade() else { return gone() };
                        if path != "/metrics" {
                            return Answer::plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
                        }
                        if method != Method::GET {
                            return Answer::plain(StatusCode::METHOD_NOT_ALLOWED, "");
                        }
                        match spawn_blocking(move || node.metrics()).await {
                            Ok(text) => Answer {
                                status: StatusCode::OK,
                                content_type: "text/plain; version=0.0.4; charset=utf-8",
                                text,
                            },
                            Err(_) => Answer::plain(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n"),
                        }
                    })
                });
                node.spawn(page::serve(Door::Tcp(listener), pages));
            }
            Err(error) => {
                tracing::warn!(place, %error, "there are no metrics: the port is taken or not ours");
            }
        }
    }
    let path: PathBuf = control::control_path(&config.paths.data_dir);
    let listener = control::open(&path).map_err(io_error(format!("listen on {}", path.display())))?;
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<Result<String, String>>>(4);
    let reloading = weak.clone();
    node.spawn(async move {
        while let Some(answer) = asked.recv().await {
            let Some(node) = reloading.upgrade() else { return };
            // Whoever asked may have gone.
            let _ = answer.send(node.reload().await);
        }
    });
    let pages: Pages = Arc::new(move |method, path| {
        let (weak, ask) = (weak.clone(), ask.clone());
        Box::pin(async move {
            match (method, path.as_str()) {
                (Method::GET, "/status") => match weak.upgrade() {
                    Some(node) => Answer {
                        status: StatusCode::OK,
                        content_type: "application/json",
                        text: node.status().to_string(),
                    },
                    None => gone(),
                },
                (Method::POST, "/reload") => {
                    let (answer, answered) = oneshot::channel();
                    if ask.send(answer).await.is_err() {
                        return gone();
                    }
                    match answered.await {
                        Ok(Ok(text)) => Answer::plain(StatusCode::OK, text),
                        Ok(Err(text)) => Answer::plain(StatusCode::BAD_REQUEST, text),
                        Err(_) => gone(),
                    }
                }
                (method, path) if path == "/trace" || path.starts_with("/trace/") => match weak.upgrade() {
                    Some(node) => control::trace(&node, &method, path),
                    None => gone(),
                },
                _ => Answer::plain(
                    StatusCode::NOT_FOUND,
                    "known are GET /status, POST /reload, POST /trace/MARK/ADDRESS, GET and DELETE /trace\n",
                ),
            }
        })
    });
    node.spawn(page::serve(Door::Unix(listener), pages));
    Ok(())
}

fn gone() -> Answer {
    Answer::plain(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending\n")
}

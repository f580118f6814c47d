//! The few calls of the Docker API that reading logs takes, over a unix socket or TCP.

use std::{collections::HashMap, fmt::Write as _, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::source::SourceError;

/// Longest answer that is read as a whole.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Time until an answer begins.
const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon.
#[derive(Clone, Debug)]
pub(super) enum Api {
    Unix(PathBuf),
    Tcp(String),
}

/// A container in the list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Listed {
    pub(super) id: String,
    /// Each with a slash in front.
    pub(super) names: Vec<String>,
    pub(super) labels: Option<HashMap<String, String>>,
}

/// A container as it is told on demand.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inspected {
    pub(super) name: String,
    pub(super) config: ContainerConfig,
    pub(super) state: ContainerState,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ContainerConfig {
    pub(super) tty: bool,
    pub(super) labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ContainerState {
    pub(super) running: bool,
    /// In RFC 3339.
    pub(super) started_at: String,
}

/// A Swarm service in the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "Spec")]
    pub(super) spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ServiceSpec {
    pub(super) name: String,
    pub(super) labels: Option<HashMap<String, String>>,
    pub(super) task_template: TaskTemplate,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TaskTemplate {
    pub(super) container_spec: ContainerSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerSpec {
    #[serde(rename = "TTY")]
    pub(super) tty: bool,
}

/// What the daemon says about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    pub(super) swarm: Swarm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Swarm {
    pub(super) control_available: bool,
}

/// Something that happened.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    #[serde(rename = "Action")]
    pub(super) action: String,
}

impl Api {
    /// Of a `docker_host`.
    pub(super) fn new(host: &str) -> Result<Api, SourceError> {
        if let Some(path) = host.strip_prefix("unix://") {
            return Ok(Api::Unix(PathBuf::from(path)));
        }
        let address = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://"));
        match address {
            Some(address) => Ok(Api::Tcp(address.trim_end_matches('/').to_owned())),
            None => Err(SourceError::Missing(format!(
                "docker_host {host} cannot be used: it is neither unix:// nor tcp://"
            ))),
        }
    }

    /// Asks for a path. The answer may go on for ever.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, SourceError> {
        let attempt = tokio::time::timeout(PATIENCE, async {
            match self {
                Api::Unix(socket) => {
                    let failed = SourceError::io(format!("connect to {}", socket.display()));
                    ask(UnixStream::connect(socket).await.map_err(failed)?, path).await
                }
                Api::Tcp(address) => {
                    let failed = SourceError::io(format!("connect to {address}"));
                    ask(TcpStream::connect(address).await.map_err(failed)?, path).await
                }
            }
        });
        attempt.await.map_err(|_| answered("nothing"))?
    }

    /// Asks for JSON. Nothing where the daemon does not know the thing.
    pub(super) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, SourceError> {
        let answer = self.get(path).await?;
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        let bytes = body.collect().await.map_err(|error| answered(error.to_string()))?.to_bytes();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| answered(error.to_string()))
    }

    /// Asks for a stream. Nothing where the daemon does not know the thing.
    pub(super) async fn stream(&self, path: &str) -> Result<Option<Incoming>, SourceError> {
        let answer = self.get(path).await?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(refused(status, &bytes));
        }
        Ok(Some(answer.into_body()))
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> Result<Response<Incoming>, SourceError> {
    let failed = |error: hyper::Error| answered(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // The connection lives as long as its answer is read.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::HOST, "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|error| answered(error.to_string()))?;
    sender.send_request(request).await.map_err(failed)
}

fn answered(answer: impl Into<String>) -> SourceError {
    SourceError::Answer { peer: "the Docker daemon".to_owned(), answer: answer.into() }
}

fn refused(status: StatusCode, body: &[u8]) -> SourceError {
    answered(format!("{status} {}", String::from_utf8_lossy(&body[..body.len().min(500)]).trim()))
}

/// Escapes a value of a query.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(byte as char);
        } else {
            // Writing to a text cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

//! Connections: made when they are needed, one kept for the next call.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::error::{ClientError, SettingsError};
use crate::settings::{Address, Endpoint, Settings};
use crate::tls;

/// A connection that lay idle for longer is not used again: the server may be about to close it.
const IDLE_MOST: Duration = Duration::from_secs(20);

pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// The way to one API.
pub(crate) struct Connector {
    pub(crate) address: Address,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Option<(Sender, Instant)>>,
}

impl Connector {
    pub(crate) fn new(settings: &Settings) -> Result<Connector, SettingsError> {
        let address = Address::parse(&settings.url)?;
        let tls = match &address.endpoint {
            Endpoint::Tcp { host, tls: true, .. } => {
                let config: Arc<ClientConfig> = tls::config(&settings.tls)?;
                let name = ServerName::try_from(host.clone()).map_err(|_| SettingsError::Url {
                    url: settings.url.clone(),
                    problem: "its host can stand in no certificate",
                })?;
                Some((TlsConnector::from(config), name))
            }
            _ => None,
        };
        Ok(Connector { address, timeout: settings.timeouts.connect, tls, idle: Mutex::new(None) })
    }

    /// The connection that was kept, if it still looks usable.
    pub(crate) fn take_idle(&self) -> Option<Sender> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(|(sender, since)| sender.is_ready() && since.elapsed() < IDLE_MOST)
            .map(|(sender, _)| sender)
    }

    /// Keeps a connection for the next call.
    pub(crate) fn keep(&self, sender: Sender) {
        if !sender.is_closed() {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some((sender, Instant::now()));
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Sender, ClientError> {
        let address = || self.address.shown.clone();
        let connected = tokio::time::timeout(self.timeout, self.open()).await;
        let connected = connected.map_err(|_| ClientError::Timeout {
            address: address(),
            doing: "connecting",
            after: self.timeout,
        })?;
        connected.map_err(|source| ClientError::Unreachable { address: address(), source })
    }

    async fn open(&self) -> io::Result<Sender> {
        match &self.address.endpoint {
            Endpoint::Unix(path) => begin(UnixStream::connect(path).await?).await,
            Endpoint::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Requests must not wait for more; without it they only come later.
                let _ = stream.set_nodelay(true);
                match &self.tls {
                    Some((connector, name)) => begin(connector.connect(name.clone(), stream).await?).await,
                    None => begin(stream).await,
                }
            }
        }
    }
}

async fn begin<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // What goes wrong is told to whoever waits for the answer.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the local API ended badly");
        }
    });
    Ok(sender)
}

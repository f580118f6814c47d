//! The sockets of the HTTP server.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};

use super::{HttpConfig, answer::answer};
use crate::{
    outlet::Outlet,
    source::{Run, Settings, Source, SourceError},
    tls::Acceptor,
};

/// Connections that may be open at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1_024;

/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(30);

/// Pause after a connection could not be accepted: there are too many open files, most likely.
const REFUSAL: Duration = Duration::from_millis(100);

/// An *http* source.
#[derive(Debug)]
pub struct HttpSource {
    settings: Settings,
    config: HttpConfig,
}

impl HttpSource {
    /// A source of what `config` says.
    pub fn new(settings: Settings, config: HttpConfig) -> Self {
        HttpSource { settings, config }
    }

    async fn listen(&self, outlet: &Outlet) -> Result<(), SourceError> {
        let acceptor = Acceptor::new(self.config.tls.as_ref())?;
        let tcp = match &self.config.address {
            Some(address) => {
                // Go's way of saying "all addresses".
                let full = if address.starts_with(':') { format!("[::]{address}") } else { address.clone() };
                let listener =
                    TcpListener::bind(&full).await.map_err(SourceError::io(format!("listen on {address}")));
                Some(listener?)
            }
            None => None,
        };
        let config = Arc::new(self.config.clone());
        let over_tcp = async {
            match tcp {
                Some(listener) => serve_tcp(listener, acceptor, &config, outlet).await,
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        {
            let unix = self.config.socket.as_deref().map(socket).transpose()?;
            let over_unix = async {
                match unix {
                    Some(listener) => serve_unix(listener, &config, outlet).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over_tcp => {}
                () = over_unix => {}
            }
        }
        #[cfg(not(unix))]
        over_tcp.await;
        Ok(())
    }
}

impl Source for HttpSource {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn run(self: Arc<Self>, outlet: Outlet) -> Run {
        Box::pin(async move {
            tokio::select! {
                () = outlet.stopped() => Ok(()),
                result = self.listen(&outlet) => result,
            }
        })
    }
}

/// Binds a socket in the file system. One that was left behind goes.
#[cfg(unix)]
fn socket(path: &std::path::Path) -> Result<tokio::net::UnixListener, SourceError> {
    use std::os::unix::{fs::FileTypeExt, net::UnixStream};
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path).map_err(SourceError::io(format!("remove {}", path.display())))?;
    }
    tokio::net::UnixListener::bind(path).map_err(SourceError::io(format!("listen on {}", path.display())))
}

pub(super) async fn serve_tcp(
    listener: TcpListener,
    acceptor: Acceptor,
    config: &Arc<HttpConfig>,
    outlet: &Outlet,
) {
    let mut connections = JoinSet::new();
    loop {
        room(&mut connections).await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                outlet.log.warn(format_args!("cannot accept a connection: {error}"));
                tokio::time::sleep(REFUSAL).await;
                continue;
            }
        };
        let (acceptor, config, outlet) = (acceptor.clone(), Arc::clone(config), outlet.clone());
        connections.spawn(async move {
            match acceptor.accept(stream).await {
                Ok(stream) => talk(stream, peer.ip(), config, outlet).await,
                Err(error) => {
                    outlet.counters().refused.add(1);
                    outlet.log.warn(format_args!("{peer} is refused: {error}"));
                }
            }
        });
    }
}

#[cfg(unix)]
async fn serve_unix(listener: tokio::net::UnixListener, config: &Arc<HttpConfig>, outlet: &Outlet) {
    let mut connections = JoinSet::new();
    loop {
        room(&mut connections).await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let local = IpAddr::from([127, 0, 0, 1]);
                connections.spawn(talk(stream, local, Arc::clone(config), outlet.clone()));
            }
            Err(error) => {
                outlet.log.warn(format_args!("cannot accept a connection: {error}"));
                tokio::time::sleep(REFUSAL).await;
            }
        }
    }
}

/// Waits until another connection may be accepted.
async fn room(connections: &mut JoinSet<()>) {
    while connections.try_join_next().is_some() {}
    if connections.len() >= MAX_CONNECTIONS {
        connections.join_next().await;
    }
}

/// Answers the requests of one connection: HTTP/1.1, or HTTP/2 if the client begins with it.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    config: Arc<HttpConfig>,
    outlet: Outlet,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (config, outlet) = (Arc::clone(&config), outlet.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(request, peer, &config, &outlet).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        outlet.log.debug(format_args!("{peer} broke off: {error}"));
    }
}

//! Sockets: where requests come from.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Chain;
use crate::request::Origin;
use crate::service::Service;
use crate::tls::Tls;

/// Connections at one time; more wait to be accepted.
const CONNECTIONS_MOST: usize = 8192;

/// How long a new connection may stay silent.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the head of a request may take to arrive, and how long a connection may idle between requests:
/// hyper knows one limit for both. Clients poll every ten seconds to every minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(150);

/// How long requests are waited for at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether the list of revoked certificates has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often what changed in memory only is stored.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How long to wait when the system cannot give another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest path of a socket, in bytes, without the zero at its end.
const SOCKET_PATH_MOST: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket. A socket that is there is replaced.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why there is no listening somewhere.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nowhere to listen.
    #[error("no listen_uri or listen_socket specified")]
    Nowhere,
    /// The path of a socket is too long.
    #[error("the path of the socket {0} has more than {SOCKET_PATH_MOST} bytes")]
    LongPath(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {place}: {source}")]
    Refused {
        /// Where.
        place: Listen,
        /// Why.
        source: io::Error,
    },
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// The API on its sockets.
pub struct Server {
    service: Arc<Service>,
    sockets: Vec<Socket>,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Opens the sockets; to be called within a runtime of tokio. Requests are answered from
    /// [`Server::run`] on.
    ///
    /// # Errors
    /// There is nowhere to listen, or the system refuses.
    pub fn bind(service: Arc<Service>, listen: &[Listen]) -> Result<Server, ListenError> {
        if listen.is_empty() {
            return Err(ListenError::Nowhere);
        }
        let sockets = listen.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Server { service, sockets, tls: None })
    }

    /// Speaks TLS where it listens on an address; Unix sockets stay in the clear.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Server {
        Server { tls: Some(tls), ..self }
    }

    /// The addresses and ports that it listens on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &Socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        };
        self.sockets.iter().filter_map(address).collect()
    }

    /// Answers until `stop` is done; then requests in progress have five seconds. What changed in memory
    /// only is stored every few seconds, and at the end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = Arc::new(GracefulShutdown::new());
        let room = Arc::new(Semaphore::new(CONNECTIONS_MOST));
        let mut tasks = JoinSet::new();
        let mut paths = Vec::new();
        for socket in self.sockets {
            if let Socket::Unix(_, path) = &socket {
                paths.push(path.clone());
            }
            let tls = self.tls.clone().filter(|_| matches!(socket, Socket::Tcp(_)));
            tasks.spawn(accept(
                socket,
                tls,
                Arc::clone(&self.service),
                Arc::clone(&room),
                Arc::clone(&graceful),
            ));
        }
        if let Some(tls) = self.tls {
            tasks.spawn(look_often(tls, Arc::clone(&self.service)));
        }
        tasks.spawn(save_often(Arc::clone(&self.service)));
        stop.await;
        // Ends the listening; connections go on, but for those that would never end.
        tasks.shutdown().await;
        self.service.events().close();
        if let Some(graceful) = Arc::into_inner(graceful)
            && tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err()
        {
            tracing::warn!("some requests did not end in time");
        }
        save(&self.service).await;
        for path in paths {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a socket cannot be removed");
            }
        }
    }
}

fn open(place: &Listen) -> Result<Socket, ListenError> {
    let refused = |source| ListenError::Refused { place: place.clone(), source };
    match place {
        Listen::Tcp(address) => {
            let listener = StdListener::bind(address).map_err(refused)?;
            listener.set_nonblocking(true).map_err(refused)?;
            Ok(Socket::Tcp(TcpListener::from_std(listener).map_err(refused)?))
        }
        Listen::Unix(path) => {
            if path.as_os_str().len() > SOCKET_PATH_MOST {
                return Err(ListenError::LongPath(path.clone()));
            }
            // What another process left behind. Other kinds of files are not ours to remove.
            if std::fs::symlink_metadata(path).is_ok_and(|known| known.file_type().is_socket()) {
                std::fs::remove_file(path).map_err(refused)?;
            }
            Ok(Socket::Unix(UnixListener::bind(path).map_err(refused)?, path.clone()))
        }
    }
}

enum Connection {
    Tcp(TcpStream, Origin),
    Unix(UnixStream),
}

async fn accept(
    socket: Socket,
    tls: Option<Arc<Tls>>,
    service: Arc<Service>,
    room: Arc<Semaphore>,
    graceful: Arc<GracefulShutdown>,
) {
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let accepted = match &socket {
            Socket::Tcp(listener) => {
                let accepted = listener.accept().await;
                accepted.map(|(stream, peer)| Connection::Tcp(stream, Origin::tcp(peer.ip())))
            }
            Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Connection::Unix(stream)),
        };
        match accepted {
            Ok(connection) => {
                let begun = begin(connection, tls.clone(), Arc::clone(&service), graceful.watcher(), permit);
                tokio::spawn(begun);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for the first byte, so that silent connections do not stay.
async fn begin(
    connection: Connection,
    tls: Option<Arc<Tls>>,
    service: Arc<Service>,
    watcher: Watcher,
    permit: OwnedSemaphorePermit,
) {
    match connection {
        Connection::Tcp(stream, origin) => {
            // Small answers must not wait for more; without it they only come later.
            let _ = stream.set_nodelay(true);
            if let Ok(Ok(())) = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.readable()).await {
                match tls {
                    Some(tls) => shake_hands(stream, origin, tls, service, watcher).await,
                    None => serve(stream, origin, None, service, watcher).await,
                }
            }
        }
        Connection::Unix(stream) => {
            if let Ok(Ok(())) = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.readable()).await {
                serve(stream, Origin::unix(), None, service, watcher).await;
            }
        }
    }
    drop(permit);
}

/// A connection with TLS: who the client is, if it shows a certificate, is known before its first request.
async fn shake_hands(
    stream: TcpStream,
    origin: Origin,
    tls: Arc<Tls>,
    service: Arc<Service>,
    watcher: Watcher,
) {
    let loaded = tls.current();
    let accepted = TlsAcceptor::from(Arc::clone(&loaded.server)).accept(stream);
    let stream = match tokio::time::timeout(FIRST_BYTE_TIMEOUT, accepted).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(peer = %origin.peer, %error, "a handshake failed"),
        Err(_) => return tracing::debug!(peer = %origin.peer, "a handshake took too long"),
    };
    let Some(chain) = Chain::of(stream.get_ref().1, &loaded) else {
        return serve(stream, origin, None, service, watcher).await;
    };
    let Some(certificate) = chain.peer() else {
        return tracing::warn!(peer = %origin.peer, "a client shows a certificate without a common name");
    };
    let origin = Origin { certificate: Some(Arc::new(certificate)), ..origin };
    serve(stream, origin, Some(Arc::new((tls, chain))), service, watcher).await;
}

/// The certificate of a client has been revoked, or has expired, since its connection began.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of the client no longer holds")]
struct NoLongerHolds;

async fn serve<S>(
    stream: S,
    origin: Origin,
    shown: Option<Arc<(Arc<Tls>, Chain)>>,
    service: Arc<Service>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| {
        let (service, origin) = (Arc::clone(&service), origin.clone());
        let holds = shown.as_ref().is_none_or(|shown| shown.0.holds(&shown.1));
        async move { if holds { Ok(service.answer(request, origin).await) } else { Err(NoLongerHolds) } }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), answer).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Notices when something was revoked. Those who listen to events have to show their certificates again.
async fn look_often(tls: Arc<Tls>, service: Arc<Service>) {
    let mut generation = tls.current().generation;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looking = Arc::clone(&tls);
        let looked = tokio::task::spawn_blocking(move || looking.look()).await;
        let found = tls.current().generation;
        if found != std::mem::replace(&mut generation, found) {
            service.events().close();
        }
        match looked {
            Ok(Ok(true)) => tracing::info!("the list of revoked certificates was read again"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the list of revoked certificates cannot be read"),
            Err(error) => tracing::error!(%error, "reading the list of revoked certificates failed"),
        }
    }
}

async fn save_often(service: Arc<Service>) {
    loop {
        tokio::time::sleep(SAVE_EVERY).await;
        save(&service).await;
    }
}

/// Stores what changed in memory only.
async fn save(service: &Arc<Service>) {
    let service = Arc::clone(service);
    match tokio::task::spawn_blocking(move || service.store().save()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "clients cannot be saved yet"),
        Err(error) => tracing::error!(%error, "saving failed"),
    }
}

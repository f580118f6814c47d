//! The gate on its sockets.

mod answer;
mod confirm;
mod envoy;
mod fastcgi;
mod files;
mod headers;
mod peers;
mod protobuf;
mod proxy;
mod room;
mod spoe;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use testudo_config::ConfigError;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};

pub use self::proxy::{TlsFiles, Upstream};
use self::{answer::answer, files::Files, proxy::Proxy, room::Room};
use crate::{
    address::Peer, decisions::Decisions, gate::Gate, keys::KeyError, mfa::oidc::Directory, moment::Moment,
    outside::Outside, policy::Policy,
};

/// How long the head of a request may take, and how long a connection may rest between requests: longer than web servers
/// keep theirs, so that it is they who close.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// The largest head of a request, in bytes: that of the visitor, and what the web server adds.
const MAX_HEAD: usize = 64 << 10;

/// How much is read at once of a connection in which only questions are asked, in bytes: mostly a whole one.
const BUFFER: usize = 8 << 10;

/// The most headers of a request.
const MAX_HEADERS: usize = 128;

/// Pause after a connection could not be accepted: there are too many open files, most likely.
const REFUSAL: Duration = Duration::from_millis(100);

/// How long requests in progress are waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Where a gate listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On an address and port.
    Tcp(SocketAddr),
    /// On an address and port, for FastCGI. Only peers in `trusted_proxies` are answered.
    FastCgi(SocketAddr),
    /// On an address and port, for HAProxy's stream processing. Only peers in `trusted_proxies` are answered.
    Spoe(SocketAddr),
    /// On an address and port, for Envoy's external authorization over gRPC. Only peers in `trusted_proxies` are answered.
    Grpc(SocketAddr),
    /// On an address and port, for visitors: what passes goes on to [`ServerConfig::upstreams`].
    Proxy(SocketAddr),
    /// The same over TLS.
    ProxyTls(SocketAddr),
    /// On a socket in the file system. Whoever may open it is trusted.
    #[cfg(unix)]
    Unix {
        /// Where.
        path: PathBuf,
        /// Who may open it, such as `0o660`.
        mode: u32,
    },
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address)
            | Self::FastCgi(address)
            | Self::Spoe(address)
            | Self::Grpc(address)
            | Self::Proxy(address)
            | Self::ProxyTls(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// What a gate is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// The file of its policy. It and the file of the keys are read again when they change.
    pub policy: PathBuf,
    /// The sites behind [`Listen::Proxy`].
    pub upstreams: Vec<Upstream>,
    /// The certificate of [`Listen::ProxyTls`].
    pub tls: Option<TlsFiles>,
    /// Gates on other machines that share the site and the keys, with the ports on which they answer web servers: they are
    /// told which challenges were answered here.
    pub peers: Vec<String>,
    /// Connections on one socket at one time; more wait to be accepted. Visitors of [`Listen::Proxy`] have a limit of their own.
    pub max_connections: usize,
    /// How often it is looked whether the files have changed.
    pub look_every: Duration,
}

impl ServerConfig {
    /// What is usual, for a policy.
    pub fn new(listen: Vec<Listen>, policy: PathBuf) -> Self {
        Self {
            listen,
            policy,
            upstreams: Vec::new(),
            tls: None,
            peers: Vec::new(),
            max_connections: 1_024,
            look_every: Duration::from_secs(5),
        }
    }
}

/// Why a gate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nowhere to listen.
    #[error("the gate has nowhere to listen: name an address or a socket")]
    Nowhere,
    /// The system refuses.
    #[error("cannot listen on {place}: {source}")]
    Listen {
        /// Where.
        place: Listen,
        /// Why.
        source: io::Error,
    },
    /// The sites behind the proxy, or its certificate, cannot be used.
    #[error("the proxy cannot be started: {0}")]
    Proxy(String),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] ConfigError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Proxy,
    ProxyTls,
    Questions(Questions),
}

/// A protocol in which only questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Questions {
    FastCgi,
    Spoe,
    Grpc,
}

enum Socket {
    Tcp(Protocol, TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener, PathBuf),
}

/// What answers requests, shared by all connections.
struct Service {
    gate: Gate,
    decisions: Arc<dyn Decisions>,
    start: Instant,
    /// Asks services elsewhere.
    outside: Outside,
    directory: Arc<Directory>,
    /// For visitors who send something to the gate itself.
    room: Room,
    /// Whether decisions about users matter.
    needs_users: watch::Sender<bool>,
}

impl Service {
    fn new(gate: Gate, decisions: Arc<dyn Decisions>, start: Instant) -> Self {
        let needs_users = watch::Sender::new(gate.with_policy(Policy::needs_users));
        Self {
            gate,
            decisions,
            start,
            outside: Outside::default(),
            directory: Arc::default(),
            room: Room::default(),
            needs_users,
        }
    }
}

/// A gate that listens.
pub struct Server {
    service: Arc<Service>,
    sockets: Vec<Socket>,
    /// Where there is one.
    proxy: Option<Arc<Proxy>>,
    files: Files,
    config: ServerConfig,
}

/// Serves a gate until `shutdown` is done; then requests in progress have five seconds.
///
/// # Errors
/// The policy or the keys cannot be used, or there is no listening.
pub async fn serve(
    config: ServerConfig,
    decisions: Arc<dyn Decisions>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    Server::bind(config, decisions)?.run(shutdown).await;
    Ok(())
}

impl Server {
    /// Reads policy and keys, and opens the sockets; to be called within a runtime of tokio.
    ///
    /// # Errors
    /// The policy or the keys cannot be used, or there is no listening.
    pub fn bind(config: ServerConfig, decisions: Arc<dyn Decisions>) -> Result<Self, ServeError> {
        if config.listen.is_empty() {
            return Err(ServeError::Nowhere);
        }
        let has_tls = config.listen.iter().any(|place| matches!(place, Listen::ProxyTls(_)));
        if has_tls && config.tls.is_none() {
            return Err(ServeError::Proxy(
                "no `tls` names the files of a certificate and its key".to_owned(),
            ));
        }
        let has_proxy = has_tls || config.listen.iter().any(|place| matches!(place, Listen::Proxy(_)));
        let proxy = has_proxy.then(|| Proxy::new(&config.upstreams, config.tls.as_ref())).transpose();
        let proxy = proxy.map_err(ServeError::Proxy)?.map(Arc::new);
        let start = Instant::now();
        let (files, policy, keys, users) = Files::read(&config.policy)?;
        let refused = |place: &Listen| {
            let place = place.clone();
            move |source| ServeError::Listen { place, source }
        };
        let sockets = config.listen.iter().map(|place| open(place).map_err(refused(place)));
        let sockets = sockets.collect::<Result<_, _>>()?;
        let key_file = policy.key_file.clone();
        let gate = Gate::new(policy, keys, Moment::now(start));
        gate.set_users(users.unwrap_or_default());
        files::share(&gate, &key_file);
        let service = Arc::new(Service::new(gate, decisions, start));
        Ok(Self { service, sockets, proxy, files, config })
    }

    /// Whether decisions about users matter to the policy, now and whenever that changes.
    pub fn needs_users(&self) -> watch::Receiver<bool> {
        self.service.needs_users.subscribe()
    }

    /// The addresses and ports that it listens on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &Socket| match socket {
            Socket::Tcp(_, listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Socket::Unix(..) => None,
        };
        self.sockets.iter().filter_map(address).collect()
    }

    /// Answers until `shutdown` is done; then requests in progress have five seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for socket in self.sockets {
            let (service, stopped) = (Arc::clone(&self.service), stopped.clone());
            let most = self.config.max_connections.max(1);
            tasks.spawn(accept(socket, service, self.proxy.clone(), most, stopped));
        }
        let telling = peers::tellers(&self.config.peers, &self.service);
        for teller in telling {
            tasks.spawn(peers::tell(teller, Arc::clone(&self.service), stopped.clone()));
        }
        let watching = files::watch(self.files, Arc::clone(&self.service), self.config.look_every);
        tokio::select! {
            () = watching => {}
            () = shutdown => {}
        }
        stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
    }
}

fn open(place: &Listen) -> io::Result<Socket> {
    match place {
        Listen::Tcp(address) => bind_tcp(Protocol::Http, address),
        Listen::FastCgi(address) => bind_tcp(Protocol::Questions(Questions::FastCgi), address),
        Listen::Spoe(address) => bind_tcp(Protocol::Questions(Questions::Spoe), address),
        Listen::Proxy(address) => bind_tcp(Protocol::Proxy, address),
        Listen::ProxyTls(address) => bind_tcp(Protocol::ProxyTls, address),
        Listen::Grpc(address) => bind_tcp(Protocol::Questions(Questions::Grpc), address),
        #[cfg(unix)]
        Listen::Unix { path, mode } => {
            use std::os::unix::fs::PermissionsExt as _;
            remove_left_over(path);
            let listener = tokio::net::UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
            Ok(Socket::Unix(listener, path.clone()))
        }
    }
}

fn bind_tcp(protocol: Protocol, address: &SocketAddr) -> io::Result<Socket> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(|listener| Socket::Tcp(protocol, listener))
}

/// Removes a socket that nobody listens on any more.
#[cfg(unix)]
fn remove_left_over(path: &std::path::Path) {
    use std::os::unix::{fs::FileTypeExt as _, net::UnixStream};
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).is_err()
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "a socket that is left over cannot be removed");
    }
}

/// Accepts connections until it is stopped, then waits for those that are open.
async fn accept(
    socket: Socket,
    service: Arc<Service>,
    proxy: Option<Arc<Proxy>>,
    most: usize,
    mut stopped: watch::Receiver<bool>,
) {
    let most = match &socket {
        Socket::Tcp(Protocol::Proxy | Protocol::ProxyTls, _) => proxy::MAX_CONNECTIONS,
        _ => most,
    };
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= most {
            connections.join_next().await;
        }
        let accepted = tokio::select! {
            accepted = accept_one(&socket) => accepted,
            () = stop(&mut stopped) => break,
        };
        let (service, stopped) = (Arc::clone(&service), stopped.clone());
        match accepted {
            Ok(Stream::Tcp(protocol, stream, peer)) => {
                // An answer is small, and the web server waits for it.
                let _ = stream.set_nodelay(true);
                match (protocol, &proxy) {
                    (Protocol::Proxy | Protocol::ProxyTls, Some(proxy)) => {
                        let (proxy, is_tls) = (Arc::clone(proxy), protocol == Protocol::ProxyTls);
                        connections.spawn(proxy::talk(stream, peer.ip(), is_tls, proxy, service, stopped));
                    }
                    (Protocol::Questions(kind), _) => {
                        connections.spawn(ask(kind, stream, Peer::Address(peer.ip()), service, stopped));
                    }
                    (Protocol::Http | Protocol::Proxy | Protocol::ProxyTls, _) => {
                        connections.spawn(talk(stream, Peer::Address(peer.ip()), service, stopped));
                    }
                }
            }
            #[cfg(unix)]
            Ok(Stream::Unix(stream)) => {
                connections.spawn(talk(stream, Peer::Local, service, stopped));
            }
            Err(error) => {
                tracing::warn!(%error, "the gate cannot accept a connection");
                tokio::time::sleep(REFUSAL).await;
            }
        }
    }
    let ended = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if ended.await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    #[cfg(unix)]
    if let Socket::Unix(listener, path) = socket {
        drop(listener);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a socket cannot be removed");
        }
    }
}

/// Waits until the gate stops.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: that is the end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

enum Stream {
    Tcp(Protocol, tokio::net::TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

async fn accept_one(socket: &Socket) -> io::Result<Stream> {
    match socket {
        Socket::Tcp(protocol, listener) => {
            listener.accept().await.map(|(stream, peer)| Stream::Tcp(*protocol, stream, peer))
        }
        #[cfg(unix)]
        Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
    }
}

/// Answers the questions of one connection. A check takes no time, so that none is waited for at the end.
async fn ask(
    kind: Questions,
    stream: tokio::net::TcpStream,
    peer: Peer,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    if !service.gate.with_policy(|policy| peer.is_trusted(&policy.proxies)) {
        tracing::warn!(?peer, ?kind, "a peer that is not in `trusted_proxies` asks the gate");
        return;
    }
    let questions = async {
        match kind {
            Questions::FastCgi => fastcgi::talk(stream, Arc::clone(&service)).await,
            Questions::Spoe => spoe::talk(stream, Arc::clone(&service)).await,
            Questions::Grpc => envoy::talk(stream, Arc::clone(&service)).await,
        }
    };
    let result = tokio::select! {
        result = questions => result,
        () = stop(&mut stopped) => Ok(()),
    };
    if let Err(error) = result {
        service.gate.metrics().count_refused_connection();
        tracing::debug!(%error, "a connection to the gate broke off");
    }
}

/// Answers the requests of one connection.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let answers = service_fn(|request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(answer(request, peer, &service).await.map(Full::new)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), answers);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = stop(&mut stopped) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        service.gate.metrics().count_refused_connection();
        tracing::debug!(%error, "a connection to the gate broke off");
    }
}

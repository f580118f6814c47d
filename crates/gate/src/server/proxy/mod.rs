//! The gate as a reverse proxy: it stands in front of a site, where there is no web server that could ask it.
//!
//! Bodies flow through in both directions and are never held. What goes on is written anew, so that nothing of it can be
//! understood in two ways; what could be is refused.

mod heads;
mod pool;
mod stall;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

pub use self::{pool::Upstream, tls::TlsFiles};
use self::{
    pool::{Failed, Pools},
    stall::{Moving, Unstalled},
    tls::Tls,
};
use super::{MAX_HEAD, MAX_HEADERS, Service, answer, stop};
use crate::{
    address::Peer,
    identity::Identity,
    moment::Moment,
    page,
    visit::{Visit, Way},
};

/// How long the head of a request may take, and how long a connection may rest between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the beginning of TLS may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a visitor may leave a body unfinished, or an answer unread.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the site may take to begin its answer, once it has the whole request.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Connections at one time of one address, or of one network of IPv6.
const MAX_PER_CLIENT: u32 = 256;

/// Connections of visitors at one time.
pub(super) const MAX_CONNECTIONS: usize = 8_192;

/// What is answered: by the gate, or by the site.
type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// What connections to the proxy share.
pub(super) struct Proxy {
    pools: Pools,
    /// Connections of each client.
    clients: Mutex<HashMap<IpAddr, u32>>,
    /// Room for connections that speak something else by now.
    tunnels: Arc<Semaphore>,
    tls: Option<Tls>,
}

impl Proxy {
    /// A proxy for these sites.
    ///
    /// # Errors
    /// What is wrong about them, or about the certificate, in words.
    pub(super) fn new(upstreams: &[Upstream], tls: Option<&TlsFiles>) -> Result<Self, String> {
        Ok(Self {
            pools: Pools::new(upstreams)?,
            tls: tls.cloned().map(Tls::new).transpose()?,
            clients: Mutex::new(HashMap::new()),
            tunnels: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })
    }

    /// Counts a connection of a client. None if it has too many.
    fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = match client.to_canonical() {
            IpAddr::V6(address) => {
                // Who has one address has the whole network.
                IpAddr::from((u128::from(address) & (u128::MAX << 64)).to_be_bytes())
            }
            IpAddr::V4(_) => client.to_canonical(),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        if *count >= MAX_PER_CLIENT {
            return None;
        }
        *count += 1;
        Some(Place { proxy: Arc::clone(self), client })
    }
}

/// A connection that is counted.
struct Place {
    proxy: Arc<Proxy>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.proxy.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// A visitor's connection.
#[derive(Clone)]
struct Visitor {
    peer: IpAddr,
    is_tls: bool,
    /// None for a trusted proxy that has more connections than others may have.
    place: Option<Arc<Place>>,
}

/// Answers the requests of one connection.
pub(super) async fn talk(
    stream: TcpStream,
    peer: IpAddr,
    is_tls: bool,
    proxy: Arc<Proxy>,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let is_proxy = service.gate.with_policy(|policy| Peer::Address(peer).is_trusted(&policy.proxies));
    let place = proxy.enter(peer).map(Arc::new);
    if place.is_none() && !is_proxy {
        service.gate.metrics().count_refused_connection();
        return;
    }
    let visitor = Visitor { peer, is_tls, place };
    let Some(tls) = proxy.tls.as_ref().filter(|_| is_tls) else {
        return serve(stream, visitor, proxy, service, stopped).await;
    };
    let accepting = TlsAcceptor::from(tls.current()).accept(stream);
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepting) => accepted,
        () = stop(&mut stopped) => return,
    };
    if let Ok(Ok(stream)) = accepted {
        serve(stream, visitor, proxy, service, stopped).await;
    } else {
        service.gate.metrics().count_refused_connection();
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    visitor: Visitor,
    proxy: Arc<Proxy>,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let answers = service_fn(|request: Request<Incoming>| {
        let (service, proxy, visitor) = (Arc::clone(&service), Arc::clone(&proxy), visitor.clone());
        async move { Ok::<_, Infallible>(handle(request, &visitor, &proxy, &service).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Unstalled::new(stream, STALL_TIMEOUT)), answers)
        .with_upgrades();
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
        tracing::debug!(%error, "a connection to the proxy broke off");
    }
}

/// Answers a request, or has the site answer it.
async fn handle(request: Request<Incoming>, visitor: &Visitor, proxy: &Proxy, service: &Service) -> Answer {
    let (mut parts, body) = request.into_parts();
    if let Err((status, text)) = heads::check(&mut parts) {
        return own(page::plain(status, text));
    }
    let request = (parts.method.as_str(), parts.uri.path_and_query().map_or("/", |target| target.as_str()));
    let (is_trusted, visit, identity) = service.gate.with_policy(|policy| {
        let peer = Peer::Address(visitor.peer);
        let visit = Visit::read(Way::Own, peer, policy, request, &parts.headers);
        let identity = visit.as_ref().ok().and_then(|visit| policy.host(&visit.host).second.identity.clone());
        (peer.is_trusted(&policy.proxies), visit, identity)
    });
    let visit = match visit {
        Ok(visit) => Visit { is_https: visit.is_https || visitor.is_tls, ..visit },
        Err(untold) => return own(service.gate.untold(untold)),
    };
    if parts.uri.path().starts_with(page::OWN_PATH) {
        let body = answer::read(body, service.gate.max_body()).await;
        return own(answer::own(&visit, body.as_deref(), service).await);
    }
    let start = Instant::now();
    let verdict = service.gate.check(&visit, &*service.decisions, Moment::now(service.start));
    service.gate.metrics().took(start.elapsed());
    if !verdict.passes() {
        let body = answer::read(body, service.gate.max_body()).await;
        return own(answer::refuse(&visit, body.as_deref(), &verdict, service));
    }
    let tunnel = heads::wants_tunnel(&parts).then(|| parts.extensions.get::<OnUpgrade>().cloned()).flatten();
    let (body, whole) = Moving::new(body, STALL_TIMEOUT);
    let mut sent = Request::new(body);
    *sent.method_mut() = parts.method.clone();
    *sent.uri_mut() = parts.uri.clone();
    let told = service.gate.brief(&verdict).into_parts().0.headers;
    let ways = heads::Ways {
        peer: visitor.peer,
        client: visit.address,
        is_trusted,
        is_tls: visitor.is_tls,
        is_tunnel: tunnel.is_some(),
    };
    let identity = match identity.as_deref() {
        Some(Identity::Header(name)) => Some(name),
        _ => None,
    };
    *sent.headers_mut() = heads::to_site(&parts.headers, &told, identity, ways);
    let Some(pool) = proxy.pools.of(&visit.host) else {
        return own(page::plain(StatusCode::NOT_FOUND, "no site has this name here\n"));
    };
    let late = async {
        // Its sender goes when the request is sent; a body may take as long as it moves.
        let _ = whole.await;
        tokio::time::sleep(ANSWER_TIMEOUT).await;
    };
    let answered = tokio::select! {
        answered = pool.send(sent) => answered,
        () = late => return own(service.gate.no_answer(&visit, StatusCode::GATEWAY_TIMEOUT)),
    };
    match answered {
        Ok(response) => match from_site(response, tunnel, visitor, proxy) {
            Some(response) => response,
            None => own(service.gate.no_answer(&visit, StatusCode::BAD_GATEWAY)),
        },
        Err(Failed::Body) => own(page::plain(StatusCode::REQUEST_TIMEOUT, "the body did not arrive\n")),
        Err(Failed::Site) => own(service.gate.no_answer(&visit, StatusCode::BAD_GATEWAY)),
    }
}

fn own(response: Response<Bytes>) -> Answer {
    response.map(|body| Either::Left(Full::new(body)))
}

/// The answer of the site, as it goes to the visitor. None if it changes the protocol although nobody asked for that.
fn from_site(
    mut response: Response<Incoming>,
    tunnel: Option<OnUpgrade>,
    visitor: &Visitor,
    proxy: &Proxy,
) -> Option<Answer> {
    let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_tunnel {
        let room = Arc::clone(&proxy.tunnels).try_acquire_owned().ok()?;
        let (ours, theirs) = (tunnel?, hyper::upgrade::on(&mut response));
        let place = visitor.place.clone();
        tokio::spawn(async move {
            if let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) {
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                if let Err(error) = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await {
                    tracing::debug!(%error, "a tunnel broke off");
                }
            }
            drop((room, place));
        });
    }
    heads::from_site(response.headers_mut(), is_tunnel);
    Some(response.map(Either::Right))
}

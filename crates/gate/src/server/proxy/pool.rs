//! The sites behind the proxy, and connections to them that are kept.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::{
    Method, Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    super::{MAX_HEAD, MAX_HEADERS},
    stall::{Moving, Unstalled},
};
use crate::policy::host_name;

/// How long a connection to a site may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a site may leave a request unread.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a connection is kept that nobody needs, and how many of them.
const IDLE: Duration = Duration::from_secs(30);
const MAX_IDLE: usize = 128;

/// How long a site that could not be reached is asked after the others.
const DOWN: Duration = Duration::from_secs(5);

/// Where requests for some names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The names of hosts: `example.org`, `*.example.org`, or `*` for all others.
    pub names: Vec<String>,
    /// Servers that answer for them, with a port: `127.0.0.1:8080`. They take turns; one that cannot be reached is passed over.
    pub to: Vec<String>,
}

/// Why there is no answer of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The visitor did not send all of its body.
    Body,
    /// The site cannot be reached, or breaks off.
    Site,
}

/// All sites by the names of their hosts.
pub(super) struct Pools {
    exact: HashMap<String, Arc<Pool>>,
    /// By endings such as `.example.org`, the longest first.
    endings: Vec<(String, Arc<Pool>)>,
    other: Option<Arc<Pool>>,
}

impl Pools {
    /// The sites as they are configured; or what is wrong, in words.
    pub(super) fn new(upstreams: &[Upstream]) -> Result<Self, String> {
        let mut pools = Self { exact: HashMap::new(), endings: Vec::new(), other: None };
        for upstream in upstreams {
            if upstream.to.is_empty() || upstream.names.is_empty() {
                return Err("each upstream needs `names` and `to`".to_owned());
            }
            for place in &upstream.to {
                let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                if port.is_none_or(|port| port == 0) || place.contains('/') {
                    return Err(format!("{place:?} is no server with a port, such as 127.0.0.1:8080"));
                }
            }
            let sites = upstream.to.iter().map(|place| Arc::new(Site::new(place.clone()))).collect();
            let pool = Arc::new(Pool { sites, next: AtomicUsize::new(0) });
            for name in &upstream.names {
                let is_new = if name == "*" {
                    pools.other.replace(Arc::clone(&pool)).is_none()
                } else if let Some(ending) = name.strip_prefix('*').filter(|ending| ending.starts_with('.')) {
                    let ending = host_name(ending);
                    let is_new = !pools.endings.iter().any(|(other, _)| *other == ending);
                    pools.endings.push((ending, Arc::clone(&pool)));
                    is_new
                } else if name.is_empty() || name.contains(['*', '/', ' ']) {
                    return Err(format!(
                        "{name:?} is no name of a host: write `example.org`, `*.example.org` or `*`"
                    ));
                } else {
                    pools.exact.insert(host_name(name), Arc::clone(&pool)).is_none()
                };
                if !is_new {
                    return Err(format!("{name:?} is there twice"));
                }
            }
        }
        pools.endings.sort_by_key(|(ending, _)| std::cmp::Reverse(ending.len()));
        if upstreams.is_empty() { Err("nothing says where requests go".to_owned()) } else { Ok(pools) }
    }

    /// The site for a host, by its name in lower case and without a port. None for one that nobody named.
    pub(super) fn of(&self, name: &str) -> Option<&Arc<Pool>> {
        let by_ending =
            || self.endings.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, pool)| pool);
        self.exact.get(name).or_else(by_ending).or(self.other.as_ref())
    }
}

/// The servers of one site.
pub(super) struct Pool {
    sites: Vec<Arc<Site>>,
    next: AtomicUsize,
}

impl Pool {
    /// Has one of the servers answer. The next one is asked if a server cannot be reached.
    pub(super) async fn send(&self, mut request: Request<Moving>) -> Result<Response<Incoming>, Failed> {
        let first = self.next.fetch_add(1, Relaxed);
        let count = self.sites.len();
        let mut order: Vec<&Arc<Site>> =
            (0..count).map(|at| &self.sites[first.wrapping_add(at) % count]).collect();
        order.sort_by_key(|site| site.is_down());
        let mut is_repeated = false;
        for site in order {
            request = match site.send(request, &mut is_repeated).await? {
                Sent::Answered(response) => return Ok(response),
                Sent::Not(request) => request,
            };
        }
        Err(Failed::Site)
    }
}

/// What became of a request.
enum Sent {
    Answered(Response<Incoming>),
    /// Nothing of it reached the server.
    Not(Request<Moving>),
}

/// One server.
struct Site {
    place: String,
    idle: Mutex<Vec<(SendRequest<Moving>, Instant)>>,
    down_until: Mutex<Option<Instant>>,
    /// That it is down was told.
    is_told: AtomicBool,
}

impl Site {
    fn new(place: String) -> Self {
        Self {
            place,
            idle: Mutex::new(Vec::new()),
            down_until: Mutex::new(None),
            is_told: AtomicBool::new(false),
        }
    }

    fn is_down(&self) -> bool {
        let until = self.down_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > Instant::now())
    }

    /// Has this server answer. `is_repeated` says whether a server got the request already, and did not answer.
    async fn send(
        self: &Arc<Self>,
        mut request: Request<Moving>,
        is_repeated: &mut bool,
    ) -> Result<Sent, Failed> {
        // The server may close a connection that was kept at the very moment. What has no effect is asked once more then, by
        // a new connection: where it is the request that breaks them, it would go through all that are kept.
        while !*is_repeated && let Some(sender) = self.take() {
            let again = repeatable(&request);
            request = match self.send_by(sender, request).await {
                Ok(Sent::Answered(response)) => return Ok(Sent::Answered(response)),
                Ok(Sent::Not(request)) => request,
                Err(Failed::Site) => {
                    *is_repeated = true;
                    again.ok_or(Failed::Site)?
                }
                Err(failed) => return Err(failed),
            };
        }
        match self.connect().await {
            Ok(sender) => {
                *self.down_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.is_told.store(false, Relaxed);
                match self.send_by(sender, request).await? {
                    Sent::Not(_) => Err(Failed::Site),
                    sent @ Sent::Answered(_) => Ok(sent),
                }
            }
            Err(error) => {
                *self.down_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + DOWN);
                if !self.is_told.swap(true, Relaxed) {
                    tracing::warn!(server = %self.place, %error, "a server behind the gate cannot be reached");
                }
                Ok(Sent::Not(request))
            }
        }
    }

    async fn send_by(
        self: &Arc<Self>,
        mut sender: SendRequest<Moving>,
        request: Request<Moving>,
    ) -> Result<Sent, Failed> {
        match sender.try_send_request(request).await {
            Ok(response) => {
                self.keep(sender);
                Ok(Sent::Answered(response))
            }
            Err(mut error) => match error.take_message() {
                Some(request) => Ok(Sent::Not(request)),
                None => {
                    let error = error.into_error();
                    tracing::debug!(server = %self.place, %error, "a request broke off");
                    Err(if error.is_user() { Failed::Body } else { Failed::Site })
                }
            },
        }
    }

    /// A connection that is kept, and still open.
    fn take(&self) -> Option<SendRequest<Moving>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = idle.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection for others, once its answer is over.
    fn keep(self: &Arc<Self>, mut sender: SendRequest<Moving>) {
        let site = Arc::clone(self);
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = site.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
                if idle.len() < MAX_IDLE {
                    idle.push((sender, Instant::now()));
                }
            }
        });
    }

    async fn connect(&self) -> io::Result<SendRequest<Moving>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within five seconds");
        let connecting = TcpStream::connect(self.place.as_str());
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)??;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(Unstalled::new(stream, STALL_TIMEOUT)))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a server behind the gate broke off");
            }
        });
        Ok(sender)
    }
}

/// The same request once more, if it has no effect and no body.
fn repeatable(request: &Request<Moving>) -> Option<Request<Moving>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Moving::nothing());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(names: &[&str], to: &[&str]) -> Upstream {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Upstream { names: texts(names), to: texts(to) }
    }

    #[test]
    fn names() {
        let pools = Pools::new(&[
            upstream(&["example.org"], &["127.0.0.1:1"]),
            upstream(&["*.example.org"], &["127.0.0.1:2"]),
            upstream(&["*"], &["127.0.0.1:3", "[::1]:4"]),
        ])
        .expect("sites");
        let place = |name: &str| pools.of(name).map(|pool| pool.sites[0].place.clone());
        assert_eq!(place("example.org").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(place("a.example.org").as_deref(), Some("127.0.0.1:2"));
        assert_eq!(place("evilexample.org").as_deref(), Some("127.0.0.1:3"));
        let few = Pools::new(&[upstream(&["example.org"], &["localhost:1"])]).expect("sites");
        assert!(few.of("other.org").is_none());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |upstreams: &[Upstream]| Pools::new(upstreams).err().expect("a mistake");
        assert!(wrong(&[]).contains("where requests go"));
        assert!(wrong(&[upstream(&["*"], &[])]).contains("needs"));
        for place in ["127.0.0.1", "http://127.0.0.1:80", "a:0", "a:x"] {
            assert!(wrong(&[upstream(&["*"], &[place])]).contains("with a port"), "{place}");
        }
        assert!(wrong(&[upstream(&["a*"], &["a:1"])]).contains("no name"));
        assert!(wrong(&[upstream(&["*", "*"], &["a:1"])]).contains("twice"));
    }
}

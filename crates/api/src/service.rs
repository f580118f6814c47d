//! What answers need, and the way of a request to its answer.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, EXPECT, EXPIRES, HeaderName, HeaderValue, LOCATION, PRAGMA, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use testudo_decide::Profiles;
use testudo_event::Timestamp;
use testudo_expr::host::Listings;
use testudo_store::{LabelTexts, Store, StoreError};
use testudo_wire::{answer::HEALTH, decision::Fragment};
use tokio::sync::Semaphore;

use crate::access::Access as AccessLine;
use crate::address;
use crate::answer::{self, Answer, AnswerBody, Answered, Refusal};
use crate::body;
use crate::config::{Config, ConfigError};
use crate::counts::{Counted, Counts};
use crate::dead::DeadLetters;
use crate::durations::{Clocked, Durations};
use crate::encoding::Encoding;
use crate::events::Hub;
use crate::handlers;
use crate::keys;
use crate::machines;
use crate::operations::{Access, Operation};
use crate::passwords::hash_password;
use crate::protected::Protected;
use crate::query::Query;
use crate::rendered::Renderings;
use crate::request::{Ask, Origin};
use crate::routes::Route;

/// The name under which the store keeps the secret of tokens.
const SECRET_ITEM: &str = "lapi_token_secret";

/// The target of the access log, for those who want it elsewhere.
const ACCESS_LOG: &str = "testudo_api::access";

/// Bytes of a secret that is made here.
const SECRET_BYTES: usize = 64;

/// Passwords that are checked at the same time: each takes 19 MiB and tens of milliseconds, and who sends
/// them is not known yet.
const LOGINS_AT_ONCE: usize = 4;
/// How often the database is asked for keys that are not known, in milliseconds: as often as others are followed.
const LOOK_AGAIN_MS: u64 = 200;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_mins(5);

/// How the user agents of our own programs begin.
pub(crate) const OUR_AGENTS: &str = "testudo/";

/// Tells the time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The clock of the system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// The bytes that the store has to keep with each kind of decision, see
/// [`StoreOptions::prepare`](testudo_store::StoreOptions::prepare): every answer is written with them.
pub fn prepare_label(label: &LabelTexts<'_>) -> Box<[u8]> {
    Fragment::new(label.origin, label.scenario, label.scope, label.kind).bytes().into()
}

/// Why the API cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not allow it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The secret of tokens cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// Everything that answers need. One is shared by all listeners.
pub struct Service {
    store: Arc<Store>,
    config: Config,
    profiles: RwLock<Arc<Profiles>>,
    listings: OnceLock<Arc<dyn Listings>>,
    secret: Vec<u8>,
    clock: Clock,
    logins: Semaphore,
    /// When the database was last asked for a key that is not known, in milliseconds since 1970.
    looked_again: AtomicI64,
    counts: Counts,
    clocked: Clocked,
    protected: RwLock<Arc<Protected>>,
    dead_letters: DeadLetters,
    events: Hub,
    renderings: Renderings,
    /// A hash that no password has, for machines that do not exist: they are refused as slowly as others.
    no_password: OnceLock<String>,
}

/// Who asks.
pub(crate) enum Caller {
    Anyone,
    Machine(String),
    /// A bouncer by its name; empty where nobody needs it.
    Bouncer(String),
}

impl Caller {
    /// The name of the machine; empty for others, which the table of routes keeps out.
    pub(crate) fn machine(&self) -> &str {
        if let Caller::Machine(name) = self { name } else { "" }
    }

    /// The name of the bouncer.
    pub(crate) fn bouncer(&self) -> &str {
        if let Caller::Bouncer(name) = self { name } else { "" }
    }
}

impl Service {
    /// A service over a store that was opened with [`prepare_label`]. The secret of tokens is made at the
    /// first start, and kept in the store.
    ///
    /// # Errors
    /// The configuration contradicts itself, or the database fails.
    pub fn new(
        store: Arc<Store>,
        config: Config,
        profiles: Profiles,
        clock: Clock,
    ) -> Result<Arc<Service>, StartError> {
        config.check()?;
        let secret = match &config.token_secret {
            Some(secret) => secret.clone(),
            None => kept_secret(&store, clock())?,
        };
        let dead_letters = DeadLetters::new(config.dead_letters.clone());
        Ok(Arc::new(Service {
            store,
            config,
            profiles: RwLock::new(Arc::new(profiles)),
            listings: OnceLock::new(),
            secret,
            clock,
            logins: Semaphore::new(LOGINS_AT_ONCE),
            looked_again: AtomicI64::new(i64::MIN),
            counts: Counts::default(),
            clocked: Clocked::default(),
            protected: RwLock::default(),
            dead_letters,
            events: Hub::default(),
            renderings: Renderings::default(),
            no_password: OnceLock::new(),
        }))
    }

    /// What the API knows.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Lets profiles ask who is listed. Once: later calls change nothing.
    pub fn set_listings(&self, listings: Arc<dyn Listings>) {
        let _ = self.listings.set(listings);
    }

    pub(crate) fn listings(&self) -> Option<&dyn Listings> {
        self.listings.get().map(|listings| &**listings)
    }

    /// Takes other profiles from now on.
    pub fn set_profiles(&self, profiles: Profiles) {
        *self.profiles.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(profiles);
    }

    /// How often what was asked since the start, in order.
    pub fn counts(&self) -> Vec<(Counted, u64)> {
        self.counts.list()
    }

    /// How long requests took since the start, in order.
    pub fn durations(&self) -> Vec<Durations> {
        self.clocked.list()
    }

    /// How many alerts could not be stored since the start.
    pub fn dead_letter_count(&self) -> u64 {
        self.dead_letters.count()
    }

    /// Whether it is worth a look into the database who a client is that nobody knows: a command may have added
    /// it a moment ago, and clients give up when they are refused. Guesses of keys get few looks.
    pub(crate) fn may_look_again(&self, now_ms: i64) -> bool {
        let last = self.looked_again.load(Ordering::Relaxed);
        now_ms.abs_diff(last) >= LOOK_AGAIN_MS
            && self.looked_again.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The present, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    pub(crate) fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    pub(crate) fn events(&self) -> &Hub {
        &self.events
    }

    pub(crate) fn renderings(&self) -> &Renderings {
        &self.renderings
    }

    pub(crate) fn protected(&self) -> Arc<Protected> {
        Arc::clone(&self.protected.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other protected addresses; returns those before.
    pub(crate) fn swap_protected(&self, protected: Protected) -> Arc<Protected> {
        let mut kept = self.protected.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, Arc::new(protected))
    }

    pub(crate) fn count(&self, what: Counted) {
        self.counts.add(what);
    }

    pub(crate) fn profiles(&self) -> Arc<Profiles> {
        Arc::clone(&self.profiles.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    pub(crate) fn no_password(&self) -> &str {
        self.no_password.get_or_init(|| hash_password("").unwrap_or_default())
    }

    /// Answers a request.
    pub async fn answer<B>(self: &Arc<Self>, request: Request<B>, origin: Origin) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, mut body) = request.into_parts();
        let begun = Instant::now();
        let client = address::client(origin.peer, &parts.headers, self.config.trusted_proxies.as_deref());
        let access = tracing::enabled!(target: ACCESS_LOG, tracing::Level::INFO).then(|| {
            let agent = header(&parts, &USER_AGENT);
            let time = Timestamp::from_unix((self.clock)().div_euclid(1000), 0);
            AccessLine::new(client, time, parts.method.clone(), parts.uri.clone(), parts.version, agent)
        });
        let route = Route::find(parts.uri.path()).map(|(route, _)| route);
        let method = parts.method.clone();
        let is_waiting = parts.headers.contains_key(EXPECT);
        let answer = self.answer_parts(parts, &mut body, client, &origin).await;
        if !is_waiting {
            body::drain(&mut body).await;
        }
        if route != Some(Route::Health) {
            self.clocked.add(route, &method, begun.elapsed());
        }
        if let Some(access) = access {
            tracing::info!(target: ACCESS_LOG, "{}", access.line(answer.status(), begun.elapsed()));
        }
        answer
    }

    async fn answer_parts<B>(
        self: &Arc<Self>,
        parts: Parts,
        body: &mut B,
        client: IpAddr,
        origin: &Origin,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let found = Route::find(parts.uri.path());
        let asked = found.as_ref().map(|(route, _)| *route);
        if asked != Some(Route::Health) {
            self.counts.add_request(asked, &parts.method);
        }
        let Some((route, parameter)) = found else {
            return redirected(&parts).unwrap_or_else(|| answer::empty(StatusCode::NOT_FOUND));
        };
        let Some(operation) = Operation::find(route, &parts.method) else {
            return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        };
        if route == Route::Health {
            return health();
        }
        let is_head = parts.method == Method::HEAD;
        let encoding = Encoding::of(&parts.headers, &self.config.compress_for).filter(|_| !is_head);
        let answered = self.answer_operation(operation, parameter, parts, body, client, origin).await;
        let answer = answered.unwrap_or_else(Refusal::into_answer);
        match encoding {
            Some(encoding) => encoding.apply(answer),
            None => answer,
        }
    }

    async fn answer_operation<B>(
        self: &Arc<Self>,
        operation: &Operation,
        parameter: String,
        parts: Parts,
        body: &mut B,
        client: IpAddr,
        origin: &Origin,
    ) -> Answered
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut ask = Ask {
            parameter,
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            client,
            certificate: origin.certificate.clone(),
            now_ms: (self.clock)(),
            method: parts.method,
            headers: parts.headers,
            body: Bytes::new(),
        };
        let Operation { route, access, limit, is_quick, .. } = *operation;
        let caller = self.let_in(access, &ask).await?;
        self.counts.add_caller(&caller, route, &ask.method);
        if let Some(limit) = limit {
            let read = tokio::time::timeout(BODY_TIMEOUT, body::read(body, &ask.headers, limit)).await;
            let read = read.unwrap_or(Err(body::ReadError::Slow));
            ask.body = read.map_err(|error| match route {
                Route::Login => Refusal::unauthorized(error.to_string()),
                _ => Refusal::bad(error.to_string()),
            })?;
        }
        if is_quick {
            return handlers::handle(self, route, &caller, &ask);
        }
        let is_login = matches!(route, Route::Login | Route::Watchers);
        let _permit = if is_login { self.logins.acquire().await.ok() } else { None };
        let service = Arc::clone(self);
        self.wait(move || handlers::handle(&service, route, &caller, &ask)).await
    }

    async fn let_in(self: &Arc<Self>, access: Access, ask: &Ask) -> Result<Caller, Refusal> {
        let access = match access {
            Access::Either => keys::either(ask),
            access => access,
        };
        match access {
            Access::Anyone => Ok(Caller::Anyone),
            Access::Machine => machines::authenticate(self, ask).map(Caller::Machine),
            Access::TrustedMachine => {
                let name = machines::authenticate(self, ask)?;
                machines::trusted(self, ask)?;
                Ok(Caller::Machine(name))
            }
            Access::Bouncer | Access::Either => {
                if let Some(name) = keys::known(self, ask)? {
                    return Ok(Caller::Bouncer(name));
                }
                // The first contact is stored.
                let (service, ask) = (Arc::clone(self), ask.clone());
                self.wait(move || keys::admit(&service, &ask)).await.map(Caller::Bouncer)
            }
        }
    }

    /// Runs what waits for the database where waiting is allowed.
    async fn wait<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
    {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request failed");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
        })
    }
}

/// A header's text; empty when there is none.
fn header<'p>(parts: &'p Parts, name: &HeaderName) -> &'p str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn kept_secret(store: &Store, now_ms: i64) -> Result<Vec<u8>, StartError> {
    let mut fresh = [0; SECRET_BYTES];
    getrandom::fill(&mut fresh).map_err(|_| StartError::Random)?;
    let text = keys::encode(&fresh);
    Ok(store.config_item_or(SECRET_ITEM, &text, now_ms)?.into_bytes())
}

fn health() -> Answer {
    let mut answer = answer::json_text(StatusCode::OK, HEALTH);
    for (name, value) in
        [(CACHE_CONTROL, "no-cache"), (PRAGMA, "no-cache"), (EXPIRES, "Thu, 01 Jan 1970 00:00:00 GMT")]
    {
        answer = answer::with_header(answer, name, value);
    }
    answer
}

/// A path with a slash too many leads to the one without.
fn redirected(parts: &Parts) -> Option<Answer> {
    let path = parts.uri.path();
    let shorter = path.strip_suffix('/')?;
    let (route, _) = Route::find(shorter)?;
    Operation::find(route, &parts.method)?;
    let target = match parts.uri.query() {
        Some(query) => format!("{shorter}?{query}"),
        None => shorter.to_owned(),
    };
    let is_get = parts.method == Method::GET;
    let status = if is_get { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
    let mut answer = answer::empty(status);
    answer.headers_mut().insert(LOCATION, HeaderValue::from_str(&target).ok()?);
    Some(answer)
}

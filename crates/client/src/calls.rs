//! The calls of the API.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use hyper::header::HeaderValue;
use serde::de::DeserializeOwned;
use testudo_event::Alert as Record;
use testudo_event::text::url_part;
use testudo_wire::allowlist::{Allowlist, BulkCheck, BulkCheckAnswer, BulkCheckResult, CheckAnswer};
use testudo_wire::body::{self, BodyError};
use testudo_wire::metrics::UsageMetrics;
use testudo_wire::stream::{Reader, Side, StreamBody};
use testudo_wire::watcher::Registration;
use testudo_wire::{Alert, Decision, DecisionRef, Deleted, PostedAlert};

use crate::connect::Connector;
use crate::error::{ClientError, SettingsError};
use crate::events::{EVENT_STREAM, Listener};
use crate::exchange::{Answer, Call, Exchange, STREAM_MOST};
use crate::session::{Session, written};
use crate::settings::{Login, Settings};

/// Smaller bodies are sent as they are.
const COMPRESS_LEAST: usize = 5 << 10;

/// Whether the server reads compressed bodies: not known yet, yes, no.
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The machine may log in.
    Validated,
    /// Somebody has to validate it there first.
    Pending,
}

/// A client of one API. To be used within a runtime of tokio; calls may be made at the same time.
pub struct Client {
    session: Session,
    reads_gzip: AtomicU8,
}

impl Client {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// The address is none, a file of a certificate cannot be used, or a text cannot stand in a header.
    pub fn new(settings: Settings) -> Result<Client, SettingsError> {
        let agent = HeaderValue::from_str(&settings.user_agent);
        let agent = agent.map_err(|_| SettingsError::Header("user agent"))?;
        if let Login::Key(key) = &settings.login {
            HeaderValue::from_str(key).map_err(|_| SettingsError::Header("key"))?;
        }
        let connector = Connector::new(&settings)?;
        let exchange = Exchange { connector, agent, timeouts: settings.timeouts };
        let session = Session::new(exchange, settings.login, settings.retries);
        Ok(Client { session, reads_gzip: AtomicU8::new(UNKNOWN) })
    }

    /// Where the API is, as messages show it.
    pub fn address(&self) -> &str {
        &self.session.exchange.connector.address.shown
    }

    /// Whether the API is up: it answers without being asked by anyone in particular.
    ///
    /// # Errors
    /// It cannot be reached, or is none.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.session.as_nobody(&Call::get("health")).await.map(drop)
    }

    /// A page that is no part of the API, such as metrics, as text.
    ///
    /// # Errors
    /// As every call.
    pub async fn page(&self, path: &str) -> Result<String, ClientError> {
        let answer = self.session.as_nobody(&Call::get(path)).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Logs in now. Calls of machines do it by themselves when they have to.
    ///
    /// # Errors
    /// As every call.
    pub async fn login(&self) -> Result<(), ClientError> {
        self.session.login().await
    }

    /// Tells the scenarios that the machine runs, at the login of the next call.
    pub async fn set_scenarios(&self, scenarios: Vec<String>) {
        self.session.set_scenarios(scenarios).await;
    }

    /// Makes a machine known.
    ///
    /// # Errors
    /// The name is taken, registration is not allowed from here, or as every call.
    pub async fn register(&self, registration: &Registration) -> Result<Registered, ClientError> {
        let call = Call::new(Method::POST, "v1/watchers").with_body(written(registration)?);
        let answer = self.session.as_nobody(&call).await?;
        Ok(if answer.status.as_u16() == 202 { Registered::Validated } else { Registered::Pending })
    }

    /// Removes the own machine from the API.
    ///
    /// # Errors
    /// As every call; servers before 1.7.0 do not know it.
    pub async fn unregister(&self) -> Result<(), ClientError> {
        self.session.as_machine(&Call::new(Method::DELETE, "v1/watchers/self")).await.map(drop)
    }

    /// Says that the machine is alive.
    ///
    /// # Errors
    /// As every call.
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        self.session.as_machine(&Call::get("v1/heartbeat")).await.map(drop)
    }

    /// Sends alerts with their decisions; returns the numbers that they were given.
    ///
    /// # Errors
    /// As every call.
    pub async fn post_alerts(&self, alerts: &[Record]) -> Result<Vec<String>, ClientError> {
        let posted: Vec<PostedAlert> = alerts.iter().map(PostedAlert::from).collect();
        self.post(&posted).await
    }

    /// Sends alerts as they are posted; returns the numbers that they were given.
    ///
    /// # Errors
    /// As every call.
    pub async fn post(&self, alerts: &[PostedAlert]) -> Result<Vec<String>, ClientError> {
        let call = Call::new(Method::POST, "v1/alerts").with_body(written(alerts)?);
        self.read(&call, self.as_small(&call).await?)
    }

    /// Sends a report of usage metrics: of a bouncer with a key, of a machine otherwise.
    ///
    /// # Errors
    /// As every call; servers before 1.6.3 do not know it.
    pub async fn usage_metrics(&self, report: &UsageMetrics) -> Result<(), ClientError> {
        let call = Call::new(Method::POST, "v1/usage-metrics").with_body(written(report)?);
        match &self.session.login {
            Login::Key(_) => self.session.as_bouncer(&call).await.map(drop),
            _ => self.as_small(&call).await.map(drop),
        }
    }

    /// The alerts that a query asks for, such as `has_active_decision=true&limit=100`: see [`query`].
    ///
    /// # Errors
    /// As every call.
    pub async fn alerts(&self, query: &str) -> Result<Vec<Alert>, ClientError> {
        self.machine(&Call::get(with_query("v1/alerts", query))).await
    }

    /// An alert by its number.
    ///
    /// # Errors
    /// As every call; 404 when there is none.
    pub async fn alert(&self, id: i64) -> Result<Alert, ClientError> {
        self.machine(&Call::get(format!("v1/alerts/{id}"))).await
    }

    /// Deletes the alerts that a query asks for, all of them when it is empty; returns how many.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_alerts(&self, query: &str) -> Result<u64, ClientError> {
        self.delete(with_query("v1/alerts", query)).await
    }

    /// Deletes an alert by its number; returns how many there were.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_alert(&self, id: i64) -> Result<u64, ClientError> {
        self.delete(format!("v1/alerts/{id}")).await
    }

    /// Ends the decisions that a query asks for, all of them when it is empty; returns how many.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_decisions(&self, query: &str) -> Result<u64, ClientError> {
        self.delete(with_query("v1/decisions", query)).await
    }

    /// Ends a decision by its number; returns how many there were.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_decision(&self, id: i64) -> Result<u64, ClientError> {
        self.delete(format!("v1/decisions/{id}")).await
    }

    /// All allowlists, with their items if they are wanted.
    ///
    /// # Errors
    /// As every call; servers before 1.6.6 have none.
    pub async fn allowlists(&self, with_content: bool) -> Result<Vec<Allowlist>, ClientError> {
        let query = if with_content { "with_content=true" } else { "" };
        self.machine(&Call::get(with_query("v1/allowlists", query))).await
    }

    /// An allowlist with its items.
    ///
    /// # Errors
    /// As every call.
    pub async fn allowlist(&self, name: &str) -> Result<Allowlist, ClientError> {
        let path = format!("v1/allowlists/{}?with_content=true", url_part(name));
        self.machine(&Call::get(path)).await
    }

    /// Whether an address or range is allowed, and by what.
    ///
    /// # Errors
    /// As every call.
    pub async fn check_allowlists(&self, value: &str) -> Result<CheckAnswer, ClientError> {
        self.machine(&Call::get(format!("v1/allowlists/check/{}", url_part(value)))).await
    }

    /// Those of many addresses and ranges that are allowed.
    ///
    /// # Errors
    /// As every call; servers before 1.7.0 do not know it.
    pub async fn check_many_allowlists(
        &self,
        targets: &[String],
    ) -> Result<Vec<BulkCheckResult>, ClientError> {
        let asked = BulkCheck { targets: targets.to_vec() };
        let call = Call::new(Method::POST, "v1/allowlists/check").with_body(written(&asked)?);
        self.machine::<BulkCheckAnswer>(&call).await.map(|answer| answer.results)
    }

    /// What is new for a bouncer, or everything at its start.
    ///
    /// # Errors
    /// As every call. An answer that breaks off is an error.
    pub async fn stream(&self, startup: bool, query: &str) -> Result<StreamBody, ClientError> {
        self.bouncer(stream_path(startup, query)).await
    }

    /// As [`Client::stream`], without holding the answer: decisions are told as they come. What was told counts for
    /// nothing unless the end is good.
    ///
    /// # Errors
    /// As [`Client::stream`].
    pub async fn stream_each(
        &self,
        startup: bool,
        query: &str,
        mut take: impl FnMut(Side, &DecisionRef<'_>),
    ) -> Result<(), ClientError> {
        let call = Call { limit: STREAM_MOST, ..Call::get(stream_path(startup, query)) };
        let exchange = &self.session.exchange;
        let (_sender, response) = exchange.open(&call, &self.session.of_bouncer()?).await?;
        if !response.status().is_success() {
            let answer = exchange.read(response, STREAM_MOST).await?;
            return answer.good().map(drop);
        }
        let mut reader = Reader::default();
        let unreadable = |error: BodyError| self.unreadable(&call, error.to_string());
        exchange
            .read_pieces(response, STREAM_MOST, |piece| reader.feed(piece, &mut take).map_err(unreadable))
            .await?;
        reader.finish(&mut take).map_err(unreadable)
    }

    /// Listens to what changes of what a bouncer asks for, on from where another listener came to.
    ///
    /// # Errors
    /// As every call; other servers do not know it, and answer with 404.
    pub async fn listen(&self, query: &str, cursor: Option<&str>) -> Result<Listener, ClientError> {
        let path = with_query("v1/decisions/events", query);
        let cursor = cursor.map(str::to_owned);
        let call = Call { accept: EVENT_STREAM, last_event: cursor.clone(), ..Call::get(path) };
        Listener::open(&self.session.exchange, &call, &self.session.of_bouncer()?, cursor).await
    }

    /// The decisions in force that a bouncer asks for.
    ///
    /// # Errors
    /// As every call.
    pub async fn decisions(&self, query: &str) -> Result<Vec<Decision>, ClientError> {
        self.bouncer(with_query("v1/decisions", query)).await
    }

    async fn bouncer<T: DeserializeOwned + Default>(&self, path: String) -> Result<T, ClientError> {
        let call = Call { limit: STREAM_MOST, ..Call::get(path) };
        self.read(&call, self.session.as_bouncer(&call).await?)
    }

    async fn machine<T: DeserializeOwned + Default>(&self, call: &Call) -> Result<T, ClientError> {
        self.read(call, self.session.as_machine(call).await?)
    }

    async fn delete(&self, path: String) -> Result<u64, ClientError> {
        let call = Call::new(Method::DELETE, path);
        let deleted: Deleted = self.machine(&call).await?;
        deleted.count.parse().map_err(|_| self.unreadable(&call, "the count is no number".to_owned()))
    }

    fn read<T: DeserializeOwned + Default>(&self, call: &Call, answer: Answer) -> Result<T, ClientError> {
        body::read(&answer.body).map_err(|error| self.unreadable(call, error.to_string()))
    }

    fn unreadable(&self, call: &Call, problem: String) -> ClientError {
        ClientError::Unreadable { address: self.address().to_owned(), call: call.shown(), problem }
    }

    /// Sends a call as a machine, compressed if it is worth it and the server is known to understand.
    async fn as_small(&self, call: &Call) -> Result<Answer, ClientError> {
        if call.body.len() < COMPRESS_LEAST || !self.reads_gzip().await {
            return self.session.as_machine(call).await;
        }
        let Some(small) = compressed(&call.body) else { return self.session.as_machine(call).await };
        let answer = self.session.as_machine(&Call { body: small, gzip: true, ..call.clone() }).await;
        match answer {
            // It may have been replaced by an older one, or something on the way does not understand.
            Err(ClientError::Answered { status: 400 | 415, .. }) => {
                let answer = self.session.as_machine(call).await;
                if answer.is_ok() {
                    self.reads_gzip.store(NO, Ordering::Relaxed);
                }
                answer
            }
            answer => answer,
        }
    }

    /// Whether the server understands compressed bodies. Servers do not tell, but those that know this call
    /// do: both came with the same version.
    async fn reads_gzip(&self) -> bool {
        if self.reads_gzip.load(Ordering::Relaxed) == UNKNOWN {
            let answer = match self.check_many_allowlists(&["192.0.2.1".to_owned()]).await {
                Ok(_) => YES,
                Err(error) if error.status().is_some() => NO,
                Err(_) => return false,
            };
            self.reads_gzip.store(answer, Ordering::Relaxed);
        }
        self.reads_gzip.load(Ordering::Relaxed) == YES
    }
}

fn compressed(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn stream_path(startup: bool, query: &str) -> String {
    let mut path = with_query("v1/decisions/stream", query);
    path.push(if query.is_empty() { '?' } else { '&' });
    // Writing to a text cannot fail.
    let _ = write!(path, "startup={startup}");
    path
}

/// The query of these names and values, escaped; those without a value are left out.
pub fn query<'q>(pairs: impl IntoIterator<Item = (&'q str, &'q str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(&url_part(value));
    }
    out
}

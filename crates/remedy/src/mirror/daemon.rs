//! The mirror at work: news of the API, and those who fetch.

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use testudo_client::{Client, SettingsError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, interval_at};

use super::book::{Refused, Told};
use super::config::MirrorConfig;
use super::server::{Link, Service, serve};
use super::tls::{Tls, TlsError};
use crate::batch::Collect as _;
use crate::clock::now_ms;
use crate::follow::{News, follow};
use crate::report::{REPORT_EVERY, Reporter, item};

/// Refusals that one answer of the API is worth in the log.
const REFUSALS_TOLD: u64 = 5;

/// News that may wait.
const NEWS_MOST: usize = 16;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks at the certificate.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Why there is no mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The client cannot be made.
    #[error("crowdsec_config.lapi_url: {0}")]
    Client(#[from] SettingsError),
    /// It cannot listen.
    #[error("listen_uri: {0}")]
    Listen(#[from] std::io::Error),
    /// There is no TLS.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
}

/// Serves lists until `shutdown`.
///
/// # Errors
/// It cannot begin.
pub async fn run(config: MirrorConfig, shutdown: impl Future<Output = ()>) -> Result<(), MirrorError> {
    let client = Arc::new(Client::new(config.client.clone())?);
    let tls = match &config.tls {
        Some((certificate, key)) => Some(Arc::new(Tls::new(certificate.clone(), key.clone())?)),
        None => None,
    };
    let listener = TcpListener::bind(config.listen).await?;
    tracing::info!(listen = %config.listen, lists = config.lists.len(), tls = tls.is_some(), "the mirror serves");
    crate::ready();
    let wanted = config.wanted.clone();
    let service = Arc::new(Service::new(config));
    let (sender, mut news) = mpsc::channel(NEWS_MOST);
    let following = follow(&client, &wanted, 0, &sender);
    let serving = serve(listener, Arc::clone(&service), tls.clone());
    tokio::pin!(following, serving, shutdown);
    let mut ticks = interval(TICK);
    let mut looks = interval(LOOK_EVERY);
    let mut reports = interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    for timer in [&mut ticks, &mut looks, &mut reports] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut reporter = Reporter::new("testudo-mirror");
    let mut reported = 0;
    loop {
        tokio::select! {
            () = &mut following => {}
            () = &mut serving => {}
            () = &mut shutdown => break,
            Some(told) = news.recv() => tokio::task::block_in_place(|| hear(&service, told)),
            _ = ticks.tick() => tokio::task::block_in_place(|| tick(&service)),
            _ = looks.tick() => look(tls.as_deref()),
            _ = reports.tick() => report(&service, &client, &mut reporter, &mut reported),
        }
    }
    tracing::info!("the mirror ends");
    Ok(())
}

fn hear(service: &Service, news: News<Told>) {
    let now = now_ms();
    let mut link = *service.link.lock().unwrap_or_else(PoisonError::into_inner);
    match news {
        News::Failed(error) => {
            if link.lost_ms.replace(link.lost_ms.unwrap_or(now)).is_none() {
                tracing::warn!(%error, "the API cannot be asked; what is held is served");
            }
            // Until now it was heard of, if only by its silence.
            if link.answered_ms.is_some() && link.lost_ms == Some(now) {
                link.answered_ms = Some(now);
            }
        }
        News::All(body) => {
            let decisions = body.new_len();
            take_all(service, body, now);
            link = answered(link, now);
            tracing::info!(decisions, "decisions are held");
        }
        News::Changed(body) => {
            take_changes(service, body, now);
            link = answered(link, now);
        }
    }
    *service.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
}

fn answered(link: Link, now: u64) -> Link {
    if link.lost_ms.is_some() {
        tracing::info!("the API answers again");
    }
    Link { answered_ms: Some(now), lost_ms: None }
}

/// Takes everything: lists are made of what was held before until all of it is there.
fn take_all(service: &Service, body: Told, now: u64) {
    let mut refusals = Refusals::default();
    let book = service
        .book
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .anew(body, now, |id, why| refusals.take(id, &why));
    let before = std::mem::replace(&mut *service.book.write().unwrap_or_else(PoisonError::into_inner), book);
    // It may be large, and nobody waits for its end.
    drop(before);
}

fn take_changes(service: &Service, body: Told, now: u64) {
    if !body.is_empty() {
        let mut refusals = Refusals::default();
        let mut book = service.book.write().unwrap_or_else(PoisonError::into_inner);
        book.change(body, now, |id, why| refusals.take(id, &why));
    }
}

/// Of one answer; when it is dropped, how many more there were is told.
#[derive(Default)]
struct Refusals(u64);

impl Refusals {
    fn take(&mut self, id: i64, why: &Refused) {
        self.0 += 1;
        if self.0 <= REFUSALS_TOLD {
            tracing::warn!(id, "{why}");
        }
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        if self.0 > REFUSALS_TOLD {
            tracing::warn!(refused = self.0, "more decisions are in no list");
        }
    }
}

fn tick(service: &Service) {
    service.book.write().unwrap_or_else(PoisonError::into_inner).tick(now_ms());
}

fn look(tls: Option<&Tls>) {
    match tls.map(Tls::look) {
        Some(Ok(true)) => tracing::info!("the certificate was read again"),
        Some(Err(error)) => tracing::warn!(%error, "the certificate that was read before stays in use"),
        Some(Ok(false)) | None => {}
    }
}

/// Reports to the API; servers that do not know reports do without.
fn report(service: &Service, client: &Arc<Client>, reporter: &mut Reporter, reported: &mut u64) {
    let counts = service.book.read().unwrap_or_else(PoisonError::into_inner).counts();
    let mut items = Vec::new();
    for ((origin, kind), count) in counts {
        let labels = [("origin", origin.as_str()), ("ip_type", kind)];
        items.push(item("active_decisions", "ip", &labels[..if kind.is_empty() { 1 } else { 2 }], count));
    }
    let served = service.served();
    items.push(item("served", "request", &[], served - std::mem::replace(reported, served)));
    let report = reporter.report(items);
    let client = Arc::clone(client);
    tokio::spawn(async move {
        if let Err(error) = client.usage_metrics(&report).await {
            tracing::debug!(%error, "the API takes no report");
        }
    });
}

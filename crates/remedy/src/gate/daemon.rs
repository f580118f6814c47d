//! The gate at work: decisions of an API, and the questions of web servers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use testudo_client::{Client, SettingsError};
use testudo_gate::{Decisions, ServeError, Server, ServerConfig};
use tokio::sync::mpsc;

use super::book::{Book, Told};
use super::config::GateConfig;
use crate::follow::{News, follow};

/// News that may wait.
const NEWS_MOST: usize = 16;

/// How often what is over is forgotten. It counts for nothing before that.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// Why the gate does not run.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The client cannot be made.
    #[error("api_url: {0}")]
    Client(#[from] SettingsError),
    /// It cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// It cannot begin.
pub async fn run(config: &GateConfig, shutdown: impl Future<Output = ()>) -> Result<(), GateError> {
    let client = Client::new(config.client.clone())?;
    let book = Arc::new(Book::default());
    let known: Arc<dyn Decisions> = Arc::<Book>::clone(&book);
    let server = Server::bind(
        ServerConfig {
            upstreams: config.upstreams.clone(),
            tls: config.tls.clone(),
            peers: config.peers.clone(),
            ..ServerConfig::new(config.listen.clone(), config.policy.clone())
        },
        known,
    )?;
    let (sender, mut news) = mpsc::channel(NEWS_MOST);
    let hear = async {
        let mut is_lost = false;
        let mut forgets = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                Some(told) = news.recv() => hear(&book, told, &mut is_lost),
                _ = forgets.tick() => book.expire(),
            }
        }
    };
    tracing::info!(places = config.listen.len(), "the gate listens");
    tokio::select! {
        () = server.run(shutdown) => {}
        () = follow(&client, &config.wanted, 0, &sender) => {}
        () = hear => {}
    }
    tracing::info!("the gate ends");
    Ok(())
}

fn hear(book: &Book, news: News<Told>, is_lost: &mut bool) {
    let (full, body) = match news {
        News::Failed(error) => {
            if !std::mem::replace(is_lost, true) {
                tracing::warn!(%error, "the API cannot be asked; what is held goes on");
            }
            return;
        }
        News::All(body) => (true, body),
        News::Changed(body) => (false, body),
    };
    if std::mem::take(is_lost) {
        tracing::info!("the API answers again");
    }
    let decisions = book.take(full, body);
    if full {
        tracing::info!(decisions, "decisions are held");
    }
}

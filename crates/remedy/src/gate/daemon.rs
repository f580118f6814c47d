//! The gate at work: decisions of an API, and the questions of web servers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use testudo_client::{Client, SettingsError};
use testudo_gate::{Decisions, ServeError, Server, ServerConfig};
use tokio::sync::{mpsc, watch};

use super::book::{Book, SCOPES_OF_USERS, Told};
use super::config::GateConfig;
use crate::follow::{News, Wanted, follow};

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
    let mut needs_users = server.needs_users();
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
        () = follow_policy(&client, &config.wanted, &sender, &mut needs_users) => {}
        () = hear => {}
    }
    tracing::info!("the gate ends");
    Ok(())
}

/// Follows the API for ever, asking for decisions about users as long as the policy needs them.
async fn follow_policy(
    client: &Client,
    wanted: &Wanted,
    news: &mpsc::Sender<News<Told>>,
    needs_users: &mut watch::Receiver<bool>,
) {
    loop {
        let wanted = with_scopes(wanted, *needs_users.borrow_and_update());
        tokio::select! {
            () = follow(client, &wanted, 0, news) => return,
            Ok(()) = needs_users.changed() => {
                tracing::info!("the policy has changed whether decisions about users are asked for");
            }
        }
    }
}

fn with_scopes(wanted: &Wanted, needs_users: bool) -> Wanted {
    let mut scopes = vec!["ip".to_owned(), "range".to_owned()];
    if needs_users {
        // An API compares these as they are written.
        for scope in SCOPES_OF_USERS {
            let (first, rest) = scope.split_at(1);
            scopes.extend([scope.to_owned(), format!("{}{rest}", first.to_uppercase())]);
        }
    }
    let mut wanted = wanted.clone();
    wanted.parameters.push(("scopes".to_owned(), scopes.join(",")));
    wanted
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_asked_for_where_the_policy_needs_them() {
        let wanted = Wanted { parameters: vec![("types".to_owned(), "ban".to_owned())], every: FORGET_EVERY };
        let scopes = |needs_users| with_scopes(&wanted, needs_users).parameters.pop();
        assert_eq!(scopes(false), Some(("scopes".to_owned(), "ip,range".to_owned())));
        assert_eq!(
            scopes(true),
            Some(("scopes".to_owned(), "ip,range,username,Username,user,User".to_owned()))
        );
    }
}

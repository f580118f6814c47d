//! Follows an API: everything at the start, then each change as it comes; told at once where the API can, asked for
//! where it cannot. What is told is taken whole or not at all.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use testudo_client::{Client, ClientError, Event, Listener, query};
use testudo_wire::DecisionRef;
use testudo_wire::stream::{Side, StreamBody};
use tokio::sync::mpsc;

use crate::batch::Collect;

/// The first pause after something went wrong; each is twice the one before.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MOST: Duration = Duration::from_mins(1);

/// After so long, everything is asked for anew: whatever an API may have forgotten to tell is noticed then.
const FULL_EVERY: Duration = Duration::from_hours(1);

/// Between two tries to be told, where the API could not do it.
const LISTEN_AGAIN: Duration = Duration::from_mins(10);

/// Before a listener that was let go comes back.
const RELISTEN: Duration = Duration::from_millis(100);

/// Listeners that are let go sooner, and so often in a row, are not worth it.
const SHORT: Duration = Duration::from_secs(10);
const SHORT_MOST: u32 = 3;

/// Of an API that tells less than half of what it told before, of more than this, it is asked again first: it may
/// have been cut off in the middle.
const DOUBT_LEAST: usize = 1_000;

/// What is asked of an API.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Parameters of the stream, such as `scopes` and `origins`, with their values.
    pub parameters: Vec<(String, String)>,
    /// Between two questions, where the API does not tell by itself.
    pub every: Duration,
}

/// What was told.
#[derive(Debug)]
pub enum News<C = StreamBody> {
    /// Everything that there is; what is over is not a part of it.
    All(C),
    /// What has changed.
    Changed(C),
    /// The API could not be asked; what is held stays in force.
    Failed(ClientError),
}

/// Follows an API until nobody takes the news any more.
///
/// `held` is how many decisions are held already: an API that suddenly tells far fewer is asked once more.
pub async fn follow<C: Collect>(client: &Client, wanted: &Wanted, held: usize, news: &mpsc::Sender<News<C>>) {
    let pairs = wanted.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Each decision is told, not only the longest of each address: so that none is forgotten when another one goes.
    let asked = query(pairs.chain([("dedup", "false")]));
    let mut pauses = Pauses::default();
    let mut follower = Follower { client, asked, every: wanted.every, news, told: held };
    while !news.is_closed() {
        let ended = follower.run(&mut pauses).await;
        match ended {
            Ok(()) => {}
            Err(Ended::Gone) => return,
            Err(Ended::Failed(error)) => {
                tracing::debug!(%error, "the API does not tell");
                if news.send(News::Failed(error)).await.is_err() {
                    return;
                }
                tokio::time::sleep(pauses.next()).await;
            }
        }
    }
}

/// Why following ended.
enum Ended {
    /// Nobody takes the news.
    Gone,
    Failed(ClientError),
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Ended::Failed(error)
    }
}

/// Pauses after failures.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = self.last.map_or(PAUSE_LEAST, |last| (last * 2).min(PAUSE_MOST));
        self.last = Some(pause);
        varied(pause)
    }

    fn reset(&mut self) {
        self.last = None;
    }
}

/// Up to a fifth more: many that lost the same API do not come back in one moment.
fn varied(pause: Duration) -> Duration {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    pause + pause.mul_f64(f64::from(nanos.subsec_nanos() % 1_000) / 5_000.0)
}

struct Follower<'f, C> {
    client: &'f Client,
    asked: String,
    every: Duration,
    news: &'f mpsc::Sender<News<C>>,
    /// Decisions that the last whole answer had.
    told: usize,
}

impl<C: Collect> Follower<'_, C> {
    /// Everything, and changes for a while.
    async fn run(&mut self, pauses: &mut Pauses) -> Result<(), Ended> {
        match self.client.listen(&self.asked, None).await {
            Ok(listener) => self.listen(listener, pauses).await,
            // Other servers have no such thing.
            Err(error) if matches!(error.status(), Some(404 | 405)) => self.ask(pauses).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what is told, until it is time to ask for everything anew.
    async fn listen(&mut self, mut listener: Listener, pauses: &mut Pauses) -> Result<(), Ended> {
        let begun = Instant::now();
        let until = varied(FULL_EVERY);
        let mut has_all = false;
        // Connections, one after the other, that ended soon.
        let (mut connected, mut short) = (Instant::now(), 0);
        while begun.elapsed() < until {
            let event = tokio::select! {
                () = self.news.closed() => return Err(Ended::Gone),
                event = listener.next() => event,
            };
            let ended = match event {
                Ok(Some(Event::Position)) if has_all => continue,
                Ok(Some(Event::Position | Event::Reset)) => {
                    self.all(pauses).await?;
                    has_all = true;
                    continue;
                }
                Ok(Some(Event::Changed(body))) => {
                    let mut changed = C::default();
                    body.deleted.iter().for_each(|told| changed.take(Side::Deleted, &told.into()));
                    body.new.iter().for_each(|told| changed.take(Side::New, &told.into()));
                    self.tell(News::Changed(changed)).await?;
                    continue;
                }
                Ok(Some(Event::Alive)) => continue,
                // What cannot be read now can never be: everything is asked for anew.
                Err(error @ (ClientError::Unreadable { .. } | ClientError::TooLarge { .. })) => {
                    return Err(error.into());
                }
                // Something on the way keeps events back.
                Err(ClientError::Timeout { .. }) if !has_all => return self.ask(pauses).await,
                Ok(None) => None,
                Err(error) => Some(error),
            };
            // From time to time, servers let listeners go; who knows where it was goes on from there.
            short = if connected.elapsed() < SHORT { short + 1 } else { 0 };
            if short >= SHORT_MOST {
                return match ended {
                    Some(error) => Err(error.into()),
                    None => self.ask(pauses).await,
                };
            }
            tracing::debug!(?ended, "the API has let go of the listener");
            tokio::time::sleep(varied(RELISTEN)).await;
            let cursor = listener.cursor().map(str::to_owned);
            has_all &= cursor.is_some();
            listener = self.client.listen(&self.asked, cursor.as_deref()).await?;
            connected = Instant::now();
        }
        Ok(())
    }

    /// Asks again and again.
    async fn ask(&mut self, pauses: &mut Pauses) -> Result<(), Ended> {
        let begun = Instant::now();
        self.all(pauses).await?;
        while begun.elapsed() < LISTEN_AGAIN {
            tokio::select! {
                () = self.news.closed() => return Err(Ended::Gone),
                () = tokio::time::sleep(self.every) => {}
            }
            let mut changed = C::default();
            self.client.stream_each(false, &self.asked, |side, told| changed.take(side, told)).await?;
            pauses.reset();
            self.tell(News::Changed(changed)).await?;
        }
        Ok(())
    }

    /// Asks for everything.
    async fn all(&mut self, pauses: &mut Pauses) -> Result<(), Ended> {
        let mut all = self.everything().await?;
        if all.new_len() < self.told / 2 && self.told > DOUBT_LEAST {
            tracing::warn!(
                before = self.told,
                now = all.new_len(),
                "the API tells of far fewer decisions than before; it is asked again"
            );
            all = self.everything().await?;
        }
        pauses.reset();
        self.told = all.new_len();
        self.tell(News::All(all)).await
    }

    async fn everything(&self) -> Result<C, ClientError> {
        let mut all = C::default();
        let take = |side: Side, told: &DecisionRef<'_>| {
            if side == Side::New {
                all.take(side, told);
            }
        };
        self.client.stream_each(true, &self.asked, take).await?;
        Ok(all)
    }

    async fn tell(&self, news: News<C>) -> Result<(), Ended> {
        self.news.send(news).await.map_err(|_| Ended::Gone)
    }
}

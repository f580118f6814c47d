//! Measures answers about very many decisions: the stream, the snapshot, tags and listeners.
//!
//! `cargo run --release -p testudo-api --example measure-api -- [DECISIONS]`

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use testudo_api::{Config, Origin, Service, hash_key, prepare_label, system_clock};
use testudo_decide::{Profiles, default_profiles};
use testudo_event::{Alert, Decision, Timestamp};
use testudo_store::{Bouncer, Location, NewAlert, NewDecision, Store, StoreOptions};
use testudo_wire::snapshot::Snapshot;
use tokio::task::JoinSet;

const KEY: &str = "a key";
const LISTENERS: usize = 500;
/// Decisions that are stored at once.
const BATCH: usize = 50_000;
/// Decisions that the listeners are told.
const NEWS: usize = 1000;
/// Beyond all decisions that were stored before.
const FIRST_NEWS: usize = 1 << 31;

#[expect(clippy::print_stdout, reason = "what was measured")]
fn say(what: &str, begun: Instant, more: &str) {
    println!("{what:<32} {:>9.1} ms  {more}", begun.elapsed().as_secs_f64() * 1000.0);
}

fn batch(first: usize, count: usize, now_ms: i64) -> NewAlert {
    let scenarios = ["demo/ssh-bf", "demo/http-probing", "firehol"];
    let decisions = (first..first + count).map(|n| {
        let address = std::net::Ipv4Addr::from_bits((n as u32).wrapping_mul(2_654_435_761));
        let seconds = 3600 + (n % 86_400 * 7919 % 86_400) as i64;
        let decision = Decision {
            kind: "ban".to_owned(),
            scope: "Ip".to_owned(),
            value: address.to_string(),
            origin: "lists".to_owned(),
            scenario: scenarios[n % scenarios.len()].to_owned(),
            until: Timestamp::from_unix(now_ms / 1000 + seconds, 0),
            ..Decision::default()
        };
        NewDecision { uuid: n as u128 + 1, decision }
    });
    NewAlert { uuid: String::new(), machine: None, alert: Alert::default(), decisions: decisions.collect() }
}

async fn ask(service: &Arc<Service>, path: &str, tag: &str) -> (u16, String, Bytes) {
    let request = Request::builder().uri(path).header("x-api-key", KEY).header("if-none-match", tag);
    let request = request.body(Empty::<Bytes>::new()).unwrap_or_default();
    let answer = service.answer(request, Origin::tcp([127, 0, 0, 1].into())).await;
    let status = answer.status().as_u16();
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
    let body =
        answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, tag, body)
}

async fn answers(service: Arc<Service>) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let (_, tag, body) = ask(&service, "/v1/decisions/stream?startup=true", "").await;
    say("stream, start", begun, &format!("{} bytes", body.len()));
    let begun = Instant::now();
    let (status, ..) = ask(&service, "/v1/decisions/stream?startup=true", &tag).await;
    say("stream, start, unchanged", begun, &format!("status {status}"));
    let begun = Instant::now();
    let (_, _, body) = ask(&service, "/v1/decisions/snapshot", "").await;
    let bytes = body.len();
    say("snapshot", begun, &format!("{bytes} bytes"));
    let begun = Instant::now();
    let snapshot = Snapshot::read(body.to_vec())?;
    let ends: i64 = snapshot.entries().map(|entry| entry.end_secs & 1).sum();
    let each = bytes as f64 / snapshot.len() as f64;
    say("snapshot, read twice", begun, &format!("{each:.2} bytes each ({} {ends})", snapshot.len()));
    let begun = Instant::now();
    ask(&service, "/v1/decisions?ip=10.1.2.3", "").await;
    say("one address", begun, "");

    let mut listeners = JoinSet::new();
    for _ in 0..LISTENERS {
        let request = Request::builder().uri("/v1/decisions/events").header("x-api-key", KEY);
        let request = request.body(Empty::<Bytes>::new())?;
        let mut answer = service.answer(request, Origin::tcp([127, 0, 0, 1].into())).await;
        // Where it stands.
        answer.body_mut().frame().await;
        listeners.spawn(async move {
            let frame = answer.body_mut().frame().await;
            frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).map_or(0, |data| data.len())
        });
    }
    let now_ms = system_clock()();
    let store = Arc::clone(service.store());
    let begun = Instant::now();
    let news = batch(FIRST_NEWS, NEWS, now_ms);
    tokio::task::spawn_blocking(move || store.add_alerts(&[news], now_ms)).await??;
    say("decisions stored", begun, &NEWS.to_string());
    let mut heard = 0;
    while let Some(bytes) = listeners.join_next().await {
        heard += bytes?;
    }
    say("told to listeners", begun, &format!("{LISTENERS} listeners, {heard} bytes"));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let options = StoreOptions {
        location: Location::Sqlite { path: folder.path().join("measure.db"), wal: true },
        keep_ms: 86_400_000,
        prepare: prepare_label,
    };
    let now_ms = system_clock()();
    let store = Arc::new(Store::open(options, now_ms)?);
    let begun = Instant::now();
    for first in (0..count).step_by(BATCH) {
        store.add_alerts(&[batch(first, BATCH.min(count - first), now_ms)], now_ms)?;
    }
    say("stored", begun, &format!("{count} decisions"));
    store.bouncers().insert(Bouncer {
        name: "fw".to_owned(),
        key_hash: hash_key(KEY),
        auth_type: "api-key".to_owned(),
        ..Bouncer::default()
    })?;
    let service = Service::new(store, Config::default(), Profiles::new(default_profiles()), system_clock())?;
    tokio::runtime::Runtime::new()?.block_on(answers(service))
}

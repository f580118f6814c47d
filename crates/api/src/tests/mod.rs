//! The API as its clients see it: over sockets, with a real client.

mod admin;
mod alerts;
mod clients;
mod decisions;
mod events;
mod hostile;
mod interop;
mod metrics;
mod plain;
mod push;
mod rendered;
mod snapshot;
mod tls;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use testudo_decide::{Profiles, default_profiles};
use testudo_store::{Bouncer, Location, Machine, Store, StoreOptions};
use tokio::sync::oneshot;
use ureq::http::{HeaderMap, Request};

use crate::config::Config;
use crate::keys::hash_key;
use crate::server::{Listen, Server};
use crate::service::{Clock, Service, prepare_label};
use crate::tls::Tls;
use crate::token::{Claims, sign};

/// 2026-11-21T21:00:00Z.
const START: i64 = 1_795_294_800_000;
const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;

const KEY: &str = "demo-key-for-tests";
const MACHINE: &str = "edge-07";

/// An API of its own on a free port, with a clock that stands still, one machine and one bouncer.
struct Api {
    service: Arc<Service>,
    address: SocketAddr,
    clock: Arc<AtomicI64>,
    agent: ureq::Agent,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: TempDir,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
    }
}

fn open(folder: &Path, clock: &Arc<AtomicI64>, config: Config) -> Arc<Service> {
    let now = clock.load(Ordering::Relaxed);
    let options = StoreOptions {
        location: Location::Sqlite { path: folder.join("api.db"), wal: true },
        keep_ms: 24 * HOUR,
        prepare: prepare_label,
    };
    let store = Arc::new(Store::open(options, now).expect("it opens"));
    let told = Arc::clone(clock);
    let clock: Clock = Arc::new(move || told.load(Ordering::Relaxed));
    Service::new(store, config, Profiles::new(default_profiles()), clock).expect("it starts")
}

impl Api {
    fn start() -> Api {
        Api::with(Config::default())
    }

    fn with(config: Config) -> Api {
        Api::over(config, None)
    }

    fn over(config: Config, tls: Option<Arc<Tls>>) -> Api {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(AtomicI64::new(START));
        let service = open(folder.path(), &clock, config);
        let machine = Machine {
            name: MACHINE.to_owned(),
            password: "none".to_owned(),
            auth_type: "password".to_owned(),
            validated: true,
            ..Machine::default()
        };
        service.store().machines().insert(machine).expect("a machine");
        let bouncer = Bouncer {
            name: "fw".to_owned(),
            key_hash: hash_key(KEY),
            auth_type: "api-key".to_owned(),
            ..Bouncer::default()
        };
        service.store().bouncers().insert(bouncer).expect("a bouncer");
        let (stop, stopped) = oneshot::channel();
        let (told, bound) = std::sync::mpsc::channel();
        let serving = Arc::clone(&service);
        let socket = folder.path().join("api.sock");
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let listen = [Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), Listen::Unix(socket)];
                let server = Server::bind(serving, &listen).expect("it listens");
                let server = match tls {
                    Some(tls) => server.with_tls(tls),
                    None => server,
                };
                told.send(server.addresses()[0]).expect("somebody waits");
                server.run(async { stopped.await.unwrap_or_default() }).await;
            });
        });
        let address = bound.recv().expect("an address");
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_mins(1)))
            .build();
        let agent = config.new_agent();
        Api { service, address, clock, agent, stop: Some(stop), thread: Some(thread), folder }
    }

    fn pass(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    fn token(&self) -> String {
        let now = self.clock.load(Ordering::Relaxed) / 1000;
        let claims = Claims { exp: now + 3600, id: MACHINE.to_owned(), orig_iat: now };
        sign(self.service.secret(), &claims).expect("a token")
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = if body.is_empty() && method != "POST" {
            self.agent.run(request.body(()).expect("a request"))
        } else {
            self.agent.run(request.body(body.to_vec()).expect("a request"))
        };
        let response = response.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.into_with_config().limit(1 << 30).read_to_vec().expect("a body");
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// As a machine.
    fn machine(&self, method: &str, path: &str, body: &str) -> Reply {
        let token = format!("Bearer {}", self.token());
        self.ask(method, path, &[("authorization", &token)], body.as_bytes())
    }

    /// As a bouncer.
    fn bouncer(&self, method: &str, path: &str) -> Reply {
        self.ask(method, path, &[("x-api-key", KEY), ("user-agent", "test-bouncer/v1")], b"")
    }

    /// Bans as `cscli` does; each decision is `type value duration origin scenario`.
    #[track_caller]
    fn ban(&self, decisions: &[&str]) {
        let decisions: Vec<_> = decisions.iter().map(|text| decision(text)).collect();
        let reply = self.machine("POST", "/v1/alerts", &alert(&decisions).to_string());
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    /// What the stream tells: `+type value` and `-type value`.
    fn stream(&self, parameters: &str) -> Vec<String> {
        let reply = self.bouncer("GET", &format!("/v1/decisions/stream?{parameters}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.json();
        let side = |name: &str, sign: &str| -> Vec<String> {
            let items = body[name].as_array().expect("an array");
            let text = |item: &serde_json::Value| {
                format!(
                    "{sign}{} {}",
                    item["type"].as_str().expect("a type"),
                    item["value"].as_str().expect("a value")
                )
            };
            items.iter().map(text).collect()
        };
        [side("new", "+"), side("deleted", "-")].concat()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn decision(text: &str) -> serde_json::Value {
    let parts: Vec<&str> = text.split(' ').collect();
    let part =
        |at: usize, default: &'static str| -> String { parts.get(at).copied().unwrap_or(default).to_owned() };
    let value = part(1, "");
    let scope = match &value {
        value if value.contains('/') => "range",
        value if value.contains(['.', ':']) => "Ip",
        _ => "Country",
    };
    serde_json::json!({
        "type": part(0, ""), "value": value, "duration": part(2, "4h"), "origin": part(3, "cscli"),
        "scenario": part(4, "manual"), "scope": scope,
    })
}

/// A batch of one alert with these decisions.
fn alert(decisions: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!([{
        "capacity": 0, "decisions": decisions, "events": [], "events_count": 1, "kind": "cscli",
        "leakspeed": "0", "message": "m", "remediation": true, "scenario": "manual", "scenario_hash": "",
        "scenario_version": "", "simulated": false, "source": {"scope": "Ip", "value": "192.0.2.77"},
        "start_at": "2026-11-21T21:00:00Z", "stop_at": "2026-11-21T21:00:00Z",
    }])
}

/// A batch of one alert of an agent about an address.
fn report(scope: &str, value: &str) -> serde_json::Value {
    let mut alert = alert(&[]);
    alert[0]["kind"] = "crowdsec".into();
    alert[0]["scenario"] = "demo/ssh-bf".into();
    alert[0]["decisions"] = serde_json::Value::Null;
    alert[0]["source"] =
        serde_json::json!({"scope": scope, "value": value, "cn": "NL", "as_number": "64500"});
    alert
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

//! Tries the gate: decisions from a text file, `address kind origin scenario seconds` a line.
//!
//!     cargo run -p testudo-gate --example gate -- 127.0.0.1:9740 policy.yaml decisions.txt
//!     cargo run -p testudo-gate --example gate -- 127.0.0.1:9740 policy.yaml decisions.txt 127.0.0.1:8080
//!     cargo run -p testudo-gate --example gate -- snippet nginx 127.0.0.1:9740
//!
//! A place that begins with `/` is a socket in the file system. `address` may be a range, or `user:NAME`. The file is read again
//! when it changes; while it is missing, no decisions can be looked up. With a fourth word, the gate is a proxy in front of that
//! site as well, four ports higher.

use std::{
    error::Error,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use testudo_event::net::Prefix;
use testudo_gate::{
    Decisions, Listen, Match, Place, Server, ServerConfig, Upstream, User, WebServer, snippet,
};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whom a decision is about.
enum About {
    Network(Prefix),
    User(String),
}

/// Decisions with when they end.
type List = Vec<(About, Match, Instant)>;

/// The decisions of a file; none while it cannot be read.
struct FromFile(RwLock<Option<List>>);

impl Decisions for FromFile {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        self.find_about(matches, |about| matches!(about, About::Network(range) if range.contains(address)));
    }

    fn find_user(&self, user: &str, matches: &mut Vec<Match>) {
        self.find_about(matches, |about| matches!(about, About::User(name) if name == user));
    }

    fn is_ready(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl FromFile {
    fn find_about(&self, matches: &mut Vec<Match>, is_meant: impl Fn(&About) -> bool) {
        let now = Instant::now();
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (about, decision, end) in list.iter().flatten() {
            let remaining = end.saturating_duration_since(now);
            if is_meant(about) && !remaining.is_zero() {
                matches.push(Match { remaining, ..decision.clone() });
            }
        }
    }
}

fn read(text: &str) -> List {
    let lines = text.lines().enumerate().filter_map(|(number, line)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[address, kind, origin, scenario, seconds] = words.as_slice() else {
            return None;
        };
        let range = || address.parse().ok().or_else(|| address.parse().ok().map(Prefix::single));
        let about = match address.strip_prefix("user:") {
            Some(name) => About::User(User::new(name)?.key),
            None => About::Network(range()?),
        };
        let remaining = Duration::from_secs(seconds.parse().ok()?);
        let decision = Match {
            kind: kind.into(),
            origin: origin.into(),
            scenario: scenario.into(),
            id: number as u64 + 1,
            remaining,
        };
        Some((about, decision, Instant::now().checked_add(remaining)?))
    });
    lines.collect()
}

async fn follow(path: PathBuf, decisions: Arc<FromFile>) {
    let mut seen: Option<SystemTime> = None;
    loop {
        let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if changed != seen || changed.is_none() {
            let list = std::fs::read_to_string(&path).ok().map(|text| read(&text));
            *decisions.0.write().unwrap_or_else(PoisonError::into_inner) = list;
            seen = changed;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (place, policy, file, site) = match words.as_slice() {
        ["snippet", server, place] => {
            let server = WebServer::from_name(server)
                .ok_or("nginx, caddy, traefik, varnish, apache, lighttpd, haproxy, envoy or envoy-http")?;
            let place = match place.strip_prefix('/') {
                Some(_) => Place::Unix(place.into()),
                None => Place::Tcp((*place).to_owned()),
            };
            print!("{}", snippet(server, &place));
            return Ok(());
        }
        [place, policy, file] => (*place, *policy, *file, None),
        [place, policy, file, site] => (*place, *policy, *file, Some(*site)),
        _ => {
            return Err(
                "name a place, a policy and a file of decisions; or `snippet`, a server and a place".into()
            );
        }
    };
    let listen = match place.strip_prefix('/') {
        #[cfg(unix)]
        Some(_) => Listen::Unix { path: place.into(), mode: 0o660 },
        _ => Listen::Tcp(place.parse()?),
    };
    let mut all = vec![listen];
    // Beside the port for HTTP the next one for FastCGI, the one after that for HAProxy, and a third for gRPC.
    if let Listen::Tcp(address) = all[0].clone() {
        let port = |count| address.port().checked_add(count).ok_or("a lower port");
        all.push(Listen::FastCgi((address.ip(), port(1)?).into()));
        all.push(Listen::Spoe((address.ip(), port(2)?).into()));
        all.push(Listen::Grpc((address.ip(), port(3)?).into()));
        if site.is_some() {
            all.push(Listen::Proxy((address.ip(), port(4)?).into()));
        }
    }
    let decisions = Arc::new(FromFile(RwLock::new(None)));
    tokio::spawn(follow(file.into(), Arc::clone(&decisions)));
    let upstream = |site: &str| Upstream { names: vec!["*".to_owned()], to: vec![site.to_owned()] };
    let config = ServerConfig {
        upstreams: site.map(upstream).into_iter().collect(),
        ..ServerConfig::new(all, policy.into())
    };
    let server = Server::bind(config, decisions)?;
    println!("the gate listens on {place}");
    server.run(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}

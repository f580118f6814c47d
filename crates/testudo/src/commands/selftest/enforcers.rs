//! What enforces on this machine: the packet filter and the gate. Each is asked again and again from before the attack on,
//! so that the moment is known at which an address is dealt with, and that at which it passes again.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde::Deserialize;
use testudo_client::{Client, ClientError, Login, Retries, Settings, Timeouts};
use testudo_config::environment;
use testudo_event::Prefix;
use testudo_gate::Listen;
use testudo_remedy::{
    Backend,
    firewall::{self, DEFAULT_PATHS, FirewallConfig, Mode},
    gate::{self, GateConfig},
};

use super::attack::timestamp;
use crate::failure::Failure;

/// How often something is asked.
const EVERY: Duration = Duration::from_millis(1);

/// How often the way to the packet filter is taken anew: a firewall that starts gives its table another name.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Microseconds since 1970.
pub(super) fn now_us() -> i64 {
    timestamp(SystemTime::now()).unix_nanos() / 1_000
}

/// What an enforcer does about an address: something in words, or nothing.
type Look = Box<dyn FnMut(Ipv4Addr) -> Result<Option<String>, String> + Send>;

/// Something that enforces.
pub(super) struct Enforcer {
    /// Types of decisions that it deals with; none: all.
    pub(super) types: Option<Vec<String>>,
    /// In words, with its place.
    pub(super) name: String,
    /// What to do where it does nothing.
    pub(super) next: String,
    look: Look,
}

/// What is here.
pub(super) enum Here {
    /// Something that can be asked.
    Yes(Enforcer),
    /// Nothing, or nothing of ours.
    No(String),
    /// Its configuration cannot be used.
    Broken { seen: String, next: String },
}

impl Enforcer {
    /// What it does about an address now.
    pub(super) fn look(&mut self, address: Ipv4Addr) -> Result<Option<String>, String> {
        (self.look)(address)
    }
}

/// The firewall of this machine.
pub(super) fn firewall(named: Option<&Path>) -> Here {
    let found = || DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists());
    let Some(path) = named.map(PathBuf::from).or_else(found) else {
        return Here::No("no firewall here".to_owned());
    };
    // That of the ecosystem may belong to another program.
    let is_ours = named.is_some() || path == Path::new(DEFAULT_PATHS[0]);
    let shown = path.display();
    let config = match FirewallConfig::load(&path, &environment) {
        Ok(config) => config,
        Err(error) if is_ours => {
            let next = format!("`testudo firewall --test -c {shown}` tells whether it is right");
            return Here::Broken { seen: format!("{shown}: {error}"), next };
        }
        Err(_) => return Here::No(format!("{shown} is that of another firewall")),
    };
    // What others hold can be asked for by whoever put it there alone.
    if !matches!(config.mode, Mode::Nftables { .. }) {
        let mode = config.mode.name();
        return Here::No(format!("{shown} says {mode}, which only the firewall itself can look into"));
    }
    let mut look = look_into_filter(config.clone());
    if !is_ours && look(Ipv4Addr::UNSPECIFIED).is_err() {
        return Here::No(format!("{shown} is there, but no table of `testudo firewall`"));
    }
    Here::Yes(Enforcer {
        types: Some(config.rules.types),
        name: format!("table {}", config.table),
        next: format!(
            "is `testudo firewall` running, with {shown}? Its log says whether it reaches the API; `origins`, `scopes` and \
             `scenarios_…` there may leave the decision out"
        ),
        look,
    })
}

/// Asks the packet filter by the backend of the firewall.
fn look_into_filter(config: FirewallConfig) -> Look {
    let mut open = None;
    Box::new(move |address| {
        let now = Instant::now();
        if !matches!(&open, Some((_, since)) if now.duration_since(*since) < REOPEN_EVERY) {
            open = Some((firewall::open(&config).map_err(|error| error.to_string())?, now));
        }
        let Some((filter, _)) = &mut open else { return Ok(None) };
        match filter.find(Prefix::single(IpAddr::V4(address))) {
            Ok(found) => Ok(found.map(|_| format!("in the table `{}` of the packet filter", config.table))),
            Err(error) => {
                open = None;
                Err(error.to_string())
            }
        }
    })
}

/// The gate of this machine, or the one that was named.
pub(super) fn gate(named: Option<&str>) -> Result<Here, Failure> {
    let (url, shown) = match named {
        Some(url) => (url.to_owned(), None),
        None => {
            let Some(path) = gate::DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()) else {
                return Ok(Here::No("no gate here".to_owned()));
            };
            let config = match GateConfig::load(&path, &environment) {
                Ok(config) => config,
                Err(error) => {
                    let next =
                        format!("`testudo gate run --test -c {}` tells whether it is right", path.display());
                    return Ok(Here::Broken { seen: format!("{}: {error}", path.display()), next });
                }
            };
            let place = config.listen.iter().find_map(|listen| match listen {
                Listen::Tcp(place) => Some(format!("http://{place}")),
                #[cfg(unix)]
                Listen::Unix { path, .. } => Some(path.display().to_string()),
                _ => None,
            });
            let Some(place) = place else {
                return Ok(Here::No("the gate listens for no HTTP".to_owned()));
            };
            (place, Some(path))
        }
    };
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(5),
        silence: Duration::from_secs(5),
    };
    let settings =
        Settings { timeouts, retries: Retries::none(), ..Settings::new(url.clone(), Login::Nobody) };
    let client = Client::new(settings).map_err(|error| Failure::new(format!("--gate: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let look: Look = Box::new(move |address| {
        let asked = runtime.block_on(client.page(&format!("check?ip={address}")));
        let page = asked.map_err(|error| match error {
            // It is no local API that is missing here.
            ClientError::Unreachable { source, .. } => format!("nobody answers: {source}"),
            error => error.to_string(),
        })?;
        about(&page)
    });
    let with = shown.map(|path| format!(", with {}", path.display())).unwrap_or_default();
    Ok(Here::Yes(Enforcer {
        types: None,
        name: url,
        next: format!(
            "is `testudo gate run` running{with}? Its log says whether it reaches the API; it answers `/check` to peers in \
             `trusted_proxies`"
        ),
        look,
    }))
}

/// What the gate says of an address.
#[derive(Deserialize)]
struct Checked {
    outcome: String,
    decisions: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    id: i64,
    #[serde(rename = "type")]
    kind: String,
}

fn about(page: &str) -> Result<Option<String>, String> {
    let checked: Checked = serde_json::from_str(page).map_err(|error| format!("that is no gate: {error}"))?;
    Ok(checked.decisions.first().map(|Held { id, kind }| match &*checked.outcome {
        "pass" => format!("decision {id} ({kind}) is held, and the policy lets it pass"),
        outcome => format!("{outcome}, by decision {id}"),
    }))
}

/// What was seen of an address at an enforcer.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// What is done about it, and since when.
    pub(super) enforced: Option<(i64, String)>,
    /// Since when nothing is done any more.
    pub(super) gone: Option<i64>,
    /// Why it could not be asked the last time.
    pub(super) problem: Option<String>,
}

/// An enforcer that is asked all the time, until this is dropped.
pub(super) struct Watch {
    pub(super) types: Option<Vec<String>>,
    pub(super) name: String,
    pub(super) next: String,
    sight: Arc<Mutex<Sight>>,
    ends: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn lock(sight: &Mutex<Sight>) -> MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Begins to ask about an address.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn begin(enforcer: Enforcer, address: Ipv4Addr) -> Result<Watch, Failure> {
        let Enforcer { types, name, next, mut look } = enforcer;
        let (sight, ends) = (Arc::new(Mutex::new(Sight::default())), Arc::new(AtomicBool::new(false)));
        let watch = Watch { types, name, next, sight: Arc::clone(&sight), ends: Arc::clone(&ends) };
        let work = move || {
            while !ends.load(Ordering::Relaxed) {
                let looked = look(address);
                lock(&sight).take(looked, now_us());
                thread::sleep(EVERY);
            }
        };
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(work)
            .map_err(|error| Failure::new(format!("no thread can be started: {error}")))?;
        Ok(watch)
    }

    pub(super) fn sight(&self) -> Sight {
        lock(&self.sight).clone()
    }

    /// Whether it deals with decisions of this type.
    pub(super) fn deals_with(&self, kind: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.iter().any(|known| known == kind))
    }
}

impl Sight {
    fn take(&mut self, looked: Result<Option<String>, String>, now_us: i64) {
        match looked {
            Ok(Some(what)) => {
                self.gone = None;
                self.enforced.get_or_insert((now_us, what));
                self.problem = None;
            }
            Ok(None) => {
                if self.enforced.is_some() {
                    self.gone.get_or_insert(now_us);
                }
                self.problem = None;
            }
            Err(problem) => self.problem = Some(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_when() {
        let mut sight = Sight::default();
        sight.take(Ok(None), 1);
        assert_eq!((sight.gone, sight.enforced.clone()), (None, None), "what was never there is not gone");
        sight.take(Err("away".to_owned()), 2);
        assert_eq!(sight.problem.as_deref(), Some("away"));
        sight.take(Ok(Some("ban".to_owned())), 3);
        sight.take(Ok(Some("ban".to_owned())), 4);
        sight.take(Ok(None), 5);
        sight.take(Ok(None), 6);
        assert_eq!(
            (sight.enforced.clone(), sight.gone, sight.problem),
            (Some((3, "ban".to_owned())), Some(5), None)
        );
    }

    #[test]
    fn answers_of_a_gate() {
        let told = |page: &str| about(page).map_err(|_| ());
        let passes =
            r#"{"address": "192.0.2.1", "pass": true, "outcome": "pass", "decision": null, "decisions": []}"#;
        assert_eq!(told(passes), Ok(None));
        let held = |outcome: &str| {
            format!(r#"{{"outcome": "{outcome}", "decisions": [{{"id": 7, "type": "ban", "origin": "x"}}]}}"#)
        };
        assert_eq!(told(&held("ban")), Ok(Some("ban, by decision 7".to_owned())));
        assert_eq!(
            told(&held("pass")),
            Ok(Some("decision 7 (ban) is held, and the policy lets it pass".to_owned()))
        );
        for page in ["", "<html>", "{}", "[]", "null"] {
            assert_eq!(told(page), Err(()), "{page}");
        }
    }
}

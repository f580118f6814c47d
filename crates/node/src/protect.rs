//! Keeps the list of protected addresses fresh: sessions begin and end.

use std::sync::Arc;
use std::time::Duration;

use testudo_api::Service;
use testudo_config::Config;
use testudo_event::Prefix;
use testudo_guard::{Paths, Protected, protected};
use tokio::task::spawn_blocking;

use crate::agent::Policy;

/// How often the system is asked.
const EVERY: Duration = Duration::from_secs(5);

/// The words with which the reason of a session begins, see [`protected::collect`].
const SESSION: &str = "authenticated";

/// What is protected by the configuration and the system as they are.
pub(crate) fn now(config: &Config) -> Protected {
    let protect = &config.own.protect;
    let mut system: Vec<(Prefix, String)> =
        if protect.enabled { protected::collect(&Paths::default()) } else { Vec::new() };
    if !protect.sessions {
        system.retain(|(_, reason)| !reason.starts_with(SESSION));
    }
    Protected::new(system, &protect.never_ban)
}

/// Asks the system again and again, and tells those who decide, until it is dropped.
pub(crate) async fn keep(config: Arc<Config>, policy: Option<Arc<Policy>>, service: Option<Arc<Service>>) {
    let mut known = None;
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let asked = Arc::clone(&config);
        let Ok(found) = spawn_blocking(move || now(&asked)).await else { continue };
        if known.as_ref() == Some(&found) {
            continue;
        }
        if let Some(policy) = &policy {
            policy.set_protected(found.clone());
        }
        if let Some(service) = &service {
            let list = found.iter().map(|(prefix, reason)| (prefix, reason.to_owned())).collect();
            let service = Arc::clone(service);
            match spawn_blocking(move || service.set_protected(list)).await {
                Ok(Ok(0)) => {}
                Ok(Ok(ended)) => tracing::warn!(ended, "decisions about protected addresses were ended"),
                Ok(Err(error)) => {
                    tracing::error!(%error, "decisions about protected addresses cannot be ended yet");
                    continue;
                }
                Err(error) => tracing::error!(%error, "protecting addresses failed"),
            }
        }
        known = Some(found);
    }
}

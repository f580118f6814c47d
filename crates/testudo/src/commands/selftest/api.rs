//! The API that decides: what it has about the attack, and taking that back.

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf, time::Duration};

use testudo_client::{Client, ClientError, Retries, Timeouts, query};
use testudo_config::{Config, Credentials, environment};
use testudo_event::duration;
use testudo_node::{Trace, client_settings};
use testudo_wire::{Alert, AlertDecision};

use super::links::{Verdict, count};
use crate::failure::Failure;

/// The most alerts about one address that are looked at.
const ALERTS_MOST: &str = "100";

/// The API, for somebody who waits.
pub(super) struct Api {
    client: Client,
    runtime: tokio::runtime::Runtime,
    /// The profiles, where the API is served on this machine.
    profiles: Option<PathBuf>,
}

/// Decisions in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InForce {
    pub(super) id: i64,
    pub(super) kind: String,
}

impl Api {
    /// As this machine, with the credentials that the configuration names.
    ///
    /// # Errors
    /// There are none, or they make no client.
    pub(super) fn new(config: &Config) -> Result<Api, Failure> {
        let path = config.api.client.as_ref().and_then(|client| client.credentials_path.clone());
        let path =
            path.ok_or_else(|| Failure::new("the configuration names no `api.client.credentials_path`"))?;
        let credentials = Credentials::load(&path, &environment).map_err(|error| {
            Failure::new(format!("there are no credentials for the API: {error}"))
                .hint("`testudo machines add --auto` makes them where the API is served, `testudo lapi register` elsewhere")
        })?;
        let timeouts = Timeouts {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(10),
            silence: Duration::from_secs(10),
        };
        let settings = testudo_client::Settings {
            timeouts,
            retries: Retries::none(),
            ..client_settings(&credentials, config)
        };
        let cannot = |error: String| Failure::new(format!("the API cannot be asked: {error}"));
        let client = Client::new(settings).map_err(|error| cannot(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| cannot(error.to_string()))?;
        let server = config.api.server.as_ref().filter(|_| config.serves_api());
        Ok(Api { client, runtime, profiles: server.and_then(|server| server.profiles_path.clone()) })
    }

    pub(super) fn address(&self) -> &str {
        self.client.address()
    }

    fn call<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, String> {
        self.runtime.block_on(call).map_err(|error| error.to_string())
    }

    /// Whether nothing is decided about an address.
    pub(super) fn is_free(&self, address: Ipv4Addr) -> Result<bool, String> {
        let address = address.to_string();
        let asked = query([("ip", &*address), ("has_active_decision", "true"), ("limit", "1")]);
        self.call(self.client.alerts(&asked)).map(|alerts| alerts.is_empty())
    }

    /// The alerts of the attack.
    pub(super) fn alerts(&self, trace: &Trace, address: Ipv4Addr) -> Result<Vec<Alert>, String> {
        let address = address.to_string();
        let mut values = BTreeSet::from([("Ip", &*address)]);
        values.extend(trace.overflows.iter().map(|one| (&*one.scope, &*one.value)));
        let mut found: Vec<Alert> = Vec::new();
        for (scope, value) in values {
            let asked = query([("scope", scope), ("value", value), ("limit", ALERTS_MOST)]);
            let alerts = self.call(self.client.alerts(&asked))?;
            // An address out of a documentation has no alerts of its own; a network or a country may.
            let is_ours = |alert: &Alert| {
                alert.source.value == address
                    || trace.overflows.iter().any(|one| one.uuid == alert.uuid && !alert.uuid.is_empty())
            };
            found.extend(alerts.into_iter().filter(is_ours));
        }
        Ok(found)
    }

    /// What is decided about the attack.
    pub(super) fn decided(
        &self,
        alerts: &[Alert],
        trace: &Trace,
        address: Ipv4Addr,
    ) -> Result<(Verdict, Vec<InForce>), String> {
        if alerts.is_empty() {
            let allowed = self.call(self.client.check_allowlists(&address.to_string()))?;
            let verdict = if allowed.allowlisted {
                Verdict::broken(
                    format!("an allowlist has {address}: {}", allowed.reason),
                    "`testudo allowlists list` shows them; whoever is on one is never banned",
                )
            } else {
                Verdict::broken(
                    format!("{} has taken the alert, and shows none about {address}", self.address()),
                    "the log of the API tells what became of it",
                )
            };
            return Ok((verdict, Vec::new()));
        }
        let all =
            || alerts.iter().flat_map(|alert| alert.decisions.iter().map(move |decision| (alert, decision)));
        let in_force: Vec<(&Alert, &AlertDecision)> = all()
            .filter(|(_, decision)| !decision.simulated && !decision.duration.starts_with('-'))
            .collect();
        let Some((alert, first)) = in_force.first() else {
            return Ok((self.undecided(alerts, trace), Vec::new()));
        };
        let more =
            if in_force.len() > 1 { format!(", and {} more", in_force.len() - 1) } else { String::new() };
        let seen = format!(
            "{} of {} for {} (decision {}, alert {}){more}",
            first.kind,
            first.value,
            about_as_long(&first.duration),
            first.id,
            alert.id
        );
        let decisions = in_force
            .iter()
            .map(|(_, decision)| InForce { id: decision.id, kind: decision.kind.clone() })
            .collect();
        // An alert is acknowledged when what is decided about it is visible.
        let at_us =
            trace.overflows.iter().map(|one| one.acknowledged_us).filter(|at| *at > 0).min().unwrap_or(0);
        Ok((Verdict::Holds { at_us, seen }, decisions))
    }

    /// Why there is an alert and no decision.
    fn undecided(&self, alerts: &[Alert], trace: &Trace) -> Verdict {
        let ids: Vec<String> = alerts.iter().map(|alert| alert.id.to_string()).collect();
        let number = format!("alert {}", ids.join(", "));
        let of_alert = |test: &dyn Fn(&Alert) -> bool| alerts.iter().find(|alert| test(alert));
        if let Some(stopped) = trace.overflows.iter().find(|one| one.stopped) {
            return Verdict::broken(
                format!(
                    "{number}, without a decision: {} was stopped, since it hit too many good clients",
                    stopped.scenario
                ),
                "`testudo status` shows until when; it acts again after `testudo reload`, too",
            );
        }
        if let Some(alert) = of_alert(&|alert| alert.simulated) {
            return Verdict::broken(
                format!("{number}, and nothing is decided in earnest: {} is only simulated", alert.scenario),
                format!("`testudo simulation disable {}`, then `testudo reload`", alert.scenario),
            );
        }
        if !trace.overflows.is_empty() && trace.overflows.iter().all(|one| !one.wants_remedy) {
            return Verdict::broken(
                format!("{number}, without a decision: {} asks for no remedy", trace.overflows[0].scenario),
                "`remediation: true` among its labels would",
            );
        }
        let next = match &self.profiles {
            Some(path) => format!("look at the filters and decisions in {}", path.display()),
            None => format!("look at the profiles of the API at {}", self.address()),
        };
        Verdict::broken(format!("{number}, and no profile decides anything about it"), next)
    }

    /// Ends a decision.
    pub(super) fn end(&self, decision: &InForce) -> Result<(), String> {
        self.call(self.client.delete_decision(decision.id)).map(drop)
    }

    /// Deletes alerts with their decisions. Returns how many were deleted, and what could not be.
    pub(super) fn delete(&self, alerts: &[Alert]) -> (u64, Vec<String>) {
        let mut left = Vec::new();
        let mut deleted = 0;
        for alert in alerts {
            // Whoever may not delete alerts may end decisions.
            for decision in &alert.decisions {
                if let Err(error) = self.call(self.client.delete_decision(decision.id)) {
                    left.push(format!("decision {}: {error}", decision.id));
                }
            }
            match self.call(self.client.delete_alert(alert.id)) {
                Ok(_) => deleted += 1,
                Err(error) => left.push(format!(
                    "alert {}: {error}; remove it with `testudo alerts delete --id {}` where the API is served",
                    alert.id, alert.id
                )),
            }
        }
        (deleted, left)
    }
}

/// A time that is left, as it was decided: a second or two have gone by.
fn about_as_long(text: &str) -> String {
    const STEP: i64 = 5_000_000_000;
    let Ok(nanos) = duration::parse_with_days(text) else { return text.to_owned() };
    let whole = duration::format(nanos.saturating_add(STEP - 1) / STEP * STEP);
    let whole = whole.strip_suffix("m0s").map_or(whole.clone(), |minutes| format!("{minutes}m"));
    whole.strip_suffix("h0m").map_or(whole.clone(), |hours| format!("{hours}h"))
}

/// What was deleted, in words.
pub(super) fn deleted(alerts: u64) -> String {
    format!("{} deleted again.", count(alerts, "alert"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_they_were_decided() {
        for (left, decided) in [
            ("3h59m59s", "4h"),
            ("4h0m0s", "4h"),
            ("1h29m58s", "1h30m"),
            ("59s", "1m"),
            ("30s", "30s"),
            ("odd", "odd"),
        ] {
            assert_eq!(about_as_long(left), decided);
        }
    }
}

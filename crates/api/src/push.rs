//! Alerts on their way into the store, over HTTP and from the same process alike: allowlists and protected
//! addresses, profiles, identities, the store, and the file of those that could not be stored.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use testudo_event::{Alert, Decision, Overflow, Prefix, alert::normalise_scope};
use testudo_store::{Added, Machine, NewAlert, NewDecision, SqlErrorKind, StoreError, Target};
use testudo_wire::{PostedAlert, allowlist::reason, decision::uuid_text};

use crate::helpers::IndexServices;
use crate::instant;
use crate::service::Service;

/// Decisions of an alert that are logged one by one; of more, only their number is.
const LOGGED_DECISIONS: usize = 100;

/// The longest identity that a sender may give to an alert, in bytes.
const UUID_MOST: usize = 64;

/// The origin of imported lists.
const IMPORT: &str = "cscli-import";

/// The name under which the store keeps when an alert was last refused.
const LAST_DEAD_ITEM: &str = "lapi_last_dead_letter";

/// In the place of a password's hash: no password has it.
const NO_PASSWORD: &str = "!";

/// What became of an alert that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is stored under this number, with so many decisions.
    Stored {
        /// The number of the alert.
        id: i64,
        /// How many decisions were stored with it.
        decisions: usize,
    },
    /// An alert of its identity was stored before: this one was left out. The number is that of the first.
    Known {
        /// The number of the alert that was there.
        id: i64,
    },
    /// An allowlist lets its source do as it does.
    Allowed,
    /// It could not be stored, for this reason, and stands in the file of dead letters, if there is one; or it is about
    /// a protected address.
    Dropped(String),
}

/// Why alerts were not taken. They may be sent again.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness for identities.
    #[error("no random numbers")]
    Random,
}

impl Service {
    /// Takes alerts as `POST /v1/alerts` does, without HTTP; waits for the database. Alerts without decisions
    /// are decided about by the profiles. An alert with an identity (`uuid`) that is stored already is left
    /// out, so that a batch can be pushed again when its answer was lost.
    ///
    /// Returns what became of each, in the order of the alerts.
    ///
    /// # Errors
    /// The database cannot be reached or written: nothing was stored, and the batch can be pushed again.
    pub fn push(&self, machine: &str, alerts: Vec<Alert>, now_ms: i64) -> Result<Vec<Pushed>, PushError> {
        let mut outcomes = Vec::with_capacity(alerts.len());
        let mut batch = Vec::with_capacity(alerts.len());
        for alert in alerts {
            outcomes.push(match self.judge(alert, now_ms)? {
                Verdict::Take(new) => {
                    batch.push(*new);
                    None
                }
                Verdict::Allowed => Some(Pushed::Allowed),
                Verdict::Protected(reason) => Some(Pushed::Dropped(reason)),
            });
        }
        let mut taken = self.take(machine, batch, now_ms)?.into_iter();
        let missing = || Pushed::Dropped(String::new());
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.or_else(|| taken.next()).unwrap_or_else(missing))
            .collect())
    }

    /// Makes sure that there is a machine of this name, and that its alerts are taken: for the agent in the
    /// same process, which needs no password. Waits for the database.
    ///
    /// # Errors
    /// The database fails.
    pub fn machine_ready(&self, name: &str, now_ms: i64) -> Result<(), StoreError> {
        let machines = self.store().machines();
        match machines.get(name) {
            Some(machine) if machine.validated => return Ok(()),
            Some(_) => {}
            None => {
                let added = machines.insert(Machine {
                    name: name.to_owned(),
                    password: NO_PASSWORD.to_owned(),
                    auth_type: "password".to_owned(),
                    validated: true,
                    ip: "127.0.0.1".to_owned(),
                    created_ms: now_ms,
                    updated_ms: now_ms,
                    ..Machine::default()
                });
                if !matches!(added, Err(StoreError::Exists { .. })) {
                    return added.map(drop);
                }
            }
        }
        let validate = |machine: &mut Machine| {
            machine.validated = true;
            machine.updated_ms = now_ms;
        };
        machines.update(name, validate).map(drop)
    }

    /// Notes that a machine is alive. Returns whether there is one of that name.
    pub fn heartbeat(&self, name: &str, now_ms: i64) -> bool {
        self.store().machines().touch(name, |machine| machine.last_heartbeat_ms = Some(now_ms))
    }

    /// Decides what is to be done with an alert.
    pub(crate) fn judge(&self, mut alert: Alert, now_ms: i64) -> Result<Verdict, PushError> {
        let now = instant(now_ms);
        // A clock that is ahead must not prolong a ban.
        let is_ahead = alert.stop_at.nanos_since(now) > 0;
        for time in [&mut alert.start_at, &mut alert.stop_at] {
            if time.nanos_since(now) > 0 {
                *time = now;
            }
        }
        let scope = normalise_scope(&alert.source.scope).to_owned();
        alert.source.scope = scope;
        let is_decided = !alert.decisions.is_empty();
        if is_decided {
            for decision in &mut alert.decisions {
                decision.scope = normalise_scope(&decision.scope).to_owned();
                if is_ahead {
                    decision.until = now.add_nanos(decision.duration_ns);
                }
            }
        } else {
            if self.is_allowed(&alert, now_ms) {
                return Ok(Verdict::Allowed);
            }
            alert.decisions = self.by_profiles(&alert, now_ms);
        }
        let refused = self.keep_unprotected(&mut alert, is_decided, now_ms);
        if let (Some(reason), true, true) = (refused, is_decided, alert.decisions.is_empty()) {
            return Ok(Verdict::Protected(reason));
        }
        let decisions = std::mem::take(&mut alert.decisions);
        let mut identities = Identities::new(decisions.len() + 1)?;
        let drawn = uuid_text(identities.draw());
        let uuid = Some(std::mem::take(&mut alert.uuid)).filter(|uuid| is_identity(uuid)).unwrap_or(drawn);
        let decisions =
            decisions.into_iter().map(|decision| NewDecision { uuid: identities.draw(), decision }).collect();
        Ok(Verdict::Take(Box::new(NewAlert { uuid, machine: None, alert, decisions })))
    }

    /// Stores a batch. An alert that the database refuses is written to the file of dead letters, so that it
    /// does not keep its sender busy for ever.
    pub(crate) fn take(
        &self,
        machine: &str,
        mut batch: Vec<NewAlert>,
        now_ms: i64,
    ) -> Result<Vec<Pushed>, StoreError> {
        let number = self.store().machines().get(machine).map(|machine| machine.id);
        for new in &mut batch {
            new.machine = number;
        }
        let added = match self.store().add_alerts(&batch, now_ms) {
            Ok(added) => added.into_iter().map(Ok).collect(),
            Err(error) if is_about_the_alert(&error) => self.one_by_one(&batch, now_ms)?,
            Err(error) => return Err(error),
        };
        self.store().machines().touch(machine, |machine| machine.last_push_ms = Some(now_ms));
        let told = batch.iter().zip(added).map(|(new, added)| match added {
            Ok(added) => {
                log(machine, new, &added);
                outcome(new, &added)
            }
            Err(error) => Pushed::Dropped(error.to_string()),
        });
        let told: Vec<Pushed> = told.collect();
        for (new, pushed) in batch.iter().zip(&told) {
            if let Pushed::Dropped(reason) = pushed {
                self.dead_letters().add(machine, reason, &posted(new), now_ms);
            }
        }
        Ok(told)
    }

    fn one_by_one(
        &self,
        batch: &[NewAlert],
        now_ms: i64,
    ) -> Result<Vec<Result<Added, StoreError>>, StoreError> {
        let mut all = Vec::with_capacity(batch.len());
        for new in batch {
            match self.store().add_alerts(std::slice::from_ref(new), now_ms) {
                Ok(added) => all.extend(added.into_iter().map(Ok)),
                // Where nothing else can be stored either, it is not the alert that is to blame.
                Err(error) if is_about_the_alert(&error) && self.can_store(now_ms) => all.push(Err(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn can_store(&self, now_ms: i64) -> bool {
        self.store().set_config_item(LAST_DEAD_ITEM, Some(&now_ms.to_string()), now_ms).is_ok()
    }

    fn is_allowed(&self, alert: &Alert, now_ms: i64) -> bool {
        let source = &alert.source;
        let Some(reasons) = self.reasons(&source.scope, &source.value, now_ms) else { return false };
        tracing::info!("alert source {} is allowlisted by {reasons}, skipping", source.value);
        true
    }

    /// Why an address or range is allowed; `None` when it is not.
    fn reasons(&self, scope: &str, value: &str, now_ms: i64) -> Option<String> {
        if !matches!(scope, "Ip" | "Range") {
            return None;
        }
        let allowed = self.allowed_by(Target::parse(value, true).ok()?, now_ms);
        let reasons: Vec<String> = allowed
            .iter()
            .map(|allowed| reason(&allowed.item.value, &allowed.list, &allowed.item.description))
            .collect();
        Some(reasons.join(", ")).filter(|reasons| !reasons.is_empty())
    }

    /// What the profiles decide. One that fails costs the alert its decisions, not its place in the store.
    fn by_profiles(&self, alert: &Alert, now_ms: i64) -> Vec<Decision> {
        let source = alert.source.clone();
        let sources = BTreeMap::from([(source.value.clone(), source)]);
        let Some(overflow) = Overflow::new(String::new(), sources, alert.clone()) else { return Vec::new() };
        let barred = |network: Prefix| {
            let target = Target::parse(&network.to_string(), true);
            target.is_ok_and(|target| !self.allowed_by(target, now_ms).is_empty())
        };
        let services = IndexServices::new(self.store(), now_ms).with_listings(self.listings());
        match self.profiles().decide(overflow, &services, &barred) {
            Ok(decided) => decided.into_iter().flat_map(|decided| decided.alert.decisions).collect(),
            Err(error) => {
                tracing::error!(scenario = alert.scenario, %error, "a profile failed");
                Vec::new()
            }
        }
    }

    /// Takes decisions out that must not be: whoever took them, those about protected addresses, and of our
    /// own profiles those about what an allowlist allows, too. Returns the last reason.
    fn keep_unprotected(&self, alert: &mut Alert, is_decided: bool, now_ms: i64) -> Option<String> {
        let protected = self.protected();
        let mut last = None;
        let scenario = alert.scenario.clone();
        alert.decisions.retain(|decision| {
            let reason = protected
                .refusal(&decision.scope, &decision.value)
                .or_else(|| self.reasons(&decision.scope, &decision.value, now_ms).filter(|_| !is_decided));
            let Some(reason) = reason else { return true };
            tracing::error!(
                scenario,
                value = decision.value,
                reason,
                "a decision about a protected or allowed address was dropped"
            );
            last = Some(format!("{} must not be decided about: {reason}", decision.value));
            false
        });
        last
    }
}

/// What is to be done with an alert.
pub(crate) enum Verdict {
    /// It is to be stored.
    Take(Box<NewAlert>),
    /// An allowlist takes it out.
    Allowed,
    /// All decisions that it brought along are about protected addresses; one of the reasons.
    Protected(String),
}

fn outcome(new: &NewAlert, added: &Added) -> Pushed {
    match added.id {
        Some(id) if added.known => Pushed::Known { id },
        Some(id) => Pushed::Stored { id, decisions: new.decisions.len() - added.dropped.len() },
        None => Pushed::Dropped(added.dropped.first().map(ToString::to_string).unwrap_or_default()),
    }
}

/// Whether sending the same again would fail the same way.
fn is_about_the_alert(error: &StoreError) -> bool {
    matches!(error, StoreError::Database { .. })
        && matches!(error.sql_kind(), Some(SqlErrorKind::Other | SqlErrorKind::Taken))
}

/// An alert as it could be posted again.
fn posted(new: &NewAlert) -> PostedAlert {
    let decisions = new.decisions.iter().map(|new| (&new.decision).into()).collect();
    PostedAlert { decisions, uuid: new.uuid.clone(), ..PostedAlert::from(&new.alert) }
}

/// Whether a text can be an alert's identity.
fn is_identity(text: &str) -> bool {
    !text.is_empty() && text.len() <= UUID_MOST && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Random identities, version 4; all of a batch are drawn at once.
struct Identities(Vec<u8>);

impl Identities {
    fn new(count: usize) -> Result<Identities, PushError> {
        let mut bytes = vec![0; count * size_of::<u128>()];
        getrandom::fill(&mut bytes).map_err(|_| PushError::Random)?;
        Ok(Identities(bytes))
    }

    /// 0, which is no identity, when more are taken than were drawn.
    fn draw(&mut self) -> u128 {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        let Some(at) = self.0.len().checked_sub(size_of::<u128>()) else { return 0 };
        let bytes = self.0.split_off(at).try_into().unwrap_or_default();
        u128::from_be_bytes(bytes) & !(VERSION | VARIANT) | 4 << 76 | 0b10 << 62
    }
}

/// Tells, in lines that people search for, what was decided.
fn log(machine: &str, new: &NewAlert, added: &Added) {
    let NewAlert { alert, decisions, .. } = new;
    if added.known {
        tracing::debug!(machine, uuid = new.uuid, "an alert is known already");
        return;
    }
    for bad in &added.dropped {
        tracing::error!(machine, scenario = alert.scenario, %bad, "a decision was dropped");
    }
    let source = &alert.source;
    let what = if alert.scenario.is_empty() { &alert.message } else { &alert.scenario };
    let mut who = format!("{} {}", source.scope.to_lowercase(), source.value);
    if !source.cn.is_empty() {
        // Writing to a text cannot fail.
        let _ = write!(who, " ({}/{})", source.cn, source.as_number);
    }
    let count = decisions.len();
    let is_import = decisions.first().is_some_and(|new| new.decision.origin == IMPORT);
    if count == 0 || is_import || count > LOGGED_DECISIONS {
        tracing::info!("({machine}) alert : {what} by {who} with {count} decisions");
        return;
    }
    for (at, NewDecision { decision, .. }) in decisions.iter().enumerate() {
        let Decision { origin, duration, kind, scope, value, .. } = decision;
        let several = if count > 1 { format!(" for {}/{count} decisions", at + 1) } else { String::new() };
        let simulated = if decision.simulated { "(simulated alert) " } else { "" };
        tracing::info!(
            "({machine}/{origin}) {what} by {who}{several} : {simulated}{duration} {kind} on {scope} {value}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_of_version_four() {
        let mut identities = Identities::new(2).expect("random numbers");
        let (one, other) = (uuid_text(identities.draw()), uuid_text(identities.draw()));
        assert_ne!(one, other);
        for text in [one, other] {
            assert_eq!(text.as_bytes()[14], b'4', "{text}");
            assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        }
        assert_eq!(identities.draw(), 0);
    }

    #[test]
    fn what_can_be_an_identity() {
        for (text, expected) in
            [("", false), ("a b", false), ("é", false), ("9f2c", true), (&"x".repeat(64), true)]
        {
            assert_eq!(is_identity(text), expected, "{text}");
        }
        assert!(!is_identity(&"x".repeat(65)));
    }
}

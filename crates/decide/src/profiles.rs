//! Profiles: which alerts get which decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use testudo_event::{Alert, Decision, Overflow, Prefix, alert::normalise_scope, duration};
use testudo_expr::{EvalError, Handle, Host, Services, Slot, Value, eval::eval, functions};
use testudo_rules::{
    objects,
    plan::{Expression, OnError, OnMatch, Profile},
};

use crate::attribution::{Subject, subjects};

/// A profile that failed on an alert and says that this must not pass silently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile `{profile}`: its filter `{filter}` failed: {reason}")]
pub struct ProfileError {
    /// Name of the profile.
    pub profile: String,
    /// Text of the filter.
    pub filter: String,
    /// What went wrong.
    pub reason: EvalError,
}

/// What was decided about one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The alert with its decisions.
    pub alert: Alert,
    /// The profiles that matched, in order.
    pub profiles: Vec<Arc<str>>,
    /// The notifications that they ask for, in order.
    pub notifications: Vec<Arc<str>>,
}

/// An ordered list of profiles.
#[derive(Clone, Debug, Default)]
pub struct Profiles(Vec<Profile>);

impl Profiles {
    /// Profiles, asked in this order.
    pub fn new(profiles: Vec<Profile>) -> Profiles {
        Profiles(profiles)
    }

    /// Whether some profile asks who is listed.
    pub fn ask_lists(&self) -> bool {
        let expressions =
            |profile: &'_ Profile| profile.filters.iter().chain(&profile.duration_expr).any(asks_lists);
        self.0.iter().any(expressions)
    }

    /// Decides about every source of an overflow.
    ///
    /// `services` answer the helpers of filters, [`NoServices`](crate::NoServices) where there is no store. `barred` tells
    /// the networks that must not be decided about as a whole, since they hold an address that is protected or
    /// allowed. Single addresses are not asked about: who takes the decisions may leave some out, and say so.
    ///
    /// Where a profile attributes to contributors or prefixes, the decisions that are about no source of another alert
    /// are those of the first alert that the profile matches.
    ///
    /// # Errors
    /// A filter failed, and its profile has no `on_error` that lets this pass.
    pub fn decide(
        &self,
        mut overflow: Overflow,
        services: &dyn Services,
        barred: &dyn Fn(Prefix) -> bool,
    ) -> Result<Vec<Decided>, ProfileError> {
        for source in overflow.sources.values_mut() {
            source.scope = normalise_scope(&source.scope).to_owned();
        }
        let scope = normalise_scope(&overflow.alert.source.scope).to_owned();
        overflow.alert.source.scope = scope;
        let mut run = Run { overflow: &overflow, services, barred, attributed: BTreeMap::new() };
        let decided: Vec<Verdict> = (0..overflow.sources.len().max(1) as u32)
            .map(|at| self.judge(&mut run, at))
            .collect::<Result<_, _>>()?;
        let alerts = overflow.into_alerts();
        Ok(alerts
            .into_iter()
            .zip(decided)
            .map(|(alert, verdict)| Decided {
                alert: Alert { decisions: verdict.decisions, ..alert },
                profiles: verdict.profiles,
                notifications: verdict.notifications,
            })
            .collect())
    }

    fn judge(&self, run: &mut Run<'_>, at: u32) -> Result<Verdict, ProfileError> {
        let mut verdict = Verdict::default();
        let Run { overflow, services, .. } = *run;
        let mut host = AlertHost { overflow, services, alert: objects::alert_of(at) };
        for (index, profile) in self.0.iter().enumerate() {
            let Some(decides) = matches(profile, &mut host)? else { continue };
            verdict.profiles.push(profile.name.clone());
            verdict.notifications.extend(profile.notifications.iter().cloned());
            if verdict.decisions.is_empty() && decides {
                let about = run.about(index, profile, at);
                verdict.decisions = decisions(profile, &mut host, about.as_deref());
            }
            if profile.on_success == OnMatch::Break {
                break;
            }
        }
        Ok(verdict)
    }
}

/// One overflow being decided about.
struct Run<'r> {
    overflow: &'r Overflow,
    services: &'r dyn Services,
    barred: &'r dyn Fn(Prefix) -> bool,
    /// By the place of the profile: those whom its decisions are about.
    attributed: BTreeMap<usize, Option<Vec<Subject>>>,
}

impl Run<'_> {
    /// Whom the decisions of a profile for one alert are about. `None`: its source.
    fn about(&mut self, index: usize, profile: &Profile, at: u32) -> Option<Vec<Subject>> {
        let sources = || self.overflow.alert_sources().map(|source| source.value.as_str());
        let own = sources().nth(at as usize).unwrap_or_default();
        if let Some(known) = self.attributed.get(&index) {
            let known = known.as_ref()?.iter().filter(|subject| subject.value == own);
            return Some(known.cloned().collect());
        }
        let mut all = subjects(profile.attribution, &self.overflow.alert, self.barred);
        self.attributed.insert(index, all.clone());
        let others: Vec<&str> = sources().filter(|value| *value != own).collect();
        if let Some(all) = &mut all {
            all.retain(|subject| !others.contains(&subject.value.as_str()));
        }
        all
    }
}

fn asks_lists(expression: &Expression) -> bool {
    functions::asks_lists(&expression.node)
}

#[derive(Default)]
struct Verdict {
    decisions: Vec<Decision>,
    profiles: Vec<Arc<str>>,
    notifications: Vec<Arc<str>>,
}

/// Whether a profile that matches decides. `None`: it does not match. `Some(false)`: it failed, and its `on_error` takes that
/// for a match.
fn matches(profile: &Profile, host: &mut AlertHost<'_>) -> Result<Option<bool>, ProfileError> {
    let mut is_true = false;
    for filter in &profile.filters {
        let reason = match eval(&filter.node, host) {
            Ok(Value::Bool(result)) => {
                is_true |= result;
                continue;
            }
            Ok(other) => EvalError::Kind { what: "a filter", got: other.kind() },
            Err(error) => error,
        };
        match profile.on_error {
            OnError::Apply => return Ok(Some(false)),
            OnError::Continue => return Ok(None),
            OnError::Fail => {
                return Err(ProfileError {
                    profile: profile.name.to_string(),
                    filter: filter.text.to_string(),
                    reason,
                });
            }
        }
    }
    Ok(is_true.then_some(true))
}

/// The decisions of a profile, about its subjects or, where there are none to tell, the source of the alert.
fn decisions(profile: &Profile, host: &mut AlertHost<'_>, about: Option<&[Subject]>) -> Vec<Decision> {
    let computed = profile.duration_expr.as_ref().and_then(|expression| {
        let text = match eval(&expression.node, host).ok()? {
            Value::Str(text) => text.to_string(),
            Value::Duration(nanos) => duration::format(nanos),
            _ => return None,
        };
        Some((duration::parse_with_days(&text).ok()?, text))
    });
    let alert = &host.overflow.alert;
    let source = host.overflow.alert_sources().nth(host.alert.a as usize).unwrap_or(&alert.source);
    let templates = profile.decisions.iter().map(|template| {
        let (nanos, text) =
            computed.clone().unwrap_or_else(|| (template.nanoseconds, template.duration.to_string()));
        Decision {
            kind: template.kind.to_string(),
            scope: template.scope.as_deref().map_or_else(|| source.scope.clone(), str::to_owned),
            value: source.value.clone(),
            duration: text,
            duration_ns: nanos,
            origin: template
                .origin
                .as_deref()
                .filter(|origin| !origin.is_empty())
                .map_or_else(|| "crowdsec".to_owned(), |origin| format!("crowdsec/{origin}")),
            scenario: alert.scenario.clone(),
            simulated: template.simulated || alert.simulated,
            until: alert.stop_at.add_nanos(nanos),
        }
    });
    let Some(about) = about else { return templates.collect() };
    let templates: Vec<Decision> = templates.collect();
    let each = about.iter().flat_map(|subject| {
        let named = |decision: &Decision| Decision {
            scope: subject.scope.to_owned(),
            value: subject.value.clone(),
            ..decision.clone()
        };
        templates.iter().map(named)
    });
    each.collect()
}

/// Shows `Alert` to expressions.
struct AlertHost<'o> {
    overflow: &'o Overflow,
    services: &'o dyn Services,
    alert: Handle,
}

impl Host for AlertHost<'_> {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, index: u16) -> Result<Value, EvalError> {
        if index == 0 { Ok(Value::Object(self.alert)) } else { Err(EvalError::NilAccess) }
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        objects::field(self.overflow, object, name)
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        objects::entry(self.overflow, object, key)
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        objects::entries(self.overflow, object)
    }

    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        objects::method(self.overflow, object, name, arguments)
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        Err(EvalError::Input("an alert is not written by a profile"))
    }

    fn services(&self) -> &dyn Services {
        self.services
    }
}

#[cfg(test)]
mod tests;

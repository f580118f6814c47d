//! Profiles: which alerts get which decisions.

use std::sync::Arc;

use testudo_event::{Alert, Decision, Overflow, alert::normalise_scope, duration};
use testudo_expr::{EvalError, Handle, Host, Services, Slot, Value, eval::eval, host::NoServices};
use testudo_rules::{
    objects,
    plan::{OnError, OnMatch, Profile},
};

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

    /// Decides about every source of an overflow.
    ///
    /// # Errors
    /// A filter failed, and its profile has no `on_error` that lets this pass.
    pub fn decide(&self, overflow: &Overflow) -> Result<Vec<Decided>, ProfileError> {
        let mut overflow = overflow.clone();
        for source in overflow.sources.values_mut() {
            source.scope = normalise_scope(&source.scope).to_owned();
        }
        let scope = normalise_scope(&overflow.alert.source.scope).to_owned();
        overflow.alert.source.scope = scope;
        let decided: Vec<Verdict> = (0..overflow.sources.len().max(1) as u32)
            .map(|at| self.judge(&overflow, at))
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

    fn judge(&self, overflow: &Overflow, at: u32) -> Result<Verdict, ProfileError> {
        let mut verdict = Verdict::default();
        let mut host = AlertHost { overflow, alert: objects::alert_of(at) };
        for profile in &self.0 {
            let Some(matches) = matches(profile, &mut host)? else { continue };
            verdict.profiles.push(profile.name.clone());
            verdict.notifications.extend(profile.notifications.iter().cloned());
            if verdict.decisions.is_empty() {
                for _ in 0..matches {
                    verdict.decisions.extend(decisions(profile, &mut host));
                }
            }
            if profile.on_success == OnMatch::Break {
                break;
            }
        }
        Ok(verdict)
    }
}

#[derive(Default)]
struct Verdict {
    decisions: Vec<Decision>,
    profiles: Vec<Arc<str>>,
    notifications: Vec<Arc<str>>,
}

/// How many times a profile gives its decisions: once for each filter that is true. `None`: it does
/// not match. `Some(0)`: it failed, and its `on_error` takes that for a match.
fn matches(profile: &Profile, host: &mut AlertHost<'_>) -> Result<Option<usize>, ProfileError> {
    let mut count = 0;
    for filter in &profile.filters {
        let reason = match eval(&filter.node, host) {
            Ok(Value::Bool(true)) => {
                count += 1;
                continue;
            }
            Ok(Value::Bool(false)) => continue,
            Ok(other) => EvalError::Kind { what: "a filter", got: other.kind() },
            Err(error) => error,
        };
        match profile.on_error {
            OnError::Apply => return Ok(Some(0)),
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
    Ok((count > 0).then_some(count))
}

fn decisions(profile: &Profile, host: &mut AlertHost<'_>) -> Vec<Decision> {
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
    profile
        .decisions
        .iter()
        .map(|template| {
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
        })
        .collect()
}

/// Shows `Alert` to expressions.
struct AlertHost<'o> {
    overflow: &'o Overflow,
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
        &NoServices
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use testudo_event::Source;
    use testudo_rules::{SourceFile, load_profiles};

    use testudo_event::Timestamp;

    use super::*;

    fn overflow(values: &[&str]) -> Overflow {
        let sources: BTreeMap<String, Source> = values
            .iter()
            .map(|value| {
                let source = Source {
                    scope: "ip".into(),
                    value: (*value).into(),
                    ip: (*value).into(),
                    ..Source::default()
                };
                ((*value).to_owned(), source)
            })
            .collect();
        let alert = Alert {
            scenario: "t/bf".into(),
            remediation: true,
            events_count: 6,
            stop_at: Timestamp::from_unix(1_000, 0),
            ..Alert::default()
        };
        Overflow::new("key".into(), sources, alert).expect("it has a source")
    }

    fn profiles(text: &str) -> Profiles {
        let file = SourceFile { path: "profiles.yaml".into(), text: text.into() };
        let loaded = load_profiles(Arc::new(file));
        assert_eq!(loaded.diagnostics, []);
        Profiles::new(loaded.items)
    }

    fn decided(text: &str, values: &[&str]) -> Vec<String> {
        let decided = profiles(text).decide(&overflow(values)).expect("the profiles run");
        let decisions = decided.iter().flat_map(|d| &d.alert.decisions);
        decisions.map(|d| format!("{} {} {} {} {}", d.kind, d.scope, d.value, d.duration, d.origin)).collect()
    }

    #[test]
    fn every_source_is_decided_from_the_time_of_the_overflow() {
        let decided = Profiles::new(crate::default_profiles())
            .decide(&overflow(&["192.0.2.1", "192.0.2.2"]))
            .expect("the profiles run");
        let ends: Vec<_> = decided
            .iter()
            .map(|d| (d.alert.source.value.as_str(), d.alert.decisions[0].until.unix()))
            .collect();
        assert_eq!(ends, [("192.0.2.1", 1_000 + 4 * 3_600), ("192.0.2.2", 1_000 + 4 * 3_600)]);
    }

    #[test]
    fn two_true_filters_give_the_decisions_twice() {
        let text =
            "name: p\nfilters:\n - Alert.Remediation\n - 'true'\ndecisions:\n - type: ban\n   duration: 1h\n";
        assert_eq!(decided(text, &["192.0.2.1"]), ["ban Ip 192.0.2.1 1h crowdsec"; 2]);
    }

    #[test]
    fn duration_is_computed_where_it_can_be() {
        let text = "name: p\nfilters:\n - Alert.Remediation\ndecisions:\n - type: captcha\n   duration: 1h\n   origin: x\n\
                    duration_expr: \"Sprintf('%dh', Alert.GetEventsCount())\"\n";
        assert_eq!(decided(text, &["192.0.2.1"]), ["captcha Ip 192.0.2.1 6h crowdsec/x"]);
        let bad = text.replace("'%dh'", "'%d apples'");
        assert_eq!(decided(&bad, &["192.0.2.1"]), ["captcha Ip 192.0.2.1 1h crowdsec/x"]);
    }

    #[test]
    fn a_failing_filter_is_told_or_passes_as_the_profile_says() {
        let failing = "name: p\nfilters:\n - Alert.Decisions[7].Value == 'x'\ndecisions:\n - type: ban\n";
        let error = profiles(failing).decide(&overflow(&["192.0.2.1"])).expect_err("it fails");
        assert_eq!(error.profile, "p");
        let passing = format!("{failing}on_error: continue\n");
        assert_eq!(decided(&passing, &["192.0.2.1"]), Vec::<String>::new());
    }
}

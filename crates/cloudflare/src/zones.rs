//! The custom rules that refer to the lists: one for each zone and list. Only those that carry our reference are touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Method, Request, Transport};
use crate::failure::Failure;
use crate::lists::{MARK, Step, is_word, unreadable};

/// The phase in which custom rules are.
const PHASE: &str = "http_request_firewall_custom";

/// The longest expression of a rule, in bytes.
const EXPRESSION_MOST: usize = 4_096;

/// Pauses after failures: the first, and the longest; milliseconds.
const PAUSE_LEAST: u64 = 1_000;
const PAUSE_MOST: u64 = 5 * 60_000;

/// A rule that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePlan {
    /// By which it is found: begins with our mark.
    pub reference: String,
    /// What is done: `block`, `managed_challenge` ….
    pub action: String,
    /// With whom.
    pub expression: String,
}

/// The rules of a zone, in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZonePlan {
    /// The zone.
    pub zone: String,
    /// Its rules.
    pub rules: Vec<RulePlan>,
}

impl ZonePlan {
    /// One more rule, about what `name` stands for.
    pub fn add(&mut self, name: &str, action: &str, expression: String) {
        let reference = format!("{MARK}_{name}");
        self.rules.push(RulePlan { reference, action: action.to_owned(), expression });
    }
}

/// Who a rule is about: a list, systems, countries; and how many of these there was no room for.
pub fn expression(list: Option<&str>, systems: &[u32], countries: &[[u8; 2]]) -> (String, usize) {
    let mut parts: Vec<String> = list.iter().map(|name| format!("(ip.src in ${name})")).collect();
    let mut left_out = 0;
    let texts = |countries: &[[u8; 2]]| -> Vec<String> {
        countries.iter().map(|[a, b]| format!("\"{}{}\"", char::from(*a), char::from(*b))).collect()
    };
    let systems = systems.iter().map(u32::to_string).collect();
    for (field, mut values) in [("ip.src.country", texts(countries)), ("ip.src.asnum", systems)] {
        let used: usize = parts.iter().map(|part| part.len() + 4).sum();
        let mut room = EXPRESSION_MOST.saturating_sub(used + field.len() + 12);
        let fits = values
            .iter()
            .take_while(|value| {
                let is_room = value.len() < room;
                room = room.saturating_sub(value.len() + 1);
                is_room
            })
            .count();
        left_out += values.len() - fits;
        values.truncate(fits);
        if !values.is_empty() {
            parts.push(format!("({field} in {{{}}})", values.join(" ")));
        }
    }
    (parts.join(" or "), left_out)
}

/// A rule as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its identity.
    pub id: String,
    /// What is done.
    pub action: String,
    /// With whom.
    pub expression: String,
    /// Somebody may have switched it off.
    pub enabled: bool,
}

/// What is known of a zone. It outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZoneState {
    /// The set of custom rules, if the zone has one.
    pub ruleset: Option<String>,
    /// Our rules, by their references.
    pub rules: BTreeMap<String, Rule>,
    /// What is there has been read.
    pub is_known: bool,
}

/// The zones of an account.
#[derive(Debug)]
pub struct Zones {
    plans: Vec<ZonePlan>,
    states: Vec<ZoneState>,
    /// A change is about to be sent, and the disk knows.
    armed: Vec<bool>,
    failures: Vec<u32>,
    not_before: Vec<u64>,
    changed: u64,
    told: Vec<String>,
}

impl Zones {
    /// Begins with what an earlier run knew, by zone.
    pub fn new(zones: &[String], known: &BTreeMap<String, ZoneState>) -> Self {
        let plan = |zone: &String| ZonePlan { zone: zone.clone(), rules: Vec::new() };
        Zones {
            plans: zones.iter().map(plan).collect(),
            states: zones.iter().map(|zone| known.get(zone).cloned().unwrap_or_default()).collect(),
            armed: vec![false; zones.len()],
            failures: vec![0; zones.len()],
            not_before: vec![0; zones.len()],
            changed: 0,
            told: Vec::new(),
        }
    }

    /// What is known, for the next run: while a change is on its way, that it has to be read.
    pub fn states(&self) -> BTreeMap<String, ZoneState> {
        let zones = self.plans.iter().zip(&self.states).zip(&self.armed);
        zones
            .map(|((plan, state), is_armed)| {
                (plan.zone.clone(), ZoneState { is_known: state.is_known && !is_armed, ..state.clone() })
            })
            .collect()
    }

    /// Rules that were made, changed or removed.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// What people should know; told once.
    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// The rules that zones should have from now on, in the order of the zones.
    pub fn want(&mut self, plans: Vec<ZonePlan>) {
        self.plans = plans;
    }

    /// Has all zones read again.
    pub fn audit(&mut self) {
        for state in &mut self.states {
            state.is_known = false;
        }
    }

    /// Does what comes next. A zone that fails keeps no other from its rules.
    ///
    /// # Errors
    /// It came to nothing, and is done again later.
    pub fn step<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        for at in 0..self.plans.len() {
            if now < self.not_before[at] || self.is_done(at) {
                continue;
            }
            let done = self.zone(at, api, now);
            match &done {
                Ok(()) => self.failures[at] = 0,
                Err(Failure::Spent { free_at, .. }) => {
                    self.not_before[at] = (*free_at).max(now + PAUSE_LEAST);
                }
                Err(failure) => {
                    let asked = match failure {
                        Failure::Busy { seconds: Some(seconds), .. } => seconds * 1_000,
                        _ => 0,
                    };
                    let pause = (PAUSE_LEAST << self.failures[at].min(16)).min(PAUSE_MOST);
                    self.failures[at] += 1;
                    self.not_before[at] = now + pause.max(asked);
                    // Whatever was changed, or not: it is read again first.
                    self.states[at].is_known = false;
                }
            }
            return done.map(|()| Step::Keep);
        }
        let waiting =
            (0..self.plans.len()).filter(|at| !self.is_done(*at)).map(|at| self.not_before[at]).min();
        Ok(waiting.map_or(Step::Idle, Step::Wait))
    }

    fn is_done(&self, at: usize) -> bool {
        let (plan, state) = (&self.plans[at], &self.states[at]);
        state.is_known
            && state.rules.len() == plan.rules.len()
            && plan
                .rules
                .iter()
                .all(|wanted| state.rules.get(&wanted.reference).is_some_and(|r| is_it(r, wanted)))
    }

    fn zone<T: Transport>(&mut self, at: usize, api: &Api<T>, now: u64) -> Result<(), Failure> {
        let zone = format!("zones/{}/rulesets", self.plans[at].zone);
        if !self.states[at].is_known {
            let path = format!("{zone}/phases/{PHASE}/entrypoint");
            return match api.ask(&Request { method: Method::Get, path, body: None }, &[], now) {
                Ok(answer) => self.learn(at, &answer),
                Err(failure) if failure.is_missing() => {
                    self.states[at] = ZoneState { is_known: true, ..ZoneState::default() };
                    Ok(())
                }
                Err(failure) => Err(failure),
            };
        }
        let (plan, state) = (&self.plans[at], &self.states[at]);
        let is_wanted = |reference: &String| plan.rules.iter().any(|wanted| wanted.reference == *reference);
        let superfluous =
            state.rules.iter().find(|(reference, _)| !is_wanted(reference)).map(|(_, rule)| rule);
        let mut request = Request { method: Method::Post, path: zone.clone(), body: None };
        if let (Some(rule), Some(ruleset)) = (superfluous, &state.ruleset) {
            request.method = Method::Delete;
            request.path = format!("{zone}/{ruleset}/rules/{}", rule.id);
        } else {
            let is_other = |wanted: &&RulePlan| {
                state.rules.get(&wanted.reference).is_none_or(|rule| !is_it(rule, wanted))
            };
            let Some(wanted) = plan.rules.iter().find(is_other) else { return Ok(()) };
            let known = state.rules.get(&wanted.reference);
            let rule = json!({
                "ref": wanted.reference,
                "action": wanted.action,
                "expression": wanted.expression,
                "description": "kept by Testudo",
                "enabled": known.is_none_or(|rule| rule.enabled),
            });
            match (&state.ruleset, known) {
                (Some(ruleset), Some(known)) => {
                    request.method = Method::Patch;
                    request.path = format!("{zone}/{ruleset}/rules/{}", known.id);
                    request.body = Some(rule);
                }
                (Some(ruleset), None) => {
                    request.path = format!("{zone}/{ruleset}/rules");
                    request.body = Some(rule);
                }
                (None, _) => {
                    let body = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [rule] });
                    request.body = Some(body);
                }
            }
        }
        if !std::mem::replace(&mut self.armed[at], true) {
            return Ok(());
        }
        let answer = api.ask(&request, &[], now);
        self.armed[at] = matches!(answer, Err(Failure::Spent { .. }));
        let answer = answer?;
        self.changed += 1;
        self.learn(at, &answer)
    }

    /// Takes what an answer says about the rules of a zone.
    fn learn(&mut self, at: usize, answer: &Answer) -> Result<(), Failure> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let ruleset = text(&answer.result, "id");
        if !is_word(&ruleset) {
            return Err(unreadable("the set of rules has no identity"));
        }
        let mut rules = BTreeMap::new();
        for rule in answer.result.get("rules").and_then(Value::as_array).into_iter().flatten() {
            let reference = text(rule, "ref");
            if !reference.strip_prefix(MARK).is_some_and(|rest| rest.starts_with('_')) {
                continue;
            }
            let id = text(rule, "id");
            if !is_word(&id) {
                return Err(unreadable("a rule has no identity"));
            }
            // One that is there twice is there once too often: under this name nobody wants it.
            let reference =
                if rules.contains_key(&reference) { format!("{reference} {id}") } else { reference };
            let enabled = rule.get("enabled").and_then(Value::as_bool).unwrap_or(true);
            let known = self.states[at].rules.get(&reference);
            if !enabled && known.is_none_or(|rule| rule.enabled) {
                let zone = &self.plans[at].zone;
                self.told
                    .push(format!("the rule {reference} of the zone {zone} is switched off, and stays so"));
            }
            let rule =
                Rule { id, action: text(rule, "action"), expression: text(rule, "expression"), enabled };
            rules.insert(reference, rule);
        }
        self.states[at] = ZoneState { ruleset: Some(ruleset), rules, is_known: true };
        Ok(())
    }
}

fn is_it(rule: &Rule, wanted: &RulePlan) -> bool {
    rule.action == wanted.action && rule.expression == wanted.expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        assert_eq!(expression(Some("testudo_ban"), &[], &[]), ("(ip.src in $testudo_ban)".to_owned(), 0));
        let (text, left_out) = expression(Some("a"), &[64_500, 64_501], &[*b"FR", *b"DE"]);
        assert_eq!(
            text,
            r#"(ip.src in $a) or (ip.src.country in {"FR" "DE"}) or (ip.src.asnum in {64500 64501})"#
        );
        assert_eq!(left_out, 0);
        let many: Vec<u32> = (0..2_000).map(|n| 100_000 + n).collect();
        let (text, left_out) = expression(Some("a"), &many, &[*b"FR"]);
        assert!(
            text.len() <= EXPRESSION_MOST && left_out > 1_000 && left_out < 1_600,
            "{} {left_out}",
            text.len()
        );
        assert_eq!(expression(None, &[], &[]).0, "");
    }
}

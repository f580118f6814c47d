//! The blast radius: a rule that is about to ban many good clients is stopped.
//!
//! Within a window, the regulars (see [`GoodTraffic`]) are counted whom the alerts of one scenario would remedy. When they
//! are more than a share of all, the scenario trips: its alerts lose their remediation until a window has passed or an
//! operator resets it. A real attack does not trip it, however many addresses it has, since they are no regulars.
//! Who wants to trip it on purpose must first behave for minutes from addresses of many sites: each site has few votes.

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::{
    key::Key,
    traffic::{GoodTraffic, Standing, seconds, vote},
};

/// Scenarios that are watched at once. More rules than this are in no hub.
const MAX_SCENARIOS: usize = 4_096;

/// How far a rule may reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The share of the regulars that a scenario may hit within a window, from 0 to 1.
    pub share: f64,
    /// So many it may hit anyway, less one: where there are few regulars, a share says little.
    pub least: u32,
    /// Seconds for which hits count, and for which a scenario stays stopped.
    pub window_s: u32,
}

impl Default for Limits {
    /// Two per cent, at least ten, in an hour.
    fn default() -> Self {
        Limits { share: 0.02, least: 10, window_s: 3_600 }
    }
}

/// A scenario was stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Trip {
    /// Its name.
    pub scenario: String,
    /// Regulars that it would have hit within the window, the last one included.
    pub hits: u32,
    /// Regulars that there are.
    pub regulars: u32,
    /// When it acts again, in seconds since 1970.
    pub until_s: i64,
}

impl std::fmt::Display for Trip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Trip { scenario, hits, regulars, .. } = self;
        write!(
            f,
            "`{scenario}` would ban {hits} of {regulars} good clients: its alerts are without remediation now"
        )
    }
}

/// What becomes of the remediation of an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// It stays.
    Remedy,
    /// It is taken away: the scenario is stopped. With the event to tell, once.
    Spare(Option<Trip>),
}

impl Ruling {
    /// Whether the alert keeps its remediation.
    pub fn remedies(&self) -> bool {
        *self == Ruling::Remedy
    }
}

#[derive(Clone, Debug, Default)]
struct Scenario {
    /// When each regular was hit last. Never more than the limit at which the scenario trips.
    hits: HashMap<Key, u32>,
    stopped_until: Option<u32>,
}

/// Watches how many regulars each scenario hits.
#[derive(Clone, Debug, Default)]
pub struct BlastRadius {
    limits: Limits,
    scenarios: HashMap<String, Scenario>,
    trips: u64,
}

impl BlastRadius {
    /// Nothing hit yet.
    pub fn new(limits: Limits) -> BlastRadius {
        BlastRadius { limits, ..BlastRadius::default() }
    }

    /// Whether an alert of a scenario about these addresses keeps its remediation. To be asked before the addresses are
    /// called bad ([`GoodTraffic::bad`]): the question is what they were until now.
    pub fn judge(
        &mut self,
        scenario: &str,
        addresses: &[IpAddr],
        traffic: &mut GoodTraffic,
        now_s: i64,
    ) -> Ruling {
        let now = seconds(now_s);
        let known = self.scenarios.get_mut(scenario);
        if let Some(state) = known {
            match state.stopped_until {
                Some(until) if now < until => return Ruling::Spare(None),
                Some(_) => *state = Scenario::default(),
                None => {}
            }
        }
        let hit = addresses.iter().filter(|address| traffic.standing(**address, now_s) == Standing::Regular);
        let hit: Vec<Key> = hit.filter_map(|address| Key::of(*address)).collect();
        if hit.is_empty() {
            return Ruling::Remedy;
        }
        if !self.scenarios.contains_key(scenario) && self.scenarios.len() >= MAX_SCENARIOS {
            let window = self.limits.window_s;
            self.scenarios.retain(|_, state| state.lives(now, window));
            if self.scenarios.len() >= MAX_SCENARIOS {
                return Ruling::Remedy;
            }
        }
        let state = self.scenarios.entry_ref(scenario).or_default();
        state.hits.retain(|_, at| now.saturating_sub(*at) <= self.limits.window_s);
        state.hits.extend(hit.into_iter().map(|key| (key, now)));
        let mut sites = HashMap::new();
        let hits = state.hits.keys().filter(|key| vote(&mut sites, **key)).count() as u32;
        // Those who were hit are bad by now, and were regulars.
        let gone =
            state.hits.keys().filter(|key| traffic.standing_of(**key, now) != Standing::Regular).count();
        let regulars = traffic.regulars(now_s) + gone as u32;
        if hits < self.limits.least || f64::from(hits) <= self.limits.share * f64::from(regulars) {
            return Ruling::Remedy;
        }
        let until = now.saturating_add(self.limits.window_s);
        *state = Scenario { stopped_until: Some(until), ..Scenario::default() };
        self.trips += 1;
        let trip = Trip { scenario: scenario.to_owned(), hits, regulars, until_s: i64::from(until) };
        Ruling::Spare(Some(trip))
    }

    /// Lets a scenario act again. Whether it was stopped.
    pub fn reset(&mut self, scenario: &str) -> bool {
        self.scenarios.remove(scenario).is_some_and(|state| state.stopped_until.is_some())
    }

    /// The scenarios that are stopped now, with the seconds since 1970 at which each acts again; by name.
    pub fn stopped(&self, now_s: i64) -> Vec<(&str, i64)> {
        let now = seconds(now_s);
        let mut stopped: Vec<(&str, i64)> = self
            .scenarios
            .iter()
            .filter_map(|(name, state)| {
                Some((name.as_str(), state.stopped_until.filter(|until| now < *until)?))
            })
            .map(|(name, until)| (name, i64::from(until)))
            .collect();
        stopped.sort_unstable();
        stopped
    }

    /// How often a scenario was stopped.
    pub fn trips(&self) -> u64 {
        self.trips
    }
}

impl Scenario {
    fn lives(&self, now: u32, window: u32) -> bool {
        self.stopped_until.is_some_and(|until| now < until)
            || self.hits.values().any(|at| now.saturating_sub(*at) <= window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Budget;

    const START: i64 = 1_700_000_000;

    /// `count` clients of different sites that came every minute for ten minutes, and the time after that.
    fn regulars(traffic: &mut GoodTraffic, count: u32) -> i64 {
        for minute in 0..=10 {
            (0..count).for_each(|number| traffic.seen(client(number), START + 60 * minute));
        }
        START + 600
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::V4((0x0100_0001 + (number << 8)).into())
    }

    fn attacker(number: u32) -> IpAddr {
        IpAddr::V4((0x6400_0000 + number * 1_009).into())
    }

    #[test]
    fn a_rule_that_matches_everybody_is_stopped() {
        let mut traffic = GoodTraffic::default();
        let now = regulars(&mut traffic, 1_000);
        let mut blast = BlastRadius::default();
        let mut banned = 0;
        let mut trips = Vec::new();
        for number in 0..1_000 {
            let ruling = blast.judge("bad/rule", &[client(number)], &mut traffic, now);
            banned += u32::from(ruling.remedies());
            if let Ruling::Spare(Some(trip)) = ruling {
                trips.push(trip);
            }
            traffic.bad(client(number), now);
        }
        // Two per cent of a thousand may be hit; the twenty-first trips it.
        assert_eq!(banned, 20);
        let expected =
            Trip { scenario: "bad/rule".to_owned(), hits: 21, regulars: 1_000, until_s: now + 3_600 };
        assert_eq!(trips, [expected]);
        assert_eq!(blast.stopped(now), [("bad/rule", now + 3_600)]);
        assert_eq!(blast.judge("other/rule", &[client(1)], &mut traffic, now), Ruling::Remedy);
        assert_eq!(blast.judge("bad/rule", &[attacker(1)], &mut traffic, now), Ruling::Spare(None));
        assert_eq!(blast.judge("bad/rule", &[attacker(1)], &mut traffic, now + 3_600), Ruling::Remedy);
        assert_eq!(blast.trips(), 1);
    }

    #[test]
    fn an_operator_resets_it() {
        let mut traffic = GoodTraffic::default();
        let now = regulars(&mut traffic, 100);
        let mut blast = BlastRadius::default();
        for number in 0..50 {
            blast.judge("bad/rule", &[client(number)], &mut traffic, now);
        }
        assert!(!blast.stopped(now).is_empty());
        assert!(blast.reset("bad/rule") && !blast.reset("bad/rule") && !blast.reset("other/rule"));
        assert_eq!(blast.judge("bad/rule", &[attacker(1)], &mut traffic, now), Ruling::Remedy);
    }

    #[test]
    fn a_real_attack_does_not_trip_it() {
        let mut traffic = GoodTraffic::default();
        let now = regulars(&mut traffic, 1_000);
        let mut blast = BlastRadius::default();
        for number in 0..7_000 {
            // They come with good lines first, too, but not for long.
            (0..20).for_each(|_| traffic.seen(attacker(number), now));
            let ruling = blast.judge("a/attack", &[attacker(number)], &mut traffic, now + 1);
            assert_eq!(ruling, Ruling::Remedy, "{number}");
            traffic.bad(attacker(number), now + 1);
        }
    }

    #[test]
    fn addresses_of_one_site_do_not_trip_it() {
        let mut traffic = GoodTraffic::default();
        regulars(&mut traffic, 1_000);
        let neighbour = |number: u32| IpAddr::V4((0xc633_6400 + number).into());
        for minute in 0..=10 {
            (0..200).for_each(|number| traffic.seen(neighbour(number), START + 60 * minute));
        }
        let mut blast = BlastRadius::default();
        for number in 0..200 {
            let ruling = blast.judge("a/attack", &[neighbour(number)], &mut traffic, START + 600);
            assert_eq!(ruling, Ruling::Remedy, "{number}");
        }
    }

    #[test]
    fn few_clients_need_at_least_ten_hits() {
        let mut traffic = GoodTraffic::new(Budget { clients: 1_000, window_s: 3_600 });
        let now = regulars(&mut traffic, 12);
        let mut blast = BlastRadius::default();
        let mut rulings =
            (0..12).map(|number| blast.judge("a/b", &[client(number)], &mut traffic, now).remedies());
        assert!(rulings.by_ref().take(9).all(|remedies| remedies));
        assert!(!rulings.any(|remedies| remedies));
    }

    #[test]
    fn the_same_client_counts_once_and_hits_grow_old() {
        let mut traffic = GoodTraffic::new(Budget { clients: 1_000, window_s: 100_000 });
        let now = regulars(&mut traffic, 100);
        let mut blast = BlastRadius::default();
        assert!((0..50).all(|_| blast.judge("a/b", &[client(1)], &mut traffic, now).remedies()));
        // One an hour and a bit is no flood.
        for number in 0..20 {
            let at = now + i64::from(number) * 600;
            assert!(blast.judge("a/b", &[client(number)], &mut traffic, at).remedies(), "{number}");
        }
    }
}

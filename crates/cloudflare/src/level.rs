//! When the security level of a zone is raised, and that the saved one always comes back.
//!
//! A [`Guard`] is a machine without effects: [`Guard::next`] says what is to be done now, [`Guard::done`] is told what
//! became of it. The order is what a crash cannot break: the level that is there is read, written down durably, and only
//! then changed; what was written down is forgotten only after the level is back. A guard that begins with a record puts
//! the saved level back before anything else.

use serde::{Deserialize, Serialize};

/// When the level is raised and put back. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// The level that is set, such as `under_attack`.
    pub level: String,
    /// The load must be high for so long before the level is raised.
    pub sustained_ms: u64,
    /// A raised level stays for at least so long.
    pub dwell_ms: u64,
    /// The load must be low for so long before the saved level comes back.
    pub calm_ms: u64,
    /// While it is raised, the level is looked at so often: a person may have changed it.
    pub look_ms: u64,
}

/// How high the load is. Between high and low nothing changes: that is the hysteresis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// At least one figure is above its upper threshold.
    High,
    /// None is above, not all are below.
    Between,
    /// All figures are below their lower thresholds.
    Low,
}

/// What must be on the disk before the level is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The level that was there, and comes back.
    pub saved: String,
    /// The level that takes its place.
    pub raised: String,
}

/// What is to be done, and told to [`Guard::done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Wait,
    /// Ask for the level of the zone.
    Ask,
    /// Write this to the disk, durably.
    Keep(Record),
    /// Change the level of the zone.
    Set(String),
    /// Take what was written from the disk, durably.
    Forget,
}

/// What became of an [`Act`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is done.
    Done,
    /// The level is this one.
    Level(String),
    /// It is not done, or it cannot be told whether it is.
    Failed,
}

/// What people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The level was raised.
    Raised {
        /// The level that comes back.
        saved: String,
    },
    /// The saved level is back.
    Restored {
        /// That level.
        saved: String,
    },
    /// Somebody has changed the level meanwhile; it is theirs.
    Theirs {
        /// What they have set.
        level: String,
    },
    /// The zone has that level already; it is not ours.
    Already,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The load is watched; high since then.
    Watching {
        high_since: Option<u64>,
    },
    /// The level is somebody else's until the load is low; low since then.
    Aside {
        low_since: Option<u64>,
    },
    /// The level is asked for, to be raised.
    Before,
    Keeping(Record),
    Raising(Record),
    /// Whether it was raised is not known: the level is asked for.
    Checking(Record),
    Holding {
        record: Record,
        since: u64,
        low_since: Option<u64>,
        look_at: u64,
    },
    /// The level is asked for while it is held.
    Looking {
        record: Record,
        since: u64,
        low_since: Option<u64>,
    },
    /// The level is asked for, to be put back.
    Restoring(Record),
    PuttingBack(Record),
    /// The record is no longer needed; then the load is watched, or the level left aside.
    Forgetting {
        record: Record,
        aside: bool,
    },
}

/// The guard of one zone.
#[derive(Clone, Debug)]
pub struct Guard {
    thresholds: Thresholds,
    phase: Phase,
    is_ending: bool,
}

impl Guard {
    /// A guard that begins, with what an earlier one has left on the disk.
    pub fn new(thresholds: Thresholds, record: Option<Record>) -> Self {
        let phase = match record {
            Some(record) => Phase::Restoring(record),
            None => Phase::Watching { high_since: None },
        };
        Guard { thresholds, phase, is_ending: false }
    }

    /// From now on, nothing is raised, and what is raised is put back.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// Nothing is on the disk and nothing is to be put back.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Watching { .. } | Phase::Aside { .. } | Phase::Before)
    }

    /// What is written down, as long as there is something to put back.
    pub fn record(&self) -> Option<&Record> {
        match &self.phase {
            Phase::Watching { .. } | Phase::Aside { .. } | Phase::Before => None,
            Phase::Keeping(record)
            | Phase::Raising(record)
            | Phase::Checking(record)
            | Phase::Holding { record, .. }
            | Phase::Looking { record, .. }
            | Phase::Restoring(record)
            | Phase::PuttingBack(record)
            | Phase::Forgetting { record, .. } => Some(record),
        }
    }

    /// The level is raised by us, as far as is known.
    pub fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. } | Phase::Looking { .. })
    }

    /// What is to be done now. As long as [`Guard::done`] is not told, the answer to the same question is the same.
    pub fn next(&mut self, now: u64, load: Signals) -> Act {
        let limits = &self.thresholds;
        match &mut self.phase {
            Phase::Watching { high_since } => {
                since(high_since, load == Signals::High, now);
                if !self.is_ending && lasted(*high_since, now, limits.sustained_ms) {
                    self.phase = Phase::Before;
                }
            }
            Phase::Aside { low_since } => {
                since(low_since, load == Signals::Low, now);
                if lasted(*low_since, now, limits.calm_ms) {
                    self.phase = Phase::Watching { high_since: None };
                }
            }
            // It is over before it began.
            Phase::Before if self.is_ending || load == Signals::Low => {
                self.phase = Phase::Watching { high_since: None };
            }
            Phase::Keeping(record) if self.is_ending || load == Signals::Low => {
                self.phase = Phase::Forgetting { record: record.clone(), aside: false };
            }
            // Whether an earlier try has changed it is not known.
            Phase::Raising(record) | Phase::Checking(record) if self.is_ending || load == Signals::Low => {
                self.phase = Phase::Restoring(record.clone());
            }
            Phase::Holding { record, since: raised_at, low_since, look_at } => {
                since(low_since, load == Signals::Low, now);
                let dwelt = now.saturating_sub(*raised_at) >= limits.dwell_ms;
                if self.is_ending || dwelt && lasted(*low_since, now, limits.calm_ms) {
                    self.phase = Phase::Restoring(record.clone());
                } else if now >= *look_at {
                    self.phase =
                        Phase::Looking { record: record.clone(), since: *raised_at, low_since: *low_since };
                }
            }
            _ => {}
        }
        match &self.phase {
            Phase::Watching { .. } | Phase::Aside { .. } | Phase::Holding { .. } => Act::Wait,
            Phase::Before | Phase::Checking(_) | Phase::Looking { .. } | Phase::Restoring(_) => Act::Ask,
            Phase::Keeping(record) => Act::Keep(record.clone()),
            Phase::Raising(record) => Act::Set(record.raised.clone()),
            Phase::PuttingBack(record) => Act::Set(record.saved.clone()),
            Phase::Forgetting { .. } => Act::Forget,
        }
    }

    /// What became of what [`Guard::next`] said last; tells what people should know.
    pub fn done(&mut self, now: u64, event: Event) -> Option<Why> {
        let look_at = now.saturating_add(self.thresholds.look_ms);
        let phase = std::mem::replace(&mut self.phase, Phase::Watching { high_since: None });
        let (phase, why) = match (phase, event) {
            (Phase::Before, Event::Level(level)) if level == self.thresholds.level => {
                (Phase::Aside { low_since: None }, Some(Why::Already))
            }
            (Phase::Before, Event::Level(saved)) => {
                (Phase::Keeping(Record { saved, raised: self.thresholds.level.clone() }), None)
            }
            (Phase::Keeping(record), Event::Done) => (Phase::Raising(record), None),
            (Phase::Raising(record), Event::Done) => {
                let saved = record.saved.clone();
                (Phase::Holding { record, since: now, low_since: None, look_at }, Some(Why::Raised { saved }))
            }
            // Before it is tried again, somebody may have changed it.
            (Phase::Raising(record), _) => (Phase::Checking(record), None),
            (Phase::Checking(record), Event::Level(level)) if level == record.raised => {
                let saved = record.saved.clone();
                (Phase::Holding { record, since: now, low_since: None, look_at }, Some(Why::Raised { saved }))
            }
            (Phase::Checking(record), Event::Level(level)) if level == record.saved => {
                (Phase::Raising(record), None)
            }
            (Phase::Checking(record), Event::Level(level)) => {
                (Phase::Forgetting { record, aside: true }, Some(Why::Theirs { level }))
            }
            (Phase::Looking { record, since, low_since }, Event::Level(level)) if level == record.raised => {
                (Phase::Holding { record, since, low_since, look_at }, None)
            }
            (Phase::Looking { record, .. }, Event::Level(level)) => {
                (Phase::Forgetting { record, aside: true }, Some(Why::Theirs { level }))
            }
            // It is put back when there is time for it; until then it is looked at again.
            (Phase::Looking { record, since, low_since }, _) => {
                (Phase::Holding { record, since, low_since, look_at }, None)
            }
            (Phase::Restoring(record), Event::Level(level)) if level == record.raised => {
                (Phase::PuttingBack(record), None)
            }
            // It was never raised, or is back already.
            (Phase::Restoring(record), Event::Level(level)) if level == record.saved => {
                (Phase::Forgetting { record, aside: false }, None)
            }
            (Phase::Restoring(record), Event::Level(level)) => {
                (Phase::Forgetting { record, aside: true }, Some(Why::Theirs { level }))
            }
            (Phase::PuttingBack(record), Event::Done) => {
                let saved = record.saved.clone();
                (Phase::Forgetting { record, aside: false }, Some(Why::Restored { saved }))
            }
            // Somebody may have changed it while it was not known whether it was done.
            (Phase::PuttingBack(record), _) => (Phase::Restoring(record), None),
            (Phase::Forgetting { aside: true, .. }, Event::Done) => (Phase::Aside { low_since: None }, None),
            (Phase::Forgetting { aside: false, .. }, Event::Done) => {
                (Phase::Watching { high_since: None }, None)
            }
            // What failed is done again.
            (phase, _) => (phase, None),
        };
        self.phase = phase;
        why
    }
}

/// Since when something holds, if it does.
fn since(begun: &mut Option<u64>, holds: bool, now: u64) {
    *begun = if holds { begun.or(Some(now)) } else { None };
}

fn lasted(begun: Option<u64>, now: u64, least: u64) -> bool {
    begun.is_some_and(|begun| now.saturating_sub(begun) >= least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DWELL: u64 = 600;
    const SUSTAINED: u64 = 30;

    fn thresholds() -> Thresholds {
        Thresholds {
            level: "under_attack".to_owned(),
            sustained_ms: SUSTAINED,
            dwell_ms: DWELL,
            calm_ms: 60,
            look_ms: 45,
        }
    }

    /// A zone and a disk, which outlive any guard.
    struct World {
        level: String,
        disk: Option<Record>,
        guard: Guard,
        now: u64,
        raised: Vec<u64>,
        restored: Vec<u64>,
    }

    impl World {
        fn new(level: &str) -> Self {
            World {
                level: level.to_owned(),
                disk: None,
                guard: Guard::new(thresholds(), None),
                now: 1_000,
                raised: Vec::new(),
                restored: Vec::new(),
            }
        }

        /// One act; `fails` says that it is not done, `is_lost` that it is done and cannot be told.
        fn step(&mut self, load: Signals, fails: bool, is_lost: bool) -> Option<Why> {
            let act = self.guard.next(self.now, load);
            if act == Act::Wait {
                return None;
            }
            let event = match act {
                _ if fails => Event::Failed,
                Act::Ask => Event::Level(self.level.clone()),
                Act::Keep(record) => {
                    self.disk = Some(record);
                    Event::Done
                }
                Act::Set(level) => {
                    // What is changed must be on the disk.
                    let record = self.disk.as_ref().expect("a record before a change");
                    if level == "under_attack" {
                        // An earlier try may have come through.
                        let is_known = [&record.saved, &record.raised].contains(&&self.level);
                        assert!(is_known, "the saved level is the one that was there: {}", self.level);
                        self.raised.push(self.now);
                    } else {
                        assert_eq!(level, record.saved, "what comes back is what was saved");
                        assert_eq!(self.level, record.raised, "only what we have set is changed back");
                        self.restored.push(self.now);
                    }
                    self.level = level;
                    Event::Done
                }
                Act::Forget => {
                    self.disk = None;
                    Event::Done
                }
                Act::Wait => Event::Done,
            };
            self.guard.done(self.now, if is_lost { Event::Failed } else { event })
        }

        fn pass(&mut self, load: Signals, millis: u64) -> Vec<Why> {
            let mut told = Vec::new();
            for _ in 0..millis.div_ceil(5) {
                self.now += 5;
                for _ in 0..4 {
                    told.extend(self.step(load, false, false));
                }
            }
            told
        }

        fn crash(&mut self) {
            self.guard = Guard::new(thresholds(), self.disk.clone());
        }
    }

    #[test]
    fn raised_and_put_back() {
        let mut world = World::new("medium");
        assert_eq!(world.pass(Signals::High, SUSTAINED - 5), []);
        assert_eq!(world.level, "medium", "a peak is no attack");
        let told = world.pass(Signals::High, 20);
        assert_eq!(told, [Why::Raised { saved: "medium".to_owned() }]);
        assert_eq!(world.pass(Signals::Low, 300), [], "the dwell is not over");
        assert_eq!(world.level, "under_attack");
        assert_eq!(world.pass(Signals::Between, 1_000), [], "it is not calm");
        let told = world.pass(Signals::Low, 80);
        assert_eq!(told, [Why::Restored { saved: "medium".to_owned() }]);
        assert_eq!((world.level.as_str(), &world.disk), ("medium", &None));
    }

    #[test]
    fn what_a_person_sets_is_theirs() {
        let mut world = World::new("medium");
        world.pass(Signals::High, 50);
        world.level = "high".to_owned();
        let told = world.pass(Signals::High, 60);
        assert_eq!(told, [Why::Theirs { level: "high".to_owned() }]);
        assert_eq!(
            world.pass(Signals::High, 5_000),
            [],
            "it is not raised again as long as the load is high"
        );
        assert_eq!((world.level.as_str(), &world.disk), ("high", &None));
        world.pass(Signals::Low, 100);
        assert_eq!(world.pass(Signals::High, 50), [Why::Raised { saved: "high".to_owned() }]);

        let mut world = World::new("under_attack");
        assert_eq!(world.pass(Signals::High, 500), [Why::Already]);
        assert_eq!(world.pass(Signals::Low, 5_000), []);
        assert_eq!(world.level, "under_attack");
    }

    #[test]
    fn a_lost_answer_is_asked_about() {
        let mut world = World::new("medium");
        world.step(Signals::High, false, false);
        world.now += SUSTAINED;
        let mut told = Vec::new();
        for _ in 0..2 {
            told.extend(world.step(Signals::High, false, false));
        }
        // It is raised, and nobody was told; then somebody changes it.
        world.step(Signals::High, false, true);
        assert_eq!((told.as_slice(), world.level.as_str()), (&[][..], "under_attack"));
        world.level = "high".to_owned();
        assert_eq!(world.pass(Signals::High, 100), [Why::Theirs { level: "high".to_owned() }]);
        assert_eq!(world.level, "high");
    }

    #[test]
    fn the_end_puts_back() {
        let mut world = World::new("low");
        world.pass(Signals::High, 50);
        assert!(world.guard.is_raised() && !world.guard.is_idle());
        world.guard.end();
        assert_eq!(world.pass(Signals::High, 10), [Why::Restored { saved: "low".to_owned() }]);
        assert!(world.guard.is_idle());
        assert_eq!(world.pass(Signals::High, 500), [], "nothing is raised after the end");
    }

    #[derive(Clone, Debug)]
    enum Move {
        Pass(Signals, u64),
        Fails(Signals),
        Lost(Signals),
        Crash,
        Person(&'static str),
    }

    fn load() -> impl Strategy<Value = Signals> {
        prop_oneof![Just(Signals::High), Just(Signals::Between), Just(Signals::Low)]
    }

    fn moves(with_people: bool, with_crashes: bool) -> impl Strategy<Value = Vec<Move>> {
        let people = u32::from(with_people);
        let crashes = u32::from(with_crashes);
        let one = prop_oneof![
            8 => (load(), 1..200_u64).prop_map(|(load, millis)| Move::Pass(load, millis)),
            4 => load().prop_map(Move::Fails),
            4 => load().prop_map(Move::Lost),
            3 * crashes => Just(Move::Crash),
            people => prop_oneof![Just("off"), Just("high")].prop_map(Move::Person),
        ];
        proptest::collection::vec(one, 1..120)
    }

    fn play(world: &mut World, moves: Vec<Move>) {
        for step in moves {
            match step {
                // One act at a time, so that crashes come between any two.
                Move::Pass(load, millis) => {
                    world.now += millis;
                    world.step(load, false, false);
                }
                Move::Fails(load) => {
                    world.step(load, true, false);
                }
                Move::Lost(load) => {
                    world.step(load, false, true);
                }
                Move::Crash => world.crash(),
                Move::Person(level) => {
                    // Between reading and changing there is a moment in which nobody can tell; people are slower.
                    let is_between = matches!(
                        world.guard.phase,
                        Phase::Keeping(_) | Phase::Raising(_) | Phase::PuttingBack(_)
                    );
                    if !is_between {
                        level.clone_into(&mut world.level);
                    }
                }
            }
        }
    }

    proptest! {
        /// Whatever the load, whatever fails and wherever it crashes: the saved level is back in the end.
        #[test]
        fn the_saved_level_is_always_back(moves in moves(false, true)) {
            let mut world = World::new("medium");
            play(&mut world, moves);
            world.crash();
            world.pass(Signals::Low, 20);
            prop_assert_eq!(world.level.as_str(), "medium");
            prop_assert_eq!(&world.disk, &None);
            prop_assert!(world.guard.is_idle());
        }

        /// Without a crash it comes back by itself when it is calm.
        #[test]
        fn calm_brings_it_back(moves in moves(false, false)) {
            let mut world = World::new("essentially_off");
            play(&mut world, moves);
            world.pass(Signals::Low, DWELL + 200);
            prop_assert_eq!(world.level.as_str(), "essentially_off");
            prop_assert_eq!(&world.disk, &None);
        }

        /// Never raised twice, never put back before the dwell is over, never faster than load that lasts.
        #[test]
        fn it_does_not_flap(
            loads in proptest::collection::vec((load(), 1..400_u64), 1..200),
        ) {
            let mut world = World::new("medium");
            for (load, millis) in loads {
                world.pass(load, millis);
            }
            prop_assert!(world.raised.len() <= world.restored.len() + 1);
            for (at, (raised, restored)) in world.raised.iter().zip(&world.restored).enumerate() {
                prop_assert!(restored - raised >= DWELL, "{raised} {restored}");
                if let Some(again) = world.raised.get(at + 1) {
                    prop_assert!(again - restored >= SUSTAINED, "{restored} {again}");
                }
            }
        }

        /// What a person sets while it is raised is never overwritten by what was saved.
        #[test]
        fn people_have_the_last_word(moves in moves(true, true), level in prop_oneof![Just("off"), Just("high")]) {
            let mut world = World::new("medium");
            play(&mut world, moves);
            world.crash();
            // What was theirs is left aside until it is calm.
            world.pass(Signals::Low, 100);
            let theirs = world.level.clone();
            world.pass(Signals::High, 50);
            prop_assert_eq!(world.guard.record().map(|record| record.saved.clone()), Some(theirs));
            world.level = level.to_owned();
            world.pass(Signals::Low, DWELL * 3);
            prop_assert_eq!(world.level.as_str(), level);
            prop_assert_eq!(&world.disk, &None);
        }
    }
}

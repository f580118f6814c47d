//! When the security level of a zone is raised, and that the saved one always comes back.
//!
//! A [`Guard`] is a machine without effects: [`Guard::next`] says what is to be done now, [`Guard::done`] is told what
//! became of it. The order is what a crash cannot break: the level that is there is read, written down durably, and only
//! then changed; what was written down is forgotten only after the level is back. A guard that begins with a record puts
//! the saved level back before anything else.
//!
//! A change whose answer got lost, or that was sent just before a crash, may be carried out later. Until that cannot be any
//! more ([`Thresholds::settle_ms`]), what was written down is kept, and the level is looked at again.

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
    /// While it is raised or may be, the level is looked at so often: a person may have changed it.
    pub look_ms: u64,
    /// A change without an answer may still be carried out for so long. A zone that is missing for so long is gone.
    pub settle_ms: u64,
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
    /// There is no such zone.
    Missing,
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
    /// The zone is gone, and what was saved of it is given up.
    Gone {
        /// The level that would have come back.
        saved: String,
    },
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
    /// The level is somebody else's, and a change of ours may still be on its way: theirs is what comes back, then.
    Adopting(Record),
    /// The level is back, or somebody else's; a change of ours may still be on its way. High since then.
    Settling {
        record: Record,
        aside: bool,
        high_since: Option<u64>,
        look_at: u64,
    },
    /// The level is asked for while that may be.
    LookingAgain {
        record: Record,
        aside: bool,
        high_since: Option<u64>,
    },
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
    /// An earlier guard may have sent something a moment ago.
    is_fresh: bool,
    /// No change of ours is on its way from then on.
    settled_at: u64,
    /// The zone has been missing since then.
    missing_since: Option<u64>,
}

impl Guard {
    /// A guard that begins, with what an earlier one has left on the disk.
    pub fn new(thresholds: Thresholds, record: Option<Record>) -> Self {
        let is_fresh = record.is_some();
        let phase = match record {
            Some(record) => Phase::Restoring(record),
            None => Phase::Watching { high_since: None },
        };
        Guard { thresholds, phase, is_ending: false, is_fresh, settled_at: 0, missing_since: None }
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
            | Phase::Adopting(record)
            | Phase::Settling { record, .. }
            | Phase::LookingAgain { record, .. }
            | Phase::Forgetting { record, .. } => Some(record),
        }
    }

    /// The level is raised by us, as far as is known.
    pub fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. } | Phase::Looking { .. })
    }

    /// The level is back or somebody else's; it is only waited for changes that may still be on their way.
    pub fn is_settling(&self) -> bool {
        matches!(self.phase, Phase::Settling { .. } | Phase::LookingAgain { .. })
    }

    /// What is to be done now. As long as [`Guard::done`] is not told, the answer to the same question is the same.
    pub fn next(&mut self, now: u64, load: Signals) -> Act {
        let limits = &self.thresholds;
        if std::mem::take(&mut self.is_fresh) {
            self.settled_at = now.saturating_add(limits.settle_ms);
        }
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
            Phase::Settling { record, aside, high_since, look_at } => {
                since(high_since, load == Signals::High, now);
                let may_raise = !self.is_ending && !*aside && record.raised == limits.level;
                if may_raise && lasted(*high_since, now, limits.sustained_ms) {
                    self.phase = Phase::Checking(record.clone());
                } else if now >= (*look_at).min(self.settled_at) {
                    self.phase = Phase::LookingAgain {
                        record: record.clone(),
                        aside: *aside,
                        high_since: *high_since,
                    };
                }
            }
            _ => {}
        }
        match &self.phase {
            Phase::Watching { .. } | Phase::Aside { .. } | Phase::Holding { .. } | Phase::Settling { .. } => {
                Act::Wait
            }
            Phase::Before
            | Phase::Checking(_)
            | Phase::Looking { .. }
            | Phase::LookingAgain { .. }
            | Phase::Restoring(_) => Act::Ask,
            Phase::Keeping(record) | Phase::Adopting(record) => Act::Keep(record.clone()),
            Phase::Raising(record) => Act::Set(record.raised.clone()),
            Phase::PuttingBack(record) => Act::Set(record.saved.clone()),
            Phase::Forgetting { .. } => Act::Forget,
        }
    }

    /// What became of what [`Guard::next`] said last, which was asked or sent at `begun`; tells what people should know.
    pub fn done(&mut self, begun: u64, now: u64, event: Event) -> Option<Why> {
        let limits = &self.thresholds;
        let look_at = now.saturating_add(limits.look_ms);
        let is_sent = matches!(self.phase, Phase::Raising(_) | Phase::PuttingBack(_));
        if is_sent && event != Event::Done {
            self.settled_at = self.settled_at.max(now.saturating_add(limits.settle_ms));
        }
        if event != Event::Missing {
            self.missing_since = None;
        } else if let Some(record) = self.record().cloned()
            && now.saturating_sub(*self.missing_since.get_or_insert(now)) >= self.thresholds.settle_ms
        {
            let saved = record.saved.clone();
            self.phase = Phase::Forgetting { record, aside: true };
            return Some(Why::Gone { saved });
        }
        let is_settled = begun >= self.settled_at;
        // What is known now is forgotten, or kept as long as something may be on its way.
        let close = |record: Record, aside: bool| {
            if is_settled {
                Phase::Forgetting { record, aside }
            } else {
                Phase::Settling { record, aside, high_since: None, look_at }
            }
        };
        let theirs = |record: Record, level: String| {
            let why = Some(Why::Theirs { level: level.clone() });
            if is_settled {
                (Phase::Forgetting { record, aside: true }, why)
            } else {
                (Phase::Adopting(Record { saved: level, ..record }), why)
            }
        };
        let phase = std::mem::replace(&mut self.phase, Phase::Watching { high_since: None });
        let (phase, why) = match (phase, event) {
            (Phase::Before, Event::Level(level)) if level == limits.level => {
                (Phase::Aside { low_since: None }, Some(Why::Already))
            }
            (Phase::Before, Event::Level(saved)) => {
                (Phase::Keeping(Record { saved, raised: limits.level.clone() }), None)
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
            (Phase::Looking { record, since, low_since }, Event::Level(level)) if level == record.raised => {
                (Phase::Holding { record, since, low_since, look_at }, None)
            }
            // It is put back when there is time for it; until then it is looked at again.
            (Phase::Looking { record, since, low_since }, Event::Failed | Event::Missing | Event::Done) => {
                (Phase::Holding { record, since, low_since, look_at }, None)
            }
            (Phase::Restoring(record) | Phase::LookingAgain { record, .. }, Event::Level(level))
                if level == record.raised =>
            {
                (Phase::PuttingBack(record), None)
            }
            // It was never raised, or is back already.
            (Phase::Restoring(record), Event::Level(level)) if level == record.saved => {
                (close(record, false), None)
            }
            (Phase::LookingAgain { record, aside, high_since }, Event::Level(level))
                if level == record.saved =>
            {
                let phase = match close(record, aside) {
                    Phase::Settling { record, aside, look_at, .. } => {
                        Phase::Settling { record, aside, high_since, look_at }
                    }
                    phase => phase,
                };
                (phase, None)
            }
            (
                Phase::Checking(record)
                | Phase::Looking { record, .. }
                | Phase::Restoring(record)
                | Phase::LookingAgain { record, .. },
                Event::Level(level),
            ) => theirs(record, level),
            (Phase::PuttingBack(record), Event::Done) => {
                let saved = record.saved.clone();
                (close(record, false), Some(Why::Restored { saved }))
            }
            // Somebody may have changed it while it was not known whether it was done.
            (Phase::PuttingBack(record), _) => (Phase::Restoring(record), None),
            // It was seen while a change of ours could still come: only another look tells that none has.
            (Phase::Adopting(record), Event::Done) => {
                (Phase::Settling { record, aside: true, high_since: None, look_at }, None)
            }
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
    const SETTLE: u64 = 200;

    fn thresholds() -> Thresholds {
        Thresholds {
            level: "under_attack".to_owned(),
            sustained_ms: SUSTAINED,
            dwell_ms: DWELL,
            calm_ms: 60,
            look_ms: 45,
            settle_ms: SETTLE,
        }
    }

    /// What becomes of an act.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fate {
        Done,
        /// It is not done.
        Fails,
        /// It is done, and nobody is told.
        Lost,
        /// Nobody is told, and a change is carried out so much later.
        Late(u64),
    }

    /// A zone and a disk, which outlive any guard.
    struct World {
        level: String,
        disk: Option<Record>,
        guard: Guard,
        now: u64,
        /// Changes on their way, and when they are carried out.
        late: Vec<(u64, String)>,
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
                late: Vec::new(),
                raised: Vec::new(),
                restored: Vec::new(),
            }
        }

        /// One act, and what becomes of it.
        fn step(&mut self, load: Signals, fate: Fate) -> Option<Why> {
            let now = self.now;
            self.late.sort_unstable();
            while self.late.first().is_some_and(|(at, _)| *at <= now) {
                self.level = self.late.remove(0).1;
            }
            let act = self.guard.next(self.now, load);
            if act == Act::Wait {
                return None;
            }
            let event = match act {
                _ if fate == Fate::Fails => Event::Failed,
                Act::Ask => Event::Level(self.level.clone()),
                Act::Keep(record) => {
                    self.disk = Some(record);
                    Event::Done
                }
                Act::Set(level) => {
                    // What is changed must be on the disk.
                    let record = self.disk.as_ref().expect("a record before a change");
                    // An earlier try may have come through.
                    let is_known = [&record.saved, &record.raised].contains(&&self.level);
                    assert!(is_known, "only what was saved or set is changed: {}", self.level);
                    if level == "under_attack" {
                        self.raised.push(self.now);
                    } else {
                        assert_eq!(level, record.saved, "what comes back is what was saved");
                        self.restored.push(self.now);
                    }
                    match fate {
                        Fate::Late(delay) => self.late.push((self.now + delay, level)),
                        _ => self.level = level,
                    }
                    Event::Done
                }
                Act::Forget => {
                    self.disk = None;
                    Event::Done
                }
                Act::Wait => Event::Done,
            };
            let event = if fate == Fate::Done { event } else { Event::Failed };
            self.guard.done(self.now, self.now, event)
        }

        fn pass(&mut self, load: Signals, millis: u64) -> Vec<Why> {
            let mut told = Vec::new();
            for _ in 0..millis.div_ceil(5) {
                self.now += 5;
                for _ in 0..4 {
                    told.extend(self.step(load, Fate::Done));
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
        world.step(Signals::High, Fate::Done);
        world.now += SUSTAINED;
        let mut told = Vec::new();
        for _ in 0..2 {
            told.extend(world.step(Signals::High, Fate::Done));
        }
        // It is raised, and nobody was told; then somebody changes it.
        world.step(Signals::High, Fate::Lost);
        assert_eq!((told.as_slice(), world.level.as_str()), (&[][..], "under_attack"));
        world.level = "high".to_owned();
        assert_eq!(world.pass(Signals::High, 100), [Why::Theirs { level: "high".to_owned() }]);
        assert_eq!(world.level, "high");
    }

    #[test]
    fn a_change_that_comes_after_somebody_elses_gives_theirs_back() {
        let mut world = World::new("medium");
        world.step(Signals::High, Fate::Done);
        world.now += SUSTAINED;
        for _ in 0..2 {
            world.step(Signals::High, Fate::Done);
        }
        world.step(Signals::High, Fate::Late(SETTLE - 20));
        world.level = "off".to_owned();
        // Theirs is seen before ours comes, and written down when no other can come any more.
        world.now += SETTLE - 40;
        world.step(Signals::High, Fate::Done);
        world.now += 40;
        assert_eq!(world.disk.as_ref().map(|record| record.saved.as_str()), Some("medium"));
        world.pass(Signals::High, 20);
        assert_eq!((world.level.as_str(), &world.disk), ("off", &None));
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

    #[test]
    fn a_change_that_comes_late_is_undone() {
        let raising = || {
            let mut world = World::new("medium");
            world.pass(Signals::High, SUSTAINED);
            while !matches!(world.guard.phase, Phase::Raising(_)) {
                world.now += 5;
                world.step(Signals::High, Fate::Done);
            }
            world.step(Signals::High, Fate::Late(150));
            world
        };
        // The load is low before it comes.
        let mut world = raising();
        assert_eq!(world.pass(Signals::Low, 140), []);
        assert!(world.disk.is_some() && world.guard.is_settling());
        assert_eq!(world.pass(Signals::Low, 60), [Why::Restored { saved: "medium".to_owned() }]);
        assert_eq!(world.pass(Signals::Low, 40), []);
        assert_eq!((world.level.as_str(), &world.disk), ("medium", &None));
        // Or there is a crash.
        let mut world = raising();
        world.crash();
        assert_eq!(world.pass(Signals::Between, SETTLE), [Why::Restored { saved: "medium".to_owned() }]);
        world.pass(Signals::Low, 20);
        assert_eq!((world.level.as_str(), &world.disk), ("medium", &None));
        // Or a person sets another one: that one comes back.
        let mut world = raising();
        world.level = "high".to_owned();
        assert_eq!(
            world.pass(Signals::High, 210),
            [Why::Theirs { level: "high".to_owned() }, Why::Restored { saved: "high".to_owned() }]
        );
        assert_eq!((world.level.as_str(), &world.disk), ("high", &None));
    }

    #[test]
    fn an_attack_goes_on_after_a_restart() {
        let mut world = World::new("medium");
        world.pass(Signals::High, 50);
        world.crash();
        let told = world.pass(Signals::High, SUSTAINED + 10);
        let saved = || "medium".to_owned();
        assert_eq!(told, [Why::Restored { saved: saved() }, Why::Raised { saved: saved() }]);
        assert_eq!(world.pass(Signals::Low, DWELL + 100), [Why::Restored { saved: saved() }]);
        assert_eq!((world.level.as_str(), &world.disk), ("medium", &None));
    }

    #[test]
    fn a_zone_that_is_gone_is_given_up() {
        let mut world = World::new("medium");
        world.pass(Signals::High, 50);
        world.crash();
        let mut guard = world.guard;
        assert_eq!(guard.next(0, Signals::Low), Act::Ask);
        assert_eq!(guard.done(0, 0, Event::Missing), None);
        // One that is there after all is not gone.
        assert_eq!(guard.done(100, 100, Event::Missing), None);
        assert_eq!(guard.done(150, 150, Event::Level("under_attack".to_owned())), None);
        assert_eq!(guard.done(200, 200, Event::Missing), None);
        assert_eq!(guard.done(399, 399, Event::Missing), None);
        assert_eq!(guard.next(400, Signals::Low), Act::Ask);
        let told = guard.done(400, 400, Event::Missing);
        assert_eq!(told, Some(Why::Gone { saved: "medium".to_owned() }));
        assert_eq!(guard.next(400, Signals::Low), Act::Forget);
        guard.done(400, 400, Event::Done);
        assert!(guard.is_idle());
    }

    #[derive(Clone, Debug)]
    enum Move {
        Pass(Signals, u64),
        Step(Signals, Fate),
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
            4 => load().prop_map(|load| Move::Step(load, Fate::Fails)),
            4 => load().prop_map(|load| Move::Step(load, Fate::Lost)),
            4 => (load(), 1..SETTLE).prop_map(|(load, delay)| Move::Step(load, Fate::Late(delay))),
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
                    world.step(load, Fate::Done);
                }
                Move::Step(load, fate) => {
                    world.step(load, fate);
                }
                Move::Crash => world.crash(),
                Move::Person(level) => {
                    // Between reading and changing there is a moment in which nobody can tell; people are slower.
                    let is_between = matches!(
                        world.guard.phase,
                        Phase::Keeping(_) | Phase::Raising(_) | Phase::PuttingBack(_) | Phase::Adopting(_)
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
            world.pass(Signals::Low, SETTLE + 20);
            prop_assert_eq!(world.level.as_str(), "medium");
            prop_assert_eq!(&world.late, &[]);
            prop_assert_eq!(&world.disk, &None);
            prop_assert!(world.guard.is_idle());
        }

        /// Without a crash it comes back by itself when it is calm.
        #[test]
        fn calm_brings_it_back(moves in moves(false, false)) {
            let mut world = World::new("essentially_off");
            play(&mut world, moves);
            world.pass(Signals::Low, DWELL + 200 + 2 * SETTLE);
            prop_assert_eq!(&world.late, &[]);
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
            world.pass(Signals::Low, SETTLE + 100);
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

//! The index against a plain list, and against clients that believe what they are told.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::place::Target;

const START: i64 = 1_795_294_800_000;
const SECOND: i64 = 1000;

const VALUES: [(&str, &str); 14] = [
    ("Ip", "192.0.2.1"),
    ("Ip", "::ffff:192.0.2.1"),
    ("Ip", "192.0.2.2"),
    ("Range", "192.0.2.0/24"),
    ("Range", "192.0.2.9/24"),
    ("Range", "192.0.0.0/16"),
    ("Range", "0.0.0.0/0"),
    ("Range", "192.0.2.1"),
    ("Ip", "2001:db8::1"),
    ("Ip", "2001:DB8::1"),
    ("Range", "2001:db8::/32"),
    ("username", "alice"),
    ("username", "192.0.2.1"),
    ("Country", "alice"),
];
const ORIGINS: [(&str, &str); 5] = [
    ("crowdsec", "demo/ssh-bf"),
    ("cscli", "manual"),
    ("lists", "one"),
    ("lists", "two"),
    ("CAPI", "http:scan"),
];
const KINDS: [&str; 2] = ["ban", "captcha"];

#[derive(Clone, Debug)]
struct Plain {
    id: i64,
    scope: &'static str,
    value: &'static str,
    origin: &'static str,
    scenario: &'static str,
    kind: &'static str,
    simulated: bool,
    until: i64,
    created: i64,
    born: u64,
    gone: Option<Cursor>,
    stillborn: bool,
}

type Group = (&'static str, &'static str, Result<(Place, Form), &'static str>);

impl Plain {
    fn as_ref(&self) -> DecisionRef<'_> {
        DecisionRef {
            id: self.id,
            alert: self.id / 2,
            uuid: self.id as u128 % 3,
            scope: self.scope,
            value: self.value,
            kind: self.kind,
            origin: self.origin,
            scenario: self.scenario,
            simulated: self.simulated,
            until: self.until,
            created: self.created,
        }
    }

    fn group(&self) -> Group {
        let place = if matches!(self.scope, "Ip" | "Range") {
            Ok((Place::parse(self.value).expect("a value").0, Form::Cidr))
        } else {
            Err(self.value)
        };
        (self.scope, self.kind, place)
    }

    fn in_force(&self, moment: Cursor) -> bool {
        self.born <= moment.seq
            && self.gone.is_none_or(|gone| gone.seq > moment.seq)
            && self.until > moment.at
    }

    fn ended_between(&self, from: Cursor, to: Cursor) -> bool {
        self.born <= to.seq
            && !self.stillborn
            && match self.gone.filter(|gone| gone.seq <= to.seq) {
                Some(gone) => gone.seq > from.seq,
                None => self.until > from.at && self.until <= to.at,
            }
    }

    fn key(&self) -> (&'static str, &'static str, &'static str, &'static str, &'static str) {
        let list = if self.origin == "lists" { self.scenario } else { "" };
        (self.scope, self.value, self.kind, self.origin, list)
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Value, origin, type, seconds to live, simulated; several in one commit.
    Insert(Vec<(usize, usize, usize, i64, bool)>),
    /// The how-manieth decision from the last.
    End(Vec<usize>),
    /// Milliseconds.
    Wait(i64),
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let decision = (0..VALUES.len(), 0..ORIGINS.len(), 0..KINDS.len(), -5_i64..90, prop::bool::weighted(0.1));
    let step = prop_oneof![
        4 => prop::collection::vec(decision, 1..4).prop_map(Step::Insert),
        2 => prop::collection::vec(0_usize..12, 1..3).prop_map(Step::End),
        3 => prop_oneof![0_i64..3_000, 20_000_i64..70_000].prop_map(Step::Wait),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..40)
}

/// The index, and a list of everything that ever happened to it.
struct World {
    index: Index,
    plain: Vec<Plain>,
    now: Cursor,
}

/// How far back the index of the tests remembers.
const KEEP: i64 = 60 * SECOND;

impl World {
    fn new() -> World {
        let mut index = Index::new(|label| label.scenario.as_bytes().into());
        index.advance(START);
        World { index, plain: Vec::new(), now: Cursor { seq: 0, at: START } }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Insert(decisions) => {
                self.now.seq += 1;
                for &(value, origin, kind, seconds, simulated) in decisions {
                    let until = self.now.at + seconds * SECOND;
                    let plain = Plain {
                        id: self.plain.len() as i64 * 3,
                        scope: VALUES[value].0,
                        value: VALUES[value].1,
                        origin: ORIGINS[origin].0,
                        scenario: ORIGINS[origin].1,
                        kind: KINDS[kind],
                        simulated,
                        until,
                        created: self.now.at,
                        born: self.now.seq,
                        gone: None,
                        stillborn: until <= self.now.at,
                    };
                    assert_eq!(self.index.insert(self.now.seq, &plain.as_ref()), Ok(true));
                    assert_eq!(self.index.insert(self.now.seq, &plain.as_ref()), Ok(false));
                    self.plain.push(plain);
                }
                self.index.publish(self.now.seq);
            }
            Step::End(places) => {
                self.now.seq += 1;
                for place in places {
                    let Some(at) = self.plain.len().checked_sub(1 + place) else { continue };
                    let (now, plain) = (self.now, &mut self.plain[at]);
                    let ends = plain.gone.is_none() && plain.until > now.at;
                    assert_eq!(self.index.end(now.seq, now.at, plain.id), ends);
                    if ends {
                        plain.gone = Some(now);
                    }
                }
                self.index.publish(self.now.seq);
            }
            Step::Wait(millis) => {
                self.now.at += millis;
                self.index.advance(self.now.at);
            }
            Step::Compact => {
                self.index.compact_now(self.now.at - KEEP);
            }
        }
        assert_eq!(self.index.now(), self.now);
    }

    fn active(&self, filter: &Filter) -> impl Iterator<Item = &Plain> {
        let filter = filter.clone();
        self.plain.iter().filter(move |row| row.in_force(self.now) && takes(&filter, row))
    }
}

fn takes(filter: &Filter, row: &Plain) -> bool {
    let any = |list: &Option<Vec<String>>, test: &dyn Fn(&str) -> bool| {
        list.as_ref().is_none_or(|list| list.iter().any(|item| test(item)))
    };
    let inside = |target: &Target| {
        matches!(row.scope, "Ip" | "Range") && target.matches(Place::parse(row.value).expect("a value").0)
    };
    (filter.simulated || !row.simulated)
        && any(&filter.scopes, &|item| item == row.scope)
        && any(&filter.scope, &|item| item == row.scope)
        && any(&filter.types, &|item| item == row.kind)
        && any(&filter.origins, &|item| item == row.origin)
        && any(&filter.scenarios_containing, &|item| row.scenario.contains(item))
        && !filter
            .scenarios_not_containing
            .as_ref()
            .is_some_and(|list| list.iter().any(|item| row.scenario.contains(item.as_str())))
        && filter.value.as_deref().is_none_or(|value| value == row.value)
        && filter.target.as_ref().is_none_or(inside)
        && filter.uuids.as_ref().is_none_or(|list| list.contains(&row.as_ref().uuid))
}

fn filters() -> impl Strategy<Value = Filter> {
    let list = |items: &'static [&'static str]| {
        prop::option::weighted(0.25, prop::sample::subsequence(items, 0..=items.len()))
            .prop_map(|list| list.map(|list| list.into_iter().map(str::to_owned).collect()))
    };
    let target = prop::option::weighted(0.3, (0..11_usize, any::<bool>())).prop_map(|target| {
        target.map(|(at, contains)| Target::parse(VALUES[at].1, contains).expect("a value"))
    });
    let value =
        prop::option::weighted(0.2, 0..VALUES.len()).prop_map(|at| at.map(|at| VALUES[at].1.to_owned()));
    (
        list(&["Ip", "Range", "username"]),
        list(&["ban"]),
        list(&["crowdsec", "lists", "CAPI"]),
        list(&["ssh", "o"]),
        list(&["ssh", "http"]),
        target,
        value,
        prop::option::weighted(0.1, Just(vec![0, 1])),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(scopes, types, origins, containing, not_containing, target, value, uuids, simulated)| Filter {
                scopes,
                types,
                origins,
                scenarios_containing: containing,
                scenarios_not_containing: not_containing,
                target,
                value,
                uuids,
                simulated,
                ..Filter::default()
            },
        )
}

/// What an answer told: sides, numbers, milliseconds left.
fn told(index: &Index, mut stream: Stream, budget: usize) -> Vec<(Side, i64, i64)> {
    let mut out = Vec::new();
    while !stream.is_done() {
        index.page(&mut stream, budget, |side, view, left| out.push((side, view.id(), left)));
    }
    out
}

fn no_simulated() -> Filter {
    Filter::default()
}

proptest! {
    #[test]
    fn queries_agree_with_a_list(steps in steps(), filters in prop::collection::vec(filters(), 1..4), page in (0_usize..3, 0_usize..4, -1_i64..20)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            for filter in &filters {
                let expected: Vec<i64> = world.active(filter).map(|row| row.id).collect();
                prop_assert_eq!(&world.index.ids(filter), &expected);
                let (offset, limit, id_gt) = page;
                let part: Vec<i64> =
                    expected.iter().copied().filter(|&id| id > id_gt).skip(offset).take(limit).collect();
                let mut found = Vec::new();
                world.index.query(filter, Page { id_gt, offset, limit }, |view| found.push(view.id()));
                prop_assert_eq!(found, part);
            }
            let all = Filter { simulated: true, ..Filter::default() };
            prop_assert_eq!(world.index.active(), world.active(&all).count() as u64);
            for row in world.active(&all) {
                let view = world.index.get(row.id).expect("it is in force");
                prop_assert_eq!(view.value(), row.value);
                let label = view.label();
                prop_assert_eq!((label.scope, label.kind, label.origin), (row.scope, row.kind, row.origin));
                prop_assert_eq!((label.scenario, label.simulated), (row.scenario, row.simulated));
                prop_assert_eq!(view.prepared(), row.scenario.as_bytes());
                prop_assert_eq!((view.end_ms(), view.uuid(), view.alert()), (row.until, row.as_ref().uuid, row.as_ref().alert));
                prop_assert!(view.is_active());
            }
        }
    }

    #[test]
    fn answers_agree_with_their_definition(
        steps in steps(), filter in filters(), polls in prop::collection::vec(any::<bool>(), 40), dedup in any::<bool>(), start in any::<bool>(), budget in 1_usize..9,
    ) {
        let mut world = World::new();
        let mut last: Option<Cursor> = None;
        for (step, poll) in steps.iter().zip(polls) {
            world.step(step);
            if !poll {
                continue;
            }
            let to = world.now;
            let since = match last {
                Some(cursor) if !start => Since::Delta(cursor),
                other => Since::Start(other),
            };
            let known = last.filter(|&cursor| !world.index.is_stale(cursor));
            let (new_from, from) = match known {
                Some(cursor) if start => (0, Cursor { at: cursor.at - 2 * SECOND, ..cursor }),
                Some(cursor) => (cursor.seq, cursor),
                None => (0, Cursor { seq: 0, at: i64::MIN }),
            };
            let options = StreamOptions { dedup, handover: false };
            let stream = world.index.stream(filter.clone(), options, since);
            prop_assert_eq!(stream.cursor(), to);
            let told = told(&world.index, stream, budget);
            last = Some(to);

            let outlived = |row: &Plain| world.active(&filter).any(|other| {
                other.group() == row.group() && other.until > row.until
            });
            let new: Vec<(i64, i64)> = world.active(&filter)
                .filter(|row| row.born > new_from && row.until - to.at >= SECOND && !(dedup && outlived(row)))
                .map(|row| (row.id, row.until - to.at))
                .collect();
            let found: Vec<_> = told.iter().filter(|t| t.0 == Side::New).map(|t| (t.1, t.2)).collect();
            prop_assert_eq!(found, new);

            let deleted: Vec<&Plain> = told.iter().filter(|t| t.0 == Side::Deleted)
                .map(|t| world.plain.iter().find(|row| row.id == t.1).expect("a row"))
                .collect();
            prop_assert!(told.iter().filter(|t| t.0 == Side::Deleted).all(|t| t.2 <= 0));
            // What was let go of by a compaction is not told; that is a matter of starts without a position.
            let held = |row: &Plain| world.index.get(row.id).is_some();
            let ended: Vec<&Plain> = world.plain.iter()
                .filter(|row| takes(&filter, row) && row.ended_between(from, to) && held(row))
                .collect();
            if dedup {
                let lifted = |row: &Plain| !world.active(&filter).any(|other| other.group() == row.group());
                for row in &ended {
                    prop_assert_eq!(deleted.iter().any(|other| other.key() == row.key()), lifted(row), "{:?}", row);
                }
                for (at, row) in deleted.iter().enumerate() {
                    prop_assert!(lifted(row) && takes(&filter, row) && !row.in_force(to));
                    prop_assert!(ended.iter().any(|other| other.group() == row.group()));
                    prop_assert!(deleted[..at].iter().all(|other| other.key() != row.key()));
                }
            } else {
                let mut numbers: Vec<i64> = ended.iter().map(|row| row.id).collect();
                numbers.sort_unstable();
                prop_assert_eq!(deleted.iter().map(|row| row.id).collect::<Vec<_>>(), numbers);
            }
        }
    }

    /// Whatever happens between two pages, an answer is that of the moment of its opening.
    #[test]
    fn pages_are_of_one_moment(
        before in steps(), between in steps(), filter in filters(), handover in any::<bool>(), budget in 1_usize..5,
    ) {
        let mut world = World::new();
        let mut cursor = None;
        for (at, step) in before.iter().enumerate() {
            if at == before.len() / 2 {
                cursor = Some(world.now);
            }
            world.step(step);
        }
        let since = cursor.map_or(Since::Start(None), Since::Delta);
        let options = StreamOptions { dedup: true, handover };
        let mut stream = world.index.stream(filter, options, since);
        let whole = told(&world.index, stream.clone(), usize::MAX);
        let mut out = Vec::new();
        let mut between = between.iter();
        while !stream.is_done() {
            world.index.page(&mut stream, budget, |side, view, left| out.push((side, view.id(), left)));
            // A compaction forgets, and so changes what is told about the past.
            if let Some(step) = between.next().filter(|step| !matches!(step, Step::Compact)) {
                world.step(step);
            }
        }
        prop_assert_eq!(out, whole);
    }

    /// A client that polls has a value in force as long as some decision about it is, and no longer.
    #[test]
    fn clients_never_miss_a_change(steps in steps(), filter in filters(), polls in prop::collection::vec(any::<bool>(), 40)) {
        let filter = Filter { target: None, value: None, uuids: None, ..filter };
        let mut world = World::new();
        let mut client: BTreeMap<String, i64> = BTreeMap::new();
        let mut since = Since::Start(None);
        for (step, poll) in steps.iter().zip(polls) {
            world.step(step);
            if !poll {
                continue;
            }
            let stream = world.index.stream(filter.clone(), StreamOptions::default(), since);
            // Who was away for longer than the index remembers starts anew.
            if let Since::Delta(cursor) = since && world.index.is_stale(cursor) {
                client.clear();
            }
            since = Since::Delta(stream.cursor());
            let mut told = told(&world.index, stream, 3);
            told.sort_by_key(|&(side, ..)| std::cmp::Reverse(side));
            let name = |row: &Plain| format!("{:?}", row.group());
            for (side, id, left) in told {
                let row = world.plain.iter().find(|row| row.id == id).expect("a row");
                match side {
                    Side::Deleted => client.remove(&name(row)),
                    Side::New => client.insert(name(row), world.now.at + left),
                };
            }
            client.retain(|_, until| *until > world.now.at);
            for row in world.active(&filter).filter(|row| row.until - world.now.at >= SECOND) {
                prop_assert!(client.contains_key(&name(row)), "{:?} is not in force", row);
            }
            for name in client.keys() {
                prop_assert!(world.active(&filter).any(|row| format!("{:?}", row.group()) == *name), "{} is", name);
            }
        }
    }
}

proptest! {
    /// A client with one set for each origin and list has in each exactly the decisions that end last.
    #[test]
    fn sets_of_origins_are_exact(steps in steps(), filter in filters(), polls in prop::collection::vec(any::<bool>(), 40)) {
        let filter = Filter { target: None, value: None, uuids: None, ..filter };
        let mut world = World::new();
        let mut client: BTreeMap<_, i64> = BTreeMap::new();
        let mut since = Since::Start(None);
        for (step, poll) in steps.iter().zip(polls) {
            world.step(step);
            if !poll {
                continue;
            }
            let stream = world.index.stream(filter.clone(), StreamOptions { dedup: true, handover: true }, since);
            let starts = match since {
                Since::Delta(cursor) => world.index.is_stale(cursor),
                Since::Start(_) => true,
            };
            if starts {
                client.clear();
            }
            since = Since::Delta(stream.cursor());
            let mut told = told(&world.index, stream, 3);
            told.sort_by_key(|&(side, ..)| std::cmp::Reverse(side));
            for (side, id, left) in told {
                let row = world.plain.iter().find(|row| row.id == id).expect("a row");
                match side {
                    Side::Deleted => client.remove(&row.key()),
                    Side::New => client.insert(row.key(), world.now.at + left),
                };
            }
            client.retain(|_, until| *until > world.now.at);
            let mut expected = BTreeMap::new();
            for row in world.active(&filter) {
                let longest = world.active(&filter).filter(|other| other.group() == row.group()).map(|other| other.until).max();
                if Some(row.until) == longest {
                    expected.insert(row.key(), row.until);
                }
            }
            // The last second of a decision need not be told.
            expected.retain(|key, until| *until - world.now.at >= SECOND || client.contains_key(key));
            prop_assert_eq!(&client, &expected);
        }
    }
}

fn decision<'d>(id: i64, value: &'d str, origin: &'d str, seconds: i64) -> DecisionRef<'d> {
    DecisionRef {
        id,
        alert: 1,
        uuid: 0,
        scope: "Ip",
        value,
        kind: "ban",
        origin,
        scenario: "demo/ssh-bf",
        simulated: false,
        until: START + seconds * SECOND,
        created: START,
    }
}

/// An index in which each decision came with a commit of its own.
fn index_of(decisions: &[DecisionRef<'_>]) -> Index {
    let mut index = Index::new(|_| Box::default());
    index.advance(START);
    for (at, decision) in decisions.iter().enumerate() {
        assert_eq!(index.insert(at as u64 + 1, decision), Ok(true));
    }
    index.publish(decisions.len() as u64);
    index
}

fn poll(index: &Index, filter: Filter, since: Since) -> Vec<(Side, i64)> {
    let stream = index.stream(filter, StreamOptions::default(), since);
    told(index, stream, 100).into_iter().map(|(side, id, _)| (side, id)).collect()
}

#[test]
fn only_the_longest_ban_is_told() {
    let index = index_of(&[
        decision(1, "192.0.2.1", "crowdsec", 4 * 3600),
        decision(2, "192.0.2.1", "lists", 24 * 3600),
        decision(3, "192.0.2.0/24", "crowdsec", 3600),
    ]);
    assert_eq!(poll(&index, no_simulated(), Since::Start(None)), [(Side::New, 2), (Side::New, 3)]);
    let only = Filter { origins: Some(vec!["crowdsec".to_owned()]), ..Filter::default() };
    assert_eq!(poll(&index, only, Since::Start(None)), [(Side::New, 1), (Side::New, 3)]);
}

#[test]
fn a_value_is_lifted_with_its_last_ban() {
    let mut index =
        index_of(&[decision(1, "192.0.2.1", "crowdsec", 3600), decision(2, "192.0.2.1", "lists", 7200)]);
    let known = index.now();
    assert!(index.end(3, START + SECOND, 2));
    index.publish(3);
    index.advance(START + SECOND);
    assert_eq!(poll(&index, no_simulated(), Since::Delta(known)), []);
    let known = index.now();
    index.advance(START + 3600 * SECOND);
    // Both origins may have the value in a set of their own.
    assert_eq!(poll(&index, no_simulated(), Since::Delta(known)), [(Side::Deleted, 1), (Side::Deleted, 2)]);
}

#[test]
fn the_last_second_is_not_told_as_new() {
    let mut index = index_of(&[decision(1, "192.0.2.1", "crowdsec", 10)]);
    index.advance(START + 9_000);
    assert_eq!(poll(&index, no_simulated(), Since::Start(None)), [(Side::New, 1)]);
    index.advance(START + 9_001);
    assert_eq!(poll(&index, no_simulated(), Since::Start(None)), []);
}

#[test]
fn what_is_over_when_it_comes_is_never_told() {
    let mut index = index_of(&[decision(1, "192.0.2.1", "crowdsec", 10)]);
    index.advance(START + 20_000);
    let known = index.now();
    assert_eq!(index.insert(2, &decision(2, "192.0.2.1", "cscli", 15)), Ok(true));
    index.publish(2);
    assert_eq!(poll(&index, no_simulated(), Since::Delta(known)), []);
    // It does not hide what was in force before.
    assert_eq!(poll(&index, no_simulated(), Since::Start(None)), [(Side::Deleted, 1)]);
}

#[test]
fn bad_values_are_refused() {
    let mut index = index_of(&[]);
    let error = index.insert(1, &decision(1, "xxx2", "cscli", 10)).expect_err("no address");
    assert_eq!(error.to_string(), "invalid ip address 'xxx2'");
    assert!(index.is_empty());
}

#[test]
fn what_is_not_published_is_not_seen() {
    let mut index = index_of(&[decision(1, "192.0.2.1", "crowdsec", 3600)]);
    assert_eq!(index.insert(2, &decision(2, "192.0.2.2", "crowdsec", 3600)), Ok(true));
    assert!(index.end(2, START, 1));
    assert_eq!(index.ids(&no_simulated()), [1]);
    assert!(index.get(2).is_none());
    index.publish(2);
    assert_eq!(index.ids(&no_simulated()), [2]);
}

#[test]
fn a_loaded_index_goes_on_where_it_was() {
    let mut index = Index::new(|_| Box::default());
    let gone = Cursor { seq: 4, at: START + SECOND };
    assert_eq!(index.load(1, Some(gone), &decision(1, "192.0.2.1", "crowdsec", 3600)), Ok(true));
    assert_eq!(index.load(3, None, &decision(2, "192.0.2.2", "crowdsec", 3600)), Ok(true));
    index.loaded(4, Cursor { seq: 2, at: START - SECOND });
    index.advance(START + 2 * SECOND);
    assert_eq!(index.now(), Cursor { seq: 4, at: START + 2 * SECOND });
    let since = |seq| Since::Delta(Cursor { seq, at: START });
    assert_eq!(poll(&index, no_simulated(), since(3)), [(Side::Deleted, 1)]);
    assert_eq!(poll(&index, no_simulated(), since(2)), [(Side::New, 2), (Side::Deleted, 1)]);
    // Older positions, and those of another life, begin anew.
    for seq in [1, 5] {
        assert_eq!(poll(&index, no_simulated(), since(seq)), [(Side::New, 2), (Side::Deleted, 1)]);
    }
}

#[test]
fn covering_shows_the_past_too() {
    let mut index = index_of(&[
        decision(1, "192.0.2.1", "crowdsec", 10),
        decision(2, "192.0.0.0/16", "crowdsec", 3600),
        decision(3, "192.0.2.2", "crowdsec", 3600),
    ]);
    index.advance(START + 60_000);
    let mut found = Vec::new();
    let target = Target::parse("192.0.2.1", true).expect("an address");
    index.covering(target, |view| found.push((view.id(), view.is_active())));
    assert_eq!(found, [(1, false), (2, true)]);
}

#[test]
fn compaction_waits_for_enough() {
    let mut index =
        index_of(&[decision(1, "192.0.2.1", "crowdsec", 10), decision(2, "192.0.2.2", "crowdsec", 99)]);
    index.advance(START + 60_000);
    assert_eq!(index.compact(START + 30_000), 0);
    assert_eq!(index.compact_now(START + 30_000), 1);
    assert_eq!((index.len(), index.active()), (1, 1));
}

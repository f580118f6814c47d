use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    Engine,
    detect::store::{DEFAULT_BUCKET_BYTES, tests::engine},
    keys::LINE_RAW,
    record::Record,
    snapshot::Desk,
};

fn event(engine: &Engine, number: usize) -> Arc<Snapshot> {
    let mut record = Record::new(&engine.keys);
    record.set(LINE_RAW, &number.to_string());
    let mut kept = engine.scenarios.kept.clone();
    kept.slots[LINE_RAW.0 as usize] = true;
    Arc::new(Snapshot::take(&mut record, &engine.keys, &kept, &mut Desk::default()))
}

fn number(event: &Snapshot) -> &str {
    event.text(LINE_RAW)
}

#[test]
fn is_small() {
    assert!(allocated(size_of::<Bucket>()) <= 160);
    assert_eq!(size_of::<Queue>(), 16);
}

#[test]
fn queues_keep_their_order() {
    let engine = engine(DEFAULT_BUCKET_BYTES);
    let events: Vec<_> = (0..2_000).map(|at| event(&engine, at)).collect();
    let (mut queue, mut model) = (Queue::default(), VecDeque::new());
    assert!(queue.pop().is_none());
    for (at, event) in events.iter().enumerate() {
        queue.push(Arc::clone(event));
        model.push_back(at.to_string());
        // Seven of eight stay; at first the queue runs empty again and again.
        if at % 8 == 0 || at < 6 {
            let popped = queue.pop().map(|event| number(&event).to_owned());
            assert_eq!(popped, model.pop_front());
        }
        assert_eq!(queue.len(), model.len());
        assert_eq!(queue.get(model.len()).map(number), None);
    }
    assert!(queue.iter().map(number).eq(&model));
    // A long queue has no more than an eighth of air.
    assert!(queue.bytes() <= allocated(model.len() * 9) + 64, "{}", queue.bytes());
    assert!(queue.drain().map(|event| number(&event).to_owned()).eq(model));
    assert_eq!((queue.len(), Queue::default().bytes()), (0, 0));
}

proptest! {
    #[test]
    fn values_are_new_once(first in prop::option::of("[ab]{0,2}"), values in prop::collection::vec("[ab]{0,2}", 0..30)) {
        let engine = engine(DEFAULT_BUCKET_BYTES);
        let scenario = &engine.scenarios.all[0];
        let mut bucket = Bucket::new(0, scenario, "key", first.as_deref(), Mode::Replay, 0);
        let mut seen: BTreeSet<String> = first.into_iter().collect();
        for value in values {
            prop_assert_eq!(bucket.is_new(&value), seen.insert(value.clone()), "{}", value);
            prop_assert_eq!(bucket.key(), "key");
        }
    }

    /// Sources are counted apart, as far as there is one; events without any belong to none.
    #[test]
    fn contributors_are_counted(
        addresses in prop::collection::vec(prop::option::weighted(0.9, 0..3_u32), 0..20),
    ) {
        let engine = engine(DEFAULT_BUCKET_BYTES);
        let scenario = &engine.scenarios.all[0];
        let event = event(&engine, 0);
        let mut bucket = Bucket::new(0, scenario, "key", None, Mode::Replay, 0);
        let mut model: BTreeMap<String, (u64, Timestamp)> = BTreeMap::new();
        for (second, address) in addresses.iter().enumerate() {
            let address = address.map(|address| IpAddr::from([10, 0, 0, 9 + address as u8]));
            let time = Timestamp::from_unix(second as i64, 0);
            let poured = Poured { event: &event, address, scope: Scoped::None };
            bucket.pour(scenario, time, &poured, true, |_| ());
            if let Some(address) = address {
                let known = model.entry(address.to_string()).or_insert((0, time));
                *known = (known.0 + 1, time);
            }
        }
        let list = bucket.contributors().into_iter().map(|c| (c.value, (c.count, c.last_seen)));
        prop_assert!(list.eq(model));
    }

    /// What the scope expression said stays with its event, whatever falls out of the queue.
    #[test]
    fn scopes_stay_with_their_events(said in prop::collection::vec(0..4_usize, 0..20)) {
        let engine = engine(DEFAULT_BUCKET_BYTES);
        let scenario = engine.scenarios.all.iter().find(|scenario| scenario.bound == Some(2));
        let scenario = scenario.expect("there is one");
        let mut bucket = Bucket::new(0, scenario, "key", None, Mode::Replay, 0);
        let scopes = [Scoped::None, Scoped::Failed, Scoped::Text("a"), Scoped::Text("b")];
        for (at, said) in said.iter().enumerate() {
            let event = event(&engine, at);
            let poured = Poured { event: &event, address: None, scope: scopes[*said] };
            bucket.pour(scenario, Timestamp::from_unix(at as i64, 0), &poured, true, |_| ());
        }
        let expected = said.iter().enumerate().skip(said.len().saturating_sub(3));
        let expected = expected.map(|(at, said)| (at.to_string(), scopes[*said]));
        prop_assert!(bucket.events().map(|(event, scope)| (number(event).to_owned(), scope)).eq(expected));
    }
}

#[test]
fn no_more_than_so_many_contributors() {
    let engine = engine(DEFAULT_BUCKET_BYTES);
    let scenario = &engine.scenarios.all[0];
    let event = event(&engine, 0);
    let mut bucket = Bucket::new(0, scenario, "key", None, Mode::Replay, 0);
    for at in 0..2 * MAX_CONTRIBUTORS as u32 {
        let poured =
            Poured { event: &event, address: Some(IpAddr::from(at.to_be_bytes())), scope: Scoped::None };
        bucket.pour(scenario, Timestamp::from_unix(at.into(), 0), &poured, true, |_| ());
    }
    assert_eq!(bucket.contributors().len(), MAX_CONTRIBUTORS);
}

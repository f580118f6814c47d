use proptest::prelude::*;

use super::{common::Cell, *};
use crate::record::Span;

const NAMES: usize = 70;

/// Keys of all spaces; those of `Meta` are kept, and every third of the others.
fn keys() -> (Keys, Kept) {
    let mut keys = Keys::new();
    let mut kept = Kept::default();
    kept.spaces[Space::Meta as usize] = true;
    let mut chosen = Vec::new();
    for at in 0..NAMES {
        let space = Space::ALL[at % 4];
        let slot = keys.intern(space, &format!("key{}", at * 37 % NAMES));
        if at % 3 == 0 {
            chosen.push(slot);
        }
    }
    keys.seal();
    kept.slots.resize(keys.len(), false);
    for slot in chosen {
        kept.slots[slot.0 as usize] = true;
    }
    kept.seal(&keys);
    (keys, kept)
}

/// What a rule does to an event.
#[derive(Clone, Debug)]
enum Write {
    Text(usize, String),
    /// Points a slot at the text of another.
    Copy(usize, usize),
    /// Under a key that no rule names.
    Side(usize, String),
}

/// Any but the type, which rules cannot write.
fn slot() -> impl Strategy<Value = usize> {
    (0..NAMES + 8).prop_filter("a slot that rules write", |slot| *slot != keys::TYPE.0 as usize)
}

fn write() -> impl Strategy<Value = Write> {
    let text = prop_oneof![
        4 => "[ab]{0,2}",
        2 => "[a-zé€]{0,70}",
        1 => (0..5_000_usize).prop_map(|len| "x".repeat(len)),
    ];
    prop_oneof![
        6 => (slot(), text).prop_map(|(slot, text)| Write::Text(slot, text)),
        2 => (slot(), slot()).prop_map(|(to, from)| Write::Copy(to, from)),
        1 => (0..4_usize, "[a-c]{1}").prop_map(|(space, key)| Write::Side(space, key)),
    ]
}

fn apply(record: &mut Record, write: &Write) {
    match write {
        Write::Text(slot, text) => record.set(Slot(*slot as u32), text),
        Write::Copy(to, from) => {
            let span = record.span(Slot(*from as u32));
            if span != Span::ABSENT {
                record.assign(Slot(*to as u32), span);
            }
        }
        Write::Side(space, key) => {
            record.side.insert((Space::ALL[*space], key.as_str().into()), "side".into());
        }
    }
}

proptest! {
    /// Whatever came before it on the same desk, an event says what its record said of all that is kept.
    #[test]
    fn says_what_the_record_said(
        writes in prop::collection::vec(write(), 0..60),
        changes in prop::collection::vec(prop::collection::vec(write(), 0..6), 1..12),
    ) {
        let (keys, kept) = keys();
        let mut desk = Desk::default();
        let mut record = Record::new(&keys);
        for change in &changes {
            record.clear();
            writes.iter().chain(change).for_each(|write| apply(&mut record, write));
            let event = Snapshot::take(&mut record, &keys, &kept, &mut desk);
            let mut bytes = 0;
            prop_assert_eq!(event.get(keys::TYPE), Some("log"));
            for slot in (0..keys.len() as u32).map(Slot).filter(|slot| *slot != keys::TYPE) {
                let expected = (kept.slots[slot.0 as usize] && record.has(slot)).then(|| record.text(slot));
                prop_assert_eq!(event.get(slot), expected);
                bytes += expected.map_or(0, str::len);
            }
            prop_assert_eq!(event.own.total(), bytes);
            prop_assert_eq!(event.entries(&keys, Space::Meta), record.entries(&keys, Space::Meta));
            for key in ["a", "b", "key5"] {
                prop_assert_eq!(
                    event.key(&keys, Space::Meta, key),
                    record.key(&keys, Space::Meta, key)
                );
            }
        }
    }

    #[test]
    fn numbers(numbers in prop::collection::vec(any::<u32>(), 0..20)) {
        let mut text = String::new();
        for number in &numbers {
            let before = text.len();
            write_number(&mut text, *number as usize);
            prop_assert_eq!(text.len() - before, digits(*number as usize));
        }
        let mut at = 0;
        for number in &numbers {
            prop_assert_eq!(read_number(text.as_bytes(), &mut at), *number as usize);
        }
        prop_assert_eq!(at, text.len());
    }

    /// Times come back as they were, shown at the offset at which they were shown.
    #[test]
    fn times(
        time in (any::<i64>(), 0..2_000_000_000_u32, -50_000..50_000_i32),
        arrival in (-10_000_000_000..10_000_000_000_i64, 0..2_000_000_000_u32, -2..2_i32),
        later in (-10_000_000_000..10_000_000_000_i64, 0..2_000_000_000_u32, -2..2_i32),
        undated in any::<bool>(),
    ) {
        let at = |(secs, nanos, offset)| Timestamp::from_unix(secs, nanos).with_offset(offset);
        let (keys, kept) = keys();
        let mut record = Record::new(&keys);
        record.time = Some(at(time));
        record.arrival = at(arrival);
        if !undated {
            record.set(keys::MARSHALED_TIME, "2026-03-01T00:00:00.5+01:00");
        }
        let mut event = Snapshot::take(&mut record, &keys, &kept, &mut Desk::default());
        let shown = |time: Timestamp| (time, time.offset());
        prop_assert_eq!(shown(event.time()), shown(at(time)));
        prop_assert_eq!(shown(event.arrival()), shown(at(arrival)));
        prop_assert_eq!(event.marshaled().map(shown), record.marshaled_time().map(shown));
        event.set_arrival(at(later));
        prop_assert_eq!(shown(event.time()), shown(at(time)));
        prop_assert_eq!(shown(event.arrival()), shown(at(later)));
        prop_assert_eq!(event.marshaled().map(shown), record.marshaled_time().map(shown));
    }
}

/// Freezes events with these texts in the first slots that have names.
fn freeze(desk: &mut Desk, texts: &[&str]) -> Snapshot {
    let (keys, mut kept) = keys();
    kept.slots.fill(true);
    let mut record = Record::new(&keys);
    for (slot, text) in (keys::FIXED..).map(Slot).zip(texts) {
        record.set(slot, text);
    }
    Snapshot::take(&mut record, &keys, &kept, desk)
}

#[test]
fn what_repeats_is_held_once() {
    let mut desk = Desk::default();
    let first = freeze(&mut desk, &["sshd", "failed", "192.0.2.1"]);
    let second = freeze(&mut desk, &["sshd", "failed", "192.0.2.2"]);
    assert!(Arc::ptr_eq(&first.common, &second.common));
    // The length of the table, the total, position and length of the one text, and it.
    assert_eq!((first.own.0.len(), second.own.0.len()), (2, 4 + "192.0.2.2".len()));
    // They count as if nothing were shared.
    assert_eq!(first.bytes(), second.bytes());
    assert_eq!(first.bytes(), size_of::<Snapshot>() + 16 + "sshdfailed192.0.2.1".len());
}

#[test]
fn long_texts_are_not_shared() {
    let long = "x".repeat(65);
    let mut desk = Desk::default();
    let event = freeze(&mut desk, &[&long, &long[..64]]);
    assert_eq!(event.common.cell(0), Cell::Own);
    assert_eq!(event.common.cell(1), Cell::Shared { start: 0, end: 64 });
    assert_eq!(freeze(&mut desk, &[&long, ""]).get(Slot(keys::FIXED)), Some(&*long));
}

#[test]
fn a_sort_that_does_not_fit_is_made_anew() {
    let mut desk = Desk::default();
    let odd = freeze(&mut desk, &["first and last of its sort", "b"]);
    let usual = || ["all the others say something else", "b"];
    let events: Vec<Snapshot> = (0..300).map(|_| freeze(&mut desk, &usual())).collect();
    assert!(Arc::ptr_eq(&odd.common, &events[0].common));
    let new = &events[299].common;
    assert!(!Arc::ptr_eq(&odd.common, new));
    assert_eq!(events.iter().filter(|event| event.own.0.len() > 2).count(), 255);
    assert!(events.iter().all(|event| event.get(Slot(keys::FIXED)) == Some(usual()[0])));
}

#[test]
fn a_thread_remembers_no_more_than_so_many_sorts() {
    let mut desk = Desk::default();
    let mut made = Vec::new();
    for at in 0..2_000_u32 {
        let texts: Vec<&str> = vec!["text"; at as usize % 70 + 1];
        let event = freeze(&mut desk, &texts);
        made.push(Arc::downgrade(&event.common));
    }
    let held: std::collections::BTreeSet<_> =
        made.iter().filter_map(|common| Some(Arc::as_ptr(&common.upgrade()?))).collect();
    assert!(held.len() <= 128 && held.len() > 1, "{}", held.len());
}

#[test]
fn is_small() {
    assert_eq!(size_of::<Snapshot>(), 48);
}

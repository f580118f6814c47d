//! Scripts that behave, and scripts that do not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use testudo_wire::Decision as Told;
use testudo_wire::stream::StreamBody;

use super::book::{Book, Habits, Job, SELDOM_MS};
use super::subject::Act;

fn habits() -> Habits {
    Habits { as_arguments: true, slack_ms: 0, attempts: 3, types: Vec::new() }
}

fn told(id: i64, value: &str, seconds: u64) -> Told {
    Told {
        id,
        scope: "Ip".to_owned(),
        value: value.to_owned(),
        kind: "ban".to_owned(),
        origin: format!("origin-{id}"),
        scenario: "demo/ssh-bf".to_owned(),
        duration: format!("{seconds}s"),
        ..Told::default()
    }
}

fn take(book: &mut Book, full: bool, new: Vec<Told>, deleted: Vec<Told>, now: u64) {
    book.take(full, &StreamBody { new, deleted }, now, |told, refusal| panic!("{told:?}: {refusal}"));
}

/// Everything that there is to tell, told.
fn tell(book: &mut Book, now: u64) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let jobs = book.next(10, now);
        if jobs.is_empty() && !book.has_work() {
            return said;
        }
        for job in jobs {
            said.push(format!(
                "{} {} {}",
                job.message.act.name(),
                job.message.subject.value,
                job.message.seconds
            ));
            book.done(&job);
        }
    }
}

#[test]
fn a_value_is_deleted_when_the_last_decision_goes() {
    let mut book = Book::new(habits());
    take(&mut book, true, vec![told(1, "192.0.2.1", 100), told(2, "192.0.2.1/32", 50)], vec![], 0);
    assert_eq!(tell(&mut book, 0), ["add 192.0.2.1 100"]);
    // The longer one is lifted: the shorter goes on, and ends by the clock.
    take(&mut book, false, vec![], vec![told(1, "192.0.2.1", 0)], 10_000);
    assert_eq!(tell(&mut book, 10_000), [""; 0]);
    book.tick(49_999);
    assert_eq!(tell(&mut book, 49_999), [""; 0]);
    book.tick(50_000);
    let jobs = book.next(9, 50_000);
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    // It is told by the number that the script knows.
    assert_eq!((job.message.act, job.message.id, &*job.message.origin), (Act::Del, 1, "origin-1"));
    book.done(job);
    assert_eq!(tell(&mut book, 50_000), [""; 0]);
    assert_eq!(book.len(), 0);
}

#[test]
fn what_lasts_longer_is_told_again() {
    let mut book = Book::new(Habits { slack_ms: 10_000, ..habits() });
    take(&mut book, true, vec![told(1, "192.0.2.1", 100)], vec![], 0);
    assert_eq!(tell(&mut book, 0), ["add 192.0.2.1 100"]);
    take(&mut book, false, vec![told(2, "192.0.2.1", 100)], vec![], 9_000);
    assert_eq!(tell(&mut book, 9_000), [""; 0]);
    take(&mut book, false, vec![told(3, "192.0.2.1", 100)], vec![], 11_000);
    assert_eq!(tell(&mut book, 11_000), ["add 192.0.2.1 100"]);
    // Everything told anew changes nothing; what is missing from it is over.
    take(&mut book, true, vec![told(3, "192.0.2.1", 99)], vec![], 12_000);
    assert_eq!(tell(&mut book, 12_000), [""; 0]);
    take(&mut book, true, vec![told(4, "192.0.2.2", 99)], vec![], 13_000);
    let mut said = tell(&mut book, 13_000);
    said.sort();
    assert_eq!(said, ["add 192.0.2.2 99", "del 192.0.2.1 0"]);
}

/// Tells the one thing that there is to tell, in vain, as often as it may fail; when it is told next.
fn fail(book: &mut Book, expected: Act, mut now: u64) -> u64 {
    for (attempt, pause) in [(1, 1_000), (2, 2_000), (3, SELDOM_MS), (4, SELDOM_MS)] {
        let jobs = book.next(9, now);
        let [job] = &jobs[..] else { panic!("attempt {attempt}: {jobs:?}") };
        assert_eq!(job.message.act, expected);
        assert_eq!(book.failed(job, true, now), attempt == 3, "said once");
        book.tick(now + pause - 1);
        assert!(!book.has_work());
        now += pause;
        book.tick(now);
    }
    now
}

#[test]
fn a_device_that_is_away_loses_no_ban_and_no_unban() {
    let mut book = Book::new(habits());
    take(&mut book, true, vec![told(1, "192.0.2.1", 10_000)], vec![], 0);
    let now = fail(&mut book, Act::Add, 0);
    // What was never taken is not known after a restart either.
    assert!(book.known().all(|memory| !memory.confirmed));
    assert_eq!(tell(&mut book, now), [format!("add 192.0.2.1 {}", 10_000 - now / 1_000)]);
    take(&mut book, false, vec![], vec![told(1, "192.0.2.1", 0)], now);
    let now = fail(&mut book, Act::Del, now);
    assert_eq!(tell(&mut book, now), ["del 192.0.2.1 0"]);
    assert_eq!(book.known().count(), 0);
}

#[test]
fn news_does_not_wait_for_what_failed() {
    let mut book = Book::new(habits());
    take(&mut book, true, vec![told(1, "192.0.2.1", 10_000)], vec![], 0);
    let now = fail(&mut book, Act::Add, 0);
    let jobs = book.next(9, now);
    book.failed(&jobs[0], true, now);
    take(&mut book, false, vec![], vec![told(1, "192.0.2.1", 0)], now);
    assert_eq!(tell(&mut book, now), ["del 192.0.2.1 0"]);
    // The pause that it did not wait for ends without a word.
    book.tick(now + SELDOM_MS);
    assert!(!book.has_work());
}

#[test]
fn a_deletion_of_what_was_never_taken_ends() {
    let mut book = Book::new(habits());
    take(&mut book, true, vec![told(1, "192.0.2.1", 1)], vec![], 0);
    let jobs = book.next(9, 0);
    book.failed(&jobs[0], true, 0);
    let mut now = 1_000;
    for _ in 0..5_000 {
        book.tick(now);
        for job in book.next(9, now) {
            book.failed(&job, true, now);
        }
        now += SELDOM_MS;
    }
    assert_eq!(book.known().count(), 0);
}

#[test]
fn a_new_script_is_told_everything() {
    let mut book = Book::new(habits());
    take(&mut book, true, vec![told(1, "192.0.2.1", 100), told(2, "192.0.2.2", 100)], vec![], 0);
    tell(&mut book, 0);
    take(&mut book, false, vec![], vec![told(2, "192.0.2.2", 0)], 0);
    assert_eq!(tell(&mut book, 0), ["del 192.0.2.2 0"]);
    book.forget();
    let mut said = tell(&mut book, 0);
    said.sort();
    assert_eq!(said, ["add 192.0.2.1 100", "del 192.0.2.2 0"]);
}

/// Something that happens to a book.
#[derive(Clone, Debug)]
enum Deed {
    /// A decision: number, value, seconds.
    New(i64, u8, u64),
    Lift(i64, u8),
    /// The API tells everything that it has not forgotten.
    All(Vec<(i64, u8, u64)>),
    Wait(u64),
    /// So many are taken; of each the script does it, fails, or dies before it says so.
    Tell(usize, u8),
    Finish,
    Restart,
    /// The program ends, and knows afterwards what the journal says.
    Reborn,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let one = || (0..6_i64, 0..3_u8, 1..20_u64);
    let deed = prop_oneof![
        4 => one().prop_map(|(id, value, seconds)| Deed::New(id, value, seconds)),
        2 => (0..6_i64, 0..3_u8).prop_map(|(id, value)| Deed::Lift(id, value)),
        1 => proptest::collection::vec(one(), 0..5).prop_map(Deed::All),
        2 => (1..15_u64).prop_map(Deed::Wait),
        4 => (1..4_usize, 0..4_u8).prop_map(|(most, fate)| Deed::Tell(most, fate)),
        2 => Just(Deed::Finish),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Reborn),
    ];
    proptest::collection::vec(deed, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever fails in between: in the end the script knows what is decided, and until when.
    #[test]
    fn in_the_end_the_script_knows_what_is_decided(deeds in deeds()) {
        let mut book = Book::new(Habits { attempts: u32::MAX, ..habits() });
        let mut now = 1_000_u64;
        // What is decided: by value and number, the end. And what the script has.
        let mut decided: BTreeMap<(u8, i64), u64> = BTreeMap::new();
        let mut script: BTreeMap<String, u64> = BTreeMap::new();
        let mut under_way: Vec<(Job, u8)> = Vec::new();
        let value = |value: u8| format!("192.0.2.{value}");
        let apply = |script: &mut BTreeMap<String, u64>, job: &Job| match job.message.act {
            Act::Add => { script.insert(job.message.subject.value.clone(), job.until_ms); }
            Act::Del => { script.remove(&job.message.subject.value); }
        };
        for deed in deeds {
            match deed {
                Deed::New(id, of, seconds) => {
                    take(&mut book, false, vec![told(id, &value(of), seconds)], vec![], now);
                    decided.insert((of, id), now + seconds * 1_000);
                }
                Deed::Lift(id, of) => {
                    take(&mut book, false, vec![], vec![told(id, &value(of), 0)], now);
                    decided.remove(&(of, id));
                }
                Deed::All(list) => {
                    decided = list.iter().map(|(id, of, seconds)| ((*of, *id), now + seconds * 1_000)).collect();
                    let new = decided.iter().map(|((of, id), until)| told(*id, &value(*of), (until - now) / 1_000));
                    take(&mut book, true, new.collect(), vec![], now);
                }
                Deed::Wait(seconds) => {
                    now += seconds * 1_000;
                    book.tick(now);
                    decided.retain(|_, until| *until > now);
                }
                Deed::Tell(most, fate) => {
                    under_way.extend(book.next(most, now).into_iter().map(|job| (job, fate)));
                }
                Deed::Finish => for (job, fate) in under_way.drain(..) {
                    // It may have done what it does not say.
                    if fate != 1 { apply(&mut script, &job); }
                    match fate {
                        0 | 3 => book.done(&job),
                        fate => { book.failed(&job, fate == 1, now); }
                    }
                },
                Deed::Restart => {
                    under_way.drain(..).for_each(|(job, _)| { book.failed(&job, false, now); });
                    script.clear();
                    book.forget();
                }
                Deed::Reborn => {
                    // Begun and not confirmed: it may have been done, or not.
                    for (job, fate) in under_way.drain(..) {
                        if fate != 1 { apply(&mut script, &job); }
                    }
                    let memories: Vec<_> = book.known().collect();
                    book = Book::new(Habits { attempts: u32::MAX, ..habits() });
                    memories.into_iter().for_each(|memory| book.restore(memory));
                    let new = decided.iter().map(|((of, id), until)| told(*id, &value(*of), (until - now) / 1_000));
                    take(&mut book, true, new.collect(), vec![], now);
                }
            }
        }
        under_way.drain(..).for_each(|(job, _)| { book.failed(&job, false, now); });
        now += 60_000;
        book.tick(now);
        decided.retain(|_, until| *until > now);
        for _ in 0..100 {
            for job in book.next(10, now) {
                apply(&mut script, &job);
                book.done(&job);
            }
        }
        prop_assert!(!book.has_work());
        prop_assert_eq!(script, BTreeMap::new());
        prop_assert_eq!(book.len(), 0);
    }

    /// The same without the end: what the script has at any time at which nothing waits.
    #[test]
    fn when_nothing_waits_both_are_equal(deeds in deeds()) {
        let mut book = Book::new(habits());
        let mut now = 1_000_u64;
        let mut decided: BTreeMap<(u8, i64), u64> = BTreeMap::new();
        let mut script: BTreeMap<String, u64> = BTreeMap::new();
        for deed in deeds {
            match deed {
                Deed::New(id, of, seconds) => {
                    take(&mut book, false, vec![told(id, &format!("192.0.2.{of}"), seconds)], vec![], now);
                    decided.insert((of, id), now + seconds * 1_000);
                }
                Deed::Lift(id, of) => {
                    take(&mut book, false, vec![], vec![told(id, &format!("192.0.2.{of}"), 0)], now);
                    decided.remove(&(of, id));
                }
                Deed::Wait(seconds) => now += seconds * 1_000,
                _ => {}
            }
            book.tick(now);
            decided.retain(|_, until| *until > now);
            while book.has_work() {
                for job in book.next(10, now) {
                    match job.message.act {
                        Act::Add => script.insert(job.message.subject.value.clone(), job.until_ms),
                        Act::Del => script.remove(&job.message.subject.value),
                    };
                    book.done(&job);
                }
            }
            let values: Vec<String> = script.keys().cloned().collect();
            let mut expected: Vec<String> = decided.keys().map(|(of, _)| format!("192.0.2.{of}")).collect();
            expected.dedup();
            prop_assert_eq!(values, expected);
            // None is told an end that comes before the last decision's.
            for ((of, _), until) in &decided {
                let told = script[&format!("192.0.2.{of}")];
                prop_assert!(told >= *until);
            }
        }
    }
}

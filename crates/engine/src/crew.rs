//! Threads: one reads, some parse batches, one takes them back in their order. What is no batch goes straight
//! to the last of them and keeps its place in the order.

use std::{collections::BTreeMap, thread};

use crossbeam_channel::{Sender, bounded};

/// Batches that may wait for a worker, per worker.
const WAITING_BATCHES: usize = 2;

/// What is read.
pub(crate) enum Item<B, C> {
    /// Work for any thread.
    Batch(B),
    /// Something for the last one.
    Other(C),
}

/// What comes back, in the order in which it was read.
pub(crate) enum Back<B, D, C> {
    /// A batch with what was made of it.
    Batch(B, D),
    /// As it was read.
    Other(C),
}

/// Tells that its thread has panicked.
struct Told<'t, T>(&'t Sender<Option<T>>);

impl<T> Drop for Told<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            // An error says that nobody waits any more.
            let _ = self.0.send(None);
        }
    }
}

/// Runs all that `items` gives: `work` makes of each thread's state and a batch what is then given to `merge`, on
/// the calling thread and in order. A panic of any of them is passed on.
pub(crate) fn run<B: Send, D: Send, C: Send, W>(
    workers: usize,
    items: impl Iterator<Item = Item<B, C>> + Send,
    start: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, &B) -> D + Sync,
    mut merge: impl FnMut(Back<B, D, C>),
) {
    let (to_workers, waiting) = bounded::<(u64, B)>(workers * WAITING_BATCHES);
    // Nothing comes from a thread that has panicked: its batch would be waited for.
    let (to_merge, done) = bounded::<Option<(u64, Back<B, D, C>)>>(workers * WAITING_BATCHES);
    // What is in flight is bounded, so that one slow batch does not let the others pile up.
    let (give_permit, permits) = bounded::<()>(workers * WAITING_BATCHES * 2);
    let (start, work) = (&start, &work);
    thread::scope(|scope| {
        let direct = to_merge.clone();
        scope.spawn(move || {
            for (number, item) in (0..).zip(items) {
                if give_permit.send(()).is_err() {
                    return;
                }
                let sent = match item {
                    Item::Batch(batch) => to_workers.send((number, batch)).is_ok(),
                    Item::Other(other) => direct.send(Some((number, Back::Other(other)))).is_ok(),
                };
                if !sent {
                    return;
                }
            }
        });
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let (waiting, to_merge) = (waiting.clone(), to_merge.clone());
                scope.spawn(move || {
                    let told = Told(&to_merge);
                    let mut state = start();
                    for (number, batch) in waiting {
                        let done = work(&mut state, &batch);
                        if told.0.send(Some((number, Back::Batch(batch, done)))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop((waiting, to_merge));
        // If `merge` panics, or a thread has, these go, and all who would wait for them end.
        let (done, permits) = (done, permits);
        let mut early = BTreeMap::new();
        let mut next = 0;
        for back in &done {
            let Some((number, back)) = back else { break };
            early.insert(number, back);
            while let Some(back) = early.remove(&next) {
                next += 1;
                merge(back);
                let _ = permits.recv();
            }
        }
        drop((done, permits));
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_thread_is_passed_on() {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let outcome = std::panic::catch_unwind(|| {
                let items = (0..1000).map(|n| if n % 50 == 49 { Item::Other(n) } else { Item::Batch(n) });
                run(4, items, || (), |(), n: &i32| assert_ne!(*n, 5), |_: Back<i32, (), i32>| {});
            });
            tell.send(outcome.is_err()).expect("the test listens");
        });
        assert_eq!(told.recv_timeout(std::time::Duration::from_secs(20)), Ok(true), "worker");
    }

    #[test]
    fn a_panic_of_the_last_one_is_passed_on() {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let outcome = std::panic::catch_unwind(|| {
                let items = (0..1000).map(Item::<i32, i32>::Batch);
                run(
                    4,
                    items,
                    || (),
                    |(), _: &i32| (),
                    |back| {
                        if let Back::Batch(5, ()) = back {
                            panic!("merge")
                        }
                    },
                );
            });
            tell.send(outcome.is_err()).expect("the test listens");
        });
        assert_eq!(told.recv_timeout(std::time::Duration::from_secs(20)), Ok(true), "merge");
    }
}

//! Threads: one reads, some parse batches, one takes them back in their order. What is no batch goes straight
//! to the last of them and keeps its place in the order.

use std::{collections::BTreeMap, thread};

use crossbeam_channel::bounded;

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
    let (to_merge, done) = bounded::<(u64, Back<B, D, C>)>(workers * WAITING_BATCHES);
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
                    Item::Other(other) => direct.send((number, Back::Other(other))).is_ok(),
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
                    let mut state = start();
                    for (number, batch) in waiting {
                        let done = work(&mut state, &batch);
                        if to_merge.send((number, Back::Batch(batch, done))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop((waiting, to_merge));
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, back) in done {
            early.insert(number, back);
            while let Some(back) = early.remove(&next) {
                next += 1;
                merge(back);
                let _ = permits.recv();
            }
        }
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

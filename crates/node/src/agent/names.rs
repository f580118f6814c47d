//! Names of addresses, without anybody waiting on the way of the lines.
//!
//! The engine asks while it sends an overflow through its stages, and is answered from memory. Where a name
//! is not known yet, the alerts of the overflow are held in the outbox, a thread asks for the name, and the
//! overflow goes through its stages once more. Other overflows overtake.

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use testudo_engine::{Engine, ReverseDns};
use testudo_event::Overflow;

use crate::agent::counts::Counts;
use crate::clock;
use crate::outbox::Outbox;
use crate::trace::Tracer;

/// How long a name is remembered.
const LIFE: Duration = Duration::from_hours(1);

/// How long it is remembered that there is none.
const LIFE_OF_NOTHING: Duration = Duration::from_mins(5);

/// Answers that are remembered; beyond that all are forgotten.
const REMEMBERED: usize = 16_384;

/// Threads that ask.
const THREADS: usize = 4;

/// Overflows that may wait for names; of more, nobody asks.
const PARKED_MOST: usize = 256;

/// Asks for the name of an address, and gives up after a few seconds.
pub type Resolve = Arc<dyn Fn(IpAddr) -> Option<Arc<str>> + Send + Sync>;

#[derive(Default)]
struct Known {
    answers: HashMap<IpAddr, (Instant, Option<Arc<str>>)>,
    /// Asked since the last look, and not known.
    missed: Vec<IpAddr>,
}

/// An overflow that waits for names.
struct Parked {
    overflow: Overflow,
    asked: Vec<IpAddr>,
    /// Its alerts in the outbox.
    held: Vec<u64>,
    engine: Weak<Engine>,
}

/// What is known of names: this is what engines ask.
#[derive(Default)]
pub(crate) struct NameMemory(Mutex<Known>);

impl NameMemory {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, address: IpAddr, name: Option<Arc<str>>) {
        let life = if name.is_some() { LIFE } else { LIFE_OF_NOTHING };
        let mut known = self.lock();
        if known.answers.len() >= REMEMBERED {
            known.answers.clear();
        }
        known.answers.insert(address, (Instant::now() + life, name));
    }
}

/// Knows names, and finds out those that it does not.
pub(crate) struct Names {
    memory: Arc<NameMemory>,
    jobs: SyncSender<Parked>,
    engine: RwLock<Weak<Engine>>,
}

impl ReverseDns for NameMemory {
    fn name(&self, address: IpAddr) -> Option<Arc<str>> {
        let mut known = self.lock();
        match known.answers.get(&address) {
            Some((until, name)) if *until > Instant::now() => name.clone(),
            _ => {
                known.missed.push(address);
                None
            }
        }
    }
}

impl Names {
    /// Starts the threads that ask. They end with the last handle.
    pub(crate) fn start(
        memory: Arc<NameMemory>,
        resolve: &Resolve,
        outbox: &Arc<Outbox>,
        counts: &Arc<Counts>,
        tracer: &Arc<Tracer>,
    ) -> std::io::Result<Names> {
        let (jobs, queue) = sync_channel(PARKED_MOST);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let (resolve, memory, queue) = (Arc::clone(resolve), Arc::clone(&memory), Arc::clone(&queue));
            let (outbox, counts, tracer) = (Arc::clone(outbox), Arc::clone(counts), Arc::clone(tracer));
            thread::Builder::new()
                .name("names".to_owned())
                .spawn(move || work(&queue, &memory, &resolve, &outbox, &counts, &tracer))?;
        }
        Ok(Names { memory, jobs, engine: RwLock::default() })
    }

    /// These rules send overflows through their stages from now on.
    pub(crate) fn set_engine(&self, engine: &Arc<Engine>) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(engine);
    }

    /// The addresses that were asked for since the last call, and are not known.
    pub(crate) fn missed(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.memory.lock().missed)
    }

    /// Finds out names; then these alerts are let go, or taken back. Returns whether anybody will do so.
    pub(crate) fn park(&self, overflow: &Overflow, asked: Vec<IpAddr>, held: Vec<u64>) -> bool {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner).clone();
        let parked = Parked { overflow: overflow.clone(), asked, held, engine };
        match self.jobs.try_send(parked) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

fn work(
    queue: &Mutex<Receiver<Parked>>,
    memory: &NameMemory,
    resolve: &Resolve,
    outbox: &Outbox,
    counts: &Counts,
    tracer: &Tracer,
) {
    loop {
        let taken = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(parked) = taken else { return };
        let held = parked.held.clone();
        let again = catch_unwind(AssertUnwindSafe(|| consider(parked, memory, resolve)));
        match again {
            Ok(Some(overflow)) if overflow.whitelisted => {
                counts.whitelisted.add(1);
                tracing::info!(
                    reason = overflow.whitelist_reason,
                    "{} [whitelisted]",
                    overflow.alert.message
                );
                if tracer.is_on() {
                    tracer.whitelisted_later(&overflow);
                }
                outbox.take_back(&held);
            }
            Ok(_) => outbox.let_go(&held),
            // Nobody else would let them go.
            Err(_) => {
                tracing::error!("finding out a name failed: alerts go without");
                outbox.let_go(&held);
            }
        }
    }
}

/// Finds out the names, and sends the overflow through its stages once more; none when the rules are others by now.
fn consider(parked: Parked, memory: &NameMemory, resolve: &Resolve) -> Option<Overflow> {
    for address in parked.asked {
        let is_known = memory.lock().answers.get(&address).is_some_and(|(until, _)| *until > Instant::now());
        if !is_known {
            memory.learn(address, resolve(address));
        }
    }
    parked.engine.upgrade().map(|engine| engine.reconsider(parked.overflow, clock::now()))
}

#[cfg(test)]
mod tests {
    use testudo_event::Alert;

    use super::*;
    use crate::outbox::Put;

    fn names(resolve: &Resolve) -> (Names, Arc<NameMemory>, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::new(None).expect("it needs no file"));
        let memory = Arc::new(NameMemory::default());
        let names = Names::start(Arc::clone(&memory), resolve, &outbox, &Arc::default(), &Arc::default())
            .expect("threads start");
        (names, memory, outbox)
    }

    /// Nobody waits: what is not known is asked for, and known later; the alert is let go then.
    #[test]
    fn a_name_is_asked_for_beside_the_way() {
        let (ask, asked) = std::sync::mpsc::channel();
        let resolve: Resolve = Arc::new(move |address| {
            ask.send(address).expect("the test listens");
            Some("crawler.example.".into())
        });
        let (names, memory, outbox) = names(&resolve);
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!(memory.name(address), None);
        assert_eq!(names.missed(), [address]);
        assert!(names.missed().is_empty());
        let Put::Waits(number) = outbox.put(Alert::default(), None, true) else { panic!("there is room") };
        let overflow = Overflow { alert: Alert::default(), ..Overflow::default() };
        assert!(names.park(&overflow, vec![address], vec![number]));
        assert_eq!(asked.recv(), Ok(address));
        while outbox.ready() == 0 {
            thread::yield_now();
        }
        assert_eq!(memory.name(address).as_deref(), Some("crawler.example."));
    }

    /// A panic costs a name, and no alert.
    #[test]
    fn who_fails_holds_nothing_back() {
        let resolve: Resolve = Arc::new(|_| -> Option<Arc<str>> { panic!("no names here") });
        let (names, memory, outbox) = names(&resolve);
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        // More than there are threads.
        for _ in 0..=THREADS {
            assert_eq!(memory.name(address), None);
            let Put::Waits(number) = outbox.put(Alert::default(), None, true) else {
                panic!("there is room")
            };
            assert!(names.park(&Overflow::default(), names.missed(), vec![number]));
        }
        while outbox.ready() <= THREADS {
            thread::yield_now();
        }
    }
}

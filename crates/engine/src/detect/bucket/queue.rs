//! The events of a bucket. Nearly all buckets have one, some have a hundred thousand.

use std::{collections::VecDeque, iter, sync::Arc};

use super::cost::allocated;
use crate::snapshot::Snapshot;

/// From this length on a queue grows by an eighth, not twofold.
const LONG: usize = 256;

/// Events in the order in which they came.
#[derive(Debug, Default)]
pub(crate) enum Queue {
    /// None.
    #[default]
    Empty,
    /// One, without a list.
    One(Arc<Snapshot>),
    /// A list.
    #[expect(clippy::box_collection, reason = "the many buckets with one event have room for no more")]
    Many(Box<VecDeque<Arc<Snapshot>>>),
}

impl Queue {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Queue::Empty => 0,
            Queue::One(_) => 1,
            Queue::Many(events) => events.len(),
        }
    }

    /// The event at a position.
    pub(crate) fn get(&self, at: usize) -> Option<&Snapshot> {
        match self {
            Queue::One(event) if at == 0 => Some(event),
            Queue::Many(events) => events.get(at).map(|event| &**event),
            _ => None,
        }
    }

    /// All of them as they are held, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        (0..self.len()).map_while(|at| match self {
            Queue::One(event) => Some(event),
            Queue::Many(events) => events.get(at),
            Queue::Empty => None,
        })
    }

    /// All of them, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Snapshot> {
        (0..self.len()).map_while(|at| self.get(at))
    }

    pub(super) fn push(&mut self, event: Arc<Snapshot>) {
        *self = match std::mem::take(self) {
            Queue::Empty => Queue::One(event),
            Queue::One(first) => {
                let mut events = VecDeque::with_capacity(4);
                events.extend([first, event]);
                Queue::Many(Box::new(events))
            }
            Queue::Many(mut events) => {
                if events.len() == events.capacity() && events.len() >= LONG {
                    events.reserve_exact(events.len() / 8);
                }
                events.push_back(event);
                Queue::Many(events)
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Arc<Snapshot>> {
        match self {
            Queue::Many(events) => events.pop_front(),
            Queue::Empty | Queue::One(_) => match std::mem::take(self) {
                Queue::One(event) => Some(event),
                _ => None,
            },
        }
    }

    /// Takes all events out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<Snapshot>> {
        iter::from_fn(|| self.pop())
    }

    /// Bytes of the list; the events are counted by themselves.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Queue::Empty | Queue::One(_) => 0,
            Queue::Many(events) => {
                allocated(size_of_val(&**events)) + allocated(events.capacity() * size_of::<Arc<Snapshot>>())
            }
        }
    }
}

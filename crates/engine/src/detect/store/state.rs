//! All buckets, silences and deadlines as bytes, and back, for rules that may have changed meanwhile.

use std::{collections::HashMap, sync::Arc};

use testudo_event::Timestamp;

use super::{BucketCounts, Buckets, Pouring, host};
use crate::{
    bytes::{Damaged, Reader, Writer},
    detect::{Scenarios, bucket::Bucket},
    keys::Keys,
    snapshot::{EventReader, EventWriter},
};

/// Times at which a number of a deadline is reached are far off.
const MAX_DEADLINE: u64 = 1 << 62;

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) buckets: usize,
    pub(crate) dropped: usize,
    pub(crate) silences: usize,
}

/// What names a scenario: its name, what its state depends on, and which of several that are equal in both.
type Identity = (Arc<str>, u64, u64);

fn identities(scenarios: &Scenarios) -> Vec<Identity> {
    let mut seen: HashMap<(Arc<str>, u64), u64> = HashMap::new();
    let identity = |scenario: &crate::detect::Scenario| {
        let named = (Arc::clone(&scenario.plan.name), scenario.identity);
        let before = seen.entry(named.clone()).or_default();
        *before += 1;
        (named.0, named.1, *before)
    };
    scenarios.all.iter().map(identity).collect()
}

impl Buckets {
    /// Writes all of it but the clocks of single sources.
    pub(crate) fn write(&self, scenarios: &Scenarios, keys: &Keys, writer: &mut Writer) {
        writer.count(scenarios.all.len());
        for (name, hash, number) in identities(scenarios) {
            writer.text(&name);
            writer.bytes.extend_from_slice(&hash.to_le_bytes());
            writer.number(number);
        }
        writer.number(self.seen);
        writer.time(self.swept);
        writer.number(self.next_deadline);
        writer.optional(self.clocks.common(), Writer::time);
        writer.count(self.tables.len());
        let mut events = EventWriter::default();
        for (_, bucket) in self.tables.all() {
            writer.number(bucket.owner.into());
            bucket.write(writer, |event, writer| events.write(event, keys, writer));
        }
        let mut silent: Vec<_> = self.blackholes.iter().filter(|(_, hole)| hole.len() > 0).collect();
        silent.sort_unstable_by_key(|(owner, _)| **owner);
        writer.count(silent.len());
        for (owner, hole) in silent {
            writer.number((*owner).into());
            writer.count(hole.len());
            for (until, key) in hole.iter() {
                writer.time(until);
                writer.text(key);
            }
        }
    }

    /// Reads what was written, into what is empty. `source` gives the numbers that sources have now.
    pub(crate) fn read(
        &mut self,
        pouring: &Pouring<'_>,
        reader: &mut Reader<'_>,
        source: impl Fn(u32) -> u32,
    ) -> Result<Count, Damaged> {
        let scenarios = pouring.scenarios;
        let owners = read_owners(scenarios, reader)?;
        let owner_of = |number: u32| owners.get(number as usize).copied().ok_or(Damaged);
        self.seen = reader.tally()?;
        self.swept = reader.time()?;
        self.next_deadline = reader.tally()?;
        if let Some(common) = reader.optional(Reader::time)? {
            self.clocks.set_common(common);
        }
        let mut count = Count::default();
        let mut events = EventReader::default();
        for _ in 0..reader.count()? {
            let owner = owner_of(reader.small()?)?;
            let read = Bucket::read(reader, owner.unwrap_or_default(), |reader| {
                events.read(pouring.alerts.keys, reader).map(|(event, _)| event)
            });
            let bucket = read?;
            if owner.is_none() {
                count.dropped += 1;
                continue;
            }
            self.put(bucket, pouring, &source)?;
            count.buckets += 1;
        }
        // The list of those that were read holds each once.
        let held = events.into_events().into_iter().filter(|event| Arc::strong_count(event) > 1);
        self.bytes += held.map(|event| event.bytes()).sum::<usize>();
        for _ in 0..reader.count()? {
            let owner = owner_of(reader.small()?)?;
            for _ in 0..reader.count()? {
                let (until, key) = (reader.time()?, reader.text()?);
                if let Some(owner) = owner {
                    self.blackholes.entry(owner).or_default().arm(key, until);
                    count.silences += 1;
                }
            }
        }
        Ok(count)
    }

    /// Puts a bucket back where it was.
    fn put(
        &mut self,
        mut bucket: Bucket,
        pouring: &Pouring<'_>,
        source: &impl Fn(u32) -> u32,
    ) -> Result<(), Damaged> {
        let scenario = pouring.scenarios.all.get(bucket.owner as usize).ok_or(Damaged)?;
        bucket.source = source(bucket.source);
        let group = bucket.key().to_owned();
        let key = self.tables.key(scenario.class, &group).of(bucket.late);
        if self.tables.get_mut(key).is_some() {
            return Err(Damaged);
        }
        // What is asked is what an event says of itself.
        let bare = Bucket::new(bucket.owner, scenario, &group, None, bucket.mode, bucket.source);
        bucket.tally(scenario, |at, event| {
            let mut host = host(pouring, Some(event), scenario, &bare, &group, Timestamp::zero());
            scenario.tally.programs.get(at)?.test(&mut host).ok()
        });
        match bucket.deadline() {
            Some((of, time, number)) if scenario.timed && number < MAX_DEADLINE => {
                let deadline = (source(of), time, number);
                bucket.set_deadline(deadline);
                let before = self.deadlines.insert(deadline, (key.class, group.as_str().into(), key.late));
                if before.is_some() {
                    return Err(Damaged);
                }
                self.next_deadline = self.next_deadline.max(number + 1);
            }
            None if !scenario.timed || bucket.count == 0 => {}
            _ => return Err(Damaged),
        }
        self.bytes += bucket.bytes();
        if let Some(counts) = self.counts.get_mut(bucket.owner as usize) {
            counts.open += 1;
        }
        let last = bucket.last;
        self.tables.insert(key, Box::new(bucket));
        self.tables.note(key.class, scenario, last);
        Ok(())
    }

    /// Goes on counting from where other buckets of the same scenarios were.
    pub(crate) fn keep_counts(&mut self, before: &Buckets) {
        for (to, from) in self.counts.iter_mut().zip(&before.counts) {
            *to = BucketCounts { open: to.open, ..*from };
        }
    }
}

/// Which scenario each of those that were written is now; `None`: it is gone, or another one.
fn read_owners(scenarios: &Scenarios, reader: &mut Reader<'_>) -> Result<Vec<Option<u32>>, Damaged> {
    let now: HashMap<Identity, u32> = identities(scenarios).into_iter().zip(0..).collect();
    let count = reader.count()?;
    (0..count)
        .map(|_| {
            let name = Arc::from(reader.text()?);
            let hash = u64::from_le_bytes(reader.array()?);
            Ok(now.get(&(name, hash, reader.number()?)).copied())
        })
        .collect()
}

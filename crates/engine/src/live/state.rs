//! The state of a live run as bytes, and back.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Live, LiveSource,
    sources::{Known, Sources},
};
use crate::{
    Source,
    bytes::{Damaged, Reader, Writer, checksum},
    detect::{Buckets, Clocks},
};

/// What a state begins with.
const MAGIC: [u8; 8] = *b"tst-live";

/// The version of what follows. Older ones are read, or refused as damaged where that is not worth it.
const VERSION: u32 = 1;

/// Bytes before those that the checksum is of.
const HEAD: usize = MAGIC.len() + size_of::<u32>() + size_of::<u64>();

/// Bytes that a bucket mostly needs: so much is taken at once.
const BUCKET_BYTES: usize = 160;

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Buckets that go on.
    pub buckets: usize,
    /// Buckets of scenarios that are no longer there, or are others by now.
    pub dropped_buckets: usize,
    /// Keys that stay silent after an overflow.
    pub silences: usize,
    /// Entries of stashes.
    pub stashed: usize,
    /// Sources that are known.
    pub sources: usize,
}

/// Why a state does not come back. What was running goes on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is no state.
    #[error("restoring buckets: these bytes are no state of an engine")]
    Foreign,
    /// It was written by a newer version.
    #[error(
        "restoring buckets: the state has version {0}, this program reads up to version {1}: use the newer program, or begin without it"
    )]
    Newer(u32, u32),
    /// It is not as it was written.
    #[error("restoring buckets: the state is damaged at byte {0}: begin without it")]
    Damaged(usize),
}

impl Live<'_> {
    /// The state, for [`Live::restore`]: buckets with their events, silences, deadlines, clocks, stashes. Has a
    /// magic number, a version and a checksum. The bytes of one state may differ in order, not in meaning.
    pub fn save(&self) -> Vec<u8> {
        let engine = self.lane.engine;
        let buckets = &self.lane.buckets;
        let mut writer = Writer::with_capacity(4_096 + buckets.len() * BUCKET_BYTES);
        writer.bytes.extend_from_slice(&MAGIC);
        writer.bytes.extend_from_slice(&VERSION.to_le_bytes());
        writer.bytes.extend_from_slice(&[0; 8]);
        let base = self.now.unix();
        writer.signed(base);
        writer.set_base(base);
        writer.time(self.now);
        let sources: Vec<_> = self.sources.all().collect();
        writer.count(sources.len());
        for (number, known) in sources {
            writer.number(number.into());
            write_source(&known.source, &mut writer);
            writer.time(known.last);
            writer.flag(known.late);
            writer.optional(buckets.clocks.own(number), Writer::time);
        }
        buckets.write(&engine.scenarios, &engine.keys, &mut writer);
        engine.world.lock_stashes().write(&mut writer);
        let sum = checksum(&writer.bytes[HEAD..]);
        writer.bytes[HEAD - 8..HEAD].copy_from_slice(&sum.to_le_bytes());
        writer.bytes
    }

    /// Takes over what another run has saved, in place of its own state, whatever rules that run had: buckets of
    /// scenarios that are the same go on, those of others are dropped and counted. What was counted stays. An
    /// error leaves everything as it was, but for the stashes, which are empty then.
    pub fn restore(&mut self, state: &[u8]) -> Result<Restored, StateError> {
        let mut reader = Reader::new(state);
        if reader.array() != Ok(MAGIC) {
            return Err(StateError::Foreign);
        }
        let version = u32::from_le_bytes(reader.array().map_err(|_| StateError::Damaged(state.len()))?);
        if version > VERSION {
            return Err(StateError::Newer(version, VERSION));
        }
        let sum = u64::from_le_bytes(reader.array().map_err(|_| StateError::Damaged(state.len()))?);
        if checksum(&state[HEAD..]) != sum {
            return Err(StateError::Damaged(HEAD));
        }
        self.restore_body(&state[HEAD..])
    }

    /// As [`Live::restore`], of what follows magic number, version and checksum: for those who invent states.
    #[doc(hidden)]
    pub fn restore_body(&mut self, body: &[u8]) -> Result<Restored, StateError> {
        let mut reader = Reader::new(body);
        self.restore_checked(&mut reader).map_err(|Damaged| {
            self.lane.engine.world.lock_stashes().clear();
            StateError::Damaged(HEAD + reader.position())
        })
    }

    fn restore_checked(&mut self, reader: &mut Reader<'_>) -> Result<Restored, Damaged> {
        let engine = self.lane.engine;
        let base = reader.signed()?;
        reader.set_base(base);
        let now = reader.time()?;
        let mut buckets = Buckets::live(engine.options.bucket_bytes, engine.scenarios.all.len());
        let mut sources = Sources::default();
        let mut numbers = BTreeMap::new();
        for _ in 0..reader.count()? {
            let before = reader.small()?;
            let source = Arc::new(read_source(reader)?);
            let (last, late) = (reader.time()?, reader.flag()?);
            let clock = reader.optional(Reader::time)?;
            if sources.find(&source, last).is_some() || !sources.has_room() {
                return Err(Damaged);
            }
            let tally = self.ledger.row(&source);
            let number = sources.add(Known { source, last, late, tally });
            if numbers.insert(before, number).is_some() || before == Clocks::COMMON {
                return Err(Damaged);
            }
            if let Some(time) = clock {
                buckets.clocks.set(number, Some(time));
            }
        }
        let pouring = self.lane.pouring(now);
        let count = buckets
            .read(&pouring, reader, |before| numbers.get(&before).copied().unwrap_or(Clocks::COMMON))?;
        let stashed = engine.world.lock_stashes().read(reader)?;
        if reader.left() > 0 {
            return Err(Damaged);
        }
        let restored = Restored {
            buckets: count.buckets,
            dropped_buckets: count.dropped,
            silences: count.silences,
            stashed,
            sources: numbers.len(),
        };
        buckets.keep_counts(&self.lane.buckets);
        self.lane.buckets = buckets;
        self.sources = sources;
        self.now = now;
        self.back = Some((now, None));
        self.set_floor(now);
        Ok(restored)
    }
}

fn write_source(source: &LiveSource, writer: &mut Writer) {
    writer.text(&source.source.name);
    writer.text(&source.source.module);
    writer.flag(source.time_machine);
    writer.count(source.source.labels.len());
    for (key, text) in &source.source.labels {
        writer.text(key);
        writer.text(text);
    }
}

fn read_source(reader: &mut Reader<'_>) -> Result<LiveSource, Damaged> {
    let (name, module) = (reader.text()?.to_owned(), reader.text()?.to_owned());
    let time_machine = reader.flag()?;
    let count = reader.count()?;
    let labels = (0..count).map(|_| Ok((reader.text()?.to_owned(), reader.text()?.to_owned())));
    let labels = labels.collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(LiveSource { source: Source { name, module, labels }, time_machine })
}

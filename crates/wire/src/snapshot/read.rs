//! Reading a snapshot: whole, or not at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testudo_event::Prefix;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    CHECKSUM_BYTES, ENDS_EACH, ENDS_SAME, Entry, Form, Kind, MAGIC, TAG_BLOCK, TAG_END, VERSION, Value,
};

/// The widest number, in bytes: 128 bits in groups of seven.
const VARINT_MOST: usize = 19;

/// Why bytes are no snapshot that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It does not begin as a snapshot does.
    #[error("this is no snapshot of decisions")]
    Magic,
    /// It is of a version that is not known.
    #[error("the snapshot has version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// It is cut off, or its bytes have changed on their way.
    #[error("the snapshot is incomplete or damaged: fetch it again")]
    Checksum,
    /// It is not what a snapshot has to be, though its checksum is right.
    #[error("the snapshot is malformed at byte {0}")]
    Malformed(usize),
}

/// A snapshot that was read: its entries are decoded as they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    bytes: Vec<u8>,
    begin: usize,
    seq: u64,
    at_ms: i64,
    count: u64,
}

impl Snapshot {
    /// Reads a snapshot, and checks all of it.
    ///
    /// # Errors
    /// It is none, of another version, incomplete, or damaged.
    pub fn read(bytes: Vec<u8>) -> Result<Snapshot, SnapshotError> {
        let head = MAGIC.len();
        if bytes.get(..head) != Some(&MAGIC[..]) {
            return Err(SnapshotError::Magic);
        }
        match bytes.get(head) {
            Some(&VERSION) => {}
            Some(&other) => return Err(SnapshotError::Version(other)),
            None => return Err(SnapshotError::Checksum),
        }
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(SnapshotError::Checksum)?;
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return Err(SnapshotError::Checksum);
        }
        let mut input = Input { bytes: body, at: head + 1 };
        let malformed = |input: &Input<'_>| SnapshotError::Malformed(input.at);
        let seq = input.number().ok_or(malformed(&input))?;
        let at_ms = input.number().ok_or(malformed(&input))?;
        let begin = input.at;
        let mut entries = Entries::new(input, at_ms);
        let mut count = 0;
        while entries.advance().map_err(|Malformed| malformed(&entries.input))?.is_some() {
            count += 1;
        }
        let rest = malformed(&entries.input);
        if entries.total != Some(count) || entries.input.at != body.len() {
            return Err(rest);
        }
        Ok(Snapshot { bytes, begin, seq, at_ms, count })
    }

    /// The commit that it is about.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The moment that it is about, in milliseconds since 1970.
    pub fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its entries. Those of a block come sorted by kind and address, blocks as they were made.
    pub fn entries(&self) -> Entries<'_> {
        let body = &self.bytes[..self.bytes.len() - CHECKSUM_BYTES];
        Entries::new(Input { bytes: body, at: self.begin }, self.at_ms)
    }
}

/// It is not what a snapshot has to be.
struct Malformed;

#[derive(Clone, Copy, Debug)]
struct Input<'s> {
    bytes: &'s [u8],
    at: usize,
}

impl<'s> Input<'s> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u128> {
        let mut number = 0_u128;
        for place in 0..VARINT_MOST {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            // The last group has room for two bits only.
            if place + 1 == VARINT_MOST && part > 3 {
                return None;
            }
            number |= part << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number<T: TryFrom<u128>>(&mut self) -> Option<T> {
        T::try_from(self.varint()?).ok()
    }

    fn text(&mut self) -> Option<&'s str> {
        let length: usize = self.number()?;
        let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        std::str::from_utf8(bytes).ok()
    }
}

/// The group that is being told.
#[derive(Clone, Copy, Debug)]
struct Group {
    kind: usize,
    form: Form,
    left: usize,
    address: u128,
    /// The end of all entries, or the least one and where the differences of the others are.
    end: i64,
    ends: Option<usize>,
}

/// The entries of a snapshot.
#[derive(Clone, Debug)]
pub struct Entries<'s> {
    input: Input<'s>,
    at_secs: i64,
    texts: Vec<&'s str>,
    kinds: Vec<Kind<'s>>,
    groups_left: usize,
    group: Option<Group>,
    total: Option<u64>,
}

impl<'s> Entries<'s> {
    fn new(input: Input<'s>, at_ms: i64) -> Entries<'s> {
        Entries {
            input,
            at_secs: at_ms.div_euclid(1000),
            texts: Vec::new(),
            kinds: Vec::new(),
            groups_left: 0,
            group: None,
            total: None,
        }
    }

    /// The next entry; `None` at the end.
    fn advance(&mut self) -> Result<Option<Entry<'s>>, Malformed> {
        while self.total.is_none() {
            if let Some(mut group) = self.group.take() {
                if group.left > 0 {
                    let entry = self.entry(&mut group).ok_or(Malformed)?;
                    self.group = Some(group);
                    return Ok(Some(entry));
                }
                // What follows the values are the ends, which have been read beside them.
                self.input.at = group.ends.unwrap_or(self.input.at);
            }
            if self.groups_left > 0 {
                self.groups_left -= 1;
                self.group = Some(self.open().ok_or(Malformed)?);
                continue;
            }
            match self.input.byte() {
                Some(TAG_BLOCK) => self.block().ok_or(Malformed)?,
                Some(TAG_END) => self.total = Some(self.input.number().ok_or(Malformed)?),
                _ => return Err(Malformed),
            }
        }
        Ok(None)
    }

    fn block(&mut self) -> Option<()> {
        let texts: usize = self.input.number()?;
        for _ in 0..texts {
            let text = self.input.text()?;
            self.texts.push(text);
        }
        let kinds: usize = self.input.number()?;
        for _ in 0..kinds {
            let mut text = || self.texts.get(self.input.number::<usize>()?).copied();
            let kind = Kind { scope: text()?, kind: text()?, origin: text()?, scenario: text()? };
            self.kinds.push(kind);
        }
        self.groups_left = self.input.number()?;
        Some(())
    }

    /// Reads the head of a group, and passes over its values once to find the ends.
    fn open(&mut self) -> Option<Group> {
        let kind: usize = self.input.number()?;
        self.kinds.get(kind)?;
        let form = match self.input.byte()? {
            0 => Form::Text,
            1 => Form::V4,
            2 => Form::V6,
            3 => Form::V4Range(self.input.byte().filter(|&bits| bits <= 32)?),
            4 => Form::V6Range(self.input.byte().filter(|&bits| bits <= 128)?),
            _ => return None,
        };
        let left: usize = self.input.number()?;
        let values = self.input.at;
        for _ in 0..left {
            match form {
                Form::Text => drop(self.input.text()?),
                _ => drop(self.input.varint()?),
            }
        }
        let mode = self.input.byte()?;
        let end = self.at_secs.checked_add(self.input.number()?)?;
        let after_head = self.input.at;
        self.input.at = values;
        let ends = match mode {
            ENDS_SAME => None,
            ENDS_EACH => Some(after_head),
            _ => return None,
        };
        // Where values stop is where the mode stands; the same end for all is passed over with them.
        let group = Group { kind, form, left, address: 0, end, ends };
        if left == 0 {
            return None;
        }
        Some(group)
    }

    fn entry(&mut self, group: &mut Group) -> Option<Entry<'s>> {
        let value = if group.form == Form::Text {
            Value::Text(self.input.text()?)
        } else {
            group.address = group.address.checked_add(self.input.varint()?)?;
            address(group.form, group.address)?
        };
        group.left -= 1;
        let end_secs = match &mut group.ends {
            None => group.end,
            Some(at) => {
                let mut ends = Input { at: *at, ..self.input };
                let difference: i64 = ends.number()?;
                *at = ends.at;
                group.end.checked_add(difference)?
            }
        };
        if group.left == 0 && group.ends.is_none() {
            // The mode, and the one end.
            self.input.byte()?;
            self.input.varint()?;
        }
        Some(Entry { kind: *self.kinds.get(group.kind)?, value, end_secs })
    }
}

fn address(form: Form, number: u128) -> Option<Value<'static>> {
    let v4 = |number: u128| Some(IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).ok()?)));
    let widened = |bits: u8, width: u8| {
        let host = u32::from(width - bits);
        let shifted = number.checked_shl(host).unwrap_or(0);
        (shifted.checked_shr(host).unwrap_or(0) == number).then_some(shifted)
    };
    Some(match form {
        Form::V4 => Value::Address(v4(number)?),
        Form::V6 => Value::Address(IpAddr::V6(Ipv6Addr::from_bits(number))),
        Form::V4Range(bits) => Value::Network(Prefix::new(v4(widened(bits, 32)?)?, bits)?),
        Form::V6Range(bits) => {
            Value::Network(Prefix::new(IpAddr::V6(Ipv6Addr::from_bits(widened(bits, 128)?)), bits)?)
        }
        Form::Text => return None,
    })
}

impl<'s> Iterator for Entries<'s> {
    type Item = Entry<'s>;

    fn next(&mut self) -> Option<Entry<'s>> {
        // Everything was checked when the snapshot was read.
        self.advance().ok()?
    }
}

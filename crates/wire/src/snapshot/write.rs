//! Writing a snapshot, block by block.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use xxhash_rust::xxh3::Xxh3Default;

use super::{ENDS_EACH, ENDS_SAME, Form, Kind, MAGIC, TAG_BLOCK, TAG_END, VERSION, put_varint};

struct Pending {
    kind: u32,
    form: Form,
    /// The address; for texts the place where theirs begins.
    number: u128,
    length: u32,
    end_secs: i64,
}

/// Writes a snapshot. Entries are collected; [`SnapshotWriter::block`] gives what can be sent.
pub struct SnapshotWriter {
    at_secs: i64,
    out: Vec<u8>,
    checksum: Xxh3Default,
    /// Numbers of texts, and of kinds by those of their texts.
    texts: HashMap<String, u32>,
    kinds: HashMap<[u32; 4], u32>,
    new_texts: Vec<u8>,
    new_text_count: usize,
    new_kinds: Vec<[u32; 4]>,
    /// The kind that was added last: entries of one kind mostly come together.
    last: Option<([String; 4], u32)>,
    pending: Vec<Pending>,
    values: String,
    total: u64,
}

impl SnapshotWriter {
    /// Begins a snapshot of the moment after commit `seq`, at `at_ms` milliseconds since 1970.
    pub fn new(seq: u64, at_ms: i64) -> SnapshotWriter {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        put_varint(&mut out, u128::from(seq));
        put_varint(&mut out, u128::from(at_ms.max(0).unsigned_abs()));
        SnapshotWriter {
            at_secs: at_ms.max(0).div_euclid(1000),
            out,
            checksum: Xxh3Default::new(),
            texts: HashMap::new(),
            kinds: HashMap::new(),
            new_texts: Vec::new(),
            new_text_count: 0,
            new_kinds: Vec::new(),
            last: None,
            pending: Vec::new(),
            values: String::new(),
            total: 0,
        }
    }

    /// Adds a decision that ends at `end_ms`, in milliseconds since 1970.
    pub fn add(&mut self, kind: Kind<'_>, value: &str, end_ms: i64) {
        let kind = self.kind(kind);
        let end_secs = end_ms.saturating_add(999).div_euclid(1000).max(self.at_secs);
        let (form, number) = classify(value);
        let (number, length) = match form {
            Form::Text => {
                let begin = self.values.len();
                self.values.push_str(value);
                (begin as u128, value.len() as u32)
            }
            _ => (number, 0),
        };
        self.pending.push(Pending { kind, form, number, length, end_secs });
    }

    /// How many entries wait for the next block.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What can be sent: everything that was added since the last block.
    pub fn block(&mut self) -> Vec<u8> {
        if !self.pending.is_empty() {
            self.write_block();
        }
        self.checksum.update(&self.out);
        std::mem::take(&mut self.out)
    }

    /// The end of the snapshot, with whatever was still to be sent.
    pub fn finish(mut self) -> Vec<u8> {
        let mut rest = self.block();
        let mut end = vec![TAG_END];
        put_varint(&mut end, u128::from(self.total));
        self.checksum.update(&end);
        end.extend_from_slice(&self.checksum.digest().to_le_bytes());
        rest.append(&mut end);
        rest
    }

    fn kind(&mut self, kind: Kind<'_>) -> u32 {
        let Kind { scope, kind, origin, scenario } = kind;
        let texts = [scope, kind, origin, scenario];
        if let Some((last, number)) = &self.last
            && last.iter().zip(texts).all(|(one, other)| one == other)
        {
            return *number;
        }
        let key = texts.map(|text| self.text(text));
        let next = self.kinds.len() as u32;
        let number = *self.kinds.entry(key).or_insert_with(|| {
            self.new_kinds.push(key);
            next
        });
        self.last = Some((texts.map(str::to_owned), number));
        number
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.texts.get(text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.texts.insert(text.to_owned(), number);
        put_varint(&mut self.new_texts, text.len() as u128);
        self.new_texts.extend_from_slice(text.as_bytes());
        self.new_text_count += 1;
        number
    }

    fn write_block(&mut self) {
        let values = std::mem::take(&mut self.values);
        let mut pending = std::mem::take(&mut self.pending);
        let text = |entry: &Pending| &values[range(entry)];
        pending.sort_unstable_by(|one, other| {
            let key = |entry: &Pending| (entry.kind, entry.form);
            key(one).cmp(&key(other)).then_with(|| match one.form {
                Form::Text => text(one).cmp(text(other)),
                _ => one.number.cmp(&other.number),
            })
        });
        let out = &mut self.out;
        out.push(TAG_BLOCK);
        put_varint(out, self.new_text_count as u128);
        out.append(&mut self.new_texts);
        self.new_text_count = 0;
        put_varint(out, self.new_kinds.len() as u128);
        for texts in self.new_kinds.drain(..) {
            texts.iter().for_each(|&number| put_varint(out, u128::from(number)));
        }
        let groups = || pending.chunk_by(|one, other| (one.kind, one.form) == (other.kind, other.form));
        put_varint(out, groups().count() as u128);
        for group in groups() {
            put_group(out, group, &values, self.at_secs);
        }
        self.total += pending.len() as u64;
        pending.clear();
        self.pending = pending;
    }
}

fn range(entry: &Pending) -> Range<usize> {
    let begin = entry.number as usize;
    begin..begin + entry.length as usize
}

fn put_group(out: &mut Vec<u8>, group: &[Pending], values: &str, at_secs: i64) {
    let Some(first) = group.first() else { return };
    put_varint(out, u128::from(first.kind));
    match first.form {
        Form::Text => out.push(0),
        Form::V4 => out.push(1),
        Form::V6 => out.push(2),
        Form::V4Range(bits) => out.extend([3, bits]),
        Form::V6Range(bits) => out.extend([4, bits]),
    }
    put_varint(out, group.len() as u128);
    let mut before = 0;
    for entry in group {
        if first.form == Form::Text {
            put_varint(out, u128::from(entry.length));
            out.extend_from_slice(values[range(entry)].as_bytes());
        } else {
            put_varint(out, entry.number - before);
            before = entry.number;
        }
    }
    let ends = || group.iter().map(|entry| entry.end_secs);
    let least = ends().min().unwrap_or(at_secs);
    let is_same = ends().all(|end| end == least);
    out.push(if is_same { ENDS_SAME } else { ENDS_EACH });
    put_varint(out, u128::from(least.abs_diff(at_secs)));
    if !is_same {
        ends().for_each(|end| put_varint(out, u128::from(end.abs_diff(least))));
    }
}

/// The form of a value, and its number: only what reads back to the same text is written as a number. The
/// host bits of a network are zero, and are not written.
fn classify(value: &str) -> (Form, u128) {
    let (address, bits) = match value.split_once('/') {
        None => (value, None),
        Some((address, bits)) => match bits.parse::<u8>() {
            Ok(number) if number.to_string() == bits => (address, Some(number)),
            _ => return (Form::Text, 0),
        },
    };
    let shifted = |number: u128, bits: u8, width: u8| {
        let host = u32::from(width.checked_sub(bits)?);
        let network = number.checked_shr(host).unwrap_or(0);
        (network.checked_shl(host).unwrap_or(0) == number).then_some(network)
    };
    // Reading refuses leading zeros, so that there is one text for an IPv4 address.
    if let Ok(v4) = address.parse::<Ipv4Addr>() {
        let number = u128::from(v4.to_bits());
        let Some(bits) = bits else { return (Form::V4, number) };
        return shifted(number, bits, 32).map_or((Form::Text, 0), |number| (Form::V4Range(bits), number));
    }
    match address.parse::<Ipv6Addr>() {
        Ok(v6) if v6.to_string() == address => {
            let number = v6.to_bits();
            let Some(bits) = bits else { return (Form::V6, number) };
            shifted(number, bits, 128).map_or((Form::Text, 0), |number| (Form::V6Range(bits), number))
        }
        _ => (Form::Text, 0),
    }
}

//! Numbers, texts and times as few bytes, and back. What is read back may be any bytes: reading never panics
//! and allocates no more than there are bytes.

use std::{net::IpAddr, sync::Arc};

use testudo_event::Timestamp;
use testudo_expr::{Value, value::Map};

/// How deep values may be nested.
const MAX_DEPTH: usize = 64;

/// Numbers of things that are counted up: far from where counting would overflow.
const MAX_COUNT: u64 = 1 << 62;

/// Seconds before and after 1970: no date that has four digits for its year lies further off.
const MAX_SECONDS: i64 = 1 << 38;

/// Seconds of a day: no offset has more.
const DAY: i64 = 86_400;

const SECOND: i64 = 1_000_000_000;

/// Writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    /// Times are written by what they differ from this: seconds since 1970.
    base: i64,
}

/// The bytes are not those that a [`Writer`] has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Reads what a [`Writer`] with the same base has written.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    base: i64,
}

impl Writer {
    /// One that has taken this much memory.
    pub(crate) fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes), base: 0 }
    }

    /// Sets what times are written by.
    pub(crate) fn set_base(&mut self, seconds: i64) {
        self.base = seconds;
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.bytes.push(u8::from(flag));
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number > 0x7F {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    pub(crate) fn float(&mut self, float: f64) {
        self.bytes.extend_from_slice(&float.to_bits().to_le_bytes());
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    pub(crate) fn time(&mut self, time: Timestamp) {
        self.signed(time.unix().wrapping_sub(self.base));
        self.number(u64::from(time.nanosecond()) << 1 | u64::from(time.offset() != 0));
        if time.offset() != 0 {
            self.signed(time.offset().into());
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn nanos(&mut self, nanos: i64) {
        self.signed(nanos.wrapping_sub(self.base.wrapping_mul(SECOND)));
    }

    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.byte(4);
                self.bytes.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.byte(6);
                self.bytes.extend_from_slice(&address.octets());
            }
        }
    }

    pub(crate) fn map(&mut self, map: &Map) {
        self.count(map.len());
        for (key, value) in map {
            self.text(key);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            // What belongs to a host has no meaning outside of it.
            Value::Nil | Value::Object(_) => self.byte(0),
            Value::Bool(flag) => self.byte(1 + u8::from(*flag)),
            Value::Int(number) => {
                self.byte(3);
                self.signed(*number);
            }
            Value::Float(float) => {
                self.byte(4);
                self.float(*float);
            }
            Value::Str(text) => {
                self.byte(5);
                self.text(text);
            }
            Value::Bytes(bytes) => {
                self.byte(6);
                self.blob(bytes);
            }
            Value::Time(time) => {
                self.byte(7);
                self.time(*time);
            }
            Value::Duration(nanos) => {
                self.byte(8);
                self.signed(*nanos);
            }
            Value::List(items) => {
                self.byte(9);
                self.count(items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Map(map) => {
                self.byte(10);
                self.map(map);
            }
        }
    }
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0, base: 0 }
    }

    /// Sets what times were written by.
    pub(crate) fn set_base(&mut self, seconds: i64) {
        self.base = seconds;
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], Damaged> {
        let end = self.at.checked_add(count).ok_or(Damaged)?;
        let taken = self.bytes.get(self.at..end).ok_or(Damaged)?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    /// A number of things that follow, of at least one byte each.
    pub(crate) fn count(&mut self) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if count > self.left() { Err(Damaged) } else { Ok(count) }
    }

    /// A number that will be counted up.
    pub(crate) fn tally(&mut self) -> Result<u64, Damaged> {
        self.number().and_then(|number| if number > MAX_COUNT { Err(Damaged) } else { Ok(number) })
    }

    pub(crate) fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn float(&mut self) -> Result<f64, Damaged> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    pub(crate) fn blob(&mut self) -> Result<&'b [u8], Damaged> {
        let count = self.count()?;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'b str, Damaged> {
        std::str::from_utf8(self.blob()?).map_err(|_| Damaged)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Damaged> {
        let seconds = self.signed()?.wrapping_add(self.base);
        let fraction = self.number()?;
        let nanos = u32::try_from(fraction >> 1).map_err(|_| Damaged)?;
        if i64::from(nanos) >= SECOND || !(-MAX_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return Err(Damaged);
        }
        let offset = if fraction & 1 == 1 { self.signed()? } else { 0 };
        Ok(Timestamp::from_unix(seconds, nanos).with_offset(offset_of(offset)?))
    }

    /// Nanoseconds since 1970.
    pub(crate) fn nanos(&mut self) -> Result<i64, Damaged> {
        Ok(self.signed()?.wrapping_add(self.base.wrapping_mul(SECOND)))
    }

    pub(crate) fn offset(&mut self) -> Result<i32, Damaged> {
        offset_of(self.signed()?)
    }

    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn address(&mut self) -> Result<IpAddr, Damaged> {
        match self.byte()? {
            4 => Ok(IpAddr::from(self.array::<4>()?)),
            6 => Ok(IpAddr::from(self.array::<16>()?)),
            _ => Err(Damaged),
        }
    }

    pub(crate) fn map(&mut self) -> Result<Map, Damaged> {
        self.map_at(0)
    }

    fn map_at(&mut self, depth: usize) -> Result<Map, Damaged> {
        let count = self.count()?;
        (0..count).map(|_| Ok((Arc::from(self.text()?), self.value(depth)?))).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Damaged> {
        if depth > MAX_DEPTH {
            return Err(Damaged);
        }
        Ok(match self.byte()? {
            0 => Value::Nil,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Int(self.signed()?),
            4 => Value::Float(self.float()?),
            5 => Value::str(self.text()?),
            6 => Value::Bytes(self.blob()?.into()),
            7 => Value::Time(self.time()?),
            8 => Value::Duration(self.signed()?),
            9 => {
                let count = self.count()?;
                Value::list((0..count).map(|_| self.value(depth + 1)).collect::<Result<_, _>>()?)
            }
            10 => Value::Map(Arc::new(self.map_at(depth + 1)?)),
            _ => return Err(Damaged),
        })
    }
}

fn offset_of(offset: i64) -> Result<i32, Damaged> {
    if offset.abs() < DAY { Ok(offset as i32) } else { Err(Damaged) }
}

/// A number that says whether bytes are those that were written: quick, and no protection from anybody who
/// wants to mislead.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let mut writer = Writer::default();
        writer.set_base(1_700_000_000);
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), MAX_COUNT, u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX];
        let times = [
            Timestamp::zero(),
            Timestamp::from_unix(MAX_SECONDS, 999_999_999),
            Timestamp::from_unix(-MAX_SECONDS, 0),
            Timestamp::from_unix(1_700_000_001, 5).with_offset(-5_400),
        ];
        let map = Map::from([
            (Arc::from("list"), Value::list(vec![Value::Nil, Value::Bool(true), Value::Float(-0.5)])),
            (Arc::from("map"), Value::Map(Arc::new(Map::from([(Arc::from(""), Value::Int(-7))])))),
            (Arc::from("time"), Value::Time(times[3])),
        ]);
        numbers.iter().for_each(|number| writer.number(*number));
        signed.iter().for_each(|number| writer.signed(*number));
        signed.iter().for_each(|number| writer.nanos(*number));
        times.iter().for_each(|time| writer.time(*time));
        writer.map(&map);
        writer.optional(Some("ü"), Writer::text);
        writer.optional(None, Writer::text);
        for address in ["192.0.2.1", "2001:db8::1"] {
            writer.address(address.parse().unwrap());
        }
        let mut reader = Reader::new(&writer.bytes);
        reader.set_base(1_700_000_000);
        assert_eq!(numbers.map(|_| reader.number()), numbers.map(Ok));
        assert_eq!(signed.map(|_| reader.signed()), signed.map(Ok));
        assert_eq!(signed.map(|_| reader.nanos()), signed.map(Ok));
        for time in times {
            let read = reader.time().unwrap();
            assert_eq!((read, read.offset()), (time, time.offset()));
        }
        assert_eq!(format!("{:?}", reader.map().unwrap()), format!("{map:?}"));
        assert_eq!(reader.optional(Reader::text), Ok(Some("ü")));
        assert_eq!(reader.optional(Reader::text), Ok(None));
        assert_eq!(reader.address().unwrap().to_string(), "192.0.2.1");
        assert_eq!(reader.address().unwrap().to_string(), "2001:db8::1");
        assert_eq!(reader.left(), 0);
        assert_eq!(reader.byte(), Err(Damaged));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, which in 0..8_u8) {
            let mut reader = Reader::new(&bytes);
            match which {
                0 => drop(reader.map()),
                1 => drop(reader.time()),
                2 => drop(reader.text()),
                3 => drop(reader.number()),
                4 => drop(reader.address()),
                5 => drop(reader.nanos()),
                6 => drop(reader.tally()),
                _ => drop(reader.value(0)),
            }
            prop_assert!(reader.position() <= bytes.len());
        }

        #[test]
        fn a_changed_byte_is_noticed(mut bytes in prop::collection::vec(any::<u8>(), 1..100), at: usize, other in 1..=255_u8) {
            let before = checksum(&bytes);
            let at = at % bytes.len();
            bytes[at] ^= other;
            prop_assert_ne!(before, checksum(&bytes));
            bytes[at] ^= other;
            bytes.pop();
            prop_assert_ne!(before, checksum(&bytes));
        }
    }
}

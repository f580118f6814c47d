//! The little of Protocol Buffers that Envoy's questions need: fields of a message, and messages made of fields.

/// The type of a field on the wire.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// A value, as far as the wire tells what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'m> {
    /// A number, a truth or a name of an enumeration.
    Number(u64),
    /// A text, bytes, or a message.
    Bytes(&'m [u8]),
    /// Of a type that none of the fields has that are read here.
    Other,
}

impl<'m> Value<'m> {
    /// The bytes of a text, or the message; nothing where it is a number.
    pub(super) fn bytes(self) -> &'m [u8] {
        if let Value::Bytes(bytes) = self { bytes } else { &[] }
    }
}

/// A message that is not one: it is cut off, or has what was given up long ago (groups).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of a message with their numbers, in the order of the wire. Unknown ones are there as well.
pub(super) struct Fields<'m>(&'m [u8]);

impl<'m> Fields<'m> {
    /// The fields of a message.
    pub(super) fn of(message: &'m [u8]) -> Self {
        Self(message)
    }

    fn next_field(&mut self) -> Option<(u64, Value<'m>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            VARINT => Value::Number(self.varint()?),
            EIGHT_BYTES => self.take(8).map(|_| Value::Other)?,
            FOUR_BYTES => self.take(4).map(|_| Value::Other)?,
            LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Seven bits in each byte, the low ones first, in at most ten bytes.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<(u64, Value<'m>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_none() {
            // What follows has no beginning.
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

/// A message that is being made.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a number.
    #[must_use]
    pub(super) fn number(mut self, field: u64, number: u64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(number);
        self
    }

    /// Adds a text, or bytes.
    #[must_use]
    pub(super) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a message.
    #[must_use]
    pub(super) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// Its bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
        Fields::of(message).collect()
    }

    #[test]
    fn messages() {
        // The examples of the format's own description: 150 in field 1, "testing" in field 2.
        assert_eq!(fields(&[0x08, 0x96, 0x01]), Ok(vec![(1, Value::Number(150))]));
        let text = [&[0x12, 0x07][..], b"testing"].concat();
        assert_eq!(fields(&text), Ok(vec![(2, Value::Bytes(b"testing"))]));
        assert_eq!(Message::default().bytes(2, b"testing").into_bytes(), text);
        let fixed = [0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(fields(&fixed), Ok(vec![(1, Value::Other), (2, Value::Other)]));
        for bad in [
            &[0x08][..],
            &[0x12, 7, b'x'],
            &[0x0b],
            &[0x0d, 1],
            &[0xff; 11],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(fields(bad), Err(Malformed), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(field in 1_u64..1 << 29, number in any::<u64>(), bits in 0_u32..64) {
            let number = number >> bits;
            let message = Message::default().number(field, number).bytes(field, b"x").into_bytes();
            prop_assert_eq!(fields(&message), Ok(vec![(field, Value::Number(number)), (field, Value::Bytes(b"x"))]));
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = fields(&bytes);
        }
    }
}

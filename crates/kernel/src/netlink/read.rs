//! Messages as they are received.

/// The attributes of a message or of an attribute, in their order. What is cut off ends the list.
#[derive(Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Attributes<'a> {
        Attributes(bytes)
    }

    /// The first attribute of a kind.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        Attributes(self.0).find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes in the first attribute of a kind; none when it is missing.
    pub(crate) fn nested(&self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let length = usize::from(u16::from_ne_bytes([a, b])).checked_sub(4)?;
        let value = rest.get(..length)?;
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits say "nested" and "order of the network".
        Some((u16::from_ne_bytes([c, d]) & 0x3fff, value))
    }
}

/// A number in the order of the network.
pub(crate) fn be_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// A number in the order of the network.
pub(crate) fn be_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// A text without the zero at its end.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Bytes;

    #[test]
    fn attributes_are_read_as_written() {
        let mut bytes = Bytes::default();
        bytes.u8(1, 7);
        bytes.text(2, "abcd");
        bytes.nest(3, |inner| inner.u64(1, 42));
        let read = Attributes::new(bytes.as_slice());
        assert_eq!(read.get(1), Some(&[7][..]));
        assert_eq!(read.get(2).and_then(text), Some("abcd"));
        assert_eq!(read.nested(3).get(1).and_then(be_u64), Some(42));
        assert_eq!(read.get(4), None);
        assert_eq!(read.count(), 3);
    }

    #[test]
    fn what_is_cut_off_or_strange_ends_the_list() {
        for bytes in [&[][..], &[8, 0, 1], &[8, 0, 1, 0, 1], &[3, 0, 1, 0], &[0; 64]] {
            assert_eq!(Attributes::new(bytes).next(), None, "{bytes:?}");
        }
        // The last attribute of a message may lack the bytes that fill it up.
        assert_eq!(Attributes::new(&[5, 0, 1, 0, 9]).next(), Some((1, &[9][..])));
    }
}

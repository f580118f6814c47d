//! Sets of bytes, the currency of every decision of the matcher: classes, and the bytes with which a
//! continuation can begin. The end of the text is a byte of its own, [`END`], so that one look-up answers both
//! "which byte" and "is there one".

/// Stands for "no byte left". 0xFF never occurs in UTF-8.
pub(super) const END: u8 = 0xFF;

/// 256 bits, one per byte value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const EMPTY: Self = Self([0; 4]);

    /// `[0-9A-Za-z_]`.
    pub(super) const WORD: Self = Self([0x03FF_0000_0000_0000, 0x07FF_FFFE_87FF_FFFE, 0, 0]);

    /// Everything that can follow a character boundary: ASCII, lead bytes, and the end.
    pub(super) fn any() -> Self {
        let mut set = Self::EMPTY;
        set.insert_range(0, 0x7F);
        set.insert_range(0xC2, 0xF4);
        set.insert(END);
        set
    }

    pub(super) fn of(byte: u8) -> Self {
        let mut set = Self::EMPTY;
        set.insert(byte);
        set
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        (self.0[usize::from(byte >> 6)] >> (byte & 63)) & 1 != 0
    }

    pub(super) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Inserts `low..=high`.
    pub(super) fn insert_range(&mut self, low: u8, high: u8) {
        for byte in low..=high {
            self.insert(byte);
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    pub(super) fn complement(&self) -> Self {
        Self(std::array::from_fn(|i| !self.0[i]))
    }

    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other) == Self::EMPTY
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|&byte| self.contains(byte))
    }
}

/// Length in bytes of the character that starts with `lead` (a lead byte of valid UTF-8).
#[inline]
pub(super) fn char_width(lead: u8) -> usize {
    match lead {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members() {
        let mut set = ByteSet::of(b'a');
        set.insert_range(b'0', b'9');
        assert_eq!(set.len(), 11);
        assert!(set.contains(b'5') && set.contains(b'a') && !set.contains(b'b') && !set.contains(END));
        assert_eq!(set.iter().last(), Some(b'a'));
        assert!(set.is_disjoint(&set.complement()));
        assert_eq!(set.union(&set.complement()).len(), 256);
        assert!(!ByteSet::any().contains(0x80), "continuation bytes never start a character");
        assert!(ByteSet::any().contains(END));
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!((0..=u8::MAX).all(|byte| ByteSet::WORD.contains(byte) == is_word(byte)));
    }

    #[test]
    fn widths_follow_the_encoding() {
        for c in ['a', '\u{7f}', '\u{80}', '\u{7ff}', '\u{800}', '\u{ffff}', '\u{10000}', '\u{10ffff}'] {
            let mut buffer = [0; 4];
            let encoded = c.encode_utf8(&mut buffer);
            assert_eq!(char_width(encoded.as_bytes()[0]), encoded.len());
        }
    }
}

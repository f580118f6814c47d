//! What memory costs. Budgets are counted by this model, never by asking the allocator: the same
//! lines must give the same evictions everywhere.

/// Bytes that an allocator takes for `bytes`: blocks come in multiples of 16 bytes, and from 64 on in
/// four sizes for each power of two.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes <= 64 {
        return bytes.next_multiple_of(16);
    }
    let step = 1_usize << ((bytes - 1).ilog2() - 2);
    bytes.checked_next_multiple_of(step).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_blocks() {
        let check = |bytes, expected| assert_eq!(allocated(bytes), expected, "{bytes}");
        for (bytes, expected) in [
            (0, 0),
            (1, 16),
            (16, 16),
            (17, 32),
            (64, 64),
            (65, 80),
            (80, 80),
            (128, 128),
            (129, 160),
            (160, 160),
            (300, 320),
            (1_000, 1_024),
            (1_025, 1_280),
            (usize::MAX, usize::MAX),
        ] {
            check(bytes, expected);
        }
    }
}

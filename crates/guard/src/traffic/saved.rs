//! The table of clients as bytes: what was known of them before a restart.
//!
//! Magic and version, then 24 bytes a client: its number, and when it was first seen, last seen, last bad, and how
//! often seen; numbers are little-endian.

use super::{Client, GoodTraffic, seconds};
use crate::key::Key;

const MAGIC: &[u8; 8] = b"clients\x01";

/// Bytes of one client.
const EACH: usize = 8 + 4 * 4;

/// The bytes are no table of clients, or one of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no table of clients that this program can read")]
pub struct NoTable;

impl GoodTraffic {
    /// What is known, for [`GoodTraffic::restore`].
    pub fn save(&self) -> Vec<u8> {
        let clients = self.old.iter().chain(&self.young);
        let mut bytes = Vec::with_capacity(MAGIC.len() + EACH * (self.old.len() + self.young.len()));
        bytes.extend_from_slice(MAGIC);
        for (key, client) in clients {
            bytes.extend_from_slice(&key.number().to_le_bytes());
            for number in [client.first, client.last, client.bad, client.lines] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    /// Takes over what was saved, as far as it lies within the window; returns how many clients that are. What is known
    /// already stays.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn restore(&mut self, bytes: &[u8], now_s: i64) -> Result<usize, NoTable> {
        let rest = bytes.strip_prefix(MAGIC).filter(|rest| rest.len().is_multiple_of(EACH)).ok_or(NoTable)?;
        let now = seconds(now_s);
        let mut taken = 0;
        for entry in rest.chunks_exact(EACH) {
            let number = |at: usize| {
                let bytes = entry.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
                u32::from_le_bytes(bytes)
            };
            let key = Key::of_number(u64::from(number(0)) | u64::from(number(4)) << 32);
            // A clock that was ahead must not keep anybody for ever.
            let [first, last, bad] = [8, 12, 16].map(|at| number(at).min(now));
            let client = Client { first, last, bad, lines: number(20) };
            let is_past = now.saturating_sub(last.max(bad)) > self.budget.window_s;
            if is_past || self.young.contains_key(&key) || self.old.len() >= self.budget.clients / 2 {
                continue;
            }
            self.old.insert(key, client);
            taken += 1;
        }
        self.changed = true;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::{Budget, Standing};

    const NOW: i64 = 1_800_000_000;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_restart_forgets_nobody() {
        let mut before = GoodTraffic::new(Budget::default());
        for minute in 0..10 {
            before.seen(address(1), NOW + minute * 60);
        }
        before.seen(address(2), NOW + 500);
        before.bad(address(3), NOW + 500);
        before.seen(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), NOW + 500);
        before.seen(address(4), NOW - 7_200);
        let mut after = GoodTraffic::new(Budget::default());
        assert_eq!(
            after.restore(&before.save(), NOW + 600),
            Ok(4),
            "who was not seen for an hour stays away"
        );
        let standing = |last| after.standing(address(last), NOW + 600);
        assert_eq!(
            [1, 2, 3, 4].map(standing),
            [Standing::Regular, Standing::Good, Standing::Bad, Standing::Unknown]
        );
        assert_eq!(after.regulars(NOW + 600), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), is_ours: bool) {
            if is_ours {
                bytes.splice(0..0, *MAGIC);
            }
            let mut table = GoodTraffic::new(Budget { clients: 64, ..Budget::default() });
            let taken = table.restore(&bytes, NOW);
            prop_assert!(taken.is_err() || is_ours);
            prop_assert!(table.counts().clients <= 64);
        }
    }
}

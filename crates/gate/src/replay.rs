//! Challenges that were answered, so that each counts once.

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use tokio::sync::mpsc;

#[cfg(unix)]
use crate::answered::Answered;
use crate::moment::Moment;

/// A challenge: when it was made in milliseconds since 1970, and what is random about it.
pub(crate) type Key = (u64, [u8; 16]);

/// Bytes of a challenge: when it was made, and what is random about it.
pub(crate) const RECORD: usize = 24;

/// A bounded set of challenges that were answered.
///
/// When it is full, the challenge that was made first is forgotten, and from then on none that was made before
/// is taken: it never costs more memory, and never lets an answer count twice.
#[derive(Debug)]
pub(crate) struct Replay {
    used: BTreeSet<Key>,
    capacity: usize,
    /// Challenges that were made up to then are not taken, in milliseconds since 1970.
    closed_until: u64,
    /// What the gates of this machine took that have the same keys.
    #[cfg(unix)]
    shared: Option<Answered>,
    /// That it cannot be used was told.
    is_told: bool,
    /// Who tells gates elsewhere.
    tellers: Vec<mpsc::Sender<Key>>,
}

impl Replay {
    /// A set that knows nothing of what was answered before `start`, and so takes nothing from before.
    pub(crate) fn new(capacity: usize, start: Moment) -> Self {
        Self {
            used: BTreeSet::new(),
            capacity: capacity.max(1),
            closed_until: start.wall.saturating_sub(1),
            #[cfg(unix)]
            shared: None,
            is_told: false,
            tellers: Vec::new(),
        }
    }

    /// Shares what is answered with the gates that use the same file from now on.
    ///
    /// # Errors
    /// The file cannot be used; nothing changes then.
    pub(crate) fn share(&mut self, path: &Path) -> io::Result<()> {
        #[cfg(unix)]
        {
            self.shared = Some(Answered::open(path)?);
            Ok(())
        }
        #[cfg(not(unix))]
        {
            let _ = path;
            Err(io::Error::from(io::ErrorKind::Unsupported))
        }
    }

    /// Has gates elsewhere told what is answered here from now on.
    pub(crate) fn tell(&mut self, tellers: Vec<mpsc::Sender<Key>>) {
        self.tellers = tellers;
    }

    /// Uses a challenge up. Whether it was still unused.
    pub(crate) fn burn(&mut self, issued: u64, random: [u8; 16], valid_for: Duration, now: Moment) -> bool {
        let key = (issued, random);
        #[cfg(unix)]
        let is_new = self.burn_shared(key, valid_for, now).unwrap_or_else(|error| {
            self.complain(&error);
            self.take(key, valid_for, now)
        });
        #[cfg(not(unix))]
        let is_new = self.take(key, valid_for, now);
        if is_new {
            for teller in &self.tellers {
                // A gate that cannot be told so many is not told.
                let _ = teller.try_send(key);
            }
        }
        is_new
    }

    /// Uses challenges up that were answered elsewhere.
    pub(crate) fn hear(&mut self, keys: impl Iterator<Item = Key>, valid_for: Duration, now: Moment) {
        for key in keys {
            self.take(key, valid_for, now);
        }
    }

    /// Uses a challenge up for all gates that share the file. An error if they could not be asked.
    #[cfg(unix)]
    fn burn_shared(&mut self, key: Key, valid_for: Duration, now: Moment) -> io::Result<bool> {
        let Some(mut shared) = self.shared.take() else { return Ok(self.take(key, valid_for, now)) };
        let news = shared.begin();
        let is_new = news.map(|news| {
            self.closed_until = self.closed_until.max(news.closed_until);
            self.hear(news.keys.into_iter(), valid_for, now);
            let is_new = self.take(key, valid_for, now);
            let mut written = if is_new { shared.append(key) } else { Ok(()) };
            if shared.is_long() {
                written = written.and(shared.replace(self.closed_until, self.used.iter().copied()));
            }
            shared.end();
            match written {
                Ok(()) => self.is_told = false,
                Err(error) => self.complain(&error),
            }
            is_new
        });
        self.shared = Some(shared);
        is_new
    }

    #[cfg(unix)]
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(%error, "gates with the same keys do not learn which challenges were answered here");
        }
    }

    /// Uses a challenge up here. Whether it was still unused.
    fn take(&mut self, (issued, random): Key, valid_for: Duration, now: Moment) -> bool {
        // What has expired is refused for its age already.
        let expired = now.wall.saturating_sub(valid_for.as_millis() as u64);
        while self.used.first().is_some_and(|(issued, _)| *issued < expired) {
            self.used.pop_first();
        }
        if issued <= self.closed_until || !self.used.insert((issued, random)) {
            return false;
        }
        if self.used.len() > self.capacity
            && let Some((issued, _)) = self.used.pop_first()
        {
            self.closed_until = self.closed_until.max(issued);
        }
        true
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }
}

/// A challenge as bytes: those of a record, and of what gates tell each other.
pub(crate) fn encode((issued, random): Key) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&issued.to_be_bytes());
    record[8..].copy_from_slice(&random);
    record
}

/// A challenge from its bytes.
pub(crate) fn decode(record: &[u8; RECORD]) -> Key {
    let mut issued = [0; 8];
    let mut random = [0; 16];
    issued.copy_from_slice(&record[..8]);
    random.copy_from_slice(&record[8..]);
    (u64::from_be_bytes(issued), random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: Duration = Duration::from_mins(5);

    #[test]
    fn once_and_never_from_before_the_start() {
        let mut replay = Replay::new(10, Moment::at(1_000));
        assert!(replay.burn(1_000, [1; 16], VALID, Moment::at(2_000)));
        assert!(!replay.burn(1_000, [1; 16], VALID, Moment::at(2_000)));
        assert!(replay.burn(1_000, [2; 16], VALID, Moment::at(2_000)));
        assert!(!replay.burn(999, [3; 16], VALID, Moment::at(2_000)));
    }

    #[cfg(unix)]
    mod shared {
        use std::{fs, io::Write as _, path::PathBuf};

        use super::*;

        fn sharing(capacity: usize, path: &Path) -> Replay {
            let mut replay = Replay::new(capacity, Moment::at(0));
            replay.share(path).expect("it is shared");
            replay
        }

        fn place() -> (tempfile::TempDir, PathBuf) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("keys.answered");
            (folder, path)
        }

        fn burn(replay: &mut Replay, issued: u64, random: u8) -> bool {
            replay.burn(issued, [random; 16], VALID, Moment::at(1_000))
        }

        #[test]
        fn what_one_gate_took_no_other_takes() {
            let (_folder, path) = place();
            let (mut first, mut second) = (sharing(10, &path), sharing(10, &path));
            assert!(burn(&mut first, 500, 1));
            assert!(!burn(&mut second, 500, 1));
            assert!(burn(&mut second, 500, 2));
            assert!(!burn(&mut first, 500, 2));
            // One that starts later knows it as well.
            assert!(!burn(&mut sharing(10, &path), 500, 2));
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }

        #[test]
        fn half_a_record_is_cut_off() {
            let (_folder, path) = place();
            let mut first = sharing(10, &path);
            assert!(burn(&mut first, 500, 1));
            let mut file = fs::OpenOptions::new().append(true).open(&path).expect("it opens");
            file.write_all(b"half").expect("it is written");
            let mut second = sharing(10, &path);
            assert!(!burn(&mut second, 500, 1));
            assert!(burn(&mut second, 500, 2));
            assert!(!burn(&mut first, 500, 2));
        }

        #[test]
        fn a_file_that_is_gone_or_replaced_is_noticed() {
            let (_folder, path) = place();
            let (mut first, mut second) = (sharing(10, &path), sharing(10, &path));
            assert!(burn(&mut first, 500, 1));
            fs::remove_file(&path).expect("it is removed");
            assert!(burn(&mut first, 500, 2));
            assert!(!burn(&mut second, 500, 2));
            // What cannot be read leaves each gate to itself.
            fs::write(&path, b"something else entirely").expect("it is written");
            assert!(burn(&mut first, 500, 3));
            assert!(!burn(&mut first, 500, 3));
            assert!(burn(&mut second, 500, 3));
            fs::remove_file(&path).expect("it is removed");
            assert!(burn(&mut first, 500, 4));
            assert!(!burn(&mut second, 500, 4));
        }

        #[test]
        fn a_lock_that_is_held_does_not_stop_a_gate() {
            let (_folder, path) = place();
            let mut first = sharing(10, &path);
            assert!(burn(&mut first, 500, 1));
            let held = fs::File::open(&path).expect("it opens");
            held.lock().expect("it is locked");
            assert!(burn(&mut first, 500, 2));
            assert!(!burn(&mut first, 500, 2));
            held.unlock().expect("it is unlocked");
            assert!(!burn(&mut first, 500, 1));
        }

        #[test]
        fn what_others_can_write_is_not_used() {
            use std::os::unix::fs::PermissionsExt as _;
            let (_folder, path) = place();
            fs::write(&path, b"").expect("it is written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).expect("it is opened");
            assert!(Replay::new(10, Moment::at(0)).share(&path).is_err());
        }

        #[test]
        fn a_long_file_is_replaced_and_nothing_counts_twice() {
            let (_folder, path) = place();
            let (mut first, mut second) = (sharing(1_000, &path), sharing(1_000, &path));
            assert!(burn(&mut second, 1, 0));
            for number in 1..140_000_u64 {
                let key = (number, [7; 16]);
                let gate = if number % 3 == 0 { &mut second } else { &mut first };
                assert!(gate.burn(key.0, key.1, VALID, Moment::at(1_000)), "{number}");
            }
            assert!(fs::metadata(&path).expect("it is there").len() < 24 * 131_073);
            let mut third = sharing(1_000, &path);
            for gate in [&mut first, &mut second, &mut third] {
                assert!(!burn(gate, 1, 0));
                assert!(!gate.burn(139_999, [7; 16], VALID, Moment::at(1_000)));
                assert!(!gate.burn(100_000, [7; 16], VALID, Moment::at(1_000)));
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(32))]
            #[test]
            fn no_challenge_counts_at_two_gates(
                tries in proptest::collection::vec((0_u64..40, 0_u8..4, 0_usize..3, 0_u8..20), 0..120),
            ) {
                let (_folder, path) = place();
                let mut gates: Vec<Replay> = (0..3).map(|_| sharing(8, &path)).collect();
                let mut taken = std::collections::HashSet::new();
                for (issued, random, gate, event) in tries {
                    if event == 0 {
                        gates[gate] = sharing(8, &path);
                    }
                    if gates[gate].burn(issued, [random; 16], VALID, Moment::at(50)) {
                        prop_assert!(taken.insert((issued, random)));
                    }
                }
            }
        }
    }

    #[test]
    fn what_expired_is_forgotten() {
        let mut replay = Replay::new(10, Moment::at(0));
        replay.burn(10, [1; 16], VALID, Moment::at(20));
        assert!(replay.burn(400_000, [2; 16], VALID, Moment::at(400_000)));
        assert_eq!(replay.len(), 1);
    }

    proptest! {
        #[test]
        fn no_challenge_counts_twice(tries in proptest::collection::vec((0_u64..40, 0_u8..4), 0..300)) {
            let mut replay = Replay::new(8, Moment::at(0));
            let mut taken = std::collections::HashSet::new();
            for (issued, random) in tries {
                if replay.burn(issued, [random; 16], VALID, Moment::at(50)) {
                    prop_assert!(taken.insert((issued, random)));
                }
                prop_assert!(replay.len() <= 8);
            }
        }
    }
}

//! The state of a live run as bytes, and back.

use super::Live;

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
    /// The state, for [`Live::restore`].
    pub fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes over what another run has saved, in place of its own state.
    pub fn restore(&mut self, _state: &[u8]) -> Result<Restored, StateError> {
        Ok(Restored::default())
    }
}

//! Tags of answers about decisions, by which a client finds out that it has everything already.
//!
//! The same commit and the same number of decisions in force mean the same decisions: the number falls only
//! by commits and as decisions end. The time that decisions have left is not part of it, so tags are weak.

use std::fmt::Debug;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use sha2::{Digest as _, Sha256};
use testudo_store::Index;

use crate::answer::{self, Answer};
use crate::request::Ask;
use crate::service::Service;

/// Bytes of the digest of what was asked.
const DIGEST_BYTES: usize = 8;

/// The tag of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// The tag of what the index says now to a question.
    pub(crate) fn new(service: &Service, index: &Index, asked: &impl Debug) -> Tag {
        // The secret tells databases apart.
        let digest =
            Sha256::new().chain_update(service.secret()).chain_update(format!("{asked:?}")).finalize();
        let digest = digest.iter().take(DIGEST_BYTES).fold(0, |all, &byte| all << 8 | u64::from(byte));
        Tag(format!("W/\"{:x}-{:x}-{digest:x}\"", index.now().seq, index.active()))
    }

    /// Whether the client says that it has this answer.
    pub(crate) fn is_held(&self, ask: &Ask) -> bool {
        let plain = self.0.trim_start_matches("W/");
        let held = ask.header(&IF_NONE_MATCH).split(',').map(str::trim);
        held.into_iter().any(|tag| tag.trim_start_matches("W/") == plain)
    }

    /// The answer to a client that has it.
    pub(crate) fn unchanged(&self) -> Answer {
        self.put(answer::empty(StatusCode::NOT_MODIFIED))
    }

    /// An answer with its tag. Only the client itself may keep it: the times left in it grow old.
    pub(crate) fn put(&self, mut answer: Answer) -> Answer {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            answer.headers_mut().insert(ETAG, value);
        }
        answer::with_header(answer, CACHE_CONTROL, "no-store")
    }
}

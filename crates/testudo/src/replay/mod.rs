//! Reading logs of the past, and telling what was in them.

pub(crate) mod guess;
pub(crate) mod human;
pub(crate) mod input;
pub(crate) mod report;

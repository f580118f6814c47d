//! Codes of what the engine finds wrong with a set of rules; each has a line in `docs/codes.md`.

/// A definition under `pattern_syntax` cannot be used.
pub const PATTERN_DEFINITION: &str = "E001";
/// A definition has the name of an earlier one and is not used.
pub const PATTERN_EXISTS: &str = "E002";
/// A pattern is named that does not exist.
pub const PATTERN_UNKNOWN: &str = "E003";
/// A pattern does not expand or compile.
pub const PATTERN_BAD: &str = "E004";
/// A data file is missing or bad: it reads as empty.
pub const DATA_FILE: &str = "E005";

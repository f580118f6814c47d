//! Codes of what can be wrong with rule files as files. They are stable: a code keeps its meaning
//! and is never given again.

/// A rule file, or a folder of them, cannot be read.
pub const UNREADABLE: &str = "H001";
/// A parser or postoverflow file lies in no stage folder.
pub const NO_STAGE: &str = "H002";
/// A file is not used, because a local one defines an item of the same name.
pub const REPLACED: &str = "H003";
/// A collection names an item that the index does not know.
pub const UNKNOWN_DEPENDENCY: &str = "H004";

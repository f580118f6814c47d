//! What is fuzzed, as plain functions over bytes, each with the properties that must hold whatever the bytes
//! are. The fuzzer in `fuzz/` calls them with what it invents, the tests of this crate with the committed
//! corpora, on any toolchain.
//!
//! A function panics where a property does not hold; it returns where the bytes are of no use to it.

#![expect(clippy::missing_panics_doc, reason = "a panic is the only thing that these functions tell")]

mod dates;
mod expressions;
mod helpers;
mod hub;
mod input;
mod lines;
mod patterns;
mod plain;
mod rules;
mod sheet;
mod states;

pub use dates::dates;
pub use expressions::expressions;
pub use helpers::helpers;
pub use lines::lines;
pub use patterns::patterns;
pub use plain::plain;
pub use rules::rules;
pub use states::states;

/// What is called with every input.
pub type Target = fn(&[u8]);

/// All targets by name: the names of their binaries and of the folders of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("expressions", expressions),
    ("patterns", patterns),
    ("rules", rules),
    ("dates", dates),
    ("lines", lines),
    ("plain", plain),
    ("helpers", helpers),
    ("states", states),
];

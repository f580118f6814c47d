//! Rule YAML → the checked plan of **one document**, with places.
//!
//! Each kind of file has one function that reads it: [`load_parsers`], [`load_postoverflows`],
//! [`load_scenarios`], [`load_context`], [`load_collection`], [`load_profiles`], [`load_simulation`]. Each
//! answers with the documents that can be used (the types of [`plan`]) and with everything that was found wrong,
//! in the words and places of the file's author ([`Diagnostic`], drawn by [`render`]). A document
//! with an error is left out and harms no other; a warning leaves it in.
//!
//! Expressions are parsed and typed against the environment of their key ([`schema`]); durations,
//! addresses and networks are read. Nothing in here opens a file or knows a second document: what
//! needs the whole set (patterns, names, data files) is the engine's.

pub mod codes;
mod collection;
mod context;
mod data;
mod expression;
pub mod keys;
mod load;
pub mod objects;
mod parser;
pub mod place;
pub mod plan;
mod profile;
mod render;
mod scenario;
pub mod schema;
pub mod set;
mod simulation;
mod spot;
mod statics;
mod whitelist;
pub mod yaml;

pub use collection::load_collection;
pub use context::load_context;
pub use load::Loaded;
pub use parser::{load_parsers, load_postoverflows};
pub use place::{Diagnostic, Place, Severity, SourceFile};
pub use profile::load_profiles;
pub use render::{render, render_within};
pub use scenario::load_scenarios;
pub use simulation::load_simulation;

//! Blocklists: decisions, as firewalls, routers, web servers and others read them.
//!
//! A [`Choice`] says which of the [`Item`]s go into a list, [`choose`] takes them, [`aggregate`] makes fewer networks of
//! them, and [`Format::render`] writes them down. Nothing here waits, asks a clock or knows where decisions come from.
//! No text that comes with a decision is copied into a list as it is: addresses are written anew, and names lose what a
//! format could take for something else.

mod aggregate;
mod choose;
mod format;
mod render;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, aggregate};
pub use choose::{Choice, Chosen, Family, Item, Value, choose};
pub use format::Format;
pub use render::{Look, Rendered};

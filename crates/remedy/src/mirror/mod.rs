//! The mirror: decisions of an API as blocklists that firewalls, routers and web servers fetch.

mod bodies;
mod book;
mod config;
mod counted;
mod daemon;
mod keys;
mod peers;
mod query;
mod server;
mod tls;

pub use config::{DEFAULT_PATHS, MirrorConfig};
pub use daemon::{MirrorError, run};
pub use keys::new_key;

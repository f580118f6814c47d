//! The daemon: sources, engine, decisions, store and API as one process.

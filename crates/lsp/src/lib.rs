//! A language server for rule files, over standard input and output: what `testudo lint` finds as one types,
//! completion of keys, fields, functions and patterns, what they mean, and where they are defined.
//!
//! Nothing that a client sends ends the server but `exit` and the end of its input: messages are bounded, what is
//! no message is answered or left out, and a file is read line by line where it is no YAML at the moment.

mod complete;
mod expression;
mod frame;
mod functions;
mod hover;
mod server;
mod spot;
mod text;
mod workspace;

pub use server::{Ending, serve};

//! The expression language of rules: parse, check against a [`Schema`], compile, run.
//!
//! The way of an expression: text → [`ast`] (spans, no meaning) → [`check`] (names, types and
//! effects resolved, constants folded: a [`core::Node`]) → [`Program`] (the dynamic evaluator, with
//! typed fast paths that allocate nothing for the filters that rules are mostly made of).
//!
//! The crate knows no event. What an expression may name comes from a [`Schema`]; what the names
//! hold comes from a [`Host`]; what the world outside knows (data files, DNS, stashes, decisions)
//! comes from [`Services`], whose default answers as an empty world would.

pub mod ast;
pub mod check;
pub mod core;
pub mod error;
pub mod eval;
pub mod functions;
pub mod host;
mod lexer;
pub mod parser;
pub mod program;
pub mod schema;
pub mod value;

pub use crate::core::Node;
pub use error::{EvalError, SyntaxError};
pub use host::{Handle, Host, Services, Slot};
pub use program::Program;
pub use schema::{Effects, Schema, Type};
pub use value::Value;

/// Reads and checks an expression in one step: the syntax tree and the checked one.
///
/// # Errors
/// Those of [`parser::parse`] and of [`check::check`].
pub fn compile_text(
    text: &str,
    schema: &Schema,
    want: Option<&Type>,
) -> Result<(ast::Expr, core::Node), SyntaxError> {
    let ast = parser::parse(text)?;
    let node = check::check(&ast, schema, want)?;
    Ok((ast, node))
}

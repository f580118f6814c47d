//! The language's own functions: those with lower-case names that take no predicate (the others
//! are loops of the evaluator). One file a family.

use crate::functions::Function;

mod base64;
mod bits;
mod collections;
mod conversions;
pub(crate) mod dates;
mod numbers;
mod strings;

pub(crate) use base64::encode as encode_base64;

/// All of them.
pub(crate) fn table() -> Vec<Function> {
    [
        base64::table,
        bits::table,
        collections::table,
        conversions::table,
        dates::table,
        numbers::table,
        strings::table,
    ]
    .into_iter()
    .flat_map(|family| family())
    .collect()
}

#[cfg(test)]
mod tests;

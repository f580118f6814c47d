//! Every function that an expression may call by name, and the table that the checker reads.
//!
//! One file per family; each gives its functions as lines of signature and body:
//!
//! ```text
//! pub(crate) fn table() -> Vec<Function> {
//!     declare(&[
//!         ("Split(string, string) []string", split),
//!         ("SplitN(string, string, int) []string", split_n),
//!         ("Sprintf(string, ...any) string", sprintf),          // any number of further arguments
//!         ("round(any, ?int) float", round),                    // `?` marks an optional parameter
//!         ("UnmarshalJSON(string, map[string]any, string) any mutates", unmarshal_json),
//!         ("File(string) []string impure", file),
//!         ("LookupHost(string) []string impure blocks", lookup_host),
//!     ])
//! }
//!
//! fn split(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
//!     let (text, separator) = (arguments::text(args, 0, "Split")?, arguments::text(args, 1, "Split")?);
//!     …
//! }
//! ```

use std::{collections::HashMap, fmt, sync::LazyLock};

use crate::{
    core::{Kind, Node},
    error::EvalError,
    host::{Host, NoHost},
    schema::{Effects, Type},
    value::Value,
};

pub(crate) mod arguments;
pub(crate) mod builtins;
pub(crate) mod convert;
pub(crate) mod helpers;
mod signature;

pub use helpers::reputation::Reputation;
pub(crate) use signature::declare;

/// The body of a function. Arguments are already counted and, where static types allow, checked;
/// untyped arguments are checked by the body.
pub type Body = fn(&mut dyn Host, &[Value]) -> Result<Value, EvalError>;

/// A function that expressions may call.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Types of its parameters.
    pub parameters: Vec<Type>,
    /// How many of them must be given.
    pub required: usize,
    /// Type of any number of further arguments.
    pub variadic: Option<Type>,
    /// Type of its result.
    pub returns: Type,
    /// What calling it does.
    pub effects: Effects,
    /// Its body.
    pub call: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

static TABLE: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let all = builtins::table().into_iter().chain(helpers::table());
    all.map(|f| (f.name, f)).collect()
});

/// The function of that name.
pub fn lookup(name: &str) -> Option<&'static Function> {
    TABLE.get(name)
}

/// The value of a JSON text, as rules see it: every number is a float.
///
/// # Errors
/// The text is no JSON.
pub fn decode_json(text: &str) -> Result<Value, EvalError> {
    convert::parse_json(text)
}

/// A value without host objects as compact JSON, as Go writes it; `null` for what has no JSON.
pub fn encode_json(value: &Value) -> String {
    convert::json(&NoHost, value).unwrap_or_else(|_| "null".to_owned())
}

/// A value without host objects as Go's `%v` prints it.
pub fn display(value: &Value) -> String {
    convert::text(&NoHost, value)
}

/// Whether an expression asks who is listed.
pub fn asks_lists(node: &Node) -> bool {
    let mut asks = matches!(&node.kind, Kind::Call { function, .. } if calls_lists(function));
    node.for_each_child(&mut |child| asks = asks || asks_lists(child));
    asks
}

/// Whether a function asks who is listed.
pub fn calls_lists(function: &Function) -> bool {
    helpers::reputation::FUNCTIONS.contains(&function.name)
}

/// The names of all functions, sorted.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names
}

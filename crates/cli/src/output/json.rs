//! JSON with the indents that scripts compare.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// A value, indented by so many spaces; empty lists and maps on one line.
pub(crate) fn indented<T: Serialize + ?Sized>(value: &T, spaces: usize) -> Result<String, serde_json::Error> {
    let indent = " ".repeat(spaces);
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(
        &mut out,
        PrettyFormatter::with_indent(indent.as_bytes()),
    ))?;
    Ok(String::from_utf8(out).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indents() {
        let value = serde_json::json!({"a": [1, {}], "b": []});
        let expected = "{\n \"a\": [\n  1,\n  {}\n ],\n \"b\": []\n}";
        assert_eq!(indented(&value, 1).expect("JSON"), expected);
    }
}

//! `toBase64` and `fromBase64`: the standard alphabet with padding.

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare, helpers},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("toBase64(string) string", |_, args| {
            Ok(encode(arguments::text(args, 0, "toBase64")?.as_bytes()).into())
        }),
        ("fromBase64(string) string", |_, args| {
            let text = arguments::text(args, 0, "fromBase64")?;
            let bytes = helpers::base64::decode(text).ok_or(EvalError::Input("not base64"))?;
            // Text of the language is UTF-8: what the bytes are not becomes U+FFFD.
            Ok(Value::from(String::from_utf8_lossy(&bytes).as_ref()))
        }),
    ])
}

/// Base64 of bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    out
}

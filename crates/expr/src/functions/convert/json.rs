//! JSON as Go's `encoding/json` reads and writes it.

use std::{fmt::Write, sync::Arc};

use crate::{
    error::EvalError,
    functions::{
        arguments,
        convert::{NOT_JSON, TEXT_MAX},
    },
    host::Host,
    value::{Map, Value},
};

/// How deep lists and maps may nest in a text.
const DEPTH_MAX: usize = 512;

/// A value as compact JSON: keys sorted, `<`, `>` and `&` escaped.
///
/// # Errors
/// A float that JSON has no form for, or more text than an operation may make.
pub(crate) fn json(host: &dyn Host, value: &Value) -> Result<String, EvalError> {
    let mut writer = Writer { out: String::new(), host, indent: false, level: 0 };
    writer.value(value)?;
    Ok(writer.out)
}

/// The same over several lines, indented by two spaces.
pub(crate) fn json_indented(host: &dyn Host, value: &Value) -> Result<String, EvalError> {
    let mut writer = Writer { out: String::new(), host, indent: true, level: 0 };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer<'h> {
    out: String,
    host: &'h dyn Host,
    indent: bool,
    level: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), EvalError> {
        // Shared parts can unfold to far more text than the value takes in memory.
        if self.out.len() > TEXT_MAX {
            return Err(EvalError::Budget);
        }
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) | Value::Duration(i) => self.number(i),
            Value::Float(x) => self.float(*x)?,
            Value::Str(text) => self.text(text),
            Value::Bytes(bytes) => self.text(&crate::functions::builtins::encode_base64(bytes)),
            Value::Time(time) => self.text(&time.to_rfc3339_nano()),
            Value::List(items) => self.list(items)?,
            Value::Map(_) | Value::Object(_) => {
                let map = arguments::map(self.host, std::slice::from_ref(value), 0, "JSON")?;
                self.map(&map)?;
            }
        }
        Ok(())
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{number}");
    }

    fn float(&mut self, x: f64) -> Result<(), EvalError> {
        if !x.is_finite() {
            return Err(EvalError::Input("JSON has no such number"));
        }
        if x == 0.0 || (1e-6..1e21).contains(&x.abs()) {
            self.number(x);
        } else {
            let text = format!("{x:e}");
            self.out.push_str(&if x.abs() < 1.0 { text } else { text.replace('e', "e+") });
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn list(&mut self, items: &[Value]) -> Result<(), EvalError> {
        if items.is_empty() {
            self.out.push_str("[]");
            return Ok(());
        }
        self.out.push('[');
        self.level += 1;
        for (at, item) in items.iter().enumerate() {
            self.separate(at);
            self.value(item)?;
        }
        self.level -= 1;
        self.line();
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, map: &Map) -> Result<(), EvalError> {
        if map.is_empty() {
            self.out.push_str("{}");
            return Ok(());
        }
        self.out.push('{');
        self.level += 1;
        for (at, (key, value)) in map.iter().enumerate() {
            self.separate(at);
            self.text(key);
            self.out.push_str(if self.indent { ": " } else { ":" });
            self.value(value)?;
        }
        self.level -= 1;
        self.line();
        self.out.push('}');
        Ok(())
    }

    fn separate(&mut self, at: usize) {
        if at > 0 {
            self.out.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        if self.indent {
            self.out.push('\n');
            for _ in 0..self.level {
                self.out.push_str("  ");
            }
        }
    }
}

/// The value of a JSON text: every number a float, of equal keys the last one.
///
/// # Errors
/// The text is not JSON, nests too deep, or holds a number out of range.
pub(crate) fn parse_json(text: &str) -> Result<Value, EvalError> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH_MAX)?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(NOT_JSON) }
}

/// Reads at byte `at`, which is always on a boundary of code points.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `token` after white space, if it is there.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        let there = self.text[self.at..].starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn expect(&mut self, token: &str) -> Result<(), EvalError> {
        if self.take(token) { Ok(()) } else { Err(NOT_JSON) }
    }

    fn value(&mut self, levels: usize) -> Result<Value, EvalError> {
        let Some(below) = levels.checked_sub(1) else {
            return Err(EvalError::Input("JSON nests too deep"));
        };
        self.space();
        match self.peek().ok_or(NOT_JSON)? {
            b'{' => self.map(below),
            b'[' => self.list(below),
            b'"' => self.string().map(Value::Str),
            b't' => self.expect("true").map(|()| Value::Bool(true)),
            b'f' => self.expect("false").map(|()| Value::Bool(false)),
            b'n' => self.expect("null").map(|()| Value::Nil),
            _ => self.number(),
        }
    }

    fn map(&mut self, levels: usize) -> Result<Value, EvalError> {
        self.at += 1;
        let mut map = Map::new();
        if !self.take("}") {
            loop {
                self.space();
                let key = self.string()?;
                self.expect(":")?;
                let value = self.value(levels)?;
                map.insert(key, value);
                if !self.take(",") {
                    break;
                }
            }
            self.expect("}")?;
        }
        Ok(Value::Map(Arc::new(map)))
    }

    fn list(&mut self, levels: usize) -> Result<Value, EvalError> {
        self.at += 1;
        let mut items = Vec::new();
        if !self.take("]") {
            loop {
                items.push(self.value(levels)?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect("]")?;
        }
        Ok(Value::list(items))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, EvalError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return Err(NOT_JSON);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(NOT_JSON);
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(NOT_JSON);
            }
        }
        let number: f64 = self.text[start..self.at].parse().map_err(|_| NOT_JSON)?;
        if number.is_finite() {
            Ok(Value::Float(number))
        } else {
            Err(EvalError::Input("number in JSON out of range"))
        }
    }

    fn string(&mut self) -> Result<Arc<str>, EvalError> {
        if self.peek() != Some(b'"') {
            return Err(NOT_JSON);
        }
        self.at += 1;
        let plain = self.plain()?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Arc::from(plain));
        }
        let mut out = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Arc::from(out));
                }
                Some(_) => {
                    let c = self.escape()?;
                    out.push(c);
                }
                None => return Err(NOT_JSON),
            }
            out.push_str(self.plain()?);
        }
    }

    /// The text up to the next quote or escape.
    fn plain(&mut self) -> Result<&'t str, EvalError> {
        let text: &'t str = self.text;
        let rest = &text[self.at..];
        let end = rest.bytes().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).ok_or(NOT_JSON)?;
        if rest.as_bytes()[end] < 0x20 {
            return Err(NOT_JSON);
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn escape(&mut self) -> Result<char, EvalError> {
        self.at += 1;
        let letter = self.peek().ok_or(NOT_JSON)?;
        let c = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(NOT_JSON),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, EvalError> {
        let unit = self.unit().ok_or(NOT_JSON)?;
        if let Some(c) = char::from_u32(unit) {
            return Ok(c);
        }
        // A surrogate: with its partner one code point, alone a replacement character.
        let after_first = self.at;
        if unit < 0xdc00 && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let second = self.unit().ok_or(NOT_JSON)?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.at = after_first;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let unit = u32::from_str_radix(digits, 16).ok().filter(|_| plain)?;
        self.at += 4;
        Some(unit)
    }
}

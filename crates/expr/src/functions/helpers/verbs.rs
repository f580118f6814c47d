//! What the verbs of Go's `fmt` make of values, and how it pads them.
//!
//! Not supported, so printed as a mistake: `%x` and `%b` of floats, and `#` of floats has no effect.

use std::fmt::Write;

use testudo_event::{duration, text::go_g};

use crate::{error::EvalError, functions::convert::TEXT_MAX, host::Host, value::Value};

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Prints values into one text of bounded length.
pub(super) struct Printer<'h> {
    out: String,
    host: &'h dyn Host,
}

type Printed = Result<(), EvalError>;

impl<'h> Printer<'h> {
    pub(super) fn new(host: &'h dyn Host) -> Self {
        Printer { out: String::new(), host }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn push(&mut self, text: &str) -> Printed {
        self.out.push_str(text);
        if self.out.len() > TEXT_MAX { Err(EvalError::Budget) } else { Ok(()) }
    }

    /// Arguments that no verb took.
    pub(super) fn extra(&mut self, values: &[Value]) -> Printed {
        self.push("%!(EXTRA ")?;
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.push(", ")?;
            }
            if value.is_nil() {
                self.push("<nil>")?;
            } else {
                self.push(type_name(value))?;
                self.push("=")?;
                self.print(value, 'v', Flags::default())?;
            }
        }
        self.push(")")
    }

    /// A verb that the value does not have.
    fn mistake(&mut self, value: &Value, verb: char, flags: Flags) -> Printed {
        self.push(&format!("%!{verb}("))?;
        match value {
            Value::Nil => self.push("<nil>")?,
            value => {
                self.push(type_name(value))?;
                self.push("=")?;
                // A value that explains a mistake does not choose its own form.
                let plain = if let Value::Duration(nanos) = value { &Value::Int(*nanos) } else { value };
                self.print(plain, 'v', Flags { sharp: false, ..flags })?;
            }
        }
        self.push(")")
    }

    pub(super) fn print(&mut self, value: &Value, verb: char, flags: Flags) -> Printed {
        if verb == 'T' {
            return self.text(type_name(value), flags);
        }
        match value {
            Value::Nil if verb == 'v' => self.padded("<nil>", flags),
            Value::Bool(b) if matches!(verb, 'v' | 't') => {
                self.padded(if *b { "true" } else { "false" }, flags)
            }
            Value::Int(i) => self.int(*i, value, verb, flags),
            Value::Float(x) => self.float(*x, value, verb, flags),
            Value::Str(text) => self.string(text, value, verb, flags),
            Value::Bytes(bytes) if matches!(verb, 's' | 'q' | 'x' | 'X') => {
                self.string(&String::from_utf8_lossy(bytes), value, verb, flags)
            }
            Value::Bytes(bytes) => {
                let items: Vec<_> = bytes.iter().map(|b| Value::Int(i64::from(*b))).collect();
                self.list(&items, verb, flags, "[]byte")
            }
            Value::Duration(nanos) => {
                if matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') && !(verb == 'v' && flags.sharp) {
                    self.string(&duration::format(*nanos), value, verb, flags)
                } else {
                    self.int(*nanos, value, verb, flags)
                }
            }
            Value::Time(time) if matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') => {
                let flags = Flags { sharp: flags.sharp && verb != 'v', ..flags };
                self.string(&time.to_go_string(), value, verb, flags)
            }
            Value::List(items) => self.list(items, verb, flags, type_name(value)),
            Value::Map(map) => self.map(map.iter(), verb, flags),
            Value::Object(handle) => match self.host.entries(*handle) {
                Ok(entries) => self.map(entries.iter().map(|(key, value)| (key, value)), verb, flags),
                // A record that does not show its parts.
                Err(_) => self.push("{}"),
            },
            Value::Nil | Value::Bool(_) | Value::Time(_) => self.mistake(value, verb, flags),
        }
    }

    /// A part of a list or map.
    fn part(&mut self, value: &Value, verb: char, flags: Flags) -> Printed {
        match value {
            Value::Nil if verb == 'v' && flags.sharp => self.push("interface {}(nil)"),
            Value::Nil => self.push("<nil>"),
            value => self.print(value, verb, flags),
        }
    }

    fn list(&mut self, items: &[Value], verb: char, flags: Flags, ty: &str) -> Printed {
        let source_form = verb == 'v' && flags.sharp;
        let (open, between, close) = if source_form { ("{", ", ", "}") } else { ("[", " ", "]") };
        if source_form {
            self.push(ty)?;
        }
        self.push(open)?;
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.push(between)?;
            }
            self.part(item, verb, flags)?;
        }
        self.push(close)
    }

    fn map<'v, K: AsRef<str> + 'v>(
        &mut self,
        entries: impl Iterator<Item = (&'v K, &'v Value)>,
        verb: char,
        flags: Flags,
    ) -> Printed {
        let source_form = verb == 'v' && flags.sharp;
        let (open, between, close) =
            if source_form { ("map[string]interface {}{", ", ", "}") } else { ("map[", " ", "]") };
        self.push(open)?;
        for (at, (key, value)) in entries.enumerate() {
            if at > 0 {
                self.push(between)?;
            }
            self.print(&Value::from(key.as_ref()), verb, flags)?;
            self.push(":")?;
            self.part(value, verb, flags)?;
        }
        self.push(close)
    }

    /// A finished text, padded to the width.
    fn padded(&mut self, text: &str, flags: Flags) -> Printed {
        let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        if flags.minus {
            self.push(text)?;
            return self.push(&" ".repeat(missing));
        }
        self.push(&if flags.zero { "0" } else { " " }.repeat(missing))?;
        self.push(text)
    }

    /// A text, cut to the precision.
    fn text(&mut self, text: &str, flags: Flags) -> Printed {
        self.padded(cut(text, flags), flags)
    }

    fn string(&mut self, text: &str, value: &Value, verb: char, flags: Flags) -> Printed {
        match verb {
            'v' if flags.sharp => self.padded(&quote(cut(text, flags), false), flags),
            'v' | 's' => self.text(text, flags),
            'q' => {
                let text = cut(text, flags);
                let raw = flags.sharp && text.chars().all(|c| c == '\t' || c != '`' && !c.is_control());
                let quoted = if raw { format!("`{text}`") } else { quote(text, flags.plus) };
                self.padded(&quoted, flags)
            }
            'x' | 'X' => {
                let bytes = &text.as_bytes()[..flags.precision.unwrap_or(usize::MAX).min(text.len())];
                let mut out = String::with_capacity(bytes.len() * 2);
                let prefix = match (flags.sharp, verb) {
                    (false, _) => "",
                    (true, 'x') => "0x",
                    (true, _) => "0X",
                };
                for (at, byte) in bytes.iter().enumerate() {
                    if flags.space && at > 0 {
                        out.push(' ');
                    }
                    if at == 0 || flags.space {
                        out.push_str(prefix);
                    }
                    // Writing to a string cannot fail.
                    let _ = if verb == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") };
                }
                self.padded(&out, flags)
            }
            _ => self.mistake(value, verb, flags),
        }
    }

    fn int(&mut self, i: i64, value: &Value, verb: char, flags: Flags) -> Printed {
        let magnitude = i.unsigned_abs();
        let mut digits = match verb {
            'v' | 'd' => magnitude.to_string(),
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            'c' => return self.padded(character(i).encode_utf8(&mut [0; 4]), flags),
            'q' => {
                let c = character(i);
                let quoted = quote(c.encode_utf8(&mut [0; 4]), flags.plus);
                let inside = quoted[1..quoted.len() - 1].replace("\\\"", "\"").replace('\'', "\\'");
                return self.padded(&format!("'{inside}'"), flags);
            }
            'U' => {
                let digits = flags.precision.unwrap_or(4).max(4);
                let code = format!("U+{i:0digits$X}");
                let shown = char::from_u32(u32::try_from(i).unwrap_or(u32::MAX))
                    .filter(|c| flags.sharp && is_print(*c));
                let code = shown.map_or_else(|| code.clone(), |c| format!("{code} '{c}'"));
                return self.padded(&code, Flags { zero: false, ..flags });
            }
            _ => return self.mistake(value, verb, flags),
        };
        let sign = match () {
            () if i < 0 => "-",
            () if flags.plus => "+",
            () if flags.space => " ",
            () => "",
        };
        let least = match (flags.precision, flags.width) {
            (Some(0), _) if i == 0 => return self.padded("", Flags { zero: false, ..flags }),
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        let prefix = match verb {
            'O' => "0o",
            'b' if flags.sharp => "0b",
            'o' if flags.sharp && !digits.starts_with('0') => "0",
            'x' if flags.sharp => "0x",
            'X' if flags.sharp => "0X",
            _ => "",
        };
        self.padded(&format!("{sign}{prefix}{digits}"), Flags { zero: false, ..flags })
    }

    fn float(&mut self, x: f64, value: &Value, verb: char, flags: Flags) -> Printed {
        let magnitude = x.abs();
        let number =
            match (verb, flags.precision) {
                _ if !x.is_finite() && matches!(verb, 'v' | 'g' | 'G' | 'f' | 'F' | 'e' | 'E') => {
                    if x.is_nan() { "NaN".to_owned() } else { "Inf".to_owned() }
                }
                ('v' | 'g' | 'G', None) => go_g(magnitude),
                ('v' | 'g' | 'G', Some(precision)) => significant(magnitude, precision.max(1)),
                ('f' | 'F', precision) => format!("{magnitude:.*}", precision.unwrap_or(6)),
                ('e' | 'E', precision) => exponential(magnitude, precision.unwrap_or(6)),
                _ => return self.mistake(value, verb, flags),
            };
        let number = if matches!(verb, 'G' | 'E') && x.is_finite() { number.to_uppercase() } else { number };
        let sign = match () {
            () if x.is_sign_negative() && !x.is_nan() => "-",
            () if flags.plus || x.is_infinite() && !flags.space => "+",
            () if flags.space => " ",
            () => "",
        };
        let mut flags = flags;
        flags.zero &= x.is_finite();
        if flags.zero && !flags.minus && !sign.is_empty() {
            self.push(sign)?;
            flags.width = flags.width.map(|width| width.saturating_sub(sign.len()));
            return self.padded(&number, flags);
        }
        self.padded(&format!("{sign}{number}"), flags)
    }
}

/// The Go type that messages name. What a list or map holds is not known here.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Str(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::List(_) => "[]interface {}",
        Value::Map(_) | Value::Object(_) => "map[string]interface {}",
    }
}

fn cut(text: &str, flags: Flags) -> &str {
    let end = flags.precision.and_then(|precision| text.char_indices().nth(precision));
    end.map_or(text, |(end, _)| &text[..end])
}

fn character(code: i64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// `1.5e+03` with that many digits after the point.
fn exponential(x: f64, precision: usize) -> String {
    let text = format!("{x:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// `%g`: that many significant digits, without zeros at the end.
fn significant(x: f64, digits: usize) -> String {
    let text = exponential(x, digits - 1);
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let power: i64 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        let zeros = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        zeros.to_owned()
    };
    if power < -4 || power >= digits as i64 {
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    let decimals = usize::try_from(digits as i64 - 1 - power).unwrap_or(0);
    trimmed(&format!("{x:.decimals$}"))
}

/// A text between double quotes, with Go's escapes; only ASCII where `ascii`.
fn quote(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let escape = match c {
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{b}' => "\\v",
            '\\' => "\\\\",
            '"' => "\\\"",
            c if is_print(c) && (!ascii || c.is_ascii()) => {
                out.push(c);
                continue;
            }
            _ => "",
        };
        out.push_str(escape);
        if escape.is_empty() {
            // Writing to a string cannot fail.
            let _ = match u32::from(c) {
                code @ (0..0x20 | 0x7f) => write!(out, "\\x{code:02x}"),
                code @ 0..0x1_0000 => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            };
        }
    }
    out.push('"');
    out
}

/// Letters, marks, digits, punctuation, symbols, and the ASCII space.
fn is_print(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{7f}' => false,
        c => c.is_alphanumeric() || c.escape_debug().len() == 1,
    }
}

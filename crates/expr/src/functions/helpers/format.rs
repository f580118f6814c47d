//! `Sprintf` and `LogInfo`: format texts as Go's `fmt` reads them. What a verb makes of a value
//! stands in [`super::verbs`].

use super::verbs::{Flags, Printer};
use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    host::Host,
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("Sprintf(string, ...any) string", |host, args| {
            let format = arguments::text(args, 0, "Sprintf")?;
            sprintf(host, format, args.get(1..).unwrap_or_default()).map(Into::into)
        }),
        ("LogInfo(string, ...any) bool mutates", |host, args| {
            let format = arguments::text(args, 0, "LogInfo")?;
            let message = sprintf(host, format, args.get(1..).unwrap_or_default())?;
            host.services().log(&message);
            Ok(true.into())
        }),
    ])
}

/// Largest width, precision or place of an argument that a format may ask for.
const NUMBER_MAX: usize = 1_000_000;

/// The format with its verbs replaced by the arguments.
pub(crate) fn sprintf(host: &dyn Host, format: &str, args: &[Value]) -> Result<String, EvalError> {
    let mut directive = Directive { format, at: 0, args, next: 0, reordered: false, good_place: true };
    let mut printer = Printer::new(host);
    while let Some(length) = format[directive.at..].find('%') {
        printer.push(&format[directive.at..directive.at + length])?;
        directive.at += length + 1;
        directive.print(&mut printer)?;
    }
    printer.push(&format[directive.at..])?;
    if !directive.reordered && directive.next < args.len() {
        printer.extra(&args[directive.next..])?;
    }
    Ok(printer.finish())
}

/// Where the reading of a format stands.
struct Directive<'a> {
    format: &'a str,
    at: usize,
    args: &'a [Value],
    /// The argument that the next verb takes.
    next: usize,
    /// Some verb named its argument: then surplus ones are not an error.
    reordered: bool,
    /// The place named by this directive is one.
    good_place: bool,
}

impl Directive<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Prints one directive, from behind its `%`.
    fn print(&mut self, printer: &mut Printer<'_>) -> Result<(), EvalError> {
        let mut flags = Flags::default();
        self.good_place = true;
        loop {
            match self.peek() {
                Some(b'#') => flags.sharp = true,
                Some(b'0') => flags.zero = true,
                Some(b'+') => flags.plus = true,
                Some(b'-') => flags.minus = true,
                Some(b' ') => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut placed = self.place();
        if self.take(b'*') {
            match self.int_argument() {
                None => printer.push("%!(BADWIDTH)")?,
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.zero &= width >= 0;
                    flags.width = Some(width.unsigned_abs() as usize);
                }
            }
            placed = false;
        } else {
            flags.width = self.number();
            self.good_place &= !(placed && flags.width.is_some());
        }
        // A point at the very end is a verb.
        if self.at + 1 < self.format.len() && self.take(b'.') {
            self.good_place &= !placed;
            placed = self.place();
            if self.take(b'*') {
                match self.int_argument() {
                    None => printer.push("%!(BADPREC)")?,
                    Some(precision) => flags.precision = usize::try_from(precision).ok(),
                }
                placed = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !placed {
            self.place();
        }
        let Some(verb) = self.format[self.at..].chars().next() else {
            return printer.push("%!(NOVERB)");
        };
        self.at += verb.len_utf8();
        if verb == '%' {
            return printer.push("%");
        }
        if !self.good_place {
            return printer.push(&format!("%!{verb}(BADINDEX)"));
        }
        let Some(value) = self.args.get(self.next) else {
            return printer.push(&format!("%!{verb}(MISSING)"));
        };
        self.next += 1;
        // `%+v` asks for the names of fields, not for signs.
        flags.plus &= verb != 'v';
        printer.print(value, verb, flags)
    }

    /// A decimal number. One that is too large takes all of the format with it.
    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let mut number = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number * 10 + usize::from(digit - b'0');
            self.at += 1;
            if number > NUMBER_MAX {
                self.at = self.format.len();
                return None;
            }
        }
        (self.at > start).then_some(number)
    }

    /// The next argument as a width or precision.
    fn int_argument(&mut self) -> Option<i64> {
        let value = self.args.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(i) if i.unsigned_abs() <= NUMBER_MAX as u64 => Some(*i),
            _ => None,
        }
    }

    /// Takes `[n]`, which names the argument to come. Whether a well-formed one was there.
    fn place(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let inside = &self.format[self.at + 1..];
        let Some(length) = inside.find(']') else {
            self.at += 1;
            self.good_place = false;
            return false;
        };
        let digits = &inside[..length];
        self.at += length + 2;
        let well_formed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let place = digits.parse().ok().filter(|n| well_formed && *n <= NUMBER_MAX);
        match place {
            Some(n) if (1..=self.args.len()).contains(&n) => self.next = n - 1,
            _ => self.good_place = false,
        }
        place.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::functions::helpers::testing::TestHost;
    use crate::host::{Handle, NoServices};

    fn check(format: &str, args: &[Value], expected: &str) {
        let result = sprintf(&TestHost::with(NoServices), format, args).expect("a short text");
        assert_eq!(result, expected, "{format} {args:?}");
    }

    #[test]
    fn plain_verbs() {
        check("no verb 100%%", &[], "no verb 100%");
        check(
            "%s %v %q",
            &["a".into(), "b".into(), "c\"\n\u{e9}\u{1}".into()],
            "a b \"c\\\"\\n\u{e9}\\x01\"",
        );
        check(
            "%d %v %x %X %o %b %c %U",
            &[7.into(), (-7).into(), 255.into(), 255.into(), 8.into(), 5.into(), 233.into(), 233.into()],
            "7 -7 ff FF 10 101 \u{e9} U+00E9",
        );
        check(
            "%v %f %.2f %e %g %G",
            &[1.5.into(), 1.5.into(), 2.345.into(), 1500.0.into(), 1e-7.into(), 1e-7.into()],
            "1.5 1.500000 2.35 1.500000e+03 1e-07 1E-07",
        );
        check(
            "%v %v %v %v",
            &[1_700_000_000.0.into(), 123_456.0.into(), 1e6.into(), 0.0001.into()],
            "1.7e+09 123456 1e+06 0.0001",
        );
        check("%t %v", &[true.into(), false.into()], "true false");
        check("%v %d", &[Value::Nil, Value::Nil], "<nil> %!d(<nil>)");
        check("%x %X % x", &["h\u{e9}".into(), "h".into(), "ab".into()], "68c3a9 68 61 62");
        check(
            "%v %s %d",
            &[Value::Duration(90_000_000_000), Value::Duration(1), Value::Duration(5)],
            "1m30s 1ns 5",
        );
        check(
            "%T %T %T %T %T",
            &["".into(), 1.into(), 1.0.into(), true.into(), Value::Nil],
            "string int float64 bool <nil>",
        );
    }

    #[test]
    fn collections() {
        let list = Value::list(vec![1.into(), "a".into(), Value::Nil]);
        check("%v %+v", &[list.clone(), list.clone()], "[1 a <nil>] [1 a <nil>]");
        check("%d", std::slice::from_ref(&list), "[1 %!d(string=a) <nil>]");
        check("%q %x", &[Value::strings(["a", "b"]), Value::strings(["a", "b"])], r#"["a" "b"] [61 62]"#);
        check("%#v", std::slice::from_ref(&list), r#"[]interface {}{1, "a", interface {}(nil)}"#);
        let map = Value::Map(std::sync::Arc::new([("b".into(), 1.into()), ("a".into(), list)].into()));
        check("%v", std::slice::from_ref(&map), "map[a:[1 a <nil>] b:1]");
        check("%T", &[map], "map[string]interface {}");
        check(
            "%v %s %d",
            &[Value::Bytes((*b"ab").into()), Value::Bytes((*b"ab").into()), Value::Bytes((*b"ab").into())],
            "[97 98] ab [97 98]",
        );
        check("%v", &[Value::Object(Handle::of(1))], "map[]");
    }

    #[test]
    fn widths_and_flags() {
        check(
            "%5d|%-5d|%05d|%+d|% d",
            &[42.into(), 42.into(), 42.into(), 42.into(), 42.into()],
            "   42|42   |00042|+42| 42",
        );
        check(
            "%05d|%-05d|%5s|%-5s|%05s",
            &[(-42).into(), 42.into(), "\u{e9}a".into(), "a".into(), "a".into()],
            "-0042|42   |   \u{e9}a|a    |0000a",
        );
        check(
            "%.2s|%.0s|%6.2f|%06.2f|%+.1f",
            &["\u{e9}bc".into(), "a".into(), 3.256.into(), (-3.256).into(), 2.0.into()],
            "\u{e9}b||  3.26|-03.26|+2.0",
        );
        check(
            "%#x|%#o|%#b|%O|%.3d|%.0d",
            &[255.into(), 8.into(), 5.into(), 8.into(), 5.into(), 0.into()],
            "0xff|010|0b101|0o10|005|",
        );
        check(
            "%*d|%-*d|%.*f",
            &[4.into(), 1.into(), 4.into(), 1.into(), 1.into(), 2.55.into()],
            "   1|1   |2.5",
        );
        check("%*d|", &[(-4).into(), 1.into()], "1   |");
        check("%+q %#q", &["\u{e9}".into(), "a`b".into()], "\"\\u00e9\" \"a`b\"");
        check("%#q", &["ab".into()], "`ab`");
        check("%6.3g|%.3g|%.10g", &[1234.5678.into(), 1000.0.into(), 0.1.into()], "1.23e+03|1e+03|0.1");
        check("%5t|%5v|%-7v|", &[true.into(), Value::Nil, false.into()], " true|<nil>|false  |");
        check(
            "%v %5v %05v",
            &[f64::INFINITY.into(), f64::NAN.into(), f64::NEG_INFINITY.into()],
            "+Inf   NaN  -Inf",
        );
    }

    #[test]
    fn mistakes() {
        check("%d", &["a".into()], "%!d(string=a)");
        check("%s", &[1.into()], "%!s(int=1)");
        check("%z %!", &[1.into()], "%!z(int=1) %!!(MISSING)");
        check("%t", &[1.5.into()], "%!t(float64=1.5)");
        check("%d %d", &[1.into()], "1 %!d(MISSING)");
        check("%d", &[1.into(), "x".into(), Value::Nil], "1%!(EXTRA string=x, <nil>)");
        check("100%", &[], "100%!(NOVERB)");
        check("%[2]d %[1]d", &[1.into(), 2.into()], "2 1");
        check("%[3]d %[x]d %[1]d", &[1.into()], "%!d(BADINDEX) %!d(BADINDEX) 1");
        check("%*d", &["a".into(), 1.into()], "%!(BADWIDTH)1");
        check("%.*d", &["a".into(), 1.into()], "%!(BADPREC)1");
        check("%5d|", &["a".into()], "%!d(string=    a)|");
        check("%. %E", &[Value::Duration(5)], "%! (time.Duration=5)%!E(MISSING)");
        check("%.", &[], "%!.(MISSING)");
        check("%99999999d", &[1.into()], "%!(NOVERB)%!(EXTRA int=1)");
    }

    #[test]
    fn texts_are_bounded() {
        let format = "%1000000d".repeat(20);
        let args = vec![Value::Int(1); 20];
        assert_eq!(sprintf(&TestHost::default(), &format, &args), Err(EvalError::Budget));
    }

    proptest! {
        #[test]
        fn nothing_panics(format in "[%a-zA-Z0-9+#.*\\[\\] \u{e9}-]{0,16}", x in any::<f64>(), n in any::<i64>(), s in "\\PC{0,4}") {
            let args = [x.into(), n.into(), Value::from(s), Value::list(vec![n.into(), x.into()])];
            let _ = sprintf(&TestHost::default(), &format, &args);
        }
    }
}

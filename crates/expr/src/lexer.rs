//! Text to tokens. Numbers and escapes are resolved here, so that the parser sees values only.

use std::sync::Arc;

use crate::error::{Span, SyntaxError};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A name that is no keyword.
    Name,
    /// `#`, `#index`, `#acc` …: the name after the hash is part of it.
    Pointer,
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A byte array.
    Bytes(Arc<[u8]>),
    /// An operator, a bracket or a keyword, as written.
    Op(&'static str),
    /// The end of the text.
    End,
    /// The place where the text stops being tokens; always the last one.
    Bad(Box<SyntaxError>),
}

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: TokenKind,
    /// Where it stands.
    pub(crate) span: Span,
}

impl Token {
    /// Whether it is this operator, bracket or keyword.
    pub(crate) fn is(&self, op: &str) -> bool {
        matches!(self.kind, TokenKind::Op(this) if this == op)
    }
}

/// Words that are operators. They are names all the same after a dot.
pub(crate) const KEYWORDS: [&str; 11] =
    ["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

/// Operators and brackets, longer before shorter.
const PUNCTUATION: [&str; 33] = [
    "&&", "||", "==", "!=", "<=", ">=", "**", "??", "?.", "..", "::", "(", ")", "[", "]", "{", "}", ",", ";",
    ":", "?", ".", "+", "-", "*", "/", "%", "^", "<", ">", "!", "|", "=",
];

/// All tokens of a text. The last one is [`TokenKind::End`] or [`TokenKind::Bad`], so that what is
/// wrong earlier in the text is reported first.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let start = lexer.at;
        let (start, kind) = match lexer.skip_space().and_then(|()| {
            let start = lexer.at;
            Ok((start, lexer.token()?))
        }) {
            Ok(token) => token,
            Err(error) => (start, TokenKind::Bad(Box::new(error))),
        };
        let last = matches!(kind, TokenKind::End | TokenKind::Bad(_));
        tokens.push(Token { kind, span: Span::new(start..lexer.at) });
        if last {
            return tokens;
        }
    }
}

fn starts_name(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphabetic()
}

fn continues_name(c: char) -> bool {
    starts_name(c) || c.is_numeric()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Steps over the longest run of characters that `wanted` accepts.
    fn run(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let found = self.peek().is_some_and(|c| wanted.contains(c));
        if found {
            self.next();
        }
        found
    }

    fn error(&self, start: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(message, Span::new(start..self.at))
    }

    fn skip_space(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.run(char::is_whitespace);
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(end) = comment.find("*/") else {
                    let start = self.at;
                    self.at += 2;
                    return Err(self.error(start, "this comment does not end").hint("close it with */"));
                };
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, SyntaxError> {
        let start = self.at;
        let rest = &self.text[start..];
        let Some(first) = self.peek() else { return Ok(TokenKind::End) };
        if first == '\'' || first == '"' {
            return self.text_literal(first);
        }
        if first == '`' {
            return self.raw_literal();
        }
        if (first == 'b' || first == 'B') && rest[1..].starts_with(['\'', '"']) {
            self.at += 1;
            return self.byte_literal();
        }
        let digit_after_dot = first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if first.is_ascii_digit() || digit_after_dot {
            return self.number();
        }
        if starts_name(first) {
            self.run(continues_name);
            let word = &self.text[start..self.at];
            return Ok(match KEYWORDS.iter().find(|k| **k == word) {
                Some(keyword) => TokenKind::Op(keyword),
                None => TokenKind::Name,
            });
        }
        if first == '#' {
            self.at += 1;
            self.run(continues_name);
            return Ok(TokenKind::Pointer);
        }
        if let Some(op) = PUNCTUATION.iter().find(|op| rest.starts_with(**op)) {
            self.at += op.len();
            return Ok(TokenKind::Op(op));
        }
        self.next();
        let error = self.error(start, format!("`{first}` means nothing here"));
        Err(match first {
            '&' => error.hint("write && (or: and)"),
            '~' => error.hint("a pattern is tried with: text matches 'pattern'"),
            '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{b4}' => {
                error.hint("text is quoted with the plain quotes ' or \"")
            }
            '\\' => error.hint("a backslash has a meaning inside quotes only"),
            _ => error,
        })
    }

    fn number(&mut self) -> Result<TokenKind, SyntaxError> {
        let start = self.at;
        let mut radix = 10;
        if self.accept("0") {
            if self.accept("xX") {
                radix = 16;
            } else if self.accept("oO") {
                radix = 8;
            } else if self.accept("bB") {
                radix = 2;
            }
        }
        self.run(|c| c == '_' || c.is_digit(radix));
        let mut float = false;
        if radix == 10 {
            let rest = &self.text[self.at..];
            if rest.starts_with('.') && !rest.starts_with("..") {
                float = true;
                self.at += 1;
                self.run(|c| c == '_' || c.is_ascii_digit());
            }
            if self.accept("eE") {
                float = true;
                self.accept("+-");
                self.run(|c| c == '_' || c.is_ascii_digit());
            }
        }
        if self.peek().is_some_and(continues_name) {
            self.run(continues_name);
            let error = self.error(start, format!("`{}` is not a number", &self.text[start..self.at]));
            return Err(if self.text[start..self.at].ends_with(['s', 'm', 'h']) {
                error.hint("a duration is written duration('5m')")
            } else {
                error
            });
        }
        let digits = self.text[start..self.at].replace('_', "");
        if float {
            return match digits.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(TokenKind::Float(number)),
                _ => Err(self.error(start, format!("`{digits}` is not a number that a float can hold"))),
            };
        }
        let digits = if radix == 10 { &digits[..] } else { &digits[2..] };
        i64::from_str_radix(digits, radix).map(TokenKind::Int).map_err(|_| {
            self.error(start, format!("`{}` is not a number of 64 bits", &self.text[start..self.at]))
        })
    }

    fn raw_literal(&mut self) -> Result<TokenKind, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('`') if self.accept("`") => text.push('`'),
                Some('`') => return Ok(TokenKind::Str(text.into())),
                Some(c) => text.push(c),
                None => return Err(Self::unclosed(start, '`')),
            }
        }
    }

    fn text_literal(&mut self, quote: char) -> Result<TokenKind, SyntaxError> {
        let mut text = String::new();
        self.quoted(quote, |c, _| text.push(c))?;
        Ok(TokenKind::Str(text.into()))
    }

    fn byte_literal(&mut self) -> Result<TokenKind, SyntaxError> {
        let quote = if self.text[self.at..].starts_with('"') { '"' } else { '\'' };
        let mut bytes = Vec::new();
        let mut wide = false;
        let start = self.at - 1;
        self.quoted(quote, |c, escape| match escape {
            Escape::Byte => bytes.push(c as u32 as u8),
            Escape::Unicode => wide = true,
            Escape::None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        })?;
        if wide {
            return Err(self
                .error(start, "a byte array has no \\u escapes")
                .hint("write the bytes with \\x, or the character itself"));
        }
        Ok(TokenKind::Bytes(bytes.into()))
    }

    /// The characters of a quoted literal, escapes resolved.
    fn quoted(&mut self, quote: char, mut push: impl FnMut(char, Escape)) -> Result<(), SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.next() {
                Some(c) if c == quote => return Ok(()),
                Some('\\') => {
                    let Some(c) = self.next() else { return Err(Self::unclosed(start, quote)) };
                    let (c, escape) = self.escape(c, quote)?;
                    push(c, escape);
                }
                None | Some('\n') => return Err(Self::unclosed(start, quote)),
                // A bare carriage return counts as the end of a line, as in the reference.
                Some('\r') => push('\n', Escape::None),
                Some(c) => push(c, Escape::None),
            }
        }
    }

    fn unclosed(start: usize, quote: char) -> SyntaxError {
        SyntaxError::new("this text does not end", Span::new(start..start + 1)).hint(if quote == '`' {
            "close it with `; a backtick inside is written twice".to_owned()
        } else {
            format!("close it with {quote} on the same line; a {quote} inside is written \\{quote}")
        })
    }

    /// What a backslash and `c` stand for, with the digits that follow; the two are already read.
    fn escape(&mut self, c: char, quote: char) -> Result<(char, Escape), SyntaxError> {
        let start = self.at - c.len_utf8() - 1;
        let plain = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            _ if c == quote => c,
            '0'..='3' => {
                self.at -= 1;
                return Ok((self.digits(start, 8, 3)?, Escape::Byte));
            }
            'x' => return Ok((self.digits(start, 16, 2)?, Escape::Byte)),
            'u' if self.accept("{") => {
                let digits = self.text[self.at..].bytes().take_while(u8::is_ascii_hexdigit).count();
                if !(1..=6).contains(&digits) {
                    return Err(self.bad_digits(start));
                }
                let c = self.digits(start, 16, digits)?;
                if !self.accept("}") {
                    return Err(self.bad_digits(start));
                }
                return Ok((c, Escape::Unicode));
            }
            'u' => return Ok((self.digits(start, 16, 4)?, Escape::Unicode)),
            'U' => return Ok((self.digits(start, 16, 8)?, Escape::Unicode)),
            _ => {
                let error = self.error(start, format!("`\\{c}` is no escape"));
                return Err(if c == '\'' || c == '"' {
                    error.hint(format!(
                        "inside {quote}…{quote}, {c} stands for itself: write it without a backslash"
                    ))
                } else if c.is_control() {
                    error
                } else {
                    error.hint(format!("for a backslash write \\\\{c}, or put the text in backticks"))
                });
            }
        };
        Ok((plain, Escape::None))
    }

    fn digits(&mut self, start: usize, radix: u32, count: usize) -> Result<char, SyntaxError> {
        let mut code = 0_u32;
        for _ in 0..count {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else {
                return Err(self.bad_digits(start));
            };
            self.at += 1;
            code = code.wrapping_mul(radix) | digit;
        }
        match code {
            // Half a pair of UTF-16 is no character; the reference puts this one in its place.
            0xd800..=0xdfff => Ok(char::REPLACEMENT_CHARACTER),
            _ => char::from_u32(code).ok_or_else(|| {
                self.error(start, format!("`{}` is not a character", &self.text[start..self.at]))
            }),
        }
    }

    fn bad_digits(&self, start: usize) -> SyntaxError {
        self.error(start, "this escape has not the digits that it needs")
            .hint("the forms are \\x41, \\101, \\u0041, \\u{41} and \\U00000041")
    }
}

/// How a character of a quoted literal was written, as far as byte literals care.
enum Escape {
    /// As itself, or as a one-letter escape.
    None,
    /// As `\x` or octal: one byte in a byte literal, one code point in text.
    Byte,
    /// As `\u` or `\U`.
    Unicode,
}

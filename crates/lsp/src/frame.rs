//! Messages on a stream: headers, an empty line, and a body of as many bytes as they say.

use std::io::{self, BufRead, Read, Write};

use serde_json::Value;

/// Longest body: a rule file has at most 4 MiB, and JSON may double it.
const MAX_BODY: u64 = 16 << 20;
/// Longest line of a header.
const MAX_HEADER: u64 = 1024;

/// What came in.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// A message.
    Message(Value),
    /// A body that is no JSON, or too long.
    Broken(&'static str),
}

/// Reads the next message; `None` at the end of the stream. Lines that are no header are skipped, so that the
/// reading is in step again with the next message.
pub(crate) fn read(input: &mut dyn BufRead) -> io::Result<Option<Incoming>> {
    let mut length: Option<u64> = None;
    loop {
        let Some(line) = header(input)? else { return Ok(None) };
        if line.is_empty() {
            match length {
                Some(length) => return body(input, length).map(Some),
                None => continue,
            }
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.trim().eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
}

/// A line without its end; of one that is too long, its beginning. `None` at the end of the stream.
fn header(input: &mut dyn BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if (&mut *input).take(MAX_HEADER).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let mut whole = line.ends_with(b"\n");
    while !whole {
        let mut more = Vec::new();
        if (&mut *input).take(MAX_HEADER).read_until(b'\n', &mut more)? == 0 {
            break;
        }
        whole = more.ends_with(b"\n");
        // What is skipped must not look like an empty line.
        line.push(b'?');
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn body(input: &mut dyn BufRead, length: u64) -> io::Result<Incoming> {
    if length > MAX_BODY {
        io::copy(&mut input.take(length), &mut io::sink())?;
        return Ok(Incoming::Broken("the message is longer than 16 MiB"));
    }
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    Ok(match serde_json::from_slice(&bytes) {
        Ok(message) => Incoming::Message(message),
        Err(_) => Incoming::Broken("the message is no JSON"),
    })
}

/// Writes a message.
pub(crate) fn write(output: &mut dyn Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all(mut bytes: &[u8]) -> Vec<Incoming> {
        let mut messages = Vec::new();
        while let Some(message) = read(&mut bytes).expect("memory never fails") {
            messages.push(message);
        }
        messages
    }

    #[test]
    fn messages_come_back() {
        let mut bytes = Vec::new();
        for message in [json!({"a": "é"}), json!([1])] {
            write(&mut bytes, &message).expect("a vector takes everything");
        }
        assert_eq!(all(&bytes), [Incoming::Message(json!({"a": "é"})), Incoming::Message(json!([1]))]);
    }

    #[test]
    fn what_is_no_message_is_left_behind() {
        let check = |text: &str| {
            let bytes = format!("{text}Content-Length: 2\r\nContent-Type: x\r\n\r\n{{}}");
            assert_eq!(all(bytes.as_bytes()).last(), Some(&Incoming::Message(json!({}))), "{text:?}");
        };
        check("");
        check("nonsense\r\n\r\n");
        check("\r\n\r\n");
        check("Content-Length: many\r\n\r\n");
        check("Content-Length: -1\r\n\r\n");
        check("Content-Length: 99999999999999999999999\r\n\r\n");
        check("Content-Length: 5\r\n\r\n{{{{{");
        check(&format!("{}\n", "x".repeat(5000)));
        check(&format!("Content-Length: 3\r\n\r\n{}", "\u{fffd}"));
        // A message that is never sent whole ends with the stream, and takes no memory in advance.
        assert_eq!(
            all(b"Content-Length: 18446744073709551615\r\n\r\n{}"),
            [Incoming::Broken("the message is longer than 16 MiB")]
        );
        assert_eq!(all(b"Content-Length: 16777216\r\n\r\n{"), [Incoming::Broken("the message is no JSON")]);
        assert_eq!(all(b"Content-Length: 2"), []);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&bytes);
        }
    }
}

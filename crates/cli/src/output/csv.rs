//! Comma-separated values, as RFC 4180 has them, with plain line ends.

/// One line, without its end.
pub(crate) fn line<'f>(fields: impl IntoIterator<Item = &'f str>) -> String {
    let mut out = String::new();
    for (at, field) in fields.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let is_plain = !field.contains([',', '"', '\n', '\r']) && !field.starts_with([' ', '\t']);
        if is_plain {
            out.push_str(field);
        } else {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        }
    }
    out
}

/// The records of a text. Lines that are empty, or begin with `#`, are none.
///
/// # Errors
/// The number of the line where a quote is not closed.
pub(crate) fn records(text: &str) -> Result<Vec<Vec<String>>, usize> {
    let mut records = Vec::new();
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut number = 1;
    while chars.peek().is_some() {
        let begun = number;
        let mut record = Vec::new();
        let mut field = String::new();
        let mut quoted = false;
        let mut is_comment = false;
        loop {
            let Some(next) = chars.next() else {
                if quoted {
                    return Err(begun);
                }
                break;
            };
            number += usize::from(next == '\n');
            match next {
                '\n' if !quoted => break,
                _ if is_comment => {}
                '"' if quoted => {
                    if chars.next_if_eq(&'"').is_some() {
                        field.push('"');
                    } else {
                        quoted = false;
                    }
                }
                '"' if field.trim().is_empty() => {
                    field.clear();
                    quoted = true;
                }
                ',' if !quoted => record.push(std::mem::take(&mut field)),
                '\r' if !quoted => {}
                '#' if record.is_empty() && field.is_empty() => is_comment = true,
                other => field.push(other),
            }
        }
        let is_blank = record.is_empty() && field.trim().is_empty();
        if !is_comment && !is_blank {
            record.push(field);
            records.push(record);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_fields_are_read_again(fields in proptest::collection::vec("[a-c,\" \r\n#é]{0,6}", 1..5)) {
            // What looks like a comment or an empty line is one.
            prop_assume!(!fields[0].starts_with('#') && !fields.concat().trim().is_empty());
            let text = line(fields.iter().map(String::as_str)) + "\n";
            prop_assert_eq!(records(&text), Ok(vec![fields]));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*[\"\n,#]*\\PC*") {
            let _ = records(&text);
        }
    }

    #[test]
    fn lines() {
        assert_eq!(line(["a", "", "b c"]), "a,,b c");
        assert_eq!(line(["a,b", "say \"x\"", " c", "d\ne"]), "\"a,b\",\"say \"\"x\"\"\",\" c\",\"d\ne\"");
    }

    #[test]
    fn what_is_written_is_read() {
        let fields = ["a,b", "say \"x\"", " c", "d\ne", "", "plain"];
        let text = format!("# a comment\n\n{}\r\n\"x\",y\n", line(fields));
        assert_eq!(
            records(&text),
            Ok(vec![fields.map(str::to_owned).to_vec(), vec!["x".into(), "y".into()]])
        );
        assert_eq!(records("a\nb,\"c\n"), Err(2));
        assert_eq!(records(""), Ok(vec![]));
    }
}

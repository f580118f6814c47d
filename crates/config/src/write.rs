//! A tree as YAML text, for people and for the next program that reads it.

use std::fmt::Write as _;

use testudo_rules::yaml::Resolved;

use crate::tree::{Node, Value};

/// The text of a tree, in block style.
pub fn to_yaml(node: &Node) -> String {
    let mut out = String::new();
    write(&mut out, node, 0);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.trim_start_matches('\n').trim_start_matches(' ').to_owned()
}

/// Writes a value behind `key:` or `-`, or at the beginning.
fn write(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Scalar(text, resolved) => {
            out.push(' ');
            match resolved {
                Resolved::Null => out.push_str("null"),
                Resolved::Text => out.push_str(&quoted(text)),
                _ => out.push_str(text),
            }
            out.push('\n');
        }
        Value::List(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Value::List(items) => {
            out.push('\n');
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                write(out, item, indent + 2);
            }
        }
        Value::Map(entries) => {
            out.push('\n');
            for entry in entries {
                let _ = write!(out, "{:indent$}{}:", "", quoted(&entry.key));
                write(out, &entry.value, indent + 2);
            }
        }
    }
}

/// A text so that YAML reads the same text: as it is where that is safe, else in double quotes.
pub fn quoted(text: &str) -> String {
    let is_word =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | '%' | '+' | '@');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'))
        && text.chars().all(is_word)
        && !text.ends_with(':')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_plain {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20
                || (0x7f..=0x9f).contains(&(c as u32))
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') =>
            {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use testudo_rules::SourceFile;

    use super::*;
    use crate::tree::documents;

    fn read(text: &str) -> Node {
        let file = SourceFile { path: "x.yaml".to_owned(), text: text.to_owned() };
        documents(file, &|_| None).remove(0).expect(text)
    }

    #[test]
    fn block_style() {
        let check = |text: &str, expected: &str| assert_eq!(to_yaml(&read(text)), expected);
        check(
            "{a: [1, {b: x}], c: {}, d: [], e: 'yes', f: yes}",
            "a:\n  - 1\n  -\n    b: x\nc: {}\nd: []\ne: \"yes\"\nf: yes\n",
        );
        check("- a: ~", "-\n  a: null\n");
        check("x", "x\n");
        check("a: \"p: #q\"", "a: \"p: #q\"\n");
        check("0755: 0755", "\"0755\": 0755\n");
    }

    proptest! {
        #[test]
        fn texts_come_back(text in any::<String>()) {
            let node = read(&format!("{}: {}", quoted(&format!("k{text}")), quoted(&text)));
            let Value::Map(entries) = &node.value else { panic!("a map") };
            prop_assert_eq!(&entries[0].key, &format!("k{text}"));
            match &entries[0].value.value {
                Value::Scalar(found, Resolved::Text) => prop_assert_eq!(found, &text),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

//! Reading the text format of Prometheus, as far as the metrics of a node need it.

use std::collections::BTreeMap;

/// One sample: a counter or gauge, or a part of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// A label, empty when there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of a page, in its order. Lines that cannot be read are passed over.
pub(crate) fn samples(page: &str) -> Vec<Sample> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim().to_owned(), value);
            rest = after;
        }
    }
    // A time may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A text up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_are_read_again(name in "[a-z_]{1,9}", label in "[a-z_]{1,9}", value in "\\PC{0,9}", count in 0_u32..) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read = samples(&format!("{name}{{{label}=\"{escaped}\"}} {count}\n"));
            let labels = BTreeMap::from([(label, value)]);
            prop_assert_eq!(read, vec![Sample { name, labels, value: f64::from(count) }]);
        }

        #[test]
        fn any_page_is_read(page in "\\PC*[{}=\", \\\\\n]*\\PC*") {
            let _ = samples(&page);
        }
    }

    #[test]
    fn pages() {
        let page = "# HELP a b\n# TYPE a counter\nplain 3\n\
            two{x=\"1\",y=\"a \\\"b\\\" \\\\ \\n}\",} 1.5e+03 1395066363000\nbroken{x=\"1\nnone{} NaN\nlast{a=\"b\"} x\n\n";
        let found = samples(page);
        let names: Vec<&str> = found.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names, ["plain", "two", "none"]);
        assert_eq!((found[0].value, found[1].value), (3.0, 1500.0));
        assert_eq!(
            (found[1].label("x"), found[1].label("y"), found[1].label("z")),
            ("1", "a \"b\" \\ \n}", "")
        );
    }
}

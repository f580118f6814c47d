//! Tables: with rounded frames and colours on a terminal, with `+---+` elsewhere.

use unicode_width::UnicodeWidthStr as _;

/// How the cells of a column are aligned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Align {
    #[default]
    Left,
    Right,
}

/// Colours of cells on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    #[default]
    None,
    Red,
    Yellow,
    Green,
    Bold,
}

/// A text in a colour.
pub(crate) fn painted(text: &str, paint: Paint) -> String {
    let code = match paint {
        Paint::None => return text.to_owned(),
        Paint::Red => "31",
        Paint::Yellow => "33",
        Paint::Green => "32",
        Paint::Bold => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A table with a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    title: Option<String>,
    head: Vec<String>,
    align: Vec<Align>,
    rows: Vec<Vec<(String, Paint)>>,
}

/// The pieces of a frame: left, middle and right of the top, of the line under the head and of the bottom;
/// the line, and the wall.
struct Frame {
    top: [&'static str; 3],
    middle: [&'static str; 3],
    bottom: [&'static str; 3],
    line: &'static str,
    wall: &'static str,
}

const ROUNDED: Frame =
    Frame {
        top: ["╭", "┬", "╮"], middle: ["├", "┼", "┤"], bottom: ["╰", "┴", "╯"], line: "─", wall: "│"
    };

const PLAIN: Frame =
    Frame { top: ["+", "+", "+"], middle: ["+", "+", "+"], bottom: ["+", "+", "+"], line: "-", wall: "|" };

impl Table {
    pub(crate) fn new<'h>(head: impl IntoIterator<Item = &'h str>) -> Table {
        Table { head: head.into_iter().map(str::to_owned).collect(), ..Table::default() }
    }

    /// With a line above it.
    pub(crate) fn titled(self, title: impl Into<String>) -> Table {
        Table { title: Some(title.into()), ..self }
    }

    /// With these alignments, from the left; further columns are aligned to the left.
    pub(crate) fn aligned(self, align: impl IntoIterator<Item = Align>) -> Table {
        Table { align: align.into_iter().collect(), ..self }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.painted_row(cells.into_iter().map(|cell| (cell.into(), Paint::None)));
    }

    pub(crate) fn painted_row(&mut self, cells: impl IntoIterator<Item = (String, Paint)>) {
        self.rows.push(cells.into_iter().map(|(cell, paint)| (printable(&cell), paint)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text.
    pub(crate) fn render(&self, fancy: bool) -> String {
        let frame = if fancy { ROUNDED } else { PLAIN };
        let mut widths: Vec<usize> = self.head.iter().map(|name| name.width()).collect();
        for row in &self.rows {
            for (width, (cell, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut out = String::new();
        if let Some(title) = &self.title {
            out.push_str(&if fancy { painted(title, Paint::Bold) } else { title.clone() });
            out.push('\n');
        }
        let rule = |out: &mut String, [left, middle, right]: [&str; 3]| {
            out.push_str(left);
            for (at, width) in widths.iter().enumerate() {
                if at > 0 {
                    out.push_str(middle);
                }
                out.push_str(&frame.line.repeat(width + 2));
            }
            out.push_str(right);
            out.push('\n');
        };
        rule(&mut out, frame.top);
        let head = self.head.iter().map(|name| (name.as_str(), Paint::Bold));
        self.write_row(&mut out, head, &widths, frame.wall, fancy);
        rule(&mut out, frame.middle);
        for row in &self.rows {
            let cells = row.iter().map(|(cell, paint)| (cell.as_str(), *paint));
            self.write_row(&mut out, cells, &widths, frame.wall, fancy);
        }
        if !self.rows.is_empty() {
            rule(&mut out, frame.bottom);
        }
        out
    }

    fn write_row<'r>(
        &self,
        out: &mut String,
        cells: impl Iterator<Item = (&'r str, Paint)>,
        widths: &[usize],
        wall: &str,
        fancy: bool,
    ) {
        out.push_str(wall);
        for (at, ((cell, paint), width)) in cells.zip(widths).enumerate() {
            let gap = " ".repeat(width - cell.width().min(*width));
            let shown = if fancy { painted(cell, paint) } else { cell.to_owned() };
            let (before, after) = match self.align.get(at).copied().unwrap_or_default() {
                Align::Left => ("", gap.as_str()),
                Align::Right => (gap.as_str(), ""),
            };
            for part in [" ", before, shown.as_str(), after, " ", wall] {
                out.push_str(part);
            }
        }
        out.push('\n');
    }
}

/// A text that cannot disturb a terminal or a table: attackers choose some of them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["ID", "Valid", "Name"]).aligned([Align::Right]);
        table.row(["7", "✔️", "one"]);
        table.painted_row([
            ("12".to_owned(), Paint::None),
            ("no".to_owned(), Paint::Red),
            ("a\u{1b}[2J\nb".to_owned(), Paint::None),
        ]);
        table
    }

    #[test]
    fn plain_ones() {
        let expected = "\
+----+-------+---------+
| ID | Valid | Name    |
+----+-------+---------+
|  7 | ✔️    | one     |
| 12 | no    | a\u{fffd}[2J\u{fffd}b |
+----+-------+---------+
";
        assert_eq!(table().render(false), expected);
    }

    #[test]
    fn those_for_terminals() {
        let shown = table().titled("All").render(true);
        assert!(shown.starts_with("\u{1b}[1mAll\u{1b}[0m\n╭────┬───────┬─────────╮\n"), "{shown}");
        assert!(shown.contains("\u{1b}[31mno\u{1b}[0m    │"), "{shown}");
        assert!(shown.ends_with("╰────┴───────┴─────────╯\n"), "{shown}");
    }

    #[test]
    fn empty_ones() {
        assert_eq!(Table::new(["A"]).render(false), "+---+\n| A |\n+---+\n");
    }
}

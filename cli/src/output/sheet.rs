//! A table of text that fits the width it is given.
//!
//! Three layouts, the first that fits: as wide as the content; columns wrapped between words; one record after another.
//! In every one of them no line is longer than the width.

use comfy_table::{ContentArrangement, Table, presets};
use lode_protocol::text::escape_controls;

/// Below this many columns a wrapped table is harder to read than records.
const LEAST_TABLE_WIDTH: usize = 72;

/// Headers and rows. Cells may have several lines.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    empty: String,
}

impl Sheet {
    /// A table with these columns.
    pub fn new<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        Sheet { headers: headers.into_iter().map(str::to_owned).collect(), ..Sheet::default() }
    }

    /// What to say instead of an empty table.
    #[must_use]
    pub fn or_else(mut self, text: &str) -> Self {
        text.clone_into(&mut self.empty);
        self
    }

    /// Adds a row. Control characters of cells are made visible, except for line ends.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| {
            cell.lines().map(|line| escape_controls(line).into_owned()).collect::<Vec<_>>().join("\n")
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// The text, ending with a line end.
    pub fn render(&self, width: Option<usize>) -> String {
        if self.rows.is_empty() && !self.empty.is_empty() {
            return format!("{}\n", self.empty);
        }
        let natural = self.table(None);
        let Some(width) = width else { return natural };
        if widest(&natural) <= width {
            return natural;
        }
        if width >= LEAST_TABLE_WIDTH {
            let wrapped = self.table(Some(width));
            // An id cut in two can neither be read nor copied.
            if widest(&wrapped) <= width && self.words().all(|word| wrapped.contains(word)) {
                return wrapped;
            }
        }
        self.records(width)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flatten().flat_map(|cell| cell.split_whitespace())
    }

    fn table(&self, width: Option<usize>) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).force_no_tty();
        match width.and_then(|width| u16::try_from(width).ok()) {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(self.headers.iter().map(|header| header.to_uppercase()));
        for row in &self.rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if text.is_empty() {
            text.push('\n');
        }
        text
    }

    fn records(&self, width: usize) -> String {
        let label = self.headers.iter().map(|header| header.chars().count()).max().unwrap_or(0);
        let indent = label.min(width / 3) + 2;
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            for (header, cell) in self.headers.iter().zip(row) {
                let mut head: String = header.chars().take(indent - 2).collect();
                let lines = if cell.is_empty() { vec![String::new()] } else { wrap(cell, width - indent) };
                for line in lines {
                    let filled = format!("{head:indent$}{line}");
                    text.push_str(filled.trim_end());
                    text.push('\n');
                    head.clear();
                }
            }
        }
        text
    }
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Breaks at spaces where possible, inside words where not.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            let used = line.chars().count();
            if used > 0 && used + 1 + word.len() <= width {
                line.push(' ');
            } else if used > 0 {
                lines.push(std::mem::take(&mut line));
            }
            while word.len() > width {
                let rest = word.split_off(width);
                lines.push(word.into_iter().collect());
                word = rest;
            }
            line.extend(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUIDS: [&str; 2] =
        ["GPU-00000200-5100-4000-8000-000000000000", "GPU-00000200-5100-4000-8000-000000000001"];

    fn nodes() -> Sheet {
        let mut sheet = Sheet::new(["node", "state", "membership", "gpus", "free", "heard"]);
        sheet.row([
            "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf".to_owned(),
            "alive".to_owned(),
            "member".to_owned(),
            UUIDS.map(|uuid| format!("{uuid} NVIDIA H200 healthy")).join("\n"),
            "8 of 8".to_owned(),
            "2s ago".to_owned(),
        ]);
        sheet.row([
            "0x1".to_owned(),
            "joining".to_owned(),
            "waiting: not proven".to_owned(),
            "-".to_owned(),
            String::new(),
            String::new(),
        ]);
        sheet
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_at_any_width_from_40_to_200() {
        for width in 40..=200 {
            let text = nodes().render(Some(width));
            assert!(widest(&text) <= width, "{width}:\n{text}");
            assert!(text.contains("0x7E5F"), "{width}:\n{text}");
        }
    }

    #[test]
    fn an_id_is_whole_wherever_the_terminal_is_wide_enough_for_it() {
        for width in 60..=200 {
            let text = nodes().render(Some(width));
            for uuid in UUIDS {
                assert!(text.contains(uuid), "{width}:\n{text}");
            }
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_wrapped() {
        let text = nodes().render(None);
        for uuid in UUIDS {
            assert!(text.contains(uuid), "{text}");
        }
        assert!(text.lines().next().is_some_and(|line| line.starts_with("NODE")), "{text}");
    }

    #[test]
    fn a_narrow_terminal_gets_records_with_all_that_a_table_has() {
        let text = nodes().render(Some(60));
        let joined: String = text.split_whitespace().collect();
        for uuid in UUIDS {
            assert!(joined.contains(uuid), "{text}");
        }
        assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
    }

    #[test]
    fn cells_cannot_steer_the_terminal() {
        let mut sheet = Sheet::new(["name"]);
        sheet.row(["a\u{1b}[2Jb\u{7}".to_owned()]);
        let text = sheet.render(None);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Sheet::new(["a"]).or_else("no tasks").render(Some(80)), "no tasks\n");
    }

    #[test]
    fn words_longer_than_the_line_are_broken() {
        assert_eq!(wrap("ab cdefgh i", 3), ["ab", "cde", "fgh", "i"]);
        assert_eq!(wrap("a b c", 3), ["a b", "c"]);
    }
}

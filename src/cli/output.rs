//! The commands' one printer: results on standard output, problems on standard error.

use std::fmt::Display;
use std::io::Write;

use serde_json::Value;

pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people; silent where machines read.
    pub fn say(&self, line: &str) {
        if !self.json {
            write(&mut std::io::stdout(), line);
        }
    }

    pub fn problems<P: Display>(&self, problems: &[P]) {
        problems.iter().for_each(|problem| self.problem(&problem.to_string()));
    }

    pub fn problem(&self, line: &str) {
        write(&mut std::io::stderr(), line);
    }

    /// One JSON value on its own line, for machines only.
    pub fn value(&self, value: &Value) {
        if self.json {
            write(&mut std::io::stdout(), &value.to_string());
        }
    }

    /// Rows under headings, as wide as they need to be.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>]) {
        if self.json {
            return;
        }
        let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&headings]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in [&headings].into_iter().chain(rows) {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{}{}", cell, " ".repeat(width.saturating_sub(cell.chars().count()))))
                .collect();
            write(&mut std::io::stdout(), cells.join("  ").trim_end());
        }
    }

    /// Objects as rows: under each heading the member of that name.
    pub fn list(&self, columns: &[(&str, &str)], items: &Value) {
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        let items = items.as_array().into_iter().flatten();
        let rows: Vec<_> = items.map(|item| columns.iter().map(|(_, name)| plain(member(item, name))).collect()).collect();
        self.table(&headings, &rows);
    }
}

/// A member of an object; null where there is none.
pub fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    static NULL: Value = Value::Null;
    value.get(name).unwrap_or(&NULL)
}

/// A value as a cell of a table.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// A pipe that was closed early, as by `head`, is no failure of the command.
fn write(to: &mut impl Write, line: &str) {
    let _closed = writeln!(to, "{line}");
}

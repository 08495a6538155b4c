//! Tables for people, JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// An aligned table.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    number: bool,
}

/// A column of words, aligned left.
#[must_use]
pub const fn words(title: &'static str) -> Column {
    Column { title, number: false }
}

/// A column of numbers, aligned right.
#[must_use]
pub const fn number(title: &'static str) -> Column {
    Column { title, number: true }
}

impl Output {
    /// Prints rows: each value as JSON, or its cells in a table.
    ///
    /// # Errors
    /// When a value cannot be serialised or the output is closed.
    pub fn print<T: Serialize>(
        self,
        columns: &[Column],
        rows: &[T],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match self {
            Self::Json => writeln!(out, "{}", serde_json::to_string_pretty(rows)?)?,
            Self::Table => writeln!(out, "{}", table(columns, rows.iter().map(cells)))?,
        }
        Ok(())
    }

    /// Prints one value as JSON, or as the lines of a text.
    ///
    /// # Errors
    /// When the value cannot be serialised or the output is closed.
    pub fn print_one<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match self {
            Self::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
            Self::Table => writeln!(out, "{}", text(value))?,
        }
        Ok(())
    }
}

/// An aligned table without lines, as `kubectl` and `ps` print them.
pub fn table(columns: &[Column], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.title));
    for (index, column) in columns.iter().enumerate() {
        if let Some(view) = table.column_mut(index) {
            view.set_padding((0, 2));
            if column.number {
                view.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [("a", 1), ("long", 100)];
        let text = table(
            &[words("NAME"), number("COUNT")],
            rows.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string()]),
        );
        assert_eq!(text, "NAME  COUNT\na         1\nlong    100");
    }
}

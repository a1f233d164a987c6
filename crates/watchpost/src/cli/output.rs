//! Printing data: a table on a terminal, JSON elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// How data is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
}

/// The option of every command that prints data.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// table or json; a table on a terminal, else json
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// A column of a table: its heading, and the key of the value.
pub(crate) type Column = (&'static str, &'static str);

impl Output {
    /// The format to print in.
    pub(crate) fn format(self) -> Format {
        let usual = if io::stdout().is_terminal() { Format::Table } else { Format::Json };
        self.output.unwrap_or(usual)
    }

    /// Whether it is printed for people.
    pub(crate) fn is_table(self) -> bool {
        self.format() == Format::Table
    }

    /// Prints a list.
    pub(crate) fn list(self, rows: &[Value], columns: &[Column]) -> Result<(), Failure> {
        match self.format() {
            Format::Json => print(&json(&Value::Array(rows.to_vec()))),
            Format::Table => print(&table(rows, columns)),
        }
    }

    /// Prints one thing.
    pub(crate) fn one(self, thing: &Value) -> Result<(), Failure> {
        match (self.format(), thing) {
            (Format::Table, Value::Object(fields)) => {
                let width = fields.keys().map(|key| key.chars().count()).max().unwrap_or(0);
                let line = |(key, value): (&String, &Value)| format!("{key:width$}  {}\n", cell(value));
                print(&fields.iter().map(line).collect::<String>())
            }
            (Format::Table | Format::Json, _) => print(&json(thing)),
        }
    }
}

fn json(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Prints text; a reader that went away is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A value as text that does nothing to a terminal.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.is_empty() => "–".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    // A name that a host chose must not move the cursor of whoever reads it.
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn table(rows: &[Value], columns: &[Column]) -> String {
    if rows.is_empty() {
        return "(none)\n".to_owned();
    }
    let heading = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let mut lines: Vec<Vec<String>> = vec![heading];
    for row in rows {
        lines.push(columns.iter().map(|(_, key)| cell(row.get(*key).unwrap_or(&Value::Null))).collect());
    }
    let mut widths = vec![0; columns.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let padded: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_stay_out() {
        let rows = [json!({ "a": "x", "b": 12 }), json!({ "a": "long\u{1b}[2J", "b": null })];
        let text = table(&rows, &[("NAME", "a"), ("N", "b")]);
        assert_eq!(text, "NAME      N\nx         12\nlong\u{fffd}[2J  –\n");
        assert_eq!(table(&[], &[("NAME", "a")]), "(none)\n");
        let words = [json!({ "a": ["x", "y"], "b": [] })];
        assert_eq!(table(&words, &[("A", "a"), ("B", "b")]), "A     B\nx, y  –\n");
    }
}

//! Output for people: tables, and numbers that can be read.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table without frames. A column whose cells all look like numbers stands to the right.
#[must_use]
pub fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headers.iter().map(|header| header.to_uppercase()));
    for row in &rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let mut cells = rows.iter().filter_map(|row| row.get(index)).peekable();
        if cells.peek().is_some() && cells.all(|cell| is_number(cell)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// A whole number with its thousands apart: `69,659`.
#[must_use]
pub fn grouped(number: u64) -> String {
    group(&number.to_string())
}

/// A decimal number as text, with its thousands apart: `-2,500,315.63`.
#[must_use]
pub fn grouped_decimal(number: &str) -> String {
    let (sign, magnitude) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    match magnitude.split_once('.') {
        Some((whole, fraction)) => format!("{sign}{}.{fraction}", group(whole)),
        None => format!("{sign}{}", group(magnitude)),
    }
}

/// `text` without what a terminal would take for commands.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn is_number(cell: &str) -> bool {
    cell.chars().any(|c| c.is_ascii_digit())
        && cell
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | '-' | '%' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(69_659), "69,659");
        assert_eq!(grouped_decimal("-2500315.63"), "-2,500,315.63");
        assert_eq!(grouped_decimal("100000"), "100,000");
    }

    #[test]
    fn numbers_stand_to_the_right_and_control_characters_nowhere() {
        let rows = vec![
            vec!["orders".to_owned(), "69,659".to_owned()],
            vec!["a\u{1b}[31mb".to_owned(), "7".to_owned()],
        ];
        insta::assert_snapshot!(table(&["topic", "records"], rows), @r"
        TOPIC    RECORDS
        orders    69,659
        a�[31mb        7
        ");
    }
}

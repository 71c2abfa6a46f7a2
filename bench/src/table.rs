//! Tables that can be pasted into Markdown and read on a terminal, and figures with their spread.

use std::fmt::{Display, Formatter, Result};

/// Rows under a head, every column as wide as its widest cell.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let empty = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                write!(f, "| {:width$} ", row.get(column).unwrap_or(&empty))?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// The one in the middle; the mean of two where there is none. Not a number for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The median, with the least and the greatest: `52.1 (49.8–60.3)`.
pub fn spread(values: &[f64]) -> String {
    let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &it| (least.min(it), most.max(it)));
    match values {
        [] => "–".into(),
        [it] => short(*it),
        _ => format!("{} ({}–{})", short(median(values)), short(least), short(most)),
    }
}

/// Three digits that mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        it if it >= 99.95 => format!("{value:.0}"),
        it if it >= 9.995 => format!("{value:.1}"),
        it if it < 0.0005 => "0".into(),
        it if it < 0.9995 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_their_spread() {
        let cases = [(0.0, "0"), (0.1234, "0.123"), (1.0, "1.00"), (9.999, "10.0"), (12.34, "12.3"), (99.96, "100"), (12345.6, "12346")];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.00 (1.00–3.00)");
        assert_eq!((median(&[4.0, 1.0]), &*spread(&[]), &*spread(&[7.0])), (2.5, "–", "7.00"));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["route", "µs"]);
        table.row(["bare".into(), "52.1 (50–60)".into()]);
        assert_eq!(table.to_string(), "| route | µs           |\n|-------|--------------|\n| bare  | 52.1 (50–60) |\n");
    }
}

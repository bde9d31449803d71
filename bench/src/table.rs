//! What a benchmark found, for people and for programs.

use std::fmt;

use serde_json::{Value, json};

/// One figure.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// How much it is.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// What was measured beside it, and how it is called.
    pub(crate) baseline: Option<(f64, &'static str)>,
    /// What the house aims at: a ratio where there is a baseline, else a value.
    pub(crate) target: Option<f64>,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.baseline.filter(|(baseline, _)| *baseline > 0.0).map(|(baseline, _)| self.value / baseline)
    }
}

/// The figures of one run.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name,
                    "value": row.value,
                    "unit": row.unit,
                    "baseline": row.baseline.map(|(value, name)| json!({ "value": value, "name": name })),
                    "ratio": row.ratio(),
                    "target": row.target,
                })
            })
            .collect();
        json!({ "benchmark": self.title, "rows": rows })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(f, "{:42} {:>12} {:9} {:>8} {:>8}  beside", "figure", "value", "unit", "ratio", "target")?;
        for row in &self.rows {
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let beside = row
                .baseline
                .map_or_else(String::new, |(value, name)| format!("{name}: {value:.2} {}", row.unit));
            let (ratio, target) = (number(row.ratio()), number(row.target));
            writeln!(
                f,
                "{:42} {:>12.2} {:9} {ratio:>8} {target:>8}  {beside}",
                row.name, row.value, row.unit
            )?;
        }
        Ok(())
    }
}

/// The value below which this share of all values lies; `values` are sorted.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * share).ceil() as usize;
    values.get(index.min(last)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_list() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert!((percentile(&values, 0.5) - 3.0).abs() < f64::EPSILON);
        assert!((percentile(&values, 0.99) - 4.0).abs() < f64::EPSILON);
        assert!(percentile(&[], 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_ratio_needs_a_baseline_that_is_not_zero() {
        let row = |baseline| Row { name: String::new(), value: 6.0, unit: "µs", baseline, target: None };
        assert_eq!(row(Some((3.0, "x"))).ratio(), Some(2.0));
        assert_eq!(row(Some((0.0, "x"))).ratio(), None);
        assert_eq!(row(None).ratio(), None);
    }
}

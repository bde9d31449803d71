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

/// On which side of its target a figure should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    /// The target is the most that it may be.
    Max,
    /// The target is the least that it must be.
    Min,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Direction::Max => "max",
            Direction::Min => "min",
        }
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.baseline.filter(|(baseline, _)| *baseline > 0.0).map(|(baseline, _)| self.value / baseline)
    }

    /// Rates are to be high; times, sizes and ratios of them are to be low.
    fn direction(&self) -> Direction {
        if self.unit == "1/s" { Direction::Min } else { Direction::Max }
    }

    /// What is compared with the target: the ratio, where there is one.
    fn compared(&self) -> f64 {
        self.ratio().filter(|_| self.target.is_some()).unwrap_or(self.value)
    }

    fn met(&self) -> Option<bool> {
        let target = self.target?;
        Some(match self.direction() {
            Direction::Max => self.compared() <= target,
            Direction::Min => self.compared() >= target,
        })
    }

    fn to_json(&self) -> Value {
        let is_ratio = self.target.is_some() && self.ratio().is_some();
        json!({
            "name": self.name,
            "value": self.compared(),
            "unit": if is_ratio { "×" } else { self.unit },
            "measured": json!({ "value": self.value, "unit": self.unit }),
            "baseline": self.baseline.map(|(value, name)| json!({ "value": value, "name": name })),
            "ratio": self.ratio(),
            "target": self.target,
            "direction": self.direction().name(),
            "met": self.met(),
        })
    }
}

/// The figures of one run.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// One object a line, for programs.
    pub(crate) fn to_json_lines(&self) -> String {
        self.rows.iter().map(|row| format!("{}\n", row.to_json())).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "{:64} {:>12} {:5} {:>8} {:>9} met  beside",
            "figure", "value", "unit", "ratio", "target"
        )?;
        for row in &self.rows {
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let beside = row
                .baseline
                .map_or_else(String::new, |(value, name)| format!("{name}: {value:.2} {}", row.unit));
            let (ratio, target) = (number(row.ratio()), number(row.target));
            let met = match row.met() {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            writeln!(
                f,
                "{:64} {:>12.2} {:5} {ratio:>8} {target:>9} {met:3}  {beside}",
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
    fn a_target_is_met_by_the_ratio_where_there_is_one_and_rates_are_met_from_above() {
        let row = |value, unit, baseline, target| Row { name: "n".to_owned(), value, unit, baseline, target };
        assert_eq!(row(6.0, "µs", Some((3.0, "x")), Some(2.0)).met(), Some(true));
        assert_eq!(row(6.0, "µs", None, Some(2.0)).met(), Some(false));
        assert_eq!(row(6.0, "1/s", None, Some(2.0)).met(), Some(true));
        assert_eq!(row(6.0, "1/s", None, None).met(), None);
        let line = row(6.0, "µs", Some((3.0, "x")), Some(2.0)).to_json();
        assert_eq!(
            (&line["value"], &line["direction"], &line["met"]),
            (&json!(2.0), &json!("max"), &json!(true))
        );
    }

    #[test]
    fn a_ratio_needs_a_baseline_that_is_not_zero() {
        let row = |baseline| Row { name: String::new(), value: 6.0, unit: "µs", baseline, target: None };
        assert_eq!(row(Some((3.0, "x"))).ratio(), Some(2.0));
        assert_eq!(row(Some((0.0, "x"))).ratio(), None);
        assert_eq!(row(None).ratio(), None);
    }
}

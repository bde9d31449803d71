//! Findings in a program: the set of those that hold now, and how they are shown. What a finding is, is part of the
//! shared language ([`lode_protocol::finding`]).

mod render;
mod set;

pub use lode_protocol::finding::{Finding, Severity};
pub use render::{render_json, render_text};
pub use set::{CurrentFinding, FindingSet};

/// The worst severity among findings.
#[must_use]
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}

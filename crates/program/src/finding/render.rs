//! Findings as aligned text for people and as JSON for scripts.

use std::fmt::Write as _;

use lode_protocol::text::escape_controls;

use super::{Finding, worst};

/// Aligned text, one finding per block, its remedy indented below:
///
/// ```text
/// error    docker/unreachable   /var/run/docker.sock  The Docker engine does not answer.
///          -> Start it: systemctl start docker
/// ```
#[must_use]
pub fn render_text(findings: &[Finding]) -> String {
    let width = |cell: fn(&Finding) -> &str| {
        findings.iter().map(|finding| escape_controls(cell(finding)).chars().count()).max().unwrap_or(0)
    };
    let code_width = width(|finding| finding.code.as_str());
    let subject_width = width(|finding| &finding.subject).min(48);
    let mut text = String::new();
    for finding in findings {
        let code = escape_controls(finding.code.as_str());
        let _ = write!(text, "{:<8} {code:<code_width$}", finding.severity);
        if subject_width > 0 {
            let _ = write!(text, "  {:<subject_width$}", escape_controls(&finding.subject));
        }
        let _ = writeln!(text, "  {}", escape_controls(&finding.message));
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "         -> {}", escape_controls(&finding.remedy));
        }
    }
    text
}

/// `{"worst": "error", "findings": […]}`; `worst` is null where there is none.
#[must_use]
pub fn render_json(findings: &[Finding]) -> serde_json::Value {
    serde_json::json!({ "worst": worst(findings), "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_remedy_stands_below() {
        let findings = [
            Finding::error("docker/unreachable", "The engine does not answer.")
                .about("/run/docker.sock")
                .remedy("Start it."),
            Finding::info("gpu/none", "No GPU\x1b[2J."),
        ];
        assert_eq!(
            render_text(&findings),
            "error    docker/unreachable  /run/docker.sock  The engine does not answer.\n\
             \x20        -> Start it.\n\
             info     gpu/none                              No GPU\\u{1b}[2J.\n"
        );
        assert_eq!(render_json(&findings)["worst"], "error");
        assert_eq!(render_json(&[])["worst"], serde_json::Value::Null);
    }
}

//! Whom the orchestrator has invited. It invites by itself whoever has all that the pool requires; a node that was put
//! out, or tried too often, is invited again when told so.

use lode_api_types::Membership;
use serde_json::{Value, json};

use crate::api::Api;
use crate::arguments::Global;
use crate::commands::node;
use crate::output::{self, Format, Sheet, membership};

pub(super) async fn run(global: &Global, node: Option<&str>) -> anyhow::Result<()> {
    let api = Api::of(global)?;
    if let Some(node) = node {
        return node::readmit(&api, global, node).await;
    }
    let nodes = api.nodes().await?.items;
    match global.output {
        Format::Json => {
            let items: Vec<Value> = nodes
                .iter()
                .map(|node| json!({ "node": node.id, "state": node.state, "membership": node.membership }))
                .collect();
            output::json(&json!({ "items": items }))
        }
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(["node", "state", "invited", "what is missing"]).or_else("no nodes");
            for node in &nodes {
                let (invited, missing) = standing(&node.membership);
                sheet.row([node.id.to_string(), node.state.to_string(), invited, missing]);
            }
            output::sheet(&sheet)
        }
    }
}

/// Whether a node is invited, and what it lacks.
fn standing(of: &Membership) -> (String, String) {
    let word = membership(of);
    match word.split_once(": ") {
        Some((state, reason)) => (state.to_owned(), reason.to_owned()),
        None => (word, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_api_types::MembershipStatus;

    #[test]
    fn a_node_that_waits_shows_what_it_lacks() {
        let of = |status, code: Option<&'static str>| Membership {
            status,
            code: code.map(Into::into),
            message: None,
        };
        assert_eq!(
            standing(&of(MembershipStatus::Waiting, Some("node/pool-not-approved"))),
            ("waiting".to_owned(), "node/pool-not-approved".to_owned())
        );
        assert_eq!(standing(&of(MembershipStatus::Invited, None)), ("invited".to_owned(), String::new()));
    }
}

//! Waiting for a dev pool's nodes: what they still lack is said meanwhile.

use std::time::Duration;

use anyhow::Context as _;
use lode_cli::output::{membership, short_id};
use lode_program::text::escape_controls;
use lode_protocol::ids::PoolId;

use crate::chain::DevChain;
use crate::pool::DevPool;
use crate::waiting::{Look, wait_for};

/// How long nodes may take to be proven and to join.
const JOIN_PATIENCE: Duration = Duration::from_secs(180);

impl DevPool {
    pub(super) async fn wait_for_nodes(&mut self, chain: &DevChain, pool: PoolId) -> anyhow::Result<()> {
        let supervisor = self.supervisor.clone();
        let count = |done: [bool; 2]| done.into_iter().filter(|done| *done).count();
        let both = ["validator", "worker-1", "worker-2", "discovery", "orchestrator", "anvil"];
        let proven = wait_for(&supervisor, &both, JOIN_PATIENCE, async || match chain.proven().await {
            Ok([true, true]) => Look::Done(()),
            Ok(proven) => Look::NotYet(format!("{} of 2 nodes have a proof on the chain", count(proven))),
            Err(error) => Look::NotYet(error.to_string()),
        });
        self.progress
            .step("GPUs proven", proven, |()| "by a root of the validator on the chain".to_owned())
            .await?;
        let api = self.api.clone().context("the orchestrator is up")?;
        let nodes = self.keys.nodes().map(|node| node.to_string());
        let mut states: Vec<(String, String)> = Vec::new();
        let joined =
            wait_for(&supervisor, &["orchestrator", "worker-1", "worker-2"], JOIN_PATIENCE, async || {
                let members = match chain.members(pool).await {
                    Ok(members) => members,
                    Err(error) => return Look::NotYet(error.to_string()),
                };
                let known = match api.nodes().await {
                    Ok(page) => page.items,
                    Err(error) => return Look::NotYet(error.to_string()),
                };
                states = nodes.iter().map(|node| (node.clone(), state_of(node, &known))).collect();
                let alive = states.iter().all(|(_, state)| state == "alive, member");
                if members == [true, true] && alive {
                    Look::Done(())
                } else {
                    Look::NotYet(describe(&states))
                }
            });
        let joined = self.progress.step("nodes joined", joined, |()| describe_nodes(&nodes)).await;
        if joined.is_err() {
            for (number, (node, state)) in (1..).zip(&states) {
                self.progress.note(&format!("worker-{number} ({})", short_id(node)), state);
            }
        }
        joined?;
        let coins = chain.coins_of_workers().await?;
        anyhow::ensure!(
            coins == lode_contracts::Amount::ZERO,
            "the workers have {coins} coins, but should need none"
        );
        Ok(())
    }
}

fn state_of(node: &str, known: &[lode_api_types::NodeSummary]) -> String {
    match known.iter().find(|view| view.id.to_string().eq_ignore_ascii_case(node)) {
        Some(view) => format!("{}, {}", view.state, membership(&view.membership)),
        None => "not connected to the orchestrator".to_owned(),
    }
}

fn describe(states: &[(String, String)]) -> String {
    states
        .iter()
        .map(|(node, state)| format!("{} {}", short_id(node), escape_controls(state)))
        .collect::<Vec<_>>()
        .join("; ")
}

fn describe_nodes(nodes: &[String]) -> String {
    nodes.iter().map(|node| short_id(node)).collect::<Vec<_>>().join(", ")
}

//! Follows the chain and tells the core what may be otherwise there. The core asks what it wants to know.

use std::sync::Arc;

use lode_contracts::{
    ChainCursor, ChainEvent, ChainReader, Follower, FollowerConfig, FollowerEvent, RegistryEvent,
};
use lode_program::backoff::{self, BackoffPolicy};
use lode_program::finding::Finding;
use lode_protocol::units::Millis;
use tokio::sync::mpsc;

use crate::core::Moved;
use crate::handle::Handle;

/// Events that may wait; the follower waits when the directory is slower than the chain.
const QUEUE: usize = 64;
/// Waits after failed looks at the chain.
const WAITS: BackoffPolicy = BackoffPolicy::new(Millis(500), Millis::seconds(10));

/// Follows the chain until the program ends.
pub async fn follow(directory: Handle, chain: Arc<dyn ChainReader>, config: FollowerConfig) {
    let mut waits = backoff::sequence(WAITS);
    let head = loop {
        match chain.head().await {
            Ok(head) => break head,
            Err(error) => {
                directory.findings.raise(unreachable(&error.to_string()));
                tokio::time::sleep(waits.next_wait()).await;
            }
        }
    };
    // Whatever the store brought is looked up once, no earlier than at this head; from here on events tell.
    directory.chain_moved(Moved::Everything).await;
    let from = ChainCursor { number: head.number, hash: head.hash };
    let (follower, mut view) = Follower::new(chain, config, Some(from));
    let (sender, mut events) = mpsc::channel(QUEUE);
    let watch = async {
        loop {
            let failure = view.borrow_and_update().failure.clone();
            match failure {
                Some(failure) => drop(directory.findings.raise(unreachable(&failure.message))),
                None => drop(directory.findings.clear("chain/unreachable", "")),
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    };
    let apply = async {
        while let Some(event) = events.recv().await {
            let moved = match event {
                FollowerEvent::Resync { .. } | FollowerEvent::Rollback { .. } => Some(Moved::Everything),
                FollowerEvent::Events { events, .. } => moved_by(events.iter().map(|logged| &logged.event)),
            };
            if let Some(moved) = moved
                && !directory.chain_moved(moved).await
            {
                return;
            }
        }
    };
    tokio::select! {
        _ = follower.run(sender) => {}
        () = watch => {}
        () = apply => {}
    }
}

/// What is wrong while the chain does not answer.
pub(crate) fn unreachable(error: &str) -> Finding {
    Finding::warning(
        "chain/unreachable",
        format!("the chain cannot be read, so that new nodes are not listed and released ones stay: {error}"),
    )
    .remedy("Check the chain's RPC endpoint; the directory goes on by itself when it answers.")
}

/// Whose registration or stake events tell of.
fn moved_by<'a>(events: impl Iterator<Item = &'a ChainEvent>) -> Option<Moved> {
    let (mut nodes, mut providers) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            // Its provider's stake has to cover one node more, or less.
            ChainEvent::Registry(RegistryEvent::NodeAdded { node, provider, .. })
            | ChainEvent::Registry(RegistryEvent::NodeRemoved { node, provider, .. }) => {
                nodes.push(*node);
                providers.push(*provider);
            }
            ChainEvent::Registry(RegistryEvent::NodeReplaced { old, new, .. }) => nodes.extend([*old, *new]),
            ChainEvent::Registry(RegistryEvent::Staked { provider, .. })
            | ChainEvent::Registry(RegistryEvent::UnstakeRequested { provider, .. })
            | ChainEvent::Registry(RegistryEvent::Withdrawn { provider, .. })
            | ChainEvent::Registry(RegistryEvent::Slashed { provider, .. }) => providers.push(*provider),
            _ => {}
        }
    }
    let any = !nodes.is_empty() || !providers.is_empty();
    any.then_some(Moved::These { nodes, providers })
}

//! Keeps the directory in line with the chain: nodes that are released or lose their stake leave the list, and come back
//! when the chain vouches for them again.
//!
//! An RPC error is "unknown" and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{ChainCursor, ChainEvent, ChainReader, Follower, FollowerConfig, FollowerEvent};
use lode_program::finding::Finding;
use lode_protocol::ids::NodeId;
use tokio::sync::mpsc;

use crate::service::Service;

/// Nodes asked for in one call.
const BATCH: usize = 500;
/// Events that may wait; the follower waits when the directory is slower than the chain.
const QUEUE: usize = 64;
/// Pause after a failed look at the chain.
const RETRY: Duration = Duration::from_secs(2);

/// Follows the chain until the program ends.
pub async fn follow(service: Arc<Service>, chain: Arc<dyn ChainReader>, config: FollowerConfig) {
    let head = loop {
        match chain.head().await {
            Ok(head) => break head,
            Err(error) => {
                service.findings.raise(unreachable(&error));
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    // Whatever the store brought is looked up once; from here on events tell.
    recheck(&service, chain.as_ref(), service.known()).await;
    let from = ChainCursor { number: head.number, hash: head.hash };
    let (follower, mut view) = Follower::new(Arc::clone(&chain), config, Some(from));
    let (sender, mut events) = mpsc::channel(QUEUE);
    let watch = async {
        loop {
            let failure = view.borrow_and_update().failure.clone();
            match failure {
                Some(failure) => {
                    let text = format!("{failure:?}");
                    service.findings.raise(unreachable(&text));
                }
                None => drop(service.findings.clear("chain/unreachable", "")),
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    };
    let apply = async {
        while let Some(event) = events.recv().await {
            service.look_again();
            match event {
                FollowerEvent::Resync { .. } | FollowerEvent::Rollback { .. } => {
                    recheck(&service, chain.as_ref(), service.known()).await
                }
                FollowerEvent::Events { events, .. } => {
                    let mut doubtful = Vec::new();
                    for logged in events {
                        doubtful.extend(concerned(&service, &logged.event));
                    }
                    recheck(&service, chain.as_ref(), doubtful).await;
                }
            }
        }
    };
    tokio::select! {
        _ = follower.run(sender) => {}
        () = watch => {}
        () = apply => {}
    }
}

fn unreachable(error: &impl std::fmt::Display) -> Finding {
    Finding::warning(
        "chain/unreachable",
        format!("the chain cannot be read, so that new nodes are not listed and released ones stay: {error}"),
    )
    .remedy("Check the chain's RPC endpoint; the directory goes on by itself when it answers.")
}

/// Known nodes of whose registration or stake an event tells.
fn concerned(service: &Service, event: &ChainEvent) -> Vec<NodeId> {
    let nodes = match event {
        ChainEvent::NodeAdded { node, .. } | ChainEvent::NodeRemoved { node, .. } => vec![*node],
        ChainEvent::NodeReplaced { old, new, .. } => vec![*old, *new],
        ChainEvent::Staked { provider, .. }
        | ChainEvent::UnstakeRequested { provider, .. }
        | ChainEvent::Withdrawn { provider, .. }
        | ChainEvent::Slashed { provider, .. } => return service.nodes_of(*provider),
        _ => return Vec::new(),
    };
    nodes.into_iter().filter(|node| service.knows(node)).collect()
}

/// Asks the chain about nodes: those that it does not know, or whose stake is short, are not listed.
async fn recheck(service: &Service, chain: &dyn ChainReader, nodes: Vec<NodeId>) {
    for batch in nodes.chunks(BATCH) {
        let records = loop {
            match chain.nodes(batch).await {
                Ok(records) => break records,
                Err(error) => {
                    service.findings.raise(unreachable(&error));
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        for (node, record) in batch.iter().zip(records) {
            let vouched = record.filter(|record| record.eligible);
            service.chain_says(*node, vouched.map(|record| record.provider));
        }
    }
}

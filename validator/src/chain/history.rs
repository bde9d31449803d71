//! Looks back: which block was the latest at a time, and whose node it was then.

use lode_contracts::{
    BlockRef, ChainCursor, ChainError, ChainEvent, ChainReader, LoggedEvent, RegistryEvent,
};
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::units::Timestamp;

/// The latest block older than `time`; `None`: the deployment is younger.
pub(super) async fn before(
    reader: &dyn ChainReader,
    time: Timestamp,
) -> Result<Option<ChainCursor>, ChainError> {
    let (mut older, mut younger) = (reader.deployment().block, reader.head().await?.number.saturating_add(1));
    let cursor = |block: BlockRef| ChainCursor { number: block.number, hash: block.hash };
    // Invariant: `found`, block `older`, is older than `time`; block `younger` is not, or is none yet.
    let Some(first) = reader.block(older).await?.filter(|block| block.timestamp < time) else {
        return Ok(None);
    };
    let mut found = cursor(first);
    while younger.saturating_sub(older) > 1 {
        let middle = older + (younger - older) / 2;
        match reader.block(middle).await? {
            Some(block) if block.timestamp < time => {
                older = middle;
                found = cursor(block);
            }
            Some(_) | None => younger = middle,
        }
    }
    Ok(Some(found))
}

/// Whether the node served the provider at some moment of a span.
///
/// The contract takes an accusation of any provider for any node: whether the one ran the other when it was done is for
/// the voters to see.
pub async fn served(
    reader: &dyn ChainReader,
    provider: ProviderId,
    node: NodeId,
    (from, until): (Timestamp, Timestamp),
) -> Result<bool, ChainError> {
    let first = before(reader, from).await?.map_or(reader.deployment().block, |cursor| cursor.number);
    let last = match before(reader, Timestamp(until.0.saturating_add(1))).await? {
        Some(cursor) => cursor.number,
        None => return Ok(false),
    };
    let head = reader.head().await?.number;
    let now = reader.node(node).await?.map(|record| record.provider);
    Ok(was_served(provider, node, now, &reader.events(first.saturating_add(1), head).await?, last))
}

/// Walks back from what is now, through the changes since the span began.
fn was_served(
    provider: ProviderId,
    node: NodeId,
    now: Option<ProviderId>,
    changes: &[LoggedEvent],
    last: u64,
) -> bool {
    let mut owner = now;
    let mut seen = false;
    for logged in changes.iter().rev() {
        // Between this change and the one after it, `owner` had the node.
        seen |= logged.block <= last && owner == Some(provider);
        match &logged.event {
            ChainEvent::Registry(RegistryEvent::NodeAdded { node: of, .. }) if *of == node => {
                // Added within the span's last block or before: it served already in the span.
                seen |= logged.block <= last && owner == Some(provider);
                owner = None;
            }
            ChainEvent::Registry(RegistryEvent::NodeRemoved { provider: from, node: of, .. })
                if *of == node =>
            {
                owner = Some(*from)
            }
            _ => {}
        }
    }
    // What is left is the owner when the span began.
    seen || owner == Some(provider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::Address;

    const NODE: NodeId = NodeId(Address([1; 20]));
    const OWNER: ProviderId = ProviderId(Address([2; 20]));
    const OTHER: ProviderId = ProviderId(Address([3; 20]));

    fn logged(block: u64, event: ChainEvent) -> LoggedEvent {
        let (block_hash, transaction) = (Digest::default(), Digest::default());
        LoggedEvent { event, block, block_hash, transaction, index: 0 }
    }

    fn added(block: u64, provider: ProviderId) -> LoggedEvent {
        logged(
            block,
            ChainEvent::Registry(RegistryEvent::NodeAdded {
                provider,
                node: NODE,
                units: 1,
                registration: 1,
            }),
        )
    }

    fn removed(block: u64, provider: ProviderId) -> LoggedEvent {
        logged(
            block,
            ChainEvent::Registry(RegistryEvent::NodeRemoved { provider, node: NODE, registration: 1 }),
        )
    }

    #[test]
    fn a_node_that_was_released_after_the_deed_served_its_provider_and_nobody_else() {
        let changes = [removed(20, OWNER), added(30, OTHER)];
        assert!(was_served(OWNER, NODE, Some(OTHER), &changes, 10));
        assert!(!was_served(OTHER, NODE, Some(OTHER), &changes, 10));
    }

    #[test]
    fn a_node_that_nothing_happened_to_serves_whom_it_served() {
        assert!(was_served(OWNER, NODE, Some(OWNER), &[], 10));
        assert!(!was_served(OTHER, NODE, Some(OWNER), &[], 10));
        assert!(!was_served(OWNER, NODE, None, &[], 10));
    }

    #[test]
    fn a_node_that_was_added_after_the_deed_did_not_serve() {
        assert!(!was_served(OWNER, NODE, Some(OWNER), &[added(11, OWNER)], 10));
        assert!(was_served(OWNER, NODE, Some(OWNER), &[added(10, OWNER)], 10));
    }

    #[test]
    fn both_providers_of_a_node_that_changed_hands_within_the_span_served() {
        let changes = [removed(5, OWNER), added(6, OTHER)];
        for provider in [OWNER, OTHER] {
            assert!(was_served(provider, NODE, Some(OTHER), &changes, 10));
        }
        assert!(!was_served(ProviderId(Address([9; 20])), NODE, Some(OTHER), &changes, 10));
    }

    #[test]
    fn what_happens_to_other_nodes_is_of_no_account() {
        let node = NodeId(Address([8; 20]));
        let changes = [logged(
            5,
            ChainEvent::Registry(RegistryEvent::NodeRemoved { provider: OTHER, node, registration: 1 }),
        )];
        assert!(!was_served(OTHER, NODE, Some(OWNER), &changes, 10));
    }
}

use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::DirectoryChange;
use lode_protocol::hardware::{GpuSpec, NodeSpecs};
use lode_protocol::ids::{Address, BootCounter, NodeId, PoolId, ProviderId};
use lode_protocol::units::{Bytes, Timestamp};
use proptest::prelude::*;

use super::directory::{Directory, NotListed, Stored, Verified};
use super::query::Query;

const NOW: Timestamp = Timestamp(1_000_000);

fn node(number: u8) -> NodeId {
    NodeId(Address([number; 20]))
}

fn verified(number: u8, boot: u64, sequence: u64, expires: u64, gpus: u8) -> Verified {
    let gpu = |index: u8| GpuSpec {
        uuid: format!("GPU-{number}-{index}").parse().unwrap(),
        model: Some("NVIDIA H200".to_owned()),
        memory: Some(Bytes::gibi(141)),
        compute_capability: None,
        pci_bus_id: None,
        parent: None,
    };
    let descriptor = NodeDescriptor {
        node: node(number),
        specs: NodeSpecs { gpus: (0..gpus).map(gpu).collect(), ..NodeSpecs::default() },
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0".to_owned(),
        boot: BootCounter(boot),
        sequence,
        issued_at: NOW,
        expires_at: Timestamp(NOW.0 + expires),
    };
    let sealed = format!("{number}/{boot}/{sequence}/{expires}").into_bytes();
    Verified { descriptor, sealed, pool: PoolId(1), provider: ProviderId(Address([9; 20])) }
}

fn directory() -> Directory {
    Directory::new(7, 4)
}

#[test]
fn the_newest_descriptor_of_a_node_counts_and_the_same_again_changes_nothing() {
    let mut directory = directory();
    assert!(matches!(directory.publish(NOW, verified(1, 1, 5, 10, 0)), Ok(Some(Stored::Put(..)))));
    assert_eq!(directory.publish(NOW, verified(1, 1, 5, 10, 0)), Ok(None));
    assert_eq!(
        directory.publish(NOW, verified(1, 1, 5, 11, 0)),
        Err(NotListed::Stale { boot: 1, sequence: 5 })
    );
    assert!(directory.publish(NOW, verified(1, 1, 4, 10, 0)).is_err());
    assert!(directory.publish(NOW, verified(1, 2, 1, 10, 0)).is_ok(), "a new boot starts its sequence anew");
    assert_eq!(directory.len(), 1);
}

#[test]
fn descriptors_expire_and_none_lives_longer_than_a_day() {
    let mut directory = directory();
    directory.publish(NOW, verified(1, 1, 1, 10, 0)).unwrap();
    assert_eq!(directory.expire(Timestamp(NOW.0 + 9)), vec![]);
    assert_eq!(directory.expire(Timestamp(NOW.0 + 10)), vec![Stored::Delete(node(1))]);
    assert_eq!(directory.publish(NOW, verified(1, 1, 2, 25 * 3_600_000, 0)), Err(NotListed::Lifetime));
    assert_eq!(directory.publish(NOW, verified(1, 1, 2, 0, 0)), Err(NotListed::Lifetime));
}

#[test]
fn a_node_that_the_chain_vouches_for_again_is_listed_again_as_whose_it_is_now() {
    let mut directory = directory();
    let (old, new) = (ProviderId(Address([9; 20])), ProviderId(Address([8; 20])));
    directory.publish(NOW, verified(1, 1, 5, 10, 0)).unwrap();
    assert!(!directory.vouched(node(1), old), "nothing has changed");
    assert!(directory.disowned(node(1)) && !directory.disowned(node(1)));
    assert_eq!((directory.len(), directory.held(), directory.known()), (0, 1, vec![node(1)]));
    assert_eq!(directory.nodes_of(old), vec![node(1)], "its provider's stake may grow");
    assert!(directory.publish(NOW, verified(1, 1, 4, 10, 0)).is_err(), "an older one stays older");
    assert!(directory.vouched(node(1), new));
    assert_eq!(directory.get(&node(1)).unwrap().verified.provider, new);
    assert_eq!((directory.nodes_of(old), directory.nodes_of(new)), (vec![], vec![node(1)]));
    assert!(!directory.vouched(node(2), new), "nobody published it");

    // The same publication again, while it is aside, lists it; and aside it expires like any other.
    assert!(directory.disowned(node(1)));
    assert_eq!(directory.publish(NOW, verified(1, 1, 5, 10, 0)), Ok(None));
    assert_eq!(directory.len(), 1);
    assert!(directory.disowned(node(1)));
    assert_eq!(directory.expire(Timestamp(NOW.0 + 10)), vec![Stored::Delete(node(1))]);
    assert_eq!(directory.held(), 0);
}

#[test]
fn room_is_made_from_those_aside_first_to_expire_first() {
    let mut directory = directory();
    for (number, expires) in [(1, 30), (2, 20), (3, 10)] {
        directory.publish(NOW, verified(number, 1, 1, expires, 0)).unwrap();
    }
    assert_eq!(directory.forget_aside(), None);
    directory.disowned(node(1));
    directory.disowned(node(2));
    assert_eq!(directory.forget_aside(), Some(Stored::Delete(node(2))));
    assert_eq!(directory.known(), vec![node(3), node(1)]);
}

#[test]
fn a_follower_with_a_foreign_or_too_old_cursor_is_told_to_resync() {
    let mut directory = directory();
    let start = directory.cursor();
    for number in 1..=5 {
        directory.publish(NOW, verified(number, 1, 1, 10, 0)).unwrap();
    }
    assert!(directory.changes(Some(start), 100).resync, "only four changes are kept");
    assert!(directory.changes(Some(Cursor { incarnation: 8, position: 5 }), 100).resync);
    assert!(
        directory.changes(Some(Cursor { incarnation: 7, position: 6 }), 100).resync,
        "a cursor from the future"
    );
    let page = directory.changes(Some(Cursor { incarnation: 7, position: 3 }), 1);
    assert_eq!((page.changes.len(), page.cursor.position, page.resync), (1, 4, false));
}

#[test]
fn a_query_counts_only_gpus_that_fit_and_pages_through_all_nodes() {
    let mut directory = directory();
    for number in 1..=5 {
        directory.publish(NOW, verified(number, 1, 1, 10, number)).unwrap();
    }
    let query = Query { gpu_model: Some("h200".to_owned()), min_gpus: 3, limit: 2, ..Query::default() };
    let first = query.run(&directory);
    assert_eq!(first.nodes.iter().map(|entry| entry.gpus).collect::<Vec<_>>(), [3, 4]);
    let second = Query { after: first.next, ..query.clone() }.run(&directory);
    assert_eq!((second.nodes.len(), second.next), (1, None));
    let huge = Query { min_gpu_memory: Bytes::gibi(200), limit: 10, ..Query::default() };
    assert!(huge.run(&directory).nodes.is_empty());
    let elsewhere = Query { pool: Some(PoolId(2)), limit: 10, ..Query::default() };
    assert!(elsewhere.run(&directory).nodes.is_empty());
}

proptest! {
    /// Whoever follows from any point on knows exactly what the directory lists.
    #[test]
    fn a_follower_ends_up_with_the_directory(
        steps in proptest::collection::vec((0u8..5, 1u8..6, 1u64..4, 1u64..50), 1..60),
        limit in 1usize..5,
    ) {
        let mut directory = Directory::new(1, 1_000);
        let mut follower = std::collections::BTreeSet::new();
        let mut cursor = directory.cursor();
        let mut now = NOW;
        for (kind, number, version, expires) in steps {
            match kind {
                0 | 1 => drop(directory.publish(now, verified(number, version, expires, expires + now.0 - NOW.0, 0))),
                2 => drop(directory.disowned(node(number))),
                3 => drop(directory.vouched(node(number), ProviderId(Address([number; 20])))),
                _ => { now = Timestamp(now.0 + expires); directory.expire(now); }
            }
            let page = directory.changes(Some(cursor), limit);
            prop_assert!(!page.resync);
            cursor = page.cursor;
            for change in page.changes {
                match change {
                    DirectoryChange::Updated { entry } => { follower.insert(entry.node); }
                    DirectoryChange::Removed { node, .. } => { follower.remove(&node); }
                }
            }
        }
        while cursor != directory.cursor() {
            let page = directory.changes(Some(cursor), limit);
            cursor = page.cursor;
            for change in page.changes {
                match change {
                    DirectoryChange::Updated { entry } => { follower.insert(entry.node); }
                    DirectoryChange::Removed { node, .. } => { follower.remove(&node); }
                }
            }
        }
        let listed: std::collections::BTreeSet<NodeId> = directory.after(None).map(|(node, _)| *node).collect();
        prop_assert_eq!(follower, listed);
    }
}

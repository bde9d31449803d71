//! What must hold after every step, whatever happened. Each has a name.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::{AssignmentId, ReplicaId};

use super::super::Core;
use super::super::effect::Table;
use super::super::task::{Goal, Phase};
use super::super::work::Work;
use super::world::Store;

pub(super) fn check(core: &Core) {
    no_gpu_is_held_twice(core);
    allocations_are_the_sum_of_live_assignments_and_within_capacity(core);
    a_replica_has_one_live_assignment_besides_the_one_that_leaves(core);
    counters_agree_with_replicas(core);
    the_queue_holds_exactly_the_waiting_replicas(core);
    every_wait_has_a_deadline(core);
    what_people_were_told_is_what_is(core);
    the_index_lists_exactly_the_nodes_that_may_get_work(core);
    super::economy::the_ledger_adds_up(core);
    assert!(core.scratch.effects.is_empty() && core.scratch.reply.is_none(), "a step leaves nothing behind");
    let marks = (core.nodes.touched().len(), core.tasks.touched().len(), core.assignments.touched().len());
    assert_eq!((marks, core.tasks.touched_replicas().len()), ((0, 0, 0), 0), "a step leaves no mark behind");
}

fn no_gpu_is_held_twice(core: &Core) {
    let mut held = BTreeSet::new();
    for (id, assignment) in core.assignments.iter().filter(|(_, assignment)| assignment.is_live()) {
        for gpu in &assignment.gpus {
            assert!(held.insert((assignment.node, gpu.clone())), "{gpu} is held twice, second by {id}");
            let node = &core.nodes[&assignment.node];
            let slot =
                node.hardware.gpus.iter().find(|slot| slot.uuid == *gpu).expect("a held GPU has a slot");
            assert_eq!(slot.holder, Some(*id));
        }
    }
    for node in core.nodes.values() {
        for slot in node.hardware.gpus.iter().filter(|slot| slot.holder.is_some()) {
            assert!(held.contains(&(node.id, slot.uuid.clone())), "{} is held by nobody alive", slot.uuid);
        }
    }
}

fn allocations_are_the_sum_of_live_assignments_and_within_capacity(core: &Core) {
    for node in core.nodes.values() {
        let (mut cpus, mut memory, mut disk) = (0, 0, 0);
        let mut live = Vec::new();
        for (id, _) in core.assignments.iter().filter(|(_, known)| known.is_live() && known.node == node.id) {
            let resources = &core.tasks[&id.replica.task].spec.resources;
            cpus += u64::from(resources.cpus.0);
            memory += resources.memory.0;
            disk += resources.disk.0;
            live.push(*id);
        }
        assert_eq!(live, node.active);
        assert_eq!((cpus, memory, disk), (node.allocated.cpus, node.allocated.memory, node.allocated.disk));
        assert!(cpus <= u64::from(node.hardware.cpus.0) && memory <= node.hardware.memory.0);
        assert!(disk <= node.hardware.disk.0);
    }
}

fn a_replica_has_one_live_assignment_besides_the_one_that_leaves(core: &Core) {
    let mut live: BTreeMap<ReplicaId, Vec<AssignmentId>> = BTreeMap::new();
    for (id, _) in core.assignments.iter().filter(|(_, known)| known.is_live()) {
        live.entry(id.replica).or_default().push(*id);
    }
    for (id, task) in &core.tasks {
        for (number, replica) in (0u32..).zip(&task.replicas) {
            let replica_id = ReplicaId { task: *id, replica: number };
            let mut expected = Vec::new();
            expected
                .extend(replica.leaving.map(|incarnation| AssignmentId { replica: replica_id, incarnation }));
            if let Phase::Placed { incarnation } = replica.phase {
                expected.push(AssignmentId { replica: replica_id, incarnation });
            }
            expected.sort();
            assert_eq!(live.remove(&replica_id).unwrap_or_default(), expected, "{replica:?}");
            assert!(expected.iter().all(|id| id.incarnation < replica.next), "incarnations only grow");
        }
    }
    assert_eq!(live, BTreeMap::new(), "every live assignment belongs to a replica");
}

fn counters_agree_with_replicas(core: &Core) {
    let mut live_total = 0;
    for (id, task) in &core.tasks {
        let count = |test: &dyn Fn(&Phase) -> bool| {
            u32::try_from(task.replicas.iter().filter(|replica| test(&replica.phase)).count()).unwrap()
        };
        let running = (0u32..)
            .zip(&task.replicas)
            .filter(|(number, replica)| match replica.phase {
                Phase::Placed { incarnation } => {
                    let assignment =
                        AssignmentId { replica: ReplicaId { task: *id, replica: *number }, incarnation };
                    core.assignments[&assignment].state == AssignmentState::Running
                }
                _ => false,
            })
            .count();
        assert_eq!(task.counts.running, u32::try_from(running).unwrap());
        assert_eq!(
            task.counts.running + task.counts.starting,
            count(&|phase| matches!(phase, Phase::Placed { .. }))
        );
        assert_eq!(
            task.counts.pending,
            count(&|phase| matches!(phase, Phase::Waiting | Phase::BackOff { .. }))
        );
        assert_eq!(task.counts.succeeded, count(&|phase| *phase == Phase::Succeeded));
        assert_eq!(task.counts.failed, count(&|phase| *phase == Phase::Failed));
        let runs = |replica, incarnation| {
            let known = AssignmentId { replica, incarnation };
            core.assignments.get(&known).is_some_and(|known| known.state == AssignmentState::Running)
        };
        let covered = (0u32..)
            .zip(&task.replicas)
            .filter(|(number, replica)| {
                let id = ReplicaId { task: *id, replica: *number };
                let current = match replica.phase {
                    Phase::Waiting | Phase::BackOff { .. } => false,
                    Phase::Placed { incarnation } => runs(id, incarnation),
                    Phase::Succeeded | Phase::Failed | Phase::Idle => true,
                };
                !current && replica.leaving.is_some_and(|incarnation| runs(id, incarnation))
            })
            .count();
        assert_eq!(task.covered(), u32::try_from(covered).unwrap());
        let live =
            core.assignments.iter().filter(|(known, a)| known.replica.task == *id && a.is_live()).count();
        assert_eq!(task.live, u32::try_from(live).unwrap());
        live_total += task.live;
        assert!(
            task.goal != Goal::Delete || task.live > 0 || core.backlog.removes(id),
            "a deleted task with nothing alive is gone"
        );
        assert_eq!(task.last_published, Some(task.state()));
    }
    assert_eq!(core.live_assignments, live_total);
    let heard =
        core.nodes.values().filter(|node| node.liveness != super::super::node::Liveness::Lost).count();
    assert_eq!(core.heard_nodes, u32::try_from(heard).unwrap());
}

fn the_queue_holds_exactly_the_waiting_replicas(core: &Core) {
    let running = || core.tasks.values().filter(|task| task.goal == Goal::Run);
    let waiting = running().flat_map(|task| &task.replicas).filter(|r| r.phase == Phase::Waiting).count();
    assert_eq!(core.queue.len(), waiting);
    for (id, task) in core.tasks.iter().filter(|(_, task)| task.goal != Goal::Run) {
        let left = task.replicas.iter().any(|replica| match replica.phase {
            Phase::Waiting | Phase::BackOff { .. } => true,
            Phase::Placed { .. } | Phase::Succeeded | Phase::Failed | Phase::Idle => false,
        });
        assert!(!left || core.is_behind(), "nothing of {id}, which is not to run, waits");
    }
    if core.has_more_to_place() {
        assert_eq!(core.next_deadline(), Some(core.now.monotonic), "what had no room goes on at once");
    } else if core.chain_is_fresh() {
        for task in running().filter(|task| task.replicas.iter().any(|r| r.phase == Phase::Waiting)) {
            assert!(core.queue.is_blocked(task.shape));
            let requirement = core.queue.requirement(task.shape).unwrap();
            let fitting = core.nodes.values().find(|node| core.filter(node, requirement).is_none());
            assert_eq!(fitting.map(|node| node.id), None, "nothing waits although it fits somewhere");
        }
    }
}

fn what_people_were_told_is_what_is(core: &Core) {
    for node in core.nodes.values().filter(|node| node.is_durable()) {
        assert_eq!(node.pulse.last_published, Some(node.state()));
    }
}

fn every_wait_has_a_deadline(core: &Core) {
    for node in core.nodes.values() {
        let heard = node.liveness != super::super::node::Liveness::Lost;
        assert_eq!(
            heard,
            node.pulse.lease_due.is_some(),
            "a node that is heard has a lease: {:?}",
            node.liveness
        );
        assert!(
            heard || node.active.is_empty() || core.backlog.contains(Work::Lose(node.id)),
            "nothing lives on a node whose lease ran out"
        );
    }
}

fn the_index_lists_exactly_the_nodes_that_may_get_work(core: &Core) {
    for node in core.nodes.values() {
        assert_eq!(core.index.is_listed(&node.id), core.standing_filter(node).is_none(), "{}", node.id);
    }
}

/// The store holds exactly what a recovered core needs to be as this one. Meters lag behind, by design; receipts and roots
/// are not the core's to read.
pub(super) fn check_store(core: &Core, store: &Store) {
    let mut store = store.clone();
    store.retain(|(table, _), _| Table::EXACT.contains(table));
    assert_eq!(core.rows().keys().collect::<Vec<_>>(), store.keys().collect::<Vec<_>>());
    assert_eq!(core.rows(), store);
}

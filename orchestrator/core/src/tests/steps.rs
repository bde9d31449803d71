//! Steps end, however much there is to do, and others are heard in between.

use std::time::{Duration, Instant};

use lode_protocol::ids::NodeId;
use lode_protocol::units::{Millis, Timestamp};

use super::super::Core;
use super::super::effect::{Action, Answer, Effects};
use super::super::event::*;
use super::super::node::{Known, Liveness};
use super::super::view::{NodeState, TaskState};
use super::fleet::{add_member, all_healthy, hear};
use super::world::{Store, Worker, config, spec, specs, task_id, unresolved};

/// A core with a store, and the heaviest step so far.
struct Pool {
    core: Core,
    store: Store,
    now: Now,
    longest: Duration,
    most_rows: usize,
    most_bytes: usize,
    findings: usize,
}

impl Pool {
    fn new() -> Pool {
        let mut pool = Pool {
            core: Core::new(config()),
            store: Store::new(),
            now: Now { wall: Timestamp(1_000), monotonic: Millis(1_000) },
            longest: Duration::ZERO,
            most_rows: 0,
            most_bytes: 0,
            findings: 0,
        };
        pool.step(Event::Started);
        pool.step(Event::ChainViewed(ChainView::Fresh));
        pool
    }

    fn step(&mut self, event: Event) -> Effects {
        let start = Instant::now();
        let effects = self.core.step(self.now, event).unwrap();
        self.longest = self.longest.max(start.elapsed());
        self.most_rows = self.most_rows.max(effects.changes.len() + effects.occurrences.len());
        let bytes = effects.changes.iter().map(|change| change.value.as_ref().map_or(0, Vec::len));
        self.most_bytes = self.most_bytes.max(bytes.sum());
        self.findings +=
            effects.actions.iter().filter(|action| matches!(action, Action::RaiseFinding(_))).count();
        for change in effects.changes.clone() {
            let key = (change.table, change.key);
            match change.value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        effects
    }

    fn pass(&mut self, time: Millis) {
        self.now.wall = self.now.wall.plus(time);
        self.now.monotonic = Millis(self.now.monotonic.0 + time.0);
    }

    fn is_due(&self) -> bool {
        self.core.next_deadline().is_some_and(|due| due <= self.now.monotonic)
    }

    /// Ticks until nothing is left over; `between` happens after each tick. Tells how many ticks it took.
    fn settle(&mut self, mut between: impl FnMut(&mut Pool)) -> usize {
        let mut ticks = 0;
        while self.is_due() {
            self.step(Event::Tick);
            between(self);
            ticks += 1;
            assert!(ticks < 1_000_000, "there is always more to do");
        }
        ticks
    }

    fn submit(&mut self, number: u32, replicas: u32) {
        let spec = spec("service", &format!("replicas = {replicas}\n[resources]\ngpus = 1\n"));
        self.step(Event::TaskSubmitted {
            id: task_id(number.into()),
            spec,
            order: None,
            idempotency_key: None,
            image: unresolved(),
        });
        self.settle(|_| {});
    }

    /// `count` nodes with five assignments each, and as many GPUs on other nodes as it takes to run them elsewhere.
    fn loaded(count: u32) -> (Pool, Vec<NodeId>, Vec<NodeId>) {
        let mut pool = Pool::new();
        let worker = Worker::new(1, specs(1, 5));
        let doomed: Vec<NodeId> = (0..count)
            .map(|number| add_member(&mut pool.core, &worker, number, specs(1, 5), |_| {}))
            .collect();
        let replicas = (count * 5).min(10_000);
        for task in 0..(count * 5) / replicas {
            pool.submit(task, replicas);
        }
        for id in &doomed {
            assert_eq!(pool.core.nodes[id].active.len(), 5);
        }
        let others = (0..count)
            .map(|number| add_member(&mut pool.core, &worker, 1_000_000 + number, specs(1, 6), |_| {}))
            .collect();
        // They were put in by hand.
        pool.store = pool.core.rows();
        (pool, doomed, others)
    }

    fn silence(&mut self, nodes: &[NodeId]) {
        for id in nodes {
            self.core.arm_lease(id);
        }
        for _ in 0..7 {
            self.pass(Millis(9_000));
            // Their leases run out one after the other by the same beat: all are due at this very instant.
            if self.now.monotonic.0 < 61_000 {
                self.core.now = self.now;
            }
        }
        (self.longest, self.most_rows, self.most_bytes, self.findings) = (Duration::ZERO, 0, 0, 0);
    }

    /// A beat of a node that is alive.
    fn beat(&mut self, node: NodeId) -> Effects {
        let mut worker = Worker::new(1, specs(1, 6));
        worker.session = Some((Default::default(), self.core.epoch()));
        worker.boot = 0;
        let last = self.core.nodes[&node].pulse.talk.last.unwrap();
        worker.sequence = last.sequence.0.max(1);
        let mut heartbeat = worker.next_beat();
        heartbeat.observed = Some(self.core.nodes[&node].progress.generation);
        heartbeat.gpus = all_healthy(&self.core.nodes[&node]);
        let digest = lode_protocol::hash::Digest([7; 32]);
        self.step(Event::BeatReceived { node, digest, heartbeat, descriptor: None, link: worker.link })
    }

    fn everything_runs_elsewhere(&self, doomed: &[NodeId]) {
        for id in doomed {
            let node = &self.core.nodes[id];
            assert_eq!((node.liveness, node.active.len()), (Liveness::Lost, 0));
        }
        assert_eq!(self.core.pool().pending, 0);
        assert_eq!(usize::try_from(self.core.pool().assignments).unwrap(), doomed.len() * 5);
        assert!(self.core.rows() == self.store, "the rows are the state");
    }

    fn is_within_budget(&self) {
        let terms = &self.core.config.terms;
        assert!(self.most_rows <= usize::try_from(terms.step_rows).unwrap(), "{} rows", self.most_rows);
        assert!(self.most_bytes <= usize::try_from(terms.step_bytes.0).unwrap(), "{} bytes", self.most_bytes);
    }
}

#[test]
fn thirty_thousand_nodes_that_fall_silent_at_once_are_many_small_steps_and_others_are_heard_in_between() {
    let (mut pool, doomed, others) = Pool::loaded(30_000);
    pool.silence(&doomed);
    let mut beats = 0;
    let mut next = others.iter().cycle();
    let ticks = pool.settle(|pool| {
        let node = *next.next().unwrap();
        let effects = pool.beat(node);
        assert!(effects.changes.is_empty(), "a beat does not go on with others' work");
        assert!(effects.actions.iter().any(|action| matches!(
            action,
            Action::Reply { node: told, answer: Answer::Instruction { .. }, .. } if *told == node
        )));
        beats += 1;
    });
    println!(
        "30,000 nodes × 5 lost: {ticks} steps, longest {:?}, at most {} rows and {} bytes, {} findings raised, {beats} beats in between",
        pool.longest, pool.most_rows, pool.most_bytes, pool.findings
    );
    pool.is_within_budget();
    assert!(pool.findings <= ticks + 20, "many nodes are told in one finding, not each in its own");
    pool.everything_runs_elsewhere(&doomed);
}

#[test]
fn a_crash_in_the_middle_of_a_mass_loss_goes_on_from_the_rows() {
    for after in [1, 2, 5, 9] {
        let (mut pool, doomed, others) = Pool::loaded(600);
        pool.silence(&doomed);
        for _ in 0..after {
            pool.step(Event::Tick);
        }
        assert!(pool.is_due(), "it is the middle of it");
        let rows = pool.store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
        let core = Core::recover(pool.core.config.clone(), rows).unwrap();
        assert_eq!(core.skipped_rows(), []);
        assert!(core.rows() == pool.core.rows(), "the rows are the state");
        pool.core = core;
        pool.step(Event::Started);
        pool.step(Event::ChainViewed(ChainView::Fresh));
        for id in &others {
            pool.core.now = pool.now;
            hear(&mut pool.core, id);
            pool.core.nodes.get_mut(id).unwrap().pulse.lease_due = None;
        }
        for id in &doomed {
            let node = pool.core.nodes.get_mut(id).unwrap();
            node.facts.membership = Known::Is(ChainMembership {
                state: MembershipState::Member { active: true },
                join_counter: 1,
            });
        }
        pool.settle(|_| {});
        for _ in 0..70 {
            pool.pass(Millis(1_000));
            pool.step(Event::Tick);
            pool.settle(|_| {});
        }
        pool.everything_runs_elsewhere(&doomed);
        pool.is_within_budget();
    }
}

#[test]
fn a_node_that_is_heard_again_while_its_work_is_given_up_keeps_the_rest() {
    let (mut pool, doomed, _) = Pool::loaded(600);
    pool.silence(&doomed);
    pool.step(Event::Tick);
    let half = doomed.iter().find(|id| {
        let node = &pool.core.nodes[*id];
        node.liveness == Liveness::Lost && !node.active.is_empty()
    });
    let back = *half.expect("one node is cut in the middle");
    let kept = pool.core.nodes[&back].active.clone();
    pool.core.heard_nodes += 1;
    hear(&mut pool.core, &back);
    pool.settle(|_| {});
    let node = &pool.core.nodes[&back];
    assert!(kept.iter().all(|id| node.active.contains(id)), "what was not given up stays");
}

#[test]
fn a_task_of_ten_thousand_replicas_is_stopped_and_deleted_in_steps_that_end() {
    let (mut pool, nodes, _) = Pool::loaded(2_000);
    let id = task_id(0);
    (pool.longest, pool.most_rows, pool.most_bytes) = (Duration::ZERO, 0, 0);
    pool.step(Event::TaskStop(id));
    assert_eq!(pool.core.task(&id).unwrap().summary.state, TaskState::Stopping);
    let stopping = pool.settle(|_| {});
    pool.step(Event::TaskDelete(id));
    // The workers have seen the new set before they began with the old one.
    for node in nodes {
        pool.beat(node);
    }
    let removing = pool.settle(|_| {});
    println!(
        "10,000 replicas stopped in {stopping} steps, removed in {removing}; longest {:?}, at most {} rows, {} bytes",
        pool.longest, pool.most_rows, pool.most_bytes
    );
    assert_eq!(pool.core.task(&id), None);
    pool.is_within_budget();
    assert!(pool.core.rows() == pool.store, "the rows are the state");
}

#[test]
fn a_crash_while_a_node_is_ejected_or_a_task_stopped_goes_on_from_the_rows() {
    let (mut pool, doomed, _) = Pool::loaded(2_000);
    let id = task_id(0);
    pool.step(Event::TaskStop(id));
    assert!(pool.core.is_behind());
    let rows = pool.store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
    pool.core = Core::recover(pool.core.config.clone(), rows).unwrap();
    pool.step(Event::Started);
    pool.settle(|_| {});
    assert!(pool.core.assignments.values().all(|known| !known.is_wanted()), "all of it is to stop");
    assert_eq!(pool.core.node(&doomed[0]).unwrap().summary.state, NodeState::Alive);
}

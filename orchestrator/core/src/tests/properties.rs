//! Random lives of a small pool, with everything that can go wrong going wrong, checked after every step; and whatever
//! has happened, a pool that is left in peace comes to rest in the right place.

use std::collections::BTreeMap;

use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::hardware::GpuState;
use lode_protocol::ids::*;
use lode_protocol::proof::ProofClassId;
use lode_protocol::task::TaskKind;
use lode_protocol::units::Bytes;
use proptest::prelude::*;

use super::super::Core;
use super::super::config::Config;
use super::super::event::*;
use super::super::view::{NodeState, TaskState};
use super::invariants;
use super::world::{Worker, World, assignment, config, gpu, owner, priced, spec, specs, task_id};

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Freeze(u64),
    Hello(usize),
    Beat(usize),
    Work(usize),
    Repeat,
    Deaf(usize, bool),
    Obedient(usize, bool),
    Kill(usize),
    Wipe(usize),
    Disconnect(usize),
    Fail(usize, usize, Reason),
    Claim {
        worker: usize,
        task: u128,
        replica: u32,
        incarnation: u32,
        state: AssignmentState,
        gpu: u32,
    },
    Gpu(usize, u32, GpuState),
    Submit {
        batch: bool,
        gpus: u32,
        cpus: u32,
        replicas: u32,
    },
    Stop(u128),
    Start(u128),
    Delete(u128),
    Drain(usize, bool),
    Undrain(usize),
    Eject(usize),
    Readmit(usize),
    Chain(bool),
    Membership(usize, u8),
    /// The node's proof on chain: none, or of a class.
    Prove(usize, Option<u32>),
    Provider(usize, u8),
    /// Tokens that are free, and that the cap allows.
    Money(u64, u64),
    Epoch,
    /// What becomes of the root that was submitted: taken, final, vetoed, refused.
    Root(u8),
    /// Another process with the node's key says hello: a copy of the data directory, or an older one.
    Rival(usize, bool),
    Restart,
}

const WORKERS: usize = 3;

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::ExitedWithError),
        Just(Reason::GpuLost),
        Just(Reason::PullFailed),
        Just(Reason::NeverReady),
        Just(Reason::Completed),
    ]
}

fn claimed() -> impl Strategy<Value = AssignmentState> {
    prop_oneof![
        Just(AssignmentState::Assigned),
        Just(AssignmentState::Running),
        Just(AssignmentState::Succeeded),
        Just(AssignmentState::Failed),
        Just(AssignmentState::Stopped),
        Just(AssignmentState::Lost),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let worker = || 0..WORKERS;
    let task = || 1u128..6;
    let gpu_state =
        prop_oneof![Just(GpuState::Healthy), Just(GpuState::Quarantined), Just(GpuState::Suspect)];
    prop_oneof![
        4 => (1u64..30_000).prop_map(Op::Wait),
        1 => (1u64..200_000).prop_map(Op::Freeze),
        3 => worker().prop_map(Op::Hello),
        10 => worker().prop_map(Op::Beat),
        10 => worker().prop_map(Op::Work),
        1 => Just(Op::Repeat),
        1 => (worker(), any::<bool>()).prop_map(|(worker, deaf)| Op::Deaf(worker, deaf)),
        1 => (worker(), any::<bool>()).prop_map(|(worker, obedient)| Op::Obedient(worker, obedient)),
        1 => worker().prop_map(Op::Kill),
        1 => worker().prop_map(Op::Wipe),
        1 => worker().prop_map(Op::Disconnect),
        3 => (worker(), 0usize..4, reason()).prop_map(|(worker, which, reason)| Op::Fail(worker, which, reason)),
        3 => (worker(), task(), 0u32..3, 0u32..6, claimed(), 0u32..4).prop_map(
            |(worker, task, replica, incarnation, state, gpu)| Op::Claim { worker, task, replica, incarnation, state, gpu }
        ),
        2 => (worker(), 0u32..4, gpu_state).prop_map(|(worker, gpu, state)| Op::Gpu(worker, gpu, state)),
        6 => (any::<bool>(), 0u32..4, 0u32..10, 1u32..4).prop_map(
            |(batch, gpus, cpus, replicas)| Op::Submit { batch, gpus, cpus, replicas }
        ),
        2 => task().prop_map(Op::Stop),
        2 => task().prop_map(Op::Start),
        1 => task().prop_map(Op::Delete),
        1 => (worker(), any::<bool>()).prop_map(|(worker, move_batch)| Op::Drain(worker, move_batch)),
        2 => worker().prop_map(Op::Undrain),
        1 => worker().prop_map(Op::Eject),
        1 => worker().prop_map(Op::Readmit),
        2 => any::<bool>().prop_map(Op::Chain),
        1 => (worker(), 0u8..4).prop_map(|(worker, state)| Op::Membership(worker, state)),
        1 => (worker(), any::<bool>()).prop_map(|(worker, older)| Op::Rival(worker, older)),
        2 => (worker(), prop::option::weighted(0.8, 1u32..3)).prop_map(|(worker, class)| Op::Prove(worker, class)),
        1 => (worker(), 7u8..9).prop_map(|(worker, provider)| Op::Provider(worker, provider)),
        2 => (0u64..200, 0u64..200).prop_map(|(free, cap)| Op::Money(free, cap)),
        2 => Just(Op::Epoch),
        2 => (0u8..4).prop_map(Op::Root),
        2 => Just(Op::Restart),
    ]
}

struct Life {
    world: World,
    tasks: u128,
    last: Option<Event>,
    /// How every assignment that has ended, ended.
    ended: BTreeMap<AssignmentId, AssignmentState>,
    /// Money was taken away that was accrued: until that is over no budget can bear it.
    taken: bool,
    /// The pool's money before the root that can be vetoed.
    undo: Option<ChainBudget>,
}

impl Life {
    /// In a pool that pays, or in one that does not.
    fn new(config: Config) -> Self {
        let workers =
            (1..=3u8).map(|number| Worker::new(number, specs(number, [4, 2, 0][usize::from(number) - 1])));
        let mut world = World::with_members(config, workers.collect());
        for number in 0..WORKERS {
            world.prove(number, 1);
        }
        world.next_epoch();
        Life { world, tasks: 0, last: None, ended: BTreeMap::new(), taken: false, undo: None }
    }

    fn send(&mut self, event: Event) {
        // A refused event changes nothing: the world looks.
        drop(self.world.step(event));
        self.check();
    }

    fn check(&mut self) {
        invariants::check(&self.world.core);
        invariants::check_store(&self.world.core, &self.world.store);
        self.check_money();
        for (id, state) in &self.ended {
            if let Some(view) = self.world.core.assignment(id) {
                assert_eq!(view.state, *state, "{id} has ended and does not change");
            }
        }
        for (id, known) in self.world.core.assignments.iter().filter(|(_, known)| !known.is_live()) {
            self.ended.insert(*id, known.state);
        }
    }

    /// Nothing is counted that did not run, nothing durable that was not counted, and no budget is overdrawn.
    fn check_money(&mut self) {
        for worker in &self.world.workers {
            let ran = self.world.ran.get(&worker.id).copied().unwrap_or_default();
            let counted = self.world.metered(worker.id);
            let durable = self.world.durably_metered(worker.id);
            assert!(durable <= counted && counted <= ran, "{durable} durable, {counted} counted, {ran} ran");
        }
        if self.taken {
            let limit = self.world.core.promisable().unwrap_or_default();
            self.taken = self.world.core.ledger.accrued() > limit;
        } else {
            super::economy::the_budget_bears_what_is_accrued(&self.world.core);
        }
    }

    /// The chain's word on money, and what follows at once.
    fn money(&mut self) {
        self.taken = true;
        let budget = self.world.budget;
        self.send(Event::ChainBudget(budget));
    }

    fn root(&mut self, fate: u8) {
        let Some((epoch, total)) = self.world.submitted().last().copied() else { return };
        let budget = &mut self.world.budget;
        let increase = Amount(total.0.saturating_sub(budget.posted.0));
        match fate {
            0 if budget.latest.is_none_or(|latest| latest < epoch) && increase <= budget.free => {
                self.undo = Some(*budget);
                budget.free = Amount(budget.free.0 - increase.0);
                budget.posted = total;
                budget.latest = Some(epoch);
                budget.in_veto = true;
                self.money();
                self.send(Event::ChainRoot { epoch, fate: RootFate::Pending });
            }
            1 if budget.latest == Some(epoch) => {
                budget.in_veto = false;
                self.money();
                self.send(Event::ChainRoot { epoch, fate: RootFate::Final });
            }
            2 if budget.latest == Some(epoch) && budget.in_veto => {
                let before = self.undo.take().expect("it was taken");
                let released = Amount(budget.posted.0 - before.posted.0);
                budget.free = budget.free.saturating_add(released);
                budget.posted = before.posted;
                budget.latest = before.latest;
                budget.in_veto = false;
                self.money();
                self.send(Event::ChainRoot { epoch, fate: RootFate::Vetoed });
            }
            3 => self.send(Event::RootFailed { epoch, message: "x".to_owned() }),
            _ => {}
        }
    }

    fn provider(&mut self, number: usize, provider: u8) {
        let node = self.world.workers[number].id;
        let provider = ProviderId(Address([provider; 20]));
        let registration = Some(Registration { provider, eligible: true, approved: true });
        self.send(Event::ChainNode { node, registration });
    }

    fn beat(&mut self, number: usize) {
        if self.world.workers[number].session.is_none() {
            self.hello(number);
        }
        let event = self.world.beat_event(number);
        self.last = Some(event.clone());
        let reopen = self.world.step(event).is_err_and(|refused| refused.reopen);
        self.check();
        if reopen && !self.world.workers[number].deaf {
            self.world.workers[number].session = None;
        }
    }

    fn hello(&mut self, number: usize) {
        let event = self.world.hello_event(number);
        self.send(event);
    }

    fn live(&mut self, op: Op) {
        match op {
            Op::Wait(millis) => {
                self.world.wait(millis);
                self.check();
            }
            Op::Freeze(millis) => {
                self.world.skip(millis);
                self.send(Event::Tick);
            }
            Op::Hello(number) => self.hello(number),
            Op::Beat(number) => self.beat(number),
            Op::Work(number) => {
                self.world.workers[number].work();
                self.beat(number);
            }
            Op::Repeat => {
                if let Some(event) = self.last.clone() {
                    self.send(event);
                }
            }
            Op::Deaf(number, deaf) => self.world.workers[number].deaf = deaf,
            Op::Obedient(number, obedient) => self.world.workers[number].obedient = obedient,
            Op::Kill(number) => {
                self.world.workers[number].boot += 1;
                self.hello(number);
            }
            Op::Wipe(number) => {
                let worker = &mut self.world.workers[number];
                worker.boot += 1;
                worker.containers.clear();
                worker.observed = None;
                self.hello(number);
            }
            Op::Disconnect(number) => {
                let worker = &self.world.workers[number];
                let event = Event::ConnectionClosed { node: worker.id, connection: worker.link.connection };
                self.send(event);
            }
            Op::Fail(number, which, reason) => {
                let worker = &mut self.world.workers[number];
                if let Some(container) = worker.containers.values_mut().nth(which)
                    && !container.0.is_final()
                {
                    container.0 = if reason == Reason::Completed {
                        AssignmentState::Succeeded
                    } else {
                        AssignmentState::Failed
                    };
                    container.1 = Some(reason);
                }
                self.beat(number);
            }
            Op::Claim { worker, task, replica, incarnation, state, gpu: which } => {
                let id = assignment(task_id(task), replica, incarnation);
                let held = vec![gpu(u8::try_from(worker + 1).unwrap(), which)];
                self.world.workers[worker].containers.insert(id, (state, None, held, TaskKind::Service));
                self.beat(worker);
            }
            Op::Gpu(number, which, state) => {
                let uuid = gpu(u8::try_from(number + 1).unwrap(), which);
                self.world.workers[number].gpu_states.insert(uuid, state);
                self.beat(number);
            }
            Op::Submit { batch, gpus, cpus, replicas } => {
                self.tasks += 1;
                let kind = if batch { "batch" } else { "service" };
                let spec = spec(
                    kind,
                    &format!("replicas = {replicas}\n[resources]\ngpus = {gpus}\ncpus = {cpus}\n"),
                );
                let id = task_id(self.tasks);
                self.send(Event::TaskSubmitted {
                    id,
                    spec,
                    order: None,
                    idempotency_key: Some(format!("k{}", self.tasks % 7)),
                    image: super::world::unresolved(),
                });
            }
            Op::Stop(task) => self.send(Event::TaskStop(task_id(task))),
            Op::Start(task) => self.send(Event::TaskStart(task_id(task))),
            Op::Delete(task) => self.send(Event::TaskDelete(task_id(task))),
            Op::Drain(number, move_batch) => {
                let batch = if move_batch { BatchOnDrain::Move } else { BatchOnDrain::Finish };
                let node = self.world.workers[number].id;
                self.send(Event::NodeDrain { node, batch });
            }
            Op::Undrain(number) => self.send(Event::NodeUndrain(self.world.workers[number].id)),
            Op::Eject(number) => {
                let node = self.world.workers[number].id;
                self.send(Event::NodeEject { node, message: "x".to_owned() });
            }
            Op::Readmit(number) => self.send(Event::NodeReadmit(self.world.workers[number].id)),
            Op::Chain(fresh) => {
                self.send(Event::ChainViewed(if fresh { ChainView::Fresh } else { ChainView::Stale }))
            }
            Op::Membership(number, which) => {
                let state = match which {
                    0 => MembershipState::Member { active: false },
                    1 => MembershipState::Left,
                    2 => MembershipState::Ejected,
                    _ => MembershipState::Member { active: true },
                };
                self.membership(number, state);
            }
            Op::Prove(number, class) => {
                let node = self.world.workers[number].id;
                let gpu_count = u32::try_from(self.world.workers[number].specs.gpus.len()).unwrap();
                self.send(Event::ChainProven { node, proof: class.map(|class| Proof { class, gpu_count }) });
            }
            Op::Provider(number, provider) => self.provider(number, provider),
            Op::Money(free, cap) => {
                self.world.budget.free = Amount::tokens(free);
                self.world.budget.spendable = Amount::tokens(cap);
                self.world.budget.spendable_before = Amount::tokens(cap);
                self.money();
            }
            Op::Epoch => {
                self.world.epoch += 1;
                self.world.tell_epoch();
                self.check();
            }
            Op::Root(fate) => self.root(fate),
            Op::Rival(number, older) => {
                let mut event = self.world.hello_event(number);
                if let Event::HelloReceived { hello, link, .. } = &mut event {
                    hello.boot = BootCounter(hello.boot.0 - u64::from(older));
                    link.connection = ConnectionId(900);
                }
                self.send(event);
            }
            Op::Restart => self.restart(),
        }
    }

    fn membership(&mut self, number: usize, state: MembershipState) {
        let node = self.world.workers[number].id;
        self.send(Event::ChainMembership { node, membership: ChainMembership { state, join_counter: 1 } });
    }

    fn restart(&mut self) {
        let rows = self.world.store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
        let config = self.world.core.config.clone();
        let recovered = Core::recover(config, rows).expect("the store is readable");
        assert_eq!(recovered.skipped_rows(), []);
        assert_eq!(recovered.rows(), self.world.core.rows(), "a recovered core is the core");
        self.world.core = recovered;
        self.send(Event::Started);
        self.chain();
        self.money();
        self.world.tell_epoch();
        self.check();
    }

    /// The chain answers whom the core follows.
    fn chain(&mut self) {
        self.send(Event::ChainPool(ChainPool {
            running: true,
            max_nodes: 0,
            member_count: 0,
            owner: owner().address(),
        }));
        for number in 0..WORKERS {
            let node = self.world.workers[number].id;
            let provider = ProviderId(Address([7; 20]));
            self.send(Event::ChainNode {
                node,
                registration: Some(Registration { provider, eligible: true, approved: true }),
            });
            self.membership(number, MembershipState::Member { active: true });
        }
        self.send(Event::ChainViewed(ChainView::Fresh));
    }

    /// Everything is well again, and time passes.
    fn rest(&mut self) {
        for number in 0..WORKERS {
            let worker = &mut self.world.workers[number];
            worker.deaf = false;
            worker.obedient = true;
            worker.gpu_states.clear();
            worker.session = None;
        }
        self.chain();
        self.world.budget = super::economy::rich();
        self.world.budget.posted = self.world.core.ledger.total;
        self.money();
        for number in 0..WORKERS {
            let node = self.world.workers[number].id;
            self.send(Event::NodeUndrain(node));
            self.membership(number, MembershipState::Left);
            self.send(Event::NodeReadmit(node));
        }
        for _ in 0..3 {
            self.round();
        }
        // What was ejected joined again, as the chain has it.
        self.chain();
        for _ in 0..200 {
            self.round();
        }
    }

    fn round(&mut self) {
        for number in 0..WORKERS {
            self.world.workers[number].work();
            self.beat(number);
        }
        self.world.wait(10_000);
        self.check();
    }

    fn is_at_rest(&self) {
        let core = &self.world.core;
        for worker in &self.world.workers {
            let view = core.node(&worker.id).unwrap();
            assert_eq!(view.summary.state, NodeState::Alive, "{:?}", view.summary.membership);
            assert_eq!(core.nodes[&worker.id].orphans, [], "what must not run has gone");
            let run: Vec<AssignmentId> = worker
                .containers
                .iter()
                .filter(|(_, container)| !container.0.is_final())
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(
                run, view.active,
                "the worker runs what the orchestrator has placed, and nothing else"
            );
        }
        for summary in core.tasks(Default::default(), usize::MAX) {
            let explanation = core.explain(&summary.id, self.world.now).unwrap();
            let fine = match summary.state {
                TaskState::Running | TaskState::Stopped | TaskState::Succeeded | TaskState::Failed => true,
                TaskState::Pending => explanation.waiting > 0 && explanation.fitting == 0,
                TaskState::Stopping | TaskState::Deleting => false,
            };
            assert!(fine, "{summary:?} {explanation:?}");
        }
    }
}

/// Few lives by default; `PROPTEST_CASES` asks for more.
fn lives() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig { cases: if asked { default.cases } else { 64 }, max_shrink_iters: 2_000, ..default }
}

/// Steps so small that nearly everything is cut.
fn tiny_steps(mut config: Config) -> Config {
    config.terms.step_rows = 60;
    config.terms.step_bytes = Bytes(16_384);
    config.terms.step_visits = 1;
    config
}

/// Prices of two classes, so that a proof of another class is another price.
fn paying() -> Config {
    let mut config = priced(10);
    if let Some(settlement) = &mut config.settlement {
        settlement.prices.classes.insert(ProofClassId(2), Amount::tokens(25));
    }
    config
}

proptest! {
    #![proptest_config(lives())]

    #[test]
    fn whatever_happens_no_time_is_billed_that_did_not_run_and_no_budget_is_overdrawn(
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut life = Life::new(paying());
        for op in ops {
            life.live(op);
        }
        life.rest();
        life.is_at_rest();
    }

    #[test]
    fn whatever_happens_in_steps_that_are_cut_every_invariant_holds_and_the_pool_comes_to_rest(
        pays in any::<bool>(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut life = Life::new(tiny_steps(if pays { paying() } else { config() }));
        for op in ops {
            life.live(op);
        }
        life.rest();
        life.is_at_rest();
    }

    #[test]
    fn whatever_happens_every_invariant_holds_and_the_pool_comes_to_rest(ops in prop::collection::vec(op(), 1..120)) {
        let mut life = Life::new(config());
        for op in ops {
            life.live(op);
        }
        life.rest();
        life.is_at_rest();
    }

    /// Little fits into a step: what is left over goes on in the next one, and everything ends as it does otherwise.
    #[test]
    fn whatever_happens_in_small_steps_the_pool_comes_to_rest(
        ops in prop::collection::vec(op(), 1..120),
        visits in 1u32..40,
        paid in any::<bool>(),
    ) {
        let mut config = if paid { paying() } else { config() };
        config.terms.step_visits = visits;
        config.terms.step_placements = 1;
        let mut life = Life::new(config);
        for op in ops {
            life.live(op);
        }
        life.rest();
        life.is_at_rest();
    }
}

//! The reconciler on a model of an engine: named invariants after every event, and the cases that once went wrong
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::{AssignmentId, Generation, GpuUuid, Incarnation, LeaderEpoch, ReplicaId, TaskId};
use lode_protocol::session::Order;
use lode_protocol::task::TaskSpec;
use lode_protocol::units::{Millis, Timestamp};
use proptest::prelude::*;

use super::assignments::Assignments;
use super::effect::{Effect, JournalChange};
use super::event::{Attempt, ContainerId, EngineFailure, Event, Exit, Now, Observed, ObservedState};
use super::journal::Entry;

fn gpu(number: u8) -> GpuUuid {
    format!("GPU-{number}{number}").parse().unwrap()
}

fn assignment(task: u128, incarnation: u32) -> AssignmentId {
    AssignmentId {
        replica: ReplicaId { task: TaskId(uuid::Uuid::from_u128(task)), replica: 0 },
        incarnation: Incarnation(incarnation),
    }
}

fn order(id: AssignmentId, gpus: &[u8], extra: &str) -> Order {
    let text = format!("name = \"t\"\nimage = \"i:1\"\n{extra}");
    let text = if extra.contains("kind") { text } else { format!("kind = \"batch\"\n{text}") };
    let mut spec = TaskSpec::from_toml(&text).unwrap();
    spec.resources.gpus = u32::try_from(gpus.len()).unwrap();
    Order {
        id,
        spec: spec.validate().unwrap(),
        gpus: gpus.iter().map(|n| gpu(*n)).collect(),
        pinned_image: None,
    }
}

/// The core with the world it acts on: a journal and an engine that does at once what it is told.
struct World {
    core: Assignments,
    now: Millis,
    generation: u64,
    journal: BTreeMap<AssignmentId, Entry>,
    journal_generation: Option<(LeaderEpoch, Generation)>,
    containers: BTreeMap<ContainerId, (AssignmentId, ObservedState)>,
    next_container: u32,
    queue: Vec<Event>,
    down: bool,
    stops: u32,
    starts: u32,
    start_failure: Option<EngineFailure>,
    pull_failure: Option<EngineFailure>,
    usable: Vec<GpuUuid>,
    /// Assignments whose output was kept before their container went.
    kept: BTreeSet<AssignmentId>,
    /// What the engine says an image is, and what it was asked for.
    image: String,
    pulls: Vec<String>,
}

impl World {
    fn new() -> Self {
        let usable: Vec<GpuUuid> = (0..4).map(gpu).collect();
        let mut world = World {
            core: Assignments::recover(Vec::new(), None, 30_000..=30_003),
            now: Millis(0),
            generation: 0,
            journal: BTreeMap::new(),
            journal_generation: None,
            containers: BTreeMap::new(),
            next_container: 0,
            queue: Vec::new(),
            down: false,
            stops: 0,
            starts: 0,
            start_failure: None,
            pull_failure: None,
            usable: usable.clone(),
            kept: BTreeSet::new(),
            image: "sha256:1".to_owned(),
            pulls: Vec::new(),
        };
        world.take(Event::GpusUsable(usable));
        world.list();
        world
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp(1_000_000 + self.now.0), monotonic: self.now }
    }

    fn take(&mut self, event: Event) {
        self.queue.push(event);
        while !self.queue.is_empty() {
            let event = self.queue.remove(0);
            let effects = self.core.step(self.now(), event);
            let journal_last = effects.iter().rposition(|effect| matches!(effect, Effect::Journal(_)));
            let others_first = effects.iter().position(|effect| !matches!(effect, Effect::Journal(_)));
            if let (Some(journal), Some(other)) = (journal_last, others_first) {
                assert!(journal < other, "an effect runs before the journal is written: {effects:?}");
            }
            for effect in effects {
                self.perform(effect);
            }
            self.check();
        }
    }

    fn perform(&mut self, effect: Effect) {
        let unavailable = || EngineFailure::Unavailable("down".to_owned());
        match effect {
            Effect::Journal(JournalChange::Put(entry)) => {
                self.journal.insert(entry.order.id, *entry);
            }
            Effect::Journal(JournalChange::Delete(id)) => {
                self.journal.remove(&id);
            }
            Effect::Journal(JournalChange::Generation(epoch, generation)) => {
                self.journal_generation = Some((epoch, generation));
            }
            Effect::Pull { id, attempt, image, .. } => {
                self.pulls.push(image);
                let result = match (&self.pull_failure, self.down) {
                    (_, true) => Err(unavailable()),
                    (Some(failure), _) => Err(failure.clone()),
                    (None, false) => Ok(self.image.clone()),
                };
                self.queue.push(Event::Pulled(id, attempt, result));
            }
            Effect::Create(plan) => {
                if self.down {
                    return self.queue.push(Event::Created(plan.id, plan.attempt, Err(unavailable())));
                }
                self.next_container += 1;
                let container = ContainerId(format!("c{}", self.next_container));
                self.containers.insert(container.clone(), (plan.id, ObservedState::Created));
                self.queue.push(Event::Created(plan.id, plan.attempt, Ok(container)));
            }
            Effect::Start { id, attempt, container } => {
                let result = match (self.start_failure.take(), self.down) {
                    (failure, true) => {
                        self.start_failure = failure;
                        Err(unavailable())
                    }
                    (Some(failure), false) => Err(failure),
                    (None, false) => {
                        self.starts += 1;
                        self.containers.get_mut(&container).expect("started a container that exists").1 =
                            ObservedState::Running;
                        Ok(())
                    }
                };
                self.queue.push(Event::Started(id, attempt, result));
            }
            Effect::Stop { container, .. } => {
                self.stops += 1;
                if !self.down {
                    self.exit(&container, 143);
                }
            }
            Effect::KeepOutput { id, container } => {
                let owner = self.containers.get(&container).map(|(owner, _)| *owner);
                assert!(owner.is_none_or(|owner| owner == id), "output of {owner:?} is kept as {id}'s");
                if owner.is_some() && !self.down {
                    self.kept.insert(id);
                }
            }
            Effect::Remove { id } => {
                if self.down {
                    return self.queue.push(Event::Removed(id, Err(unavailable())));
                }
                self.containers.retain(|_, (owner, _)| *owner != id);
                self.queue.push(Event::Removed(id, Ok(())));
            }
            Effect::RemoveStray(container) => {
                self.containers.remove(&container);
            }
            Effect::Watch { .. } | Effect::Probe { .. } | Effect::Report => {}
        }
    }

    fn exit(&mut self, container: &ContainerId, code: i64) {
        let exit = Exit { code, out_of_memory: false };
        if let Some((id, state)) =
            self.containers.get_mut(container).filter(|(_, s)| *s == ObservedState::Running)
        {
            *state = ObservedState::Exited(exit);
            self.queue.push(Event::Exited(*id, container.clone(), exit));
        }
    }

    fn exit_task(&mut self, id: AssignmentId, code: i64) {
        let container = self.core.container_of(&id).expect("it has a container");
        self.exit(&container, code);
        self.take(Event::Tick);
    }

    fn desire(&mut self, orders: Vec<Order>) {
        self.generation += 1;
        self.take(Event::Desired { epoch: LeaderEpoch(1), generation: Generation(self.generation), orders });
    }

    fn list(&mut self) {
        if self.down {
            return self.take(Event::EngineLost);
        }
        let containers = self.containers.iter().map(|(container, (id, state))| Observed {
            container: container.clone(),
            assignment: Some(*id),
            state: state.clone(),
        });
        let containers = containers.collect();
        self.take(Event::Observed(containers));
    }

    /// kill -9 of the worker: only the journal and the containers remain.
    fn restart_worker(&mut self) {
        let entries = self.journal.values().cloned().collect();
        self.core = Assignments::recover(entries, self.journal_generation, 30_000..=30_003);
        self.take(Event::GpusUsable(self.usable.clone()));
        self.list();
    }

    fn acknowledge(&mut self) {
        let reports = self.core.news().into_iter().map(|(number, report)| (report.id, number)).collect();
        self.take(Event::Acknowledged(reports));
    }

    fn state(&self, id: AssignmentId) -> Option<(AssignmentState, Option<Reason>)> {
        let reports = self.core.all_reports();
        reports
            .into_iter()
            .find(|(_, report)| report.id == id)
            .map(|(_, report)| (report.state, report.reason))
    }

    /// Invariants that hold after every event.
    fn check(&self) {
        let running = self.containers.values().filter(|(_, state)| *state == ObservedState::Running);
        let mut owners = BTreeSet::new();
        for (id, _) in running {
            assert!(owners.insert(*id), "two containers run for {id}");
            assert!(self.journal.contains_key(id), "a container runs that the journal does not know: {id}");
        }
        let mut gpus = BTreeSet::new();
        for id in &owners {
            for gpu in &self.journal[id].order.gpus {
                assert!(gpus.insert(gpu.clone()), "{gpu} is used twice");
            }
        }
        let mut ports = BTreeSet::new();
        for id in &owners {
            for port in &self.journal[id].ports {
                assert!(ports.insert((port.host, port.protocol)), "port {} is used twice", port.host);
            }
        }
    }
}

const SERVICE: &str = "kind = \"service\"\n[[ports]]\nname = \"http\"\ncontainer = 80\n[readiness]\ncheck = { tcp = { port = \"http\" } }\ndeadline = \"10s\"\n";

#[test]
fn a_batch_task_runs_once_and_keeps_its_container_until_nobody_wants_it() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0, 1], "")]);
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.exit_task(id, 0);
    assert_eq!(world.state(id), Some((AssignmentState::Succeeded, Some(Reason::Completed))));
    assert_eq!(world.containers.len(), 1, "its logs are still wanted");
    world.acknowledge();
    world.desire(vec![]);
    assert!(world.containers.is_empty() && world.journal.is_empty(), "nothing is left behind");
    assert_eq!(world.kept, BTreeSet::from([id]), "its output outlives it");
}

#[test]
fn a_service_is_running_only_once_it_is_ready_and_fails_past_its_deadline() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    assert_eq!(world.state(id), Some((AssignmentState::Starting, None)));
    let container = world.core.container_of(&id).unwrap();
    world.take(Event::Probed(id, container.clone(), Err("refused".to_owned())));
    world.now = Millis::seconds(11);
    world.take(Event::Probed(id, container, Err("refused".to_owned())));
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::NeverReady))));

    let id = assignment(2, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    let container = world.core.container_of(&id).unwrap();
    world.take(Event::Probed(id, container, Ok(())));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
}

#[test]
fn containers_survive_a_worker_restart_and_are_adopted() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], SERVICE)]);
    let container = world.core.container_of(&id).unwrap();
    world.take(Event::Probed(id, container.clone(), Ok(())));
    world.restart_worker();
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    assert_eq!((world.starts, world.stops), (1, 0), "adopted, not restarted");
    assert_eq!(world.core.container_of(&id), Some(container));
}

#[test]
fn an_end_that_nobody_saw_is_found_after_a_restart() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    let container = world.core.container_of(&id).unwrap();
    world.containers.get_mut(&container).unwrap().1 =
        ObservedState::Exited(Exit { code: 3, out_of_memory: false });
    world.restart_worker();
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::ExitedWithError))));
}

#[test]
fn while_the_engine_is_gone_nothing_is_stopped_and_afterwards_work_goes_on() {
    let mut world = World::new();
    let running = assignment(1, 1);
    world.desire(vec![order(running, &[0], SERVICE)]);
    world.down = true;
    world.list();
    let waiting = assignment(2, 1);
    world.desire(vec![order(running, &[0], SERVICE), order(waiting, &[1], "")]);
    assert_eq!(world.stops, 0);
    assert_eq!(world.state(waiting), Some((AssignmentState::Assigned, None)));
    world.down = false;
    world.list();
    assert_eq!(world.state(waiting), Some((AssignmentState::Running, None)));
    assert_eq!((world.starts, world.stops), (2, 0));
}

#[test]
fn an_older_desired_set_changes_nothing_but_a_new_leader_epoch_counts() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.generation = 5;
    world.desire(vec![order(id, &[], "")]);
    world.take(Event::Desired { epoch: LeaderEpoch(1), generation: Generation(3), orders: vec![] });
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.take(Event::Desired { epoch: LeaderEpoch(2), generation: Generation(1), orders: vec![] });
    world.acknowledge();
    assert_eq!(world.state(id), None);
}

#[test]
fn a_gpu_is_handed_over_only_after_its_holder_has_ended() {
    let mut world = World::new();
    let (old, new) = (assignment(1, 1), assignment(2, 1));
    world.desire(vec![order(old, &[0], "")]);
    world.down = true; // the stop stays under way
    world.desire(vec![order(new, &[0], "")]);
    assert_eq!(world.state(new), Some((AssignmentState::Assigned, None)));
    world.down = false;
    let container = world.core.container_of(&old).unwrap();
    world.exit(&container, 143);
    world.take(Event::Tick);
    world.list();
    assert_eq!(world.state(new), Some((AssignmentState::Running, None)));
}

#[test]
fn an_order_for_a_gpu_that_is_not_usable_fails_as_the_nodes_fault_and_starts_nothing() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[9], "")]);
    let (state, reason) = world.state(id).unwrap();
    assert_eq!((state, reason), (AssignmentState::Failed, Some(Reason::GpuUnavailable)));
    assert!(world.containers.is_empty());
}

#[test]
fn a_lost_gpu_stops_no_task_but_explains_its_failure() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[0], "")]);
    world.take(Event::GpusUsable(vec![gpu(1)]));
    assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    world.exit_task(id, 1);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::GpuLost))));
}

#[test]
fn a_taken_host_port_is_replaced_by_another() {
    let mut world = World::new();
    world.start_failure = Some(EngineFailure::PortTaken("30000".to_owned()));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    let (_, report) = world.core.all_reports().remove(0);
    assert_eq!(report.ports[0].host, 30_001);
    assert_eq!(world.containers.len(), 1, "the first container was removed");
}

#[test]
fn a_missing_image_is_the_tasks_fault_and_an_unreachable_registry_is_tried_again() {
    let mut world = World::new();
    world.pull_failure = Some(EngineFailure::ImageNotFound("no such image".to_owned()));
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    let (_, reason) = world.state(id).unwrap();
    assert_eq!(reason.unwrap().fault(), Some(lode_protocol::assignment::Fault::Task));

    world.pull_failure = Some(EngineFailure::PullFailed("timeout".to_owned()));
    let id = assignment(2, 1);
    world.desire(vec![order(id, &[], "")]);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::PullFailed))));
}

#[test]
fn a_removed_container_is_made_anew_and_a_stray_is_removed() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], SERVICE)]);
    world.containers.clear();
    world.containers.insert(ContainerId("stray".to_owned()), (assignment(9, 1), ObservedState::Running));
    let stray = Observed {
        container: ContainerId("stray".to_owned()),
        assignment: Some(assignment(9, 1)),
        state: ObservedState::Running,
    };
    world.containers.clear();
    world.take(Event::Observed(vec![stray]));
    assert_eq!(world.containers.len(), 1);
    assert!(!world.containers.contains_key(&ContainerId("stray".to_owned())));
    assert_eq!(world.starts, 2);
    let before = world.starts;
    world.list();
    assert_eq!(world.starts, before, "a second pass changes nothing");
}

#[test]
fn a_container_made_anew_runs_the_content_that_ran_before_whatever_the_tag_means_now() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.image = format!("i@sha256:{}", "a".repeat(64));
    world.desire(vec![order(id, &[], SERVICE)]);
    let again = |world: &mut World| {
        world.containers.clear();
        world.list();
        world.pulls.last().cloned()
    };
    assert_eq!(again(&mut world), Some(world.image.clone()));
    world.restart_worker();
    assert_eq!(again(&mut world), Some(world.image.clone()), "it is remembered");
    // What the orchestrator has pinned the task to counts more.
    let pinned = format!("i@sha256:{}", "b".repeat(64));
    world.desire(vec![Order { pinned_image: Some(pinned.clone()), ..order(id, &[], SERVICE) }]);
    assert_eq!(again(&mut world), Some(pinned));
    assert_eq!(world.pulls.first().map(String::as_str), Some("i:1"));
}

#[test]
fn an_image_s_id_in_one_engine_says_nothing_about_what_to_pull() {
    let mut world = World::new();
    world.desire(vec![order(assignment(1, 1), &[], SERVICE)]);
    world.containers.clear();
    world.list();
    assert_eq!(world.pulls, ["i:1", "i:1"]);
}

#[test]
fn between_order_and_container_there_is_one_change_of_the_journal() {
    let mut core = Assignments::recover(Vec::new(), None, 30_000..=30_003);
    let now = Now { wall: Timestamp(1_000_000), monotonic: Millis(0) };
    let id = assignment(1, 1);
    core.step(now, Event::Observed(Vec::new()));
    let orders = vec![order(id, &[], "")];
    let effects = core.step(now, Event::Desired { epoch: LeaderEpoch(1), generation: Generation(1), orders });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Journal(JournalChange::Put(_)))));
    let effects = core.step(now, Event::Pulled(id, Attempt(0), Ok("sha256:1".to_owned())));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Create(_))), "{effects:?}");
    let writes = effects.iter().any(|effect| matches!(effect, Effect::Journal(_)));
    assert!(!writes, "the image alone is worth no write: {effects:?}");
    let effects = core.step(now, Event::Created(id, Attempt(0), Ok(ContainerId("c1".to_owned()))));
    let saved = effects.iter().find_map(|effect| match effect {
        Effect::Journal(JournalChange::Put(entry)) => Some(entry.image.clone()),
        _ => None,
    });
    assert_eq!(saved, Some(Some("sha256:1".to_owned())), "it is written with the container");
}

#[test]
fn a_crashing_task_is_restarted_with_back_off_up_to_its_limit() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "restart = { policy = \"on-failure\", max_restarts = 2 }\n")]);
    for wait in [10, 20] {
        world.exit_task(id, 1);
        assert_eq!(world.state(id), Some((AssignmentState::Starting, Some(Reason::CrashLoop))));
        world.now = Millis(world.now.0 + wait * 1_000 - 1);
        world.take(Event::Tick);
        assert_eq!(world.state(id).unwrap().1, Some(Reason::CrashLoop), "too early");
        world.now = Millis(world.now.0 + 1);
        world.take(Event::Tick);
        assert_eq!(world.state(id), Some((AssignmentState::Running, None)));
    }
    world.exit_task(id, 1);
    assert_eq!(world.state(id), Some((AssignmentState::Failed, Some(Reason::RestartLimit))));
}

#[test]
fn a_container_told_to_stop_while_it_is_being_started_is_watched_to_its_end() {
    let mut core = Assignments::recover(Vec::new(), None, 30_000..=30_003);
    let now = Now { wall: Timestamp(1_000_000), monotonic: Millis(0) };
    let id = assignment(1, 1);
    let desire = |generation, orders| Event::Desired {
        epoch: LeaderEpoch(1),
        generation: Generation(generation),
        orders,
    };
    core.step(now, Event::Observed(Vec::new()));
    let effects = core.step(now, desire(1, vec![order(id, &[], "")]));
    let Some(Effect::Pull { attempt, .. }) =
        effects.iter().find(|effect| matches!(effect, Effect::Pull { .. }))
    else {
        panic!("nothing is pulled: {effects:?}");
    };
    let container = ContainerId("c1".to_owned());
    core.step(now, Event::Pulled(id, *attempt, Ok("sha256:1".to_owned())));
    core.step(now, Event::Created(id, *attempt, Ok(container.clone())));
    let effects = core.step(now, desire(2, Vec::new()));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop { .. })), "{effects:?}");
    let effects = core.step(now, Event::Started(id, *attempt, Ok(())));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Watch { .. })), "{effects:?}");
    let exit = Exit { code: 143, out_of_memory: false };
    let effects = core.step(now, Event::Exited(id, container, exit));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Remove { .. })), "{effects:?}");
}

#[test]
fn the_result_of_an_older_try_is_ignored() {
    let mut world = World::new();
    let id = assignment(1, 1);
    world.desire(vec![order(id, &[], "")]);
    world.take(Event::Created(id, Attempt(77), Ok(ContainerId("other".to_owned()))));
    assert_ne!(world.core.container_of(&id), Some(ContainerId("other".to_owned())));
}

#[derive(Clone, Debug)]
enum Step {
    Desire(Vec<(u8, u8)>),
    Exit(u8, i64),
    Vanish(u8),
    EngineDown(bool),
    List,
    RestartWorker,
    Acknowledge,
    Wait(u64),
    FailStart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec((0u8..5, 0u8..4), 0..4).prop_map(Step::Desire),
        3 => (0u8..5, prop_oneof![Just(0i64), Just(1), Just(137)]).prop_map(|(task, code)| Step::Exit(task, code)),
        1 => (0u8..5).prop_map(Step::Vanish),
        1 => any::<bool>().prop_map(Step::EngineDown),
        2 => Just(Step::List),
        1 => Just(Step::RestartWorker),
        3 => Just(Step::Acknowledge),
        3 => (0u64..400).prop_map(Step::Wait),
        1 => Just(Step::FailStart),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_machine_ends_up_as_desired(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Desire(tasks) => {
                    let tasks: BTreeMap<u8, u8> = tasks.into_iter().collect();
                    let orders = tasks.into_iter().map(|(task, gpu)| {
                        order(assignment(u128::from(task) + 1, 1), &[gpu], "kind = \"service\"\n[[ports]]\nname = \"p\"\ncontainer = 1\n")
                    });
                    world.desire(orders.collect());
                }
                Step::Exit(task, code) => {
                    let id = assignment(u128::from(task) + 1, 1);
                    if let Some(container) = world.core.container_of(&id) {
                        world.exit(&container, code);
                        world.take(Event::Tick);
                    }
                }
                Step::Vanish(task) => {
                    let id = assignment(u128::from(task) + 1, 1);
                    if let Some(container) = world.core.container_of(&id) {
                        world.containers.remove(&container);
                    }
                    world.list();
                }
                Step::EngineDown(down) => { world.down = down; world.list(); }
                Step::List => world.list(),
                Step::RestartWorker => world.restart_worker(),
                Step::Acknowledge => world.acknowledge(),
                Step::Wait(seconds) => { world.now = Millis(world.now.0 + seconds * 1_000); world.take(Event::Tick); }
                Step::FailStart => world.start_failure = Some(EngineFailure::PortTaken("p".to_owned())),
            }
        }
        // When everything works again and nothing is wanted, nothing is left.
        world.down = false;
        world.start_failure = None;
        world.list();
        world.desire(vec![]);
        for _ in 0..3 {
            world.list();
            world.acknowledge();
        }
        prop_assert!(world.containers.is_empty(), "containers left: {:?}", world.containers);
        prop_assert!(world.journal.is_empty(), "journal left: {:?}", world.journal);
    }
}

//! Random events: duplicates, stale messages, a full disk, an engine that is gone, a worker that is killed between any
//! two effects. The invariants of the model hold after each; and when everything works again and nothing is wanted,
//! nothing is left.

use lode_chain_types::MembershipState;
use lode_protocol::hardware::GpuState;
use lode_protocol::ids::{AssignmentId, Sequence, Term};
use lode_protocol::session::{Channel, Membership};
use proptest::prelude::*;

use super::support::{World, assignment, facts, gpu, health, order};
use crate::event::{EngineEvent, EngineFailure, Event, GpuFault, GpuFaultKind, Heard};
use crate::membership::DEPARTURE_PATIENCE;

const SPEC: &str = "kind = \"service\"\n[[ports]]\nname = \"p\"\ncontainer = 1\n";

#[derive(Clone, Debug)]
enum Step {
    Desire(Vec<(u8, u8)>),
    Exit(u8, i64),
    Vanish(u8),
    EngineDown(bool),
    /// The engine stops, ends what runs with this exit code, and comes back.
    EngineRestart(i64),
    List,
    RestartWorker,
    /// The process is killed so many effects later.
    Fuse(u32),
    Wait(u64),
    FailStart,
    DiskFull(bool),
    Mute(bool),
    Disconnect,
    NewTerm,
    Eject(bool),
    /// A push of the term before, or one that was seen.
    Stale(bool),
    /// The last beat's answer comes again.
    AnswerAgain,
    Gpu(u8, bool),
    GpuFault(u8, u8),
    Chain(u8),
    ChainSilent,
    Leave,
    DoubledResult(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec((0u8..5, 0u8..4), 0..4).prop_map(Step::Desire),
        3 => (0u8..5, prop_oneof![Just(0i64), Just(1), Just(137)]).prop_map(|(task, code)| Step::Exit(task, code)),
        1 => (0u8..5).prop_map(Step::Vanish),
        1 => any::<bool>().prop_map(Step::EngineDown),
        1 => prop_oneof![Just(0i64), Just(137), Just(255)].prop_map(Step::EngineRestart),
        2 => Just(Step::List),
        1 => Just(Step::RestartWorker),
        3 => (1u32..20).prop_map(Step::Fuse),
        4 => (0u64..400).prop_map(Step::Wait),
        1 => Just(Step::FailStart),
        1 => any::<bool>().prop_map(Step::DiskFull),
        1 => any::<bool>().prop_map(Step::Mute),
        1 => Just(Step::Disconnect),
        1 => Just(Step::NewTerm),
        1 => any::<bool>().prop_map(Step::Eject),
        1 => any::<bool>().prop_map(Step::Stale),
        1 => Just(Step::AnswerAgain),
        1 => (0u8..4, any::<bool>()).prop_map(|(gpu, good)| Step::Gpu(gpu, good)),
        1 => (0u8..4, 0u8..3).prop_map(|(gpu, kind)| Step::GpuFault(gpu, kind)),
        2 => (0u8..5).prop_map(Step::Chain),
        1 => Just(Step::ChainSilent),
        1 => Just(Step::Leave),
        1 => (0u8..5).prop_map(Step::DoubledResult),
    ]
}

/// Tasks by number: a task whose end was told gets a new incarnation, as the orchestrator would give it.
fn incarnation(world: &World, task: u8) -> u32 {
    let ended = |number: &u32| {
        let id = assignment(u128::from(task) + 1, *number);
        world.orchestrator.stored.get(&id).is_some_and(|report| report.state.is_final())
    };
    (1..).find(|number| !ended(number)).unwrap_or(1)
}

fn play(world: &mut World, step: Step, silent: &mut bool) {
    let present = |world: &World, task: u8| {
        let known = world.core.view().assignments;
        known
            .iter()
            .find(|report| report.id.replica == assignment(u128::from(task) + 1, 1).replica)
            .map(|r| r.id)
    };
    match step {
        Step::Desire(tasks) => {
            let tasks: std::collections::BTreeMap<u8, u8> = tasks.into_iter().collect();
            let orders = tasks.into_iter().map(|(task, gpu)| {
                order(assignment(u128::from(task) + 1, incarnation(world, task)), &[gpu], SPEC)
            });
            let orders = orders.collect();
            world.desire(orders);
        }
        Step::Exit(task, code) => {
            let container = present(world, task).and_then(|id| world.container_of(&id));
            if let Some(container) = container {
                world.exit(&container, code);
                world.take(Event::Tick);
            }
        }
        Step::Vanish(task) => {
            let container = present(world, task).and_then(|id| world.container_of(&id));
            if let Some(container) = container {
                world.containers.remove(&container);
            }
        }
        Step::EngineDown(down) => world.set_down(down),
        Step::EngineRestart(code) => {
            world.stop_engine(code);
            world.start_engine();
        }
        Step::List => {
            if world.core.scans.next_deadline().is_some() {
                world.list();
            }
        }
        Step::RestartWorker => world.restart_worker(),
        Step::Fuse(effects) => world.fuse = Some(effects),
        Step::Wait(seconds) => world.wait(seconds * 1_000),
        Step::FailStart => world.start_failure = Some(EngineFailure::PortTaken("p".to_owned())),
        Step::DiskFull(full) => {
            world.disk_full = full;
            world.write();
            world.take(Event::Tick);
        }
        Step::Mute(mute) => world.orchestrator.mute = mute,
        Step::Disconnect => world.reopen(),
        Step::NewTerm => {
            world.orchestrator.term = Term(world.orchestrator.term.0 + 1);
            // An assignment whose end was told is in no later set.
            let orchestrator = &mut world.orchestrator;
            let ended =
                |id: &AssignmentId| orchestrator.stored.get(id).is_some_and(|report| report.state.is_final());
            orchestrator.orders.retain(|order| !ended(&order.id));
            orchestrator.generation += 1;
            world.reopen();
        }
        Step::Eject(ejected) => {
            world.orchestrator.membership =
                if ejected { Membership::Ejected { message: "x".to_owned() } } else { Membership::Member };
            if ejected {
                world.orchestrator.orders.clear();
                world.orchestrator.generation += 1;
            }
            world.push();
        }
        Step::Stale(older) => {
            let sequence = Sequence(world.orchestrator.pushes);
            let mut instruction = world.orchestrator.instruction(Channel::Push { sequence });
            if older {
                instruction.epoch = Term(instruction.epoch.0 - 1);
            }
            world.take(Event::Heard(Heard::Instruction(Box::new(instruction))));
        }
        Step::AnswerAgain => {
            if let Some(beat) = world.orchestrator.beats.last().cloned() {
                world.answer(&beat, lode_protocol::hash::keccak256(&lode_protocol::envelope::encode(&beat)));
                world.take(Event::Tick);
            }
        }
        Step::Gpu(number, good) => {
            let state = |gpu| if gpu != number || good { GpuState::Healthy } else { GpuState::Quarantined };
            world.take(Event::GpusSeen((0..4).map(|gpu| health(gpu, state(gpu))).collect()));
        }
        Step::GpuFault(number, kind) => {
            let kind = match kind {
                0 => GpuFaultKind::Broken,
                1 => GpuFaultKind::LostProgram,
                _ => GpuFaultKind::ProgramError,
            };
            let fault = GpuFault { gpus: vec![gpu(number)], detail: "XID".to_owned(), kind };
            world.take(Event::GpuFailed(fault));
        }
        Step::Chain(state) => {
            let states = [
                MembershipState::Never,
                MembershipState::Left,
                MembershipState::Ejected,
                MembershipState::Member,
                MembershipState::Member,
            ];
            *silent = false;
            world.chain = facts(states[usize::from(state)]);
            world.take(Event::ChainSeen(world.chain.clone()));
        }
        Step::ChainSilent => {
            *silent = true;
            world.take(Event::ChainSilent);
        }
        Step::Leave => {
            if world.chain.membership == MembershipState::Member && !*silent {
                world.take(Event::LeaveWanted(1));
            }
        }
        Step::DoubledResult(task) => {
            if let Some(id) = present(world, task) {
                world.take(Event::Engine(EngineEvent::Removed(id, Ok(()))));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_the_machine_ends_up_as_desired(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut silent = false;
        for step in steps {
            play(&mut world, step, &mut silent);
        }
        heal(&mut world);
        world.desire(vec![]);
        for _ in 0..3 {
            world.list();
            world.wait(10_000);
        }
        prop_assert!(world.containers.is_empty(), "containers left: {:?}", world.containers);
        prop_assert!(world.journal().is_empty(), "journal left: {:?}", world.journal());
    }

    #[test]
    fn a_membership_that_has_ended_leaves_nothing_running(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        let mut silent = false;
        for step in steps {
            play(&mut world, step, &mut silent);
        }
        heal(&mut world);
        world.take(Event::ChainSeen(facts(MembershipState::Member)));
        world.list();
        // Nobody but the chain says anything from now on.
        world.orchestrator.generation = 0;
        world.orchestrator.mute = true;
        world.chain = facts(MembershipState::Left);
        world.take(Event::ChainSeen(world.chain.clone()));
        world.wait(DEPARTURE_PATIENCE.0);
        for _ in 0..3 {
            world.list();
        }
        prop_assert!(world.containers.is_empty(), "containers left: {:?}", world.containers);
    }
}

/// Everything works again.
fn heal(world: &mut World) {
    world.fuse = None;
    world.set_down(false);
    world.start_failure = None;
    world.disk_full = false;
    world.orchestrator.mute = false;
    world.orchestrator.membership = Membership::Member;
    world.write();
    world.chain = facts(MembershipState::Member);
    world.take(Event::ChainSeen(world.chain.clone()));
    world.reopen();
}

//! What was tried on a running pool, by its name, and what it comes to.

use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::ids::*;
use lode_protocol::origin::Origin;
use lode_protocol::units::Timestamp;

use super::super::config::Limits;
use super::super::effect::{Action, ChainCommand, Effects, OccurrenceKind};
use super::super::event::*;
use super::world::{Worker, World, assignment, config, event_of, spec, specs, task_id};

/// A report that somebody made up.
fn claim(id: AssignmentId) -> AssignmentReport {
    AssignmentReport {
        id,
        state: AssignmentState::Running,
        reason: None,
        detail: "a".repeat(20),
        exit_code: None,
        restarts: 0,
        gpus: vec![],
        ports: vec![],
        image: None,
        at: Timestamp(0),
        phase: None,
    }
}

fn random_claims(count: u128) -> Vec<AssignmentReport> {
    (0..count).map(|number| claim(assignment(task_id(1 << 100 | number), 0, 1))).collect()
}

/// What a worker's next beat comes to, with these reports in it and nothing else.
fn tells(world: &mut World, number: usize, reports: Vec<AssignmentReport>) -> Effects {
    let worker = &mut world.workers[number];
    let mut beat = worker.next_beat();
    beat.assignments = reports;
    let event = event_of(worker, beat);
    world.ok(event)
}

fn changes_nothing(effects: &Effects) {
    assert_eq!(effects.changes, []);
    assert_eq!(effects.occurrences, []);
}

#[test]
fn fifteen_thousand_random_assignments_of_a_stranger_change_no_log_entry_and_no_row() {
    let mut world = World::new(config(), vec![Worker::new(1, specs(1, 1))]);
    let greeting = world.stranger_event(0);
    changes_nothing(&world.ok(greeting));
    let (rows, log) = (world.store.clone(), world.occurrences.clone());
    let worker = &mut world.workers[0];
    let mut beat = worker.next_beat();
    beat.assignments = random_claims(15_000);
    let event = event_of(worker, beat);
    assert_eq!(world.code(event), "session/unknown");
    assert_eq!((rows, log), (world.store.clone(), world.occurrences.clone()));
}

#[test]
fn fifteen_thousand_random_assignments_of_a_registered_node_that_is_no_member_are_not_heard() {
    let mut world = World::new(config(), vec![Worker::new(1, specs(1, 1))]);
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    world.beat(0);
    let node = world.workers[0].id;
    let before = world.core.rows();
    let claimed = tells(&mut world, 0, random_claims(15_000));
    assert!(claimed.occurrences.iter().all(|entry| !matches!(
        entry.kind,
        OccurrenceKind::ReportRefused { .. } | OccurrenceKind::Assignment { .. }
    )));
    let tables = |world: &World| world.core.rows().len();
    assert_eq!(tables(&world), before.len());
    assert!(world.core.nodes[&node].orphans.is_empty());
    // Its membership makes what it says count, so it is asked to say it again.
    world.facts(0, MembershipState::Member { active: true }, 1);
    let event = world.beat_event(0);
    assert_eq!(world.code(event), "session/unknown");
}

#[test]
fn fifteen_thousand_random_assignments_of_a_member_change_no_log_entry_and_no_row() {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let runs = world.number_of(world.node_of(assignment(task, 0, 1)));
    for _ in 0..3 {
        world.work(runs);
    }
    let liar = 1 - runs;
    world.beat(liar);
    let (rows, log) = (world.core.rows(), world.occurrences.len());
    for round in 0..8 {
        let mut claims = random_claims(15_000);
        for claimed in &mut claims {
            claimed.id.incarnation = Incarnation(round);
        }
        changes_nothing(&tells(&mut world, liar, claims));
    }
    assert_eq!((world.core.rows(), world.occurrences.len()), (rows, log));
    let node = &world.core.nodes[&world.workers[liar].id];
    assert!(node.orphans.len() <= 1_024, "what it makes up takes bounded room");
    super::invariants::check(&world.core);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
}

#[test]
fn refused_reports_of_a_member_are_one_entry_of_the_log_in_a_minute() {
    let mut world = World::members(1, 1);
    let mut ended = Vec::new();
    for number in 1..=20 {
        let task = world.submit(number, spec("batch", "[resources]\ngpus = 1\n"));
        for _ in 0..5 {
            world.work(0);
        }
        ended.push(assignment(task, 0, 1));
    }
    let before = world.occurrences.len();
    for _ in 0..10 {
        // It says of all of them that they run, and that they do not.
        tells(&mut world, 0, ended.iter().copied().map(claim).collect());
        let gone = |id: &AssignmentId| AssignmentReport { state: AssignmentState::Stopped, ..claim(*id) };
        tells(&mut world, 0, ended.iter().map(gone).collect());
    }
    world.wait_beating(61_000, &[0]);
    tells(&mut world, 0, vec![claim(ended[0])]);
    let told: Vec<u32> = world.occurrences[before..]
        .iter()
        .filter_map(|entry| match entry.kind {
            OccurrenceKind::ReportRefused { count, .. } => Some(count),
            _ => None,
        })
        .collect();
    assert_eq!(told, [1, 200]);
}

/// The first node runs the only replica; the second has nothing. Their numbers, and the task.
fn one_runs() -> (World, usize, TaskId) {
    let mut world = World::members(2, 1);
    let task = world.submit(1, spec("service", "[resources]\ngpus = 1\n"));
    let runs = world.number_of(world.node_of(assignment(task, 0, 1)));
    for _ in 0..3 {
        world.work(runs);
    }
    (world, runs, task)
}

#[test]
fn the_3_841_263rd_incarnation_is_impossible() {
    let (mut world, runs, task) = one_runs();
    let next = |world: &World| world.core.replica(&assignment(task, 0, 1).replica).unwrap().next;
    let climb = |world: &mut World, number: usize| {
        for step in 1..=60_000_u32 {
            // The next number that is believed, if one is, and a jump.
            let claims =
                vec![claim(assignment(task, 0, next(world).0)), claim(assignment(task, 0, step * 64))];
            tells(world, number, claims);
            if step > 200 && next(world).0 < 200 {
                return;
            }
        }
    };
    // Another node cannot move them at all, soon after a start as little as later.
    climb(&mut world, 1 - runs);
    assert_eq!(next(&world), Incarnation(2));
    // That on which it was placed can, as far as a restored backup may be behind, while that can be.
    climb(&mut world, runs);
    assert!(next(&world) <= Incarnation(66), "{:?}", next(&world));
    let (mut later, runs, _) = one_runs();
    later.wait_beating(601_000, &[0, 1]);
    climb(&mut later, runs);
    assert_eq!(next(&later), Incarnation(2));
}

#[test]
fn two_thousand_strangers_shut_no_honest_node_out() {
    let workers = vec![Worker::new(1, specs(1, 1)), Worker::new(2, specs(2, 1))];
    let mut config = config();
    config.limits = Limits { unregistered: 500, ..config.limits };
    let mut world = World::new(config, workers);
    let honest = world.workers[0].id;
    let template = world.stranger_event(1);
    let flood = |world: &mut World, from: u32| {
        for number in from..from + 2_000 {
            let mut event = template.clone();
            let mut address = [0x99; 20];
            address[..4].copy_from_slice(&number.to_be_bytes());
            if let Event::HelloReceived { node, origin, descriptor, .. } = &mut event {
                *node = NodeId(Address(address));
                descriptor.node = *node;
                // As many addresses as it takes not to be stopped by the limit for each.
                *origin = Some(Origin(u64::from(number / 50).to_be_bytes()));
            }
            let effects = world.ok(event);
            changes_nothing(&effects);
            assert_eq!(effects.actions.len(), 2, "it is told to come again, and the chain is asked");
            world.ok(Event::NodeLookedUp { node: NodeId(Address(address)), registered: false });
        }
    };
    flood(&mut world, 0);
    let event = world.stranger_event(0);
    let effects = world.ok(event);
    assert!(effects.actions.contains(&Action::Chain(ChainCommand::LookUpNode(honest))));
    flood(&mut world, 2_000);
    world.ok(Event::NodeLookedUp { node: honest, registered: true });
    flood(&mut world, 4_000);
    let event = world.stranger_event(0);
    world.ok(event);
    assert!(world.workers[0].session.is_some(), "{:?}", world.workers[0].refused.last());
    assert_eq!(world.core.nodes(None, 10).len(), 1, "strangers are no nodes");
    assert_eq!(world.store.len(), 2);
}

#[test]
fn one_address_full_of_throw_away_keys_asks_the_chain_no_more_than_its_share() {
    let mut world = World::new(config(), vec![Worker::new(1, specs(1, 1))]);
    let template = world.stranger_event(0);
    let mut asked = 0;
    for number in 0..2_000_u32 {
        let mut event = template.clone();
        if let Event::HelloReceived { node, origin, .. } = &mut event {
            node.0.0[..4].copy_from_slice(&number.to_be_bytes());
            *origin = Some(Origin([1; 8]));
        }
        let effects = world.ok(event);
        asked += effects.actions.iter().filter(|action| matches!(action, Action::Chain(_))).count();
    }
    assert_eq!(asked, 64);
}

/// A member in a pool with the limits that a pool has.
fn limited() -> World {
    let mut config = config();
    config.limits = Limits::default();
    World::with_members(config, vec![Worker::new(1, specs(1, 1))])
}

#[test]
fn two_hundred_and_seventy_one_beats_a_second_of_a_member_cost_no_more_commits_than_the_bucket_has() {
    let mut world = limited();
    world.wait_beating(60_000, &[0]);
    let (mut commits, mut refused) = (0, 0);
    for number in 0..2_710_u64 {
        if number % 271 == 0 {
            world.wait(1_000);
        }
        // Each would change a row: a GPU that breaks and heals.
        let worker = &mut world.workers[0];
        let state = [lode_protocol::hardware::GpuState::Healthy, lode_protocol::hardware::GpuState::Suspect];
        let uuid = worker.specs.gpus[0].uuid.clone();
        worker.gpu_states.insert(uuid, state[usize::try_from(number % 2).unwrap()]);
        worker.observed = worker.observed.map(Generation::next);
        let event = world.beat_event(0);
        match world.step(event) {
            Ok(effects) => commits += usize::from(!effects.changes.is_empty()),
            Err(rejected) => {
                assert_eq!(rejected.code, "session/too-fast");
                let wait = rejected.retry_after.unwrap();
                assert!((1..=250).contains(&wait.0), "{wait:?}");
                refused += 1;
            }
        }
    }
    assert!(commits <= 20 + 4 * 10, "{commits}");
    assert!(refused >= 2_600, "{refused}");
}

#[test]
fn hellos_of_a_member_cost_no_more_commits_than_the_bucket_has() {
    let mut world = limited();
    world.wait_beating(60_000, &[0]);
    let mut commits = 0;
    for _ in 0..1_000 {
        let event = world.hello_event(0);
        if let Ok(effects) = world.step(event) {
            commits += usize::from(!effects.changes.is_empty());
            let event = world.beat_event(0);
            commits += usize::from(world.step(event).is_ok_and(|effects| !effects.changes.is_empty()));
        }
    }
    assert!(commits <= 20, "{commits}");
    world.wait(61_000);
    world.hello(0);
    world.beat(0);
}

#[test]
fn first_beats_of_sessions_are_no_way_around_the_limits() {
    let mut world = limited();
    world.wait_beating(60_000, &[0]);
    let (mut heard, mut refused) = (0, 0);
    for _ in 0..60 {
        world.wait(1_000);
        world.hello(0);
        let worker = &mut world.workers[0];
        let mut beat = worker.next_beat();
        assert!(beat.complete, "it is the first of its session");
        beat.assignments = random_claims(15_000);
        let event = event_of(worker, beat);
        match world.step(event) {
            Ok(_) => heard += 1,
            Err(rejected) => {
                assert_eq!(rejected.code, "session/too-fast");
                assert!(rejected.reopen, "no other beat could be the first of this session");
                let wait = rejected.retry_after.unwrap();
                assert!((1..=16_000).contains(&wait.0), "{wait:?}");
                refused += 1;
            }
        }
    }
    // A full bucket at first, and one in 16 seconds.
    assert!((3..=5).contains(&heard), "{heard}");
    assert!(refused >= 55, "{refused}");
    world.wait(30_000);
    world.hello(0);
    tells(&mut world, 0, random_claims(4_000));
}

#[test]
fn descriptions_in_hellos_count_as_those_in_beats() {
    let mut world = limited();
    world.wait_beating(60_000, &[0]);
    let mut opened = 0;
    for _ in 0..6 {
        let mut event = world.hello_event(0);
        if let Event::HelloReceived { hello, .. } = &mut event {
            hello.descriptor = vec![0; 1 << 20];
        }
        opened += usize::from(world.step(event).is_ok());
    }
    assert_eq!(opened, 2, "the bucket holds two of them");
}

#[test]
fn a_member_moves_only_what_was_placed_on_it() {
    let (mut world, runs, task) = one_runs();
    let liar = 1 - runs;
    world.beat(liar);
    let rows = world.core.rows();
    for state in [AssignmentState::Failed, AssignmentState::Succeeded, AssignmentState::Running] {
        let report = AssignmentReport { state, ..claim(assignment(task, 0, 1)) };
        changes_nothing(&tells(&mut world, liar, vec![report]));
    }
    assert_eq!(world.core.rows(), rows);
    assert_eq!(world.state(assignment(task, 0, 1)), AssignmentState::Running);
}

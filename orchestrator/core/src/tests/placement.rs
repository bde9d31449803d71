use lode_protocol::assignment::AssignmentState;
use lode_protocol::envelope::{Signable as _, encode};
use lode_protocol::hardware::GpuState;
use lode_protocol::session::Instruction;
use lode_protocol::units::{Bytes, MilliCpus};

use super::super::config::DeclaredMaximum;
use super::super::effect::{Action, Answer};
use super::super::event::*;
use super::super::placement::set_bytes;
use super::super::view::{Filter, TaskState};
use super::world::{Worker, World, assignment, config, gpu, spec, specs, specs_with, task_id};

fn counts(world: &World, number: u128) -> Vec<(Filter, u32)> {
    let explanation = world.core.explain(&task_id(number), world.now).unwrap();
    explanation.filters.iter().map(|count| (count.filter, count.nodes)).collect()
}

#[test]
fn two_tasks_get_disjoint_gpus_and_the_third_waits_explained() {
    let mut world = World::members(1, 4);
    let gpus = |world: &World, number| {
        world.core.assignment(&assignment(task_id(number), 0, 1)).map(|view| view.gpus)
    };
    world.submit(1, spec("service", "[resources]\ngpus = 2\n"));
    world.submit(2, spec("service", "[resources]\ngpus = 2\n"));
    world.submit(3, spec("service", "[resources]\ngpus = 2\n"));
    assert_eq!(gpus(&world, 1).unwrap(), [gpu(1, 0), gpu(1, 1)]);
    assert_eq!(gpus(&world, 2).unwrap(), [gpu(1, 2), gpu(1, 3)]);
    assert_eq!(gpus(&world, 3), None);
    assert_eq!(counts(&world, 3), [(Filter::GpusFree, 1)]);
    world.submit(4, spec("batch", "[resources]\ngpus = 64\n"));
    assert_eq!(counts(&world, 4), [(Filter::GpuModel, 1)]);
    let explanation = world.core.explain(&task_id(4), world.now).unwrap();
    assert_eq!((explanation.state, explanation.waiting, explanation.fitting), (TaskState::Pending, 1, 0));
    assert!(explanation.filters[0].help.contains("64"), "{explanation:?}");
    // Capacity that frees wakes the queue.
    world.ok(Event::TaskStop(task_id(1)));
    world.beat(0);
    world.beat(0);
    assert_eq!(gpus(&world, 3).unwrap(), [gpu(1, 0), gpu(1, 1)]);
}

#[test]
fn every_filter_counts_the_nodes_it_turns_away() {
    let mut workers: Vec<Worker> = (1..=4).map(|number| Worker::new(number, specs(number, 2))).collect();
    workers[1].specs.gpus[0].model = Some("Tesla T4".to_owned());
    workers[1].specs.gpus[1].model = None;
    workers[2].specs = specs_with(3, 2, "NVIDIA H200", Bytes::gibi(40));
    workers[3].specs.labels.insert("zone".to_owned(), "b".to_owned());
    let mut world = World::with_members(config(), workers);
    world.workers[0].gpu_states.insert(gpu(1, 0), GpuState::Quarantined);
    world.beat(0);
    let constraint = "[[constraints]]\nkey = \"zone\"\noperator = \"not-in\"\nvalues = [\"b\"]\n";
    world.submit(
        1,
        spec(
            "batch",
            &format!("[resources]\ngpus = 2\ngpu_models = [\"h200\"]\ngpu_memory = \"80GiB\"\n{constraint}"),
        ),
    );
    assert_eq!(
        counts(&world, 1),
        [(Filter::Constraints, 1), (Filter::GpuModel, 1), (Filter::GpuMemory, 1), (Filter::GpuHealth, 1)]
    );
    let rows = world.core.explain_nodes(&task_id(1), None, 3).unwrap();
    let more = world.core.explain_nodes(&task_id(1), Some(rows[2].node), 3).unwrap();
    assert_eq!((rows.len(), more.len()), (3, 1));
    // A GPU that heals wakes the queue.
    world.workers[0].gpu_states.clear();
    world.beat(0);
    assert_eq!(world.node_of(assignment(task_id(1), 0, 1)), world.workers[0].id);
}

#[test]
fn cpus_memory_and_disk_are_never_promised_twice() {
    for (resource, most) in [("cpus = 6", 2), ("memory = \"24GiB\"", 2), ("disk = \"30GiB\"", 3)] {
        let mut world = World::members(1, 0);
        world.submit(1, spec("service", &format!("replicas = 5\n[resources]\n{resource}\n")));
        let view = world.core.task(&task_id(1)).unwrap();
        assert_eq!(view.assignments.len(), most, "{resource}");
        assert_eq!(view.summary.replicas.pending, 5 - u32::try_from(most).unwrap());
    }
}

#[test]
fn a_task_that_names_no_limits_takes_what_it_may_use_off_its_node() {
    let mut world = World::members(1, 2);
    world.submit(1, spec("service", "replicas = 20\n"));
    let view = world.core.task(&task_id(1)).unwrap();
    assert_eq!(view.assignments.len(), 16, "one of 16 CPUs for each");
    assert_eq!(counts(&world, 1), [(Filter::Cpus, 1)]);
    let allocated = |world: &World| {
        let id = world.workers[0].id;
        let node = world.core.nodes.get(&id).unwrap();
        (node.allocated.cpus, Bytes(node.allocated.memory))
    };
    assert_eq!(allocated(&world), (16_000, Bytes::gibi(8)));
    world.restart_core();
    assert_eq!(allocated(&world), (16_000, Bytes::gibi(8)), "also after a restart");
    let mut world = World::members(1, 2);
    world.submit(1, spec("batch", "[resources]\ngpus = 2\n"));
    assert_eq!(allocated(&world), (2_000, Bytes::gibi(6)), "with GPUs by their number");
}

#[test]
fn replicas_are_spread_and_small_tasks_pack_the_fullest_node() {
    let mut world = World::members(3, 4);
    world.submit(1, spec("service", "replicas = 3\n[resources]\ngpus = 1\n"));
    let nodes: std::collections::BTreeSet<_> =
        (0..3).map(|number| world.node_of(assignment(task_id(1), number, 1))).collect();
    assert_eq!(nodes.len(), 3);
    world.submit(2, spec("batch", "[resources]\ngpus = 2\n"));
    let packed = world.node_of(assignment(task_id(2), 0, 1));
    world.submit(3, spec("batch", "[resources]\ngpus = 1\n"));
    assert_eq!(world.node_of(assignment(task_id(3), 0, 1)), packed, "the tightest fit");
    world.submit(4, spec("batch", "replicas = 2\n[resources]\ngpus = 3\n"));
    assert_eq!(world.core.task(&task_id(4)).unwrap().assignments.len(), 2, "big ones still fit elsewhere");
}

#[test]
fn tasks_without_gpus_prefer_nodes_without() {
    let mut world = World::with_members(
        config(),
        vec![Worker::new(1, specs(1, 4)), Worker::new(2, specs(2, 0)), Worker::new(3, specs(3, 4))],
    );
    world.submit(1, spec("batch", "[resources]\ncpus = 1\n"));
    assert_eq!(world.node_of(assignment(task_id(1), 0, 1)), world.workers[1].id);
}

#[test]
fn a_mixed_node_gives_the_gpus_that_were_asked_for() {
    let mut worker = Worker::new(1, specs(1, 4));
    for spec in &mut worker.specs.gpus[..2] {
        spec.model = Some("NVIDIA L4".to_owned());
        spec.memory = Some(Bytes::gibi(24));
    }
    let mut world = World::with_members(config(), vec![worker]);
    world.submit(1, spec("batch", "[resources]\ngpus = 2\ngpu_models = [\"H200\"]\n"));
    world.submit(2, spec("batch", "[resources]\ngpus = 1\n"));
    world.submit(3, spec("batch", "[resources]\ngpus = 1\ngpu_memory = \"20GiB\"\n"));
    let gpus = |number| world.core.assignment(&assignment(task_id(number), 0, 1)).unwrap().gpus;
    assert_eq!(gpus(1), [gpu(1, 2), gpu(1, 3)]);
    assert_eq!(gpus(2), [gpu(1, 0)], "the smallest that does");
    assert_eq!(gpus(3), [gpu(1, 1)]);
}

#[test]
fn constraints_find_nodes_by_id_label_and_provider() {
    let mut workers: Vec<Worker> = (1..=3).map(|number| Worker::new(number, specs(number, 1))).collect();
    workers[2].specs.labels.insert("zone".to_owned(), "x".to_owned());
    let mut world = World::with_members(config(), workers);
    let constraint = |key: &str, value: &str| {
        format!("[[constraints]]\nkey = \"{key}\"\noperator = \"in\"\nvalues = [\"{value}\"]\n")
    };
    let id = world.workers[1].id;
    world.submit(1, spec("batch", &constraint("node", &id.to_string().to_lowercase())));
    assert_eq!(world.node_of(assignment(task_id(1), 0, 1)), id);
    world.submit(2, spec("batch", &constraint("zone", "x")));
    assert_eq!(world.node_of(assignment(task_id(2), 0, 1)), world.workers[2].id);
    world.submit(3, spec("batch", &constraint("zone", "y")));
    assert_eq!(counts(&world, 3), [(Filter::Constraints, 3)]);
    world.submit(4, spec("batch", &constraint("provider", "0x0707070707070707070707070707070707070707")));
    assert!(world.core.assignment(&assignment(task_id(4), 0, 1)).is_some());
    // A label that appears later wakes the queue.
    world.workers[0].specs.labels.insert("zone".to_owned(), "y".to_owned());
    world.workers[0].nonce += 100;
    let descriptor = world.workers[0].descriptor();
    world.ok(Event::DescriptorLearned { descriptor });
    assert_eq!(world.node_of(assignment(task_id(3), 0, 1)), world.workers[0].id);
}

#[test]
fn beyond_the_declared_maximum_nothing_is_created_and_the_shortfall_is_named() {
    let mut config = config();
    config.declared = Some(DeclaredMaximum {
        gpus: 8,
        gpu_memory: Bytes::gibi(141),
        gpu_models: vec!["NVIDIA H200".to_owned()],
        cpus: MilliCpus(64_000),
        memory: Bytes::gibi(512),
        disk: Bytes::gibi(1_000),
        total_gpus: 10,
    });
    let mut world = World::new(config, vec![]);
    let mut refuse = |more: &str| {
        let spec = spec("service", more);
        world
            .step(Event::TaskSubmitted {
                id: task_id(1),
                spec,
                order: None,
                idempotency_key: None,
                image: super::world::unresolved(),
            })
            .unwrap_err()
    };
    let error = refuse("[resources]\ngpus = 9\nmemory = \"600GiB\"\n");
    assert_eq!(error.code, "task/beyond-pool");
    assert!(error.message.contains("9 GPUs") && error.message.contains("600GiB"), "{}", error.message);
    assert_eq!(refuse("[resources]\ngpus = 1\ngpu_models = [\"B200\"]\n").code, "task/beyond-pool");
    assert_eq!(refuse("replicas = 2\n[resources]\ngpus = 8\n").code, "task/beyond-pool");
    assert_eq!(world.core.task(&task_id(1)), None);
    world.submit(2, spec("batch", "replicas = 2\n[resources]\ngpus = 8\n"));
    assert_eq!(world.core.task(&task_id(2)).unwrap().summary.state, TaskState::Pending);
}

#[test]
fn nothing_is_placed_while_the_chain_cannot_be_read_and_running_work_goes_on() {
    let mut world = World::members(1, 1);
    let running = world.submit(1, spec("service", ""));
    for _ in 0..3 {
        world.work(0);
    }
    world.ok(Event::ChainViewed(ChainView::Stale));
    world.submit(2, spec("batch", ""));
    assert_eq!(world.core.explain(&task_id(2), world.now).unwrap().blocked.unwrap().code, "pool/view-stale");
    world.wait_beating(120_000, &[0]);
    assert_eq!(world.core.assignment(&assignment(task_id(2), 0, 1)), None);
    assert_eq!(world.state(assignment(running, 0, 1)), AssignmentState::Running);
    world.ok(Event::ChainViewed(ChainView::Fresh));
    assert!(world.core.assignment(&assignment(task_id(2), 0, 1)).is_some());
}

#[test]
fn a_gpu_that_vanishes_from_the_descriptor_is_not_given_away_while_it_is_held() {
    let mut world = World::members(1, 2);
    world.submit(1, spec("service", "[resources]\ngpus = 2\n"));
    let all = world.workers[0].specs.gpus.clone();
    for gpus in [vec![], all] {
        world.workers[0].specs.gpus = gpus;
        world.workers[0].nonce += 100;
        let descriptor = world.workers[0].descriptor();
        world.ok(Event::DescriptorLearned { descriptor });
        world.beat(0);
    }
    world.submit(2, spec("batch", "[resources]\ngpus = 1\n"));
    assert_eq!(counts(&world, 2), [(Filter::GpusFree, 1)]);
}

#[test]
fn between_shapes_the_one_that_waits_longest_comes_first() {
    let mut world = World::members(1, 2);
    world.ok(Event::ChainViewed(ChainView::Stale));
    for (number, cpus) in [(1, 1), (2, 2), (3, 1)] {
        world.submit(number, spec("batch", &format!("[resources]\ngpus = 1\ncpus = {cpus}\n")));
    }
    world.ok(Event::ChainViewed(ChainView::Fresh));
    let placed = |world: &World, number| world.core.assignment(&assignment(task_id(number), 0, 1)).is_some();
    assert_eq!([1, 2, 3].map(|number| placed(&world, number)), [true, true, false]);
    // The same where room comes back: what is blocked is offered it by age, not shape by shape.
    world.submit(4, spec("batch", "[resources]\ngpus = 1\ncpus = 2\n"));
    world.submit(5, spec("batch", "[resources]\ngpus = 1\ncpus = 1\n"));
    for task in [1, 2] {
        world.ok(Event::TaskStop(task_id(task)));
    }
    world.beat(0);
    world.beat(0);
    assert_eq!([3, 4, 5].map(|number| placed(&world, number)), [true, true, false]);
}

#[test]
fn a_step_places_only_so_many_and_the_next_one_goes_on_at_once() {
    let mut config = config();
    config.terms.step_placements = 3;
    let workers = (1..=4).map(|number| Worker::new(number, specs(number, 2))).collect();
    let mut world = World::with_members(config, workers);
    world.ok(Event::ChainViewed(ChainView::Stale));
    world.submit(1, spec("service", "replicas = 7\n[resources]\ngpus = 1\n"));
    assert_ne!(
        world.core.next_deadline(),
        Some(world.now.monotonic),
        "while the chain is stale nothing can go on"
    );
    let placed = |world: &World| world.core.task(&task_id(1)).unwrap().assignments.len();
    world.ok(Event::ChainViewed(ChainView::Fresh));
    let mut steps = vec![placed(&world)];
    while world.core.next_deadline() == Some(world.now.monotonic) {
        world.ok(Event::Tick);
        steps.push(placed(&world));
    }
    assert_eq!(steps, [3, 6, 7]);
}

#[test]
fn a_nodes_set_always_fits_into_a_message() {
    const SMALL: &str = "[resources]\ncpus = \"10m\"\nmemory = \"8MiB\"\n";
    let mut world = World::members(2, 1);
    let variables: String =
        (0..30).map(|number| format!("V{number} = \"{}\"\n", "x".repeat(4_000))).collect();
    world.submit(1, spec("service", &format!("replicas = 400\n{SMALL}[env]\n{variables}")));
    while world.core.next_deadline() == Some(world.now.monotonic) {
        world.ok(Event::Tick);
    }
    let placed = world.core.task(&task_id(1)).unwrap().assignments.len();
    assert!((2..400).contains(&placed), "{placed}");
    for number in [0, 1] {
        let event = world.beat_event(number);
        let effects = world.ok(event);
        let sets = effects.actions.iter().filter_map(|action| match action {
            Action::Reply { answer: Answer::Instruction { instruction, .. }, .. } => Some(instruction),
            _ => None,
        });
        let bytes: Vec<usize> = sets.map(|set| encode(set.as_ref()).len()).collect();
        assert!(
            !bytes.is_empty() && bytes.iter().all(|bytes| *bytes < Instruction::MAX_BYTES / 2),
            "{bytes:?}"
        );
    }
    let explanation = world.core.explain(&task_id(1), world.now).unwrap();
    assert_eq!(explanation.filters.iter().map(|row| row.filter).collect::<Vec<_>>(), [Filter::DesiredSet]);
    // What ends makes room again, also after a restart.
    world.restart_core();
    let sums =
        |world: &World| -> u64 { world.core.nodes.iter().map(|(_, node)| node.allocated.set_bytes).sum() };
    let each = set_bytes(&world.core.tasks.get(&task_id(1)).unwrap().spec);
    assert_eq!(sums(&world), u64::try_from(placed).unwrap() * each);
}

//! The node that the index finds, beside all nodes asked one by one.

use lode_protocol::assignment::Reason;
use lode_protocol::hardware::GpuState;
use lode_protocol::hash::Digest;
use lode_protocol::units::{Bytes, MilliCpus};
use proptest::prelude::*;

use super::super::Core;
use super::super::event::*;
use super::super::faults::{FailureKey, Fault};
use super::super::node::Node;
use super::super::placement::{COMPARED, Effort, Score, Search, score};
use super::fleet::{add_member, node_id, started};
use super::world::{Worker, replica, spec, specs_with, task_id, unresolved};

/// What may be different about a node.
#[derive(Clone, Debug)]
struct Made {
    gpus: u32,
    model: bool,
    odd_gpu: bool,
    sick: u32,
    held: u32,
    cpus: u64,
    memory: u64,
    zone: Option<u8>,
    rare: bool,
    arm: bool,
    faults: u8,
}

fn made() -> impl Strategy<Value = Made> {
    let hardware = (0u32..5, any::<bool>(), prop::bool::weighted(0.2), 0u32..2, 0u32..4);
    let used = (0u64..16, 0u64..64);
    let labels = (prop::option::weighted(0.7, 0u8..3), prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    (hardware, used, labels, prop_oneof![4 => Just(0u8), 1 => 1u8..3]).prop_map(
        |((gpus, model, odd_gpu, sick, held), (cpus, memory), (zone, rare, arm), faults)| Made {
            gpus,
            model,
            odd_gpu,
            sick,
            held,
            cpus,
            memory,
            zone,
            rare,
            arm,
            faults,
        },
    )
}

fn add(core: &mut Core, worker: &Worker, number: u32, made: &Made) {
    let (model, memory) = if made.model { ("NVIDIA H200", 141) } else { ("Tesla T4", 16) };
    let mut specs = specs_with(1, made.gpus, model, Bytes::gibi(memory));
    if made.odd_gpu
        && let Some(gpu) = specs.gpus.first_mut()
    {
        gpu.model = Some("NVIDIA L4".to_owned());
        gpu.memory = None;
    }
    if let Some(zone) = made.zone {
        specs.labels.insert("zone".to_owned(), format!("z{zone}"));
    }
    if made.rare {
        specs.labels.insert("rare".to_owned(), "yes".to_owned());
    }
    // Keys that mean something else are no labels.
    specs.labels.insert("provider".to_owned(), "z1".to_owned());
    specs.architecture = if made.arm { "arm64" } else { "amd64" }.to_owned();
    specs.cpus = MilliCpus(16_000);
    let change = |node: &mut Node| {
        node.allocated.cpus = made.cpus * 1_000;
        node.allocated.memory = made.memory << 30;
        for task in 0..made.faults {
            let key = FailureKey { reason: Reason::EngineError, phase: None, with_gpus: task % 2 == 0 };
            let (task, image) = (task_id(task.into()), Digest([0; 32]));
            node.faults.note(Fault { task, image, key, is_explained: false });
        }
        let slots = &mut node.hardware.gpus;
        for slot in slots.iter_mut().take(usize::try_from(made.sick).unwrap()) {
            slot.state = Some(GpuState::Quarantined);
        }
        let holder = super::world::assignment(task_id(999), number, 1);
        for slot in slots.iter_mut().rev().take(usize::try_from(made.held).unwrap()) {
            slot.holder = Some(holder);
        }
    };
    add_member(core, worker, number, specs, change);
}

fn constraint() -> impl Strategy<Value = String> {
    let values = |values: Vec<&'static str>| prop::sample::subsequence(values.clone(), 1..=values.len());
    let zone = values(vec!["z0", "z1", "z2", "z9"]).prop_map(|values| ("zone", values.join("\", \"")));
    let provider = prop::sample::subsequence(vec![1u8, 2, 3, 9], 1..3).prop_map(|numbers| {
        let address = |number: &u8| format!("0x{}", format!("{number:02X}").repeat(20));
        ("provider", numbers.iter().map(address).collect::<Vec<_>>().join("\", \""))
    });
    let node = prop::sample::subsequence((0u32..70).collect::<Vec<_>>(), 1..6).prop_map(|numbers| {
        let ids: Vec<String> = numbers.iter().map(|number| node_id(*number).to_string()).collect();
        ("node", ids.join("\", \""))
    });
    let architecture =
        values(vec!["amd64", "arm64"]).prop_map(|values| ("architecture", values.join("\", \"")));
    let named = (prop_oneof![4 => zone, 1 => provider, 1 => node, 1 => architecture], any::<bool>())
        .prop_map(|((key, values), within)| {
            let operator = if within { "in" } else { "not-in" };
            format!("[[constraints]]\nkey = \"{key}\"\noperator = \"{operator}\"\nvalues = [\"{values}\"]\n")
        });
    let key = prop::sample::select(vec!["zone", "rare", "absent", "provider", "architecture"]);
    let existing = (key, any::<bool>()).prop_map(|(key, exists)| {
        let operator = if exists { "exists" } else { "not-exists" };
        format!("[[constraints]]\nkey = \"{key}\"\noperator = \"{operator}\"\n")
    });
    prop_oneof![3 => named, 1 => existing]
}

fn wanted() -> impl Strategy<Value = String> {
    let model = prop::sample::select(vec![
        "",
        "gpu_models = [\"h200\"]\n",
        "gpu_models = [\"l4\", \"t4\"]\n",
        "gpu_memory = \"20GiB\"\n",
    ]);
    (0u32..4, 1u32..18, 1u32..70, model, prop::collection::vec(constraint(), 0..3)).prop_map(
        |(gpus, cpus, memory, model, constraints)| {
            let model = if gpus == 0 { "" } else { model };
            let resources =
                format!("[resources]\ngpus = {gpus}\ncpus = {cpus}\nmemory = \"{memory}GiB\"\n{model}");
            resources + &constraints.concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// A node is found exactly if one fits, in one go or in portions; and only so many fitting nodes may be better as were
    /// not compared.
    #[test]
    fn the_index_finds_what_all_nodes_asked_one_by_one_would_find(
        nodes in prop::collection::vec(made(), 0..60),
        gone in prop::collection::vec(0u32..60, 0..10),
        more in wanted(),
        portion in 1u32..60,
    ) {
        let mut core = started();
        let worker = Worker::new(1, specs_with(1, 0, "", Bytes(0)));
        for (number, made) in (0u32..).zip(&nodes) {
            add(&mut core, &worker, number, made);
        }
        // Some are not members any more, some are what others were before.
        for number in gone {
            let Some(made) = nodes.get(usize::try_from(number).unwrap()) else { continue };
            core.index.unlist(&node_id(number));
            core.nodes.remove(&node_id(number));
            if number % 2 == 0 {
                add(&mut core, &worker, number + 100, made);
            }
        }
        let now = core.now;
        core.step(now, Event::ChainViewed(ChainView::Stale)).unwrap();
        let spec = spec("batch", &more);
        let submitted = Event::TaskSubmitted {
            id: task_id(1),
            spec,
            order: None,
            idempotency_key: None,
            image: unresolved(),
        };
        core.step(now, submitted).unwrap();
        let (shape, id) = (core.tasks[&task_id(1)].shape, replica(task_id(1), 0));
        core.queue.judge(shape, &core.index);
        let (found, search) = core.best_node(shape, &id, &mut Effort::looks(u32::MAX));
        prop_assert_eq!(search, Search::Ended);

        let requirement = core.queue.requirement(shape).unwrap();
        let one = core.replica(&id).unwrap();
        let score = |node: &Node| score(node, &id, one, requirement, core.now.wall);
        let fitting: Vec<Score> =
            core.nodes.values().filter(|node| core.filter(node, requirement).is_none()).map(|node| score(node)).collect();
        prop_assert_eq!(found.is_some(), !fitting.is_empty(), "{}", more);
        if let Some(found) = found {
            let node = &core.nodes[&found];
            prop_assert_eq!(core.filter(node, requirement), None);
            let better = fitting.iter().filter(|other| **other < score(node)).count();
            prop_assert!(better <= fitting.len().saturating_sub(COMPARED), "{better} of {} are better", fitting.len());
        }

        let mut found = None;
        for _ in 0..10_000 {
            let (node, search) = core.best_node(shape, &id, &mut Effort::looks(portion));
            let Search::Interrupted(cursor) = search else {
                found = node;
                break;
            };
            if node.is_some() {
                found = node;
                break;
            }
            core.queue.block(shape, Some(cursor));
        }
        prop_assert_eq!(found.is_some(), !fitting.is_empty(), "in portions of {}: {}", portion, more);
    }
}

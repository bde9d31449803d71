//! Which GPUs a wish means: models by their words, memory as it is sold, instances by their profile, versions by their
//! numbers; and what a pool leaves out.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::{GpuUuid, NodeId};
use lode_protocol::session::Membership;
use lode_protocol::units::Bytes;

use super::super::config::{Config, DeclaredMaximum};
use super::super::effect::Action;
use super::super::event::*;
use super::super::view::Filter;
use super::world::{Worker, World, assignment, config, gpu, spec, specs, specs_with, task_id, unresolved};

const L4: Bytes = Bytes(24_152_899_584);
const H100: Bytes = Bytes::mebi(81_559);

/// One node with these GPUs: model and memory.
fn having(gpus: &[(&str, Bytes)]) -> NodeSpecs {
    let mut specs = specs(1, u32::try_from(gpus.len()).unwrap());
    for (spec, (model, memory)) in specs.gpus.iter_mut().zip(gpus) {
        spec.model = Some((*model).to_owned());
        spec.memory = Some(*memory);
    }
    specs
}

/// The same, split into instances.
fn slices(name: &str, count: u32) -> NodeSpecs {
    let mut specs = specs_with(1, count, name, Bytes::mebi(9_728));
    for (number, spec) in (0u32..).zip(&mut specs.gpus) {
        spec.uuid = format!("MIG-00000001-{number:04x}").parse().unwrap();
        spec.parent = Some(gpu(1, 99));
    }
    specs
}

fn world(config: Config, specs: NodeSpecs) -> World {
    World::with_members(config, vec![Worker::new(1, specs)])
}

/// What a batch task with these resources gets.
fn given(world: &mut World, number: u128, resources: &str) -> Option<Vec<GpuUuid>> {
    world.submit(number, spec("batch", &format!("[resources]\n{resources}\n")));
    world.core.assignment(&assignment(task_id(number), 0, 1)).map(|view| view.gpus)
}

fn explained(world: &World, number: u128) -> (Vec<Filter>, String) {
    let explanation = world.core.explain(&task_id(number), world.now).unwrap();
    let filters = explanation.filters.iter().map(|count| count.filter).collect();
    let help: Vec<&str> = explanation.filters.iter().map(|count| count.help.as_str()).collect();
    (filters, format!("{} {}", explanation.summary, help.join(" ")))
}

#[test]
fn a_task_gets_the_model_that_it_names_and_waits_rather_than_get_another() {
    for (wanted, other, right) in [
        ("H200", "NVIDIA GH200 480GB", "NVIDIA H200"),
        ("L4", "NVIDIA L40S", "NVIDIA L4"),
        ("A10", "NVIDIA A100-SXM4-80GB", "NVIDIA A10"),
        ("A10", "NVIDIA A10G", "NVIDIA A10"),
        ("A100", "NVIDIA RTX A1000", "NVIDIA A100-SXM4-80GB"),
        ("B200", "NVIDIA GB200", "NVIDIA B200"),
        ("T4", "NVIDIA T400 4GB", "Tesla T4"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 4090"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090"),
        ("RTX 6000", "NVIDIA RTX 6000 Ada Generation", "Quadro RTX 6000"),
    ] {
        let mut world = world(config(), having(&[(other, Bytes::gibi(4)), (right, Bytes::gibi(96))]));
        let wish = format!("gpus = 1\ngpu_models = [\"{wanted}\"]");
        assert_eq!(given(&mut world, 1, &wish), Some(vec![gpu(1, 1)]), "{wanted} beside {other}");
        assert_eq!(given(&mut world, 2, &wish), None, "{wanted} with {other} alone");
        let pair = format!("gpus = 2\ngpu_models = [\"{wanted}\"]");
        assert_eq!(given(&mut world, 3, &pair), None);
        assert_eq!(explained(&world, 3).0, [Filter::GpuModel], "{wanted}");
    }
}

#[test]
fn explain_names_the_product_that_is_close_and_those_that_an_ambiguous_wish_fits() {
    let mut ada = world(config(), having(&[("NVIDIA RTX 6000 Ada Generation", Bytes::gibi(48))]));
    assert_eq!(given(&mut ada, 1, "gpus = 1\ngpu_models = [\"RTX 6000\"]"), None);
    let (_, text) = explained(&ada, 1);
    assert!(text.contains("NVIDIA RTX 6000 Ada Generation is another product"), "{text}");

    let names = [("Quadro RTX 6000", Bytes::gibi(24)), ("NVIDIA RTX 6000 Ada Generation", Bytes::gibi(48))];
    let mut pair = world(config(), having(&names));
    assert_eq!(given(&mut pair, 1, "gpus = 1\ngpu_models = [\"RTX 6000\"]"), Some(vec![gpu(1, 0)]));
    let (_, text) = explained(&pair, 1);
    assert!(text.contains("fits Quadro RTX 6000, not NVIDIA RTX 6000 Ada Generation"), "{text}");

    let both = [("NVIDIA H100 80GB HBM3", H100), ("NVIDIA H100 PCIe", H100)];
    let mut both = world(config(), having(&both));
    assert!(given(&mut both, 1, "gpus = 1\ngpu_models = [\"H100\"]").is_some());
    let (_, text) = explained(&both, 1);
    assert!(text.contains("\"H100\" fits NVIDIA H100 80GB HBM3, NVIDIA H100 PCIe"), "{text}");
    assert!(given(&mut both, 2, "gpus = 1\ngpu_models = [\"H100 PCIe\"]").is_some());
    let (_, text) = explained(&both, 2);
    assert!(!text.contains("fits NVIDIA"), "a name of one product is not ambiguous: {text}");
}

#[test]
fn a_card_has_the_memory_that_it_is_sold_with_and_explain_tells_both_figures() {
    for (model, memory, sizes) in [
        ("NVIDIA L4", L4, ["24GB", "24GiB"]),
        ("NVIDIA H100 80GB HBM3", H100, ["80GB", "80GiB"]),
        ("NVIDIA L40S", Bytes::mebi(46_068), ["48GB", "48GiB"]),
        ("Tesla T4", Bytes::mebi(15_109), ["16GB", "16GiB"]),
    ] {
        for (number, size) in (1..).zip(sizes) {
            let mut world = world(config(), having(&[(model, memory)]));
            let wish = format!("gpus = 1\ngpu_memory = \"{size}\"");
            assert_eq!(given(&mut world, number, &wish), Some(vec![gpu(1, 0)]), "{model} for {size}");
        }
    }
    let mut world = world(config(), having(&[("NVIDIA L4", L4)]));
    assert_eq!(given(&mut world, 1, "gpus = 1\ngpu_memory = \"32GiB\""), None);
    let (filters, text) = explained(&world, 1);
    assert_eq!(filters, [Filter::GpuMemory]);
    assert!(text.contains("at most 24GiB") && text.contains("NVIDIA L4 has 22.4GiB"), "{text}");
}

#[test]
fn a_pool_that_asks_for_a_size_takes_the_cards_that_are_sold_with_it() {
    let mut config = config();
    config.requirements.gpu_memory = Bytes::gibi(80);
    let mut world = world(config, having(&[("NVIDIA H100 80GB HBM3", H100)]));
    assert_eq!(given(&mut world, 1, "gpus = 1"), Some(vec![gpu(1, 0)]));
}

#[test]
fn a_gpu_that_is_too_small_for_the_pool_is_left_out_and_its_node_is_not() {
    let mut config = config();
    config.requirements.gpu_memory = Bytes::gibi(80);
    config.requirements.gpus = 2;
    let mixed = having(&[
        ("NVIDIA T400 4GB", Bytes::mebi(3_897)),
        ("NVIDIA H100 80GB HBM3", H100),
        ("NVIDIA H100 80GB HBM3", H100),
    ]);
    let mut mixed = world(config.clone(), mixed);
    assert_eq!(
        given(&mut mixed, 1, "gpus = 1"),
        Some(vec![gpu(1, 1)]),
        "never the small one, which comes first"
    );
    assert_eq!(given(&mut mixed, 2, "gpus = 1"), Some(vec![gpu(1, 2)]));
    assert_eq!(given(&mut mixed, 3, "gpus = 1"), None);
    let view = mixed.core.node(&mixed.workers[0].id).unwrap();
    let told = view.summary.gpus[0].reason.clone().unwrap_or_default();
    assert!(told.contains("left out"), "its owner sees why: {told:?}");

    let mut small =
        World::new(config, vec![Worker::new(1, having(&[("NVIDIA T400 4GB", Bytes::mebi(3_897))]))]);
    small.hello(0);
    small.facts(0, MembershipState::Never, 0);
    let Membership::Waiting { code, message } =
        small.core.node(&small.workers[0].id).unwrap().summary.membership
    else {
        panic!("a node with small GPUs only is not invited");
    };
    assert_eq!(code, "node/gpu-too-small");
    assert!(message.contains("80GiB") && message.contains("NVIDIA T400 4GB"), "{message}");
}

#[test]
fn instances_are_given_only_where_their_profile_is_asked_for() {
    let mut world = world(config(), slices("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 2));
    assert_eq!(given(&mut world, 1, "gpus = 1\ngpu_models = [\"A100\"]"), None);
    assert_eq!(given(&mut world, 2, "gpus = 1"), None);
    assert_eq!(given(&mut world, 3, "gpus = 2"), None, "two instances are no two GPUs");
    let (filters, text) = explained(&world, 3);
    assert_eq!(filters, [Filter::GpuModel]);
    assert!(text.contains("their profile") && text.contains("MIG 1g.10gb"), "{text}");
    assert_eq!(given(&mut world, 4, "gpus = 1\ngpu_models = [\"MIG 2g.20gb\"]"), None);
    for number in [5, 6] {
        let slice = given(&mut world, number, "gpus = 1\ngpu_models = [\"A100 MIG 1g.10gb\"]").unwrap();
        assert!(slice.len() == 1 && slice[0].as_str().starts_with("MIG-"), "{slice:?}");
    }
}

#[test]
fn instances_of_one_gpu_count_as_one_for_a_pool_that_asks_for_several() {
    let mut config = config();
    config.requirements.gpus = 2;
    let mut world = World::new(config, vec![Worker::new(1, slices("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 7))]);
    world.hello(0);
    world.facts(0, MembershipState::Never, 0);
    let membership = world.core.node(&world.workers[0].id).unwrap().summary.membership;
    assert!(
        matches!(&membership, Membership::Waiting { code, .. } if *code == "node/too-few-gpus"),
        "{membership:?}"
    );
}

#[test]
fn what_a_pool_declares_is_read_as_wishes_are() {
    let mut config = config();
    config.declared = Some(DeclaredMaximum {
        gpu_models: vec!["NVIDIA L40S".to_owned(), "A100".to_owned()],
        gpu_memory: Bytes::mebi(81_559),
        ..DeclaredMaximum::default()
    });
    let mut world = World::new(config, vec![]);
    let mut submit = |number, resources: &str| {
        let spec = spec("batch", &format!("[resources]\ngpus = 1\n{resources}\n"));
        let (order, idempotency_key) = (None, None);
        let id = task_id(number);
        world
            .step(Event::TaskSubmitted { id, spec, order, idempotency_key, image: unresolved() })
            .map(|_| ())
            .map_err(|refused| refused.code.to_string())
    };
    let beyond = Err("task/beyond-pool".to_owned());
    assert_eq!(submit(1, "gpu_models = [\"L4\"]"), beyond);
    assert_eq!(submit(2, "gpu_models = [\"A10\"]"), beyond);
    assert_eq!(submit(3, "gpu_models = [\"L40S\"]"), Ok(()));
    assert_eq!(submit(4, "gpu_models = [\"A100 80GB\"]"), Ok(()));
    assert_eq!(submit(5, "gpu_memory = \"80GiB\""), Ok(()), "what a card is sold with");
    assert_eq!(submit(6, "gpu_memory = \"96GiB\""), beyond);
}

#[test]
fn a_task_that_asks_for_a_version_runs_where_the_driver_is_new_enough() {
    let mut workers: Vec<Worker> = (1..=3).map(|number| Worker::new(number, specs(number, 1))).collect();
    for (worker, (cuda, driver)) in
        workers.iter_mut().zip([(12_020, "535.183.01"), (12_100, "560.35.05"), (13_000, "580.95.05")])
    {
        worker.specs.cuda_version = Some(cuda);
        worker.specs.driver_version = Some(driver.to_owned());
    }
    workers.push(Worker::new(4, specs(4, 1)));
    let mut world = World::with_members(config(), workers);
    let at_least = |key: &str, version: &str| {
        let constraint =
            format!("[[constraints]]\nkey = \"{key}\"\noperator = \"at-least\"\nvalues = [\"{version}\"]\n");
        spec("batch", &format!("[resources]\ngpus = 1\n{constraint}"))
    };
    world.submit(1, at_least("cuda", "12.8"));
    assert_eq!(world.node_of(assignment(task_id(1), 0, 1)), world.workers[1].id, "12.10 is newer than 12.8");
    world.submit(2, at_least("driver", "570"));
    assert_eq!(world.node_of(assignment(task_id(2), 0, 1)), world.workers[2].id);
    world.submit(3, at_least("cuda", "12.8"));
    let (filters, _) = explained(&world, 3);
    assert!(filters.contains(&Filter::Constraints) && filters.contains(&Filter::GpusFree), "{filters:?}");
    // A node whose driver was updated is asked again.
    world.workers[0].specs.cuda_version = Some(12_080);
    world.workers[0].nonce += 100;
    let descriptor = world.workers[0].descriptor();
    world.ok(Event::DescriptorLearned { descriptor });
    assert_eq!(world.node_of(assignment(task_id(3), 0, 1)), world.workers[0].id);
}

/// Findings that two nodes name one GPU, as they stand.
fn told(world: &World) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for action in &world.actions {
        match action {
            Action::RaiseFinding(finding) if finding.code == "gpu/claimed-twice" => {
                told.insert(finding.subject.clone(), finding.message.clone());
            }
            Action::ClearFinding { code, subject } if *code == "gpu/claimed-twice" => {
                told.remove(subject);
            }
            _ => {}
        }
    }
    told
}

fn describe(world: &mut World, number: usize) {
    world.workers[number].nonce += 100;
    let descriptor = world.workers[number].descriptor();
    world.ok(Event::DescriptorLearned { descriptor });
    world.beat(number);
}

#[test]
fn of_two_nodes_that_name_one_gpu_the_incumbent_keeps_its_work_and_the_other_gets_none_for_it() {
    let mut world = World::members(2, 2);
    let (first, second) = (world.workers[0].id, world.workers[1].id);
    world.submit(1, spec("service", &format!("[resources]\ngpus = 2\n{}", on(first))));
    world.workers[1].specs.gpus[0].uuid = gpu(1, 0);
    describe(&mut world, 1);
    let known = told(&world);
    let both = BTreeSet::from([first, second].map(|id| id.to_string()));
    assert_eq!(known.keys().cloned().collect::<BTreeSet<_>>(), both);
    assert!(known[&first.to_string()].contains("keeps its work"), "{known:?}");
    assert!(known[&second.to_string()].contains(&gpu(1, 0).to_string()), "{known:?}");
    assert_eq!(world.node_of(assignment(task_id(1), 0, 1)), first);
    // The other one still gives what is its own.
    world.submit(2, spec("batch", &format!("[resources]\ngpus = 1\n{}", on(second))));
    assert_eq!(world.core.assignment(&assignment(task_id(2), 0, 1)).unwrap().gpus, [gpu(2, 1)]);
    world.submit(3, spec("batch", &format!("[resources]\ngpus = 1\n{}", on(second))));
    assert!(world.core.assignment(&assignment(task_id(3), 0, 1)).is_none());
    let view = world.core.node(&second).unwrap();
    let contested = view.summary.gpus.iter().find(|known| known.uuid == gpu(1, 0)).unwrap();
    assert!(contested.reason.clone().unwrap().contains("gpu/claimed-twice"));
    // It names its own GPUs again: nothing is left of it.
    world.workers[1].specs.gpus[0].uuid = gpu(2, 0);
    describe(&mut world, 1);
    assert!(told(&world).is_empty());
    assert_eq!(world.core.assignment(&assignment(task_id(3), 0, 1)).unwrap().gpus, [gpu(2, 0)]);
}

#[test]
fn hardware_that_moves_to_another_host_is_used_there_once_the_old_one_is_silent() {
    let mut world = World::members(2, 1);
    let (first, second) = (world.workers[0].id, world.workers[1].id);
    world.workers[1].specs.gpus[0].uuid = gpu(1, 0);
    describe(&mut world, 1);
    world.submit(1, spec("batch", &format!("[resources]\ngpus = 1\n{}", on(second))));
    assert!(
        world.core.assignment(&assignment(task_id(1), 0, 1)).is_none(),
        "the one that named it first has it"
    );
    world.wait_beating(120_000, &[1]);
    assert!(told(&world).is_empty());
    assert_eq!(world.node_of(assignment(task_id(1), 0, 1)), second);
    // The old one comes back and still names it: now the other one is the incumbent.
    world.hello(0);
    world.beat(0);
    assert_eq!(told(&world).len(), 2);
    world.submit(2, spec("batch", &format!("[resources]\ngpus = 1\n{}", on(first))));
    assert!(world.core.assignment(&assignment(task_id(2), 0, 1)).is_none());
}

fn on(node: NodeId) -> String {
    format!("[[constraints]]\nkey = \"node\"\noperator = \"in\"\nvalues = [\"{node}\"]\n")
}

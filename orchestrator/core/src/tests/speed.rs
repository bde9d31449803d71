//! Not a benchmark, a look: how fast placement is at two fleet sizes, and how big things are.

use std::time::Instant;

use lode_protocol::ids::NodeId;
use lode_protocol::session::Heartbeat;
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};

use super::super::Core;
use super::super::event::*;
use super::super::node::Node;
use super::fleet::{add_member, all_healthy, started};
use super::world::{Worker, spec, specs, task_id};

fn fleet(count: u32) -> Core {
    let mut core = started();
    let worker = Worker::new(1, specs(1, 8));
    for number in 0..count {
        let mut specs = worker.specs.clone();
        // What is looked at is the time, not whether there is room.
        (specs.cpus, specs.memory) = (MilliCpus(10_000_000), Bytes::gibi(100_000));
        if number % 100 == 0 {
            specs.labels.insert("zone".to_owned(), "rare".to_owned());
        }
        add_member(&mut core, &worker, number, specs, |_| {});
    }
    core
}

/// Submits one task after the other, each of one replica, and returns how many were placed in a second.
fn placements_per_second(nodes: u32, tasks: u32, shapes: &[&str]) -> f64 {
    let mut core = fleet(nodes);
    let specs: Vec<_> = shapes.iter().map(|more| spec("batch", more)).collect();
    let events: Vec<Event> = (0..tasks)
        .map(|number| Event::TaskSubmitted {
            id: task_id(number.into()),
            spec: specs[usize::try_from(number).unwrap() % specs.len()].clone(),
            order: None,
            idempotency_key: None,
            image: super::world::unresolved(),
        })
        .collect();
    let now = Now { wall: Timestamp(2), monotonic: Millis(2) };
    let start = Instant::now();
    for event in events {
        core.step(now, event).unwrap();
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert_eq!(core.pool().assignments, tasks);
    f64::from(tasks) / elapsed
}

fn beats_per_second(nodes: u32) -> f64 {
    let mut core = fleet(nodes);
    let ids: Vec<NodeId> = core.nodes.keys().copied().collect();
    let mut worker = Worker::new(1, specs(1, 8));
    worker.session = Some((Default::default(), core.epoch()));
    worker.boot = 0;
    let beat = worker.next_beat();
    let now = Now { wall: Timestamp(2), monotonic: Millis(2) };
    let events: Vec<Event> = ids
        .iter()
        .map(|node| Event::BeatReceived {
            node: *node,
            digest: Default::default(),
            heartbeat: Heartbeat { gpus: all_healthy(&core.nodes[node]), ..beat.clone() },
            descriptor: None,
            link: worker.link,
        })
        .collect();
    let start = Instant::now();
    for event in events {
        core.step(now, event).unwrap();
    }
    f64::from(nodes) / start.elapsed().as_secs_f64()
}

#[test]
fn placement_and_beats_do_not_slow_down_with_the_fleet() {
    println!(
        "node {} B, assignment {} B, replica {} B, GPU slot {} B (without what they point to)",
        size_of::<Node>(),
        size_of::<super::super::assignment::Assignment>(),
        size_of::<super::super::task::Replica>(),
        size_of::<super::super::hardware::GpuSlot>()
    );
    let one = "[resources]\ngpus = 1\n";
    let model = "[resources]\ngpus = 2\ngpu_models = [\"h200\"]\ngpu_memory = \"80GiB\"\n";
    let label = "[[constraints]]\nkey = \"zone\"\noperator = \"in\"\nvalues = [\"rare\"]\n";
    let cpu = "[resources]\ncpus = 0.1\nmemory = \"64MiB\"\n";
    for (name, shapes) in [
        ("1 GPU", vec![one]),
        ("2 GPUs of a model", vec![model]),
        ("rare label", vec![label]),
        ("no GPU", vec![cpu]),
        ("all four mixed", vec![one, model, label, cpu]),
    ] {
        let small = placements_per_second(1_000, 2_000, &shapes);
        let large = placements_per_second(10_000, 20_000, &shapes);
        println!("placements, {name}: {small:.0}/s at 1,000 nodes, {large:.0}/s at 10,000 nodes");
    }
    println!(
        "beats: {:.0}/s at 1,000 nodes, {:.0}/s at 10,000 nodes",
        beats_per_second(1_000),
        beats_per_second(10_000)
    );
}

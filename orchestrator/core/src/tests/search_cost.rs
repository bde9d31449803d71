//! What a decision looks at, counted: it does not depend on the machine.

use lode_protocol::units::Bytes;

use super::super::Core;
use super::super::event::*;
use super::super::placement::{Counted, Effort};
use super::fleet::{add_member, node_id, started};
use super::world::{Worker, replica, spec, specs_with, task_id, unresolved};

const NODES: u32 = 10_000;

/// Three kinds of nodes; a zone of 20 and a tier of 3 on each, a host's name of its own, a link on one of 200.
fn fleet() -> Core {
    let mut core = started();
    let worker = Worker::new(1, specs_with(1, 0, "", Bytes(0)));
    for number in 0..NODES {
        let (model, memory) = [("NVIDIA H200", 141), ("NVIDIA L40S", 48), ("Tesla T4", 16)]
            [usize::try_from(number % 3).unwrap()];
        let mut specs = specs_with(1, 4, model, Bytes::gibi(memory));
        let mut label = |key: &str, value: String| specs.labels.insert(key.to_owned(), value);
        label("zone", format!("z{}", number % 20));
        label("tier", format!("t{}", number % 7 % 3));
        label("host", format!("h{number}"));
        if number % 200 == 0 {
            label("link", "yes".to_owned());
        }
        add_member(&mut core, &worker, number, specs, |_| {});
    }
    core
}

/// What the first decision of a shape looks at, and whether it finds a node.
fn decide(core: &Core, more: &str) -> (bool, Counted) {
    let mut core = core.clone();
    let now = core.now;
    core.step(now, Event::ChainViewed(ChainView::Stale)).unwrap();
    let id = task_id(1);
    let spec = spec("batch", more);
    core.step(
        now,
        Event::TaskSubmitted { id, spec, order: None, idempotency_key: None, image: unresolved() },
    )
    .unwrap();
    let shape = core.tasks[&id].shape;
    core.queue.judge(shape, &core.index);
    let mut effort = Effort::looks(u32::MAX);
    let (node, _) = core.best_node(shape, &replica(id, 0), &mut effort);
    (node.is_some(), effort.counted())
}

fn constraint(key: &str, operator: &str, values: &str) -> String {
    let values = if values.is_empty() { String::new() } else { format!("values = [{values}]\n") };
    format!("[[constraints]]\nkey = \"{key}\"\noperator = \"{operator}\"\n{values}")
}

#[test]
fn a_decision_looks_at_what_may_fit_and_at_nothing_else() {
    let core = fleet();
    let one = "[resources]\ngpus = 1\n";
    let found = (true, Counted { places: 1, nodes: 1 });
    for more in [
        String::new(),
        "gpu_models = [\"h200\"]\n".to_owned(),
        constraint("zone", "in", "\"z3\""),
        constraint("zone", "in", "\"z3\", \"z4\""),
        constraint("host", "in", "\"h7777\""),
        constraint("link", "exists", ""),
        constraint("node", "in", &format!("\"{}\"", node_id(5_000))),
        constraint("architecture", "in", "\"amd64\""),
    ] {
        assert_eq!(decide(&core, &format!("{one}{more}")), found, "{more}");
    }
    // Where two labels are asked for, the set of 50 is searched, and the other label is asked of places in it.
    let both = constraint("link", "exists", "") + &constraint("tier", "in", "\"t0\"");
    assert_eq!(decide(&core, &format!("{one}{both}")), (true, Counted { places: 3, nodes: 1 }));
}

#[test]
fn what_fits_nowhere_is_decided_without_a_look_at_any_node() {
    let core = fleet();
    for (more, places) in [
        // Neither kinds nor sets allow it.
        ("gpus = 1\ngpu_models = [\"b300\"]\n".to_owned(), 0),
        ("gpus = 5\n".to_owned(), 0),
        ("gpus = 1\ncpus = 17\n".to_owned(), 0),
        (format!("gpus = 1\n{}", constraint("link", "in", "\"no\"")), 0),
        (format!("gpus = 1\n{}", constraint("absent", "exists", "")), 0),
        (format!("gpus = 1\n{}", constraint("architecture", "in", "\"arm64\"")), 0),
        // The set of 50 is passed place by place.
        (format!("gpus = 1\n{}{}", constraint("link", "exists", ""), constraint("zone", "in", "\"z1\"")), 50),
    ] {
        assert_eq!(
            decide(&core, &format!("[resources]\n{more}")),
            (false, Counted { places, nodes: 0 }),
            "{more}"
        );
    }
    // Blocks of neighbours none of which has the memory are passed as one.
    for more in ["memory = \"65GiB\"\n", "disk = \"101GiB\"\n"] {
        let (found, counted) = decide(&core, &format!("[resources]\ngpus = 1\n{more}"));
        assert_eq!((found, counted.nodes), (false, 0), "{more}");
        assert!(counted.places < NODES / 32, "{more}: {} blocks", counted.places);
    }
}

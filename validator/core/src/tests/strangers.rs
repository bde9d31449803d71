//! What is left of those who connect and are nobody.

use super::*;

fn stranger(number: u32) -> NodeId {
    let mut address = [0xee; 20];
    address[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(Address(address))
}

#[test]
fn forty_thousand_strangers_leave_nothing() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Honest);
    for number in 0..40_000 {
        world.give(Event::Connected(stranger(number)));
        let facts = Facts { provider: None, proven: None };
        world.give(Event::Facts { node: stranger(number), facts });
        assert!(!world.core.awaits(&stranger(number)), "what it says need not be read");
        world.give(Event::Disconnected(stranger(number)));
    }
    assert_eq!(world.core.kept(), (1, 1), "the node, and its connection");
    assert_eq!(world.core.status().nodes.len(), 1);
    world.pass(30);
    assert!(world.judged.iter().any(|(judged, _)| *judged == node(1)), "it is proven all the same");
}

#[test]
fn strangers_that_stay_are_not_looked_at_when_the_status_is_told() {
    let mut world = World::new();
    for number in 0..1_000 {
        world.give(Event::Connected(stranger(number)));
    }
    world.give(Event::Tick);
    assert_eq!(world.core.kept(), (0, 1_000));
    assert!(world.core.status().nodes.is_empty());
    // One of them is described: that it is there was not forgotten.
    let description = Description { node: stranger(7), ..description(1, 1) };
    world.give(Event::Described(description));
    assert_eq!(world.core.kept(), (1, 1_000));
    assert!(world.core.status().nodes[0].connected);
}

#[test]
fn a_node_that_has_said_nothing_of_itself_for_long_is_forgotten_and_comes_back() {
    let mut world = World::new();
    world.give(Event::Connected(node(1)));
    let until = |seconds: u64| Timestamp(seconds * 1_000);
    let first = Description { expires_at: until(world.second + 60), ..description(1, 1) };
    world.give(Event::Described(first.clone()));
    let second =
        Description { version: (BootCounter(1), 2), expires_at: until(world.second + 120), ..first.clone() };
    world.give(Event::Described(second));
    world.second += 3_600 + 100;
    world.give(Event::Tick);
    assert_eq!(world.core.kept(), (1, 1), "an hour after its newest description has expired");
    world.second += 60;
    world.give(Event::Tick);
    assert_eq!(world.core.kept(), (0, 1));
    let third = Description {
        version: (BootCounter(1), 3),
        expires_at: until(world.second + 60),
        ..description(1, 1)
    };
    world.give(Event::Described(third));
    assert_eq!(world.core.kept(), (1, 1));
}

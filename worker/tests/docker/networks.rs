//! Networks of tasks: many, small, in the owner's ranges, and nobody else's.

use std::process::Command;

use bollard::models::IpamConfig;
use futures::StreamExt as _;
use lode_worker::core::effect::ContainerPlan;
use lode_worker::core::event::{ContainerId, EngineFailure};
use lode_worker::engine::Engine as _;

use super::support::{Image, Node, docker, plan};

/// The subnet of a container's network.
async fn subnet(node: &Node, container: &ContainerId) -> String {
    let network = node.inspect(container).await.host_config.unwrap().network_mode.unwrap();
    let config = docker().inspect_network(&network, None).await.unwrap().ipam.unwrap().config.unwrap();
    let [IpamConfig { subnet: Some(subnet), .. }] = config.as_slice() else { panic!("{config:?}") };
    subnet.clone()
}

fn within(range: &str) -> Node {
    Node::configured(|config| config.subnets = range.parse().unwrap())
}

/// A network that is not ours, removed when dropped.
struct Foreign(String);

impl Foreign {
    fn create(subnet: &str) -> Self {
        let name = format!("foreign-{}", uuid::Uuid::now_v7().simple());
        let created =
            Command::new("docker").args(["network", "create", "--subnet", subnet, &name]).output().unwrap();
        assert!(created.status.success(), "{created:?}");
        Self(name)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        Command::new("docker").args(["network", "rm", &self.0]).output().unwrap();
    }
}

#[tokio::test]
async fn more_tasks_fit_on_a_host_than_the_engine_s_own_pools_have_networks() {
    const TASKS: usize = 33;
    let image = Image::build(&[]).await;
    let node = Node::new();
    let plans: Vec<ContainerPlan> = (0..TASKS).map(|_| plan(&image, "true", "")).collect();
    let created: Vec<_> = futures::stream::iter(&plans)
        .map(|plan| node.engine.create(plan))
        .buffer_unordered(3)
        .collect()
        .await;
    let mut subnets = std::collections::BTreeSet::new();
    for container in created {
        let subnet = subnet(&node, &container.unwrap()).await;
        assert!(subnet.starts_with("10.213.") && subnet.ends_with("/29"), "{subnet}");
        subnets.insert(subnet);
    }
    assert_eq!(subnets.len(), TASKS);
}

#[tokio::test]
async fn a_range_that_is_used_up_refuses_as_a_full_host_and_has_room_again_when_a_task_is_gone() {
    let image = Image::build(&[]).await;
    let node = within("10.214.77.0/28");
    let plans: Vec<ContainerPlan> = (0..3).map(|_| plan(&image, "true", "")).collect();
    for plan in &plans[..2] {
        node.engine.create(plan).await.unwrap();
    }
    let refused = node.engine.create(&plans[2]).await.unwrap_err();
    let EngineFailure::NoRoom(why) = refused else { panic!("{refused:?}") };
    assert!(why.contains("10.214.77.0/28") && why.contains("docker.subnets"), "{why}");
    assert_eq!(node.engine.list().await.unwrap().len(), 2, "nothing half-made is left");
    node.engine.remove(&plans[0].id).await.unwrap();
    node.engine.create(&plans[2]).await.unwrap();
}

#[tokio::test]
async fn a_network_that_somebody_else_has_is_stepped_over() {
    let image = Image::build(&[]).await;
    let _foreign = Foreign::create("10.214.78.0/29");
    let node = within("10.214.78.0/28");
    let container = node.engine.create(&plan(&image, "true", "")).await.unwrap();
    assert_eq!(subnet(&node, &container).await, "10.214.78.8/29");
    let refused = node.engine.create(&plan(&image, "true", "")).await;
    assert!(matches!(refused, Err(EngineFailure::NoRoom(_))), "{refused:?}");
}

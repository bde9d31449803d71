//! The same driver on the system's real Docker engine: a task survives its worker.

use std::process::Command;
use std::sync::Arc;

use lode_chain_types::MembershipState;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::session::Membership;
use lode_protocol::units::Bytes;
use lode_store::MemoryStore;
use lode_worker::docker::{
    DockerEngine, EngineConfig, GpuAccess, Hardening, ImageAccess, Ownership, ProcessLimits,
};
use lode_worker::identity::Identity;
use lode_worker::subnets::Subnets;

use super::node::{Node, chain, identity, order};
use super::orchestrator::Orchestrator;

/// Whatever carries this node's label is removed at the end.
struct CleanUp {
    node: String,
    image: String,
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("these tests need the docker client");
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        let filter = format!("label=lode.node={}", self.node);
        for container in docker(&["ps", "-aq", "--filter", &filter]).split_whitespace() {
            docker(&["rm", "-fv", container]);
        }
        for network in docker(&["network", "ls", "-q", "--filter", &filter]).split_whitespace() {
            docker(&["network", "rm", network]);
        }
        docker(&["rmi", "-f", &self.image]);
    }
}

fn engine(identity: &Identity) -> Arc<DockerEngine> {
    Arc::new(DockerEngine::new(EngineConfig {
        socket: "/var/run/docker.sock".into(),
        ownership: Ownership::new(identity.node(), identity.realm),
        realm: identity.realm,
        hardening: Hardening {
            pids: 64,
            tmpfs: Bytes(1 << 20),
            limits: ProcessLimits { open_files: 4_096, locked_memory: None },
            host_address: "127.0.0.1".parse().unwrap(),
            log_size: Bytes(1 << 20),
            runtime: None,
        },
        access: GpuAccess::None,
        images: ImageAccess::default(),
        subnets: Subnets::default(),
    }))
}

fn build_image(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("bin")).unwrap();
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| std::path::Path::new(path).exists());
    let busybox = busybox.expect("these tests need a static busybox: install busybox-static");
    std::fs::copy(busybox, directory.path().join("bin/busybox")).unwrap();
    std::fs::create_dir(directory.path().join("tmp")).unwrap();
    let archive = directory.path().with_extension("tar");
    let packed =
        Command::new("tar").arg("cf").arg(&archive).arg("-C").arg(directory.path()).arg(".").status();
    assert!(packed.unwrap().success());
    docker(&["import", archive.to_str().unwrap(), name]);
    std::fs::remove_file(archive).unwrap();
}

#[tokio::test]
async fn a_container_goes_on_without_its_worker_and_is_adopted_by_the_next_one() {
    let identity = identity();
    let image = format!("lode-adopt-{}:1", uuid::Uuid::now_v7().simple());
    let clean_up = CleanUp { node: identity.node().to_string(), image: image.clone() };
    build_image(&image);
    let mut orchestrator = Orchestrator::start(identity.realm, identity.address(), Membership::Member).await;
    let store = MemoryStore::new();
    let view = chain(&orchestrator, MembershipState::Member);
    let node = Node::start(identity.clone(), engine(&identity), &store, view.clone()).await;
    let order = order(&format!(
        "kind = \"service\"\nimage = \"{image}\"\ncommand = [\"/bin/busybox\", \"sleep\", \"600\"]\npull = \"never\"\n"
    ));
    orchestrator.want(std::slice::from_ref(&order));
    let state = |seen: &Orchestrator| seen.reports.get(&order.id).map(|report| report.state);
    orchestrator.until("running", |seen| state(seen) == Some(AssignmentState::Running)).await;
    let filter = format!("label=lode.node={}", identity.node());
    let show = || docker(&["ps", "--no-trunc", "--format", "{{.ID}} {{.CreatedAt}}", "--filter", &filter]);
    let before = show();
    assert_eq!(before.lines().count(), 1, "{before}");
    node.stop().await;
    assert_eq!(show(), before, "the container does not need its worker");
    let _again = Node::start(identity.clone(), engine(&identity), &store, view).await;
    let hellos = orchestrator.hellos.len();
    orchestrator.until("a greeting", |seen| seen.hellos.len() > hellos).await;
    orchestrator.reports.clear();
    orchestrator.until("adopted", |seen| state(seen) == Some(AssignmentState::Running)).await;
    assert_eq!(show(), before, "the same container, not a new one");
    orchestrator.want(&[]);
    orchestrator.until("stopped", |seen| state(seen) == Some(AssignmentState::Stopped)).await;
    let networks = || docker(&["network", "ls", "-q", "--filter", &filter]);
    orchestrator.until("gone", |_| show().is_empty() && networks().is_empty()).await;
    drop(clean_up);
}

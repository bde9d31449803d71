//! Pulling, and what its failures mean.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::query_parameters::{PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use futures::StreamExt as _;
use lode_protocol::image::ImageReference;
use lode_protocol::task::PullPolicy;
use lode_worker::core::event::{EngineFailure, Origin, PulledImage};
use lode_worker::engine::Engine as _;

use super::support::{Image, Node, docker, free_port, plan, wanted};

/// A registry of our own on a free port.
struct Registry {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Registry {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let config = directory.path().join("config.yml");
        let root = directory.path().join("data");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\nlog:\n  level: error\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need docker-registry: install the package of that name");
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(Instant::now() < deadline, "the registry does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { process, address, _directory: directory }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn forget(reference: &str) {
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    let _ = docker().remove_image(reference, Some(options), None).await;
}

#[tokio::test]
async fn a_registry_s_image_is_pulled_and_named_by_its_digest() {
    let registry = Registry::start().await;
    let image = Image::build(&[]).await;
    let node = Node::new();
    let repository = format!("{}/x", registry.address);
    let reference = format!("{repository}:1");
    let options = TagImageOptionsBuilder::default().repo(&repository).tag("1").build();
    docker().tag_image(&image.name, Some(options)).await.unwrap();
    let options = PushImageOptionsBuilder::default().tag("1").build();
    let docker = docker().negotiate_version().await.unwrap();
    let mut push = docker.push_image(&repository, Some(options), None);
    while let Some(step) = push.next().await {
        step.unwrap();
    }
    drop(push);
    forget(&reference).await;

    let never = node.engine.pull(&wanted(&reference, PullPolicy::Never)).await.unwrap_err();
    assert!(matches!(never, EngineFailure::ImageNotFound(_)), "{never:?}");
    let pull = async |image: &str, policy| node.engine.pull(&wanted(image, policy)).await.unwrap();
    let PulledImage { name: pulled, origin } = pull(&reference, PullPolicy::Missing).await;
    assert_eq!(origin, Origin::Fetched);
    assert!(pulled.starts_with(&format!("{repository}@sha256:")), "{pulled}");
    let there = PulledImage { name: pulled.clone(), origin: Origin::Present };
    assert_eq!(pull(&pulled, PullPolicy::Missing).await, there);
    assert_eq!(pull(&reference, PullPolicy::Always).await, there);
    assert_eq!(pull(&reference, PullPolicy::Never).await, there);
    // What a digest names never changes: nobody is asked for it again, also when the registry is away.
    drop(registry);
    assert_eq!(pull(&pulled, PullPolicy::Always).await, there);
    forget(&reference).await;
}

#[tokio::test]
async fn an_image_that_the_registry_does_not_have_is_the_task_s_fault_in_words_of_ours() {
    let registry = Registry::start().await;
    let node = Node::new();
    let unknown = format!("{}/x:none", registry.address);
    let unknown = node.engine.pull(&wanted(&unknown, PullPolicy::Missing)).await.unwrap_err();
    assert!(matches!(unknown, EngineFailure::ImageNotFound(_)), "{unknown:?}");
    assert!(!unknown.detail().contains("manifest unknown"), "{unknown:?}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_a_missing_image() {
    let node = Node::new();
    let reference = format!("127.0.0.1:{}/x:1", free_port());
    let down = node.engine.pull(&wanted(&reference, PullPolicy::Missing)).await.unwrap_err();
    assert!(matches!(down, EngineFailure::PullFailed(_)), "{down:?}");
}

#[tokio::test]
async fn an_image_that_the_engine_has_needs_no_registry() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let found = node.engine.pull(&wanted(&image.name, PullPolicy::Missing)).await.unwrap();
    assert!(found.name.starts_with("sha256:") && found.origin == Origin::Present, "{found:?}");
    assert_eq!(node.engine.pull(&wanted(&image.name, PullPolicy::Never)).await.unwrap(), found);
}

#[tokio::test]
async fn an_image_goes_by_its_name_when_nothing_uses_it_and_stays_while_a_container_does() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let name: ImageReference = image.name.parse().unwrap();
    let plan = plan(&image, "true", "");
    node.engine.create(&plan).await.unwrap();
    let used = node.engine.remove_image(&name).await.unwrap_err();
    assert!(matches!(used, EngineFailure::Other(_)), "{used:?}");
    assert!(docker().inspect_image(&image.name).await.is_ok());
    node.engine.remove(&plan.id).await.unwrap();
    node.engine.remove_image(&name).await.unwrap();
    assert!(docker().inspect_image(&image.name).await.is_err());
    node.engine.remove_image(&name).await.unwrap();
}

#[tokio::test]
async fn the_engine_says_where_it_keeps_its_data() {
    let node = Node::new();
    let said = docker().info().await.unwrap().docker_root_dir.map(PathBuf::from);
    assert!(said.is_some());
    assert_eq!(node.engine.data_root().await.unwrap(), said);
}

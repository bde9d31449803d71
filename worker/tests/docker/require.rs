//! What an image says that it needs of the driver.

use std::sync::Arc;

use lode_worker::core::event::EngineFailure;
use lode_worker::docker::{DockerEngine, GpuAccess};
use lode_worker::engine::Engine as _;
use lode_worker::gpus::{GpuView, Offered};
use tokio::sync::watch;

use super::support::{Image, Node, plan, with_gpus};

const GPU: [&str; 1] = ["GPU-11111111-0000-0000-0000-000000000001"];

/// The node's engine on a host whose driver runs this CUDA.
fn judging(node: &Node, cuda: u32) -> DockerEngine {
    let driver_version = Some("535.183.01".to_owned());
    let offered = Offered { cuda_version: Some(cuda), driver_version, ..Offered::default() };
    let (_, gpus) = watch::channel(Arc::new(GpuView { offered, looked: true, ..GpuView::default() }));
    DockerEngine::new(node.engine.config().clone()).judging_images_by(gpus)
}

#[tokio::test]
async fn an_image_that_needs_a_newer_driver_is_nobodys_fault_and_leaves_nothing_behind() {
    let image = Image::build(&["ENV NVIDIA_REQUIRE_CUDA=cuda>=12.8"]).await;
    let node = Node::with(GpuAccess::Hook);
    let order = with_gpus(plan(&image, "true", ""), &GPU);
    let refused = judging(&node, 12_020).create(&order).await.unwrap_err();
    let EngineFailure::Unmet(detail) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("cuda>=12.8") && detail.contains("12.2"), "{detail}");
    assert!(node.engine.list().await.unwrap().is_empty(), "no container was made");
    let container = judging(&node, 12_080).create(&order).await.unwrap();
    assert!(node.inspect(&container).await.id.is_some());
    // A task without GPUs has no use for them.
    judging(&node, 12_020).create(&plan(&image, "true", "")).await.unwrap();
}

//! Output outlives its container.

use std::time::Duration;

use futures::StreamExt as _;
use lode_program::{Clock, FindingSet};
use lode_worker::engine::{Engine as _, LogQuery};
use lode_worker::output::{KeptOutput, OutputLimits};

use crate::support::{Image, Node, plan};

#[tokio::test]
async fn output_is_kept_when_its_container_goes_and_of_long_output_the_newest() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let folder = tempfile::tempdir().unwrap();
    let findings = FindingSet::new(Clock::system());
    let limits = OutputLimits { per_assignment: 4_000, total: 1 << 20, keep_for: Duration::from_secs(3_600) };
    let kept = KeptOutput::open(folder.path().join("output"), limits, findings.clone()).unwrap();
    let plan = plan(&image, "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo end >&2", "");
    let container = node.run(&plan).await;
    node.engine.wait(&container).await.unwrap();
    kept.keep(plan.id, &node.engine, &container).await;
    node.engine.remove(&plan.id).await.unwrap();
    // The removal may have to be repeated: what was kept does not give way to nothing.
    kept.keep(plan.id, &node.engine, &container).await;
    assert!(findings.list().is_empty(), "{:?}", findings.list());
    let read = kept.read(&plan.id, LogQuery::default()).await.expect("it is kept");
    let lines: Vec<String> = read.map(|line| line.unwrap().text).collect().await;
    assert!((50..150).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().any(|line| line == "line 499") && lines.iter().any(|line| line == "end"));
    assert!(!lines.iter().any(|line| line == "line 1"));
    let other = crate::support::assignment();
    assert!(kept.read(&other, LogQuery::default()).await.is_none());
}

#[tokio::test]
async fn output_that_nobody_can_give_is_told() {
    let node = Node::new();
    let folder = tempfile::tempdir().unwrap();
    let findings = FindingSet::new(Clock::system());
    let limits = OutputLimits { per_assignment: 4_000, total: 1 << 20, keep_for: Duration::from_secs(3_600) };
    let kept = KeptOutput::open(folder.path().join("output"), limits, findings.clone()).unwrap();
    let gone = lode_worker::core::event::ContainerId("0123456789ab".to_owned());
    // The engine is connected to by the first call that asks it something.
    node.engine.ping().await.unwrap();
    kept.keep(crate::support::assignment(), &node.engine, &gone).await;
    assert_eq!(findings.list()[0].finding.code, "output/not-kept");
    assert_eq!(std::fs::read_dir(folder.path().join("output")).unwrap().count(), 0, "nothing half-made");
}

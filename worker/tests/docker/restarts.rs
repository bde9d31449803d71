//! What an engine does to containers when it stops, dies or loses power is never taken for what they did.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lode_worker::core::event::{ContainerId, Ending, EngineFailure};
use lode_worker::docker::DockerEngine;
use lode_worker::engine::{Captured, Engine as _, Marks};

use super::own_engine::OwnEngine;
use super::support::{Image, Node, plan};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Obeys a polite signal, and calls that a success.
const OBEDIENT: &str = "trap 'exit 0' TERM; echo ready; while true; do sleep 0.1; done";

async fn runs(engine: &DockerEngine, image: &Image) -> ContainerId {
    let container = engine.create(&plan(image, OBEDIENT, "")).await.unwrap();
    engine.start(&container).await.unwrap();
    // It obeys from when it has said something.
    let mut output = engine.output(&container, Marks::default());
    let said = tokio::time::timeout(PATIENCE, output.next()).await.expect("it says nothing");
    assert!(matches!(said, Some(Ok(Captured::Piece(_)))), "{said:?}");
    container
}

/// By a worker that was there all the time, and by one that comes later.
async fn examined(engine: &DockerEngine, container: &ContainerId) -> Ending {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match engine.examine(container).await {
            Ok(ending) => return ending,
            Err(EngineFailure::Unavailable(why)) => assert!(Instant::now() < deadline, "{why}"),
            Err(failure) => panic!("{failure:?}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn what_a_stopping_engine_ends_is_told_by_no_engine_that_lived_on() {
    let mut own = OwnEngine::start().await;
    let image = Image::build_at(&own.socket(), &[]).await;
    let node = Node::new();
    let engine = own.view(&node);
    let container = runs(&engine, &image).await;
    let before = engine.life().await.unwrap();
    assert_eq!(engine.life().await.unwrap(), before, "one life has one name");

    let judged = async {
        // It may tell of the end that it brings about, or hang up.
        let told = engine.wait(&container).await;
        loop {
            match engine.examine(&container).await {
                Ok(ending) => return Some((told, ending)),
                Err(EngineFailure::Unavailable(_)) => return None,
                // Its last moments.
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    };
    let (judged, ()) = tokio::join!(judged, own.stop());
    assert_eq!(judged, None, "it was taken for an end of its own");

    own.start_again().await;
    let ending = examined(&engine, &container).await;
    assert_eq!(ending.run.boot, before.boot, "the host is the same");
    assert_ne!(ending.run, before, "the engine is another, whatever it wrote down: {ending:?}");
    assert_eq!(engine.life().await.unwrap(), ending.run);
}

#[tokio::test]
async fn what_ends_without_power_is_told_by_another_life_of_the_engine_whatever_code_it_writes_down() {
    let mut own = OwnEngine::start().await;
    let image = Image::build_at(&own.socket(), &[]).await;
    let node = Node::new();
    let engine = own.view(&node);
    let container = runs(&engine, &image).await;
    let before = engine.life().await.unwrap();
    own.lose_power(&engine, &container).await;
    let meanwhile = engine.examine(&container).await;
    assert!(matches!(meanwhile, Err(EngineFailure::Unavailable(_))), "{meanwhile:?}");
    own.start_again().await;
    let ending = examined(&engine, &container).await;
    assert_ne!(ending.run, before, "{ending:?}");
}

#[tokio::test]
async fn an_end_by_itself_is_told_by_the_life_of_the_engine_that_it_ran_in() {
    let own = OwnEngine::start().await;
    let image = Image::build_at(&own.socket(), &[]).await;
    let engine = own.view(&Node::new());
    let before = engine.life().await.unwrap();
    let container = engine.create(&plan(&image, "exit 0", "")).await.unwrap();
    engine.start(&container).await.unwrap();
    assert_eq!(engine.wait(&container).await.unwrap().code, 0);
    let ending = examined(&engine, &container).await;
    assert_eq!((ending.run, ending.exit.code, ending.stopped_by_hand), (before, 0, None));
}

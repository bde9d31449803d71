//! From start to end: exits, stops, ports, output, and whose container is whose.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lode_protocol::logs::LogSource;
use lode_protocol::units::Bytes;
use lode_worker::core::event::{ContainerId, EngineFailure, Exit, ObservedState};
use lode_worker::docker::{DockerEngine, GpuAccess};
use lode_worker::engine::{Captured, Engine, Marks};

use super::support::{GRACE, Image, Node, config, docker, free_port, plan};

#[tokio::test]
async fn exit_codes_are_reported_as_they_are() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    for code in [0, 1, 42] {
        let (exit, _) = node.output(&plan(&image, &format!("exit {code}"), "")).await;
        assert_eq!(exit, Exit { code, out_of_memory: false });
    }
}

#[tokio::test]
async fn a_task_over_its_memory_limit_is_reported_as_out_of_memory() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let eater = "exec tail -c 200000000 /dev/zero";
    let (exit, _) = node.output(&plan(&image, eater, "[resources]\nmemory = \"16MiB\"\n")).await;
    assert_eq!(exit, Exit { code: 137, out_of_memory: true });
}

#[tokio::test]
async fn a_task_that_ignores_the_polite_signal_is_killed_after_its_grace() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "trap '' TERM; while true; do sleep 1; done", "")).await;
    let started = Instant::now();
    node.engine.stop(&container, GRACE).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(15), "{took:?}");
    assert_eq!(node.engine.wait(&container).await.unwrap().code, 137);
    node.engine.stop(&container, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_task_that_obeys_ends_at_once() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "trap 'exit 5' TERM; while true; do sleep 0.1; done", "")).await;
    node.engine.stop(&container, lode_protocol::units::Millis::seconds(30)).await.unwrap();
    assert_eq!(node.engine.wait(&container).await.unwrap().code, 5);
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_the_task_s_fault() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let mut wrong = plan(&image, "true", "");
    let text = format!("name = \"t\"\nkind = \"batch\"\nimage = \"{}\"\ncommand = [\"/nope\"]\n", image.name);
    wrong.order.spec = lode_protocol::task::TaskSpec::from_toml(&text).unwrap().validate().unwrap();
    let failure = match node.engine.create(&wrong).await {
        Ok(container) => node.engine.start(&container).await.unwrap_err(),
        Err(failure) => failure,
    };
    assert!(matches!(failure, EngineFailure::CannotStart(_)), "{failure:?}");
}

#[tokio::test]
async fn a_user_or_a_directory_that_the_image_does_not_have_is_the_task_s_fault_and_is_named() {
    let node = Node::new();
    for (change, named) in
        [("USER appuser", "USER"), ("USER 1:nogroup", "USER"), ("WORKDIR /bin/busybox", "")]
    {
        let image = Image::build(&[change]).await;
        let plan = plan(&image, "true", "");
        let failure = match node.engine.create(&plan).await {
            Ok(container) => node.engine.start(&container).await.unwrap_err(),
            Err(failure) => failure,
        };
        let EngineFailure::CannotStart(detail) = &failure else { panic!("{change}: {failure:?}") };
        assert!(detail.contains(named), "{change}: {detail}");
    }
}

#[tokio::test]
async fn an_image_that_is_removed_after_its_pull_is_the_node_s_fault() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let mut gone = plan(&image, "true", "");
    gone.image = format!("sha256:{}", "0".repeat(64));
    let failure = node.engine.create(&gone).await.unwrap_err();
    assert!(matches!(failure, EngineFailure::ImageRemoved(_)), "{failure:?}");
}

#[tokio::test]
async fn a_runtime_that_the_engine_does_not_have_is_the_node_s_fault() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let mut elsewhere = config(node.id, node.realm, GpuAccess::None);
    elsewhere.hardening.runtime = Some("no-such-runtime".to_owned());
    let engine = DockerEngine::new(elsewhere);
    let failure = match engine.create(&plan(&image, "true", "")).await {
        Ok(container) => engine.start(&container).await.unwrap_err(),
        Err(failure) => failure,
    };
    assert!(matches!(failure, EngineFailure::Runtime(_)), "{failure:?}");
}

#[tokio::test]
async fn an_end_is_examined_with_the_limits_that_were_in_force() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let life = node.engine.life().await.unwrap();
    // A child is killed, the task is not.
    let script = "tail -c 2000000000 /dev/zero > /dev/null; echo result";
    for (extra, limit) in [("", 512), ("[resources]\nmemory = \"16MiB\"\n", 16)] {
        let container = node.run(&plan(&image, script, extra)).await;
        assert_eq!(node.engine.wait(&container).await.unwrap().code, 0);
        let ending = node.engine.examine(&container).await.unwrap();
        assert_eq!(ending.exit, Exit { code: 0, out_of_memory: true });
        assert_eq!(ending.limits.memory, Some(Bytes::mebi(limit)));
        assert_eq!(ending.run, life, "it is the engine of before");
        assert_eq!(ending.stopped_by_hand, None);
    }
}

#[tokio::test]
async fn a_container_that_somebody_stopped_by_hand_is_told_from_one_that_ended_by_itself() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let patient = "trap 'exit 0' TERM; while true; do sleep 0.1; done";
    let stopped = node.run(&plan(&image, patient, "")).await;
    let own = node.run(&plan(&image, "exit 3", "")).await;
    let runs = node.engine.examine(&stopped).await.unwrap_err();
    assert!(matches!(runs, EngineFailure::Other(_)), "it has not ended: {runs:?}");
    let options = bollard::query_parameters::StopContainerOptionsBuilder::default().t(5).build();
    docker().stop_container(&stopped.0, Some(options)).await.unwrap();
    node.engine.wait(&stopped).await.unwrap();
    let ending = node.engine.examine(&stopped).await.unwrap();
    assert!(ending.stopped_by_hand.is_some(), "{ending:?}");
    assert_eq!(node.engine.wait(&own).await.unwrap().code, 3);
    let ending = node.engine.examine(&own).await.unwrap();
    assert_eq!((ending.exit.code, ending.stopped_by_hand), (3, None));
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_told_apart() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = plan(&image, "sleep 60", "[[ports]]\nname = \"http\"\ncontainer = 80\n");
    plan.ports[0].host = taken.local_addr().unwrap().port();
    let container = node.engine.create(&plan).await.unwrap();
    let failure = node.engine.start(&container).await.unwrap_err();
    assert!(matches!(failure, EngineFailure::PortTaken(_)), "{failure:?}");
}

#[tokio::test]
async fn a_published_port_answers_on_the_host_and_readiness_sees_it() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let script = "echo hello > /tmp/index.html; exec httpd -f -p $LODE_PORT_HTTP -h /tmp";
    let mut plan = plan(&image, script, "[[ports]]\nname = \"http\"\ncontainer = 8080\n");
    plan.ports[0].host = free_port();
    let container = node.run(&plan).await;
    let action =
        lode_protocol::task::ProbeAction::Http { port: "http".to_owned(), path: "/index.html".to_owned() };
    let missing =
        lode_protocol::task::ProbeAction::Http { port: "http".to_owned(), path: "/nope".to_owned() };
    let host = "127.0.0.1".parse().unwrap();
    let timeout = lode_protocol::units::Millis::seconds(2);
    let ask =
        |action| lode_worker::probe::ask(&node.engine, host, &container, (action, &plan.ports), timeout);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(why) = ask(&action).await {
        assert!(Instant::now() < deadline, "never ready: {why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ask(&missing).await, Err("HTTP status 404".to_owned()));
    let exec = |command: &str| lode_protocol::task::ProbeAction::Exec { command: vec![command.to_owned()] };
    let (succeeds, fails) = (exec("true"), exec("false"));
    assert_eq!(ask(&succeeds).await, Ok(()));
    assert_eq!(ask(&fails).await, Err("the command ended with exit code 1".to_owned()));
}

#[tokio::test]
async fn output_comes_in_stamped_pieces_by_source_until_the_container_s_end() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "echo one; echo two >&2; echo three", "")).await;
    let output: Vec<_> = node.engine.output(&container, Marks::default()).map(Result::unwrap).collect().await;
    let (end, output) = output.split_last().unwrap();
    assert_eq!(*end, Captured::End, "it is said that nothing follows");
    let mut said: Vec<_> = output
        .iter()
        .map(|captured| {
            let Captured::Piece(piece) = captured else { panic!("{captured:?}") };
            assert!(piece.mark.at.0 > 0 && piece.ends_line);
            (String::from_utf8_lossy(&piece.bytes).into_owned(), piece.source)
        })
        .collect();
    said.sort_by(|left, right| left.0.cmp(&right.0));
    let (out, err) = (LogSource::Stdout, LogSource::Stderr);
    assert_eq!(said, [("one".to_owned(), out), ("three".to_owned(), out), ("two".to_owned(), err)]);
}

#[tokio::test]
async fn removal_takes_the_container_and_its_network_and_may_be_repeated() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let plan = plan(&image, "sleep 60", "");
    let container = node.run(&plan).await;
    let network = node.inspect(&container).await.host_config.unwrap().network_mode.unwrap();
    node.engine.remove(&plan.id).await.unwrap();
    node.engine.remove(&plan.id).await.unwrap();
    assert!(node.engine.list().await.unwrap().is_empty());
    let gone = docker().inspect_network(&network, None).await;
    assert!(gone.is_err(), "{gone:?}");
}

#[tokio::test]
async fn a_new_try_replaces_what_is_left_of_the_old_one() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let mut plan = plan(&image, "sleep 60", "");
    let first = node.run(&plan).await;
    plan.attempt.0 += 1;
    let second = node.run(&plan).await;
    assert_ne!(first, second);
    let listed = node.engine.list().await.unwrap();
    let [only] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(
        (&only.container, only.assignment, &only.state),
        (&second, Some(plan.id), &ObservedState::Running)
    );
}

#[tokio::test]
async fn two_nodes_on_one_engine_never_see_each_other_s_containers() {
    let image = Image::build(&[]).await;
    let (left, right) = (Node::new(), Node::new());
    let plan = plan(&image, "sleep 60", "");
    let container = left.run(&plan).await;
    assert!(right.engine.list().await.unwrap().is_empty());
    right.engine.remove(&plan.id).await.unwrap();
    // The same node in another pool is somebody else, too.
    let realm = lode_protocol::envelope::Realm { pool: lode_protocol::ids::PoolId(2), ..left.realm };
    let elsewhere = DockerEngine::new(config(left.id, realm, GpuAccess::None));
    assert!(elsewhere.list().await.unwrap().is_empty());
    elsewhere.remove(&plan.id).await.unwrap();
    let listed = left.engine.list().await.unwrap();
    assert_eq!(listed.iter().map(|seen| seen.container.clone()).collect::<Vec<ContainerId>>(), [container]);
    assert_eq!(listed[0].state, ObservedState::Running);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut absent = config(Node::new().id, Node::new().realm, GpuAccess::None);
    absent.socket = directory.path().join("docker.sock");
    let engine = DockerEngine::new(absent);
    assert!(matches!(engine.ping().await, Err(EngineFailure::Unavailable(_))));
    assert!(matches!(engine.list().await, Err(EngineFailure::Unavailable(_))));
}

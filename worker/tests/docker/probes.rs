//! Whether a task is ready: it must listen itself, and what is asked of it leaves nothing behind.

use std::process::Command;
use std::time::{Duration, Instant};

use lode_protocol::task::ProbeAction;
use lode_protocol::units::Millis;
use lode_worker::core::event::ContainerId;
use lode_worker::engine::{Engine as _, Ran};

use super::support::{Image, Node, free_port, plan};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Commands of the processes in a container.
fn processes(container: &ContainerId) -> Vec<String> {
    let listed = Command::new("docker").args(["top", &container.0, "-o", "pid,args"]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8(listed.stdout).unwrap().lines().skip(1).map(str::to_owned).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_task_that_does_not_listen_is_not_ready_although_the_engine_s_proxy_accepts() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let script = "while [ ! -e /tmp/go ]; do sleep 0.1; done; exec httpd -f -p 8080 -h /tmp";
    let mut plan = plan(&image, script, "[[ports]]\nname = \"http\"\ncontainer = 8080\n");
    plan.ports[0].host = free_port();
    let container = node.run(&plan).await;
    let action = ProbeAction::Tcp { port: "http".to_owned() };
    let host = "127.0.0.1".parse().unwrap();
    let ask = || {
        let asked = (&action, plan.ports.as_slice());
        lode_worker::probe::ask(&node.engine, host, &container, asked, Millis::seconds(5))
    };
    for _ in 0..5 {
        assert!(ask().await.is_err(), "nothing listens");
    }
    let go = node.engine.execute(&container, &words(&["touch", "/tmp/go"]), Duration::from_secs(60)).await;
    assert_eq!(go.unwrap(), Ran::Ended(0));
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(why) = ask().await {
        assert!(Instant::now() < deadline, "never ready: {why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_everything_it_started() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "exec sleep 1000", "")).await;
    let command = words(&["sh", "-c", "sleep 601 & sleep 602; true"]);
    for _ in 0..3 {
        let ran = node.engine.execute(&container, &command, Duration::from_millis(500)).await;
        assert_eq!(ran.unwrap(), Ran::TooLong { killed: true });
        until("its processes are gone", || {
            !processes(&container).iter().any(|line| line.contains("sleep 60"))
        })
        .await;
    }
    let left = processes(&container);
    assert!(left.len() == 1 && left[0].contains("sleep 1000"), "the task itself goes on: {left:?}");
    let quick = node.engine.execute(&container, &words(&["false"]), Duration::from_secs(60)).await;
    assert_eq!(quick.unwrap(), Ran::Ended(1), "and is asked again");
}

#[tokio::test]
async fn a_command_that_an_earlier_worker_left_behind_is_ended_before_the_next_one_like_it() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "exec sleep 1000", "")).await;
    for command in ["sleep 603", "sleep 604"] {
        let arguments = ["exec", "-d", &container.0].into_iter().chain(command.split(' '));
        assert!(Command::new("docker").args(arguments).status().unwrap().success());
        until("it runs", || processes(&container).iter().any(|line| line.contains(command))).await;
    }
    let limit = Duration::from_millis(500);
    let ran = node.engine.execute(&container, &words(&["sleep", "603"]), limit).await;
    assert_eq!(ran.unwrap(), Ran::TooLong { killed: true });
    until("all of it are gone", || !processes(&container).iter().any(|line| line.contains("sleep 603")))
        .await;
    let other = processes(&container).iter().any(|line| line.contains("sleep 604"));
    assert!(other, "what is another command is left alone");
}

//! The promise of supervision that only a death can prove: when `lode dev` is killed, nothing of it stays.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lode_dev::supervisor::{Launch, StopSignal, Supervisor};
use lode_program::BackoffPolicy;

/// Set in the process that plays `lode dev`: the folder for its child's log.
const ROLE: &str = "LODE_TEST_SUPERVISE_IN";

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn children_die_with_a_supervisor_that_is_killed() {
    if let Some(folder) = std::env::var_os(ROLE) {
        supervise(&PathBuf::from(folder));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervision::children_die_with_a_supervisor_that_is_killed", "--nocapture"])
        .env(ROLE, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.path().join("anvil.log");
    let child: u32 = wait_until("the child says its pid", || {
        std::fs::read_to_string(&log)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .and_then(|text| text.trim().parse().ok())
    });
    assert!(is_alive(child));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the child is dead", || (!is_alive(child)).then_some(()));
}

/// Plays `lode dev` with a child that would live for ever.
fn supervise(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("part of the test");
    runtime.block_on(async {
        let (supervisor, _news) = Supervisor::new(BackoffPolicy::default()).expect("part of the test");
        let launch = Launch {
            name: "anvil",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "trap '' TERM INT HUP; echo $$; while :; do sleep 1; done".into()],
            environment: Vec::new(),
            log: folder.join("anvil.log"),
            stop: StopSignal::Terminate,
            grace: Duration::from_secs(5),
            guarded: None,
        };
        supervisor.run(launch).await.expect("part of the test");
        // Until the test kills us; the time is only against a test that died itself.
        tokio::time::sleep(Duration::from_secs(120)).await;
    });
}

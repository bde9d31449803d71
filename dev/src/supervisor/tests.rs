use lode_protocol::units::Millis;

use super::*;

fn shell(name: &'static str, folder: &Path, script: &str) -> Launch {
    Launch {
        name,
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
        log: folder.join(format!("{name}.log")),
        stop: StopSignal::Terminate,
        grace: Duration::from_secs(5),
        guarded: None,
    }
}

fn supervisor() -> (Supervisor, mpsc::Receiver<Ended>) {
    let quick = BackoffPolicy::new(Millis(20), Millis(200));
    Supervisor::new(quick).unwrap()
}

fn is_alive(pid: u32) -> bool {
    // A zombie that nobody waited for is dead, too.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_process_that_ends_by_itself_is_reported_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, mut news) = supervisor();
    supervisor.run(shell("a", folder.path(), "echo hello; exit 3")).await.unwrap();
    for _ in 0..2 {
        let ended = timeout(Duration::from_secs(20), news.recv()).await.unwrap().unwrap();
        assert_eq!(ended.name, "a");
        assert!(ended.how.contains('3'), "{}", ended.how);
    }
    let status = supervisor.list().remove("a").unwrap();
    assert!(status.failures >= 2, "{status:?}");
    assert!(std::fs::read_to_string(folder.path().join("a.log")).unwrap().starts_with("hello\nhello\n"));
}

#[tokio::test]
async fn a_process_stopped_by_hand_stays_stopped_until_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, _news) = supervisor();
    supervisor.run(shell("a", folder.path(), "exec sleep 600")).await.unwrap();
    let pid = supervisor.list()["a"].pid.unwrap();
    supervisor.stop("a", false).await.unwrap();
    assert!(!is_alive(pid));
    let status = supervisor.list().remove("a").unwrap();
    assert_eq!((status.activity, status.pid, status.failures), (Activity::Stopped, None, 0));
    supervisor.stop("a", true).await.unwrap();
    supervisor.start("a").await.unwrap();
    supervisor.start("a").await.unwrap();
    let again = supervisor.list()["a"].pid.unwrap();
    assert_ne!(again, pid);
    assert!(is_alive(again));
    supervisor.stop("a", true).await.unwrap();
    assert!(!is_alive(again));
}

#[tokio::test]
async fn a_process_that_ignores_the_request_is_killed_with_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, _news) = supervisor();
    let mut launch =
        shell("a", folder.path(), "trap '' TERM; sleep 600 & echo $!; while :; do sleep 1; done");
    launch.grace = Duration::from_millis(100);
    supervisor.run(launch).await.unwrap();
    let log = folder.path().join("a.log");
    until("the child is named", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')))
        .await;
    let grandchild: u32 = std::fs::read_to_string(&log).unwrap().trim().parse().unwrap();
    supervisor.stop("a", false).await.unwrap();
    until("the grandchild is dead", || !is_alive(grandchild)).await;
}

#[tokio::test]
async fn what_cannot_be_started_or_does_not_exist_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, _news) = supervisor();
    let mut launch = shell("a", folder.path(), "");
    launch.program = folder.path().join("none");
    assert!(supervisor.run(launch).await.unwrap_err().contains("cannot be started"));
    let error = supervisor.start("b").await.unwrap_err();
    assert!(error.contains("\"b\"") && error.contains('a'), "{error}");
}

#[tokio::test]
async fn a_state_file_cut_short_by_a_kill_is_put_right_before_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    std::fs::write(&state, "{\"block\": 7}").unwrap();
    keep_copy(&state);
    std::fs::write(&state, "{\"blo").unwrap();
    keep_copy(&state);
    let (supervisor, _news) = supervisor();
    let mut launch = shell("a", folder.path(), &format!("cat {}; exec sleep 600", state.display()));
    launch.guarded = Some(state.clone());
    supervisor.run(launch).await.unwrap();
    let log = folder.path().join("a.log");
    until("the state is read", || std::fs::read_to_string(&log).is_ok_and(|text| text == "{\"block\": 7}"))
        .await;
}

#[tokio::test]
async fn children_end_when_the_supervisor_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, _news) = supervisor();
    supervisor.run(shell("a", folder.path(), "exec sleep 600")).await.unwrap();
    let pid = supervisor.list()["a"].pid.unwrap();
    drop(supervisor);
    until("the child is dead", || !is_alive(pid)).await;
}

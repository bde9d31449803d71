//! The built `lode`, as a shell sees it: exit codes, streams, files.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn lode(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
    command.args(arguments).env_clear().env("HOME", home);
    command.output().expect("part of the test")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_tell_usage_absence_and_silence_apart() {
    let home = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| lode(home.path(), arguments).status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["nonsense"]), Some(2));
    assert_eq!(code(&["task", "ls"]), Some(2), "no context");
    assert_eq!(code(&["context", "use", "nowhere"]), Some(3));
    // A port that was free a moment ago: nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(code(&["--url", &url, "node", "ls"]), Some(69));
}

#[test]
fn errors_go_to_standard_error_with_what_to_do_next() {
    let home = tempfile::tempdir().unwrap();
    let plain = lode(home.path(), &["task", "ls"]);
    assert!(plain.stdout.is_empty());
    assert!(text(&plain.stderr).contains("next: "), "{}", text(&plain.stderr));
    let json = lode(home.path(), &["-o", "json", "task", "ls"]);
    let error: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 2);
}

#[test]
fn a_key_is_made_in_a_private_file_and_its_secret_is_never_printed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("owner.key");
    let made = lode(home.path(), &["key", "new", file.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let secret = std::fs::read_to_string(&file).unwrap();
    let address = text(&made.stdout);
    assert!(address.starts_with("0x") && address.trim().len() == 42, "{address}");
    assert!(!address.contains(secret.trim()));
    let again = lode(home.path(), &["key", "new", file.to_str().unwrap()]);
    assert_ne!(again.status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    let shown = lode(home.path(), &["key", "show", file.to_str().unwrap()]);
    assert_eq!(text(&shown.stdout), address);
}

#[test]
fn a_context_is_set_listed_and_removed_without_showing_its_token() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, "a-secret-token\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let set =
        ["context", "set", "home", "--url", "http://127.0.0.1:1", "--token-file", token.to_str().unwrap()];
    let done = lode(home.path(), &set);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let listed = lode(home.path(), &["context", "ls", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(list["items"][0]["name"], "home");
    assert_eq!(list["items"][0]["current"], true);
    assert!(!text(&listed.stdout).contains("a-secret-token"));
    assert_eq!(lode(home.path(), &["context", "rm", "home"]).status.code(), Some(0));
    assert_eq!(lode(home.path(), &["context", "rm", "home"]).status.code(), Some(3));
}

#[test]
fn completions_are_printed_for_each_shell() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let done = lode(home.path(), &["completions", shell]);
        assert_eq!(done.status.code(), Some(0));
        assert!(text(&done.stdout).contains("explain"), "{shell}");
    }
}

/// A server that gives one answer and remembers the question.
fn answering(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("part of the test");
    let url = format!("http://{}", listener.local_addr().expect("part of the test"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("part of the test");
        let mut request = Vec::new();
        let mut buffer = [0u8; 4096];
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            let read = stream.read(&mut buffer).expect("part of the test");
            assert_ne!(read, 0);
            request.extend_from_slice(&buffer[..read]);
        }
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).expect("part of the test");
        text(&request)
    });
    (url, server)
}

#[test]
fn the_list_of_nodes_shows_what_the_orchestrator_says_and_sends_the_token() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (url, server) = answering(
        "200 OK",
        r#"{"items":[{"id":"0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf","state":"alive",
            "membership":{"status":"member","code":null,"message":null},"provider":null,
            "gpus":[{"uuid":"GPU-00000200-5100-4000-8000-000000000000","model":"NVIDIA H200","state":"healthy",
                "memory_bytes":null,"reason":null,"temperature_celsius":40,"power_milliwatts":null,
                "utilization_percent":null,"memory_used_bytes":null,"assignment":null}],
            "capacity":{"gpus":1,"cpus":4,"memory_bytes":1,"disk_bytes":1},
            "allocated":{"gpus":0,"cpus":0,"memory_bytes":0,"disk_bytes":0},"assignments":0,
            "last_heard":"2026-01-01T00:00:00Z","agent_version":"0.1.0","a_field_of_tomorrow":true}],"next":null}"#,
    );
    let listed = lode(home.path(), &["--url", &url, "--token-file", token.to_str().unwrap(), "node", "ls"]);
    let request = server.join().unwrap();
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
    assert!(
        text(&listed.stdout).contains("GPU-00000200-5100-4000-8000-000000000000"),
        "{}",
        text(&listed.stdout)
    );
    assert!(request.starts_with("GET /v1/nodes?"), "{request}");
    assert!(request.to_lowercase().contains("authorization: bearer t0ken"), "{request}");
}

#[test]
fn a_refusal_of_the_orchestrator_keeps_its_code_and_decides_the_exit_code() {
    let home = tempfile::tempdir().unwrap();
    let (url, server) = answering(
        "401 Unauthorized",
        r#"{"type":"urn:lode:error:api/unauthorized","status":401,"code":"api/unauthorized","title":"No token","detail":"","remedy":"send one"}"#,
    );
    let refused = lode(home.path(), &["--url", &url, "pool", "ls"]);
    // `pool ls` asks the chain, not the orchestrator: it must not have been asked.
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let refused = lode(home.path(), &["--url", &url, "node", "ls"]);
    server.join().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("[api/unauthorized]"), "{}", text(&refused.stderr));
}

/// Answers each request with the next of these bodies, as a stream of events that simply ends; gives the heads of the
/// requests.
fn serve_events(bodies: Vec<Vec<u8>>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let answer = |body: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let status = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(status.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
            text(&head).to_lowercase()
        };
        bodies.into_iter().map(answer).collect()
    });
    (url, serving)
}

const TASK: &str = "01900000-0000-7000-8000-000000000001";

fn line_event(records: u64, source: &str, content: &str) -> String {
    format!(
        "event: line\nid: 1.{records}\ndata: {{\"position\":\"1.{records}\",\"at\":\"2026-01-31T12:00:00Z\",\
         \"source\":\"{source}\",{content}}}\n\n"
    )
}

#[test]
fn logs_give_a_pipe_the_task_s_own_bytes_and_go_on_behind_a_broken_connection() {
    let home = tempfile::tempdir().unwrap();
    let begin = "event: begin\ndata: {\"assignment\":\"t.0.1\",\"replica\":0,\"replicas\":2}\n\n";
    let first =
        line_event(1, "stdout", r#""text":"\u001b[32mgreen\r""#) + &line_event(2, "stderr", r#""text":"e""#);
    let gap = "event: gap\nid: 1.9\ndata: {\"position\":\"1.9\",\"records\":7,\"reason\":\"retention\"}\n\n";
    let rest = line_event(10, "stdout", r#""bytes":"/wA=","end":"open""#);
    let end = "event: end\ndata: {\"status\":\"complete\"}\n\n";
    let bodies =
        vec![format!("{begin}{first}").into_bytes(), format!("{begin}{gap}{rest}{end}").into_bytes()];
    let (url, serving) = serve_events(bodies);
    let printed = lode(home.path(), &["--url", &url, "task", "logs", "-f", TASK, "--tail", "5"]);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    assert_eq!(printed.stdout, b"\x1b[32mgreen\r\n\xff\0");
    assert_eq!(
        text(&printed.stderr),
        "lode: this is replica 0 of 2, numbered from 0; --replica chooses another\ne\n\
         lode: 7 lines are missing here: the node keeps only the newest output\n"
    );
    let heads = serving.join().unwrap();
    assert!(heads[0].contains("tail=5") && !heads[0].contains("last-event-id"), "{}", heads[0]);
    assert!(!heads[1].contains("tail=5") && heads[1].contains("last-event-id: 1.2\r\n"), "{}", heads[1]);
}

#[test]
fn output_that_broke_off_is_a_failure_with_its_message_on_standard_error() {
    let home = tempfile::tempdir().unwrap();
    let end =
        "event: end\ndata: {\"status\":\"failed\",\"code\":\"logs/no-node\",\"message\":\"it is gone\"}\n\n";
    let body = line_event(1, "stdout", r#""text":"one""#) + end;
    let (url, serving) = serve_events(vec![body.clone().into_bytes(), body.into_bytes()]);
    for format in ["table", "json"] {
        let printed = lode(home.path(), &["--url", &url, "-o", format, "task", "logs", TASK]);
        assert_eq!(printed.status.code(), Some(3), "{}", text(&printed.stderr));
        assert!(text(&printed.stderr).contains("it is gone"), "{}", text(&printed.stderr));
        match format {
            "table" => assert_eq!(printed.stdout, b"one\n"),
            _ => {
                let line: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
                assert_eq!((&line["position"], &line["text"]), (&"1.1".into(), &"one".into()));
            }
        }
    }
    serving.join().unwrap();
}

/// A server, or a proxy before it, that takes every connection and says nothing: tried for 15 seconds, not for ever.
#[test]
fn output_whose_connection_breaks_off_at_every_try_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let (url, _) = serve_events(vec![Vec::new(); 1_000]);
    let printed = lode(home.path(), &["--url", &url, "task", "logs", TASK]);
    assert_eq!(printed.status.code(), Some(69), "{}", text(&printed.stderr));
    assert!(text(&printed.stderr).contains("logs/connection-lost"), "{}", text(&printed.stderr));
}

/// One write a line made 45 MB take 55 seconds.
#[test]
fn a_file_is_written_in_blocks() {
    let home = tempfile::tempdir().unwrap();
    let wide = format!("\"text\":\"{}\"", "x".repeat(99));
    let count = 200_000;
    let mut body: String = (1..=count).map(|records| line_event(records, "stdout", &wide)).collect();
    body.push_str("event: end\ndata: {\"status\":\"complete\"}\n\n");
    let (url, serving) = serve_events(vec![body.into_bytes()]);
    let path = home.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
    command.args(["--url", &url, "task", "logs", TASK]).env_clear().env("HOME", home.path());
    let started = std::time::Instant::now();
    let mut child = command.stdout(std::fs::File::create(&path).unwrap()).spawn().unwrap();
    let before = writes_of(child.id());
    let mut most = before;
    while child.try_wait().unwrap().is_none() {
        most = most.max(writes_of(child.id()));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    serving.join().unwrap();
    println!("20 MB in {:?}, at least {most} writes", started.elapsed());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), count * 100);
    assert!(most < count / 10, "{most} writes for {count} lines");
}

/// System calls that wrote something, by the kernel's account.
fn writes_of(process: u32) -> u64 {
    let counted = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    counted.lines().find_map(|line| line.strip_prefix("syscw: ")?.parse().ok()).unwrap_or_default()
}

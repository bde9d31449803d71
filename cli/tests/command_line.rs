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
    assert_eq!(code(&["dev", "ps", "--data-dir", "/nonexistent"]), Some(69));
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
        r#"{"items":[{"id":"0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf","state":"alive","membership":{"status":"member"},
            "gpus":[{"uuid":"GPU-00000200-5100-4000-8000-000000000000","model":"NVIDIA H200","state":"healthy"}]}],"next":null}"#,
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
        r#"{"status":401,"code":"api/unauthorized","title":"No token","detail":"","remedy":"send one"}"#,
    );
    let refused = lode(home.path(), &["--url", &url, "pool", "ls"]);
    // `pool ls` asks the chain, not the orchestrator: it must not have been asked.
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let refused = lode(home.path(), &["--url", &url, "node", "ls"]);
    server.join().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("[api/unauthorized]"), "{}", text(&refused.stderr));
}

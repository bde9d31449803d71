//! The frame of every program, seen from outside: exit codes, signals, logs, health.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

/// Built by cargo beside the tests.
fn program() -> Command {
    let folder = std::env::current_exe().expect("known");
    let target = folder.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path: PathBuf = target.join("examples").join("minimal");
    assert!(path.exists(), "{} is missing: run `cargo test -p lode-program` without --test", path.display());
    let mut command = Command::new(path);
    command.args(["--log-format", "json"]).stderr(Stdio::piped()).env_remove("LODE_LOG");
    command
}

struct Running {
    child: Child,
    lines: Receiver<Value>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("spawned");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Before logging starts, errors are plain text.
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("the program logs such a line in time");
            if what(&line) {
                return line;
            }
        }
    }

    fn wait_for_message(&self, text: &str) -> Value {
        self.wait_for(|line| line["message"].as_str().is_some_and(|message| message.contains(text)))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    fn exit_code(&mut self) -> Option<i32> {
        // Its log ends when it does.
        let end = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            assert_ne!(line, Err(RecvTimeoutError::Timeout), "the program ends in time");
            if line.is_err() {
                return self.child.wait().expect("ended").code();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on_a_free_port() -> Command {
    let mut command = program();
    command.args(["--address", "127.0.0.1:0"]);
    command
}

fn get(address: SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn it_serves_its_health_and_ends_cleanly_on_a_signal() {
    let mut running = Running::start(on_a_free_port());
    let line = running.wait_for_message("condition holds");
    assert_eq!(line["program"], "minimal");
    let address: SocketAddr = line["address"].as_str().expect("a base field").parse().expect("an address");
    assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").contains("\"ready\":true"));
    assert!(get(address, "/metrics").contains("# EOF"));
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn the_end_of_a_critical_task_ends_the_program_with_1_and_its_name() {
    let mut command = on_a_free_port();
    command.env("LODE_MINIMAL__FAIL", "true");
    let mut running = Running::start(command);
    let line = running.wait_for(|line| line["exit_code"] == 1);
    assert_eq!(line["message"], "task `owner loop` ended: told to fail");
    assert_eq!(running.exit_code(), Some(1));
}

#[test]
fn a_bad_setting_ends_the_program_with_64_and_names_it() {
    let mut command = on_a_free_port();
    command.env("LODE_MINIMAL__GRACE", "soon");
    let mut running = Running::start(command);
    let line = running.wait_for(Value::is_string);
    let text = line.as_str().expect("plain text");
    assert!(text.contains("`grace`") && text.contains("LODE_MINIMAL__GRACE"), "{text}");
    assert_eq!(running.exit_code(), Some(64));
}

#[test]
fn work_that_does_not_finish_within_the_grace_is_named() {
    let mut command = on_a_free_port();
    command.envs([("LODE_MINIMAL__STUBBORN", "true"), ("LODE_MINIMAL__GRACE", "50ms")]);
    let mut running = Running::start(command);
    running.wait_for_message("condition holds");
    running.signal(Signal::INT);
    let line = running.wait_for(|line| line["exit_code"] == 1);
    assert!(line["message"].as_str().is_some_and(|text| text.contains("owner loop")), "{line}");
    assert_eq!(running.exit_code(), Some(1));
}

#[test]
fn a_second_signal_ends_the_program_at_once_with_130() {
    let mut command = on_a_free_port();
    command.envs([("LODE_MINIMAL__STUBBORN", "true"), ("LODE_MINIMAL__GRACE", "1h")]);
    let mut running = Running::start(command);
    running.wait_for_message("condition holds");
    running.signal(Signal::TERM);
    running.wait_for_message("stopping");
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code(), Some(130));
}

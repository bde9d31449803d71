//! The prover as a process, spoken to over its stdin and stdout.

use crate::fixture::{LATER_BEACON, opening_secret, session};
use lode_gpu_proof::prover_protocol::{FrameBuffer, Request, Response};
use lode_gpu_proof::{Challenge, Commit, EpochVerifier, FreivaldsSecret, Params, SessionInputs};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    frames: FrameBuffer,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lode-prove-cpu"))
            .args(["--gpu", &session().gpu_uuid])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output, frames: FrameBuffer::new(Response::max_bytes(&Params::TINY)) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Blocks until the process answers or ends; the test runner's own timeout bounds it.
    fn read(&mut self) -> Option<Response> {
        loop {
            if let Some(content) = self.frames.next_frame().unwrap() {
                return Some(Response::from_content(&content).unwrap());
            }
            let mut chunk = [0; 4096];
            match self.output.read(&mut chunk).unwrap() {
                0 => return None,
                read => self.frames.push(&chunk[..read]),
            }
        }
    }

    fn ask(&mut self, request: &Request) -> Response {
        self.write(&request.to_frame());
        self.read().expect("an answer")
    }

    fn error_code(&mut self, request: &Request) -> String {
        match self.ask(request) {
            Response::Error { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        assert_eq!(self.read(), None);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_whole_proof_over_the_protocol_is_accepted_and_the_end_of_input_ends_the_process() {
    let params = Params::TINY;
    let mut process = Process::start();
    let ready = process.ask(&Request::Prepare { class: 1, params });
    let Response::Ready { gpu_uuid, params_hash, .. } = ready else { panic!("{ready:?}") };
    assert_eq!((gpu_uuid, params_hash), (session().gpu_uuid, params.hash()));

    let first = process.ask(&Request::Start { session: session() });
    let Response::WalkRoot { session_seed, root: walk_root } = first else { panic!("{first:?}") };
    let second = process.read();
    let Some(Response::GemmRoot { root: gemm_root }) = second else { panic!("{second:?}") };
    let commit = Commit { session_seed, walk_root, gemm_root };

    let challenge = Challenge::derive(&params, &opening_secret(), &commit, &LATER_BEACON);
    let opened =
        process.ask(&Request::Open { rows: challenge.rows().to_vec(), walkers: challenge.walkers() });
    let Response::Opening { bytes } = opened else { panic!("{opened:?}") };
    let verifier = EpochVerifier::new(params, &session().epoch(), FreivaldsSecret::new([9; 32])).unwrap();
    verifier.verify_bytes(&session().seed(&params), &commit, &challenge, &bytes).unwrap();

    assert_eq!(process.ask(&Request::Release), Response::Released);
    assert_eq!(process.end(), Some(0));
}

#[test]
fn refused_requests_are_named_and_the_process_goes_on() {
    let mut process = Process::start();
    let open = Request::Open { rows: vec![0], walkers: vec![0] };
    assert_eq!(process.error_code(&Request::Start { session: session() }), "prover/not-prepared");
    assert_eq!(process.error_code(&open), "prover/not-started");
    let large = Request::Prepare { class: 2, params: Params::H200_141 };
    assert_eq!(process.error_code(&large), "prover/too-large");
    let invalid = Request::Prepare { class: 1, params: Params { depth: 0, ..Params::TINY } };
    assert_eq!(process.error_code(&invalid), "proof/params");
    assert!(matches!(
        process.ask(&Request::Prepare { class: 1, params: Params::TINY }),
        Response::Ready { .. }
    ));
    let foreign = SessionInputs { gpu_uuid: "GPU-other".to_owned(), ..session() };
    assert_eq!(process.error_code(&Request::Start { session: foreign }), "prover/wrong-gpu");
    process.write(&[3, 0, 0, 0, 0xff, 0xff, 0xff]);
    assert!(matches!(process.read(), Some(Response::Error { code, .. }) if code == "prover/frame-malformed"));
    assert_eq!(process.ask(&Request::Release), Response::Released);
    assert_eq!(process.end(), Some(0));
}

#[test]
fn a_frame_beyond_the_limit_is_named_and_ends_the_process() {
    let mut process = Process::start();
    process.write(&u32::MAX.to_le_bytes());
    assert!(matches!(process.read(), Some(Response::Error { code, .. }) if code == "prover/frame-too-large"));
    assert_eq!(process.end(), Some(1));
}

#[test]
fn an_input_that_ends_within_a_frame_is_a_failure() {
    let mut process = Process::start();
    process.write(&[9, 0, 0, 0, 1]);
    assert_eq!(process.end(), Some(1));
}

#[test]
fn the_self_test_passes_and_wrong_use_is_exit_code_64() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lode-prove-cpu"))
            .args(arguments)
            .env_remove("LODE_PROVER_GPU")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["--self-test"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("verified in"), "{text}");
    assert_eq!(run(&[]).0, Some(64));
    assert_eq!(run(&["--gpu"]).0, Some(64));
    assert_eq!(run(&["--no-such-option"]).0, Some(64));
}

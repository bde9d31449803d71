//! Whose a container's end is: what the engine and the host did to it, its GPUs', or its own.
//!
//! | looked at in this order | the end is |
//! |---|---|
//! | the host was started anew while it ran | the host's, whatever exit code was written down |
//! | the engine was | the engine's, likewise |
//! | somebody on the host had the engine stop it | the host's, likewise |
//! | exit code 0 | a success, even if something inside was killed for want of memory |
//! | a GPU of it broke | the host's |
//! | killed for want of memory | its own if a limit was in force, else the host's |
//! | any other exit code | its own |
//!
//! A stopping engine ends containers and then tells of their ends as if they were their own. It takes no new callers by
//! then, so that an [`Ending`], which was told to a new caller, is of a life of the engine that did not end it.

use lode_protocol::assignment::Reason;
use lode_protocol::ids::GpuUuid;
use lode_protocol::units::Bytes;

use crate::event::{Ending, EngineRun, GpuFaultKind, MemoryLimits};
use crate::exit_code;

/// Code of a program that was killed with SIGKILL.
const KILLED: i64 = 137;

/// What is known besides the end itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// The life of the engine in which it ran; `None`: not known.
    pub(super) run: Option<&'a EngineRun>,
    /// What its spec asks for.
    pub(super) memory: Bytes,
    pub(super) disk: Bytes,
    /// A GPU of it that cannot be used any more.
    pub(super) lost_gpu: Option<&'a GpuUuid>,
    /// What a GPU said of a program of this run.
    pub(super) gpu_error: Option<&'a (GpuFaultKind, String)>,
}

/// Why it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// The engine or somebody on the host ended it: its exit code says nothing.
    EndedFromOutside { reason: Reason, detail: String },
    /// What it needs of the host gave way under it: a GPU, or memory.
    LetDown { reason: Reason, detail: String },
    /// It did what it should.
    Success { remark: String },
    /// It failed by itself.
    Failure { reason: Reason, detail: String },
}

impl Cause {
    /// Whether the exit code is the task's word.
    pub(super) fn has_exit_code(&self) -> bool {
        match self {
            Cause::EndedFromOutside { .. } => false,
            Cause::LetDown { .. } | Cause::Success { .. } | Cause::Failure { .. } => true,
        }
    }
}

/// Looks for the cause.
pub(super) fn cause(ending: &Ending, scene: &Scene<'_>) -> Cause {
    if let Some((reason, detail)) = outside(ending, scene.run) {
        return Cause::EndedFromOutside { reason, detail };
    }
    let code = ending.exit.code;
    if code == 0 {
        let killed = "exit code 0, although something inside was killed for want of memory";
        let remark = if ending.exit.out_of_memory {
            let (limit, files) = (limit(&ending.limits, scene.memory), in_memory(&ending.limits, scene.disk));
            format!("{killed} ({limit}); {files}")
        } else {
            String::new()
        };
        return Cause::Success { remark };
    }
    if let Some(gpu) = scene.lost_gpu {
        let detail = format!("GPU {gpu} failed while the task ran (exit code {code})");
        return Cause::LetDown { reason: Reason::GpuLost, detail };
    }
    if let Some((GpuFaultKind::Broken | GpuFaultKind::LostProgram, error)) = scene.gpu_error {
        let detail = format!("{error} (exit code {code})");
        return Cause::LetDown { reason: Reason::GpuLost, detail };
    }
    if let Some(detail) = host_memory(ending, scene.memory) {
        return Cause::LetDown { reason: Reason::HostOutOfMemory, detail };
    }
    let (reason, mut detail) = own(ending, scene);
    if let Some((GpuFaultKind::ProgramError, error)) = scene.gpu_error {
        detail = format!("{detail}; {error}");
    }
    Cause::Failure { reason, detail }
}

/// What the engine or the host did.
fn outside(ending: &Ending, ran_in: Option<&EngineRun>) -> Option<(Reason, String)> {
    let code = ending.exit.code;
    let wrote = format!("exit code {code} was written down afterwards and says nothing about the task");
    match ran_in {
        Some(before) if before.boot != ending.run.boot => {
            let detail = format!("the host was started anew while the task ran; {wrote}");
            return Some((Reason::HostRestarted, detail));
        }
        Some(before) if *before != ending.run => {
            let detail =
                format!("the container engine was stopped or started anew while the task ran; {wrote}");
            return Some((Reason::EngineRestarted, detail));
        }
        Some(_) | None => {}
    }
    let signal = ending.stopped_by_hand.as_ref()?;
    let detail = format!(
        "somebody on the host had the container engine stop it (signal {signal}, exit code {code}); it is not stopped by hand: drain the node, or stop the task"
    );
    Some((Reason::StoppedOnHost, detail))
}

/// The host had no memory left, in words.
fn host_memory(ending: &Ending, asked: Bytes) -> Option<String> {
    let without_limit = ending.exit.out_of_memory && ending.limits.memory.is_none();
    let noticed = ending.exit.code == KILLED && !ending.exit.out_of_memory && ending.host_out_of_memory;
    (without_limit || noticed).then(|| {
        format!(
            "the host ran out of memory and its kernel killed the task, which had not reached a limit of its own ({}); give the task as much `resources.memory` as it needs, so that it is placed where there is as much",
            limit(&ending.limits, asked)
        )
    })
}

fn own(ending: &Ending, scene: &Scene<'_>) -> (Reason, String) {
    let explained = exit_code::explain(ending.exit.code);
    if !ending.exit.out_of_memory {
        return (Reason::ExitedWithError, explained);
    }
    let limit = limit(&ending.limits, scene.memory);
    let killed = if ending.exit.code == KILLED {
        format!("killed for using more than its {limit}")
    } else {
        format!("{explained}, after something inside was killed for using more than its {limit}")
    };
    (Reason::OomKilled, format!("{killed}; {}", in_memory(&ending.limits, scene.disk)))
}

/// The limit in force, and who set it.
fn limit(limits: &MemoryLimits, asked: Bytes) -> String {
    match limits.memory {
        None => "no memory limit was in force".to_owned(),
        Some(limit) if asked == Bytes(0) => {
            format!("memory limit ({limit}, this node's default: the task names no `resources.memory`)")
        }
        Some(limit) => format!("memory limit ({limit})"),
    }
}

/// What besides the programs' own memory counted.
fn in_memory(limits: &MemoryLimits, disk: Bytes) -> String {
    let place = |path: &str, most: Option<Bytes>| most.map(|most| format!("{path} (up to {most})"));
    let places: Vec<String> =
        [place("/tmp", limits.tmp), place("/dev/shm", limits.shm)].into_iter().flatten().collect();
    if places.is_empty() {
        return "ask for more with `resources.memory`".to_owned();
    }
    let elsewhere = match disk {
        Bytes(0) => "ask for `resources.disk` and write large files elsewhere",
        _ => "write large files elsewhere, where they count as `resources.disk`",
    };
    let held = limits.files.map(|bytes| format!(" (they held {bytes} when it was looked at last)"));
    format!(
        "files in {} counted as memory too{}: {elsewhere}, or ask for more `resources.memory`",
        places.join(" and "),
        held.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Exit;

    fn run(boot: &str, run: &str) -> EngineRun {
        EngineRun { boot: boot.to_owned(), run: run.to_owned() }
    }

    fn ending(code: i64) -> Ending {
        Ending {
            exit: Exit { code, out_of_memory: false },
            run: run("b1", "r1"),
            stopped_by_hand: None,
            host_out_of_memory: false,
            limits: MemoryLimits {
                memory: Some(Bytes::mebi(64)),
                tmp: Some(Bytes::mebi(8)),
                shm: Some(Bytes::mebi(32)),
                files: None,
            },
        }
    }

    fn out_of_memory(code: i64) -> Ending {
        Ending { exit: Exit { code, out_of_memory: true }, ..ending(code) }
    }

    fn reason(ending: &Ending, ran_in: Option<&EngineRun>) -> (Reason, String) {
        let scene = Scene { run: ran_in, memory: Bytes(0), disk: Bytes(0), lost_gpu: None, gpu_error: None };
        match cause(ending, &scene) {
            Cause::Success { remark } => (Reason::Completed, remark),
            Cause::EndedFromOutside { reason, detail }
            | Cause::LetDown { reason, detail }
            | Cause::Failure { reason, detail } => (reason, detail),
        }
    }

    #[test]
    fn an_end_under_an_engine_or_a_host_that_was_started_anew_is_theirs_whatever_the_exit_code() {
        for code in [0, 1, 137, 143, 255, -1] {
            let engine = reason(&ending(code), Some(&run("b1", "r0"))).0;
            assert_eq!(
                (engine, engine.fault()),
                (Reason::EngineRestarted, Reason::EngineError.fault()),
                "{code}"
            );
            assert_eq!(reason(&ending(code), Some(&run("b0", "r1"))).0, Reason::HostRestarted, "{code}");
        }
        assert_eq!(reason(&ending(0), Some(&run("b1", "r1"))).0, Reason::Completed);
        assert_eq!(reason(&ending(255), Some(&run("b1", "r1"))).0, Reason::ExitedWithError);
        assert_eq!(reason(&ending(0), None).0, Reason::Completed, "nothing is known against it");
    }

    #[test]
    fn a_container_that_was_stopped_by_hand_on_the_host_did_not_succeed_and_did_not_fail() {
        for code in [0, 137, 143] {
            let by_hand = Ending { stopped_by_hand: Some("15".to_owned()), ..ending(code) };
            assert_eq!(reason(&by_hand, None).0, Reason::StoppedOnHost, "{code}");
        }
    }

    #[test]
    fn exit_code_zero_is_a_success_even_if_something_inside_was_killed_for_memory() {
        let (reason, remark) = reason(&out_of_memory(0), None);
        assert_eq!(reason, Reason::Completed);
        assert!(remark.contains("something inside was killed") && remark.contains("64MiB"), "{remark}");
    }

    #[test]
    fn the_limit_that_was_in_force_is_named_with_what_else_counted() {
        for code in [137, 1] {
            let (reason, detail) = reason(&out_of_memory(code), None);
            assert_eq!(reason, Reason::OomKilled);
            for words in ["64MiB", "default", "/tmp (up to 8MiB)", "/dev/shm (up to 32MiB)", "resources.disk"]
            {
                assert!(detail.contains(words), "{words} missing in: {detail}");
            }
        }
    }

    #[test]
    fn what_files_in_memory_held_is_told_where_it_was_seen_and_where_else_to_write_them() {
        let mut full = out_of_memory(137);
        assert!(!reason(&full, None).1.contains("looked at last"));
        full.limits.files = Some(Bytes::mebi(60));
        let (_, detail) = reason(&full, None);
        assert!(detail.contains("held 60MiB"), "{detail}");
        let with_disk =
            Scene { run: None, memory: Bytes(1), disk: Bytes(1), lost_gpu: None, gpu_error: None };
        let Cause::Failure { detail, .. } = cause(&full, &with_disk) else { panic!() };
        assert!(detail.contains("write large files elsewhere, where they count"), "{detail}");
        assert!(!detail.contains("default"), "{detail}");
    }

    #[test]
    fn without_a_limit_it_is_the_host_that_ran_out_of_memory_and_not_the_task_s_fault() {
        let unlimited = Ending { limits: MemoryLimits::default(), ..out_of_memory(137) };
        let (reason_of_it, detail) = reason(&unlimited, None);
        assert_eq!(reason_of_it, Reason::HostOutOfMemory);
        assert!(detail.contains("no memory limit was in force"), "{detail}");
        let noticed = Ending { host_out_of_memory: true, ..ending(137) };
        assert_eq!(reason(&noticed, None).0, Reason::HostOutOfMemory);
        // The host's trouble explains no other end.
        let other = Ending { host_out_of_memory: true, ..ending(1) };
        assert_eq!(reason(&other, None).0, Reason::ExitedWithError);
    }
}

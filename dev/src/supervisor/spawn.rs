//! Starting children so that they cannot outlive us.

use std::fs::OpenOptions;
use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::{Launch, StopSignal};

/// Our own settings must not reach the children: each gets its own file.
const FOREIGN_PREFIXES: [&str; 4] = ["LODE_WORKER", "LODE_ORCHESTRATOR", "LODE_DISCOVERY", "LODE_VALIDATOR"];

struct Request {
    launch: Launch,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// The one thread that starts children. The kernel ties "dies with its parent" to the parent's *thread*, so it must be
/// one that lives as long as the process wants children, which threads of the runtime need not.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    requests: std::sync::mpsc::Sender<Request>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Request").field(&self.launch.name).finish()
    }
}

impl Spawner {
    /// Starts the thread; it ends with the last copy of this handle. Must be called within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let (requests, receiver) = std::sync::mpsc::channel::<Request>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _guard = runtime.enter();
            for request in receiver {
                // Whoever asked may have gone: then the child is dropped, which kills it.
                let _ = request.answer.send(spawn(&request.launch));
            }
        })?;
        Ok(Spawner { requests })
    }

    pub(crate) async fn spawn(&self, launch: &Launch) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts programs has ended");
        let (answer, receiver) = oneshot::channel();
        self.requests.send(Request { launch: launch.clone(), answer }).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(&launch.log)?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: Ctrl-C at the terminal reaches us alone, and we end the others in order.
        .process_group(0)
        .kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if FOREIGN_PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: prctl and getppid are plain system calls,
    // and nothing is allocated or locked.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
            if now.and_then(|pid| u32::try_from(pid).ok()) == Some(parent) {
                Ok(())
            } else {
                // The parent died before the signal was arranged.
                Err(io::ErrorKind::NotConnected.into())
            }
        });
    }
    command.spawn()
}

fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Asks a child to end.
pub(super) fn signal(child: &Child, signal: StopSignal) {
    let signal = match signal {
        StopSignal::Terminate => Signal::TERM,
        StopSignal::Interrupt => Signal::INT,
    };
    if let Some(pid) = pid(child) {
        // Fails only for a child that has ended, which is what is wanted.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Kills a child that was not waited for yet, and what it started in its group.
pub(super) fn kill_group(child: &Child) {
    if let Some(pid) = pid(child) {
        // Fails only for a group that has ended, which is what is wanted.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

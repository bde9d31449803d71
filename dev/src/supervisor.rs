//! Keeps processes running: starts them, starts them again with back-off when they end by themselves, stops them when
//! told to, and never outlives its children.
//!
//! | state | goes to |
//! |---|---|
//! | `Stopped` (by hand, or not started yet) | `Running` when told to start |
//! | `Running` | `Waiting` when it ends by itself, `Stopped` when told to stop |
//! | `Waiting` (for the next try) | `Running` when the wait is over or when told to start, `Stopped` when told to stop |
//!
//! Invariants: one owner task per process. A child dies with us, even when we are killed: the kernel sends it SIGKILL
//! when the thread that started it ends, and that thread lives exactly as long as this process wants children.

mod spawn;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_program::{Backoff, BackoffPolicy};
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

pub(crate) use spawn::Spawner;

/// A process that ran this long starts its back-off over.
const GOOD_RUN: Duration = Duration::from_secs(10);
/// Unread news of endings; more are counted in the status anyway.
const NEWS: usize = 256;

/// How to end a process in good order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// How to start a process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it is called.
    pub name: &'static str,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments; no secrets.
    pub arguments: Vec<OsString>,
    /// Added to our own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where its output goes, behind what is there.
    pub log: PathBuf,
    /// How it is asked to end.
    pub stop: StopSignal,
    /// How long it may take to end before it is killed.
    pub grace: Duration,
    /// A file that the process rewrites and reads at its start: put right before each start if a kill cut it short.
    pub guarded: Option<PathBuf>,
}

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// It runs.
    Running,
    /// It ended by itself and waits for its next start.
    Waiting,
    /// It was stopped, or was never started.
    Stopped,
}

/// One process as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// What it does.
    pub activity: Activity,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// How often it ended by itself.
    pub failures: u32,
    /// How it ended last.
    pub last_end: Option<String>,
}

/// A process ended by itself.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub name: &'static str,
    /// How.
    pub how: String,
    /// When it starts again.
    pub again_in: Duration,
}

enum Command {
    Start { done: oneshot::Sender<Result<(), String>> },
    Stop { kill: bool, done: oneshot::Sender<Result<(), String>> },
}

struct Handle {
    orders: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    log: PathBuf,
}

/// All processes of a pool.
#[derive(Clone)]
pub struct Supervisor {
    processes: std::sync::Arc<std::sync::Mutex<BTreeMap<&'static str, Handle>>>,
    spawner: Spawner,
    policy: BackoffPolicy,
    news: mpsc::Sender<Ended>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("list", &self.list()).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Without processes yet. Must be called within a runtime.
    pub fn new(policy: BackoffPolicy) -> std::io::Result<(Self, mpsc::Receiver<Ended>)> {
        let (news, receiver) = mpsc::channel(NEWS);
        let supervisor =
            Supervisor { processes: std::sync::Arc::default(), spawner: Spawner::new()?, policy, news };
        Ok((supervisor, receiver))
    }

    /// Takes a process on and starts it.
    pub async fn run(&self, launch: Launch) -> Result<(), String> {
        let name = launch.name;
        let (orders, receiver) = mpsc::channel(8);
        let stopped = Status { activity: Activity::Stopped, pid: None, failures: 0, last_end: None };
        let (sender, status) = watch::channel(stopped);
        let handle = Handle { orders, status, log: launch.log.clone() };
        self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name, handle);
        let keeper = Keeper {
            backoff: lode_program::backoff::sequence(self.policy),
            launch,
            spawner: self.spawner.clone(),
            status: sender,
            news: self.news.clone(),
        };
        tokio::spawn(keeper.run(receiver));
        self.start(name).await
    }

    /// Starts a stopped process.
    pub async fn start(&self, name: &str) -> Result<(), String> {
        self.order(name, |done| Command::Start { done }).await
    }

    /// Stops a process and waits for its end.
    pub async fn stop(&self, name: &str, kill: bool) -> Result<(), String> {
        self.order(name, |done| Command::Stop { kill, done }).await
    }

    async fn order(
        &self,
        name: &str,
        order: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Command,
    ) -> Result<(), String> {
        let orders = {
            let processes = self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let Some(handle) = processes.get(name) else {
                let known: Vec<&str> = processes.keys().copied().collect();
                return Err(format!("there is no {name:?}; there are {}", known.join(", ")));
            };
            handle.orders.clone()
        };
        let (done, answer) = oneshot::channel();
        let gone = |_| "the pool is ending".to_owned();
        orders.send(order(done)).await.map_err(|_| "the pool is ending".to_owned())?;
        answer.await.map_err(gone)?
    }

    /// All processes, by name.
    pub fn list(&self) -> BTreeMap<&'static str, Status> {
        let processes = self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        processes.iter().map(|(name, handle)| (*name, handle.status.borrow().clone())).collect()
    }

    /// Where a process writes to.
    pub fn log(&self, name: &str) -> Option<PathBuf> {
        let processes = self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        processes.get(name).map(|handle| handle.log.clone())
    }
}

/// The owner of one process.
struct Keeper {
    launch: Launch,
    spawner: Spawner,
    backoff: Backoff,
    status: watch::Sender<Status>,
    news: mpsc::Sender<Ended>,
}

/// What follows a run.
enum Next {
    Stopped,
    WaitFor(Duration),
    /// Nobody can give orders any more.
    Gone,
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Command>) {
        let mut next = Next::Stopped;
        loop {
            let started = match next {
                Next::Gone => return,
                Next::Stopped => match orders.recv().await {
                    None => return,
                    Some(Command::Stop { done, .. }) => {
                        let _ = done.send(Ok(()));
                        None
                    }
                    Some(Command::Start { done }) => {
                        self.backoff.reset();
                        Some(Some(done))
                    }
                },
                Next::WaitFor(wait) => tokio::select! {
                    () = sleep(wait) => Some(None),
                    order = orders.recv() => match order {
                        None => return,
                        Some(Command::Stop { done, .. }) => {
                            self.set(Activity::Stopped, None);
                            let _ = done.send(Ok(()));
                            None
                        }
                        Some(Command::Start { done }) => Some(Some(done)),
                    },
                },
            };
            next = match started {
                None => Next::Stopped,
                Some(done) => self.one_run(done, &mut orders).await,
            };
        }
    }

    async fn one_run(
        &mut self,
        done: Option<oneshot::Sender<Result<(), String>>>,
        orders: &mut mpsc::Receiver<Command>,
    ) -> Next {
        if let Some(path) = &self.launch.guarded {
            restore(path);
        }
        let mut child = match self.spawner.spawn(&self.launch).await {
            Ok(child) => child,
            Err(error) => {
                let how = format!("cannot be started: {error}");
                let first = done.is_some();
                if let Some(done) = done {
                    let _ = done.send(Err(format!("{} {how}", self.launch.program.display())));
                }
                if first {
                    self.set(Activity::Stopped, None);
                    return Next::Stopped;
                }
                return self.failed(how);
            }
        };
        let began = Instant::now();
        self.set(Activity::Running, child.id());
        if let Some(done) = done {
            let _ = done.send(Ok(()));
        }
        loop {
            tokio::select! {
                ended = child.wait() => {
                    let how = match ended {
                        Ok(status) => status.to_string(),
                        Err(error) => format!("cannot be waited for: {error}"),
                    };
                    if began.elapsed() >= GOOD_RUN {
                        self.backoff.reset();
                    }
                    return self.failed(how);
                }
                order = orders.recv() => match order {
                    Some(Command::Start { done }) => {
                        let _ = done.send(Ok(()));
                    }
                    Some(Command::Stop { kill, done }) => {
                        end(&mut child, &self.launch, kill).await;
                        self.set(Activity::Stopped, None);
                        let _ = done.send(Ok(()));
                        return Next::Stopped;
                    }
                    None => {
                        end(&mut child, &self.launch, true).await;
                        return Next::Gone;
                    }
                }
            }
        }
    }

    fn failed(&mut self, how: String) -> Next {
        let wait = self.backoff.next_wait();
        self.status.send_modify(|status| {
            status.activity = Activity::Waiting;
            status.pid = None;
            status.failures = status.failures.saturating_add(1);
            status.last_end = Some(how.clone());
        });
        // A reader that is behind sees the count in the status.
        let _ = self.news.try_send(Ended { name: self.launch.name, how, again_in: wait });
        Next::WaitFor(wait)
    }

    fn set(&self, activity: Activity, pid: Option<u32>) {
        self.status.send_modify(|status| {
            status.activity = activity;
            status.pid = pid;
        });
    }
}

/// Ends a process: asks first unless it is to be killed, and kills it with its whole group when its grace is over.
async fn end(child: &mut Child, launch: &Launch, kill: bool) {
    if !kill {
        spawn::signal(child, launch.stop);
        if timeout(launch.grace, child.wait()).await.is_ok() {
            return;
        }
    }
    spawn::kill_group(child);
    // SIGKILL cannot be refused; only a process stuck in the kernel does not end.
    let _ = timeout(Duration::from_secs(10), child.wait()).await;
}

/// The copy of a guarded file that was whole when it was last looked at.
fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("whole")
}

fn is_whole(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok())
}

/// Copies a guarded file aside while it is whole. Called from time to time.
pub(crate) fn keep_copy(path: &Path) {
    let Ok(bytes) = std::fs::read(path) else { return };
    if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() {
        // Without a newer copy the older one stays.
        let _ = lode_program::files::replace_secret(&copy_of(path), &bytes);
    }
}

/// Puts the copy back when the file was cut short.
fn restore(path: &Path) {
    if path.exists() && !is_whole(path) {
        let copy = copy_of(path);
        let restored =
            if copy.exists() { std::fs::copy(&copy, path).map(drop) } else { std::fs::remove_file(path) };
        if let Err(error) = restored {
            tracing::warn!(path = %path.display(), %error, "the state file is broken and could not be put right");
        }
    }
}

#[cfg(test)]
mod tests;

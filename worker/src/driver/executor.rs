//! Does what the core wants done with the engine: the commands of one assignment strictly one after the other, those of
//! different assignments at the same time.
//!
//! Scans, watches, examinations and checks of containers run beside the lanes: they change nothing. A pull gives way to
//! the removal of its assignment.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lode_program::backoff::{self, BackoffPolicy};
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::core::effect::Command;
use crate::core::event::{ContainerId, DiskSpace, EngineEvent, EngineFailure, EngineRun, Exit};
use crate::engine::Engine;
use crate::output::KeptOutput;
use crate::{probe, specs};

/// Waits between tries with an engine that does not answer.
const PATIENT: BackoffPolicy = BackoffPolicy::new(Millis(500), Millis::seconds(15));

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Command>,
    running: Option<(AbortHandle, bool)>,
}

enum Finished {
    Lane(AssignmentId, Option<EngineEvent>),
    Beside(Option<EngineEvent>),
    Watch(AssignmentId, ContainerId, Option<Exit>),
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Executor {
    engine: Arc<dyn Engine>,
    kept: KeptOutput,
    host: IpAddr,
    version: watch::Sender<Option<String>>,
    root: watch::Sender<Option<PathBuf>>,
    lanes: BTreeMap<AssignmentId, Lane>,
    watches: BTreeMap<(AssignmentId, ContainerId), AbortHandle>,
    running: JoinSet<Finished>,
    by_task: BTreeMap<Id, AssignmentId>,
}

impl Executor {
    /// `version` and `root` are told the engine's whenever it answers.
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        kept: KeptOutput,
        host: IpAddr,
        version: watch::Sender<Option<String>>,
        root: watch::Sender<Option<PathBuf>>,
    ) -> Self {
        Self {
            engine,
            kept,
            host,
            version,
            root,
            lanes: BTreeMap::new(),
            watches: BTreeMap::new(),
            running: JoinSet::new(),
            by_task: BTreeMap::new(),
        }
    }

    /// Takes a command.
    pub(super) fn take(&mut self, command: Command) {
        match command {
            Command::Scan => {
                let engine = Arc::clone(&self.engine);
                let (version, root) = (self.version.clone(), self.root.clone());
                self.running.spawn(async move {
                    Finished::Beside(Some(scan(engine.as_ref(), &version, &root).await))
                });
            }
            Command::Survey => {
                let root = self.root.borrow().clone();
                self.running.spawn(async move { Finished::Beside(Some(survey(root).await)) });
            }
            Command::RemoveImage(image) => {
                let engine = Arc::clone(&self.engine);
                self.running.spawn(async move {
                    let removed = engine.remove_image(&image).await;
                    Finished::Beside(Some(EngineEvent::ImageRemoved(image, removed)))
                });
            }
            Command::Watch { id, container } => self.watch(id, container),
            Command::Examine { id, container } => {
                let engine = Arc::clone(&self.engine);
                self.running.spawn(async move {
                    let ending = engine.examine(&container).await;
                    Finished::Beside(Some(EngineEvent::Examined(id, container, ending)))
                });
            }
            Command::RemoveStray(container) => {
                let engine = Arc::clone(&self.engine);
                self.running.spawn(async move {
                    tracing::warn!(container = %container.0, "removing a container that no record knows");
                    let removed = engine.remove_container(&container).await;
                    Finished::Beside(removed.err().map(|failure| EngineEvent::StrayLeft(container, failure)))
                });
            }
            Command::Probe { id, container, action, ports, timeout } => {
                let (engine, host) = (Arc::clone(&self.engine), self.host);
                self.running.spawn(async move {
                    let asked = (&action, ports.as_slice());
                    let answer = probe::answer(engine.as_ref(), host, &container, asked, timeout).await;
                    Finished::Beside(Some(match answer {
                        Ok(answer) => EngineEvent::Probed(id, container, answer),
                        Err(silent) => EngineEvent::Unprobed(id, container, silent),
                    }))
                });
            }
            Command::Pull { id, .. }
            | Command::Start { id, .. }
            | Command::Stop { id, .. }
            | Command::KeepOutput { id, .. } => self.queue(id, command),
            Command::Create(ref plan) => self.queue(plan.id, command),
            Command::Remove { id } => {
                let lane = self.lanes.entry(id).or_default();
                lane.waiting.retain(|waiting| !matches!(waiting, Command::Pull { .. }));
                if let Some((pull, true)) = &lane.running {
                    pull.abort();
                    lane.running = None;
                }
                self.queue(id, command);
            }
        }
    }

    fn queue(&mut self, id: AssignmentId, command: Command) {
        self.lanes.entry(id).or_default().waiting.push_back(command);
        self.go_on(id);
    }

    fn go_on(&mut self, id: AssignmentId) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.running.is_none()) else { return };
        let Some(command) = lane.waiting.pop_front() else {
            self.lanes.remove(&id);
            return;
        };
        let is_pull = matches!(command, Command::Pull { .. });
        let (engine, kept) = (Arc::clone(&self.engine), self.kept.clone());
        let task = self
            .running
            .spawn(async move { Finished::Lane(id, perform(engine.as_ref(), &kept, command).await) });
        self.by_task.insert(task.id(), id);
        lane.running = Some((task, is_pull));
    }

    fn watch(&mut self, id: AssignmentId, container: ContainerId) {
        let key = (id, container.clone());
        if self.watches.contains_key(&key) {
            return;
        }
        let engine = Arc::clone(&self.engine);
        let task = self.running.spawn(async move {
            let exit = wait(engine.as_ref(), &container).await;
            Finished::Watch(id, container, exit)
        });
        self.watches.insert(key, task);
    }

    /// What the engine says next. Cancel-safe; waits for ever while nothing runs.
    pub(super) async fn done(&mut self) -> EngineEvent {
        loop {
            let event = match self.running.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((task, Finished::Lane(id, event)))) => {
                    self.by_task.remove(&task);
                    self.lane_is_free(id, task);
                    event
                }
                Some(Ok((_, Finished::Beside(event)))) => event,
                Some(Ok((_, Finished::Watch(id, container, exit)))) => {
                    self.watches.remove(&(id, container.clone()));
                    exit.map(|exit| EngineEvent::Exited(id, container, exit))
                }
                Some(Err(error)) => self.broken_off(&error),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// A task was aborted, or ended in a defect.
    fn broken_off(&mut self, error: &tokio::task::JoinError) -> Option<EngineEvent> {
        let id = self.by_task.remove(&error.id())?;
        self.lane_is_free(id, error.id());
        if error.is_cancelled() {
            return None;
        }
        tracing::error!(assignment = %id, %error, "an engine call ended in a defect");
        Some(EngineEvent::Silent(EngineFailure::Unavailable(error.to_string())))
    }

    fn lane_is_free(&mut self, id: AssignmentId, task: Id) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        // An aborted pull has been replaced already.
        if lane.running.as_ref().is_none_or(|(running, _)| running.id() == task) {
            lane.running = None;
            self.go_on(id);
        }
    }
}

/// Everything of ours that the engine has.
async fn scan(
    engine: &dyn Engine,
    version: &watch::Sender<Option<String>>,
    root: &watch::Sender<Option<PathBuf>>,
) -> EngineEvent {
    let listed = async {
        let answered = engine.ping().await?;
        version.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&answered);
            *known = Some(answered);
            changed
        });
        match engine.data_root().await {
            Ok(answered) => {
                root.send_if_modified(|known| {
                    let changed = *known != answered;
                    *known = answered;
                    changed
                });
            }
            // What it said before still counts; its containers are what matters here.
            Err(failure) => tracing::warn!(?failure, "the engine does not say where it keeps its data"),
        }
        within_one_life(engine, engine.list()).await
    };
    match listed.await {
        Ok((run, containers)) => EngineEvent::Observed(run, containers),
        Err(failure) => EngineEvent::ScanFailed(failure),
    }
}

/// Room where the engine keeps its images, if that can be seen from here.
async fn survey(root: Option<PathBuf>) -> EngineEvent {
    let look = move || root.as_deref().and_then(specs::space_of_images);
    let seen = tokio::task::spawn_blocking(look).await.ok().flatten();
    EngineEvent::Surveyed(seen.map(|space| DiskSpace { total: space.total, free: space.free }))
}

/// Does something of which one life of the engine saw beginning and end; tells which. What an engine says while it stops or
/// starts, failures too, counts as silence.
async fn within_one_life<T>(
    engine: &dyn Engine,
    call: impl Future<Output = Result<T, EngineFailure>>,
) -> Result<(EngineRun, T), EngineFailure> {
    let before = engine.life().await?;
    let done = call.await;
    if engine.life().await? != before {
        let words = "the container engine was started anew meanwhile";
        return Err(EngineFailure::Unavailable(words.to_owned()));
    }
    done.map(|done| (before, done))
}

async fn perform(engine: &dyn Engine, kept: &KeptOutput, command: Command) -> Option<EngineEvent> {
    match command {
        Command::Pull { id, attempt, image, delay } => {
            tokio::time::sleep(delay.to_duration()).await;
            Some(EngineEvent::Pulled(id, attempt, engine.pull(&image).await))
        }
        Command::Create(plan) => {
            Some(EngineEvent::Created(plan.id, plan.attempt, engine.create(&plan).await))
        }
        Command::Start { id, attempt, container } => {
            let started = within_one_life(engine, engine.start(&container)).await;
            Some(EngineEvent::Started(id, attempt, started.map(|(run, ())| run)))
        }
        Command::Stop { id, container, grace } => {
            let failure = engine.stop(&container, grace).await.err()?;
            tracing::warn!(assignment = %id, ?failure, "a container could not be stopped; it is tried again");
            Some(EngineEvent::StopFailed(id, container, failure))
        }
        Command::KeepOutput { id, container } => {
            kept.keep(id, engine, &container).await;
            None
        }
        Command::Remove { id } => {
            let result = engine.remove(&id).await;
            if let Err(failure) = &result {
                tracing::warn!(assignment = %id, ?failure, "a container could not be removed; it is tried again");
            }
            Some(EngineEvent::Removed(id, result))
        }
        // They run beside the lanes.
        Command::Scan
        | Command::Survey
        | Command::RemoveImage(_)
        | Command::Watch { .. }
        | Command::Examine { .. }
        | Command::RemoveStray(_)
        | Command::Probe { .. } => None,
    }
}

/// Waits for the end of a container, through restarts of the engine; `None` if there is no such container any more.
async fn wait(engine: &dyn Engine, container: &ContainerId) -> Option<Exit> {
    let mut pause = backoff::sequence(PATIENT);
    loop {
        match engine.wait(container).await {
            Ok(exit) => return Some(exit),
            Err(EngineFailure::Unavailable(_)) => tokio::time::sleep(pause.next_wait()).await,
            Err(_) => return None,
        }
    }
}

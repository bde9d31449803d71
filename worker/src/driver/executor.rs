//! Does what the core wants done with the engine: the effects of one assignment strictly one after the other, those of
//! different assignments at the same time.
//!
//! Watches and readiness checks run beside the lanes: they change nothing. A pull gives way to the removal of its
//! assignment.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lode_program::{Backoff, BackoffPolicy, backoff};
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::core::effect::Effect;
use crate::core::event::{ContainerId, EngineFailure, Event, Exit};
use crate::engine::Engine;
use crate::output::KeptOutput;
use crate::probe;

/// Waits between tries with an engine that does not answer.
pub(super) const PATIENT: BackoffPolicy =
    BackoffPolicy { initial: Duration::from_millis(500), max: Duration::from_secs(15), factor: 2.0 };

/// Something finished.
#[derive(Debug)]
pub(super) struct Done {
    /// What to tell the core.
    pub(super) event: Option<Event>,
    /// The engine did not answer.
    pub(super) silent: Option<EngineFailure>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Effect>,
    running: Option<(AbortHandle, bool)>,
}

enum Finished {
    Lane(AssignmentId, Done),
    Beside(Done),
    Watch(AssignmentId, ContainerId, Option<Exit>),
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Executor {
    engine: Arc<dyn Engine>,
    kept: KeptOutput,
    host: IpAddr,
    lanes: BTreeMap<AssignmentId, Lane>,
    watches: BTreeMap<(AssignmentId, ContainerId), AbortHandle>,
    running: JoinSet<Finished>,
    by_task: BTreeMap<Id, AssignmentId>,
}

impl Executor {
    pub(super) fn new(engine: Arc<dyn Engine>, kept: KeptOutput, host: IpAddr) -> Self {
        Self {
            engine,
            kept,
            host,
            lanes: BTreeMap::new(),
            watches: BTreeMap::new(),
            running: JoinSet::new(),
            by_task: BTreeMap::new(),
        }
    }

    /// Takes an effect for the engine; others are ignored.
    pub(super) fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Journal(_) | Effect::Report => {}
            Effect::Watch { id, container } => self.watch(id, container),
            Effect::RemoveStray(container) => {
                let engine = Arc::clone(&self.engine);
                self.running.spawn(async move {
                    tracing::warn!(container = %container.0, "removing a container that no record knows");
                    Finished::Beside(Done {
                        event: None,
                        silent: silent(&engine.remove_container(&container).await),
                    })
                });
            }
            Effect::Probe { id, container, action, ports, timeout } => {
                let (engine, host) = (Arc::clone(&self.engine), self.host);
                self.running.spawn(async move {
                    let ready =
                        probe::ask(engine.as_ref(), host, &container, (&action, &ports), timeout).await;
                    Finished::Beside(Done { event: Some(Event::Probed(id, container, ready)), silent: None })
                });
            }
            Effect::Pull { id, .. }
            | Effect::Start { id, .. }
            | Effect::Stop { id, .. }
            | Effect::KeepOutput { id, .. } => self.queue(id, effect),
            Effect::Create(ref plan) => self.queue(plan.id, effect),
            Effect::Remove { id } => {
                let lane = self.lanes.entry(id).or_default();
                lane.waiting.retain(|waiting| !matches!(waiting, Effect::Pull { .. }));
                if let Some((pull, true)) = &lane.running {
                    pull.abort();
                    lane.running = None;
                }
                self.queue(id, effect);
            }
        }
    }

    fn queue(&mut self, id: AssignmentId, effect: Effect) {
        self.lanes.entry(id).or_default().waiting.push_back(effect);
        self.go_on(id);
    }

    fn go_on(&mut self, id: AssignmentId) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.running.is_none()) else { return };
        let Some(effect) = lane.waiting.pop_front() else {
            self.lanes.remove(&id);
            return;
        };
        let is_pull = matches!(effect, Effect::Pull { .. });
        let (engine, kept) = (Arc::clone(&self.engine), self.kept.clone());
        let task = self
            .running
            .spawn(async move { Finished::Lane(id, perform(engine.as_ref(), &kept, effect).await) });
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

    /// What finishes next. Cancel-safe; waits for ever while nothing runs.
    pub(super) async fn done(&mut self) -> Done {
        loop {
            match self.running.join_next_with_id().await {
                None => std::future::pending::<()>().await,
                Some(Ok((task, Finished::Lane(id, done)))) => {
                    self.by_task.remove(&task);
                    self.lane_is_free(id, task);
                    return done;
                }
                Some(Ok((_, Finished::Beside(done)))) => return done,
                Some(Ok((_, Finished::Watch(id, container, exit)))) => {
                    self.watches.remove(&(id, container.clone()));
                    let Some(exit) = exit else { continue };
                    return Done { event: Some(Event::Exited(id, container, exit)), silent: None };
                }
                Some(Err(error)) => {
                    let Some(id) = self.by_task.remove(&error.id()) else { continue };
                    self.lane_is_free(id, error.id());
                    if !error.is_cancelled() {
                        tracing::error!(assignment = %id, %error, "an engine call ended in a defect");
                        let silent = EngineFailure::Unavailable(error.to_string());
                        return Done { event: None, silent: Some(silent) };
                    }
                }
            }
        }
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

fn silent<T>(result: &Result<T, EngineFailure>) -> Option<EngineFailure> {
    match result {
        Err(failure @ EngineFailure::Unavailable(_)) => Some(failure.clone()),
        _ => None,
    }
}

async fn perform(engine: &dyn Engine, kept: &KeptOutput, effect: Effect) -> Done {
    match effect {
        Effect::Pull { id, attempt, image, policy, delay } => {
            tokio::time::sleep(delay.to_duration()).await;
            let result = engine.pull(&image, policy).await;
            Done { silent: silent(&result), event: Some(Event::Pulled(id, attempt, result)) }
        }
        Effect::Create(plan) => {
            let result = engine.create(&plan).await;
            Done { silent: silent(&result), event: Some(Event::Created(plan.id, plan.attempt, result)) }
        }
        Effect::Start { id, attempt, container } => {
            let result = engine.start(&container).await;
            Done { silent: silent(&result), event: Some(Event::Started(id, attempt, result)) }
        }
        Effect::Stop { id, container, grace } => {
            stop(engine, id, &container, grace).await;
            Done { silent: None, event: None }
        }
        Effect::KeepOutput { id, container } => {
            kept.keep(id, engine, &container).await;
            Done { silent: None, event: None }
        }
        Effect::Remove { id } => {
            let result = engine.remove(&id).await;
            if let Err(failure) = &result {
                tracing::warn!(assignment = %id, ?failure, "a container could not be removed; it is tried again");
            }
            Done { silent: silent(&result), event: Some(Event::Removed(id, result)) }
        }
        Effect::Journal(_)
        | Effect::Watch { .. }
        | Effect::RemoveStray(_)
        | Effect::Probe { .. }
        | Effect::Report => Done { event: None, silent: None },
    }
}

/// Stops a container, however often it takes: the core asks once, and an engine that restarts forgets.
async fn stop(engine: &dyn Engine, id: AssignmentId, container: &ContainerId, grace: Millis) {
    let mut pause = Backoff::new(PATIENT, backoff::random_seed());
    while let Err(failure) = engine.stop(container, grace).await {
        tracing::warn!(assignment = %id, ?failure, "a container could not be stopped; it is tried again");
        tokio::time::sleep(pause.next_wait()).await;
    }
}

/// Waits for the end of a container, through restarts of the engine; `None` if there is no such container any more.
async fn wait(engine: &dyn Engine, container: &ContainerId) -> Option<Exit> {
    let mut pause = Backoff::new(PATIENT, backoff::random_seed());
    loop {
        match engine.wait(container).await {
            Ok(exit) => return Some(exit),
            Err(EngineFailure::Unavailable(_)) => tokio::time::sleep(pause.next_wait()).await,
            Err(_) => return None,
        }
    }
}

//! A container engine in memory, with switches for what can go wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lode_protocol::ids::AssignmentId;
use lode_protocol::image::ImageReference;
use lode_protocol::logs::{EngineTime, LogSource};
use lode_protocol::units::Millis;
use lode_worker::core::effect::{ContainerPlan, WantedImage};
use lode_worker::core::event::{
    ContainerId, Ending, EngineFailure, EngineRun, Exit, MemoryLimits, Observed, ObservedState, PulledImage,
};
use lode_worker::engine::{Captured, Engine, Mark, Marks, Piece, Ran};
use tokio::sync::Notify;

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeEngine {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    calls: u64,
    next: u32,
    starts: u32,
    stops: u32,
    containers: BTreeMap<ContainerId, (AssignmentId, ObservedState)>,
    pull_failure: Option<EngineFailure>,
    /// How often it was started anew.
    lives: u32,
    stop_failure: Option<EngineFailure>,
    create_failure: Option<EngineFailure>,
    /// Commands in containers fail.
    unhealthy: bool,
}

impl FakeEngine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self) -> Result<MutexGuard<'_, State>, EngineFailure> {
        let mut state = self.state();
        state.calls += 1;
        if state.down { Err(EngineFailure::Unavailable("switched off".to_owned())) } else { Ok(state) }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.state().down = down;
        self.changed.notify_waiters();
    }

    /// It stops, ends what runs with this exit code, and is there again at once.
    pub(crate) fn restart(&self, code: i64) {
        let mut state = self.state();
        state.lives += 1;
        for (_, doing) in state.containers.values_mut().filter(|(_, doing)| *doing == ObservedState::Running)
        {
            *doing = ObservedState::Exited(Exit { code, out_of_memory: false });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn fail_pulls(&self, failure: Option<EngineFailure>) {
        self.state().pull_failure = failure;
    }

    pub(crate) fn fail_stops(&self, failure: Option<EngineFailure>) {
        self.state().stop_failure = failure;
    }

    pub(crate) fn fail_creations(&self, failure: Option<EngineFailure>) {
        self.state().create_failure = failure;
    }

    pub(crate) fn set_unhealthy(&self, unhealthy: bool) {
        self.state().unhealthy = unhealthy;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(crate) fn starts(&self) -> u32 {
        self.state().starts
    }

    pub(crate) fn stops(&self) -> u32 {
        self.state().stops
    }

    pub(crate) fn containers(&self) -> Vec<(ContainerId, AssignmentId, ObservedState)> {
        self.state().containers.iter().map(|(id, (of, state))| (id.clone(), *of, state.clone())).collect()
    }

    /// The container of `of` ends by itself.
    pub(crate) fn exit(&self, of: AssignmentId, code: i64) {
        for (owner, state) in self.state().containers.values_mut() {
            if *owner == of {
                *state = ObservedState::Exited(Exit { code, out_of_memory: false });
            }
        }
        self.changed.notify_waiters();
    }

    /// Somebody else's hand: the container is gone.
    pub(crate) fn vanish(&self, of: AssignmentId) {
        self.state().containers.retain(|_, (owner, _)| *owner != of);
        self.changed.notify_waiters();
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn ping(&self) -> Result<String, EngineFailure> {
        self.answer().map(|_| "fake 1".to_owned())
    }

    async fn life(&self) -> Result<EngineRun, EngineFailure> {
        // It changes nothing, and counts as no call.
        let state = self.state();
        if state.down {
            return Err(EngineFailure::Unavailable("switched off".to_owned()));
        }
        Ok(EngineRun { boot: "boot".to_owned(), run: state.lives.to_string() })
    }

    async fn list(&self) -> Result<Vec<Observed>, EngineFailure> {
        let state = self.answer()?;
        let seen = |(container, (assignment, state)): (&ContainerId, &(AssignmentId, ObservedState))| {
            Observed { container: container.clone(), assignment: Some(*assignment), state: state.clone() }
        };
        Ok(state.containers.iter().map(seen).collect())
    }

    async fn data_root(&self) -> Result<Option<PathBuf>, EngineFailure> {
        self.answer().map(|_| None)
    }

    async fn pull(&self, wanted: &WantedImage) -> Result<PulledImage, EngineFailure> {
        match &self.answer()?.pull_failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(format!("{}@sha256:{}", wanted.image.name(), "1".repeat(64)).into()),
        }
    }

    async fn remove_image(&self, _: &ImageReference) -> Result<(), EngineFailure> {
        self.answer().map(|_| ())
    }

    async fn create(&self, plan: &ContainerPlan) -> Result<ContainerId, EngineFailure> {
        let mut state = self.answer()?;
        if let Some(failure) = &state.create_failure {
            return Err(failure.clone());
        }
        state.containers.retain(|_, (owner, _)| *owner != plan.id);
        state.next += 1;
        let container = ContainerId(format!("container-{}", state.next));
        state.containers.insert(container.clone(), (plan.id, ObservedState::Created));
        Ok(container)
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineFailure> {
        let mut state = self.answer()?;
        state.starts += 1;
        match state.containers.get_mut(container) {
            Some((_, doing)) => *doing = ObservedState::Running,
            None => return Err(EngineFailure::Other("no such container".to_owned())),
        }
        Ok(())
    }

    async fn wait(&self, container: &ContainerId) -> Result<Exit, EngineFailure> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.answer()?;
                match state.containers.get(container) {
                    None => return Err(EngineFailure::Other("no such container".to_owned())),
                    Some((_, ObservedState::Exited(exit))) => return Ok(*exit),
                    Some(_) => {}
                }
            }
            changed.await;
        }
    }

    async fn examine(&self, container: &ContainerId) -> Result<Ending, EngineFailure> {
        let run = self.life().await?;
        match self.answer()?.containers.get(container) {
            Some((_, ObservedState::Exited(exit))) => Ok(Ending {
                exit: *exit,
                run,
                stopped_by_hand: None,
                host_out_of_memory: false,
                limits: MemoryLimits::default(),
            }),
            Some(_) => Err(EngineFailure::Other("it runs again".to_owned())),
            None => Err(EngineFailure::Other("no such container".to_owned())),
        }
    }

    async fn stop(&self, container: &ContainerId, _: Millis) -> Result<(), EngineFailure> {
        {
            let mut state = self.answer()?;
            state.stops += 1;
            if let Some(failure) = &state.stop_failure {
                return Err(failure.clone());
            }
            if let Some((_, doing)) = state.containers.get_mut(container) {
                *doing = ObservedState::Exited(Exit { code: 143, out_of_memory: false });
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    async fn remove(&self, id: &AssignmentId) -> Result<(), EngineFailure> {
        self.answer()?.containers.retain(|_, (owner, _)| owner != id);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineFailure> {
        self.answer()?.containers.remove(container);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn execute(&self, _: &ContainerId, _: &[String], _: Duration) -> Result<Ran, EngineFailure> {
        let state = self.answer()?;
        Ok(Ran::Ended(i64::from(state.unhealthy)))
    }

    async fn address(&self, _: &ContainerId) -> Result<Option<IpAddr>, EngineFailure> {
        self.answer().map(|_| None)
    }

    fn output(
        &self,
        container: &ContainerId,
        marks: Marks,
    ) -> BoxStream<'static, Result<Captured, EngineFailure>> {
        if !self.state().containers.contains_key(container) {
            let gone = EngineFailure::Other("no such container".to_owned());
            return futures::stream::iter([Err(gone)]).boxed();
        }
        let read = marks.stdout.map_or(0, |mark| mark.at.0);
        let piece = |number: u64| {
            Captured::Piece(Piece {
                source: LogSource::Stdout,
                mark: Mark { at: EngineTime(number), repeat: 1 },
                bytes: format!("line {number}").into(),
                ends_line: true,
            })
        };
        futures::stream::iter((read + 1..=3).map(piece).chain([Captured::End]).map(Ok)).boxed()
    }
}

//! What a host's engine does when its worker wants something, and what programs do by themselves.

use lode_protocol::ids::AssignmentId;
use lode_protocol::task::TaskKind;
use lode_worker_core::effect::Command;
use lode_worker_core::event::{
    ContainerId, EngineEvent, EngineFailure, Event, Exit, ObservedState, Origin, PulledImage,
};

use crate::engine::Container;
use crate::happening::Happening;
use crate::world::World;

impl World {
    pub(crate) fn call_engine(&mut self, number: usize, command: Command) {
        let boot = self.nodes[number].boot;
        let (about, wait) = match &command {
            Command::Scan | Command::Survey | Command::RemoveImage(_) | Command::RemoveStray(_) => (None, 0),
            Command::Pull { id, delay, .. } => (Some(*id), delay.0),
            Command::Create(plan) => (Some(plan.id), 0),
            Command::Start { id, .. }
            | Command::Watch { id, .. }
            | Command::Examine { id, .. }
            | Command::Stop { id, .. }
            | Command::KeepOutput { id, .. }
            | Command::Remove { id }
            | Command::Probe { id, .. } => (Some(*id), 0),
        };
        let takes = self.dice.between(2, 150) + wait;
        let mut at = self.now + takes;
        if let Some(id) = about {
            // What concerns one assignment is done one after the other; a pull's wait holds nobody up.
            let busy = self.nodes[number].engine.busy.entry(id).or_default();
            at = at.max(*busy + 1);
            if wait == 0 {
                *busy = at;
            }
        }
        self.at(at, Happening::Engine(number, boot, Box::new(command)));
    }

    fn engine_tells(&mut self, number: usize, boot: u64, event: EngineEvent) {
        if self.nodes[number].boot == boot {
            self.worker_event(number, Event::Engine(event));
        }
    }

    /// The engine tells a worker something, if that still lives.
    pub fn engine_says(&mut self, number: usize, boot: u64, event: EngineEvent) {
        self.engine_tells(number, boot, event);
    }

    /// The engine does what a worker wanted.
    pub fn engine_does(&mut self, number: usize, boot: u64, command: Command) {
        let no_answer = || EngineFailure::Unavailable("no answer".to_owned());
        let silent = self.nodes[number].engine.silent;
        // A worker that died meanwhile has sent its call: it is carried out or not, as it happens.
        if self.nodes[number].boot != boot && self.dice.chance(500) {
            return;
        }
        self.note(|| {
            format!("engine {number}{}: {}", if silent { " (silent)" } else { "" }, brief(&command))
        });
        match command {
            Command::Scan => {
                let seen = if silent {
                    EngineEvent::ScanFailed(no_answer())
                } else {
                    let engine = &self.nodes[number].engine;
                    EngineEvent::Observed(engine.life(), engine.list())
                };
                self.engine_tells(number, boot, seen);
            }
            // Nothing is fetched for good in this world: no image takes room.
            Command::Survey => self.engine_tells(number, boot, EngineEvent::Surveyed(None)),
            Command::RemoveImage(image) => {
                let result = if silent { Err(no_answer()) } else { Ok(()) };
                self.engine_tells(number, boot, EngineEvent::ImageRemoved(image, result));
            }
            Command::Pull { id, attempt, image, .. } => {
                let result = if silent {
                    Err(no_answer())
                } else if self.chaos() && self.dice.chance(30) {
                    Err(EngineFailure::PullFailed("the registry broke off".to_owned()))
                } else {
                    Ok(PulledImage { name: image.image.to_string(), origin: Origin::Present })
                };
                self.engine_tells(number, boot, EngineEvent::Pulled(id, attempt, result));
            }
            Command::Create(plan) => {
                let (id, attempt) = (plan.id, plan.attempt);
                let result = if silent {
                    Err(no_answer())
                } else {
                    self.remove_all(number, id);
                    let code = i64::from(self.dice.chance(100));
                    let runs_for = match plan.order.spec.kind {
                        TaskKind::Batch => Some(self.dice.between(500, 15_000)),
                        TaskKind::Service => None,
                    };
                    let engine = &mut self.nodes[number].engine;
                    let name = engine.name();
                    let container = Container {
                        assignment: id,
                        gpus: plan.order.gpus.clone(),
                        state: ObservedState::Created,
                        since: self.now,
                        runs_for,
                        code,
                        watched: false,
                    };
                    engine.containers.insert(name.clone(), container);
                    Ok(name)
                };
                self.engine_tells(number, boot, EngineEvent::Created(id, attempt, result));
            }
            Command::Start { id, attempt, container } => {
                let result = if silent {
                    Err(no_answer())
                } else {
                    self.start_container(number, &container).map(|()| self.nodes[number].engine.life())
                };
                self.engine_tells(number, boot, EngineEvent::Started(id, attempt, result));
            }
            Command::Watch { id, container } => {
                let engine = &mut self.nodes[number].engine;
                let Some(known) = engine.containers.get_mut(&container) else { return };
                if let ObservedState::Exited(exit) = known.state {
                    self.engine_tells(number, boot, EngineEvent::Exited(id, container, exit));
                } else {
                    known.watched = true;
                }
            }
            Command::Examine { id, container } => {
                let engine = &self.nodes[number].engine;
                let result = if silent { Err(no_answer()) } else { engine.examine(&container) };
                self.engine_tells(number, boot, EngineEvent::Examined(id, container, result));
            }
            Command::Stop { id: _, container, grace } => {
                if silent {
                    return self.engine_tells(number, boot, EngineEvent::Silent(no_answer()));
                }
                let takes = self.dice.between(10, grace.0.clamp(11, 3_000));
                self.after(takes, Happening::Stopped(number, container));
            }
            Command::KeepOutput { .. } => {}
            Command::Remove { id } => {
                let result = if silent {
                    Err(no_answer())
                } else {
                    self.remove_all(number, id);
                    Ok(())
                };
                self.engine_tells(number, boot, EngineEvent::Removed(id, result));
            }
            Command::RemoveStray(container) => {
                if !silent {
                    self.nodes[number].engine.remove(self.now, &container);
                }
            }
            Command::Probe { id, container, .. } => {
                let result = if silent { Err("no answer".to_owned()) } else { Ok(()) };
                self.engine_tells(number, boot, EngineEvent::Probed(id, container, result));
            }
        }
    }

    fn remove_all(&mut self, number: usize, id: AssignmentId) {
        let now = self.now;
        let engine = &mut self.nodes[number].engine;
        let of_it = |(_, known): &(&ContainerId, &Container)| known.assignment == id;
        let all: Vec<ContainerId> =
            engine.containers.iter().filter(of_it).map(|(name, _)| name.clone()).collect();
        for name in all {
            engine.remove(now, &name);
        }
    }

    fn start_container(&mut self, number: usize, name: &ContainerId) -> Result<(), EngineFailure> {
        let now = self.now;
        let engine = &mut self.nodes[number].engine;
        let Some(container) = engine.containers.get(name) else {
            return Err(EngineFailure::Other("no such container".to_owned()));
        };
        if container.runs() {
            return Ok(());
        }
        let (id, gpus) = (container.assignment, container.gpus.clone());
        let others = engine.containers.values().filter(|other| other.runs());
        let taken = others.filter(|other| other.gpus.iter().any(|gpu| gpus.contains(gpu)));
        if let Some(other) = taken.map(|other| other.assignment).next() {
            self.witness.breaks(
                "no GPU is used twice",
                format!("{id} starts on node {number} on GPUs that {other} runs on"),
            );
        }
        self.witness.started(id, number);
        let container =
            self.nodes[number].engine.containers.get_mut(name).expect("it was there a moment ago");
        container.state = ObservedState::Running;
        container.since = now;
        if let Some(runs_for) = container.runs_for {
            self.after(runs_for, Happening::Ends(number, name.clone()));
        }
        Ok(())
    }

    /// A program ends by itself.
    pub fn program_ends(&mut self, number: usize, name: &ContainerId) {
        let known = self.nodes[number].engine.containers.get(name);
        let Some((true, code, since, runs_for)) =
            known.map(|known| (known.runs(), known.code, known.since, known.runs_for))
        else {
            return;
        };
        // An earlier start's end.
        if runs_for.is_some_and(|runs_for| since + runs_for > self.now) {
            return;
        }
        self.end(number, name, Exit { code, out_of_memory: false });
    }

    /// A container that was told to stop ends.
    pub fn program_stopped(&mut self, number: usize, name: &ContainerId) {
        self.end(number, name, Exit { code: 143, out_of_memory: false });
    }

    fn end(&mut self, number: usize, name: &ContainerId, exit: Exit) {
        let now = self.now;
        if let Some(id) = self.nodes[number].engine.end(now, name, exit) {
            self.note(|| format!("engine {number}: {id} ends with {}", exit.code));
            let boot = self.nodes[number].boot;
            let takes = self.dice.between(1, 50);
            let event = EngineEvent::Exited(id, name.clone(), exit);
            self.after(takes, Happening::EngineSays(number, boot, Box::new(event)));
        }
    }
}

fn brief(command: &Command) -> String {
    match command {
        Command::Scan => "scan".to_owned(),
        Command::Survey => "survey".to_owned(),
        Command::RemoveImage(image) => format!("remove image {image}"),
        Command::Pull { id, .. } => format!("pull {id}"),
        Command::Create(plan) => format!("create {} try {}", plan.id, plan.attempt.0),
        Command::Start { id, .. } => format!("start {id}"),
        Command::Watch { id, .. } => format!("watch {id}"),
        Command::Examine { id, .. } => format!("examine {id}"),
        Command::Stop { id, .. } => format!("stop {id}"),
        Command::KeepOutput { id, .. } => format!("keep output of {id}"),
        Command::Remove { id } => format!("remove {id}"),
        Command::RemoveStray(container) => format!("remove stray {}", container.0),
        Command::Probe { id, .. } => format!("probe {id}"),
    }
}

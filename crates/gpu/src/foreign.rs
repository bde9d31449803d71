//! GPUs that somebody uses beside us: a game, a miner, a notebook that was forgotten. Pure; who owns a process says the
//! caller.
//!
//! A process of this program (a proof) or of a container of its tasks is known. Any other process that is seen on a GPU is
//! foreign, at once and for as long as it is seen. A process that the host does not show is foreign only where nothing of
//! ours holds the GPU, and when it is seen twice: else it is most likely the task's own. Memory in use that no process
//! accounts for, on a GPU that nothing of ours holds, is foreign when it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lode_protocol::ids::GpuUuid;
use lode_protocol::units::Bytes;

use crate::processes::ProcessOwner;
use crate::sample::{GpuReading, HealthSample};

/// Rounds for which a container that is no longer known is still taken for ours: its processes end after it.
const CONTAINER_ROUNDS: u32 = 12;
/// Rounds in which a hidden process is seen before it counts.
const HIDDEN_ROUNDS: u32 = 2;
/// Rounds in which unexplained memory is seen before it counts: what a task leaves behind is freed a little later.
const MEMORY_ROUNDS: u32 = 3;
/// Memory that a driver and a display may use: a tenth, and at least this.
const LEAST_MEMORY: u64 = 1 << 30;
const MEMORY_SHARE: u64 = 10;
/// Processes that are named.
const NAMED: usize = 8;

/// Use of one GPU by somebody else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForeignUse {
    /// Process ids of the host, and the memory that each uses.
    pub processes: Vec<(u32, Option<Bytes>)>,
    /// Memory that no process accounts for.
    pub unexplained: Option<Bytes>,
}

impl ForeignUse {
    /// Stable name.
    pub const CODE: &'static str = "gpu/foreign-process";
}

impl fmt::Display for ForeignUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self
            .processes
            .iter()
            .take(NAMED)
            .map(|(pid, memory)| match memory {
                Some(memory) => format!("pid {pid} ({memory})"),
                None => format!("pid {pid}"),
            })
            .collect();
        if let Some(more) = self.processes.len().checked_sub(NAMED).filter(|more| *more > 0) {
            parts.push(format!("{more} more processes"));
        }
        if let Some(memory) = self.unexplained {
            parts.push(format!("{memory} of memory that no process accounts for"));
        }
        write!(f, "used outside of any task: {} ({})", parts.join(", "), Self::CODE)
    }
}

/// What is ours now.
#[derive(Clone, Debug, Default)]
pub struct OwnUse {
    /// Ids of the containers of tasks.
    pub containers: BTreeSet<String>,
    /// Physical GPUs that a task holds, itself or an instance of it.
    pub held: BTreeSet<GpuUuid>,
}

/// Rounds in a row in which something was seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    hidden: BTreeMap<(GpuUuid, u32), u32>,
    unexplained: BTreeMap<GpuUuid, u32>,
}

/// Watches for foreign use, round by round.
#[derive(Clone, Debug, Default)]
pub struct ForeignWatch {
    /// Containers that are ours, or were a short while ago, with the rounds for which they still count.
    containers: BTreeMap<String, u32>,
    seen: Seen,
    found: BTreeMap<GpuUuid, ForeignUse>,
}

impl ForeignWatch {
    /// Takes in one round over all GPUs.
    pub fn sampled(&mut self, sample: &HealthSample, own: &OwnUse, owner: impl Fn(u32) -> ProcessOwner) {
        self.containers.retain(|_, rounds| {
            *rounds = rounds.saturating_sub(1);
            *rounds > 0
        });
        self.containers.extend(own.containers.iter().map(|id| (id.clone(), CONTAINER_ROUNDS)));
        let before = std::mem::take(&mut self.seen);
        self.found.clear();
        for reading in &sample.readings {
            let found = self.judge(reading, own.held.contains(&reading.uuid), &before, &owner);
            if found != ForeignUse::default() {
                self.found.insert(reading.uuid.clone(), found);
            }
        }
    }

    /// Foreign use of a physical GPU, by the last round.
    #[must_use]
    pub fn of(&self, gpu: &GpuUuid) -> Option<&ForeignUse> {
        self.found.get(gpu)
    }

    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = (&GpuUuid, &ForeignUse)> {
        self.found.iter()
    }

    fn judge(
        &mut self,
        reading: &GpuReading,
        held: bool,
        before: &Seen,
        owner: &impl Fn(u32) -> ProcessOwner,
    ) -> ForeignUse {
        let mut found = ForeignUse::default();
        let (mut ours, mut explained) = (held, 0u64);
        for process in reading.processes.iter().flatten() {
            explained = explained.saturating_add(process.memory_bytes.unwrap_or(0));
            let foreign = match owner(process.pid) {
                ProcessOwner::Us => {
                    ours = true;
                    false
                }
                ProcessOwner::Container(id) => {
                    let known = self.containers.contains_key(&id);
                    ours |= known;
                    !known
                }
                ProcessOwner::Host => true,
                ProcessOwner::Hidden if held => false,
                ProcessOwner::Hidden => {
                    let key = (reading.uuid.clone(), process.pid);
                    let rounds = before.hidden.get(&key).copied().unwrap_or(0).saturating_add(1);
                    self.seen.hidden.insert(key, rounds);
                    rounds >= HIDDEN_ROUNDS
                }
            };
            if foreign {
                found.processes.push((process.pid, process.memory_bytes.map(Bytes)));
            }
        }
        let used = reading.memory_used_bytes.unwrap_or(0).saturating_sub(explained);
        let allowed = (reading.memory_total_bytes.unwrap_or(0) / MEMORY_SHARE).max(LEAST_MEMORY);
        if !ours && used > allowed {
            let rounds = before.unexplained.get(&reading.uuid).copied().unwrap_or(0).saturating_add(1);
            self.seen.unexplained.insert(reading.uuid.clone(), rounds);
            found.unexplained = (rounds >= MEMORY_ROUNDS).then_some(Bytes(used));
        }
        found
    }
}

#[cfg(test)]
mod tests;

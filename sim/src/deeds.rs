//! What is planned, done to the world; and its end, where it lasts.

use crate::chain::Transaction;
use crate::happening::{Happening, Trouble, Weather};
use crate::plan::{Deed, Who};
use crate::validator::conduct::Conduct;
use crate::world::World;

/// Time that a host's engine certainly answers after the host is back.
const BACK: u64 = 5_000;
/// Time until an engine that answers again is looked at: the longest pause of a worker between two looks.
const LOOKED_AT: u64 = 15_000;

impl World {
    pub(crate) fn do_deed(&mut self, deed: Deed) {
        match deed {
            Deed::CrashOrchestrator { down } => self.crash_orchestrator(down),
            Deed::CrashWorker { node, down } => self.crash_worker(node, down),
            Deed::PowerLoss { node, down } => {
                self.crash_worker(node, down);
                self.lose_power(node, down);
            }
            // Right after a host is back nobody knows what has ended with it before its engine says so.
            Deed::EngineSilent { node, .. } if self.now < self.nodes[node].power_at + BACK => {}
            Deed::EngineSilent { node, lasts } => {
                self.nodes[node].engine.silent = true;
                let number = self.trouble();
                self.nodes[node].last_silence = number;
                self.witness.cannot_tell(node, lasts + LOOKED_AT);
                self.after(lasts, Happening::Over(Trouble::Engine(node, number)));
            }
            Deed::Partition { node, up, down, lasts } => {
                let number = self.trouble();
                let known = &mut self.nodes[node];
                (known.no_way_up, known.no_way_down, known.last_partition) = (up, down, number);
                self.after(lasts, Happening::Over(Trouble::Partition(node, number)));
            }
            Deed::Weather { loss, doubled, delay, lasts } => {
                self.weather = Weather { loss, doubled, delay };
                self.last_weather = self.trouble();
                self.after(lasts, Happening::Over(Trouble::Weather(self.last_weather)));
            }
            Deed::DiskFull { whose, lasts } => {
                let number = self.trouble();
                self.fill_disk(whose, number, lasts);
                self.after(lasts, Happening::Over(Trouble::Disk(whose, number)));
            }
            Deed::ClockStep { whose, by } => match whose {
                Who::Orchestrator => self.orchestrator.skew = by,
                Who::Directory => self.directory.skew = by,
                Who::Validator(validator) => self.validators[validator].skew = by,
                Who::Worker(node) => self.nodes[node].skew = by,
            },
            Deed::CrashDirectory { down } => self.crash_directory(down),
            Deed::CrashValidator { validator, down } => self.crash_validator(validator, down),
            Deed::Misconduct { node, conduct, lasts } => {
                let number = self.trouble();
                (self.nodes[node].conduct, self.nodes[node].last_conduct) = (conduct, number);
                self.after(lasts, Happening::Over(Trouble::Conduct(node, number)));
            }
            Deed::ForgedRoot => self.forge_root(),
            Deed::Stake(staked) => self.chain.submit(Transaction::Stake(staked)),
            Deed::Impostor => self.impostor_publishes(),
            Deed::Reorganisation { depth } => {
                self.chain.reorganise(depth);
                self.watchers_start_over();
                self.after(500, Happening::OrchestratorReads(self.orchestrator.boot));
            }
            Deed::SilentRpc { lasts } => {
                self.chain.answers = false;
                self.last_rpc = self.trouble();
                self.chain_fell_silent();
                self.watchers_start_over();
                self.after(lasts, Happening::Over(Trouble::Rpc(self.last_rpc)));
            }
            Deed::Registered { node, registered } => {
                self.chain.submit(Transaction::Register(node, registered));
            }
            Deed::Stranger => self.stranger_speaks(),
            wish @ (Deed::Submit { .. }
            | Deed::Stop(_)
            | Deed::Start(_)
            | Deed::Delete(_)
            | Deed::Drain(_)
            | Deed::Undrain(_)
            | Deed::Eject(_)
            | Deed::Readmit(_)) => self.wish(&wish),
            Deed::Leave(node) => self.owner_wants_out(node),
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].impaired(self.now);
        }
    }

    fn trouble(&mut self) -> u64 {
        self.troubles += 1;
        self.troubles
    }

    pub(crate) fn trouble_over(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Partition(node, number) if self.nodes[node].last_partition == number => {
                self.nodes[node].no_way_up = false;
                self.nodes[node].no_way_down = false;
            }
            Trouble::Weather(number) if self.last_weather == number => self.weather = Weather::default(),
            Trouble::Engine(node, number) if self.nodes[node].last_silence == number => {
                self.nodes[node].engine.silent = false;
            }
            Trouble::Disk(whose, number) if self.last_full(whose) == number => self.empty_disk(whose),
            Trouble::Conduct(node, number) if self.nodes[node].last_conduct == number => {
                self.nodes[node].conduct = Conduct::Honest;
            }
            Trouble::Rpc(number) if self.last_rpc == number => {
                self.chain.answers = true;
                self.watchers_start_over();
                self.after(200, Happening::OrchestratorReads(self.orchestrator.boot));
            }
            // A later trouble of the same kind goes on.
            Trouble::Partition(..)
            | Trouble::Weather(_)
            | Trouble::Engine(..)
            | Trouble::Disk(..)
            | Trouble::Conduct(..)
            | Trouble::Rpc(_) => {}
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].impaired(self.now);
        }
    }

    fn fill_disk(&mut self, whose: Who, number: u64, lasts: u64) {
        match whose {
            Who::Orchestrator => {
                self.orchestrator.disk.full = true;
                self.orchestrator.last_full = number;
            }
            Who::Directory => {
                self.directory.disk.full = true;
                self.directory.last_full = number;
            }
            Who::Validator(validator) => {
                self.validators[validator].disk.full = true;
                self.validators[validator].last_full = number;
            }
            Who::Worker(node) => {
                self.witness.cannot_tell(node, lasts);
                self.nodes[node].disk.full = true;
                self.nodes[node].last_full = number;
            }
        }
    }

    fn last_full(&self, whose: Who) -> u64 {
        match whose {
            Who::Orchestrator => self.orchestrator.last_full,
            Who::Directory => self.directory.last_full,
            Who::Validator(validator) => self.validators[validator].last_full,
            Who::Worker(node) => self.nodes[node].last_full,
        }
    }

    /// A disk takes writes again.
    pub(crate) fn empty_disk(&mut self, whose: Who) {
        match whose {
            Who::Orchestrator => {
                self.orchestrator.disk.full = false;
                self.store_orchestrator();
            }
            Who::Directory => self.directory.disk.full = false,
            Who::Validator(validator) => {
                self.validators[validator].disk.full = false;
                self.validators[validator].diary.is_able_from(self.now);
                self.store_validator(validator);
            }
            Who::Worker(node) => {
                self.nodes[node].disk.full = false;
                self.store_worker(node);
            }
        }
    }
}

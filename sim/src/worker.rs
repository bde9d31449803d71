//! The worker's shell on a simulated host: its journal, its connection, its container engine.

use lode_protocol::amount::Amount;
use lode_protocol::hardware::{GpuState, GpuStatus};
use lode_protocol::ids::{BootCounter, ProviderId};
use lode_protocol::units::Millis;
use lode_worker_core::Worker;
use lode_worker_core::chain::ChainFacts;
use lode_worker_core::config::Config;
use lode_worker_core::effect::{Action, Effects};
use lode_worker_core::event::{ContainerId, Description, Event, Exit, Statement};
use lode_worker_core::journal::Memory;

use crate::chain::PROVIDER;
use crate::happening::Happening;
use crate::pool::REQUIREMENTS;
use crate::world::{POOL, World};

/// Time between two looks at the chain.
const CHAIN_LOOK: u64 = 4_000;

impl World {
    /// Starts a worker from its journal.
    pub fn start_worker(&mut self, number: usize) {
        if self.nodes[number].core.is_some() || self.now < self.nodes[number].power_at {
            return;
        }
        let seed = self.dice.bytes();
        let node = &mut self.nodes[number];
        let mut memory = Memory::default();
        for ((table, key), value) in &node.disk.rows {
            memory.read(*table, key, value);
        }
        if !memory.unreadable.is_empty() {
            let unreadable = format!("{:?}", memory.unreadable);
            return self.witness.breaks("what was stored can be read", unreadable);
        }
        let config = Config {
            pool: POOL,
            node: node.id,
            pools_domain: World::pools_domain(),
            rewards_domain: World::rewards_domain(),
            agent_version: "0.1.0".to_owned(),
            ports: 30_000..=30_099,
            resync_interval: Millis::seconds(5),
            images: None,
            seed,
        };
        node.core = Some(Worker::recover(config, memory));
        node.boot += 1;
        node.described += 1;
        node.started = self.now;
        node.connection = None;
        node.follows = false;
        node.last_beat = None;
        node.writing = false;
        node.next_tick = 0;
        let boot = node.boot;
        let statuses = node.specs.gpus.iter().map(|gpu| GpuStatus {
            uuid: gpu.uuid.clone(),
            state: GpuState::Healthy,
            reason: None,
            temperature: None,
            power: None,
            utilization: None,
            memory_used: None,
        });
        let statuses = statuses.collect();
        let description = Description {
            version: (BootCounter(boot), node.described),
            sealed: format!("{number}/{boot}").into_bytes(),
            specs: node.specs.digest(),
        };
        self.note(|| format!("worker {number} starts, boot {boot}"));
        self.nodes[number].impaired(self.now);
        self.worker_event(number, Event::Started);
        self.worker_event(number, Event::GpusSeen(statuses));
        self.worker_event(number, Event::Described(description));
        self.after(50, Happening::WorkerReads(number, boot));
        self.nodes[number].publisher.begin();
        let (publishes, dials) = (self.dice.between(50, 2_000), self.dice.between(50, 2_000));
        self.after(publishes, Happening::Publish(number, boot));
        self.after(dials, Happening::Dial(number, boot));
    }

    /// A worker dies; its containers go on.
    pub fn crash_worker(&mut self, number: usize, down: u64) {
        let pending = self.nodes[number].disk.pending.len();
        let kept = self.dice.between(0, u64::try_from(pending).unwrap_or(0));
        let node = &mut self.nodes[number];
        if node.core.take().is_none() {
            return;
        }
        node.disk.crash(usize::try_from(kept).unwrap_or(0));
        self.node_leaves_validators(number);
        let node = &mut self.nodes[number];
        node.engine.busy.clear();
        for container in node.engine.containers.values_mut() {
            container.watched = false;
        }
        if let Some(connection) = node.connection.take()
            && !node.no_way_up
            && !self.dice.chance(200)
        {
            let after = self.dice.between(10, 3_000);
            self.after(after, Happening::Hangup(number, connection));
        }
        self.after(down, Happening::WorkerStarts(number));
    }

    /// Everything on a host ends; its engine starts anew with it.
    pub fn lose_power(&mut self, number: usize, down: u64) {
        let now = self.now;
        self.nodes[number].power_at = self.nodes[number].power_at.max(now + down);
        let power_at = self.nodes[number].power_at;
        self.at(power_at, Happening::WorkerStarts(number));
        let engine = &mut self.nodes[number].engine;
        engine.silent = false;
        engine.boots += 1;
        let all: Vec<ContainerId> = engine.containers.keys().cloned().collect();
        for container in all {
            engine.end(now, &container, Exit { code: 255, out_of_memory: false });
        }
    }

    /// Its owner wants the node out of the pool.
    pub fn owner_wants_out(&mut self, number: usize) {
        self.nodes[number].leaves += 1;
        let wish = self.nodes[number].leaves;
        self.worker_event(number, Event::LeaveWanted(wish));
    }

    pub(crate) fn worker_event(&mut self, number: usize, event: Event) {
        let now = self.clocks(self.nodes[number].started, self.nodes[number].skew);
        let Some(core) = self.nodes[number].core.as_mut() else { return };
        self.steps += 1;
        if let Ok(effects) = core.step(now, event) {
            self.worker_effects(number, effects);
        }
        self.plan_worker_tick(number);
    }

    fn worker_effects(&mut self, number: usize, effects: Effects) {
        let Effects { changes, ticket, at_once, actions } = effects;
        let boot = self.nodes[number].boot;
        if let (true, Some((_, (_, waiting)))) =
            (changes.is_empty(), self.nodes[number].disk.pending.back_mut())
        {
            // It rests on what is being written already.
            waiting.extend(actions);
            self.do_actions(number, boot, at_once);
        } else if !changes.is_empty() {
            let writes = changes.into_iter().map(|change| (change.table, change.key, change.value)).collect();
            self.nodes[number].disk.pending.push_back((writes, (ticket, actions)));
            self.store_worker(number);
            self.do_actions(number, boot, at_once);
        } else {
            self.do_actions(number, boot, at_once);
            self.do_actions(number, boot, actions);
        }
    }

    /// Has the disk work, if there is something to do.
    pub fn store_worker(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if node.writing || node.disk.pending.is_empty() || node.disk.full || node.core.is_none() {
            return;
        }
        node.writing = true;
        let (boot, takes) = (node.boot, self.dice.between(1, 25));
        self.after(takes, Happening::WorkerStored(number, boot));
    }

    /// The disk has finished its oldest batch.
    pub fn worker_stored(&mut self, number: usize, boot: u64) {
        let node = &mut self.nodes[number];
        if boot != node.boot || node.core.is_none() {
            return;
        }
        node.writing = false;
        if let Some((ticket, actions)) = node.disk.finish() {
            self.do_actions(number, boot, actions);
            self.worker_event(number, Event::Stored(ticket));
        }
        self.store_worker(number);
    }

    fn plan_worker_tick(&mut self, number: usize) {
        let started = self.nodes[number].started;
        let now = self.clocks(started, 0).monotonic;
        let node = &mut self.nodes[number];
        let Some(due) = node.core.as_ref().and_then(Worker::next_deadline) else { return };
        let at = (self.now + due.0.saturating_sub(now.0)).max(self.now + 1);
        if node.next_tick <= self.now || at < node.next_tick {
            node.next_tick = at;
            let boot = node.boot;
            self.at(at, Happening::WorkerTick(number, boot));
        }
    }

    /// The core wanted time.
    pub fn tick_worker(&mut self, number: usize, boot: u64) {
        let node = &self.nodes[number];
        if boot == node.boot && node.next_tick <= self.now {
            self.worker_event(number, Event::Tick);
        }
    }

    fn do_actions(&mut self, number: usize, boot: u64, actions: Vec<Action>) {
        for action in actions {
            if self.nodes[number].boot != boot || self.nodes[number].core.is_none() {
                return;
            }
            self.do_action(number, action);
        }
    }

    fn do_action(&mut self, number: usize, action: Action) {
        let boot = self.nodes[number].boot;
        match action {
            Action::Engine(command) => self.call_engine(number, command),
            Action::Send(message) => self.send_up(number, message),
            Action::Resend => {
                if let Some((message, digest)) = self.nodes[number].last_beat.clone() {
                    self.carry(number, message, digest);
                }
            }
            Action::Reconnect => {
                self.hang_up(number);
                let after = self.dice.between(50, 800);
                self.after(after, Happening::Connect(number, boot));
            }
            Action::Follow { .. } => {
                self.nodes[number].follows = true;
                let after = self.dice.between(20, 300);
                self.after(after, Happening::Connect(number, boot));
            }
            Action::Sign(statement) => {
                let digest = match &statement {
                    Statement::Consent(invite) => invite.consent_digest(&World::pools_domain()),
                    Statement::Leave(leave) => leave.digest(&World::pools_domain()),
                    Statement::Receipt(receipt) => receipt.digest(&World::rewards_domain()),
                };
                let signature = self.nodes[number].key.sign_recoverable(&digest);
                self.worker_event(number, Event::Signed(statement, signature));
            }
            Action::PostLogs(_) | Action::Raise(_) | Action::Clear(_) | Action::LeaveNoted { .. } => {}
        }
    }

    /// A worker looks at the chain.
    pub fn worker_reads_chain(&mut self, number: usize, boot: u64) {
        if boot != self.nodes[number].boot || self.nodes[number].core.is_none() {
            return;
        }
        if self.chain.answers {
            let facts = &self.chain.facts[&number];
            let event = Event::ChainSeen(ChainFacts {
                orchestrator: self.pool_key.address(),
                endpoints: "pool".to_owned(),
                requirements: REQUIREMENTS,
                membership: facts.state,
                join_counter: facts.counter,
                provider: facts.registered.then_some(ProviderId(PROVIDER)),
                paid: Some(Amount::ZERO),
            });
            self.worker_event(number, event);
        } else {
            self.worker_event(number, Event::ChainSilent);
        }
        self.after(CHAIN_LOOK, Happening::WorkerReads(number, boot));
    }
}

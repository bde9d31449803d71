//! What is about to happen, and what lasts.

use lode_orchestrator_core::event::ConnectionId;
use lode_worker_core::effect::Command;
use lode_worker_core::event::{ContainerId, EngineEvent, Heard};

use crate::directory::DirectoryHappening;
use crate::plan::Who;
use crate::validator::ValidatorHappening;
use crate::validator::proofs::{Challenged, Said};
use crate::wire::Up;

/// Something that is about to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The plan's deed of this number.
    Deed(usize),
    /// The orchestrator is started.
    OrchestratorStarts,
    /// Its core asked for time.
    OrchestratorTick(u64),
    /// Its disk has finished a batch.
    OrchestratorStored(u64),
    /// The chain's facts reach it.
    OrchestratorReads(u64),
    /// A message reaches it.
    Up(Box<Up>),
    /// It learns that a connection is gone.
    Hangup(usize, ConnectionId),
    /// A worker is started.
    WorkerStarts(usize),
    /// Its core asked for time.
    WorkerTick(usize, u64),
    /// Its disk has finished a batch.
    WorkerStored(usize, u64),
    /// It looks at the chain.
    WorkerReads(usize, u64),
    /// It tries to connect.
    Connect(usize, u64),
    /// Its connection breaks.
    Disconnected(usize, ConnectionId),
    /// A message reaches it.
    Down(usize, ConnectionId, Box<Heard>),
    /// The engine of a node has done what a worker (of this boot) wanted.
    Engine(usize, u64, Box<Command>),
    /// The engine tells a worker something.
    EngineSays(usize, u64, Box<EngineEvent>),
    /// A program ends by itself.
    Ends(usize, ContainerId),
    /// A container that was told to stop ends.
    Stopped(usize, ContainerId),
    /// A block is mined.
    Block,
    /// Something of the directory.
    Directory(DirectoryHappening),
    /// Something of a validator of this boot.
    Validator(usize, u64, ValidatorHappening),
    /// A worker tries to describe its node to the directory.
    Publish(usize, u64),
    /// The directory has answered its publication of this number.
    Answered(usize, u64, u64, bool),
    /// A worker tries to reach the validators.
    Dial(usize, u64),
    /// A challenge of a validator reaches a node, over this connection.
    Challenged(usize, usize, u64, Box<Challenged>),
    /// A node of this boot has an answer for a validator, over this connection.
    Says(usize, u64, usize, u64, Box<Said>),
    /// A trouble is over.
    Over(Trouble),
}

/// A trouble that lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// A partition of a node: directions, and its number.
    Partition(usize, u64),
    /// Bad weather, by number.
    Weather(u64),
    /// A silent engine.
    Engine(usize, u64),
    /// A full disk.
    Disk(Who, u64),
    /// A node that does not prove itself as it should.
    Conduct(usize, u64),
    /// A silent RPC.
    Rpc(u64),
}

/// How messages travel now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Lost, of 1,000.
    pub loss: u32,
    /// Doubled, of 1,000.
    pub doubled: u32,
    /// Longest delay beyond the usual.
    pub delay: u64,
}

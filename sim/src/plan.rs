//! What will go wrong, and what people will want, decided before the run: so that a failing run can be shrunk by leaving
//! things out.

use std::fmt;

use crate::dice::Dice;
use crate::validator::conduct::Conduct;

/// How long and how large a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// Events that cores take.
    pub steps: u64,
    /// Virtual time in which things go wrong, in milliseconds. Afterwards everything must settle.
    pub chaos: u64,
    /// Virtual time after that, in milliseconds.
    pub calm: u64,
}

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The orchestrator.
    Orchestrator,
    /// The directory.
    Directory,
    /// This validator.
    Validator(usize),
    /// The worker of this node.
    Worker(usize),
}

/// One thing that happens to the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// A process dies at once; what it had not made durable is gone, or not.
    CrashOrchestrator {
        /// Until it is started again, in milliseconds.
        down: u64,
    },
    /// The same of a worker; its containers go on.
    CrashWorker {
        /// Which.
        node: usize,
        /// Until it is started again.
        down: u64,
    },
    /// A host loses power: its worker and every container end.
    PowerLoss {
        /// Which.
        node: usize,
        /// Until it is back.
        down: u64,
    },
    /// A container engine does not answer; containers go on.
    EngineSilent {
        /// Whose.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// Nothing of a node arrives, or nothing arrives at it, or both.
    Partition {
        /// Which.
        node: usize,
        /// Whether what it sends is lost.
        up: bool,
        /// Whether what is sent to it is lost.
        down: bool,
        /// For how long.
        lasts: u64,
    },
    /// Messages are lost, doubled, late and out of order.
    Weather {
        /// Lost, of 1,000.
        loss: u32,
        /// Doubled, of 1,000.
        doubled: u32,
        /// Longest delay, in milliseconds.
        delay: u64,
        /// For how long.
        lasts: u64,
    },
    /// A disk takes nothing.
    DiskFull {
        /// Whose.
        whose: Who,
        /// For how long.
        lasts: u64,
    },
    /// A wall clock jumps.
    ClockStep {
        /// Whose.
        whose: Who,
        /// By how many milliseconds, in the past if negative.
        by: i64,
    },
    /// The last blocks are replaced; what they held comes again, later.
    Reorganisation {
        /// How many.
        depth: usize,
    },
    /// The chain's RPC does not answer anybody.
    SilentRpc {
        /// For how long.
        lasts: u64,
    },
    /// The chain's facts about a node change: it is released, or registered again.
    Registered {
        /// Which.
        node: usize,
        /// Whether it is registered now.
        registered: bool,
    },
    /// The directory's process dies.
    CrashDirectory {
        /// Until it is started again.
        down: u64,
    },
    /// A validator's process dies.
    CrashValidator {
        /// Which.
        validator: usize,
        /// Until it is started again.
        down: u64,
    },
    /// A node proves itself otherwise than it should.
    Misconduct {
        /// Which.
        node: usize,
        /// How.
        conduct: Conduct,
        /// For how long.
        lasts: u64,
    },
    /// Somebody with the pool's stolen key posts a root of earnings that nobody earned.
    ForgedRoot,
    /// The stake of the strangers' provider covers its nodes, or does not.
    Stake(bool),
    /// Somebody talks to the directory who should not, or not so.
    Impostor,
    /// Somebody without standing talks to the orchestrator: greetings, beats of others' sessions, stale and future ones.
    Stranger,
    /// A task is submitted.
    Submit {
        /// Its number.
        number: u64,
        /// Replicas.
        replicas: u32,
        /// GPUs of each.
        gpus: u32,
        /// Whether it runs until it is stopped.
        service: bool,
    },
    /// A task is stopped, started again, or deleted.
    Stop(u64),
    /// See [`Deed::Stop`].
    Start(u64),
    /// See [`Deed::Stop`].
    Delete(u64),
    /// A node is emptied.
    Drain(usize),
    /// It may get work again.
    Undrain(usize),
    /// A node is removed from the pool.
    Eject(usize),
    /// It may come back.
    Readmit(usize),
    /// A node's owner wants out.
    Leave(usize),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Everything that will happen, by time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The seed it was made from; also that of all chance during the run.
    pub seed: u64,
    /// Nodes with GPUs.
    pub nodes: usize,
    /// Validators.
    pub validators: usize,
    /// When, in milliseconds since the start, and what.
    pub deeds: Vec<(u64, Deed)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, scale: Scale) -> Self {
        let mut dice = Dice::new(seed, 0);
        let nodes = dice.below(4) + 2;
        let mut deeds = Vec::new();
        // Some seeds are harsh, some have only one kind of trouble.
        let troubles = dice.between(0, scale.chaos / 2_500);
        let theme = dice.chance(500).then(|| dice.between(0, 9));
        for _ in 0..troubles {
            let at = dice.between(4_000, scale.chaos.max(4_001));
            deeds.push((at, trouble(&mut dice, nodes, theme, scale)));
        }
        let tasks = dice.between(2, 6);
        for number in 0..tasks {
            let at = dice.between(1_000, scale.chaos * 3 / 4);
            deeds.push((
                at,
                Deed::Submit {
                    number,
                    replicas: u32::try_from(dice.between(1, 4)).unwrap_or(1),
                    gpus: u32::try_from(dice.between(0, 2)).unwrap_or(0),
                    service: dice.chance(300),
                },
            ));
            for _ in 0..dice.between(0, 2) {
                let later = dice.between(at, scale.chaos.max(at + 1));
                let wish = match dice.between(0, 3) {
                    0 => Deed::Delete(number),
                    1 => Deed::Start(number),
                    _ => Deed::Stop(number),
                };
                deeds.push((later, wish));
            }
        }
        // Of its own stream: what the pool meets stays as it is.
        let mut dice = Dice::new(seed, 2);
        let validators = if dice.chance(250) { 1 } else { dice.below(2) + 3 };
        let theme = dice.chance(400).then(|| dice.between(0, 9));
        for _ in 0..dice.between(0, scale.chaos / 3_000) {
            let at = dice.between(4_000, scale.chaos.max(4_001));
            deeds.push((at, public_trouble(&mut dice, (nodes, validators), theme, scale)));
        }
        deeds.sort_by_key(|(at, _)| *at);
        Plan { seed, nodes, validators, deeds }
    }
}

/// What happens to directory and validators, and by whom.
fn public_trouble(
    dice: &mut Dice,
    (nodes, validators): (usize, usize),
    theme: Option<u64>,
    scale: Scale,
) -> Deed {
    let (node, validator) = (dice.below(nodes), dice.below(validators));
    let short = |dice: &mut Dice| dice.between(100, 6_000);
    let long = |dice: &mut Dice| dice.between(1_000, (scale.chaos / 3).max(2_000));
    let who = |dice: &mut Dice| if dice.chance(400) { Who::Directory } else { Who::Validator(validator) };
    match theme.unwrap_or_else(|| dice.between(0, 11)) {
        0 => Deed::CrashDirectory { down: short(dice) },
        1 | 2 => Deed::CrashValidator { validator, down: short(dice) },
        3 | 4 => {
            let conduct = Conduct::ALL[dice.below(Conduct::ALL.len())];
            Deed::Misconduct { node, conduct, lasts: long(dice) }
        }
        5 => Deed::ForgedRoot,
        6 => Deed::Stake(dice.chance(500)),
        7 => Deed::Impostor,
        8 => Deed::DiskFull { whose: who(dice), lasts: short(dice) },
        9 => Deed::ClockStep { whose: who(dice), by: step(dice) },
        10 => Deed::CrashValidator { validator, down: long(dice) },
        _ => Deed::Impostor,
    }
}

/// By how much a wall clock jumps.
fn step(dice: &mut Dice) -> i64 {
    let size = i64::try_from(dice.between(500, 3_600_000)).unwrap_or(500);
    if dice.chance(500) { size } else { -size }
}

fn trouble(dice: &mut Dice, nodes: usize, theme: Option<u64>, scale: Scale) -> Deed {
    let node = dice.below(nodes);
    let short = |dice: &mut Dice| dice.between(100, 6_000);
    let long = |dice: &mut Dice| dice.between(1_000, (scale.chaos / 3).max(2_000));
    let who = |dice: &mut Dice| if dice.chance(400) { Who::Orchestrator } else { Who::Worker(node) };
    match theme.unwrap_or_else(|| dice.between(0, 15)) {
        0 => Deed::CrashOrchestrator { down: short(dice) },
        1 => Deed::CrashWorker { node, down: short(dice) },
        2 => Deed::PowerLoss { node, down: long(dice) },
        3 => Deed::EngineSilent { node, lasts: long(dice) },
        4 => {
            let side = dice.between(0, 2);
            Deed::Partition { node, up: side != 1, down: side != 0, lasts: long(dice) }
        }
        5 => Deed::Weather {
            loss: u32::try_from(dice.between(0, 300)).unwrap_or(0),
            doubled: u32::try_from(dice.between(0, 200)).unwrap_or(0),
            delay: dice.between(10, 1_500),
            lasts: long(dice),
        },
        6 => Deed::DiskFull { whose: who(dice), lasts: short(dice) },
        7 => Deed::ClockStep { whose: who(dice), by: step(dice) },
        8 => Deed::Reorganisation { depth: dice.below(5) + 1 },
        9 => Deed::SilentRpc { lasts: long(dice) },
        10 => Deed::Registered { node, registered: dice.chance(500) },
        11 => Deed::Stranger,
        12 => Deed::Drain(node),
        13 => Deed::Undrain(node),
        14 => match dice.between(0, 2) {
            0 => Deed::Leave(node),
            1 => Deed::Readmit(node),
            _ => Deed::Eject(node),
        },
        _ => Deed::Stranger,
    }
}

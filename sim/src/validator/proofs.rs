//! The conversation of a validator with a node that proves its GPUs, over a stream: in order, late, and broken when
//! something of it is lost.

use lode_protocol::hash::{Digest, keccak256, keccak256_of};
use lode_protocol::ids::{GpuUuid, NodeId, Nonce};
use lode_protocol::proof::{Answer, Challenge, GpuOpening, Phase, ProofFailure};
use lode_validator_core::{Event, Heard, RunVerdict, VerifyJob};

use super::ValidatorHappening;
use super::conduct::Conduct;
use crate::happening::Happening;
use crate::orchestrator::digest_of;
use crate::world::World;

/// Between two tries of a node to reach a validator.
const DIAL: u64 = 2_000;
/// Of 1,000 checks, how many break while things go wrong.
const CRASHES: u32 = 10;
/// How long a node keeps its GPUs for a run that does not go on.
const KEEPS: u64 = 20_000;
/// How late a commit is that comes too late.
const TOO_LATE: u64 = 17_500;

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its number.
    pub connection: u64,
    /// When the last message of each direction arrives.
    down: u64,
    up: u64,
    /// Nothing arrives any more; the ends do not know yet.
    broken: bool,
}

/// A challenge on its way.
#[derive(Clone, Debug)]
pub struct Challenged {
    challenge: Challenge,
    digest: Digest,
}

/// An answer on its way.
#[derive(Clone, Debug)]
pub struct Said {
    answer: Answer,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Check {
    node: NodeId,
    run: Nonce,
    gpu: GpuUuid,
    verdict: RunVerdict,
}

/// A run as a node sees it.
#[derive(Clone, Debug)]
pub struct NodeRun {
    validator: usize,
    run: Nonce,
    conduct: Conduct,
    gpus: Vec<GpuUuid>,
    prepare: Digest,
    start: Option<Digest>,
    until: u64,
}

impl World {
    /// A worker tries to reach every validator that it does not reach.
    pub fn dial(&mut self, node: usize, boot: u64) {
        let host = &self.nodes[node];
        if host.boot != boot || host.core.is_none() {
            return;
        }
        self.after(DIAL, Happening::Dial(node, boot));
        if self.nodes[node].no_way_up || self.nodes[node].no_way_down {
            return;
        }
        for number in 0..self.validators.len() {
            let validator = &mut self.validators[number];
            if validator.core.is_none() || validator.links.get(&node).is_some_and(|link| !link.broken) {
                continue;
            }
            validator.connections += 1;
            let connection = validator.connections;
            let link = Link { connection, down: self.now, up: self.now, broken: false };
            validator.links.insert(node, link);
            self.later(2, number, ValidatorHappening::Linked(node, connection));
        }
    }

    /// A worker is gone: its connections are, and validators notice sooner or later.
    pub(crate) fn node_leaves_validators(&mut self, node: usize) {
        self.nodes[node].run = None;
        for number in 0..self.validators.len() {
            self.break_link(number, node);
        }
    }

    fn break_link(&mut self, number: usize, node: usize) {
        let Some(link) = self.validators[number].links.get_mut(&node) else { return };
        if std::mem::replace(&mut link.broken, true) {
            return;
        }
        let connection = link.connection;
        let after = self.dice.between(10, 12_000);
        self.later(after, number, ValidatorHappening::Unlinked(node, connection));
    }

    /// A node has reached a validator; an older connection of it is closed.
    pub(crate) fn validator_linked(&mut self, number: usize, node: usize, connection: u64) {
        let validator = &mut self.validators[number];
        if validator.links.get(&node).is_none_or(|link| link.connection != connection) {
            return;
        }
        let known = !validator.connected.insert(node);
        let id = self.nodes[node].id;
        if known {
            self.validator_event(number, Event::Disconnected(id));
        }
        self.validator_event(number, Event::Connected(id));
    }

    /// A validator notices that a connection is gone.
    pub(crate) fn validator_unlinked(&mut self, number: usize, node: usize, connection: u64) {
        let validator = &mut self.validators[number];
        if validator.links.get(&node).is_none_or(|link| link.connection != connection) {
            return;
        }
        validator.links.remove(&node);
        if validator.connected.remove(&node) {
            let id = self.nodes[node].id;
            self.validator_event(number, Event::Disconnected(id));
        }
    }

    /// When something said now arrives; `None`: it does not, and nothing after it.
    fn carried(&mut self, number: usize, node: usize, down: bool) -> Option<(u64, u64)> {
        let host = &self.nodes[node];
        let blocked = if down { host.no_way_down } else { host.no_way_up };
        let lost = self.dice.chance(self.weather.loss / 8);
        let takes = self.dice.between(1, 20 + self.weather.delay);
        let link = self.validators[number].links.get_mut(&node).filter(|link| !link.broken)?;
        let connection = link.connection;
        if blocked || lost {
            self.break_link(number, node);
            return None;
        }
        let arrived = if down { &mut link.down } else { &mut link.up };
        *arrived = (self.now + takes).max(*arrived + 1);
        Some((*arrived, connection))
    }

    /// A validator says something to a node, and tells its core what was signed.
    pub(crate) fn challenge(&mut self, number: usize, node: NodeId, challenge: Challenge) -> Option<Event> {
        let host = self.host(node)?;
        self.is_challenged(number, &challenge);
        self.validators[number].links.get(&host)?;
        let boot = self.validators[number].boot;
        let sealed = lode_protocol::envelope::encode(&challenge);
        let digest = keccak256_of([&sealed[..], &node.0.0, &boot.to_be_bytes()]);
        self.note(|| format!("validator {number} to node {host}: {}", name_of(&challenge)));
        if let Some((at, connection)) = self.carried(number, host, true) {
            let challenged = Box::new(Challenged { challenge: challenge.clone(), digest });
            self.at(at, Happening::Challenged(number, host, connection, challenged));
        }
        Some(Event::Sent { node, challenge, digest, sealed })
    }

    /// A challenge reaches a node.
    pub(crate) fn node_challenged(&mut self, number: usize, node: usize, connection: u64, what: Challenged) {
        let here = self.validators[number].links.get(&node);
        if self.nodes[node].core.is_none() || here.is_none_or(|link| link.connection != connection) {
            return;
        }
        let Challenged { challenge, digest } = what;
        match challenge {
            Challenge::Prepare { run, gpus, .. } => self.node_prepares(number, node, run, gpus, digest),
            Challenge::Start { run, prepare, .. } => self.node_starts(number, node, run, prepare, digest),
            Challenge::Open { run, selections } => {
                let gpus = selections.into_iter().map(|selection| selection.gpu).collect();
                self.node_opens(number, node, run, gpus, digest);
            }
            Challenge::Verdict { run, .. } => {
                self.nodes[node].run.take_if(|known| known.run == run);
            }
        }
    }

    fn node_prepares(
        &mut self,
        validator: usize,
        node: usize,
        run: Nonce,
        gpus: Vec<GpuUuid>,
        prepare: Digest,
    ) {
        let (now, chaos) = (self.now, self.chaos());
        let busy = chaos && self.dice.chance(100);
        let host = &mut self.nodes[node];
        if host.run.as_ref().is_some_and(|known| known.until > now && known.run != run) {
            let failure = failure("proof/other-run");
            return self.node_says(validator, node, 5, Answer::Declined { run, failure });
        }
        let conduct = if busy { Conduct::Busy } else { host.conduct };
        let until = now + KEEPS;
        host.run = Some(NodeRun { validator, run, conduct, gpus, prepare, start: None, until });
        self.conducts(validator, node, run, conduct);
        let takes = self.dice.between(20, 1_500);
        match conduct {
            Conduct::Busy | Conduct::Declines | Conduct::Mute => {
                self.nodes[node].run = None;
                let failure = failure("proof/no-prover");
                let answer = match conduct {
                    Conduct::Busy => Answer::Busy { run, assignments: Vec::new() },
                    _ => Answer::Declined { run, failure },
                };
                if conduct != Conduct::Mute {
                    self.node_says(validator, node, takes, answer);
                }
            }
            Conduct::Honest
            | Conduct::Silent
            | Conduct::Late
            | Conduct::Withholds
            | Conduct::Unbound
            | Conduct::Forges
            | Conduct::TwoWalks => self.node_says(validator, node, takes, Answer::Ready { run }),
        }
    }

    /// The run that a node is in, if this is it.
    fn node_run(&mut self, validator: usize, node: usize, run: Nonce) -> Option<NodeRun> {
        let known =
            self.nodes[node].run.as_mut().filter(|known| (known.validator, known.run) == (validator, run))?;
        known.until = self.now + KEEPS;
        Some(known.clone())
    }

    fn node_starts(
        &mut self,
        validator: usize,
        node: usize,
        run: Nonce,
        prepare: Option<Digest>,
        start: Digest,
    ) {
        let Some(known) = self.node_run(validator, node, run) else { return };
        if prepare != Some(known.prepare) || known.start.is_some() || known.conduct == Conduct::Silent {
            return;
        }
        if let Some(known) = &mut self.nodes[node].run {
            known.start = Some(start);
        }
        let late = if known.conduct == Conduct::Late { TOO_LATE } else { 0 };
        let named = (known.conduct != Conduct::Unbound).then_some(start);
        for gpu in known.gpus {
            let walk = self.dice.between(200, 3_000) + late;
            let product = walk + self.dice.between(200, 3_000);
            let root = root_of(run, &gpu, "walk");
            let other = if known.conduct == Conduct::TwoWalks { Digest([8; 32]) } else { root };
            let committed = |phase, root, walk| Answer::Committed {
                run,
                gpu: gpu.clone(),
                phase,
                root,
                start: named,
                walk,
            };
            self.node_says(validator, node, walk, committed(Phase::Walk, root, None));
            let product_root = root_of(run, &gpu, "product");
            self.node_says(validator, node, product, committed(Phase::Product, product_root, Some(other)));
        }
    }

    fn node_opens(&mut self, validator: usize, node: usize, run: Nonce, gpus: Vec<GpuUuid>, demand: Digest) {
        let Some(known) = self.node_run(validator, node, run) else { return };
        if known.conduct == Conduct::Withholds {
            return;
        }
        for gpu in gpus {
            let takes = self.dice.between(50, 3_000);
            let opening = GpuOpening { gpu, opening: vec![u8::from(known.conduct.is_forger())] };
            let answer = Answer::Opened { run, opening, start: known.start, demand: Some(demand) };
            self.node_says(validator, node, takes, answer);
        }
    }

    fn node_says(&mut self, validator: usize, node: usize, takes: u64, answer: Answer) {
        let Some(link) = self.validators[validator].links.get(&node) else { return };
        let (boot, connection) = (self.nodes[node].boot, link.connection);
        self.after(takes, Happening::Says(node, boot, validator, connection, Box::new(Said { answer })));
    }

    /// A node has something to say, and says it if it still can.
    pub(crate) fn node_speaks(
        &mut self,
        node: usize,
        boot: u64,
        validator: usize,
        connection: u64,
        said: Box<Said>,
    ) {
        let here = self.validators[validator].links.get(&node);
        if self.nodes[node].boot != boot || here.is_none_or(|link| link.connection != connection) {
            return;
        }
        if let Some((at, connection)) = self.carried(validator, node, false) {
            let boot = self.validators[validator].boot;
            let hears = ValidatorHappening::Hears(node, connection, said);
            self.at(at, Happening::Validator(validator, boot, hears));
        }
    }

    /// A node's answer arrives.
    pub(crate) fn validator_hears(&mut self, number: usize, node: usize, connection: u64, said: Said) {
        let here = self.validators[number].links.get(&node);
        if here.is_none_or(|link| link.connection != connection) {
            return;
        }
        let at = self.validator_clocks(number).monotonic;
        self.answer_arrives(number, &said.answer, at);
        let (node, sealed) = (self.nodes[node].id, digest_of(&said.answer).0.to_vec());
        let heard = Heard { at, answer: said.answer, sealed };
        self.validator_event(number, Event::Answered { node, heard });
    }

    /// A check on a thread of its own: it fails what a forger shows.
    pub(crate) fn check_opening(&mut self, number: usize, job: &VerifyJob) {
        let crashes = self.chaos() && self.dice.chance(CRASHES);
        let verdict = if crashes {
            RunVerdict::Crashed
        } else if job.opening == [0] {
            RunVerdict::Passed
        } else {
            let file = keccak256(&job.run.0).0.to_vec();
            RunVerdict::Failed {
                failure: failure("proof/freivalds"),
                file: job.record.is_some().then_some(file),
            }
        };
        let check = Check { node: job.node, run: job.run, gpu: job.gpu.clone(), verdict };
        let takes = self.dice.between(50, 1_500);
        self.later(takes, number, ValidatorHappening::Checked(Box::new(check)));
    }

    /// It is done.
    pub(crate) fn opening_checked(&mut self, number: usize, check: Check) {
        let Check { node, run, gpu, verdict } = check;
        if verdict == RunVerdict::Passed {
            self.passes(number, run, &gpu);
        }
        self.validator_event(number, Event::Verified { node, run, gpu, verdict });
    }
}

fn failure(code: &'static str) -> ProofFailure {
    ProofFailure { code: code.into(), message: "the simulation wants it".to_owned() }
}

fn root_of(run: Nonce, gpu: &GpuUuid, what: &str) -> Digest {
    keccak256_of([&run.0[..], gpu.as_str().as_bytes(), what.as_bytes()])
}

fn name_of(challenge: &Challenge) -> &'static str {
    match challenge {
        Challenge::Prepare { .. } => "prepare",
        Challenge::Start { .. } => "start",
        Challenge::Open { .. } => "open",
        Challenge::Verdict { .. } => "verdict",
    }
}

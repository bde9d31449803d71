//! The fuzz target `sessions`: what strangers and nodes of a pool say, in any order, against the core.
//!
//! Invariants, after each message: a stranger changes no row, no entry of the log and no node, and is answered nobody else's
//! answer; a node moves only what was placed on it, and writes of no other node; a refused event changes nothing at all.

mod said;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::*;
use lode_protocol::keys::{EthereumSignature, PublicKey, SigningKey};
use lode_protocol::origin::Origin;
use lode_protocol::session::{Desired, Leave};
use lode_protocol::task::TaskSpec;
use lode_protocol::units::{Millis, Timestamp};

use super::Core;
use super::effect::{Action, Answer, ChainCommand, Effects, OccurrenceKind, Table};
use super::error::Rejected;
use super::event::*;
use super::record;
use said::{address, beat_event, beat_of, claim, config, hello_of, specs};

/// Nodes: the last of them is registered and no member.
const NODES: u8 = 4;
/// Keys that nobody knows.
const STRANGERS: u8 = 16;
/// Messages of one run, at most.
const LONGEST: usize = 300;
/// Bytes of each.
const STEP: usize = 3;

const STATES: [AssignmentState; 8] = [
    AssignmentState::Assigned,
    AssignmentState::Pulling,
    AssignmentState::Starting,
    AssignmentState::Running,
    AssignmentState::Succeeded,
    AssignmentState::Failed,
    AssignmentState::Stopped,
    AssignmentState::Lost,
];

/// A node, as far as it speaks.
struct Party {
    id: NodeId,
    specs: NodeSpecs,
    session: Option<(SessionId, Term)>,
    sequence: u64,
    observed: Option<Generation>,
    /// What it says of what was placed on it.
    said: BTreeMap<AssignmentId, AssignmentState>,
}

struct Pool {
    core: Core,
    now: Now,
    key: PublicKey,
    nodes: Vec<Party>,
    /// Every placement that there was.
    placed: BTreeSet<(ReplicaId, NodeId)>,
    counter: u64,
}

/// Three bytes a message: what it is, who says it, and a detail.
///
/// # Panics
/// If an invariant does not hold.
pub fn sessions(bytes: &[u8]) {
    let mut pool = Pool::new();
    for step in bytes.chunks_exact(STEP).take(LONGEST) {
        let &[what, who, detail] = step else { continue };
        pool.act(what, who, detail);
    }
}

impl Pool {
    fn new() -> Self {
        let config = config();
        let party = |number: u8| Party {
            id: NodeId(address(0x11, number)),
            specs: specs(number),
            session: None,
            sequence: 0,
            observed: None,
            said: BTreeMap::new(),
        };
        let mut pool = Pool {
            core: Core::new(config),
            now: Now { wall: Timestamp(1_800_000_000_000), monotonic: Millis(1_000) },
            key: SigningKey::from_bytes(&[7; 32]).expect("a key").public(),
            nodes: (0..NODES).map(party).collect(),
            placed: BTreeSet::new(),
            counter: 0,
        };
        let seen = ChainPool { running: true, max_nodes: 0, member_count: 0, owner: Address([8; 20]) };
        for event in [Event::Started, Event::ChainPool(seen), Event::ChainViewed(ChainView::Fresh)] {
            pool.happens(event);
        }
        for number in 0..usize::from(NODES) {
            pool.joins(number);
        }
        pool.submits(1, "service", 3);
        pool.submits(2, "batch", 1);
        pool.submits(3, "batch", 1);
        pool
    }

    fn joins(&mut self, number: usize) {
        let Some(node) = self.nodes.get(number).map(|party| party.id) else { return };
        self.happens(Event::NodeLookedUp { node, registered: true });
        self.says(number, |pool| pool.hello(number));
        let provider = ProviderId(Address([7; 20]));
        let registration = Some(Registration { provider, eligible: true, approved: true });
        self.happens(Event::ChainNode { node, registration });
        if number + 1 < usize::from(NODES) {
            let membership =
                ChainMembership { state: MembershipState::Member { active: true }, join_counter: 1 };
            self.happens(Event::ChainMembership { node, membership });
        }
        self.says(number, |pool| pool.beat(number, Vec::new()));
        // What it said before it was a member did not count.
        self.says(number, |pool| pool.hello(number));
        self.says(number, |pool| pool.beat(number, Vec::new()));
    }

    fn submits(&mut self, number: u128, kind: &str, replicas: u32) {
        let text = format!(
            "name = \"t\"\nkind = \"{kind}\"\nimage = \"i:1\"\nreplicas = {replicas}\n[resources]\ngpus = 1\n"
        );
        let spec = TaskSpec::from_toml(&text).ok().and_then(|spec| spec.validate().ok());
        let spec = spec.expect("a task that is valid");
        let unpinned = Unpinned { code: "image/not-resolved".into(), message: String::new() };
        let image = ImageResolution::Unpinned(unpinned);
        let id = TaskId(uuid::Uuid::from_u128(number));
        self.happens(Event::TaskSubmitted { id, spec, order: None, idempotency_key: None, image });
    }

    fn act(&mut self, what: u8, who: u8, detail: u8) {
        let node = usize::from(who % NODES);
        match what % 12 {
            0 | 1 => self.stranger(who, detail),
            2 => {
                let node = NodeId(address(0x99, who % STRANGERS));
                self.stranger_event(node, Event::NodeLookedUp { node, registered: false });
            }
            3 => self.says(node, |pool| pool.hello(node)),
            // Of what was placed on it, the one that the detail names is somewhere else now.
            4..=6 => {
                let own = self.own(node);
                let moved = own.get(usize::from(detail >> 3) % own.len().max(1)).copied();
                let state = STATES.get(usize::from(detail & 7)).copied();
                if let (Some(party), Some(moved), Some(state)) = (self.nodes.get_mut(node), moved, state) {
                    party.said.insert(moved, state);
                }
                self.says(node, |pool| pool.beat(node, Vec::new()));
            }
            // Of what is not its own, and of what never was.
            7 | 8 => {
                let claims = self.claims(detail);
                self.says(node, |pool| pool.beat(node, claims));
            }
            // In a session of its own making.
            9 => {
                if let Some(party) = self.nodes.get_mut(node) {
                    party.session = Some((SessionId([detail; 16]), Term(detail.into())));
                }
                self.says(node, |pool| pool.beat(node, Vec::new()));
            }
            _ => self.wait(u64::from(detail) * 40),
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now.wall = self.now.wall.plus(Millis(millis));
        self.now.monotonic = Millis(self.now.monotonic.0 + millis);
        self.happens(Event::Tick);
        while self.core.next_deadline().is_some_and(|due| due <= self.now.monotonic) {
            self.happens(Event::Tick);
        }
    }

    /// What the core says of itself, or of the chain: nobody speaks.
    fn happens(&mut self, event: Event) {
        if let Ok(effects) = self.core.step(self.now, event) {
            self.hear(&effects);
        }
    }

    fn hear(&mut self, effects: &Effects) {
        let placed = self.core.assignments.iter().map(|(id, assignment)| (id.replica, assignment.node));
        self.placed.extend(placed);
        for action in &effects.actions {
            let (Action::Reply { node, answer, .. } | Action::Push { node, answer, .. }) = action else {
                continue;
            };
            let Some(party) = self.nodes.iter_mut().find(|party| party.id == *node) else { continue };
            match answer {
                Answer::Granted(granted) => {
                    (party.session, party.sequence) = (Some((granted.session, granted.epoch)), 0);
                }
                Answer::Instruction { instruction, .. } => {
                    if let Desired::Full { generation, .. } = &instruction.desired {
                        party.observed = Some(*generation);
                    }
                }
                Answer::Refused(_) => {}
            }
        }
    }

    /// A refused event changes nothing.
    fn step(&mut self, event: Event) -> Result<Effects, Rejected> {
        let before = self.core.clone();
        let stepped = self.core.step(self.now, event);
        if let Err(refused) = &stepped {
            assert!(
                format!("{before:?}") == format!("{:?}", self.core),
                "a refused event changes nothing: {refused:?}"
            );
        }
        stepped
    }

    fn stranger(&mut self, who: u8, detail: u8) {
        let node = NodeId(address(0x99, who % STRANGERS));
        let link = Link { connection: ConnectionId(u64::from(who) + 1_000), can_push: detail & 1 == 0 };
        let event = match detail % 5 {
            0 | 1 => {
                let origin = (detail & 0x80 != 0).then_some(Origin([detail; 8]));
                self.greeting(node, NodeSpecs::default(), link, origin)
            }
            2 => {
                let claims = self.claims(detail);
                // It may have seen a session of somebody else's.
                let party = self.nodes.get(usize::from(who % NODES));
                let session = party.and_then(|party| party.session).unwrap_or_default();
                let heartbeat = beat_of(session, 1, None, &NodeSpecs::default(), claims);
                beat_event(node, heartbeat, link)
            }
            3 => {
                let leave = Leave { counter: 1, deadline: u64::MAX, signature: EthereumSignature([1; 65]) };
                Event::LeaveReceived { node, leave, link }
            }
            _ => Event::ConnectionClosed { node, connection: ConnectionId(u64::from(detail)) },
        };
        self.stranger_event(node, event);
    }

    fn stranger_event(&mut self, node: NodeId, event: Event) {
        let known = |core: &Core| format!("{:?}{:?}{:?}", core.nodes, core.tasks, core.assignments);
        let before = (self.core.rows(), known(&self.core));
        let said = format!("{event:?}");
        let Ok(effects) = self.step(event) else { return };
        assert!(effects.changes.is_empty(), "a stranger changes a row: {said} {:?}", effects.changes);
        assert!(
            effects.occurrences.is_empty(),
            "a stranger writes the log: {said} {:?}",
            effects.occurrences
        );
        for action in &effects.actions {
            let is_its_own = match action {
                Action::Reply { node: to, answer, .. } => *to == node && matches!(answer, Answer::Refused(_)),
                Action::Chain(ChainCommand::LookUpNode(asked)) => *asked == node,
                _ => false,
            };
            assert!(is_its_own, "a stranger makes the pool do something: {said} {action:?}");
        }
        assert!(before == (self.core.rows(), known(&self.core)), "a stranger changes the pool: {said}");
    }

    /// Assignments that there are, and some that there never were.
    fn claims(&self, detail: u8) -> Vec<AssignmentReport> {
        let state = |number: usize| STATES.get((number + usize::from(detail)) % STATES.len()).copied();
        let known: Vec<AssignmentId> = self.core.assignments.keys().copied().collect();
        let later = known.iter().map(|id| AssignmentId {
            incarnation: Incarnation(id.incarnation.0.saturating_add(1 + u32::from(detail) * 40)),
            ..*id
        });
        let made_up = AssignmentId {
            replica: ReplicaId { task: TaskId(uuid::Uuid::from_u128(detail.into())), replica: 0 },
            incarnation: Incarnation(1),
        };
        let all = known.iter().copied().chain(later).chain([made_up]);
        all.enumerate().filter_map(|(number, id)| Some(claim(id, state(number)?))).collect()
    }

    /// What was placed on a node and is not over.
    fn own(&self, number: usize) -> Vec<AssignmentId> {
        let Some(party) = self.nodes.get(number) else { return Vec::new() };
        let own = self.core.assignments.iter().filter(|(_, known)| known.node == party.id && known.is_live());
        own.map(|(id, _)| *id).collect()
    }

    fn hello(&mut self, number: usize) -> Option<Event> {
        let party = self.nodes.get(number)?;
        let link = Link { connection: ConnectionId(u64::try_from(number).ok()? + 1), can_push: true };
        let (node, specs) = (party.id, party.specs.clone());
        Some(self.greeting(node, specs, link, None))
    }

    fn greeting(&mut self, node: NodeId, specs: NodeSpecs, link: Link, origin: Option<Origin>) -> Event {
        self.counter += 1;
        hello_of(self.counter, self.key, node, specs, link, origin)
    }

    /// A beat of a node: all that is its own as it says that it is, and these besides.
    fn beat(&mut self, number: usize, mut claims: Vec<AssignmentReport>) -> Option<Event> {
        let own = self.own(number);
        let gpus = |id: &AssignmentId| self.core.assignments.get(id).map(|known| known.gpus.clone());
        let party = self.nodes.get_mut(number)?;
        claims.extend(own.into_iter().map(|id| AssignmentReport {
            gpus: gpus(&id).unwrap_or_default(),
            ..claim(id, party.said.get(&id).copied().unwrap_or(AssignmentState::Pulling))
        }));
        party.sequence += 1;
        let session = party.session.unwrap_or_default();
        let heartbeat = beat_of(session, party.sequence, party.observed, &party.specs, claims);
        let link = Link { connection: ConnectionId(u64::try_from(number).ok()? + 1), can_push: true };
        Some(beat_event(party.id, heartbeat, link))
    }

    /// A node speaks: it moves only its own.
    fn says(&mut self, number: usize, event: impl FnOnce(&mut Self) -> Option<Event>) {
        let Some(speaker) = self.nodes.get(number).map(|party| party.id) else { return };
        let Some(event) = event(self) else { return };
        let said = format!("{event:?}");
        let live: Vec<_> = self.core.assignments.iter().filter(|(_, known)| known.is_live()).collect();
        let others: Vec<(AssignmentId, NodeId, AssignmentState)> = live
            .into_iter()
            .filter(|(_, known)| known.node != speaker)
            .map(|(id, known)| (*id, known.node, known.state))
            .collect();
        let next = self.next_incarnations();
        let ids: BTreeSet<AssignmentId> = self.core.assignments.keys().copied().collect();
        let Ok(effects) = self.step(event) else { return };
        for change in effects.changes.iter().filter(|change| change.table == Table::Nodes) {
            assert_eq!(change.key, record::node_key(&speaker), "{speaker} writes of another node: {said}");
        }
        for occurrence in &effects.occurrences {
            let of = match &occurrence.kind {
                OccurrenceKind::Node { node, .. } | OccurrenceKind::ReportRefused { node, .. } => *node,
                OccurrenceKind::Assignment { node, from: Some(_), .. } => *node,
                _ => speaker,
            };
            assert_eq!(of, speaker, "{said} writes {occurrence:?}");
        }
        for (id, node, state) in others {
            let now = self.core.assignments.get(&id).map(|known| (known.node, known.state));
            assert_eq!(now, Some((node, state)), "{speaker} moves {id}, which is not its own: {said}");
        }
        let fresh: BTreeSet<ReplicaId> =
            self.core.assignments.keys().filter(|id| !ids.contains(id)).map(|id| id.replica).collect();
        for (replica, after) in self.next_incarnations() {
            let moves = next.get(&replica) != Some(&after);
            let may = fresh.contains(&replica) || self.placed.contains(&(replica, speaker));
            assert!(!moves || may, "{speaker} moves the incarnations of {replica}: {said}");
        }
        self.hear(&effects);
    }

    fn next_incarnations(&self) -> BTreeMap<ReplicaId, Incarnation> {
        let replicas = (1..=3).flat_map(|task| {
            let task = TaskId(uuid::Uuid::from_u128(task));
            (0..3).map(move |replica| ReplicaId { task, replica })
        });
        replicas.filter_map(|id| Some((id, self.core.replica(&id)?.next))).collect()
    }
}

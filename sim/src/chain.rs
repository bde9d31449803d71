//! The chain as everybody meets it: blocks, a pool's members, transactions that are mined later or again. What the
//! validators' contract keeps is in [`crate::validator_set`], what that of roots keeps in [`crate::earnings`].

use std::collections::{BTreeMap, VecDeque};

use lode_chain_types::{
    BlockRef, ChainEvent, Intent, LoggedEvent, MembershipState, RegistryEvent, RewardsCall,
};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{Address, NodeId, ProviderId, ValidatorId};
use lode_protocol::units::Timestamp;

use crate::earnings::{Earnings, Posting};
use crate::validator_set::ValidatorSet;

/// What the chain says of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Its key.
    pub id: NodeId,
    /// Whether the registry has it.
    pub registered: bool,
    /// How often it was registered.
    pub registration: u64,
    /// Where it stands in the pool.
    pub state: MembershipState,
    /// Its joins so far.
    pub counter: u64,
}

/// A transaction that somebody wants mined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transaction {
    /// A node joins, by its consent to an invite with this counter.
    Join {
        /// Which node.
        node: usize,
        /// Counter before the join.
        counter: u64,
    },
    /// The pool removes a node.
    Eject(usize),
    /// A node leaves by its signature.
    Leave {
        /// Which node.
        node: usize,
        /// Counter of the membership that ends.
        counter: u64,
    },
    /// The registry changes.
    Register(usize, bool),
    /// Whether the stake of [`HOSTILE`] covers its nodes changes.
    Stake(bool),
    /// A root of earnings.
    Root(Posting),
    /// What a validator wants, by its number and its intent's.
    Intent(ValidatorId, u64, Box<Intent>),
}

/// What became of a validator's intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is mined.
    Confirmed,
    /// The contract refuses it.
    Refused(&'static str),
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mined {
    /// It did what it says.
    Done(Transaction),
    /// A join was refused.
    JoinRefused {
        /// Which node.
        node: usize,
        /// Counter of its invite.
        counter: u64,
    },
    /// A root was refused.
    RootRefused(Posting),
    /// A root can no longer be vetoed.
    RootFinal(Posting),
}

#[derive(Clone, Debug)]
struct Before {
    facts: BTreeMap<usize, Facts>,
    earnings: Earnings,
    set: ValidatorSet,
    staked: bool,
    transactions: Vec<Transaction>,
}

/// The chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Facts at the head.
    pub facts: BTreeMap<usize, Facts>,
    /// Roots at the head.
    pub earnings: Earnings,
    /// The validators' contract at the head.
    pub set: ValidatorSet,
    /// Whether [`HOSTILE`] has stake for its nodes.
    pub staked: bool,
    /// Every block with what happened in it.
    pub history: Vec<(BlockRef, Vec<LoggedEvent>)>,
    /// What became of intents, as far as the chain has them.
    fates: BTreeMap<(ValidatorId, u64), Fate>,
    before: Vec<Before>,
    waiting: VecDeque<Transaction>,
    made: u64,
    /// Whether its RPC answers.
    pub answers: bool,
}

/// Blocks that can be replaced.
const DEPTH: usize = 8;

/// Who owns every machine.
pub const PROVIDER: Address = Address([0x42; 20]);
/// Who owns machines of strangers, registered like any others.
pub const HOSTILE: Address = Address([0x66; 20]);

impl Chain {
    /// A chain on which these nodes are registered, and none has joined.
    pub fn new(nodes: impl Iterator<Item = NodeId>, set: ValidatorSet) -> Self {
        let facts =
            |id| Facts { id, registered: true, registration: 1, state: MembershipState::Never, counter: 0 };
        Chain {
            facts: nodes.map(facts).enumerate().collect(),
            earnings: Earnings::default(),
            set,
            staked: true,
            history: Vec::new(),
            fates: BTreeMap::new(),
            before: Vec::new(),
            waiting: VecDeque::new(),
            made: 0,
            answers: true,
        }
    }

    /// The latest block.
    pub fn head(&self) -> Option<BlockRef> {
        self.history.last().map(|(block, _)| *block)
    }

    /// Registrations of nodes that are registered.
    pub fn registrations(&self) -> BTreeMap<NodeId, u64> {
        let registered = self.facts.values().filter(|facts| facts.registered);
        registered.map(|facts| (facts.id, facts.registration)).collect()
    }

    /// What became of an intent.
    pub fn fate(&self, validator: ValidatorId, intent: u64) -> Option<Fate> {
        self.fates.get(&(validator, intent)).copied()
    }

    /// Queues a transaction; the same one only once, as an outbox does.
    pub fn submit(&mut self, transaction: Transaction) {
        if !self.waiting.contains(&transaction) {
            self.waiting.push_back(transaction);
        }
    }

    /// Mines a block of this time from what waits.
    pub fn mine(&mut self, timestamp: Timestamp) -> Vec<Mined> {
        let transactions: Vec<_> = self.waiting.drain(..).collect();
        self.made += 1;
        let number = self.head().map_or(1, |head| head.number + 1);
        let block = BlockRef { number, hash: keccak256(&self.made.to_be_bytes()), timestamp };
        self.before.push(Before {
            facts: self.facts.clone(),
            earnings: self.earnings.clone(),
            set: self.set.clone(),
            staked: self.staked,
            transactions: transactions.clone(),
        });
        if self.before.len() > DEPTH {
            self.before.remove(0);
        }
        self.set.forget(timestamp);
        let mut mined: Vec<Mined> =
            self.earnings.settle(timestamp).map(Mined::RootFinal).into_iter().collect();
        let mut events = Vec::new();
        for transaction in transactions {
            mined.push(self.apply(transaction, &block, &mut events));
        }
        let logged = (0..).zip(events).map(|(index, event)| LoggedEvent {
            event,
            block: number,
            block_hash: block.hash,
            transaction: Digest::default(),
            index,
        });
        self.history.push((block, logged.collect()));
        mined
    }

    /// Replaces the last blocks: their transactions wait again.
    pub fn reorganise(&mut self, depth: usize) {
        for _ in 0..depth {
            let Some(before) = self.before.pop() else { return };
            self.history.pop();
            self.facts = before.facts;
            self.earnings = before.earnings;
            self.set = before.set;
            self.staked = before.staked;
            for transaction in before.transactions.into_iter().rev() {
                if let Transaction::Intent(validator, id, _) = &transaction {
                    self.fates.remove(&(*validator, *id));
                }
                self.waiting.push_front(transaction);
            }
        }
    }

    fn apply(&mut self, transaction: Transaction, block: &BlockRef, events: &mut Vec<ChainEvent>) -> Mined {
        match &transaction {
            Transaction::Join { node, counter } => {
                let Some(facts) = self.facts.get_mut(node) else { return Mined::Done(transaction) };
                if facts.counter != *counter || facts.state == MembershipState::Member || !facts.registered {
                    return Mined::JoinRefused { node: *node, counter: *counter };
                }
                facts.state = MembershipState::Member;
                facts.counter += 1;
            }
            Transaction::Eject(node) => {
                if let Some(facts) = self.facts.get_mut(node)
                    && facts.state == MembershipState::Member
                {
                    facts.state = MembershipState::Ejected;
                }
            }
            Transaction::Leave { node, counter } => {
                if let Some(facts) = self.facts.get_mut(node)
                    && facts.state == MembershipState::Member
                    && facts.counter == *counter
                {
                    facts.state = MembershipState::Left;
                }
            }
            Transaction::Register(node, registered) => self.register(*node, *registered, events),
            Transaction::Stake(staked) => {
                self.staked = *staked;
                let (provider, amount) = (ProviderId(HOSTILE), Default::default());
                events.push(ChainEvent::Registry(RegistryEvent::Staked { provider, amount, stake: amount }));
            }
            Transaction::Root(posting) => match self.earnings.post(*posting, block.timestamp) {
                Some(event) => events.push(ChainEvent::Rewards(event)),
                None => return Mined::RootRefused(*posting),
            },
            Transaction::Intent(validator, id, intent) => {
                let (validator, id) = (*validator, *id);
                let fate = match self.call(validator, intent, block) {
                    Ok(more) => {
                        events.extend(more);
                        Fate::Confirmed
                    }
                    Err(error) => Fate::Refused(error),
                };
                self.fates.insert((validator, id), fate);
            }
        }
        Mined::Done(transaction)
    }

    fn register(&mut self, node: usize, registered: bool, events: &mut Vec<ChainEvent>) {
        let Some(facts) = self.facts.get_mut(&node) else { return };
        if std::mem::replace(&mut facts.registered, registered) == registered {
            return;
        }
        facts.registration += u64::from(registered);
        let (provider, node, registration) = (ProviderId(PROVIDER), facts.id, facts.registration);
        events.push(ChainEvent::Registry(if registered {
            RegistryEvent::NodeAdded { provider, node, units: 1, registration }
        } else {
            RegistryEvent::NodeRemoved { provider, node, registration }
        }));
    }

    fn call(
        &mut self,
        from: ValidatorId,
        intent: &Intent,
        block: &BlockRef,
    ) -> Result<Vec<ChainEvent>, &'static str> {
        match intent {
            Intent::Validators(call) => {
                let registrations = self.registrations();
                let moment = (block.timestamp, block.hash);
                let events = self.set.call(from, call, moment, &registrations)?;
                Ok(events.into_iter().map(ChainEvent::Validators).collect())
            }
            Intent::Rewards(RewardsCall::VetoRoot { pool: _, epoch, evidence }) => {
                let events = self.earnings.veto(from, *epoch, *evidence, self.set.count())?;
                Ok(events.into_iter().map(ChainEvent::Rewards).collect())
            }
            Intent::Registry(_)
            | Intent::Pools(_)
            | Intent::Slashing(_)
            | Intent::Rewards(_)
            | Intent::Token(_) => Err("NotSimulated"),
        }
    }
}

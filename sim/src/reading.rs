//! How the chain's facts reach the orchestrator: late, all at once, or not at all.

use lode_chain_types::MembershipState as OnChain;
use lode_orchestrator_core::event::{
    ChainBudget, ChainEpoch, ChainMembership, ChainPool, ChainView, Event, MembershipState, Proof,
    Registration, RootFate,
};
use lode_protocol::amount::Amount;
use lode_protocol::ids::{Epoch, ProviderId};
use lode_protocol::units::Millis;

use crate::chain::{Facts, Mined, PROVIDER};
use crate::happening::Happening;
use crate::world::{World, key};

/// Length of a pool's epoch.
pub(crate) const EPOCH: u64 = 40_000;

impl World {
    /// The chain cannot be read any more.
    pub fn chain_fell_silent(&mut self) {
        self.orchestrator.fresh = false;
        self.orchestrator_event(Event::ChainViewed(ChainView::Stale), None);
    }

    /// The chain's facts reach the orchestrator.
    pub fn read_chain(&mut self, boot: u64) {
        if boot != self.orchestrator.boot || self.orchestrator.core.is_none() || !self.chain.answers {
            return;
        }
        let members = self.chain.facts.values().filter(|facts| facts.state == OnChain::Member).count();
        if !self.orchestrator.fresh {
            self.orchestrator_event(
                Event::ChainPool(ChainPool {
                    running: true,
                    max_nodes: 0,
                    member_count: u32::try_from(members).unwrap_or(u32::MAX),
                    owner: key(0x77, 0).address(),
                }),
                None,
            );
        }
        self.read_money();
        for node in self.orchestrator.followed.clone() {
            let Some(number) = self.number_of(node) else {
                self.orchestrator_event(Event::ChainNode { node, registration: None }, None);
                continue;
            };
            let facts = self.chain.facts[&number].clone();
            let proof = self.proof_on_chain(&facts);
            if self.orchestrator.told.get(&node) == Some(&(facts.clone(), proof)) {
                continue;
            }
            self.orchestrator.told.insert(node, (facts.clone(), proof));
            self.tell_facts(&facts, proof);
        }
        for node in std::mem::take(&mut self.orchestrator.asked) {
            let number = self.number_of(node);
            let registered = number.is_some_and(|number| self.chain.facts[&number].registered);
            self.orchestrator_event(Event::NodeLookedUp { node, registered }, None);
        }
        if !self.orchestrator.fresh {
            self.orchestrator.fresh = true;
            self.orchestrator_event(Event::ChainViewed(ChainView::Fresh), None);
        }
    }

    fn proof_on_chain(&self, facts: &Facts) -> Option<Proof> {
        let head = self.chain.head()?;
        let registration = if facts.registered { facts.registration } else { 0 };
        let proven = self.chain.set.proven(&facts.id, registration, head.timestamp)?;
        proven.current.then(|| Proof { class: proven.class.0, gpu_count: u32::from(proven.gpu_count) })
    }

    fn tell_facts(&mut self, facts: &Facts, proof: Option<Proof>) {
        let node = facts.id;
        let provider = ProviderId(PROVIDER);
        let registration =
            facts.registered.then_some(Registration { provider, eligible: true, approved: true });
        self.orchestrator_event(Event::ChainNode { node, registration }, None);
        let state = match facts.state {
            OnChain::Never => MembershipState::Never,
            OnChain::Member => MembershipState::Member { active: facts.registered },
            OnChain::Left => MembershipState::Left,
            OnChain::Ejected => MembershipState::Ejected,
            OnChain::Banned => MembershipState::Banned,
        };
        let membership = ChainMembership { state, join_counter: facts.counter };
        self.orchestrator_event(Event::ChainMembership { node, membership }, None);
        self.orchestrator_event(Event::ChainProven { node, proof }, None);
    }

    fn read_money(&mut self) {
        let epoch = self.now / EPOCH + 1;
        let (posted, latest) = (self.chain.earnings.posted, self.chain.earnings.latest);
        let in_veto = self.chain.earnings.pending.is_some();
        let rich = Amount::tokens(1_000_000);
        let budget = ChainBudget {
            free: rich,
            locked: posted,
            posted,
            paid: Amount::ZERO,
            spendable: rich,
            spendable_before: rich,
            latest,
            in_veto,
            proven: Some(Epoch(epoch.saturating_sub(1))),
        };
        let vetoed = |root: &Epoch| self.chain.earnings.vetoed.contains(root);
        let known = |root: &Epoch| vetoed(root) || latest.is_some_and(|latest| latest >= *root);
        let root = self.orchestrator.root.filter(known);
        let fate = root.map(|root| match latest {
            _ if vetoed(&root) => RootFate::Vetoed,
            Some(latest) if latest == root && in_veto => RootFate::Pending,
            Some(_) | None => RootFate::Final,
        });
        let before = self.orchestrator.said.replace((budget, Epoch(epoch), fate));
        if before.is_none_or(|(said, _, _)| said != budget) {
            self.orchestrator_event(Event::ChainBudget(budget), None);
        }
        if before.is_none_or(|(_, said, _)| said != Epoch(epoch)) {
            let seen = ChainEpoch {
                epoch: Epoch(epoch),
                ends_in: Millis(EPOCH - self.now % EPOCH),
                length: Millis(EPOCH),
                posting: Millis(EPOCH * 6),
            };
            self.orchestrator_event(Event::ChainEpoch(seen), None);
        }
        if let (Some(epoch), Some(fate)) = (root, fate)
            && before.is_none_or(|(_, _, said)| said != Some(fate))
        {
            self.orchestrator_event(Event::ChainRoot { epoch, fate }, None);
        }
    }

    /// A block is mined; who follows the chain hears of it a little later.
    pub fn mine(&mut self) {
        self.outboxes_send();
        let timestamp = self.block_time();
        for mined in self.chain.mine(timestamp) {
            match mined {
                Mined::Done(transaction) => self.note(|| format!("mined: {transaction:?}")),
                Mined::JoinRefused { node, counter } => {
                    self.note(|| format!("a join of node {node} was refused"));
                    let event = Event::JoinFailed {
                        node: self.nodes[node].id,
                        counter,
                        code: "chain/reverted".into(),
                        message: "the contract refuses it".to_owned(),
                    };
                    self.orchestrator_event(event, None);
                }
                Mined::RootRefused(posting) => {
                    let message = "the contract refuses it".to_owned();
                    if !posting.forged {
                        let refused = Event::RootFailed { epoch: posting.epoch, message };
                        self.orchestrator_event(refused, None);
                    }
                }
                Mined::RootFinal(posting) => self.root_is_final(&posting),
            }
        }
        let after = self.dice.between(10, 400);
        self.after(after, Happening::OrchestratorReads(self.orchestrator.boot));
        self.followers_hear();
    }
}

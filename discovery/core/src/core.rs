//! The whole of a directory's decisions.

use lode_protocol::descriptor::VerifiedDescriptor;
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::time::Now;
use lode_protocol::units::Millis;

use crate::effect::{Effect, Effects};
use crate::event::{ChainWord, Event, Moved, QuestionId, RequestId, SaveId};
use crate::listing::{Listing, Novelty};
use crate::questions::{Publication, Questions};
use crate::rate::Rates;
use crate::refusals::Refusals;
use crate::rejected::Rejected;
use crate::saves::Saves;

/// Publications that wait for chain or disk at one time: at most this many times 64 KiB are held for them.
const MOST_WAITING: usize = 4_096;
/// Between two looks for nodes that have paid for what they published.
const FORGET_EVERY: Millis = Millis::seconds(10);

/// How a directory works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the log of changes: must differ from that of every run before.
    pub incarnation: u64,
    /// Changes that are kept for followers.
    pub retained_changes: usize,
    /// Nodes that may be known.
    pub nodes: usize,
    /// Publications per minute of one node.
    pub publications_per_node: u32,
    /// How long the chain's word that it does not vouch for a node stands, while nothing happens to it there.
    pub refusals_stand: Millis,
}

/// The core.
#[derive(Debug)]
pub struct Core {
    nodes: usize,
    listing: Listing,
    questions: Questions,
    refusals: Refusals,
    saves: Saves,
    rates: Rates,
    /// Of descriptors that are known already: anybody can repeat those.
    repeats: Rates,
    forget_at: Millis,
}

impl Core {
    /// A directory that knows nothing.
    pub fn new(settings: &Settings) -> Self {
        Self {
            nodes: settings.nodes,
            listing: Listing::new(settings.incarnation, settings.retained_changes),
            questions: Questions::default(),
            refusals: Refusals::new(settings.refusals_stand),
            saves: Saves::default(),
            rates: Rates::per_minute(settings.publications_per_node),
            repeats: Rates::per_minute(settings.publications_per_node),
            forget_at: Millis::default(),
        }
    }

    /// What is listed.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Takes in what happened, and when, and says what to do.
    ///
    /// # Errors
    /// Why the event is refused. Nothing has changed then.
    pub fn step(&mut self, now: Now, event: Event) -> Result<Effects, Rejected> {
        let mut effects = Effects::new();
        match event {
            Event::Tick => self.tick(now),
            Event::Loaded { descriptor, provider } => self.load(now, *descriptor, provider)?,
            Event::Published { request, descriptor } => {
                self.publish(now, Publication { request, descriptor: *descriptor }, &mut effects)?;
            }
            Event::ChainMoved(moved) => self.chain_moved(moved),
            Event::ChainAnswered { question, said } => self.answered(now, question, &said, &mut effects),
            Event::ChainSilent { question, message } => self.silent(now, question, &message, &mut effects),
            Event::Saved(save) => self.saved(save, &mut effects),
            Event::NotSaved { save, message } => self.not_saved(now, save, &message, &mut effects),
        }
        self.saves.put(|node| self.listing.row(node), &mut effects);
        self.questions.put(now.monotonic, &mut effects);
        Ok(effects)
    }

    fn tick(&mut self, now: Now) {
        for node in self.listing.expire(now.wall) {
            self.saves.mark(node);
        }
        self.saves.retry(now.monotonic);
        self.refusals.expire(now.monotonic);
        if now.monotonic >= self.forget_at {
            self.rates.forget(now.monotonic);
            self.repeats.forget(now.monotonic);
            self.forget_at = now.monotonic.plus(FORGET_EVERY);
        }
    }

    fn load(
        &mut self,
        now: Now,
        descriptor: VerifiedDescriptor,
        provider: ProviderId,
    ) -> Result<(), Rejected> {
        in_time(now, &descriptor)?;
        match self.listing.compare(&descriptor)? {
            Novelty::Unknown if self.listing.count_known() >= self.nodes => Err(Rejected::Full),
            Novelty::Unknown | Novelty::Newer => {
                self.listing.put(descriptor, provider);
                Ok(())
            }
            Novelty::Listed | Novelty::Aside => Ok(()),
        }
    }

    fn publish(&mut self, now: Now, publication: Publication, effects: &mut Effects) -> Result<(), Rejected> {
        let node = publication.descriptor.node();
        in_time(now, &publication.descriptor)?;
        let novelty = self.listing.compare(&publication.descriptor)?;
        self.rates(novelty)
            .check(&node, now.monotonic)
            .map_err(|retry_after| Rejected::TooOften { retry_after })?;
        // Of what is in doubt the chain's next word is awaited.
        if !self.questions.is_doubtful(&node)
            && let Some(refusal) = self.refusals.get(&node, now.monotonic)
        {
            return Err(refusal);
        }
        if novelty == Novelty::Unknown && !self.has_room(&node) {
            return Err(Rejected::Full);
        }
        if self.questions.waiting() + self.saves.waiting() >= MOST_WAITING {
            return Err(Rejected::Busy);
        }
        self.rates(novelty).charge(node, now.monotonic);
        match self.listing.get(&node).map(|listed| listed.provider) {
            // The chain's last word stands until it says otherwise.
            Some(provider) if !self.questions.is_doubtful(&node) => {
                self.accept(now, publication, provider, effects);
            }
            Some(_) | None => self.questions.wait(publication),
        }
        Ok(())
    }

    /// What a publication is counted by. A copy of what the directory tells everybody must not keep its node from saying
    /// something new.
    fn rates(&mut self, novelty: Novelty) -> &mut Rates {
        match novelty {
            Novelty::Unknown | Novelty::Newer => &mut self.rates,
            Novelty::Listed | Novelty::Aside => &mut self.repeats,
        }
    }

    fn has_room(&self, node: &NodeId) -> bool {
        self.listing.count_known() < self.nodes || self.listing.knows(node) || !self.listing.none_aside()
    }

    /// The chain vouches for a publication's node: it is listed now, and answered when it is durable.
    fn accept(&mut self, now: Now, publication: Publication, provider: ProviderId, effects: &mut Effects) {
        let Publication { request, descriptor } = publication;
        let outcome = self.list(now, descriptor, provider);
        match outcome {
            Ok(node) => {
                if self.saves.wait(node, request) {
                    effects.push(Effect::Answer { request, outcome: Ok(()) });
                }
            }
            Err(rejected) => effects.push(Effect::Answer { request, outcome: Err(rejected) }),
        }
    }

    fn list(
        &mut self,
        now: Now,
        descriptor: VerifiedDescriptor,
        provider: ProviderId,
    ) -> Result<NodeId, Rejected> {
        let node = descriptor.node();
        // It may have waited: what was right when it came may be wrong by now.
        in_time(now, &descriptor)?;
        match self.listing.compare(&descriptor)? {
            Novelty::Unknown if self.listing.count_known() >= self.nodes => {
                let forgotten = self.listing.forget_aside().ok_or(Rejected::Full)?;
                self.saves.mark(forgotten);
                self.listing.put(descriptor, provider);
                self.saves.mark(node);
            }
            Novelty::Unknown | Novelty::Newer => {
                self.listing.put(descriptor, provider);
                self.saves.mark(node);
            }
            Novelty::Listed | Novelty::Aside => self.vouched(node, provider),
        }
        Ok(node)
    }

    fn chain_moved(&mut self, moved: Moved) {
        match moved {
            Moved::Everything => {
                self.refusals.forget_all();
                self.questions.moved_everything(self.listing.known());
            }
            Moved::These { nodes, providers } => {
                for node in nodes {
                    self.refusals.forget(&node);
                    self.questions.moved(node, self.listing.knows(&node));
                }
                for provider in providers {
                    self.refusals.forget_provider(provider);
                    self.questions.moved_provider(provider);
                    for node in self.listing.nodes_of(provider) {
                        self.questions.moved(node, true);
                    }
                }
            }
        }
    }

    fn answered(
        &mut self,
        now: Now,
        question: QuestionId,
        said: &[(NodeId, ChainWord)],
        effects: &mut Effects,
    ) {
        let said: std::collections::BTreeMap<NodeId, ChainWord> = said.iter().copied().collect();
        let provider = |node: &NodeId| match said.get(node)? {
            ChainWord::NotEligible(provider) | ChainWord::Vouched(provider) => Some(*provider),
            ChainWord::NotRegistered => None,
        };
        for (node, counts) in self.questions.answered(question, provider) {
            match said.get(&node) {
                Some(word) if counts => self.learn(now, node, *word, effects),
                Some(_) if self.listing.knows(&node) || self.questions.is_waited_for(&node) => {
                    self.questions.again(node);
                }
                Some(_) => {}
                None => self.unknown(now, node, "it said nothing about the node", effects),
            }
        }
    }

    /// What the chain says of a node, as of now.
    fn learn(&mut self, now: Now, node: NodeId, word: ChainWord, effects: &mut Effects) {
        self.refusals.heard(node, word, now.monotonic);
        let refusal = match word {
            ChainWord::Vouched(provider) => {
                self.vouched(node, provider);
                for publication in self.questions.take(&node) {
                    self.accept(now, publication, provider, effects);
                }
                return;
            }
            ChainWord::NotRegistered => Rejected::NotRegistered(node),
            ChainWord::NotEligible(_) => Rejected::NotEligible(node),
        };
        self.listing.disowned(node);
        self.refuse(&node, &refusal, effects);
    }

    fn vouched(&mut self, node: NodeId, provider: ProviderId) {
        let before = self.listing.provider_of(&node);
        self.listing.vouched(node, provider);
        if before.is_some_and(|before| before != provider) {
            self.saves.mark(node);
        }
    }

    fn silent(&mut self, now: Now, question: QuestionId, message: &str, effects: &mut Effects) {
        for (node, _) in self.questions.answered(question, |_| None) {
            self.unknown(now, node, message, effects);
        }
    }

    /// The chain did not answer about a node: what is known of it stands, and is asked again later.
    fn unknown(&mut self, now: Now, node: NodeId, message: &str, effects: &mut Effects) {
        self.refuse(&node, &Rejected::ChainUnknown(message.to_owned()), effects);
        if self.listing.knows(&node) {
            self.questions.again(node);
            self.questions.pause(now.monotonic);
        }
    }

    fn refuse(&mut self, node: &NodeId, refusal: &Rejected, effects: &mut Effects) {
        for publication in self.questions.take(node) {
            let (request, outcome) = (publication.request, Err(refusal.clone()));
            effects.push(Effect::Answer { request, outcome });
        }
    }

    fn saved(&mut self, save: SaveId, effects: &mut Effects) {
        let answers = self.saves.saved(save).into_iter();
        effects.extend(answers.map(|request| Effect::Answer { request, outcome: Ok(()) }));
    }

    fn not_saved(&mut self, now: Now, save: SaveId, message: &str, effects: &mut Effects) {
        let refuse = |request: RequestId| Effect::Answer {
            request,
            outcome: Err(Rejected::NotStored(message.to_owned())),
        };
        effects.extend(self.saves.failed(now.monotonic, save).into_iter().map(refuse));
    }
}

fn in_time(now: Now, descriptor: &VerifiedDescriptor) -> Result<(), Rejected> {
    let expired_at = descriptor.expires_at();
    if expired_at <= now.wall { Err(Rejected::Expired { expired_at }) } else { Ok(()) }
}

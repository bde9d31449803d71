//! The whole of a validator's decisions: hands what happens to the parts. See the module above for its invariants.

use lode_chain_types::{
    Amount, BlockRef, ChainEvent, Epoch, EpochPhase, EpochTiming, Intent, Outcome, ValidatorsEvent,
};
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, NodeId};
use lode_protocol::time::Now;
use lode_protocol::units::Millis;

use super::accuser::Accuser;
use super::archive::Archive;
use super::attestation::Attestation;
use super::attestor::{Attestor, Times};
use super::auditor::Auditor;
use super::committee::Committee;
use super::draw::Secret;
use super::effect::{Effect, Effects};
use super::event::{Event, Facts};
use super::juror::Juror;
use super::leaf::NodeResult;
use super::opinion::Opinion;
use super::proving::{MOST_NODES, Present, Proving};
use super::rejected::Rejected;
use super::run::End;
use super::settings::Settings;
use super::status::Status;
use super::suspicion::Suspicion;

/// What an earlier run of the program has left.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Results that wait.
    pub results: Vec<NodeResult>,
    /// The attestation under way.
    pub attestation: Option<Attestation>,
    /// Running numbers and names of files that are shown to whoever asks, oldest first.
    pub files: Vec<(u64, Digest)>,
    /// Forgers, and how far their accusations are.
    pub suspicions: Vec<Suspicion>,
    /// What evidence has shown.
    pub opinions: Vec<Opinion>,
    /// Deeds that were punished.
    pub punished: Vec<(Digest, AccusationId)>,
}

/// The core.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    secret: Secret,
    proving: Proving,
    attestor: Attestor,
    committee: Committee,
    accuser: Accuser,
    juror: Juror,
    auditor: Auditor,
    archive: Archive,
    head: Option<BlockRef>,
    timing: Option<EpochTiming>,
    standing: Option<(Epoch, Amount, Amount)>,
}

impl Core {
    /// Starts from what is stored.
    pub fn new(settings: Settings, secret: Secret, loaded: Loaded) -> Self {
        let (own, retry) = (settings.validator, settings.retry);
        Self {
            proving: Proving::new(settings.clone()),
            attestor: Attestor::load(loaded.results, loaded.attestation),
            committee: Committee::default(),
            accuser: Accuser::load(&settings, loaded.suspicions),
            juror: Juror::load(own, retry, loaded.opinions, loaded.punished),
            auditor: Auditor::new(own, retry, settings.concurrent_audits),
            archive: Archive::load(loaded.files),
            head: None,
            timing: None,
            standing: None,
            settings,
            secret,
        }
    }

    /// Takes in what happened, and when, and says what to do.
    ///
    /// # Errors
    /// Why the event is refused. Nothing has changed then.
    pub fn step(&mut self, at: Now, event: Event) -> Result<Effects, Rejected> {
        self.admit(at, &event)?;
        let now = at.monotonic;
        let mut effects = Vec::new();
        let head = self.head.as_ref().map_or(0, |head| head.number);
        match event {
            Event::Tick => {
                self.proving.forget_expired(at.wall);
                for (node, end) in self.proving.on_time(now, head) {
                    self.end(now, node, Some(end), &mut effects);
                }
                self.schedule(at, &mut effects);
            }
            Event::Described(description) => {
                let node = description.node;
                if self.proving.on_described(now, description) {
                    self.read(vec![node], &mut effects);
                }
            }
            Event::Logged(logged) => {
                for logged in &logged {
                    self.on_chain_event(&logged.event, &mut effects);
                }
            }
            Event::Resync => {
                self.standing = None;
                self.committee.forget();
                self.juror.forget();
                self.auditor.forget();
                self.read(self.proving.described(), &mut effects);
            }
            Event::Facts { node, facts } => {
                self.drop_what_is_known(now, node, &facts, &mut effects);
                self.proving.on_facts(now, node, facts);
            }
            Event::Timing(timing) => self.timing = Some(timing),
            Event::Terms { slashing, settlement } => {
                self.juror.set_terms(slashing);
                self.auditor.set_terms(settlement);
            }
            Event::Head(head) => self.on_head(now, head, &mut effects),
            Event::Standing { epoch, own, total } => self.on_standing(epoch, own, total, &mut effects),
            Event::Root { epoch, root } => {
                let running = self.epoch().unwrap_or_default();
                let anew = self.attestor.on_root(epoch, root, running, &mut effects);
                self.proving.look_all(now, anew);
            }
            Event::Beacon { epoch, beacon } => self.on_beacon(epoch, beacon, &mut effects),
            Event::Drawn { epoch, node, drawn } => {
                if self.committee.on_drawn(epoch, node, drawn) && drawn {
                    self.proving.look(now, node);
                }
            }
            Event::Accusation { id, record } => {
                self.juror.on_record(id, record.as_ref(), &mut effects);
                if let Some(record) = &record {
                    self.accuser.on_record(record, &mut effects);
                }
            }
            Event::Price { node, price: Some(price) } => {
                self.accuser.on_price(node, &price, head, &mut effects);
            }
            Event::Price { price: None, .. } => self.accuser.on_price_unknown(),
            Event::Examined { id, examination } => {
                self.juror.on_examined(now, id, examination, &mut effects);
            }
            Event::Audited { matter, audit } => {
                let files = (&mut self.archive, &self.accuser.needed()[..]);
                self.auditor.on_audited(now, &matter, audit, files, &mut effects);
            }
            Event::Connected(node) => self.proving.on_connected(now, node),
            Event::Disconnected(node) => self.proving.on_disconnected(now, node),
            Event::Sent { node, challenge, digest, sealed } => {
                self.proving.on_sent(node, &challenge, digest, sealed);
            }
            Event::Answered { node, heard } => {
                let end = self.proving.on_answer(now, head, node, heard, &mut effects);
                self.end(now, node, end, &mut effects);
            }
            Event::Verified { node, run, gpu, verdict } => {
                let end = self.proving.on_verified(node, run, gpu, verdict);
                self.end(now, node, end, &mut effects);
            }
            Event::Settled { id, intent, outcome } => {
                self.on_outcome(&intent, &outcome, &mut effects);
                effects.push(Effect::Acknowledge(id));
            }
            Event::NotSubmitted => {
                self.attestor.on_not_submitted();
                self.committee.on_not_submitted();
                self.accuser.on_not_submitted();
                self.juror.on_not_submitted();
                self.auditor.on_not_submitted(now);
            }
        }
        Ok(effects)
    }

    /// Everything that an event can be refused for.
    fn admit(&self, at: Now, event: &Event) -> Result<(), Rejected> {
        let Event::Described(description) = event else { return Ok(()) };
        let node = description.node;
        if description.expires_at < at.wall {
            return Err(Rejected::Expired { node, expired_at: description.expires_at });
        }
        if !self.proving.has_room_for(&node) {
            return Err(Rejected::TooManyNodes { node, limit: MOST_NODES });
        }
        Ok(())
    }

    fn epoch(&self) -> Option<Epoch> {
        Some(self.timing?.epoch_at(self.head.as_ref()?.timestamp))
    }

    fn phase(&self) -> Option<(Epoch, EpochPhase)> {
        let (timing, head) = (self.timing?, self.head.as_ref()?);
        Some((timing.epoch_at(head.timestamp), timing.phase_at(head.timestamp)))
    }

    fn validity(&self) -> u64 {
        let most = self.timing.map_or(0, |timing| timing.max_validity_epochs);
        match self.settings.validity_epochs {
            0 => most,
            wanted => wanted.min(most),
        }
    }

    /// Asks the chain about nodes, and whether they are this validator's to check.
    fn read(&self, nodes: Vec<NodeId>, effects: &mut Vec<Effect>) {
        if nodes.is_empty() {
            return;
        }
        if let Some(epoch) = self.epoch().filter(|epoch| self.committee.beacon(*epoch).is_some()) {
            effects.push(Effect::ReadDrawn(epoch, nodes.clone()));
        }
        effects.push(Effect::ReadFacts(nodes));
    }

    /// A result that the chain has by now, because others were faster, would keep this validator's root from being theirs.
    fn drop_what_is_known(&mut self, now: Millis, node: NodeId, facts: &Facts, effects: &mut Vec<Effect>) {
        let (Some(epoch), Some(passed)) = (self.epoch(), self.attestor.passed(&node)) else { return };
        if self.proving.is_known(facts, passed, epoch.plus(self.validity() / 2)) {
            self.attestor.outdated(node, effects);
            self.proving.look(now, node);
        }
    }

    fn on_chain_event(&mut self, event: &ChainEvent, effects: &mut Vec<Effect>) {
        if let ChainEvent::Validators(ValidatorsEvent::BeaconDrawn { epoch, beacon }) = event {
            self.on_beacon(*epoch, Some(*beacon), effects);
        }
        let touched = self.proving.touched(event);
        if !touched.is_empty() {
            effects.push(Effect::ReadFacts(touched));
        }
        self.committee.on_event(event);
        self.accuser.on_event(event, effects);
        self.juror.on_event(event, effects);
        self.auditor.on_event(event, effects);
    }

    fn on_beacon(&mut self, epoch: Epoch, beacon: Option<Digest>, effects: &mut Vec<Effect>) {
        let Some(running) = self.phase() else { return };
        if self.committee.on_beacon(epoch, beacon, running, effects) {
            let nodes = self.proving.described();
            if !nodes.is_empty() {
                effects.push(Effect::ReadDrawn(epoch, nodes));
            }
        }
    }

    fn schedule(&mut self, at: Now, effects: &mut Vec<Effect>) {
        let Some(epoch) = self.epoch() else { return };
        let Some(beacon) = self.committee.beacon(epoch) else { return };
        let present = Present { at, epoch, beacon, validity: self.validity() };
        let waits = |node: &NodeId| self.attestor.waits(node);
        self.proving.schedule(present, &self.committee, waits, &mut self.secret, effects);
    }

    fn on_head(&mut self, now: Millis, head: BlockRef, effects: &mut Vec<Effect>) {
        self.proving.on_head(now, &head, &mut self.secret, effects);
        self.head = Some(head);
        self.accuser.advance(head.number, effects);
        self.juror.advance(now, head.timestamp, effects);
        self.auditor.advance(now, head.timestamp, &mut self.archive, &self.accuser.needed(), effects);
        let Some(timing) = self.timing else { return };
        let epoch = timing.epoch_at(head.timestamp);
        self.committee.on_head(epoch, self.settings.validator, effects);
        let standing =
            self.standing.filter(|(known, ..)| *known == epoch).map(|(_, own, total)| (own, total));
        if standing.is_none() {
            effects.push(Effect::ReadStanding(epoch));
        }
        let times = Times {
            head: &head,
            timing: &timing,
            validator: self.settings.validator,
            class: &self.settings.class,
            validity: self.validity(),
            standing,
        };
        let anew = self.attestor.advance(times, &mut self.secret, effects);
        self.proving.look_all(now, anew);
    }

    fn on_standing(&mut self, epoch: Epoch, own: Amount, total: Amount, effects: &mut Vec<Effect>) {
        self.standing = Some((epoch, own, total));
        if own == Amount::ZERO {
            let text = format!("this validator has no weight in epoch {epoch}: what it finds does not count");
            effects.push(Effect::Raise(
                Finding::warning("validator/no-weight", text)
                    .remedy("register with `lode validator register`; a bond counts from the next epoch"),
            ));
        } else {
            effects.push(Effect::Clear("validator/no-weight", String::new()));
        }
    }

    fn on_outcome(&mut self, intent: &Intent, outcome: &Outcome, effects: &mut Vec<Effect>) {
        let touched = self.attestor.on_outcome(intent, outcome, effects);
        for node in &touched {
            self.proving.forget_facts(*node);
        }
        self.read(touched, effects);
        self.accuser.on_outcome(intent, outcome, effects);
        self.juror.on_outcome(intent);
        let files = (&mut self.archive, &self.accuser.needed()[..]);
        self.auditor.on_outcome(intent, outcome, files, effects);
    }

    /// A run is over.
    fn end(&mut self, now: Millis, id: NodeId, end: Option<End>, effects: &mut Vec<Effect>) {
        let Some(end) = end else { return };
        let times = (self.epoch(), self.validity());
        let Some(judged) = self.proving.end(now, id, end, times, effects) else { return };
        match judged.result {
            Some(result) => self.attestor.add(result, effects),
            None => self.attestor.outdated(id, effects),
        }
        // One is enough to judge the node by.
        if let Some(file) = judged.files.into_iter().next() {
            self.accuser.on_file(id, judged.provider, file, &mut self.archive, effects);
        }
    }

    /// A forger's file without the run that it comes from.
    #[cfg(test)]
    pub(super) fn accuse_for_test(
        &mut self,
        node: NodeId,
        provider: lode_protocol::ids::ProviderId,
        file: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        self.accuser.on_file(node, Some(provider), file, &mut self.archive, effects);
    }

    /// Whether something that a node says could matter: what is said by others need not even be read.
    pub fn awaits(&self, node: &NodeId) -> bool {
        self.proving.is_running(node)
    }

    /// What is kept of nodes: descriptions, and connections.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        self.proving.kept()
    }

    /// Whether a node is more than whoever dialled: a directory lists it and a provider has registered it. Only such a node
    /// is ever challenged.
    pub fn has_standing(&self, node: &NodeId) -> bool {
        self.proving.has_standing(node)
    }

    /// For people.
    pub fn status(&self) -> Status {
        let epoch = self.epoch();
        Status {
            epoch,
            weight: self.standing.filter(|(known, ..)| Some(*known) == epoch).map(|(_, own, _)| own),
            nodes: self.proving.status(),
            pending: self.attestor.pending(),
            attesting: self.attestor.current().map(|current| (current.epoch, format!("{:?}", current.stage))),
            accusations: self.juror.open(),
            files: self.archive.len(),
        }
    }
}

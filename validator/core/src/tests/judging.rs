//! Accusing, voting and vetoing, one decision at a time.

use std::collections::VecDeque;

use lode_chain_types::{
    AccusationPhase, AccusationRecord, ChainEvent, EarningsLeaf, LoggedEvent, Offence, ProvenEarnings,
    RewardsEvent, SettlementParameters, SlashingEvent, SlashingParameters,
};

use super::*;
use lode_chain_types::{RewardsCall, SlashingCall, TokenCall};

mod turns;

const EVIDENCE: u64 = 100;
const ANSWER: u64 = 100;
const VOTE: u64 = 200;
const EXECUTION: u64 = 50;
const VETO: u64 = 400;
/// When everything begins, by the chain's clock.
const BEGIN: u64 = 100_000;

fn terms() -> Event {
    Event::Terms {
        slashing: SlashingParameters {
            min_bond: Amount::tokens(1),
            bond_basis_points: 1_000,
            max_slash_basis_points: 5_000,
            fee_basis_points: 500,
            max_fee: Amount::tokens(10),
            detection_seconds: 1_000,
            evidence_seconds: EVIDENCE,
            answer_seconds: ANSWER,
            vote_seconds: VOTE,
            execution_seconds: EXECUTION,
        },
        settlement: SettlementParameters {
            posting_seconds: 10,
            veto_seconds: VETO,
            withdrawal_seconds: 10_000,
            max_proven_age_epochs: 5,
        },
    }
}

/// A core, what it saved, and what it did.
struct Bench {
    core: Core,
    now: Now,
    block: u64,
    saved: Loaded,
    done: Vec<Effect>,
}

impl Bench {
    fn new(accusing: Option<Accusing>) -> Self {
        let core = Core::new(Settings { accusing, ..settings() }, Secret::new([1; 32]), Loaded::default());
        let now = Now { wall: timestamp_of_seconds(BEGIN), monotonic: Millis(1) };
        let mut bench = Bench { core, now, block: 10, saved: Loaded::default(), done: Vec::new() };
        bench.give(terms());
        bench
    }

    fn accusing() -> Self {
        Self::new(Some(accusing()))
    }

    /// The program ends and starts again with what was saved.
    fn restart(&mut self, accusing: Option<Accusing>) {
        let loaded = std::mem::take(&mut self.saved);
        self.saved = Loaded {
            files: loaded.files.clone(),
            suspicions: loaded.suspicions.clone(),
            opinions: loaded.opinions.clone(),
            punished: loaded.punished.clone(),
            ..Loaded::default()
        };
        self.core = Core::new(Settings { accusing, ..settings() }, Secret::new([2; 32]), loaded);
        self.give(terms());
    }

    fn give(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.core.step(self.now, event).unwrap() {
                if let Effect::Save(change) = effect {
                    self.save(change);
                } else {
                    self.done.push(effect);
                }
            }
        }
    }

    fn save(&mut self, change: Change) {
        let saved = &mut self.saved;
        match change {
            Change::PutFile { number, hash, .. } => saved.files.push((number, hash)),
            Change::DeleteFile { hash, .. } => saved.files.retain(|(_, kept)| *kept != hash),
            Change::PutSuspicion(suspicion) => {
                saved.suspicions.retain(|known| known.node != suspicion.node);
                saved.suspicions.push(suspicion);
            }
            Change::DeleteSuspicion(node) => saved.suspicions.retain(|known| known.node != node),
            Change::PutOpinion(opinion) => {
                saved.opinions.retain(|known| known.accusation != opinion.accusation);
                saved.opinions.push(opinion);
            }
            Change::DeleteOpinion(id) => saved.opinions.retain(|known| known.accusation != id),
            Change::PutPunished(deed, id) => saved.punished.push((deed, id)),
            other => panic!("nothing is proven here: {other:?}"),
        }
    }

    /// A block this many seconds after the beginning.
    fn at(&mut self, seconds: u64) {
        self.now = Now { wall: timestamp_of_seconds(BEGIN + seconds), monotonic: Millis(seconds * 1_000) };
        self.block += 1;
        let head = BlockRef {
            number: self.block,
            hash: Digest::default(),
            timestamp: timestamp_of_seconds(BEGIN + seconds),
        };
        self.give(Event::Head(head));
    }

    fn logged(&mut self, event: ChainEvent) {
        self.give(Event::Logged(vec![logged(event)]));
    }

    fn settled(&mut self, intent: Intent, outcome: Outcome) {
        self.give(Event::Settled { id: IntentId(1), intent, outcome });
    }

    fn submitted(&self) -> Vec<&Intent> {
        fn intent(effect: &Effect) -> Option<&Intent> {
            match effect {
                Effect::Submit(intent) => Some(intent),
                _ => None,
            }
        }
        self.done.iter().filter_map(intent).collect()
    }

    fn votes(&self) -> Vec<(u64, bool)> {
        let vote = |intent: &&Intent| match intent {
            Intent::Slashing(SlashingCall::VoteAccusation { id, guilty }) => Some((id.0, *guilty)),
            _ => None,
        };
        self.submitted().iter().filter_map(vote).collect()
    }

    fn count(&self, what: impl Fn(&Effect) -> bool) -> usize {
        self.done.iter().filter(|effect| what(effect)).count()
    }

    fn raised(&self, code: &str) -> bool {
        self.done
            .iter()
            .any(|effect| matches!(effect, Effect::Raise(finding) if finding.code.as_str() == code))
    }

    /// Somebody else accuses.
    fn accuse(&mut self, id: u64, tokens: u64, evidence: u8) {
        self.accuse_by(id, tokens, evidence, Address([7; 20]));
    }

    fn accuse_by(&mut self, id: u64, tokens: u64, evidence: u8, accuser: Address) {
        self.logged(ChainEvent::Slashing(SlashingEvent::Accused {
            id: AccusationId(id),
            provider: PROVIDER,
            node: node(1),
            accuser,
            offence: Offence::ForgedProof,
            amount: Amount::tokens(tokens),
            bond: Amount::tokens(1),
            epoch: Epoch(1),
            evidence: Digest([evidence; 32]),
            uri: "https://accuser.example/evidence".to_owned(),
        }));
        self.give(Event::Accusation {
            id: AccusationId(id),
            record: Some(record(id, tokens, evidence, accuser)),
        });
    }

    fn seen(&mut self, id: u64, judgement: Judgement) {
        self.give(Event::Examined { id: AccusationId(id), examination: Examination::Seen(judgement) });
    }
}

fn accusing() -> Accusing {
    Accusing { amount: Amount::tokens(50), public_url: "https://own.example".to_owned(), most_open: 2 }
}

fn logged(event: ChainEvent) -> LoggedEvent {
    let (block_hash, transaction) = (Digest::default(), Digest::default());
    LoggedEvent { event, block: 1, block_hash, transaction, index: 0 }
}

fn record(id: u64, tokens: u64, evidence: u8, accuser: Address) -> AccusationRecord {
    AccusationRecord {
        id: AccusationId(id),
        accuser,
        provider: PROVIDER,
        node: node(1),
        offence: Offence::ForgedProof,
        phase: AccusationPhase::Evidence,
        amount: Amount::tokens(tokens),
        bond: Amount::tokens(1),
        opened_at: timestamp_of_seconds(BEGIN),
        epoch: Epoch(1),
        guilty_weight: Amount::ZERO,
        innocent_weight: Amount::ZERO,
        evidence: Digest([evidence; 32]),
        answer: None,
    }
}

fn guilty(deed: u8) -> Judgement {
    Judgement::Guilty { deed: Digest([deed; 32]), what: "row 3 is not the product".to_owned() }
}

fn confirmed(events: Vec<ChainEvent>) -> Outcome {
    Outcome::Confirmed(Receipt {
        transaction: Digest::default(),
        block: 1,
        block_hash: Digest::default(),
        succeeded: true,
        gas_used: 1,
        events: events.into_iter().map(logged).collect(),
    })
}

fn reverted(name: &str) -> Outcome {
    Outcome::Reverted { error: Revert { name: name.to_owned(), detail: String::new() }, transaction: None }
}

#[test]
fn a_vote_follows_the_evidence_and_is_cast_once_when_the_vote_begins() {
    for (judgement, expected) in
        [(guilty(1), true), (Judgement::innocent("evidence/nothing-false", "fine".to_owned()), false)]
    {
        let mut bench = Bench::new(None);
        bench.accuse(1, 10, 1);
        bench.at(1);
        assert_eq!(bench.count(|effect| matches!(effect, Effect::Examine(_))), 1);
        bench.seen(1, judgement);
        bench.at(EVIDENCE + ANSWER - 1);
        assert!(bench.votes().is_empty(), "the accused may still answer");
        bench.at(EVIDENCE + ANSWER);
        bench.at(EVIDENCE + ANSWER + 1);
        assert_eq!(bench.votes(), [(1, expected)]);
        let vote = Intent::Slashing(SlashingCall::VoteAccusation { id: AccusationId(1), guilty: expected });
        bench.settled(vote, confirmed(Vec::new()));
        bench.at(EVIDENCE + ANSWER + 2);
        assert_eq!(bench.votes().len(), 1);
    }
}

#[test]
fn evidence_that_never_comes_acquits_after_many_tries() {
    let mut bench = Bench::new(None);
    bench.accuse(1, 10, 1);
    for second in (0..EVIDENCE + ANSWER + VOTE / 4).step_by(10) {
        bench.at(second);
        let message = "it is not there".to_owned();
        let code = ErrorCode::new("fetch/unreachable");
        let examination = Examination::Unavailable { code, message };
        bench.give(Event::Examined { id: AccusationId(1), examination });
    }
    assert!(bench.votes().is_empty(), "it is waited for");
    assert!(bench.count(|effect| matches!(effect, Effect::Examine(_))) > 8);
    assert!(bench.raised("accusation/no-evidence"));
    bench.at(EVIDENCE + ANSWER + VOTE / 4);
    assert_eq!(bench.votes(), [(1, false)]);
}

#[test]
fn after_a_restart_a_judgement_is_kept_and_a_vote_that_is_on_chain_is_not_repeated() {
    let mut bench = Bench::new(None);
    bench.accuse(1, 10, 1);
    bench.at(1);
    bench.seen(1, guilty(1));
    bench.restart(None);
    bench.done.clear();
    bench.accuse(1, 10, 1);
    bench.at(EVIDENCE + ANSWER + 1);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Examine(_))), 0, "the evidence may be gone");
    assert_eq!(bench.votes(), [(1, true)]);
    bench.restart(None);
    bench.done.clear();
    bench.accuse(1, 10, 1);
    let weight = Amount::tokens(1);
    bench.logged(ChainEvent::Slashing(SlashingEvent::Voted {
        id: AccusationId(1),
        validator: validator(),
        guilty: true,
        weight,
    }));
    bench.at(EVIDENCE + ANSWER + 2);
    assert!(bench.votes().is_empty());
}

#[test]
fn numbers_that_come_again_on_another_history_take_no_old_judgement() {
    let mut bench = Bench::new(None);
    bench.accuse(1, 10, 1);
    bench.at(1);
    bench.seen(1, guilty(1));
    bench.give(Event::Resync);
    bench.accuse(1, 10, 2);
    bench.at(EVIDENCE + ANSWER);
    assert!(bench.votes().is_empty(), "other evidence is not judged yet");
}

#[test]
fn of_several_accusations_of_one_deed_the_largest_counts_and_none_after_a_verdict() {
    let mut bench = Bench::new(None);
    for (id, tokens) in [(1, 1), (2, 50), (3, 50)] {
        bench.accuse(id, tokens, u8::try_from(id).unwrap());
        bench.at(id);
        bench.seen(id, guilty(9));
    }
    bench.at(EVIDENCE + ANSWER + 10);
    assert_eq!(bench.votes(), [(1, false), (2, true), (3, false)]);
    let (slashed, fee, to_treasury) = (Amount::tokens(50), Amount::ZERO, Amount::tokens(50));
    bench.logged(ChainEvent::Slashing(SlashingEvent::FoundGuilty {
        id: AccusationId(2),
        provider: PROVIDER,
        slashed,
        fee,
        to_treasury,
    }));
    bench.restart(None);
    bench.done.clear();
    bench.accuse(4, 100, 4);
    bench.at(1);
    bench.seen(4, guilty(9));
    bench.at(EVIDENCE + ANSWER + 10);
    assert_eq!(bench.votes(), [(4, false)], "it was punished already");
}

#[test]
fn a_verdict_is_carried_out_when_the_vote_is_over() {
    let mut bench = Bench::new(None);
    bench.accuse(1, 10, 1);
    bench.at(EVIDENCE + ANSWER + VOTE - 1);
    let resolve = Intent::Slashing(SlashingCall::ResolveAccusation { id: AccusationId(1) });
    assert!(!bench.submitted().contains(&&resolve));
    bench.at(EVIDENCE + ANSWER + VOTE);
    bench.at(EVIDENCE + ANSWER + VOTE + 1);
    assert_eq!(bench.submitted().iter().filter(|intent| ***intent == resolve).count(), 1);
    bench.logged(ChainEvent::Slashing(SlashingEvent::Acquitted {
        id: AccusationId(1),
        provider: PROVIDER,
        bond: Amount::tokens(1),
    }));
    assert_eq!(bench.core.status().accusations, 0);
}

#[test]
fn the_accuser_looks_at_its_own_evidence_and_does_not_vote() {
    let mut bench = Bench::accusing();
    bench.accuse_by(1, 10, 1, validator().0);
    bench.at(1);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Examine(_))), 1);
    bench.seen(1, guilty(1));
    bench.at(EVIDENCE + ANSWER + 1);
    assert!(bench.votes().is_empty());
}

#[test]
fn an_answer_is_shown_and_changes_no_vote() {
    let mut bench = Bench::new(None);
    bench.accuse(1, 10, 1);
    let (answer, uri) = (Digest([3; 32]), "https://provider.example/answer".to_owned());
    bench.logged(ChainEvent::Slashing(SlashingEvent::Answered {
        id: AccusationId(1),
        provider: PROVIDER,
        answer,
        uri,
    }));
    assert_eq!(bench.count(|effect| matches!(effect, Effect::ShowAnswer { .. })), 1);
}

// Accusing.

/// Brings a core to the point where a forger's file is kept.
fn caught(bench: &mut Bench) {
    let mut world = World::new();
    world.join(1, 1, Conduct::SkipsRows);
    world.pass(30);
    let file = world.files.first().expect("the forger was caught").clone();
    bench.core.accuse_for_test(node(1), PROVIDER, file, &mut bench.done);
    let saves: Vec<Effect> = std::mem::take(&mut bench.done);
    for effect in saves {
        match effect {
            Effect::Save(change) => bench.save(change),
            other => bench.done.push(other),
        }
    }
}

fn price(allowance: u64, balance: u64) -> Price {
    Price {
        amount: Amount::tokens(40),
        bond: Amount::tokens(4),
        allowance: Amount::tokens(allowance),
        balance: Amount::tokens(balance),
        open: None,
    }
}

fn priced(bench: &mut Bench, price: Price) {
    bench.give(Event::Price { node: node(1), price: Some(price) });
}

#[test]
fn without_the_operators_word_evidence_is_kept_and_nobody_is_accused() {
    let mut bench = Bench::new(None);
    caught(&mut bench);
    bench.at(1);
    assert_eq!(bench.saved.files.len(), 1);
    assert!(bench.submitted().is_empty() && bench.raised("validator/forged-proof"));
}

#[test]
fn a_forger_is_accused_once_after_the_bond_is_allowed() {
    let mut bench = Bench::accusing();
    caught(&mut bench);
    bench.at(1);
    bench.at(2);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::ReadPrice { .. })), 1);
    priced(&mut bench, price(0, 100));
    let approve = Intent::Token(TokenCall::Approve { spender: SLASHING, amount: Amount::tokens(4) });
    assert_eq!(bench.submitted(), [&approve]);
    bench.at(3);
    bench.settled(approve, confirmed(Vec::new()));
    bench.at(4);
    bench.at(5);
    let (_, file) = bench.saved.files[0];
    let accuse = Intent::Slashing(SlashingCall::Accuse {
        provider: PROVIDER,
        node: node(1),
        offence: Offence::ForgedProof,
        amount: Amount::tokens(40),
        evidence: file,
        uri: format!("https://own.example/evidence/{file}"),
    });
    assert_eq!(bench.submitted().last(), Some(&&accuse));
    assert_eq!(bench.submitted().len(), 2);
    let opened = ChainEvent::Slashing(SlashingEvent::Accused {
        id: AccusationId(7),
        provider: PROVIDER,
        node: node(1),
        accuser: validator().0,
        offence: Offence::ForgedProof,
        amount: Amount::tokens(40),
        bond: Amount::tokens(4),
        epoch: Epoch(1),
        evidence: file,
        uri: String::new(),
    });
    bench.settled(accuse, confirmed(vec![opened]));
    assert_eq!(bench.saved.suspicions[0].stage, AccusationStage::Open(AccusationId(7)));
    // It is caught again meanwhile: one accusation is enough.
    caught(&mut bench);
    bench.at(6);
    assert_eq!(bench.submitted().len(), 2);
}

#[test]
fn a_restart_at_any_stage_does_not_accuse_twice() {
    let mut bench = Bench::accusing();
    caught(&mut bench);
    bench.at(1);
    priced(&mut bench, price(100, 100));
    assert!(
        matches!(bench.saved.suspicions[0].stage, AccusationStage::Accusing { .. }),
        "stored before it is sent"
    );
    bench.restart(Some(accusing()));
    bench.done.clear();
    bench.at(2);
    let again: Vec<Intent> = bench.submitted().into_iter().cloned().collect();
    assert!(
        matches!(again[..], [Intent::Slashing(SlashingCall::Accuse { .. })]),
        "the outbox merges it with the one before"
    );
    // The one before was mined, and the contract refuses the second: the first is found.
    bench.settled(again[0].clone(), reverted("AlreadyAccused"));
    bench.at(3);
    let own = AccusationRecord { evidence: bench.saved.files[0].1, ..record(3, 40, 0, validator().0) };
    priced(&mut bench, Price { open: Some(own), ..price(0, 0) });
    assert_eq!(bench.saved.suspicions[0].stage, AccusationStage::Open(AccusationId(3)));
    // Its verdict came while nobody looked.
    bench.restart(Some(accusing()));
    bench.at(4);
    let over = AccusationRecord { phase: AccusationPhase::Guilty, ..own };
    bench.give(Event::Accusation { id: AccusationId(3), record: Some(over) });
    assert!(bench.saved.suspicions.is_empty());
}

#[test]
fn a_bond_that_cannot_be_paid_is_told_and_looked_at_again() {
    let mut bench = Bench::accusing();
    caught(&mut bench);
    bench.at(1);
    priced(&mut bench, price(100, 3));
    assert!(bench.submitted().is_empty() && bench.raised("accusation/bond"));
    for second in 2..40 {
        bench.at(second);
    }
    assert_eq!(bench.count(|effect| matches!(effect, Effect::ReadPrice { .. })), 2);
    priced(&mut bench, price(100, 4));
    assert_eq!(bench.submitted().len(), 1);
}

#[test]
fn whoever_was_acquitted_is_not_accused_again_by_itself() {
    let mut bench = Bench::accusing();
    caught(&mut bench);
    bench.at(1);
    priced(&mut bench, price(100, 100));
    let accuse = (*bench.submitted().last().unwrap()).clone();
    let own = AccusationRecord { evidence: bench.saved.files[0].1, ..record(5, 40, 0, validator().0) };
    bench.settled(accuse, reverted("AlreadyAccused"));
    bench.at(2);
    priced(&mut bench, Price { open: Some(own), ..price(0, 0) });
    bench.logged(ChainEvent::Slashing(SlashingEvent::Acquitted {
        id: AccusationId(5),
        provider: PROVIDER,
        bond: Amount::tokens(4),
    }));
    assert!(bench.raised("accusation/lost"));
    bench.done.clear();
    caught(&mut bench);
    bench.restart(Some(accusing()));
    bench.at(3);
    assert!(bench.submitted().is_empty());
}

#[test]
fn a_forger_that_somebody_else_accuses_for_as_much_is_left_to_them() {
    let mut bench = Bench::accusing();
    caught(&mut bench);
    bench.at(1);
    let other = record(5, 40, 3, Address([7; 20]));
    priced(&mut bench, Price { open: Some(other), ..price(100, 100) });
    assert!(bench.submitted().is_empty() && bench.saved.suspicions.is_empty());
    caught(&mut bench);
    bench.at(2);
    let small = AccusationRecord { amount: Amount::tokens(1), ..other };
    priced(&mut bench, Price { open: Some(small), ..price(100, 100) });
    assert_eq!(bench.submitted().len(), 1, "a token accusation saves nobody");
}

// Vetoes.

fn posted(epoch: u64) -> PostedRoot {
    PostedRoot {
        pool: PoolId(1),
        epoch: Epoch(epoch),
        root: Digest([5; 32]),
        total: Amount::tokens(9),
        depth: 1,
        final_at: timestamp_of_seconds(BEGIN + VETO),
    }
}

fn root_posted(bench: &mut Bench, posted: PostedRoot) {
    bench.logged(ChainEvent::Rewards(RewardsEvent::RootPosted {
        pool: posted.pool,
        epoch: posted.epoch,
        root: posted.root,
        total: posted.total,
        increase: Amount::tokens(1),
        depth: posted.depth,
        proven_epoch: Epoch(1),
        final_at: posted.final_at,
    }));
}

fn audited(bench: &mut Bench, audit: Audit) {
    bench.give(Event::Audited { matter: Matter::Root(posted(3)), audit });
}

#[test]
fn a_root_that_does_not_add_up_is_vetoed_once_with_a_note_that_says_why() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, posted(3));
    bench.at(1);
    bench.at(2);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Audit(..))), 1);
    let (code, message) = (ErrorCode::new("settlement/wrong-sum"), "too much".to_owned());
    audited(&mut bench, Audit::Wrong { code, message });
    bench.at(3);
    let (_, evidence) = bench.saved.files[0];
    let veto = Intent::Rewards(RewardsCall::VetoRoot { pool: PoolId(1), epoch: Epoch(3), evidence });
    assert_eq!(bench.submitted(), [&veto]);
}

#[test]
fn a_root_that_adds_up_is_left_alone() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, posted(3));
    bench.at(1);
    audited(&mut bench, Audit::Right);
    bench.at(VETO - 1);
    assert!(bench.submitted().is_empty());
}

#[test]
fn a_root_that_nobody_can_rebuild_is_vetoed_before_its_window_closes() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, posted(3));
    for second in (1..VETO * 3 / 4).step_by(7) {
        bench.at(second);
        audited(&mut bench, Audit::Unavailable { message: "nobody answers".to_owned() });
    }
    assert!(bench.submitted().is_empty(), "it is tried again and again");
    bench.at(VETO * 3 / 4);
    assert!(matches!(bench.submitted()[..], [Intent::Rewards(RewardsCall::VetoRoot { .. })]));
}

#[test]
fn a_root_that_takes_earnings_away_is_refuted_and_vetoed_where_that_is_refused() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, posted(3));
    bench.at(1);
    let earnings = |tokens| ProvenEarnings {
        leaf: EarningsLeaf { payee: Address([1; 20]), cumulative: Amount::tokens(tokens) },
        path: Vec::new(),
    };
    let regress = Regress { index: 0, proven: earnings(5), other: earnings(4) };
    audited(&mut bench, Audit::Regress(Box::new(regress)));
    let refute = (*bench.submitted().last().unwrap()).clone();
    assert!(matches!(refute, Intent::Rewards(RewardsCall::RefuteRoot { index: 0, .. })));
    bench.settled(refute, reverted("InvalidClaimProof"));
    assert!(matches!(bench.submitted().last(), Some(Intent::Rewards(RewardsCall::VetoRoot { .. }))));
}

#[test]
fn a_root_that_was_posted_again_is_looked_at_again_and_an_old_look_does_not_count() {
    let mut bench = Bench::new(None);
    root_posted(&mut bench, posted(3));
    bench.at(1);
    let (pool, epoch) = (PoolId(1), Epoch(3));
    bench.logged(ChainEvent::Rewards(RewardsEvent::RootVetoed {
        pool,
        epoch,
        root: Digest([5; 32]),
        released: Amount::tokens(1),
    }));
    root_posted(&mut bench, PostedRoot { root: Digest([6; 32]), ..posted(3) });
    let (code, message) = (ErrorCode::new("settlement/wrong-sum"), "too much".to_owned());
    audited(&mut bench, Audit::Wrong { code, message });
    assert!(bench.submitted().is_empty(), "that was the root before");
    bench.at(2);
    assert_eq!(bench.count(|effect| matches!(effect, Effect::Audit(..))), 2);
}

#[test]
fn a_redemption_is_vetoed_when_it_is_wrong_and_never_because_nobody_answers() {
    let request = RequestedRedemption {
        pool: PoolId(1),
        payee: Address([1; 20]),
        node: node(1),
        epoch: Epoch(2),
        cumulative: Amount::tokens(5),
        payable_at: timestamp_of_seconds(BEGIN + VETO),
    };
    let requested = ChainEvent::Rewards(RewardsEvent::RedemptionRequested {
        pool: request.pool,
        payee: request.payee,
        node: request.node,
        epoch: request.epoch,
        cumulative: request.cumulative,
        amount: Amount::tokens(5),
        payable_at: request.payable_at,
    });
    let mut bench = Bench::new(None);
    bench.logged(requested.clone());
    for second in (1..VETO).step_by(7) {
        bench.at(second);
        let audit = Audit::Unavailable { message: "nobody answers".to_owned() };
        bench.give(Event::Audited { matter: Matter::Redemption(request), audit });
    }
    assert!(bench.submitted().is_empty());
    let mut bench = Bench::new(None);
    bench.logged(requested);
    bench.at(1);
    let (code, message) = (ErrorCode::new("settlement/covered"), "a root pays it".to_owned());
    bench.give(Event::Audited { matter: Matter::Redemption(request), audit: Audit::Wrong { code, message } });
    assert!(matches!(bench.submitted()[..], [Intent::Rewards(RewardsCall::VetoRedemption { .. })]));
}

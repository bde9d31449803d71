//! Accusations, answers and verdicts.

use std::time::Duration;

use lode_contracts::{
    AccusationPhase, Amount, ChainEvent, Intent, Offence, Operator, RegistryCall, RegistryEvent,
    SlashingCall, SlashingEvent, TokenCall,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, NodeId, ProviderId, ValidatorId};
use lode_protocol::settlement::Answer;

use crate::world::{World, events, refusal};

crate::on_every_chain!(
    a_cheat_is_slashed_by_quorum_and_its_accuser_gets_bond_and_fee,
    an_accused_provider_that_answers_is_acquitted_and_gets_the_bond,
    silence_acquits_and_less_than_a_quorum_too,
    an_accusing_validator_is_no_juror_and_its_weight_does_not_count,
    what_an_accusation_holds_cannot_be_withdrawn,
    an_accusation_that_makes_no_sense_is_refused_by_name,
);

struct Court {
    provider: Operator,
    node: NodeId,
    accuser: Operator,
    validators: Vec<Operator>,
}

impl Court {
    /// A provider with a stake of 100 and a node, three validators, and somebody who may bond.
    async fn new(world: &World) -> Court {
        let validators = world.validators(3).await;
        let provider = world.provider().await;
        let key = world.key();
        provider.add_node(&key, 1).await.unwrap();
        let accuser = world.rich().await;
        let spender = world.chain.deployment().slashing;
        accuser
            .execute(Intent::Token(TokenCall::Approve { spender, amount: Amount::tokens(100) }))
            .await
            .unwrap();
        Court { provider, node: NodeId(key.address()), accuser, validators }
    }

    fn id(&self) -> ProviderId {
        ProviderId(self.provider.address())
    }

    fn accusation(&self, amount: Amount) -> Intent {
        Intent::Slashing(SlashingCall::Accuse {
            provider: self.id(),
            node: self.node,
            offence: Offence::ForgedReceipt,
            amount,
            evidence: Digest([7; 32]),
            uri: "https://accuser.example/evidence".to_owned(),
        })
    }

    async fn vote(&self, id: AccusationId, verdicts: &[bool]) {
        for (validator, guilty) in self.validators.iter().zip(verdicts) {
            validator
                .execute(Intent::Slashing(SlashingCall::VoteAccusation { id, guilty: *guilty }))
                .await
                .unwrap();
        }
    }
}

const FIRST: AccusationId = AccusationId(1);

async fn to_vote(world: &World) {
    let terms = world.chain.slashing_terms().await.unwrap();
    world.advance(Duration::from_secs(terms.evidence_seconds + terms.answer_seconds)).await;
}

async fn past_vote(world: &World) {
    let terms = world.chain.slashing_terms().await.unwrap();
    world.advance(Duration::from_secs(terms.vote_seconds)).await;
}

async fn phase(world: &World) -> AccusationPhase {
    world.chain.accusation(FIRST).await.unwrap().unwrap().phase
}

async fn a_cheat_is_slashed_by_quorum_and_its_accuser_gets_bond_and_fee(world: World) {
    let court = Court::new(&world).await;
    let (provider, node) = (court.id(), court.node);
    assert_eq!(world.chain.accusation(FIRST).await.unwrap(), None);
    assert_eq!(world.chain.open_accusation(provider, node).await.unwrap(), None);
    assert_eq!(world.chain.max_slash(provider).await.unwrap(), Amount::tokens(50));
    let (amount, bond) = (Amount::tokens(40), Amount::tokens(4));
    assert_eq!(world.chain.bond_for(amount).await.unwrap(), bond);
    assert_eq!(world.chain.bond_for(Amount(1)).await.unwrap(), Amount::tokens(1));
    let epoch = world.chain.current_epoch().await.unwrap();
    let receipt = court.accuser.execute(court.accusation(amount)).await.unwrap();
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Slashing(SlashingEvent::Accused {
                id: FIRST,
                provider,
                node,
                accuser: court.accuser.address(),
                offence: Offence::ForgedReceipt,
                amount,
                bond,
                epoch,
                evidence: Digest([7; 32]),
                uri: "https://accuser.example/evidence".to_owned(),
            }),
            ChainEvent::Registry(RegistryEvent::StakeLocked { provider, amount, locked: amount }),
        ]
    );
    assert_eq!(world.chain.accusation_count().await.unwrap(), 1);
    assert_eq!(world.chain.open_accusation(provider, node).await.unwrap(), Some(FIRST));
    assert_eq!(world.chain.provider(provider).await.unwrap().unwrap().locked, amount);
    let record = world.chain.accusation(FIRST).await.unwrap().unwrap();
    assert_eq!((record.phase, record.answer), (AccusationPhase::Evidence, None));
    assert_eq!((record.amount, record.bond, record.epoch), (amount, bond, epoch));

    let guilty = Intent::Slashing(SlashingCall::VoteAccusation { id: FIRST, guilty: true });
    assert_eq!(refusal(court.validators[0].execute(guilty.clone()).await), "WrongPhase");
    to_vote(&world).await;
    assert_eq!(phase(&world).await, AccusationPhase::Vote);
    assert_eq!(refusal(court.accuser.execute(guilty.clone()).await), "NoVote");
    let resolve = Intent::Slashing(SlashingCall::ResolveAccusation { id: FIRST });
    assert_eq!(refusal(court.accuser.execute(resolve.clone()).await), "WrongPhase");
    let receipt = court.validators[0].execute(guilty.clone()).await.unwrap();
    let validator = ValidatorId(court.validators[0].address());
    let weight = Amount::tokens(100);
    assert_eq!(
        events(&receipt),
        vec![ChainEvent::Slashing(SlashingEvent::Voted { id: FIRST, validator, guilty: true, weight })]
    );
    assert_eq!(refusal(court.validators[0].execute(guilty.clone()).await), "AlreadyVoted");
    court.validators[1].execute(guilty.clone()).await.unwrap();
    court.validators[2].execute(guilty).await.unwrap();
    past_vote(&world).await;
    assert_eq!(phase(&world).await, AccusationPhase::Decided);
    let treasury = world.chain.staking_terms().await.unwrap().treasury;
    let before = world.tokens_of(treasury).await;
    let receipt = court.accuser.execute(resolve.clone()).await.unwrap();
    let (fee, to_treasury) = (Amount::tokens(2), Amount::tokens(38));
    let stake = Amount::tokens(60);
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Slashing(SlashingEvent::FoundGuilty {
                id: FIRST,
                provider,
                slashed: amount,
                fee,
                to_treasury
            }),
            ChainEvent::Registry(RegistryEvent::StakeUnlocked { provider, amount, locked: Amount::ZERO }),
            ChainEvent::Registry(RegistryEvent::Slashed { provider, amount, stake, unbonding: Amount::ZERO }),
        ]
    );
    assert_eq!(world.tokens_of(treasury).await, before.saturating_add(to_treasury));
    assert_eq!(world.tokens_of(court.accuser.address()).await, Amount::tokens(1_002));
    let record = world.chain.provider(provider).await.unwrap().unwrap();
    assert_eq!((record.stake, record.locked), (stake, Amount::ZERO));
    assert_eq!(phase(&world).await, AccusationPhase::Guilty);
    assert!(phase(&world).await.is_over());
    assert_eq!(world.chain.open_accusation(provider, node).await.unwrap(), None);
    assert_eq!(refusal(court.accuser.execute(resolve).await), "WrongPhase");
    assert_eq!(world.chain.owed_to(treasury).await.unwrap(), Amount::ZERO);
    assert_eq!(
        refusal(court.accuser.execute(Intent::Slashing(SlashingCall::CollectOwed { to: treasury })).await),
        "NothingOwed"
    );
}

async fn an_accused_provider_that_answers_is_acquitted_and_gets_the_bond(world: World) {
    let court = Court::new(&world).await;
    let (provider, amount) = (court.id(), Amount::tokens(50));
    court.accuser.execute(court.accusation(amount)).await.unwrap();
    let statement = Answer {
        accusation: FIRST,
        answer: Digest([8; 32]),
        uri: "https://provider.example/answer".to_owned(),
        deadline: world.deadline().await,
    };
    let answer = Intent::Slashing(SlashingCall::AnswerAccusation {
        id: FIRST,
        answer: statement.answer,
        uri: "https://provider.example/answer".to_owned(),
    });
    assert_eq!(refusal(court.accuser.execute(answer.clone()).await), "NotAccused");
    let domain = world.chain.deployment().slashing_domain();
    let forger = world.key();
    let signature = forger.sign_recoverable(&statement.digest(&domain));
    let forged = Intent::Slashing(SlashingCall::AnswerAccusationBySignature {
        statement: statement.clone(),
        signature,
    });
    assert_eq!(refusal(court.accuser.execute(forged).await), "InvalidAnswerSignature");
    let late = Answer { deadline: 1, ..statement.clone() };
    let late = Intent::Slashing(SlashingCall::AnswerAccusationBySignature { statement: late, signature });
    assert_eq!(refusal(court.accuser.execute(late).await), "SignatureExpired");
    let receipt = court.provider.execute(answer.clone()).await.unwrap();
    let uri = statement.uri;
    let answered =
        ChainEvent::Slashing(SlashingEvent::Answered { id: FIRST, provider, answer: statement.answer, uri });
    assert_eq!(events(&receipt), vec![answered]);
    assert_eq!(refusal(court.provider.execute(answer.clone()).await), "AlreadyAnswered");
    assert_eq!(world.chain.accusation(FIRST).await.unwrap().unwrap().answer, Some(Digest([8; 32])));
    to_vote(&world).await;
    assert_eq!(refusal(court.provider.execute(answer).await), "WrongPhase");
    court.vote(FIRST, &[true, false, false]).await;
    past_vote(&world).await;
    let receipt = court
        .provider
        .execute(Intent::Slashing(SlashingCall::ResolveAccusation { id: FIRST }))
        .await
        .unwrap();
    let bond = Amount::tokens(5);
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Slashing(SlashingEvent::Acquitted { id: FIRST, provider, bond }),
            ChainEvent::Registry(RegistryEvent::StakeUnlocked { provider, amount, locked: Amount::ZERO }),
        ]
    );
    assert_eq!(phase(&world).await, AccusationPhase::Acquitted);
    assert_eq!(world.tokens_of(court.provider.address()).await, Amount::tokens(905));
    assert_eq!(world.tokens_of(court.accuser.address()).await, Amount::tokens(995));
    let record = world.chain.accusation(FIRST).await.unwrap().unwrap();
    assert_eq!((record.guilty_weight, record.innocent_weight), (Amount::tokens(100), Amount::tokens(200)));
}

async fn silence_acquits_and_less_than_a_quorum_too(world: World) {
    let court = Court::new(&world).await;
    court.accuser.execute(court.accusation(Amount::tokens(10))).await.unwrap();
    to_vote(&world).await;
    // Exactly two thirds are not more than two thirds.
    court.vote(FIRST, &[true, true]).await;
    past_vote(&world).await;
    let receipt =
        court.accuser.execute(Intent::Slashing(SlashingCall::ResolveAccusation { id: FIRST })).await.unwrap();
    assert!(matches!(events(&receipt)[0], ChainEvent::Slashing(SlashingEvent::Acquitted { .. })));
    assert_eq!(world.chain.provider(court.id()).await.unwrap().unwrap().stake, Amount::tokens(100));
}

async fn an_accusing_validator_is_no_juror_and_its_weight_does_not_count(world: World) {
    let court = Court::new(&world).await;
    let accuser = &court.validators[0];
    let spender = world.chain.deployment().slashing;
    accuser.execute(Intent::Token(TokenCall::Approve { spender, amount: Amount::tokens(10) })).await.unwrap();
    accuser.execute(court.accusation(Amount::tokens(10))).await.unwrap();
    to_vote(&world).await;
    let guilty = Intent::Slashing(SlashingCall::VoteAccusation { id: FIRST, guilty: true });
    assert_eq!(refusal(accuser.execute(guilty.clone()).await), "NoVote");
    // The other two are all the weight there is.
    for validator in court.validators.iter().skip(1) {
        validator.execute(guilty.clone()).await.unwrap();
    }
    past_vote(&world).await;
    let receipt = court
        .provider
        .execute(Intent::Slashing(SlashingCall::ResolveAccusation { id: FIRST }))
        .await
        .unwrap();
    assert!(
        matches!(events(&receipt)[0], ChainEvent::Slashing(SlashingEvent::FoundGuilty { .. })),
        "{receipt:?}"
    );
}

async fn what_an_accusation_holds_cannot_be_withdrawn(world: World) {
    let court = Court::new(&world).await;
    let held = Amount::tokens(50);
    court.provider.execute(Intent::Registry(RegistryCall::RemoveNode(court.node))).await.unwrap();
    let all = Intent::Registry(RegistryCall::RequestUnstake { amount: Amount::tokens(100) });
    court.provider.execute(all).await.unwrap();
    let unbonding = world.chain.staking_terms().await.unwrap().unbonding_seconds;
    world.advance(Duration::from_secs(unbonding)).await;
    // The node was released and everything unbonds: that is no way out.
    court.accuser.execute(court.accusation(held)).await.unwrap();
    let receipt = court.provider.execute(Intent::Registry(RegistryCall::Withdraw)).await.unwrap();
    let provider = court.id();
    assert_eq!(
        events(&receipt),
        vec![ChainEvent::Registry(RegistryEvent::Withdrawn { provider, amount: Amount::tokens(50) })]
    );
    assert_eq!(
        refusal(court.provider.execute(Intent::Registry(RegistryCall::Withdraw)).await),
        "StakeIsLocked"
    );
    to_vote(&world).await;
    court.vote(FIRST, &[true, true, true]).await;
    past_vote(&world).await;
    let receipt =
        court.accuser.execute(Intent::Slashing(SlashingCall::ResolveAccusation { id: FIRST })).await.unwrap();
    let zero = Amount::ZERO;
    let slashed =
        ChainEvent::Registry(RegistryEvent::Slashed { provider, amount: held, stake: zero, unbonding: zero });
    assert_eq!(events(&receipt).pop(), Some(slashed));
    assert_eq!(
        refusal(court.provider.execute(Intent::Registry(RegistryCall::Withdraw)).await),
        "NothingUnbonding"
    );
}

async fn an_accusation_that_makes_no_sense_is_refused_by_name(world: World) {
    let court = Court::new(&world).await;
    let changed = |change: &dyn Fn(&mut Intent)| {
        let mut intent = court.accusation(Amount::tokens(20));
        change(&mut intent);
        intent
    };
    let zero = changed(&|intent| {
        if let Intent::Slashing(SlashingCall::Accuse { amount, .. }) = intent {
            *amount = Amount::ZERO;
        }
    });
    assert_eq!(refusal(court.accuser.execute(zero).await), "ZeroAmount");
    let empty = changed(&|intent| {
        if let Intent::Slashing(SlashingCall::Accuse { evidence, .. }) = intent {
            *evidence = Digest::default();
        }
    });
    assert_eq!(refusal(court.accuser.execute(empty).await), "ZeroDigest");
    let long = changed(&|intent| {
        if let Intent::Slashing(SlashingCall::Accuse { uri, .. }) = intent {
            *uri = "x".repeat(513);
        }
    });
    assert_eq!(refusal(court.accuser.execute(long).await), "TextTooLong");
    let accuse = |amount| court.accusation(Amount::tokens(amount));
    assert_eq!(refusal(court.provider.execute(accuse(20)).await), "SelfAccusation");
    assert_eq!(refusal(world.deployer().execute(accuse(20)).await), "TreasuryCannotAccuse");
    assert_eq!(refusal(court.accuser.execute(accuse(51)).await), "AmountTooLarge");
    // Somebody without an allowance for the bond.
    assert_eq!(refusal(court.validators[0].execute(accuse(20)).await), "ERC20InsufficientAllowance");
    court.accuser.execute(accuse(20)).await.unwrap();
    assert_eq!(refusal(court.accuser.execute(accuse(20)).await), "AlreadyAccused");
    // Nobody shields a node by having a friend accuse it of little.
    court.accuser.execute(accuse(21)).await.unwrap();
    let open = world.chain.open_accusation(court.id(), court.node).await.unwrap();
    assert_eq!(open, Some(AccusationId(2)));
    assert_eq!(world.chain.max_slash(court.id()).await.unwrap(), Amount::tokens(50));
    let nobody = Intent::Slashing(SlashingCall::VoteAccusation { id: AccusationId(9), guilty: true });
    assert_eq!(refusal(court.validators[0].execute(nobody).await), "AccusationNotFound");
    let ids = [AccusationId(2), AccusationId(3), AccusationId(1), AccusationId(0)];
    let found = world.chain.accusations(&ids).await.unwrap();
    let amounts: Vec<_> = found.iter().map(|record| record.map(|record| record.amount)).collect();
    assert_eq!(amounts, vec![Some(Amount::tokens(21)), None, Some(Amount::tokens(20)), None]);
}

//! Budgets, roots of earnings, claims and redemptions.

use std::time::Duration;

use lode_contracts::{
    Amount, BudgetRecord, ChainEvent, ClaimItem, EarningsLeaf, EarningsRecord, EarningsTree, Epoch,
    EpochPhase, Intent, Operator, PoolsCall, ProvenEarnings, RedemptionRecord, RewardsCall, RewardsEvent,
    RootState, TokenCall, refusal_of_name, seconds_of_timestamp, sign_permit,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ValidatorId};
use lode_protocol::keys::SigningKey;
use lode_protocol::settlement::Receipt;

use crate::world::{World, events, refusal};

crate::on_every_chain!(
    a_budget_is_funded_by_anybody_and_returns_to_the_owner_after_the_delay,
    a_posted_root_pays_each_payee_once_and_a_later_one_pays_the_rest,
    a_root_that_may_not_be_posted_is_refused_by_name,
    a_quorum_of_validators_drops_a_root_and_its_money_is_free_again,
    a_root_that_takes_something_away_is_refuted_by_two_paths,
    a_receipt_that_was_left_out_is_redeemed_and_no_later_claim_pays_it_twice,
    a_vetoed_redemption_is_void_for_good,
);

/// A funded pool with an orchestrator, and validators that agreed on a root.
pub(crate) struct Market {
    pool: PoolId,
    owner: Operator,
    pub(crate) orchestrator: Operator,
    validators: Vec<Operator>,
    proven: Epoch,
}

const PAYEES: [Address; 3] = [Address([0xa1; 20]), Address([0xa2; 20]), Address([0xa3; 20])];

impl Market {
    pub(crate) async fn new(world: &World) -> Market {
        let validators = world.validators(3).await;
        let proven = world.proven_epoch(&validators).await;
        let (pool, owner, orchestrator) = world.paying_pool().await;
        let market = Market { pool, owner, orchestrator, validators, proven };
        market.fund(world, Amount::tokens(100)).await;
        let cap = Intent::Rewards(RewardsCall::SetSpendCap { pool, cap: Amount::tokens(50) });
        market.owner.execute(cap).await.unwrap();
        world.to_phase(EpochPhase::Commit, 1).await;
        market
    }

    async fn fund(&self, world: &World, amount: Amount) {
        let spender = world.chain.deployment().rewards;
        self.owner.execute(Intent::Token(TokenCall::Approve { spender, amount })).await.unwrap();
        self.owner
            .execute(Intent::Rewards(RewardsCall::FundPool { pool: self.pool, amount, permit: None }))
            .await
            .unwrap();
    }

    pub(crate) fn root(&self, epoch: Epoch, tree: &EarningsTree) -> Intent {
        Intent::Rewards(RewardsCall::PostRoot {
            pool: self.pool,
            epoch,
            root: tree.root(),
            total: tree.total(),
            depth: tree.depth(),
            proven_epoch: self.proven,
        })
    }

    pub(crate) fn claim(&self, epoch: Epoch, tree: &EarningsTree, index: u64) -> ClaimItem {
        ClaimItem::from_tree(self.pool, epoch, tree, index).unwrap()
    }
}

/// Payees with these earnings, in whole tokens.
fn tree(earnings: &[u64]) -> EarningsTree {
    let leaf = |(payee, tokens): (&Address, &u64)| EarningsLeaf {
        payee: *payee,
        cumulative: Amount::tokens(*tokens),
    };
    EarningsTree::new(PAYEES.iter().zip(earnings).map(leaf).collect()).unwrap()
}

pub(crate) async fn last_epoch(world: &World) -> Epoch {
    Epoch(world.chain.current_epoch().await.unwrap().0 - 1)
}

pub(crate) async fn past_veto(world: &World) {
    let terms = world.chain.settlement_terms().await.unwrap();
    world.advance(Duration::from_secs(terms.veto_seconds)).await;
}

async fn budget(world: &World, pool: PoolId) -> BudgetRecord {
    world.chain.budget(pool).await.unwrap()
}

async fn a_budget_is_funded_by_anybody_and_returns_to_the_owner_after_the_delay(world: World) {
    let (unpaid, _, _) = world.pool(None).await;
    let (pool, owner, _) = world.paying_pool().await;
    assert_eq!(budget(&world, pool).await, BudgetRecord::default());
    let donor_key = world.key();
    let rich = world.rich().await;
    let give =
        Intent::Token(TokenCall::TransferToken { to: donor_key.address(), amount: Amount::tokens(90) });
    rich.execute(give).await.unwrap();
    rich.execute(Intent::Token(TokenCall::TransferNative {
        to: donor_key.address(),
        amount: Amount::tokens(1),
    }))
    .await
    .unwrap();
    let donor = Operator::new(world.chain.clone(), donor_key.clone());

    let fund = |pool, tokens, permit| {
        Intent::Rewards(RewardsCall::FundPool { pool, amount: Amount::tokens(tokens), permit })
    };
    assert_eq!(refusal(donor.execute(fund(unpaid, 1, None)).await), "NoRewardToken");
    assert_eq!(refusal(donor.execute(fund(PoolId(77), 1, None)).await), "NoRewardToken");
    assert_eq!(refusal(donor.execute(fund(pool, 0, None)).await), "ZeroAmount");
    assert_eq!(refusal(donor.execute(fund(pool, 1, None)).await), "ERC20InsufficientAllowance");
    let (deployment, deadline) = (world.chain.deployment(), world.deadline().await);
    let amount = Amount::tokens(60);
    let permit = sign_permit(deployment, &donor_key, deployment.rewards, amount, 0, deadline);
    let receipt = donor.execute(fund(pool, 60, Some(permit))).await.unwrap();
    let funded =
        ChainEvent::Rewards(RewardsEvent::Funded { pool, from: donor.address(), amount, free: amount });
    assert_eq!(events(&receipt), vec![funded]);
    let token = deployment.token;
    let approve = Intent::Token(TokenCall::ApproveToken {
        token,
        spender: deployment.rewards,
        amount: Amount::tokens(20),
    });
    donor.execute(approve).await.unwrap();
    let allowed = world.chain.allowance_of_token(token, donor.address(), deployment.rewards).await.unwrap();
    assert_eq!(allowed, Amount::tokens(20));
    donor.execute(fund(pool, 20, None)).await.unwrap();
    assert_eq!(world.chain.balance_of_token(token, donor.address()).await.unwrap(), Amount::tokens(10));
    assert_eq!(budget(&world, pool).await.free, Amount::tokens(80));
    assert_eq!(world.tokens_of(deployment.rewards).await, Amount::tokens(80));

    let cap = Intent::Rewards(RewardsCall::SetSpendCap { pool, cap: Amount::tokens(5) });
    assert_eq!(refusal(donor.execute(cap.clone()).await), "NotPoolOwner");
    let receipt = owner.execute(cap).await.unwrap();
    assert_eq!(
        events(&receipt),
        vec![ChainEvent::Rewards(RewardsEvent::SpendCapChanged { pool, cap: Amount::tokens(5) })]
    );
    let running = world.chain.current_epoch().await.unwrap();
    assert_eq!(world.chain.spendable(pool, last_epoch(&world).await).await.unwrap(), Amount::ZERO);
    assert_eq!(world.chain.spendable(pool, running.plus(1)).await.unwrap(), Amount::tokens(10));
    // Unused caps add up to at most 48 epochs.
    assert_eq!(world.chain.spendable(pool, running.plus(900)).await.unwrap(), Amount::tokens(240));

    let ask = |tokens| {
        Intent::Rewards(RewardsCall::RequestBudgetWithdrawal { pool, amount: Amount::tokens(tokens) })
    };
    let take = Intent::Rewards(RewardsCall::WithdrawBudget { pool, to: owner.address() });
    assert_eq!(refusal(donor.execute(ask(1)).await), "NotPoolOwner");
    assert_eq!(refusal(donor.execute(take.clone()).await), "NotPoolOwner");
    assert_eq!(refusal(owner.execute(ask(0)).await), "ZeroAmount");
    assert_eq!(refusal(owner.execute(ask(81)).await), "InsufficientBudget");
    assert_eq!(refusal(owner.execute(take.clone()).await), "NothingToWithdraw");
    let receipt = owner.execute(ask(30)).await.unwrap();
    let found = budget(&world, pool).await;
    assert_eq!(found.withdrawing, Amount::tokens(30));
    let withdrawable_at = found.withdrawable_at.unwrap();
    let asked = ChainEvent::Rewards(RewardsEvent::WithdrawalRequested {
        pool,
        amount: Amount::tokens(30),
        withdrawable_at,
    });
    assert_eq!(events(&receipt), vec![asked]);
    assert_eq!(refusal(owner.execute(take.clone()).await), "TooEarly");
    let terms = world.chain.settlement_terms().await.unwrap();
    world.advance(Duration::from_secs(terms.withdrawal_seconds)).await;
    let nobody = Intent::Rewards(RewardsCall::WithdrawBudget { pool, to: Address::ZERO });
    assert_eq!(refusal(owner.execute(nobody).await), "ZeroAddress");
    let receipt = owner.execute(take).await.unwrap();
    let (amount, free) = (Amount::tokens(30), Amount::tokens(50));
    let withdrawn =
        ChainEvent::Rewards(RewardsEvent::BudgetWithdrawn { pool, to: owner.address(), amount, free });
    assert_eq!(events(&receipt), vec![withdrawn]);
    assert_eq!(world.tokens_of(owner.address()).await, Amount::tokens(1_030));
}

async fn a_posted_root_pays_each_payee_once_and_a_later_one_pays_the_rest(world: World) {
    let market = Market::new(&world).await;
    let (pool, anybody) = (market.pool, world.rich().await);
    let epoch = last_epoch(&world).await;
    let first = tree(&[10, 20, 0]);
    assert_eq!(world.chain.posted_root(pool, epoch).await.unwrap(), None);
    let receipt = market.orchestrator.execute(market.root(epoch, &first)).await.unwrap();
    let record = world.chain.posted_root(pool, epoch).await.unwrap().unwrap();
    assert_eq!((record.root, record.total, record.depth), (first.root(), Amount::tokens(30), 2));
    assert_eq!(record.state, RootState::Pending);
    let posted = ChainEvent::Rewards(RewardsEvent::RootPosted {
        pool,
        epoch,
        root: first.root(),
        total: Amount::tokens(30),
        increase: Amount::tokens(30),
        depth: 2,
        proven_epoch: market.proven,
        final_at: record.final_at,
    });
    assert_eq!(events(&receipt), vec![posted]);
    let found = budget(&world, pool).await;
    assert_eq!(
        (found.free, found.locked, found.posted),
        (Amount::tokens(70), Amount::tokens(30), first.total())
    );
    assert_eq!((found.final_epoch, found.pending_epoch), (None, Some(epoch)));

    let claim = market.claim(epoch, &first, 1);
    assert_eq!(
        refusal(anybody.execute(Intent::Rewards(RewardsCall::Claim(claim.clone()))).await),
        "RootNotFinal"
    );
    past_veto(&world).await;
    let found = budget(&world, pool).await;
    assert_eq!((found.final_epoch, found.pending_epoch), (Some(epoch), None));
    let more = ClaimItem { cumulative: Amount::tokens(21), ..claim.clone() };
    assert_eq!(
        refusal(anybody.execute(Intent::Rewards(RewardsCall::Claim(more.clone()))).await),
        "InvalidClaimProof"
    );
    let elsewhere = ClaimItem { index: 0, ..claim.clone() };
    assert_eq!(
        refusal(anybody.execute(Intent::Rewards(RewardsCall::Claim(elsewhere))).await),
        "InvalidClaimProof"
    );
    let never = ClaimItem { epoch: epoch.plus(1), ..claim.clone() };
    assert_eq!(refusal(anybody.execute(Intent::Rewards(RewardsCall::Claim(never))).await), "RootNotFinal");
    // Anybody claims; the payee is paid.
    let receipt = anybody.execute(Intent::Rewards(RewardsCall::Claim(claim.clone()))).await.unwrap();
    let twenty = Amount::tokens(20);
    let claimed = |epoch, payee, amount, cumulative| {
        ChainEvent::Rewards(RewardsEvent::Claimed {
            pool,
            epoch,
            payee,
            amount: Amount::tokens(amount),
            cumulative: Amount::tokens(cumulative),
        })
    };
    assert_eq!(events(&receipt), vec![claimed(epoch, PAYEES[1], 20, 20)]);
    assert_eq!(world.tokens_of(PAYEES[1]).await, twenty);
    let expected = EarningsRecord { paid: twenty, ahead: Amount::ZERO };
    assert_eq!(world.chain.earnings(pool, &[PAYEES[1], PAYEES[0]]).await.unwrap()[0], expected);
    assert_eq!(
        refusal(anybody.execute(Intent::Rewards(RewardsCall::Claim(claim.clone()))).await),
        "NothingToClaim"
    );

    // Everybody has earned more by the next root, and what was not claimed is in it.
    let next = Epoch(world.to_phase(EpochPhase::Commit, 1).await.0 - 1);
    let second = tree(&[15, 20, 7]);
    market.orchestrator.execute(market.root(next, &second)).await.unwrap();
    past_veto(&world).await;
    let batch = vec![market.claim(next, &second, 0), more, market.claim(next, &second, 2), claim.clone()];
    let receipt = anybody.execute(Intent::Rewards(RewardsCall::ClaimBatch(batch))).await.unwrap();
    let failed = |payee, name: &str| {
        ChainEvent::Rewards(RewardsEvent::ClaimFailed {
            pool,
            epoch,
            payee,
            reason: refusal_of_name(name).unwrap(),
        })
    };
    assert_eq!(
        events(&receipt),
        vec![
            claimed(next, PAYEES[0], 15, 15),
            failed(PAYEES[1], "InvalidClaimProof"),
            claimed(next, PAYEES[2], 7, 7),
            failed(PAYEES[1], "NothingToClaim"),
        ]
    );
    // A claim under the root before is superseded.
    let old = Intent::Rewards(RewardsCall::Claim(market.claim(epoch, &first, 0)));
    assert_eq!(refusal(anybody.execute(old).await), "NothingToClaim");
    let found = budget(&world, pool).await;
    assert_eq!(
        (found.free, found.locked, found.paid),
        (Amount::tokens(58), Amount::ZERO, Amount::tokens(42))
    );
    assert_eq!(world.tokens_of(world.chain.deployment().rewards).await, Amount::tokens(58));
}

async fn a_root_that_may_not_be_posted_is_refused_by_name(world: World) {
    let market = Market::new(&world).await;
    let epoch = last_epoch(&world).await;
    let orchestrator = &market.orchestrator;
    let good = market.root(epoch, &tree(&[10, 20, 0]));
    let changed = |change: &dyn Fn(&mut Digest, &mut Amount, &mut u8, &mut Epoch)| {
        let mut intent = good.clone();
        if let Intent::Rewards(RewardsCall::PostRoot { root, total, depth, proven_epoch, .. }) = &mut intent {
            change(root, total, depth, proven_epoch);
        }
        intent
    };
    assert_eq!(refusal(market.owner.execute(good.clone()).await), "NotOrchestrator");
    let zero = changed(&|root, _, _, _| *root = Digest::default());
    assert_eq!(refusal(orchestrator.execute(zero).await), "ZeroDigest");
    let high = changed(&|_, _, depth, _| *depth = 33);
    assert_eq!(refusal(orchestrator.execute(high).await), "InvalidDepth");
    let running = market.root(epoch.plus(1), &tree(&[1]));
    assert_eq!(refusal(orchestrator.execute(running).await), "EpochNotOver");
    let unproven = changed(&|_, _, _, proven| *proven = Epoch(proven.0 - 1));
    assert_eq!(refusal(orchestrator.execute(unproven).await), "NotProven");
    let future = changed(&|_, _, _, proven| *proven = epoch.plus(1));
    assert_eq!(refusal(orchestrator.execute(future).await), "NotProven");
    let rich = changed(&|_, total, _, _| *total = Amount::tokens(101));
    assert_eq!(refusal(orchestrator.execute(rich).await), "InsufficientBudget");
    let beyond = changed(&|_, total, _, _| *total = Amount::tokens(51));
    assert_eq!(refusal(orchestrator.execute(beyond).await), "SpendCapExceeded");
    let old = market.root(Epoch(epoch.0 - 4), &tree(&[1]));
    assert_eq!(refusal(orchestrator.execute(old).await), "PostingDeadlinePassed");
    orchestrator.execute(good.clone()).await.unwrap();
    assert_eq!(refusal(orchestrator.execute(good.clone()).await), "EpochAlreadyPosted");
    // Half an epoch on the next one is over, and the root before still in its veto window.
    let next = Epoch(world.to_phase(EpochPhase::Commit, 1).await.0 - 1);
    let less = market.root(next, &tree(&[10, 19, 0]));
    let pending = refusal(orchestrator.execute(less.clone()).await);
    assert!(matches!(pending.as_str(), "RootIsPending" | "TotalDecreased"), "{pending}");
    past_veto(&world).await;
    assert_eq!(refusal(orchestrator.execute(less).await), "TotalDecreased");
}

async fn a_quorum_of_validators_drops_a_root_and_its_money_is_free_again(world: World) {
    let market = Market::new(&world).await;
    let (pool, epoch) = (market.pool, last_epoch(&world).await);
    let veto = Intent::Rewards(RewardsCall::VetoRoot { pool, epoch, evidence: Digest([6; 32]) });
    assert_eq!(refusal(market.validators[0].execute(veto.clone()).await), "RootNotPending");
    let posted = tree(&[10, 20, 0]);
    market.orchestrator.execute(market.root(epoch, &posted)).await.unwrap();
    assert_eq!(refusal(market.owner.execute(veto.clone()).await), "NoVotingWeight");
    for (number, validator) in market.validators.iter().enumerate() {
        let receipt = validator.execute(veto.clone()).await.unwrap();
        let votes = Amount::tokens(100 * (number as u64 + 1));
        let cast = ChainEvent::Rewards(RewardsEvent::VetoCast {
            pool,
            epoch,
            validator: ValidatorId(validator.address()),
            evidence: Digest([6; 32]),
            votes,
            total_weight: Amount::tokens(300),
        });
        let mut expected = vec![cast];
        if number == 2 {
            let released = Amount::tokens(30);
            expected.push(ChainEvent::Rewards(RewardsEvent::RootVetoed {
                pool,
                epoch,
                root: posted.root(),
                released,
            }));
        }
        assert_eq!(events(&receipt), expected);
        if number == 0 {
            assert_eq!(refusal(validator.execute(veto.clone()).await), "AlreadyVoted");
        }
    }
    let record = world.chain.posted_root(pool, epoch).await.unwrap().unwrap();
    assert_eq!(record.state, RootState::Vetoed);
    let found = budget(&world, pool).await;
    assert_eq!((found.free, found.locked, found.posted), (Amount::tokens(100), Amount::ZERO, Amount::ZERO));
    assert_eq!((found.final_epoch, found.pending_epoch), (None, None));
    let claim = Intent::Rewards(RewardsCall::Claim(market.claim(epoch, &posted, 1)));
    assert_eq!(refusal(market.owner.execute(claim).await), "RootNotFinal");
    // A better root of the same epoch may follow, with votes of its own.
    market.orchestrator.execute(market.root(epoch, &tree(&[10, 19, 0]))).await.unwrap();
    let receipt = market.validators[0].execute(veto).await.unwrap();
    assert!(
        matches!(events(&receipt)[..], [ChainEvent::Rewards(RewardsEvent::VetoCast { votes, .. })] if votes == Amount::tokens(100))
    );
}

async fn a_root_that_takes_something_away_is_refuted_by_two_paths(world: World) {
    let market = Market::new(&world).await;
    let (pool, epoch) = (market.pool, last_epoch(&world).await);
    let first = tree(&[10, 20, 5]);
    market.orchestrator.execute(market.root(epoch, &first)).await.unwrap();
    past_veto(&world).await;
    let next = Epoch(world.to_phase(EpochPhase::Commit, 1).await.0 - 1);
    // The sum grows, and the second payee is robbed.
    let second = tree(&[30, 19, 5]);
    market.orchestrator.execute(market.root(next, &second)).await.unwrap();
    let proven = |tree: &EarningsTree, index| {
        let (leaf, path) = tree.place(index).unwrap();
        ProvenEarnings { leaf, path }
    };
    let refute = |index| {
        Intent::Rewards(RewardsCall::RefuteRoot {
            pool,
            index,
            proven: proven(&first, index),
            other: proven(&second, index),
        })
    };
    let anybody = world.rich().await;
    assert_eq!(refusal(anybody.execute(refute(0)).await), "NothingTaken");
    assert_eq!(refusal(anybody.execute(refute(2)).await), "NothingTaken");
    let crossed = Intent::Rewards(RewardsCall::RefuteRoot {
        pool,
        index: 1,
        proven: proven(&first, 1),
        other: proven(&second, 0),
    });
    assert_eq!(refusal(anybody.execute(crossed).await), "InvalidClaimProof");
    let receipt = anybody.execute(refute(1)).await.unwrap();
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Rewards(RewardsEvent::RootRefuted { pool, epoch: next, index: 1, payee: PAYEES[1] }),
            ChainEvent::Rewards(RewardsEvent::RootVetoed {
                pool,
                epoch: next,
                root: second.root(),
                released: Amount::tokens(19)
            }),
        ]
    );
    assert_eq!(refusal(anybody.execute(refute(1)).await), "RootNotPending");
    assert_eq!(budget(&world, pool).await.final_epoch, Some(epoch));
    // A tree in which a payee's place is empty or gone takes everything away.
    let vanished = tree(&[40]);
    market.orchestrator.execute(market.root(next, &vanished)).await.unwrap();
    let gone = Intent::Rewards(RewardsCall::RefuteRoot {
        pool,
        index: 2,
        proven: proven(&first, 2),
        other: ProvenEarnings { leaf: EarningsLeaf::NOBODY, path: vec![] },
    });
    let receipt = anybody.execute(gone).await.unwrap();
    assert!(matches!(events(&receipt)[0], ChainEvent::Rewards(RewardsEvent::RootRefuted { index: 2, .. })));
}

/// A receipt of the first payee for work of a node, signed by the orchestrator and the node.
fn redemption(world: &World, receipt: Receipt, orchestrator: &SigningKey, node: &SigningKey) -> Intent {
    let digest = receipt.digest(&world.chain.deployment().rewards_domain());
    Intent::Rewards(RewardsCall::Redeem {
        receipt,
        orchestrator_signature: orchestrator.sign_recoverable(&digest),
        node_signature: node.sign_recoverable(&digest),
    })
}

struct LeftOut {
    market: Market,
    orchestrator: SigningKey,
    node: SigningKey,
    receipt: Receipt,
}

impl LeftOut {
    /// A receipt of 12 tokens whose epoch can still be posted.
    async fn new(world: &World) -> LeftOut {
        let market = Market::new(world).await;
        let (orchestrator, node) = (world.key(), world.key());
        let change = Intent::Pools(PoolsCall::SetOrchestrator {
            pool: market.pool,
            orchestrator: orchestrator.address(),
        });
        market.owner.execute(change).await.unwrap();
        let receipt = Receipt {
            pool: market.pool,
            epoch: last_epoch(world).await,
            node: NodeId(node.address()),
            payee: PAYEES[0],
            usage: Digest([5; 32]),
            amount: Amount::tokens(12),
            cumulative: Amount::tokens(12),
        };
        LeftOut { market, orchestrator, node, receipt }
    }

    fn intent(&self, world: &World) -> Intent {
        redemption(world, self.receipt, &self.orchestrator, &self.node)
    }

    async fn past_posting(&self, world: &World) {
        let timing = world.chain.epoch_timing().await.unwrap();
        let posting = world.chain.settlement_terms().await.unwrap().posting_seconds;
        let deadline = seconds_of_timestamp(timing.ends(self.receipt.epoch)) + posting;
        let now = seconds_of_timestamp(world.head().await.timestamp);
        world.advance(Duration::from_secs(deadline + 1 - now)).await;
    }
}

async fn a_receipt_that_was_left_out_is_redeemed_and_no_later_claim_pays_it_twice(world: World) {
    let left_out = LeftOut::new(&world).await;
    let (pool, payee, anybody) = (left_out.market.pool, PAYEES[0], world.rich().await);
    let redeem = left_out.intent(&world);
    assert_eq!(refusal(anybody.execute(redeem.clone()).await), "PostingStillOpen");
    left_out.past_posting(&world).await;
    let LeftOut { market, orchestrator, node, receipt } = left_out;
    let forged = redemption(&world, receipt, &node, &node);
    assert_eq!(refusal(anybody.execute(forged).await), "InvalidOrchestratorSignature");
    let forged = redemption(&world, receipt, &orchestrator, &orchestrator);
    assert_eq!(refusal(anybody.execute(forged).await), "InvalidNodeSignature");
    let settle = Intent::Rewards(RewardsCall::SettleRedemption { pool, payee });
    assert_eq!(refusal(anybody.execute(settle.clone()).await), "NoRedemption");
    let mined = anybody.execute(redeem.clone()).await.unwrap();
    let record = world.chain.redemption(pool, payee).await.unwrap().unwrap();
    let amount = Amount::tokens(12);
    let expected = RedemptionRecord { cumulative: amount, amount, payable_at: record.payable_at };
    assert_eq!(record, expected);
    let requested = ChainEvent::Rewards(RewardsEvent::RedemptionRequested {
        pool,
        payee,
        node: receipt.node,
        epoch: receipt.epoch,
        cumulative: amount,
        amount,
        payable_at: record.payable_at,
    });
    assert_eq!(events(&mined), vec![requested]);
    assert_eq!(budget(&world, pool).await.locked, amount);
    assert_eq!(refusal(anybody.execute(redeem.clone()).await), "RedemptionIsPending");
    assert_eq!(refusal(anybody.execute(settle.clone()).await), "TooEarly");
    past_veto(&world).await;
    let mined = anybody.execute(settle.clone()).await.unwrap();
    assert_eq!(
        events(&mined),
        vec![ChainEvent::Rewards(RewardsEvent::Redeemed { pool, payee, amount, cumulative: amount })]
    );
    assert_eq!(world.tokens_of(payee).await, amount);
    let paid = world.chain.earnings(pool, &[payee]).await.unwrap();
    assert_eq!(paid, vec![EarningsRecord { paid: amount, ahead: amount }]);
    assert_eq!(world.chain.redemption(pool, payee).await.unwrap(), None);
    assert_eq!(refusal(anybody.execute(settle).await), "NoRedemption");
    assert_eq!(refusal(anybody.execute(redeem).await), "NothingToClaim");

    // The next root has the work in it; the claim pays only what is new.
    let poster = world.rich().await;
    let change = Intent::Pools(PoolsCall::SetOrchestrator { pool, orchestrator: poster.address() });
    market.owner.execute(change).await.unwrap();
    let next = Epoch(world.to_phase(EpochPhase::Commit, 1).await.0 - 1);
    let late = tree(&[15]);
    poster.execute(market.root(next, &late)).await.unwrap();
    past_veto(&world).await;
    let mined =
        anybody.execute(Intent::Rewards(RewardsCall::Claim(market.claim(next, &late, 0)))).await.unwrap();
    let (amount, cumulative) = (Amount::tokens(3), Amount::tokens(15));
    assert_eq!(
        events(&mined),
        vec![ChainEvent::Rewards(RewardsEvent::Claimed { pool, epoch: next, payee, amount, cumulative })]
    );
    let found = budget(&world, pool).await;
    assert_eq!(
        (found.free, found.locked, found.paid),
        (Amount::tokens(85), Amount::ZERO, Amount::tokens(15))
    );
}

async fn a_vetoed_redemption_is_void_for_good(world: World) {
    let left_out = LeftOut::new(&world).await;
    let (pool, payee, anybody) = (left_out.market.pool, PAYEES[0], world.rich().await);
    left_out.past_posting(&world).await;
    let redeem = left_out.intent(&world);
    let veto = Intent::Rewards(RewardsCall::VetoRedemption { pool, payee, evidence: Digest([4; 32]) });
    assert_eq!(refusal(left_out.market.validators[0].execute(veto.clone()).await), "NoRedemption");
    anybody.execute(redeem.clone()).await.unwrap();
    assert_eq!(refusal(anybody.execute(veto.clone()).await), "NoVotingWeight");
    let mut last = Vec::new();
    for validator in &left_out.market.validators {
        last = events(&validator.execute(veto.clone()).await.unwrap());
    }
    let validator = ValidatorId(left_out.market.validators[2].address());
    let (votes, evidence) = (Amount::tokens(300), Digest([4; 32]));
    assert_eq!(
        last,
        vec![
            ChainEvent::Rewards(RewardsEvent::RedemptionVetoCast {
                pool,
                payee,
                validator,
                evidence,
                votes,
                total_weight: votes
            }),
            ChainEvent::Rewards(RewardsEvent::RedemptionVetoed { pool, payee, released: Amount::tokens(12) }),
        ]
    );
    assert_eq!(budget(&world, pool).await.free, Amount::tokens(100));
    assert_eq!(refusal(anybody.execute(redeem).await), "ReceiptIsVoid");
    let settle = Intent::Rewards(RewardsCall::SettleRedemption { pool, payee });
    assert_eq!(refusal(anybody.execute(settle).await), "NoRedemption");
}

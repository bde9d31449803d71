//! Outboxes while the RPC comes and goes: what is queued completes, exactly once.
//!
//! How long the RPC is away at a stretch is `LODE_OUTAGE_SECONDS`; `scripts/soak chain` takes two minutes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{
    AccusationPhase, Amount, Chain, ChainEvent, ClaimItem, EarningsLeaf, EarningsTree, Epoch, Intent,
    IntentId, MemoryOutboxStore, Offence, Operator, Outbox, OutboxConfig, OutboxEvent, Outcome, PoolsCall,
    PoolsEvent, RewardsCall, RewardsEvent, RootState, RpcChain, RpcConfig, SlashingCall, SlashingEvent,
    TokenCall,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;
use lode_testkit::proxy::{Fault, FaultProxy};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::world::World;

const USUAL_OUTAGE_SECONDS: u64 = 10;
const PAYEE: Address = Address([0xa1; 20]);

/// An outbox behind the proxy, and what became of its intents.
struct Queue {
    key: SigningKey,
    outbox: Outbox,
    outcomes: mpsc::UnboundedReceiver<OutboxEvent>,
    submitted: Vec<(IntentId, &'static str)>,
    task: JoinHandle<()>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Queue {
    async fn open(chain: Arc<dyn Chain>, key: SigningKey) -> Queue {
        let config = OutboxConfig {
            poll_interval_ms: 20,
            resend_after_ms: 300,
            raise_after_ms: 2_000,
            min_backoff_ms: 20,
            max_backoff_ms: 500,
            ..OutboxConfig::development()
        };
        let store = Arc::new(MemoryOutboxStore::default());
        let (outbox, runner, outcomes) = Outbox::open(chain, store, key.clone(), config).await.unwrap();
        Queue { key, outbox, outcomes, submitted: vec![], task: tokio::spawn(runner.run()) }
    }

    async fn submit(&mut self, intent: Intent) {
        let name = intent.name();
        self.submitted.push((self.outbox.submit(intent).await.unwrap(), name));
    }

    /// Every intent has one outcome: mined, and successful.
    async fn confirmed(&mut self, patience: Duration) -> Vec<ChainEvent> {
        let mut events = Vec::new();
        let mut seen: BTreeMap<IntentId, u32> = BTreeMap::new();
        for (id, name) in std::mem::take(&mut self.submitted) {
            let event = timeout(patience, self.outcomes.recv()).await.expect("an outcome in time").unwrap();
            *seen.entry(event.id).or_default() += 1;
            assert_eq!(event.id, id, "the order of intents is the order of outcomes");
            match event.outcome {
                Outcome::Confirmed(receipt) => {
                    assert!(receipt.succeeded);
                    events.extend(receipt.events.into_iter().map(|logged| logged.event));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(seen.values().all(|count| *count == 1));
        assert!(self.outcomes.try_recv().is_err());
        events
    }
}

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The RPC answers for moments, breaks off, hangs, is slow: until what was waited for is done.
async fn while_it_misbehaves<T>(proxy: &FaultProxy, seed: u64, work: impl Future<Output = T>) -> T {
    let misbehaving = async {
        let mut dice = Dice(seed);
        loop {
            proxy.set(Fault::Pass);
            sleep(Duration::from_millis(20 + dice.roll(150))).await;
            let fault = match dice.roll(4) {
                0 | 1 => Fault::Drop,
                2 => Fault::BlackHole,
                _ => Fault::Delay(Duration::from_millis(dice.roll(120))),
            };
            proxy.set(fault);
            sleep(Duration::from_millis(dice.roll(300))).await;
        }
    };
    tokio::select! {
        () = misbehaving => unreachable!("it misbehaves for ever"),
        done = work => done,
    }
}

/// A pool with a proven epoch to post, whose parts submit joins, money, roots, claims and accusations.
struct Stage {
    pool: PoolId,
    provider: Operator,
    nodes: Vec<SigningKey>,
    epoch: Epoch,
    proven: Epoch,
    tree: EarningsTree,
}

async fn funded(world: &World, spender: Address) -> SigningKey {
    let (key, rich) = (world.key(), world.rich().await);
    let give = Intent::Token(TokenCall::TransferToken { to: key.address(), amount: Amount::tokens(200) });
    rich.execute(give).await.unwrap();
    rich.execute(Intent::Token(TokenCall::TransferNative { to: key.address(), amount: Amount::tokens(1) }))
        .await
        .unwrap();
    let operator = Operator::new(world.chain.clone(), key.clone());
    operator
        .execute(Intent::Token(TokenCall::Approve { spender, amount: Amount::tokens(200) }))
        .await
        .unwrap();
    key
}

impl Stage {
    async fn new(world: &World, orchestrator: &SigningKey) -> Stage {
        let validators = world.validators(1).await;
        let proven = world.proven_epoch(&validators).await;
        let token = world.chain.deployment().token;
        let (pool, owner) = world.pool_of(orchestrator.address(), Some(token), None).await;
        owner
            .execute(Intent::Rewards(RewardsCall::SetSpendCap { pool, cap: Amount::tokens(50) }))
            .await
            .unwrap();
        let provider = world.provider().await;
        provider.execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: true })).await.unwrap();
        let nodes: Vec<SigningKey> = (0..6).map(|_| world.key()).collect();
        for node in &nodes {
            provider.add_node(node, 1).await.unwrap();
        }
        let epoch = Epoch(world.to_phase(lode_contracts::EpochPhase::Commit, 1).await.0 - 1);
        let leaf = EarningsLeaf { payee: PAYEE, cumulative: Amount::tokens(7) };
        let tree = EarningsTree::new(vec![leaf]).unwrap();
        Stage { pool, provider, nodes, epoch, proven, tree }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_completes_exactly_once_while_the_rpc_comes_and_goes() {
    let outage = match std::env::var("LODE_OUTAGE_SECONDS") {
        Ok(text) => Duration::from_secs(text.parse().expect("LODE_OUTAGE_SECONDS is a number of seconds")),
        Err(_) => Duration::from_secs(USUAL_OUTAGE_SECONDS),
    };
    let patience = outage + Duration::from_secs(60);
    let world = World::anvil().await;
    let deployment = world.chain.deployment().clone();
    let orchestrator = funded(&world, deployment.rewards).await;
    let accuser = funded(&world, deployment.slashing).await;
    let claimant = funded(&world, deployment.rewards).await;
    let stage = Stage::new(&world, &orchestrator).await;
    let (pool, provider) = (stage.pool, ProviderId(stage.provider.address()));
    let port = world.anvil_port();
    let proxy = FaultProxy::start((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
    let config = RpcConfig {
        timeout: Duration::from_millis(400),
        ..RpcConfig::new(format!("http://{}", proxy.address()))
    };
    let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(config, deployment.clone()).unwrap());
    let before = [&orchestrator, &accuser, &claimant].map(|key| key.address());
    let mut nonces = Vec::new();
    for account in before {
        nonces.push(world.chain.mined_nonce(account).await.unwrap());
    }

    let mut orders = Queue::open(chain.clone(), orchestrator.clone()).await;
    let mut money = Queue::open(chain.clone(), claimant).await;
    let mut justice = Queue::open(chain.clone(), accuser).await;
    // Money that is paid twice if an intent is sent twice.
    let fund = |tokens| {
        Intent::Rewards(RewardsCall::FundPool { pool, amount: Amount::tokens(tokens), permit: None })
    };
    let mut work = Vec::new();
    for (number, pair) in stage.nodes.chunks(2).enumerate() {
        let mut joins = Vec::new();
        for node in pair {
            joins.push(world.unapproved_join(pool, &orchestrator, node, &stage.provider).await);
        }
        let accusation = Intent::Slashing(SlashingCall::Accuse {
            provider,
            node: NodeId(pair[0].address()),
            offence: Offence::ForgedProof,
            amount: Amount::tokens(5 + number as u64),
            evidence: Digest([7; 32]),
            uri: String::new(),
        });
        work.push((Intent::Pools(PoolsCall::JoinBatch(joins)), accusation));
    }
    let mut work = work.into_iter();

    // A part of everything gets through between two breaks.
    let (joins, accusation) = work.next().unwrap();
    orders.submit(joins).await;
    justice.submit(accusation).await;
    money.submit(fund(10)).await;
    let (joined, accused) = while_it_misbehaves(&proxy, 1, async {
        assert_eq!(money.confirmed(patience).await.len(), 1);
        (orders.confirmed(patience).await, justice.confirmed(patience).await)
    })
    .await;

    // The next part may have been sent when the RPC goes away; the rest is queued while it is away.
    let (joins, accusation) = work.next().unwrap();
    orders.submit(joins).await;
    justice.submit(accusation).await;
    money.submit(fund(10)).await;
    proxy.set(Fault::Drop);
    let (joins, accusation) = work.next().unwrap();
    orders.submit(joins).await;
    justice.submit(accusation).await;
    for _ in 0..3 {
        money.submit(fund(10)).await;
    }
    // Against the money that arrived before.
    orders
        .submit(Intent::Rewards(RewardsCall::PostRoot {
            pool,
            epoch: stage.epoch,
            root: stage.tree.root(),
            total: stage.tree.total(),
            depth: stage.tree.depth(),
            proven_epoch: stage.proven,
        }))
        .await;
    sleep(outage / 2).await;
    proxy.set(Fault::BlackHole);
    sleep(outage / 2).await;
    for queue in [&orders, &money, &justice] {
        assert!(
            queue.outbox.status().borrow().pending > 0,
            "what was queued while it was away cannot be done"
        );
    }

    let (joined, accused) = while_it_misbehaves(&proxy, 2, async {
        assert_eq!(money.confirmed(patience).await.len(), 4);
        let joined = [joined, orders.confirmed(patience).await].concat();
        (joined, [accused, justice.confirmed(patience).await].concat())
    })
    .await;
    assert!(
        matches!(joined.last(), Some(ChainEvent::Rewards(RewardsEvent::RootPosted { .. }))),
        "{joined:?}"
    );
    let is_join =
        |event: &&ChainEvent| matches!(event, ChainEvent::Pools(PoolsEvent::NodeJoined { counter: 1, .. }));
    assert_eq!(joined.iter().filter(is_join).count(), stage.nodes.len());
    assert_eq!(
        accused
            .iter()
            .filter(|event| matches!(event, ChainEvent::Slashing(SlashingEvent::Accused { .. })))
            .count(),
        3
    );

    let veto = world.chain.settlement_terms().await.unwrap().veto_seconds;
    world.advance(Duration::from_secs(veto)).await;
    let item = ClaimItem::from_tree(pool, stage.epoch, &stage.tree, 0).unwrap();
    money.submit(Intent::Rewards(RewardsCall::ClaimBatch(vec![item.clone(), item]))).await;
    money.submit(fund(1)).await;
    let claimed = while_it_misbehaves(&proxy, 3, money.confirmed(patience)).await;
    assert!(
        matches!(
            claimed[..],
            [
                ChainEvent::Rewards(RewardsEvent::Claimed { .. }),
                ChainEvent::Rewards(RewardsEvent::ClaimFailed { .. }),
                ChainEvent::Rewards(RewardsEvent::Funded { .. })
            ]
        ),
        "{claimed:?}"
    );
    proxy.set(Fault::Pass);

    // Exactly once: no nonce more than intents, and the state that one of each makes.
    for ((queue, account), (nonce, intents)) in
        [&orders, &justice, &money].iter().zip(before).zip(nonces.iter().zip([4, 3, 7]))
    {
        assert_eq!(queue.key.address(), account);
        assert_eq!(world.chain.mined_nonce(account).await.unwrap(), nonce + intents);
        assert_eq!(queue.outbox.status().borrow().pending, 0);
    }
    let ids: Vec<NodeId> = stage.nodes.iter().map(|node| NodeId(node.address())).collect();
    let memberships = world.chain.memberships(pool, &ids).await.unwrap();
    assert!(memberships.iter().all(|record| record.active && record.join_counter == 1));
    assert_eq!(world.chain.accusation_count().await.unwrap(), 3);
    let last = world.chain.accusation(AccusationId(3)).await.unwrap().unwrap();
    assert_eq!((last.amount, last.phase.is_over()), (Amount::tokens(7), false));
    assert_ne!(last.phase, AccusationPhase::Guilty);
    let budget = world.chain.budget(pool).await.unwrap();
    assert_eq!((budget.paid, budget.locked), (Amount::tokens(7), Amount::ZERO));
    assert_eq!(budget.free, Amount::tokens(5 * 10 + 1 - 7));
    let root = world.chain.posted_root(pool, stage.epoch).await.unwrap().unwrap();
    assert_eq!((root.root, root.state), (stage.tree.root(), RootState::Final));
    assert_eq!(world.tokens_of(PAYEE).await, Amount::tokens(7));
}

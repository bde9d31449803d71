//! The outbox: what happens to intents when chain, RPC and process misbehave.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{
    Amount, Chain, ChainEvent, FileOutboxStore, Intent, MemoryOutboxStore, Operator, Outbox, OutboxConfig,
    OutboxError, OutboxEvent, OutboxStore, Outcome, PoolParameters, PoolState, PoolsCall, PoolsEvent,
    TokenCall, TransactionPort, ValidatorsCall,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId};
use lode_protocol::keys::SigningKey;
use lode_testkit::chain::FakeChain;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::world::World;

crate::on_every_chain!(
    intents_reach_the_chain_in_their_order,
    a_refusal_comes_by_name_and_holds_nobody_up,
    joining_twice_is_a_success,
    a_restart_between_sending_and_mining_sends_nothing_twice,
    an_outcome_is_delivered_until_it_is_acknowledged,
    a_transaction_that_the_chain_lost_is_sent_again,
    a_transaction_that_is_stuck_is_replaced_by_one_that_pays_more,
    a_chain_that_was_set_back_gets_the_intent_anew,
    an_account_without_coins_blocks_until_it_is_funded,
    a_call_that_fails_when_it_is_mined_is_told_by_name_with_its_transaction,
);

const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    outbox: Outbox,
    events: mpsc::UnboundedReceiver<OutboxEvent>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    /// As a crash would.
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config() -> OutboxConfig {
    OutboxConfig {
        poll_interval_ms: 20,
        resend_after_ms: 200,
        min_backoff_ms: 20,
        ..OutboxConfig::development()
    }
}

async fn open(chain: Arc<dyn Chain>, store: Arc<dyn OutboxStore>, key: &SigningKey) -> Running {
    open_with(chain, store, key, config()).await
}

async fn open_with(
    chain: Arc<dyn Chain>,
    store: Arc<dyn OutboxStore>,
    key: &SigningKey,
    config: OutboxConfig,
) -> Running {
    let (outbox, runner, events) = Outbox::open(chain, store, key.clone(), config).await.unwrap();
    Running { outbox, events, task: tokio::spawn(runner.run()) }
}

impl Running {
    async fn outcome(&mut self) -> OutboxEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an outcome comes in time").unwrap()
    }

    async fn confirmed(&mut self) -> Vec<ChainEvent> {
        match self.outcome().await.outcome {
            Outcome::Confirmed(receipt) => receipt.events.into_iter().map(|logged| logged.event).collect(),
            other => panic!("expected a confirmation, got {other:?}"),
        }
    }

    async fn blocked_by(&self, code: &str) {
        let mut status = self.outbox.status();
        let blocked =
            status.wait_for(|status| status.blocked.as_ref().is_some_and(|blocked| blocked.code == code));
        timeout(PATIENCE, blocked).await.expect("the outbox says what holds it up").unwrap();
    }
}

fn create_pool() -> Intent {
    Intent::Pools(PoolsCall::CreatePool(PoolParameters {
        orchestrator: Address([5; 20]),
        reward_token: None,
        requirements: Digest([7; 32]),
        max_nodes: None,
        uri: String::new(),
        endpoints: String::new(),
    }))
}

fn leave(byte: u8) -> Intent {
    Intent::Pools(PoolsCall::Leave { pool: PoolId(1), node: NodeId(Address([byte; 20])) })
}

fn memory() -> Arc<dyn OutboxStore> {
    Arc::new(MemoryOutboxStore::default())
}

/// A key with coins that nobody else sends with.
async fn funded(world: &World) -> SigningKey {
    let key = world.key();
    let coins = Intent::Token(TokenCall::TransferNative { to: key.address(), amount: Amount::tokens(1) });
    world.rich().await.execute(coins).await.unwrap();
    key
}

/// Looks again and again, with a deadline.
async fn eventually<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("the condition holds in time");
}

async fn waits_to_be_mined(world: &World, key: &SigningKey) {
    eventually(async || {
        let mined = world.chain.mined_nonce(key.address()).await.unwrap();
        world.chain.pending_nonce(key.address()).await.unwrap() == mined + 1
    })
    .await;
}

async fn intents_reach_the_chain_in_their_order(world: World) {
    let key = funded(&world).await;
    let mut running = open(world.chain.clone(), memory(), &key).await;
    for intent in [
        create_pool(),
        create_pool(),
        Intent::Pools(PoolsCall::StartPool(PoolId(1))),
        Intent::Pools(PoolsCall::EndPool(PoolId(1))),
    ] {
        running.outbox.submit(intent).await.unwrap();
    }
    for pool in [PoolId(1), PoolId(2)] {
        let created = running.confirmed().await;
        assert!(
            matches!(&created[..], [ChainEvent::Pools(PoolsEvent::PoolCreated { pool: got, .. })] if *got == pool)
        );
    }
    assert_eq!(
        running.confirmed().await,
        vec![ChainEvent::Pools(PoolsEvent::PoolStarted { pool: PoolId(1) })]
    );
    assert_eq!(running.confirmed().await, vec![ChainEvent::Pools(PoolsEvent::PoolEnded { pool: PoolId(1) })]);
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 4);
}

async fn a_refusal_comes_by_name_and_holds_nobody_up(world: World) {
    let key = funded(&world).await;
    let mut running = open(world.chain.clone(), memory(), &key).await;
    running.outbox.submit(create_pool()).await.unwrap();
    running.confirmed().await;
    let id = running.outbox.submit(Intent::Pools(PoolsCall::StartPool(PoolId(9)))).await.unwrap();
    running.outbox.submit(leave(1)).await.unwrap();
    let event = running.outcome().await;
    assert_eq!(event.id, id);
    let Outcome::Reverted { error, transaction: None } = event.outcome else {
        panic!("expected a refusal before anything is sent, got {:?}", event.outcome)
    };
    assert_eq!(error.name, "PoolNotFound");
    let Outcome::AlreadyDone(reason) = running.outcome().await.outcome else {
        panic!("nobody left to leave")
    };
    assert_eq!(reason.name, "NotMember");
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 1);
}

async fn joining_twice_is_a_success(world: World) {
    let (pool, _, orchestrator) = world.pool(None).await;
    let provider = world.provider().await;
    let node = world.key();
    provider.add_node(&node, 1).await.unwrap();
    let join = world.join(pool, &orchestrator, &node, &provider).await;
    let node = NodeId(node.address());
    let key = funded(&world).await;
    let mut running = open(world.chain.clone(), memory(), &key).await;
    world.set_automine(false).await;
    let first = running.outbox.submit(Intent::Pools(PoolsCall::JoinBatch(vec![join.clone()]))).await.unwrap();
    // While it waits, the same intent is the same.
    assert_eq!(
        running.outbox.submit(Intent::Pools(PoolsCall::JoinBatch(vec![join.clone()]))).await.unwrap(),
        first
    );
    world.set_automine(true).await;
    world.mine().await;
    assert!(matches!(
        running.confirmed().await[..],
        [ChainEvent::Pools(PoolsEvent::NodeJoined { counter: 1, .. })]
    ));
    let second = running.outbox.submit(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(
        running.confirmed().await,
        vec![ChainEvent::Pools(PoolsEvent::NodeAlreadyMember { pool, node })]
    );
}

async fn a_restart_between_sending_and_mining_sends_nothing_twice(world: World) {
    let key = funded(&world).await;
    let directory = tempfile::tempdir().unwrap();
    let store = || -> Arc<dyn OutboxStore> { Arc::new(FileOutboxStore::open(directory.path()).unwrap()) };
    let running = open(world.chain.clone(), store(), &key).await;
    world.set_automine(false).await;
    running.outbox.submit(create_pool()).await.unwrap();
    waits_to_be_mined(&world, &key).await;
    drop(running);
    world.set_automine(true).await;
    world.mine().await;
    let mut running = open(world.chain.clone(), store(), &key).await;
    assert!(matches!(
        running.confirmed().await[..],
        [ChainEvent::Pools(PoolsEvent::PoolCreated { pool: PoolId(1), .. })]
    ));
    assert_eq!(world.chain.pool_count().await.unwrap(), 1);
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 1);
}

async fn an_outcome_is_delivered_until_it_is_acknowledged(world: World) {
    let key = funded(&world).await;
    let store = memory();
    let mut running = open(world.chain.clone(), store.clone(), &key).await;
    let id = running.outbox.submit(create_pool()).await.unwrap();
    running.confirmed().await;
    drop(running);
    let mut running = open(world.chain.clone(), store.clone(), &key).await;
    let again = running.outcome().await;
    assert_eq!((again.id, again.intent), (id, create_pool()));
    running.outbox.acknowledge(id).await.unwrap();
    assert_eq!(store.load().await.unwrap(), vec![]);
    assert_eq!(world.chain.pool_count().await.unwrap(), 1);
}

async fn a_transaction_that_the_chain_lost_is_sent_again(world: World) {
    let key = funded(&world).await;
    let mut running = open(world.chain.clone(), memory(), &key).await;
    world.set_automine(false).await;
    running.outbox.submit(create_pool()).await.unwrap();
    waits_to_be_mined(&world, &key).await;
    world.lose_pending().await;
    world.set_automine(true).await;
    assert_eq!(running.confirmed().await.len(), 1);
}

async fn a_transaction_that_is_stuck_is_replaced_by_one_that_pays_more(world: World) {
    let key = funded(&world).await;
    let store = memory();
    let config = OutboxConfig { raise_after_ms: 100, ..config() };
    let mut running = open_with(world.chain.clone(), store.clone(), &key, config).await;
    world.set_automine(false).await;
    running.outbox.submit(create_pool()).await.unwrap();
    waits_to_be_mined(&world, &key).await;
    let before = store.load().await.unwrap();
    eventually(async || store.load().await.unwrap()[0].1.len() > before[0].1.len() + 33).await;
    world.set_automine(true).await;
    world.mine().await;
    assert_eq!(running.confirmed().await.len(), 1);
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 1);
    assert_eq!(world.chain.pool_count().await.unwrap(), 1);
}

async fn a_chain_that_was_set_back_gets_the_intent_anew(world: World) {
    let key = funded(&world).await;
    let mut running = open(world.chain.clone(), memory(), &key).await;
    running.outbox.submit(create_pool()).await.unwrap();
    running.confirmed().await;
    let mark = world.mark().await;
    running.outbox.submit(create_pool()).await.unwrap();
    running.confirmed().await;
    world.set_automine(false).await;
    running.outbox.submit(Intent::Pools(PoolsCall::StartPool(PoolId(1)))).await.unwrap();
    waits_to_be_mined(&world, &key).await;
    // Now the transaction's nonce is one too high, for good.
    world.set_back(mark).await;
    world.lose_pending().await;
    world.set_automine(true).await;
    assert_eq!(
        running.confirmed().await,
        vec![ChainEvent::Pools(PoolsEvent::PoolStarted { pool: PoolId(1) })]
    );
    assert_eq!(world.chain.pool(PoolId(1)).await.unwrap().unwrap().state, PoolState::Running);
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 2);
}

async fn an_account_without_coins_blocks_until_it_is_funded(world: World) {
    let key = world.key();
    let rich = world.rich().await;
    let mut running = open(world.chain.clone(), memory(), &key).await;
    running.outbox.submit(create_pool()).await.unwrap();
    running.blocked_by("chain/insufficient-funds").await;
    let coins = Intent::Token(TokenCall::TransferNative { to: key.address(), amount: Amount::tokens(1) });
    rich.execute(coins).await.unwrap();
    assert_eq!(running.confirmed().await.len(), 1);
    assert_eq!(running.outbox.status().borrow().blocked, None);
}

fn faulty() -> (Arc<FakeChain>, SigningKey) {
    let fake = FakeChain::new();
    let key = SigningKey::from_bytes(&[0x77; 32]).unwrap();
    fake.fund(key.address(), Amount::tokens(1), Amount::ZERO);
    (fake, key)
}

#[tokio::test]
async fn an_rpc_that_is_down_is_waited_for() {
    let (fake, key) = faulty();
    fake.set_reachable(false);
    let mut running = open(fake.clone(), memory(), &key).await;
    running.outbox.submit(create_pool()).await.unwrap();
    running.blocked_by("chain/unreachable").await;
    fake.set_reachable(true);
    assert_eq!(running.confirmed().await.len(), 1);
}

#[tokio::test]
async fn a_transaction_that_was_taken_and_forgotten_is_sent_until_it_is_mined() {
    let (fake, key) = faulty();
    fake.lose_next_sends(3);
    let mut running = open(fake.clone(), memory(), &key).await;
    running.outbox.submit(create_pool()).await.unwrap();
    assert_eq!(running.confirmed().await.len(), 1);
    assert_eq!(fake.mined_nonce(key.address()).await.unwrap(), 1);
}

#[tokio::test]
async fn when_gas_gets_dearer_the_outbox_pays_up_to_its_limit() {
    let (fake, key) = faulty();
    let config = OutboxConfig { raise_after_ms: 50, max_fee: 100_000_000_000, ..config() };
    let mut running = open_with(fake.clone(), memory(), &key, config).await;
    fake.set_automine(false);
    running.outbox.submit(create_pool()).await.unwrap();
    eventually(async || fake.pending() == 1).await;
    fake.set_base_fee(40_000_000_000);
    fake.set_automine(true);
    assert_eq!(running.confirmed().await.len(), 1);

    fake.set_base_fee(400_000_000_000);
    running.outbox.submit(Intent::Pools(PoolsCall::StartPool(PoolId(1)))).await.unwrap();
    running.blocked_by("chain/fee-limit").await;
    fake.set_base_fee(10_000_000_000);
    assert_eq!(
        running.confirmed().await,
        vec![ChainEvent::Pools(PoolsEvent::PoolStarted { pool: PoolId(1) })]
    );
}

#[tokio::test]
async fn a_transaction_that_fails_when_mined_tells_why() {
    let (fake, key) = faulty();
    let operator = Operator::new(fake.clone(), key.clone());
    let other = SigningKey::from_bytes(&[0x78; 32]).unwrap();
    fake.fund(other.address(), Amount::tokens(1), Amount::ZERO);
    let Intent::Pools(PoolsCall::CreatePool(parameters)) = create_pool() else { unreachable!() };
    let pool = operator.create_pool(parameters).await.unwrap();
    operator
        .execute(Intent::Pools(PoolsCall::TransferPool { pool, to: Some(other.address()) }))
        .await
        .unwrap();
    let mut running = open(fake.clone(), memory(), &key).await;
    fake.set_automine(false);
    running.outbox.submit(Intent::Pools(PoolsCall::StartPool(pool))).await.unwrap();
    eventually(async || fake.pending() == 1).await;
    // Mined first, because it belongs to nobody's queue before it: the pool has another owner by then.
    let taking = Operator::new(fake.clone(), other);
    let taken = tokio::spawn(async move { taking.execute(Intent::Pools(PoolsCall::AcceptPool(pool))).await });
    eventually(async || fake.pending() == 2).await;
    fake.mine_of(taking_address());
    fake.set_automine(true);
    taken.await.unwrap().unwrap();
    let Outcome::Reverted { error, transaction: Some(_) } = running.outcome().await.outcome else {
        panic!("the transaction was mined and failed")
    };
    assert_eq!(error.name, "NotPoolOwner");
}

fn taking_address() -> Address {
    SigningKey::from_bytes(&[0x78; 32]).unwrap().address()
}

#[tokio::test]
async fn intents_of_another_key_and_what_is_no_intent_are_refused_at_the_start() {
    let (fake, key) = faulty();
    let store = memory();
    fake.set_reachable(false);
    let running = open(fake.clone(), store.clone(), &key).await;
    running.outbox.submit(create_pool()).await.unwrap();
    drop(running);
    let other = SigningKey::from_bytes(&[0x78; 32]).unwrap();
    let opened = Outbox::open(fake.clone(), store.clone(), other, config()).await;
    assert!(matches!(opened, Err(OutboxError::Foreign { .. })));
    store.save(99, b"no intent".to_vec()).await.unwrap();
    let opened = Outbox::open(fake, store, key, config()).await;
    assert!(matches!(opened, Err(OutboxError::Malformed { key: 99, .. })));
}

#[tokio::test]
async fn a_full_outbox_and_a_stopped_one_say_so() {
    let (fake, key) = faulty();
    fake.set_reachable(false);
    let config = OutboxConfig { max_pending: 1, ..config() };
    let running = open_with(fake, memory(), &key, config).await;
    running.outbox.submit(leave(1)).await.unwrap();
    assert!(matches!(running.outbox.submit(leave(2)).await, Err(OutboxError::Full { pending: 1 })));
    let outbox = running.outbox.clone();
    running.task.abort();
    eventually(async || matches!(outbox.submit(leave(3)).await, Err(OutboxError::Stopped))).await;
}

/// It once woke itself with its own questions, and took a whole core while there was nothing to do.
#[tokio::test]
async fn an_outbox_without_work_sleeps() {
    let key = SigningKey::from_bytes(&[0x51; 32]).unwrap();
    let store = Arc::new(MemoryOutboxStore::default());
    let (_outbox, runner, _events) = Outbox::open(FakeChain::new(), store, key, config()).await.unwrap();
    let mut polls = 0u32;
    let mut running = Box::pin(runner.run());
    let counted = std::future::poll_fn(|context| {
        polls += 1;
        running.as_mut().poll(context)
    });
    timeout(Duration::from_millis(300), counted).await.expect_err("it runs until it is dropped");
    assert!(polls < 20, "polled {polls} times without work");
}

async fn a_call_that_fails_when_it_is_mined_is_told_by_name_with_its_transaction(world: World) {
    let validators = world.validators(1).await;
    let validator = lode_protocol::ids::ValidatorId(validators[0].address());
    let epoch = world.chain.current_epoch().await.unwrap();
    validators[0]
        .execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment: Digest([9; 32]) }))
        .await
        .unwrap();
    world.to_phase(lode_contracts::EpochPhase::Commit, 1).await;
    let (first, second) = (funded(&world).await, funded(&world).await);
    let mut running = [
        open(world.chain.clone(), memory(), &first).await,
        open(world.chain.clone(), memory(), &second).await,
    ];
    // Both look right as long as neither is mined.
    world.set_automine(false).await;
    for running in &running {
        let penalize = Intent::Validators(ValidatorsCall::PenalizeMissedReveal { epoch, validator });
        running.outbox.submit(penalize).await.unwrap();
    }
    waits_to_be_mined(&world, &first).await;
    waits_to_be_mined(&world, &second).await;
    world.set_automine(true).await;
    world.mine().await;
    let mut confirmed = 0;
    let mut refused = Vec::new();
    for running in &mut running {
        match running.outcome().await.outcome {
            Outcome::Confirmed(receipt) => confirmed += usize::from(receipt.succeeded),
            Outcome::Reverted { error, transaction } => refused.push((error.name, transaction.is_some())),
            other => panic!("neither confirmed nor refused: {other:?}"),
        }
    }
    assert_eq!((confirmed, refused), (1, vec![("NotCommitted".to_owned(), true)]));
    for key in [first, second] {
        assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_transaction_that_pays_too_little_for_a_risen_base_fee_is_replaced() {
    let world = World::anvil().await;
    let key = funded(&world).await;
    let config = OutboxConfig { raise_after_ms: 200, ..config() };
    let store = memory();
    world.set_automine(false).await;
    let mut running = open_with(world.chain.clone(), store.clone(), &key, config).await;
    running.outbox.submit(create_pool()).await.unwrap();
    waits_to_be_mined(&world, &key).await;
    // Blocks are full elsewhere: from now on the base fee is a hundred times what was offered.
    let risen = 200_000_000_000_u64;
    world.rpc("anvil_setNextBlockBaseFeePerGas", serde_json::json!([format!("{risen:#x}")])).await;
    world.mine().await;
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 0, "it pays too little to be mined");
    world.set_automine(true).await;
    let event = running.outcome().await;
    let Outcome::Confirmed(receipt) = event.outcome else { panic!("{:?}", event.outcome) };
    assert!(receipt.succeeded);
    assert_eq!(world.chain.mined_nonce(key.address()).await.unwrap(), 1);
    assert_eq!(world.chain.pool_count().await.unwrap(), 1);
}

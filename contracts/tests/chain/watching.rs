//! The follower, and errors that must not look like answers.

use std::time::Duration;

use lode_contracts::{
    ChainCursor, ChainError, ChainEvent, ChainReader, ChainView, Deployment, ErrorClass, Follower,
    FollowerConfig, FollowerEvent, Intent, LoggedEvent, PoolState, PoolsCall, PoolsEvent, ResyncReason,
    RpcChain, RpcConfig,
};
use lode_protocol::ids::{Address, ChainId, PoolId};
use lode_testkit::anvil::{Anvil, AnvilOptions};
use lode_testkit::chain::FakeChain;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::world::World;

crate::on_every_chain!(
    everything_is_delivered_once_and_in_order_also_over_a_restart,
    a_reorganisation_rolls_back_to_the_common_ancestor_and_ends_with_the_new_history,
    a_reorganisation_above_the_confirmed_blocks_is_told_and_undoes_nothing,
    a_chain_set_back_is_rolled_back,
);

const PATIENCE: Duration = Duration::from_secs(30);

/// What a program keeps: events it applied, and the cursor that belongs to them.
struct Watch {
    task: JoinHandle<()>,
    receiver: mpsc::Receiver<FollowerEvent>,
    view: watch::Receiver<ChainView>,
    applied: Vec<LoggedEvent>,
    cursor: Option<ChainCursor>,
    resyncs: Vec<ResyncReason>,
    rollbacks: Vec<(u64, ResyncReason)>,
    caught_up: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    fn start(world: &World, from: Option<ChainCursor>) -> Watch {
        Watch::start_with(world, from, 0)
    }

    fn start_with(world: &World, from: Option<ChainCursor>, confirmations: u64) -> Watch {
        let config = FollowerConfig { poll_interval_ms: 20, confirmations, max_range: 3, seed: 1 };
        let (follower, view) = Follower::new(world.chain.clone(), config, from);
        let (sender, receiver) = mpsc::channel(4);
        let task = tokio::spawn(follower.run(sender));
        Watch {
            task,
            receiver,
            view,
            applied: vec![],
            cursor: from,
            resyncs: vec![],
            rollbacks: vec![],
            caught_up: false,
        }
    }

    /// Applies what comes until the condition holds and the follower has caught up.
    async fn until(&mut self, holds: impl Fn(&Watch) -> bool) {
        let apply = async {
            while !(self.caught_up && holds(self)) {
                match self.receiver.recv().await.unwrap() {
                    FollowerEvent::Resync { reason } => {
                        self.resyncs.push(reason);
                        self.caught_up = false;
                        self.applied.clear();
                        self.cursor = None;
                    }
                    FollowerEvent::Rollback { to, reason } => {
                        // Perhaps nothing follows: the new blocks may be unconfirmed, or none at all.
                        self.caught_up = true;
                        self.rollbacks.push((to.number, reason));
                        self.applied.retain(|logged| logged.block <= to.number);
                        if self.cursor.is_some_and(|cursor| cursor.number > to.number) {
                            self.cursor = Some(to);
                        }
                    }
                    FollowerEvent::Events { events, cursor, caught_up: now, .. } => {
                        self.applied.extend(events);
                        self.cursor = Some(cursor);
                        self.caught_up = now;
                    }
                }
            }
        };
        timeout(PATIENCE, apply).await.expect("the follower delivers in time");
    }

    fn has(&self, wanted: impl Fn(&ChainEvent) -> bool) -> bool {
        self.applied.iter().any(|logged| wanted(&logged.event))
    }
}

async fn history(world: &World) -> Vec<LoggedEvent> {
    let head = world.head().await.number;
    world.chain.events(world.chain.deployment().block, head).await.unwrap()
}

fn started(pool: PoolId) -> impl Fn(&ChainEvent) -> bool {
    move |event| *event == ChainEvent::Pools(PoolsEvent::PoolStarted { pool })
}

async fn everything_is_delivered_once_and_in_order_also_over_a_restart(world: World) {
    let (first, _, _) = world.pool(None).await;
    let mut watch = Watch::start(&world, None);
    watch.until(|watch| watch.has(started(first))).await;
    let (second, owner, _) = world.pool(None).await;
    watch.until(|watch| watch.has(started(second))).await;
    assert_eq!(watch.applied, history(&world).await);
    assert!(watch.view.borrow().is_fresh(Instant::now(), PATIENCE));
    let (cursor, before) = (watch.cursor, watch.applied.clone());
    drop(watch);

    owner.execute(Intent::Pools(PoolsCall::EndPool(second))).await.unwrap();
    let mut watch = Watch::start(&world, cursor);
    watch
        .until(|watch| watch.has(|event| *event == ChainEvent::Pools(PoolsEvent::PoolEnded { pool: second })))
        .await;
    let all = [before, watch.applied.clone()].concat();
    assert_eq!(all, history(&world).await);
    assert_eq!(watch.resyncs, vec![]);
}

async fn a_reorganisation_rolls_back_to_the_common_ancestor_and_ends_with_the_new_history(world: World) {
    let (pool, owner, _) = world.pool(None).await;
    let mut watch = Watch::start(&world, None);
    watch.until(|watch| watch.has(started(pool))).await;
    let ancestor = world.head().await.number;
    let mut ended = Vec::new();
    for _ in 0..4 {
        let (other, _, _) = world.pool(None).await;
        ended.push(other);
    }
    owner.execute(Intent::Pools(PoolsCall::EndPool(pool))).await.unwrap();
    watch.until(|watch| watch.has(|event| *event == ChainEvent::Pools(PoolsEvent::PoolEnded { pool }))).await;
    let before = watch.applied.clone();
    let depth = 5;
    let head = world.head().await.number;
    world.reorg(depth).await;
    watch.until(|watch| !watch.rollbacks.is_empty()).await;
    let history = history(&world).await;
    watch.until(|watch| watch.applied == history).await;
    assert_eq!(watch.resyncs, vec![]);
    let (to, reason) = watch.rollbacks[0];
    assert!(ancestor <= to && to <= head - depth, "{ancestor} <= {to} <= {head} - {depth}");
    // A look in the middle of the reorganisation sees a shorter chain.
    match reason {
        ResyncReason::Reorganised { number } => assert!(number > to, "{number} > {to}"),
        ResyncReason::HeadBehindCursor { cursor, .. } => assert!(cursor <= head),
        ResyncReason::LateEvents { .. } => panic!("all events were given: {reason}"),
    }
    // What stood before the reorganisation was not read again.
    let kept = before.iter().take_while(|logged| logged.block <= to).count();
    assert_eq!(watch.applied[..kept], before[..kept]);
    assert!(!watch.has(|event| *event == ChainEvent::Pools(PoolsEvent::PoolEnded { pool })));
    assert_eq!(world.chain.pool(pool).await.unwrap().unwrap().state, PoolState::Running);
}

async fn a_reorganisation_above_the_confirmed_blocks_is_told_and_undoes_nothing(world: World) {
    let (pool, owner, _) = world.pool(None).await;
    let confirmed = world.head().await.number;
    for _ in 0..3 {
        world.mine().await;
    }
    let mut watch = Watch::start_with(&world, None, 3);
    watch.until(|watch| watch.cursor.is_some_and(|cursor| cursor.number == confirmed)).await;
    owner.execute(Intent::Pools(PoolsCall::EndPool(pool))).await.unwrap();
    let head = world.head().await.number;
    let mut view = watch.view.clone();
    let seen = view.wait_for(|view| view.head.is_some_and(|seen| seen.number == head));
    timeout(PATIENCE, seen).await.unwrap().unwrap();
    watch.until(|watch| watch.cursor.is_some_and(|cursor| cursor.number == head - 3)).await;
    let cursor = watch.cursor;
    world.reorg(2).await;
    watch.until(|watch| !watch.rollbacks.is_empty()).await;
    assert!(watch.rollbacks[0].0 >= head - 3, "{:?}", watch.rollbacks);
    assert_eq!(watch.cursor, cursor);
    for _ in 0..3 {
        world.mine().await;
    }
    let head = world.head().await.number;
    watch.until(|watch| watch.cursor.is_some_and(|cursor| cursor.number == head - 3)).await;
    assert!(!watch.has(|event| *event == ChainEvent::Pools(PoolsEvent::PoolEnded { pool })));
    assert_eq!(watch.resyncs, vec![]);
}

async fn a_chain_set_back_is_rolled_back(world: World) {
    let (pool, owner, _) = world.pool(None).await;
    let mark = world.mark().await;
    let number = world.head().await.number;
    let mut watch = Watch::start(&world, None);
    watch.until(|watch| watch.cursor.is_some_and(|cursor| cursor.number == number)).await;
    owner.execute(Intent::Pools(PoolsCall::EndPool(pool))).await.unwrap();
    watch.until(|watch| watch.has(|event| *event == ChainEvent::Pools(PoolsEvent::PoolEnded { pool }))).await;
    let cursor = watch.cursor.unwrap();
    world.set_back(mark).await;
    watch.until(|watch| !watch.rollbacks.is_empty()).await;
    let reason = ResyncReason::HeadBehindCursor { head: number, cursor: cursor.number };
    assert_eq!(watch.rollbacks, vec![(number, reason)]);
    assert_eq!(watch.applied, history(&world).await);
    drop(watch);
    // A cursor that was kept over a restart of the program and of the chain belongs to no history that is remembered.
    let mut watch = Watch::start(&world, Some(cursor));
    watch.until(|watch| !watch.resyncs.is_empty()).await;
    assert_eq!(watch.resyncs, vec![reason]);
    assert_eq!(watch.applied, history(&world).await);
}

#[tokio::test]
async fn while_the_rpc_is_down_the_view_ages_and_nothing_is_forgotten() {
    let fake = FakeChain::new();
    let world = World::of(fake.clone());
    let mut watch = Watch::start(&world, None);
    watch.until(|watch| watch.cursor.is_some()).await;
    let mut view = watch.view.clone();
    assert!(view.borrow().is_fresh(Instant::now(), PATIENCE));

    fake.set_reachable(false);
    let failed = view.wait_for(|view| view.failure.is_some());
    let seen = timeout(PATIENCE, failed).await.unwrap().unwrap().clone();
    assert_eq!(seen.failure.unwrap().code, "chain/unreachable");
    // The answer of before is not fresh for ever.
    assert!(seen.last_answer.is_some());
    assert!(!view.borrow().is_fresh(Instant::now() + PATIENCE * 2, PATIENCE));
    assert!(matches!(
        fake.node(lode_protocol::ids::NodeId(Address([1; 20]))).await,
        Err(ChainError::Unreachable { .. })
    ));

    fake.set_reachable(true);
    timeout(PATIENCE, view.wait_for(|view| view.failure.is_none())).await.unwrap().unwrap();
    fake.mine();
    let head = world.head().await.number;
    watch.until(|watch| watch.cursor.is_some_and(|cursor| cursor.number == head)).await;
    assert_eq!(watch.resyncs, vec![]);
}

#[tokio::test]
async fn a_wrong_chain_a_missing_contract_and_a_dead_rpc_are_errors_and_not_answers() {
    let anvil = Anvil::start().await.unwrap();
    let empty = Deployment {
        chain_id: ChainId(31_337),
        block: 1,
        rpc_url: None,
        token: Address([1; 20]),
        registry: Address([2; 20]),
        pools: Address([3; 20]),
        validators: Address([4; 20]),
        slashing: Address([5; 20]),
        rewards: Address([6; 20]),
        commit: None,
        code_hashes: Default::default(),
    };
    let config = RpcConfig::new(anvil.rpc_url());
    let chain = RpcChain::new(config.clone(), empty.clone()).unwrap();
    let error = chain.pool(PoolId(1)).await.unwrap_err();
    assert_eq!((error.class(), error.code().as_str()), (ErrorClass::Fatal, "chain/no-contract"));
    let foreign = Deployment { chain_id: ChainId(1), ..empty.clone() };
    let chain = RpcChain::new(config.clone(), foreign).unwrap();
    let error = chain.head().await.unwrap_err();
    assert_eq!(error, ChainError::WrongChain { expected: ChainId(1), got: ChainId(31_337) });
    assert_eq!(error.class(), ErrorClass::Fatal);
    anvil.stop().await.unwrap();
    let chain = RpcChain::new(config, empty).unwrap();
    let error = chain.head().await.unwrap_err();
    assert_eq!((error.class(), error.code().as_str()), (ErrorClass::Transient, "chain/unreachable"));
    assert!(!error.to_string().contains("127.0.0.1"), "an RPC's URL may carry a key: {error}");
    assert!(RpcChain::new(RpcConfig::new("ws://localhost:1"), chain.deployment().clone()).is_err());
}

#[tokio::test]
async fn a_node_restarted_from_its_state_file_is_followed_as_if_nothing_had_been() {
    let directory = tempfile::tempdir().unwrap();
    let state = Some(directory.path().join("state.json"));
    let world = World::anvil_with(AnvilOptions { state: state.clone(), ..AnvilOptions::default() }).await;
    let (first, _, _) = world.pool(None).await;
    let mut watch = Watch::start(&world, None);
    watch.until(|watch| watch.has(started(first))).await;
    let before = history(&world).await;

    let world = world.restarted(state).await;
    let mut view = watch.view.clone();
    timeout(PATIENCE, view.wait_for(|view| view.failure.is_none())).await.unwrap().unwrap();
    let (second, _, _) = world.pool(None).await;
    watch.until(|watch| watch.has(started(second))).await;
    assert_eq!(watch.resyncs, vec![]);
    assert_eq!(watch.applied, history(&world).await);
    assert_eq!(history(&world).await[..before.len()], before[..]);
}

#[tokio::test]
async fn an_rpc_that_accepts_and_says_nothing_times_out() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let config = RpcConfig { timeout: Duration::from_millis(200), ..RpcConfig::new(url) };
    let deployment = FakeChain::new().deployment().clone();
    let error = RpcChain::new(config, deployment).unwrap().head().await.unwrap_err();
    assert_eq!((error.class(), error.code().as_str()), (ErrorClass::Transient, "chain/timeout"));
}

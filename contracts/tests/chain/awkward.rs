//! RPCs as others run them: behind in indexing what is logged, and with limits on what one question may span.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lode_contracts::{
    ChainEvent, ChainReader as _, ErrorClass, FollowerConfig, FollowerEvent, Intent, LoggedEvent, PoolsCall,
    PoolsEvent, ResyncReason, RpcChain, RpcConfig,
};
use lode_protocol::ids::PoolId;
use lode_testkit::chain::FakeChain;
use lode_testkit::rpc_relay::{RelayAnswer, RpcRelay, Rule};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(120);
/// For so long after a block was first spoken of its events are not given.
const LAG: Duration = Duration::from_secs(3);

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn span(params: &Value) -> Option<(u64, u64)> {
    Some((number(params.pointer("/0/fromBlock")?)?, number(params.pointer("/0/toBlock")?)?))
}

/// Answers `[]` about events up to a block that it has spoken of for less than [`LAG`].
fn lagging(receipts: bool) -> Rule {
    let spoken: Mutex<BTreeMap<u64, Instant>> = Mutex::default();
    Arc::new(move |method: &str, params: &Value, answer: RelayAnswer| {
        let mut spoken = spoken.lock().unwrap();
        match (method, &answer) {
            ("eth_getBlockByNumber", RelayAnswer::Result(block)) => {
                if let Some(number) = block.get("number").and_then(number) {
                    spoken.entry(number).or_insert_with(Instant::now);
                }
                answer
            }
            ("eth_getLogs", _) => {
                let to = span(params).map(|(_, to)| to);
                let young = to.is_some_and(|to| spoken.get(&to).is_some_and(|at| at.elapsed() < LAG));
                if young { RelayAnswer::Result(json!([])) } else { answer }
            }
            ("eth_getBlockReceipts", _) if !receipts => {
                RelayAnswer::error(-32_601, "the method eth_getBlockReceipts does not exist")
            }
            _ => answer,
        }
    })
}

async fn relayed(world: &World, rule: Rule) -> (RpcRelay, Arc<RpcChain>) {
    let relay = RpcRelay::start(format!("http://127.0.0.1:{}", world.anvil_port()), rule).await.unwrap();
    let chain = RpcChain::new(RpcConfig::new(relay.url()), world.chain.deployment().clone()).unwrap();
    (relay, Arc::new(chain))
}

/// What a program that undoes what it is told to undo holds when an event has come, and why it had to undo anything.
async fn followed(
    chain: Arc<dyn lode_contracts::ChainReader>,
    go: impl Future<Output = PoolId>,
) -> (Vec<LoggedEvent>, Vec<ResyncReason>) {
    let config = FollowerConfig { poll_interval_ms: 20, ..FollowerConfig::default() };
    let (follower, mut view) = lode_contracts::Follower::new(chain, config, None);
    // Nothing of it waits while the test does something else.
    let (sender, mut events) = mpsc::channel(1_024);
    let following = tokio::spawn(follower.run(sender));
    let (mut applied, mut reasons): (Vec<LoggedEvent>, Vec<ResyncReason>) = (Vec::new(), Vec::new());
    let mut apply = |event: FollowerEvent, reasons: &mut Vec<ResyncReason>| {
        match event {
            FollowerEvent::Events { events, .. } => applied.extend(events),
            FollowerEvent::Rollback { to, reason } => {
                applied.retain(|logged| logged.block <= to.number);
                reasons.push(reason);
            }
            FollowerEvent::Resync { reason } => {
                applied.clear();
                reasons.push(reason);
            }
        }
        applied.clone()
    };
    let all = async {
        // It has caught up before anything new happens.
        let caught_up = view.wait_for(|view| view.caught_up);
        tokio::pin!(caught_up);
        loop {
            tokio::select! {
                Some(event) = events.recv() => drop(apply(event, &mut reasons)),
                _ = &mut caught_up => break,
            }
        }
        let pool = go.await;
        let ended = ChainEvent::Pools(PoolsEvent::PoolEnded { pool });
        loop {
            let event = events.recv().await.unwrap();
            let held = apply(event, &mut reasons);
            if held.iter().any(|logged| logged.event == ended) {
                return held;
            }
        }
    };
    let held = timeout(PATIENCE, all).await.expect("no event is lost");
    following.abort();
    (held, reasons)
}

async fn ended_pool(world: &World) -> PoolId {
    let (pool, owner, _) = world.pool(None).await;
    owner.execute(Intent::Pools(PoolsCall::EndPool(pool))).await.unwrap();
    pool
}

async fn history(world: &World) -> Vec<LoggedEvent> {
    world.chain.events(0, world.head().await.number).await.unwrap()
}

#[tokio::test]
async fn events_of_a_block_that_the_rpc_has_not_indexed_come_from_its_receipts() {
    let world = World::anvil().await;
    let (relay, chain) = relayed(&world, lagging(true)).await;
    let (held, reasons) = followed(chain, ended_pool(&world)).await;
    assert_eq!(held, history(&world).await);
    assert_eq!(reasons, vec![]);
    assert!(relay.calls("eth_getBlockReceipts") > 0);
}

#[tokio::test]
async fn without_receipts_the_events_of_a_block_are_waited_for_where_its_bloom_tells_of_some() {
    let world = World::anvil().await;
    let (_relay, chain) = relayed(&world, lagging(false)).await;
    let (held, reasons) = followed(chain, ended_pool(&world)).await;
    assert_eq!(held, history(&world).await);
    assert_eq!(reasons, vec![]);
}

#[tokio::test]
async fn a_look_at_blocks_that_are_not_indexed_is_no_answer() {
    let world = World::anvil().await;
    let (pool, owner, _) = world.pool(None).await;
    let receipt = owner.execute(Intent::Pools(PoolsCall::EndPool(pool))).await.unwrap();
    let never: Rule = Arc::new(|method: &str, _: &Value, answer: RelayAnswer| match method {
        "eth_getLogs" | "eth_getBlockReceipts" => RelayAnswer::Result(json!([])),
        _ => answer,
    });
    let (_relay, chain) = relayed(&world, never).await;
    let error = chain.events(receipt.block, receipt.block).await.unwrap_err();
    assert_eq!((error.class(), error.code().as_str()), (ErrorClass::Transient, "chain/rpc-inconsistent"));
}

/// Where neither blooms nor receipts help: the follower reads young blocks twice.
#[tokio::test]
async fn events_that_come_late_without_any_sign_are_delivered_by_a_rollback() {
    let fake = FakeChain::new();
    let world = World::of(fake.clone());
    let go = async {
        fake.lag_events(true);
        let pool = ended_pool(&world).await;
        let head = world.head().await.number;
        // Several looks at the end: the first one may have begun before the blocks came.
        let asked = fake.requests();
        let looked = async {
            while fake.requests() < asked + 40 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, looked).await.unwrap();
        assert_eq!(world.head().await.number, head);
        fake.lag_events(false);
        pool
    };
    let (held, reasons) = followed(fake.clone(), go).await;
    assert_eq!(held, history(&world).await);
    assert!(matches!(reasons[..], [ResyncReason::LateEvents { .. }]), "{reasons:?}");
}

/// Refuses what `refuses` says of the span and of how much would be answered.
fn limited(
    refuses: impl Fn(u64, usize) -> Option<RelayAnswer> + Send + Sync + 'static,
) -> (Rule, Arc<Mutex<usize>>) {
    let refusals = Arc::new(Mutex::new(0));
    let counted = refusals.clone();
    let rule: Rule = Arc::new(move |method: &str, params: &Value, answer: RelayAnswer| {
        let ("eth_getLogs", Some((from, to))) = (method, span(params)) else { return answer };
        let results = match &answer {
            RelayAnswer::Result(Value::Array(logs)) => logs.len(),
            _ => 0,
        };
        match refuses(to - from + 1, results) {
            Some(refusal) => {
                *counted.lock().unwrap() += 1;
                refusal
            }
            None => answer,
        }
    });
    (rule, refusals)
}

#[tokio::test]
async fn whatever_an_rpc_allows_for_one_question_all_events_are_read_and_the_limit_is_remembered() {
    let world = World::anvil().await;
    ended_pool(&world).await;
    world.rpc("anvil_mine", json!(["0x4b0"])).await;
    ended_pool(&world).await;
    let (all, head) = (history(&world).await, world.head().await.number);
    assert!(head > 1_200 && all.len() > 4, "{head} {}", all.len());
    type Refuses = Box<dyn Fn(u64, usize) -> Option<RelayAnswer> + Send + Sync>;
    let cases: Vec<(&str, Refuses)> = vec![
        (
            "500 blocks",
            Box::new(|blocks, _| {
                (blocks > 500).then(|| RelayAnswer::error(-32_005, "block range too large, maximum 500"))
            }),
        ),
        (
            "10 blocks",
            Box::new(|blocks, _| {
                (blocks > 10).then(|| RelayAnswer::error(-32_602, "block range too large, maximum 10"))
            }),
        ),
        (
            "10 blocks of a free tier",
            Box::new(|blocks, _| {
                let words = "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.";
                (blocks > 10).then(|| RelayAnswer::error(-32_600, words))
            }),
        ),
        (
            "one block",
            Box::new(|blocks, _| {
                (blocks > 1).then(|| RelayAnswer::error(-32_614, "eth_getLogs is limited to a 1 range"))
            }),
        ),
        (
            "results",
            Box::new(|blocks, results| {
                let words = "query returned more than 10000 results";
                (blocks > 1 && results > 1).then(|| RelayAnswer::error(-32_005, words))
            }),
        ),
        ("413", Box::new(|blocks, _| (blocks > 300).then_some(RelayAnswer::Status(413)))),
    ];
    for (name, refuses) in cases {
        let (rule, refusals) = limited(refuses);
        let (_relay, chain) = relayed(&world, rule).await;
        assert_eq!(chain.events(0, head).await.unwrap(), all, "{name}");
        let first = std::mem::take(&mut *refusals.lock().unwrap());
        assert!((1..=40).contains(&first), "{name}: refused {first} times");
        assert!(chain.blocks_at_once() < 8 * 2_000, "{name}");
        if name.contains("block") {
            assert_eq!(
                chain.events(head - 9, head).await.unwrap().len(),
                all.iter().filter(|logged| logged.block >= head - 9).count()
            );
            let again = *refusals.lock().unwrap();
            assert!(again <= 1, "{name}: the limit is remembered, and was refused {again} times again");
        }
    }
}

#[tokio::test]
async fn who_asks_too_often_and_who_may_not_ask_at_all_is_told_so() {
    let world = World::anvil().await;
    let head = world.head().await.number;
    let (rule, refusals) =
        limited(|_, _| Some(RelayAnswer::error(429, "exceeded its compute units per second capacity")));
    let (_relay, chain) = relayed(&world, rule).await;
    let error = chain.events(0, head).await.unwrap_err();
    assert_eq!((error.class(), error.code().as_str()), (ErrorClass::Transient, "chain/rpc-error"));
    assert_eq!(*refusals.lock().unwrap(), 1, "narrower questions would be more questions");

    let (rule, _) = limited(|_, _| Some(RelayAnswer::error(-32_005, "block range limit: 0")));
    let (_relay, chain) = relayed(&world, rule).await;
    let error = chain.events(0, head).await.unwrap_err();
    assert_eq!(error.code().as_str(), "chain/log-limit");
    assert!(error.to_string().contains("another RPC"), "{error}");
}

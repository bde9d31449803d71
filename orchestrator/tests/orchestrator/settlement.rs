//! Payment as a whole: work on a real wire, money on a chain with the contracts' rules, and strangers who check it all.

use std::time::Duration;

use lode_contracts::{
    Amount, ChainEvent, ChainReader as _, ClaimItem, EarningsLeaf, EarningsSibling, EarningsTree, Epoch,
    EpochTree, Intent, Leaf, Operator, PoolsCall, ProofItem, RewardsCall, RewardsEvent, RootState, TokenCall,
    ValidatorsCall, commitment, seconds_of_timestamp, verify_earnings_path,
};
use lode_protocol::assignment::AssignmentState;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::ProofClassId;
use lode_protocol::published::{EpochDocument, EpochPage, PayeeDocument, RootStatus};
use lode_protocol::session::Instruction;
use lode_protocol::settlement::SpendAuthorization;
use lode_protocol::task::TaskSpec;
use serde_json::{Value, json};

use crate::pool::{DEADLINE, Pool, answer, eventually, key};
use crate::worker::FakeWorker;

/// A token per GPU and second.
const PRICED: &str = "[settlement]\nprice_per_gpu_hour = \"3600\"\n";

/// A pool that pays, with a validator.
struct Paying {
    pool: Pool,
    validator: Operator,
}

impl Paying {
    async fn start(money: u64) -> Self {
        let pool = Pool::start_with(PRICED).await;
        let validator = key(0x51);
        pool.chain.fund(validator.address(), Amount::tokens(1_000), Amount::tokens(1_000));
        let validator = Operator::new(pool.chain.clone(), validator);
        validator.register_validator(Amount::tokens(500), "https://v.example").await.unwrap();
        let cap =
            Intent::Rewards(RewardsCall::SetSpendCap { pool: pool.realm.pool, cap: Amount::tokens(1_000) });
        pool.owner.execute(cap).await.unwrap();
        let paying = Paying { pool, validator };
        paying.fund(money).await;
        paying
    }

    async fn fund(&self, tokens: u64) {
        let deployment = self.pool.chain.deployment();
        let (token, spender, amount) = (deployment.token, deployment.rewards, Amount::tokens(tokens));
        self.pool
            .owner
            .execute(Intent::Token(TokenCall::ApproveToken { token, spender, amount }))
            .await
            .unwrap();
        let fund =
            Intent::Rewards(RewardsCall::FundPool { pool: self.pool.realm.pool, amount, permit: None });
        self.pool.owner.execute(fund).await.unwrap();
    }

    /// Into the next epoch, or into the second half of the running one.
    async fn advance(&self, half: bool) -> Epoch {
        let chain = &self.pool.chain;
        let timing = chain.epoch_timing().await.unwrap();
        let now = chain.head().await.unwrap().timestamp;
        let epoch = timing.epoch_at(now);
        let target = if half { timing.reveal_from(epoch) } else { timing.ends(epoch) };
        let span = seconds_of_timestamp(target).saturating_sub(seconds_of_timestamp(now));
        chain.advance(Duration::from_secs(span + 1));
        timing.epoch_at(chain.head().await.unwrap().timestamp)
    }

    /// The validators agree in a new epoch; the node is proven by them if one is given.
    async fn agree(&self, node: Option<NodeId>) -> Epoch {
        let epoch = self.advance(false).await;
        let leaf = |node| Leaf {
            node,
            class: ProofClassId(1),
            gpu_count: 2,
            uuid_set: Digest([1; 32]),
            vram_gib: 141,
            walk_score: 10_000,
            gemm_score: 10_000,
            median_millis: 100,
            pass: true,
            transcript: Digest([2; 32]),
            expiry_epoch: epoch.plus(100),
        };
        let tree = EpochTree::new(vec![leaf(node.unwrap_or_default())]).unwrap();
        let (id, salt) = (ValidatorId(self.validator.address()), Digest([3; 32]));
        let commitment = commitment(id, epoch, salt, tree.root());
        self.validator
            .execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment }))
            .await
            .unwrap();
        self.advance(true).await;
        self.validator
            .execute(Intent::Validators(ValidatorsCall::Reveal { epoch, root: tree.root(), salt }))
            .await
            .unwrap();
        if let Some(node) = node {
            let (leaf, path) = tree.path(node).unwrap();
            let items = vec![ProofItem { leaf, path }];
            self.validator
                .execute(Intent::Validators(ValidatorsCall::ProveBatch { epoch, items }))
                .await
                .unwrap();
        }
        epoch
    }

    /// A proven member that has an order and runs it.
    async fn working(&self) -> FakeWorker {
        let mut worker = FakeWorker::member(&self.pool, key(0x31), "/ip4").await;
        let epoch = self.agree(Some(worker.node())).await;
        // Until the orchestrator hears of it, work counts into the epoch before.
        let counts = |instruction: &Instruction| instruction.meter.is_some_and(|meter| meter.epoch == epoch);
        self.beat_until(&mut worker, "the epoch is heard of", counts).await;
        self.pool.submit(service()).await;
        self.run(&mut worker).await;
        worker
    }

    async fn run(&self, worker: &mut FakeWorker) {
        let order = worker.order().await;
        let report = FakeWorker::report(&order, AssignmentState::Running);
        worker.beat_with(|beat| beat.assignments = vec![report]).await.instruction();
    }

    /// Beats until an answer is as wanted.
    async fn beat_until(&self, worker: &mut FakeWorker, what: &str, holds: impl Fn(&Instruction) -> bool) {
        let started = std::time::Instant::now();
        loop {
            let instruction = worker.beat().await;
            if holds(&instruction) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "never: {what}; last {instruction:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Works until something worth is counted in the running epoch.
    async fn earn(&self, worker: &mut FakeWorker) -> Epoch {
        let running = self.pool.chain.current_epoch().await.unwrap();
        self.beat_until(worker, "earning", |instruction| {
            instruction.meter.is_some_and(|meter| meter.epoch == running && meter.gpu_millis >= 200)
        })
        .await;
        running
    }

    /// Without a token.
    async fn public(&self, path: &str) -> (u16, Value) {
        answer(self.pool.request("GET", path)).await
    }

    /// Every page of an epoch, put together.
    async fn document(&self, epoch: Epoch) -> EpochDocument {
        let path = format!("/v1/epochs/{epoch}/receipts");
        let (status, body) = self.public(&path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).unwrap()
    }

    /// Until the epoch's root stands so.
    async fn root_is(&self, epoch: Epoch, status: RootStatus) -> EpochDocument {
        eventually(&format!("root of {epoch} is {status:?}"), async || {
            let path = format!("/v1/epochs/{epoch}/receipts");
            let (code, body) = self.public(&path).await;
            if code != 200 {
                return None;
            }
            let document: EpochDocument = serde_json::from_value(body).unwrap();
            document.root.filter(|root| root.status == status).map(|_| document)
        })
        .await
    }

    async fn posted(&self) -> Vec<Epoch> {
        let chain = &self.pool.chain;
        let head = chain.head().await.unwrap().number;
        let events = chain.events(0, head).await.unwrap();
        let epoch = |event: ChainEvent| match event {
            ChainEvent::Rewards(RewardsEvent::RootPosted { epoch, .. }) => Some(epoch),
            _ => None,
        };
        events.into_iter().filter_map(|logged| epoch(logged.event)).collect()
    }
}

fn service() -> Value {
    json!({ "name": "t", "kind": "service", "image": "i:1", "resources": { "gpus": 2 } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_counted_promised_posted_published_and_paid_to_the_provider_by_anybody() {
    let paying = Paying::start(10_000).await;
    let mut worker = paying.working().await;
    let epoch = paying.earn(&mut worker).await;
    paying.advance(false).await;
    paying.beat_until(&mut worker, "an offer", |instruction| instruction.receipts.is_some()).await;
    paying
        .beat_until(&mut worker, "that its answer is stored", |instruction| instruction.receipts.is_none())
        .await;

    // A stranger rebuilds everything from what is published.
    let document = paying.root_is(epoch, RootStatus::Pending).await;
    let deployment = paying.pool.chain.deployment().clone();
    let domain = deployment.rewards_domain();
    let [published] = document.receipts.as_slice() else { panic!("{document:?}") };
    let receipt = published.receipt;
    assert!(published.usage.is_of(&receipt) && published.usage.gpu_millis() >= 200);
    let digest = receipt.digest(&domain);
    assert_eq!(published.orchestrator_signature.recover(&digest), Ok(paying.pool.key.address()));
    assert_eq!(published.node_signature.map(|node| node.recover(&digest)), Some(Ok(worker.node().0)));
    assert_eq!(receipt.payee, paying.pool.provider.address());
    let leaves = document
        .payees
        .iter()
        .map(|payee| EarningsLeaf { payee: payee.payee, cumulative: payee.cumulative })
        .collect();
    let tree = EarningsTree::new(leaves).unwrap();
    let root = document.root.unwrap();
    assert_eq!((tree.root(), tree.total(), tree.depth()), (root.root, root.total, root.depth));
    assert_eq!(root.total, receipt.cumulative);
    let on_chain = paying.pool.chain.posted_root(paying.pool.realm.pool, epoch).await.unwrap().unwrap();
    assert_eq!((on_chain.root, on_chain.total, on_chain.state), (root.root, root.total, RootState::Pending));

    // Anybody claims for the provider.
    paying.pool.chain.advance(Duration::from_secs(21));
    paying.root_is(epoch, RootStatus::Final).await;
    let (status, body) = paying.public(&format!("/v1/payees/{}", receipt.payee)).await;
    assert_eq!(status, 200, "{body}");
    let leaf: PayeeDocument = serde_json::from_value(body).unwrap();
    let path: Vec<EarningsSibling> =
        leaf.path.iter().map(|sibling| EarningsSibling { hash: sibling.hash, sum: sibling.sum }).collect();
    let own = EarningsLeaf { payee: leaf.leaf.payee, cumulative: leaf.leaf.cumulative };
    assert!(verify_earnings_path(root.root, root.total, leaf.leaf.index, &own, &path));
    let before = paying.pool.chain.token_balance(receipt.payee).await.unwrap();
    let claim = ClaimItem {
        pool: paying.pool.realm.pool,
        epoch: leaf.epoch,
        index: leaf.leaf.index,
        payee: leaf.leaf.payee,
        cumulative: leaf.leaf.cumulative,
        path,
    };
    paying.validator.execute(Intent::Rewards(RewardsCall::Claim(claim))).await.unwrap();
    let after = paying.pool.chain.token_balance(receipt.payee).await.unwrap();
    assert_eq!(after.checked_sub(before), Some(receipt.amount));
    let budget = paying.pool.get("/v1/pool").await["budget"].clone();
    assert_eq!(budget["posted"], receipt.cumulative.to_string(), "{budget}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_public_needs_no_token_is_paged_and_is_not_sent_twice() {
    let paying = Paying::start(10_000).await;
    let mut worker = paying.working().await;
    let first = paying.earn(&mut worker).await;
    paying.advance(false).await;
    let second = paying.earn(&mut worker).await;
    paying.root_is(first, RootStatus::Pending).await;
    paying.advance(false).await;
    let epochs = async |query: &str| {
        let (status, body) = paying.public(&format!("/v1/epochs{query}")).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value::<EpochPage>(body).unwrap()
    };
    let listed = eventually("both epochs", async || {
        let page = epochs("").await;
        (page.items.len() >= 2).then_some(page)
    })
    .await;
    assert_eq!(listed.items.iter().map(|row| row.epoch).collect::<Vec<_>>(), [second, first]);
    let page = epochs("?limit=1").await;
    assert_eq!((page.items[0].epoch, page.next), (second, Some(second)));
    assert_eq!(epochs(&format!("?limit=1&after={second}")).await.items[0].epoch, first);
    let path = format!("/v1/epochs/{first}/receipts");
    let response = paying.pool.request("GET", &path).send().await.unwrap();
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("public"));
    let again = paying.pool.request("GET", &path).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    for (path, status, code) in [
        ("/v1/epochs/7/receipts".to_owned(), 404, "epoch/not-found"),
        ("/v1/epochs/x/receipts".to_owned(), 400, "api/bad-id"),
        (format!("/v1/epochs/{first}/receipts?after=x"), 400, "api/bad-query"),
        (format!("/v1/payees/{}", key(0x61).address()), 404, "payee/not-found"),
        ("/v1/tasks".to_owned(), 401, "api/unauthorized"),
    ] {
        let (got, problem) = paying.public(&path).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
    }
    // The pool's HTTPS endpoint serves the same, as the chain says.
    let url = format!("{}/v1/epochs/{first}/receipts", paying.pool.endpoint("http"));
    let (status, body) = answer(reqwest::Client::new().get(url).timeout(DEADLINE)).await;
    assert_eq!((status, body["epoch"].as_u64()), (200, Some(first.0)), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_posts_each_root_once_and_loses_no_receipt() {
    let mut paying = Paying::start(10_000).await;
    let mut worker = paying.working().await;
    worker.signs = false;
    let epoch = paying.earn(&mut worker).await;
    paying.pool.chain.set_automine(false);
    paying.advance(false).await;
    paying.root_is(epoch, RootStatus::Submitted).await;
    worker.die();
    paying.pool.stop().await;
    paying.pool.start_again().await;
    paying.pool.chain.set_automine(true);
    paying.pool.chain.mine();
    let document = paying.root_is(epoch, RootStatus::Pending).await;
    assert_eq!(paying.posted().await, [epoch]);
    assert_eq!(document.receipts.len(), 1);
    assert_eq!(document.receipts[0].node_signature, None, "the node is gone; it is paid all the same");
    assert_eq!(document.root.unwrap().total, document.receipts[0].receipt.cumulative);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vetoed_root_is_said_and_posted_again_in_the_next_epoch() {
    let paying = Paying::start(10_000).await;
    let mut worker = paying.working().await;
    let first = paying.earn(&mut worker).await;
    paying.advance(false).await;
    paying.root_is(first, RootStatus::Pending).await;
    let veto = Intent::Rewards(RewardsCall::VetoRoot {
        pool: paying.pool.realm.pool,
        epoch: first,
        evidence: Digest([6; 32]),
    });
    paying.validator.execute(veto).await.unwrap();
    paying.root_is(first, RootStatus::Vetoed).await;
    let codes = async || {
        let status = paying.pool.get("/v1/status").await;
        let findings = status["findings"].as_array().unwrap().clone();
        findings.iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(codes().await.contains(&"settlement/root-vetoed".to_owned()));
    let second = paying.earn(&mut worker).await;
    paying.advance(false).await;
    let document = paying.root_is(second, RootStatus::Pending).await;
    let total: u128 =
        paying.document(first).await.receipts[0].receipt.amount.0 + document.receipts[0].receipt.amount.0;
    assert_eq!(document.root.unwrap().total, Amount(total), "it covers both");
    paying.pool.chain.advance(Duration::from_secs(21));
    paying.root_is(second, RootStatus::Final).await;
    assert!(!codes().await.contains(&"settlement/root-vetoed".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_money_paid_work_waits_is_ended_gracefully_and_goes_on_when_it_is_funded() {
    // Two GPUs for two epochs of thirty seconds and one silence of thirty cost 180 tokens.
    let paying = Paying::start(100).await;
    let mut worker = FakeWorker::member(&paying.pool, key(0x31), "/ip4").await;
    paying.agree(Some(worker.node())).await;
    let task = paying.pool.submit(service()).await;
    let filters = async || {
        let explained = paying.pool.get(&format!("/v1/tasks/{task}/explain")).await;
        let filters = explained["filters"].as_array().unwrap().clone();
        filters.iter().map(|row| row["filter"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("explained", async || (filters().await == ["budget"]).then_some(())).await;
    paying.fund(10_000).await;
    paying.run(&mut worker).await;
    paying.earn(&mut worker).await;
    let cap = |tokens| {
        Intent::Rewards(RewardsCall::SetSpendCap {
            pool: paying.pool.realm.pool,
            cap: Amount::tokens(tokens),
        })
    };
    paying.pool.owner.execute(cap(0)).await.unwrap();
    let started = std::time::Instant::now();
    while !worker.orders.is_empty() {
        worker.beat().await;
        assert!(started.elapsed() < DEADLINE, "never taken back");
    }
    let shown = paying.pool.get(&format!("/v1/tasks/{task}")).await;
    assert_eq!(shown["assignments"][0]["reason"], "budget_exhausted", "{shown}");
    assert_eq!(shown["state"], "pending");
    let budget = paying.pool.get("/v1/pool").await["budget"].clone();
    assert_eq!(budget["burn_per_hour"], "0", "{budget}");
    paying.pool.owner.execute(cap(1_000)).await.unwrap();
    // The stopped one is reported, then the next incarnation comes.
    let first = shown["assignments"][0]["id"].as_str().unwrap().parse().unwrap();
    let spec = TaskSpec::from_json(service().to_string().as_bytes()).unwrap().validate().unwrap();
    let order =
        lode_protocol::session::AssignmentSpec { id: first, spec, gpus: Vec::new(), pinned_image: None };
    let report = FakeWorker::report(&order, AssignmentState::Stopped);
    worker.beat_with(|beat| beat.assignments = vec![report]).await.instruction();
    assert_ne!(worker.order().await.id, first);
}

fn ordered(pool: &Pool, key: &SigningKey, budget: u64) -> Value {
    let spec = TaskSpec::from_json(service().to_string().as_bytes()).unwrap().validate().unwrap();
    let order = SpendAuthorization {
        pool: pool.realm.pool,
        tenant: key.address(),
        spec: spec.digest(),
        price_per_gpu_hour: Amount::tokens(4_000),
        budget: Amount::tokens(budget),
        deadline: 1_900_000_000,
    };
    let digest = order.digest(&pool.chain.deployment().task_order_domain());
    json!({ "spec": service(), "order": order, "signature": key.sign_recoverable(&digest) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_with_an_order_costs_no_more_than_its_tenant_signed_for() {
    let paying = Paying::start(10_000).await;
    let owner = key(0x22);
    let mut worker = FakeWorker::member(&paying.pool, key(0x31), "/ip4").await;
    paying.agree(Some(worker.node())).await;
    let post = async |body: Value| paying.pool.call("POST", "/v1/tasks", Some(body)).await;
    let (status, problem) = post(ordered(&paying.pool, &key(0x62), 100)).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("order/unknown-tenant")), "{problem}");
    let (status, problem) = post(ordered(&paying.pool, &owner, 1)).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("order/budget-too-small")), "{problem}");
    let (status, problem) = post(json!({ "spec": service(), "order": {} })).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("api/bad-body")), "{problem}");
    // What two GPUs cost in the thirty seconds for which a node may be silent, and half a second more.
    let (status, task) = post(ordered(&paying.pool, &owner, 61)).await;
    assert_eq!(status, 201, "{task}");
    let id = task["id"].as_str().unwrap();
    let shown = paying.pool.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(shown["order"]["budget"], "61", "{shown}");
    paying.run(&mut worker).await;
    let started = std::time::Instant::now();
    while !worker.orders.is_empty() {
        worker.beat().await;
        assert!(started.elapsed() < DEADLINE, "never ended");
    }
    let shown = paying.pool.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(shown["state"], "stopping", "{shown}");
    assert_eq!(shown["assignments"][0]["reason"], "budget_exhausted");
    let spent: Amount = shown["order"]["spent"].as_str().unwrap().parse().unwrap();
    assert!(spent <= Amount::tokens(61), "{spent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_invited_before_its_provider_approves_the_pool() {
    let pool = Pool::start().await;
    let approve = |approved| Intent::Pools(PoolsCall::SetPoolApproval { pool: pool.realm.pool, approved });
    pool.provider.execute(approve(false)).await.unwrap();
    let node = key(0x31);
    pool.register(&node).await;
    let mut worker = FakeWorker::connect(&pool, node, 1, "/ip4").await;
    worker.hello().await;
    let told = eventually("told", async || {
        let view = pool.get(&format!("/v1/nodes/{}", worker.node())).await;
        let membership = view["membership"].clone();
        (membership["code"] == "node/pool-not-approved").then_some(membership)
    })
    .await;
    assert!(told["message"].as_str().unwrap().contains("lode provider approve-pool"), "{told}");
    assert!(worker.beat().await.invite.is_none());
    pool.provider.execute(approve(true)).await.unwrap();
    worker.join(&pool).await;
}

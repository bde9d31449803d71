//! Earnings: claimed by anybody, for anybody, under a root that is checked here first.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use lode_contracts::{Amount, ChainReader as _, EarningsLeaf, EarningsTree, Epoch, Intent, RewardsCall};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId};
use lode_protocol::settlement::Receipt;
use serde_json::{Value, json};

use super::world::{Who, World};

const VALIDATORS: [Who; 1] = [Who::Validator];

/// A funded pool, and an epoch that vouches for the work.
async fn market(world: &World) -> Epoch {
    world.paying_pool();
    world.done(Who::Owner, &["pool", "fund", "1", "500"]);
    world.done(Who::Owner, &["pool", "spend-cap", "1", "400"]);
    world.bonded(&VALIDATORS).await;
    world.agreed(&VALIDATORS).await
}

fn tree(world: &World, amounts: &[(Who, u64)]) -> EarningsTree {
    let leaf = |(who, amount): &(Who, u64)| EarningsLeaf {
        payee: world.address(*who),
        cumulative: Amount::tokens(*amount),
    };
    EarningsTree::new(amounts.iter().map(leaf).collect()).unwrap()
}

/// Posts the tree as the root of the epoch that just ended.
async fn post(world: &World, tree: &EarningsTree, proven: Epoch) -> Epoch {
    let epoch = world.to_phase(lode_contracts::EpochPhase::Commit, 1).await;
    let epoch = Epoch(epoch.0 - 1);
    let intent = Intent::Rewards(RewardsCall::PostRoot {
        pool: PoolId(1),
        epoch,
        root: tree.root(),
        total: tree.total(),
        depth: tree.depth(),
        proven_epoch: proven,
    });
    world.operator(Who::Orchestrator).execute(intent).await.unwrap();
    epoch
}

/// What the orchestrator serves at `/v1/epochs/{epoch}/receipts`.
fn document(tree: &EarningsTree, epoch: Epoch) -> Value {
    let payees: Vec<Value> = tree
        .leaves()
        .iter()
        .zip(0u64..)
        .map(|(leaf, index)| json!({ "index": index, "payee": leaf.payee, "cumulative": leaf.cumulative }))
        .collect();
    json!({
        "pool": 1, "epoch": epoch, "root": null, "covers_from": null, "payees": payees, "payees_next": null,
        "receipts": [], "next": null,
    })
}

fn amount(tokens: u64) -> u128 {
    Amount::tokens(tokens).0
}

#[tokio::test]
async fn anybody_claims_for_any_payee_once_the_veto_window_is_over_and_never_twice() {
    let world = World::new().await;
    let proven = market(&world).await;
    let earned = tree(&world, &[(Who::Provider, 30), (Who::Second, 12), (Who::Third, 0)]);
    let epoch = post(&world, &earned, proven).await;
    world.write("receipts.json", &document(&earned, epoch));
    let (provider, second) = (world.address(Who::Provider), world.address(Who::Second));
    let claim = ["provider", "claim", "--pool", "1", "--receipts", "receipts.json"];

    let early = world.refused(Who::Provider, &claim);
    assert_eq!((early.exit, early.code.as_str()), (5, "earnings/no-root"), "{early:?}");
    assert!(early.message.contains("in its veto window, which ends in "), "{early:?}");
    world.advance(21).await;
    let dry = world.done(Who::Provider, &[&claim[..], &["--dry-run"]].concat());
    assert_eq!(dry["transactions"][0]["call"], "claim");
    assert_eq!(dry["transactions"][0]["events"][0]["arguments"]["amount"], "30");
    let text = world.text(&["provider", "earnings", "--pool", "1", "--receipts", "receipts.json"]);
    assert!(text.contains("30 LODE") && text.contains("42 LODE can be claimed"), "{text}");

    // A stranger pays the gas, the payee gets the money.
    let before = world.tokens(provider).await.0;
    let named = provider.to_string();
    let done = world.done(Who::Stranger, &[&claim[..], &["--payee", &named]].concat());
    assert_eq!(done["paid"], json!([{ "payee": named, "amount": "30" }]));
    assert_eq!(world.tokens(provider).await.0 - before, amount(30));
    let twice = world.refused(Who::Stranger, &[&claim[..], &["--payee", &named]].concat());
    assert_eq!((twice.exit, twice.code.as_str()), (5, "earnings/nothing"), "{twice:?}");
    assert!(twice.message.contains("30 LODE were paid"), "{twice:?}");
    let nobody = world.address(Who::Owner).to_string();
    let nobody = world.refused(Who::Stranger, &[&claim[..], &["--payee", &nobody]].concat());
    assert_eq!((nobody.exit, nobody.code.as_str()), (3, "earnings/nothing"), "{nobody:?}");

    // All that is left, in one transaction: those who have nothing are passed over.
    let before = world.tokens(second).await.0;
    world.done(Who::Stranger, &[&claim[..], &["--all"]].concat());
    assert_eq!(world.tokens(second).await.0 - before, amount(12));
    assert_eq!(world.refused(Who::Stranger, &[&claim[..], &["--all"]].concat()).code, "earnings/nothing");
}

#[tokio::test]
async fn several_payees_are_paid_in_one_batch_under_a_later_root() {
    let world = World::new().await;
    let proven = market(&world).await;
    let first = tree(&world, &[(Who::Provider, 10), (Who::Second, 5)]);
    post(&world, &first, proven).await;
    world.advance(21).await;
    let later = tree(&world, &[(Who::Provider, 15), (Who::Second, 8), (Who::Third, 1)]);
    let epoch = post(&world, &later, proven).await;
    world.advance(21).await;
    world.write("receipts.json", &document(&later, epoch));
    let claim = ["provider", "claim", "--pool", "1", "--receipts", "receipts.json", "--all"];
    let done = world.done(Who::Stranger, &claim);
    assert_eq!(done["paid"].as_array().unwrap().len(), 3, "{done}");
    let had = world.chain.earnings(PoolId(1), &[world.address(Who::Provider)]).await.unwrap();
    assert_eq!(had[0].paid, Amount::tokens(15));
    let budget = world.seen(&["pool", "budget", "1"]);
    assert_eq!((&budget["paid"], &budget["locked"]), (&json!("24"), &json!("0")));
}

#[tokio::test]
async fn receipts_that_do_not_hash_to_the_root_on_chain_are_refused() {
    let world = World::new().await;
    let proven = market(&world).await;
    let earned = tree(&world, &[(Who::Provider, 30), (Who::Second, 12)]);
    let epoch = post(&world, &earned, proven).await;
    world.advance(21).await;
    let claim =
        |file: &str| world.refused(Who::Provider, &["provider", "claim", "--pool", "1", "--receipts", file]);
    let forged = tree(&world, &[(Who::Provider, 31), (Who::Second, 12)]);
    world.write("forged.json", &document(&forged, epoch));
    let forged = claim("forged.json");
    assert_eq!((forged.exit, forged.code.as_str()), (4, "earnings/wrong-root"), "{forged:?}");
    world.write("other.json", &document(&earned, Epoch(epoch.0 - 1)));
    assert_eq!(claim("other.json").exit, 2);
    std::fs::write(world.path("broken.json"), "{").unwrap();
    assert_eq!(claim("broken.json").exit, 3);
    assert_eq!(claim("absent.json").exit, 3);
    // Nobody said where the pool serves them, and the chain knows no https endpoint.
    let lost = world.refused(Who::Provider, &["provider", "claim", "--pool", "1"]);
    assert_eq!(lost.exit, 2, "{lost:?}");
    assert!(lost.remedy.contains("--receipts FILE"), "{lost:?}");
    let wrong = world.refused(
        Who::Provider,
        &["provider", "claim", "--pool", "1", "--epoch", "3", "--receipts", "other.json"],
    );
    assert_eq!((wrong.exit, wrong.code.as_str()), (3, "earnings/no-root"), "{wrong:?}");
}

/// Serves the pages of an epoch, one request after the other, as an orchestrator does.
fn serve(pages: Vec<Value>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for page in pages {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0u8; 4096];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                assert_ne!(read, 0);
                request.extend_from_slice(&buffer[..read]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            asked.push(request.lines().next().unwrap_or_default().to_owned());
            let body = page.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    (url, server)
}

#[tokio::test]
async fn receipts_are_fetched_from_the_pool_page_by_page() {
    let world = World::new().await;
    let proven = market(&world).await;
    let earned = tree(&world, &[(Who::Second, 1), (Who::Provider, 2), (Who::Third, 3)]);
    let epoch = post(&world, &earned, proven).await;
    world.advance(21).await;
    let whole = document(&earned, epoch);
    let payees = whole["payees"].as_array().unwrap().clone();
    let page = |payees: &[Value], next: Value| {
        let mut page = whole.clone();
        page["payees"] = json!(payees);
        page["payees_next"] = next;
        page
    };
    let (url, server) = serve(vec![page(&payees[..2], json!(1)), page(&payees[2..], Value::Null)]);
    let done = world.done(Who::Provider, &["provider", "claim", "--pool", "1", "--url", &url]);
    assert_eq!(done["paid"][0]["amount"], "2");
    let asked = server.join().unwrap();
    assert!(asked[0].starts_with(&format!("GET /v1/epochs/{epoch}/receipts ")), "{asked:?}");
    assert!(asked[1].starts_with(&format!("GET /v1/epochs/{epoch}/receipts?payees_after=1 ")), "{asked:?}");
}

#[tokio::test]
async fn an_endpoint_on_chain_that_leads_into_ones_own_network_is_not_asked_unless_one_says_so() {
    let world = World::new().await;
    let proven = market(&world).await;
    let earned = tree(&world, &[(Who::Provider, 2)]);
    let epoch = post(&world, &earned, proven).await;
    world.advance(21).await;
    let (url, server) = serve(vec![document(&earned, epoch)]);
    let claim = ["provider", "claim", "--pool", "1"];
    for inside in [url.clone(), "https://localhost:9".to_owned(), "https://169.254.169.254/latest".to_owned()]
    {
        world.done(Who::Owner, &["pool", "set-endpoints", "1", &inside]);
        let refused = world.refused(Who::Provider, &claim);
        assert!(
            matches!((refused.exit, refused.code.as_str()), (4, "fetch/not-public" | "fetch/bad-url")),
            "{inside}: {refused:?}"
        );
        assert!(
            refused.remedy.contains("--url URL") && refused.message.contains("on the chain"),
            "{refused:?}"
        );
        let seen = world.refused_as(&["provider", "earnings", "--pool", "1"]);
        assert_eq!((seen.exit, &seen.code), (4, &refused.code), "{inside}: {seen:?}");
    }
    // Nobody was there; whoever trusts the pool says so.
    world.done(Who::Owner, &["pool", "set-endpoints", "1", &url]);
    let done = world.done(Who::Provider, &[&claim[..], &["--private-endpoints"]].concat());
    assert_eq!(done["paid"][0]["amount"], "2");
    assert_eq!(server.join().unwrap().len(), 1);
}

#[tokio::test]
async fn a_receipt_that_the_pool_left_out_is_redeemed_and_settled() {
    let world = World::new().await;
    market(&world).await;
    let payee: Address = world.address(Who::Provider);
    let epoch = world.chain.current_epoch().await.unwrap();
    let receipt = Receipt {
        pool: PoolId(1),
        epoch,
        node: NodeId(world.address(Who::Node)),
        payee,
        usage: Digest([9; 32]),
        amount: Amount::tokens(7),
        cumulative: Amount::tokens(7),
    };
    let digest = receipt.digest(&world.chain.deployment().rewards_domain());
    let orchestrator = world.key(Who::Orchestrator).sign_recoverable(&digest);
    let node = world.key(Who::Node).sign_recoverable(&digest);
    let stranger = world.key(Who::Stranger).sign_recoverable(&digest);
    let file = |name: &str, orchestrator, node: Value| {
        let value = json!({
            "receipt": receipt, "usage": {}, "orchestrator_signature": orchestrator, "node_signature": node,
            "refused": null,
        });
        world.write(name, &value);
    };
    file("receipt.json", orchestrator, json!(node));
    file("forged.json", stranger, json!(node));
    file("unsigned.json", orchestrator, Value::Null);
    file("not-the-node.json", orchestrator, json!(stranger));
    for bad in ["forged.json", "unsigned.json", "not-the-node.json"] {
        let refused = world.refused(Who::Stranger, &["provider", "redeem", "--receipt", bad]);
        assert_eq!(
            (refused.exit, refused.code.as_str()),
            (4, "signature/wrong-signer"),
            "{bad}: {refused:?}"
        );
    }
    let early = world.refused(Who::Stranger, &["provider", "redeem", "--receipt", "receipt.json"]);
    assert_eq!((early.exit, early.refusal.as_str()), (5, "PostingStillOpen"), "{early:?}");
    // What a worker keeps: the same, an older one that promises less, one whose epoch can still be posted.
    let kept = |cumulative: u64, epochs: u64, pool: u64| {
        let (pool, cumulative) = (PoolId(pool), Amount::tokens(cumulative));
        let receipt = Receipt { pool, epoch: epoch.plus(epochs), cumulative, ..receipt };
        let digest = receipt.digest(&world.chain.deployment().rewards_domain());
        json!({
            "receipt": receipt, "usage": {},
            "orchestrator_signature": world.key(Who::Orchestrator).sign_recoverable(&digest),
            "node_signature": world.key(Who::Node).sign_recoverable(&digest),
        })
    };
    let ours = [kept(3, 0, 1), kept(7, 0, 1), kept(9, 1_000, 1)];
    world.write("kept.json", &json!(ours));
    world.write("mixed.json", &json!([ours[0], kept(8, 0, 2)]));
    let redeem = |file: &'static str| ["provider", "redeem", "--receipt", file];
    let early = world.refused(Who::Stranger, &redeem("kept.json"));
    assert_eq!((early.exit, early.refusal.as_str()), (5, "PostingStillOpen"), "{early:?}");
    world.advance(120).await;
    assert_eq!(world.refused(Who::Stranger, &redeem("mixed.json")).exit, 2);
    world.write("none.json", &json!([]));
    assert_eq!(world.refused(Who::Stranger, &redeem("none.json")).exit, 3);
    let held = world.done(Who::Stranger, &redeem("kept.json"));
    assert!(held["done"].as_str().unwrap().contains("--settle --pool 1 --payee"), "{held}");
    let settle =
        ["provider", "redeem", "--settle", "--pool", "1", "--payee", &payee.to_string()].map(str::to_owned);
    let settle: Vec<&str> = settle.iter().map(String::as_str).collect();
    let soon = world.refused(Who::Stranger, &settle);
    assert_eq!((soon.exit, soon.refusal.as_str()), (5, "TooEarly"), "{soon:?}");
    world.advance(21).await;
    let before = world.tokens(payee).await.0;
    world.done(Who::Stranger, &settle);
    assert_eq!(world.tokens(payee).await.0 - before, amount(7));
    let over = world.refused(Who::Stranger, &settle);
    assert_eq!((over.exit, over.refusal.as_str()), (3, "NoRedemption"), "{over:?}");
}

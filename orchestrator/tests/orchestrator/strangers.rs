//! What strangers and members do to a whole orchestrator, over real sockets, and what it comes to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{Addressing, Audience, seal};
use lode_protocol::hardware::GpuState;
use lode_protocol::ids::{AssignmentId, BootCounter, Incarnation, NodeId, Nonce, ReplicaId, TaskId};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::Hello;
use lode_protocol::units::Millis;
use serde_json::{Value, json};

use crate::pool::{Pool, key};
use crate::worker::{Answer, FakeWorker, now};

/// Whoever is refused often waits for it, and here all of them have one address: what is looked at at all is what these are
/// about.
const AT_ONCE: &str = "[limits.http]\nrefusal_delay = \"0s\"\n";

/// A hello of a key that is thrown away afterwards.
fn throw_away(pool: &Pool, number: u32) -> Vec<u8> {
    let mut secret = [0x55; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::from_bytes(&secret).unwrap();
    let lifetime = Millis::seconds(60);
    let addressing = |audience| Addressing { audience, realm: pool.realm, now: now(), lifetime };
    let descriptor = NodeDescriptor {
        node: NodeId(key.address()),
        specs: FakeWorker::specs_of(&key),
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0.1.0".to_owned(),
        boot: BootCounter(1),
        sequence: 1,
        issued_at: now(),
        expires_at: now().plus(lifetime),
    };
    let hello = Hello {
        boot: BootCounter(1),
        nonce: Nonce([1; 16]),
        agent_version: "0.1.0".to_owned(),
        descriptor: seal(&key, addressing(Audience::Any), &descriptor).bytes,
        takes_tags: None,
    };
    seal(&key, addressing(Audience::Peer(pool.key.address())), &hello).bytes
}

/// Status and body of what is posted to the fallback.
async fn post(client: &reqwest::Client, pool: &Pool, bytes: Vec<u8>) -> (u16, Vec<u8>) {
    let url = format!("{}/wire/v1", pool.endpoint("http").trim_end_matches('/'));
    let request = client.post(url).header("content-type", "application/cbor").body(bytes);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

/// So many hellos of as many keys, eight at a time; how many of them were not even looked at.
async fn flood(pool: &Pool, count: u32) -> u32 {
    let (next, turned_away) = (AtomicU32::new(0), AtomicU32::new(0));
    let client = reqwest::Client::new();
    let one = || async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let (status, body) = post(&client, pool, throw_away(pool, number)).await;
            match status {
                200 => {}
                429 => {
                    assert!(String::from_utf8_lossy(&body).contains("wire/too-often"));
                    turned_away.fetch_add(1, Ordering::Relaxed);
                }
                other => panic!("{other}: {}", String::from_utf8_lossy(&body)),
            }
        }
    };
    join_all((0..8).map(|_| one())).await;
    turned_away.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_throw_away_hellos_shut_no_registered_node_out_and_leave_no_row() {
    // All of them have one address here, which would have no more than its share asked about.
    let limits = "[limits]\nmessage_burst = 10000\nunregistered = 500\nunregistered_per_address = 100000\n";
    let pool = Pool::start_with(&format!("{limits}{AT_ONCE}")).await;
    assert_eq!(flood(&pool, 2_000).await, 0, "as many as all addresses together may");
    let honest = key(0x31);
    pool.register(&honest).await;
    let mut worker = FakeWorker::connect(&pool, honest, 1, "/ip4").await;
    worker.hello().await;
    let nodes = pool.get("/v1/nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1, "strangers are no nodes: {nodes}");
    let told = pool.get("/v1/events?about=nodes&limit=1000").await;
    assert!(told["items"].as_array().unwrap().len() <= 2, "strangers write no log: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_flood_of_hellos_over_https_few_are_verified_and_a_member_comes_back_in_the_middle_of_it() {
    let limits = "[limits]\nmessage_burst = 10000\nhellos_per_second = 5\nhello_burst = 40\n";
    let pool = Pool::start_with(&format!("{limits}{AT_ONCE}")).await;
    let member = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    member.die();
    let began = Instant::now();
    let turned_away = flood(&pool, 600).await;
    let looked_at = f64::from(600 - turned_away);
    assert!(looked_at <= 41.0 + 5.0 * began.elapsed().as_secs_f64(), "{looked_at}");
    // The next process of the member's, behind the same address: by now nobody else has a share.
    let mut again = FakeWorker::connect(&pool, key(0x31), 2, "http").await;
    let (turned_away, granted) = tokio::join!(flood(&pool, 600), again.hello());
    assert!(turned_away >= 500 && granted.session.0 != [0; 16], "{turned_away}");
    // And who holds a session is not counted at all.
    for _ in 0..30 {
        again.beat().await;
    }
    let client = reqwest::Client::new();
    let mut refused = 0;
    for _ in 0..200 {
        refused += u32::from(post(&client, &pool, vec![0xff; 40]).await.0 == 429);
    }
    assert!(refused > 0, "what is no message is no way around");
}

fn claims(count: u128, incarnation: u32) -> Vec<AssignmentReport> {
    let claim = |number: u128| AssignmentReport {
        phase: None,
        id: AssignmentId {
            replica: ReplicaId { task: TaskId(uuid::Uuid::from_u128(1 << 100 | number)), replica: 0 },
            incarnation: Incarnation(incarnation),
        },
        state: AssignmentState::Running,
        reason: None,
        detail: String::new(),
        exit_code: None,
        restarts: 0,
        gpus: Vec::new(),
        ports: Vec::new(),
        image: None,
        at: now(),
    };
    (0..count).map(claim).collect()
}

async fn log(pool: &Pool) -> Value {
    pool.get("/v1/events?limit=1000").await["items"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_reports_of_a_stranger_or_of_a_member_write_nothing_into_the_event_log_and_move_nothing() {
    let pool = Pool::start().await;
    let mut member = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = pool.submit(json!({ "name": "t", "kind": "service", "image": "i:1" })).await;
    let order = member.order().await;
    let running = FakeWorker::report(&order, AssignmentState::Running);
    member.beat_with(|beat| beat.assignments = vec![running.clone()]).await.instruction();
    let (before, task) = (log(&pool).await, pool.get(&format!("/v1/tasks/{id}")).await);
    for way in ["/ip4", "http"] {
        let mut stranger = FakeWorker::connect(&pool, key(0x61), 1, way).await;
        // It has seen the member's session, and claims what runs there, and later placements of it.
        stranger.session.clone_from(&member.session);
        for incarnation in [1, 64, 3_841_263] {
            let mut all = claims(1_000, incarnation);
            let of_ours = AssignmentId { incarnation: Incarnation(incarnation), ..order.id };
            all.push(FakeWorker::report_of(of_ours, &order, AssignmentState::Failed));
            assert_eq!(stranger.beat_with(|beat| beat.assignments = all).await.code(), "session/unknown");
        }
    }
    let mut told = 0;
    for incarnation in 0..8 {
        let mut all = claims(14_000, incarnation);
        all.push(running.clone());
        match member.beat_with(|beat| beat.assignments = all).await {
            Answer::Instruction(_) => told += 1,
            Answer::Refusal(refusal) => {
                assert_eq!(refusal.code, "session/too-fast");
                member.sequence.0 -= 1;
            }
            other @ Answer::Granted(_) => panic!("{other:?}"),
        }
    }
    assert!(told >= 1, "at least one was heard");
    assert_eq!(log(&pool).await, before);
    let after = pool.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(after["assignments"][0]["id"], task["assignments"][0]["id"]);
    assert_eq!(after["assignments"][0]["state"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_hundred_beats_of_a_member_at_once_cost_no_more_commits_than_its_bucket_has() {
    for way in ["/ip4", "http"] {
        let pool = Pool::start_with(&format!("[limits]\nmessage_burst = 300\n{AT_ONCE}")).await;
        let mut member = FakeWorker::member(&pool, key(0x31), way).await;
        let began = Instant::now();
        let (mut heard, mut refused) = (0, 0);
        for number in 0..814 {
            // Each would change a row: a GPU that breaks and heals.
            let state = [GpuState::Healthy, GpuState::Suspect][number % 2];
            match member.beat_with(|beat| beat.gpus[0].state = state).await {
                Answer::Instruction(_) => heard += 1,
                Answer::Refusal(refusal) => {
                    assert_eq!(refusal.code, "session/too-fast", "{refusal:?}");
                    let wait = refusal.retry_after.expect("the time after which it may be said");
                    assert!((1..=1_000).contains(&wait.0), "{wait:?}");
                    member.sequence.0 -= 1;
                    refused += 1;
                }
                other @ Answer::Granted(_) => panic!("{other:?}"),
            }
        }
        let most = 301.0 + 4.0 * (began.elapsed() + Duration::from_secs(1)).as_secs_f64();
        assert!(f64::from(heard) <= most, "{way}: {heard} heard, {refused} refused");
    }
}

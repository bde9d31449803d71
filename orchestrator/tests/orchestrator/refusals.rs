//! Everything that must not get through: distinct codes, nothing changed.

use lode_network::Protocol;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{BootCounter, PoolId, Sequence};
use lode_protocol::session::Membership;
use lode_protocol::units::Millis;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::pool::{DEADLINE, Pool, key};
use crate::worker::{Answer, FakeWorker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_not_what_they_claim_are_refused_with_distinct_codes() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let before = pool.get("/v1/nodes").await;

    // Signed by somebody else than the peer of the connection.
    let mut stranger = FakeWorker::connect(&pool, key(0x32), 1, "/ip4").await;
    let hello = stranger.hello_body();
    let foreign = stranger.seal(&hello);
    assert_eq!(worker.say(foreign).await.code(), "envelope/wrong-signer");

    // A beat for another node: of our session, signed by the stranger on its own connection.
    let beat = worker.beat_body();
    worker.sequence = Sequence(worker.sequence.0 - 1);
    let for_another = stranger.seal(&beat);
    assert_eq!(stranger.say(for_another).await.code(), "session/unknown");

    // Bytes that were changed on the way.
    let beat = worker.beat_body();
    worker.sequence = Sequence(worker.sequence.0 - 1);
    let mut changed = worker.seal(&beat);
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert_eq!(worker.say(changed).await.code(), "envelope/bad-signature");

    // Not ours.
    let garbage = vec![0xff; 40];
    assert_eq!(worker.say(garbage).await.code(), "envelope/malformed");

    // Another pool.
    let realm = worker.realm;
    worker.realm = Realm { pool: PoolId(realm.pool.0 + 1), ..realm };
    let hello = worker.hello_body();
    let elsewhere = worker.seal(&hello);
    worker.realm = realm;
    // The refusal comes in the realm of the pool that refuses.
    assert_eq!(worker.say(elsewhere).await.code(), "envelope/wrong-pool");

    // Too large for what it is.
    let mut hello = worker.hello_body();
    hello.descriptor = vec![0; 100 << 10];
    let large = worker.seal(&hello);
    assert_eq!(worker.say(large).await.code(), "envelope/too-large");

    // A descriptor of another node inside an honest hello.
    let mut hello = worker.hello_body();
    hello.descriptor = stranger.descriptor();
    let borrowed = worker.seal(&hello);
    assert_eq!(worker.say(borrowed).await.code(), "envelope/wrong-signer");

    assert_eq!(worker.beat().await.membership, Membership::Member, "the session lives on");
    let after = pool.get("/v1/nodes").await;
    assert_eq!(after["items"][0]["state"], before["items"][0]["state"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_and_wrong_sequences_are_refused_also_after_a_restart() {
    let mut pool = Pool::start().await;
    let secret = key(0x31);
    let mut worker = FakeWorker::member(&pool, secret.clone(), "/ip4").await;

    let beat = worker.beat_body();
    let bytes = worker.seal(&beat);
    let first = worker.say(bytes.clone()).await.instruction();
    let again = worker.say(bytes.clone()).await.instruction();
    assert_eq!(
        (first.channel, first.desired),
        (again.channel, again.desired),
        "the same beat gets the same answer"
    );
    let mut other = beat.clone();
    other.usage.memory = lode_protocol::units::Bytes(1);
    let conflicting = worker.seal(&other);
    assert_eq!(worker.say(conflicting).await.code(), "session/replay");
    worker.beat().await;
    assert_eq!(worker.say(bytes.clone()).await.code(), "session/stale");

    let hello = worker.hello_body();
    let hello_bytes = worker.seal(&hello);
    let granted = worker.say(hello_bytes.clone()).await.granted();
    assert_eq!(
        worker.say(hello_bytes.clone()).await.granted().session,
        granted.session,
        "asked twice, granted once"
    );
    worker.session = Some(granted);
    worker.sequence = Sequence(0);
    worker.beat().await;

    pool.stop().await;
    worker.die();
    pool.start_again().await;
    let mut worker = FakeWorker::connect(&pool, secret, 1, "/ip4").await;
    assert_eq!(worker.say(hello_bytes).await.code(), "session/replay");
    assert_eq!(worker.say(bytes).await.code(), "session/unknown");
    worker.boot = BootCounter(0);
    let old = worker.hello_body();
    let old = worker.seal(&old);
    assert_eq!(worker.say(old).await.code(), "session/stale-boot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_counts_once_and_only_for_the_invite_it_names() {
    let pool = Pool::start().await;
    let secret = key(0x31);
    pool.register(&secret).await;
    let mut worker = FakeWorker::connect(&pool, secret, 1, "/ip4").await;
    worker.hello().await;
    let mut consent = worker.join(&pool).await;
    let used = consent.clone();
    let code = worker.beat_with(|beat| beat.consent = Some(used)).await.code();
    assert!(code.starts_with("join/"), "{code}");
    consent.invite.deadline += 1;
    let code = worker.beat_with(|beat| beat.consent = Some(consent.clone())).await.code();
    assert!(code.starts_with("join/"), "{code}");
    consent.invite.deadline = 1;
    let code = worker.beat_with(|beat| beat.consent = Some(consent)).await.code();
    assert!(code.starts_with("join/"), "{code}");
    assert_eq!(worker.beat().await.membership, Membership::Member);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_one_key_are_noticed_and_get_nothing() {
    let pool = Pool::start().await;
    let secret = key(0x31);
    let mut first = FakeWorker::member(&pool, secret.clone(), "/ip4").await;
    let mut second = FakeWorker::connect(&pool, secret, 2, "/ip4").await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let hello = second.hello_body();
        let bytes = second.seal(&hello);
        match second.say(bytes).await {
            Answer::Granted(granted) => {
                second.session = Some(granted);
                second.sequence = Sequence(0);
                second.beat_with(|_| {}).await;
            }
            other => codes.push(other.code()),
        }
        match first.beat_with(|_| {}).await {
            Answer::Refusal(refusal) => codes.push(refusal.code.to_string()),
            other => panic!("a superseded session still counts: {other:?}"),
        }
        let hello = first.hello_body();
        let bytes = first.seal(&hello);
        match first.say(bytes).await {
            Answer::Granted(_) => {}
            other => codes.push(other.code()),
        }
    }
    assert!(codes.iter().any(|code| code == "node/conflicted"), "{codes:?}");
    let nodes = pool.get("/v1/nodes").await;
    assert_eq!(nodes["items"][0]["state"], "conflicted", "{codes:?}");
    let findings = pool.get("/v1/status").await["findings"].to_string();
    assert!(findings.contains("node/conflicted"), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_is_told_to_its_node_and_to_the_operator_until_the_node_is_heard_again() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x37), "/ip4").await;
    worker.ahead = Millis::seconds(45);
    let refusal = match worker.beat_with(|_| {}).await {
        Answer::Refusal(refusal) => refusal,
        other => panic!("a beat from the future was taken: {other:?}"),
    };
    assert_eq!(refusal.code, "envelope/not-yet-valid");
    assert!(refusal.message.contains("the sender's clock is 45s ahead of"), "{}", refusal.message);
    assert!(refusal.remedy.contains("synchronise the clocks"), "{}", refusal.remedy);
    let findings = pool.get("/v1/status").await["findings"].to_string();
    assert!(findings.contains("clock/differs"), "{findings}");
    assert!(findings.contains(&worker.node().to_string()) && findings.contains("45s ahead of"), "{findings}");
    // What a stranger says of its clock is nobody's business.
    let mut stranger = FakeWorker::connect(&pool, key(0x38), 1, "/ip4").await;
    stranger.ahead = Millis::seconds(45);
    let hello = stranger.hello_body();
    let bytes = stranger.seal(&hello);
    assert_eq!(stranger.say(bytes).await.code(), "envelope/not-yet-valid");
    let findings = pool.get("/v1/status").await["findings"].to_string();
    assert!(!findings.contains(&stranger.node().to_string()), "{findings}");
    worker.ahead = Millis(0);
    worker.beat().await;
    let findings = pool.get("/v1/status").await["findings"].to_string();
    assert!(!findings.contains("clock/differs"), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_body_over_https_is_refused_before_it_is_read() {
    let pool = Pool::start().await;
    let place = pool.endpoint("http").replace("http://", "");
    let mut connection = tokio::net::TcpStream::connect(&place).await.unwrap();
    // Only the head: whoever waited for the body would never answer.
    let head = format!(
        "POST /wire/v1 HTTP/1.1\r\nhost: {place}\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n",
        64 << 20
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut text = vec![0; 4_096];
    let read = tokio::time::timeout(DEADLINE, connection.read(&mut text)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&text[..read]).into_owned();
    assert!(text.starts_with("HTTP/1.1 413") && text.contains("wire/too-large"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_beat_is_not_opened_for_whoever_has_no_session() {
    let pool = Pool::start().await;
    let mut member = FakeWorker::member(&pool, key(0x31), "http").await;
    let mut beat = member.beat_body();
    beat.descriptor = Some(vec![0; 200 << 10]);
    let large = member.seal(&beat);
    assert!(large.len() > Protocol::Session.stranger_limit());
    let code = member.say(large).await.code();
    assert_ne!(code, "session/unknown", "it is opened, and its descriptor is none");

    // The same of somebody else, changed on the way: whoever looked would see that.
    let mut stranger = FakeWorker::connect(&pool, key(0x32), 1, "http").await;
    let mut changed = stranger.seal(&beat);
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(stranger.say(changed).await.code(), "session/unknown");
}

//! Hostile and confused messages against a running orchestrator: each has its own code, none changes anything.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use lode_contracts::{
    Amount, ChainEvent, ChainReader as _, Intent, PoolsCall, PoolsEvent, RegistryCall, TokenCall,
};
use lode_e2e::forger::{Answer, Forger, now};
use lode_e2e::pool::Pool;
use lode_e2e::waiting::{step, until};
use lode_network::{Endpoint, EndpointConfig, NetworkMetrics, PeerAddress, Protocol};
use lode_protocol::envelope::{Addressing, Audience, seal};
use lode_protocol::ids::{Address, BootCounter, NodeId, PoolId, ProviderId, SessionId};
use lode_protocol::join::{Invite, Join, LeaveStatement};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::{Consent, Desired, Heartbeat};
use lode_protocol::units::Millis;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(40);

/// What no refused message may change.
async fn state(pool: &Pool) -> anyhow::Result<Value> {
    let mut nodes = Vec::new();
    for node in pool.nodes()? {
        let view = pool.node_view(node).await?;
        nodes.push(json!([view["membership"], view["active"], view["boot"], view["generation"]]));
    }
    Ok(json!({ "nodes": nodes, "tasks": pool.api().get("/v1/tasks").await?["items"] }))
}

/// Somebody who was given a session of the second worker's, which rests meanwhile.
struct Impostor {
    forger: Forger,
    boot: BootCounter,
    stranger: Forger,
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_have_distinct_codes_and_change_nothing() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let node = pool.node("worker-2")?;
    pool.stop_program("worker-2").await?;
    let boot = BootCounter(pool.node_view(node).await?["boot"].as_u64().context("no boot")?);
    let impostor = Impostor {
        forger: Forger::new(&pool, pool.key("worker-2")?)?,
        boot,
        stranger: Forger::new(&pool, SigningKey::from_bytes(&[7; 32])?)?,
    };
    let before = state(&pool).await?;
    let mut codes = Vec::new();
    codes.extend(envelopes(&pool, &impostor).await?);
    codes.extend(sequences(&impostor).await?);
    codes.extend(consents(&pool, &impostor).await?);
    codes.push(beat_for_another_node(&pool, &impostor).await?);
    replay_across_a_restart(&pool, &impostor).await?;
    codes.push("session/unknown".to_owned());
    ensure!(state(&pool).await? == before, "the state was {before} and is {}", state(&pool).await?);
    codes.extend(two_processes(&pool, &impostor).await?);
    codes.extend(joins_on_chain(&pool).await?);
    let distinct: BTreeSet<&String> = codes.iter().collect();
    ensure!(distinct.len() == codes.len(), "codes are used twice: {codes:?}");

    step("the real worker comes back");
    pool.start_program("worker-2").await?;
    pool.until_well(SOON).await?;
    ensure!(state(&pool).await?["tasks"] == before["tasks"]);
    pool.finish().await
}

fn expect(answer: &Answer, code: &str) -> anyhow::Result<String> {
    ensure!(answer.code() == code, "expected {code}, got {answer:?}");
    if let Answer::Refused(refusal) = answer {
        ensure!(!refusal.message.is_empty() && !refusal.remedy.is_empty(), "{refusal:?}");
    }
    eprintln!("    refused: {code}");
    Ok(code.to_owned())
}

async fn envelopes(pool: &Pool, impostor: &Impostor) -> anyhow::Result<Vec<String>> {
    step("foreign signatures, other pools, other times, other sizes");
    let Impostor { forger, boot, stranger } = impostor;
    let hello = forger.hello(*boot);
    let usual = forger.addressing();
    let mut codes = Vec::new();

    // The stranger signs, the header names the worker's key.
    let mut forged = stranger.seal(&stranger.hello(*boot)).bytes;
    let (wrong, right) = (stranger.key.public(), forger.key.public());
    let at = find(&forged, &wrong.0).context("the header names the signer")?;
    forged[at..at + right.0.len()].copy_from_slice(&right.0);
    codes.push(expect(&forger.post(forged).await?, "envelope/bad-signature")?);

    let mut other_pool = usual;
    other_pool.realm.pool = PoolId(usual.realm.pool.0 + 1);
    let mut other_contract = usual;
    other_contract.realm.deployment = Address([9; 20]);
    for addressing in [other_pool, other_contract] {
        let answer = forger.post(seal(&forger.key, addressing, &hello).bytes).await?;
        expect(&answer, "envelope/wrong-pool")?;
    }
    codes.push("envelope/wrong-pool".to_owned());
    let cases: [(Addressing, &str); 3] = [
        (Addressing { audience: Audience::Peer(Address([1; 20])), ..usual }, "envelope/wrong-audience"),
        (Addressing { now: usual.now.minus(Millis::seconds(600)), ..usual }, "envelope/expired"),
        (Addressing { now: usual.now.plus(Millis::seconds(600)), ..usual }, "envelope/not-yet-valid"),
    ];
    for (addressing, code) in cases {
        codes.push(expect(&forger.post(seal(&forger.key, addressing, &hello).bytes).await?, code)?);
    }
    codes.push(expect(&forger.post(b"not an envelope".to_vec()).await?, "envelope/malformed")?);
    let wrong_purpose = seal(&forger.key, Addressing { audience: Audience::Any, ..usual }, &refusal()).bytes;
    codes.push(expect(&forger.post(wrong_purpose).await?, "envelope/wrong-purpose")?);
    let mut large = hello.clone();
    large.agent_version = "x".repeat(100 << 10);
    codes.push(expect(&forger.say(&large).await?, "envelope/too-large")?);
    // The refusal comes before the body was read: it is lost where the sender meets the closed connection first.
    let oversized = async || forger.post(vec![0; (1 << 20) + (16 << 10)]).await;
    codes.push(expect(&until("an oversized body is answered", SOON, oversized).await?, "wire/too-large")?);
    codes.push(expect(&forger.post_as("text/plain", forger.seal(&hello).bytes).await?, "wire/media-type")?);
    codes.push(expect(&forger.post(Vec::new()).await?, "wire/empty")?);

    // A descriptor that another node signed of itself, and one that this node signed of another.
    let mut foreign = forger.hello(*boot);
    foreign.descriptor = stranger.descriptor(stranger.key.address());
    codes.push(expect(&forger.say(&foreign).await?, "envelope/wrong-signer")?);
    foreign.descriptor = forger.descriptor(pool.node("worker-1")?.0);
    codes.push(expect(&forger.say(&foreign).await?, "descriptor/wrong-node")?);
    Ok(codes)
}

fn refusal() -> lode_protocol::session::Refusal {
    lode_protocol::session::Refusal {
        code: lode_protocol::error_code::ErrorCode::new("test/refusal"),
        message: String::new(),
        remedy: String::new(),
        reopen: false,
        retry_after: None,
        request: lode_protocol::hash::Digest::default(),
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

async fn sequences(impostor: &Impostor) -> anyhow::Result<Vec<String>> {
    step("stale and conflicting sequences, replays, other sessions, boots and terms");
    let Impostor { forger, boot, stranger } = impostor;
    let hello = forger.seal(&forger.hello(*boot));
    let Answer::Granted(granted) = forger.post(hello.bytes.clone()).await? else { bail!("no session") };
    // The same question gets the same answer.
    match forger.post(hello.bytes.clone()).await? {
        Answer::Granted(again) => {
            ensure!(again.session == granted.session, "a replayed hello opened a session")
        }
        other => bail!("{other:?}"),
    }
    let mut codes = Vec::new();
    let mut incomplete = forger.beat(&granted, *boot, 1, None);
    incomplete.complete = false;
    codes.push(expect(&forger.say(&incomplete).await?, "session/incomplete")?);
    let first = forger.seal(&forger.beat(&granted, *boot, 1, None));
    let answered = forger.post(first.bytes.clone()).await?;
    expect(&answered, "instruction")?;
    let again = forger.post(first.bytes.clone()).await?;
    match (&answered, &again) {
        (Answer::Instruction(one), Answer::Instruction(other)) => {
            ensure!(one.channel == other.channel, "the same beat was answered differently");
        }
        other => bail!("{other:?}"),
    }
    // Other bytes under the same number.
    let mut conflicting = forger.beat(&granted, *boot, 1, None);
    conflicting.usage.cpus = lode_protocol::units::MilliCpus(1);
    codes.push(expect(&forger.say(&conflicting).await?, "session/replay")?);
    expect(&forger.say(&forger.beat(&granted, *boot, 5, None)).await?, "instruction")?;
    codes.push(expect(&forger.say(&forger.beat(&granted, *boot, 4, None)).await?, "session/stale")?);
    let mut other_term = forger.beat(&granted, *boot, 6, None);
    other_term.epoch.0 += 1;
    codes.push(expect(&forger.say(&other_term).await?, "session/wrong-epoch")?);
    let other_boot = forger.beat(&granted, BootCounter(boot.0 + 1), 6, None);
    codes.push(expect(&forger.say(&other_boot).await?, "session/stale-boot")?);
    let mut unknown = forger.beat(&granted, *boot, 6, None);
    unknown.session = SessionId([3; 16]);
    expect(&forger.say(&unknown).await?, "session/unknown")?;
    // A stranger beats in the worker's session: it is not the stranger's.
    expect(&stranger.say(&stranger.beat(&granted, *boot, 6, None)).await?, "session/unknown")?;
    // A hello of an earlier session, once another one is open.
    forger.open_session(*boot).await?;
    expect(&forger.post(hello.bytes).await?, "session/replay")?;
    Ok(codes)
}

async fn consents(pool: &Pool, impostor: &Impostor) -> anyhow::Result<Vec<String>> {
    step("expired, reused and foreign consents");
    let Impostor { forger, boot, .. } = impostor;
    let (chain, id, node) = (pool.chain()?, pool.pool_id()?, pool.node("worker-2")?);
    let membership = chain.membership(id, node).await?;
    let terms = chain.pool(id).await?.context("no pool")?.requirements;
    let granted = forger.open_session(*boot).await?;
    let soon = now().0 / 1_000 + 600;
    let invite = |counter: u64, deadline: u64, pool: PoolId| Invite {
        pool,
        node,
        provider: membership.provider.unwrap_or_default(),
        counter,
        terms,
        deadline,
    };
    let joined = membership.join_counter;
    expect(&forger.say(&forger.beat(&granted, *boot, 1, None)).await?, "instruction")?;
    let cases = [
        (invite(joined.saturating_sub(1), soon, id), "join/already-used"),
        (invite(joined, now().0 / 1_000 - 600, id), "join/invite-expired"),
        (invite(joined, soon, PoolId(id.0 + 1)), "join/consent-mismatch"),
        (invite(joined, soon, id), "join/not-invited"),
    ];
    let mut codes = Vec::new();
    // The first answer may still count as the one that told the worker of its join: beat once more.
    expect(&forger.say(&forger.beat(&granted, *boot, 2, None)).await?, "instruction")?;
    for (number, (invite, code)) in (3..).zip(cases) {
        let domain = pool.deployment()?.pools_domain();
        let signature = forger.key.sign_recoverable(&invite.consent_digest(&domain));
        let mut beat: Heartbeat = forger.beat(&granted, *boot, number, None);
        beat.consent = Some(Consent { invite, signature });
        codes.push(expect(&forger.say(&beat).await?, code)?);
    }
    Ok(codes)
}

async fn beat_for_another_node(pool: &Pool, impostor: &Impostor) -> anyhow::Result<String> {
    step("a beat for another node over one's own connection");
    let Impostor { forger, boot, stranger } = impostor;
    let granted = forger.open_session(*boot).await?;
    let stolen = forger.seal(&forger.beat(&granted, *boot, 1, None)).bytes;
    let config = pool.config("orchestrator")?;
    let address = config["wire"]["listen"][0].as_str().context("no address")?.parse::<PeerAddress>()?;
    let settings = EndpointConfig { listen: Vec::new(), ..EndpointConfig::default() };
    let (endpoint, task) = Endpoint::bind(settings, &stranger.key, NetworkMetrics::default()).await?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(task.run(stop.clone()));
    let limit = Duration::from_secs(10);
    let connection = endpoint.connect(&address, Some(forger.orchestrator), limit).await?;
    let mut stream = endpoint.open(connection.id, Protocol::Session, limit).await?;
    stream.send(&stolen, limit).await?;
    let answer = stream.receive(limit).await?.context("the stream ended")?;
    stop.cancel();
    running.await?;
    // The answer belongs to whoever holds the connection.
    expect(&stranger.read(&answer)?, "envelope/wrong-signer")?;
    Ok("beat-for-another: envelope/wrong-signer".to_owned())
}

async fn replay_across_a_restart(pool: &Pool, impostor: &Impostor) -> anyhow::Result<()> {
    step("replays across a restart of the orchestrator");
    let Impostor { forger, boot, .. } = impostor;
    let hello = forger.seal(&forger.hello(*boot));
    let Answer::Granted(granted) = forger.post(hello.bytes.clone()).await? else { bail!("no session") };
    let beat = forger.seal(&forger.beat(&granted, *boot, 1, None));
    expect(&forger.post(beat.bytes.clone()).await?, "instruction")?;
    pool.kill_program("orchestrator").await?;
    pool.start_program("orchestrator").await?;
    let answer = until("it answers", SOON, async || forger.post(beat.bytes.clone()).await).await?;
    expect(&answer, "session/unknown")?;
    let Answer::Refused(refusal) = answer else { bail!("not refused") };
    ensure!(refusal.reopen, "the worker is not told to open a session: {refusal:?}");
    expect(&forger.post(hello.bytes).await?, "session/replay")?;
    Ok(())
}

async fn two_processes(pool: &Pool, impostor: &Impostor) -> anyhow::Result<Vec<String>> {
    step("two processes with one key");
    let Impostor { forger, boot, .. } = impostor;
    let node = pool.node("worker-2")?;
    let one = forger.open_session(*boot).await?;
    expect(&forger.say(&forger.beat(&one, *boot, 1, None)).await?, "instruction")?;
    let other = forger.open_session(*boot).await?;
    expect(&forger.say(&forger.beat(&other, *boot, 1, None)).await?, "instruction")?;
    // The first one still speaks: once may be a late message, twice is another process.
    expect(&forger.say(&forger.beat(&one, *boot, 2, None)).await?, "session/unknown")?;
    expect(&forger.say(&forger.beat(&one, *boot, 3, None)).await?, "node/conflicted")?;
    pool.until_node(node, "conflicted", Duration::from_secs(5)).await?;
    let status = pool.api().get("/v1/status").await?;
    ensure!(
        lode_e2e::nodes::findings(&status).any(|finding| finding["code"] == "node/conflicted"),
        "{status}"
    );
    // Nothing is placed on it.
    let task =
        pool.submit(&lode_e2e::tasks::on_node(lode_e2e::tasks::batch("nowhere", 0, &[]), node)).await?;
    ensure!(pool.task(&task).await?["state"] == "pending");
    pool.remove(&task).await?;
    // What the orchestrator wanted of the node it still wants: an empty set, not a lost one.
    if let Answer::Instruction(instruction) = forger.say(&forger.beat(&other, *boot, 2, None)).await? {
        let empty = match &instruction.desired {
            Desired::Unchanged => true,
            Desired::Full { orders, .. } => orders.is_empty(),
        };
        ensure!(empty, "{instruction:?}");
    }
    until("it heals after a lease of calm", SOON, async || {
        let view = pool.node_view(node).await?;
        ensure!(view["state"] != "conflicted", "it is {}", view["state"]);
        Ok(())
    })
    .await?;
    Ok(vec!["node/conflicted".to_owned()])
}

/// The contracts refuse what the orchestrator would never submit. By a node of its own, without coins.
async fn joins_on_chain(pool: &Pool) -> anyhow::Result<Vec<String>> {
    step("expired and reused invites on chain");
    let (chain, id, deployment) = (pool.chain()?, pool.pool_id()?, pool.deployment()?);
    let (node, orchestrator) = (SigningKey::from_bytes(&[8; 32])?, pool.key("orchestrator")?);
    let (domain, terms) = (deployment.pools_domain(), chain.pool(id).await?.context("no pool")?.requirements);
    let provider = pool.operator("provider")?;
    let amount = chain.staking_terms().await?.min_stake_per_unit;
    provider.execute(Intent::Token(TokenCall::Approve { spender: deployment.registry, amount })).await?;
    provider.execute(Intent::Registry(RegistryCall::Stake { amount })).await?;
    provider.add_node(&node, 1).await?;
    let join = |deadline: u64| {
        let invite = Invite {
            pool: id,
            node: NodeId(node.address()),
            provider: ProviderId(provider.address()),
            counter: 0,
            terms,
            deadline,
        };
        Intent::Pools(PoolsCall::JoinBatch(vec![Join {
            invite,
            invite_signature: orchestrator.sign_recoverable(&invite.invite_digest(&domain)),
            consent_signature: node.sign_recoverable(&invite.consent_digest(&domain)),
        }]))
    };
    let anybody = pool.operator("owner")?;
    let deadline = now().0 / 1_000 + 600;
    let outcome = async |intent: Intent| match anybody.execute(intent).await {
        Err(error) => error.to_string(),
        Ok(receipt) => {
            let events = receipt.events.iter().map(|logged| &logged.event);
            let outcomes: Vec<String> = events
                .filter_map(|event| match event {
                    ChainEvent::Pools(PoolsEvent::JoinFailed { reason, .. }) => Some(reason.to_string()),
                    ChainEvent::Pools(PoolsEvent::NodeJoined { .. }) => Some("joined".to_owned()),
                    ChainEvent::Pools(PoolsEvent::NodeAlreadyMember { .. }) => {
                        Some("already a member".to_owned())
                    }
                    _ => None,
                })
                .collect();
            outcomes.join(", ")
        }
    };
    let expired = outcome(join(deadline - 3_600)).await;
    ensure!(expired.contains("SignatureExpired"), "{expired}");
    ensure!(!chain.membership(id, NodeId(node.address())).await?.active, "an expired invite was taken");
    let joined = outcome(join(deadline)).await;
    ensure!(joined == "joined", "{joined}");
    let statement = LeaveStatement { pool: id, node: NodeId(node.address()), counter: 1, deadline };
    let signature = node.sign_recoverable(&statement.digest(&domain));
    anybody.execute(Intent::Pools(PoolsCall::LeaveBySignature { statement, signature })).await?;
    let reused = outcome(join(deadline)).await;
    ensure!(reused.contains("WrongCounter"), "{reused}");
    ensure!(!chain.membership(id, NodeId(node.address())).await?.active, "a used invite was taken again");
    ensure!(chain.balance(node.address()).await? == Amount::ZERO);
    Ok(vec!["chain: SignatureExpired".to_owned(), "chain: WrongCounter".to_owned()])
}

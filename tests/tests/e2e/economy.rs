//! Work is paid, cheating costs, and a stolen node key is worth nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_contracts::{
    Amount, ChainReader as _, Deployment, Intent, Operator, PoolParameters, PoolsCall, RegistryCall,
    RewardsCall,
};
use lode_e2e::extra_validator::ExtraValidator;
use lode_e2e::extra_worker::ExtraWorker;
use lode_e2e::people::Person;
use lode_e2e::pool::Pool;
use lode_e2e::tasks::{batch, on_node};
use lode_e2e::waiting::{step, until};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::{Invite, Join, NodeAuthorization, PoolApproval};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
/// A root is posted, its veto window passes, and it can be claimed under.
const PAID: Duration = Duration::from_secs(120);
/// All phases of an accusation, and some.
const JUDGED: Duration = Duration::from_secs(120);
/// Stake of the provider: twice what its two GPUs need.
const STAKE: u64 = 40;

/// What a wallet makes of the message that it is shown.
type DigestOf = fn(&Value, &Deployment) -> anyhow::Result<Digest>;

#[tokio::test(flavor = "multi_thread")]
async fn work_is_paid_and_a_provider_gets_its_stake_back() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let provider = Person::new(&pool, "provider", 100).await?;
    let anybody = Person::new(&pool, "anybody", 0).await?;
    let mut worker = join_offline(&pool, &provider, &anybody).await?;
    let node = worker.node();

    step("it works, and the epoch's root of earnings is posted");
    let before = pool.chain()?.token_balance(provider.address()).await?;
    let task = pool.submit(&on_node(batch("earns", 2, &["--sleep", "12"]), node)).await?;
    pool.until_task(&task, "succeeded", SOON).await?;
    let document = until("the provider is in a final root", PAID, async || {
        let document = pool.api().get(&format!("/v1/payees/{}", provider.address())).await?;
        ensure!(document["root"]["status"] == "final", "{document}");
        Ok(document)
    })
    .await?;
    let earned: Amount = document["leaf"]["cumulative"].as_str().context("no amount")?.parse()?;
    ensure!(earned > Amount::ZERO, "{document}");
    receipts_are_signed_by_both(&pool, node, document["epoch"].as_u64().context("no epoch")?).await?;

    step("anybody claims for the provider, once");
    let address = provider.address().to_string();
    anybody.lode(&pool, &["provider", "claim", "--payee", &address]).await?;
    let paid = pool.chain()?.token_balance(provider.address()).await?.checked_sub(before);
    ensure!(paid.is_some_and(|paid| paid >= earned), "{earned} was earned, {paid:?} paid");
    // What the two GPUs cost for as long as the container ran at most: 12 s, its start and its end.
    let most = Amount(pool.price_per_gpu_hour()?.0 * 2 * 40 / 3_600);
    ensure!(earned <= most, "{earned} for 12 s on two GPUs");
    let said = anybody.refused(&pool, &["provider", "claim", "--payee", &address]).await?;
    ensure!(said.to_lowercase().contains("claim"), "{said}");
    let twice = pool.chain()?.token_balance(provider.address()).await?.checked_sub(before);
    ensure!(twice == paid, "claimed twice: {paid:?}, then {twice:?}");

    step("the provider takes its node and its stake out");
    worker.stop()?;
    provider.lode(&pool, &["provider", "remove", &node.to_string()]).await?;
    provider.lode(&pool, &["provider", "unstake", &STAKE.to_string()]).await?;
    provider.refused(&pool, &["provider", "withdraw"]).await.context("stake left before its time")?;
    until("the stake is back", Duration::from_secs(90), async || {
        provider.lode(&pool, &["provider", "withdraw"]).await
    })
    .await?;
    let end = pool.chain()?.token_balance(provider.address()).await?;
    let expected = Amount::tokens(100).saturating_add(paid.unwrap_or(Amount::ZERO));
    ensure!(end == expected, "{end} at the end, not {expected}");
    pool.all_stayed_up().await?;
    pool.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheat_is_slashed_the_falsely_accused_is_not_and_a_stolen_node_key_is_worth_nothing()
-> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let provider = Person::new(&pool, "provider", 100).await?;
    let accuser = Person::new(&pool, "accuser", 100).await?;
    let mut worker = join_offline(&pool, &provider, &accuser).await?;
    an_honest_provider_is_accused_and_gets_the_bond(&pool, &provider, &accuser, worker.node()).await?;
    a_thief_gets_nowhere(&pool, &provider, &accuser, &worker).await?;
    let juror = Person::new(&pool, "juror", 1_000).await?;
    let mut second = ExtraValidator::start(&pool, &juror).await?;
    a_cheat_loses_stake(&pool, &provider).await?;
    second.stop()?;
    worker.stop()?;
    pool.all_stayed_up().await?;
    pool.finish().await
}

/// A provider that signs elsewhere, a node without coins, and somebody who submits what they signed.
async fn join_offline(pool: &Pool, provider: &Person, anybody: &Person) -> anyhow::Result<ExtraWorker> {
    step("a provider registers and stakes with a permit, in one transaction");
    provider.lode(pool, &["provider", "register", "--stake", &STAKE.to_string()]).await?;

    step("it authorises a node and approves the pool, signing elsewhere");
    let mut worker = ExtraWorker::init(pool, "third", ProviderId(provider.address())).await?;
    let deployment = pool.deployment()?;
    let consent = text(worker.consent())?.to_owned();
    let pool_id = pool.pool_id()?.to_string();
    let statements: [(&[&str], DigestOf); 2] = [
        (&["provider", "authorize", "--units", "2", "--consent", &consent], authorization),
        (&["provider", "approve-pool", &pool_id], approval),
    ];
    for (command, digest) in statements {
        let address = provider.address().to_string();
        let shown = pool.lode_text(&[command, &["--typed-data", "--signer", &address]].concat()).await?;
        let shown: Value = serde_json::from_str(&shown).with_context(|| shown.clone())?;
        let signature = provider.key.sign_recoverable(&digest(&shown["message"], &deployment)?);
        let deadline = number(&shown["message"]["deadline"])?.to_string();
        let signed = signature.to_string();
        let more = ["--signature", &signed, "--signer", &address, "--deadline", &deadline];
        anybody.lode(pool, &[command, &more].concat()).await?;
    }

    step("the node joins, without a coin");
    worker.start()?;
    let node = worker.node();
    pool.until_node(node, "alive", Duration::from_secs(120)).await?;
    let chain = pool.chain()?;
    until("it is a member", SOON, async || {
        let membership = chain.membership(pool.pool_id()?, node).await?;
        ensure!(membership.active, "{membership:?}");
        let view = pool.node_view(node).await?;
        ensure!(view["membership"]["status"] == "member", "{view}");
        Ok(())
    })
    .await?;
    ensure!(chain.balance(node.0).await? == Amount::ZERO, "the node has coins");
    Ok(worker)
}

async fn receipts_are_signed_by_both(pool: &Pool, node: NodeId, last: u64) -> anyhow::Result<()> {
    step("both sides signed the receipts, which anybody can read");
    let page = pool.public_json("/v1/epochs").await?;
    let deployment = pool.deployment()?;
    let orchestrator = pool.key("orchestrator")?.address();
    let mut found = 0;
    for summary in page["items"].as_array().context("no epochs")? {
        let epoch = summary["epoch"].as_u64().context("an epoch without number")?;
        if epoch > last {
            continue;
        }
        let document = pool.public_json(&format!("/v1/epochs/{epoch}/receipts")).await?;
        for published in document["receipts"].as_array().context("no receipts")? {
            let published: lode_protocol::published::PublishedReceipt =
                serde_json::from_value(published.clone())?;
            if published.receipt.node != node {
                continue;
            }
            let digest = published.receipt.digest(&deployment.rewards_domain());
            ensure!(published.orchestrator_signature.recover(&digest)? == orchestrator);
            let signature = published.node_signature.context("the node did not sign")?;
            ensure!(signature.recover(&digest)? == node.0);
            found += 1;
        }
    }
    ensure!(found > 0, "no receipt of {node} up to epoch {last}: {page}");
    Ok(())
}

async fn accusation(pool: &Pool, id: u64) -> anyhow::Result<Value> {
    let text = pool.lode_text(&["validator", "accusations", &id.to_string(), "-o", "json"]).await?;
    Ok(serde_json::from_str(&text)?)
}

/// The number of the only open accusation against a provider.
async fn open_accusation(pool: &Pool, provider: &Person) -> anyhow::Result<u64> {
    let arguments =
        ["validator", "accusations", "--open", "--provider", &provider.address().to_string(), "-o", "json"]
            .map(str::to_owned);
    let text = pool.lode_text(&arguments.each_ref().map(String::as_str)).await?;
    let list: Value = serde_json::from_str(&text)?;
    let items = list.as_array().or_else(|| list["items"].as_array()).context("no list")?;
    let first = items.first().context("no accusation is open")?;
    number(&first["id"])
}

async fn an_honest_provider_is_accused_and_gets_the_bond(
    pool: &Pool,
    provider: &Person,
    accuser: &Person,
    node: NodeId,
) -> anyhow::Result<()> {
    step("an honest provider is accused, answers, keeps its stake and gets the bond");
    let chain = pool.chain()?;
    let stake = async || -> anyhow::Result<Amount> {
        Ok(chain.provider(ProviderId(provider.address())).await?.context("no provider")?.stake)
    };
    let (staked, tokens) = (stake().await?, chain.token_balance(provider.address()).await?);
    let evidence = pool.folder().join("evidence");
    std::fs::write(&evidence, "I do not like them")?;
    let (address, accused) = (provider.address().to_string(), node.to_string());
    let accuse = ["validator", "accuse", "--provider", &address, "--node", &accused, "--offence"];
    let more = ["forged-proof", "--amount", "10", "--evidence", text(&evidence)?];
    let uri = ["--uri", "http://127.0.0.1:1/evidence"];
    accuser.lode(pool, &[&accuse[..], &more, &uri].concat()).await?;
    let id = open_accusation(pool, provider).await?;
    let bond = Amount::tokens(100).checked_sub(chain.token_balance(accuser.address()).await?);
    ensure!(bond.is_some_and(|bond| bond > Amount::ZERO), "the accuser bonded nothing");
    ensure!(chain.provider(ProviderId(provider.address())).await?.is_some_and(|p| p.locked > Amount::ZERO));
    let answer = pool.folder().join("answer");
    std::fs::write(&answer, "We did nothing of the kind")?;
    let file = ["--file", text(&answer)?, "--uri", "http://127.0.0.1:1/answer"];
    provider.lode(pool, &[&["provider", "answer", &id.to_string()][..], &file].concat()).await?;
    until("it is acquitted", JUDGED, async || {
        let accusation = accusation(pool, id).await?;
        if accusation["phase"] == "decided" {
            accuser.lode(pool, &["validator", "resolve", &id.to_string()]).await?;
        }
        ensure!(accusation["phase"] == "acquitted", "{accusation}");
        Ok(())
    })
    .await?;
    ensure!(stake().await? == staked, "the stake was touched");
    let now = chain.token_balance(provider.address()).await?;
    ensure!(now.checked_sub(tokens) == bond, "the bond was {bond:?}: {tokens} before, {now} now");
    Ok(())
}

async fn a_thief_gets_nowhere(
    pool: &Pool,
    provider: &Person,
    thief: &Person,
    worker: &ExtraWorker,
) -> anyhow::Result<()> {
    step("a stolen node key can neither move pay nor join another pool");
    let (chain, deployment, node) = (pool.chain()?, pool.deployment()?, worker.node());
    let operator = Operator::new(chain.clone(), thief.key.clone());
    let parameters = PoolParameters {
        orchestrator: thief.address(),
        reward_token: Some(deployment.token),
        requirements: Digest::default(),
        max_nodes: None,
        uri: String::new(),
        endpoints: "http://127.0.0.1:1".to_owned(),
    };
    let other: PoolId = operator.create_pool(parameters).await?;
    operator.execute(Intent::Pools(PoolsCall::StartPool(other))).await?;
    let now = chain.head().await?.timestamp;
    let invite = Invite {
        pool: other,
        node,
        provider: ProviderId(provider.address()),
        counter: 0,
        terms: Digest::default(),
        deadline: lode_contracts::seconds_of_timestamp(now) + 600,
    };
    let domain = deployment.pools_domain();
    let join = Join {
        invite,
        invite_signature: thief.key.sign_recoverable(&invite.invite_digest(&domain)),
        consent_signature: worker.key().sign_recoverable(&invite.consent_digest(&domain)),
    };
    let receipt = operator.execute(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await?;
    ensure!(!chain.membership(other, node).await?.active, "the node is in the thief's pool");
    let refused =
        receipt.events.iter().any(|logged| format!("{:?}", logged.event).contains("PoolNotApproved"));
    ensure!(refused, "{:?}", receipt.events);

    // With the node's own key, from an account that has coins: it is neither the provider nor the payee.
    pool.give_coins(node.0).await?;
    let as_node = Operator::new(chain.clone(), worker.key().clone());
    for (intent, error) in [
        (Intent::Pools(PoolsCall::SetPoolApproval { pool: other, approved: true }), None),
        (Intent::Registry(RegistryCall::RemoveNode(node)), Some("NotNodeProvider")),
        (Intent::Registry(RegistryCall::Withdraw), Some("NothingUnbonding")),
    ] {
        match (as_node.execute(intent.clone()).await, error) {
            // Approving as itself approves nothing for its provider.
            (Ok(_), None) => {}
            (Err(refusal), Some(name)) => {
                ensure!(refusal.to_string().contains(name), "{intent:?}: {refusal}");
            }
            (outcome, expected) => anyhow::bail!("{intent:?}: {outcome:?}, not {expected:?}"),
        }
    }
    ensure!(!chain.is_pool_approved(other, ProviderId(provider.address())).await?);
    let to_thief = lode_protocol::settlement::Receipt {
        pool: pool.pool_id()?,
        epoch: lode_protocol::ids::Epoch(1),
        node,
        payee: thief.address(),
        usage: keccak256(b"never"),
        amount: Amount::tokens(1),
        cumulative: Amount::tokens(1),
    };
    let digest = to_thief.digest(&deployment.rewards_domain());
    let redeem = Intent::Rewards(RewardsCall::Redeem {
        receipt: to_thief,
        orchestrator_signature: thief.key.sign_recoverable(&digest),
        node_signature: worker.key().sign_recoverable(&digest),
    });
    let refusal = operator.execute(redeem).await.err().context("the thief was promised money")?;
    ensure!(refusal.to_string().contains("InvalidOrchestratorSignature"), "{refusal}");
    Ok(())
}

async fn a_cheat_loses_stake(pool: &Pool, provider: &Person) -> anyhow::Result<()> {
    step("a node that forges its proof is accused by the validator and slashed by the quorum");
    let chain = pool.chain()?;
    let record = async || chain.provider(ProviderId(provider.address())).await;
    let before = record().await?.context("no provider")?.stake;
    let treasury = chain.staking_terms().await?.treasury;
    let treasure = chain.token_balance(treasury).await?;
    let mut worker = ExtraWorker::init(pool, "cheat", ProviderId(provider.address())).await?;
    let consent = ["--units", "2", "--consent", text(worker.consent())?];
    provider.lode(pool, &[&["provider", "authorize"][..], &consent].concat()).await?;
    let forger = lode_e2e::programs::path("lode-prove-forged")?;
    let command: Vec<toml::Value> =
        [text(&forger)?, "--forgery", "skipped-rows"].map(|word| word.to_owned().into()).into();
    worker.reconfigure(|config| {
        // An honest worker would not sign what its prover forged; a cheating one does not look.
        let prover = toml::Table::from_iter([
            ("command".to_owned(), toml::Value::Array(command)),
            ("self_check".to_owned(), toml::Value::Boolean(false)),
        ]);
        config.insert("prover".to_owned(), toml::Value::Table(prover));
    })?;
    worker.start()?;
    let id =
        until("the validator accuses it", JUDGED, async || open_accusation(pool, provider).await).await?;
    until("it is found guilty, and the verdict carried out", JUDGED, async || {
        let accusation = accusation(pool, id).await?;
        ensure!(accusation["phase"] == "guilty", "{accusation}");
        Ok(())
    })
    .await?;
    let after = record().await?.context("no provider")?;
    let taken = before.checked_sub(after.stake).context("the stake grew")?;
    ensure!(taken > Amount::ZERO && after.locked == Amount::ZERO, "{before} before, {after:?} now");
    let gained = chain.token_balance(treasury).await?.checked_sub(treasure).context("the treasury shrank")?;
    ensure!(gained > Amount::ZERO && gained < taken, "{taken} was taken, {gained} went to the treasury");
    ensure!(!chain.membership(pool.pool_id()?, worker.node()).await?.active, "the cheat joined the pool");
    worker.stop()
}

fn authorization(message: &Value, deployment: &Deployment) -> anyhow::Result<Digest> {
    let statement = NodeAuthorization {
        provider: ProviderId(address(&message["provider"])?),
        node: NodeId(address(&message["node"])?),
        units: u32::try_from(number(&message["units"])?)?,
        nonce: number(&message["nonce"])?,
        deadline: number(&message["deadline"])?,
    };
    Ok(statement.digest(&deployment.registry_domain()))
}

fn approval(message: &Value, deployment: &Deployment) -> anyhow::Result<Digest> {
    let statement = PoolApproval {
        pool: PoolId(number(&message["poolId"])?),
        provider: ProviderId(address(&message["provider"])?),
        approved: message["approved"] == json!(true),
        nonce: number(&message["nonce"])?,
        deadline: number(&message["deadline"])?,
    };
    Ok(statement.digest(&deployment.pools_domain()))
}

fn address(value: &Value) -> anyhow::Result<Address> {
    Ok(value.as_str().context("no address")?.parse()?)
}

/// Numbers come as numbers or, where they may be large, as text.
fn number(value: &Value) -> anyhow::Result<u64> {
    match value.as_str() {
        Some(text) => Ok(text.parse()?),
        None => value.as_u64().with_context(|| format!("{value} is no number")),
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not text")
}

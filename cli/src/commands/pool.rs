//! `lode pool …`: pools as the chain has them, their money and their members.

mod budget;
mod invite;
mod show;

pub(crate) use budget::reward_token;

use lode_address::EndpointUrl;
use lode_contracts::{Amount, ChainEvent, Intent, PoolParameters, PoolsCall, PoolsEvent};
use lode_protocol::ids::PoolId;
use serde_json::json;

use super::{hash_of_file, transact};
use crate::arguments::{Global, MemberCommand, MoneyCommand, PoolCommand, RewardToken, SignerFlags};
use crate::failure::Kind;
use crate::wallet::{Plan, Wallet};

pub(super) async fn run(global: &Global, command: PoolCommand) -> anyhow::Result<()> {
    match command {
        PoolCommand::Create {
            signer,
            orchestrator,
            endpoints,
            max_nodes,
            requirements,
            uri,
            reward_token,
            stopped,
        } => {
            let wallet = Wallet::open(global, &signer).await?;
            let parameters = PoolParameters {
                orchestrator,
                reward_token: reward_token.map(|token| match token {
                    RewardToken::Lode => wallet.deployment().token,
                    RewardToken::Other(address) => address,
                }),
                requirements: requirements.as_deref().map(hash_of_file).transpose()?.unwrap_or_default(),
                max_nodes,
                uri,
                endpoints: join(&endpoints),
            };
            create(&wallet, parameters, stopped).await
        }
        PoolCommand::Start { signer, pool } => {
            let (what, done) = (format!("start pool {pool}"), format!("pool {pool} is running"));
            transact(global, &signer, what, done, Intent::Pools(PoolsCall::StartPool(pool))).await
        }
        PoolCommand::End { signer, pool } => {
            let (what, done) = (format!("end pool {pool} for good"), format!("pool {pool} has ended"));
            transact(global, &signer, what, done, Intent::Pools(PoolsCall::EndPool(pool))).await
        }
        PoolCommand::SetEndpoints { signer, pool, endpoints } => {
            let endpoints = join(&endpoints);
            let what = format!("send the workers of pool {pool} to {endpoints}");
            let done = format!("pool {pool} is reached at {endpoints}");
            transact(global, &signer, what, done, Intent::Pools(PoolsCall::SetEndpoints { pool, endpoints }))
                .await
        }
        PoolCommand::SetOrchestrator { signer, pool, orchestrator } => {
            let what = format!(
                "make {orchestrator} the orchestrator of pool {pool}; the present key can never return"
            );
            let done = format!("{orchestrator} is the orchestrator of pool {pool}");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Pools(PoolsCall::SetOrchestrator { pool, orchestrator }),
            )
            .await
        }
        PoolCommand::SetRequirements { signer, pool, requirements, uri } => {
            let requirements = hash_of_file(&requirements)?;
            let what = format!("publish requirements {requirements} of pool {pool}");
            let done = format!("pool {pool} has the requirements {requirements}");
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Pools(PoolsCall::SetRequirements { pool, requirements, uri }),
            )
            .await
        }
        PoolCommand::Transfer { signer, pool, to, cancel: _ } => {
            let (what, done) = match to {
                Some(to) => (format!("offer pool {pool} to {to}"), format!("pool {pool} is offered to {to}")),
                None => (
                    format!("take the offer of pool {pool} back"),
                    format!("pool {pool} is offered to nobody"),
                ),
            };
            transact(global, &signer, what, done, Intent::Pools(PoolsCall::TransferPool { pool, to })).await
        }
        PoolCommand::Accept { signer, pool } => {
            let (what, done) = (format!("become the owner of pool {pool}"), format!("pool {pool} is yours"));
            transact(global, &signer, what, done, Intent::Pools(PoolsCall::AcceptPool(pool))).await
        }
        PoolCommand::Show { chain, pool } => show::show(global, &chain, pool).await,
        PoolCommand::Ls { chain } => show::list(global, &chain).await,
        PoolCommand::Money(command) => money(global, command).await,
        PoolCommand::Invite { node } => invite::run(global, node.as_deref()).await,
        PoolCommand::Members(command) => members(global, command).await,
    }
}

async fn money(global: &Global, command: MoneyCommand) -> anyhow::Result<()> {
    match command {
        MoneyCommand::Fund { signer, permit, pool, amount } => {
            budget::fund(global, &signer, &permit, pool, &amount).await
        }
        MoneyCommand::SpendCap { signer, pool, amount } => {
            budget::spend_cap(global, &signer, pool, &amount).await
        }
        MoneyCommand::Withdraw { signer, pool, request, collect: _, to } => match request {
            Some(amount) => budget::request(global, &signer, pool, &amount).await,
            None => budget::collect(global, &signer, pool, to).await,
        },
        MoneyCommand::Budget { chain, pool } => budget::show(global, &chain, pool).await,
    }
}

/// Who may not be in the pool.
async fn members(global: &Global, command: MemberCommand) -> anyhow::Result<()> {
    let (signer, what, done, intent): (SignerFlags, String, String, Intent) = match command {
        MemberCommand::Eject { signer, pool, node } => (
            signer,
            format!("put node {node} out of pool {pool}"),
            format!("node {node} is out of pool {pool}"),
            Intent::Pools(PoolsCall::Eject { pool, node }),
        ),
        MemberCommand::Ban { signer, pool, node } => (
            signer,
            format!("ban node {node} from pool {pool}"),
            format!("node {node} is banned from pool {pool}"),
            Intent::Pools(PoolsCall::BanNode { pool, node }),
        ),
        MemberCommand::Unban { signer, pool, node } => (
            signer,
            format!("let node {node} come back to pool {pool}"),
            format!("node {node} may join pool {pool} again, by a new invite"),
            Intent::Pools(PoolsCall::UnbanNode { pool, node }),
        ),
        MemberCommand::BanProvider { signer, pool, provider } => (
            signer,
            format!("ban all nodes of provider {provider} from pool {pool}"),
            format!("provider {provider} is banned from pool {pool}"),
            Intent::Pools(PoolsCall::BanProvider { pool, provider }),
        ),
        MemberCommand::UnbanProvider { signer, pool, provider } => (
            signer,
            format!("let the nodes of provider {provider} count again in pool {pool}"),
            format!("provider {provider} counts again in pool {pool}"),
            Intent::Pools(PoolsCall::UnbanProvider { pool, provider }),
        ),
    };
    transact(global, &signer, what, done, intent).await
}

/// Creates a pool, and starts it unless told not to.
async fn create(wallet: &Wallet, parameters: PoolParameters, stopped: bool) -> anyhow::Result<()> {
    let what = format!(
        "create {} with orchestrator {}",
        if stopped { "a pool" } else { "a pool and start it" },
        parameters.orchestrator
    );
    let mut plan = Plan::new(what, String::new(), Intent::Pools(PoolsCall::CreatePool(parameters)));
    let Some(mut receipts) = wallet.carry_out_silently(&plan).await? else {
        if !stopped {
            eprintln!("once it is created, `lode pool start POOL` starts it");
        }
        return Ok(());
    };
    let created =
        receipts.iter().flat_map(|receipt| &receipt.events).find_map(|logged| match &logged.event {
            ChainEvent::Pools(PoolsEvent::PoolCreated { pool, .. }) => Some(*pool),
            _ => None,
        });
    let Some(pool) = created else {
        let remedy = "see `lode pool ls`: it is the last one of this owner";
        return Err(Kind::Failed.with_remedy("the receipt does not name the pool that was created", remedy));
    };
    if !stopped {
        let start = Plan::new("", "", Intent::Pools(PoolsCall::StartPool(pool)));
        receipts.extend(wallet.go_on(&start).await?);
    }
    plan.done = if stopped {
        format!("pool {pool} is created; start it with `lode pool start {pool}`")
    } else {
        format!("pool {pool} is running")
    };
    let plan = plan.with("pool", json!(pool.0)).with("running", json!(!stopped));
    wallet.report(&plan, &receipts)
}

fn join(endpoints: &[EndpointUrl]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Words for an amount that may be nothing.
fn cap_words(pool: PoolId, amount: Amount, shown: &str) -> (String, String) {
    if amount == Amount::ZERO {
        (
            format!("stop pool {pool} from promising anything more"),
            format!("pool {pool} promises nothing more; what was promised is paid"),
        )
    } else {
        (
            format!("let pool {pool} promise at most {shown} an epoch"),
            format!("pool {pool} may promise {shown} an epoch"),
        )
    }
}

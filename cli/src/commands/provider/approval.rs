//! Which pools the provider's nodes may join, and leaving them.

use lode_contracts::{ChainReader as _, Intent, PoolsCall};
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::join::{LeaveStatement, PoolApproval};

use crate::arguments::{Global, SignerFlags, StatementFlags};
use crate::failure::{Failure, Kind};
use crate::wallet::{Instead, Plan, Said, Statement, Wallet, check};

pub(super) async fn approve(
    global: &Global,
    signer: &SignerFlags,
    flags: &StatementFlags,
    pool: PoolId,
    approved: bool,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let words = |provider: ProviderId| {
        if approved {
            (
                format!("let the nodes of provider {provider} join pool {pool}"),
                format!("nodes of {provider} may join pool {pool}"),
            )
        } else {
            (
                format!("keep the nodes of provider {provider} from joining pool {pool}; members stay"),
                format!("nodes of {provider} join pool {pool} no more; members stay"),
            )
        }
    };
    let statement = async |provider, deadline| {
        let nonce = wallet.chain.approval_nonce(provider).await?;
        anyhow::Ok(PoolApproval { pool, provider, approved, nonce, deadline })
    };
    match flags.said(&wallet, Instead::Transaction).await? {
        Said::Directly => {
            let (what, done) = words(ProviderId(wallet.address()?));
            wallet
                .carry_out(&Plan::new(
                    what,
                    done,
                    Intent::Pools(PoolsCall::SetPoolApproval { pool, approved }),
                ))
                .await
                .map(drop)
        }
        Said::Asked { signer, deadline } => {
            let statement = statement(ProviderId(signer), deadline).await?;
            flags.ask(&wallet, signer, &Statement::PoolApproval(statement))
        }
        Said::Signed { signer, deadline, signature } => {
            let statement = statement(ProviderId(signer), deadline).await?;
            check(&wallet, &Statement::PoolApproval(statement), signer, &signature)?;
            let (what, done) = words(ProviderId(signer));
            let intent = Intent::Pools(PoolsCall::SetPoolApprovalBySignature { statement, signature });
            wallet.carry_out(&Plan::new(what, done, intent)).await.map(drop)
        }
    }
}

pub(super) async fn leave(
    global: &Global,
    signer: &SignerFlags,
    flags: &StatementFlags,
    pool: PoolId,
    node: NodeId,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let (what, done) = (
        format!("end the membership of node {node} in pool {pool}"),
        format!("node {node} has left pool {pool}"),
    );
    let said = flags.said(&wallet, Instead::Transaction).await?;
    if matches!(said, Said::Directly) {
        return wallet
            .carry_out(&Plan::new(what, done, Intent::Pools(PoolsCall::Leave { pool, node })))
            .await
            .map(drop);
    }
    let membership = wallet.chain.membership(pool, node).await?;
    let statement = |deadline| LeaveStatement { pool, node, counter: membership.join_counter, deadline };
    let entitled = |signer| {
        let provider = membership.provider.map(|provider| provider.0);
        if signer == node.0 || Some(signer) == provider {
            return Ok(());
        }
        let message = format!("{signer} is neither node {node} nor its provider");
        Err(Failure::coded(Kind::Denied, "signature/wrong-signer", message, "give another --signer"))
    };
    match said {
        Said::Directly => Ok(()), // carried out above
        Said::Asked { signer, deadline } => {
            entitled(signer)?;
            flags.ask(&wallet, signer, &Statement::Leave(statement(deadline)))
        }
        Said::Signed { signer, deadline, signature } => {
            entitled(signer)?;
            let statement = statement(deadline);
            check(&wallet, &Statement::Leave(statement), signer, &signature)?;
            let intent = Intent::Pools(PoolsCall::LeaveBySignature { statement, signature });
            wallet.carry_out(&Plan::new(what, done, intent)).await.map(drop)
        }
    }
}

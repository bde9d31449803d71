//! `lode validator …`: the bond and the endpoint of a validator, and what validators judge.

mod accusations;
mod accuse;
mod judge;
mod status;

use lode_contracts::{AccusationPhase, Amount, ChainReader as _, Intent, ValidatorsCall};
use lode_protocol::units::Millis;

use super::transact;
use crate::arguments::{BondCommand, Global, SignerFlags, StatementFlags, ValidatorCommand};
use crate::output::{Denomination, moment, span};
use crate::wallet::{Payment, Plan, Wallet};

pub(super) async fn run(global: &Global, command: ValidatorCommand) -> anyhow::Result<()> {
    match command {
        ValidatorCommand::Bond(command) => bond(global, command).await,
        ValidatorCommand::Judgement(command) => judge::run(global, command).await,
    }
}

async fn bond(global: &Global, command: BondCommand) -> anyhow::Result<()> {
    match command {
        BondCommand::Register { signer, permit, bond, endpoint } => {
            register(global, &signer, &permit, bond, endpoint.to_string()).await
        }
        BondCommand::Stake { signer, amount } => {
            let wallet = Wallet::open(global, &signer).await?;
            let earlier = wallet.approval(wallet.deployment().validators, amount).await?;
            let (what, done) = (
                format!("bond {} more", lode(amount)),
                format!("bonded {} more; it counts from the next epoch", lode(amount)),
            );
            wallet
                .carry_out(
                    &Plan::new(what, done, Intent::Validators(ValidatorsCall::StakeValidator { amount }))
                        .after(earlier),
                )
                .await
                .map(drop)
        }
        BondCommand::SetEndpoint { signer, endpoint } => {
            let endpoint = endpoint.to_string();
            let (what, done) = (format!("send workers to {endpoint}"), format!("workers dial {endpoint}"));
            transact(
                global,
                &signer,
                what,
                done,
                Intent::Validators(ValidatorsCall::SetValidatorEndpoint { endpoint }),
            )
            .await
        }
        BondCommand::Exit { signer } => {
            let wallet = Wallet::open(global, &signer).await?;
            let delay = Millis::seconds(wallet.chain.staking_terms().await?.validator_exit_seconds);
            let from = moment(wallet.now.plus(delay), Some(wallet.now));
            let what = format!(
                "leave the validators; the bond counts until the end of this epoch and can be withdrawn {from}, {} after this",
                span(delay)
            );
            let done = format!("the exit is asked for; `lode validator withdraw` collects the bond {from}");
            wallet
                .carry_out(&Plan::new(what, done, Intent::Validators(ValidatorsCall::RequestExit)))
                .await
                .map(drop)
        }
        BondCommand::Withdraw { signer } => {
            transact(
                global,
                &signer,
                "collect the bond",
                "the bond is paid out",
                Intent::Validators(ValidatorsCall::WithdrawValidator),
            )
            .await
        }
        BondCommand::Status { chain, validator } => status::show(global, &chain, validator).await,
        BondCommand::Ls { chain } => status::list(global, &chain).await,
    }
}

fn lode(amount: Amount) -> String {
    Denomination::lode().show(amount)
}

async fn register(
    global: &Global,
    signer: &SignerFlags,
    permit: &StatementFlags,
    bond: Amount,
    endpoint: String,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let payment = wallet.pay(wallet.deployment().validators, bond, permit).await?;
    let (permit, earlier) = match payment {
        Payment::Asked => return Ok(()),
        Payment::Permit(permit) => (Some(permit), Vec::new()),
        Payment::Approved(earlier) => (None, earlier),
    };
    let what = format!("bond {} as a validator at {endpoint}", lode(bond));
    let done = format!("{} is a validator; its bond counts from the next epoch", wallet.address()?);
    let intent = Intent::Validators(ValidatorsCall::RegisterValidator { amount: bond, permit, endpoint });
    wallet.carry_out(&Plan::new(what, done, intent).after(earlier)).await.map(drop)
}

/// A phase in a word.
pub(crate) fn phase_word(phase: AccusationPhase) -> &'static str {
    match phase {
        AccusationPhase::Evidence => "evidence",
        AccusationPhase::Answer => "answer",
        AccusationPhase::Vote => "vote",
        AccusationPhase::Decided => "to be resolved",
        AccusationPhase::Guilty => "guilty",
        AccusationPhase::Acquitted => "acquitted",
    }
}

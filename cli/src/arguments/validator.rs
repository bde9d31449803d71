//! `lode validator …`

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use lode_contracts::{Amount, Epoch, Offence};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};

use super::amount::parse_amount;
use super::provider::parse_epoch;
use super::{ChainFlags, SignerFlags, StatementFlags};

/// `lode validator …`
#[derive(Debug, Subcommand)]
pub enum ValidatorCommand {
    /// A validator and its bond.
    #[command(flatten)]
    Bond(BondCommand),
    /// What validators judge.
    #[command(flatten)]
    Judgement(JudgementCommand),
}

/// A validator and its bond.
#[derive(Debug, Subcommand)]
pub enum BondCommand {
    /// Become a validator with a bond
    Register {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The permit for the bond.
        #[command(flatten)]
        permit: StatementFlags,
        /// Bond in whole tokens
        #[arg(long, value_parser = parse_amount)]
        bond: Amount,
        /// Where workers dial it, like /ip4/203.0.113.7/tcp/7300
        #[arg(long)]
        endpoint: lode_address::PeerAddress,
    },
    /// Bond more; it counts from the next epoch
    Stake {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// How much more, in whole tokens
        #[arg(value_parser = parse_amount)]
        amount: Amount,
    },
    /// Say where workers dial the validator
    SetEndpoint {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// A multiaddr
        endpoint: lode_address::PeerAddress,
    },
    /// Ask to leave; the bond can be withdrawn after the exit time
    Exit {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
    },
    /// Collect the bond after an exit
    Withdraw {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
    },
    /// Show a validator: bond, weight, votes of this epoch
    Status {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// The validator's address
        validator: ValidatorId,
    },
    /// List validators
    Ls {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
    },
}

/// What validators judge.
#[derive(Debug, Subcommand)]
pub enum JudgementCommand {
    /// Accuse a provider of something that evidence proves; takes a bond, which an acquitted provider gets
    Accuse {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// Whose stake is at stake
        #[arg(long)]
        provider: ProviderId,
        /// By which node it was done
        #[arg(long)]
        node: NodeId,
        /// What was done
        #[arg(long)]
        offence: OffenceArgument,
        /// Stake to hold until the verdict, in whole tokens
        #[arg(long, value_parser = parse_amount)]
        amount: Amount,
        /// The evidence.
        #[command(flatten)]
        evidence: EvidenceFlags,
        /// Where everybody can read the evidence
        #[arg(long)]
        uri: String,
    },
    /// Vote about an accusation, once
    Vote {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The accusation's number
        accusation: AccusationId,
        /// How
        verdict: Verdict,
    },
    /// Have a verdict carried out once the vote is over; anybody may
    Resolve {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The accusation's number
        accusation: AccusationId,
    },
    /// Have paid what the token refused to pay when a verdict was carried out; anybody may
    Collect {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// To whom it is owed
        to: Address,
    },
    /// List accusations, or show one
    Accusations {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// Only this one
        accusation: Option<AccusationId>,
        /// Only those against this provider
        #[arg(long)]
        provider: Option<ProviderId>,
        /// Only those that are not over
        #[arg(long)]
        open: bool,
    },
    /// Ask for a pool's posted root to be dropped
    Veto {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// The root's epoch
        #[arg(value_parser = parse_epoch)]
        epoch: Epoch,
        /// Why.
        #[command(flatten)]
        evidence: EvidenceFlags,
    },
    /// Ask for a receipt's redemption to be dropped
    VetoRedemption {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// Who would be paid
        payee: Address,
        /// Why.
        #[command(flatten)]
        evidence: EvidenceFlags,
    },
    /// Have the bond cut of a validator that committed in a past epoch and never revealed; anybody may
    Penalize {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The epoch
        #[arg(value_parser = parse_epoch)]
        epoch: Epoch,
        /// The validator
        validator: ValidatorId,
    },
}

/// What proves it.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("proof").args(["evidence", "evidence_hash"]).required(true)))]
pub struct EvidenceFlags {
    /// The evidence; its hash goes on the chain
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
    /// Keccak-256 of the evidence
    #[arg(long, value_name = "DIGEST")]
    pub evidence_hash: Option<Digest>,
}

/// What a provider is accused of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum OffenceArgument {
    /// A proof of GPU that the hardware did not make
    ForgedProof,
    /// A receipt for work that was not done
    ForgedReceipt,
    /// Hardware that belongs to another node
    ForeignHardware,
}

impl From<OffenceArgument> for Offence {
    fn from(argument: OffenceArgument) -> Self {
        match argument {
            OffenceArgument::ForgedProof => Offence::ForgedProof,
            OffenceArgument::ForgedReceipt => Offence::ForgedReceipt,
            OffenceArgument::ForeignHardware => Offence::ForeignHardware,
        }
    }
}

/// A vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Verdict {
    /// The evidence proves it
    Guilty,
    /// It does not
    Innocent,
}

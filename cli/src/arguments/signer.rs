//! Which chain is meant, who signs and pays, and what is signed elsewhere.

use std::path::PathBuf;

use clap::Args;
use lode_protocol::ids::Address;

/// Which chain, and as whom.
#[derive(Clone, Debug, Args)]
pub struct ChainFlags {
    /// Deployment file: chain id and addresses of the contracts (default: the context's)
    #[arg(long, env = "LODE_DEPLOYMENT", value_name = "FILE")]
    pub deployment: Option<PathBuf>,
    /// JSON-RPC of the chain (default: the context's, or the deployment file's)
    #[arg(long, env = "LODE_RPC_URL", value_name = "URL")]
    pub rpc_url: Option<String>,
    /// Most blocks in one question for events, where the RPC's provider sets a limit (default: 2000, and fewer where the RPC
    /// refuses)
    #[arg(long, env = "LODE_BLOCK_RANGE", value_name = "BLOCKS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub block_range: Option<u64>,
}

/// Who signs and pays, and whether anything is sent.
#[derive(Clone, Debug, Args)]
pub struct SignerFlags {
    /// Which chain.
    #[command(flatten)]
    pub chain: ChainFlags,
    /// File with the key that signs and pays (mode 0600)
    #[arg(long, env = "LODE_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Whose transaction it is when its key is elsewhere: for --dry-run and --sign-elsewhere
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<Address>,
    /// Do not ask before sending transactions
    #[arg(short, long)]
    pub yes: bool,
    /// Simulate: say what would happen, or what the contracts would refuse, and send nothing
    #[arg(long, conflicts_with = "sign_elsewhere")]
    pub dry_run: bool,
    /// Print the unsigned transaction as JSON (=FILE: write it there) and send nothing; sign it where the key is, then
    /// `lode chain send --signed`
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub sign_elsewhere: Option<PathBuf>,
}

/// A statement that the owner of the key signs, and that anybody may submit.
#[derive(Clone, Debug, Args)]
pub struct StatementFlags {
    /// Print what is to be signed as EIP-712 JSON, as eth_signTypedData_v4 takes it (=FILE: write it there), and send
    /// nothing
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-",
          conflicts_with = "signature")]
    pub typed_data: Option<PathBuf>,
    /// What was signed elsewhere: 0x and 130 digits, or a file that holds them
    #[arg(long, value_name = "HEX|FILE", requires = "signer", requires = "deadline")]
    pub signature: Option<String>,
    /// Who signs the statement, when that is not the key file's address
    #[arg(long, value_name = "ADDRESS")]
    pub signer: Option<Address>,
    /// Until when the statement counts: unix seconds, or like 2026-01-31T12:00:00Z (default: in 7 days)
    #[arg(long, value_name = "TIME", value_parser = parse_deadline)]
    pub deadline: Option<u64>,
}

/// Unix seconds from digits or RFC 3339.
fn parse_deadline(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(seconds);
    }
    let time: lode_protocol::units::Timestamp =
        text.parse().map_err(|error: lode_protocol::units::ParseUnitError| error.to_string())?;
    Ok(lode_contracts::seconds_of_timestamp(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_unix_seconds_or_a_date() {
        assert_eq!(parse_deadline("1800000000"), Ok(1_800_000_000));
        assert_eq!(parse_deadline("2027-01-15T08:00:00Z"), Ok(1_800_000_000));
        assert!(parse_deadline("tomorrow").is_err());
    }
}

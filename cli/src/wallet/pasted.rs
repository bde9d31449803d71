//! Statements out to a wallet, signatures back in.

use std::path::Path;

use lode_contracts::seconds_of_timestamp;
use lode_protocol::ids::{Address, ParseIdError};
use lode_protocol::keys::EthereumSignature;
use serde_json::Value;

use super::Statement;
use super::account::{Destination, Wallet, Way};
use crate::arguments::StatementFlags;
use crate::failure::{Failure, Kind};
use crate::output;

/// How long a statement counts that somebody carries to another machine, in seconds.
const VALIDITY_SECONDS: u64 = 7 * 86_400;
/// Largest file that a signature or transaction is read from.
const MAX_BYTES: u64 = 2 << 20;

/// How a statement is made.
#[derive(Debug)]
pub(crate) enum Said {
    /// Not at all: whoever sends the transaction says it by that.
    Directly,
    /// It is to be signed elsewhere, by this account.
    Asked { signer: Address, deadline: u64 },
    /// It was signed elsewhere.
    Signed { signer: Address, deadline: u64, signature: EthereumSignature },
}

/// What an account without a key can do instead of signing a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Instead {
    /// The same by a transaction of its own.
    Transaction,
    /// Nothing: whoever reads the statement asks no chain.
    Nothing,
}

impl StatementFlags {
    /// Until when a statement counts.
    pub(crate) fn deadline(&self, wallet: &Wallet) -> u64 {
        let later = seconds_of_timestamp(wallet.now).saturating_add(VALIDITY_SECONDS);
        self.deadline.unwrap_or(later)
    }

    /// What the flags say. A contract that is to sign is refused before anybody tries to make it.
    pub(crate) async fn said(&self, wallet: &Wallet, instead: Instead) -> anyhow::Result<Said> {
        let asked = self.typed_data.is_some() || self.signature.is_some();
        if let Some(signer) = self.signer.or_else(|| wallet.address().ok()).filter(|_| asked)
            && wallet.chain.is_contract(signer).await?
        {
            return Err(contract_signer(signer, instead).into());
        }
        self.read(wallet)
    }

    fn read(&self, wallet: &Wallet) -> anyhow::Result<Said> {
        if self.typed_data.is_some() && wallet.way != Way::Send {
            let remedy = "leave --dry-run and --sign-elsewhere out: they are about transactions";
            return Err(Kind::Usage.with_remedy("--typed-data prints a statement and sends nothing", remedy));
        }
        match (&self.typed_data, &self.signature) {
            (Some(_), _) => Ok(Said::Asked {
                signer: match self.signer {
                    Some(signer) => signer,
                    None => wallet.address().map_err(|_| {
                        let remedy = "give --signer ADDRESS, the wallet that will sign";
                        Kind::Usage.with_remedy("it is not said who signs the statement", remedy)
                    })?,
                },
                deadline: self.deadline(wallet),
            }),
            (None, Some(text)) => {
                let (Some(signer), Some(deadline)) = (self.signer, self.deadline) else {
                    return Err(Kind::Usage.because("--signature needs --signer and --deadline"));
                };
                Ok(Said::Signed { signer, deadline, signature: signature(&hex_or_file(text)?)? })
            }
            (None, None) if self.signer.is_some() => {
                let remedy = "add --typed-data to print what is to be signed, or --signature with what was";
                Err(Kind::Usage.with_remedy("--signer says nothing alone", remedy))
            }
            (None, None) => Ok(Said::Directly),
        }
    }

    /// Prints a statement for the wallet that signs it, and says how to go on.
    pub(crate) fn ask(&self, wallet: &Wallet, signer: Address, statement: &Statement) -> anyhow::Result<()> {
        let typed_data = serde_json::to_value(statement.typed_data(wallet.deployment()))?;
        let to = Destination::new(self.typed_data.as_deref().unwrap_or(Path::new("-")));
        write(&typed_data, &to)?;
        eprintln!(
            "sign it as {signer} (eth_signTypedData_v4, or `lode key sign`), then run the same command without \
             --typed-data and with: --signer {signer} --deadline {} --signature 0x…",
            statement.deadline()
        );
        Ok(())
    }
}

/// Of an account that has no key.
fn contract_signer(signer: Address, instead: Instead) -> Failure {
    let message = format!(
        "{signer} is a contract (a Safe or another smart account) and has no key: signatures are taken of keys only, not \
         EIP-1271's"
    );
    let remedy = match instead {
        Instead::Transaction => format!(
            "let it do the same by a transaction of its own: the same command with --from {signer} --sign-elsewhere, and \
             without --typed-data, --signer, --signature and --deadline, prints the `to`, `value` and `data` that it has to \
             call (in a Safe: the transaction builder)"
        ),
        Instead::Nothing => {
            "sign with an account that has a key: this is checked off the chain, so that no transaction \
                             can stand for it"
                .to_owned()
        }
    };
    Failure::coded(Kind::Denied, "signature/contract-signer", message, remedy)
}

/// Checks who signed a statement before anybody pays for sending it.
pub(crate) fn check(
    wallet: &Wallet,
    statement: &Statement,
    signer: Address,
    signature: &EthereumSignature,
) -> Result<(), Failure> {
    let signed_by = signature.recover(&statement.digest(wallet.deployment()));
    let (code, message) = match signed_by {
        Ok(found) if found == signer => return Ok(()),
        Ok(found) => (
            "signature/wrong-signer",
            format!(
                "the signature is {found}'s, not {signer}'s, or it is of another statement than this one"
            ),
        ),
        Err(_) => ("signature/malformed", "the signature is no signature of anything".to_owned()),
    };
    let remedy = "sign exactly what --typed-data prints, with the wallet of --signer; every flag and --deadline must \
                  be the same, and a statement that was used in between makes a new one necessary";
    Err(Failure::coded(Kind::Denied, code, message, remedy))
}

/// Text, or the content of the file that it names.
pub(crate) fn hex_or_file(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    if text.starts_with("0x") {
        return Ok(text.to_owned());
    }
    let path = Path::new(text);
    let missing = |error: std::io::Error| {
        let message = format!("{text} neither begins with 0x nor is a file that can be read: {error}");
        Kind::NotFound.because(message)
    };
    if std::fs::metadata(path).map_err(missing)?.len() > MAX_BYTES {
        return Err(Kind::Usage.because(format!("{text} is too large for what it should hold")));
    }
    let content = std::fs::read_to_string(path).map_err(missing)?;
    let content = content.trim();
    // Some wallets give JSON around it.
    let inner = serde_json::from_str::<Value>(content).ok().and_then(|value| match value {
        Value::String(text) => Some(text),
        Value::Object(fields) => ["signature", "raw", "rawTransaction", "result"]
            .iter()
            .find_map(|name| fields.get(*name).and_then(Value::as_str).map(str::to_owned)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    });
    Ok(inner.unwrap_or_else(|| content.to_owned()))
}

/// A signature as wallets give it: the last byte counts from 27, or from 0.
fn signature(text: &str) -> Result<EthereumSignature, Failure> {
    let parsed: Result<EthereumSignature, ParseIdError> = text.parse();
    let mut signature = parsed.map_err(|error| {
        let remedy = "paste all of what the wallet gave: 0x and 130 digits";
        Failure::coded(Kind::Usage, "signature/malformed", error.to_string(), remedy)
    })?;
    if let Some(v) = signature.0.last_mut().filter(|v| **v < 2) {
        *v += 27;
    }
    Ok(signature)
}

/// Writes JSON where it was asked for.
pub(super) fn write(value: &Value, to: &Destination) -> anyhow::Result<()> {
    match to {
        Destination::Stdout => output::json(value),
        Destination::File(path) => {
            let text = format!("{}\n", serde_json::to_string_pretty(value)?);
            std::fs::write(path, text)
                .map_err(|error| Kind::Failed.because(format!("cannot write {}: {error}", path.display())))?;
            eprintln!("wrote {}", path.display());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::keys::SigningKey;

    use super::super::statement::tests::{deployment, statements};
    use super::*;

    #[test]
    fn a_signature_is_read_as_every_wallet_writes_it() {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        for statement in statements() {
            let digest = statement.digest(&deployment());
            let made = key.sign_recoverable(&digest);
            let mut low = made;
            low.0[64] -= 27;
            for text in
                [made.to_string(), low.to_string(), made.to_string().to_uppercase().replace("0X", "0x")]
            {
                assert_eq!(signature(&text).unwrap().recover(&digest), Ok(key.address()), "{text}");
            }
        }
    }

    #[test]
    fn a_contract_is_told_of_the_transaction_that_stands_for_its_signature() {
        let safe = Address([0x5a; 20]);
        let failure = contract_signer(safe, Instead::Transaction);
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (Kind::Denied, Some("signature/contract-signer"))
        );
        assert!(failure.message.contains("EIP-1271") && failure.message.contains(&safe.to_string()));
        assert!(failure.remedy.contains(&format!("--from {safe} --sign-elsewhere")), "{failure:?}");
        assert!(!contract_signer(safe, Instead::Nothing).remedy.contains("--sign-elsewhere"));
    }

    #[test]
    fn a_cut_signature_is_refused_as_wrong_usage() {
        let error = signature("0x1234").unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (Kind::Usage, Some("signature/malformed")));
        assert!(error.remedy.contains("130 digits"));
    }

    #[test]
    fn what_is_pasted_may_lie_in_a_file_with_or_without_json_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signature");
        let named = path.to_str().unwrap();
        for content in ["0xab\n", "{\"signature\": \"0xab\"}", "\"0xab\"", "{\"raw\": \"0xab\", \"tx\": {}}"]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(hex_or_file(named).unwrap(), "0xab", "{content}");
        }
        assert_eq!(hex_or_file(" 0xcd ").unwrap(), "0xcd");
        let (kind, ..) = crate::report::classify(&hex_or_file("nowhere").unwrap_err());
        assert_eq!(kind, Kind::NotFound);
    }
}

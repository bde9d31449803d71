//! Which chain is meant, whose transactions they are, and whether they are sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lode_contracts::{ChainReader as _, Deployment, Operator, RpcChain, RpcConfig};
use lode_protocol::ids::{Address, PoolId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Timestamp;

use crate::arguments::{ChainFlags, Global, SignerFlags};
use crate::context::{Contexts, PoolContext};
use crate::failure::Kind;
use crate::keys;
use crate::output::Format;

/// The context that the flags mean, if there is one. Its absence is no error: flags may say everything.
pub(crate) fn context(global: &Global) -> anyhow::Result<Option<PoolContext>> {
    let contexts = Contexts::load(&Contexts::path()?)?;
    if global.context.is_none() && contexts.current.is_none() {
        return Ok(None);
    }
    Ok(Some(contexts.choose(global.context.as_deref())?.1.clone()))
}

/// The chain with the contracts, checked.
pub(crate) async fn chain(global: &Global, flags: &ChainFlags) -> anyhow::Result<Arc<RpcChain>> {
    let (_, chain) = unchecked_chain(global, flags)?;
    chain.verify().await?;
    Ok(chain)
}

/// The chain with the contracts, before anybody has looked whether they are there.
pub(crate) fn unchecked_chain(
    global: &Global,
    flags: &ChainFlags,
) -> anyhow::Result<(RpcConfig, Arc<RpcChain>)> {
    let context = context(global)?.unwrap_or_default();
    let Some(path) = flags.deployment.clone().or(context.deployment) else {
        let remedy = "give --deployment FILE (the pool's owner has it, `lode chain deploy` writes it)";
        return Err(Kind::Usage.with_remedy("it is not said which contracts are meant", remedy));
    };
    let deployment = Deployment::load(&path)?;
    let Some(url) = flags.rpc_url.clone().or(context.rpc_url).or_else(|| deployment.rpc_url.clone()) else {
        return Err(Kind::Usage.with_remedy("it is not said how to reach the chain", "give --rpc-url URL"));
    };
    let usual = RpcConfig::new(url);
    let config = RpcConfig { max_range: flags.block_range.unwrap_or(usual.max_range), ..usual };
    let chain = RpcChain::new(config.clone(), deployment)?;
    Ok((config, Arc::new(chain)))
}

/// The pool that a flag names, or the context's.
pub(crate) fn pool_meant(global: &Global, named: Option<PoolId>) -> anyhow::Result<PoolId> {
    let known = match named {
        Some(pool) => Some(pool),
        None => context(global)?.and_then(|context| context.pool).map(PoolId),
    };
    known.ok_or_else(|| Kind::Usage.with_remedy("it is not said which pool is meant", "give its number"))
}

/// Where a text goes that somebody signs elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Destination {
    Stdout,
    File(PathBuf),
}

impl Destination {
    pub(super) fn new(path: &Path) -> Self {
        if path.as_os_str() == "-" { Destination::Stdout } else { Destination::File(path.to_owned()) }
    }
}

/// Whose transactions they are.
#[derive(Debug)]
enum Account {
    /// The key is here.
    Key(SigningKey),
    /// Only the address is known.
    Elsewhere(Address),
}

/// What becomes of transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// They are sent, after asking.
    Send,
    /// They are simulated.
    DryRun,
    /// They are written down, to be signed elsewhere.
    SignElsewhere(Destination),
}

/// An account at work on a chain.
#[derive(Debug)]
pub(crate) struct Wallet {
    pub(crate) chain: Arc<RpcChain>,
    account: Option<Account>,
    pub(super) way: Way,
    pub(super) format: Format,
    pub(super) yes: bool,
    /// The chain's time when the command began.
    pub(crate) now: Timestamp,
}

impl Wallet {
    /// Reads the key, if one is given, and checks the chain; sends nothing.
    pub(crate) async fn open(global: &Global, flags: &SignerFlags) -> anyhow::Result<Self> {
        let way = match (&flags.sign_elsewhere, flags.dry_run) {
            (Some(file), _) => Way::SignElsewhere(Destination::new(file)),
            (None, true) => Way::DryRun,
            (None, false) => Way::Send,
        };
        let key = || flags.key_file.as_deref().map(keys::load).transpose();
        let account = match (&way, flags.from) {
            // A key that lies here is not needed, and need not even be readable.
            (Way::DryRun | Way::SignElsewhere(_), Some(from)) => Some(Account::Elsewhere(from)),
            (Way::Send, Some(from)) => {
                let key = key()?;
                if key.as_ref().is_none_or(|key| key.address() != from) {
                    let message =
                        format!("the key of {from} is not here, so that nothing can be sent as {from}");
                    let remedy = "add --sign-elsewhere or --dry-run, or give its --key-file and no --from";
                    return Err(Kind::Usage.with_remedy(message, remedy));
                }
                key.map(Account::Key)
            }
            (_, None) => key()?.map(Account::Key),
        };
        let chain = chain(global, &flags.chain).await?;
        let now = chain.head().await?.timestamp;
        Ok(Wallet { chain, account, way, format: global.output, yes: flags.yes, now })
    }

    /// Whose transactions they are.
    pub(crate) fn address(&self) -> anyhow::Result<Address> {
        match &self.account {
            Some(Account::Key(key)) => Ok(key.address()),
            Some(Account::Elsewhere(address)) => Ok(*address),
            None => {
                let remedy = "give --key-file FILE (or set LODE_KEY_FILE); where the key is elsewhere: \
                              --from ADDRESS with --sign-elsewhere or --dry-run";
                Err(Kind::Usage.with_remedy("it is not said whose transaction this is", remedy))
            }
        }
    }

    /// The key, where it is here.
    pub(crate) fn key(&self) -> Option<&SigningKey> {
        match &self.account {
            Some(Account::Key(key)) => Some(key),
            Some(Account::Elsewhere(_)) | None => None,
        }
    }

    /// Sends with the key.
    pub(super) fn operator(&self) -> anyhow::Result<Operator> {
        self.address()?;
        match self.key() {
            Some(key) => Ok(Operator::new(self.chain.clone(), key.clone())),
            None => Err(Kind::Usage.because("the key is not here, so that nothing can be sent")),
        }
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        self.chain.deployment()
    }
}

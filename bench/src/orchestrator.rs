//! A real orchestrator in this process, on a chain in memory, with its store in a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{Amount, Chain, ChainReader as _, Intent, Operator, PoolParameters, PoolsCall};
use lode_orchestrator::app::{self, Running};
use lode_orchestrator::config::{Config, ENVIRONMENT_PREFIX};
use lode_program::{Cause, Clock, Program, Shutdown, TaskGroup};
use lode_protocol::hash::Digest;
use lode_protocol::ids::PoolId;
use lode_protocol::keys::SigningKey;
use lode_testkit::chain::FakeChain;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// Time for it to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// It runs until it is told to stop.
pub(crate) struct Orchestrator {
    program: Program,
    pub(crate) running: Running,
    /// For its API.
    pub(crate) token: String,
    folder: TempDir,
}

impl Orchestrator {
    /// `extra` is added to its configuration, `[wire]` first.
    pub(crate) async fn start(
        chain: &Arc<FakeChain>,
        pool: PoolId,
        key: &SigningKey,
        extra: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key_file = folder.path().join("key");
        lode_program::files::create_secret(&key_file, key.to_hex().as_bytes())?;
        let text = format!(
            "data_dir = \"{0}/data\"\nkey_file = \"{0}/key\"\n\
             [chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"unused\"\npool = {pool}\npoll_interval = \"2s\"\n\
             [api]\nlisten = \"127.0.0.1:0\"\n\
             [requirements]\nrequire_proof = false\n[images]\nresolve = false\n{extra}",
            folder.path().display()
        );
        let path = folder.path().join("orchestrator.toml");
        std::fs::write(&path, text)?;
        let config: Config =
            lode_program::config::load_from(Some(&path), ENVIRONMENT_PREFIX, Vec::new(), toml::Table::new())?;
        config.validate()?;
        let shutdown = Shutdown::new();
        let program = Program {
            name: "lode-orchestrator",
            tasks: TaskGroup::new(shutdown.clone()),
            shutdown,
            clock: Clock::system(),
        };
        let running = app::start(&program, &config, chain.clone(), None).await?;
        let token = std::fs::read_to_string(config.token_path())?.trim().to_owned();
        Ok(Orchestrator { program, running, token, folder })
    }

    /// Where it keeps what it must remember.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Whoever started us closes our input when it is done, or when it is gone.
    pub(crate) async fn until_input_ends(self) -> anyhow::Result<()> {
        let mut rest = Vec::new();
        tokio::io::stdin().read_to_end(&mut rest).await?;
        self.program.shutdown.request(Cause::Requested("measured".to_owned()));
        self.program.finish(GRACE).await
    }
}

/// A chain in memory with a pool that takes nodes, and the key of its orchestrator.
pub(crate) async fn chain_with_pool() -> anyhow::Result<(Arc<FakeChain>, SigningKey, PoolId)> {
    let chain = FakeChain::new();
    let key = |number: u8| SigningKey::from_bytes(&[number; 32]);
    let (orchestrator, owner) = (key(0x21)?, key(0x22)?);
    for account in [&orchestrator, &owner] {
        chain.fund(account.address(), Amount::tokens(1_000_000), Amount::tokens(1_000_000));
    }
    let pool = make_pool(&chain, &orchestrator, owner).await?;
    Ok((chain, orchestrator, pool))
}

async fn make_pool(
    chain: &Arc<FakeChain>,
    orchestrator: &SigningKey,
    owner: SigningKey,
) -> anyhow::Result<PoolId> {
    let owner = Operator::new(Arc::clone(chain) as Arc<dyn Chain>, owner);
    let pool = owner
        .create_pool(PoolParameters {
            orchestrator: orchestrator.address(),
            reward_token: Some(chain.deployment().token),
            requirements: Digest([5; 32]),
            max_nodes: None,
            uri: String::new(),
            endpoints: String::new(),
        })
        .await?;
    owner.execute(Intent::Pools(PoolsCall::StartPool(pool))).await?;
    Ok(pool)
}

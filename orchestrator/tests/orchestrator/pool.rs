//! A running orchestrator with its pool.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{Amount, Intent, Operator, PoolParameters, PoolsCall};
use lode_orchestrator::app::{self, Running};
use lode_orchestrator::config::{Config, ENVIRONMENT_PREFIX};
use lode_program::{Cause, Clock, Program, Shutdown, TaskGroup, install_crypto_provider};
use lode_protocol::envelope::Realm;
use lode_protocol::hash::Digest;
use lode_protocol::ids::PoolId;
use lode_protocol::keys::SigningKey;
use lode_store::{MemoryStore, Store};
use lode_testkit::chain::FakeChain;
use serde_json::Value;

/// Far longer than anything takes; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

const ORCHESTRATOR: u8 = 0x21;
const OWNER: u8 = 0x22;
const PROVIDER: u8 = 0x23;

pub(crate) struct Pool {
    pub(crate) chain: Arc<FakeChain>,
    pub(crate) store: MemoryStore,
    pub(crate) running: Running,
    pub(crate) token: String,
    pub(crate) key: SigningKey,
    pub(crate) realm: Realm,
    pub(crate) owner: Operator,
    pub(crate) provider: Operator,
    http: reqwest::Client,
    config: Config,
    program: Option<Program>,
    _folder: tempfile::TempDir,
}

/// Waits until an async condition gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Pool {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// `extra` is added to the configuration.
    pub(crate) async fn start_with(extra: &str) -> Self {
        install_crypto_provider();
        let chain = FakeChain::new();
        let (orchestrator, owner, provider) = (key(ORCHESTRATOR), key(OWNER), key(PROVIDER));
        for account in [&orchestrator, &owner, &provider] {
            chain.fund(account.address(), Amount::tokens(1_000), Amount::tokens(1_000_000));
        }
        let owner = Operator::new(chain.clone(), owner);
        let pool = owner
            .create_pool(PoolParameters {
                orchestrator: orchestrator.address(),
                reward_token: Some(lode_contracts::ChainReader::deployment(chain.as_ref()).token),
                requirements: Digest([5; 32]),
                max_nodes: None,
                uri: String::new(),
                endpoints: String::new(),
            })
            .await
            .unwrap();
        owner.execute(Intent::Pools(PoolsCall::StartPool(pool))).await.unwrap();
        let provider = Operator::new(chain.clone(), provider);
        provider.register_provider(Amount::tokens(100_000)).await.unwrap();
        provider.execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: true })).await.unwrap();

        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        lode_program::files::create_secret(&key_file, orchestrator.to_hex().as_bytes()).unwrap();
        let config = read_config(folder.path(), pool, extra);
        let store = MemoryStore::new();
        let (program, running) = run(&config, &chain, &store).await.unwrap();
        let token = std::fs::read_to_string(config.token_path()).unwrap().trim().to_owned();
        let realm = lode_contracts::ChainReader::deployment(chain.as_ref()).realm(pool);
        Pool {
            chain,
            store,
            running,
            token,
            key: orchestrator,
            realm,
            owner,
            provider,
            http: reqwest::Client::new(),
            config,
            program: Some(program),
            _folder: folder,
        }
    }

    /// Stops the orchestrator and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        let program = self.program.take().expect("it runs");
        program.shutdown.request(Cause::Requested("the test says so".to_owned()));
        program.finish(DEADLINE).await.unwrap();
    }

    /// Starts it again on what the store holds.
    pub(crate) async fn start_again(&mut self) {
        let (program, running) = run(&self.config, &self.chain, &self.store).await.unwrap();
        self.program = Some(program);
        self.running = running;
    }

    /// A second one on the same data directory, or with another configuration.
    pub(crate) async fn try_second(&self) -> anyhow::Result<()> {
        run(&self.config, &self.chain, &MemoryStore::new()).await.map(drop)
    }

    pub(crate) fn with_key(&self, secret: &SigningKey) -> Config {
        let path = self._folder.path().join(format!("key-{}", secret.address()));
        lode_program::files::create_secret(&path, secret.to_hex().as_bytes()).unwrap();
        Config { key_file: Some(path), data_dir: self._folder.path().join("other"), ..self.config.clone() }
    }

    pub(crate) async fn try_config(&self, config: &Config) -> anyhow::Result<()> {
        run(config, &self.chain, &MemoryStore::new()).await.map(drop)
    }

    /// Registers a node with the provider.
    pub(crate) async fn register(&self, node: &SigningKey) {
        self.provider.add_node(node, 2).await.unwrap();
    }

    /// The endpoint that begins so.
    pub(crate) fn endpoint(&self, prefix: &str) -> String {
        self.running.endpoints.iter().find(|url| url.starts_with(prefix)).expect("it is there").clone()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.running.api);
        self.http.request(method.parse().unwrap(), url).timeout(DEADLINE)
    }

    pub(crate) fn authorised(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.request(method, path).bearer_auth(&self.token)
    }

    /// Status and JSON body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.authorised(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Submits a task and tells its id.
    pub(crate) async fn submit(&self, spec: Value) -> String {
        let (status, task) = self.post_task(spec).await;
        assert_eq!(status, 201, "{task}");
        task["id"].as_str().unwrap().to_owned()
    }

    /// Submits a task and tells what was answered.
    pub(crate) async fn post_task(&self, spec: Value) -> (u16, Value) {
        self.call("POST", "/v1/tasks", Some(serde_json::json!({ "spec": spec }))).await
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(program) = &self.program {
            program.shutdown.request(Cause::Requested("the test is over".to_owned()));
        }
    }
}

fn read_config(folder: &std::path::Path, pool: PoolId, extra: &str) -> Config {
    // Images of most tests lie in no registry, and the Internet is nobody's business here.
    let images = if extra.contains("[images]") { "" } else { "[images]\nresolve = false\n" };
    // Workers of tests say a lot at once.
    let api = if extra.contains("[api]") { "" } else { "[api]\nlisten = \"127.0.0.1:0\"\n" };
    let limits = if extra.contains("[limits]") { "" } else { "[limits]\nmessage_burst = 10000\n" };
    let text = format!(
        "data_dir = \"{0}/data\"\nkey_file = \"{0}/key\"\n\
         [chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"unused\"\npool = {pool}\npoll_interval = \"50ms\"\n\
         {api}\
         [wire]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nhttps = \"127.0.0.1:0\"\nhttps_plain = true\n\
         [terms]\ninvite_lifetime = \"8760h\"\n\
         [requirements]\nrequire_proof = false\n{limits}{images}{extra}",
        folder.display()
    );
    let path = folder.join("orchestrator.toml");
    std::fs::write(&path, text).unwrap();
    let config: Config =
        lode_program::config::load_from(Some(&path), ENVIRONMENT_PREFIX, Vec::new(), toml::Table::new())
            .unwrap();
    config.validate().unwrap();
    config
}

async fn run(
    config: &Config,
    chain: &Arc<FakeChain>,
    store: &MemoryStore,
) -> anyhow::Result<(Program, Running)> {
    let shutdown = Shutdown::new();
    let program = Program {
        name: "lode-orchestrator",
        tasks: TaskGroup::new(shutdown.clone()),
        shutdown,
        clock: Clock::system(),
    };
    let kept: Arc<dyn Store> = Arc::new(store.clone());
    let running = app::start(&program, config, chain.clone(), Some(kept)).await?;
    Ok((program, running))
}

//! A chain with the contracts, people with keys, and `lode` as they run it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{
    Amount, ChainReader as _, DeployParameters, Deployment, Epoch, EpochPhase, Intent, Operator, RpcChain,
    RpcConfig, TokenCall, ValidatorsCall, commitment, seconds_of_timestamp,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, ProviderId, ValidatorId};
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::SigningKey;
use lode_testkit::anvil::Anvil;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Who does what. Each has a key that anvil funds, but for the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Deployer,
    Provider,
    Owner,
    Orchestrator,
    Validator,
    Second,
    Third,
    Stranger,
    Node,
}

impl Who {
    const ALL: [Who; 9] = [
        Who::Deployer,
        Who::Provider,
        Who::Owner,
        Who::Orchestrator,
        Who::Validator,
        Who::Second,
        Who::Third,
        Who::Stranger,
        Who::Node,
    ];

    fn number(self) -> usize {
        Who::ALL.iter().position(|who| *who == self).unwrap()
    }

    fn name(self) -> String {
        format!("{self:?}.key").to_lowercase()
    }
}

/// What a command that failed said.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) exit: i32,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
    pub(crate) refusal: String,
}

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) home: TempDir,
    pub(crate) chain: Arc<RpcChain>,
}

impl World {
    /// Contracts with short times, deployed by the command line, and tokens for everybody.
    pub(crate) async fn new() -> World {
        World::with(DeployParameters::development()).await
    }

    pub(crate) async fn with(parameters: DeployParameters) -> World {
        let anvil = Anvil::start().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        for who in Who::ALL {
            let path = home.path().join(who.name());
            std::fs::write(&path, format!("{}\n", key(&anvil, who).to_hex().as_str())).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::write(home.path().join("parameters.toml"), toml::to_string(&parameters).unwrap()).unwrap();
        let deployment = home.path().join("deployment.json");
        let arguments =
            ["chain", "deploy", "--key-file", "deployer.key", "--parameters", "parameters.toml", "--yes"];
        let done = lode_in(home.path(), &anvil.rpc_url(), None, &arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let deployment = Deployment::load(&deployment).unwrap();
        let chain = Arc::new(RpcChain::new(RpcConfig::new(anvil.rpc_url()), deployment).unwrap());
        let world = World { anvil, home, chain };
        let deployer = world.operator(Who::Deployer);
        for who in Who::ALL {
            let mint =
                Intent::Token(TokenCall::Mint { to: world.address(who), amount: Amount::tokens(1_000) });
            deployer.execute(mint).await.unwrap();
        }
        world
    }

    pub(crate) fn key(&self, who: Who) -> SigningKey {
        key(&self.anvil, who)
    }

    pub(crate) fn address(&self, who: Who) -> Address {
        self.key(who).address()
    }

    pub(crate) fn operator(&self, who: Who) -> Operator {
        Operator::new(self.chain.clone(), self.key(who))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.path(name), serde_json::to_string_pretty(value).unwrap()).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// Runs `lode` without a key.
    pub(crate) fn lode(&self, arguments: &[&str]) -> Output {
        lode_in(self.home.path(), &self.anvil.rpc_url(), Some("deployment.json"), arguments)
    }

    /// Runs `lode` without a key, with more in its environment.
    pub(crate) fn lode_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command =
            command_in(self.home.path(), &self.anvil.rpc_url(), Some("deployment.json"), arguments);
        command.envs(environment.iter().copied()).output().unwrap()
    }

    /// Runs a command of somebody that must succeed; gives what it printed, as JSON.
    pub(crate) fn done(&self, who: Who, arguments: &[&str]) -> Value {
        let name = who.name();
        let all = [arguments, &["--key-file", &name, "--yes", "-o", "json"]].concat();
        json_of(&self.lode(&all), arguments)
    }

    /// Runs a command without a key that must succeed; gives what it printed, as JSON.
    pub(crate) fn seen(&self, arguments: &[&str]) -> Value {
        json_of(&self.lode(&[arguments, &["-o", "json"]].concat()), arguments)
    }

    /// The same as people see it.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.lode(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command of somebody that must fail.
    pub(crate) fn refused(&self, who: Who, arguments: &[&str]) -> Refused {
        let name = who.name();
        let all = [arguments, &["--key-file", &name, "--yes"]].concat();
        self.refused_as(&all)
    }

    /// Runs a command that must fail.
    pub(crate) fn refused_as(&self, arguments: &[&str]) -> Refused {
        let output = self.lode(&[arguments, &["-o", "json"]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?} succeeded");
        let body: Value =
            stderr.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| {
                panic!("{arguments:?} said no JSON: {stderr}");
            });
        let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        Refused {
            exit: output.status.code().unwrap(),
            code: text("code"),
            message: text("message"),
            remedy: text("remedy"),
            refusal: text("refusal"),
        }
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.anvil.advance(Duration::from_secs(seconds)).await.unwrap();
    }

    pub(crate) async fn now(&self) -> u64 {
        seconds_of_timestamp(self.chain.head().await.unwrap().timestamp)
    }

    /// A provider with a stake for ten units.
    pub(crate) fn registered_provider(&self) {
        self.done(Who::Provider, &["provider", "register", "--stake", "100"]);
    }

    /// A running pool that pays in LODE; its number is 1.
    pub(crate) fn paying_pool(&self) {
        let orchestrator = self.address(Who::Orchestrator).to_string();
        let made = self.done(
            Who::Owner,
            &[
                "pool",
                "create",
                "--orchestrator",
                &orchestrator,
                "--endpoint",
                "/ip4/127.0.0.1/tcp/7000",
                "--reward-token",
                "lode",
            ],
        );
        assert_eq!((&made["pool"], &made["running"]), (&json!(1), &json!(true)));
    }

    /// The node's consent to serve the provider, as `lode-worker init` writes it.
    pub(crate) async fn consent(&self, name: &str, node: &SigningKey) {
        let statement = NodeConsent {
            node: NodeId(node.address()),
            provider: ProviderId(self.address(Who::Provider)),
            nonce: self.chain.consent_nonce(NodeId(node.address())).await.unwrap(),
            deadline: self.now().await + 3_600,
        };
        let deployment = self.chain.deployment();
        let signature = node.sign_recoverable(&statement.digest(&deployment.registry_domain()));
        self.write(
            name,
            &json!({
                "node": statement.node, "provider": statement.provider, "nonce": statement.nonce,
                "deadline": statement.deadline, "signature": signature, "chain_id": deployment.chain_id,
                "registry": deployment.registry,
            }),
        );
    }

    /// Moves the clock to a phase of an epoch at least `later` epochs on.
    pub(crate) async fn to_phase(&self, phase: EpochPhase, later: u64) -> Epoch {
        let timing = self.chain.epoch_timing().await.unwrap();
        let now = self.chain.head().await.unwrap().timestamp;
        let epoch = timing.epoch_at(now).plus(later);
        let target = match phase {
            EpochPhase::Commit => timing.starts(epoch),
            EpochPhase::Reveal => timing.reveal_from(epoch),
        };
        let span = seconds_of_timestamp(target).saturating_sub(seconds_of_timestamp(now));
        self.advance(span + 1).await;
        epoch
    }

    /// Validators with equal bonds, at the beginning of an epoch in which they count.
    pub(crate) async fn bonded(&self, validators: &[Who]) {
        for who in validators {
            let endpoint = "/ip4/127.0.0.1/tcp/7300";
            self.done(*who, &["validator", "register", "--bond", "100", "--endpoint", endpoint]);
        }
        self.to_phase(EpochPhase::Commit, 1).await;
    }

    /// An epoch in which the validators agreed on a root; its second half runs.
    pub(crate) async fn agreed(&self, validators: &[Who]) -> Epoch {
        let epoch = self.to_phase(EpochPhase::Commit, 1).await;
        let (root, salt) = (Digest([0xab; 32]), Digest([0xcd; 32]));
        for who in validators {
            let commitment = commitment(ValidatorId(self.address(*who)), epoch, salt, root);
            self.operator(*who)
                .execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment }))
                .await
                .unwrap();
        }
        self.to_phase(EpochPhase::Reveal, 0).await;
        for who in validators {
            self.operator(*who)
                .execute(Intent::Validators(ValidatorsCall::Reveal { epoch, root, salt }))
                .await
                .unwrap();
        }
        epoch
    }

    /// A stranger's wallet: anvil signs typed data by its own implementation, for the accounts that it funds.
    pub(crate) async fn wallet_signs(&self, who: Who, typed_data: &Value) -> String {
        let account = self.address(who).to_string();
        let signature = self.anvil.rpc("eth_signTypedData_v4", json!([account, typed_data])).await.unwrap();
        signature.as_str().unwrap().to_owned()
    }

    /// The same for a transaction.
    pub(crate) async fn wallet_signs_transaction(&self, transaction: &Value) -> String {
        let signed = self.anvil.rpc("eth_signTransaction", json!([transaction])).await.unwrap();
        signed.as_str().unwrap().to_owned()
    }

    pub(crate) async fn tokens(&self, account: Address) -> Amount {
        self.chain.token_balance(account).await.unwrap()
    }
}

/// The command line without any environment but what it is given.
fn lode_in(home: &Path, rpc_url: &str, deployment: Option<&str>, arguments: &[&str]) -> Output {
    command_in(home, rpc_url, deployment, arguments).output().unwrap()
}

fn command_in(home: &Path, rpc_url: &str, deployment: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
    command.args(arguments).current_dir(home).env_clear().env("HOME", home).env("LODE_RPC_URL", rpc_url);
    if let Some(deployment) = deployment {
        command.env("LODE_DEPLOYMENT", deployment);
    }
    command
}

fn json_of(output: &Output, arguments: &[&str]) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{arguments:?} printed no JSON ({error}): {}", String::from_utf8_lossy(&output.stdout));
    })
}

/// Anvil's own keys, and one without coins for the node.
fn key(anvil: &Anvil, who: Who) -> SigningKey {
    match who {
        Who::Node => SigningKey::from_bytes(&[0x4e; 32]).unwrap(),
        other => anvil.key(other.number()),
    }
}

//! A real Ethereum development node for tests: started on a free port, killed by its pid when dropped.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use lode_contracts::Amount;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use serde_json::{Value, json};

/// Longest wait for the node to listen.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait for the node to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Keys that every anvil funds (mnemonic "test test … junk"): worthless anywhere else.
const FUNDED_KEYS: [&str; 10] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// How to start.
#[derive(Clone, Debug, Default)]
pub struct AnvilOptions {
    /// State is loaded from this file if it is there, and written to it every second and at the end.
    pub state: Option<PathBuf>,
    /// A port to listen on; free when `None`. Only to restart a node where it was.
    pub port: Option<u16>,
    /// Seconds between blocks; a block per transaction when `None`.
    pub block_time: Option<u64>,
}

/// A running node.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    port: u16,
    http: reqwest::Client,
}

impl Anvil {
    /// A fresh chain on a free port, a block per transaction.
    pub async fn start() -> anyhow::Result<Anvil> {
        Anvil::start_with(AnvilOptions::default()).await
    }

    /// Starts a node and waits until it listens. Fails loudly when anvil is missing.
    pub async fn start_with(options: AnvilOptions) -> anyhow::Result<Anvil> {
        // Somebody else may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::task::spawn_blocking(move || Anvil::start_blocking(&options)).await?
    }

    fn start_blocking(options: &AnvilOptions) -> anyhow::Result<Anvil> {
        let program = executable()?;
        let mut command = Command::new(&program);
        command.args(["--host", "127.0.0.1", "--hardfork", "osaka", "--port"]);
        command.arg(options.port.unwrap_or(0).to_string());
        if let Some(state) = &options.state {
            command.args([OsString::from("--state"), state.into(), "--state-interval".into(), "1".into()]);
        }
        if let Some(seconds) = options.block_time {
            command.args(["--block-time", &seconds.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("anvil has no output");
        };
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (found, listening) = mpsc::channel();
        watch_output(stdout, tail.clone(), Some(found));
        watch_output(stderr, tail.clone(), None);
        let port = match listening.recv_timeout(START_DEADLINE) {
            Ok(port) => port,
            Err(_) => {
                stop(&mut child);
                let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
                bail!("{} did not listen; it said:\n{}", program.display(), lines.join("\n"));
            }
        };
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?;
        Ok(Anvil { child, port, http })
    }

    /// Where it listens.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The `index`-th key with coins, of 10.
    pub fn key(&self, index: usize) -> SigningKey {
        let digits = FUNDED_KEYS.get(index).expect("anvil funds ten keys");
        SigningKey::from_hex(digits).expect("the keys are valid")
    }

    /// Calls any JSON-RPC method.
    pub async fn rpc(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer: Value = self.http.post(self.rpc_url()).json(&request).send().await?.json().await?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        answer.get("result").cloned().ok_or_else(|| anyhow!("{method}: no result"))
    }

    /// Gives an account that much of the chain's coin.
    pub async fn fund(&self, account: Address, balance: Amount) -> anyhow::Result<()> {
        self.rpc("anvil_setBalance", json!([account.to_string(), format!("{:#x}", balance.0)]))
            .await
            .map(drop)
    }

    /// Mines empty blocks.
    pub async fn mine(&self, blocks: u64) -> anyhow::Result<()> {
        self.rpc("anvil_mine", json!([format!("{blocks:#x}")])).await.map(drop)
    }

    /// Moves the chain's clock on, and mines a block that shows it.
    pub async fn advance(&self, span: Duration) -> anyhow::Result<()> {
        self.rpc("evm_increaseTime", json!([span.as_secs()])).await?;
        self.rpc("evm_mine", json!([])).await.map(drop)
    }

    /// Remembers the chain as it is now.
    pub async fn snapshot(&self) -> anyhow::Result<Value> {
        self.rpc("evm_snapshot", json!([])).await
    }

    /// Sets the chain back to what a snapshot remembers.
    pub async fn revert(&self, snapshot: Value) -> anyhow::Result<()> {
        let done = self.rpc("evm_revert", json!([snapshot])).await?;
        if done != json!(true) {
            bail!("anvil does not know the snapshot any more");
        }
        Ok(())
    }

    /// Replaces the latest blocks by empty ones.
    pub async fn reorg(&self, depth: u64) -> anyhow::Result<()> {
        self.rpc("anvil_reorg", json!([depth, []])).await.map(drop)
    }

    /// Whether each transaction is mined at once.
    pub async fn set_automine(&self, automine: bool) -> anyhow::Result<()> {
        self.rpc("evm_setAutomine", json!([automine])).await.map(drop)
    }

    /// Forgets transactions that wait to be mined.
    pub async fn lose_pending(&self) -> anyhow::Result<()> {
        self.rpc("anvil_dropAllTransactions", json!([])).await.map(drop)
    }

    /// Asks the node to stop and waits for it: a state file then holds everything.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
            let deadline = Instant::now() + STOP_DEADLINE;
            while self.child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    bail!("anvil does not stop; it is killed");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })
        .await?
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    // Both fail only for a process that has ended and was waited for.
    let _ = child.kill();
    let _ = child.wait();
}

/// Keeps the last lines and reports the port. Runs until the process closes its output.
fn watch_output(
    output: impl std::io::Read + Send + 'static,
    tail: Arc<Mutex<VecDeque<String>>>,
    mut found: Option<mpsc::Sender<u16>>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let port = line
                .strip_prefix("Listening on ")
                .and_then(|address| address.rsplit(':').next()?.parse().ok());
            if let Some(port) = port
                && let Some(found) = found.take()
            {
                let _ = found.send(port);
            }
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == 20 {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    });
}

/// anvil on the PATH, or the one that npm installed for the contracts.
fn executable() -> anyhow::Result<PathBuf> {
    let from_npm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/.bin/anvil");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|directory| directory.join("anvil")).chain([from_npm]);
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("anvil is neither on the PATH nor in contracts/node_modules: run `npm ci` in contracts/")
}

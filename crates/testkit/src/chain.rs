//! A chain in memory with the contracts' rules, and with switches for what goes wrong on real ones.
//!
//! It implements the same ports as the real chain and passes the same conformance suite. What it leaves out: gas is
//! free, and nobody but our contracts and accounts is on it.

mod ledger;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lode_contracts::{
    Amount, BlockRef, ChainError, ChainEvent, DeployParameters, Deployment, LoggedEvent, Receipt,
    timestamp_of_seconds,
};
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{Address, ChainId, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;

use self::ledger::Ledger;
use self::writer::Transaction;

/// Time of the first block, in seconds since the Unix epoch.
const GENESIS_SECONDS: u64 = 1_800_000_000;
/// What a unit of gas costs while nobody says otherwise.
const BASE_FEE: u64 = 1_000_000_000;

/// The chain. Clones of the `Arc` share it.
#[derive(Debug)]
pub struct FakeChain {
    deployment: Deployment,
    parameters: DeployParameters,
    world: Mutex<World>,
    requests: AtomicU64,
}

/// A block with the state after it.
#[derive(Clone, Debug)]
struct Block {
    block: BlockRef,
    ledger: Ledger,
    events: Vec<LoggedEvent>,
    receipts: BTreeMap<Digest, Receipt>,
}

#[derive(Debug)]
struct World {
    blocks: Vec<Block>,
    /// Transactions that wait, by sender and nonce.
    pending: BTreeMap<(Address, u64), Transaction>,
    /// Grows with every block, so that a block made again has another hash.
    made: u64,
    /// Seconds by which the next block is later.
    ahead: u64,
    base_fee: u64,
    automine: bool,
    reachable: bool,
    lose_sends: u32,
    frozen_head: Option<usize>,
    /// Number of the first block whose events are not given.
    unindexed: Option<u64>,
}

impl FakeChain {
    /// A chain with freshly deployed contracts and short epochs.
    pub fn new() -> Arc<FakeChain> {
        FakeChain::with_parameters(DeployParameters::development())
    }

    /// The same, deployed with other parameters.
    pub fn with_parameters(parameters: DeployParameters) -> Arc<FakeChain> {
        FakeChain::beginning_at(parameters, GENESIS_SECONDS)
    }

    /// The same, with a clock that begins at this unix second: for what is compared with clocks beside the chain.
    pub fn beginning_at(parameters: DeployParameters, genesis_seconds: u64) -> Arc<FakeChain> {
        let deployment = Deployment {
            chain_id: ChainId(31_337),
            block: 0,
            rpc_url: None,
            token: Address([0xa1; 20]),
            registry: Address([0xa2; 20]),
            pools: Address([0xa3; 20]),
            validators: Address([0xa4; 20]),
            slashing: Address([0xa5; 20]),
            rewards: Address([0xa6; 20]),
            commit: None,
            code_hashes: BTreeMap::new(),
        };
        let owner = FakeChain::owner_key().address();
        let mut ledger = Ledger::new(deployment.clone(), parameters, owner, genesis_seconds);
        ledger.coins.insert(owner, Amount::tokens(1_000_000));
        let genesis = BlockRef {
            number: 0,
            hash: keccak256_of([&b"fake genesis"[..]]),
            timestamp: timestamp_of_seconds(genesis_seconds),
        };
        let block = Block { block: genesis, ledger, events: vec![], receipts: BTreeMap::new() };
        Arc::new(FakeChain {
            deployment,
            parameters,
            world: Mutex::new(World {
                blocks: vec![block],
                pending: BTreeMap::new(),
                made: 0,
                ahead: 0,
                base_fee: BASE_FEE,
                automine: true,
                reachable: true,
                lose_sends: 0,
                frozen_head: None,
                unindexed: None,
            }),
            requests: AtomicU64::new(0),
        })
    }

    /// The key that owns the token and has coins.
    pub fn owner_key() -> SigningKey {
        SigningKey::from_bytes(&[0x11; 32]).expect("the bytes are a valid key")
    }

    /// Gives an account coins and tokens, in a block of its own.
    pub fn fund(&self, account: Address, coins: Amount, tokens: Amount) {
        let mut world = self.world();
        let block = world.make_block();
        let balance = block.ledger.coins.entry(account).or_default();
        *balance = balance.saturating_add(coins);
        let balance = block.ledger.tokens.entry(account).or_default();
        *balance = balance.saturating_add(tokens);
    }

    /// Makes registered nodes members of a pool in one block, however many, without their signatures.
    pub fn enroll(&self, pool: PoolId, nodes: impl IntoIterator<Item = (NodeId, ProviderId)>) {
        self.world().make_block().ledger.enroll(pool, nodes);
    }

    /// Whether the RPC answers.
    pub fn set_reachable(&self, reachable: bool) {
        self.world().reachable = reachable;
    }

    /// While frozen, readers see the chain as it is now, whatever happens to it.
    pub fn freeze_head(&self, frozen: bool) {
        let mut world = self.world();
        world.frozen_head = frozen.then(|| world.blocks.len());
    }

    /// While it lags, blocks that come are there, and their events are not given: what indexes them is behind.
    pub fn lag_events(&self, lagging: bool) {
        let mut world = self.world();
        world.unindexed = lagging.then(|| world.latest().block.number.saturating_add(1));
    }

    /// Whether transactions are mined as they come.
    pub fn set_automine(&self, automine: bool) {
        let mut world = self.world();
        world.automine = automine;
        if automine {
            world.mine_pending();
        }
    }

    /// Mines what waits, or an empty block.
    pub fn mine(&self) {
        let mut world = self.world();
        if !world.mine_pending() {
            world.make_block();
        }
    }

    /// Mines what waits of one account, and nothing else.
    pub fn mine_of(&self, account: Address) {
        let mut world = self.world();
        let others: Vec<_> = world.pending.extract_if(.., |(sender, _), _| *sender != account).collect();
        world.mine_pending();
        world.pending.extend(others);
    }

    /// Moves the chain's clock on, and mines a block that shows it.
    pub fn advance(&self, span: Duration) {
        let mut world = self.world();
        world.ahead += span.as_secs();
        if !world.mine_pending() {
            world.make_block();
        }
    }

    /// Takes the latest blocks away, with everything that waits: a development chain restarted from an older state.
    pub fn rollback(&self, blocks: usize) {
        let mut world = self.world();
        let keep = world.blocks.len().saturating_sub(blocks).max(1);
        world.blocks.truncate(keep);
        world.pending.clear();
    }

    /// Replaces the latest blocks by as many empty ones.
    pub fn reorg(&self, blocks: usize) {
        let mut world = self.world();
        let length = world.blocks.len();
        world.blocks.truncate(length.saturating_sub(blocks).max(1));
        while world.blocks.len() < length {
            world.make_block();
        }
    }

    /// Forgets transactions that wait.
    pub fn lose_pending(&self) {
        self.world().pending.clear();
    }

    /// The next `count` transactions are taken and then forgotten.
    pub fn lose_next_sends(&self, count: u32) {
        self.world().lose_sends = count;
    }

    /// What a unit of gas costs: transactions that pay less wait.
    pub fn set_base_fee(&self, fee: u64) {
        let mut world = self.world();
        world.base_fee = fee;
        if world.automine {
            world.mine_pending();
        }
    }

    /// How many transactions wait.
    pub fn pending(&self) -> usize {
        self.world().pending.len()
    }

    /// How often the RPC was asked.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, if the RPC answers.
    fn reach(&self, operation: &'static str) -> Result<MutexGuard<'_, World>, ChainError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let world = self.world();
        if world.reachable {
            return Ok(world);
        }
        Err(ChainError::Unreachable { operation, detail: "the fake chain is switched off".to_owned() })
    }
}

impl World {
    /// The latest block, frozen or not.
    fn latest(&self) -> &Block {
        self.blocks.last().expect("a chain has its first block")
    }

    /// The blocks that readers see.
    fn seen(&self) -> &[Block] {
        let length = self.frozen_head.unwrap_or(self.blocks.len()).min(self.blocks.len());
        &self.blocks[..length]
    }

    /// The latest block that readers see.
    fn head(&self) -> &Block {
        self.seen().last().expect("a chain has its first block")
    }

    fn make_block(&mut self) -> &mut Block {
        self.made += 1;
        let parent = self.latest().clone();
        let seconds = parent.ledger.now + 1 + std::mem::take(&mut self.ahead);
        let number = parent.block.number + 1;
        let hash = keccak256_of([&parent.block.hash.0[..], &self.made.to_be_bytes()]);
        let mut ledger = parent.ledger;
        ledger.now = seconds;
        ledger.parent = parent.block.hash;
        let block = BlockRef { number, hash, timestamp: timestamp_of_seconds(seconds) };
        self.blocks.push(Block { block, ledger, events: vec![], receipts: BTreeMap::new() });
        self.blocks.last_mut().expect("it was just pushed")
    }

    /// Mines every transaction whose turn it is and that pays enough, one block each. Whether there was one.
    fn mine_pending(&mut self) -> bool {
        let mut any = false;
        while let Some(transaction) = self.next_executable() {
            self.execute(&transaction);
            any = true;
        }
        any
    }

    fn next_executable(&mut self) -> Option<Transaction> {
        let nonces = &self.latest().ledger.nonces;
        let due =
            |(sender, nonce): &(Address, u64)| nonces.get(sender).copied().unwrap_or_default() == *nonce;
        let base_fee = self.base_fee;
        let found =
            self.pending.iter().find(|(key, transaction)| due(key) && transaction.fees.max_fee >= base_fee);
        let key = *found?.0;
        self.pending.remove(&key)
    }

    fn execute(&mut self, transaction: &Transaction) {
        let hash = transaction.hash();
        let block = self.make_block();
        let (number, block_hash) = (block.block.number, block.block.hash);
        *block.ledger.nonces.entry(transaction.sender).or_default() += 1;
        let result = block.ledger.apply(transaction.sender, &transaction.intent);
        let succeeded = result.is_ok();
        let log = |(index, event): (usize, ChainEvent)| LoggedEvent {
            event,
            block: number,
            block_hash,
            transaction: hash,
            index: index as u64,
        };
        let events: Vec<LoggedEvent> = result.unwrap_or_default().into_iter().enumerate().map(log).collect();
        block.events.clone_from(&events);
        let receipt =
            Receipt { transaction: hash, block: number, block_hash, succeeded, gas_used: 21_000, events };
        block.receipts.insert(hash, receipt);
    }
}

//! Whether an answer for young blocks has everything that was logged in them.
//!
//! An RPC may speak of a block and answer `[]` for it, because what indexes logs is behind, or another of its servers was
//! asked. The block's own bloom tells whether our contracts can have logged in it; where they can, the block's receipts are
//! the answer, if their logs make that bloom. Blooms of busy chains say yes to everything, and some chains keep none: there
//! the follower's second look has to do (`follower/core/second_look.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bloom};
use alloy::rpc::types::{Filter, Log};
use serde::Deserialize;

use super::YOUNG;
use crate::error::ChainError;
use crate::rpc::{RpcChain, Transport};

const OPERATION: &str = crate::decode::OPERATION;
/// A bloom with more bits than this (a fifth) says yes too often to what is not there.
const BITS: u32 = 410;
/// For so long an answer that nothing confirms is not believed.
const DOUBT: Duration = Duration::from_secs(10);

/// Blocks whose answer was doubted, since when.
pub(super) type Doubts = BTreeMap<u64, (B256, Instant)>;

/// What a block says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    hash: B256,
    #[serde(default)]
    logs_bloom: Option<Bloom>,
}

/// What a transaction logged.
#[derive(Clone, Debug, Deserialize)]
struct TransactionLogs {
    logs: Vec<Log>,
}

impl Head {
    /// The block's bloom, if it tells anything.
    fn bloom(&self) -> Option<&Bloom> {
        let bits = |bloom: &Bloom| bloom.0.iter().map(|byte| byte.count_ones()).sum::<u32>();
        self.logs_bloom.as_ref().filter(|bloom| bits(bloom) <= BITS)
    }
}

impl RpcChain {
    /// Makes `logs` of the young blocks `from..=to` whole.
    pub(super) async fn complete(
        &self,
        filter: &Filter,
        from: u64,
        to: u64,
        logs: &mut Vec<Log>,
    ) -> Result<(), ChainError> {
        let transport = self.verified().await?;
        for number in from..=to {
            let tag = format!("{number:#x}");
            let head: Option<Head> =
                transport.request(OPERATION, "eth_getBlockByNumber", (tag, false)).await?;
            let inconsistent = || ChainError::Inconsistent { operation: OPERATION, block: number };
            let head = head.ok_or_else(inconsistent)?;
            let of_block = |log: &Log| log.block_number == Some(number);
            if logs.iter().filter(|log| of_block(log)).any(|log| log.block_hash != Some(head.hash)) {
                return Err(inconsistent());
            }
            let lies = |log: &Log| {
                let topics = log.inner.topics();
                head.logs_bloom.is_none_or(|bloom| !bloom.contains_raw_log(log.inner.address, topics))
            };
            if logs.iter().filter(|log| of_block(log)).any(lies) {
                self.logs.blooms_lie.store(true, Ordering::Relaxed);
            }
            if self.logs.blooms_lie.load(Ordering::Relaxed) {
                return Ok(());
            }
            let Some(bloom) = head.bloom().filter(|bloom| filter.matches_bloom(**bloom)) else { continue };
            match receipts(transport, &head, bloom).await {
                Some(all) => {
                    logs.retain(|log| !of_block(log));
                    logs.extend(all.into_iter().filter(|log| {
                        filter.matches_address(log.inner.address) && filter.matches_topics(log.inner.topics())
                    }));
                }
                // An event may be missing, or the bloom says yes to what is not there.
                None if !logs.iter().any(of_block) && self.is_doubted(number, head.hash) => {
                    return Err(inconsistent());
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Whether it is too early to believe that nothing was logged in a block.
    fn is_doubted(&self, number: u64, hash: B256) -> bool {
        let now = Instant::now();
        let mut doubts = self.logs.doubts();
        doubts.retain(|other, _| other.abs_diff(number) < 2 * YOUNG);
        let (doubted, since) = doubts.entry(number).or_insert((hash, now));
        if *doubted != hash {
            (*doubted, *since) = (hash, now);
        }
        now.saturating_duration_since(*since) < DOUBT
    }
}

/// All logs of a block, if they are known to be all.
async fn receipts(transport: &Transport, head: &Head, bloom: &Bloom) -> Option<Vec<Log>> {
    let asked: Result<Option<Vec<TransactionLogs>>, ChainError> =
        transport.request(OPERATION, "eth_getBlockReceipts", (head.hash,)).await;
    let found = match asked {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%error, "the RPC does not give the receipts of a block");
            return None;
        }
    };
    let logs: Vec<Log> = found.into_iter().flat_map(|receipt| receipt.logs).collect();
    let mut made = Bloom::ZERO;
    for log in &logs {
        made.accrue_raw_log(log.inner.address, log.inner.topics());
    }
    let belongs = logs.iter().all(|log| log.block_hash == Some(head.hash));
    (made == *bloom && belongs).then_some(logs)
}

//! The fuzz target `chain_logs`: logs as a hostile RPC may give them.

use alloy::primitives::{B256, Bytes, LogData};

use super::*;

fn deployment() -> Deployment {
    let contract = |number| lode_protocol::ids::Address([number; 20]);
    Deployment {
        chain_id: lode_protocol::ids::ChainId(31_337),
        block: 0,
        rpc_url: None,
        token: contract(1),
        registry: contract(2),
        pools: contract(3),
        validators: contract(4),
        slashing: contract(5),
        rewards: contract(6),
        commit: None,
        code_hashes: std::collections::BTreeMap::new(),
    }
}

/// Which contract (a byte), which of its events (a byte), how many more topics (a byte), these, and the data.
///
/// # Panics
/// If a defect was found.
#[cfg_attr(test, expect(unreachable_pub, reason = "it is public where it is fuzzed"))]
pub fn chain_logs(bytes: &[u8]) {
    let Some(([contract, event, topics], mut rest)) = bytes.split_first_chunk::<3>() else { return };
    let deployment = deployment();
    let (address, selectors) = match contract % 6 {
        0 => (deployment.registry, Registry::SELECTORS),
        1 => (deployment.pools, Pools::SELECTORS),
        2 => (deployment.validators, Validators::SELECTORS),
        3 => (deployment.slashing, Slashing::SELECTORS),
        4 => (deployment.rewards, Rewards::SELECTORS),
        _ => (deployment.token, Rewards::SELECTORS),
    };
    // One more than there are: an event that nobody knows.
    let known = selectors.get(usize::from(*event) % (selectors.len() + 1));
    let mut all = vec![known.map_or(B256::repeat_byte(*event), |selector| B256::from(*selector))];
    for _ in 0..topics % 4 {
        let Some((topic, behind)) = rest.split_first_chunk::<32>() else { break };
        all.push(B256::from(*topic));
        rest = behind;
    }
    let data = LogData::new_unchecked(all, Bytes::copy_from_slice(rest));
    let log = Log {
        inner: PrimitiveLog { address: to_address(address), data },
        block_hash: Some(B256::repeat_byte(1)),
        block_number: Some(7),
        block_timestamp: None,
        transaction_hash: Some(B256::repeat_byte(2)),
        transaction_index: Some(0),
        log_index: Some(u64::from(*topics)),
        removed: topics & 0x80 != 0,
    };
    let ours = address != deployment.token && !log.removed;
    match decode(&deployment, &log) {
        Ok(Some(read)) => assert!(ours && read.block == 7 && read.index == u64::from(*topics)),
        Ok(None) => assert!(!ours, "a log of ours that does not decode is an error"),
        Err(error) => assert!(ours, "{error}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_log_of_a_hostile_rpc_breaks_the_follower_and_none_of_ours_is_passed_over() {
        lode_testkit::fuzz::short_run("chain_logs", 5_000, super::chain_logs);
    }
}

//! Trees of earnings and receipts against `test/golden/earnings_tree.json`, which the contracts' own tests make: every
//! path in it was claimed under, every digest is the contract's.

use lode_contracts::{Amount, EarningsLeaf, EarningsTree, Epoch, verify_earnings_path};
use lode_protocol::ids::{Address, ChainId, NodeId, PoolId};
use lode_protocol::settlement::{Receipt, rewards_domain};
use serde_json::Value;

fn golden() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/test/golden/earnings_tree.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is text in {value}"))
}

/// Amounts stand there in the smallest unit, unlike in the JSON that people read.
fn amount(value: &Value, key: &str) -> Amount {
    Amount(text(value, key).parse().unwrap())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

#[test]
fn trees_are_those_under_which_the_contract_pays() {
    let golden = golden();
    for expected in list(&golden, "trees") {
        let leaves: Vec<EarningsLeaf> = list(expected, "leaves")
            .iter()
            .map(|leaf| EarningsLeaf {
                payee: text(leaf, "payee").parse().unwrap(),
                cumulative: amount(leaf, "cumulative"),
            })
            .collect();
        let tree = EarningsTree::new(leaves.clone()).unwrap();
        assert_eq!(tree.root().to_string(), text(expected, "root"));
        assert_eq!(tree.total(), amount(expected, "total"));
        assert_eq!(u64::from(tree.depth()), expected["depth"].as_u64().unwrap());
        for ((index, leaf), expected_path) in (0u64..).zip(&leaves).zip(list(expected, "paths")) {
            let (found, path) = tree.path(index).unwrap();
            let bytes: Vec<u8> = path
                .iter()
                .flat_map(|sibling| sibling.hash.0.into_iter().chain(sibling.sum.0.to_be_bytes()))
                .collect();
            assert_eq!(
                (found, format!("0x{}", hex::encode(bytes))),
                (*leaf, expected_path.as_str().unwrap().to_owned())
            );
            assert!(verify_earnings_path(tree.root(), tree.total(), index, leaf, &path));
        }
    }
}

#[test]
fn receipts_are_signed_over_the_digest_that_the_contract_asks_for() {
    let golden = golden();
    let domain = &golden["domain"];
    let contract: Address = text(domain, "contract").parse().unwrap();
    let domain = rewards_domain(ChainId(domain["chain_id"].as_u64().unwrap()), contract);
    for expected in list(&golden, "receipts") {
        let receipt = Receipt {
            pool: PoolId(text(expected, "pool").parse().unwrap()),
            epoch: Epoch(text(expected, "epoch").parse().unwrap()),
            node: NodeId(text(expected, "node").parse().unwrap()),
            payee: text(expected, "payee").parse().unwrap(),
            usage: text(expected, "usage").parse().unwrap(),
            amount: amount(expected, "amount"),
            cumulative: amount(expected, "cumulative"),
        };
        assert_eq!(receipt.digest(&domain).to_string(), text(expected, "digest"));
    }
}

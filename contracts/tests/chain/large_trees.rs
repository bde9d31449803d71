//! Roots of many receipts, on a real node's chain: what they cost, and that every place can be claimed.

use std::collections::BTreeSet;

use lode_contracts::{
    Amount, ChainEvent, ClaimItem, EarningsLeaf, EarningsTree, Intent, RewardsCall, RewardsEvent,
    verify_earnings_path,
};
use lode_protocol::hash::keccak256_of;
use lode_protocol::ids::Address;

use crate::rewards::{Market, last_epoch, past_veto};
use crate::world::{World, refusal};

const SIZES: [u64; 3] = [10, 1_000, 100_000];
/// Places that are claimed on chain, spread over the whole tree.
const CLAIMED: u64 = 64;
/// Claims that fit one transaction.
const BATCH: usize = 32;
/// What zero bytes in root and total may save.
const SAME_GAS: u64 = 100;

fn payee(number: u64) -> Address {
    let hash = keccak256_of([&b"payee"[..], &number.to_be_bytes()]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash.0[..20]);
    Address(address)
}

/// No two payees with the same earnings, all together less than a pool may spend.
fn tree(count: u64) -> EarningsTree {
    let earned = |number: u64| Amount(100_000_000_000_000 + u128::from(number));
    let leaf = |number| EarningsLeaf { payee: payee(number), cumulative: earned(number) };
    EarningsTree::new((0..count).map(leaf).collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_of_ten_costs_what_one_of_a_hundred_thousand_costs_and_every_place_is_claimable() {
    let mut gas = Vec::new();
    for count in SIZES {
        let world = World::anvil().await;
        let market = Market::new(&world).await;
        let (anybody, epoch) = (world.rich().await, last_epoch(&world).await);
        let tree = tree(count);
        gas.push(market.orchestrator.execute(market.root(epoch, &tree)).await.unwrap().gas_used);
        for index in 0..count {
            let (leaf, path) = tree.path(index).unwrap();
            assert_eq!(leaf.payee, payee(index));
            assert!(
                verify_earnings_path(tree.root(), tree.total(), index, &leaf, &path),
                "{index} of {count}"
            );
        }
        assert!(tree.path(count).is_none_or(|(leaf, _)| leaf.cumulative == Amount::ZERO));
        past_veto(&world).await;

        let places: BTreeSet<u64> = (0..CLAIMED).map(|step| step * (count - 1) / (CLAIMED - 1)).collect();
        let items: Vec<ClaimItem> = places.iter().map(|index| market.claim(epoch, &tree, *index)).collect();
        for batch in items.chunks(BATCH) {
            let receipt =
                anybody.execute(Intent::Rewards(RewardsCall::ClaimBatch(batch.to_vec()))).await.unwrap();
            let paid: Vec<(Address, Amount)> = receipt
                .events
                .iter()
                .map(|logged| match &logged.event {
                    ChainEvent::Rewards(RewardsEvent::Claimed { payee, amount, .. }) => (*payee, *amount),
                    other => panic!("{count}: {other:?}"),
                })
                .collect();
            let expected: Vec<(Address, Amount)> =
                batch.iter().map(|item| (item.payee, item.cumulative)).collect();
            assert_eq!(paid, expected);
        }
        let item = items.last().unwrap();
        assert_eq!(world.tokens_of(item.payee).await, item.cumulative);

        // Doubled, and wrong in each of its parts.
        let claim =
            async |item: ClaimItem| refusal(anybody.execute(Intent::Rewards(RewardsCall::Claim(item))).await);
        assert_eq!(claim(item.clone()).await, "NothingToClaim");
        let more = Amount(item.cumulative.0 + 1);
        assert_eq!(claim(ClaimItem { cumulative: more, ..item.clone() }).await, "InvalidClaimProof");
        assert_eq!(claim(ClaimItem { payee: payee(count), ..item.clone() }).await, "InvalidClaimProof");
        let elsewhere = ClaimItem { index: item.index - 1, ..item.clone() };
        assert_eq!(claim(elsewhere).await, "InvalidClaimProof");
        let beyond = ClaimItem { index: item.index + (1 << tree.depth()), ..item.clone() };
        assert_eq!(claim(beyond).await, "InvalidClaimProof");
        let mut short = item.clone();
        short.path.pop();
        assert_eq!(claim(short).await, "InvalidClaimProof");
    }
    let (least, most) = (gas.iter().min().unwrap(), gas.iter().max().unwrap());
    assert!(most - least <= SAME_GAS, "posting a root of {SIZES:?} receipts costs {gas:?}");
}

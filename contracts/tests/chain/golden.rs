//! Digests that keys sign: ours, those of the Ethereum library, and fixed ones.

use alloy::primitives::{Address as AlloyAddress, B256, U256};
use alloy::sol;
use alloy::sol_types::{Eip712Domain, SolStruct};
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, ChainId, Epoch, NodeId, PoolId, ProviderId};
use lode_protocol::join::{
    Invite as OurInvite, LeaveStatement, NodeAuthorization as OurAuthorization, NodeConsent as OurConsent,
    PoolApproval as OurApproval, pools_domain, registry_domain,
};
use lode_protocol::settlement::{
    Answer as OurAnswer, Receipt as OurReceipt, SpendAuthorization as OurOrder, rewards_domain,
    slashing_domain, task_order_domain,
};

sol! {
    struct Invite {
        uint64 poolId; address node; address provider; uint64 counter; bytes32 termsHash; uint64 deadline;
    }
    struct Consent {
        uint64 poolId; address node; address provider; uint64 counter; bytes32 termsHash; uint64 deadline;
    }
    struct Leave { uint64 poolId; address node; uint64 counter; uint64 deadline; }
    struct NodeConsent { address node; address provider; uint256 nonce; uint256 deadline; }
    struct PoolApproval { uint64 poolId; address provider; bool approved; uint256 nonce; uint64 deadline; }
    struct Receipt {
        uint64 poolId; uint64 epoch; address node; address payee; bytes32 usageHash; uint128 amount; uint128 cumulative;
    }
    struct Answer { uint64 accusationId; bytes32 answerHash; string answerUri; uint64 deadline; }
    struct SpendAuthorization {
        uint64 poolId; address tenant; bytes32 specHash; uint128 pricePerGpuHour; uint128 budget; uint64 deadline;
    }
    struct NodeAuthorization { address provider; address node; uint32 units; uint256 nonce; uint256 deadline; }
}

const CONTRACT: [u8; 20] = [9; 20];
const NODE: [u8; 20] = [1; 20];
const PROVIDER: [u8; 20] = [2; 20];

fn check(message: &impl SolStruct, name: &'static str, ours: Digest, fixed: &str) {
    let domain = Eip712Domain::new(
        Some(name.into()),
        Some("1".into()),
        Some(U256::from(31_337)),
        Some(AlloyAddress::from(CONTRACT)),
        None,
    );
    let theirs = Digest(message.eip712_signing_hash(&domain).0);
    assert_eq!(ours, theirs);
    assert_eq!(ours.to_string(), fixed);
}

#[test]
fn what_keys_sign_is_what_contracts_check() {
    let (node, provider) = (AlloyAddress::from(NODE), AlloyAddress::from(PROVIDER));
    let pools = pools_domain(ChainId(31_337), Address(CONTRACT));
    let registry = registry_domain(ChainId(31_337), Address(CONTRACT));
    let invite = OurInvite {
        pool: PoolId(5),
        node: NodeId(Address(NODE)),
        provider: ProviderId(Address(PROVIDER)),
        counter: 3,
        terms: Digest([4; 32]),
        deadline: 1_900_000_000,
    };
    let (terms, deadline) = (B256::from([4; 32]), 1_900_000_000);
    let theirs = Invite { poolId: 5, node, provider, counter: 3, termsHash: terms, deadline };
    check(&theirs, "Lode ComputePools", invite.invite_digest(&pools), INVITE);
    let theirs = Consent { poolId: 5, node, provider, counter: 3, termsHash: terms, deadline };
    check(&theirs, "Lode ComputePools", invite.consent_digest(&pools), CONSENT);
    let leave = LeaveStatement { pool: PoolId(5), node: invite.node, counter: 3, deadline };
    let theirs = Leave { poolId: 5, node, counter: 3, deadline };
    check(&theirs, "Lode ComputePools", leave.digest(&pools), LEAVE);
    let consent = OurConsent { node: invite.node, provider: invite.provider, nonce: 6, deadline };
    let theirs = NodeConsent { node, provider, nonce: U256::from(6), deadline: U256::from(deadline) };
    check(&theirs, "Lode ComputeRegistry", consent.digest(&registry), NODE_CONSENT);
    let authorization =
        OurAuthorization { provider: invite.provider, node: invite.node, units: 8, nonce: 7, deadline };
    let theirs =
        NodeAuthorization { provider, node, units: 8, nonce: U256::from(7), deadline: U256::from(deadline) };
    check(&theirs, "Lode ComputeRegistry", authorization.digest(&registry), NODE_AUTHORIZATION);
}

#[test]
fn statements_about_money_are_what_contracts_check() {
    let (node, provider) = (AlloyAddress::from(NODE), AlloyAddress::from(PROVIDER));
    let (chain, contract, deadline) = (ChainId(31_337), Address(CONTRACT), 1_900_000_000);
    let approval = OurApproval {
        pool: PoolId(5),
        provider: ProviderId(Address(PROVIDER)),
        approved: true,
        nonce: 6,
        deadline,
    };
    let theirs = PoolApproval { poolId: 5, provider, approved: true, nonce: U256::from(6), deadline };
    check(&theirs, "Lode ComputePools", approval.digest(&pools_domain(chain, contract)), POOL_APPROVAL);
    let (amount, cumulative) = (7_u128 << 100, u128::MAX - 8);
    let receipt = OurReceipt {
        pool: PoolId(5),
        epoch: Epoch(6),
        node: NodeId(Address(NODE)),
        payee: Address(PROVIDER),
        usage: Digest([4; 32]),
        amount: Amount(amount),
        cumulative: Amount(cumulative),
    };
    let usage = B256::from([4; 32]);
    let theirs = Receipt { poolId: 5, epoch: 6, node, payee: provider, usageHash: usage, amount, cumulative };
    check(&theirs, "Lode Rewards", receipt.digest(&rewards_domain(chain, contract)), RECEIPT);
    let uri = "https://provider.example/answer".to_owned();
    let answer =
        OurAnswer { accusation: AccusationId(9), answer: Digest([4; 32]), uri: uri.clone(), deadline };
    let theirs = Answer { accusationId: 9, answerHash: usage, answerUri: uri, deadline };
    check(&theirs, "Lode Slashing", answer.digest(&slashing_domain(chain, contract)), ANSWER);
    let order = OurOrder {
        pool: PoolId(5),
        tenant: Address(PROVIDER),
        spec: Digest([4; 32]),
        price_per_gpu_hour: Amount(amount),
        budget: Amount(cumulative),
        deadline,
    };
    let theirs = SpendAuthorization {
        poolId: 5,
        tenant: provider,
        specHash: usage,
        pricePerGpuHour: amount,
        budget: cumulative,
        deadline,
    };
    check(&theirs, "Lode SpendAuthorization", order.digest(&task_order_domain(chain, contract)), TASK_ORDER);
}

const POOL_APPROVAL: &str = "0x6b5fe1ce670b467419fd0330fabcee51e64b72f741ee09219cad6a39ee0e462f";
const RECEIPT: &str = "0x9691aaea7c72123c551a79d80190b636dc600fd419fcf97d4c649e8618a486a5";
const ANSWER: &str = "0x79909b656b7d1688375a0ea0415168ff9bb2aefa47b894c4dc169a14a8a8aee1";
const TASK_ORDER: &str = "0x43e8aaffd609ba027c6be8af58321245e1ea688d50dab343348eb6a081e2a0d8";
const INVITE: &str = "0xf45806f993b9913257db1bb39b3f8b41f5df9dca455ee9e0e0d51314b7245685";
const CONSENT: &str = "0xdd6446e96be8dfa31d6d015bcd3a59394f69f95770d95b0655f665e394a5f8e8";
const LEAVE: &str = "0x937127c60e13b9c5b737c2581a1156c1635fbac21f57402e6e42c1fe55af8356";
const NODE_CONSENT: &str = "0xab4231a1ac4418ace26f5646cd00cef6607c18edddb0d06cc9c24130a1322a50";
const NODE_AUTHORIZATION: &str = "0xcee8d4b334b088d2e74fd44f90e4549a17f70b4225a24f0b629d8fedf4e3724c";

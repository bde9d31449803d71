//! Providers, stake and nodes.

use std::time::Duration;

use lode_contracts::{
    Amount, AuthorizedNode, ChainEvent, Intent, NodeRecord, RegistryCall, RegistryEvent, TokenCall,
    refusal_of_name,
};
use lode_protocol::ids::{Address, NodeId, ProviderId};
use lode_protocol::join::{NodeAuthorization, NodeConsent};
use lode_protocol::keys::SigningKey;

use crate::world::{World, events, refusal};

crate::on_every_chain!(
    a_provider_registers_stakes_and_adds_a_node_in_one_transaction_each,
    nodes_are_added_by_signatures_and_a_bad_item_does_not_fail_the_batch,
    a_node_is_replaced_and_removed_by_its_provider_only,
    stake_is_taken_out_after_the_delay_and_never_below_what_the_nodes_need,
    what_was_never_registered_is_nothing,
    the_slasher_is_named_once_and_by_the_deployer_only,
);

async fn a_provider_registers_stakes_and_adds_a_node_in_one_transaction_each(world: World) {
    let provider = world.rich().await;
    let id = ProviderId(provider.address());
    let stake = Amount::tokens(30);
    let receipt = provider.register_provider(stake).await.unwrap();
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Registry(RegistryEvent::ProviderRegistered { provider: id }),
            ChainEvent::Registry(RegistryEvent::Staked { provider: id, amount: stake, stake }),
        ]
    );
    assert_eq!(world.chain.token_balance(provider.address()).await.unwrap(), Amount::tokens(970));
    assert_eq!(world.chain.permit_nonce(provider.address()).await.unwrap(), 1);

    let key = world.key();
    let node = NodeId(key.address());
    assert_eq!(world.chain.authorization_nonce(id, node).await.unwrap(), 0);
    let receipt = provider.add_node(&key, 2).await.unwrap();
    assert_eq!(
        events(&receipt),
        vec![ChainEvent::Registry(RegistryEvent::NodeAdded {
            provider: id,
            node,
            units: 2,
            registration: 1
        })]
    );
    let expected = NodeRecord { provider: id, units: 2, registration: 1, eligible: true };
    assert_eq!(world.chain.node(node).await.unwrap(), Some(expected));
    assert_eq!(world.chain.consent_nonce(node).await.unwrap(), 1);
    assert_eq!(world.chain.authorization_nonce(id, node).await.unwrap(), 1);
    let record = world.chain.provider(id).await.unwrap().unwrap();
    assert_eq!((record.stake, record.units, record.authorization_epoch), (stake, 2, 0));

    assert_eq!(refusal(provider.register_provider(stake).await), "ProviderAlreadyRegistered");
    assert_eq!(refusal(provider.add_node(&key, 1).await), "NodeAlreadyRegistered");
    assert_eq!(refusal(provider.add_node(&world.key(), 2).await), "InsufficientStake");
    assert_eq!(refusal(provider.add_node(&world.key(), 0).await), "ZeroUnits");
    provider.execute(Intent::Registry(RegistryCall::RevokeAuthorizations)).await.unwrap();
    assert_eq!(world.chain.authorization_nonce(id, node).await.unwrap(), (1 << 48) | 1);
}

async fn nodes_are_added_by_signatures_and_a_bad_item_does_not_fail_the_batch(world: World) {
    let provider_key = world.key();
    let anybody = world.rich().await;
    let give =
        Intent::Token(TokenCall::TransferToken { to: provider_key.address(), amount: Amount::tokens(50) });
    anybody.execute(give).await.unwrap();
    let give =
        Intent::Token(TokenCall::TransferNative { to: provider_key.address(), amount: Amount::tokens(1) });
    anybody.execute(give).await.unwrap();
    assert_eq!(world.chain.balance(provider_key.address()).await.unwrap(), Amount::tokens(1));
    let provider = lode_contracts::Operator::new(world.chain.clone(), provider_key.clone());
    provider.register_provider(Amount::tokens(50)).await.unwrap();

    let deadline = world.deadline().await;
    let domain = world.chain.deployment().registry_domain();
    let id = ProviderId(provider_key.address());
    let item = |key: &SigningKey, nonce: u64| {
        let node = NodeId(key.address());
        let authorization = NodeAuthorization { provider: id, node, units: 1, nonce, deadline };
        let consent = NodeConsent { node, provider: id, nonce, deadline };
        AuthorizedNode {
            authorization,
            authorization_signature: provider_key.sign_recoverable(&authorization.digest(&domain)),
            consent,
            consent_signature: key.sign_recoverable(&consent.digest(&domain)),
        }
    };
    let (good, bad, worse) = (world.key(), world.key(), world.key());
    let forged = AuthorizedNode { consent_signature: item(&good, 0).consent_signature, ..item(&worse, 0) };
    let items = vec![item(&good, 0), item(&bad, 5), forged, item(&good, 0)];
    let receipt = anybody.execute(Intent::Registry(RegistryCall::AddNodes(items))).await.unwrap();
    let failed = |key: &SigningKey, name: &str| {
        ChainEvent::Registry(RegistryEvent::NodeAddFailed {
            provider: id,
            node: NodeId(key.address()),
            reason: refusal_of_name(name).unwrap(),
        })
    };
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Registry(RegistryEvent::NodeAdded {
                provider: id,
                node: NodeId(good.address()),
                units: 1,
                registration: 1
            }),
            failed(&bad, "WrongConsentNonce"),
            failed(&worse, "InvalidConsentSignature"),
            failed(&good, "NodeAlreadyRegistered"),
        ]
    );
}

async fn a_node_is_replaced_and_removed_by_its_provider_only(world: World) {
    let provider = world.provider().await;
    let stranger = world.provider().await;
    let id = ProviderId(provider.address());
    let (old, new) = (world.key(), world.key());
    provider.add_node(&old, 3).await.unwrap();
    let (old_id, new_id) = (NodeId(old.address()), NodeId(new.address()));
    let consent = NodeConsent { node: new_id, provider: id, nonce: 0, deadline: world.deadline().await };
    let signature = new.sign_recoverable(&consent.digest(&world.chain.deployment().registry_domain()));
    let replace = Intent::Registry(RegistryCall::ReplaceNode { old: old_id, consent, signature });
    assert_eq!(refusal(stranger.execute(replace.clone()).await), "WrongProvider");
    let receipt = provider.execute(replace).await.unwrap();
    assert_eq!(
        events(&receipt),
        vec![
            ChainEvent::Registry(RegistryEvent::NodeRemoved { provider: id, node: old_id, registration: 1 }),
            ChainEvent::Registry(RegistryEvent::NodeAdded {
                provider: id,
                node: new_id,
                units: 3,
                registration: 1
            }),
            ChainEvent::Registry(RegistryEvent::NodeReplaced { provider: id, old: old_id, new: new_id }),
        ]
    );
    let found = world.chain.nodes(&[old_id, new_id]).await.unwrap();
    assert_eq!(found[0], None);
    assert_eq!(found[1].unwrap().units, 3);
    assert_eq!(
        refusal(stranger.execute(Intent::Registry(RegistryCall::RemoveNode(new_id))).await),
        "NotNodeProvider"
    );
    provider.execute(Intent::Registry(RegistryCall::RemoveNode(new_id))).await.unwrap();
    assert_eq!(world.chain.node(new_id).await.unwrap(), None);
    // The key may come back, by a consent that names its new nonce.
    let receipt = provider.add_node(&new, 1).await.unwrap();
    let added = ChainEvent::Registry(RegistryEvent::NodeAdded {
        provider: id,
        node: new_id,
        units: 1,
        registration: 2,
    });
    assert_eq!(events(&receipt), vec![added]);
}

async fn stake_is_taken_out_after_the_delay_and_never_below_what_the_nodes_need(world: World) {
    let provider = world.provider().await;
    provider.add_node(&world.key(), 4).await.unwrap();
    let too_much = Intent::Registry(RegistryCall::RequestUnstake { amount: Amount::tokens(61) });
    assert_eq!(refusal(provider.execute(too_much).await), "InsufficientStake");
    assert_eq!(refusal(provider.execute(Intent::Registry(RegistryCall::Withdraw)).await), "NothingUnbonding");
    provider
        .execute(Intent::Registry(RegistryCall::RequestUnstake { amount: Amount::tokens(60) }))
        .await
        .unwrap();
    assert_eq!(refusal(provider.execute(Intent::Registry(RegistryCall::Withdraw)).await), "StillUnbonding");
    let record = world.chain.provider(ProviderId(provider.address())).await.unwrap().unwrap();
    assert_eq!(record.unbonding, Amount::tokens(60));
    assert!(record.release_at.is_some());
    let terms = world.chain.staking_terms().await.unwrap();
    world.advance(Duration::from_secs(terms.unbonding_seconds)).await;
    provider.execute(Intent::Registry(RegistryCall::Withdraw)).await.unwrap();
    assert_eq!(world.chain.token_balance(provider.address()).await.unwrap(), Amount::tokens(960));
    // More stake, from an allowance.
    let registry = world.chain.deployment().registry;
    provider
        .execute(Intent::Token(TokenCall::Approve { spender: registry, amount: Amount::tokens(5) }))
        .await
        .unwrap();
    assert_eq!(world.chain.token_allowance(provider.address(), registry).await.unwrap(), Amount::tokens(5));
    provider.execute(Intent::Registry(RegistryCall::Stake { amount: Amount::tokens(5) })).await.unwrap();
    let record = world.chain.provider(ProviderId(provider.address())).await.unwrap().unwrap();
    assert_eq!((record.stake, record.unbonding, record.release_at), (Amount::tokens(45), Amount::ZERO, None));
}

async fn what_was_never_registered_is_nothing(world: World) {
    let nobody = Address([0xee; 20]);
    world.chain.verify().await.unwrap();
    assert_eq!(world.chain.node(NodeId(nobody)).await.unwrap(), None);
    assert_eq!(world.chain.nodes(&[]).await.unwrap(), vec![]);
    assert_eq!(world.chain.provider(ProviderId(nobody)).await.unwrap(), None);
    assert_eq!(world.chain.consent_nonce(NodeId(nobody)).await.unwrap(), 0);
    assert_eq!(world.chain.proven(&[NodeId(nobody)]).await.unwrap(), vec![None]);
    assert_eq!(world.chain.validators().await.unwrap(), vec![]);
    assert_eq!(world.chain.balance(nobody).await.unwrap(), Amount::ZERO);
    assert_eq!(world.chain.block(1_000_000).await.unwrap(), None);
}

async fn the_slasher_is_named_once_and_by_the_deployer_only(world: World) {
    let slashing = world.chain.deployment().slashing;
    assert_eq!(world.chain.slasher().await.unwrap(), Some(slashing));
    let stranger = world.rich().await;
    assert_eq!(refusal(stranger.execute(Intent::Registry(RegistryCall::SetSlasher)).await), "NotDeployer");
    assert_eq!(
        refusal(world.deployer().execute(Intent::Registry(RegistryCall::SetSlasher)).await),
        "SlasherAlreadySet"
    );
}

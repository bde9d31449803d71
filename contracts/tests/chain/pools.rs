//! Pools and memberships.

use lode_contracts::{
    Amount, ChainEvent, Intent, MembershipRecord, MembershipState, PoolState, PoolsCall, PoolsEvent,
    RegistryCall, TokenCall, refusal_of_name, seconds_of_timestamp,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::{Invite, Join, LeaveStatement, PoolApproval};

use crate::world::{World, events, refusal, sign_join};

crate::on_every_chain!(
    a_pool_lives_from_creation_to_its_end,
    a_batch_of_joins_reports_every_item_by_itself,
    a_member_leaves_by_signature_and_an_old_consent_is_dead,
    ejected_and_banned_nodes_are_out,
    a_released_node_is_no_member_any_more,
    a_node_joins_only_pools_that_its_provider_approved,
);

async fn a_pool_lives_from_creation_to_its_end(world: World) {
    assert_eq!(world.chain.pool(PoolId(1)).await.unwrap(), None);
    assert_eq!(world.chain.pool_count().await.unwrap(), 0);
    let (pool, owner, orchestrator) = world.pool(Some(3)).await;
    assert_eq!(pool, PoolId(1));
    assert_eq!(world.chain.pool_count().await.unwrap(), 1);
    let record = world.chain.pool(pool).await.unwrap().unwrap();
    assert_eq!(record.owner, owner.address());
    assert_eq!(record.orchestrator, orchestrator.address());
    assert_eq!(record.requirements, Digest([7; 32]));
    assert_eq!((record.state, record.max_nodes, record.member_count), (PoolState::Running, Some(3), 0));
    assert_eq!(record.endpoints, "https://pool.example");
    assert_eq!((record.pending_owner, record.reward_token), (None, None));

    let stranger = world.rich().await;
    let moved =
        Intent::Pools(PoolsCall::SetEndpoints { pool, endpoints: "https://other.example".to_owned() });
    assert_eq!(refusal(stranger.execute(moved.clone()).await), "NotPoolAuthority");
    owner.execute(moved).await.unwrap();
    let long = Intent::Pools(PoolsCall::SetEndpoints { pool, endpoints: "x".repeat(1025) });
    assert_eq!(refusal(owner.execute(long).await), "TextTooLong");
    let other_key = world.key().address();
    owner.execute(Intent::Pools(PoolsCall::SetOrchestrator { pool, orchestrator: other_key })).await.unwrap();
    let back = Intent::Pools(PoolsCall::SetOrchestrator { pool, orchestrator: orchestrator.address() });
    assert_eq!(refusal(owner.execute(back).await), "OrchestratorRetired");
    let requirements =
        Intent::Pools(PoolsCall::SetRequirements { pool, requirements: Digest([8; 32]), uri: String::new() });
    owner.execute(requirements).await.unwrap();
    owner
        .execute(Intent::Pools(PoolsCall::TransferPool { pool, to: Some(stranger.address()) }))
        .await
        .unwrap();
    stranger.execute(Intent::Pools(PoolsCall::AcceptPool(pool))).await.unwrap();
    assert_eq!(refusal(owner.execute(Intent::Pools(PoolsCall::EndPool(pool))).await), "NotPoolOwner");
    stranger.execute(Intent::Pools(PoolsCall::EndPool(pool))).await.unwrap();
    let record = world.chain.pool(pool).await.unwrap().unwrap();
    assert_eq!((record.owner, record.orchestrator), (stranger.address(), other_key));
    assert_eq!((record.state, record.requirements), (PoolState::Ended, Digest([8; 32])));
    assert_eq!(
        refusal(stranger.execute(Intent::Pools(PoolsCall::StartPool(PoolId(9)))).await),
        "PoolNotFound"
    );
}

async fn a_batch_of_joins_reports_every_item_by_itself(world: World) {
    let (pool, _, orchestrator) = world.pool(Some(2)).await;
    let provider = world.provider().await;
    let anybody = world.rich().await;
    let keys = [world.key(), world.key(), world.key(), world.key(), world.key()];
    for key in keys.iter().take(4) {
        provider.add_node(key, 1).await.unwrap();
    }
    let [first, forged, expired, second, unregistered] = &keys;
    let join = async |key| world.join(pool, &orchestrator, key, &provider).await;
    let good = join(first).await;
    let mut bad_signature = join(forged).await;
    bad_signature.invite_signature = bad_signature.consent_signature;
    let past = seconds_of_timestamp(world.head().await.timestamp) - 1;
    let late = Invite { deadline: past, ..join(expired).await.invite };
    let late = sign_join(late, &orchestrator, expired, &world);
    let wrong_counter = Invite { counter: 4, ..join(second).await.invite };
    let wrong_counter = sign_join(wrong_counter, &orchestrator, second, &world);
    let foreign = Invite { pool: PoolId(77), ..join(second).await.invite };
    let foreign = sign_join(foreign, &orchestrator, second, &world);
    let batch: Vec<Join> = vec![
        good.clone(),
        good.clone(),
        bad_signature,
        late,
        wrong_counter,
        foreign,
        join(unregistered).await,
        join(second).await,
        join(forged).await,
    ];
    let receipt = anybody.execute(Intent::Pools(PoolsCall::JoinBatch(batch))).await.unwrap();
    let id = |key: &lode_protocol::keys::SigningKey| NodeId(key.address());
    let failed = |pool, key, name: &str| {
        ChainEvent::Pools(PoolsEvent::JoinFailed {
            pool,
            node: id(key),
            reason: refusal_of_name(name).unwrap(),
        })
    };
    let joined = |key| {
        ChainEvent::Pools(PoolsEvent::NodeJoined {
            pool,
            node: id(key),
            provider: ProviderId(provider.address()),
            counter: 1,
            registration: 1,
        })
    };
    assert_eq!(
        events(&receipt),
        vec![
            joined(first),
            ChainEvent::Pools(PoolsEvent::NodeAlreadyMember { pool, node: id(first) }),
            failed(pool, forged, "InvalidInviteSignature"),
            failed(pool, expired, "SignatureExpired"),
            failed(pool, second, "WrongCounter"),
            failed(PoolId(77), second, "PoolNotFound"),
            failed(pool, unregistered, "NodeNotEligible"),
            joined(second),
            failed(pool, forged, "PoolFull"),
        ]
    );
    let records = world.chain.memberships(pool, &[id(second), id(forged), id(first)]).await.unwrap();
    let states: Vec<_> = records.iter().map(|record| (record.state, record.active)).collect();
    assert_eq!(
        states,
        vec![
            (MembershipState::Member, true),
            (MembershipState::Never, false),
            (MembershipState::Member, true)
        ]
    );
    assert_eq!(world.chain.pool(pool).await.unwrap().unwrap().member_count, 2);
    let stranger = NodeId(Address([0xee; 20]));
    assert_eq!(world.chain.membership(pool, stranger).await.unwrap(), MembershipRecord::NEVER);
}

async fn a_member_leaves_by_signature_and_an_old_consent_is_dead(world: World) {
    let (pool, _, orchestrator) = world.pool(None).await;
    let provider = world.provider().await;
    let anybody = world.rich().await;
    let key = world.key();
    let node = NodeId(key.address());
    provider.add_node(&key, 1).await.unwrap();
    let first = world.join(pool, &orchestrator, &key, &provider).await;
    anybody.execute(Intent::Pools(PoolsCall::JoinBatch(vec![first.clone()]))).await.unwrap();

    let domain = world.chain.deployment().pools_domain();
    let statement = LeaveStatement { pool, node, counter: 1, deadline: world.deadline().await };
    let forged = orchestrator.sign_recoverable(&statement.digest(&domain));
    let forged = Intent::Pools(PoolsCall::LeaveBySignature { statement, signature: forged });
    assert_eq!(refusal(anybody.execute(forged).await), "InvalidLeaveSignature");
    let stale = LeaveStatement { counter: 0, ..statement };
    let stale = Intent::Pools(PoolsCall::LeaveBySignature {
        statement: stale,
        signature: key.sign_recoverable(&stale.digest(&domain)),
    });
    assert_eq!(refusal(anybody.execute(stale).await), "WrongCounter");
    let signature = key.sign_recoverable(&statement.digest(&domain));
    let receipt =
        anybody.execute(Intent::Pools(PoolsCall::LeaveBySignature { statement, signature })).await.unwrap();
    assert_eq!(events(&receipt), vec![ChainEvent::Pools(PoolsEvent::NodeLeft { pool, node, counter: 1 })]);

    let receipt = anybody.execute(Intent::Pools(PoolsCall::JoinBatch(vec![first]))).await.unwrap();
    let reason = refusal_of_name("WrongCounter").unwrap();
    assert_eq!(events(&receipt), vec![ChainEvent::Pools(PoolsEvent::JoinFailed { pool, node, reason })]);
    let again = world.join(pool, &orchestrator, &key, &provider).await;
    assert_eq!(again.invite.counter, 1);
    anybody.execute(Intent::Pools(PoolsCall::JoinBatch(vec![again]))).await.unwrap();
    let record = world.chain.membership(pool, node).await.unwrap();
    assert_eq!((record.state, record.join_counter), (MembershipState::Member, 2));
    assert!(record.joined_at.is_some());
    // The provider may take its node out, too; a stranger may not.
    assert_eq!(
        refusal(anybody.execute(Intent::Pools(PoolsCall::Leave { pool, node })).await),
        "NotNodeOrProvider"
    );
    provider.execute(Intent::Pools(PoolsCall::Leave { pool, node })).await.unwrap();
    assert_eq!(refusal(provider.execute(Intent::Pools(PoolsCall::Leave { pool, node })).await), "NotMember");
}

async fn ejected_and_banned_nodes_are_out(world: World) {
    let (pool, owner, orchestrator) = world.pool(None).await;
    let provider = world.provider().await;
    let key = world.key();
    let node = NodeId(key.address());
    let provider_id = ProviderId(provider.address());
    provider.add_node(&key, 1).await.unwrap();
    let join = async || {
        let join = world.join(pool, &orchestrator, &key, &provider).await;
        let receipt = owner.execute(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await.unwrap();
        events(&receipt).pop().unwrap()
    };
    let refused = |name: &str| {
        ChainEvent::Pools(PoolsEvent::JoinFailed { pool, node, reason: refusal_of_name(name).unwrap() })
    };
    let state = async || {
        let record = world.chain.membership(pool, node).await.unwrap();
        (record.state, record.active)
    };
    join().await;
    owner.execute(Intent::Pools(PoolsCall::Eject { pool, node })).await.unwrap();
    assert_eq!(state().await, (MembershipState::Ejected, false));
    assert_eq!(refusal(owner.execute(Intent::Pools(PoolsCall::Eject { pool, node })).await), "NotMember");
    join().await;
    owner.execute(Intent::Pools(PoolsCall::BanProvider { pool, provider: provider_id })).await.unwrap();
    assert!(world.chain.is_provider_banned(pool, provider_id).await.unwrap());
    assert_eq!(state().await, (MembershipState::Member, false));
    owner.execute(Intent::Pools(PoolsCall::UnbanProvider { pool, provider: provider_id })).await.unwrap();
    assert_eq!(state().await, (MembershipState::Member, true));
    owner.execute(Intent::Pools(PoolsCall::BanNode { pool, node })).await.unwrap();
    assert_eq!(state().await, (MembershipState::Banned, false));
    assert_eq!(join().await, refused("NodeIsBanned"));
    assert_eq!(
        refusal(owner.execute(Intent::Pools(PoolsCall::BanNode { pool, node })).await),
        "NodeIsBanned"
    );
    owner.execute(Intent::Pools(PoolsCall::UnbanNode { pool, node })).await.unwrap();
    assert!(matches!(join().await, ChainEvent::Pools(PoolsEvent::NodeJoined { counter: 3, .. })));
    assert_eq!(world.chain.pool(pool).await.unwrap().unwrap().member_count, 1);
}

async fn a_released_node_is_no_member_any_more(world: World) {
    let (pool, _, orchestrator) = world.pool(None).await;
    let provider = world.provider().await;
    let anybody = world.rich().await;
    let key = world.key();
    let node = NodeId(key.address());
    provider.add_node(&key, 1).await.unwrap();
    let join = world.join(pool, &orchestrator, &key, &provider).await;
    anybody.execute(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await.unwrap();
    provider.execute(Intent::Registry(RegistryCall::RemoveNode(node))).await.unwrap();
    let record = world.chain.membership(pool, node).await.unwrap();
    assert_eq!((record.state, record.active, record.provider), (MembershipState::Member, false, None));
    // Anybody may tidy up, and a new registration joins anew.
    provider.add_node(&key, 1).await.unwrap();
    assert!(!world.chain.membership(pool, node).await.unwrap().active);
    let receipt = anybody.execute(Intent::Pools(PoolsCall::Leave { pool, node })).await.unwrap();
    assert_eq!(events(&receipt), vec![ChainEvent::Pools(PoolsEvent::NodeLeft { pool, node, counter: 1 })]);
    let join = world.join(pool, &orchestrator, &key, &provider).await;
    let receipt = anybody.execute(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await.unwrap();
    assert!(matches!(
        events(&receipt)[..],
        [ChainEvent::Pools(PoolsEvent::NodeJoined { counter: 2, registration: 2, .. })]
    ));
}

async fn a_node_joins_only_pools_that_its_provider_approved(world: World) {
    let (pool, _, orchestrator) = world.pool(None).await;
    let provider_key = world.key();
    let anybody = world.rich().await;
    let give =
        Intent::Token(TokenCall::TransferToken { to: provider_key.address(), amount: Amount::tokens(50) });
    anybody.execute(give).await.unwrap();
    let give =
        Intent::Token(TokenCall::TransferNative { to: provider_key.address(), amount: Amount::tokens(1) });
    anybody.execute(give).await.unwrap();
    let provider = lode_contracts::Operator::new(world.chain.clone(), provider_key.clone());
    provider.register_provider(Amount::tokens(50)).await.unwrap();
    let (key, id) = (world.key(), ProviderId(provider.address()));
    let node = NodeId(key.address());
    provider.add_node(&key, 1).await.unwrap();
    let join = async || {
        let join = world.unapproved_join(pool, &orchestrator, &key, &provider).await;
        let receipt = anybody.execute(Intent::Pools(PoolsCall::JoinBatch(vec![join]))).await.unwrap();
        events(&receipt).pop().unwrap()
    };
    let reason = refusal_of_name("PoolNotApproved").unwrap();
    assert_eq!(
        join().await,
        ChainEvent::Pools(PoolsEvent::JoinFailed { pool, node, reason: reason.clone() })
    );
    assert!(!world.chain.is_pool_approved(pool, id).await.unwrap());

    let domain = world.chain.deployment().pools_domain();
    let deadline = world.deadline().await;
    let approval = PoolApproval { pool, provider: id, approved: true, nonce: 0, deadline };
    let signed = |statement: PoolApproval, by: &lode_protocol::keys::SigningKey| {
        let signature = by.sign_recoverable(&statement.digest(&domain));
        Intent::Pools(PoolsCall::SetPoolApprovalBySignature { statement, signature })
    };
    // A stolen node key approves nothing.
    assert_eq!(refusal(anybody.execute(signed(approval, &key)).await), "InvalidApprovalSignature");
    let early = PoolApproval { nonce: 1, ..approval };
    assert_eq!(refusal(anybody.execute(signed(early, &provider_key)).await), "WrongApprovalNonce");
    let late = PoolApproval { deadline: 1, ..approval };
    assert_eq!(refusal(anybody.execute(signed(late, &provider_key)).await), "SignatureExpired");
    let nowhere = PoolApproval { pool: PoolId(77), ..approval };
    assert_eq!(refusal(anybody.execute(signed(nowhere, &provider_key)).await), "PoolNotFound");
    let receipt = anybody.execute(signed(approval, &provider_key)).await.unwrap();
    let changed =
        |approved| ChainEvent::Pools(PoolsEvent::PoolApprovalChanged { pool, provider: id, approved });
    assert_eq!(events(&receipt), vec![changed(true)]);
    assert_eq!(world.chain.approval_nonce(id).await.unwrap(), 1);
    assert!(matches!(join().await, ChainEvent::Pools(PoolsEvent::NodeJoined { .. })));

    // Taking the approval back ends no membership, and kills what was signed and not used.
    let receipt =
        provider.execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: false })).await.unwrap();
    assert_eq!(events(&receipt), vec![changed(false)]);
    assert_eq!(world.chain.approval_nonce(id).await.unwrap(), 2);
    assert!(world.chain.membership(pool, node).await.unwrap().active);
    assert_eq!(refusal(anybody.execute(signed(early, &provider_key)).await), "WrongApprovalNonce");
    provider.execute(Intent::Pools(PoolsCall::Leave { pool, node })).await.unwrap();
    assert_eq!(join().await, ChainEvent::Pools(PoolsEvent::JoinFailed { pool, node, reason }));
    provider.execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: true })).await.unwrap();
    assert!(matches!(join().await, ChainEvent::Pools(PoolsEvent::NodeJoined { counter: 2, .. })));
}

//! Many nodes on a real node's chain: registered and joined in batches, and rebuilt from events alone.
//!
//! How many is `LODE_SCALE_NODES`; `scripts/soak chain` takes 10,000.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lode_contracts::{
    Amount, AuthorizedNode, Chain, ChainEvent, DeployParameters, Follower, FollowerConfig, FollowerEvent,
    Intent, MembershipRecord, MembershipState, Operator, PoolParameters, PoolsCall, PoolsEvent, RegistryCall,
    RegistryEvent, RpcChain, RpcConfig, TokenCall, deploy, seconds_of_timestamp,
};
use lode_protocol::eip712::Domain;
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::join::{Invite, Join, LeaveStatement, NodeAuthorization, NodeConsent};
use lode_protocol::keys::SigningKey;
use lode_testkit::anvil::Anvil;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// As many items as one transaction holds under Osaka's limit of 2²⁴ gas, with room (EIP-7825).
const BATCH: usize = 200;
const USUAL_NODES: usize = 1_000;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

struct Scale {
    chain: Arc<dyn Chain>,
    anybody: Operator,
    owner: Operator,
    provider: SigningKey,
    orchestrator: SigningKey,
    nodes: Vec<SigningKey>,
    pool: PoolId,
    deadline: u64,
    _anvil: Anvil,
}

impl Scale {
    async fn new(count: usize) -> Scale {
        let anvil = Anvil::start().await.unwrap();
        let config = RpcConfig::new(anvil.rpc_url());
        let parameters = DeployParameters {
            min_stake_per_unit: Amount::tokens(1),
            unbonding_seconds: 86_400,
            ..DeployParameters::development()
        };
        let deployment = deploy(&config, &anvil.key(0), &parameters, None).await.unwrap();
        let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(config, deployment).unwrap());
        let [minter, provider, owner] = [0, 1, 2].map(|key| Operator::new(chain.clone(), anvil.key(key)));
        let amount = Amount::tokens(count as u64);
        minter.execute(Intent::Token(TokenCall::Mint { to: provider.address(), amount })).await.unwrap();
        provider.register_provider(amount).await.unwrap();
        let orchestrator = anvil.key(3);
        let parameters = PoolParameters {
            orchestrator: orchestrator.address(),
            reward_token: None,
            requirements: Digest([7; 32]),
            max_nodes: None,
            uri: String::new(),
            endpoints: String::new(),
        };
        let pool = owner.create_pool(parameters).await.unwrap();
        owner.execute(Intent::Pools(PoolsCall::StartPool(pool))).await.unwrap();
        provider.execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: true })).await.unwrap();
        let deadline = seconds_of_timestamp(chain.head().await.unwrap().timestamp) + 86_400;
        let key = |number: usize| {
            let secret = keccak256_of([&b"scale"[..], &number.to_be_bytes()]);
            SigningKey::from_bytes(&secret.0).unwrap()
        };
        Scale {
            chain,
            anybody: minter,
            owner,
            provider: anvil.key(1),
            orchestrator,
            nodes: (0..count).map(key).collect(),
            pool,
            deadline,
            _anvil: anvil,
        }
    }

    /// Signs for every key on all processors, in the order of the keys.
    fn signed<T: Send>(&self, keys: &[SigningKey], sign: impl Fn(&SigningKey) -> T + Sync) -> Vec<T> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let sign = &sign;
        std::thread::scope(|scope| {
            let parts: Vec<_> = keys
                .chunks(keys.len().div_ceil(threads).max(1))
                .map(|part| scope.spawn(move || part.iter().map(sign).collect::<Vec<T>>()))
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        })
    }

    fn authorized(&self, domain: &Domain, node: &SigningKey) -> AuthorizedNode {
        let (id, provider) = (NodeId(node.address()), ProviderId(self.provider.address()));
        let authorization =
            NodeAuthorization { provider, node: id, units: 1, nonce: 0, deadline: self.deadline };
        let consent = NodeConsent { node: id, provider, nonce: 0, deadline: self.deadline };
        AuthorizedNode {
            authorization,
            authorization_signature: self.provider.sign_recoverable(&authorization.digest(domain)),
            consent,
            consent_signature: node.sign_recoverable(&consent.digest(domain)),
        }
    }

    fn join(&self, domain: &Domain, node: &SigningKey, counter: u64) -> Join {
        let invite = Invite {
            pool: self.pool,
            node: NodeId(node.address()),
            provider: ProviderId(self.provider.address()),
            counter,
            terms: Digest([7; 32]),
            deadline: self.deadline,
        };
        Join {
            invite,
            invite_signature: self.orchestrator.sign_recoverable(&invite.invite_digest(domain)),
            consent_signature: node.sign_recoverable(&invite.consent_digest(domain)),
        }
    }

    /// Every batch in one transaction; no item may be refused.
    async fn submit<T>(&self, items: Vec<T>, batch: impl Fn(Vec<T>) -> Intent) -> u64 {
        let mut gas = 0;
        let mut items = items.into_iter();
        loop {
            let part: Vec<T> = items.by_ref().take(BATCH).collect();
            if part.is_empty() {
                return gas;
            }
            let expected = part.len();
            let receipt = self.anybody.execute(batch(part)).await.unwrap();
            assert_eq!(receipt.events.len(), expected);
            let refused = receipt.events.iter().find(|logged| {
                matches!(
                    logged.event,
                    ChainEvent::Registry(RegistryEvent::NodeAddFailed { .. })
                        | ChainEvent::Pools(PoolsEvent::JoinFailed { .. })
                )
            });
            assert_eq!(refused, None);
            gas += receipt.gas_used;
        }
    }

    async fn join_all(&self, nodes: &[SigningKey], counter: u64) -> u64 {
        let domain = self.chain.deployment().pools_domain();
        let joins = self.signed(nodes, |node| self.join(&domain, node, counter));
        self.submit(joins, |inner| Intent::Pools(PoolsCall::JoinBatch(inner))).await
    }

    /// Compares what events say with what is stored, for every node.
    async fn compare(&self, rebuilt: &mut Rebuilt) {
        let head = self.chain.head().await.unwrap().number;
        rebuilt.up_to(head).await;
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| NodeId(node.address())).collect();
        let stored = self.chain.memberships(self.pool, &ids).await.unwrap();
        let mut members = 0;
        for (id, record) in ids.iter().zip(stored) {
            let told = rebuilt.memberships.get(id).copied().unwrap_or_default();
            assert_eq!(told.of(&record), record, "{id}");
            members += u32::from(record.state == MembershipState::Member);
        }
        assert_eq!(self.chain.pool(self.pool).await.unwrap().unwrap().member_count, members);
        assert_eq!(rebuilt.memberships.len(), ids.len());
    }
}

/// What events alone tell about a membership.
#[derive(Clone, Copy, Default)]
struct Told {
    state: Option<MembershipState>,
    join_counter: u64,
    registration: u64,
    active: bool,
}

impl Told {
    /// A record with what was told in it; the rest is not the events' business.
    fn of(self, record: &MembershipRecord) -> MembershipRecord {
        MembershipRecord {
            state: self.state.unwrap_or(MembershipState::Never),
            active: self.active,
            join_counter: self.join_counter,
            registration: self.registration,
            ..*record
        }
    }
}

/// The membership of one pool, rebuilt by a follower that runs beside everything else.
struct Rebuilt {
    events: mpsc::Receiver<FollowerEvent>,
    task: tokio::task::JoinHandle<()>,
    memberships: BTreeMap<NodeId, Told>,
    reached: u64,
    provider_banned: bool,
}

impl Drop for Rebuilt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rebuilt {
    fn start(chain: Arc<dyn Chain>) -> Rebuilt {
        let config = FollowerConfig { poll_interval_ms: 50, ..FollowerConfig::default() };
        let (follower, _) = Follower::new(chain, config, None);
        let (sender, events) = mpsc::channel(4);
        let task = tokio::spawn(follower.run(sender));
        Rebuilt { events, task, memberships: BTreeMap::new(), reached: 0, provider_banned: false }
    }

    async fn up_to(&mut self, block: u64) {
        while self.reached < block {
            match timeout(PATIENCE, self.events.recv()).await.expect("events in time").unwrap() {
                FollowerEvent::Events { events, cursor, .. } => {
                    events.iter().for_each(|logged| self.apply(&logged.event));
                    self.reached = cursor.number;
                }
                other => panic!("nothing is replaced on this chain: {other:?}"),
            }
        }
    }

    fn apply(&mut self, event: &ChainEvent) {
        let banned = self.provider_banned;
        let end = |told: &mut Told, state| {
            told.state = Some(state);
            told.active = false;
        };
        match event {
            ChainEvent::Pools(PoolsEvent::NodeJoined { node, counter, registration, .. }) => {
                let state = Some(MembershipState::Member);
                let (join_counter, registration) = (*counter, *registration);
                let told = Told { state, join_counter, registration, active: !banned };
                self.memberships.insert(*node, told);
            }
            ChainEvent::Pools(PoolsEvent::NodeLeft { node, .. }) => {
                end(self.memberships.get_mut(node).unwrap(), MembershipState::Left)
            }
            ChainEvent::Pools(PoolsEvent::NodeEjected { node, .. }) => {
                end(self.memberships.get_mut(node).unwrap(), MembershipState::Ejected);
            }
            ChainEvent::Pools(PoolsEvent::NodeBanned { node, .. }) => {
                end(self.memberships.get_mut(node).unwrap(), MembershipState::Banned);
            }
            ChainEvent::Pools(PoolsEvent::NodeUnbanned { node, .. }) => {
                end(self.memberships.get_mut(node).unwrap(), MembershipState::Ejected);
            }
            ChainEvent::Pools(PoolsEvent::ProviderBanned { .. })
            | ChainEvent::Pools(PoolsEvent::ProviderUnbanned { .. }) => {
                self.provider_banned = matches!(event, ChainEvent::Pools(PoolsEvent::ProviderBanned { .. }));
                for told in self.memberships.values_mut() {
                    told.active = told.state == Some(MembershipState::Member) && !self.provider_banned;
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_membership_of_a_large_pool_is_rebuilt_from_events_also_while_members_leave_and_rejoin() {
    let count = match std::env::var("LODE_SCALE_NODES") {
        Ok(text) => text.parse().expect("LODE_SCALE_NODES is a number of nodes"),
        Err(_) => USUAL_NODES,
    };
    let began = Instant::now();
    let scale = Scale::new(count).await;
    let mut rebuilt = Rebuilt::start(scale.chain.clone());

    let since = Instant::now();
    let domain = scale.chain.deployment().registry_domain();
    let items = scale.signed(&scale.nodes, |node| scale.authorized(&domain, node));
    let signed = since.elapsed();
    let gas = scale.submit(items, |inner| Intent::Registry(RegistryCall::AddNodes(inner))).await;
    println!(
        "{count} nodes registered in {:?} ({signed:?} of it signing), {} gas each",
        since.elapsed(),
        gas / count as u64
    );
    let since = Instant::now();
    let gas = scale.join_all(&scale.nodes, 0).await;
    println!("{count} nodes joined in {:?}, {} gas each", since.elapsed(), gas / count as u64);
    let since = Instant::now();
    scale.compare(&mut rebuilt).await;
    println!("{count} memberships rebuilt from events and read from storage in {:?}", since.elapsed());

    // Members come and go while the follower reads.
    let since = Instant::now();
    let pools = scale.chain.deployment().pools_domain();
    let (pool, deadline) = (scale.pool, scale.deadline);
    let some: Vec<SigningKey> = scale.nodes.iter().step_by((count / 100).max(1)).cloned().collect();
    for (number, node) in some.iter().enumerate() {
        let id = NodeId(node.address());
        let intent = match number % 4 {
            0 => Intent::Pools(PoolsCall::Eject { pool, node: id }),
            1 => Intent::Pools(PoolsCall::BanNode { pool, node: id }),
            _ => {
                let statement = LeaveStatement { pool, node: id, counter: 1, deadline };
                let signature = node.sign_recoverable(&statement.digest(&pools));
                Intent::Pools(PoolsCall::LeaveBySignature { statement, signature })
            }
        };
        scale.owner.execute(intent).await.unwrap();
    }
    scale.compare(&mut rebuilt).await;
    for (number, node) in some.iter().enumerate() {
        if number % 4 == 1 {
            scale
                .owner
                .execute(Intent::Pools(PoolsCall::UnbanNode { pool, node: NodeId(node.address()) }))
                .await
                .unwrap();
        }
    }
    scale.join_all(&some, 1).await;
    scale.compare(&mut rebuilt).await;
    let provider = ProviderId(scale.provider.address());
    scale.owner.execute(Intent::Pools(PoolsCall::BanProvider { pool, provider })).await.unwrap();
    scale.compare(&mut rebuilt).await;
    scale.owner.execute(Intent::Pools(PoolsCall::UnbanProvider { pool, provider })).await.unwrap();
    scale.compare(&mut rebuilt).await;
    println!(
        "{} members left and rejoined in {:?}; all of it took {:?}",
        some.len(),
        since.elapsed(),
        began.elapsed()
    );
}

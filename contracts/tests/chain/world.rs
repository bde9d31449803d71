//! A chain under test, and hands to move it: clock, blocks, accounts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lode_contracts::{
    Amount, BlockRef, Chain, ChainEvent, DeployParameters, Epoch, EpochPhase, Intent, Operator,
    PoolParameters, PoolsCall, Receipt, RpcChain, RpcConfig, SettlementParameters, SlashingParameters,
    TokenCall, ValidatorsCall, commitment, deploy, seconds_of_timestamp,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, PoolId, ProviderId, ValidatorId};
use lode_protocol::join::{Invite, Join};
use lode_protocol::keys::SigningKey;
use lode_testkit::anvil::{Anvil, AnvilOptions};
use lode_testkit::chain::FakeChain;
use serde_json::Value;

/// Runs each test of a module on the fake and on anvil.
#[macro_export]
macro_rules! on_every_chain {
    ($($name:ident),* $(,)?) => {
        mod on_the_fake {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::World::fake()).await;
            })*
        }
        mod on_anvil {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::World::anvil().await).await;
            })*
        }
    };
}

/// As in development, with times that no slow machine runs through between two steps: tests move the clock.
pub(crate) fn parameters() -> DeployParameters {
    let development = DeployParameters::development();
    DeployParameters {
        epoch_seconds: 600,
        unbonding_seconds: 3_600,
        validator_exit_seconds: 1_200,
        slashing: SlashingParameters {
            detection_seconds: 600,
            evidence_seconds: 600,
            answer_seconds: 600,
            vote_seconds: 600,
            execution_seconds: 600,
            ..development.slashing
        },
        settlement: SettlementParameters {
            posting_seconds: 1_200,
            veto_seconds: 600,
            withdrawal_seconds: 3_600,
            ..development.settlement
        },
        ..development
    }
}

enum Control {
    Fake(Arc<FakeChain>),
    Anvil { anvil: Box<Anvil>, operator: Operator },
}

pub(crate) struct World {
    pub(crate) chain: Arc<dyn Chain>,
    control: Control,
    next_key: AtomicU8,
}

/// A point to set the chain back to.
pub(crate) enum Mark {
    Fake(u64),
    Anvil(Value),
}

impl World {
    pub(crate) fn fake() -> World {
        World::of(FakeChain::with_parameters(parameters()))
    }

    /// A fake whose switches the test holds.
    pub(crate) fn of(fake: Arc<FakeChain>) -> World {
        World { chain: fake.clone(), control: Control::Fake(fake), next_key: AtomicU8::new(1) }
    }

    pub(crate) async fn anvil() -> World {
        World::anvil_with(AnvilOptions::default()).await
    }

    pub(crate) async fn anvil_with(options: AnvilOptions) -> World {
        let anvil = Anvil::start_with(options).await.unwrap();
        let config = RpcConfig::new(anvil.rpc_url());
        let deployment = deploy(&config, &anvil.key(0), &parameters(), None).await.unwrap();
        let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(config, deployment).unwrap());
        let operator = Operator::new(chain.clone(), anvil.key(0));
        World {
            chain,
            control: Control::Anvil { anvil: Box::new(anvil), operator },
            next_key: AtomicU8::new(1),
        }
    }

    /// The same chain after its node was stopped and started again where it was.
    pub(crate) async fn restarted(self, state: Option<PathBuf>) -> World {
        let Control::Anvil { anvil, operator } = self.control else { panic!("only anvil can be restarted") };
        let port = Some(anvil.port());
        anvil.stop().await.unwrap();
        let anvil = Anvil::start_with(AnvilOptions { state, port, block_time: None }).await.unwrap();
        let control = Control::Anvil { anvil: Box::new(anvil), operator };
        World { control, ..self }
    }

    /// A key that nobody has used.
    pub(crate) fn key(&self) -> SigningKey {
        let byte = self.next_key.fetch_add(1, Ordering::Relaxed);
        SigningKey::from_bytes(&[byte; 32]).unwrap()
    }

    /// A new key with coins and tokens.
    pub(crate) async fn rich(&self) -> Operator {
        let key = self.key();
        match &self.control {
            Control::Fake(fake) => fake.fund(key.address(), Amount::tokens(10), Amount::tokens(1_000)),
            Control::Anvil { anvil, operator } => {
                anvil.fund(key.address(), Amount::tokens(10)).await.unwrap();
                let mint =
                    Intent::Token(TokenCall::Mint { to: key.address(), amount: Amount::tokens(1_000) });
                operator.execute(mint).await.unwrap();
            }
        }
        Operator::new(self.chain.clone(), key)
    }

    /// Who deployed the contracts: the treasury, and the token's owner.
    pub(crate) fn deployer(&self) -> Operator {
        match &self.control {
            Control::Fake(_) => Operator::new(self.chain.clone(), FakeChain::owner_key()),
            Control::Anvil { operator, .. } => operator.clone(),
        }
    }

    pub(crate) fn anvil_port(&self) -> u16 {
        match &self.control {
            Control::Fake(_) => panic!("only anvil listens"),
            Control::Anvil { anvil, .. } => anvil.port(),
        }
    }

    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        match &self.control {
            Control::Fake(_) => panic!("only anvil has an RPC"),
            Control::Anvil { anvil, .. } => anvil.rpc(method, params).await.unwrap(),
        }
    }

    pub(crate) async fn tokens_of(&self, account: lode_protocol::ids::Address) -> Amount {
        self.chain.token_balance(account).await.unwrap()
    }

    pub(crate) async fn advance(&self, span: Duration) {
        match &self.control {
            Control::Fake(fake) => fake.advance(span),
            Control::Anvil { anvil, .. } => anvil.advance(span).await.unwrap(),
        }
    }

    pub(crate) async fn set_automine(&self, automine: bool) {
        match &self.control {
            Control::Fake(fake) => fake.set_automine(automine),
            Control::Anvil { anvil, .. } => anvil.set_automine(automine).await.unwrap(),
        }
    }

    pub(crate) async fn mine(&self) {
        match &self.control {
            Control::Fake(fake) => fake.mine(),
            Control::Anvil { anvil, .. } => anvil.mine(1).await.unwrap(),
        }
    }

    pub(crate) async fn lose_pending(&self) {
        match &self.control {
            Control::Fake(fake) => fake.lose_pending(),
            Control::Anvil { anvil, .. } => anvil.lose_pending().await.unwrap(),
        }
    }

    pub(crate) async fn reorg(&self, depth: u64) {
        match &self.control {
            Control::Fake(fake) => fake.reorg(depth as usize),
            Control::Anvil { anvil, .. } => anvil.reorg(depth).await.unwrap(),
        }
    }

    pub(crate) async fn mark(&self) -> Mark {
        match &self.control {
            Control::Fake(_) => Mark::Fake(self.head().await.number),
            Control::Anvil { anvil, .. } => Mark::Anvil(anvil.snapshot().await.unwrap()),
        }
    }

    /// As if the chain had been restarted from the state it had then.
    pub(crate) async fn set_back(&self, mark: Mark) {
        match (&self.control, mark) {
            (Control::Fake(fake), Mark::Fake(number)) => {
                fake.rollback((self.head().await.number - number) as usize);
            }
            (Control::Anvil { anvil, .. }, Mark::Anvil(snapshot)) => anvil.revert(snapshot).await.unwrap(),
            _ => panic!("the mark is of another chain"),
        }
    }

    pub(crate) async fn head(&self) -> BlockRef {
        self.chain.head().await.unwrap()
    }

    /// Unix seconds, by the chain's clock, in an hour.
    pub(crate) async fn deadline(&self) -> u64 {
        seconds_of_timestamp(self.head().await.timestamp) + 3600
    }

    /// A provider with a stake for ten units.
    pub(crate) async fn provider(&self) -> Operator {
        let operator = self.rich().await;
        operator.register_provider(Amount::tokens(100)).await.unwrap();
        operator
    }

    /// A running pool, its owner, and its orchestrator's key.
    pub(crate) async fn pool(&self, max_nodes: Option<u32>) -> (PoolId, Operator, SigningKey) {
        let orchestrator = self.key();
        let (pool, owner) = self.pool_of(orchestrator.address(), None, max_nodes).await;
        (pool, owner, orchestrator)
    }

    /// A running pool that pays in the token, its owner and its orchestrator.
    pub(crate) async fn paying_pool(&self) -> (PoolId, Operator, Operator) {
        let orchestrator = self.rich().await;
        let token = self.chain.deployment().token;
        let (pool, owner) = self.pool_of(orchestrator.address(), Some(token), None).await;
        (pool, owner, orchestrator)
    }

    pub(crate) async fn pool_of(
        &self,
        orchestrator: lode_protocol::ids::Address,
        reward_token: Option<lode_protocol::ids::Address>,
        max_nodes: Option<u32>,
    ) -> (PoolId, Operator) {
        let owner = self.rich().await;
        let pool = owner
            .create_pool(PoolParameters {
                orchestrator,
                reward_token,
                requirements: Digest([7; 32]),
                max_nodes,
                uri: "https://pool.example/requirements".to_owned(),
                endpoints: "https://pool.example".to_owned(),
            })
            .await
            .unwrap();
        owner.execute(Intent::Pools(PoolsCall::StartPool(pool))).await.unwrap();
        (pool, owner)
    }

    /// Moves the clock to the given phase of an epoch at least `later` epochs on, and tells the epoch.
    pub(crate) async fn to_phase(&self, phase: EpochPhase, later: u64) -> Epoch {
        let timing = self.chain.epoch_timing().await.unwrap();
        let now = self.head().await.timestamp;
        let epoch = timing.epoch_at(now).plus(later);
        let target = match phase {
            EpochPhase::Commit => timing.starts(epoch),
            EpochPhase::Reveal => timing.reveal_from(epoch),
        };
        let span = seconds_of_timestamp(target).saturating_sub(seconds_of_timestamp(now));
        self.advance(Duration::from_secs(span + 1)).await;
        assert_eq!(self.chain.current_epoch().await.unwrap(), epoch);
        assert_eq!(timing.phase_at(self.head().await.timestamp), phase);
        epoch
    }

    /// Validators of equal weight, at the beginning of an epoch in which they count.
    pub(crate) async fn validators(&self, count: usize) -> Vec<Operator> {
        let mut validators = Vec::new();
        for _ in 0..count {
            let validator = self.rich().await;
            validator.register_validator(Amount::tokens(100), "https://v.example").await.unwrap();
            validators.push(validator);
        }
        self.to_phase(EpochPhase::Commit, 1).await;
        validators
    }

    /// An epoch in which all validators revealed one root; its second half runs.
    pub(crate) async fn proven_epoch(&self, validators: &[Operator]) -> Epoch {
        let epoch = self.to_phase(EpochPhase::Commit, 1).await;
        let (root, salt) = (Digest([0xab; 32]), Digest([0xcd; 32]));
        for validator in validators {
            let commitment = commitment(ValidatorId(validator.address()), epoch, salt, root);
            validator
                .execute(Intent::Validators(ValidatorsCall::Commit { epoch, commitment }))
                .await
                .unwrap();
        }
        self.to_phase(EpochPhase::Reveal, 0).await;
        for validator in validators {
            validator
                .execute(Intent::Validators(ValidatorsCall::Reveal { epoch, root, salt }))
                .await
                .unwrap();
        }
        assert_eq!(self.chain.root_of(epoch).await.unwrap(), Some(root));
        epoch
    }

    /// A join that both sides signed, to a pool that the provider approves.
    pub(crate) async fn join(
        &self,
        pool: PoolId,
        orchestrator: &SigningKey,
        node: &SigningKey,
        provider: &Operator,
    ) -> Join {
        if !self.chain.is_pool_approved(pool, ProviderId(provider.address())).await.unwrap() {
            provider
                .execute(Intent::Pools(PoolsCall::SetPoolApproval { pool, approved: true }))
                .await
                .unwrap();
        }
        self.unapproved_join(pool, orchestrator, node, provider).await
    }

    pub(crate) async fn unapproved_join(
        &self,
        pool: PoolId,
        orchestrator: &SigningKey,
        node: &SigningKey,
        provider: &Operator,
    ) -> Join {
        let id = NodeId(node.address());
        let invite = Invite {
            pool,
            node: id,
            provider: ProviderId(provider.address()),
            counter: self.chain.membership(pool, id).await.unwrap().join_counter,
            terms: Digest([7; 32]),
            deadline: self.deadline().await,
        };
        sign_join(invite, orchestrator, node, self)
    }
}

pub(crate) fn sign_join(invite: Invite, orchestrator: &SigningKey, node: &SigningKey, world: &World) -> Join {
    let domain = world.chain.deployment().pools_domain();
    Join {
        invite,
        invite_signature: orchestrator.sign_recoverable(&invite.invite_digest(&domain)),
        consent_signature: node.sign_recoverable(&invite.consent_digest(&domain)),
    }
}

/// What happened, without where.
pub(crate) fn events(receipt: &Receipt) -> Vec<ChainEvent> {
    receipt.events.iter().map(|logged| logged.event.clone()).collect()
}

/// The name of the refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, lode_contracts::ChainError>) -> String {
    match result {
        Err(lode_contracts::ChainError::Reverted(revert)) => revert.name,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

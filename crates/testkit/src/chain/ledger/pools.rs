//! ComputePools.

use std::collections::BTreeSet;

use lode_contracts::{ChainEvent, Intent, MembershipState, PoolParameters, PoolState, Revert};
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::{Invite, Join, LeaveStatement, PoolApproval};
use lode_protocol::keys::EthereumSignature;

use super::{Ledger, item_refusal, refuse};

const MAX_URI_BYTES: usize = 512;
const MAX_ENDPOINTS_BYTES: usize = 1024;

#[derive(Clone, Debug)]
pub(in crate::chain) struct Pool {
    pub(in crate::chain) owner: Address,
    pub(in crate::chain) pending_owner: Option<Address>,
    pub(in crate::chain) retired: BTreeSet<Address>,
    pub(in crate::chain) state: PoolState,
    pub(in crate::chain) member_count: u32,
    pub(in crate::chain) created_at: u64,
    pub(in crate::chain) parameters: PoolParameters,
}

#[derive(Clone, Debug)]
pub(in crate::chain) struct Membership {
    pub(in crate::chain) state: MembershipState,
    pub(in crate::chain) join_counter: u64,
    pub(in crate::chain) joined_at: u64,
    pub(in crate::chain) registration: u64,
}

impl Default for Membership {
    fn default() -> Self {
        Membership { state: MembershipState::Never, join_counter: 0, joined_at: 0, registration: 0 }
    }
}

impl Ledger {
    fn existing(&mut self, pool: PoolId) -> Result<&mut Pool, Revert> {
        match self.pools.get_mut(&pool) {
            Some(record) => Ok(record),
            None => refuse("PoolNotFound"),
        }
    }

    fn owned(&mut self, pool: PoolId, sender: Address) -> Result<&mut Pool, Revert> {
        let record = self.existing(pool)?;
        if record.owner != sender {
            return refuse("NotPoolOwner");
        }
        Ok(record)
    }

    fn authorized(&mut self, pool: PoolId, sender: Address) -> Result<&mut Pool, Revert> {
        let record = self.existing(pool)?;
        if record.owner != sender && record.parameters.orchestrator != sender {
            return refuse("NotPoolAuthority");
        }
        Ok(record)
    }

    fn member(&mut self, pool: PoolId, node: NodeId) -> Result<&mut Membership, Revert> {
        match self.memberships.get_mut(&(pool, node)) {
            Some(record) if record.state == MembershipState::Member => Ok(record),
            _ => refuse("NotMember"),
        }
    }

    pub(super) fn pools_call(&mut self, sender: Address, intent: &Intent) -> Result<Vec<ChainEvent>, Revert> {
        let event = match intent {
            Intent::CreatePool(parameters) => self.create(sender, parameters)?,
            Intent::StartPool(pool) => {
                let record = self.owned(*pool, sender)?;
                if record.state != PoolState::Created {
                    return refuse("WrongPoolState");
                }
                record.state = PoolState::Running;
                ChainEvent::PoolStarted { pool: *pool }
            }
            Intent::EndPool(pool) => {
                let record = self.owned(*pool, sender)?;
                if record.state == PoolState::Ended {
                    return refuse("WrongPoolState");
                }
                record.state = PoolState::Ended;
                ChainEvent::PoolEnded { pool: *pool }
            }
            Intent::SetOrchestrator { pool, orchestrator } => {
                let record = self.owned(*pool, sender)?;
                if *orchestrator == Address::ZERO {
                    return refuse("ZeroAddress");
                }
                let previous = record.parameters.orchestrator;
                if *orchestrator == previous || record.retired.contains(orchestrator) {
                    return refuse("OrchestratorRetired");
                }
                record.retired.insert(previous);
                record.parameters.orchestrator = *orchestrator;
                ChainEvent::OrchestratorChanged { pool: *pool, previous, current: *orchestrator }
            }
            Intent::SetEndpoints { pool, endpoints } => {
                let record = self.authorized(*pool, sender)?;
                check_length(endpoints, MAX_ENDPOINTS_BYTES)?;
                record.parameters.endpoints.clone_from(endpoints);
                ChainEvent::EndpointsChanged { pool: *pool, endpoints: endpoints.clone() }
            }
            Intent::SetRequirements { pool, requirements, uri } => {
                let record = self.owned(*pool, sender)?;
                check_length(uri, MAX_URI_BYTES)?;
                record.parameters.requirements = *requirements;
                ChainEvent::RequirementsChanged { pool: *pool, requirements: *requirements, uri: uri.clone() }
            }
            Intent::TransferPool { pool, to } => {
                let record = self.owned(*pool, sender)?;
                record.pending_owner = *to;
                ChainEvent::OwnershipTransferStarted { pool: *pool, owner: sender, pending: *to }
            }
            Intent::AcceptPool(pool) => {
                let record = self.existing(*pool)?;
                if record.pending_owner != Some(sender) {
                    return refuse("NotPendingOwner");
                }
                record.pending_owner = None;
                let previous = std::mem::replace(&mut record.owner, sender);
                ChainEvent::OwnershipTransferred { pool: *pool, previous, current: sender }
            }
            Intent::JoinBatch(joins) => {
                return Ok(joins.iter().map(|join| self.join_or_report(join)).collect());
            }
            Intent::Leave { pool, node } => self.leave(sender, *pool, *node)?,
            Intent::LeaveBySignature { statement, signature } => self.leave_signed(statement, signature)?,
            Intent::Eject { pool, node } => {
                self.authorized(*pool, sender)?;
                let record = self.member(*pool, *node)?;
                record.state = MembershipState::Ejected;
                let counter = record.join_counter;
                self.existing(*pool)?.member_count -= 1;
                ChainEvent::NodeEjected { pool: *pool, node: *node, counter }
            }
            Intent::BanNode { pool, node } => {
                self.owned(*pool, sender)?;
                let record = self.memberships.entry((*pool, *node)).or_default();
                if record.state == MembershipState::Banned {
                    return refuse("NodeIsBanned");
                }
                let was = std::mem::replace(&mut record.state, MembershipState::Banned);
                if was == MembershipState::Member {
                    self.existing(*pool)?.member_count -= 1;
                }
                ChainEvent::NodeBanned { pool: *pool, node: *node }
            }
            Intent::UnbanNode { pool, node } => {
                self.owned(*pool, sender)?;
                let record = self.memberships.entry((*pool, *node)).or_default();
                if record.state != MembershipState::Banned {
                    return refuse("NotBanned");
                }
                record.state =
                    if record.join_counter == 0 { MembershipState::Never } else { MembershipState::Ejected };
                ChainEvent::NodeUnbanned { pool: *pool, node: *node }
            }
            Intent::BanProvider { pool, provider } => {
                self.owned(*pool, sender)?;
                if !self.banned_providers.insert((*pool, *provider)) {
                    return refuse("ProviderIsBanned");
                }
                ChainEvent::ProviderBanned { pool: *pool, provider: *provider }
            }
            Intent::UnbanProvider { pool, provider } => {
                self.owned(*pool, sender)?;
                if !self.banned_providers.remove(&(*pool, *provider)) {
                    return refuse("NotBanned");
                }
                ChainEvent::ProviderUnbanned { pool: *pool, provider: *provider }
            }
            Intent::SetPoolApproval { pool, approved } => {
                let provider = ProviderId(sender);
                if !approved {
                    *self.approval_nonces.entry(provider).or_default() += 1;
                }
                self.approve(*pool, provider, *approved)?
            }
            Intent::SetPoolApprovalBySignature { statement, signature } => {
                self.approve_signed(statement, signature)?
            }
            other => unreachable!("{} is no call of the pools", other.name()),
        };
        Ok(vec![event])
    }

    fn create(&mut self, owner: Address, parameters: &PoolParameters) -> Result<ChainEvent, Revert> {
        if parameters.orchestrator == Address::ZERO {
            return refuse("ZeroAddress");
        }
        check_length(&parameters.uri, MAX_URI_BYTES)?;
        check_length(&parameters.endpoints, MAX_ENDPOINTS_BYTES)?;
        let pool = PoolId(self.pools.len() as u64 + 1);
        let record = Pool {
            owner,
            pending_owner: None,
            retired: BTreeSet::new(),
            state: PoolState::Created,
            member_count: 0,
            created_at: self.now,
            parameters: parameters.clone(),
        };
        self.pools.insert(pool, record);
        let PoolParameters { orchestrator, reward_token, requirements, max_nodes, uri, endpoints } =
            parameters.clone();
        Ok(ChainEvent::PoolCreated {
            pool,
            owner,
            orchestrator,
            reward_token,
            requirements,
            max_nodes,
            uri,
            endpoints,
        })
    }

    fn approve(&mut self, pool: PoolId, provider: ProviderId, approved: bool) -> Result<ChainEvent, Revert> {
        self.existing(pool)?;
        if approved {
            self.approvals.insert((pool, provider));
        } else {
            self.approvals.remove(&(pool, provider));
        }
        Ok(ChainEvent::PoolApprovalChanged { pool, provider, approved })
    }

    fn approve_signed(
        &mut self,
        statement: &PoolApproval,
        signature: &EthereumSignature,
    ) -> Result<ChainEvent, Revert> {
        let PoolApproval { pool, provider, approved, nonce, deadline } = *statement;
        if self.now > deadline {
            return refuse("SignatureExpired");
        }
        if nonce != self.approval_nonces.get(&provider).copied().unwrap_or_default() {
            return refuse("WrongApprovalNonce");
        }
        if signature.recover(&statement.digest(&self.deployment.pools_domain())) != Ok(provider.0) {
            return refuse("InvalidApprovalSignature");
        }
        self.approval_nonces.insert(provider, nonce + 1);
        self.approve(pool, provider, approved)
    }

    fn join_or_report(&mut self, join: &Join) -> ChainEvent {
        match self.join(join) {
            Ok(event) => event,
            Err(revert) => ChainEvent::JoinFailed {
                pool: join.invite.pool,
                node: join.invite.node,
                reason: item_refusal(&revert),
            },
        }
    }

    fn join(&mut self, join: &Join) -> Result<ChainEvent, Revert> {
        let Invite { pool, node, counter, deadline, .. } = join.invite;
        let now = self.now;
        let domain = self.deployment.pools_domain();
        let standing = self.standing(node);
        let Some(record) = self.pools.get(&pool) else { return refuse("PoolNotFound") };
        if record.state != PoolState::Running {
            return refuse("PoolNotRunning");
        }
        let Some((provider, registration, true)) = standing else { return refuse("NodeNotEligible") };
        let membership = self.memberships.get(&(pool, node)).cloned().unwrap_or_default();
        let counted = membership.state == MembershipState::Member;
        if counted && membership.registration == registration {
            return Ok(ChainEvent::NodeAlreadyMember { pool, node });
        }
        if membership.state == MembershipState::Banned {
            return refuse("NodeIsBanned");
        }
        if self.banned_providers.contains(&(pool, provider)) {
            return refuse("ProviderIsBanned");
        }
        if !self.approvals.contains(&(pool, provider)) {
            return refuse("PoolNotApproved");
        }
        if counter != membership.join_counter {
            return refuse("WrongCounter");
        }
        if !counted && record.parameters.max_nodes.is_some_and(|most| record.member_count >= most) {
            return refuse("PoolFull");
        }
        if now > deadline {
            return refuse("SignatureExpired");
        }
        // The provider on record counts, whatever the invite says.
        let meant = Invite { provider, ..join.invite };
        if join.invite_signature.recover(&meant.invite_digest(&domain)) != Ok(record.parameters.orchestrator)
        {
            return refuse("InvalidInviteSignature");
        }
        if join.consent_signature.recover(&meant.consent_digest(&domain)) != Ok(node.0) {
            return refuse("InvalidConsentSignature");
        }
        if !counted {
            self.existing(pool)?.member_count += 1;
        }
        let joined = Membership {
            state: MembershipState::Member,
            join_counter: counter + 1,
            joined_at: now,
            registration,
        };
        self.memberships.insert((pool, node), joined);
        Ok(ChainEvent::NodeJoined { pool, node, provider, counter: counter + 1, registration })
    }

    fn leave(&mut self, sender: Address, pool: PoolId, node: NodeId) -> Result<ChainEvent, Revert> {
        let joined_as = self.member(pool, node)?.registration;
        let standing = self.standing(node);
        let lapsed = standing.is_none_or(|(_, registration, _)| registration != joined_as);
        let theirs = sender == node.0 || standing.is_some_and(|(provider, _, _)| provider.0 == sender);
        if !lapsed && !theirs {
            return refuse("NotNodeOrProvider");
        }
        self.left(pool, node)
    }

    fn leave_signed(
        &mut self,
        statement: &LeaveStatement,
        signature: &EthereumSignature,
    ) -> Result<ChainEvent, Revert> {
        if self.now > statement.deadline {
            return refuse("SignatureExpired");
        }
        if self.member(statement.pool, statement.node)?.join_counter != statement.counter {
            return refuse("WrongCounter");
        }
        let signer = signature.recover(&statement.digest(&self.deployment.pools_domain()));
        let provider: Option<ProviderId> = self.standing(statement.node).map(|(provider, _, _)| provider);
        let valid = signer.is_ok_and(|signer| {
            signer == statement.node.0 || provider.is_some_and(|provider| provider.0 == signer)
        });
        if !valid {
            return refuse("InvalidLeaveSignature");
        }
        self.left(statement.pool, statement.node)
    }

    fn left(&mut self, pool: PoolId, node: NodeId) -> Result<ChainEvent, Revert> {
        let record = self.member(pool, node)?;
        record.state = MembershipState::Left;
        let counter = record.join_counter;
        self.existing(pool)?.member_count -= 1;
        Ok(ChainEvent::NodeLeft { pool, node, counter })
    }
}

fn check_length(text: &str, most: usize) -> Result<(), Revert> {
    if text.len() > most { refuse("TextTooLong") } else { Ok(()) }
}

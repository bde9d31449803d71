//! ComputePools.

mod joining;

use std::collections::BTreeSet;

use lode_contracts::{
    ChainEvent, Intent, MembershipState, PoolParameters, PoolState, PoolsCall, PoolsEvent, Revert,
};
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::PoolApproval;
use lode_protocol::keys::EthereumSignature;

use super::{Ledger, refuse};

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
    /// Registers nodes with a stake that bears them and makes them members, whatever the rules say.
    pub(in crate::chain) fn enroll(
        &mut self,
        pool: PoolId,
        nodes: impl IntoIterator<Item = (NodeId, ProviderId)>,
    ) {
        for (node, provider) in nodes {
            let registration = self.register_unsigned(provider, node);
            self.approvals.insert((pool, provider));
            let record = self.memberships.entry((pool, node)).or_default();
            record.state = MembershipState::Member;
            record.join_counter += 1;
            record.registration = registration;
            if let Some(pool) = self.pools.get_mut(&pool) {
                pool.member_count += 1;
            }
        }
    }

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
            Intent::Pools(PoolsCall::CreatePool(parameters)) => self.create(sender, parameters)?,
            Intent::Pools(PoolsCall::StartPool(pool)) => {
                let record = self.owned(*pool, sender)?;
                if record.state != PoolState::Created {
                    return refuse("WrongPoolState");
                }
                record.state = PoolState::Running;
                ChainEvent::Pools(PoolsEvent::PoolStarted { pool: *pool })
            }
            Intent::Pools(PoolsCall::EndPool(pool)) => {
                let record = self.owned(*pool, sender)?;
                if record.state == PoolState::Ended {
                    return refuse("WrongPoolState");
                }
                record.state = PoolState::Ended;
                ChainEvent::Pools(PoolsEvent::PoolEnded { pool: *pool })
            }
            Intent::Pools(PoolsCall::SetOrchestrator { pool, orchestrator }) => {
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
                ChainEvent::Pools(PoolsEvent::OrchestratorChanged {
                    pool: *pool,
                    previous,
                    current: *orchestrator,
                })
            }
            Intent::Pools(PoolsCall::SetEndpoints { pool, endpoints }) => {
                let record = self.authorized(*pool, sender)?;
                check_length(endpoints, MAX_ENDPOINTS_BYTES)?;
                record.parameters.endpoints.clone_from(endpoints);
                ChainEvent::Pools(PoolsEvent::EndpointsChanged { pool: *pool, endpoints: endpoints.clone() })
            }
            Intent::Pools(PoolsCall::SetRequirements { pool, requirements, uri }) => {
                let record = self.owned(*pool, sender)?;
                check_length(uri, MAX_URI_BYTES)?;
                record.parameters.requirements = *requirements;
                ChainEvent::Pools(PoolsEvent::RequirementsChanged {
                    pool: *pool,
                    requirements: *requirements,
                    uri: uri.clone(),
                })
            }
            Intent::Pools(PoolsCall::TransferPool { pool, to }) => {
                let record = self.owned(*pool, sender)?;
                record.pending_owner = *to;
                ChainEvent::Pools(PoolsEvent::OwnershipTransferStarted {
                    pool: *pool,
                    owner: sender,
                    pending: *to,
                })
            }
            Intent::Pools(PoolsCall::AcceptPool(pool)) => {
                let record = self.existing(*pool)?;
                if record.pending_owner != Some(sender) {
                    return refuse("NotPendingOwner");
                }
                record.pending_owner = None;
                let previous = std::mem::replace(&mut record.owner, sender);
                ChainEvent::Pools(PoolsEvent::OwnershipTransferred { pool: *pool, previous, current: sender })
            }
            Intent::Pools(PoolsCall::JoinBatch(joins)) => {
                return Ok(joins.iter().map(|join| self.join_or_report(join)).collect());
            }
            Intent::Pools(PoolsCall::Leave { pool, node }) => self.leave(sender, *pool, *node)?,
            Intent::Pools(PoolsCall::LeaveBySignature { statement, signature }) => {
                self.leave_signed(statement, signature)?
            }
            Intent::Pools(PoolsCall::Eject { pool, node }) => {
                self.authorized(*pool, sender)?;
                let record = self.member(*pool, *node)?;
                record.state = MembershipState::Ejected;
                let counter = record.join_counter;
                self.existing(*pool)?.member_count -= 1;
                ChainEvent::Pools(PoolsEvent::NodeEjected { pool: *pool, node: *node, counter })
            }
            Intent::Pools(PoolsCall::BanNode { pool, node }) => {
                self.owned(*pool, sender)?;
                let record = self.memberships.entry((*pool, *node)).or_default();
                if record.state == MembershipState::Banned {
                    return refuse("NodeIsBanned");
                }
                let was = std::mem::replace(&mut record.state, MembershipState::Banned);
                if was == MembershipState::Member {
                    self.existing(*pool)?.member_count -= 1;
                }
                ChainEvent::Pools(PoolsEvent::NodeBanned { pool: *pool, node: *node })
            }
            Intent::Pools(PoolsCall::UnbanNode { pool, node }) => {
                self.owned(*pool, sender)?;
                let record = self.memberships.entry((*pool, *node)).or_default();
                if record.state != MembershipState::Banned {
                    return refuse("NotBanned");
                }
                record.state =
                    if record.join_counter == 0 { MembershipState::Never } else { MembershipState::Ejected };
                ChainEvent::Pools(PoolsEvent::NodeUnbanned { pool: *pool, node: *node })
            }
            Intent::Pools(PoolsCall::BanProvider { pool, provider }) => {
                self.owned(*pool, sender)?;
                if !self.banned_providers.insert((*pool, *provider)) {
                    return refuse("ProviderIsBanned");
                }
                ChainEvent::Pools(PoolsEvent::ProviderBanned { pool: *pool, provider: *provider })
            }
            Intent::Pools(PoolsCall::UnbanProvider { pool, provider }) => {
                self.owned(*pool, sender)?;
                if !self.banned_providers.remove(&(*pool, *provider)) {
                    return refuse("NotBanned");
                }
                ChainEvent::Pools(PoolsEvent::ProviderUnbanned { pool: *pool, provider: *provider })
            }
            Intent::Pools(PoolsCall::SetPoolApproval { pool, approved }) => {
                let provider = ProviderId(sender);
                if !approved {
                    *self.approval_nonces.entry(provider).or_default() += 1;
                }
                self.approve(*pool, provider, *approved)?
            }
            Intent::Pools(PoolsCall::SetPoolApprovalBySignature { statement, signature }) => {
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
        Ok(ChainEvent::Pools(PoolsEvent::PoolCreated {
            pool,
            owner,
            orchestrator,
            reward_token,
            requirements,
            max_nodes,
            uri,
            endpoints,
        }))
    }

    fn approve(&mut self, pool: PoolId, provider: ProviderId, approved: bool) -> Result<ChainEvent, Revert> {
        self.existing(pool)?;
        if approved {
            self.approvals.insert((pool, provider));
        } else {
            self.approvals.remove(&(pool, provider));
        }
        Ok(ChainEvent::Pools(PoolsEvent::PoolApprovalChanged { pool, provider, approved }))
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
}

fn check_length(text: &str, most: usize) -> Result<(), Revert> {
    if text.len() > most { refuse("TextTooLong") } else { Ok(()) }
}

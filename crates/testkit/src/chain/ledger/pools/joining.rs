//! ComputePools: how a node becomes a member, and stops being one by its own or its provider's will.

use lode_contracts::{ChainEvent, MembershipState, PoolState, PoolsEvent, Revert};
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::{Invite, Join, LeaveStatement};
use lode_protocol::keys::EthereumSignature;

use super::super::{Ledger, item_refusal, refuse};
use super::Membership;

impl Ledger {
    pub(super) fn join_or_report(&mut self, join: &Join) -> ChainEvent {
        match self.join(join) {
            Ok(event) => event,
            Err(revert) => ChainEvent::Pools(PoolsEvent::JoinFailed {
                pool: join.invite.pool,
                node: join.invite.node,
                reason: item_refusal(&revert),
            }),
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
            return Ok(ChainEvent::Pools(PoolsEvent::NodeAlreadyMember { pool, node }));
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
        Ok(ChainEvent::Pools(PoolsEvent::NodeJoined {
            pool,
            node,
            provider,
            counter: counter + 1,
            registration,
        }))
    }

    pub(super) fn leave(
        &mut self,
        sender: Address,
        pool: PoolId,
        node: NodeId,
    ) -> Result<ChainEvent, Revert> {
        let joined_as = self.member(pool, node)?.registration;
        let standing = self.standing(node);
        let lapsed = standing.is_none_or(|(_, registration, _)| registration != joined_as);
        let theirs = sender == node.0 || standing.is_some_and(|(provider, _, _)| provider.0 == sender);
        if !lapsed && !theirs {
            return refuse("NotNodeOrProvider");
        }
        self.left(pool, node)
    }

    pub(super) fn leave_signed(
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
        Ok(ChainEvent::Pools(PoolsEvent::NodeLeft { pool, node, counter }))
    }
}

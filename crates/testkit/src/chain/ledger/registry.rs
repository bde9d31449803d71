//! ComputeRegistry.

use lode_contracts::{
    Amount, AuthorizedNode, ChainEvent, Intent, RegistryCall, RegistryEvent, Revert, timestamp_of_seconds,
};
use lode_protocol::ids::{Address, NodeId, ProviderId};
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::EthereumSignature;

use super::{Ledger, item_refusal, refuse};

#[derive(Clone, Debug, Default)]
pub(in crate::chain) struct Provider {
    pub(in crate::chain) stake: Amount,
    pub(in crate::chain) units: u64,
    pub(in crate::chain) registered_at: u64,
    pub(in crate::chain) authorization_epoch: u64,
    pub(in crate::chain) unbonding: Amount,
    pub(in crate::chain) release_at: u64,
    pub(in crate::chain) locked: Amount,
}

#[derive(Clone, Debug, Default)]
pub(in crate::chain) struct Node {
    pub(in crate::chain) provider: Option<ProviderId>,
    pub(in crate::chain) units: u32,
    pub(in crate::chain) registration: u64,
}

impl Ledger {
    fn required_stake(&self, units: u64) -> Amount {
        self.parameters.min_stake_per_unit.saturating_mul(units)
    }

    /// Provider, registration and eligibility of a registered node.
    pub(in crate::chain) fn standing(&self, node: NodeId) -> Option<(ProviderId, u64, bool)> {
        let record = self.nodes.get(&node)?;
        let provider = record.provider?;
        let owner = self.providers.get(&provider)?;
        Some((provider, record.registration, owner.stake >= self.required_stake(owner.units)))
    }

    pub(in crate::chain) fn consent_nonce(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |record| record.registration)
    }

    pub(in crate::chain) fn authorization_nonce(&self, provider: ProviderId, node: NodeId) -> u64 {
        let epoch = self.providers.get(&provider).map_or(0, |record| record.authorization_epoch);
        (epoch << 48) | self.consent_nonce(node)
    }

    pub(super) fn registry_call(
        &mut self,
        sender: Address,
        intent: &Intent,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let provider = ProviderId(sender);
        let registry = self.deployment.registry;
        match intent {
            Intent::Registry(RegistryCall::RegisterProvider { amount, permit }) => {
                if self.providers.contains_key(&provider) {
                    return refuse("ProviderAlreadyRegistered");
                }
                if *amount == Amount::ZERO {
                    return refuse("ZeroAmount");
                }
                let record = Provider { stake: *amount, registered_at: self.now, ..Provider::default() };
                self.providers.insert(provider, record);
                self.pull_with_permit(sender, registry, *amount, permit.as_ref())?;
                Ok(vec![
                    ChainEvent::Registry(RegistryEvent::ProviderRegistered { provider }),
                    ChainEvent::Registry(RegistryEvent::Staked { provider, amount: *amount, stake: *amount }),
                ])
            }
            Intent::Registry(RegistryCall::Stake { amount }) => {
                let record = self.registered(provider)?;
                if *amount == Amount::ZERO {
                    return refuse("ZeroAmount");
                }
                record.stake = record.stake.saturating_add(*amount);
                let stake = record.stake;
                self.pull(sender, registry, *amount)?;
                Ok(vec![ChainEvent::Registry(RegistryEvent::Staked { provider, amount: *amount, stake })])
            }
            Intent::Registry(RegistryCall::RequestUnstake { amount }) => {
                self.request_unstake(provider, *amount)
            }
            Intent::Registry(RegistryCall::Withdraw) => self.withdraw(provider),
            Intent::Registry(RegistryCall::SetSlasher) => {
                if sender != self.minter {
                    return refuse("NotDeployer");
                }
                if self.slasher.is_some() {
                    return refuse("SlasherAlreadySet");
                }
                let slasher = self.deployment.slashing;
                self.slasher = Some(slasher);
                Ok(vec![ChainEvent::Registry(RegistryEvent::SlasherSet { slasher })])
            }
            Intent::Registry(RegistryCall::AddNode { consent, units, signature }) => {
                if consent.provider != provider {
                    return refuse("WrongProvider");
                }
                self.check_stake(provider, *units)?;
                self.check_consent(provider, consent, signature)?;
                Ok(vec![self.add(provider, consent.node, *units)])
            }
            Intent::Registry(RegistryCall::AddNodes(items)) => Ok(items
                .iter()
                .map(|item| {
                    let (provider, node) = (item.authorization.provider, item.authorization.node);
                    match self.check_authorized(item) {
                        Ok(()) => self.add(provider, node, item.authorization.units),
                        Err(revert) => ChainEvent::Registry(RegistryEvent::NodeAddFailed {
                            provider,
                            node,
                            reason: item_refusal(&revert),
                        }),
                    }
                })
                .collect()),
            Intent::Registry(RegistryCall::ReplaceNode { old, consent, signature }) => {
                if consent.provider != provider {
                    return refuse("WrongProvider");
                }
                self.check_consent(provider, consent, signature)?;
                let (removed, units) = self.remove(provider, *old)?;
                let added = self.add(provider, consent.node, units);
                Ok(vec![
                    removed,
                    added,
                    ChainEvent::Registry(RegistryEvent::NodeReplaced {
                        provider,
                        old: *old,
                        new: consent.node,
                    }),
                ])
            }
            Intent::Registry(RegistryCall::RemoveNode(node)) => Ok(vec![self.remove(provider, *node)?.0]),
            Intent::Registry(RegistryCall::RevokeAuthorizations) => {
                let record = self.registered(provider)?;
                record.authorization_epoch += 1;
                let authorization_epoch = record.authorization_epoch;
                Ok(vec![ChainEvent::Registry(RegistryEvent::AuthorizationsRevoked {
                    provider,
                    authorization_epoch,
                })])
            }
            other => unreachable!("{} is no call of the registry", other.name()),
        }
    }

    fn registered(&mut self, provider: ProviderId) -> Result<&mut Provider, Revert> {
        match self.providers.get_mut(&provider) {
            Some(record) => Ok(record),
            None => refuse("ProviderNotRegistered"),
        }
    }

    fn withdraw(&mut self, provider: ProviderId) -> Result<Vec<ChainEvent>, Revert> {
        let (now, registry) = (self.now, self.deployment.registry);
        let Some(record) = self.providers.get_mut(&provider) else { return refuse("NothingUnbonding") };
        let total = record.unbonding;
        if total == Amount::ZERO {
            return refuse("NothingUnbonding");
        }
        if now < record.release_at {
            return refuse("StillUnbonding");
        }
        let within_reach = record.stake.saturating_add(total);
        let amount = within_reach.checked_sub(record.locked).unwrap_or_default().min(total);
        if amount == Amount::ZERO {
            return refuse("StakeIsLocked");
        }
        record.unbonding = total.checked_sub(amount).unwrap_or_default();
        if record.unbonding == Amount::ZERO {
            record.release_at = 0;
        }
        self.move_tokens(registry, provider.0, amount)?;
        Ok(vec![ChainEvent::Registry(RegistryEvent::Withdrawn { provider, amount })])
    }

    pub(super) fn lock_stake(&mut self, provider: ProviderId, amount: Amount) -> Result<ChainEvent, Revert> {
        let Some(record) = self.providers.get_mut(&provider) else { return refuse("StakeIsLocked") };
        let all = record.stake.saturating_add(record.unbonding);
        let locked = record.locked.saturating_add(amount);
        if locked > all {
            return refuse("StakeIsLocked");
        }
        record.locked = locked;
        Ok(ChainEvent::Registry(RegistryEvent::StakeLocked { provider, amount, locked }))
    }

    pub(super) fn unlock_stake(
        &mut self,
        provider: ProviderId,
        amount: Amount,
    ) -> Result<ChainEvent, Revert> {
        let record = self.registered(provider)?;
        let Some(locked) = record.locked.checked_sub(amount) else { return refuse("Panic") };
        record.locked = locked;
        Ok(ChainEvent::Registry(RegistryEvent::StakeUnlocked { provider, amount, locked }))
    }

    /// Takes from the stake first, then from what unbonds.
    pub(super) fn slash(
        &mut self,
        provider: ProviderId,
        amount: Amount,
        recipient: Address,
    ) -> Result<[ChainEvent; 2], Revert> {
        let unlocked = self.unlock_stake(provider, amount)?;
        let record = self.registered(provider)?;
        let from_stake = amount.min(record.stake);
        let from_unbonding = amount.checked_sub(from_stake).unwrap_or_default();
        record.stake = record.stake.checked_sub(from_stake).unwrap_or_default();
        let Some(unbonding) = record.unbonding.checked_sub(from_unbonding) else { return refuse("Panic") };
        if from_unbonding != Amount::ZERO && unbonding == Amount::ZERO {
            record.release_at = 0;
        }
        record.unbonding = unbonding;
        let slashed =
            ChainEvent::Registry(RegistryEvent::Slashed { provider, amount, stake: record.stake, unbonding });
        self.move_tokens(self.deployment.registry, recipient, amount)?;
        Ok([unlocked, slashed])
    }

    fn request_unstake(&mut self, provider: ProviderId, amount: Amount) -> Result<Vec<ChainEvent>, Revert> {
        let release = self.now + self.parameters.unbonding_seconds;
        let units = self.registered(provider)?.units;
        if amount == Amount::ZERO {
            return refuse("ZeroAmount");
        }
        let required = self.required_stake(units);
        let record = self.registered(provider)?;
        match record.stake.checked_sub(amount) {
            Some(rest) if rest >= required => record.stake = rest,
            _ => return refuse("InsufficientStake"),
        }
        record.unbonding = record.unbonding.saturating_add(amount);
        record.release_at = release;
        let release_at = timestamp_of_seconds(release);
        Ok(vec![ChainEvent::Registry(RegistryEvent::UnstakeRequested {
            provider,
            amount,
            unbonding: record.unbonding,
            release_at,
        })])
    }

    /// A node of one unit, with the stake that it takes.
    pub(in crate::chain) fn register_unsigned(&mut self, provider: ProviderId, node: NodeId) -> u64 {
        self.add(provider, node, 1);
        let units = self.providers.get(&provider).map_or(0, |record| record.units);
        let stake = self.required_stake(units);
        self.providers.entry(provider).or_default().stake = stake;
        self.nodes.get(&node).map_or(0, |record| record.registration)
    }

    fn add(&mut self, provider: ProviderId, node: NodeId, units: u32) -> ChainEvent {
        let record = self.nodes.entry(node).or_default();
        record.registration += 1;
        record.provider = Some(provider);
        record.units = units;
        let registration = record.registration;
        self.providers.entry(provider).or_default().units += u64::from(units);
        ChainEvent::Registry(RegistryEvent::NodeAdded { provider, node, units, registration })
    }

    fn remove(&mut self, provider: ProviderId, node: NodeId) -> Result<(ChainEvent, u32), Revert> {
        let Some(record) = self.nodes.get_mut(&node).filter(|record| record.provider == Some(provider))
        else {
            return refuse("NotNodeProvider");
        };
        let units = std::mem::take(&mut record.units);
        record.provider = None;
        let registration = record.registration;
        self.providers.entry(provider).or_default().units -= u64::from(units);
        Ok((ChainEvent::Registry(RegistryEvent::NodeRemoved { provider, node, registration }), units))
    }

    fn check_authorized(&self, item: &AuthorizedNode) -> Result<(), Revert> {
        let authorization = &item.authorization;
        if self.now > authorization.deadline {
            return refuse("SignatureExpired");
        }
        self.check_stake(authorization.provider, authorization.units)?;
        self.check_consent(authorization.provider, &item.consent, &item.consent_signature)?;
        if authorization.nonce != self.authorization_nonce(authorization.provider, authorization.node) {
            return refuse("WrongAuthorizationNonce");
        }
        let digest = authorization.digest(&self.deployment.registry_domain());
        if item.authorization_signature.recover(&digest) != Ok(authorization.provider.0) {
            return refuse("InvalidAuthorizationSignature");
        }
        Ok(())
    }

    fn check_stake(&self, provider: ProviderId, units: u32) -> Result<(), Revert> {
        if units == 0 {
            return refuse("ZeroUnits");
        }
        let Some(record) = self.providers.get(&provider) else { return refuse("ProviderNotRegistered") };
        if record.stake < self.required_stake(record.units + u64::from(units)) {
            return refuse("InsufficientStake");
        }
        Ok(())
    }

    fn check_consent(
        &self,
        provider: ProviderId,
        consent: &NodeConsent,
        signature: &EthereumSignature,
    ) -> Result<(), Revert> {
        if self.now > consent.deadline {
            return refuse("SignatureExpired");
        }
        if self.nodes.get(&consent.node).is_some_and(|record| record.provider.is_some()) {
            return refuse("NodeAlreadyRegistered");
        }
        if consent.nonce != self.consent_nonce(consent.node) {
            return refuse("WrongConsentNonce");
        }
        let meant = NodeConsent { provider, ..*consent };
        if signature.recover(&meant.digest(&self.deployment.registry_domain())) != Ok(consent.node.0) {
            return refuse("InvalidConsentSignature");
        }
        Ok(())
    }
}

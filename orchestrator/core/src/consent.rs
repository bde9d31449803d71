//! A node's consent to its invite: checked against the open invite, the chain's counter and the node's key, in that
//! order, each with a code of its own.

use lode_protocol::ids::NodeId;
use lode_protocol::join::pools_domain;
use lode_protocol::session::Consent;

use super::Core;
use super::admission::{Admission, Phase};
use super::effect::ChainCommand;
use super::error::Rejected;
use super::node::{Known, Node, NodeLifecycle};

/// What a consent amounts to.
pub(crate) enum ConsentVerdict {
    New,
    /// Heard before and still under way, or the worker has not been told yet that it joined.
    Known,
}

impl Core {
    /// Checks a consent without acting on it.
    pub(crate) fn judge_consent(&self, node: &Node, consent: &Consent) -> Result<ConsentVerdict, Rejected> {
        let invite = &consent.invite;
        let expired = self.now.wall.0 > invite.deadline.saturating_mul(1_000);
        let wrong = invite.node != node.id
            || invite.pool != self.config.pool
            || invite.terms != self.config.requirements_hash;
        if wrong {
            return Err(mismatch("the consent names another node, pool or terms"));
        }
        let open = match &node.standing {
            NodeLifecycle::Joining(Admission {
                phase: Phase::Consented { invite: known, consent: signature, .. },
                ..
            }) if known == invite && *signature == consent.signature => {
                return Ok(ConsentVerdict::Known);
            }
            NodeLifecycle::Joining(Admission { phase: Phase::Invited { invite }, .. }) => Some(invite),
            NodeLifecycle::Joining(_)
            | NodeLifecycle::Member(_)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Leaving { .. }
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => None,
        };
        if let Known::Is(membership) = node.facts.membership
            && invite.counter < membership.join_counter
        {
            let untold = node.session.is_some() && !node.pulse.talk.told_member;
            let latest = invite.counter.saturating_add(1) == membership.join_counter;
            if latest && untold && node.facts.is_member() {
                return Ok(ConsentVerdict::Known);
            }
            return Err(Rejected::conflict(
                "join/already-used",
                "the invite of this consent has been used for an earlier join",
                "drop it; consent to the next invite",
            ));
        }
        if expired {
            return Err(Rejected::conflict(
                "join/invite-expired",
                "the invite of this consent has expired",
                "drop it; a new invite comes by itself",
            ));
        }
        match open {
            Some(known) if known == invite => {}
            Some(_) => return Err(mismatch("the consent is not to the invite that is open")),
            None => {
                return Err(Rejected::conflict(
                    "join/not-invited",
                    "no invite of this node is open",
                    "drop the consent; wait for an invite",
                ));
            }
        }
        let domain = pools_domain(self.config.chain, self.config.pools_contract);
        match consent.signature.recover(&invite.consent_digest(&domain)) {
            Ok(signer) if signer == node.id.0 => Ok(ConsentVerdict::New),
            Ok(_) | Err(_) => Err(Rejected::denied(
                "join/bad-signature",
                "the consent is not signed by the node's key",
                "sign the consent with the node's key for this chain and contract",
            )),
        }
    }

    pub(crate) fn accept_consent(&mut self, id: &NodeId, consent: Consent) {
        let since = self.now.wall;
        let Consent { invite, signature } = consent;
        self.set_phase(id, Phase::Consented { invite, consent: signature, since });
        self.wake_admission(id, self.config.terms.join_deadline);
        self.command_chain(ChainCommand::SubmitJoin { invite, consent: signature });
    }
}

fn mismatch(message: &str) -> Rejected {
    Rejected::conflict(
        "join/consent-mismatch",
        message,
        "drop it; consent to the invite in the latest answer",
    )
}

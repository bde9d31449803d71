//! Whether this node agrees to an invite. The orchestrator's word is checked against the worker's own view of the
//! chain; what the chain does not say yet is "not yet", never "yes".

use lode_chain_types::MembershipState;
use lode_protocol::join::SignedInvite;
use lode_protocol::units::{Millis, Timestamp};

use crate::chain::Chain;
use crate::config::Config;

/// An invite may count for at most this long: a consent that lies around for longer is a risk without a use.
const LONGEST: Millis = Millis::seconds(24 * 3_600);

/// Why there is no consent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoConsent {
    /// To be asked again.
    #[error("the chain does not answer, so that the invite cannot be checked")]
    Unknown,
    #[error("{0}")]
    Refused(&'static str),
}

/// Whether everything about `signed` is as the chain says.
pub(crate) fn judge(
    signed: &SignedInvite,
    config: &Config,
    chain: &Chain,
    now: Timestamp,
) -> Result<(), NoConsent> {
    let invite = &signed.invite;
    if invite.pool != config.pool || invite.node != config.node {
        return Err(NoConsent::Refused("the invite is for another node or pool"));
    }
    let known = chain.fresh_facts().ok_or(NoConsent::Unknown)?;
    if signed.signature.recover(&invite.invite_digest(&config.pools_domain)) != Ok(known.orchestrator) {
        return Err(NoConsent::Refused("the invite is not signed by the pool's orchestrator"));
    }
    let deadline = Timestamp(invite.deadline.saturating_mul(1_000));
    if deadline <= now {
        return Err(NoConsent::Refused("the invite has expired"));
    }
    if deadline > now.plus(LONGEST) {
        return Err(NoConsent::Refused("the invite counts for more than a day"));
    }
    // The chain may be ahead of, or behind, what the orchestrator saw: these settle with the next look.
    if known.provider != Some(invite.provider) {
        return Err(NoConsent::Refused("the invite names another provider than the chain"));
    }
    if known.requirements != invite.terms {
        return Err(NoConsent::Refused("the invite means other terms than the pool has on chain"));
    }
    if known.join_counter != invite.counter {
        return Err(NoConsent::Refused("the invite is of an earlier membership"));
    }
    if known.membership == MembershipState::Member {
        return Err(NoConsent::Refused("this node is a member already"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::ChainFacts;
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
    use lode_protocol::join::Invite;
    use lode_protocol::keys::SigningKey;

    use crate::tests::support::{config, key};

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn chain() -> Chain {
        let facts = ChainFacts {
            orchestrator: key(2).address(),
            endpoints: String::new(),
            requirements: Digest([5; 32]),
            membership: MembershipState::Never,
            join_counter: 4,
            provider: Some(ProviderId(Address([6; 20]))),
            paid: None,
        };
        Chain { facts: Some(facts), fresh: true }
    }

    fn invite() -> Invite {
        Invite {
            pool: config().pool,
            node: config().node,
            provider: ProviderId(Address([6; 20])),
            counter: 4,
            terms: Digest([5; 32]),
            deadline: NOW.0 / 1_000 + 600,
        }
    }

    fn signed(invite: Invite, by: &SigningKey) -> SignedInvite {
        let signature = by.sign_recoverable(&invite.invite_digest(&config().pools_domain));
        SignedInvite { invite, signature }
    }

    #[test]
    fn a_true_invite_is_agreed_to() {
        assert_eq!(judge(&signed(invite(), &key(2)), &config(), &chain(), NOW), Ok(()));
    }

    #[test]
    fn whatever_differs_from_the_chain_is_refused() {
        let cases: [(&str, Invite); 7] = [
            ("pool", Invite { pool: PoolId(4), ..invite() }),
            ("node", Invite { node: NodeId(Address([1; 20])), ..invite() }),
            ("provider", Invite { provider: ProviderId(Address([7; 20])), ..invite() }),
            ("counter", Invite { counter: 3, ..invite() }),
            ("terms", Invite { terms: Digest([6; 32]), ..invite() }),
            ("expired", Invite { deadline: NOW.0 / 1_000, ..invite() }),
            ("for ever", Invite { deadline: u64::MAX, ..invite() }),
        ];
        for (name, invite) in cases {
            let judged = judge(&signed(invite, &key(2)), &config(), &chain(), NOW);
            assert!(matches!(judged, Err(NoConsent::Refused(_))), "{name}: {judged:?}");
        }
        let foreign = judge(&signed(invite(), &key(3)), &config(), &chain(), NOW);
        assert!(matches!(foreign, Err(NoConsent::Refused(_))), "{foreign:?}");
        let mut member = chain();
        member.facts.as_mut().unwrap().membership = MembershipState::Member;
        assert!(judge(&signed(invite(), &key(2)), &config(), &member, NOW).is_err());
    }

    #[test]
    fn an_unknown_chain_is_not_a_yes_and_not_a_no() {
        let silent = Chain { fresh: false, ..chain() };
        let judge = |chain: &Chain| judge(&signed(invite(), &key(2)), &config(), chain, NOW);
        assert_eq!(judge(&silent), Err(NoConsent::Unknown));
        assert_eq!(judge(&Chain::default()), Err(NoConsent::Unknown));
    }
}

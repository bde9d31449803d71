//! Whether this node agrees to an invite. The orchestrator's word is checked against the worker's own view of the
//! chain; what the chain does not say yet is "not yet", never "yes".

use lode_protocol::join::SignedInvite;
use lode_protocol::session::Consent;
use lode_protocol::units::{Millis, Timestamp};

use crate::chain_view::{ChainView, Standing};
use crate::identity::Identity;

/// An invite may count for at most this long: a consent that lies around for longer is a risk without a use.
const LONGEST: Millis = Millis::seconds(24 * 3_600);

/// Why there is no consent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoConsent {
    /// The chain has not answered lately; to be asked again.
    #[error("the chain does not answer, so that the invite cannot be checked")]
    Unknown,
    /// The invite is not what it should be.
    #[error("{0}")]
    Refused(&'static str),
}

/// Signs the consent to `signed`, if everything about it is as the chain says.
pub(super) fn consent_to(
    signed: &SignedInvite,
    identity: &Identity,
    view: &ChainView,
    now: Timestamp,
) -> Result<Consent, NoConsent> {
    let invite = &signed.invite;
    if invite.pool != identity.realm.pool || invite.node != identity.node() {
        return Err(NoConsent::Refused("the invite is for another node or pool"));
    }
    let known = view.known.as_ref().filter(|_| view.fresh).ok_or(NoConsent::Unknown)?;
    let domain = identity.pools_domain();
    if signed.signature.recover(&invite.invite_digest(&domain)) != Ok(known.orchestrator) {
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
    if known.membership == Standing::Member {
        return Err(NoConsent::Refused("this node is a member already"));
    }
    let signature = identity.key.sign_recoverable(&invite.consent_digest(&domain));
    Ok(Consent { invite: *invite, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain_view::KnownChain;
    use lode_protocol::envelope::Realm;
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{Address, ChainId, NodeId, PoolId, ProviderId};
    use lode_protocol::join::Invite;
    use lode_protocol::keys::SigningKey;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32]).unwrap()
    }

    fn identity() -> Identity {
        let realm = Realm { chain: ChainId(1), deployment: Address([9; 20]), pool: PoolId(3) };
        Identity { key: key(1), realm }
    }

    fn view() -> ChainView {
        let known = KnownChain {
            orchestrator: key(2).address(),
            endpoints: String::new(),
            requirements: Digest([5; 32]),
            membership: Standing::Never,
            join_counter: 4,
            provider: Some(ProviderId(Address([6; 20]))),
            paid: None,
        };
        ChainView { known: Some(known), answered_at: Some(NOW), fresh: true }
    }

    fn invite() -> Invite {
        Invite {
            pool: PoolId(3),
            node: identity().node(),
            provider: ProviderId(Address([6; 20])),
            counter: 4,
            terms: Digest([5; 32]),
            deadline: NOW.0 / 1_000 + 600,
        }
    }

    fn signed(invite: Invite, by: &SigningKey) -> SignedInvite {
        let signature = by.sign_recoverable(&invite.invite_digest(&identity().pools_domain()));
        SignedInvite { invite, signature }
    }

    #[test]
    fn a_true_invite_is_consented_to_with_the_node_s_key() {
        let consent = consent_to(&signed(invite(), &key(2)), &identity(), &view(), NOW).unwrap();
        let digest = consent.invite.consent_digest(&identity().pools_domain());
        assert_eq!(consent.signature.recover(&digest), Ok(identity().address()));
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
            let judged = consent_to(&signed(invite, &key(2)), &identity(), &view(), NOW);
            assert!(matches!(judged, Err(NoConsent::Refused(_))), "{name}: {judged:?}");
        }
        let foreign = consent_to(&signed(invite(), &key(3)), &identity(), &view(), NOW);
        assert!(matches!(foreign, Err(NoConsent::Refused(_))), "{foreign:?}");
        let mut member = view();
        if let Some(known) = &mut member.known {
            known.membership = Standing::Member;
        }
        assert!(consent_to(&signed(invite(), &key(2)), &identity(), &member, NOW).is_err());
    }

    #[test]
    fn an_unknown_chain_is_not_a_yes_and_not_a_no() {
        let stale = ChainView { fresh: false, ..view() };
        assert_eq!(consent_to(&signed(invite(), &key(2)), &identity(), &stale, NOW), Err(NoConsent::Unknown));
        let never = ChainView::default();
        assert_eq!(consent_to(&signed(invite(), &key(2)), &identity(), &never, NOW), Err(NoConsent::Unknown));
    }
}

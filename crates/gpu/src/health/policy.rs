//! The numbers behind the decisions.

use lode_protocol::units::Millis;

/// How careful to be. The defaults are for a pool of strangers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Clean samples in a row before a doubt is forgotten or a recovery is believed.
    pub clean_samples: u32,
    /// Unreadable samples in a row before a doubt becomes a quarantine.
    pub unreadable_samples: u32,
    /// How long no XID may come before an XID is forgiven.
    pub xid_quiet: Millis,
    /// First quarantine because of broken hardware lasts at least this long; each further one twice as long.
    pub hardware_hold: Millis,
    /// This many hardware quarantines within `operator_window` need an operator.
    pub hardware_quarantines: u32,
    pub operator_window: Millis,
    /// This many failed programs of different workloads within `application_window` cast doubt on the GPU.
    pub application_faults: usize,
    pub application_window: Millis,
    /// A recovering GPU must pass a full proof.
    pub proof_required: bool,
    /// A GPU this close to its slowdown temperature is hot.
    pub hot_margin_c: u32,
    /// How long it may be hot.
    pub hot_patience: Millis,
    /// Samples that the share of hardware protection is taken over.
    pub protection_window: usize,
    /// Above this share of samples under hardware protection, in percent, the host's cooling or power is in doubt.
    pub protection_percent: usize,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            clean_samples: 3,
            unreadable_samples: 3,
            xid_quiet: Millis::seconds(30 * 60),
            hardware_hold: Millis::seconds(30 * 60),
            hardware_quarantines: 3,
            operator_window: Millis::seconds(7 * 24 * 3_600),
            application_faults: 3,
            application_window: Millis::seconds(24 * 3_600),
            proof_required: false,
            hot_margin_c: 2,
            hot_patience: Millis::seconds(5 * 60),
            protection_window: 60,
            protection_percent: 10,
        }
    }
}

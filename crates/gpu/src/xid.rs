//! XIDs: the driver's numbers for what went wrong, and what each means for tasks and for the GPU.
//!
//! The table follows NVIDIA's XID catalog (docs.nvidia.com/deploy/xid-errors), reduced to what we do about it.

/// What an XID asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XidClass {
    /// The program on the GPU did something wrong. Its task fails, the GPU stays.
    Application,
    /// A memory error that was contained to one program: its task fails, the GPU gets no new work until it is proven.
    ContainedMemory,
    /// An NVLink error: harmless when the links are up, a reset when they are not.
    Link,
    /// Harmless once, a defect when it comes back.
    Recurring,
    /// Nothing on the GPU can be trusted until it is reset.
    NeedsReset,
    /// The GPU is off the bus or broken.
    Fatal,
    /// The driver changed what it wants done; the next sample says what.
    RecoveryAction,
    /// Not in our table: careful.
    Unknown,
}

impl XidClass {
    /// The class of an XID number.
    #[must_use]
    pub fn of(xid: u32) -> Self {
        match xid {
            8 | 11 | 13 | 31 | 43 | 45 => Self::Application,
            63 | 94 => Self::ContainedMemory,
            74 => Self::Link,
            92 | 137 => Self::Recurring,
            48 | 95 | 119 | 120 | 140 => Self::NeedsReset,
            62 | 64 | 79 => Self::Fatal,
            154 => Self::RecoveryAction,
            _ => Self::Unknown,
        }
    }

    /// Whether a task that runs on the GPU has failed because of it.
    #[must_use]
    pub fn fails_the_task(self) -> bool {
        match self {
            Self::Application | Self::ContainedMemory | Self::NeedsReset | Self::Fatal => true,
            Self::Link | Self::Recurring | Self::RecoveryAction | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xids_that_decide_most_incidents_are_classed_as_the_catalog_says() {
        assert_eq!(XidClass::of(79), XidClass::Fatal);
        assert_eq!(XidClass::of(48), XidClass::NeedsReset);
        assert_eq!(XidClass::of(95), XidClass::NeedsReset);
        assert_eq!(XidClass::of(94), XidClass::ContainedMemory);
        assert_eq!(XidClass::of(31), XidClass::Application);
        assert_eq!(XidClass::of(9_999), XidClass::Unknown);
    }
}

//! How a node behaves when it is to prove its GPUs.

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Conduct {
    /// As it should.
    #[default]
    Honest,
    /// It works for its pool.
    Busy,
    /// It does not want to.
    Declines,
    /// It never gets ready.
    Mute,
    /// It is ready and then says nothing.
    Silent,
    /// It commits when the time is over.
    Late,
    /// It commits and never shows anything.
    Withholds,
    /// It does not say what it answers.
    Unbound,
    /// What it shows is not what it committed to.
    Forges,
    /// It commits to two different walks.
    TwoWalks,
}

impl Conduct {
    /// All that are not as they should be.
    pub const ALL: [Conduct; 9] = [
        Conduct::Busy,
        Conduct::Declines,
        Conduct::Mute,
        Conduct::Silent,
        Conduct::Late,
        Conduct::Withholds,
        Conduct::Unbound,
        Conduct::Forges,
        Conduct::TwoWalks,
    ];

    /// Whether it signs something false: only this is evidence.
    pub fn is_forger(self) -> bool {
        matches!(self, Conduct::Forges | Conduct::TwoWalks)
    }
}

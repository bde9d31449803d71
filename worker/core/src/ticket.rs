//! The number by which the shell says what is durable.

/// Number of a step that changed something durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ticket(pub u64);

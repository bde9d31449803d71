//! The name of what replicas need, where several need the same. What it stands for is placement's
//! ([`crate::placement`]).

/// Names a shape.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ShapeId(pub(crate) u32);

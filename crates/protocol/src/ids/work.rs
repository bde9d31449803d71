//! Tasks, their replicas, and what is placed of them.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{Incarnation, ParseIdError, cut};

/// What a user submitted: UUID version 7, so that ids sort by creation time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub uuid::Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::try_parse(text).map(TaskId).map_err(|error| ParseIdError::Form {
            what: "task id",
            got: cut(text),
            reason: error.to_string(),
        })
    }
}

impl<C> Encode<C> for TaskId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(self.0.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for TaskId {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        uuid::Uuid::from_slice(decoder.bytes()?)
            .map(TaskId)
            .map_err(|_| minicbor::decode::Error::message("wrong length of TaskId"))
    }
}

/// One replica of a task, over all its incarnations.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize,
)]
pub struct ReplicaId {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// Replica number from 0.
    #[n(1)]
    pub replica: u32,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.replica)
    }
}

/// One replica of a task placed on one node: the orchestrator's promise and the worker's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct AssignmentId {
    /// The replica.
    #[n(0)]
    pub replica: ReplicaId,
    /// Which placement of the replica this is.
    #[n(1)]
    pub incarnation: Incarnation,
}

impl fmt::Display for AssignmentId {
    /// `TASK.REPLICA.INCARNATION`: letters Docker accepts in a container's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.replica, self.incarnation)
    }
}

impl FromStr for AssignmentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError::Form {
            what: "assignment id",
            got: cut(text),
            reason: "expected TASK.REPLICA.INCARNATION".to_owned(),
        };
        let mut parts = text.split('.');
        let (Some(task), Some(replica), Some(incarnation), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error());
        };
        Ok(AssignmentId {
            replica: ReplicaId { task: task.parse()?, replica: replica.parse().map_err(|_| error())? },
            incarnation: incarnation.parse()?,
        })
    }
}

impl Serialize for AssignmentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AssignmentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_ids_survive_text() {
        let id = AssignmentId {
            replica: ReplicaId { task: TaskId(uuid::Uuid::from_u128(7)), replica: 3 },
            incarnation: Incarnation(2),
        };
        assert_eq!(id.to_string().parse::<AssignmentId>().unwrap(), id);
        assert!("x.1.2".parse::<AssignmentId>().is_err());
        assert!(format!("{id}.1").parse::<AssignmentId>().is_err());
    }
}

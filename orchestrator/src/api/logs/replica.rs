//! One replica's output: that of an assignment, and then, for who follows, that of the next.
//!
//! It is read as a stream ([`ReplicaLog::into_stream`]) and in no other way: a step is never dropped in the middle and
//! begun again, so that its deadlines run out and nothing that it has taken is lost. Whoever waits for the stream's next
//! item may give up and wait again.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use lode_protocol::ids::{AssignmentId, Incarnation, NodeId};
use lode_protocol::logs::LogRecord;
use lode_protocol::units::Timestamp;

use super::event::Position;
use crate::api::ApiState;
use crate::core::event::ConnectionId;
use crate::logs::{LogFailure, LogQuery, LogReader, Piece, failure};

/// Whatever the event log says, a replica is looked at again after this time.
const LOOK: Duration = Duration::from_secs(5);
/// Between two questions for output that is about to come.
const AGAIN: Duration = Duration::from_millis(500);

/// Of the first placement of a replica.
const FIRST: Incarnation = Incarnation(1);

/// What is wanted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) tail: Option<u32>,
    pub(super) since: Option<Timestamp>,
    pub(super) after: Option<Position>,
    /// Only what comes before the record with this position; not with `follow`.
    pub(super) before: Option<Position>,
    /// Whether to go on with the assignments behind this one.
    pub(super) goes_on: bool,
}

impl Wanted {
    /// Whether placements that are not kept any more were between what is asked for and the one that is read first.
    fn is_behind_forgotten(&self, read: Incarnation) -> bool {
        let after = self.after.filter(|_| self.goes_on && self.before.is_none());
        after.is_some_and(|after| after.incarnation.max(FIRST) < read)
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Records(AssignmentId, Vec<Arc<LogRecord>>),
    /// The rest of an assignment's output cannot be had any more.
    NodeGone,
    /// Assignments whose output is not kept any more were between the last one and the one that follows.
    Forgotten,
    /// The output of the replica's next assignment follows.
    Restart(AssignmentId, NodeId),
    End(Result<(), LogFailure>),
}

/// Output of a replica. Dropping it ends it.
pub(super) struct ReplicaLog {
    state: Arc<ApiState>,
    wanted: Wanted,
    assignment: AssignmentId,
    source: Option<LogReader>,
    /// To be said before anything else is done.
    said_next: Option<Next>,
    /// The present assignment could not be read to its end.
    is_broken: Option<LogFailure>,
    has_ended: bool,
}

impl ReplicaLog {
    /// Begins with an assignment.
    pub(super) async fn open(
        state: Arc<ApiState>,
        assignment: AssignmentId,
        wanted: Wanted,
    ) -> Result<(Self, Option<NodeId>), LogFailure> {
        let said_next = wanted.is_behind_forgotten(assignment.incarnation).then_some(Next::Forgotten);
        let mut log =
            Self { state, wanted, assignment, source: None, said_next, is_broken: None, has_ended: false };
        match log.read_from(assignment).await {
            Ok(node) => Ok((log, Some(node))),
            // What came after it can perhaps be had.
            Err(failure) if log.goes_on() && log.newer().await.is_some_and(|(newer, _)| newer.is_some()) => {
                log.is_broken = Some(failure);
                Ok((log, None))
            }
            Err(failure) => Err(failure),
        }
    }

    fn goes_on(&self) -> bool {
        self.wanted.follow && self.wanted.goes_on
    }

    /// Opens the output of an assignment.
    async fn read_from(&mut self, assignment: AssignmentId) -> Result<NodeId, LogFailure> {
        let Wanted { follow, tail, since, after, before, goes_on: _ } = self.wanted;
        let (node, connection) = self.locate(assignment).await?;
        let after = after.filter(|after| after.incarnation == assignment.incarnation);
        let (after, before) = (after.and_then(Position::after), before.map(Position::record));
        let query = LogQuery { assignment, follow, tail, since, after, before };
        self.source = Some(self.state.logs.open(node, connection, query).await?);
        self.assignment = assignment;
        Ok(node)
    }

    async fn locate(
        &mut self,
        assignment: AssignmentId,
    ) -> Result<(NodeId, Option<ConnectionId>), LogFailure> {
        let place = self.state.driver.read(move |core, _| core.where_is(&assignment)).await;
        let place = place.map_err(|error| failure("logs/unavailable", error.to_string()))?;
        let (node, link) = place.ok_or_else(|| {
            failure("logs/no-node", "the node of this output is gone, and the output with it")
        })?;
        // Over HTTPS a question waits for the next beat. Where nobody beats it would wait for nothing, and still do so
        // when the node is back on libp2p.
        let link = link.ok_or_else(|| {
            failure("logs/node-unreachable", format!("node {node} is not connected at present; ask again"))
        })?;
        Ok((node, link.can_push.then_some(link.connection)))
    }

    /// All of it, up to and with the end.
    pub(super) fn into_stream(self) -> impl Stream<Item = Next> + Send {
        stream::unfold(self, |mut log| async move { Some((log.next().await?, log)) })
    }

    async fn next(&mut self) -> Option<Next> {
        if self.has_ended {
            return None;
        }
        let next = match self.said_next.take() {
            Some(next) => next,
            None => self.step().await,
        };
        self.has_ended = matches!(next, Next::End(_));
        Some(next)
    }

    async fn step(&mut self) -> Next {
        let end = match &mut self.source {
            Some(source) => match source.next().await {
                Some(Piece::Lines(records)) => {
                    if let Some(last) = records.last() {
                        self.wanted.after = Some(Position::behind(self.assignment.incarnation, last));
                        self.wanted.tail = None;
                    }
                    return Next::Records(self.assignment, records);
                }
                Some(Piece::End(end)) => end,
                None => Ok(()),
            },
            None => match self.is_broken.take() {
                Some(failure) => Err(failure),
                None => return self.go_on().await,
            },
        };
        self.source = None;
        match end {
            Ok(()) if self.goes_on() => self.go_on().await,
            Err(failure) if self.wanted.follow && is_too_early(&failure) => {
                tokio::time::sleep(AGAIN).await;
                if let Err(failure) = self.read_from(self.assignment).await {
                    self.is_broken = Some(failure);
                }
                Next::Records(self.assignment, Vec::new())
            }
            Err(_) if self.goes_on() && self.newer().await.is_some_and(|(newer, _)| newer.is_some()) => {
                Next::NodeGone
            }
            end => Next::End(end),
        }
    }

    /// The output of the next assignment, once there is one.
    async fn go_on(&mut self) -> Next {
        let mut news = self.state.events.news();
        loop {
            news.mark_unchanged();
            match self.newer().await {
                Some((Some(newer), _)) => {
                    let last = self.assignment.incarnation;
                    // Only the first one was asked for a part.
                    self.wanted.tail = None;
                    self.assignment = newer;
                    match self.read_from(newer).await {
                        Ok(node) if last < before(newer.incarnation) => {
                            self.said_next = Some(Next::Restart(newer, node));
                            return Next::Forgotten;
                        }
                        Ok(node) => return Next::Restart(newer, node),
                        Err(failure) if is_too_early(&failure) => {}
                        Err(failure) => return Next::End(Err(failure)),
                    }
                    self.assignment.incarnation = last;
                }
                Some((None, true)) => {}
                Some((None, false)) | None => return Next::End(Ok(())),
            }
            // Either way it is looked at again.
            let _ = tokio::time::timeout(LOOK, news.changed()).await;
        }
    }

    /// The next assignment behind the present one, and whether there can be one; `None` if the task is gone.
    async fn newer(&mut self) -> Option<(Option<AssignmentId>, bool)> {
        let AssignmentId { replica, incarnation } = self.assignment;
        let runs = self.state.driver.read(move |core, _| core.replica_runs(replica)).await.ok().flatten()?;
        let newer = runs.assignments.into_iter().find(|id| id.incarnation > incarnation);
        Some((newer, runs.may_run_again))
    }
}

/// Whether it is only too early.
fn is_too_early(failure: &LogFailure) -> bool {
    matches!(failure.code.as_str(), "logs/not-started" | "logs/not-read")
}

fn before(incarnation: Incarnation) -> Incarnation {
    Incarnation(incarnation.0.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_behind_a_placement_that_is_not_kept_any_more_is_told_that_something_is_missing() {
        let wanted = |after: &str| Wanted {
            follow: false,
            tail: None,
            since: None,
            after: Some(after.parse().unwrap()),
            before: None,
            goes_on: true,
        };
        for (after, read, expected) in
            [("1.57", 2, true), ("2.57", 2, false), ("2.0", 3, true), ("0.0", 1, false), ("0.0", 2, true)]
        {
            let found = wanted(after).is_behind_forgotten(Incarnation(read));
            assert_eq!(found, expected, "behind {after}, {read} is read");
        }
        let one = Wanted { goes_on: false, ..wanted("1.57") };
        assert!(!one.is_behind_forgotten(Incarnation(2)), "only that one was asked for");
    }
}

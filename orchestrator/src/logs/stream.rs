//! One stream of a node: batches in, records out, each batch verified.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lode_network::{FramedStream, NetworkError};
use lode_protocol::ids::{NodeId, Nonce};
use lode_protocol::logs::{LogBatch, LogEnd, LogRecord};
use tokio::sync::mpsc;

use super::place::StreamPermit;
use super::{LogFailure, LogQuery, Piece, failure};
use crate::buckets::Buckets;
use crate::identity::Identity;

/// Silence after which a stream that does not follow has failed.
const SILENCE: Duration = Duration::from_secs(30);
/// Time until the first batch over HTTPS: a stretched beat and a post.
const FIRST_POST: Duration = Duration::from_secs(90);
/// Silence after which a followed stream over HTTPS has failed: no connection tells that its worker is gone.
const POSTED_SILENCE: Duration = Duration::from_secs(600);
/// Records per batch that are accepted.
const MAX_RECORDS: usize = 65_536;

/// Where batches come from.
#[derive(Debug)]
pub(super) enum Source {
    Stream(FramedStream),
    Posted(mpsc::Receiver<LogBatch>),
}

/// One stream. Dropping it ends it.
#[derive(Debug)]
pub(super) struct LogStream {
    identity: Identity,
    node: NodeId,
    stream: Nonce,
    follow: bool,
    /// No record from this ordinal on was asked for.
    before: u64,
    next: u64,
    /// Ordinal of the last record.
    last: Option<u64>,
    source: Source,
    /// What its node may send, on all of its streams together.
    output: Arc<Buckets<NodeId>>,
    /// Nothing more is read before: the node has sent more than it may.
    held_until: Option<Instant>,
    live: bool,
    ended: bool,
    _place: StreamPermit,
}

impl LogStream {
    pub(super) fn new(
        identity: Identity,
        node: NodeId,
        stream: Nonce,
        query: &LogQuery,
        source: Source,
        output: Arc<Buckets<NodeId>>,
        place: StreamPermit,
    ) -> Self {
        LogStream {
            identity,
            node,
            stream,
            follow: query.follow,
            before: query.before.unwrap_or(u64::MAX),
            next: 0,
            last: None,
            source,
            output,
            held_until: None,
            live: false,
            ended: false,
            _place: place,
        }
    }

    /// Whether everything that had been written before the stream was opened has come.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The next records, possibly none, or the end; `None` after the end.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        if self.ended {
            return None;
        }
        let piece = match self.receive().await {
            Ok(LogBatch { records, end: Some(end), .. }) if records.is_empty() => Piece::End(ended(end)),
            Ok(LogBatch { records, end, .. }) => {
                // The last records first; the end comes with the next call.
                if let Some(end) = end {
                    self.source = Source::Posted(last(end, self.stream, self.next));
                }
                Piece::Lines(records.into_iter().map(Arc::new).collect())
            }
            Err(failure) => Piece::End(Err(failure)),
        };
        self.ended = matches!(piece, Piece::End(_));
        Some(piece)
    }

    async fn receive(&mut self) -> Result<LogBatch, LogFailure> {
        // Forgotten only when it has passed: whoever asks may give up meanwhile, and ask again.
        if let Some(until) = self.held_until {
            tokio::time::sleep_until(until.into()).await;
            self.held_until = None;
        }
        let node = self.node;
        let silent = || failure("logs/silent", format!("node {node} sent nothing for a while; ask again"));
        let batch = match &mut self.source {
            Source::Stream(framed) => loop {
                match framed.receive(SILENCE).await {
                    Ok(Some(bytes)) => {
                        self.held_until = self.output.charge(node, bytes.len() as u64, Instant::now());
                        let opened = self.identity.open::<LogBatch>(&bytes, Some(node.0));
                        break opened
                            .map_err(|error| {
                                failure(
                                    "logs/bad-batch",
                                    format!("node {node} sent what is no output: {error}"),
                                )
                            })?
                            .body;
                    }
                    Ok(None) => {
                        return Err(failure(
                            "logs/broke-off",
                            format!("node {node} ended the stream without saying why"),
                        ));
                    }
                    // Silence of a task that is followed is no failure: a dead worker's connection ends by itself.
                    Err(NetworkError::ReceiveTimeout { .. }) if self.follow => {}
                    Err(NetworkError::ReceiveTimeout { .. }) => return Err(silent()),
                    Err(error) => {
                        let message =
                            format!("the connection to node {node} is gone ({}): {error}", error.code());
                        return Err(failure("logs/node-gone", message));
                    }
                }
            },
            Source::Posted(posted) => {
                let patience = match (self.next, self.follow) {
                    (0, _) => FIRST_POST,
                    (_, true) => POSTED_SILENCE,
                    (_, false) => SILENCE,
                };
                match tokio::time::timeout(patience, posted.recv()).await {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return Err(failure("logs/broke-off", "the stream was closed")),
                    Err(_) => return Err(silent()),
                }
            }
        };
        if batch.stream != self.stream || batch.index != self.next || !self.goes_on(&batch.records) {
            return Err(failure("logs/bad-batch", format!("node {node} sent a piece out of order")));
        }
        self.next += 1;
        self.last = batch.records.last().map(|last| last.position().ordinal).or(self.last);
        self.live |= batch.live == Some(true);
        Ok(batch)
    }

    /// Whether the records are not too many, in order, and asked for: readers find their places by it.
    fn goes_on(&self, records: &[LogRecord]) -> bool {
        let ordinals = records.iter().map(|record| record.position().ordinal);
        let mut last = self.last;
        records.len() <= MAX_RECORDS
            && ordinals.into_iter().all(|ordinal| {
                ordinal < self.before && last.replace(ordinal).is_none_or(|last| last < ordinal)
            })
    }
}

fn ended(end: LogEnd) -> Result<(), LogFailure> {
    match end {
        LogEnd::Complete => Ok(()),
        LogEnd::Failed { code, message } => Err(LogFailure { code, message }),
    }
}

/// A source that holds nothing but the end.
fn last(end: LogEnd, stream: Nonce, index: u64) -> mpsc::Receiver<LogBatch> {
    let (sender, receiver) = mpsc::channel(1);
    // The queue is empty, so that this cannot fail.
    let _ = sender.try_send(LogBatch { stream, index, end: Some(end), live: None, records: Vec::new() });
    receiver
}

//! Persist before effects: what a step wants done waits until its changes are durable.
//!
//! Order is kept. While the disk is full or the store fails, everything behind the failed change waits and the same
//! change is tried again; nothing is stopped because of it, and what needs no change goes on.

use std::collections::VecDeque;
use std::time::Duration;

use lode_program::finding::{Finding, FindingSet};
use lode_store::{Batch, StoreError, Ticket, Writer};
use tokio::time::Instant;

/// Wait before a failed change is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Most steps written in one go.
const GROUP: usize = 256;
/// Codes of the findings raised here.
const CODES: [&str; 3] = ["store/full", "store/failing", "store/unusable"];

/// Effects of type `T`, held until their batch is durable.
#[derive(Debug)]
pub(super) struct Commits<T> {
    writer: Writer,
    findings: FindingSet,
    waiting: VecDeque<(Batch, Vec<T>)>,
    writing: Option<Ticket>,
    /// Steps at the head of `waiting` that are being written.
    group: usize,
    retry_at: Option<Instant>,
    failed: bool,
}

impl<T> Commits<T> {
    pub(super) fn new(writer: Writer, findings: FindingSet) -> Self {
        Self {
            writer,
            findings,
            waiting: VecDeque::new(),
            writing: None,
            group: 0,
            retry_at: None,
            failed: false,
        }
    }

    /// Whether everything is durable.
    pub(super) fn is_clean(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Holds `then` until `batch`, and everything before it, is durable.
    pub(super) fn push(&mut self, batch: Batch, then: Vec<T>) {
        self.waiting.push_back((batch, then));
    }

    /// The next effects that may be let out. Cancel-safe; waits for ever while there is nothing to write.
    pub(super) async fn released(&mut self) -> Vec<T> {
        loop {
            if let Some(retry_at) = self.retry_at {
                tokio::time::sleep_until(retry_at).await;
                self.retry_at = None;
            }
            if self.writing.is_none() {
                if self.waiting.is_empty() {
                    std::future::pending::<()>().await;
                }
                let (batch, group) = self.next_group();
                if batch.is_empty() {
                    return self.take(group);
                }
                match self.writer.try_enqueue(batch) {
                    Ok(ticket) => {
                        self.group = group;
                        self.writing = Some(ticket);
                    }
                    Err(error) => {
                        self.fail(&error);
                        continue;
                    }
                }
            }
            let Some(ticket) = &mut self.writing else { continue };
            let written = ticket.await;
            self.writing = None;
            match written {
                Ok(_) => {
                    self.recovered();
                    return self.take(self.group);
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    fn next_group(&self) -> (Batch, usize) {
        let mut all = Batch::new();
        let mut count = 0;
        for (batch, _) in self.waiting.iter().take(GROUP) {
            all.append(batch.clone());
            count += 1;
        }
        (all, count)
    }

    fn take(&mut self, count: usize) -> Vec<T> {
        self.waiting.drain(..count.min(self.waiting.len())).flat_map(|(_, then)| then).collect()
    }

    fn fail(&mut self, error: &StoreError) {
        self.failed = true;
        self.retry_at = Some(Instant::now() + RETRY);
        for code in CODES {
            self.findings.clear_code(code);
        }
        self.findings.raise(finding(error));
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failed) {
            for code in CODES {
                self.findings.clear_code(code);
            }
        }
    }
}

/// A store's error as a finding.
pub fn finding(error: &StoreError) -> Finding {
    let message =
        format!("what the worker must remember cannot be written; tasks go on, new ones wait: {error}");
    let (code, remedy) = match error.class() {
        lode_store::ErrorClass::Full => ("store/full", "free space on the file system of data_dir"),
        lode_store::ErrorClass::Transient => {
            ("store/failing", "look at the disk of data_dir; it is tried again")
        }
        lode_store::ErrorClass::Corrupt | lode_store::ErrorClass::Invalid | lode_store::ErrorClass::Fatal => {
            ("store/unusable", "look at the disk and the permissions of data_dir, then restart the worker")
        }
    };
    Finding::error(code, message).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_program::Clock;
    use lode_store::{Fault, MemoryStore, Table, WriterLimits};

    const TABLE: Table = Table::new("t");

    fn put(key: u8) -> Batch {
        let mut batch = Batch::new();
        batch.put(TABLE, [key], [key]);
        batch
    }

    #[tokio::test]
    async fn effects_wait_for_a_full_disk_and_come_in_order_when_there_is_space() {
        let store = MemoryStore::new();
        let (writer, _thread) =
            Writer::start(std::sync::Arc::new(store.clone()), WriterLimits::default()).unwrap();
        let findings = FindingSet::new(Clock::system());
        let mut commits = Commits::new(writer, findings.clone());
        store.set_fault(Some(Fault::Full));
        commits.push(put(1), vec!["a"]);
        commits.push(Batch::new(), vec!["b"]);
        let early = tokio::time::timeout(Duration::from_millis(1_500), commits.released()).await;
        assert!(early.is_err(), "released {early:?} although nothing is durable");
        assert_eq!(
            findings.list().first().map(|row| row.finding.code.as_str().to_owned()).as_deref(),
            Some("store/full")
        );
        store.set_fault(None);
        assert_eq!(commits.released().await, ["a", "b"]);
        assert!(findings.list().is_empty());
        assert!(commits.is_clean());
    }
}

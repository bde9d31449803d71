//! Checks and looks under way. One that breaks off is told as what it is, no verdict: it would keep its turn for ever, and
//! what it was about would count as seen.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

use crate::core::Event;

/// What goes on beside the owner loop.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    tasks: JoinSet<Option<Event>>,
    /// What is told of each if it breaks off.
    otherwise: HashMap<Id, Event>,
}

impl Checks {
    /// Begins one.
    pub(crate) fn spawn(
        &mut self,
        check: impl Future<Output = Option<Event>> + Send + 'static,
        otherwise: Option<Event>,
    ) {
        let id = self.tasks.spawn(check).id();
        if let Some(event) = otherwise {
            self.otherwise.insert(id, event);
        }
    }

    /// What came of the next one to end, perhaps nothing; `None` when there are none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Option<Event>> {
        match self.tasks.join_next_with_id().await? {
            Ok((id, event)) => {
                self.otherwise.remove(&id);
                Some(event)
            }
            Err(error) => {
                tracing::error!(%error, "a check broke off: this is no verdict");
                Some(self.otherwise.remove(&error.id()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_breaks_off_is_told_and_not_forgotten() {
        let mut checks = Checks::default();
        assert!(checks.next().await.is_none());
        checks.spawn(async { panic!("a defect") }, Some(Event::Tick));
        assert!(matches!(checks.next().await, Some(Some(Event::Tick))));
        checks.spawn(async { Some(Event::Resync) }, Some(Event::Tick));
        assert!(matches!(checks.next().await, Some(Some(Event::Resync))));
        checks.spawn(async { None }, None);
        assert!(matches!(checks.next().await, Some(None)));
        assert!(checks.otherwise.is_empty());
    }
}

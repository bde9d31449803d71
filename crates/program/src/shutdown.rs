//! Why and when a program stops: one token that everything watches.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Why the program stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The operating system or a person asked, by this signal.
    Signal(&'static str),
    /// A part of the program asked: its work is done, or it was told to over its API.
    Requested(String),
    /// A task that the program cannot live without ended.
    CriticalTask {
        /// Which.
        name: String,
        /// How it ended.
        error: String,
    },
}

/// The stop sign. Cheap to clone; the first cause wins.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    cause: Arc<Mutex<Option<Cause>>>,
}

impl Shutdown {
    /// A sign that nobody has raised yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises it. Later causes are ignored.
    pub fn request(&self, cause: Cause) {
        let mut first = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            match &cause {
                Cause::Signal(signal) => tracing::info!(signal, "stopping"),
                Cause::Requested(reason) => tracing::info!(reason, "stopping"),
                Cause::CriticalTask { name, error } => {
                    tracing::error!(task = name, error, "stopping: a critical task ended");
                }
            }
            *first = Some(cause);
            self.token.cancel();
        }
    }

    /// Completes once it is raised.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        self.token.clone().cancelled_owned()
    }

    /// Does this until it is done or the sign is raised.
    pub fn until<F: Future<Output = ()>>(&self, work: F) -> impl Future<Output = ()> + use<F> {
        let token = self.token();
        async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = work => {}
            }
        }
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token, for code that wants one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Why, once it is raised.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_with_itself_or_with_the_sign() {
        let shutdown = Shutdown::new();
        shutdown.until(async {}).await;
        let waiting = shutdown.until(std::future::pending());
        shutdown.request(Cause::Requested("the test says so".to_owned()));
        waiting.await;
    }
}

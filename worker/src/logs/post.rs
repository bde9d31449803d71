//! A batch over HTTPS, until it is taken.

use std::time::Duration;

use lode_network::{LogPost, NetworkError};
use lode_program::backoff::{self, BackoffPolicy};
use lode_protocol::units::Millis;
use tokio::time::Instant;

const AGAIN: BackoffPolicy = BackoffPolicy::new(Millis(100), Millis::seconds(2));

/// Posts until the orchestrator takes it (true) or does not want it (false). A refusal for now is no loss: it is posted again,
/// for so long. So is what may have arrived without an answer: batches are numbered, and one that was taken is taken again.
///
/// # Errors
/// It cannot be posted, or was not taken in all that time.
pub(super) async fn until_taken<F>(
    patience: Duration,
    mut post: impl FnMut() -> F,
) -> Result<bool, NetworkError>
where
    F: Future<Output = Result<LogPost, NetworkError>>,
{
    let deadline = Instant::now() + patience;
    let mut pause = backoff::sequence(AGAIN);
    loop {
        match post().await {
            Ok(LogPost::Accepted) => return Ok(true),
            Ok(LogPost::NotWanted) => return Ok(false),
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tracing::debug!(code = %error.code(), %error, "a batch of output waits");
                tokio::time::sleep(pause.next_wait()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> NetworkError {
        let (url, code) = ("https://pool.example".to_owned(), "wire/no-answer".to_owned());
        NetworkError::HttpRefused { url, status: 503, code }
    }

    fn too_large() -> NetworkError {
        let (url, code) = ("https://pool.example".to_owned(), "wire/too-large".to_owned());
        NetworkError::HttpRefused { url, status: 413, code }
    }

    /// What comes of these answers in turn, the last of them again and again, and how often was posted.
    async fn ends(
        patience: Duration,
        answers: &[Result<LogPost, NetworkError>],
    ) -> (Result<bool, NetworkError>, usize) {
        let mut posts = 0;
        let end = until_taken(patience, || {
            posts += 1;
            std::future::ready(answers.get(posts - 1).or(answers.last()).expect("an answer").clone())
        })
        .await;
        (end, posts)
    }

    #[tokio::test]
    async fn what_is_not_taken_yet_is_posted_again_and_not_given_up() {
        let patience = Duration::from_secs(600);
        let answers = [Err(busy()), Err(busy()), Ok(LogPost::Accepted)];
        assert_eq!(ends(patience, &answers).await, (Ok(true), 3));
        let answers = [Err(busy()), Ok(LogPost::NotWanted)];
        assert_eq!(ends(patience, &answers).await, (Ok(false), 2));
    }

    #[tokio::test]
    async fn what_will_never_be_taken_is_given_up_at_once_and_what_is_not_taken_in_time_then() {
        assert_eq!(ends(Duration::from_secs(600), &[Err(too_large())]).await, (Err(too_large()), 1));
        assert_eq!(ends(Duration::ZERO, &[Err(busy())]).await, (Err(busy()), 1));
    }
}

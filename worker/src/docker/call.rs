//! One call to the engine, with a deadline.

use std::time::Duration;

use bollard::errors::Error;

/// Time an ordinary call may take.
pub(super) const CALL: Duration = Duration::from_secs(60);

/// Runs a call with a deadline; a passed deadline is a silent engine.
pub(super) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(deadline, call).await.unwrap_or(Err(Error::RequestTimeoutError))
}

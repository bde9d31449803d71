//! Waiting for a condition, with a deadline, and with the last reason why it did not hold.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks until `look` succeeds. Its errors are the reasons why it is not so yet.
///
/// # Errors
/// After `patience`: the last reason.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        let reason = match look().await {
            Ok(value) => {
                eprintln!("    {:6.1} s  {what}", began.elapsed().as_secs_f64());
                return Ok(value);
            }
            Err(reason) => reason,
        };
        if began.elapsed() >= patience {
            bail!("not after {} s: {what}: {reason:#}", patience.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Checks that something stays so for a while.
///
/// # Errors
/// As soon as it is not so.
pub async fn throughout(
    what: &str,
    span: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < span {
        if let Err(reason) = look().await {
            bail!("it was to hold for {} s: {what}: {reason:#}", span.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Says which part of a test runs.
pub fn step(name: &str) {
    eprintln!("  {name}");
}

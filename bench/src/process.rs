//! What the kernel says about a process.

use anyhow::Context as _;
use lode_e2e::pool::Pool;

/// The kernel's unit of CPU time, for programs: fixed at 100 a second on Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process id of one of the pool's programs.
pub(crate) async fn pid_of(pool: &Pool, name: &str) -> anyhow::Result<u64> {
    pool.program(name).await?["pid"].as_u64().with_context(|| format!("{name} does not run"))
}

/// CPU seconds used so far.
pub(crate) fn cpu_seconds(pid: u64) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything; it ends at the last bracket. Times are fields 14 and 15, the state is field 3.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("the kernel's answer is not as expected")?;
    Ok((user + system) / TICKS_PER_SECOND)
}

/// Resident memory in MiB.
pub(crate) fn resident_mebibytes(pid: u64) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}

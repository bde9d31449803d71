//! The proof as its users see it: through the public interface and through the prover process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

mod encoding;
mod evidence;
mod fixture;
mod honest_and_forged;
mod prover_process;

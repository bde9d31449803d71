//! The Docker adapter on the system's real engine.

#![expect(clippy::unwrap_used, reason = "tests")]

mod images;
mod life;
mod output;
mod plan;
mod support;

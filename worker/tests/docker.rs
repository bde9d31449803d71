//! The Docker adapter on the system's real engine.

mod images;
mod life;
mod output;
mod plan;
mod support;

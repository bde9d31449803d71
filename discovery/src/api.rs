//! HTTP: parse, limit, ask the directory, answer.

mod address;
mod problem;
mod routes;

pub use address::AddressLimiter;
pub use routes::router;

//! HTTP: parse, limit, ask the service, answer.

mod problem;
mod routes;

pub use routes::router;

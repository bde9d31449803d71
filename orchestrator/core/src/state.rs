//! The ground floor: what the core knows, as types. Procedures on them are upstairs, and nothing here knows of those.
//!
//! * [`tracked`]: maps that know what was touched, and rows that know whether they changed
//! * [`node`], [`lifecycle`], [`facts`], [`hardware`], [`session`], [`admission`], [`conflict`], [`faults`], [`pulse`],
//!   [`pace`]: a node
//! * [`strangers`]: who is none yet
//! * [`task`], [`shape`], [`order`], [`cost`], [`assignment`]: work
//! * [`words`]: states and counts in the words that people see

pub(crate) mod admission;
pub(crate) mod assignment;
pub(crate) mod conflict;
pub(crate) mod cost;
pub(crate) mod facts;
pub(crate) mod faults;
pub(crate) mod hardware;
pub(crate) mod lifecycle;
pub(crate) mod node;
pub(crate) mod order;
pub(crate) mod pace;
pub(crate) mod pulse;
pub(crate) mod session;
pub(crate) mod shape;
pub(crate) mod strangers;
pub(crate) mod task;
pub(crate) mod tracked;
pub(crate) mod words;

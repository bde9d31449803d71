//! The orchestrator as a whole: real sockets, a chain and a store in memory with fault switches, workers that speak the
//! wire as ours do, and some that lie.

#[cfg(test)]
mod api;
#[cfg(test)]
mod comeback;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod images;
#[cfg(test)]
mod judged;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod settlement;
#[cfg(test)]
mod store;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod task_schema;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod worker;

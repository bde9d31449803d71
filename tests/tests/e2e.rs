//! The whole story on real parts: anvil, container engines, and the programs as they are shipped.
//!
//! One pool per test, several steps in each: starting a pool costs most of the time.

#[path = "e2e/departures.rs"]
mod departures;
#[path = "e2e/economy.rs"]
mod economy;
#[path = "e2e/fallback.rs"]
mod fallback;
#[path = "e2e/faults.rs"]
mod faults;
#[path = "e2e/flood.rs"]
mod flood;
#[path = "e2e/full_disk.rs"]
mod full_disk;
#[path = "e2e/hostile.rs"]
mod hostile;
#[path = "e2e/kills.rs"]
mod kills;
#[path = "e2e/lost_node.rs"]
mod lost_node;
#[path = "e2e/output.rs"]
mod output;
#[path = "e2e/reorganisation.rs"]
mod reorganisation;
#[path = "e2e/tasks.rs"]
mod tasks;

//! NVML itself. Nothing outside this module names a type of `nvml-wrapper`.
//!
//! | file | owns |
//! |---|---|
//! | `handle` | the async face, deadlines, stepping around a GPU that hangs |
//! | `lane` | the thread that makes the calls, one at a time |
//! | `pulse` | what that thread is doing right now |
//! | `session` | one initialisation of the library, back-off, starting over |
//! | `walk` | one round over all GPUs, each on its own |
//! | `fields`, `read_gpu`, `read_health` | the fields of one GPU |
//! | `raw` | calls that `nvml-wrapper` does not wrap |
//! | `watch` | the event thread (XIDs) |
//! | `errors` | NVML's codes to [`crate::NvmlError`] |

mod errors;
mod fields;
mod handle;
mod lane;
mod pulse;
mod raw;
mod read_gpu;
mod read_health;
mod session;
mod walk;
mod watch;

pub use handle::{NvmlConfig, NvmlHandle};
pub use watch::{WatchStatus, XidEvent, XidWatch};

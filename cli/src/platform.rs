//! What the client asks of the operating system, and not every system answers alike. No other file of it knows which
//! system this is.
//!
//! What the others get is built for the tests of Unix too, so that it is looked at by the compiler.

#[cfg(any(not(unix), test))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::{Interruption, become_program, is_one_file, terminal_width};
#[cfg(unix)]
pub(crate) use unix::{Interruption, become_program, is_one_file, terminal_width};

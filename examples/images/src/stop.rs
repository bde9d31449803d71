//! Being told to stop.
//!
//! A program that is process 1 of a container is not ended by a SIGTERM it has no handler for: the kernel drops the
//! signal. So the signals are blocked in every thread before any is started, and one thread waits for them; a blocked
//! signal is kept for it, also in process 1. No code runs inside a signal handler.

use std::{
    ffi::c_int,
    io, ptr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
/// `how` of `pthread_sigmask`: add to the blocked ones (the value on every Linux but MIPS and SPARC).
const SIG_BLOCK: c_int = 0;

/// `sigset_t` of glibc and musl: 1024 bits.
#[repr(C)]
#[derive(Clone, Copy)]
struct SignalSet([u64; 16]);

// SAFETY: the signatures are those of POSIX with the types of 64-bit Linux; the C library is linked by std anyway.
unsafe extern "C" {
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
}

/// Whether this program was told to stop. Clones share one state.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Read in hot loops.
    stopping: AtomicBool,
    /// The same fact under a lock, for those who sleep until it changes.
    locked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Listens for SIGTERM and SIGINT. Call it first in `main`: threads started earlier would not have them blocked.
    ///
    /// With `ignore` the signals are swallowed and nothing stops, which is how a task that disregards its grace looks.
    pub fn on_signals(ignore: bool) -> io::Result<Self> {
        let set = block_signals()?;
        let stop = Self::never();
        let told = stop.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while let Some(signal) = wait_for_signal(&set) {
                let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
                if ignore {
                    println!("{name} received and ignored, as asked");
                } else {
                    println!("{name} received, stopping");
                    told.set();
                }
            }
        })?;
        Ok(stop)
    }

    /// One that only [`Stop::set`] stops.
    pub fn never() -> Self {
        Self(Arc::default())
    }

    /// Tells everyone to stop.
    pub fn set(&self) {
        self.0.stopping.store(true, Ordering::Release);
        *self.0.locked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }

    /// Whether to stop now.
    pub fn is_set(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// Sleeps for `duration` or until told to stop; says whether to stop.
    pub fn sleep(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        let mut stopping = self.0.locked.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopping {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            stopping = self.0.changed.wait_timeout(stopping, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *stopping
    }
}

fn block_signals() -> io::Result<SignalSet> {
    let mut set = SignalSet([0; 16]);
    // SAFETY: `set` is a valid, exclusively borrowed signal set as large as the C library's, and the signals exist.
    // A null pointer for the old mask is allowed and means that it is not wanted.
    let failed = unsafe {
        sigemptyset(&mut set) != 0
            || sigaddset(&mut set, SIGTERM) != 0
            || sigaddset(&mut set, SIGINT) != 0
            || pthread_sigmask(SIG_BLOCK, &set, ptr::null_mut()) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(set) }
}

/// `None` when waiting is impossible, which POSIX allows only for an invalid set.
fn wait_for_signal(set: &SignalSet) -> Option<c_int> {
    let mut signal = 0;
    // SAFETY: both pointers are valid for the call; the signals in the set are blocked in every thread.
    let result = unsafe { sigwait(set, &mut signal) };
    (result == 0).then_some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_when_told_to_stop() {
        let stop = Stop::never();
        let sleeper = stop.clone();
        let slept = thread::spawn(move || sleeper.sleep(Duration::from_secs(60)));
        stop.set();
        assert!(slept.join().unwrap());
        assert!(stop.is_set());
    }

    #[test]
    fn a_sleep_that_runs_out_does_not_stop() {
        let stop = Stop::never();
        assert!(!stop.sleep(Duration::from_millis(1)));
        assert!(!stop.is_set());
    }
}

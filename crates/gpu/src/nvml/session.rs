//! One initialisation of NVML, shared by the lanes and the event thread, and starting over when it went stale.
//!
//! NVML counts its users: it starts afresh only when all of them have let go. So a stale session is *retired*:
//! everybody drops it at the next opportunity, and the next initialisation waits for that, but not for ever,
//! because a hanging call never lets go.
//!
//! Back-off: a failed initialisation is remembered and answered from memory until its time has come, and a
//! session that loses GPUs again and again is not restarted at every sample.

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;

use super::{errors, pulse::Pulse};
use crate::NvmlError;

/// The loader's name of the driver's library.
const DEFAULT_LIBRARY: &str = "libnvidia-ml.so.1";
/// How long a new initialisation waits for the users of the old one; the event thread lets go within a second.
const PATIENCE_WITH_OLD_USERS: Duration = Duration::from_secs(2);

/// NVML, initialised.
#[derive(Debug)]
pub(super) struct Session {
    nvml: Nvml,
    retired: AtomicBool,
    // Last, so that it speaks up after NVML was shut down.
    _user: User,
}

impl Session {
    pub(super) fn nvml(&self) -> &Nvml {
        &self.nvml
    }

    /// Whether users should let go of it.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

/// Where the current session is kept.
#[derive(Debug)]
pub(super) struct SessionSlot {
    library: PathBuf,
    first_wait: Duration,
    longest_wait: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Session>>,
    /// Sessions that somebody still holds, the current one included.
    alive: u32,
    closed: bool,
    failure: Option<NvmlError>,
    /// Neither initialise nor retire before this.
    not_before: Option<Instant>,
    wait: Duration,
}

impl SessionSlot {
    pub(super) fn new(library: Option<PathBuf>, first_wait: Duration, longest_wait: Duration) -> Self {
        Self {
            library: library.unwrap_or_else(|| PathBuf::from(DEFAULT_LIBRARY)),
            first_wait,
            longest_wait,
            shared: Arc::default(),
        }
    }

    /// The current session, or a new one.
    pub(super) fn open(&self, pulse: &Pulse) -> Result<Arc<Session>, NvmlError> {
        let mut state = self.shared.lock();
        if let Some(session) = &state.current {
            return Ok(Arc::clone(session));
        }
        if let (Some(failure), Some(not_before)) = (&state.failure, state.not_before)
            && Instant::now() < not_before
        {
            return Err(failure.clone());
        }
        let deadline = Instant::now() + PATIENCE_WITH_OLD_USERS;
        while state.alive > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("NVML is initialised again while a call of the previous session still runs");
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        pulse.begin("nvmlInit_v2", None);
        let opened = self.initialise();
        let mut state = self.shared.lock();
        match opened {
            Ok(nvml) => {
                state.failure = None;
                state.alive += 1;
                let user = User(Arc::clone(&self.shared));
                let session = Arc::new(Session { nvml, retired: AtomicBool::new(false), _user: user });
                state.current = Some(Arc::clone(&session));
                self.shared.changed.notify_all();
                Ok(session)
            }
            Err(error) => {
                state.failure = Some(error.clone());
                self.back_off(&mut state);
                Err(error)
            }
        }
    }

    fn initialise(&self) -> Result<Nvml, NvmlError> {
        let library: &OsStr = self.library.as_os_str();
        // The bindings panic where a library lacks what they cannot do without.
        let opened = catch_unwind(AssertUnwindSafe(|| Nvml::builder().lib_path(library).init()));
        match opened {
            Ok(result) => result.map_err(|error| errors::of_initialisation(&self.library, error)),
            Err(_) => Err(NvmlError::LibraryUnusable {
                library: self.library.display().to_string(),
                detail: "it lacks functions that every NVML has".to_owned(),
            }),
        }
    }

    /// Lets go of a stale session, unless that was done a moment ago.
    pub(super) fn retire(&self, session: &Arc<Session>, why: &NvmlError) {
        let mut state = self.shared.lock();
        let is_current = state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session));
        let too_early = state.not_before.is_some_and(|not_before| Instant::now() < not_before);
        if !is_current || too_early {
            return;
        }
        tracing::info!(reason = %why, "NVML will be initialised again");
        self.back_off(&mut state);
        session.retired.store(true, Ordering::Release);
        state.current = None;
        self.shared.changed.notify_all();
    }

    /// All is well: the next trouble is met at once again.
    pub(super) fn calm_down(&self) {
        let mut state = self.shared.lock();
        state.not_before = None;
        state.wait = Duration::ZERO;
    }

    fn back_off(&self, state: &mut State) {
        state.not_before = Instant::now().checked_add(state.wait.max(self.first_wait));
        state.wait = (state.wait.max(self.first_wait) * 2).min(self.longest_wait);
    }

    /// The current session once there is one; `None` when the time is over or the slot was closed.
    pub(super) fn wait_current(&self, patience: Duration) -> Option<Arc<Session>> {
        let state = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, patience, |state| state.current.is_none() && !state.closed);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed { None } else { state.current.clone() }
    }

    /// Nobody will need NVML any more. Only says so: shutting down may block, which is the lane's business.
    pub(super) fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        if let Some(session) = &state.current {
            session.retired.store(true, Ordering::Release);
        }
        self.shared.changed.notify_all();
    }

    /// Lets go of the session once the slot was closed.
    pub(super) fn release(&self) {
        let session = self.shared.lock().current.take();
        // Dropping it may shut NVML down and then takes the lock: not under the lock.
        drop(session);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a session as alive until NVML was shut down.
#[derive(Debug)]
struct User(Arc<Shared>);

impl Drop for User {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.alive = state.alive.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

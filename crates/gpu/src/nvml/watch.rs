//! The thread that waits for XIDs: one event set for all GPUs, one second at a time.
//!
//! NVML delivers what happens while the set exists. Between two sessions, and before the first, XIDs are missed;
//! health therefore never rests on XIDs alone.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lode_protocol::ids::GpuUuid;
use nvml_wrapper::EventSet;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError as Raw;
use tokio::sync::{mpsc, watch};

use super::session::{Session, SessionSlot};
use super::{errors, raw};
use crate::NvmlError;
use crate::xid::XidClass;

/// How long one wait lasts, and so how long the end of a session takes to be noticed.
const WAIT_MS: u32 = 1_000;
/// XIDs come in bursts, one per failed context; whoever does not read this many is gone.
const QUEUE: usize = 256;
/// NVML's number for an XID it does not know.
const UNKNOWN_XID: u32 = 999;

/// One critical XID of one GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XidEvent {
    pub uuid: GpuUuid,
    pub xid: u32,
}

impl XidEvent {
    /// What the XID asks for.
    #[must_use]
    pub fn class(&self) -> XidClass {
        XidClass::of(self.xid)
    }
}

/// What the event thread is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchStatus {
    /// No NVML session yet, or between two.
    Waiting,
    /// XIDs of these many GPUs are delivered.
    Watching { gpus: usize },
    /// This session delivers no events.
    Unavailable(NvmlError),
    /// The thread has ended.
    Stopped,
}

/// XIDs as they happen. The thread ends when this is dropped.
#[derive(Debug)]
pub struct XidWatch {
    events: mpsc::Receiver<XidEvent>,
    status: watch::Receiver<WatchStatus>,
    stop: Arc<AtomicBool>,
}

impl XidWatch {
    /// The next XID; `None` when the thread has ended.
    pub async fn next(&mut self) -> Option<XidEvent> {
        self.events.recv().await
    }

    /// What the thread is doing, now and as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<WatchStatus> {
        self.status.clone()
    }
}

impl Drop for XidWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

pub(super) fn start(sessions: Arc<SessionSlot>) -> io::Result<XidWatch> {
    let (events_in, events) = mpsc::channel(QUEUE);
    let (status_in, status) = watch::channel(WatchStatus::Waiting);
    let stop = Arc::new(AtomicBool::new(false));
    let thread = Watcher { sessions, events: events_in, status: status_in, stop: Arc::clone(&stop) };
    thread::Builder::new().name("nvml-events".to_owned()).spawn(move || thread.run())?;
    Ok(XidWatch { events, status, stop })
}

struct Watcher {
    sessions: Arc<SessionSlot>,
    events: mpsc::Sender<XidEvent>,
    status: watch::Sender<WatchStatus>,
    stop: Arc<AtomicBool>,
}

impl Watcher {
    fn run(self) {
        while !self.is_over() {
            self.status.send_replace(WatchStatus::Waiting);
            let patience = Duration::from_millis(u64::from(WAIT_MS));
            let Some(session) = self.sessions.wait_current(patience) else { continue };
            let outcome = catch_unwind(AssertUnwindSafe(|| self.watch(&session)));
            let error = match outcome {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => {
                    NvmlError::Other { operation: "nvmlEventSetWait_v2", detail: "panicked".to_owned() }
                }
            };
            tracing::warn!(%error, "XIDs are not delivered until NVML is initialised again");
            self.status.send_replace(WatchStatus::Unavailable(error));
            self.sit_out(session);
        }
        self.status.send_replace(WatchStatus::Stopped);
    }

    /// Waits for the end of a session that delivers no events, without keeping it alive.
    fn sit_out(&self, session: Arc<Session>) {
        let session = Arc::downgrade(&session);
        while !self.is_over() && session.upgrade().is_some_and(|session| !session.is_retired()) {
            thread::park_timeout(Duration::from_millis(u64::from(WAIT_MS)));
        }
    }

    fn watch(&self, session: &Session) -> Result<(), NvmlError> {
        const CREATE: &str = "nvmlEventSetCreate";
        const WAIT: &str = "nvmlEventSetWait_v2";
        let set = session.nvml().create_event_set().map_err(|error| errors::of_call(CREATE, error))?;
        let gpus = register(session, &set)?;
        self.status.send_replace(WatchStatus::Watching { gpus: gpus.len() });
        while !self.is_over() && !session.is_retired() {
            match set.wait(WAIT_MS) {
                Ok(event) => {
                    // SAFETY: the handle is only compared, never used.
                    let handle = unsafe { event.device.handle() }.addr();
                    // A lost GPU no longer says who it is; its handle does.
                    if let (Some(uuid), Some(xid)) = (gpus.get(&handle), event.event_data) {
                        self.deliver(XidEvent { uuid: uuid.clone(), xid: number(xid) });
                    }
                }
                Err(Raw::Timeout) => {}
                // One GPU fell off the bus: the next sample finds it and retires the session. Until then the
                // others' XIDs still matter, so go on, but do not spin.
                Err(Raw::GpuLost) => thread::park_timeout(Duration::from_millis(u64::from(WAIT_MS))),
                Err(error) => return Err(errors::of_call(WAIT, error)),
            }
        }
        Ok(())
    }

    fn deliver(&self, event: XidEvent) {
        tracing::warn!(gpu = %event.uuid, xid = event.xid, class = ?event.class(), "XID");
        if self.events.try_send(event).is_err() && !self.is_over() {
            tracing::error!("an XID was dropped because nobody reads them");
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.sessions.is_closed()
    }
}

/// Registers every GPU that can be, and remembers whose handle is whose.
fn register(session: &Session, set: &EventSet<'_>) -> Result<BTreeMap<usize, GpuUuid>, NvmlError> {
    const COUNT: &str = "nvmlDeviceGetCount_v2";
    const REGISTER: &str = "nvmlDeviceRegisterEvents";
    let nvml = session.nvml();
    let mut gpus = BTreeMap::new();
    let mut refusal = None;
    for index in 0..nvml.device_count().map_err(|error| errors::of_call(COUNT, error))? {
        let registered = nvml.device_by_index(index).and_then(|device| {
            let uuid = device.uuid()?;
            raw::register_xids(&device, set)?;
            // SAFETY: the handle is only compared, never used.
            Ok((unsafe { device.handle() }.addr(), uuid))
        });
        match registered.map(|(handle, uuid)| (handle, uuid.parse::<GpuUuid>())) {
            Ok((handle, Ok(uuid))) => {
                gpus.insert(handle, uuid);
            }
            Ok((_, Err(error))) => {
                tracing::warn!(index, %error, "a GPU without a usable UUID is not watched")
            }
            Err(error) => refusal = Some(errors::of_call(REGISTER, error)),
        }
    }
    match (gpus.is_empty(), refusal) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(NvmlError::NoGpus),
        (false, _) => Ok(gpus),
    }
}

fn number(xid: XidError) -> u32 {
    match xid {
        XidError::Value(value) => u32::try_from(value).unwrap_or(UNKNOWN_XID),
        XidError::Unknown => UNKNOWN_XID,
    }
}

//! The library's running state: who has initialised it, which configuration is current, which GPUs are lost,
//! which events were delivered. Everything that the exported functions share lives here.
//!
//! Invariants: the lock is never held while a call hangs; a GPU that was lost once stays lost until the last
//! user has shut down; an unreadable configuration is an error, never an empty machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings as nvml;

use crate::config::{MockConfig, MockGpu, MockMigInstance, ReturnCode};

/// What an exported function computes: nothing, or the code it answers instead of success.
pub(crate) type Answer = Result<(), ReturnCode>;

pub(crate) const NOT_SUPPORTED: ReturnCode = nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
pub(crate) const INVALID_ARGUMENT: ReturnCode = nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
pub(crate) const NOT_FOUND: ReturnCode = nvml::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
const UNINITIALIZED: ReturnCode = nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
const GPU_IS_LOST: ReturnCode = nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;

/// How often a hanging call looks whether it still hangs.
const HANG_TICK: Duration = Duration::from_millis(2);
/// How often whoever waits for an event looks for one: somebody always waits, so every look costs for ever.
const EVENT_TICK: Duration = Duration::from_millis(100);
const MIG_SHIFT: u32 = 12;

static LIBRARY: Mutex<Library> = Mutex::new(Library::new());

/// The device that a handle names.
pub(crate) struct Device {
    config: Arc<MockConfig>,
    pub(crate) index: usize,
    mig: Option<usize>,
}

impl Device {
    /// The physical GPU, for a MIG instance its parent.
    pub(crate) fn gpu(&self) -> Result<&MockGpu, ReturnCode> {
        self.config.gpus.get(self.index).ok_or(INVALID_ARGUMENT)
    }

    pub(crate) fn mig(&self) -> Result<Option<&MockMigInstance>, ReturnCode> {
        let Some(position) = self.mig else { return Ok(None) };
        let mig = self.gpu()?.mig.as_ref().ok_or(INVALID_ARGUMENT)?;
        mig.instances.get(position).map(Some).ok_or(NOT_FOUND)
    }
}

pub(crate) fn handle(gpu: usize, mig: Option<usize>) -> nvml::nvmlDevice_t {
    let mig = mig.map_or(0, |position| (position + 1) << MIG_SHIFT);
    std::ptr::without_provenance_mut((gpu + 1) | mig)
}

fn parse_handle(device: nvml::nvmlDevice_t) -> Result<(usize, Option<usize>), ReturnCode> {
    let value = device.addr();
    let gpu = (value & ((1 << MIG_SHIFT) - 1)).checked_sub(1).ok_or(INVALID_ARGUMENT)?;
    Ok((gpu, (value >> MIG_SHIFT).checked_sub(1)))
}

/// Runs the system call `symbol`: initialised, not hanging, not made to fail.
pub(crate) fn with_system(symbol: &str, body: impl FnOnce(&MockConfig) -> Answer) -> ReturnCode {
    code((|| {
        let config = settled(|config| config.delay_ms.get(symbol).copied())?;
        match config.errors.get(symbol) {
            Some(error) => Err(*error),
            None => body(&config),
        }
    })())
}

/// Runs the call `symbol` on the device that `device` names: present, not lost, not made to fail.
pub(crate) fn with_device(
    device: nvml::nvmlDevice_t,
    symbol: &str,
    body: impl FnOnce(&Device) -> Answer,
) -> ReturnCode {
    code((|| {
        let (index, mig) = parse_handle(device)?;
        let config = settled(|config| {
            let of_gpu = config.gpus.get(index).and_then(|gpu| gpu.delay_ms.get(symbol));
            of_gpu.or(config.delay_ms.get(symbol)).copied()
        })?;
        let gpu = config.gpus.get(index).ok_or(INVALID_ARGUMENT)?;
        refuse_if_lost(index)?;
        let error = [&gpu.errors, &config.errors]
            .into_iter()
            .find_map(|errors| errors.get(symbol).or_else(|| errors.get("*")))
            .copied();
        match error {
            Some(error) => Err(error),
            None => body(&Device { config: Arc::clone(&config), index, mig }),
        }
    })())
}

/// Refuses a GPU that is, or since the last initialisation was, off the bus.
pub(crate) fn refuse_if_lost(index: usize) -> Answer {
    if library().lost.contains(&index) { Err(GPU_IS_LOST) } else { Ok(()) }
}

pub(crate) fn initialise() -> ReturnCode {
    code((|| {
        let mut library = library();
        if library.references == 0 {
            *library = Library::new();
            library.source = configuration_path();
        }
        let config = library.refresh()?;
        if let Some(error) = config.init_error {
            return Err(error);
        }
        library.references += 1;
        Ok(())
    })())
}

pub(crate) fn shut_down() -> ReturnCode {
    let mut library = library();
    match library.references.checked_sub(1) {
        None => UNINITIALIZED,
        Some(left) => {
            library.references = left;
            nvml::nvmlReturn_enum_NVML_SUCCESS
        }
    }
}

pub(crate) fn create_event_set() -> Result<usize, ReturnCode> {
    let mut library = library();
    let config = library.current()?;
    library.next_event_set += 1;
    let id = library.next_event_set;
    // As with the real library, what happened before the set existed is not delivered.
    library.event_sets.insert(id, EventSet { delivered: config.events.len(), registered: BTreeMap::new() });
    Ok(id)
}

pub(crate) fn register_events(set: usize, gpu: usize, kinds: u64) -> Answer {
    let mut library = library();
    let set = library.event_sets.get_mut(&set).ok_or(INVALID_ARGUMENT)?;
    *set.registered.entry(gpu).or_default() |= kinds;
    Ok(())
}

pub(crate) fn free_event_set(set: usize) -> Answer {
    library().event_sets.remove(&set).map(|_| ()).ok_or(INVALID_ARGUMENT)
}

/// Waits for the next event of a registered GPU: `(gpu, kind, data)`.
pub(crate) fn wait_for_event(set: usize, patience: Duration) -> Result<(usize, u64, u64), ReturnCode> {
    let started = Instant::now();
    loop {
        if let Some(event) = next_event(set)? {
            return Ok(event);
        }
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_TIMEOUT);
        }
        std::thread::sleep(left.min(EVENT_TICK));
    }
}

fn next_event(set: usize) -> Result<Option<(usize, u64, u64)>, ReturnCode> {
    let mut library = library();
    let config = library.current()?;
    let set = library.event_sets.get_mut(&set).ok_or(INVALID_ARGUMENT)?;
    while let Some(event) = config.events.get(set.delivered) {
        set.delivered += 1;
        if set.registered.get(&event.gpu).is_some_and(|kinds| kinds & event.kind != 0) {
            return Ok(Some((event.gpu, event.kind, event.data)));
        }
    }
    Ok(None)
}

struct EventSet {
    /// How many of the configuration's events this set has passed.
    delivered: usize,
    registered: BTreeMap<usize, u64>,
}

struct Library {
    references: u32,
    source: Option<PathBuf>,
    loaded: Option<(Stamp, Result<Arc<MockConfig>, ReturnCode>)>,
    lost: BTreeSet<usize>,
    event_sets: BTreeMap<usize, EventSet>,
    next_event_set: usize,
}

/// What tells one version of the file from the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl From<Metadata> for Stamp {
    fn from(metadata: Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.size(),
        }
    }
}

impl Library {
    const fn new() -> Self {
        Self {
            references: 0,
            source: None,
            loaded: None,
            lost: BTreeSet::new(),
            event_sets: BTreeMap::new(),
            next_event_set: 0,
        }
    }

    fn current(&mut self) -> Result<Arc<MockConfig>, ReturnCode> {
        if self.references == 0 { Err(UNINITIALIZED) } else { self.refresh() }
    }

    /// Reads the file again when it changed and notes which GPUs fell off the bus.
    fn refresh(&mut self) -> Result<Arc<MockConfig>, ReturnCode> {
        let Some(source) = &self.source else {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED);
        };
        let Ok(metadata) = std::fs::metadata(source) else {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED);
        };
        let stamp = Stamp::from(metadata);
        if let Some((known, config)) = &self.loaded
            && *known == stamp
        {
            return config.clone();
        }
        let read = std::fs::read(source).map_err(|error| error.to_string());
        let parsed = read
            .and_then(|text| serde_json::from_slice::<MockConfig>(&text).map_err(|error| error.to_string()));
        let config = parsed.map(Arc::new).map_err(|error| {
            eprintln!("lode-nvml-mock: {}: {error}", source.display());
            nvml::nvmlReturn_enum_NVML_ERROR_UNKNOWN
        });
        if let Ok(config) = &config {
            let lost = config.gpus.iter().enumerate().filter(|(_, gpu)| gpu.lost);
            self.lost.extend(lost.map(|(index, _)| index));
        }
        self.loaded = Some((stamp, config.clone()));
        config
    }
}

/// The configuration once the call no longer hangs. `delay` may change while it does.
fn settled(delay: impl Fn(&MockConfig) -> Option<u64>) -> Result<Arc<MockConfig>, ReturnCode> {
    let started = Instant::now();
    loop {
        let config = library().current()?;
        let patience = Duration::from_millis(delay(&config).unwrap_or(0));
        if started.elapsed() >= patience {
            return Ok(config);
        }
        std::thread::sleep(HANG_TICK);
    }
}

fn library() -> MutexGuard<'static, Library> {
    LIBRARY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code(answer: Answer) -> ReturnCode {
    match answer {
        Ok(()) => nvml::nvmlReturn_enum_NVML_SUCCESS,
        Err(error) => error,
    }
}

fn configuration_path() -> Option<PathBuf> {
    let beside = own_file().map(|file| {
        let mut name = file.into_os_string();
        name.push(".json");
        PathBuf::from(name)
    });
    beside
        .filter(|path| path.exists())
        .or_else(|| std::env::var_os("LODE_NVML_MOCK_CONFIG").map(PathBuf::from))
}

/// The file this very code was mapped from, so that two copies of the library have two configurations.
fn own_file() -> Option<PathBuf> {
    let here = (own_file as fn() -> Option<PathBuf>) as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        if !range.contains(&here) {
            return None;
        }
        let (_, path) = rest.split_once('/')?;
        Some(PathBuf::from(format!("/{path}")))
    })
}

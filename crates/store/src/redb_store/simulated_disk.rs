//! A disk that forgets: unsynced writes may be lost at a crash, in any combination; it can run full, fail, and lose
//! power at any operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, StorageBackend};

use super::classify::Classifier;
use super::place::{Place, initialize};
use crate::conformance::Random;
use crate::error::StoreError;

/// Writes are torn at these borders.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone)]
enum Pending {
    Write { offset: usize, data: Vec<u8> },
    SetLength(usize),
}

#[derive(Debug, Default)]
struct Disk {
    durable: Vec<u8>,
    /// What a reader sees: durable plus pending.
    visible: Vec<u8>,
    pending: Vec<Pending>,
    /// Counts opens, so that a backend of before a crash can no longer write.
    generation: u64,
    capacity: Option<usize>,
    /// Operations until the power fails.
    fuse: Option<u64>,
    /// Whether syncs are silently dropped: such a disk must fail the suite.
    lies_about_sync: bool,
    operations: u64,
}

/// The disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<Disk>>);

impl SimulatedDisk {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No write may go beyond this many bytes.
    pub(super) fn set_capacity(&self, bytes: Option<usize>) {
        self.lock().capacity = bytes;
    }

    pub(super) fn visible_bytes(&self) -> usize {
        self.lock().visible.len()
    }

    /// After this many operations everything fails, as if the power were cut.
    pub(super) fn cut_power_after(&self, operations: u64) {
        self.lock().fuse = Some(operations);
    }

    pub(super) fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub(super) fn lie_about_sync(&self) {
        self.lock().lies_about_sync = true;
    }

    pub(super) fn durable_bytes(&self) -> Vec<u8> {
        self.lock().durable.clone()
    }

    /// Replaces the contents under whoever has it open, as restoring a backup does.
    pub(super) fn put_back(&self, bytes: Vec<u8>) {
        let mut disk = self.lock();
        disk.generation += 1;
        disk.pending.clear();
        disk.visible.clone_from(&bytes);
        disk.durable = bytes;
    }

    /// Flips one bit of what is durable.
    pub(super) fn flip_bit(&self, offset: usize) {
        let mut disk = self.lock();
        if let Some(byte) = disk.durable.get_mut(offset) {
            *byte ^= 1;
        }
        disk.visible = disk.durable.clone();
    }

    /// Loses power: of the unsynced writes, each sector reached the disk or not, by chance.
    pub(super) fn crash(&self, random: &mut Random) {
        let mut disk = self.lock();
        disk.generation += 1;
        disk.fuse = None;
        for operation in std::mem::take(&mut disk.pending) {
            match operation {
                Pending::SetLength(length) if random.below(2) == 0 => disk.durable.resize(length, 0),
                Pending::SetLength(_) => {}
                Pending::Write { offset, data } => {
                    for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                        if random.below(2) == 0 {
                            write_at(&mut disk.durable, offset + index * SECTOR_BYTES, sector);
                        }
                    }
                }
            }
        }
        disk.visible = disk.durable.clone();
    }
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("simulated disks are small")
}

/// One open of the disk.
#[derive(Debug)]
struct Backend {
    disk: SimulatedDisk,
    generation: u64,
}

impl Backend {
    fn operate(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk.lock();
        disk.operations += 1;
        let powered = match &mut disk.fuse {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        };
        if powered && disk.generation == self.generation {
            Ok(disk)
        } else {
            Err(io::Error::other("the power is off"))
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.operate()?.visible.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.operate()?;
        let start = size(offset);
        let source = disk
            .visible
            .get(start..start + out.len())
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(source);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // Like ftruncate(2), which makes a hole: space runs out when it is written to.
        let mut disk = self.operate()?;
        disk.visible.resize(size(length), 0);
        disk.pending.push(Pending::SetLength(size(length)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.operate()?;
        if !disk.lies_about_sync {
            disk.pending.clear();
            disk.durable = disk.visible.clone();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.operate()?;
        let offset = size(offset);
        if disk.capacity.is_some_and(|capacity| offset + data.len() > capacity) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        write_at(&mut disk.visible, offset, data);
        disk.pending.push(Pending::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

/// A database on such a disk.
#[derive(Debug)]
pub(super) struct SimulatedPlace(pub(super) SimulatedDisk);

impl Place for SimulatedPlace {
    fn open(&self) -> Result<Database, StoreError> {
        let classify = Classifier { path: self.path() };
        let (generation, new) = {
            let disk = self.0.lock();
            (disk.generation, disk.visible.is_empty())
        };
        let backend = Backend { disk: self.0.clone(), generation };
        let database = Builder::new()
            .set_cache_size(1 << 20)
            .create_with_backend(backend)
            .map_err(|error| classify.error("open", error))?;
        if new {
            initialize(&database, classify)?;
        }
        Ok(database)
    }

    fn path(&self) -> &Path {
        static PATH: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
        PATH.get_or_init(|| PathBuf::from("(simulated disk)"))
    }
}

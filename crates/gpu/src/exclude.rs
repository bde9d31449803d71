//! GPUs that their owner keeps: named by UUID or by PCI address, whichever is at hand.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use lode_protocol::ids::GpuUuid;
use serde::{Deserialize, Serialize};

use crate::inventory::{Gpu, Inventory};
use crate::sample::HealthSample;

/// What a GPU, or an instance of one, is called in a configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GpuName {
    /// `GPU-…` or `MIG-…`.
    Uuid(GpuUuid),
    /// Where it sits.
    Pci(PciAddress),
}

/// Domain, bus and device. The function of a GPU is always 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
}

/// A text that names no GPU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no GPU: write its UUID (`GPU-…`, see `nvidia-smi -L`) or its PCI address (`0000:3b:00.0`, see `lspci`)"
)]
pub struct NoGpuName(String);

impl FromStr for PciAddress {
    type Err = NoGpuName;

    /// Reads `3b:00.0`, `0000:3b:00.0` or NVML's `00000000:3B:00.0`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = || {
            let (place, function) = text.split_once('.').unwrap_or((text, "0"));
            let mut parts: Vec<&str> = place.split(':').collect();
            let (device, bus) = (parts.pop()?, parts.pop()?);
            let domain = parts.pop().unwrap_or("0");
            let fits = |part: &str, most: usize| {
                (1..=most).contains(&part.len()) && part.bytes().all(|letter| letter.is_ascii_hexdigit())
            };
            if !(parts.is_empty() && function == "0" && fits(domain, 8) && fits(bus, 2) && fits(device, 2)) {
                return None;
            }
            Some(PciAddress {
                domain: u32::from_str_radix(domain, 16).ok()?,
                bus: u8::from_str_radix(bus, 16).ok()?,
                device: u8::from_str_radix(device, 16).ok()?,
            })
        };
        address().ok_or_else(|| NoGpuName(text.to_owned()))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.0", self.domain, self.bus, self.device)
    }
}

impl FromStr for GpuName {
    type Err = NoGpuName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        match text.parse::<GpuUuid>() {
            Ok(uuid) => Ok(GpuName::Uuid(uuid)),
            Err(_) => text.parse().map(GpuName::Pci),
        }
    }
}

impl TryFrom<String> for GpuName {
    type Error = NoGpuName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<GpuName> for String {
    fn from(name: GpuName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for GpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuName::Uuid(uuid) => write!(f, "{uuid}"),
            GpuName::Pci(address) => write!(f, "{address}"),
        }
    }
}

impl GpuName {
    /// Digits are hexadecimal in either case.
    fn is(&self, other: &GpuUuid) -> bool {
        match self {
            GpuName::Uuid(uuid) => uuid.as_str().eq_ignore_ascii_case(other.as_str()),
            GpuName::Pci(_) => false,
        }
    }

    fn names(&self, gpu: &Gpu) -> bool {
        match self {
            GpuName::Uuid(_) => self.is(&gpu.uuid),
            GpuName::Pci(address) => {
                gpu.pci_bus_id.as_deref().and_then(|id| id.parse().ok()) == Some(*address)
            }
        }
    }
}

/// What an owner keeps, and which GPUs were found to be meant: one that is unreadable now is still kept.
#[derive(Clone, Debug, Default)]
pub struct Excluded {
    names: Vec<GpuName>,
    found: BTreeSet<GpuUuid>,
    used: BTreeSet<GpuName>,
}

impl Excluded {
    #[must_use]
    pub fn new(names: Vec<GpuName>) -> Self {
        Excluded { names, ..Self::default() }
    }

    /// Takes what is kept out of an inventory. An excluded GPU takes its instances with it.
    pub fn apply(&mut self, inventory: &mut Inventory) {
        for gpu in &inventory.gpus {
            for name in self.names.iter().filter(|name| name.names(gpu)) {
                self.used.insert(name.clone());
                self.found.insert(gpu.uuid.clone());
            }
            for instance in gpu.mig.iter().flat_map(|mig| &mig.instances) {
                for name in self.names.iter().filter(|name| name.is(&instance.uuid)) {
                    self.used.insert(name.clone());
                    self.found.insert(instance.uuid.clone());
                }
            }
        }
        for uuid in inventory.unreadable.iter().filter_map(|gpu| gpu.last_known_uuid.clone()) {
            for name in self.names.iter().filter(|name| name.is(&uuid)) {
                self.used.insert(name.clone());
                self.found.insert(uuid.clone());
            }
        }
        inventory.gpus.retain(|gpu| !self.found.contains(&gpu.uuid));
        for mig in inventory.gpus.iter_mut().filter_map(|gpu| gpu.mig.as_mut()) {
            mig.instances.retain(|instance| !self.found.contains(&instance.uuid));
        }
        let kept = |uuid: &Option<GpuUuid>| uuid.as_ref().is_some_and(|uuid| self.found.contains(uuid));
        inventory.unreadable.retain(|gpu| !kept(&gpu.last_known_uuid));
    }

    /// Takes it out of a round of health.
    pub fn apply_to_sample(&self, sample: &mut HealthSample) {
        sample.readings.retain(|reading| !self.found.contains(&reading.uuid));
        let kept = |uuid: &Option<GpuUuid>| uuid.as_ref().is_some_and(|uuid| self.found.contains(uuid));
        sample.unreadable.retain(|gpu| !kept(&gpu.last_known_uuid));
    }

    /// Whether a GPU was found to be meant.
    #[must_use]
    pub fn keeps(&self, uuid: &GpuUuid) -> bool {
        self.found.contains(uuid)
    }

    /// Names that were never those of a GPU of this host.
    pub fn unused(&self) -> impl Iterator<Item = &GpuName> {
        self.names.iter().filter(|name| !self.used.contains(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_the_same_in_every_spelling_and_other_texts_are_none() {
        let address = "0000:3b:00.0".parse::<PciAddress>().unwrap();
        for same in ["00000000:3B:00.0", "3b:00.0", "3b:00", "0:3b:0.0"] {
            assert_eq!(same.parse::<PciAddress>(), Ok(address), "{same}");
        }
        assert_ne!("0001:3b:00.0".parse::<PciAddress>(), Ok(address));
        for wrong in ["", "3b", "3b:00.1", "gpu0", "0", "1:2:3:4.0", "3bb:00.0", "0000:3b:00.0 "] {
            assert!(wrong.parse::<PciAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_a_uuid_or_an_address_and_says_what_to_write() {
        assert_eq!("GPU-1a".parse::<GpuName>().unwrap().to_string(), "GPU-1a");
        assert_eq!("3B:00.0".parse::<GpuName>().unwrap().to_string(), "0000:3b:00.0");
        let error = "first".parse::<GpuName>().unwrap_err().to_string();
        assert!(error.contains("nvidia-smi -L") && error.contains("0000:3b:00.0"), "{error}");
    }
}

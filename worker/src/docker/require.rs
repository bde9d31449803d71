//! What an image says that it needs of the driver: `NVIDIA_REQUIRE_CUDA=cuda>=12.8 brand=tesla,driver>=470,driver<471`.
//!
//! NVIDIA's own check never sees it, because these variables are emptied in every container: so it is made here, before
//! there is a container. As there: words are alternatives, what is between commas must hold together, and all variables
//! must hold (libnvidia-container, "requirements"). What cannot be read, and what is not known of the node, is not held
//! against it. Pure.

use lode_protocol::hardware::SoftwareVersion;

const PREFIX: &str = "NVIDIA_REQUIRE_";
const DISABLED: &str = "NVIDIA_DISABLE_REQUIRE";
/// Longest requirement that is repeated to people, in bytes.
const MOST_TEXT: usize = 160;
/// The longer ones first: `>` is the beginning of `>=`.
const COMPARISONS: [(&str, Comparison); 7] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("!=", Comparison::Differs),
    ("==", Comparison::Is),
    (">", Comparison::Above),
    ("<", Comparison::Below),
    ("=", Comparison::Is),
];

#[derive(Clone, Copy, Debug)]
enum Comparison {
    AtLeast,
    AtMost,
    Differs,
    Is,
    Above,
    Below,
}

/// What a node has for a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) cuda: Option<SoftwareVersion>,
    pub(super) driver: Option<SoftwareVersion>,
    /// The GPUs of the task.
    pub(super) gpus: Vec<HostGpu>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub(super) struct HostGpu {
    /// Compute capability.
    pub(super) architecture: Option<(u32, u32)>,
    /// As NVML has it, in lower case.
    pub(super) brand: Option<String>,
}

/// What an image with these variables lacks on a host, in words.
pub(super) fn shortfall(image_env: &[String], host: &Host) -> Option<String> {
    let variables = || image_env.iter().filter_map(|entry| entry.split_once('='));
    let is_true = |value: &str| matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "t" | "true");
    if variables().any(|(name, value)| name == DISABLED && is_true(value)) {
        return None;
    }
    let lacking = variables()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .find(|(_, value)| !host.gpus.iter().all(|gpu| holds(value, host, gpu)));
    let (name, value) = lacking?;
    let shown = |version: Option<SoftwareVersion>| {
        version.map_or_else(|| "unknown".to_owned(), |known| known.to_string())
    };
    let advice = match cuda_of(value) {
        Some(version) => format!(
            "; nodes that have it are found with a constraint: key = \"cuda\", operator = \"at-least\", values = [\"{version}\"]"
        ),
        None => String::new(),
    };
    Some(format!(
        "the image asks for {name}={}, and this node's driver {} runs CUDA up to {}{advice}",
        value.get(..value.floor_char_boundary(MOST_TEXT)).unwrap_or_default(),
        shown(host.driver),
        shown(host.cuda),
    ))
}

/// The version of CUDA that the first alternative asks for.
fn cuda_of(requirement: &str) -> Option<SoftwareVersion> {
    let first = requirement.split_whitespace().next()?;
    first.split(',').find_map(|part| SoftwareVersion::parse(part.strip_prefix("cuda>=")?))
}

fn holds(requirement: &str, host: &Host, gpu: &HostGpu) -> bool {
    let mut alternatives = requirement.split_whitespace().peekable();
    // An empty requirement asks for nothing.
    alternatives.peek().is_none()
        || alternatives
            .any(|all| all.split(',').filter(|part| !part.is_empty()).all(|part| part_holds(part, host, gpu)))
}

fn part_holds(part: &str, host: &Host, gpu: &HostGpu) -> bool {
    let parsed = COMPARISONS
        .iter()
        .filter_map(|(sign, comparison)| part.split_once(sign).map(|(key, value)| (key, *comparison, value)))
        .min_by_key(|(key, _, _)| key.len());
    let Some((key, comparison, value)) = parsed else { return true };
    let known = match key {
        "cuda" => host.cuda,
        "driver" => host.driver,
        "arch" => {
            gpu.architecture.and_then(|(major, minor)| SoftwareVersion::parse(&format!("{major}.{minor}")))
        }
        "brand" => {
            let Some(brand) = &gpu.brand else { return true };
            return match comparison {
                Comparison::Is => brand == value,
                Comparison::Differs => brand != value,
                Comparison::AtLeast | Comparison::AtMost | Comparison::Above | Comparison::Below => true,
            };
        }
        _ => return true,
    };
    let (Some(known), Some(wanted)) = (known, SoftwareVersion::parse(value)) else { return true };
    match comparison {
        Comparison::AtLeast => known >= wanted,
        Comparison::AtMost => known <= wanted,
        Comparison::Differs => known != wanted,
        Comparison::Is => known == wanted,
        Comparison::Above => known > wanted,
        Comparison::Below => known < wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cuda: &str, driver: &str, brand: &str) -> Host {
        let gpu = HostGpu { architecture: Some((8, 9)), brand: Some(brand.to_owned()) };
        Host { cuda: SoftwareVersion::parse(cuda), driver: SoftwareVersion::parse(driver), gpus: vec![gpu] }
    }

    fn lacks(variables: &[&str], host: &Host) -> bool {
        let env: Vec<String> = variables.iter().map(|entry| (*entry).to_owned()).collect();
        shortfall(&env, host).is_some()
    }

    #[test]
    fn an_image_that_needs_a_newer_cuda_is_not_for_this_node_and_the_way_on_is_named() {
        let old = host("12.2", "535.183.01", "geforce");
        let env = vec!["PATH=/bin".to_owned(), "NVIDIA_REQUIRE_CUDA=cuda>=12.8".to_owned()];
        let text = shortfall(&env, &old).unwrap();
        assert!(
            text.contains("cuda>=12.8") && text.contains("up to 12.2") && text.contains("at-least"),
            "{text}"
        );
        assert!(!lacks(&["NVIDIA_REQUIRE_CUDA=cuda>=12.8"], &host("12.8", "570.1", "geforce")));
        assert!(
            !lacks(&["NVIDIA_REQUIRE_CUDA=cuda>=12.8"], &host("12.10", "570.1", "geforce")),
            "numbers, not letters"
        );
    }

    #[test]
    fn one_alternative_is_enough_and_all_of_its_parts_must_hold() {
        let real = "NVIDIA_REQUIRE_CUDA=cuda>=12.8 brand=unknown,driver>=470,driver<471 brand=tesla,driver>=535,driver<536 brand=nvidia,driver>=535,driver<536";
        assert!(
            !lacks(&[real], &host("12.2", "535.183.01", "tesla")),
            "forward compatibility of data centre cards"
        );
        assert!(lacks(&[real], &host("12.2", "535.183.01", "geforce")));
        assert!(lacks(&[real], &host("12.2", "545.1", "tesla")));
    }

    #[test]
    fn every_variable_must_hold_for_every_gpu_unless_the_image_waives_it() {
        let mut two = host("13.0", "580.95.05", "nvidia");
        two.gpus.push(HostGpu { architecture: Some((7, 5)), brand: Some("nvidia".to_owned()) });
        let arch = "NVIDIA_REQUIRE_ARCH=arch>=8.0";
        assert!(lacks(&["NVIDIA_REQUIRE_CUDA=cuda>=12.0", arch], &two));
        assert!(!lacks(&[arch], &host("13.0", "580.95.05", "nvidia")));
        assert!(!lacks(&[arch, "NVIDIA_DISABLE_REQUIRE=true"], &two));
        assert!(lacks(&[arch, "NVIDIA_DISABLE_REQUIRE=false"], &two));
    }

    #[test]
    fn what_cannot_be_read_or_is_not_known_is_not_held_against_a_node() {
        let node = host("12.2", "535.1", "nvidia");
        for text in ["", "cuda", "cuda>=latest", "colour=red", ",,"] {
            assert!(!lacks(&[&format!("NVIDIA_REQUIRE_CUDA={text}")], &node), "{text}");
        }
        let unknown = Host { gpus: vec![HostGpu::default()], ..Host::default() };
        assert!(!lacks(&["NVIDIA_REQUIRE_CUDA=cuda>=12.8"], &unknown));
    }
}

//! How much memory a GPU is sold with, by what its driver shows of it: people ask for the one, and NVML tells the other.
//!
//! Three things lie between them. The driver keeps some for itself (an H100 of 80 GiB shows 79.65). ECC on GDDR memory
//! takes a sixteenth (an L4 of 24 GiB shows 22.49, an L40S of 48 GiB 44.99). And large stacks are not used to the end (a
//! B200 of 192 GiB shows 179). What is missing is at most a twelfth, so that the size is found again as the largest one
//! that memory chips make and that is not further above; a name that says the size is believed within the same bounds.

use super::model::named_gigabytes;
use crate::units::Bytes;

const GIB: u64 = 1 << 30;
/// What a driver keeps for itself, at least; on large GPUs a fiftieth.
const KEPT: u64 = 256 << 20;
const KEPT_SHARE: u64 = 50;
/// Shown memory is at least so much of what is sold, in per cent.
const SHOWN_PERCENT: u64 = 92;
/// The same where a name says what is sold: instances (MIG) are named by rounded sizes.
const SHOWN_OF_NAMED_PERCENT: u64 = 85;
/// Sizes that are made: multiples of the second up to the first.
const STEPS: [(u64, u64); 3] = [(36 * GIB, 4 * GIB), (64 * GIB, 8 * GIB), (u64::MAX, 96 * GIB)];

/// The most memory that somebody may ask for and still mean a GPU of this name that shows so much.
pub fn nominal_memory(shown: Bytes, name: Option<&str>) -> Bytes {
    if shown == Bytes(0) {
        return shown;
    }
    let kept = shown.0.saturating_add((shown.0 / KEPT_SHARE).max(KEPT));
    let grown = of_share(shown.0, SHOWN_PERCENT);
    let step = STEPS.iter().find(|(until, _)| grown <= *until).map_or(GIB, |(_, step)| *step);
    let made = grown - grown % step;
    let bound = of_share(shown.0, SHOWN_OF_NAMED_PERCENT);
    let named = name.into_iter().flat_map(named_gigabytes).map(|number| number.saturating_mul(GIB));
    let named = named.filter(|size| *size <= bound).max().unwrap_or(0);
    Bytes(kept.max(made).max(named))
}

/// Whether a GPU of this name that shows so much has the memory that is wanted.
pub fn has_memory(shown: Bytes, name: Option<&str>, wanted: Bytes) -> bool {
    wanted <= shown || wanted <= nominal_memory(shown, name)
}

/// Whether a GPU that shows so much is sold with this size, and not with a smaller one.
pub(super) fn is_nominally(shown: Bytes, sold: Bytes) -> bool {
    let tolerance = sold.0 / KEPT_SHARE;
    sold <= nominal_memory(shown, None) && shown.0 <= sold.0.saturating_add(tolerance)
}

fn of_share(part: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(percent)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What NVML shows, in MiB; what the card is sold with; the next size, which it is not.
    const CARDS: [(&str, u64, u64, u64); 22] = [
        ("NVIDIA L4", 23_034, 24, 28),
        ("NVIDIA A10", 22_731, 24, 28),
        ("NVIDIA A10G", 23_028, 24, 28),
        ("NVIDIA GeForce RTX 4090", 24_564, 24, 28),
        ("Tesla P40", 22_919, 24, 28),
        ("Tesla T4", 15_109, 16, 20),
        ("Tesla T4", 15_360, 16, 20),
        ("NVIDIA A2", 15_356, 16, 20),
        ("Tesla V100-SXM2-32GB", 32_510, 32, 40),
        ("NVIDIA A100-SXM4-40GB", 40_960, 40, 48),
        ("NVIDIA L40S", 46_068, 48, 56),
        ("NVIDIA RTX A6000", 49_140, 48, 56),
        ("NVIDIA H100 80GB HBM3", 81_559, 80, 84),
        ("NVIDIA A100 80GB PCIe", 81_920, 80, 84),
        ("NVIDIA H100 NVL", 95_830, 94, 98),
        ("NVIDIA H200", 143_771, 141, 150),
        ("NVIDIA B200", 183_359, 192, 200),
        ("NVIDIA GH200 480GB", 97_871, 96, 120),
        ("NVIDIA GeForce GTX 1080 Ti", 11_178, 11, 12),
        ("NVIDIA GeForce RTX 3080", 10_018, 10, 11),
        ("Tesla K80", 11_441, 12, 13),
        ("NVIDIA T400 4GB", 3_897, 4, 5),
    ];

    #[test]
    fn a_card_has_what_it_is_sold_with_in_both_ways_to_count_and_never_the_next_size() {
        for (name, shown, sold, next) in CARDS {
            let shown = Bytes::mebi(shown);
            assert!(has_memory(shown, Some(name), Bytes::gibi(sold)), "{name}: {sold} GiB");
            assert!(has_memory(shown, Some(name), Bytes(sold * 1_000_000_000)), "{name}: {sold} GB");
            assert!(has_memory(shown, None, Bytes::gibi(sold)), "{sold} GiB without a name");
            assert!(!has_memory(shown, Some(name), Bytes::gibi(next)), "{name}: not {next} GiB");
        }
    }

    #[test]
    fn an_instance_has_what_its_profile_says_and_not_what_its_gpu_has() {
        let name = Some("NVIDIA A100-SXM4-80GB MIG 1g.10gb");
        assert!(has_memory(Bytes::mebi(9_728), name, Bytes::gibi(10)));
        assert!(!has_memory(Bytes::mebi(9_728), name, Bytes::gibi(20)));
        assert!(!has_memory(Bytes::mebi(9_728), name, Bytes::gibi(80)));
    }

    #[test]
    fn a_name_is_not_believed_where_the_memory_is_somewhere_else() {
        let grace = Some("NVIDIA GH200 480GB");
        assert!(!has_memory(Bytes::mebi(97_871), grace, Bytes::gibi(480)));
        assert_eq!(nominal_memory(Bytes(0), grace), Bytes(0));
        assert!(has_memory(Bytes(0), None, Bytes(0)));
    }
}

//! A program that crashes leaves no image of its memory behind: keys are in there.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Forbids them to this process and to what it starts.
pub(crate) fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if getrlimit(Resource::Core) == none {
        return;
    }
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "cannot forbid core dumps; a crash may write keys to the disk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_no_image_of_the_memory() {
        forbid();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }
}

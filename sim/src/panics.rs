//! A core that panics breaks an invariant like any other: its seed is named, shrunk and run again.
//!
//! While a run is watched, its thread's panics are not printed (shrinking makes hundreds of them) but kept, with their
//! place. Those of other threads are printed as ever.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::invariants::Broken;

/// The invariant that a panic breaks.
pub const NO_PANIC: &str = "no core panics";

static HOOK: Once = Once::new();

thread_local! {
    /// What this thread's watched run panicked with; the outer `None`: nothing is watched.
    static WATCHED: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Does the work; a panic in it is what is broken.
pub(crate) fn watch(work: impl FnOnce() -> Result<(), Broken>) -> Result<(), Broken> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !keep(info) {
                before(info);
            }
        }));
    });
    WATCHED.replace(Some(None));
    let ended = catch_unwind(AssertUnwindSafe(work));
    let said = WATCHED.take().flatten();
    ended.unwrap_or_else(|_| {
        let seen = said.unwrap_or_else(|| "a panic without words".to_owned());
        Err(Broken { invariant: NO_PANIC, seen })
    })
}

/// Whether this thread is watched: then its panic is kept.
fn keep(info: &PanicHookInfo<'_>) -> bool {
    WATCHED.with_borrow_mut(|watched| {
        let Some(said) = watched else { return false };
        // The first one; a second one while it unwinds ends the process anyway.
        said.get_or_insert_with(|| {
            let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
            format!("{}{place}", info.payload_as_str().unwrap_or("a panic"))
        });
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_breaks_an_invariant_and_says_what_and_where() {
        let broken = watch(|| {
            "nothing".parse::<u8>().expect("there is a number");
            Ok(())
        })
        .unwrap_err();
        assert_eq!(broken.invariant, NO_PANIC);
        assert!(broken.seen.contains("there is a number") && broken.seen.contains("panics.rs"), "{broken:?}");
        // What breaks without a panic stays what it is, and so does what holds.
        let other = Broken { invariant: "another", seen: String::new() };
        assert_eq!(watch(|| Err(other.clone())), Err(other.clone()));
        assert_eq!(watch(|| Ok(())), Ok(()));
    }
}

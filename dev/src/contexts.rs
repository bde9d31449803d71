//! The context of a dev pool: in its own folder, and among the person's while the pool runs.

use std::path::Path;

use lode_cli::context::{Contexts, PoolContext};

/// Name of the first pool's context; others get a number.
const NAME: &str = "dev";

/// Writes the pool's context into its own folder.
pub(super) fn write_own(path: &Path, context: &PoolContext) -> anyhow::Result<()> {
    Contexts::change(path, |contexts| {
        contexts.contexts.insert(NAME.to_owned(), context.clone());
        contexts.current = Some(NAME.to_owned());
        Ok(())
    })
}

/// A context that was added, and what was current before.
#[derive(Clone, Debug)]
pub(super) struct Added {
    pub(super) name: String,
    previous: Option<String>,
}

/// Adds the pool to the person's contexts as the current one. A name whose pool lives is not taken.
pub(super) fn add(path: &Path, context: &PoolContext) -> anyhow::Result<Added> {
    Contexts::change(path, |contexts| {
        let is_free = |name: &str| match contexts.contexts.get(name).map(|known| &known.dev) {
            None => true,
            Some(None) => false,
            Some(Some(folder)) => context.dev.as_ref() == Some(folder) || !lives(folder),
        };
        let numbered = (2..).map(|number| format!("{NAME}-{number}"));
        let name =
            std::iter::once(NAME.to_owned()).chain(numbered).find(|name| is_free(name)).unwrap_or_default();
        contexts.contexts.insert(name.clone(), context.clone());
        let previous = contexts.current.replace(name.clone()).filter(|previous| *previous != name);
        Ok(Added { name, previous })
    })
}

/// Takes the pool from the person's contexts, if it is still the one meant by the name.
pub(super) fn remove(path: &Path, added: &Added, folder: &Path) -> anyhow::Result<()> {
    Contexts::change(path, |contexts| {
        let ours =
            contexts.contexts.get(&added.name).is_some_and(|known| known.dev.as_deref() == Some(folder));
        if ours {
            let was_current = contexts.current.as_deref() == Some(added.name.as_str());
            contexts.remove(&added.name);
            if was_current && added.previous.as_ref().is_some_and(|name| contexts.contexts.contains_key(name))
            {
                contexts.current.clone_from(&added.previous);
            }
        }
        Ok(())
    })
}

/// Whether a pool listens in this folder.
fn lives(folder: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(crate::plan::Layout::of(folder).control_socket()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(folder: &Path) -> PoolContext {
        PoolContext {
            url: "http://127.0.0.1:1".to_owned(),
            dev: Some(folder.to_owned()),
            ..PoolContext::default()
        }
    }

    #[test]
    fn a_dev_pool_becomes_the_current_context_and_gives_the_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        Contexts::change(&path, |contexts| {
            contexts.contexts.insert("work".to_owned(), PoolContext::default());
            contexts.current = Some("work".to_owned());
            Ok(())
        })
        .unwrap();
        let pool = folder.path().join("pool");
        std::fs::create_dir(&pool).unwrap();
        let added = add(&path, &context(&pool)).unwrap();
        assert_eq!(added.name, "dev");
        assert_eq!(Contexts::load(&path).unwrap().current.as_deref(), Some("dev"));
        remove(&path, &added, &pool).unwrap();
        let after = Contexts::load(&path).unwrap();
        assert_eq!(after.current.as_deref(), Some("work"));
        assert!(!after.contexts.contains_key("dev"));
    }

    #[test]
    fn a_second_pool_takes_another_name_while_the_first_lives_and_its_name_when_it_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::create_dir(&first).unwrap();
        std::fs::create_dir(&second).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(first.join("control.sock")).unwrap();
        assert_eq!(add(&path, &context(&first)).unwrap().name, "dev");
        assert_eq!(add(&path, &context(&second)).unwrap().name, "dev-2");
        drop(listener);
        assert_eq!(add(&path, &context(&second)).unwrap().name, "dev");
    }
}

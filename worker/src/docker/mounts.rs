//! What of a container's files is writable and in memory: `/tmp`, and the volumes that its image declares.
//!
//! The engine would make a directory on the host's disk for every `VOLUME`, without a limit and past a read-only root
//! (ADR 0003). Each gets a bounded tmpfs instead, which counts as the task's memory. Every tmpfs names its mode: without
//! one it takes over that of the directory below it, and that is 0755 once a runtime has made it for the first start.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use bollard::models::{Mount, MountTmpfsOptions, MountType};
use lode_protocol::units::Bytes;

use crate::core::event::EngineFailure;

/// Where a task may always write.
pub(super) const TMP: &str = "/tmp";
/// Everybody may write, and remove what is his own.
const MODE: u32 = 0o1777;
/// Volumes of one image: each is a mount that the host's kernel keeps.
const MOST_VOLUMES: usize = 64;
/// What the runtime makes itself, with everything below it.
const RUNTIME: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Options of a tmpfs in the short form. It belongs to the image's `USER` where that is a number: runtimes (runc before 1.2)
/// put the mode of the directory below it over ours, 0755 at a second start of an image without that directory, and then
/// only its owner may write. Names only the engine can read; images that have them have an `/etc`, and a `/tmp`.
pub(super) fn tmpfs_options(size: Bytes, user: &str) -> String {
    let mut options = format!("rw,exec,nosuid,nodev,mode={MODE:o},size={}", size.0);
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    for (option, id) in [("uid", user), ("gid", group)] {
        if let Ok(id) = id.parse::<u32>() {
            options.push_str(&format!(",{option}={id}"));
        }
    }
    options
}

/// A tmpfs for each volume of an image, but where there is a mount already.
pub(super) fn volumes(
    declared: &[String],
    size: Bytes,
    mounted: &BTreeSet<PathBuf>,
) -> Result<Vec<Mount>, EngineFailure> {
    let mut paths = BTreeSet::new();
    for text in declared {
        let path = resolved(text).filter(|path| path.parent().is_some());
        let Some(path) = path else {
            return Err(refused(&format!("a volume at {text:?}: use an absolute path below /")));
        };
        // It is there, and bounded by the task's shared memory.
        if path == Path::new("/dev/shm") {
            continue;
        }
        if RUNTIME.iter().any(|own| path.starts_with(own)) {
            return Err(refused(&format!("a volume at {text:?}, which belongs to the system")));
        }
        paths.insert(path);
    }
    paths.retain(|path| path != Path::new(TMP) && !mounted.contains(path));
    if paths.len() > MOST_VOLUMES {
        return Err(refused(&format!("{} volumes; at most {MOST_VOLUMES} can be given", paths.len())));
    }
    Ok(paths.into_iter().map(|path| tmpfs(&path, size)).collect())
}

fn refused(what: &str) -> EngineFailure {
    EngineFailure::CannotStart(format!("the image declares {what}; build one without it"))
}

fn tmpfs(path: &Path, size: Bytes) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.display().to_string()),
        read_only: Some(false),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(i64::try_from(size.0).unwrap_or(i64::MAX)),
            mode: Some(MODE.into()),
            // Engines before API 1.46 do not read this: there programs in volumes cannot be run.
            options: Some(vec![vec!["exec".to_owned()]]),
        }),
        ..Default::default()
    }
}

/// The path as the kernel would walk it, where nothing is a link; `None` if it is not absolute.
fn resolved(text: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::RootDir => path.push("/"),
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::Prefix(_) => return None,
        }
    }
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(declared: &[&str], mounted: &[&str]) -> Result<Vec<String>, EngineFailure> {
        let declared: Vec<String> = declared.iter().map(ToString::to_string).collect();
        let mounted = mounted.iter().map(PathBuf::from).collect();
        let mounts = volumes(&declared, Bytes(1), &mounted)?;
        Ok(mounts.into_iter().map(|mount| mount.target.unwrap()).collect())
    }

    #[test]
    fn every_volume_gets_one_tmpfs_however_its_path_is_written() {
        let paths = ["/data", "/data/", "//data", "/x/../data", "/var/lib/a", "/tmp", "/tmp/", "/dev/shm"];
        assert_eq!(targets(&paths, &[]).unwrap(), ["/data", "/var/lib/a"]);
        assert_eq!(targets(&paths, &["/data"]).unwrap(), ["/var/lib/a"], "what is mounted there stays");
    }

    #[test]
    fn volumes_where_the_system_lives_are_the_image_s_mistake() {
        for path in ["/", "", "data", "/..", "/proc", "/proc/x", "/sys/../dev", "/dev"] {
            let refused = targets(&[path], &[]);
            assert!(matches!(refused, Err(EngineFailure::CannotStart(_))), "{path:?}: {refused:?}");
        }
        let many: Vec<String> = (0..65).map(|number| format!("/v{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(targets(&many[1..], &[]).unwrap().len(), 64);
        assert!(matches!(targets(&many, &[]), Err(EngineFailure::CannotStart(_))));
    }

    #[test]
    fn every_tmpfs_is_writable_for_everybody_and_bounded() {
        let options = "rw,exec,nosuid,nodev,mode=1777,size=8";
        for (user, owner) in [
            ("", ""),
            ("0", ",uid=0"),
            ("65534", ",uid=65534"),
            ("65532:65533", ",uid=65532,gid=65533"),
            ("1000:staff", ",uid=1000"),
            ("nobody", ""),
            ("-1:x", ""),
        ] {
            assert_eq!(tmpfs_options(Bytes(8), user), format!("{options}{owner}"), "{user}");
        }
        let mounts = volumes(&["/data".to_owned()], Bytes(8), &BTreeSet::new()).unwrap();
        let options = mounts[0].tmpfs_options.clone().unwrap();
        assert_eq!((options.mode, options.size_bytes), (Some(0o1777), Some(8)));
    }
}

//! Leaving nothing behind: containers and networks of a pool's nodes, images that only we needed, folders of pools that
//! were killed.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, RemoveContainerOptions, RemoveImageOptions,
};
use lode_api_types::TaskState;
use lode_cli::api::Api;
use lode_program::files::DataDir;
use lode_protocol::ids::{Address, NodeId};
use tokio::time::Instant;

use crate::plan::{Keys, Layout};
use crate::ports;
use crate::processes::STOP_ORDER;
use crate::supervisor::Supervisor;

/// The label by which workers know their containers and networks.
const NODE_LABEL: &str = "lode.node";
/// Beginning of the names of temporary pools' folders.
pub(crate) const PREFIX: &str = "lode-dev-";
/// A folder with this file in it stays.
pub(crate) const KEEP_MARK: &str = "kept";
/// How long tasks may take to stop.
const TASKS_PATIENCE: Duration = Duration::from_secs(20);

/// Deletes all tasks and waits until their containers are gone: the pool's own way, while it still works.
pub(crate) async fn delete_tasks(api: &Api) -> anyhow::Result<()> {
    let deadline = Instant::now() + TASKS_PATIENCE;
    loop {
        let tasks = api.tasks(None, usize::MAX).await?.items;
        if tasks.is_empty() {
            return Ok(());
        }
        for task in &tasks {
            if task.state != TaskState::Deleting {
                api.delete_task(task.id).await?;
            }
        }
        anyhow::ensure!(Instant::now() < deadline, "{} tasks did not stop in time", tasks.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Ends all processes, those that depend on others first.
pub(crate) async fn stop_processes(supervisor: &Supervisor) {
    for group in STOP_ORDER {
        let known = supervisor.list();
        let stops =
            group.iter().filter(|name| known.contains_key(*name)).map(|name| supervisor.stop(name, false));
        for result in futures::future::join_all(stops).await {
            if let Err(error) = result {
                tracing::warn!(%error, "a process could not be stopped");
            }
        }
    }
}

/// Removes containers and networks that carry the label of these nodes. Gives how many there were.
pub(crate) async fn sweep(docker: &Docker, nodes: &[Address]) -> anyhow::Result<usize> {
    let mut removed = 0;
    for node in nodes {
        let label = format!("{NODE_LABEL}={}", NodeId(*node));
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptions {
            all: true,
            filters: Some(filters.clone()),
            ..ListContainersOptions::default()
        };
        for container in docker.list_containers(Some(options)).await.context("listing containers")? {
            let Some(id) = container.id else { continue };
            let options =
                RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
            unless_gone(docker.remove_container(&id, Some(options)).await).context("removing a container")?;
            removed += 1;
        }
        let options = ListNetworksOptions { filters: Some(filters) };
        for network in docker.list_networks(Some(options)).await.context("listing networks")? {
            let Some(id) = network.id else { continue };
            unless_gone(docker.remove_network(&id).await).context("removing a network")?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn unless_gone(result: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        // A worker's own request to remove it is still being carried out: it will be gone.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, message })
            if message.contains("already in progress") =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Removes images that were not there before us, unless another pool may need them.
pub(crate) async fn remove_images(docker: &Docker, images: &[String]) {
    if images.is_empty() || ports::pools_alive() > 1 {
        return;
    }
    for image in images {
        // An image that somebody uses by now stays: the engine refuses.
        let _ = docker.remove_image(image, None::<RemoveImageOptions>, None).await;
    }
}

/// Tidies up after temporary pools whose process was killed.
pub(crate) async fn sweep_dead_pools(docker: &Docker, temporary: &Path) {
    let Ok(entries) = std::fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Err(error) = sweep_dead_pool(docker, &path).await
        {
            tracing::warn!(path = %path.display(), %error, "the remains of a dead dev pool could not be removed");
        }
    }
}

async fn sweep_dead_pool(docker: &Docker, path: &Path) -> anyhow::Result<()> {
    let layout = Layout::of(path);
    if !layout.plan().is_file() || path.join(KEEP_MARK).exists() {
        return Ok(());
    }
    // A pool that lives holds the lock.
    let Ok(lock) = DataDir::open(path) else { return Ok(()) };
    if let Ok(keys) = Keys::load(&layout) {
        sweep(docker, &keys.nodes()).await?;
    }
    std::fs::remove_dir_all(path)?;
    drop(lock);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::API_DEFAULT_VERSION;

    #[tokio::test]
    async fn folders_of_living_and_kept_pools_are_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let pool = |name: &str| {
            let path = temporary.path().join(format!("{PREFIX}{name}"));
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("plan.json"), "{}").unwrap();
            path
        };
        let (living, kept, dead, foreign) =
            (pool("living"), pool("kept"), pool("dead"), temporary.path().join("other"));
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(kept.join(KEEP_MARK), "").unwrap();
        let _lock = DataDir::open(&living).unwrap();
        // Without keys nothing is asked of the engine, so that none is needed.
        let socket = temporary.path().join("docker.sock");
        std::fs::write(&socket, "").unwrap();
        let docker = Docker::connect_with_unix(socket.to_str().unwrap(), 1, API_DEFAULT_VERSION).unwrap();
        sweep_dead_pools(&docker, temporary.path()).await;
        assert!(living.exists() && kept.exists() && foreign.exists());
        assert!(!dead.exists());
    }
}

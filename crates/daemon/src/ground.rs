//! What a daemon stands on: its directory, locked; its store, with the thread that writes it; its health.
//!
//! The lock and the thread end last: [`Ground::hold`] keeps them until everything that was queued is durable.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use lode_program::files::DataDir;
use lode_program::listen::{self, Hosts};
use lode_program::{Health, Program};
use lode_store::{RedbOptions, RedbStore, Store, Writer, WriterLimits, WriterThread};

use crate::HealthConfig;

/// Where a daemon remembers.
#[derive(Debug)]
pub enum Storage {
    /// In a file of its directory.
    File {
        /// Its name.
        name: &'static str,
        /// How it is opened.
        options: RedbOptions,
    },
    /// Elsewhere.
    Given(Arc<dyn Store>),
}

impl Storage {
    /// A file of this name, opened as usual.
    #[must_use]
    pub fn file(name: &'static str) -> Self {
        Storage::File { name, options: RedbOptions::default() }
    }
}

/// What is open before anything of the daemon's own begins.
#[derive(Debug)]
pub struct Ground {
    /// Its directory: no other process has it.
    pub data: DataDir,
    /// What it remembers.
    pub store: Arc<dyn Store>,
    /// How it adds to that.
    pub writer: Writer,
    /// How it does.
    pub health: Health,
    thread: WriterThread,
}

impl Ground {
    /// Opens it.
    ///
    /// # Errors
    /// When another process has the directory, or the store cannot be opened.
    pub fn open(data_dir: &Path, storage: Storage) -> anyhow::Result<Self> {
        let data = DataDir::open(data_dir)?;
        let store: Arc<dyn Store> = match storage {
            Storage::Given(store) => store,
            Storage::File { name, options } => {
                let path = data.join(name);
                let opened = RedbStore::open(&path, options);
                Arc::new(opened.with_context(|| format!("cannot open {}", path.display()))?)
            }
        };
        let (writer, thread) = Writer::start(Arc::clone(&store), WriterLimits::default())
            .context("cannot start the store's thread")?;
        Ok(Self { data, store, writer, health: Health::new(), thread })
    }

    /// Serves `/livez`, `/readyz`, `/metrics` and `more` where that is wanted; says where.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve_health(
        &self,
        program: &Program,
        config: &HealthConfig,
        more: Router,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let Some(address) = config.listen else { return Ok(None) };
        let bound = listen::bind("health", address).await?;
        let address = bound.address;
        let router = more.merge(self.health.router());
        let hosts = Hosts::new(config.hosts.clone(), "health.hosts");
        let served = listen::serve(router, bound, hosts, config.http, None, program.shutdown.clone());
        program.tasks.critical("health", served);
        Ok(Some(address))
    }

    /// The last step of a start: keeps the directory and the store's thread until the program ends and all its writers
    /// are gone.
    pub fn hold(self, program: &Program) {
        let Ground { data, store, writer, health: _, thread } = self;
        let stopping = program.shutdown.requested();
        program.tasks.critical("store", async move {
            stopping.await;
            drop((writer, store));
            thread.finished().await;
            drop(data);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use lode_program::{Clock, Shutdown, TaskGroup, shutdown::Cause};
    use lode_store::{Batch, Change, MemoryStore, Table};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const GRACE: Duration = Duration::from_secs(20);

    fn program() -> Program {
        let shutdown = Shutdown::new();
        let tasks = TaskGroup::new(shutdown.clone());
        Program { name: "lode-test", shutdown, tasks, clock: Clock::system() }
    }

    #[tokio::test]
    async fn the_directory_is_ours_until_everything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let program = program();
        let ground = Ground::open(folder.path(), Storage::file("test.redb")).unwrap();
        let second = Ground::open(folder.path(), Storage::Given(Arc::new(MemoryStore::new())));
        assert!(second.is_err(), "one process has it");
        let writer = ground.writer.clone();
        let table = Table::new("t");
        ground.hold(&program);
        program.tasks.critical("late", {
            let stopping = program.shutdown.requested();
            async move {
                stopping.await;
                let mut batch = Batch::default();
                batch.push(Change::Put { table, key: vec![1], value: vec![2] });
                drop(writer.commit(Arc::new(batch)).await);
            }
        });
        program.shutdown.request(Cause::Requested("the test says so".to_owned()));
        program.finish(GRACE).await.unwrap();
        let again = Ground::open(folder.path(), Storage::file("test.redb")).unwrap();
        assert_eq!(again.store.load(table).unwrap(), [(vec![1], vec![2])]);
    }

    async fn ask(address: SocketAddr, host: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(GRACE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn a_page_of_elsewhere_whose_name_leads_here_reads_no_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let program = program();
        let ground = Ground::open(folder.path(), Storage::Given(Arc::new(MemoryStore::new()))).unwrap();
        let config = HealthConfig {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            hosts: vec!["gpu-7.example".to_owned()],
            ..HealthConfig::default()
        };
        let address = ground.serve_health(&program, &config, Router::new()).await.unwrap().unwrap();
        let refused = ask(address, "evil.example").await;
        assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("health.hosts"), "{refused}");
        for host in [address.to_string(), "localhost".to_owned(), "gpu-7.example:9100".to_owned()] {
            let answer = ask(address, &host).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        }
        ground.hold(&program);
        program.shutdown.request(Cause::Requested("the test says so".to_owned()));
        program.finish(GRACE).await.unwrap();
    }

    #[tokio::test]
    async fn health_is_served_only_where_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let program = program();
        let ground = Ground::open(folder.path(), Storage::Given(Arc::new(MemoryStore::new()))).unwrap();
        let mut config = HealthConfig::default();
        assert_eq!(ground.serve_health(&program, &config, Router::new()).await.unwrap(), None);
        config.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = ground.serve_health(&program, &config, Router::new()).await.unwrap().unwrap();
        config.listen = Some(address);
        let taken = ground.serve_health(&program, &config, Router::new()).await.unwrap_err();
        assert!(taken.to_string().contains(&address.to_string()), "{taken}");
        ground.hold(&program);
        program.shutdown.request(Cause::Requested("the test says so".to_owned()));
        program.finish(GRACE).await.unwrap();
    }
}

//! An image of a static shell with the usual commands, and files of the test's own: for tasks that write exactly what a
//! test wants to read.

use std::time::Duration;

use anyhow::Context as _;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::CreateImageOptions;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::engine::Engine;

/// Where a package `busybox-static` puts it.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const COMMANDS: [&str; 14] = [
    "sh", "cat", "echo", "false", "head", "printf", "seq", "sleep", "tail", "touch", "tr", "true", "usleep",
    "yes",
];
/// Where the files are.
const FOLDER: &str = "data";

/// An image that is removed when it is dropped.
#[derive(Debug)]
pub struct ShellImage {
    engine: Engine,
    name: String,
}

impl ShellImage {
    /// Makes one, with these files in `/data`.
    ///
    /// # Errors
    /// Without a static busybox, or when the engine does not take it.
    pub async fn build(engine: &Engine, files: &[(&str, &[u8])]) -> anyhow::Result<Self> {
        let program = BUSYBOX.iter().find_map(|path| std::fs::read(path).ok());
        let program = program.context("a static busybox is needed: install busybox-static")?;
        let mut archive = tar::Builder::new(Vec::new());
        add_file(&mut archive, "bin/busybox", &program)?;
        for command in COMMANDS {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, format!("bin/{command}"), "busybox")?;
        }
        for folder in ["tmp", FOLDER] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o1777);
            header.set_size(0);
            archive.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
        }
        for (name, content) in files {
            add_file(&mut archive, &format!("{FOLDER}/{name}"), content)?;
        }
        let bytes = archive.into_inner()?;
        let repository = format!("lode-e2e-shell-{:016x}", rand::random::<u64>());
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.clone()),
            tag: Some("1".to_owned()),
            changes: vec!["ENV PATH=/bin".to_owned()],
            ..CreateImageOptions::default()
        };
        let body = bollard::body_full(bytes.into());
        let mut answers = Box::pin(engine.client().create_image(Some(options), Some(body), None));
        while let Some(answer) = answers.next().await {
            answer.context("importing an image")?;
        }
        Ok(Self { engine: engine.clone(), name: format!("{repository}:1") })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A batch task that runs a script.
    pub fn task(&self, name: &str, script: &str) -> Value {
        json!({
            "name": name,
            "kind": "batch",
            "image": self.name,
            "pull": "never",
            "command": ["sh", "-c"],
            "args": [script],
            "stop_grace": "1s",
            "resources": { "gpus": 0, "cpus": 0.2, "memory": "64MiB" },
        })
    }
}

impl Drop for ShellImage {
    fn drop(&mut self) {
        let (engine, name) = (self.engine.clone(), self.name.clone());
        // A runtime of its own: this may run while another one unwinds.
        let removed = std::thread::spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(engine.forget(&name))
        });
        if !matches!(removed.join(), Ok(Ok(()))) {
            eprintln!("image {} was not removed", self.name);
        }
    }
}

fn add_file(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}

impl Engine {
    /// Runs a command in a container and waits for its end.
    ///
    /// # Errors
    /// When the engine does not run it, or it takes long.
    pub async fn execute(&self, container: &str, command: &[&str]) -> anyhow::Result<()> {
        let run = async {
            let command = command.iter().map(ToString::to_string).collect();
            let options = CreateExecOptions { cmd: Some(command), ..CreateExecOptions::default() };
            let created = self.client().create_exec(container, options).await?;
            let options = StartExecOptions { detach: false, ..StartExecOptions::default() };
            if let StartExecResults::Attached { output, .. } =
                self.client().start_exec(&created.id, Some(options)).await?
            {
                output.try_for_each(|_| std::future::ready(Ok(()))).await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(30), run).await.context("a command in a container")?
    }
}

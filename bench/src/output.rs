//! A task's output into a file: by `lode task logs` through the pool, and by `docker logs` of the same container, turn
//! and turn about.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use lode_e2e::pool::Pool;
use lode_e2e::programs;
use lode_e2e::shell_image::ShellImage;
use lode_e2e::tasks::on_node;
use lode_e2e::waiting::until;

use crate::process::{cpu_seconds, pid_of};
use crate::table::{Row, Table, percentile};

/// The issue's: a file of `lode task logs` takes at most so many times as long as one of `docker logs`.
const TARGET: f64 = 3.0;
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn run(megabytes: u32, line: u32, rounds: u32) -> anyhow::Result<Table> {
    let pool = Pool::start().await?;
    // All of it is kept, by the worker and by the engine.
    pool.reconfigure("worker-1", |config| {
        let text = |megabytes: u32| toml::Value::from(format!("{megabytes}MiB"));
        let output = [("per_assignment", text(megabytes * 2 + 64)), ("total", text(megabytes * 4 + 128))];
        let output = output.map(|(key, value)| (key.to_owned(), value));
        config.insert("output".to_owned(), toml::Table::from_iter(output).into());
        let docker = config.entry("docker").or_insert_with(|| toml::Table::new().into());
        if let Some(docker) = docker.as_table_mut() {
            docker.insert("log_size".to_owned(), text(megabytes * 2 + 64));
        }
    })
    .await?;
    pool.until_well(PATIENCE).await?;
    let image = ShellImage::build(pool.engine(), &[]).await?;
    let wide = "x".repeat(line.saturating_sub(11) as usize);
    let count = (u64::from(megabytes) << 20) / u64::from(line);
    let script = format!(
        "busybox awk -v n={count} 'BEGIN{{w=\"{wide}\";for(i=0;i<n;i++)printf \"%09d %s\\n\",i,w}}'; echo done >&2; sleep 3600"
    );
    let mut spec = on_node(image.task("bench", &script), pool.node("worker-1")?);
    spec["resources"]["cpus"] = 1.into();
    let running = pool.run(&spec).await?;
    until("the task has written all of it", PATIENCE, async || {
        let end = pool.lode(&["task", "logs", "--tail", "1", &running.task]).await?;
        ensure!(end.stderr == b"done\n", "it ends with {:?}", String::from_utf8_lossy(&end.stdout));
        Ok(())
    })
    .await?;
    let expected = count * u64::from(line);
    let (ours_file, docker_file) = (pool.folder().join("ours"), pool.folder().join("docker"));
    let ours = ["task", "logs", running.task.as_str()];
    let lode = || {
        let mut command = Command::new(programs::path("lode")?);
        command.args(ours).env("LODE_CONTEXTS", pool.root().join("contexts.toml"));
        anyhow::Ok(command)
    };
    let docker = || {
        let mut command = Command::new("docker");
        let host = format!("unix://{}", pool.engine().socket().display());
        command.args(["--host", &host, "logs", running.container.id.as_str()]);
        anyhow::Ok(command)
    };
    until("all of it is read", PATIENCE, async || {
        seconds(lode()?, &ours_file)?;
        let size = std::fs::metadata(&ours_file)?.len();
        ensure!(size == expected, "{size} bytes of {expected}");
        Ok(())
    })
    .await?;
    let (worker, orchestrator) = (pid_of(&pool, "worker-1").await?, pid_of(&pool, "orchestrator").await?);
    let before = (cpu_seconds(worker)?, cpu_seconds(orchestrator)?);
    let (mut through_pool, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(seconds(docker()?, &docker_file)?);
        through_pool.push(seconds(lode()?, &ours_file)?);
        is_the_same(&ours_file, &docker_file)?;
    }
    let per_round = |now: f64, before: f64| (now - before) / f64::from(rounds);
    let used = (per_round(cpu_seconds(worker)?, before.0), per_round(cpu_seconds(orchestrator)?, before.1));
    pool.remove(&running.task).await?;
    pool.finish().await?;
    through_pool.sort_by(f64::total_cmp);
    bare.sort_by(f64::total_cmp);
    let usual = percentile(&bare, 0.5);
    let row = |name: &str, value, baseline, target| Row {
        name: name.to_owned(),
        value,
        unit: "s",
        baseline,
        target,
    };
    let beside = Some((usual, "docker logs, p50"));
    let rows = vec![
        row("lode task logs to a file, p50", percentile(&through_pool, 0.5), beside, Some(TARGET)),
        row("lode task logs to a file, longest", percentile(&through_pool, 1.0), beside, None),
        row("docker logs to a file, longest", percentile(&bare, 1.0), beside, None),
        row("CPU of the worker, a reading", used.0, beside, None),
        row("CPU of the orchestrator, a reading", used.1, beside, None),
    ];
    let title =
        format!("output: {megabytes} MiB in lines of {line} bytes, {rounds} times each, turn and turn about");
    Ok(Table { title, rows })
}

/// What a command takes to write its standard output to a file.
fn seconds(mut command: Command, file: &Path) -> anyhow::Result<f64> {
    let output = File::create(file)?;
    let began = Instant::now();
    let ended = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output()?;
    let took = began.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success() && errors == "done\n", "{command:?}: {}: {errors}", ended.status);
    Ok(took)
}

fn is_the_same(ours: &Path, docker: &Path) -> anyhow::Result<()> {
    let (ours, docker) = (std::fs::read(ours)?, std::fs::read(docker)?);
    ensure!(ours == docker, "the files differ: {} and {} bytes", ours.len(), docker.len());
    Ok(())
}

//! Programs die and come back; containers do not notice.

use std::time::Duration;

use anyhow::ensure;
use lode_e2e::pool::{PROGRAMS, Pool};
use lode_e2e::tasks::{batch, on_node, service};
use lode_e2e::waiting::{step, throughout, until};

/// Healthy again this long after the process is back.
const HEALTHY_AGAIN: Duration = Duration::from_secs(30);
/// How long a program is gone: longer than a beat, and than any of them takes to die.
const GONE: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread")]
async fn killing_any_program_restarts_no_container_and_two_workers_share_an_engine() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    let (first, second) = (pool.node("worker-1")?, pool.node("worker-2")?);
    let running = [
        pool.run(&on_node(service("stays", 2), first)).await?,
        pool.run(&on_node(batch("computes", 1, &["--sleep", "3000"]), first)).await?,
        pool.run(&on_node(service("neighbour", 1), second)).await?,
    ];
    let all_run = async || {
        for task in &running {
            pool.still_runs(task).await?;
        }
        anyhow::Ok(())
    };
    for name in PROGRAMS {
        step(&format!("kill -9 of {name}"));
        pool.kill_program(name).await?;
        throughout("the containers run", GONE, &all_run).await?;
        pool.start_program(name).await?;
        pool.until_well(HEALTHY_AGAIN).await?;
        throughout("the containers run", Duration::from_secs(1), &all_run).await?;
        for task in &running {
            let view = pool.task(&task.task).await?;
            let assignments = view["assignments"].as_array().map_or(&[][..], Vec::as_slice);
            let runs = assignments.iter().find(|assignment| assignment["id"] == task.id());
            ensure!(
                runs.is_some_and(|assignment| assignment["state"] == "running" && assignment["restarts"] == 0),
                "after {name}: {assignments:?}"
            );
        }
    }
    step("kill -9 of everything but the chain at once");
    for name in PROGRAMS.iter().skip(1) {
        pool.kill_program(name).await?;
    }
    throughout("the containers run", GONE, &all_run).await?;
    for name in PROGRAMS.iter().skip(1) {
        pool.start_program(name).await?;
    }
    pool.until_well(HEALTHY_AGAIN).await?;
    all_run().await?;

    step("a worker removes its own containers and not its neighbour's");
    pool.remove(&running[0].task).await?;
    pool.remove(&running[1].task).await?;
    until("nothing of the first node is left on the engine", HEALTHY_AGAIN, async || {
        let (containers, networks) =
            (pool.engine().containers(first).await?, pool.engine().networks(first).await?);
        ensure!(containers.is_empty() && networks.is_empty(), "{containers:?} {networks:?}");
        Ok(())
    })
    .await?;
    pool.still_runs(&running[2]).await?;
    let after = pool.submit(&batch("after", 1, &[])).await?;
    pool.until_task(&after, "succeeded", HEALTHY_AGAIN).await?;
    pool.finish().await
}

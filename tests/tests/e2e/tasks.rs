//! What a task sees, how it ends, and what is said about it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lode_contracts::{Amount, ChainReader as _};
use lode_e2e::engine::{BATCH_IMAGE, SERVICE_IMAGE};
use lode_e2e::pool::Pool;
use lode_e2e::registry::Registry;
use lode_e2e::tasks::{Running, batch, on_node, service};
use lode_e2e::waiting::{step, until};
use lode_protocol::units::{Millis, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_task_sees_exactly_its_gpus_and_its_end_is_told_with_its_reason() -> anyhow::Result<()> {
    let pool = Pool::start().await?;
    nodes_have_joined_without_coins_and_are_listed_with_their_gpus(&pool).await?;
    two_tasks_see_two_gpus_each_and_not_the_same(&pool).await?;
    more_gpus_than_exist_are_waited_for_and_explained(&pool).await?;
    a_job_from_the_command_line_prints_what_it_wrote_and_ends_as_it_did(&pool).await?;
    who_waits_for_a_job_reads_why_and_that_it_goes_on_without_him(&pool).await?;
    a_follower_sees_a_line_within_two_seconds(&pool).await?;
    stopping_takes_no_longer_than_the_grace(&pool).await?;
    exit_codes_and_memory_are_told(&pool).await?;
    images_come_from_a_registry_and_what_cannot_be_pulled_is_told(&pool).await?;
    env_and_labels_can_neither_widen_gpus_nor_spoof_ownership(&pool).await?;
    pool.all_stayed_up().await?;
    pool.finish().await
}

async fn nodes_have_joined_without_coins_and_are_listed_with_their_gpus(pool: &Pool) -> anyhow::Result<()> {
    step("nodes have joined without coins and are listed with their GPUs");
    let chain = pool.chain()?;
    let table = pool.lode_text(&["node", "ls"]).await?;
    let mut seen = BTreeSet::new();
    for (node, count) in pool.nodes()?.into_iter().zip([8, 2]) {
        ensure!(chain.balance(node.0).await? == Amount::ZERO, "{node} has coins");
        let membership = chain.membership(pool.pool_id()?, node).await?;
        ensure!(membership.active, "{node} is no member on chain: {membership:?}");
        let view = pool.node_view(node).await?;
        let gpus = view["gpus"].as_array().context("no GPUs")?;
        ensure!(gpus.len() == count, "{node} has {} GPUs", gpus.len());
        ensure!(table.contains(&node.to_string()), "{node} is not in\n{table}");
        for gpu in gpus {
            let uuid = gpu["uuid"].as_str().context("a GPU without UUID")?;
            ensure!(table.contains(uuid), "{uuid} is not in\n{table}");
            seen.insert(uuid.to_owned());
        }
    }
    ensure!(seen.len() == 10, "the nodes share GPUs: {seen:?}");
    Ok(())
}

/// What the service in the container says about itself.
async fn ask_service(running: &Running) -> anyhow::Result<Value> {
    let port = running.assignment["ports"][0]["host"].as_u64().context("no port")?;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    Ok(client.get(format!("http://127.0.0.1:{port}/")).send().await?.json().await?)
}

fn set(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

async fn two_tasks_see_two_gpus_each_and_not_the_same(pool: &Pool) -> anyhow::Result<()> {
    step("two tasks see two GPUs each and not the same");
    // On one node, where GPUs of both are within reach.
    let node = pool.node("worker-1")?;
    let one = pool.run(&on_node(service("two-gpus", 2), node)).await?;
    let other = pool.run(&on_node(service("two-others", 2), node)).await?;
    let mut all = BTreeSet::new();
    for running in [&one, &other] {
        let given: BTreeSet<String> = running.gpus().into_iter().collect();
        ensure!(given.len() == 2, "it was given {given:?}");
        let answer = ask_service(running).await?;
        ensure!(set(&answer["gpus"]["uuids"]) == given, "it was given {given:?} and sees {answer}");
        ensure!(set(&answer["gpus"]["devices"]).len() == 2, "it sees the devices of {answer}");
        // What the engine was told is what the task sees.
        let inspected =
            pool.engine().inspect(&running.container.id).await?.context("its container is gone")?;
        let env = inspected.config.and_then(|config| config.env).unwrap_or_default();
        let simulated: BTreeSet<String> = env
            .iter()
            .filter(|entry| entry.starts_with("SIMULATED_GPU_"))
            .filter_map(|entry| entry.split_once('=').map(|(_, uuid)| uuid.to_owned()))
            .collect();
        ensure!(simulated == given, "the CDI file gave it {simulated:?} instead of {given:?}");
        let devices = inspected.host_config.and_then(|host| host.devices).unwrap_or_default();
        ensure!(devices.len() == 3, "two GPUs and the control device, not {devices:?}");
        all.extend(given);
    }
    ensure!(all.len() == 4, "they share GPUs: {all:?}");
    let view = pool.node_view(node).await?;
    let held =
        view["gpus"].as_array().into_iter().flatten().filter(|gpu| gpu["assignment"].is_string()).count();
    ensure!(held == 4, "{held} GPUs are held");
    pool.remove(&one.task).await?;
    pool.remove(&other.task).await
}

async fn more_gpus_than_exist_are_waited_for_and_explained(pool: &Pool) -> anyhow::Result<()> {
    step("more GPUs than exist are waited for and explained");
    let id = pool.submit(&batch("too-many", 9, &[])).await?;
    let explanation = pool.api().get(&format!("/v1/tasks/{id}/explain?nodes=true")).await?;
    ensure!(explanation["state"] == "pending", "{explanation}");
    ensure!(explanation["fitting"] == 0, "{explanation}");
    let filters = explanation["filters"].as_array().context("no filters")?;
    let refused: u64 = filters.iter().filter_map(|filter| filter["nodes"].as_u64()).sum();
    ensure!(refused == 2, "every node is counted once: {explanation}");
    ensure!(explanation["verdicts"].as_array().is_some_and(|rows| rows.len() == 2), "{explanation}");
    let text = pool.lode_text(&["task", "explain", &id]).await?;
    ensure!(text.to_lowercase().contains("gpu"), "the explanation does not speak of GPUs:\n{text}");
    ensure!(pool.task(&id).await?["state"] == "pending");
    pool.remove(&id).await
}

const RUN: [&str; 8] = ["run", "--pull", "never", "--cpus", "0.2", "--memory", "64MiB", "--gpus"];

async fn a_job_from_the_command_line_prints_what_it_wrote_and_ends_as_it_did(
    pool: &Pool,
) -> anyhow::Result<()> {
    step("a job from the command line prints what it wrote and ends as it did");
    let image = format!("{BATCH_IMAGE}:latest");
    let job = |gpus: &'static str, more: &[&'static str]| {
        let words =
            RUN.into_iter().chain([gpus, "-e", "COLOUR=red", &image, "--limit", "1000", "--print-env"]);
        words.chain(more.iter().copied()).map(str::to_owned).collect::<Vec<String>>()
    };
    let lode = async |words: Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        pool.lode(&words).await
    };
    let done = lode(job("2", &[])).await?;
    let (out, said) = (String::from_utf8(done.stdout)?, String::from_utf8(done.stderr)?);
    ensure!(done.status.code() == Some(0), "{}: {said}", done.status);
    ensure!(
        out.contains("RESULT primes_below=1000 count=168") && out.contains("COLOUR=red"),
        "{out}\n{said}"
    );
    ensure!(out.lines().last().is_some_and(|line| line.starts_with("RESULT")), "{out}");
    let failed = lode(job("1", &["--fail", "3"])).await?;
    let (out, said) = (String::from_utf8(failed.stdout)?, String::from_utf8(failed.stderr)?);
    ensure!(failed.status.code() == Some(1) && said.contains("exit code 3"), "{}: {said}", failed.status);
    ensure!(out.contains("RESULT"), "{out}");
    // Both are there under the names that they were given, and go together.
    let named = said.lines().find_map(|line| line.strip_prefix("task ")?.split(' ').next());
    let named = named.context("no name is said")?.to_owned();
    let first = pool.lode_text(&["ps", "--state", "succeeded", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&first)?;
    let other = list["items"][0]["name"].as_str().context("it is not listed")?;
    ensure!(other != named && other.starts_with("lode-example-batch-"), "{other} and {named}");
    let gone = pool.lode_text(&["task", "rm", &named, other]).await?;
    ensure!(gone.lines().count() == 2, "{gone}");
    Ok(())
}

async fn who_waits_for_a_job_reads_why_and_that_it_goes_on_without_him(pool: &Pool) -> anyhow::Result<()> {
    step("who waits for a job reads why, and that it goes on without him");
    let image = format!("{BATCH_IMAGE}:latest");
    let mut waiting = pool.start_lode(&[&RUN[..], &["9", "--name", "never-fits", &image]].concat(), None)?;
    let mut said = BufReader::new(waiting.stderr.take().context("it has an output")?).lines();
    let first_words = async {
        loop {
            let line = said.next_line().await?.context("it ended")?;
            if line.starts_with("waiting: ") {
                return anyhow::Ok(line);
            }
        }
    };
    let why = tokio::time::timeout(SOON, first_words).await.context("nothing is said")??;
    ensure!(why.contains("2 of 2 nodes fail gpu"), "{why}");
    let process = waiting.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    rustix::process::kill_process(process.context("it ended")?, rustix::process::Signal::INT)?;
    let status = tokio::time::timeout(SOON, waiting.wait()).await.context("it goes on after SIGINT")??;
    let mut rest = String::new();
    while let Some(line) = said.next_line().await? {
        rest.push_str(&line);
    }
    ensure!(status.code() == Some(130), "{status}: {rest}");
    ensure!(rest.contains("goes on") && rest.contains("lode task stop"), "{rest}");
    let list: Value =
        serde_json::from_str(&pool.lode_text(&["ps", "--state", "pending", "-o", "json"]).await?)?;
    let id = list["items"][0]["id"].as_str().context("it does not go on")?.to_owned();
    pool.remove(&id).await
}

async fn a_follower_sees_a_line_within_two_seconds(pool: &Pool) -> anyhow::Result<()> {
    step("a follower sees a line within two seconds");
    let running = pool.run(&batch("talks", 1, &["--sleep", "120"])).await?;
    let lode = lode_e2e::programs::path("lode")?;
    let mut follower = tokio::process::Command::new(lode)
        .args(["task", "logs", "-f", "--timestamps", &running.task])
        .env("LODE_CONTEXTS", pool.root().join("contexts.toml"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let began = now();
    let mut lines = BufReader::new(follower.stdout.take().context("it has an output")?).lines();
    let mut fresh = 0;
    let watch = async {
        while fresh < 3 {
            let line = lines.next_line().await?.context("the follower ended")?;
            let arrived = now();
            let time = line.split_whitespace().next().context("an empty line")?;
            let written: Timestamp = time.parse().with_context(|| format!("no time before {line:?}"))?;
            if written < began {
                continue;
            }
            ensure!(
                written.plus(Millis::seconds(2)) >= arrived,
                "written {written}, shown {arrived}: {line}"
            );
            fresh += 1;
        }
        Ok(())
    };
    tokio::time::timeout(SOON, watch).await.context("the follower shows nothing new")??;
    follower.kill().await?;
    pool.remove(&running.task).await
}

fn now() -> Timestamp {
    lode_e2e::forger::now()
}

async fn stopping_takes_no_longer_than_the_grace(pool: &Pool) -> anyhow::Result<()> {
    step("stopping takes no longer than the grace");
    let polite = pool.run(&batch("polite", 0, &["--sleep", "600"])).await?;
    let mut spec = batch("stubborn", 0, &["--sleep", "600", "--ignore-term"]);
    spec["stop_grace"] = json!("3s");
    let stubborn = pool.run(&spec).await?;
    for (running, at_least, at_most) in [(&polite, 0, 5), (&stubborn, 3, 3)] {
        let began = Instant::now();
        pool.api().post(&format!("/v1/tasks/{}/stop", running.task), None).await?;
        until("its container ended", SOON, async || {
            let inspected = pool.engine().inspect(&running.container.id).await?;
            let runs = inspected.and_then(|inspected| inspected.state).and_then(|state| state.running);
            ensure!(runs != Some(true), "it still runs");
            Ok(())
        })
        .await?;
        let took = began.elapsed();
        // A margin for the way there and for the engine: everything else shares these two cores.
        ensure!(took <= Duration::from_secs(at_most + 2), "it took {took:?}");
        ensure!(
            took >= Duration::from_secs(at_least),
            "it was killed after {took:?}, before its grace was over"
        );
        let task = pool.until_task(&running.task, "stopped", SOON).await?;
        let assignment = &task["assignments"][0];
        ensure!(assignment["reason"] == "stop_requested", "{assignment}");
        pool.remove(&running.task).await?;
    }
    Ok(())
}

async fn exit_codes_and_memory_are_told(pool: &Pool) -> anyhow::Result<()> {
    step("exit codes and memory are told");
    let succeeds = pool.run(&batch("succeeds", 1, &["--sleep", "3"])).await?.task;
    // 168 primes below 1000; their sum is 76127.
    let result = "RESULT primes_below=1000 count=168 sum=76127 ";
    pool.api().follow_until(&succeeds, SOON, |line| line.contains(result)).await?;
    let fails = pool.submit(&batch("fails", 0, &["--fail", "3"])).await?;
    let greedy = pool.submit(&batch("greedy", 0, &["--allocate-mib", "512"])).await?;
    let task = pool.until_task(&succeeds, "succeeded", SOON).await?;
    ensure!(task["assignments"][0]["exit_code"] == 0, "{task}");
    for (id, code, reason) in [(&fails, 3, "exited_with_error"), (&greedy, 137, "oom_killed")] {
        let task = pool.until_task(id, "failed", SOON).await?;
        let assignment = &task["assignments"][0];
        ensure!(assignment["exit_code"] == code, "{assignment}");
        ensure!(assignment["reason"] == reason, "{assignment}");
        ensure!(assignment["fault"] == "task", "{assignment}");
    }
    output_outlives_its_container(pool, &succeeds, result).await?;
    for id in [succeeds, fails, greedy] {
        pool.remove(&id).await?;
    }
    Ok(())
}

async fn output_outlives_its_container(pool: &Pool, task: &str, expected: &str) -> anyhow::Result<()> {
    until("the container is gone", SOON, async || {
        for node in pool.nodes()? {
            let containers = pool.engine().containers(node).await?;
            ensure!(
                !containers.iter().any(|container| container.assignment.starts_with(task)),
                "it is there"
            );
        }
        Ok(())
    })
    .await?;
    let output = pool.api().logs(task).await?;
    ensure!(output.contains(expected), "its output is not what it wrote:\n{output}");
    let text = pool.lode_text(&["task", "logs", "-f", task]).await?;
    ensure!(text.contains(expected), "whoever follows it sees\n{text}");
    Ok(())
}

async fn images_come_from_a_registry_and_what_cannot_be_pulled_is_told(pool: &Pool) -> anyhow::Result<()> {
    step("images come from a registry, and what cannot be pulled is told");
    let registry = Registry::start().await?;
    let repository = registry.repository(&format!("e2e-{}", std::process::id()));
    let digest = pool.engine().push("lode-example-batch:latest", &repository, "v1").await?;
    let from = |name: &str, image: String| {
        let mut spec = batch(name, 0, &[]);
        spec["image"] = json!(image);
        spec["pull"] = json!("always");
        spec
    };
    let by_tag = pool.submit(&from("by-tag", format!("{repository}:v1"))).await?;
    let task = pool.until_task(&by_tag, "succeeded", SOON).await?;
    let ran =
        |task: &Value| task["assignments"][0]["image"].as_str().is_some_and(|image| image.contains(&digest));
    ensure!(ran(&task), "the tag was {digest}, it ran {}", task["assignments"]);
    let pinned = format!("{repository}@{digest}");
    ensure!(task["pinned_image"] == pinned.as_str(), "it is pinned to {}", task["pinned_image"]);
    // The tag is moved: the task stays what it was when it was submitted, a new one is another.
    let moved = pool.engine().push(&format!("{SERVICE_IMAGE}:latest"), &repository, "v1").await?;
    ensure!(moved != digest, "both images are {digest}");
    pool.api().post(&format!("/v1/tasks/{by_tag}/start"), None).await?;
    until("it has run again", SOON, async || {
        let task = pool.task(&by_tag).await?;
        let runs = task["assignments"].as_array().context("no assignments")?;
        ensure!(runs.len() == 2 && task["state"] == "succeeded", "{task}");
        ensure!(
            runs.iter().all(|run| run["image"].as_str().is_some_and(|image| image.contains(&digest))),
            "{task}"
        );
        Ok(())
    })
    .await?;
    let later = pool.submit(&from("later", format!("{repository}:v1"))).await?;
    ensure!(pool.task(&later).await?["pinned_image"] == format!("{repository}@{moved}").as_str());
    let by_digest = pool.submit(&from("by-digest", format!("{repository}@{digest}"))).await?;
    let task = pool.until_task(&by_digest, "succeeded", SOON).await?;
    ensure!(ran(&task), "it was to run {digest}, it ran {}", task["assignments"]);
    let unknown = pool.submit(&from("unknown", format!("{repository}:none"))).await?;
    let task = pool.until_task(&unknown, "failed", SOON).await?;
    ensure!(task["assignments"][0]["reason"] == "image_not_found", "{task}");
    drop(registry);
    let unreachable = pool.submit(&from("unreachable", format!("{repository}:v2"))).await?;
    until("the failed pull is told", SOON, async || {
        let task = pool.task(&unreachable).await?;
        let told = task["assignments"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|assignment| assignment["reason"] == "pull_failed" && assignment["fault"] == "node");
        ensure!(told, "{}", task["assignments"]);
        Ok(())
    })
    .await?;
    for id in [by_tag, later, by_digest, unknown, unreachable] {
        pool.remove(&id).await?;
    }
    // The image has other names, so that only these go.
    for name in
        [format!("{repository}:v1"), format!("{repository}@{digest}"), format!("{repository}@{moved}")]
    {
        if pool.engine().client().inspect_image(&name).await.is_ok() {
            pool.engine().forget(&name).await?;
        }
    }
    Ok(())
}

async fn env_and_labels_can_neither_widen_gpus_nor_spoof_ownership(pool: &Pool) -> anyhow::Result<()> {
    step("env and labels can neither widen GPUs nor spoof ownership");
    for name in
        ["NVIDIA_VISIBLE_DEVICES", "LODE_GPU_UUIDS", "LODE_NODE", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES"]
    {
        let mut spec = batch("widens", 0, &[]);
        spec["env"] = json!({ name: "all" });
        let refused = pool
            .api()
            .ask(reqwest::Method::POST, "/v1/tasks", Some(&lode_e2e::tasks::submission(&spec)))
            .await?;
        let problem = refused.err().with_context(|| format!("{name} was taken"))?;
        ensure!((problem.status, problem.code.as_str()) == (422, "task/spec-invalid"), "{problem:?}");
    }
    let other = pool.node("worker-2")?;
    let mut spec = on_node(service("spoofs", 1), pool.node("worker-1")?);
    spec["labels"] = json!({ "lode.node": other.to_string(), "lode.assignment": "x", "com.docker.x": "y" });
    spec["env"] = json!({ "SIMULATED_GPU_7": "GPU-all" });
    let running = pool.run(&spec).await?;
    let inspected = pool.engine().inspect(&running.container.id).await?.context("its container is gone")?;
    let labels = inspected.config.clone().and_then(|config| config.labels).unwrap_or_default();
    ensure!(labels.get("lode.node") == Some(&pool.node("worker-1")?.to_string()), "{labels:?}");
    ensure!(labels.get("lode.assignment").map(String::as_str) == Some(running.id()), "{labels:?}");
    ensure!(!labels.contains_key("com.docker.x"), "the task's labels became the container's: {labels:?}");
    ensure!(pool.engine().containers(other).await?.is_empty(), "the other node owns it");
    let devices = inspected.host_config.and_then(|host| host.devices).unwrap_or_default();
    ensure!(devices.len() == 2, "one GPU and the control device, not {devices:?}");
    let answer = ask_service(&running).await?;
    ensure!(set(&answer["gpus"]["uuids"]) == running.gpus().into_iter().collect(), "{answer}");
    pool.remove(&running.task).await
}

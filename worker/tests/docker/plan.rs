//! What a container is like, and what its task can and cannot do.

use lode_worker::docker::GpuAccess;
use lode_worker::engine::Engine as _;

use super::support::{Image, Node, docker, environment, plan, with_gpus};

const TWO: [&str; 2] =
    ["GPU-11111111-0000-0000-0000-000000000001", "GPU-22222222-0000-0000-0000-000000000002"];

fn cdi_file(directory: &std::path::Path) -> std::path::PathBuf {
    let device = |number: usize, uuid: &str| {
        serde_json::json!({
            "name": uuid,
            "containerEdits": {
                "deviceNodes": [{ "path": format!("/dev/nvidia{number}"), "hostPath": "/dev/null" }],
                "env": [format!("SEEN_{number}={uuid}")],
            },
        })
    };
    let spec = serde_json::json!({
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [device(0, TWO[0]), device(1, TWO[1])],
        "containerEdits": { "deviceNodes": [{ "path": "/dev/nvidiactl", "hostPath": "/dev/null" }] },
    });
    let path = directory.join("cdi.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    path
}

#[tokio::test]
async fn a_container_is_hardened_in_every_field() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let plan = plan(&image, "sleep 60", "[resources]\nmemory = \"32MiB\"\ncpus = 0.5\n");
    let container = node.run(&plan).await;
    let inspected = node.inspect(&container).await;
    let host = inspected.host_config.clone().unwrap();
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert!(host.cap_add.unwrap_or_default().is_empty());
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.pids_limit, Some(64));
    assert_eq!((host.memory, host.memory_swap), (Some(32 << 20), Some(32 << 20)));
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.ipc_mode.as_deref(), Some("private"));
    assert_eq!(host.pid_mode.as_deref(), Some(""));
    assert_eq!(host.runtime.as_deref(), Some("runc"));
    assert!(host.binds.unwrap_or_default().is_empty() && host.mounts.unwrap_or_default().is_empty());
    assert!(
        host.device_requests.unwrap_or_default().is_empty() && host.devices.unwrap_or_default().is_empty()
    );
    assert_eq!(host.oom_score_adj, Some(500));
    let logs = host.log_config.unwrap();
    assert_eq!(logs.typ.as_deref(), Some("local"));
    assert_eq!(logs.config.unwrap().get("max-file").map(String::as_str), Some("2"));
    let restart = host.restart_policy.unwrap();
    assert_eq!(restart.name.unwrap().to_string(), "no");
    let networks = inspected.network_settings.as_ref().unwrap().networks.clone().unwrap();
    let names: Vec<_> = networks.keys().cloned().collect();
    assert_eq!(names, [host.network_mode.unwrap()], "its own network and no other");
    assert!(names[0].starts_with("lode-"));
    let labels = inspected.config.as_ref().unwrap().labels.clone().unwrap();
    assert_eq!(labels.get("lode.node"), Some(&node.id.to_string()));
    assert_eq!(labels.get("lode.assignment"), Some(&plan.id.to_string()));
    assert_eq!(labels.get("lode.attempt").map(String::as_str), Some("0"));
    assert!(labels.contains_key("lode.realm"));
    let env = environment(&inspected);
    assert_eq!(env["NVIDIA_VISIBLE_DEVICES"], "void");
    assert_eq!(env["LODE_TASK_ID"], plan.id.replica.task.to_string());
    assert_eq!(env["LODE_NODE"], node.id.to_string());
    assert_eq!((env["LD_PRELOAD"].as_str(), env["LODE_GPU_UUIDS"].as_str()), ("", ""));
}

#[tokio::test]
async fn labels_of_the_task_never_become_labels_of_the_container() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let plan = plan(&image, "true", "[labels]\n\"team\" = \"x\"\n");
    let container = node.engine.create(&plan).await.unwrap();
    let labels = node.inspect(&container).await.config.unwrap().labels.unwrap();
    assert!(labels.keys().all(|key| key.starts_with("lode.")), "{labels:?}");
}

#[tokio::test]
async fn only_tmp_is_writable_and_a_task_that_asks_for_disk_may_write_everywhere() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let script = "touch /tmp/a && echo tmp; touch /a 2>/dev/null && echo root; true";
    let (exit, lines) = node.output(&plan(&image, script, "")).await;
    assert_eq!((exit.code, lines), (0, vec!["tmp".to_owned()]));
    let (exit, lines) = node.output(&plan(&image, script, "[resources]\ndisk = \"1GiB\"\n")).await;
    assert_eq!((exit.code, lines), (0, vec!["tmp".to_owned(), "root".to_owned()]));
}

#[tokio::test]
async fn a_task_that_names_no_limits_has_them_all_the_same() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.engine.create(&plan(&image, "true", "")).await.unwrap();
    let host = node.inspect(&container).await.host_config.unwrap();
    assert_eq!((host.memory, host.memory_swap), (Some(512 << 20), Some(512 << 20)));
    assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_000_000_000), Some(64)));
}

#[tokio::test]
async fn shared_memory_is_half_of_the_memory_of_every_task_or_what_it_asks_for() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let shm = async |extra: &str| {
        let container = node.engine.create(&plan(&image, "true", extra)).await.unwrap();
        node.inspect(&container).await.host_config.unwrap().shm_size
    };
    assert_eq!(shm("[resources]\nmemory = \"2GiB\"\n").await, Some(1 << 30));
    assert_eq!(shm("[resources]\nmemory = \"2GiB\"\nshm = \"96MiB\"\n").await, Some(96 << 20));
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null && echo fits";
    let (exit, lines) = node.output(&plan(&image, script, "[resources]\nmemory = \"64MiB\"\n")).await;
    assert_eq!((exit.code, lines), (0, vec!["fits".to_owned()]));
}

#[tokio::test]
async fn temporary_files_can_be_written_by_any_user_also_when_the_container_is_started_again() {
    let image = Image::build_without_tmp(&["USER 65534"]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "echo x > /tmp/f && echo wrote", "")).await;
    node.engine.wait(&container).await.unwrap();
    node.engine.start(&container).await.unwrap();
    let exit = node.engine.wait(&container).await.unwrap();
    let written = String::from_utf8(node.written(&container).await.stdout).unwrap();
    assert_eq!((exit.code, written.as_str()), (0, "wrote\nwrote\n"));
}

#[tokio::test]
async fn files_and_locked_memory_are_limited_by_the_worker_as_far_as_the_engine_can() {
    let image = Image::build(&[]).await;
    let node = Node::new();
    let container = node.run(&plan(&image, "ulimit -n; ulimit -l", "")).await;
    node.engine.wait(&container).await.unwrap();
    let ulimits = node.inspect(&container).await.host_config.unwrap().ulimits.unwrap();
    let hard = |name: &str| {
        let named = ulimits.iter().find(|limit| limit.name.as_deref() == Some(name)).unwrap();
        assert_eq!(named.soft, named.hard);
        named.hard.unwrap()
    };
    let locked = match hard("memlock") {
        -1 => "unlimited".to_owned(),
        bytes => (bytes / 1_024).to_string(),
    };
    let written = String::from_utf8(node.written(&container).await.stdout).unwrap();
    assert_eq!((hard("nofile"), written), (4_096, format!("4096\n{locked}\n")));
    // More than any engine can give is cut down to what it can, and the container starts.
    let greedy = Node::configured(|config| config.hardening.limits.open_files = 1 << 40);
    let (exit, _) = greedy.output(&plan(&image, "true", "")).await;
    assert_eq!(exit.code, 0);
}

#[tokio::test]
async fn volumes_of_an_image_are_bounded_memory_and_nothing_of_the_host_s_disk() {
    let image = Image::build(&["VOLUME /data /var/lib/more"]).await;
    let node = Node::new();
    let script = "ls -ld /data | head -c 10; echo; echo x > /data/a && echo wrote; \
                  dd if=/dev/zero of=/var/lib/more/x bs=1M count=20 2>/dev/null || echo full";
    for disk in ["", "[resources]\ndisk = \"1GiB\"\n"] {
        let container = node.run(&plan(&image, script, disk)).await;
        let mounts = node.inspect(&container).await.mounts.unwrap_or_default();
        let kinds: Vec<_> = mounts.iter().map(|mount| mount.typ.as_deref()).collect();
        assert_eq!(kinds, [Some("tmpfs"), Some("tmpfs")], "{mounts:?}");
        node.engine.wait(&container).await.unwrap();
        let written = String::from_utf8(node.written(&container).await.stdout).unwrap();
        assert_eq!(written, "drwxrwxrwt\nwrote\nfull\n", "{disk}");
    }
}

#[tokio::test]
async fn an_image_with_a_volume_where_the_system_lives_is_refused_and_leaves_nothing_behind() {
    let image = Image::build(&["VOLUME /proc"]).await;
    let node = Node::new();
    let failure = node.engine.create(&plan(&image, "true", "")).await.unwrap_err();
    assert!(matches!(failure, lode_worker::core::event::EngineFailure::CannotStart(_)), "{failure:?}");
    assert!(node.engine.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cdi_file_gives_exactly_the_devices_that_were_ordered() {
    let image = Image::build(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let node = Node::with(GpuAccess::CdiFile(cdi_file(directory.path())));
    let script = "ls /dev | while read d; do case $d in nvidia*) echo $d;; esac; done; env | while read l; do case $l in SEEN_*|LODE_GPU_UUIDS*|NVIDIA_VISIBLE*) echo $l;; esac; done";
    let (_, mut lines) = node.output(&with_gpus(plan(&image, script, ""), &TWO[1..])).await;
    lines.sort();
    let uuid = TWO[1];
    let wanted = [
        format!("LODE_GPU_UUIDS={uuid}"),
        format!("NVIDIA_VISIBLE_DEVICES={uuid}"),
        format!("SEEN_1={uuid}"),
        "nvidia1".to_owned(),
        "nvidiactl".to_owned(),
    ];
    assert_eq!(lines, wanted);
    let (_, lines) = node.output(&plan(&image, "ls /dev", "")).await;
    assert!(!lines.iter().any(|line| line.starts_with("nvidia")), "a task without GPUs sees none: {lines:?}");
}

#[tokio::test]
async fn a_gpu_that_the_cdi_file_does_not_have_leaves_no_container_behind() {
    let image = Image::build(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let node = Node::with(GpuAccess::CdiFile(cdi_file(directory.path())));
    let plan = with_gpus(plan(&image, "true", ""), &["GPU-99999999-0000-0000-0000-000000000009"]);
    let failure = node.engine.create(&plan).await.unwrap_err();
    assert!(matches!(failure, lode_worker::core::event::EngineFailure::Gpu(_)), "{failure:?}");
    assert!(node.engine.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_image_brings_in_its_environment_gives_no_gpus_and_loads_nothing() {
    let changes = [
        "ENV NVIDIA_VISIBLE_DEVICES=all",
        "ENV LD_PRELOAD=/evil.so",
        "ENV NVIDIA_DISABLE_REQUIRE=1",
        "ENV KEPT=1",
        "ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64",
    ];
    let image = Image::build(&changes).await;
    let node = Node::new();
    let container = node.engine.create(&plan(&image, "true", "")).await.unwrap();
    let inspected = node.inspect(&container).await;
    let env = environment(&inspected);
    assert_eq!(env["NVIDIA_VISIBLE_DEVICES"], "void");
    assert_eq!(
        (env["LD_PRELOAD"].as_str(), env["NVIDIA_DISABLE_REQUIRE"].as_str(), env["KEPT"].as_str()),
        ("", "", "1")
    );
    assert_eq!(env["LD_LIBRARY_PATH"], "/usr/local/nvidia/lib64");
    // One entry per name: of two, a program or a hook might read the first one.
    let raw = inspected.config.unwrap().env.unwrap();
    assert_eq!(raw.iter().filter(|line| line.starts_with("NVIDIA_VISIBLE_DEVICES=")).count(), 1, "{raw:?}");
}

#[tokio::test]
async fn the_hook_form_asks_the_engine_for_these_gpus_by_uuid() {
    let image = Image::build(&[]).await;
    let node = Node::with(GpuAccess::Hook);
    let plan = with_gpus(plan(&image, "true", ""), &TWO);
    let container = node.engine.create(&plan).await.unwrap();
    let host = node.inspect(&container).await.host_config.unwrap();
    let requests = host.device_requests.unwrap();
    let [request] = requests.as_slice() else { panic!("one request: {requests:?}") };
    assert_eq!(request.driver.as_deref(), Some("nvidia"));
    assert_eq!(request.device_ids.as_deref(), Some(TWO.map(str::to_owned).as_slice()));
    assert_eq!(request.count.unwrap_or(0), 0);
    assert_eq!(host.shm_size, Some(256 << 20), "half of the memory");
    // This engine has no NVIDIA hook: the start fails as the GPU's fault, not as the task's.
    let info = docker().info().await.unwrap();
    if !info.runtimes.unwrap_or_default().contains_key("nvidia") {
        let failure = node.engine.start(&container).await.unwrap_err();
        assert!(matches!(failure, lode_worker::core::event::EngineFailure::Gpu(_)), "{failure:?}");
    }
}

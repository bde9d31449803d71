//! The REST API from outside.

use futures::StreamExt as _;
use serde_json::json;

use crate::pool::{Pool, answer, key};
use crate::worker::FakeWorker;

fn spec(name: &str) -> serde_json::Value {
    json!({ "name": name, "kind": "batch", "image": "i:1" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_a_problem_with_its_status_and_code() {
    let pool = Pool::start_with("[declared]\ngpus = 8\n").await;
    let unknown = "0192f0c1-2345-7000-8000-000000000000";
    let nobody = key(0x55).address();
    let large = json!({ "name": "t", "kind": "batch", "image": "i", "args": vec!["x".repeat(1_000); 300] });
    let cases = [
        ("GET", "/v1/nothing".to_owned(), None, 404, "api/not-found"),
        ("GET", "/nothing".to_owned(), None, 404, "api/not-found"),
        ("PUT", "/v1/tasks".to_owned(), None, 405, "api/method-not-allowed"),
        ("GET", format!("/v1/tasks/{unknown}"), None, 404, "task/not-found"),
        ("GET", "/v1/tasks/x".to_owned(), None, 400, "api/bad-id"),
        ("DELETE", format!("/v1/tasks/{unknown}"), None, 404, "task/not-found"),
        ("POST", format!("/v1/tasks/{unknown}/stop"), None, 404, "task/not-found"),
        ("GET", format!("/v1/tasks/{unknown}/explain"), None, 404, "task/not-found"),
        ("GET", format!("/v1/tasks/{unknown}/logs"), None, 404, "task/not-found"),
        ("GET", format!("/v1/tasks/{unknown}/events"), None, 404, "task/not-found"),
        ("GET", "/v1/tasks?limit=0".to_owned(), None, 400, "api/bad-query"),
        ("GET", "/v1/tasks?state=asleep".to_owned(), None, 400, "api/bad-query"),
        ("GET", "/v1/events?after=1-2".to_owned(), None, 410, "events/cursor-gone"),
        ("GET", format!("/v1/nodes/{nobody}"), None, 404, "node/not-found"),
        ("POST", format!("/v1/nodes/{nobody}/drain"), None, 404, "node/not-found"),
        ("POST", "/v1/tasks".to_owned(), Some(json!({ "name": "t" })), 400, "task/spec-malformed"),
        (
            "POST",
            "/v1/tasks".to_owned(),
            Some(json!({ "name": "T", "kind": "batch", "image": "" })),
            422,
            "task/spec-invalid",
        ),
        ("POST", "/v1/tasks".to_owned(), Some(large), 413, "task/spec-too-large"),
        (
            "POST",
            "/v1/tasks".to_owned(),
            Some(json!({ "name": "t", "kind": "batch", "image": "i", "resources": { "gpus": 9 } })),
            422,
            "task/beyond-pool",
        ),
    ];
    for (method, path, body, status, code) in cases {
        let (got, problem) = pool.call(method, &path, body).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{method} {path}: {problem}");
        assert!(problem["title"].is_string() && problem["remedy"].is_string(), "{problem}");
    }
    let (status, problem) = answer(pool.authorised("POST", "/v1/tasks").body("x = 1")).await;
    assert_eq!((status, problem["code"].as_str()), (415, Some("api/media-type")));
    let invalid =
        pool.call("POST", "/v1/tasks", Some(json!({ "name": "T", "kind": "batch", "image": "" }))).await.1;
    assert_eq!(invalid["fields"]["problems"].as_array().unwrap().len(), 2, "{invalid}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_under_v1_answers_without_the_token_or_under_a_foreign_name() {
    let pool = Pool::start().await;
    for path in ["/v1", "/v1/tasks", "/v1/nodes", "/v1/pool", "/v1/status", "/v1/events", "/v1/nothing"] {
        for request in [pool.request("GET", path), pool.request("GET", path).bearer_auth("0".repeat(64))] {
            let (status, problem) = answer(request).await;
            assert_eq!((status, problem["code"].as_str()), (401, Some("api/unauthorized")), "{path}");
        }
    }
    let (status, problem) = answer(pool.authorised("GET", "/v1/pool").header("host", "evil.example")).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("api/host-refused")));
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        let response = pool.request("GET", path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert!(response.headers().contains_key("x-request-id"));
    }
    let response = pool.authorised("GET", "/v1/pool").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_names_the_same_task() {
    let pool = Pool::start().await;
    let post = |body: serde_json::Value| {
        answer(pool.authorised("POST", "/v1/tasks").header("idempotency-key", "k1").json(&body))
    };
    let (status, first) = post(spec("t")).await;
    assert_eq!(status, 201);
    let (status, second) = post(spec("t")).await;
    assert_eq!((status, &second["id"]), (200, &first["id"]));
    let (status, problem) = post(spec("other")).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("task/idempotency-conflict")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_paged_newest_first_stopped_explained_and_deleted() {
    let pool = Pool::start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(pool.submit(spec(&format!("t{number}"))).await);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/tasks?limit=2".to_owned();
    loop {
        let page = pool.get(&path).await;
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/tasks?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let id = &ids[0];
    let explained = pool.get(&format!("/v1/tasks/{id}/explain?nodes=true")).await;
    assert_eq!(
        (explained["state"].as_str(), explained["waiting"].as_u64()),
        (Some("pending"), Some(1)),
        "{explained}"
    );
    let (status, problem) = pool.call("GET", &format!("/v1/tasks/{id}/logs"), None).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("logs/no-container")));
    let (status, task) = pool.call("POST", &format!("/v1/tasks/{id}/stop"), None).await;
    assert_eq!((status, task["state"].as_str()), (202, Some("stopped")));
    assert_eq!(pool.get("/v1/tasks?state=stopped").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(pool.call("POST", &format!("/v1/tasks/{id}/start"), None).await.0, 202);
    assert_eq!(pool.call("DELETE", &format!("/v1/tasks/{id}"), None).await.0, 204);
    assert_eq!(pool.call("GET", &format!("/v1/tasks/{id}"), None).await.0, 404);
    assert_eq!(pool.call("DELETE", &format!("/v1/tasks/{id}"), None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_by_cursor_and_as_a_stream_each_once() {
    let pool = Pool::start().await;
    let start = pool.get("/v1/events").await["next"].as_str().unwrap().to_owned();
    let waiting = pool.authorised("GET", &format!("/v1/events?after={start}&wait=20s"));
    let (polled, id) = tokio::join!(answer(waiting), pool.submit(spec("t")));
    assert_eq!(polled.1["items"][0]["task"], id.as_str(), "{}", polled.1);

    let response = pool
        .authorised("GET", &format!("/v1/tasks/{id}/events"))
        .header("accept", "text/event-stream")
        .header("last-event-id", &start)
        .send()
        .await
        .unwrap();
    let mut body = response.bytes_stream();
    pool.call("POST", &format!("/v1/tasks/{id}/stop"), None).await;
    let mut text = String::new();
    while !text.contains("stopped") {
        let chunk = tokio::time::timeout(crate::pool::DEADLINE, body.next()).await.unwrap().unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert_eq!(text.matches("event: task").count(), 2, "one change, one event: {text}");
    let (status, _) = answer(
        pool.authorised("GET", "/v1/events")
            .header("accept", "text/event-stream")
            .header("last-event-id", "9-9"),
    )
    .await;
    assert_eq!(status, 410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_drained_and_undrained() {
    let pool = Pool::start().await;
    let worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let node = worker.node();
    let (status, view) =
        pool.call("POST", &format!("/v1/nodes/{node}/drain"), Some(json!({ "batch": "move" }))).await;
    assert_eq!((status, view["state"].as_str()), (202, Some("draining")), "{view}");
    let (status, view) = pool.call("POST", &format!("/v1/nodes/{node}/undrain"), None).await;
    assert_eq!((status, view["state"].as_str()), (202, Some("alive")));
    let (status, problem) =
        pool.call("POST", &format!("/v1/nodes/{node}/drain"), Some(json!({ "bathc": "move" }))).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("api/bad-body")));
}

#[test]
fn the_openapi_description_is_the_recorded_one() {
    let made = lode_orchestrator::api::openapi_json().unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    if std::env::var_os("LODE_RECORD_GOLDEN").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let recorded = std::fs::read_to_string(path).unwrap();
    // As values: the order of keys follows a feature of serde_json that other selections of packages switch.
    let values = [&made, &recorded].map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
    assert!(values[0] == values[1], "the API changed; record it with LODE_RECORD_GOLDEN=1 if that is meant");
}

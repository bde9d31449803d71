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
    let task = |spec: serde_json::Value| Some(json!({ "spec": spec }));
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
        ("GET", format!("/v1/tasks/{unknown}/logs?tail=1000001"), None, 400, "api/bad-query"),
        ("GET", format!("/v1/tasks/{unknown}/logs?after=yesterday"), None, 400, "logs/bad-position"),
        ("GET", format!("/v1/tasks/{unknown}/events"), None, 404, "task/not-found"),
        ("GET", "/v1/tasks?limit=0".to_owned(), None, 400, "api/bad-query"),
        ("GET", "/v1/tasks?state=asleep".to_owned(), None, 400, "api/bad-query"),
        ("GET", "/v1/tasks?stat=running".to_owned(), None, 400, "api/unknown-parameter"),
        ("GET", format!("/v1/tasks/{unknown}?follow=true"), None, 400, "api/unknown-parameter"),
        ("GET", "/v1/pool?x".to_owned(), None, 400, "api/unknown-parameter"),
        ("GET", "/v1/epochs?limt=1".to_owned(), None, 400, "api/unknown-parameter"),
        ("GET", "/v1/tasks?limit=1&limit=2".to_owned(), None, 400, "api/bad-query"),
        ("GET", "/v1/events?wait_seconds=31".to_owned(), None, 400, "api/bad-query"),
        ("POST", "/v1/tasks".to_owned(), Some(spec("bare")), 400, "api/bad-body"),
        (
            "POST",
            "/v1/tasks".to_owned(),
            Some(json!({ "spec": spec("t"), "order": null, "colour": 1 })),
            400,
            "api/bad-body",
        ),
        ("GET", "/v1/events?after=1-2".to_owned(), None, 410, "events/cursor-gone"),
        ("GET", format!("/v1/nodes/{nobody}"), None, 404, "node/not-found"),
        ("POST", format!("/v1/nodes/{nobody}/drain"), None, 404, "node/not-found"),
        ("POST", "/v1/tasks".to_owned(), task(json!({ "name": "t" })), 400, "task/spec-malformed"),
        (
            "POST",
            "/v1/tasks".to_owned(),
            task(json!({ "name": "T", "kind": "batch", "image": "" })),
            422,
            "task/spec-invalid",
        ),
        ("POST", "/v1/tasks".to_owned(), task(large), 413, "task/spec-too-large"),
        (
            "POST",
            "/v1/tasks".to_owned(),
            task(json!({ "name": "t", "kind": "batch", "image": "i", "resources": { "gpus": 9 } })),
            422,
            "task/beyond-pool",
        ),
    ];
    for (method, path, body, status, code) in cases {
        let (got, problem) = pool.call(method, &path, body).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{method} {path}: {problem}");
        assert!(problem["title"].is_string() && problem["remedy"].is_string(), "{problem}");
        let read: lode_api_types::Problem = serde_json::from_value(problem.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), problem, "the description has every field of it");
    }
    let (status, problem) = answer(pool.authorised("POST", "/v1/tasks").body("x = 1")).await;
    assert_eq!((status, problem["code"].as_str()), (415, Some("api/media-type")));
    let invalid = pool.post_task(json!({ "name": "T", "kind": "batch", "image": "" })).await.1;
    assert_eq!(invalid["fields"]["problems"].as_array().unwrap().len(), 2, "{invalid}");
    let twice = r#"{"spec":{"name":"t","kind":"batch","image":"i:1","env":{"A":"1","A":"2"}}}"#;
    let request = pool.authorised("POST", "/v1/tasks").header("content-type", "application/json").body(twice);
    let (status, problem) = answer(request).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("task/spec-malformed")), "{problem}");
    assert!(problem["fields"]["at"].as_str().is_some_and(|at| at.starts_with("env")), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typing_error_in_a_query_is_told_with_what_there_is() {
    let pool = Pool::start().await;
    let (_, problem) = pool.call("GET", "/v1/tasks?stat=running", None).await;
    assert_eq!(problem["fields"]["parameter"], "stat", "{problem}");
    assert_eq!(problem["fields"]["known"], json!(["state", "after", "limit"]), "{problem}");
    let (_, problem) = pool.call("GET", "/v1/tasks?state=runnin", None).await;
    let detail = problem["detail"].as_str().unwrap();
    for word in ["state", "runnin", "pending", "running", "deleting"] {
        assert!(detail.contains(word), "{word}: {problem}");
    }
    // The routes that strangers reach are as strict.
    let public = pool.request("GET", "/v1/epochs?limt=1").send().await.unwrap();
    assert_eq!(public.status().as_u16(), 400);
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
    // The workers' fallback, which also shows receipts, is as strict.
    let wire = pool.running.endpoints.iter().find(|endpoint| endpoint.starts_with("http://")).unwrap();
    let request = reqwest::Client::new().get(format!("{wire}/v1/epochs")).header("host", "evil.example");
    let (status, problem) = answer(request).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("api/host-refused")));
    assert!(problem["remedy"].as_str().is_some_and(|remedy| remedy.contains("wire.hosts")), "{problem}");
    for path in ["/livez", "/readyz", "/openapi.json"] {
        let response = pool.request("GET", path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert!(response.headers().contains_key("x-request-id"));
    }
    let response = pool.authorised("GET", "/v1/pool").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_what_fails_are_told_at_the_operators_own_address_only_unless_the_api_is_asked_to() {
    let pool = Pool::start_with("[health]\nlisten = \"127.0.0.1:0\"\n").await;
    let (status, problem) = answer(pool.request("GET", "/metrics")).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("api/not-found")));
    let (_, ready) = answer(pool.request("GET", "/readyz")).await;
    assert_eq!(ready.as_object().map(serde_json::Map::len), Some(1), "{ready}");
    let own = pool.running.health.expect("it was asked for");
    for (path, expected) in [("/metrics", "lode_"), ("/readyz", "\"failing\""), ("/livez", "\"silent\"")] {
        let text = reqwest::get(format!("http://{own}{path}")).await.unwrap().text().await.unwrap();
        assert!(text.contains(expected), "{path}: {text}");
    }
    let asked = Pool::start_with("[api]\nlisten = \"127.0.0.1:0\"\nmetrics = true\n").await;
    let (status, _) = answer(asked.request("GET", "/metrics")).await;
    assert_eq!(status, 200);
    assert!(asked.running.health.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_names_the_same_task() {
    let pool = Pool::start().await;
    let post = |body: serde_json::Value| {
        let body = json!({ "spec": body });
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
    let shown = pool.get(&format!("/v1/tasks/{id}")).await;
    for field in ["id", "name", "kind", "state", "created", "replicas"] {
        assert_eq!(task[field], shown[field], "{field}");
    }
    let whole = ["spec", "replica_states", "assignments"];
    assert!(whole.iter().all(|field| task.get(field).is_none() && shown.get(field).is_some()), "{task}");
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
    let waiting = pool.authorised("GET", &format!("/v1/events?after={start}&wait_seconds=20"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_what_the_shared_types_say() {
    let pool = Pool::start().await;
    let worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = pool.submit(spec("t")).await;
    /// Nothing is lost or added between the wire and the types.
    async fn same<T: serde::Serialize + serde::de::DeserializeOwned>(pool: &Pool, path: &str) {
        let said = pool.get(path).await;
        let read: T =
            serde_json::from_value(said.clone()).unwrap_or_else(|error| panic!("{path}: {error}: {said}"));
        assert_eq!(serde_json::to_value(&read).unwrap(), said, "{path}");
    }
    same::<lode_api_types::TaskPage>(&pool, "/v1/tasks").await;
    same::<lode_api_types::Task>(&pool, &format!("/v1/tasks/{id}")).await;
    same::<lode_api_types::Explanation>(&pool, &format!("/v1/tasks/{id}/explain?nodes=true")).await;
    same::<lode_api_types::NodePage>(&pool, "/v1/nodes").await;
    same::<lode_api_types::Node>(&pool, &format!("/v1/nodes/{}", worker.node())).await;
    same::<lode_api_types::EventPage>(&pool, "/v1/events").await;
    same::<lode_api_types::Pool>(&pool, "/v1/pool").await;
    same::<lode_protocol::published::EpochPage>(&pool, "/v1/epochs").await;
    // Its age grows between two readings, so that it is only read.
    let _: lode_api_types::Status = serde_json::from_value(pool.get("/v1/status").await).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_cannot_do_is_refused_before_it_begins() {
    let pool = Pool::start().await;
    let id = pool.submit(json!({ "name": "t", "kind": "batch", "image": "i:1" })).await;
    let other = pool.submit(json!({ "name": "u", "kind": "batch", "image": "i:1" })).await;
    let cases = [
        ("/v1/events?limit=5".to_owned(), None, 400, "api/bad-query"),
        (format!("/v1/tasks/{id}/events?wait_seconds=5"), None, 400, "api/bad-query"),
        ("/v1/events".to_owned(), Some("yesterday"), 400, "events/bad-cursor"),
        (format!("/v1/tasks/{id}/logs"), Some("yesterday"), 400, "logs/bad-position"),
        (format!("/v1/tasks/{id}/logs?timestamps=true"), None, 400, "api/bad-query"),
        (format!("/v1/tasks/{id}/logs?assignment={other}.0.1"), None, 404, "logs/no-assignment"),
        (format!("/v1/tasks/{id}/logs?assignment={id}.0.1&replica=1"), None, 400, "api/bad-query"),
    ];
    for (path, last, status, code) in cases {
        let mut request = pool.authorised("GET", &path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let (got, problem) = answer(request).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_of_a_task_file_is_served() {
    let pool = Pool::start().await;
    let (status, schema) = answer(pool.request("GET", "/schemas/task.json")).await;
    assert_eq!((status, &schema), (200, &lode_protocol::task::json_schema()));
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

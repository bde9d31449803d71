"""The generated client on a running orchestrator: submits a task, follows it, reads what it wrote, deletes it.

Usage: client.py URL TOKEN. The test beside it plays the GPU host.
"""

import json
import sys
import time
from http import HTTPStatus
from uuid import uuid4

from lode_orchestrator_client import AuthenticatedClient, Client
from lode_orchestrator_client.api.nodes import list_nodes
from lode_orchestrator_client.api.pool import get_pool, get_status
from lode_orchestrator_client.api.settlement import list_epochs
from lode_orchestrator_client.api.tasks import (
    delete_task,
    explain_task,
    get_task,
    list_task_events,
    list_tasks,
    submit_task,
)
from lode_orchestrator_client.models import (
    EventPage,
    LogBegin,
    LogEnd,
    LogLine,
    LogStatus,
    Problem,
    Resources,
    Submission,
    Submitted,
    Task,
    TaskKind,
    TaskPage,
    TaskSpec,
    TaskState,
)

DEADLINE_SECONDS = 60


def messages(client, path, params, headers):
    """The server-sent events of a stream, each as a dict of `event`, `id` and `data`."""
    headers = {"Accept": "text/event-stream", **headers}
    with client.get_httpx_client().stream(
        "GET", path, params=params, headers=headers, timeout=DEADLINE_SECONDS
    ) as response:
        assert response.status_code == HTTPStatus.OK, response.status_code
        message = {}
        for line in response.iter_lines():
            if line == "":
                if "data" in message:
                    yield message
                message = {}
                continue
            field, _, value = line.partition(":")
            if field:
                message[field] = value.removeprefix(" ")


def until(client, task_id, wanted):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        task = get_task.sync(task_id, client=client)
        assert isinstance(task, Task), task
        if task.state == wanted:
            return task
        assert time.monotonic() < deadline, f"still {task.state}, not {wanted}"
        time.sleep(0.05)


def main(url, token):
    client = AuthenticatedClient(base_url=url, token=token)

    stranger = Client(base_url=url)
    refused = get_pool.sync_detailed(client=stranger)
    assert refused.status_code == HTTPStatus.UNAUTHORIZED, refused
    assert refused.parsed.code == "api/unauthorized", refused.parsed
    assert list_epochs.sync(client=stranger).items == []

    bad = Submission(spec=TaskSpec(name="Not A Name", kind=TaskKind.BATCH, image=""))
    refused = submit_task.sync_detailed(client=client, body=bad)
    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, refused
    assert isinstance(refused.parsed, Problem), refused.parsed
    assert {problem.field for problem in refused.parsed.fields.problems} == {"name", "image"}, refused.parsed

    spec = TaskSpec(
        name="by-python", kind=TaskKind.BATCH, image="i:1", resources=Resources(gpus=1, memory="1GiB"), stop_grace="5s"
    )
    key = str(uuid4())
    accepted = submit_task.sync_detailed(client=client, body=Submission(spec=spec), idempotency_key=key)
    assert accepted.status_code == HTTPStatus.CREATED, accepted
    submitted = accepted.parsed
    assert isinstance(submitted, Submitted) and submitted.state == TaskState.PENDING, submitted
    shown = get_task.sync(submitted.id, client=client)
    assert shown.spec.stop_grace == "5s" and shown.spec.resources.gpus == 1, shown.spec
    again = submit_task.sync_detailed(client=client, body=Submission(spec=spec), idempotency_key=key)
    assert again.status_code == HTTPStatus.OK and again.parsed.id == submitted.id, again

    running = until(client, submitted.id, TaskState.RUNNING)
    assert len(running.assignments) == 1 and len(running.assignments[0].gpus) == 1, running.assignments
    explained = explain_task.sync(submitted.id, client=client, nodes=True)
    assert explained.state == TaskState.RUNNING and len(explained.verdicts) == 1, explained

    lines, end = [], None
    for message in messages(client, f"/v1/tasks/{submitted.id}/logs", {"follow": "true"}, {}):
        data = json.loads(message["data"])
        if message["event"] == "begin":
            assert LogBegin.from_dict(data).replicas == 1, data
        elif message["event"] == "line":
            line = LogLine.from_dict(data)
            assert line.position == message["id"], message
            lines.append(line.text)
        elif message["event"] == "end":
            end = LogEnd.from_dict(data)
            break
    assert lines == ["one", "two"], lines
    assert end.status == LogStatus.COMPLETE, end

    done = until(client, submitted.id, TaskState.SUCCEEDED)
    assert done.assignments[0].exit_code == 0, done.assignments
    page = list_tasks.sync(client=client, state=TaskState.SUCCEEDED)
    assert isinstance(page, TaskPage) and [task.id for task in page.items] == [submitted.id], page

    happened = list_task_events.sync(submitted.id, client=client)
    assert isinstance(happened, EventPage), happened
    moves = [event.to for event in happened.items if event.type_ == "task"]
    assert moves[0] == TaskState.PENDING and moves[-1] == TaskState.SUCCEEDED, moves
    first = happened.items[0]
    stream = messages(client, f"/v1/tasks/{submitted.id}/events", {}, {"Last-Event-ID": first.cursor})
    assert next(stream)["id"] == happened.items[1].cursor
    stream.close()

    assert get_status.sync(client=client).ready
    assert get_pool.sync(client=client).tasks.to_dict() == {"succeeded": 1}
    assert [len(node.gpus) for node in list_nodes.sync(client=client).items] == [2]

    gone = delete_task.sync_detailed(submitted.id, client=client)
    assert gone.status_code in (HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT), gone
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        left = get_task.sync_detailed(submitted.id, client=client)
        if left.status_code == HTTPStatus.NOT_FOUND:
            break
        assert time.monotonic() < deadline, "never gone"
        time.sleep(0.05)
    assert left.parsed.code == "task/not-found", left.parsed
    print("submitted, followed, deleted")


if __name__ == "__main__":
    main(*sys.argv[1:])

//! From the core's views of tasks to what the API says. The core's types may change; these words stay.

use lode_api_types as api;
use lode_protocol::assignment::Reason;

use crate::core::event::Unpinned;
use crate::core::view;

pub(super) fn state(state: view::TaskState) -> api::TaskState {
    match state {
        view::TaskState::Pending => api::TaskState::Pending,
        view::TaskState::Running => api::TaskState::Running,
        view::TaskState::Stopping => api::TaskState::Stopping,
        view::TaskState::Stopped => api::TaskState::Stopped,
        view::TaskState::Succeeded => api::TaskState::Succeeded,
        view::TaskState::Failed => api::TaskState::Failed,
        view::TaskState::Deleting => api::TaskState::Deleting,
    }
}

/// The core's state that a filter means.
pub(super) fn state_of(state: api::TaskState) -> view::TaskState {
    match state {
        api::TaskState::Pending => view::TaskState::Pending,
        api::TaskState::Running => view::TaskState::Running,
        api::TaskState::Stopping => view::TaskState::Stopping,
        api::TaskState::Stopped => view::TaskState::Stopped,
        api::TaskState::Succeeded => view::TaskState::Succeeded,
        api::TaskState::Failed => view::TaskState::Failed,
        api::TaskState::Deleting => view::TaskState::Deleting,
    }
}

fn replica(state: view::ReplicaState) -> api::ReplicaState {
    match state {
        view::ReplicaState::Pending => api::ReplicaState::Pending,
        view::ReplicaState::BackOff => api::ReplicaState::BackOff,
        view::ReplicaState::Active => api::ReplicaState::Active,
        view::ReplicaState::Succeeded => api::ReplicaState::Succeeded,
        view::ReplicaState::Failed => api::ReplicaState::Failed,
        view::ReplicaState::Idle => api::ReplicaState::Idle,
    }
}

fn filter(filter: view::Filter) -> api::Filter {
    match filter {
        view::Filter::Member => api::Filter::Member,
        view::Filter::Alive => api::Filter::Alive,
        view::Filter::NotDraining => api::Filter::NotDraining,
        view::Filter::NotConflicted => api::Filter::NotConflicted,
        view::Filter::NotFailing => api::Filter::NotFailing,
        view::Filter::Proven => api::Filter::Proven,
        view::Filter::Budget => api::Filter::Budget,
        view::Filter::Constraints => api::Filter::Constraints,
        view::Filter::GpuModel => api::Filter::GpuModel,
        view::Filter::GpuMemory => api::Filter::GpuMemory,
        view::Filter::GpuHealth => api::Filter::GpuHealth,
        view::Filter::GpusFree => api::Filter::GpusFree,
        view::Filter::Cpus => api::Filter::Cpus,
        view::Filter::Memory => api::Filter::Memory,
        view::Filter::Disk => api::Filter::Disk,
        view::Filter::DesiredSet => api::Filter::DesiredSet,
    }
}

pub(super) fn summary(task: view::TaskSummary) -> api::TaskSummary {
    let view::ReplicaCounts { total, pending, starting, running, succeeded, failed } = task.replicas;
    api::TaskSummary {
        id: task.id,
        name: task.name,
        kind: task.kind,
        state: state(task.state),
        created: task.created,
        replicas: api::Replicas { total, pending, starting, running, succeeded, failed },
    }
}

fn step(step: view::HistoryView) -> api::Step {
    let view::HistoryView { at, state, reason, detail } = step;
    api::Step { at, state, reason, detail }
}

fn assignment(assignment: view::AssignmentView) -> api::Assignment {
    api::Assignment {
        id: assignment.id,
        replica: assignment.id.replica.replica,
        incarnation: assignment.id.incarnation,
        node: assignment.node,
        state: assignment.state,
        reason: assignment.reason,
        fault: assignment.reason.and_then(Reason::fault),
        detail: assignment.detail,
        exit_code: assignment.exit_code,
        restarts: assignment.restarts,
        gpus: assignment.gpus,
        ports: assignment.ports,
        image: assignment.image,
        history: assignment.history.into_iter().map(step).collect(),
    }
}

pub(super) fn task(task: view::TaskView) -> api::Task {
    api::Task {
        summary: summary(task.summary),
        spec: task.spec,
        pinned_image: task.pinned_image,
        order: task.order.map(|order| api::Order {
            tenant: order.tenant,
            digest: order.digest,
            price_per_gpu_hour: order.price_per_gpu_hour,
            budget: order.budget,
            spent: order.spent,
        }),
        replica_states: task.replica_states.into_iter().map(replica).collect(),
        assignments: task.assignments.into_iter().map(assignment).collect(),
    }
}

pub(super) fn submitted(
    task: view::TaskSummary,
    pinned_image: Option<String>,
    doubt: Option<Unpinned>,
) -> api::Submitted {
    // One that was submitted before may have been pinned since.
    let doubt = doubt.filter(|_| pinned_image.is_none());
    let warnings = doubt.into_iter().map(|doubt| api::Warning {
        code: doubt.code,
        message: format!(
            "The image is not pinned, because {}. The first node that reports what it runs pins it.",
            doubt.message
        ),
    });
    api::Submitted { task: summary(task), pinned_image, warnings: warnings.collect() }
}

pub(super) fn verdict(verdict: view::NodeVerdict) -> api::Verdict {
    let view::NodeVerdict { node, failed, message } = verdict;
    api::Verdict { node, failed: failed.map(filter), message }
}

pub(super) fn explanation(explanation: view::Explanation) -> api::Explanation {
    let filters = explanation.filters.into_iter().map(|row| api::FilterCount {
        filter: filter(row.filter),
        nodes: row.nodes,
        help: row.help,
    });
    let back_offs =
        explanation.back_offs.into_iter().map(|(replica, left)| api::BackOff { replica, left_ms: left.0 });
    api::Explanation {
        task: explanation.task,
        state: state(explanation.state),
        summary: explanation.summary,
        waiting: explanation.waiting,
        nodes: explanation.nodes,
        fitting: explanation.fitting,
        filters: filters.collect(),
        blocked: explanation
            .blocked
            .map(|blocked| api::Blocked { code: blocked.code, message: blocked.message }),
        back_offs: back_offs.collect(),
        verdicts: Vec::new(),
        next: None,
    }
}

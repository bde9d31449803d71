//! The fuzz target `submission`: the body of `POST /v1/tasks`, with an order or without.

use lode_protocol::task::TaskSpec;

use super::tasks::submission;

/// A body is taken whole or refused with words.
///
/// # Panics
/// If a defect was found.
pub fn submissions(bytes: &[u8]) {
    match submission(bytes) {
        Ok((spec, _)) => {
            let text = serde_json::to_vec(spec.as_spec()).expect("a spec has a JSON form");
            let again = TaskSpec::checked_from_json(&text).expect("a valid spec stays valid");
            assert_eq!(again.digest(), spec.digest(), "an order for it is an order for what is stored");
        }
        Err(problem) => assert!(problem.status_code().is_client_error(), "{problem:?}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_body_breaks_the_submission_of_a_task_and_none_of_them_is_our_fault() {
        lode_testkit::fuzz::short_run("submission", 3_000, super::submissions);
    }
}

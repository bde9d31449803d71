//! Reading one field after the other of one GPU, telling "has no such thing" from "failed".

use nvml_wrapper::error::NvmlError as Raw;

use super::errors;
use super::pulse::Pulse;
use crate::NvmlError;
use crate::inventory::FieldProblem;

/// Reads fields of one GPU; once it is lost, nothing more is asked.
pub(super) struct FieldReader<'a> {
    pulse: &'a Pulse,
    index: u32,
    problems: Vec<FieldProblem>,
    fatal: Option<NvmlError>,
}

impl<'a> FieldReader<'a> {
    pub(super) fn new(pulse: &'a Pulse, index: u32) -> Self {
        Self { pulse, index, problems: Vec::new(), fatal: None }
    }

    /// One field: `None` when the GPU does not have it, or when it failed, which is then a problem.
    pub(super) fn get<T>(
        &mut self,
        operation: &'static str,
        call: impl FnOnce() -> Result<T, Raw>,
    ) -> Option<T> {
        match self.attempt(operation, call)? {
            Ok(value) => Some(value),
            Err(NvmlError::NotSupported { .. }) => None,
            Err(error) => {
                self.problem(operation, error);
                None
            }
        }
    }

    /// One call whose errors mean something to the caller; `None` when the GPU was lost, now or before.
    pub(super) fn attempt<T>(
        &mut self,
        operation: &'static str,
        call: impl FnOnce() -> Result<T, Raw>,
    ) -> Option<Result<T, NvmlError>> {
        if self.fatal.is_some() {
            return None;
        }
        self.pulse.begin(operation, Some(self.index));
        match call().map_err(|error| errors::of_call(operation, error)) {
            Err(error @ (NvmlError::GpuLost { .. } | NvmlError::Uninitialized { .. })) => {
                self.fatal = Some(error);
                None
            }
            answer => Some(answer),
        }
    }

    pub(super) fn problem(&mut self, operation: &'static str, error: NvmlError) {
        self.problems.push(FieldProblem { operation, error });
    }

    pub(super) fn take_problems(&mut self) -> Vec<FieldProblem> {
        std::mem::take(&mut self.problems)
    }

    pub(super) fn fatal(&self) -> Option<NvmlError> {
        self.fatal.clone()
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }
}

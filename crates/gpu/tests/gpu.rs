//! NVML through the real bindings, against the simulated library.

mod environment;
mod nvml;

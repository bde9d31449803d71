//! NVML's return codes to [`NvmlError`].

use std::path::Path;

use nvml_wrapper::error::NvmlError as Raw;

use crate::NvmlError;

/// An error of one call.
pub(super) fn of_call(operation: &'static str, error: Raw) -> NvmlError {
    match error {
        Raw::DriverNotLoaded => NvmlError::DriverNotLoaded,
        Raw::LibRmVersionMismatch => NvmlError::DriverLibraryMismatch,
        Raw::NoPermission => NvmlError::NoPermission { operation },
        Raw::GpuLost => NvmlError::GpuLost { operation },
        Raw::ResetRequired => NvmlError::ResetRequired { operation },
        Raw::Uninitialized => NvmlError::Uninitialized { operation },
        // A missing symbol is an older driver; an unknown variant is a newer GPU than this build knows.
        Raw::NotSupported
        | Raw::FailedToLoadSymbol(_)
        | Raw::FunctionNotFound
        | Raw::UnexpectedVariant(_) => NvmlError::NotSupported { operation },
        other => NvmlError::Other { operation, detail: other.to_string() },
    }
}

/// An error of loading and initialising the library.
pub(super) fn of_initialisation(library: &Path, error: Raw) -> NvmlError {
    match error {
        Raw::LibloadingError(error) => of_loading(library, &error.to_string()),
        other => of_call("nvmlInit_v2", other),
    }
}

fn of_loading(library: &Path, loader: &str) -> NvmlError {
    let name = library.display().to_string();
    let detail = loader.to_owned();
    // The loader's text is the only thing that tells the two apart; a wrong guess costs a worse hint, no more.
    if detail.contains("No such file") || detail.contains("cannot open shared object file") {
        NvmlError::LibraryMissing { library: name, detail }
    } else {
        NvmlError::LibraryUnusable { library: name, detail }
    }
}

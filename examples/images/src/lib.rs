//! What the example programs share: reading their arguments, seeing their GPUs, being told to stop, and packing an image.
//!
//! Standard library only, no dependencies: the programs are linked statically and put into an image `FROM scratch`,
//! so everything in the image can be read here.

pub mod archive;
pub mod arguments;
pub mod gpus;
pub mod image;
pub mod primes;
pub mod sha256;
pub mod stop;

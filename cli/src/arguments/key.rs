//! `lode key …`

use std::path::PathBuf;

use clap::Subcommand;

/// `lode key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key in a new file (mode 0600) and print its address
    New {
        /// The file; it must not be there
        file: PathBuf,
    },
    /// Print the address of a key
    Show {
        /// The file
        file: PathBuf,
    },
    /// Sign what --typed-data or --sign-elsewhere wrote, without any chain: for keys on a machine without network
    Sign {
        /// The JSON that was written; `-` reads standard input
        file: PathBuf,
        /// File with the key (mode 0600)
        #[arg(long, env = "LODE_KEY_FILE", value_name = "FILE")]
        key_file: PathBuf,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

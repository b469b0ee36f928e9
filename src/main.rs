//! Arguments in, a command run, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    eliza_gatekeeper::cli::main()
}

//! Arguments in, a command run, an exit code out.

use std::process::ExitCode;

/// A call asks for memory some dozens of times, and its record is let go of on another thread; against glibc's a tenth fewer instructions.
/// Without huge pages, which would double what it holds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    eliza_gatekeeper::cli::main()
}

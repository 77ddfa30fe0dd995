use std::process::ExitCode;

fn main() -> ExitCode {
    vaiven::cli::main(std::env::args_os().collect())
}

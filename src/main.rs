use std::process::ExitCode;

fn main() -> ExitCode {
    vaiven::main(std::env::args_os().collect())
}

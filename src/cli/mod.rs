//! The command line: what people type and what they see.

mod adapter;
mod app;
mod apply;
mod approve;
mod args;
mod backup;
mod canonical;
mod causes;
mod check;
mod conflicts;
mod daemon;
mod diff;
mod differences;
mod explain;
mod found;
mod jobs;
mod lifecycle;
mod links;
mod logging;
mod mapping;
mod naming;
mod notify;
mod now;
mod output;
mod plan;
mod progress;
mod reference;
mod rejected;
mod report;
mod resume;
mod resync;
mod rows;
mod run;
mod schema;
mod session;
mod status;
mod story;
mod undo;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, MappingCommand};
use lifecycle::Lifecycle;
use output::Output;
use session::Session;

pub use crate::opened::Ending;
use crate::{config::LogSection, demo::Audience, env::Env};

/// Run a command line and return how it ended. This is not generic, so the code below it is compiled once, with the
/// library.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own printing handles terminals; help and version are not errors.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::error(&error.into(), json),
    };
    let result = runtime.block_on(carry_out(cli));
    // A hard stop does not wait for work under way.
    runtime.shutdown_background();
    match result {
        Ok(ending) => ending.into(),
        Err(error) => report::error(&error, json),
    }
}

async fn carry_out(cli: Cli) -> anyhow::Result<Ending> {
    let Cli { global, command } = cli;
    let env = Env::system();
    let output = Output::new(&global);
    match command {
        Command::Run(args) => return run::run(&args, &global, &env).await,
        Command::Sandbox(options) => {
            logging::start(&LogSection::default(), "info", None)?;
            let life = Lifecycle::listen(&env)?;
            life.guard(crate::sandbox::run(options, env, life.soft.clone())).await.transpose()?;
            return Ok(Ending::Fine);
        }
        // The demo shares the machine with its viewer: slow statements are normal there.
        Command::Demo(_) => logging::start(&LogSection::default(), "warn,sqlx=error", None)?,
        _ => logging::start(&LogSection::default(), "warn", None)?,
    }
    match command {
        Command::Run(_) | Command::Sandbox(_) => Ok(Ending::Fine),
        Command::Plan(args) => plan::plan(&args, &global, &env).await,
        Command::Apply { file } => apply::apply(&file, &global, &env).await,
        Command::Undo(args) => undo::undo(&args, &global, &env).await,
        Command::Resync { scope } => resync::resync(&scope, &Session::open(&global, &env).await?).await,
        Command::Status => status::status(&Session::open(&global, &env).await?).await,
        Command::Backup { file } => backup::backup(&file, &app::config(&global)?, output).await,
        Command::Explain { entity, key, field, personal, live } => {
            let request =
                explain::ExplainRequest { entity: &entity, key: &key, field: field.as_deref(), personal, live };
            explain::explain(request, &Session::open(&global, &env).await?).await
        }
        Command::Jobs(command) => jobs::jobs(&command, &Session::open(&global, &env).await?).await,
        Command::Differences { command } => {
            differences::differences(&command.unwrap_or_default(), &Session::open(&global, &env).await?).await
        }
        Command::Conflicts(command) => conflicts::conflicts(&command, &Session::open(&global, &env).await?).await,
        Command::Links(command) => links::links(&command, &Session::open(&global, &env).await?).await,
        Command::Rows(command) => rows::rows(&command, &Session::open(&global, &env).await?).await,
        Command::Rejected { system, limit } => {
            rejected::rejected(system.as_deref(), limit, &Session::open(&global, &env).await?).await
        }
        Command::Approve { run } => {
            let session = Session::open(&global, &env).await?;
            match run {
                Some(run) => approve::decide(&run, true, &session).await,
                None => approve::list(&session).await,
            }
        }
        Command::Reject { run } => approve::decide(&run, false, &Session::open(&global, &env).await?).await,
        Command::Resume { system } => resume::resume(system.as_deref(), &Session::open(&global, &env).await?).await,
        Command::Check { offline } => check::check(offline, &global, &env, output).await,
        Command::Adapter(command) => adapter::adapter(&command, &global, output),
        Command::Mapping(MappingCommand::Test { names }) => mapping::test_all(&names, &global, output),
        Command::Mapping(MappingCommand::Diff(args)) => diff::diff(&args, &global, &env).await,
        Command::Schema { name } => schema::schema(name.as_deref(), &global),
        Command::Demo(options) => {
            let life = Lifecycle::listen(&env)?;
            let audience = match (global.json, output::is_watched()) {
                (true, _) => Audience::Program,
                (false, true) => Audience::Person,
                (false, false) => Audience::Reader,
            };
            let demo = crate::demo::run(&options, &env, audience, &life.soft);
            let stopped = || anyhow::anyhow!("stopped at once; the next start in this folder goes on from here");
            life.guard(demo).await.ok_or_else(stopped)?
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "vaiven", &mut std::io::stdout());
            Ok(Ending::Fine)
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
            Ok(Ending::Fine)
        }
        Command::Reference => {
            output::line(&reference::markdown())?;
            Ok(Ending::Fine)
        }
    }
}

#[cfg(test)]
mod tests;

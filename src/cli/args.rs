//! The command line.
//!
//! One file, because the reference of the command line is made of it, in this order.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::store::{JobId, JobState, LinkState, RunId};
use crate::wait_reason::WaitReason;

/// Keeps online stores and the company's ERP and CRM telling the same story.
#[derive(Debug, Parser)]
#[command(name = "vaiven", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 fine, 1 error, 2 wrong command line, 3 finished but something waits for a person or \
    could not be read: the first line of `vaiven status` says what, and which command shows it, \
    78 wrong configuration."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file [default: vaiven.toml, config/vaiven.toml, /etc/vaiven/vaiven.toml]
    #[arg(long, short, global = true, value_name = "FILE", env = "VAIVEN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: pull when it is time, deliver what there is
    Run(RunArgs),
    /// Show what a pass would write, and write nothing
    Plan(PlanArgs),
    /// Carry out a plan, and nothing else
    Apply {
        /// A plan as `vaiven plan --out` wrote it
        file: PathBuf,
    },
    /// Revert what runs wrote, where nobody has changed it since
    Undo(UndoArgs),
    /// Ask the running daemon to read something again
    Resync {
        /// `flow`, `flow/entity` or `flow/entity/KEY`
        scope: String,
    },
    /// Show systems, runs and the queue at a glance
    Status,
    /// Copy the state into a new file while the daemon runs
    Backup {
        /// File to be made; an existing one is refused
        file: PathBuf,
    },
    /// Show the whole story of one record
    Explain {
        /// Kind of object: product, order...
        entity: String,
        /// The record's key: SKU, order number...; its id at a system, a tax number or another match field will do, and an
        /// article's key for its prices and stock
        key: String,
        /// Only this field, with all that is known to have happened to it
        field: Option<String>,
        /// Show personal data, which is hidden otherwise
        #[arg(long)]
        personal: bool,
        /// Read the systems now, and show what they hold beside what is known of them
        #[arg(long)]
        live: bool,
    },
    /// List, retry, discard or restore jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Show fields that wait for a decision, and decide
    #[command(subcommand)]
    Conflicts(ConflictsCommand),
    /// Show what targets store differently from what was sent, and accept it
    Differences {
        /// Without one, `list`
        #[command(subcommand)]
        command: Option<DifferencesCommand>,
    },
    /// Show which records are the same and why, and decide where that is uncertain
    #[command(subcommand)]
    Links(LinksCommand),
    /// Show rows that could not be read: which, why, and where in the mapping
    Rejected {
        /// Only those of this system
        system: Option<String>,
        /// Show at most so many; 0 = all
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Put aside rows that cannot be read
    #[command(subcommand)]
    Rows(RowsCommand),
    /// Show what brakes hold back, or let a run's jobs go
    Approve {
        /// Number of the run; without it, what waits is listed
        run: Option<String>,
    },
    /// Leave the targets as they are: what a run's held jobs would have changed is not sent
    Reject {
        /// Number of the run, as `vaiven approve` lists it
        run: String,
    },
    /// Resume a system that is paused because it failed or refused us
    Resume {
        /// The system; without one, all of them
        system: Option<String>,
    },
    /// Check the configuration and the connections
    Check {
        /// Check the files alone and connect to nothing
        #[arg(long)]
        offline: bool,
    },
    /// Look at adapters
    #[command(subcommand)]
    Adapter(AdapterCommand),
    /// Test mappings, and show what an edited one would change
    #[command(subcommand)]
    Mapping(MappingCommand),
    /// Print a JSON Schema
    Schema {
        /// config, adapter, mapping or an entity such as product; without it, what there is
        name: Option<String>,
    },
    /// Run a shop to try configurations on, compatible with WooCommerce
    Sandbox(crate::sandbox::Options),
    /// Watch a hardware shop and its ERP being kept in step, without installing anything
    Demo(crate::demo::Options),
    /// Print a script that completes commands in a shell
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Print the reference of all commands, as in docs/cli.md
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Pull everything once, deliver until nothing is left to do, then end
    #[arg(long)]
    pub once: bool,
    /// Read this again, whatever is known of it: `flow`, `flow/entity` or `flow/entity/KEY`; ends like --once
    #[arg(long, value_name = "SCOPE")]
    pub resync: Option<String>,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only this flow
    #[arg(long)]
    pub flow: Option<String>,
    /// Read everything, not only what changed: this also finds deletions and drift
    #[arg(long)]
    pub full: bool,
    /// Keep the plan in this file, for `vaiven apply`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Show everything of each kind, not only some examples
    #[arg(long)]
    pub all: bool,
    /// Show personal data, which is hidden otherwise
    #[arg(long)]
    pub personal: bool,
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Numbers of runs; without any, lists the latest that changed something
    #[arg(value_name = "RUN")]
    pub runs: Vec<RunId>,
    /// Remove what the runs created, as `on_delete` of the flow says
    #[arg(long)]
    pub delete_created: bool,
    /// Show personal data, which is hidden otherwise
    #[arg(long)]
    pub personal: bool,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List open, parked and dead jobs
    List {
        #[command(flatten)]
        filter: JobsFilter,
        /// Show at most so many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Queue parked and dead jobs again
    Retry {
        #[command(flatten)]
        filter: JobsFilter,
    },
    /// Give parked and dead jobs up
    Discard {
        #[command(flatten)]
        filter: JobsFilter,
    },
    /// Take discarded jobs back: they are queued again
    Restore {
        #[command(flatten)]
        filter: JobsFilter,
    },
}

#[derive(Debug, Subcommand)]
pub enum RowsCommand {
    /// The same as `vaiven rejected`
    List {
        /// Only those of this system
        system: Option<String>,
        /// Show at most so many; 0 = all
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Put rows aside: what waits because it may be one of them goes on, and is created if it is to be
    Dismiss {
        /// System and entity, as they are listed: shop/product
        #[arg(value_name = "SYSTEM/ENTITY")]
        place: String,
        /// The row's id or place, as it is listed
        row: Option<String>,
        /// All rows of the system and entity
        #[arg(long, conflicts_with = "row")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConflictsCommand {
    /// List fields that were changed on both sides, and edits of fields that another system owns
    List {
        /// Show at most so many; 0 = all
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
        /// Show personal data, which is hidden otherwise
        #[arg(long)]
        personal: bool,
    },
    /// Show a record's conflicts: the last common value, and what each system has now
    Show {
        /// Kind of object: product, customer...
        entity: String,
        /// The record's key
        key: String,
        /// Show personal data, which is hidden otherwise
        #[arg(long)]
        personal: bool,
    },
    /// Decide the value of a field
    Resolve {
        /// Kind of object: product, customer...
        entity: String,
        /// The record's key
        key: String,
        /// The field in conflict
        field: String,
        /// Take the value of this system
        #[arg(long, value_name = "SYSTEM", conflicts_with = "value")]
        take: Option<String>,
        /// Set another value, given as JSON
        #[arg(long, value_name = "JSON")]
        value: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum LinksCommand {
    /// List links that a match field or a person has made, and those that are paused or ignored
    List {
        /// Only those of this kind of object
        #[arg(long)]
        entity: Option<String>,
        /// Only those in this state
        #[arg(long, value_enum)]
        state: Vec<LinkStates>,
        /// Show at most so many; 0 = all
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Show records that may already exist at a target: they wait for a decision
    Review {
        /// Show at most so many; 0 = all
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Say that a record is the same as another one, which has objects at other systems
    Link {
        #[command(flatten)]
        name: LinkName,
        /// Key of the record that it is the same as
        other: String,
    },
    /// Say that two records are the same although both have an object at one system, such as a second account
    Merge {
        #[command(flatten)]
        name: LinkName,
        /// Key of the record that it is the same as
        #[arg(value_name = "INTO")]
        other: String,
    },
    /// Say that a record is none of the candidates, or that a system's object is not this record
    Unlink {
        #[command(flatten)]
        name: LinkName,
        /// Keys of records that it is not; without any, all candidates
        #[arg(conflicts_with = "at")]
        others: Vec<String>,
        /// What this system has becomes a record of its own; what it no longer has is forgotten
        #[arg(long, value_name = "SYSTEM")]
        at: Option<String>,
    },
    /// Write nothing about a record any more, and wait for nothing
    Ignore {
        #[command(flatten)]
        name: LinkName,
        /// Only at this system
        #[arg(long, value_name = "SYSTEM")]
        at: Option<String>,
    },
    /// Let all writes of a record wait
    Pause {
        #[command(flatten)]
        name: LinkName,
        /// Only at this system
        #[arg(long, value_name = "SYSTEM")]
        at: Option<String>,
    },
    /// Continue with a record that was paused or ignored
    Resume {
        #[command(flatten)]
        name: LinkName,
        /// Only at this system
        #[arg(long, value_name = "SYSTEM")]
        at: Option<String>,
    },
}

#[derive(Clone, Debug, Args)]
pub struct LinkName {
    /// Kind of object: product, customer...
    pub entity: String,
    /// The record's key
    pub key: String,
}

/// Maximum number of differences that are listed by default.
const LISTED: u32 = 100;

impl Default for DifferencesCommand {
    fn default() -> Self {
        Self::List { limit: LISTED, all: false, personal: false }
    }
}

#[derive(Debug, Subcommand)]
pub enum DifferencesCommand {
    /// List fields that a target stores differently from what was sent, with both values; the default
    List {
        /// At most so many; 0 = all
        #[arg(long, default_value_t = LISTED)]
        limit: u32,
        /// Also those that were accepted
        #[arg(long)]
        all: bool,
        /// Show personal data, which is hidden otherwise
        #[arg(long)]
        personal: bool,
    },
    /// Accept what targets store: it is not reported again until it changes
    Accept {
        /// Only of this target
        system: Option<String>,
        /// Only of this kind of object
        entity: Option<String>,
        /// Only of the object with this key
        key: Option<String>,
        /// Only of this field
        field: Option<String>,
        /// All there are
        #[arg(long, conflicts_with = "system")]
        all: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LinkStates {
    Linked,
    Paused,
    Ignored,
}

impl From<LinkStates> for LinkState {
    fn from(state: LinkStates) -> Self {
        match state {
            LinkStates::Linked => Self::Linked,
            LinkStates::Paused => Self::Paused,
            LinkStates::Ignored => Self::Ignored,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub struct JobsFilter {
    /// Numbers of jobs
    pub ids: Vec<JobId>,
    /// Only those of this state
    #[arg(long, value_enum)]
    pub state: Vec<State>,
    /// Only those for this system
    #[arg(long, value_name = "SYSTEM")]
    pub target: Option<String>,
    /// Only those of this kind of object
    #[arg(long)]
    pub entity: Option<String>,
    /// Only those waiting for this, such as `lookup:tax=IGIC7`
    #[arg(long)]
    pub cause: Option<WaitReason>,
    /// All that the command is about; not together with numbers or other filters
    #[arg(long, conflicts_with_all = ["ids", "state", "target", "entity", "cause"])]
    pub all: bool,
}

impl JobsFilter {
    /// Whether the filter names no jobs at all.
    pub fn is_empty(&self) -> bool {
        let narrowed = self.target.is_some() || self.entity.is_some() || self.cause.is_some();
        self.ids.is_empty() && self.state.is_empty() && !narrowed && !self.all
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum State {
    Queued,
    Running,
    Parked,
    Dead,
    Done,
    Discarded,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Parked => Self::Parked,
            State::Dead => Self::Dead,
            State::Done => Self::Done,
            State::Discarded => Self::Discarded,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// List the adapters there are
    List,
    /// Print what an adapter asks for and what it can do
    Show {
        /// Name of the adapter
        name: String,
        /// Print the adapter's file as it is
        #[arg(long)]
        source: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum MappingCommand {
    /// Run mappings on recorded rows and prove that pulling what was pushed gives the same
    Test {
        /// Only these: `adapter` or `adapter/entity`
        names: Vec<String>,
    },
    /// Tell which known records edited mappings would change, and write nothing
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Only these: `system` or `system/entity`
    pub names: Vec<String>,
    /// Show all records that would change, not only some examples
    #[arg(long)]
    pub all: bool,
    /// Show personal data, which is hidden otherwise
    #[arg(long)]
    pub personal: bool,
}

//! Reads the command line and runs the commands that need no running gateway.
//!
//! Must not know how calls are served: `main` does what [`Command::Serve`] and [`Command::Simulate`] ask for.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Environment;
use crate::simulator::faults;

pub mod check;
pub mod keys;
pub mod report;
pub mod schema;
pub mod simulate;

/// How a process ends (1-product.md, "Command line").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Ended well.
    Well = 0,
    /// Could not start, or failed.
    Failed = 1,
    /// Unusable arguments or configuration (EX_USAGE of sysexits.h).
    Unusable = 64,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

const AFTER_HELP: &str = "\
Examples:
  tollgate                              serve what ./config.toml says
  tollgate check --config prod.toml     tell everything that is wrong with a file, and what it means
  tollgate keys new --label ci          make an API key and the line for the file
  tollgate report usage.jsonl           what each tenant spent, from the usage records
  tollgate simulate                     an OpenAI-style server for demos and tests
  tollgate schema > tollgate.schema.json

A first call, with no key, while `tollgate` runs with the file that ships:
  curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
    -d '{\"model\":\"gpt-5-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'

Exit codes: 0 ended well, 64 unusable arguments or configuration, 1 could not start or failed.";

/// An inference gateway: per-tenant limits in requests and tokens, exact token metering, no database.
///
/// Clients set their OpenAI base URL to http://127.0.0.1:8080/v1 and change nothing else.
#[derive(Clone, Debug, Parser)]
#[command(name = "tollgate", version, after_help = AFTER_HELP, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// The configuration [default: $TOLLGATE_CONFIG, else ./config.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do; without a command it serves.
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway (the default)
    ///
    /// SIGTERM or Ctrl-C drains: calls in flight end in peace, new ones go elsewhere. A second signal ends it now.
    /// SIGHUP opens the files of usage records anew, as after a rename.
    Serve,
    /// Read the configuration as `serve` would, and tell all that is wrong with it
    ///
    /// Prints every fault as file:line:column with a hint, and exits with 64; or what the file means, with every default
    /// filled in and secrets as their source, and the number of metric series it can create, and exits with 0. Needs the
    /// secrets that the file names, and no network.
    Check,
    /// Print the JSON Schema of the configuration, for editors
    ///
    /// Many editors use it when the file's first line is:  #:schema ./tollgate.schema.json
    Schema,
    /// Make API keys for tenants
    Keys(KeysArgs),
    /// Add up usage records: calls, tokens and cost, by tenant, model, month …
    ///
    /// Reads the lines that `[records]` writes, from files or standard input. Costs are added to the last digit. Lines that
    /// are no record are counted and told on standard error; the others count all the same.
    #[command(after_help = report::AFTER_HELP)]
    Report(report::ReportArgs),
    /// Serve simulated OpenAI-style answers, for demos, staging and load tests
    ///
    /// Answers every endpoint of the stateless API, streamed or not, with token counts, from nothing but the request: no
    /// key, no network. The names of models ask for delays, faults and the dialects of other servers.
    #[command(after_help = faults::help())]
    Simulate(SimulateArgs),
}

/// `keys`.
#[derive(Clone, Debug, Args)]
pub struct KeysArgs {
    /// What to do with keys.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What to do with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Print a fresh random key, once, and the line with its digest for the configuration
    ///
    /// The key has 256 random bits and a checksum, so that secret scanners know it. Tollgate keeps only its SHA-256.
    New {
        /// The key's name in usage records, such as "ci"
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
    },
}

/// `simulate`.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
}

impl Cli {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    /// How to end where there is nothing to do: help and version were asked for (and printed), or the arguments are
    /// unusable (and that was printed).
    pub fn read<I, A>(arguments: I) -> Result<Self, Exit>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString> + Clone,
    {
        Cli::try_parse_from(arguments).map_err(|error| {
            let exit = if error.use_stderr() { Exit::Unusable } else { Exit::Well };
            // Nobody is left to tell when standard output or error is closed.
            let _ = error.print();
            exit
        })
    }

    /// The command; `serve` where none is named.
    #[must_use]
    pub fn chosen(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// The configuration file: `--config`, else `$TOLLGATE_CONFIG`, else `config.toml` in the working directory.
    #[must_use]
    pub fn config_path(&self, env: &dyn Environment) -> PathBuf {
        let named = self.config.clone().or_else(|| env.var("TOLLGATE_CONFIG").map(PathBuf::from));
        named.unwrap_or_else(|| PathBuf::from("config.toml"))
    }

    /// Runs a command that needs no running gateway; `None` for `serve` and `simulate`, which are `main`'s.
    /// Answers go to `out`, faults to `err`; a closed pipe is no failure.
    pub fn run(&self, env: &dyn Environment, out: &mut dyn Write, err: &mut dyn Write) -> Option<Exit> {
        let done = match self.chosen() {
            Command::Serve | Command::Simulate(_) => return None,
            Command::Check => check::run(&self.config_path(env), env, out, err),
            Command::Schema => schema::run(out),
            Command::Report(arguments) => report::run(&arguments, out, err),
            Command::Keys(KeysArgs { command: KeysCommand::New { label } }) => keys::run(label.as_deref(), out, err),
        };
        Some(match done {
            Ok(exit) => exit,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Well,
            Err(_) => Exit::Failed,
        })
    }
}

#[cfg(test)]
mod tests;

//! Runs the real binary with everything on, and knows it from outside: its two ports and its records.
//!
//! Must not reach into it. With `taskset` and `prlimit` (util-linux) the gateway
//! has core 0 to itself and the bench the others, and a thousand streams can be open.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The key that every call shows.
pub(crate) const KEY: &str = "sk-gateway";

/// Authentication, limits of every kind, metering, metrics, records to a file. A token comes back every hour, so that what is
/// used stands still while one looks.
fn config(upstream: SocketAddr) -> String {
    format!(
        r#"[server]
listen = "127.0.0.1:0"
drain_delay = "0s"
[admin]
listen = "127.0.0.1:0"
[plans.bench]
requests = ["24/day burst 1000M", "1M/s"]
tokens = "24/day burst 1000M"
concurrent = 100_000
[tenants.bench]
plan = "bench"
keys = [{{ sha256 = "49ffead3de7c4c5710ecb4eb59711106313384fefea479cab41aab6a4885f2fb", label = "bench" }}]
[upstreams.mock]
provider = "compatible"
base_url = "http://{upstream}/v1"
credential = {{ api_key = {{ env = "BENCH_UPSTREAM_KEY" }} }}
max_connections = 4096
usage_in_stream = true
[[routes]]
models = ["*"]
to = ["mock"]
[records]
to = {{ file = "usage.jsonl" }}
"#
    )
}

/// The gateway's process, with a folder of its own. Dropped, it is gone.
pub(crate) struct Gateway {
    /// What `/proc` can be asked for.
    pub(crate) process: Child,
    folder: TempDir,
    /// Where it serves calls.
    pub(crate) address: SocketAddr,
    /// Where it serves operators.
    pub(crate) admin: SocketAddr,
}

/// The binary that is measured: the one that `TOLLGATE` names, or the one that cargo built for this bench.
pub(crate) fn binary() -> Fallible<PathBuf> {
    let path = std::env::var_os("TOLLGATE").map_or_else(|| env!("CARGO_BIN_EXE_tollgate").into(), PathBuf::from);
    path.canonicalize().map_err(|why| format!("no gateway at {}: {why}", path.display()).into())
}

/// Which cores the gateway may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// Core 0, where nothing of the bench runs.
    Own,
    /// Every one, beside the bench.
    Shared,
}

/// Moves this process off core 0 and lets it open as many files as a thousand streams need, where it may. To be called before
/// any thread is started.
pub(crate) fn prepare() -> Cores {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let own = std::process::id().to_string();
    let done = |program: &str, arguments: &[&str]| {
        let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    // Where it fails, fewer streams are held.
    let _ = done("prlimit", &["--nofile=16384:16384", "--pid", &own]);
    let moved = cores > 1 && done("taskset", &["-pc", &format!("1-{}", cores - 1), &own]);
    if moved { Cores::Own } else { Cores::Shared }
}

impl Gateway {
    /// Starts it in front of this upstream, and waits until it says that it serves.
    pub(crate) fn start(upstream: SocketAddr, cores: Cores) -> Fallible<Gateway> {
        let binary = binary()?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("config.toml"), config(upstream))?;
        let mut command = match cores {
            Cores::Own => {
                let mut command = Command::new("taskset");
                command.args(["-c", "0"]).arg(binary);
                command
            }
            Cores::Shared => Command::new(binary),
        };
        command.args(["serve", "--config", "config.toml"]).current_dir(folder.path());
        command.env("BENCH_UPSTREAM_KEY", "sk-upstream").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let log = process.stderr.take().ok_or("the gateway has no log")?;
        let mut log = BufReader::new(log);
        let mut said = String::new();
        let (address, admin) = loop {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err(format!("the gateway ended: {said}").into());
            }
            if let (Some(address), Some(admin)) =
                (after(&line, "serving at http://"), after(&line, "operators at http://"))
            {
                break (address.parse()?, admin.parse()?);
            }
            said += &line;
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        Ok(Gateway { process, folder, address, admin })
    }

    /// The whole lines of its usage records.
    pub(crate) fn records(&self) -> Fallible<Vec<serde_json::Value>> {
        let text = std::fs::read_to_string(self.folder.path().join("usage.jsonl"))?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What follows `mark`, up to the next slash, space or line end.
fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(mark)?;
    rest.split(['/', ' ', '\n']).next()
}

//! Puts the parts together: from a configuration to a gateway that answers on two ports, and back to nothing lost.
//!
//! Knows every module and does the work of none.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState};
use crate::config::{Config, RecordSink, ServerConfig};
use crate::gateway::Gateway;
use crate::gateway::memory::Gate;
use crate::gateway::model_list::fetch;
use crate::gateway::receive::Bounds;
use crate::gateway::reveal::Reveal;
use crate::gateway::running::Running;
use crate::gateway::services::Services;
use crate::gateway::settle::SettleQueue;
use crate::net::clock::Clock;
use crate::net::random::Random;
use crate::net::resolver::Resolver;
use crate::net::tls::{Peer, TlsClients, TlsError};
use crate::server::drain::Outcome;
use crate::server::{self, Drain, Listener, Serving, Settings};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::series;
use crate::telemetry::sink::{FileSink, StdoutSink};
use crate::telemetry::writer::{LineWriter, QUEUE_BYTES};
use crate::tenant::directory::Directory;
use crate::upstream::client::Client;
use crate::upstream::{Ledger, Upstream};
use crate::wire::peek::{KeyRule, Rules};

mod snapshot;

/// How often histograms are folded and gauges that nobody pushes are read. Until then every sample is kept: at 30,000 calls a
/// second, five seconds of them take 7 MiB.
const UPKEEP: Duration = Duration::from_millis(250);
/// How long the last records and log lines may take to reach their sinks.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("cannot listen at {address}: {why}. Is another process there? Change `{key}` in the configuration.")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// The operating system's word.
        why: io::Error,
    },
    /// A sink of usage records cannot be opened.
    #[error("cannot open {path} for usage records: {why}. Change `records.to` in the configuration.")]
    Records {
        /// The file.
        path: String,
        /// The operating system's word.
        why: io::Error,
    },
    /// No trust anchors for an upstream that speaks TLS.
    #[error("cannot speak TLS to upstreams: {0}")]
    Tls(#[from] TlsError),
    /// The metrics registry cannot be made.
    #[error("cannot make the metrics registry: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A thread or runtime cannot be had.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// What may differ from one start to another and stands in no file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Threads that serve calls; 0: one for each core.
    pub workers: usize,
    /// Whether upstreams are asked for their models.
    pub model_lists: ModelLists,
}

/// Where names of models come from that only a pattern names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelLists {
    /// From the upstreams, which are asked at start and every five minutes.
    #[default]
    Fetched,
    /// From nowhere: no upstream hears of this gateway before it has a call.
    Unasked,
}

/// A running gateway.
pub struct App {
    /// Where it serves calls.
    pub address: SocketAddr,
    /// Where it serves operators.
    pub admin_address: SocketAddr,
    /// What every call uses.
    pub services: Arc<Services>,
    /// What is in force.
    pub running: Arc<ArcSwap<Running>>,
    drain: Drain,
    serving: Serving,
    server: ServerConfig,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl App {
    /// Starts a gateway. Call it inside a runtime: its own tasks run there, calls on threads of their own.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: Config, options: Options) -> Result<App, StartError> {
        let tls = Arc::new(tls_clients(&config)?);
        let listener = bind(config.server.listen, "server.listen")?;
        let admin = bind(config.admin.listen, "admin.listen")?;
        let address = listener.local_addr()?;
        let admin_address = admin.local_addr()?;
        let records = open_records(&config.records)?;
        let metrics = Arc::new(Metrics::new()?);
        let (settling, settle_task) = SettleQueue::new();
        let (random, clock) = (Random::from_system(), Clock::system());
        let services = Arc::new(Services::new(clock, random, Arc::clone(&metrics), records, settling));

        let redacted = Arc::new(config.redacted().to_string());
        let notices = config.notices.clone();
        let server = config.server.clone();
        let settings = settings(&config, options);
        let running = Arc::new(ArcSwap::from_pointee(running(config, &services)));
        metrics.gauge(&series::BUILD_INFO, &[env!("CARGO_PKG_VERSION")]).set(1.0);
        metrics.gauge(&series::CONFIG_GENERATION, &[]).set(1.0);

        let drain = Drain::new();
        let ledger = Arc::new(Ledger::default());
        let resolver = Resolver::system();
        let fetching = (options.model_lists == ModelLists::Fetched).then(|| {
            // With a ledger of its own it takes no call's place at an upstream.
            let client = Client::new(Arc::clone(&tls), resolver.clone(), Arc::default());
            fetch::keep_fetching(client, Arc::clone(&running), Arc::clone(&services))
        });
        let serving = {
            let (services, running) = (Arc::clone(&services), Arc::clone(&running));
            let ledger = Arc::clone(&ledger);
            let gateway = move |_worker| {
                let client = Client::new(Arc::clone(&tls), resolver.clone(), Arc::clone(&ledger));
                Arc::new(Gateway::new(Arc::clone(&services), Arc::clone(&running), client))
            };
            server::serve(listener, settings, gateway, drain.clone())?
        };

        let watched = snapshot::Watched {
            services: Arc::clone(&services),
            running: Arc::clone(&running),
            ledger,
            counts: Arc::clone(serving.counts()),
            drain: drain.clone(),
            started: Instant::now(),
            notices,
        };
        let watched = Arc::new(watched);
        let (stop, stopped) = watch::channel(false);
        let state = admin_state(&watched, &redacted);
        let mut tasks = vec![
            tokio::spawn(settle_task.run()),
            tokio::spawn(upkeep(Arc::clone(&watched))),
            tokio::spawn(async move {
                if let Err(error) = admin::serve(admin, state, until(stopped)).await {
                    tracing::error!(%error, "the admin port ended");
                }
            }),
        ];
        tasks.extend(fetching.map(tokio::spawn));
        Ok(App { address, admin_address, services, running, drain, serving, server, stop, tasks })
    }

    /// A handle that can begin the drain, or cut it short.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Ends it: not ready at once, still accepting for the delay, every call to its end or the deadline; then what is
    /// settled late is settled, and what is written late is written.
    pub async fn shut_down(self) -> Outcome {
        let outcome = self.drain.run(self.server.drain_delay, self.server.drain_deadline).await;
        self.services.settling.flush().await;
        let serving = self.serving;
        let _ = tokio::task::spawn_blocking(move || serving.stop()).await;
        self.services.settling.flush().await;
        let services = Arc::clone(&self.services);
        // Each of them, also when one before is stuck.
        let closing = move || services.records.iter().fold(true, |all, sink| sink.close(LAST_WRITES) & all);
        if !tokio::task::spawn_blocking(closing).await.unwrap_or(false) {
            tracing::error!("the last usage records did not reach their sink in time");
        }
        let _ = self.stop.send(true);
        for task in self.tasks {
            task.abort();
        }
        outcome
    }
}

fn bind(address: SocketAddr, key: &'static str) -> Result<Listener, StartError> {
    Listener::bind(address).map_err(|why| StartError::Listen { address, key, why })
}

/// The platform's roots are asked for only where an upstream needs them; those of an upstream's `ca` count for it alone.
fn tls_clients(config: &Config) -> Result<TlsClients, TlsError> {
    let wanted = |upstream: &Upstream| upstream.base.tls && !upstream.is_simulated();
    let own = |name: &str| config.origins.iter().find(|origin| &*origin.upstream == name)?.ca.as_ref();
    let mut peers = config
        .upstreams
        .iter()
        .filter(|upstream| wanted(upstream))
        .map(|upstream| Peer { name: &upstream.name, ca: own(&upstream.name).map(|ca| &*ca.pem) })
        .peekable();
    if peers.peek().is_none() {
        return Ok(TlsClients::none());
    }
    TlsClients::with_platform_roots(peers)
}

fn open_records(sinks: &[RecordSink]) -> Result<Vec<LineWriter>, StartError> {
    sinks
        .iter()
        .map(|sink| match sink {
            RecordSink::Stdout => Ok(LineWriter::over(series::STDOUT, StdoutSink::open()?, QUEUE_BYTES)?),
            RecordSink::File(path) => {
                let failed = |why| StartError::Records { path: path.display().to_string(), why };
                let file = FileSink::open(path).map_err(failed)?;
                Ok(LineWriter::over(series::FILE, file, QUEUE_BYTES)?)
            }
        })
        .collect()
}

fn settings(config: &Config, options: Options) -> Settings {
    let server = &config.server;
    let anonymous = (config.anonymous.is_some() && !server.anonymous_anywhere).then(|| server::guard::Anonymous {
        loopback: server.listen.ip().is_loopback(),
        allow_origins: server.allow_origins.clone(),
    });
    Settings {
        workers: options.workers,
        max_connections: server.max_connections,
        timeouts: server::Timeouts {
            hello: server.timeouts.hello,
            head: server.timeouts.head,
            body_idle: server.timeouts.body_idle,
            write_stall: server.timeouts.write_stall,
            keep_alive: server.timeouts.keep_alive,
        },
        // What is read and thrown away, so that a client sees why it was refused before it had sent all.
        max_body: server.max_upload.max(server.max_body as u64),
        anonymous,
        cors: server::cors::Cors::new(&server.allow_origins),
    }
}

fn running(config: Config, services: &Services) -> Running {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let keys = if config.server.lenient_keys { KeyRule::Lenient } else { KeyRule::Strict };
    Running {
        generation: 1,
        directory: Directory::new(config.tenants, config.anonymous.as_deref(), config.metrics.max_tenants, 0),
        routes: config.routes,
        upstreams: config.upstreams,
        unknown_paths: config.unknown_paths,
        prices: config.prices,
        bounds: Bounds {
            body: config.server.max_body,
            upload: config.server.max_upload,
            spool: config.server.form_spool,
        },
        memory: Gate::new(&services.memory, config.server.max_memory),
        rules: Rules { keys },
        since: i64::try_from(since).unwrap_or(i64::MAX),
        log_calls: config.log.calls,
        tag: config.tag,
        reveal: Reveal { timing: config.server.server_timing, upstream: config.server.reveal_upstream },
    }
}

fn admin_state(watched: &Arc<snapshot::Watched>, redacted: &Arc<String>) -> AdminState {
    let (ready, metrics, status) = (Arc::clone(watched), Arc::clone(watched), Arc::clone(watched));
    let redacted = Arc::clone(redacted);
    AdminState {
        ready: Arc::new(move || ready.ready()),
        metrics: Arc::new(move || metrics.metrics()),
        config: Arc::new(move || redacted.to_string()),
        status: Arc::new(move || status.status()),
    }
}

async fn upkeep(watched: Arc<snapshot::Watched>) {
    let mut every = tokio::time::interval(UPKEEP);
    loop {
        every.tick().await;
        watched.upkeep();
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

//! Builds admitted calls for the tests of the stages: on a clock that stands still, with their records in memory.
//!
//! Must not know sockets, nor any stage's rules.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::admit::{self, Admission};
use super::call::Call;
use super::meter::read_on::ReadOn;
use super::policy;
use super::services::Services;
use super::settle::{SettleQueue, SettleTask};
use crate::limits::{Kind, Period, PlanLimits, Quota, ReserveOutput};
use crate::net::clock::Clock;
use crate::net::random::Random;
use crate::provider::Provider;
use crate::routing::{Deployment, Matched, Pattern, Route};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::writer::{LineWriter, QUEUE_BYTES};
use crate::tenant::directory::{Directory, TenantSpec};
use crate::tenant::{Caller, Tenant};
use crate::upstream::{BaseUri, OnDisconnect, PoolLimits, Timeouts, Upstream};
use crate::wire::endpoint::Endpoint;
use crate::wire::peek::{Rules, peek};

/// What the tenant may spend at once. One comes back a day, so that seconds on the clock give nothing back by themselves.
pub(super) const BURST: u64 = 100_000;

/// One tenant, one route, one upstream, and what every call uses.
pub(super) struct Rig {
    pub(super) clock: Clock,
    pub(super) services: Arc<Services>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) matched: Matched,
    task: Option<SettleTask>,
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Rig {
    pub(super) fn new() -> Rig {
        let (settling, task) = SettleQueue::new();
        let mut rig = Rig::with_queue(settling);
        rig.task = Some(task);
        rig
    }

    /// A rig whose tenant may spend this much at once, for many calls on one rig.
    pub(super) fn with_burst(burst: u64) -> Rig {
        let (settling, task) = SettleQueue::new();
        let mut rig = Rig::spending(settling, burst);
        rig.task = Some(task);
        rig
    }

    /// A rig whose upstream has answers read on when their clients leave.
    pub(super) fn reading_on(read_on: ReadOn) -> Rig {
        let mut rig = Rig::new();
        Arc::get_mut(&mut rig.services).unwrap().read_on = read_on;
        rig.matched = matched(OnDisconnect::Drain);
        rig
    }

    pub(super) fn with_queue(settling: SettleQueue) -> Rig {
        Rig::spending(settling, BURST)
    }

    fn spending(settling: SettleQueue, burst: u64) -> Rig {
        let (clock, lines) = (Clock::manual(), Lines::default());
        let records = LineWriter::start("records", lines.clone(), QUEUE_BYTES).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let services = Services::new(clock.clone(), Random::from_seed(1), metrics, vec![records], settling);
        let quota = |burst| vec![Quota { amount: 1, period: Period::Day, burst }];
        let limits = PlanLimits {
            requests: quota(burst),
            tokens: quota(burst),
            concurrent: Some(1_000),
            reserve_output: ReserveOutput::Cap,
            shadow: false,
        };
        let spec = TenantSpec {
            name: "acme".into(),
            plan: "plan".into(),
            limits,
            policy: Arc::default(),
            keys: Vec::new(),
            models: None,
        };
        let tenant = Arc::clone(&Directory::new(vec![spec], None, 10, 0).tenants()[0]);
        Rig { clock, services: Arc::new(services), tenant, matched: matched(OnDisconnect::Cancel), task: None, lines }
    }

    /// A call that passed authentication and nothing else.
    pub(super) fn call(&self) -> Call {
        let caller = Caller { tenant: Arc::clone(&self.tenant), key: "ci".into() };
        Call::open(&self.services, "req_1".to_owned(), caller, self.clock.now())
    }

    /// A call that was admitted: 400 bytes of text (100 tokens by the start ratio), at most 1,000 tokens out.
    pub(super) async fn admitted(&self, endpoint: Endpoint, stream: bool) -> (Call, Admission) {
        let text = "x".repeat(400);
        let body = match endpoint {
            Endpoint::Embeddings => format!(r#"{{"model":"m","input":"{text}"}}"#),
            Endpoint::Responses => {
                format!(r#"{{"model":"m","input":"{text}","max_output_tokens":1000,"stream":{stream}}}"#)
            }
            Endpoint::Completions => {
                format!(r#"{{"model":"m","prompt":"{text}","max_tokens":1000,"stream":{stream}}}"#)
            }
            _ => format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":1000,"stream":{stream}}}"#
            ),
        };
        let peek = peek(endpoint, body.as_bytes(), Rules::default()).unwrap();
        let mut call = self.call();
        let allowed = policy::hold(&self.tenant.policy, &self.matched.route, &peek).unwrap();
        let admission = admit::admit(&mut call, &self.matched, &peek, allowed, self.clock.now()).await.unwrap();
        call.note(|facts| {
            facts.endpoint = Some(endpoint);
            facts.stream = stream;
            facts.matched = Some(self.matched.clone());
            facts.upstream = Some("up".into());
        });
        (call, admission)
    }

    /// The task that settles what was dropped. To be had once.
    pub(super) fn task(&mut self) -> SettleTask {
        self.task.take().unwrap()
    }

    /// Tokens and calls that are used now.
    pub(super) fn used(&self) -> (u64, u64) {
        let levels = self.tenant.limits.levels(self.clock.now());
        let of = |kind: Kind| levels.iter().find(|level| level.kind == kind).unwrap().used;
        (of(Kind::Tokens), of(Kind::Requests))
    }

    /// Every record that was written. Ends the writer: to be asked for last.
    pub(super) fn records(&self) -> Vec<serde_json::Value> {
        assert!(self.services.records[0].close(std::time::Duration::from_secs(5)));
        let lines = self.lines.0.lock().unwrap();
        String::from_utf8(lines.clone()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The value of a series as `/metrics` shows it; 0 where it is not there.
    pub(super) fn metric(&self, series: &str) -> f64 {
        let text = self.services.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}

fn matched(on_disconnect: OnDisconnect) -> Matched {
    let upstream = Upstream {
        name: "up".into(),
        provider: Provider::OpenAi,
        base: BaseUri::parse("http://127.0.0.1:9/v1").unwrap(),
        authorization: None,
        headers: Vec::new(),
        timeouts: Timeouts::default(),
        max_connections: 8,
        pool: PoolLimits::default(),
        usage_in_stream: true,
        on_disconnect,
        simulated: false,
    };
    let route = Route {
        models: vec![Pattern::new("*")],
        deployment: Deployment { upstream: Arc::new(upstream), model: None },
        max_output_tokens: 4_096,
        enforce_cap: false,
        prices: Arc::default(),
    };
    Matched { route: Arc::new(route), pattern: "*".into(), index: 0 }
}

//! Runs a whole gateway on ports and files of its own, and looks at it as an operator would.
//!
//! Must not reach into it, but for the level of a limit, which no port shows to the token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tollgate::app::{App, ModelLists, Options};
use tollgate::config;
use tollgate::limits::Kind;

use super::{Answer, MockUpstream, PATIENCE, RawClient, within};

/// The key of tenant `acme` in [`standard`].
pub(crate) const KEY: &str = "sk-tg-acme-0123456789";
/// What the gateway shows to the upstreams of [`standard`]; the variable `UPSTREAM_KEY`.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-9876543210";

/// A gateway of its own.
pub(crate) struct TestGateway {
    app: App,
    folder: TempDir,
}

/// A configuration with one tenant, `acme`, whose limits are wide and hardly refill, one upstream, `mock`, and one route,
/// `*`. More may be appended.
pub(crate) fn standard(upstream: &MockUpstream) -> String {
    format!(
        r#"
[plans.wide]
requests = "24/day burst 1M"
tokens = "24/day burst 1000M"
concurrent = 1000
[tenants.acme]
plan = "wide"
keys = [{{ sha256 = "{}", label = "ci" }}]
[[routes]]
models = ["*"]
to = ["mock"]
max_output_tokens = 500
[upstreams.mock]
provider = "compatible"
base_url = "{}"
credential = {{ api_key = {{ env = "UPSTREAM_KEY" }} }}
"#,
        digest(KEY),
        upstream.base_url()
    )
}

/// The digest of a key as a configuration holds it.
pub(crate) fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TestGateway {
    /// A gateway with the [`standard`] configuration in front of this upstream.
    pub(crate) fn over(upstream: &MockUpstream) -> TestGateway {
        TestGateway::start(&standard(upstream))
    }

    /// A gateway with this configuration; ports, the records' file and the drain's delay are the harness's own, the last
    /// unless the text gives one.
    pub(crate) fn start(text: &str) -> TestGateway {
        TestGateway::asking(text, ModelLists::Unasked)
    }

    /// As [`TestGateway::start`]; upstreams may be asked for their models.
    pub(crate) fn asking(text: &str, model_lists: ModelLists) -> TestGateway {
        let folder = tempfile::tempdir().unwrap();
        let text = with_own_places(text, folder.path());
        let env = BTreeMap::from([("UPSTREAM_KEY".to_owned(), UPSTREAM_KEY.to_owned())]);
        let config = config::parse("test.toml", &text, folder.path(), &env)
            .unwrap_or_else(|faults| panic!("{faults}\nin\n{text}"));
        let app = App::start(config, Options { workers: 2, model_lists }).unwrap();
        TestGateway { app, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.address
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.app.admin_address
    }

    /// The base URL that a client would be given.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.app.address)
    }

    /// The gateway itself, for what no port shows.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// One call on a connection of its own.
    pub(crate) async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(path, &[], body).await
    }

    /// One call with more headers.
    pub(crate) async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        RawClient::connect(self.address()).await.call(path, headers, body.as_ref()).await
    }

    /// GET on the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let mut client = RawClient::connect(self.admin_address()).await;
        client.write(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin_address()).as_bytes()).await;
        client.answer().await
    }

    /// All metrics, by name with labels as they stand in the text.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.admin("/metrics").await;
        assert_eq!(answer.status(), 200);
        let text = String::from_utf8(answer.body).unwrap();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
        };
        samples.map(sample).collect()
    }

    /// The sum of a metric's series that have these labels; 0 where there are none.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.metrics().await, name, labels)
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_becomes(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        within(&format!("{name} {labels:?} = {wanted}"), async {
            while self.metric(name, labels).await != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The usage records, as soon as there are `number` of them; more fail the test.
    pub(crate) async fn records(&self, number: usize) -> Vec<Value> {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let records = self.records_now();
            assert!(records.len() <= number, "more than {number} records: {records:#?}");
            if records.len() == number {
                return records;
            }
            assert!(std::time::Instant::now() < until, "fewer than {number} records: {records:#?}");
            // A file tells nobody that it grew; the writer gathers lines for some milliseconds.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The whole lines that stand in the records' file now.
    fn records_now(&self) -> Vec<Value> {
        read_records(self.folder.path())
    }

    /// What a tenant has used of its first limit of this kind, rounded up.
    pub(crate) fn level(&self, tenant: &str, kind: Kind) -> u64 {
        let running = self.app.running.load();
        let tenant = running.directory.tenants().iter().find(|found| &*found.name == tenant).unwrap();
        let levels = tenant.limits.levels(self.app.services.clock.now());
        levels.iter().find(|level| level.kind == kind).unwrap().used
    }

    /// Ends the gateway and returns every record that it ever wrote.
    pub(crate) async fn shut_down(self) -> Vec<Value> {
        let TestGateway { app, folder } = self;
        within("the gateway to end", app.shut_down()).await;
        read_records(folder.path())
    }
}

/// The sum of a metric's series that have these labels; 0 where there are none.
pub(crate) fn sum(metrics: &BTreeMap<String, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let has_labels = |series: &str| {
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let rest = rest.trim_end_matches('}');
        found == name && labels.iter().all(|label| rest.split(',').any(|other| other == label))
    };
    metrics.iter().filter(|(series, _)| has_labels(series)).map(|(_, value)| value).sum()
}

fn records_path(folder: &Path) -> std::path::PathBuf {
    folder.join("usage.jsonl")
}

fn read_records(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(records_path(folder)).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn with_own_places(text: &str, folder: &Path) -> String {
    let mut config: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
    let records =
        toml::Table::from_iter([("file".to_owned(), toml::Value::String(records_path(folder).display().to_string()))]);
    let mut set = |table: &str, key: &str, value: toml::Value, always: bool| {
        let table = config.entry(table).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let table = table.as_table_mut().unwrap();
        if always || !table.contains_key(key) {
            table.insert(key.to_owned(), value);
        }
    };
    set("server", "listen", "127.0.0.1:0".into(), true);
    set("server", "drain_delay", "0s".into(), false);
    set("admin", "listen", "127.0.0.1:0".into(), true);
    set("records", "to", records.into(), true);
    toml::to_string(&config).unwrap()
}

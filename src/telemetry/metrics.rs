//! Counts what happened to calls, in handles that are resolved once and kept.
//!
//! Must not know tenants or routes as types: labels are strings, and whoever passes them keeps them bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::series::{self, Definition, Kind};

static METADATA: Metadata<'static> = Metadata::new("tollgate", Level::INFO, None);

/// The registry of one gateway; not the process's, so that tests run side by side.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// What is left of whole units, by series.
    rests: Mutex<HashMap<Key, Arc<AtomicU64>>>,
}

/// A counter of whole units that takes parts of them too, and carries what is left: however often it is added to, it is
/// never more than one unit behind the exact sum.
#[derive(Clone)]
pub struct Carried {
    counter: Counter,
    rest: Arc<AtomicU64>,
    unit: u64,
}

impl Carried {
    /// Adds whole units, and parts of the next one; of these at most a unit counts.
    pub fn add(&self, whole: u64, parts: u64) {
        let parts = parts.min(self.unit);
        let carry = |rest: u64| rest.saturating_add(parts);
        let kept = |sum: u64| if sum >= self.unit { sum - self.unit } else { sum };
        let before = self.rest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |rest| Some(kept(carry(rest))));
        let carried = u64::from(before.is_ok_and(|rest| carry(rest) >= self.unit));
        let whole = whole.saturating_add(carried);
        if whole > 0 {
            self.counter.increment(whole);
        }
    }
}

impl Metrics {
    /// A registry that knows every metric of [`series::ALL`].
    ///
    /// # Errors
    /// When a histogram has no buckets, which is a fault of this program.
    pub fn new() -> Result<Self, metrics_exporter_prometheus::BuildError> {
        let mut builder = PrometheusBuilder::new();
        for definition in series::ALL {
            if let Kind::Histogram(buckets) = definition.kind {
                builder = builder.set_buckets_for_metric(Matcher::Full(definition.name.to_owned()), buckets)?;
            }
        }
        let recorder = builder.build_recorder();
        for definition in series::ALL {
            let name = KeyName::from_const_str(definition.name);
            let help = definition.help.into();
            match definition.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        Ok(Metrics { recorder, handle, rests: Mutex::default() })
    }

    /// The text exposition of everything.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves what histograms gathered into their buckets; call it every 5 s.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// A counter's handle; `labels` in the order of the definition.
    pub fn counter(&self, definition: &Definition, labels: &[&str]) -> Counter {
        self.recorder.register_counter(&key(definition, labels), &METADATA)
    }

    /// A counter's handle that takes parts, `unit` of which are one; at most 2^63. All handles of one series carry the same
    /// rest, so that nothing is lost when one is made anew.
    pub fn carried(&self, definition: &Definition, labels: &[&str], unit: u64) -> Carried {
        let key = key(definition, labels);
        let counter = self.recorder.register_counter(&key, &METADATA);
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        Carried { counter, rest: Arc::clone(rests.entry(key).or_default()), unit }
    }

    /// A gauge's handle; `labels` in the order of the definition.
    pub fn gauge(&self, definition: &Definition, labels: &[&str]) -> Gauge {
        self.recorder.register_gauge(&key(definition, labels), &METADATA)
    }

    /// A histogram's handle; `labels` in the order of the definition.
    pub fn histogram(&self, definition: &Definition, labels: &[&str]) -> Histogram {
        self.recorder.register_histogram(&key(definition, labels), &METADATA)
    }
}

fn key(definition: &Definition, values: &[&str]) -> Key {
    debug_assert_eq!(definition.labels.len(), values.len(), "{}", definition.name);
    let labels: Vec<Label> = definition
        .labels
        .iter()
        .zip(values)
        .map(|(dimension, value)| Label::new(name_of(*dimension), (*value).to_owned()))
        .collect();
    Key::from_parts(definition.name, labels)
}

fn name_of(dimension: series::Dimension) -> &'static str {
    match dimension {
        series::Dimension::Tenant => "tenant",
        series::Dimension::Route => "route",
        series::Dimension::Endpoint => "endpoint",
        series::Dimension::Upstream => "upstream",
        series::Dimension::Limit => "limit",
        series::Dimension::Words(name, _) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::formatting::{sanitize_label_key, sanitize_metric_name};

    #[test]
    fn every_name_and_label_is_one_that_prometheus_takes_as_it_is() {
        for definition in series::ALL {
            assert_eq!(sanitize_metric_name(definition.name), definition.name);
            for label in definition.labels {
                assert_eq!(sanitize_label_key(name_of(*label)), name_of(*label));
            }
            assert_eq!(definition.name.ends_with("_total"), definition.kind == Kind::Counter, "{}", definition.name);
        }
    }

    #[test]
    fn a_counter_and_a_histogram_are_rendered_with_their_labels_and_buckets() {
        let metrics = Metrics::new().unwrap();
        metrics.counter(&series::REQUESTS, &["acme", "gpt-*", "ok"]).increment(3);
        metrics.histogram(&series::OVERHEAD_SECONDS, &[]).record(0.00002);
        let text = metrics.render();
        assert!(text.contains("tollgate_requests_total{tenant=\"acme\",route=\"gpt-*\",outcome=\"ok\"} 3"), "{text}");
        assert!(text.contains("tollgate_overhead_seconds_bucket{le=\"0.000025\"} 1"), "{text}");
    }

    #[test]
    fn parts_are_carried_from_one_handle_of_a_series_to_the_next() {
        let metrics = Metrics::new().unwrap();
        let shown = |metrics: &Metrics| {
            let text = metrics.render();
            let line = text.lines().find_map(|line| line.strip_prefix("tollgate_cost_microusd_total{tenant=\"a\""));
            line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        };
        for _ in 0..30 {
            metrics.carried(&series::COST, &["a", "x"], 10).add(0, 7);
            metrics.carried(&series::COST, &["b", "x"], 10).add(0, 1);
        }
        assert_eq!(shown(&metrics), 21);
        metrics.carried(&series::COST, &["a", "x"], 10).add(3, 10);
        assert_eq!(shown(&metrics), 25);
    }

    #[test]
    fn many_threads_lose_no_part() {
        let metrics = Metrics::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let carried = metrics.carried(&series::COST, &["a", "x"], 1_000);
                scope.spawn(move || (0..5_000).for_each(|_| carried.add(0, 333)));
            }
        });
        let text = metrics.render();
        assert!(text.contains("tollgate_cost_microusd_total{tenant=\"a\",route=\"x\"} 13320"), "{text}");
    }

    #[test]
    fn the_series_bound_grows_with_the_configuration_alone() {
        let small = series::Extent { tenants: 1, max_tenants: 500, patterns: 1, endpoints: 4, upstreams: 1, limits: 3 };
        let big = series::Extent { tenants: 2_000, ..small };
        let bigger = series::Extent { tenants: 20_000, ..small };
        assert!(small.series() < big.series());
        assert_eq!(big.series(), bigger.series());
    }
}

//! Compares the gateway's records with the script and the upstream's ledger: one for each call, to the token where it was told.
//!
//! Must not trust either side: what the script does not explain fails.

use std::collections::BTreeMap;

use serde_json::Value;

use super::script::{Ending, MODELS, Plan, World};

/// How far the sum of what is estimated may be from what the upstream counted, as a part of it.
const TOLERANCE: f64 = 0.1;

/// What all records say together.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) estimated: u64,
}

/// Tokens by the record, and by the ledger.
#[derive(Clone, Copy, Default)]
struct Sums {
    calls: u64,
    charged: [u64; 2],
    counted: [u64; 2],
}

impl Sums {
    fn add(&mut self, charged: [u64; 2], counted: [u64; 2]) {
        self.calls += 1;
        for index in 0..2 {
            self.charged[index] += charged[index];
            self.counted[index] += counted[index];
        }
    }

    /// By which part of what was counted input and output are off.
    fn errors(&self) -> [f64; 2] {
        let off = |index: usize| self.charged[index] as f64 / self.counted[index].max(1) as f64 - 1.0;
        [off(0), off(1)]
    }
}

pub(super) fn check(world: &World, calls: u32, records: &str) -> Totals {
    let mut seen = vec![false; calls as usize];
    let mut totals = Totals::default();
    let mut reported = Sums::default();
    let mut estimated: BTreeMap<String, Sums> = BTreeMap::new();
    let mut sum = Sums::default();
    let mut wrong = Vec::new();
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let number: u32 = record["tag"].as_str().unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[number as usize], true), "a second record: {record}");
        let plan = Plan::of(world, number);
        let entry = world.entry(number);
        if let Some(fault) = fault(&plan, &record) {
            wrong.push(format!("{fault}; {plan:?}: {record}"));
            continue;
        }
        assert_eq!(entry.is_some(), plan.reaches_the_upstream(), "{plan:?}");
        let tokens = ["input_tokens", "output_tokens"].map(|key| record[key].as_u64());
        let charged = tokens.map(Option::unwrap_or_default);
        totals.input += charged[0];
        totals.output += charged[1];
        let counted = entry.map_or([0, 0], |entry| [entry.input, entry.output]);
        match record["usage_source"].as_str() {
            Some("reported") => {
                assert!(entry.is_some_and(|entry| entry.told), "{plan:?}");
                reported.add(charged, counted);
                if charged != counted {
                    wrong.push(format!("{counted:?} were told; {plan:?}: {record}"));
                }
            }
            Some(_) => {
                totals.estimated += 1;
                estimated.entry(kind(&plan)).or_default().add(charged, counted);
                sum.add(charged, counted);
            }
            None => assert_eq!(tokens, [None, None], "{record}"),
        }
    }
    assert!(wrong.is_empty(), "{} records are wrong, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let missing = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(missing, 0, "calls without a record");
    show("reported", &reported);
    for (kind, sums) in &estimated {
        show(kind, sums);
    }
    show("estimated, in sum", &sum);
    assert!(sum.errors().iter().all(|error| error.abs() <= TOLERANCE), "off by {:?}", sum.errors());
    totals
}

fn show(kind: &str, sums: &Sums) {
    let Sums { calls, charged: [input, output], counted: [read, written] } = sums;
    let [more_read, more_written] = sums.errors().map(|error| error * 100.0);
    println!(
        "{kind:>32}: {calls:>6} calls, charged {input} in, {output} out; counted {read}, {written}: {more_read:+.2} %, {more_written:+.2} %"
    );
}

/// The kind of an estimated call, for the table.
fn kind(plan: &Plan) -> String {
    let form = if plan.stream { "stream" } else { "whole" };
    format!("{:?} {form} on {}", plan.ending, if plan.paced() { MODELS[plan.model].0 } else { "texts" })
}

/// What is wrong with a record, but for its tokens.
fn fault(plan: &Plan, record: &Value) -> Option<String> {
    let (outcome, source) = plan.verdict();
    let routed = !matches!(plan.ending, Ending::HangUpSending | Ending::NoModel);
    let wanted = [
        ("outcome", Value::from(outcome)),
        ("usage_source", Value::from(source)),
        ("status", Value::from(plan.status())),
        ("tenant", Value::from("acme")),
        ("endpoint", Value::from(&plan.path()["/v1/".len()..])),
        ("route", Value::from(routed.then_some(MODELS[plan.model].0))),
        ("upstream", Value::from(routed.then_some(MODELS[plan.model].1))),
        ("attempts", Value::from(u64::from(routed))),
        ("stream", Value::from(plan.stream && plan.ending != Ending::HangUpSending)),
    ];
    let wrong = wanted.into_iter().find(|(key, value)| record[key] != *value);
    wrong.map(|(key, value)| format!("{key} is {}, not {value}", record[key]))
}

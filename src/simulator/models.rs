//! Answers `GET /v1/models` and `GET /v1/models/{id}`.
//!
//! Must not know what a model does: any name is one, only unknown words after `sim/` are not.

use super::Plan;
use super::body::Reply;
use super::faults::{Behaviour, PREFIX, WORDS};
use super::refusal::Refusal;
use serde::Serialize;

/// When the models were made, in seconds since 1970: 2026-01-01.
const CREATED: u64 = 1_767_225_600;

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// The names of the models: one example for each thing that can be asked for.
#[must_use]
pub fn names() -> Vec<String> {
    WORDS.iter().map(|word| format!("{PREFIX}{}", word.written())).collect()
}

/// The models: one example for each thing that can be asked for.
pub(super) fn list() -> Plan {
    let data = names().into_iter().map(model).collect();
    Plan { behaviour: Behaviour::default(), reply: Reply::json(&List { object: "list", data }) }
}

/// One model, under the name that its path means.
pub(super) fn one(id: &str) -> Result<Plan, Refusal> {
    Behaviour::of_model(id).map_err(|unknown| Refusal::model(unknown.to_string()))?;
    Ok(Plan { behaviour: Behaviour::default(), reply: Reply::json(&model(id.to_owned())) })
}

fn model(id: String) -> Model {
    Model { id, object: "model", created: CREATED, owned_by: "tollgate-simulator" }
}

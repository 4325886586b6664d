//! What every test of the reader needs.

mod endpoints;
mod generated;
mod meaning;
mod rows;
mod suite;

use super::field::POLICY_KEYS;
use super::*;
use crate::wire::model_name;

const STRICT: Rules = Rules { keys: KeyRule::Strict };
const LENIENT: Rules = Rules { keys: KeyRule::Lenient };

/// Reads a chat body.
fn chat(body: impl AsRef<[u8]>) -> Result<Peek, BodyFault> {
    peek(Endpoint::ChatCompletions, body.as_ref(), STRICT)
}

/// A chat body with these further members.
fn with(members: &str) -> Result<Peek, BodyFault> {
    chat(format!(r#"{{"model":"m",{members}}}"#))
}

/// The code and parameter of a refusal.
fn refusal(read: Result<Peek, BodyFault>) -> (FaultCode, Option<String>) {
    let fault = read.expect_err("a refusal");
    (fault.code, fault.param)
}

/// A refusal about a parameter.
fn about(code: FaultCode, param: &str) -> (FaultCode, Option<String>) {
    (code, Some(param.to_owned()))
}

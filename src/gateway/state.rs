//! Decides what becomes of a call that creates kept state or reads it: where it goes, what is changed in it, or why not.
//!
//! Kept state is what makes a provider's answer depend on which account was asked before. Must not know limits, nor whether an
//! upstream is healthy.

use std::sync::Arc;

use super::error::GatewayError;
use crate::routing::{Deployment, Route, StatePolicy};
use crate::upstream::Upstream;
use crate::wire::endpoint::Endpoint;
use crate::wire::peek::{Peek, reads_kept_state};

/// What a route wants of a call for the sake of kept state. Most calls want nothing.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Where it goes, if not to the route's deployment.
    pub home: Option<Deployment>,
    /// Whether it is to say that nothing be kept.
    pub nothing_kept: bool,
}

/// Holds a call against its route's policy. `home` is its tenant's upstream for kept state, `body` what was peeked into.
///
/// A call of Responses creates state unless `store` is false, and reads it as [`reads_kept_state`] says; counting and
/// compacting only read. Elsewhere only `background` is judged: nobody could count what goes on after the call has ended.
///
/// # Errors
/// 400 `unsupported_parameter` with the parameter.
pub fn hold(route: &Route, home: Option<&Arc<Upstream>>, peek: &Peek, body: &[u8]) -> Result<Wanted, GatewayError> {
    if !peek.endpoint.is_of_responses() {
        return if peek.state.background { Err(refused("background")) } else { Ok(Wanted::default()) };
    }
    match policy(route.state, route.deployments().len()) {
        Policy::AsSent => Ok(Wanted::default()),
        Policy::Home => {
            let home = home.or(route.stateful.as_ref());
            let touches = creates(peek) || reads_kept_state(peek, body).is_some();
            Ok(Wanted { home: home.filter(|_| touches).and_then(|home| elsewhere(route, home)), nothing_kept: false })
        }
        Policy::NoReaders => no_readers(peek, body).map(|()| Wanted::default()),
        Policy::Stateless => {
            no_readers(peek, body)?;
            match peek.state.store {
                Some(true) if creates(peek) => Err(refused("store")),
                _ => Ok(Wanted { home: None, nothing_kept: creates(peek) }),
            }
        }
        Policy::Nothing => {
            no_readers(peek, body)?;
            if creates(peek) { Err(refused("store")) } else { Ok(Wanted::default()) }
        }
    }
}

/// A route's policy, once it is known how many deployments it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// All goes to the one deployment.
    AsSent,
    /// What creates or reads goes home.
    Home,
    /// What reads is refused.
    NoReaders,
    /// What reads is refused, and nothing is kept.
    Stateless,
    /// What reads or creates is refused.
    Nothing,
}

fn policy(written: StatePolicy, deployments: usize) -> Policy {
    match written {
        StatePolicy::Auto if deployments <= 1 => Policy::AsSent,
        StatePolicy::Auto => Policy::NoReaders,
        StatePolicy::Pass => Policy::Home,
        StatePolicy::Strip => Policy::Stateless,
        StatePolicy::Refuse => Policy::Nothing,
    }
}

fn creates(peek: &Peek) -> bool {
    peek.endpoint == Endpoint::Responses && peek.state.store != Some(false)
}

fn no_readers(peek: &Peek, body: &[u8]) -> Result<(), GatewayError> {
    reads_kept_state(peek, body).map_or(Ok(()), |param| Err(refused(param)))
}

fn refused(param: &'static str) -> GatewayError {
    GatewayError::KeptState { param }
}

/// The deployment at `home`: the route's own there, with its name for the model, or one that keeps the client's name. `None`
/// where that is where the call goes anyway.
fn elsewhere(route: &Route, home: &Arc<Upstream>) -> Option<Deployment> {
    let is_there = |deployment: &&Deployment| deployment.upstream.name == home.name;
    match route.deployments().iter().find(is_there) {
        Some(own) => (route.deployments().len() > 1).then(|| own.clone()),
        None => Some(Deployment { upstream: Arc::clone(home), model: None }),
    }
}

#[cfg(test)]
mod tests;

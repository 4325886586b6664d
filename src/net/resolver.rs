//! Turns the name of a server into the addresses that a call may be sent to.
//!
//! Must not know what is asked of the server. Answers are kept for at most 30 s, so that a fleet behind a name can
//! change; failures are not kept. However many calls ask for a name at once, one question is sent.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer is used. The system's resolver hides the record's own lifetime, so this is short.
pub const KEPT: Duration = Duration::from_secs(30);

/// Finds addresses; cheap to clone, shared by all workers.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    ask: Ask,
    /// Names come from the configuration, so this is bounded by it.
    names: Mutex<HashMap<Box<str>, Arc<Name>>>,
}

type Answer = Result<Vec<IpAddr>, String>;
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Ask = Box<dyn Fn(&str) -> Asking + Send + Sync>;

/// What is known of one name.
#[derive(Default)]
struct Name {
    known: Mutex<Option<Known>>,
    /// Held by the call that asks; the others wait for what it learns.
    flight: tokio::sync::Mutex<Flight>,
}

#[derive(Clone)]
struct Known {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

/// The last question that was answered.
#[derive(Default)]
struct Flight {
    ended: Option<Instant>,
    fault: Option<ResolveError>,
}

/// Why a name gave no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver said no.
    #[error("cannot resolve {name}: {reason}")]
    Failed {
        /// The name that was asked for.
        name: String,
        /// The resolver's words.
        reason: String,
    },
    /// The name exists, without an address.
    #[error("cannot resolve {0}: the name has no address")]
    Empty(String),
}

/// The addresses of a server, in the order in which they should be tried; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    found: Found,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Literal(IpAddr),
    Named(Arc<[IpAddr]>),
}

impl Addresses {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.found {
            Found::Literal(_) => 1,
            Found::Named(list) => list.len(),
        }
    }

    /// Each of them, with the port.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let list = match &self.found {
            Found::Literal(one) => std::slice::from_ref(one),
            Found::Named(list) => list,
        };
        list.iter().map(|address| SocketAddr::new(*address, self.port))
    }
}

impl Resolver {
    /// Asks the system (`getaddrinfo`, on tokio's blocking threads).
    #[must_use]
    pub fn system() -> Self {
        Resolver::asking(|name| {
            let name = name.to_owned();
            Box::pin(async move {
                match tokio::net::lookup_host((name.as_str(), 0)).await {
                    Ok(found) => Ok(found.map(|address| address.ip()).collect()),
                    Err(error) => Err(error.to_string()),
                }
            })
        })
    }

    /// Asks `ask` instead of the system: for tests, and for names that a file gives.
    pub fn asking(ask: impl Fn(&str) -> Asking + Send + Sync + 'static) -> Self {
        Resolver(Arc::new(Inner { ask: Box::new(ask), names: Mutex::default() }))
    }

    /// Answers from a fixed table; every other name fails.
    #[must_use]
    pub fn fixed(table: HashMap<String, Vec<IpAddr>>) -> Self {
        Resolver::asking(move |name| {
            let answer = table.get(name).cloned().ok_or_else(|| "no such name".to_owned());
            Box::pin(std::future::ready(answer))
        })
    }

    /// The addresses of `host`; at once for a literal address or a name asked for within [`KEPT`].
    ///
    /// # Errors
    /// [`ResolveError`] when the name has no address or cannot be asked for. It is not remembered: the next call asks
    /// again, and only calls that waited for this very answer share it.
    pub async fn lookup(&self, host: &str, port: u16) -> Result<Addresses, ResolveError> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(Addresses { found: Found::Literal(literal), port });
        }
        let name = self.name(host);
        let list = match name.fresh() {
            Some(list) => list,
            None => self.ask(&name, host).await?,
        };
        Ok(Addresses { found: Found::Named(list), port })
    }

    /// The addresses, where they are known without asking anyone.
    #[must_use]
    pub fn known(&self, host: &str, port: u16) -> Option<Addresses> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Some(Addresses { found: Found::Literal(literal), port });
        }
        let list = self.name(host).fresh()?;
        Some(Addresses { found: Found::Named(list), port })
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host) {
            return Arc::clone(name);
        }
        Arc::clone(names.entry(host.into()).or_default())
    }

    async fn ask(&self, name: &Name, host: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        let began = Instant::now();
        let mut flight = name.flight.lock().await;
        if let Some(list) = name.fresh() {
            return Ok(list);
        }
        if let (Some(ended), Some(fault)) = (flight.ended, &flight.fault)
            && ended > began
        {
            return Err(fault.clone());
        }
        let answer = match (self.0.ask)(host).await {
            Ok(list) if list.is_empty() => Err(ResolveError::Empty(host.to_owned())),
            Ok(list) => Ok(Arc::<[IpAddr]>::from(list)),
            Err(reason) => Err(ResolveError::Failed { name: host.to_owned(), reason }),
        };
        flight.ended = Some(Instant::now());
        flight.fault = answer.as_ref().err().cloned();
        if let Ok(list) = &answer {
            name.learn(list);
        }
        answer
    }
}

impl Name {
    fn fresh(&self) -> Option<Arc<[IpAddr]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|known| Instant::now() < known.until).map(|known| Arc::clone(&known.addresses))
    }

    fn learn(&self, list: &Arc<[IpAddr]>) {
        let known = Known { addresses: Arc::clone(list), until: Instant::now() + KEPT };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

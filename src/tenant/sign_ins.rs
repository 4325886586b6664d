//! Slows down whoever guesses keys: counts failed sign-ins by network address.
//!
//! A valid key is never slowed. Must not know which key was tried.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Failures a second from one address before its connections are closed.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Addresses that are remembered at most; beyond, addresses share one bucket.
const TABLE: usize = 65_536;

type Limiter<C> =
    RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as governor::clock::Clock>::Instant>>;

/// The table of failures.
pub struct FailedSignIns<C: Clock = DefaultClock> {
    limiter: Limiter<C>,
}

/// What to do with a connection whose sign-in failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer 401 and go on.
    Answer,
    /// Answer 401, close the connection, write no log line.
    Close,
}

impl Default for FailedSignIns<DefaultClock> {
    fn default() -> Self {
        FailedSignIns::new(DefaultClock::default())
    }
}

impl<C: Clock> FailedSignIns<C> {
    /// An empty table over a clock.
    #[must_use]
    pub fn new(clock: C) -> Self {
        let quota = Quota::per_second(PER_SECOND);
        FailedSignIns { limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock) }
    }

    /// Counts a failure from `peer`, an IPv6 address by its /64.
    pub fn failed(&self, peer: SocketAddr) -> Verdict {
        let mut address = network(peer.ip());
        if self.limiter.len() >= TABLE {
            self.limiter.retain_recent();
            if self.limiter.len() >= TABLE {
                address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        match self.limiter.check_key(&address) {
            Ok(()) => Verdict::Answer,
            Err(_) => Verdict::Close,
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (!0u128 << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    #[test]
    fn the_eleventh_failure_in_a_second_closes_and_a_second_later_it_answers_again() {
        let clock = FakeRelativeClock::default();
        let table = FailedSignIns::new(clock.clone());
        for _ in 0..10 {
            assert_eq!(table.failed(peer("192.0.2.1")), Verdict::Answer);
        }
        assert_eq!(table.failed(peer("192.0.2.1")), Verdict::Close);
        assert_eq!(table.failed(peer("192.0.2.2")), Verdict::Answer);
        clock.advance(Duration::from_secs(1));
        assert_eq!(table.failed(peer("192.0.2.1")), Verdict::Answer);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let table = FailedSignIns::new(FakeRelativeClock::default());
        for i in 0..10 {
            table.failed(peer(&format!("2001:db8::{i}")));
        }
        assert_eq!(table.failed(peer("2001:db8::ffff")), Verdict::Close);
        assert_eq!(table.failed(peer("2001:db8:0:1::1")), Verdict::Answer);
    }

    #[test]
    fn the_table_stays_bounded_under_invented_addresses() {
        let table = FailedSignIns::new(FakeRelativeClock::default());
        for i in 0..70_000u32 {
            table.failed(SocketAddr::new(IpAddr::from(i.to_be_bytes()), 1));
        }
        assert!(table.limiter.len() <= TABLE + 1);
    }
}

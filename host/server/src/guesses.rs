//! Wrong keys, counted by the address they come from, so that nobody tries key after key. The time is passed in; what a key is, nothing
//! here knows.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many wrong keys may come at once from one address.
pub(crate) const AT_ONCE: u32 = 20;
/// After that, one in this time.
const EVERY: Duration = Duration::from_secs(3);
/// However many came at the same moment, an address is heard again after this time.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// So many addresses are remembered at most.
const ADDRESSES: usize = 10_000;

/// Per address, when all its wrong keys are made up for: each adds [`EVERY`].
#[derive(Default)]
pub(crate) struct Guesses(Mutex<HashMap<IpAddr, Instant>>);

impl Guesses {
    /// How long this address has to wait until another key of it is looked at; none when not at all.
    pub(crate) fn wait(&self, from: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let settled = *self.all().get(&network(from))?;
        settled.checked_duration_since(now + (AT_ONCE - 1) * EVERY).filter(|it| !it.is_zero())
    }

    /// Counts a wrong key.
    pub(crate) fn wrong(&self, from: Option<IpAddr>, now: Instant) {
        let mut all = self.all();
        if all.len() >= ADDRESSES {
            forget(&mut all, now);
        }
        let settled = all.entry(network(from)).or_insert(now);
        *settled = ((*settled).max(now) + EVERY).min(now + LONGEST);
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

/// Drops what is made up for. Where that is too little, all goes: a crowd of addresses must neither fill the memory nor shut out others.
fn forget(all: &mut HashMap<IpAddr, Instant>, now: Instant) {
    all.retain(|_, settled| *settled > now);
    if all.len() > ADDRESSES / 2 {
        all.clear();
    }
}

/// Who has one IPv6 address usually has the 2^64 beside it. Requests without an address count together.
fn network(from: Option<IpAddr>) -> IpAddr {
    match from.unwrap_or(Ipv6Addr::UNSPECIFIED.into()).to_canonical() {
        IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits() >> 64 << 64).into(),
        it => it,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn after_twenty_wrong_keys_an_address_waits_and_the_others_do_not() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(guesses.wait(at("192.0.2.1"), now), None);
            guesses.wrong(at("192.0.2.1"), now);
        }
        assert_eq!(guesses.wait(at("::ffff:192.0.2.1"), now), Some(EVERY));
        assert_eq!(guesses.wait(at("192.0.2.1"), now + EVERY), None);
        assert_eq!(guesses.wait(at("192.0.2.2"), now), None);
        guesses.wrong(at("192.0.2.1"), now + EVERY);
        assert_eq!(guesses.wait(at("192.0.2.1"), now + EVERY), Some(EVERY), "one at a time from then on");
        assert_eq!(guesses.wait(at("192.0.2.1"), now + 100 * EVERY), None);
    }

    #[test]
    fn addresses_beside_each_other_count_as_one_and_nobody_waits_for_ever() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        (0..1000).for_each(|it| guesses.wrong(at(&format!("2001:db8::{it:x}")), now));
        assert!(guesses.wait(at("2001:db8::ffff:1"), now).is_some_and(|it| it < LONGEST));
        assert_eq!(guesses.wait(at("2001:db8:0:1::1"), now), None);
        assert_eq!(guesses.wait(at("2001:db8::1"), now + LONGEST), None);
    }

    #[test]
    fn a_crowd_of_addresses_does_not_fill_the_memory() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for it in 0..3 * ADDRESSES as u32 {
            guesses.wrong(Some(IpAddr::V4(it.into())), now);
            assert!(guesses.all().len() <= ADDRESSES);
        }
    }
}

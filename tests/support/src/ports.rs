//! Ports for what cannot be told to take any free one.

use std::net::{IpAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that systems give to clients and for port 0 (Linux: from 32768 on, others: from
/// 49152), so that none of them is given away between this look and its use.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on at this address, another one at each call. `None`: there is no
/// such address here, or every port of it is taken.
pub fn unused_port(address: impl Into<IpAddr>) -> Option<u16> {
    let address = address.into();
    // Processes begin at different places.
    let start = process::id() % u32::from(COUNT);
    (0..COUNT).find_map(|_| {
        let taken = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        // Processes have numbers that are close together: 97 is no divisor of the count.
        let place = (start * 97 + taken) % u32::from(COUNT);
        let port = FIRST + u16::try_from(place).ok()?;
        TcpListener::bind((address, port)).is_ok().then_some(port)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_none_that_is_in_use() {
        let first = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
        let next = if first == FIRST + COUNT - 1 {
            FIRST
        } else {
            first + 1
        };
        // Whoever has it, it is in use.
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        let others: BTreeSet<_> = (0..100)
            .map(|_| unused_port(Ipv4Addr::LOCALHOST).expect("a port"))
            .collect();
        assert_eq!(others.len(), 100);
        assert!(!others.contains(&first) && !others.contains(&next));
        assert!(
            others
                .iter()
                .all(|port| (FIRST..FIRST + COUNT).contains(port))
        );
    }

    #[test]
    fn an_address_that_is_not_here_has_none() {
        // RFC 5737: an address for documentation.
        assert_eq!(unused_port(Ipv4Addr::new(192, 0, 2, 1)), None);
    }
}

//! Free ports that stay a broker's own while it is down.
//!
//! They lie below the range from which the system takes ports for outgoing connections. Otherwise
//! a client that tries to reach a killed broker might be given that very port, connect to itself,
//! and keep the broker from coming back. A locked file per port keeps other tests from it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

const FIRST: u16 = 20_000;
const COUNT: u16 = 8_000;

/// A port of 127.0.0.1 that no other broker of a test takes until this is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Locked while it is open.
    _claim: File,
}

impl Port {
    /// Claims a free one. Processes begin looking at different places.
    pub(crate) fn claim() -> Self {
        let folder = std::env::temp_dir().join("clvstream-test-ports");
        fs::create_dir_all(&folder).expect("a folder for claims to ports");
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        (0..COUNT)
            .map(|n| FIRST + (start + n) % COUNT)
            .find_map(|number| {
                let claim = File::create(folder.join(number.to_string())).ok()?;
                claim.try_lock().ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                let port = Self {
                    number,
                    _claim: claim,
                };
                Some(port)
            })
            .expect("a free port between 20000 and 28000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: at the same time as another it would look for the same ports.
    #[test]
    fn a_port_is_claimed_once_and_only_when_it_is_free() {
        let one = Port::claim();
        let other = Port::claim();
        assert_ne!(one.number, other.number);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, one.number));
        let listener = listener.expect("a claimed port is free");

        let taken = one.number;
        drop(one);
        assert_ne!(Port::claim().number, taken);
        drop(listener);
    }
}

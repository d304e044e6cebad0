//! As much of Kafka's protocol as tells whether a broker answers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);
/// Api key 3 in version 1, correlation id 1, no client id, an empty list of topics.
const METADATA: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];

/// How many brokers the one at this port of 127.0.0.1 knows to be up.
pub(crate) fn live_brokers(port: u16) -> io::Result<i32> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&METADATA)?;
    // Size, correlation id, number of brokers.
    let mut head = [[0; 4]; 3];
    stream.read_exact(head.as_flattened_mut())?;
    match head.map(i32::from_be_bytes) {
        [_, 1, brokers] => Ok(brokers),
        other => Err(io::Error::other(format!("no answer of Kafka's: {other:?}"))),
    }
}

//! Topics over Kafka's protocol, by hand: this crate has no client.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Makes a topic of one partition; that it is there already is an error.
pub(crate) fn create(bootstrap: &str, name: &str) {
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.extend(string(name));
    body.extend(1_i32.to_be_bytes()); // partitions
    body.extend(1_i16.to_be_bytes()); // copies
    body.extend([0; 8]); // no assignments, no settings
    body.extend(10_000_i32.to_be_bytes()); // milliseconds
    body.push(0); // not only a trial
    let answer = ask(bootstrap, (19, 2), &body);
    // Throttle time, number of topics, the name, the error.
    let error = &answer[4 + 4 + 2 + name.len()..][..2];
    assert_eq!(error, [0, 0], "cannot make {name}");
}

/// Whether the broker knows a topic and its leader.
pub(crate) fn exists(bootstrap: &str, name: &str) -> bool {
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.extend(string(name));
    let answer = ask(bootstrap, (3, 1), &body);
    // The topic stands last: error, name, whether it is internal, number of partitions.
    let name = string(name);
    let at = answer
        .windows(name.len())
        .position(|window| window == name)
        .expect("the answer names the topic");
    let partitions = &answer[at + name.len() + 1..][..4];
    answer[at - 2..at] == [0, 0] && partitions == [0, 0, 0, 1]
}

fn string(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// One request and the body of its answer.
fn ask(bootstrap: &str, (key, version): (i16, i16), body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes()); // no client id
    request.extend(body);
    let size = i32::try_from(request.len()).unwrap();

    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream
        .write_all(&[&size.to_be_bytes()[..], &request].concat())
        .unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], 7_i32.to_be_bytes(), "another correlation id");
    answer.split_off(4)
}

//! What stands between instances and a broker, and carries bytes for as long as it is not told to do
//! otherwise.
//!
//! The broker tells clients that come by the proxy to go on coming by it, so that nothing bypasses it.
//! Whose connection it is, it learns from the client id in the first request.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kafkatest::Proxied;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    ToBroker,
    FromBroker,
}

/// What happens to connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// They break, and no new ones come about.
    Cut,
    /// Bytes are late by this, both ways.
    Delay(Duration),
    /// Bytes of one direction are kept, and go on when this is over.
    Hold(Direction),
    /// One direction ends; the other one goes on.
    Close(Direction),
}

/// What happens, and to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Disturbance {
    pub(crate) how: How,
    /// How the client id ends, but for the number of a worker; `None`: everybody's.
    pub(crate) whose: Option<String>,
}

impl Disturbance {
    fn concerns(&self, who: Option<&String>) -> bool {
        match (&self.whose, who) {
            (None, _) => true,
            (Some(end), Some(who)) => {
                let is_number = |end: &str| end.parse::<u32>().is_ok();
                let worker = who.rsplit_once('-').filter(|(_, number)| is_number(number));
                let of_worker = worker.is_some_and(|(who, _)| who.ends_with(end.as_str()));
                of_worker || who.ends_with(end.as_str())
            }
            (Some(_), None) => false,
        }
    }
}

type Orders = watch::Receiver<Option<Disturbance>>;
/// The client id of a connection, once it is known.
type Who = Arc<OnceLock<String>>;

/// A proxy before one broker.
#[derive(Debug)]
pub(crate) struct Proxy {
    orders: watch::Sender<Option<Disturbance>>,
}

impl Proxy {
    /// Begins to carry.
    pub(crate) fn start(runtime: &Runtime, place: Proxied) -> Proxy {
        let (listener, _) = listen(runtime, place.front);
        Proxy::carrying(runtime, listener, place.behind)
    }

    fn carrying(runtime: &Runtime, listener: TcpListener, behind: u16) -> Proxy {
        let (orders, ordered) = watch::channel(None);
        runtime.spawn(accept(listener, behind, ordered));
        Proxy { orders }
    }

    /// Disturbs from now on, or, with `None`, no more.
    pub(crate) fn disturb(&self, how: Option<Disturbance>) {
        self.orders.send_replace(how);
    }
}

fn listen(runtime: &Runtime, port: u16) -> (TcpListener, u16) {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    let listener = listener.expect("the port in front of a broker is free");
    let port = listener.local_addr().expect("it listens").port();
    (listener, port)
}

async fn accept(listener: TcpListener, behind: u16, orders: Orders) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let orders = orders.clone();
        tokio::spawn(async move {
            // A broker that is away refuses, and so does the proxy.
            if let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)).await {
                carry(client, broker, orders).await;
            }
        });
    }
}

/// Carries both ways until both have ended, or the connection is cut: what is dropped breaks.
async fn carry(client: TcpStream, broker: TcpStream, orders: Orders) {
    let _ = client.set_nodelay(true);
    let _ = broker.set_nodelay(true);
    let who = Who::default();
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let to = pump(
        from_client,
        to_broker,
        Direction::ToBroker,
        &who,
        orders.clone(),
    );
    let from = pump(
        from_broker,
        to_client,
        Direction::FromBroker,
        &who,
        orders.clone(),
    );
    tokio::select! {
        _ = async { tokio::join!(to, from) } => {}
        () = cut(&who, orders) => {}
    }
}

/// Ends when the connection is to break.
async fn cut(who: &Who, mut orders: Orders) {
    loop {
        if ordered(&mut orders, who) == Some(How::Cut) {
            return;
        }
        // A connection whose owner is not known yet may turn out to be a victim's.
        let looked = tokio::time::timeout(Duration::from_millis(50), orders.changed()).await;
        if let Ok(Err(_)) = looked {
            return;
        }
    }
}

fn ordered(orders: &mut Orders, who: &Who) -> Option<How> {
    let order = orders.borrow_and_update();
    let order = order.as_ref().filter(|order| order.concerns(who.get()));
    order.map(|order| order.how)
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    who: &Who,
    mut orders: Orders,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let how = ordered(&mut orders, who);
        match how {
            Some(How::Hold(held)) if held == direction => {
                if orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Some(How::Close(closed)) if closed == direction => {
                let _ = to.shutdown().await;
                return;
            }
            _ => {}
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = orders.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let read = match read {
            Ok(read) if read > 0 => read,
            _ => {
                let _ = to.shutdown().await;
                return;
            }
        };
        if direction == Direction::ToBroker
            && who.get().is_none()
            && let Some(id) = client_id(&buffer[..read])
        {
            let _ = who.set(id);
        }
        if let Some(How::Delay(late)) = how {
            tokio::time::sleep(late).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The client id in the head of a request: after its size, api key, version and correlation id.
fn client_id(request: &[u8]) -> Option<String> {
    let length = request.get(12..14)?;
    let length = i16::from_be_bytes([length[0], length[1]]);
    let id = request.get(14..14 + usize::try_from(length).ok()?)?;
    String::from_utf8(id.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net;

    use super::*;

    /// A request with this client id.
    fn request(id: &str) -> Vec<u8> {
        let mut request = vec![0, 0, 0, 10 + id.len() as u8, 0, 18, 0, 3, 0, 0, 0, 1, 0];
        request.push(id.len() as u8);
        request.extend(id.as_bytes());
        request
    }

    struct Scene {
        runtime: Runtime,
        proxy: Proxy,
        front: u16,
        broker: net::TcpListener,
    }

    impl Scene {
        fn new() -> Scene {
            let runtime = Runtime::new().unwrap();
            let broker = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let behind = broker.local_addr().unwrap().port();
            // Any port that is free.
            let (listener, front) = listen(&runtime, 0);
            Scene {
                proxy: Proxy::carrying(&runtime, listener, behind),
                runtime,
                front,
                broker,
            }
        }

        /// A connection of a client that has said who it is, and the broker's end of it.
        fn connect(&self, id: &str) -> (net::TcpStream, net::TcpStream) {
            let mut client = net::TcpStream::connect(("127.0.0.1", self.front)).unwrap();
            client.write_all(&request(id)).unwrap();
            let (mut broker, _) = self.broker.accept().unwrap();
            let mut seen = vec![0; request(id).len()];
            broker.read_exact(&mut seen).unwrap();
            assert_eq!(seen, request(id));
            for end in [&client, &broker] {
                end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            }
            (client, broker)
        }

        fn disturb(&self, how: How, whose: Option<&str>) {
            let whose = whose.map(str::to_owned);
            self.proxy.disturb(Some(Disturbance { how, whose }));
        }
    }

    /// A byte goes from one end to the other.
    fn passes(from: &mut net::TcpStream, to: &mut net::TcpStream) -> bool {
        let mut byte = [0];
        from.write_all(&[7]).is_ok() && to.read_exact(&mut byte).is_ok()
    }

    fn has_ended(stream: &mut net::TcpStream) -> bool {
        matches!(stream.read(&mut [0]), Ok(0) | Err(_))
    }

    #[test]
    fn a_cut_breaks_the_connections_of_whom_it_concerns() {
        let scene = Scene::new();
        let (mut one, mut one_broker) = scene.connect("shop-i1");
        let (mut worker, mut worker_broker) = scene.connect("shop-i1-0");
        let mut others = ["shop-i2", "shop-i2-1", "shop-i11"].map(|id| scene.connect(id));
        scene.disturb(How::Cut, Some("-i1"));
        assert!(has_ended(&mut one) && has_ended(&mut one_broker));
        assert!(has_ended(&mut worker) && has_ended(&mut worker_broker));
        for (other, broker) in &mut others {
            assert!(passes(other, broker));
        }
        scene.proxy.disturb(None);
        let (mut again, mut broker) = scene.connect("shop-i1");
        assert!(passes(&mut again, &mut broker) && passes(&mut broker, &mut again));
        drop(scene.runtime);
    }

    #[test]
    fn what_is_held_one_way_goes_on_afterwards_and_the_other_way_meanwhile() {
        let scene = Scene::new();
        let (mut client, mut broker) = scene.connect("shop-i1");
        scene.disturb(How::Hold(Direction::ToBroker), None);
        // The order has arrived when something that was sent does not come.
        loop {
            client.write_all(&[1]).unwrap();
            broker
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            if broker.read_exact(&mut [0]).is_err() {
                break;
            }
        }
        assert!(passes(&mut broker, &mut client));
        scene.proxy.disturb(None);
        broker
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut byte = [0];
        broker.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [1]);
    }

    #[test]
    fn closing_one_way_leaves_the_other_open() {
        let scene = Scene::new();
        let (mut client, mut broker) = scene.connect("shop-i1");
        scene.disturb(How::Close(Direction::ToBroker), None);
        assert!(has_ended(&mut broker));
        assert!(passes(&mut broker, &mut client));
    }

    #[test]
    fn a_client_is_known_by_the_id_in_its_first_request() {
        assert_eq!(client_id(&request("shop-i1")).as_deref(), Some("shop-i1"));
        assert_eq!(client_id(&request("shop-i1")[..16]), None);
        assert_eq!(client_id(&[0; 12]), None);
        // No client id: a length of -1.
        assert_eq!(
            client_id(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff]),
            None
        );
    }
}

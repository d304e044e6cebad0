//! A broker, from its start to its end.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::options::{Options, Security};
use crate::ports::Port;
use crate::process::Process;
use crate::{script, wire};

/// A start takes about a second, after kill -9 about four; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a broker that is starting is looked at.
const GLANCE: Duration = Duration::from_millis(20);
const EXTERNAL: &str = "CLVSTREAM_TEST_BOOTSTRAP";

/// A Kafka broker on 127.0.0.1, alone or one of a [`Cluster`](crate::Cluster); killed and removed when
/// it is dropped.
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    /// `None`: somebody else's, named by `CLVSTREAM_TEST_BOOTSTRAP`.
    own: Option<Own>,
}

/// What this process started.
#[derive(Debug)]
struct Own {
    /// `None` while it is killed. Before the folder: it must not write to what is removed.
    process: Mutex<Option<Process>>,
    folder: TempDir,
    /// Without security, for everybody; with it, for looking only.
    plain: Port,
    /// With security.
    secure: Option<Port>,
    /// See [`Broker::proxied`].
    proxied: Option<(Port, Port)>,
    /// Held: the number stands in the properties.
    _controller: Port,
    security: Option<Security>,
}

/// Where a broker may be reached by way of a proxy: ports of 127.0.0.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proxied {
    /// Where the proxy has to listen: the broker tells clients to come here.
    pub front: u16,
    /// Where the broker listens for it.
    pub behind: u16,
}

/// A broker's place among those of its cluster.
pub(crate) struct Seat {
    /// `node.id`.
    pub(crate) node: u32,
    pub(crate) controller: Port,
    /// `controller.quorum.voters`.
    pub(crate) voters: String,
    /// What all of them are formatted with; `None`: anything.
    pub(crate) cluster: Option<String>,
}

impl Seat {
    fn alone() -> Self {
        let controller = Port::claim();
        Self {
            node: 1,
            voters: format!("1@127.0.0.1:{}", controller.number),
            controller,
            cluster: None,
        }
    }
}

impl Broker {
    /// A broker for a test that leaves it alone: the one at `CLVSTREAM_TEST_BOOTSTRAP` where that is
    /// set, otherwise one of its own.
    ///
    /// # Panics
    /// When Kafka is there but the broker does not come up; with `CI=true`, also when it is not.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        match external() {
            Some(broker) => Some(broker),
            None => Self::own(test),
        }
    }

    /// A broker that the test may kill.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn own(test: &str) -> Option<Self> {
        Options::new().start(test)
    }

    /// The broker that all tests of this process share; it must not be killed. It ends with the
    /// process. Topics, groups and transactional ids need names of their own: see [`unique`].
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match external() {
            Some(broker) => Ok(broker),
            None => script::libs().map(|()| Self::launch(&Options::new())),
        });
        or_skipped(shared.as_ref().map_err(String::clone), test)
    }

    pub(crate) fn with(options: &Options, test: &str) -> Option<Self> {
        or_skipped(script::libs().map(|()| Self::launch(options)), test)
    }

    fn launch(options: &Options) -> Self {
        let broker = Self::seated(options, Seat::alone());
        broker.restart();
        broker
    }

    /// One that is not started yet.
    pub(crate) fn seated(options: &Options, seat: Seat) -> Self {
        let broker = Own::set_up(options, seat);
        Self {
            bootstrap: broker.bootstrap(),
            own: Some(broker),
        }
    }

    /// `host:port`, for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The librdkafka properties that reach this broker: `bootstrap.servers`, and those of TLS and
    /// SASL where it asks for them.
    #[must_use]
    pub fn client_properties(&self) -> Vec<(&'static str, String)> {
        let mut properties = vec![("bootstrap.servers", self.bootstrap.clone())];
        if let Some(security) = self.security() {
            properties.extend([
                ("security.protocol", "SASL_SSL".to_owned()),
                ("ssl.ca.location", security.ca.display().to_string()),
                ("sasl.mechanism", security.mechanism.to_owned()),
                ("sasl.username", security.user.to_owned()),
                ("sasl.password", security.password.to_owned()),
            ]);
        }
        properties
    }

    /// What clients must know of a broker with [`Options::tls_and_sasl`].
    #[must_use]
    pub fn security(&self) -> Option<&Security> {
        self.own.as_ref()?.security.as_ref()
    }

    /// Where a proxy in front of a broker with [`Options::proxied`] is to listen, and to connect to.
    #[must_use]
    pub fn proxied(&self) -> Option<Proxied> {
        let (front, behind) = self.own.as_ref()?.proxied.as_ref()?;
        Some(Proxied {
            front: front.number,
            behind: behind.number,
        })
    }

    /// Kills it with kill -9. Its data stays; connections to it break. Nothing happens to one that
    /// is killed already.
    ///
    /// # Panics
    /// When it is not this process's own.
    pub fn kill(&self) {
        if let Some(process) = self.mine().take() {
            process.kill();
        }
    }

    /// Starts it again, after [`Broker::kill`] if need be, with the same data at the same port, and
    /// waits until it answers. After a kill that takes the three seconds for which the broker's old
    /// session holds.
    ///
    /// # Panics
    /// When it is not this process's own, or does not come up.
    pub fn restart(&self) {
        self.begin();
        self.wait();
    }

    /// Starts its process anew.
    pub(crate) fn begin(&self) {
        self.kill();
        let own = self.own.as_ref().expect("checked by kill");
        *self.mine() = Some(Process::start(own.folder.path(), &own.properties()));
    }

    /// Waits until it answers.
    pub(crate) fn wait(&self) {
        let (mine, own) = (self.mine(), self.own.as_ref());
        if let (Some(process), Some(own)) = (&*mine, own) {
            own.wait_until_it_answers(process);
        }
    }

    /// The broker's process id, while it runs; for signals.
    ///
    /// # Panics
    /// When it is not this process's own.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.mine().as_ref().map(|process| process.pid)
    }

    /// What the broker has logged since it was last started.
    ///
    /// # Panics
    /// When it is not this process's own.
    #[must_use]
    pub fn log(&self) -> String {
        drop(self.mine());
        self.own.as_ref().map(Own::log).unwrap_or_default()
    }

    fn mine(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        let Some(own) = &self.own else {
            panic!("the broker of {EXTERNAL} is not mine: Broker::own starts one for the test");
        };
        // A test that failed does not make the next ones fail.
        own.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    /// Everything but the process: ports, properties, certificate, a formatted folder.
    fn set_up(options: &Options, seat: Seat) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("clvstream-kafka-")
            .tempdir()
            .expect("a folder for the broker");
        let plain = Port::claim();
        let proxied = options.proxied.then(|| (Port::claim(), Port::claim()));
        let secure = options.secured.then(Port::claim);
        let security = options.secured.then(|| secure_folder(folder.path()));

        let path = folder.path().display();
        let mut text = include_str!("../../../scripts/kafka.properties").to_owned();
        let mut listeners = format!(
            "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
            plain.number, seat.controller.number
        );
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{}", plain.number);
        if let Some((front, behind)) = &proxied {
            let _ = write!(listeners, ",PROXIED://127.0.0.1:{}", behind.number);
            let _ = write!(advertised, ",PROXIED://127.0.0.1:{}", front.number);
        }
        if let (Some(port), Some(security)) = (&secure, &security) {
            for text in [&mut listeners, &mut advertised] {
                let _ = write!(text, ",SASL_SSL://127.0.0.1:{}", port.number);
            }
            let mechanism = security.mechanism;
            let _ = writeln!(
                text,
                "sasl.enabled.mechanisms={mechanism}\n\
                 listener.name.sasl_ssl.{}.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 ssl.keystore.type=PKCS12\n\
                 ssl.keystore.location={path}/broker.p12\n\
                 ssl.keystore.password=clvstream",
                mechanism.to_lowercase()
            );
        }
        for (name, value) in options.properties() {
            let _ = writeln!(text, "{name}={value}");
        }
        let _ = writeln!(
            text,
            "node.id={}\n\
             listeners={listeners}\n\
             advertised.listeners={advertised}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
             PROXIED:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             controller.quorum.voters={}\n\
             log.dirs={path}/data",
            seat.node, seat.voters
        );

        let own = Self {
            process: Mutex::new(None),
            folder,
            plain,
            secure,
            proxied,
            _controller: seat.controller,
            security,
        };
        fs::write(own.properties(), text).expect("properties can be written");
        let user = own.security.as_ref().map(|security| {
            let Security {
                mechanism,
                user,
                password,
                ..
            } = security;
            format!("{mechanism}=[name={user},password={password}]")
        });
        let user = user.map(|user| ["--add-scram".to_owned(), user]);
        let cluster = seat.cluster.map(|id| ["--cluster-id".to_owned(), id]);
        let more: Vec<_> = [user, cluster].into_iter().flatten().flatten().collect();
        script::format(&own.properties(), &more)
            .unwrap_or_else(|reason| panic!("the broker's folder cannot be formatted: {reason}"));
        own
    }

    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    /// Where clients connect: with security, at the port that asks for it.
    fn bootstrap(&self) -> String {
        let port = self.secure.as_ref().unwrap_or(&self.plain);
        format!("127.0.0.1:{}", port.number)
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("broker.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last thing that a broker logs on its way up is that it has started; from then on it is
    /// registered, and must know of itself.
    fn wait_until_it_answers(&self, process: &Process) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let started = self.log().contains("Kafka Server started");
            if started && wire::live_brokers(self.plain.number).is_ok_and(|n| n > 0) {
                return;
            }
            let why = match (process.is_gone(), Instant::now() > deadline) {
                (true, _) => "has ended",
                (_, true) => "does not answer",
                _ => {
                    std::thread::sleep(GLANCE);
                    continue;
                }
            };
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            panic!("the broker {why}; the end of its log:\n{tail}");
        }
    }
}

/// Makes the certificate; the user is made with the log folder.
fn secure_folder(folder: &Path) -> Security {
    script::certificate(folder)
        .unwrap_or_else(|reason| panic!("the broker's certificate cannot be made: {reason}"));
    Security {
        ca: folder.join("ca.pem"),
        mechanism: "SCRAM-SHA-512",
        user: "shop",
        password: "a-password-for-tests",
    }
}

fn external() -> Option<Broker> {
    let bootstrap = std::env::var(EXTERNAL)
        .ok()
        .filter(|text| !text.is_empty())?;
    Some(Broker {
        bootstrap,
        own: None,
    })
}

/// Says SKIPPED, and why, where there is no broker to be had; with `CI=true` that is a failure.
pub(crate) fn or_skipped<T>(found: Result<T, String>, test: &str) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) => {
            let said = format!("SKIPPED {test}: {reason}");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
            println!("{said}");
            None
        }
    }
}

/// A name that no other test has used, in this run or before: for topics, groups and ids on a
/// broker that is shared.
#[must_use]
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{}-{count}", now.as_millis(), std::process::id())
}

//! A cluster with a proxy before each of its brokers.

use kafkatest::{Cluster, Options, Proxied};
use tokio::runtime::{Builder, Runtime};

use crate::proxy::{Disturbance, Proxy};

/// A cluster that instances reach by proxies only, and everybody else directly.
#[derive(Debug)]
pub struct Site {
    proxies: Vec<Proxy>,
    cluster: Cluster,
    by_proxy: String,
    /// Carries for the proxies.
    _runtime: Runtime,
}

impl Site {
    /// A cluster of `size` brokers; `None`, and SKIPPED, where Kafka cannot be had.
    ///
    /// # Panics
    /// When Kafka is there but does not come up; with `CI=true`, also when it is not.
    #[must_use]
    pub fn open(size: u32, name: &str) -> Option<Site> {
        let cluster = Options::new().proxied().start_cluster(size, name)?;
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads for the proxies");
        let places = cluster.brokers().iter().map(|broker| broker.proxied());
        let places: Vec<Proxied> = places.map(|place| place.expect("asked for")).collect();
        let fronts = places
            .iter()
            .map(|place| format!("127.0.0.1:{}", place.front));
        Some(Site {
            by_proxy: fronts.collect::<Vec<_>>().join(","),
            proxies: places
                .iter()
                .map(|place| Proxy::start(&runtime, *place))
                .collect(),
            cluster,
            _runtime: runtime,
        })
    }

    /// How many brokers there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.cluster.brokers().len()
    }

    /// For `bootstrap.servers`, past the proxies.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap()
    }

    /// For `bootstrap.servers`, by the proxies.
    pub(crate) fn by_proxy(&self) -> &str {
        &self.by_proxy
    }

    pub(crate) fn kill_broker(&self, which: usize) {
        self.cluster.brokers()[which].kill();
    }

    pub(crate) fn restart_broker(&self, which: usize) {
        self.cluster.brokers()[which].restart();
    }

    /// Disturbs the connections to one broker, or to all.
    pub(crate) fn disturb(&self, which: Option<usize>, how: &Disturbance) {
        for (number, proxy) in self.proxies.iter().enumerate() {
            if which.is_none_or(|which| which == number) {
                proxy.disturb(Some(how.clone()));
            }
        }
    }

    /// Disturbs no connection any more.
    pub(crate) fn undisturb(&self) {
        self.proxies.iter().for_each(|proxy| proxy.disturb(None));
    }
}

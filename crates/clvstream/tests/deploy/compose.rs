//! The compose file: that it is one, that it fits the files beside it, and that nothing of it can be
//! reached from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use yaml_rust2::Yaml;

use super::{deployed, repository, yaml};

fn texts(list: &Yaml) -> Vec<&str> {
    let texts = list.as_vec().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap()).collect()
}

fn services(compose: &Yaml) -> BTreeMap<&str, &Yaml> {
    let services = compose["services"].as_hash().unwrap().iter();
    services
        .map(|(name, one)| (name.as_str().unwrap(), one))
        .collect()
}

#[test]
fn the_services_are_what_the_readme_says() {
    let compose = yaml("compose.yaml");
    let services = services(&compose);
    let names: Vec<&str> = services.keys().copied().collect();
    assert_eq!(
        names,
        [
            "clvstream-1",
            "clvstream-2",
            "grafana",
            "kafka",
            "prometheus",
            "schema-registry",
            "topics"
        ]
    );
    for (name, service) in &services {
        let image = service["image"].as_str().unwrap();
        let version = image.split_once(':').map(|(_, version)| version);
        match version {
            // Built here.
            None => assert_eq!(image, "clvstream"),
            Some(version) => assert!(version.contains(|c: char| c.is_ascii_digit()), "{image}"),
        }
        let after = service["depends_on"].as_hash().into_iter().flatten();
        for (dependency, _) in after {
            let dependency = dependency.as_str().unwrap();
            assert!(services.contains_key(dependency), "{name}: {dependency}");
        }
    }
}

#[test]
fn nothing_is_published_beyond_loopback() {
    let compose = yaml("compose.yaml");
    let mut published = BTreeSet::new();
    for (name, service) in services(&compose) {
        for port in texts(&service["ports"]) {
            let host = port.strip_prefix("127.0.0.1:");
            let host = host.unwrap_or_else(|| panic!("{name}: {port}"));
            let host = host.split(':').next().unwrap();
            assert!(published.insert(host.to_owned()), "{name}: {host} twice");
        }
        assert!(service["network_mode"].is_badvalue(), "{name}");
    }
    assert_eq!(published.len(), 6);
}

#[test]
fn what_is_mounted_is_there_and_every_instance_has_a_volume_of_its_own() {
    let compose = yaml("compose.yaml");
    let declared = compose["volumes"].as_hash().unwrap();
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        for mount in texts(&service["volumes"]) {
            let source = mount.split(':').next().unwrap();
            if let Some(path) = source.strip_prefix("./") {
                assert!(repository("deploy").join(path).exists(), "{name}: {mount}");
                assert!(mount.ends_with(":ro"), "{name}: {mount}");
            } else {
                let declared = declared.contains_key(&Yaml::String(source.to_owned()));
                assert!(declared, "{name}: {mount}");
                assert!(used.insert(source.to_owned()), "{source} is used twice");
            }
        }
    }
    assert_eq!(used.len(), declared.len(), "a volume that nobody uses");
    assert!(used.contains("clvstream-1-state") && used.contains("clvstream-2-state"));
}

#[test]
fn prometheus_and_grafana_look_where_the_others_are() {
    let compose = yaml("compose.yaml");
    let services = services(&compose);
    let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();

    let configuration: toml::Table = deployed("clvstream.toml").parse().unwrap();
    let listens = port(configuration["http"]["listen"].as_str().unwrap());
    let scraping = yaml("prometheus/prometheus.yml");
    let targets = texts(&scraping["scrape_configs"][0]["static_configs"][0]["targets"]);
    let expected = ["clvstream-1", "clvstream-2"].map(|name| format!("{name}:{listens}"));
    assert_eq!(targets, expected);
    for name in ["clvstream-1", "clvstream-2"] {
        assert_eq!(services[name]["hostname"].as_str(), Some(name));
        let published = texts(&services[name]["ports"]);
        assert_eq!(port(published[0]), listens, "{name}");
    }

    // A task is kept warm by others than its owner.
    let copies = configuration["standby"].as_integer().unwrap();
    assert!((1..expected.len() as i64).contains(&copies), "{copies}");

    let brokers = configuration["kafka"]["bootstrap"].as_str().unwrap();
    let listeners = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].as_str();
    let internal = format!("INTERNAL://{brokers}");
    assert!(
        listeners.unwrap().split(',').any(|one| one == internal),
        "{internal}"
    );
    let registry = &services["schema-registry"]["environment"];
    let listens = registry["SCHEMA_REGISTRY_LISTENERS"].as_str().unwrap();
    let url = configuration["registry"]["url"].as_str().unwrap();
    assert_eq!(url, format!("http://schema-registry:{}", port(listens)));

    let source = yaml("grafana/provisioning/datasources/prometheus.yml");
    let url = source["datasources"][0]["url"].as_str().unwrap();
    let published = texts(&services["prometheus"]["ports"]);
    assert_eq!(url, format!("http://prometheus:{}", port(published[0])));
    let interval = &source["datasources"][0]["jsonData"]["timeInterval"];
    assert_eq!(interval, &scraping["global"]["scrape_interval"]);
    let provider = yaml("grafana/provisioning/dashboards/clvstream.yml");
    let folder = provider["providers"][0]["options"]["path"].as_str();
    let mounted = format!("./grafana/dashboards:{}:ro", folder.unwrap());
    assert!(texts(&services["grafana"]["volumes"]).contains(&mounted.as_str()));
}

/// What Docker itself finds wrong, where it has compose; the other tests hold without it.
#[test]
fn it_is_accepted() {
    let compose = |arguments: &[&str]| {
        Command::new("docker")
            .arg("compose")
            .args(arguments)
            .current_dir(repository("deploy"))
            .output()
    };
    assert!(yaml("compose.yaml")["name"].as_str().is_some());
    if compose(&["version"]).is_ok_and(|output| output.status.success()) {
        let checked = compose(&["config", "--quiet"]).unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

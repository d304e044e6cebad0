//! What the container file puts into the image, tried outside of one.

use std::path::Path;
use std::process::Command;

use super::common::{clvstream, folder};
use super::process::{Process, until};
use super::{deployed, repository, skipped};

/// Which of Debian's packages holds a library; what its base image has anyway, has none.
const LIBRARIES: [(&str, Option<&str>); 9] = [
    ("linux-vdso.so.1", None),
    ("ld-linux", None),
    ("libc.so.6", None),
    ("libm.so.6", None),
    ("libgcc_s.so.1", Some("libgcc-s1")),
    ("libstdc++.so.6", Some("libstdc++6")),
    ("libssl.so.3", Some("libssl3")),
    ("libcrypto.so.3", Some("libssl3")),
    ("libz.so.1", Some("zlib1g")),
];

#[test]
fn the_image_has_the_libraries_that_the_program_needs() {
    let program = env!("CARGO_BIN_EXE_clvstream");
    let Ok(listed) = Command::new("ldd").arg(program).output() else {
        return skipped(
            "image::the_image_has_the_libraries_that_the_program_needs",
            "no ldd here",
        );
    };
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("libc.so.6"), "{listed}");
    let container = deployed("Containerfile");
    for line in listed.lines() {
        let library = line.split_whitespace().next().unwrap();
        let name = library.rsplit('/').next().unwrap();
        let known = LIBRARIES.iter().find(|(known, _)| name.starts_with(known));
        let (_, package) = known.unwrap_or_else(|| panic!("which package holds {name}?"));
        if let Some(package) = package {
            let installed = container.split_whitespace().any(|word| word == *package);
            assert!(installed, "{name} needs {package} in the image");
        }
    }
}

#[test]
fn everything_that_is_copied_is_there() {
    let container = deployed("Containerfile");
    let copies = container
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let mut seen = 0;
    for copy in copies.filter(|copy| !copy.contains("--from=")) {
        let words: Vec<&str> = copy
            .split(' ')
            .filter(|word| !word.starts_with("--"))
            .collect();
        let (_, sources) = words.split_last().unwrap();
        for source in sources {
            assert!(repository(source).exists(), "{source}");
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
    // Compiled in: what the image is built from must have them.
    let left_out = deployed("Containerfile.dockerignore");
    for needed in ["data/cdnow", "mappings", "schemas"] {
        assert!(repository(needed).exists());
        assert!(left_out.lines().all(|line| line != needed), "{needed}");
    }
}

#[test]
fn the_configuration_of_the_image_can_be_used() {
    let file = repository("deploy/clvstream.toml");
    let checked = clvstream(
        &repository("deploy"),
        &["config", "check", file.to_str().unwrap()],
    );
    assert!(checked.starts_with("exit 0\n"), "{checked}");
}

/// Exit code of the image's health check.
fn health(path: &str, address: &str) -> i32 {
    let (host, port) = address.rsplit_once(':').unwrap();
    let check = repository("deploy/healthcheck");
    let run = Command::new("bash")
        .arg(&check)
        .args([path, host, port])
        .output();
    run.unwrap().status.code().unwrap()
}

#[test]
fn the_health_check_tells_alive_from_gone() {
    if !Path::new("/bin/bash").exists() {
        return skipped(
            "image::the_health_check_tells_alive_from_gone",
            "no /bin/bash here",
        );
    }
    let here = folder(&[]);
    let arguments = ["run", "--log-format=json", "--set=http.listen=127.0.0.1:0"];
    let mut service = Process::start(here.path(), &arguments);
    let running = service.logged("running");
    let address = running["http"].as_str().unwrap();
    assert_eq!(health("/livez", address), 0);
    until("ready", || health("/readyz", address) == 0);
    assert_eq!(health("/nowhere", address), 1);
    assert_eq!(service.terminate(), 0);
    assert_eq!(health("/livez", address), 1);
}

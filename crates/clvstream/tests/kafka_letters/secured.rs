//! A cluster that asks for TLS and a password: everything reaches it as `[kafka.security]` says.

use fleet::App;
use kafkatest::Options;

use crate::PROGRAM;
use crate::raw::read_committed;
use crate::tables::profiles;

#[test]
fn everything_works_over_tls_with_a_password() {
    let test = "everything_works_over_tls_with_a_password";
    let Some(broker) = Options::new().tls_and_sasl().start(test) else {
        return;
    };
    let security = broker.security().unwrap();
    let files = tempfile::tempdir().unwrap();
    let password = files.path().join("password");
    let with_password = |text: &str| std::fs::write(&password, text).unwrap();
    with_password(&format!("{}\n", security.password));
    let settings = [
        "partitions=2".to_owned(),
        "input.topics=[\"orders\"]".to_owned(),
        "kafka.security.protocol=sasl_ssl".to_owned(),
        format!("kafka.security.sasl_mechanism={}", security.mechanism),
        format!("kafka.security.username={}", security.user),
        format!("kafka.security.password_file={}", password.display()),
        format!("kafka.security.ssl_ca={}", security.ca.display()),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let app = App::new(PROGRAM, broker.bootstrap(), "secured", &settings);

    let rows = files.path().join("orders.csv");
    let orders = (0..200).map(|n| format!("o-{n},c-{},2024-03-01 10:00:00,{n}.50", n % 10));
    let table: Vec<String> = std::iter::once("id,who,at,total".to_owned())
        .chain(orders)
        .collect();
    std::fs::write(&rows, table.join("\n") + "\n").unwrap();
    let mapping = files.path().join("orders.toml");
    std::fs::write(
        &mapping,
        "format = \"csv\"\n[[event]]\ntype = \"order_completed\"\n[event.fields]\n\
         event_time = \"{at}\"\ncustomer_id = \"{who}\"\norder_id = \"{id}\"\ntotal = \"{total}\"\n",
    )
    .unwrap();

    let mut instance = app.start("one");
    instance.wait_ready();
    let (mapping, rows) = (mapping.display().to_string(), rows.display().to_string());
    app.run("loader", &["replay", "--mapping", &mapping, &rows]);
    let found = profiles(&app);
    assert_eq!(found.len(), 10);
    for (number, (customer, row)) in (0..10).zip(&found) {
        let gross: f64 = (0..20).map(|n| f64::from(n * 10 + number) + 0.5).sum();
        let expected = ("20".to_owned(), format!("{gross:.2}"));
        assert_eq!(
            (row["orders"].clone(), row["gross"].clone()),
            expected,
            "{customer}"
        );
    }
    let shown = app.run("reader", &["tail", "clv.updates", "--from", "beginning"]);
    let updates = read_committed(&broker, &format!("{}.clv.updates", app.id));
    assert_eq!(shown.lines().count(), updates.len());
    let planned = app.run("reader", &["topics", "plan"]);
    assert!(planned.contains(&format!("{}.dlq", app.id)), "{planned}");
    assert!(instance.terminate().success());

    // The password is not in what is logged, and a wrong one is refused and not shown either.
    assert!(!instance.log().contains(security.password));
    with_password("a-wrong-password");
    let refused = app.command("reader", &["export", "days"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        !said.contains("a-wrong-password") && !said.is_empty(),
        "{said}"
    );
}

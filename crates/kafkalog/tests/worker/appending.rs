//! Appending from outside the group, where what is written down may forbid it.

use kafkalog::Marks;
use kafkatest::Broker;

use crate::shop::{Shop, at, never, out};

#[test]
fn what_the_marks_forbid_is_not_appended_and_what_they_allow_is_with_its_own_marks() {
    let Some(broker) = Broker::shared("what_the_marks_forbid_is_not_appended") else {
        return;
    };
    let shop = Shop::new(broker, "forbidden", 1, &[1]);
    let cluster = shop.cluster("a");
    let mut appender = cluster.appender("controls", never()).unwrap();
    let routed = at(&shop.topics.routed, 0);
    let said = |what: &str| [out(routed.clone(), what)];
    let own = [("own", b"1".to_vec())];
    let may = |marks: &Marks| marks.contains_key("go");
    let appended = appender.append_if(&said("forbidden"), &own, &may);
    assert!(!appended.unwrap());
    assert_eq!(shop.committed(&routed.topic, 1), [Vec::<String>::new()]);
    assert!(cluster.marks().unwrap().is_empty());

    appender.append(&[], &[("go", b"on".to_vec())]).unwrap();
    let appended = appender.append_if(&said("allowed"), &own, &may);
    assert!(appended.unwrap());
    assert_eq!(shop.committed(&routed.topic, 1), [["allowed"]]);
    let marks: Vec<String> = cluster.marks().unwrap().into_keys().collect();
    assert_eq!(marks, ["go", "own"]);
}

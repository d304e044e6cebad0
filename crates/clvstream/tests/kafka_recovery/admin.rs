//! What an operator does to topics behind the application's back.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// An administrator.
pub struct Operator(AdminClient<DefaultClientContext>);

impl Operator {
    pub fn on(bootstrap: &str) -> Operator {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        Operator(config.create().unwrap())
    }

    /// Deletes the records before `offset`; before the end, where it is none.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: Option<i64>) {
        let mut list = TopicPartitionList::new();
        let offset = offset.map_or(Offset::End, Offset::Offset);
        list.add_partition_offset(topic, partition, offset).unwrap();
        let done = block_on(self.0.delete_records(&list, &AdminOptions::new())).unwrap();
        for element in done.elements() {
            element.error().unwrap();
        }
    }

    /// Gives a topic these settings, and no others.
    pub fn settings(&self, topic: &str, settings: &[(&str, &str)]) {
        let mut config = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in settings {
            config = config.set(name, value);
        }
        let altered = block_on(self.0.alter_configs(&[config], &AdminOptions::new()));
        for one in altered.unwrap() {
            one.unwrap();
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

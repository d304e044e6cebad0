//! Making topics.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::error::BenchError;
use crate::setup::Setup;

/// For the broker's answer, and for the partitions to be led.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the input topics and the floor's output, which must not be there yet: a measurement begins
/// with empty ones.
///
/// # Errors
/// One is there, or cannot be made.
pub(crate) fn create(setup: &Setup) -> Result<(), BenchError> {
    let admin: AdminClient<DefaultClientContext> = setup
        .client()
        .create()
        .map_err(BenchError::kafka("making an admin client"))?;
    let partitions = i32::try_from(setup.partitions).unwrap_or(i32::MAX);
    let names = setup.inputs.iter().chain([&setup.floor_output]);
    let topics: Vec<NewTopic<'_>> = names
        .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    let made = block_on(admin.create_topics(&topics, &options))
        .map_err(BenchError::kafka("creating topics"))?;
    for topic in made {
        topic.map_err(|(name, code)| BenchError::failed(format!("topic {name}: {code}")))?;
    }
    Ok(())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The admin client's answers come as futures, which need nothing but somebody to wait.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

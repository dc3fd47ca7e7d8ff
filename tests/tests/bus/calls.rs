//! Calls in a cluster of NATS servers.

use herald_proto::subject::Names;
use herald_router::bus::{BusState, nats::NatsConfig};
use herald_tests::nats::{NatsServer, cluster::NatsCluster};

use crate::world::{Node, PATIENCE, config, limits, text};

/// The inbox is subscribed to in the moment of the first call. Whoever answers through another server must know of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_call_is_answered_through_another_server() {
    let cluster = NatsCluster::start().await;
    let at = |server: &NatsServer| NatsConfig {
        provision: true,
        ..config(server.url(), limits())
    };
    let backend = Node::start(at(&cluster.servers[2])).await;
    backend.reaches(BusState::Ready).await;
    let subject = Names::new("test").service("far", None);
    let mut requests = backend
        .bus
        .pubsub
        .queue_subscribe(&subject, "q")
        .await
        .expect("subscribed");
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            request.reply.send(request.payload).await.expect("the answer is sent");
        }
    });
    backend.bus.pubsub.fence().await.expect("fenced");
    for n in 0..60 {
        let asker = Node::start(at(&cluster.servers[n % 2])).await;
        asker.reaches(BusState::Ready).await;
        let question = text(n.to_string());
        let answer = asker.bus.pubsub.call(&subject, question.clone().into(), PATIENCE).await;
        assert_eq!(answer.map(|answer| answer.payload), Ok(question));
    }
}

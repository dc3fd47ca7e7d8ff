//! `GET /api/v1/nodes`: routers tell which there are, and each is asked how it is.

use futures_util::future::join_all;
use herald_proto::{cluster::Node, id};
use herald_router::{failure::Failure, status};
use hyper::Method;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Asked, Call, NoBody, NoQuery};

pub(super) struct List;

impl Call for List {
    const ID: &'static str = "list_nodes";
    const RIGHT: &'static str = "nodes";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/nodes";
    const SUMMARY: &'static str = "Lists gateways and routers, each with how it is";
    const ABOUT: &'static str = "Of one that does not answer within a second only what its lease tells is known.";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Nodes;

    async fn run(asked: Asked<'_, Self>) -> Result<Nodes, Failure> {
        let nodes = asked.gateway.routers.nodes().await?;
        let asked = nodes.into_iter().map(|node| async {
            let status = status::ask(asked.gateway.bus(), asked.gateway.names(), &node.id).await;
            NodeOut::new(node, status.ok())
        });
        let mut nodes = join_all(asked).await;
        nodes.sort_unstable_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        Ok(Nodes { nodes })
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Nodes {
    nodes: Vec<NodeOut>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
struct NodeOut {
    id: String,
    /// `gateway` or `router`.
    kind: &'static str,
    ready: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<u64>,
    /// Open ones, of a gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u32>,
    /// How long ago it refreshed its lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_age_ms: Option<u64>,
}

impl NodeOut {
    fn new(node: Node, status: Option<herald_proto::cluster::NodeStatus>) -> Self {
        let known = status.as_ref();
        let why = known.map_or(Some("no answer"), |status| (!status.ready).then_some(&*status.why));
        Self {
            ready: known.is_some_and(|status| status.ready),
            why: why.map(str::to_owned),
            version: known.map(|status| status.version.clone()),
            started: known.map(|status| status.started),
            connections: known.filter(|_| !node.router).map(|status| status.connections),
            lease_age_ms: (node.alive > 0).then(|| id::now_ms().saturating_sub(node.alive)),
            kind: if node.router { "router" } else { "gateway" },
            id: node.id,
        }
    }
}

//! Networks and sources that are kept out.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::enforcement::end;
use super::refused::{NeedsDatabase, NotFound, Refused};
use super::request::{By, Json, Nothing, Part, Query};
use super::said::{Answer, Said};
use super::words::{Id, Moment, Name, Reason, Span};
use crate::blocklist::Block;
use crate::gatekeeper::Gatekeeper;
use crate::store::control::{BlockKind, StoredBlock};
use crate::verdict::BlockedWhat;

#[derive(Serialize, ToSchema)]
pub struct Blocks {
    blocks: Vec<BlockView>,
}

/// A network or source that is kept out.
#[derive(Serialize, ToSchema)]
#[schema(as = Block)]
pub struct BlockView {
    /// To end it by; null for what policy says, which is ended there.
    id: Option<Id>,
    kind: Kind,
    subject: String,
    reason: String,
    actor: Option<String>,
    since: Option<Moment>,
    until: Option<Moment>,
    /// Where it is written down.
    place: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BlockKind)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Network,
    Source,
}

impl From<StoredBlock> for BlockView {
    fn from(block: StoredBlock) -> Self {
        let kind = match block.kind {
            BlockKind::Network => Kind::Network,
            BlockKind::Source => Kind::Source,
        };
        let StoredBlock { id, subject, reason, actor, at, until, .. } = block;
        let place = format!("blocks: {id}");
        Self { id: Some(Id(id)), kind, subject, reason, actor: Some(actor), since: Some(Moment(at)), until: until.map(Moment), place }
    }
}

impl From<&Block> for BlockView {
    fn from(block: &Block) -> Self {
        let kind = match block.subject.what() {
            BlockedWhat::Network => Kind::Network,
            BlockedWhat::Source => Kind::Source,
        };
        let (subject, reason, place) = (block.subject.text(), block.reason.clone(), block.place.to_string());
        Self { id: None, kind, subject, reason, actor: None, since: None, until: block.until.map(Moment), place }
    }
}

/// Whom to keep out. `for` and `until` exclude each other; without either it lasts until somebody ends it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockOrder {
    /// An address, a network such as `203.0.113.0/24`, a source or a pattern of sources.
    subject: Name,
    reason: Reason,
    r#for: Option<Span>,
    /// Must lie ahead.
    until: Option<Moment>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Path)]
pub struct OfBlock {
    id: Id,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Why {
    /// For the audit.
    reason: Option<Reason>,
}

/// All blocks in force, those of policy too.
#[utoipa::path(
    get, path = "/api/admin/blocks", operation_id = "listBlocks", tag = "switches",
    responses((status = 200, description = "Policy's own first.", body = Blocks), NeedsDatabase)
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Blocks> {
    let stored = gatekeeper.control.blocks().await?;
    let policy = Arc::clone(&gatekeeper.pipeline.live.current().policy);
    let blocks = policy.blocks.iter().map(BlockView::from).chain(stored.into_iter().map(BlockView::from)).collect();
    Ok(Answer::Ok(Blocks { blocks }))
}

/// Keeps a network or a source out, within a second by every gatekeeper on the same database.
#[utoipa::path(
    post, path = "/api/admin/blocks", operation_id = "addBlock", tag = "switches", params(By), request_body = BlockOrder,
    responses((status = 201, description = "It is in force.", body = BlockView), NeedsDatabase)
)]
pub async fn add(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    _: Query<Nothing>,
    Json { value: order, .. }: Json<BlockOrder>,
) -> Said<BlockView> {
    let until = end(order.r#for, order.until, gatekeeper.pipeline.clock.now())?;
    let block = gatekeeper.control.block(&order.subject.0, &order.reason.0, until, &actor).await?;
    Ok(Answer::Created(block.into()))
}

/// Ends a block.
#[utoipa::path(
    delete, path = "/api/admin/blocks/{id}", operation_id = "endBlock", tag = "switches", params(OfBlock, Why, By),
    responses((status = 204, description = "It has ended."), NotFound, NeedsDatabase)
)]
pub async fn remove(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    Part(OfBlock { id }): Part<OfBlock>,
    Query(Why { reason }): Query<Why>,
) -> Said<()> {
    let reason = reason.as_ref().map(|reason| reason.0.as_str());
    if gatekeeper.control.unblock(id.0, reason, &actor).await? {
        Ok(Answer::Gone)
    } else {
        Err(Refused::NotFound("No block in force goes by this id"))
    }
}

//! `paraph connect`: the real front before the real gateway, and before a gateway that does what ours must never be
//! trusted not to do. A client sees lines; what it says and what it is told is all there is.

mod bridge;
mod odd;
mod restarts;
mod sdks;
mod shells;

use crate::world::{Desk, Front, Gateway, World};

const REVISION: &str = "2025-11-25";

/// A gateway with an agent and a reviewer.
struct Bed {
    world: World,
    gateway: Gateway,
    token: String,
    desk: Desk,
}

impl Bed {
    async fn new() -> Bed {
        let world = World::with_demo_server("");
        let (token, ann) = (world.agent("desktop").await, world.reviewer("ann@example.org").await);
        let gateway = world.serve().await;
        let desk = gateway.desk(&ann);
        Bed { world, gateway, token, desk }
    }

    async fn front(&self) -> Front {
        Front::connect(&self.gateway.url, &self.token, REVISION, &[]).await.0
    }
}

//! The gateway goes while the agent waits: asked to stop, or killed. It comes back on the same address, so that an SDK that
//! resumes by itself can; what must hold does so for one that resumes and for one that has to connect anew.

use super::{Scene, dm, every, id_of, pending, presence, sent, servers_result};
use crate::world::{Gateway, Sdk, until};
use serde_json::Value;
use tokio::net::TcpSocket;

/// A port that is free whenever the gateway is not there: as long as this socket is bound to it and does not listen, the
/// system gives the port to nobody who takes any, and to the gateway, which names it.
struct Address {
    _kept: TcpSocket,
    name: String,
}

impl Address {
    fn keep() -> Address {
        let kept = TcpSocket::new_v4().expect("a socket");
        kept.set_reuseaddr(true).expect("a shared address");
        kept.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let name = kept.local_addr().expect("its address").to_string();
        Address { _kept: kept, name }
    }
}

/// A new connection makes the identical call: it attaches, and when it is approved it is sent once.
async fn attaches_anew(scene: &Scene, gateway: &Gateway, held: &Value, to: &str, text: &str) {
    let desk = gateway.desk(&scene.ann);
    until("nobody waits", || async { (desk.call(id_of(held)).await["agent_waiting"] == false).then_some(()) }).await;
    let mut agent = scene.agent(gateway).await;
    agent.begin_call("send_dm", dm(to, text)).await;
    presence(&desk, id_of(held), "waiting").await;
    assert_eq!(desk.calls("held").await.len(), 1, "the identical call attaches");
    assert!(scene.world.sent().is_empty(), "it was sent before anybody approved it");
    desk.approve(&desk.call(id_of(held)).await).await;
    sent(&agent.result().await, to);
    assert_eq!(scene.world.sent(), [(text.to_owned(), 1)].into());
}

async fn stopped_while_it_waited(sdk: Sdk) {
    let (scene, address) = (Scene::new(sdk, "").await, Address::keep());
    let gateway = scene.world.serve_on(&address.name).await;
    let mut agent = scene.agent(&gateway).await;
    agent.begin_call("send_dm", dm("@bob", "Until you are back")).await;
    let held = gateway.desk(&scene.ann).held("Until you are back").await;
    assert!(gateway.stop().await, "{sdk:?}: the gateway did not end well");
    pending(&agent.result().await, id_of(&held));
    agent.kill().await;

    let gateway = scene.world.serve_on(&address.name).await;
    attaches_anew(&scene, &gateway, &held, "@bob", "Until you are back").await;
}

/// The SDK's user sees a request that comes to nothing, at the latest when the SDK's own time is up; or the SDK resumes, and
/// its user sees nothing of all this.
async fn killed_while_it_waited(sdk: Sdk) {
    let (scene, address) = (Scene::new(sdk, "").await, Address::keep());
    let gateway = scene.world.serve_on(&address.name).await;
    let mut agent = scene.agent(&gateway).await;
    agent.begin_call_for(8, "send_dm", dm("@bob", "Through thick and thin")).await;
    let held = gateway.desk(&scene.ann).held("Through thick and thin").await;
    gateway.kill().await;

    let gateway = scene.world.serve_on(&address.name).await;
    let desk = gateway.desk(&scene.ann);
    let resumed = tokio::select! {
        () = presence(&desk, id_of(&held), "waiting") => true,
        answer = agent.answer() => {
            assert!(answer.get("error").is_some(), "{sdk:?} has an answer that nobody gave: {answer}");
            false
        }
    };
    if resumed {
        desk.approve(&desk.call(id_of(&held)).await).await;
        servers_result(&agent.result().await, "@bob");
        assert_eq!(scene.world.sent(), [("Through thick and thin".to_owned(), 1)].into());
    } else {
        agent.kill().await;
        attaches_anew(&scene, &gateway, &held, "@bob", "Through thick and thin").await;
    }
}

#[tokio::test]
async fn a_gateway_that_is_stopped_tells_every_sdk_that_its_call_is_still_held() {
    every(&Sdk::ALL, stopped_while_it_waited).await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_keeps_the_call_of_every_sdk_for_the_next_connection() {
    every(&Sdk::ALL, killed_while_it_waited).await;
}

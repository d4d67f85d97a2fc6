//! The gateway goes while the agent waits: asked to stop, or killed. It comes back on the same address, so that an SDK that
//! resumes by itself can; what must hold does so for one that resumes and for one that has to connect anew.

use super::{Case, all, cases, dm, id_of, pending, presence, sent, servers_result};
use crate::world::{Gateway, Sdk, SdkAgent, until};
use serde_json::{Value, json};
use std::sync::Arc;
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

/// One that waits while its gateway goes.
struct Waiting {
    case: Case,
    agent: SdkAgent,
    text: String,
    held: Value,
}

/// All of them wait; `own_timeout` in seconds.
async fn waiting(cases: Vec<Case>, gateway: &Arc<Gateway>, own_timeout: u64) -> Vec<Waiting> {
    let begin = |case: Case, gateway: Arc<Gateway>| async move {
        let text = case.text("Through thick and thin");
        let mut agent = case.connect(&gateway).await;
        agent.begin_call_for(own_timeout, "send_dm", dm("@bob", &text)).await;
        let held = case.desk(&gateway).held(&text).await;
        Waiting { case, agent, text, held }
    };
    all(cases.into_iter().map(|case| (case.sdk, begin(case, gateway.clone())))).await
}

/// A new connection makes the identical call: it attaches, and when it is approved it is sent once.
async fn attaches_anew(waited: Waiting, gateway: &Gateway) {
    let Waiting { case, mut agent, text, held } = waited;
    let desk = case.desk(gateway);
    agent.fine(json!({"do": "connect anew"})).await;
    agent.tools().await;
    until("nobody waits", || async { (desk.call(id_of(&held)).await["agent_waiting"] == false).then_some(()) }).await;
    agent.begin_call("send_dm", dm("@bob", &text)).await;
    presence(&desk, id_of(&held), "waiting").await;
    assert_eq!(case.held(&desk).await, 1, "the identical call attaches");
    assert_eq!(case.sent(&text), 0, "it was sent before anybody approved it");
    desk.approve(&desk.call(id_of(&held)).await).await;
    sent(&agent.result().await, "@bob");
    assert_eq!(case.sent(&text), 1);
}

async fn after_a_stop(mut waited: Waiting, gateway: Arc<Gateway>) {
    pending(&waited.agent.result().await, id_of(&waited.held));
    attaches_anew(waited, &gateway).await;
}

/// The SDK's user sees a request that comes to nothing, at the latest when the SDK's own time is up; or the SDK resumes, and
/// its user sees nothing of all this.
async fn after_a_kill(mut waited: Waiting, gateway: Arc<Gateway>) {
    let desk = waited.case.desk(&gateway);
    let resumed = tokio::select! {
        () = presence(&desk, id_of(&waited.held), "waiting") => true,
        answer = waited.agent.answer() => {
            assert!(answer.get("error").is_some(), "{:?} has an answer that nobody gave: {answer}", waited.case.sdk);
            false
        }
    };
    if resumed {
        desk.approve(&desk.call(id_of(&waited.held)).await).await;
        servers_result(&waited.agent.result().await, "@bob");
        assert_eq!(waited.case.sent(&waited.text), 1);
    } else {
        attaches_anew(waited, &gateway).await;
    }
}

#[tokio::test]
async fn a_gateway_that_is_stopped_tells_every_sdk_that_its_call_is_still_held() {
    let (address, (world, cases)) = (Address::keep(), cases(&Sdk::ALL, |_| "50s").await);
    let gateway = Arc::new(world.serve_on(&address.name).await);
    let waited = waiting(cases, &gateway, 60).await;
    assert!(Arc::into_inner(gateway).expect("nobody else has it").stop().await, "the gateway did not end well");
    let gateway = Arc::new(world.serve_on(&address.name).await);
    all(waited.into_iter().map(|one| (one.case.sdk, after_a_stop(one, gateway.clone())))).await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_keeps_the_call_of_every_sdk_for_the_next_connection() {
    let (address, (world, cases)) = (Address::keep(), cases(&Sdk::ALL, |_| "50s").await);
    let gateway = Arc::new(world.serve_on(&address.name).await);
    let waited = waiting(cases, &gateway, 10).await;
    Arc::into_inner(gateway).expect("nobody else has it").kill().await;
    let gateway = Arc::new(world.serve_on(&address.name).await);
    all(waited.into_iter().map(|one| (one.case.sdk, after_a_kill(one, gateway.clone())))).await;
}

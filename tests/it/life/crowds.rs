//! Many open calls at once: what concerns one agent, one person or one server finds every call that it concerns, however
//! many of others stand between them; and what has to wait costs nothing while it waits.

use super::*;

/// More than an engine looks at for one page.
const OTHERS: usize = paraph::store::rules::SCAN_MOST + 50;

fn roomy() -> Settings {
    let mut settings = settings();
    (settings.hold.max_held, settings.hold.max_held_per_agent) = (100_000, 100_000);
    settings.hold.undo = HOUR;
    settings
}

fn dm(number: usize) -> String {
    format!(r#"{{"to":"@bob{number}","text":"Hello"}}"#)
}

/// A desk where the agent `loud` has `OTHERS` calls held, before anybody else has any.
async fn behind_a_crowd() -> (Desk, Agent) {
    let desk = Desk::over(Arc::new(InMemory::default()), roomy()).await;
    let token = desk.gate.add_agent(NewAgent { name: "loud".into(), ..NewAgent::default() }).await.unwrap();
    let loud = desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    for number in 0..OTHERS {
        let ask = Ask { agent: loud.clone(), ..desk.ask_of("send_dm", &dm(number)) };
        assert!(matches!(desk.gate.admit(ask).await.unwrap(), Admission::Waiting(_)));
    }
    desk.clock.advance(Duration::from_secs(1));
    (desk, loud)
}

#[tokio::test]
async fn revoking_an_agent_withdraws_its_calls_behind_any_number_of_others() {
    let (desk, _) = behind_a_crowd().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut own = Vec::new();
    for number in 0..3 {
        own.push(desk.seat("send_dm", &dm(number)).await.call().clone());
    }
    read_and_decide(&ann, &own[2], approve).await.unwrap();
    assert_eq!(desk.gate.revoke_agent("bot").await.unwrap(), 3);
    for id in &own {
        assert_eq!(desk.call(id).await.state.word(), "withdrawn");
    }
    assert_eq!(desk.store.held().await.unwrap(), OTHERS, "and nobody else's");
    assert_eq!(desk.gate.revoke_agent("loud").await.unwrap(), OTHERS);
    assert_eq!(desk.store.held().await.unwrap(), 0);
}

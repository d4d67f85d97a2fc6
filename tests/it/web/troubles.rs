//! What operators are shown above every page while something is wrong with the gateway, and for how long.

use super::*;
use crate::world::until;
use futures_util::StreamExt as _;

const OFTEN: Duration = Duration::from_millis(20);
const NOTICE: &str = "aria-label=\"Servers down\"";

#[tokio::test]
async fn operators_see_which_server_is_down_until_it_is_back_and_nobody_else_does() {
    let desk = Desk::open().await;
    let (olga, ann, aud) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await, desk.sign_in("aud@example.org").await);
    assert!(!olga.get("/").await.1.contains(NOTICE), "nobody has looked yet");
    desk.gate.look_out(OFTEN);
    until("the notice", || async { olga.get("/").await.1.contains(NOTICE).then_some(()) }).await;
    let (_, page) = olga.get("/").await;
    assert!(page.contains("The server broken cannot be reached.</strong> Noticed <time") && page.contains("href=\"/servers\">Show why"), "{page}");
    assert!(!olga.get("/servers").await.1.contains(NOTICE), "the page that it leads to does not repeat it");
    assert!(!olga.get("/notices?here=servers").await.1.contains(NOTICE));
    assert!(olga.get("/notices?here=inbox").await.1.contains(NOTICE));
    for other in [&ann, &aud] {
        assert!(!other.get("/").await.1.contains(NOTICE));
    }
    let token = desk.token("olga@example.org").await;
    let mut events = desk.api(&token, Method::GET, "/api/v1/events", None).await.bytes_stream();
    events.next().await.unwrap().unwrap();
    desk.upstream.repaired.store(true, std::sync::atomic::Ordering::SeqCst);
    let told = tokio::time::timeout(Duration::from_secs(30), events.next()).await.expect("open pages are told").unwrap().unwrap();
    assert!(String::from_utf8_lossy(&told).contains("event: look"), "{told:?}");
    assert!(!olga.get("/").await.1.contains(NOTICE));
}

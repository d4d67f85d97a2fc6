//! That mails do not leave, and whom none reaches, told to operators above every page.

use super::desk::Desk;
use std::time::Duration;

#[tokio::test]
async fn operators_learn_above_every_page_that_no_mail_leaves_until_one_does() {
    let desk = Desk::open().await;
    let (op, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    let now = desk.gate.clock().now();
    let mailing = desk.gate.mailing();
    assert!(!op.get("/").await.1.contains("Mails do not leave"));
    mailing.waiting(3);
    mailing.failed(now - Duration::from_secs(600), "the mail server could not be reached", "Look at the port.");
    for path in ["/", "/audit", "/notices"] {
        let (_, page) = op.get(path).await;
        for part in ["Mails do not leave", "10 min ago", "The mail server could not be reached. 3 letters wait", "Look at the port.", "paraph mail test"] {
            assert!(page.contains(part), "{part} in {path}: {page}");
        }
        assert!(!ann.get(path).await.1.contains("Mails do not leave"), "{path}");
    }
    mailing.works();
    assert!(!op.get("/notices").await.1.contains("Mails do not leave"));
}

#[tokio::test]
async fn operators_learn_whom_no_mail_reaches_at_once_when_refused_and_after_a_while_when_put_off() {
    let desk = Desk::open().await;
    let (op, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    let now = desk.gate.clock().now();
    let mailing = desk.gate.mailing();
    mailing.unreached("late@example.org", now - Duration::from_secs(60), false);
    assert!(!op.get("/").await.1.contains("No mail reaches"));
    mailing.unreached("gone@example.org", now, true);
    mailing.unreached("full@example.org", now - Duration::from_secs(1200), false);
    let (_, page) = op.get("/notices").await;
    assert!(page.contains("No mail reaches 2 people") && page.contains("gone@example.org") && page.contains("full@example.org"), "{page}");
    assert!(!page.contains("late@example.org") && !ann.get("/notices").await.1.contains("gone@"), "{page}");
    mailing.reached("gone@example.org");
    assert!(op.get("/notices").await.1.contains("No mail reaches one person"));
}

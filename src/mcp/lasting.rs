//! Work that a client's leaving does not end. While the client stays, the work runs within the request itself: no task
//! of its own, and nobody has to be woken to hear of its end. When the request is dropped in the middle, what is left
//! of it goes on as a task, because what a server was asked to do is to be put on record whoever still listens.
//! Used by `call` and `relay`.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The work, and what becomes of its end when nobody waits for it any more. As a future it is `None` when the work
/// panicked.
pub(super) struct Lasting<F, L>
where
    F: Future + Send + 'static,
    L: FnOnce(F::Output) + Send + 'static,
{
    rest: Option<(Pin<Box<F>>, L)>,
    /// A stop waits for it, wherever it runs.
    counted: TaskTrackerToken,
}

impl<F, L> Lasting<F, L>
where
    F: Future + Send + 'static,
    F::Output: Send,
    L: FnOnce(F::Output) + Send + 'static,
{
    /// Begins nothing yet. `left` gets the end when the client has left.
    pub(super) fn new(tasks: &TaskTracker, work: F, left: L) -> Lasting<F, L> {
        Lasting { rest: Some((Box::pin(work), left)), counted: tasks.token() }
    }

    /// Goes on as a task from now on, whose end comes here; for who has something else to wait for meanwhile.
    pub(super) fn apart(mut self) -> oneshot::Receiver<F::Output> {
        let (tell, told) = oneshot::channel();
        if let Some((work, left)) = self.rest.take() {
            self.counted.task_tracker().spawn(async move {
                if let Err(end) = tell.send(work.await) {
                    left(end);
                }
            });
        }
        told
    }
}

impl<F, L> Future for Lasting<F, L>
where
    F: Future + Send + 'static,
    L: FnOnce(F::Output) + Send + 'static,
{
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = self.get_mut();
        let Some((work, _)) = &mut this.rest else { return Poll::Ready(None) };
        // What panicked is never polled again, so nobody sees the state that it left behind; as in a task of its own.
        let end = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(end)) => Some(end),
            Err(_) => None,
        };
        this.rest = None;
        Poll::Ready(end)
    }
}

impl<F, L> Unpin for Lasting<F, L>
where
    F: Future + Send + 'static,
    L: FnOnce(F::Output) + Send + 'static,
{
}

impl<F, L> Drop for Lasting<F, L>
where
    F: Future + Send + 'static,
    L: FnOnce(F::Output) + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is ending, and its tasks with it.
        if let (Some((work, left)), Ok(_)) = (self.rest.take(), Handle::try_current()) {
            self.counted.task_tracker().spawn(async move { left(work.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn what_is_dropped_in_the_middle_goes_on_and_a_stop_waits_for_it() {
        let (tasks, (ended, mut ends)) = (TaskTracker::new(), mpsc::channel(1));
        let (go, gone) = oneshot::channel::<u8>();
        let mut work = Lasting::new(&tasks, gone, move |end| ended.try_send(end).unwrap());
        assert!(tokio::time::timeout(Duration::ZERO, &mut work).await.is_err());
        drop(work);
        tasks.close();
        assert!(tokio::time::timeout(Duration::from_millis(20), tasks.wait()).await.is_err(), "it is still under way");
        go.send(7).unwrap();
        assert_eq!(ends.recv().await, Some(Ok(7)));
        tasks.wait().await;
    }

    #[tokio::test]
    async fn who_waits_gets_the_end_and_a_panic_is_none() {
        let tasks = TaskTracker::new();
        assert_eq!(Lasting::new(&tasks, async { 1 }, |_| panic!("nobody left")).await, Some(1));
        assert_eq!(Lasting::new(&tasks, async { 2 }, |_| panic!("nobody left")).apart().await, Ok(2));
        let faulty = async {
            tokio::task::yield_now().await;
            assert!(tokio::runtime::Handle::try_current().is_err(), "a fault");
        };
        assert_eq!(Lasting::new(&tasks, faulty, drop).await, None);
        tasks.close();
        tasks.wait().await;
    }
}

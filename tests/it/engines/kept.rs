//! What only the engine on disk can be asked: who may open it, what damage it notices, which files it leaves.

use super::bench::*;
use crate::fakes::copy_folder;
use paraph::domain::call::{Call, State};
use paraph::store::on_sled::{OnSled, OpenError, Settings};
use paraph::store::{Change, CommitError, Store, StoreError};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

#[tokio::test]
async fn a_data_folder_that_others_can_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    drop(open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for mode in [0o755, 0o710, 0o701] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::TooOpen { mode: found, .. } if found == mode));
        assert!(refused.to_string().contains("chmod 700"));
    }
}

#[tokio::test]
async fn a_second_open_says_that_the_store_is_in_use() {
    let bench = Bench::on_sled();
    assert!(matches!(open(&bench.path()), Err(OpenError::InUse(_))));
    let path = bench.path();
    let Bench { folder, store } = bench;
    drop(store);
    drop(open(&path).unwrap());
    drop(folder);
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers_and_an_unfit_one_as_damage() {
    let mut bench = Bench::on_sled();
    bench.store = None;
    let stored = |number: &[u8]| sled::open(bench.path().join("store")).unwrap().open_tree("meta").unwrap().insert("format", number).unwrap();
    stored(&7_u32.to_be_bytes());
    let refused = open(&bench.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 7, known: 5 }));
    assert!(refused.to_string().contains("paraph store restore"));
    stored(&0_u32.to_be_bytes());
    assert!(matches!(open(&bench.path()), Err(OpenError::Damaged { .. })));
    stored(b"x");
    assert!(matches!(open(&bench.path()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_never_an_absent_one() {
    let mut bench = Bench::on_sled();
    let settled = put(bench.store(), Call { state: State::Lapsed { at: ms(1) }, ..call(1, "bot") }).await;
    let texts = put(bench.store(), Call { arguments: long(9_000, "x"), ..call(2, "bot") }).await;
    bench.store = None;
    {
        let db = sled::open(bench.path().join("store")).unwrap();
        db.open_tree("calls").unwrap().insert(settled.id.as_str(), &b"\0{\"call\":"[..]).unwrap();
        let chunks = db.open_tree("chunks").unwrap();
        let (key, mut value) = chunks.first().unwrap().map(|(key, value)| (key, value.to_vec())).unwrap();
        value[0] ^= 1;
        chunks.insert(key, value).unwrap();
    }
    bench.reopen();
    assert!(matches!(bench.store().call(&settled.id).await, Err(StoreError::Corrupt(_))));
    assert!(matches!(bench.store().call(&texts.id).await, Err(StoreError::Corrupt(_))), "a changed text does not have its hash");
    assert!(matches!(bench.store().commit(hold(settled.touched())).await, Err(CommitError::Store(StoreError::Corrupt(_)))));
    put(bench.store(), call(3, "bot")).await;
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_the_way_out_and_never_started_afresh() {
    let mut bench = Bench::on_sled();
    for number in 0..50 {
        put(bench.store(), Call { arguments: long(3_000, "x"), ..call(number, "bot") }).await;
    }
    bench.store = None;
    let database = bench.path().join("store").join("db");
    let mut bytes = std::fs::read(&database).unwrap();
    let length = bytes.len();
    bytes[..length / 2].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let refused = open(&bench.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("paraph store restore FILE --data NEW-FOLDER"));
    assert!(open(&bench.path()).is_err(), "nor does the next start begin afresh");
}

#[tokio::test]
async fn a_database_that_went_back_in_time_is_refused() {
    let mut bench = Bench::on_sled();
    bench.store().commit(Change::of_facts(ms(0), vec![fact("one")])).await.unwrap();
    bench.store = None;
    let database = bench.path().join("store").join("db");
    let earlier = std::fs::read(&database).unwrap();
    bench.reopen();
    bench.store().commit(Change::of_facts(ms(1), vec![fact("two")])).await.unwrap();
    bench.store = None;
    std::fs::write(&database, earlier).unwrap();
    for leftover in std::fs::read_dir(bench.path().join("store")).unwrap().map(Result::unwrap) {
        if leftover.file_name().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(leftover.path()).unwrap();
        }
    }
    let refused = open(&bench.path()).unwrap_err();
    assert!(refused.to_string().contains("audit entry 2"), "{refused}");
}

/// What a killed process leaves is what the system had been given by then: a copy of the files.
#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let mut bench = Bench::on_sled();
    bench.store = None;
    // No writing in the background while the files are copied one after the other.
    let quiet = Settings { flush_every_ms: 3_600_000, ..Settings::default() };
    bench.store = Some(Arc::new(OnSled::open(&bench.path(), &quiet).unwrap()));
    let mut acknowledged = Vec::new();
    for round in 0..10 {
        for number in 0..5 {
            let arguments = long(if number == 0 { 70_000 } else { 6_000 }, &format!("{round}"));
            acknowledged.push(put(bench.store(), Call { arguments, ..call(round * 5 + number, "bot") }).await);
        }
        let copy = bench.path().with_file_name(format!("copy{round}"));
        copy_folder(&bench.path(), &copy);
        let after: Arc<dyn Store> = Arc::new(open(&copy).unwrap());
        for call in &acknowledged {
            assert!(after.call(&call.id).await.unwrap().as_ref() == Some(call));
        }
        assert_eq!(verified(&after).await.len(), acknowledged.len());
        assert_eq!(after.held().await.unwrap(), acknowledged.len());
    }
}

#[tokio::test]
async fn body_files_without_an_owner_are_swept_and_the_others_stay() {
    let mut bench = Bench::on_sled();
    let held = put(bench.store(), Call { arguments: long(70_000, "x"), ..call(1, "bot") }).await;
    let bodies = bench.path().join("bodies");
    let count = || std::fs::read_dir(&bodies).unwrap().count();
    assert_eq!(count(), 1);
    std::fs::write(bodies.join("ab".repeat(32)), "orphan").unwrap();
    std::fs::write(bodies.join("half.tmp"), "half").unwrap();
    bench.reopen();
    assert_eq!(count(), 1);
    let erased = Call { arguments: String::new(), ..held.touched() };
    bench.store().commit(hold(erased)).await.unwrap();
    assert_eq!(count(), 0, "an erased text leaves the disk with its last owner");
}

#[tokio::test]
async fn a_closed_store_works_off_its_queue_refuses_changes_and_still_reads() {
    let bench = Bench::on_sled();
    let path = bench.path().with_file_name("closing");
    let store = open(&path).unwrap();
    let commits: Vec<_> = (0..32).map(|number| store.commit(hold(call(number, "bot")))).collect();
    let (done, ()) = tokio::join!(futures_util::future::join_all(commits), store.close());
    assert!(done.iter().all(Result::is_ok));
    assert!(matches!(store.commit(hold(call(99, "bot"))).await, Err(CommitError::Store(StoreError::Poisoned(_)))));
    let clone: Arc<dyn Store> = Arc::new(store.clone());
    assert_eq!(verified(&clone).await.len(), 32);
    assert_eq!(*store.poisoned().borrow(), None, "closing is no fault");
}

//! The store as a file and back, made anew without gaps, brought from an older format: the same to the byte, and
//! whole after whatever cut it short.

use super::bench::*;
use super::random::{any_step, change_of, compare, rounds};
use crate::fakes::copy_folder;
use paraph::domain::call::{Call, CallId, Event, State};
use paraph::store::backup::{BackupError, Backups as _};
use paraph::store::on_sled::{BackupFile, OnSled, OpenError, RestoreError, Settings, compact};
use paraph::store::{Query, Store};
use proptest::prelude::*;
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every pair of every tree, and every body file.
fn raw(path: &Path) -> BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>> {
    let db = sled::open(path.join("store")).unwrap();
    let mut all: BTreeMap<_, _> = db
        .tree_names()
        .into_iter()
        .map(|name| {
            let pairs = db.open_tree(&name).unwrap().iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect();
            (String::from_utf8(name.to_vec()).unwrap(), pairs)
        })
        .collect();
    let files = std::fs::read_dir(path.join("bodies")).unwrap().map(Result::unwrap);
    let bodies = files.map(|file| (file.file_name().into_encoded_bytes(), std::fs::read(file.path()).unwrap())).collect();
    all.insert("the bodies".to_owned(), bodies);
    all
}

/// Small enough for many of them.
fn settings() -> Settings {
    Settings { cache_bytes: 8 * 1024 * 1024, ..Settings::default() }
}

fn in_trees(raw: &BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>, tree: &str) -> usize {
    raw[tree].len()
}

/// A store with calls in several states, texts of every length and an audit key.
async fn some_store(path: &Path) -> OnSled {
    let store = open(path).unwrap();
    std::fs::write(path.join("audit.key"), "a secret\n").unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    for (number, length) in [(1, 20), (2, 3_000), (3, 9_000), (4, 100_000), (5, 70_000)] {
        put(&shared, Call { arguments: long(length, "x"), ..call(number, "bot") }).await;
    }
    let settled = put(&shared, Call { state: State::Lapsed { at: ms(7) }, ..call(6, "bot") }).await;
    store.commit(paraph::store::Change::of_row(ms(8), person("ann@example.org", 1, &long(6_000, "name")), fact("person.added"))).await.unwrap();
    assert_eq!(shared.over(ms(100), 5).await.unwrap(), [settled.id]);
    store
}

async fn backed_up(store: &OnSled, file: &Path) -> paraph::store::backup::Contents {
    store.backup(file, ms(9)).await.unwrap()
}

#[tokio::test]
async fn what_comes_out_of_a_backup_is_what_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("data"), folder.path().join("one.backup"));
    let store = some_store(&path).await;
    let contents = backed_up(&store, &file).await;
    assert_eq!((contents.calls, contents.entries, contents.bodies), (6, 7, 2));
    assert_eq!(contents.head, paraph::store::Views::head(&store).await.unwrap());
    assert_eq!(contents.bytes, std::fs::metadata(&file).unwrap().len());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "it holds messages and a key");
    assert!(!folder.path().join("one.backup.tmp").exists());
    store.close().await;
    drop(store);

    let back = folder.path().join("back");
    assert_eq!(BackupFile::open(&file).unwrap().unpack(&back, &settings()).unwrap(), contents);
    assert_eq!(raw(&back), raw(&path));
    assert_eq!(std::fs::read(back.join("audit.key")).unwrap(), b"a secret\n");
    for (name, mode) in [("", 0o700), ("bodies", 0o700), ("audit.key", 0o600)] {
        assert_eq!(std::fs::metadata(back.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let (one, two): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(open(&path).unwrap()), Arc::new(open(&back).unwrap()));
    compare(&one, &two).await;
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_follows_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.backup");
    let store = some_store(&folder.path().join("data")).await;
    std::fs::write(&file, "mine").unwrap();
    assert!(matches!(store.backup(&file, ms(9)).await, Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let other = folder.path().join("other");
    std::fs::write(&other, "not yours").unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join("two.backup.tmp")).unwrap();
    backed_up(&store, &folder.path().join("two.backup")).await;
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "not yours");
    assert!(matches!(store.backup(&folder.path().join("nowhere/one.backup"), ms(9)).await, Err(BackupError::Io { .. })));
}

#[tokio::test]
async fn a_backup_with_one_byte_changed_or_missing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.backup");
    let store = open(&folder.path().join("data")).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    put(&shared, call(1, "bot")).await;
    backed_up(&store, &file).await;
    let whole = std::fs::read(&file).unwrap();
    assert!(whole.len() < 20_000, "{}", whole.len());
    let opens = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        BackupFile::open(&file)
    };
    for at in 0..whole.len() {
        let mut touched = whole.clone();
        touched[at] ^= 1;
        let refused = opens(&touched).unwrap_err();
        let first_line = at < 16;
        assert!(matches!(refused, RestoreError::Broken { .. }) || first_line, "byte {at}: {refused}");
    }
    for length in 0..whole.len() {
        assert!(opens(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(opens(&[&whole[..], b"x"].concat()).is_err());
    assert!(opens(&whole).is_ok());
    let newer = opens(&[b"PARAPH BACKUP 2\n", &whole[16..]].concat()).unwrap_err();
    assert!(matches!(newer, RestoreError::Newer { what: "backup form", found: 2, known: 1, .. }));
    assert!(newer.to_string().contains("newer Paraph"));
    assert!(matches!(opens(b"{}"), Err(RestoreError::NoBackup(_))));
    let format = b"{\"format\":";
    let at = whole.windows(format.len()).position(|bytes| bytes == format).unwrap() + format.len();
    let mut of_later = whole[..whole.len() - 32].to_vec();
    assert_eq!(std::mem::replace(&mut of_later[at], b'9'), b'5');
    of_later.extend(sha2::Sha256::digest(&of_later));
    let newer = opens(&of_later).unwrap_err();
    assert!(matches!(newer, RestoreError::Newer { what: "store format", found: 9, known: 5, .. }), "{newer}");
}

/// Deadlines that passed long ago must not act on a store of which nobody knows what happened since.
#[tokio::test]
async fn what_was_due_when_a_backup_was_made_neither_expires_nor_leaves_while_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.backup");
    let store = open(&folder.path().join("data")).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let approved = State::Approved { at: ms(1), release_at: ms(2), send_by: ms(4_000_000_000_000), tries: 0 };
    let sending = State::Sending { at: ms(2), approved_at: ms(1), send_by: ms(9), tries: 0 };
    let states = [State::Held { expires_at: ms(3) }, approved.clone(), approved, sending, State::Lapsed { at: ms(4) }];
    for (number, state) in (0..).zip(states) {
        put(&shared, Call { state, cancelled: number == 2, ..call(number, "bot") }).await;
    }
    for number in 0..70 {
        let row = letter(&format!("l{number}"), 1);
        put_row(&shared, row).await.unwrap();
    }
    backed_up(&store, &file).await;
    drop(shared);
    store.close().await;
    drop(store);
    let back = folder.path().join("back");
    let mut restore = std::process::Command::new(env!("CARGO_BIN_EXE_paraph"));
    let ran = restore.args(["store", "restore", "--data"]).args([&back, &file]).current_dir(folder.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let store: Arc<dyn Store> = Arc::new(open(&back).unwrap());
    let calls = walk(&store, &Query { limit: 10, ..Query::default() }).await;
    let words: Vec<_> = calls.iter().map(|call| call.state.word()).collect();
    assert_eq!(words, ["unconfirmed", "unconfirmed", "unconfirmed", "unconfirmed", "lapsed"]);
    let told: Vec<_> = verified(&store).await.into_iter().skip(75).map(|entry| entry.kind).collect();
    assert_eq!(told, ["restored", "call.unconfirmed", "call.unconfirmed", "call.unconfirmed", "call.unconfirmed", "closed"]);
    assert!(store.rows(paraph::store::Kind::Letter, None, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_long_text_is_no_part_of_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = some_store(&path).await;
    let body = std::fs::read_dir(path.join("bodies")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&body, "something else").unwrap();
    let file = folder.path().join("one.backup");
    assert!(matches!(store.backup(&file, ms(9)).await, Err(BackupError::Store(_))));
    assert!(!file.exists() && !folder.path().join("one.backup.tmp").exists());
}

/// The fingerprint of a moment: the audit's head tells which calls must be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("data")).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let writer = tokio::spawn({
        let store = shared.clone();
        async move {
            for number in 0..60 {
                let held =
                    put(&store, Call { arguments: long(if number % 3 == 0 { 70_000 } else { 5_000 }, &number.to_string()), ..call(number, "bot") }).await;
                if number % 2 == 0 {
                    // Its long text goes while a backup may be copying it.
                    let withdrawn = held.after(&Event::Withdraw { why: "test".into() }, ms(1)).unwrap();
                    store.commit(hold(withdrawn.clone())).await.unwrap();
                    store.commit(hold(withdrawn.erased(ms(2)).unwrap())).await.unwrap();
                }
            }
        }
    });
    let mut made = Vec::new();
    while !writer.is_finished() {
        let file = folder.path().join(format!("{}.backup", made.len()));
        made.push((backed_up(&store, &file).await, file));
    }
    writer.await.unwrap();
    for (number, (contents, file)) in made.into_iter().enumerate().step_by(3) {
        let back = folder.path().join(format!("back{number}"));
        assert_eq!(BackupFile::open(&file).unwrap().unpack(&back, &settings()).unwrap(), contents);
        let back: Arc<dyn Store> = Arc::new(open(&back).unwrap());
        assert_eq!(verified(&back).await.len() as u64, contents.head.seq);
        let calls = walk(&back, &Query { limit: 100, ..Query::default() }).await;
        assert_eq!(calls.len() as u64, contents.calls);
        assert_eq!(back.head().await.unwrap(), contents.head);
    }
}

#[tokio::test]
async fn compacting_keeps_everything_and_gives_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = some_store(&path).await;
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    for number in 100..160 {
        let held = put(&shared, Call { arguments: long(40_000, &number.to_string()), ..call(number, "bot") }).await;
        let withdrawn = held.after(&Event::Withdraw { why: "test".into() }, ms(1)).unwrap();
        shared.commit(hold(withdrawn.clone())).await.unwrap();
        shared.commit(hold(withdrawn.erased(ms(2)).unwrap())).await.unwrap();
    }
    drop(shared);
    store.close().await;
    drop(store);
    let before = raw(&path);
    copy_folder(&path, &folder.path().join("copy"));
    let compacted = compact(&path, &settings()).unwrap();
    assert!(compacted.after() < compacted.before / 2, "{compacted:?}");
    assert_eq!(raw(&path), before);
    assert!(!path.join("store.old").exists() && !path.join("store.new").exists());
    let (one, two): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(open(&path).unwrap()), Arc::new(open(&folder.path().join("copy")).unwrap()));
    compare(&one, &two).await;
    assert!(matches!(compact(&path, &settings()), Err(OpenError::InUse(_))), "not beside a gateway");
}

#[tokio::test]
async fn wherever_a_compaction_was_cut_the_store_opens_whole() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    some_store(&made).await.close().await;
    let whole = raw(&made);
    let rename = |path: &Path, from: &str, to: &str| std::fs::rename(path.join(from), path.join(to)).unwrap();
    let copied = |name: &str| -> PathBuf {
        let path = folder.path().join(name);
        copy_folder(&made, &path);
        copy_folder(&made.join("store"), &path.join("store.new"));
        path
    };
    let half_new = copied("half of the new one");
    std::fs::write(half_new.join("store.new/db"), "half").unwrap();
    let between = copied("between the renames");
    rename(&between, "store", "store.old");
    let swapped = copied("the old one still there");
    rename(&swapped, "store", "store.old");
    rename(&swapped, "store.new", "store");
    std::fs::remove_file(swapped.join("store.old/db")).unwrap();
    for path in [half_new, between, swapped] {
        drop(open(&path).unwrap());
        assert_eq!(raw(&path), whole, "{}", path.display());
        assert!(!path.join("store.old").exists() && !path.join("store.new").exists(), "{}", path.display());
    }
    // An older binary may have begun afresh where it found no `store`: the old one is the only whole one.
    let fooled = copied("begun afresh");
    rename(&fooled, "store", "store.old");
    std::fs::remove_dir_all(fooled.join("store.new")).unwrap();
    drop(sled::open(fooled.join("store")).unwrap());
    assert!(matches!(open(&fooled), Err(OpenError::Damaged { .. })));
    assert!(fooled.join("store.old/db").exists(), "what may be the only whole store is not removed");
}

/// What a binary of format 1 leaves: eight trees and its number.
fn as_format_1(path: &Path) {
    let db = sled::open(path.join("store")).unwrap();
    for tree in ["calls_by_recipient", "calls_by_end"] {
        assert!(db.drop_tree(tree).unwrap());
    }
    db.open_tree("meta").unwrap().insert("format", &1_u32.to_be_bytes()).unwrap();
    db.flush().unwrap();
}

#[tokio::test]
async fn a_store_of_format_1_gets_its_indexes_after_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    some_store(&path).await.close().await;
    let now = raw(&path);
    assert!(in_trees(&now, "calls_by_recipient") == 6 && in_trees(&now, "calls_by_end") == 1);
    as_format_1(&path);
    drop(open(&path).unwrap());
    assert_eq!(raw(&path), now);
    let kept = path.join("before-format-5.backup");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    // The backup is of the old format; brought back it is migrated again.
    let back = folder.path().join("back");
    BackupFile::open(&kept).unwrap().unpack(&back, &settings()).unwrap();
    assert_eq!(raw(&back)["meta"][b"format".as_slice()], 1_u32.to_be_bytes());
    drop(open(&back).unwrap());
    assert_eq!(raw(&back), now);
}

#[tokio::test]
async fn a_migration_that_was_cut_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    some_store(&path).await.close().await;
    let now = raw(&path);
    as_format_1(&path);
    {
        // Half an index, one key that belongs to no call, and half a backup.
        let db = sled::open(path.join("store")).unwrap();
        let (key, _) = now["calls_by_recipient"].first_key_value().unwrap();
        db.open_tree("calls_by_recipient").unwrap().insert(key, b"").unwrap();
        db.open_tree("calls_by_end").unwrap().insert([b'x'; 20], b"").unwrap();
    }
    std::fs::write(path.join("before-format-5.backup.tmp"), "half").unwrap();
    std::fs::write(path.join("before-format-5.backup"), "of an earlier attempt").unwrap();
    drop(open(&path).unwrap());
    assert_eq!(raw(&path), now);
    assert!(BackupFile::open(&path.join("before-format-5.backup")).is_ok());
    assert!(!path.join("before-format-5.backup.tmp").exists());
}

#[tokio::test]
async fn a_migration_without_its_backup_does_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    some_store(&path).await.close().await;
    as_format_1(&path);
    let before = raw(&path);
    std::fs::create_dir(path.join("before-format-5.backup")).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Io { .. })));
    let after = raw(&path);
    assert_eq!((&after["meta"], &after["calls"]), (&before["meta"], &before["calls"]));
    assert_eq!(in_trees(&after, "calls_by_end"), 0);
}

#[tokio::test]
async fn calls_of_format_1_have_no_recipient_and_are_found_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = open(&path).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    put(&shared, call(1, "bot")).await;
    drop(shared);
    store.close().await;
    drop(store);
    {
        let db = sled::open(path.join("store")).unwrap();
        let calls = db.open_tree("calls").unwrap();
        let (key, value) = calls.first().unwrap().unwrap();
        let mut head: serde_json::Value = serde_json::from_slice(&value[1..]).unwrap();
        for later in ["recipient", "last_sent", "revises", "trace", "erased_at"] {
            head["call"].as_object_mut().unwrap().shift_remove(later).unwrap();
        }
        calls.insert(key, [&[0][..], &serde_json::to_vec(&head).unwrap()].concat()).unwrap();
    }
    as_format_1(&path);
    let store: Arc<dyn Store> = Arc::new(open(&path).unwrap());
    let found = store.call(&CallId(format!("c_{:032x}", 1))).await.unwrap().unwrap();
    assert_eq!((found.recipient, found.revision), (None, 1));
}

#[tokio::test]
async fn a_command_on_a_store_that_nobody_serves_lets_nothing_expire_or_leave() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store: Arc<dyn Store> = Arc::new(open(&path).unwrap());
    let approved = State::Approved { at: ms(1), release_at: ms(2), send_by: ms(4_000_000_000_000), tries: 0 };
    for (number, state) in (0..).zip([State::Held { expires_at: ms(3) }, approved]) {
        put(&store, Call { state, ..call(number, "bot") }).await;
    }
    drop(store);
    let mut backup = std::process::Command::new(env!("CARGO_BIN_EXE_paraph"));
    let ran = backup.args(["store", "backup", "one.backup", "--data", "data"]).current_dir(folder.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let store: Arc<dyn Store> = Arc::new(open(&path).unwrap());
    let words: Vec<_> = walk(&store, &Query { limit: 10, ..Query::default() }).await.iter().map(|call| call.state.word()).collect();
    assert_eq!(words, ["held", "approved"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(12), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_back_from_a_backup_and_from_a_compaction_to_the_byte(steps in proptest::collection::vec(any_step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let model = Bench::in_memory();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data");
            let store = open(&path).unwrap();
            for (number, step) in (100..).zip(&steps) {
                if let Some(change) = change_of(step, number, model.store()).await {
                    assert_eq!(model.store().commit(change.clone()).await, store.commit(change).await);
                }
            }
            let file = folder.path().join("one.backup");
            backed_up(&store, &file).await;
            store.close().await;
            drop(store);
            let back = folder.path().join("back");
            BackupFile::open(&file).unwrap().unpack(&back, &settings()).unwrap();
            let original = raw(&path);
            assert_eq!(raw(&back), original);
            compact(&path, &settings()).unwrap();
            assert_eq!(raw(&path), original);
            compare(model.store(), &(Arc::new(open(&path).unwrap()) as Arc<dyn Store>)).await;
        });
    }
}

//! The disk below a world's data folder, as the library of tests/shadow plays it: it remembers what was synced, can be
//! full, and can refuse. Only gateways started with the
//! environment of `mount` run on it.

use super::World;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One disk.
pub struct Disk {
    data: PathBuf,
    shadow: PathBuf,
    orders: PathBuf,
}

impl Disk {
    /// A disk below the data folder of the world.
    pub fn below(world: &World) -> Disk {
        let data = world.path("data");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).expect("the data folder");
        let disk = Disk { data: data.canonicalize().expect("the data folder"), shadow: world.path("shadow"), orders: world.path("orders") };
        disk.order("");
        disk
    }

    /// Before a program is started on this disk, with this environment. What lies in the folder now is durable.
    pub fn mount(&self) -> [(&'static str, &OsStr); 4] {
        for kind in ["names", "content", "pins", "unfinished"] {
            let _none_yet = fs::remove_dir_all(self.shadow.join(kind));
            fs::create_dir_all(self.shadow.join(kind)).expect("the shadow");
        }
        self.keep(&self.data);
        [
            ("LD_PRELOAD", library()),
            ("PARAPH_DISK", self.data.as_os_str()),
            ("PARAPH_DISK_SHADOW", self.shadow.as_os_str()),
            ("PARAPH_DISK_ORDERS", self.orders.as_os_str()),
        ]
    }

    fn keep(&self, folder: &Path) {
        let mut names = String::new();
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let (kind, inode) = (entry.file_type().expect("a kind"), entry.ino().to_string());
            let name = entry.file_name().into_string().expect("a name");
            if kind.is_dir() {
                names += &format!("d {inode} {name}\n");
                self.keep(&entry.path());
            } else if kind.is_file() {
                names += &format!("f {inode} {name}\n");
                fs::copy(entry.path(), self.shadow.join("content").join(&inode)).expect("a copy");
                fs::hard_link(entry.path(), self.shadow.join("pins").join(&inode)).expect("a pin");
            }
        }
        let inode = fs::metadata(folder).expect("a folder").ino().to_string();
        fs::write(self.shadow.join("names").join(inode), names).expect("names");
    }

    /// Orders the disk to be like this from now on; the orders stand in tests/shadow/shadow.c.
    pub fn order(&self, orders: &str) {
        let unfinished = self.orders.with_extension("new");
        fs::write(&unfinished, orders).expect("orders");
        fs::rename(unfinished, &self.orders).expect("orders");
    }

    /// Bytes that the files of the data folder take, counted as the library counts them.
    pub fn used(&self) -> u64 {
        fn below(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
            let sizes = entries.map(|entry| match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => 4096 + below(&entry.path()),
                Ok(metadata) => metadata.len().div_ceil(4096) * 4096,
                // It went away meanwhile.
                Err(_) => 0,
            });
            sizes.sum()
        }
        below(&self.data)
    }

    /// The power is cut: the data folder becomes what was synced. The program on it must have been killed before.
    pub fn lose_power(&self) {
        assert!(self.shadow.join("loaded").exists(), "the program did not run on this disk: was the library of tests/shadow loaded?");
        let root = fs::metadata(&self.data).expect("the data folder").ino();
        let after = self.data.with_file_name("after");
        self.lay_out(root, &after);
        for gone in [&self.data, &self.shadow] {
            fs::remove_dir_all(gone).expect("the folder before the cut");
        }
        fs::rename(after, &self.data).expect("the folder after the cut");
    }

    fn lay_out(&self, folder: u64, at: &Path) {
        fs::DirBuilder::new().mode(0o700).create(at).expect("a folder");
        let names = fs::read_to_string(self.shadow.join("names").join(folder.to_string())).unwrap_or_default();
        for line in names.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(kind), Some(inode), Some(name)) = (parts.next(), parts.next(), parts.next()) else { panic!("an entry: {line:?}") };
            let at = at.join(name);
            match kind {
                "d" => self.lay_out(inode.parse().expect("an inode"), &at),
                // A file whose name was synced and whose bytes never were is there, and empty.
                _ => fs::write(&at, fs::read(self.shadow.join("content").join(inode)).unwrap_or_default()).expect("a file"),
            }
            if kind == "f" {
                fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its rights");
            }
        }
    }
}

/// The library, compiled once.
fn library() -> &'static OsStr {
    static LIBRARY: OnceLock<OsString> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (library, unfinished) = (folder.join("shadow.so"), folder.join(format!("shadow-{}", std::process::id())));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shadow/shadow.c");
        let arguments = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"];
        let compiled = Command::new("cc").args(arguments).arg(&unfinished).arg(source).arg("-ldl").status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc could not compile tests/shadow/shadow.c");
        // Another run of the tests may have the one before in use.
        fs::rename(unfinished, &library).expect("the library");
        library.into_os_string()
    })
}

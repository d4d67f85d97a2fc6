// A disk that can be taken away: loaded into the real program with LD_PRELOAD by tests/it/power.rs and tests/it/full.rs.
//
// PARAPH_DISK names the folder that lies on this disk, PARAPH_DISK_SHADOW a folder beside it (same file system, not below
// it), where the disk keeps what a power cut leaves:
//   content/INODE   a file's bytes as of its last fsync or fdatasync
//   names/INODE     a folder's entries as of its last fsync, one a line: f or d, the entry's inode, its name
//   pins/INODE      a hard link to every file that was synced, so that no other file gets its inode
// A test puts the tree together again from these. What this model takes stricter than most file systems are: a new,
// renamed or removed name is durable only with an fsync of its folder, never by the file's own. What it leaves out:
// writes that were not synced are gone as a whole, never in part or in another order; a file whose size grew over a hole
// counts whole; and folders are known by their inode, so none may be removed and made again. sync_file_range and close
// make nothing durable. The machine's own disk is not asked to sync: only the model decides what is durable.
//
// PARAPH_DISK_ORDERS names a file that a test may change at any moment, read again before every call; words and numbers:
//   full BYTES   the disk has this many bytes: what does not fit is refused with ENOSPC, and statvfs says so
//   broken       every sync fails with EIO
//   deaf         fdatasync of a file called "db" returns without making anything durable
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096ULL
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

// Whether the open file lies on the disk; its path.
static int on_disk(int fd, char path[PATH_MAX]) {
    const char *disk = getenv("PARAPH_DISK");
    char link[64];
    if (!disk) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t own = strlen(disk);
    return strncmp(path, disk, own) == 0 && (path[own] == '/' || path[own] == 0);
}

// Whether an order stands; its number, if it has one.
static int ordered(const char *order, unsigned long long *number) {
    const char *name = getenv("PARAPH_DISK_ORDERS");
    FILE *file = name ? fopen(name, "re") : NULL;
    char word[32];
    int found = 0;
    while (file && !found && fscanf(file, "%31s", word) == 1)
        if (strcmp(word, order) == 0) found = number ? fscanf(file, "%llu", number) == 1 : 1;
    if (file) fclose(file);
    return found;
}

static unsigned long long blocks(unsigned long long bytes) { return (bytes + BLOCK - 1) / BLOCK * BLOCK; }

static unsigned long long used(const char *folder) {
    unsigned long long sum = 0;
    DIR *open_folder = opendir(folder);
    for (struct dirent *entry; open_folder && (entry = readdir(open_folder));) {
        char path[PATH_MAX];
        struct stat stat;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= PATH_MAX || lstat(path, &stat) != 0) continue;
        sum += S_ISDIR(stat.st_mode) ? BLOCK + used(path) : blocks(stat.st_size);
    }
    if (open_folder) closedir(open_folder);
    return sum;
}

// The free bytes, when the disk's size is ordered.
static int is_limited(unsigned long long *room) {
    unsigned long long size, taken;
    if (!getenv("PARAPH_DISK") || !ordered("full", &size)) return 0;
    taken = used(getenv("PARAPH_DISK"));
    *room = taken < size ? size - taken : 0;
    return 1;
}

// Whether a file may reach as far as `end`.
static int fits(int fd, unsigned long long end) {
    char path[PATH_MAX];
    struct stat stat;
    unsigned long long room;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || !on_disk(fd, path) || !is_limited(&room)) return 1;
    return end <= blocks(stat.st_size) || blocks(end) - blocks(stat.st_size) <= room;
}

static unsigned long long end_of_write(int fd, size_t count) {
    struct stat stat;
    int appends = fcntl(fd, F_GETFL) & O_APPEND;
    off_t at = appends && fstat(fd, &stat) == 0 ? stat.st_size : lseek(fd, 0, SEEK_CUR);
    return (at < 0 ? 0 : at) + count;
}

static void die(const char *what) {
    fprintf(stderr, "tests/shadow: %s: %s\n", what, strerror(errno));
    abort();
}

// A file of the shadow, made whole before it has its name: a kill leaves the one before.
static void shadow_path(char path[PATH_MAX], const char *kind, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/%s/%llu", getenv("PARAPH_DISK_SHADOW"), kind, (unsigned long long)inode);
}

static void keep_folder(const char *folder, FILE *out) {
    DIR *open_folder = opendir(folder);
    for (struct dirent *entry; open_folder && (entry = readdir(open_folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && (entry->d_type == DT_DIR || entry->d_type == DT_REG))
            fprintf(out, "%c %llu %s\n", entry->d_type == DT_DIR ? 'd' : 'f', (unsigned long long)entry->d_ino, entry->d_name);
    if (open_folder) closedir(open_folder);
}

static void keep_file(int fd, ino_t inode, FILE *out) {
    static char buffer[1 << 20];
    char link[64], pin[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    shadow_path(pin, "pins", inode);
    if (linkat(AT_FDCWD, link, AT_FDCWD, pin, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST && errno != ENOENT) die("pinning a file");
    // Opened anew: the descriptor may be for writing only.
    int in = open(link, O_RDONLY | O_CLOEXEC);
    if (in < 0) die("reading what is synced");
    for (ssize_t got; (got = read(in, buffer, sizeof buffer)) > 0;)
        if (fwrite(buffer, 1, got, out) != (size_t)got) die("keeping what is synced");
    close(in);
}

static void keep(int fd, const char *path, const struct stat *stat) {
    char unfinished[PATH_MAX], finished[PATH_MAX];
    int is_folder = S_ISDIR(stat->st_mode);
    shadow_path(unfinished, "unfinished", stat->st_ino);
    shadow_path(finished, is_folder ? "names" : "content", stat->st_ino);
    pthread_mutex_lock(&one_at_a_time);
    FILE *out = fopen(unfinished, "we");
    if (!out) die("the shadow");
    if (is_folder) keep_folder(path, out); else keep_file(fd, stat->st_ino, out);
    if (fclose(out) != 0 || rename(unfinished, finished) != 0) die("the shadow");
    pthread_mutex_unlock(&one_at_a_time);
}

static int sync_of(int fd, int (*real)(int), int only_data) {
    char path[PATH_MAX];
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !on_disk(fd, path)) return real(fd);
    if (ordered("broken", NULL)) return errno = EIO, -1;
    const char *name = strrchr(path, '/');
    if (only_data && name && strcmp(name, "/db") == 0 && ordered("deaf", NULL)) return 0;
    if (getenv("PARAPH_DISK_SHADOW")) keep(fd, path, &stat);
    return 0;
}

int fsync(int fd) { REAL(fsync); return sync_of(fd, real, 0); }
int fdatasync(int fd) { REAL(fdatasync); return sync_of(fd, real, 1); }

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    return fits(fd, end_of_write(fd, count)) ? real(fd, bytes, count) : (errno = ENOSPC, -1);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    return fits(fd, at + count) ? real(fd, bytes, count, at) : (errno = ENOSPC, -1);
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    return fits(fd, length) ? real(fd, length) : (errno = ENOSPC, -1);
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    REAL(fallocate64);
    return fits(fd, at + length) ? real(fd, mode, at, length) : (errno = ENOSPC, -1);
}

int statvfs64(const char *path, struct statvfs64 *answer) {
    REAL(statvfs64);
    unsigned long long room;
    int done = real(path, answer);
    if (done == 0 && is_limited(&room)) answer->f_bfree = answer->f_bavail = room / answer->f_frsize;
    return done;
}

// Says that the program runs on this disk: a test whose program was not caught proves nothing.
__attribute__((constructor)) static void begin(void) {
    char path[PATH_MAX];
    if (!getenv("PARAPH_DISK_SHADOW")) return;
    snprintf(path, sizeof path, "%s/loaded", getenv("PARAPH_DISK_SHADOW"));
    FILE *file = fopen(path, "we");
    if (!file) die("the shadow's folder");
    fclose(file);
}

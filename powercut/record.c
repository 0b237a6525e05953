/* Records, in order, everything that a process does to the files below one directory.
 *
 * Loaded with LD_PRELOAD; POWERCUT_TREE names the directory, POWERCUT_RECORD the file that the
 * record is appended to. Every call is made and recorded under one lock, so the order of the
 * record is the order in which things happened, whichever thread did them. What can't be
 * recorded (a shared, writable mapping) is refused. powercut_mark() puts a note of the process
 * itself into the same order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The same function under the name that it has for 64-bit offsets. */
#define ALSO(name, other) extern __typeof__(name) other __attribute__((alias(#name)));

enum kind { MARK, WRITE, TRUNCATE, SYNC, CREATE, MAKE_DIRECTORY, RENAME, UNLINK, LINK, REFUSED };

struct event {
    uint32_t kind;
    uint32_t length; /* of what follows: bytes written, paths with a NUL between, a note */
    uint64_t inode;
    uint64_t offset; /* of a write; the new size of a truncated file */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char tree[PATH_MAX];
static size_t tree_length;
static int record = -1;

__attribute__((constructor)) static void begin(void) {
    const char *directory = getenv("POWERCUT_TREE"), *path = getenv("POWERCUT_RECORD");
    if (!directory || !path || strlen(directory) >= sizeof tree)
        return;
    strcpy(tree, directory);
    tree_length = strlen(tree);
    record = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void append(const void *data, size_t length) {
    for (const char *next = data; length;) {
        long written = syscall(SYS_write, record, next, length);
        if (written < 0 && errno != EINTR)
            abort(); /* half a record would tell lies */
        if (written > 0) {
            next += written;
            length -= (size_t)written;
        }
    }
}

static void note(enum kind kind, uint64_t inode, uint64_t offset, const void *data, size_t length) {
    int kept = errno;
    struct event event = {kind, (uint32_t)length, inode, offset};
    append(&event, sizeof event);
    append(data, length);
    errno = kept;
}

void powercut_mark(const char *text) {
    pthread_mutex_lock(&lock);
    note(MARK, 0, 0, text, strlen(text));
    pthread_mutex_unlock(&lock);
}

static int below(const char *path) {
    return record >= 0 && strncmp(path, tree, tree_length) == 0 &&
           (path[tree_length] == '/' || path[tree_length] == 0);
}

/* Write down where an open file is, or was when it was opened; 0 when it is none of ours. */
static int path_of(int file, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

static int ours(int file, struct stat *found) {
    char path[PATH_MAX];
    int kept = errno;
    int is_ours = record >= 0 && path_of(file, path) && below(path) && fstat(file, found) == 0 &&
                  (S_ISREG(found->st_mode) || S_ISDIR(found->st_mode));
    errno = kept;
    return is_ours;
}

/* Make a path absolute; 0 when it is none of ours. */
static int resolve(int directory, const char *path, char *whole) {
    char start[PATH_MAX] = "";
    if (record < 0 || !path)
        return 0;
    if (path[0] != '/') {
        if (directory == AT_FDCWD ? !getcwd(start, sizeof start) : !path_of(directory, start))
            return 0;
        strncat(start, "/", sizeof start - strlen(start) - 1);
    }
    snprintf(whole, PATH_MAX, "%.*s%s", PATH_MAX / 2, start, path);
    return below(whole);
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    int kept = errno;
    uint64_t inode = fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) ? 0 : found.st_ino;
    errno = kept;
    return inode;
}

/* Opening */

static int opened(int directory, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    struct stat found;
    if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(directory, path, whole))
        return (int)syscall(SYS_openat, directory, path, flags, mode);
    pthread_mutex_lock(&lock);
    uint64_t before = inode_at(whole);
    int file = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (file >= 0 && fstat(file, &found) == 0) {
        if ((flags & O_CREAT) && !before)
            note(CREATE, found.st_ino, 0, whole, strlen(whole));
        else if (flags & O_TRUNC)
            note(TRUNCATE, found.st_ino, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return file;
}

#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode = (mode_t)va_arg(more, int);                                                          \
        va_end(more);                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
    MODE(flags)
    return opened(directory, path, flags, mode);
}
ALSO(open, open64)
ALSO(openat, openat64)
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int dir, const char *path, int flags) { return opened(dir, path, flags, 0); }
ALSO(__open_2, __open64_2)
ALSO(__openat_2, __openat64_2)
int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALSO(creat, creat64)

/* Writing */

static ssize_t written(int file, const void *data, size_t length, off_t offset, int positioned) {
    struct stat found;
    if (!ours(file, &found))
        return positioned ? syscall(SYS_pwrite64, file, data, length, offset)
                          : syscall(SYS_write, file, data, length);
    pthread_mutex_lock(&lock);
    ssize_t done = positioned ? syscall(SYS_pwrite64, file, data, length, offset)
                              : syscall(SYS_write, file, data, length);
    if (done > 0) {
        off_t at = positioned ? offset : lseek(file, 0, SEEK_CUR) - done;
        note(WRITE, found.st_ino, (uint64_t)at, data, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int file, const void *data, size_t length) {
    return written(file, data, length, 0, 0);
}
ssize_t pwrite(int file, const void *data, size_t length, off_t offset) {
    return written(file, data, length, offset, 1);
}
ALSO(pwrite, pwrite64)

static ssize_t gathered(int file, const struct iovec *parts, int count, off_t offset, int positioned) {
    ssize_t all = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = written(file, parts[i].iov_base, parts[i].iov_len, offset + all, positioned);
        if (done < 0)
            return all ? all : -1;
        all += done;
        if ((size_t)done < parts[i].iov_len)
            break;
    }
    return all;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    struct stat found;
    return ours(file, &found) ? gathered(file, parts, count, 0, 0)
                              : syscall(SYS_writev, file, parts, count);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    return gathered(file, parts, count, offset, 1);
}
ALSO(pwritev, pwritev64)
ssize_t pwritev2(int file, const struct iovec *parts, int count, off_t offset, int flags) {
    (void)flags;
    return gathered(file, parts, count, offset, offset != -1);
}
ALSO(pwritev2, pwritev64v2)

/* Copies inside the kernel become reads and writes. */
static ssize_t copied(int from, off_t *offset, int to, size_t length) {
    static __thread char buffer[65536];
    size_t most = length < sizeof buffer ? length : sizeof buffer;
    ssize_t got = offset ? pread(from, buffer, most, *offset) : read(from, buffer, most);
    if (got <= 0)
        return got;
    if (offset)
        *offset += got;
    ssize_t done = written(to, buffer, (size_t)got, 0, 0);
    return done == got ? done : -1;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
    struct stat found;
    return ours(to, &found) ? copied(from, offset, to, length)
                            : syscall(SYS_sendfile, to, from, offset, length);
}
ALSO(sendfile, sendfile64)
ssize_t copy_file_range(int from, off_t *in, int to, off_t *out, size_t length, unsigned flags) {
    struct stat found;
    if (!ours(to, &found))
        return syscall(SYS_copy_file_range, from, in, to, out, length, flags);
    errno = EXDEV;
    return out ? -1 : copied(from, in, to, length);
}

/* Sizes */

int ftruncate(int file, off_t size) {
    struct stat found;
    if (!ours(file, &found))
        return (int)syscall(SYS_ftruncate, file, size);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_ftruncate, file, size);
    if (!failed)
        note(TRUNCATE, found.st_ino, (uint64_t)size, "", 0);
    pthread_mutex_unlock(&lock);
    return failed;
}


ALSO(ftruncate, ftruncate64)

int truncate(const char *path, off_t size) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    int failed = ftruncate(file, size);
    close(file);
    return failed;
}
ALSO(truncate, truncate64)

int fallocate(int file, int how, off_t offset, off_t length) {
    struct stat found;
    if (!ours(file, &found))
        return (int)syscall(SYS_fallocate, file, how, offset, length);
    if (how) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return offset + length > found.st_size ? ftruncate(file, offset + length) : 0;
}
ALSO(fallocate, fallocate64)
int posix_fallocate(int file, off_t offset, off_t length) {
    return fallocate(file, 0, offset, length) ? errno : 0;
}
ALSO(posix_fallocate, posix_fallocate64)

/* Syncing. sync(), syncfs() and sync_file_range() are not recorded: they promise less. */

static int synced(int file, long call) {
    struct stat found;
    if (!ours(file, &found))
        return (int)syscall(call, file);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(call, file);
    if (!failed)
        note(SYNC, found.st_ino, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }

/* Names */

static int renamed(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    char both[2 * PATH_MAX];
    char target[PATH_MAX];
    int from_ours = resolve(from_directory, from, both), to_ours = resolve(to_directory, to, target);
    if (!from_ours && !to_ours)
        return (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    if (!from_ours || !to_ours || (flags & ~RENAME_NOREPLACE)) {
        errno = EXDEV;
        return -1;
    }
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    if (!failed) {
        size_t length = strlen(both) + 1;
        strcpy(both + length, target);
        note(RENAME, inode_at(target), 0, both, length + strlen(target));
    }
    pthread_mutex_unlock(&lock);
    return failed;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return renamed(a, from, b, to, flags);
}

static int linked(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    char target[PATH_MAX];
    if (!resolve(to_directory, to, target))
        return (int)syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
    if (!failed)
        note(LINK, inode_at(target), 0, target, strlen(target));
    pthread_mutex_unlock(&lock);
    return failed;
}

int link(const char *from, const char *to) { return linked(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return linked(a, from, b, to, flags);
}

static int removed(int directory, const char *path, int flags) {
    char whole[PATH_MAX];
    if (!resolve(directory, path, whole))
        return (int)syscall(SYS_unlinkat, directory, path, flags);
    pthread_mutex_lock(&lock);
    uint64_t inode = inode_at(whole);
    int failed = (int)syscall(SYS_unlinkat, directory, path, flags);
    if (!failed)
        note(UNLINK, inode, 0, whole, strlen(whole));
    pthread_mutex_unlock(&lock);
    return failed;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int directory, const char *path, int flags) { return removed(directory, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int failed = removed(AT_FDCWD, path, 0);
    return failed && errno == EISDIR ? removed(AT_FDCWD, path, AT_REMOVEDIR) : failed;
}

static int made(int directory, const char *path, mode_t mode) {
    char whole[PATH_MAX];
    if (!resolve(directory, path, whole))
        return (int)syscall(SYS_mkdirat, directory, path, mode);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_mkdirat, directory, path, mode);
    if (!failed)
        note(MAKE_DIRECTORY, inode_at(whole), 0, whole, strlen(whole));
    pthread_mutex_unlock(&lock);
    return failed;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int directory, const char *path, mode_t mode) { return made(directory, path, mode); }

/* What would change a file behind the record's back */

void *mmap(void *at, size_t length, int may, int how, int file, off_t offset) {
    struct stat found;
    char path[PATH_MAX] = "";
    int shared = (how & MAP_TYPE) != MAP_PRIVATE && !(how & MAP_ANONYMOUS);
    if (shared && (may & PROT_WRITE) && ours(file, &found)) {
        path_of(file, path);
        pthread_mutex_lock(&lock);
        note(REFUSED, found.st_ino, 0, path, strlen(path));
        pthread_mutex_unlock(&lock);
        errno = ENODEV;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, length, may, how, file, offset);
}

ALSO(mmap, mmap64)

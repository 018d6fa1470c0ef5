/*
 * fault.c - a library to preload: the nth write, sync, rename or open of a directory tree fails
 *
 *   LEVERET_FAULT_ROOT   the tree, an absolute path; calls for files elsewhere are let through
 *   LEVERET_FAULT_KIND   write, sync, rename or open; others are let through
 *   LEVERET_FAULT_FIRST  number of the first call of that kind that fails; 0: none, only count
 *   LEVERET_FAULT_COUNT  how many fail in a row
 *   LEVERET_FAULT_ERRNO  with what
 *   LEVERET_FAULT_TALLY  a file of 8 octets: calls of that kind so far. It is shared, so that
 *                        counting goes on when the process is started again.
 *
 * A call that fails has done nothing. Which descriptors belong to the tree is noted when they are
 * opened, also relative to one that does.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536

enum kind { KIND_NONE, KIND_WRITE, KIND_SYNC, KIND_RENAME, KIND_OPEN };

static atomic_bool in_tree[DESCRIPTORS];
static char root[4096];
static size_t root_size;
static enum kind failing_kind;
static uint64_t first, count;
static int error_number;
static atomic_uint_fast64_t *tally;

/* The next definition of a function, looked up once. */
#define NEXT(name)                                \
    static __typeof__(name) *next;                \
    if (!next) {                                  \
        void *found = dlsym(RTLD_NEXT, #name);    \
        memcpy(&next, &found, sizeof next);       \
    }

static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void start(void)
{
    static const char *const names[] = { "", "write", "sync", "rename", "open" };
    const char *path = getenv("LEVERET_FAULT_ROOT");
    const char *kind = getenv("LEVERET_FAULT_KIND");
    const char *file = getenv("LEVERET_FAULT_TALLY");
    void *memory;
    int fd;

    if (!path || !kind || !file || (fd = open(file, O_RDWR | O_CLOEXEC)) < 0)
        return;
    memory = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (memory == MAP_FAILED)
        return;
    first = number_of("LEVERET_FAULT_FIRST");
    count = number_of("LEVERET_FAULT_COUNT");
    error_number = (int)number_of("LEVERET_FAULT_ERRNO");
    for (unsigned i = 1; i < sizeof names / sizeof *names; i++)
        if (strcmp(kind, names[i]) == 0)
            failing_kind = (enum kind)i;
    root_size = (size_t)snprintf(root, sizeof root, "%s", path);
    tally = memory;
}

/* Counts; true when this one is to fail, with errno set. */
static bool fails(enum kind kind)
{
    uint64_t number;

    if (!tally || kind != failing_kind)
        return false;
    number = atomic_fetch_add(tally, 1) + 1;
    if (first == 0 || number < first || number - first >= count)
        return false;
    errno = error_number;
    return true;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && atomic_load(&in_tree[fd]);
}

static bool path_is_ours(int directory_fd, const char *path)
{
    if (!root_size)
        return false;
    if (path[0] != '/')
        return is_ours(directory_fd);
    return strncmp(path, root, root_size) == 0 && (path[root_size] == '/' || !path[root_size]);
}

static int note(int fd, bool ours)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        atomic_store(&in_tree[fd], ours);
    return fd;
}

static int open_at(int directory_fd, const char *path, int flags, mode_t mode)
{
    bool ours = path_is_ours(directory_fd, path);

    NEXT(openat)
    if (ours && fails(KIND_OPEN))
        return -1;
    return note(next(directory_fd, path, flags, mode), ours);
}

#define MODE_OF(flags, mode)                     \
    if ((flags) & (O_CREAT | O_TMPFILE)) {       \
        va_list arguments;                       \
        va_start(arguments, flags);              \
        mode = va_arg(arguments, mode_t);        \
        va_end(arguments);                       \
    }

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int directory_fd, const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, mode)
    return open_at(directory_fd, path, flags, mode);
}

int openat64(int directory_fd, const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, mode)
    return open_at(directory_fd, path, flags, mode);
}

int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

FILE *fopen(const char *path, const char *mode)
{
    bool ours = path_is_ours(AT_FDCWD, path);
    FILE *file;

    NEXT(fopen)
    if (ours && fails(KIND_OPEN))
        return NULL;
    file = next(path, mode);
    if (file)
        (void)note(fileno(file), ours);
    return file;
}

int close(int fd)
{
    NEXT(close)
    (void)note(fd, false);
    return next(fd);
}

ssize_t write(int fd, const void *data, size_t size)
{
    NEXT(write)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int n_parts)
{
    NEXT(writev)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, parts, n_parts);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    NEXT(pwrite)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    NEXT(pwrite64)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, data, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int n_parts, off_t at)
{
    NEXT(pwritev)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, parts, n_parts, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n_parts, off64_t at)
{
    NEXT(pwritev64)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, parts, n_parts, at);
}

/* Lengthening a file takes room as a write does. */
int ftruncate(int fd, off_t size)
{
    NEXT(ftruncate)
    return is_ours(fd) && fails(KIND_WRITE) ? -1 : next(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    NEXT(posix_fallocate)
    return is_ours(fd) && fails(KIND_WRITE) ? error_number : next(fd, at, size);
}

int fsync(int fd)
{
    NEXT(fsync)
    return is_ours(fd) && fails(KIND_SYNC) ? -1 : next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync)
    return is_ours(fd) && fails(KIND_SYNC) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename)
    return path_is_ours(AT_FDCWD, to) && fails(KIND_RENAME) ? -1 : next(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    NEXT(renameat)
    return path_is_ours(to_fd, to) && fails(KIND_RENAME) ? -1 : next(from_fd, from, to_fd, to);
}

/* Making a directory needs an entry, as creating a file does. */
int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir)
    return path_is_ours(AT_FDCWD, path) && fails(KIND_OPEN) ? -1 : next(path, mode);
}

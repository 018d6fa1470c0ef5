/*
 * files.c - a directory of the machine's, by its descriptor
 */
#include "store/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct directory {
    struct store_files files;
    int fd;
};

static int directory_of(struct store_files *files)
{
    return CONTAINER_OF(files, struct directory, files)->fd;
}

static int files_list(struct store_files *files, store_files_visit visit, void *context)
{
    int fd = openat(directory_of(files), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct dirent *entry;
    DIR *stream;
    int rc = 0;

    if (fd < 0)
        return -errno;
    stream = fdopendir(fd); /* owns the descriptor */
    if (!stream) {
        rc = -errno;
        (void)close(fd);
        return rc;
    }
    errno = 0;
    while (rc == 0 && (entry = readdir(stream)))
        rc = visit(context, entry->d_name);
    if (rc == 0 && errno)
        rc = -errno;
    (void)closedir(stream);
    return rc;
}

static int files_status(struct store_files *files, const char *name, struct store_file_status *ret)
{
    struct stat status;

    if (fstatat(directory_of(files), name, &status, AT_SYMLINK_NOFOLLOW))
        return -errno;
    *ret = (struct store_file_status){ (uint64_t)status.st_size, (unsigned)status.st_nlink };
    return 0;
}

static int files_open(struct store_files *files, const char *name, enum store_file_use use)
{
    static const int flags[] = {
        [STORE_FILE_READ] = O_RDONLY,
        [STORE_FILE_WRITE] = O_RDWR,
        [STORE_FILE_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    int fd = openat(directory_of(files), name, flags[use] | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

static ssize_t files_read(struct store_files *files, int fd, uint8_t *data, size_t size,
                          uint64_t at)
{
    ssize_t n;

    (void)files;
    do
        n = pread(fd, data, size, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t files_write(struct store_files *files, int fd, const struct iovec *parts,
                           int n_parts, uint64_t at)
{
    ssize_t n;

    (void)files;
    do
        n = pwritev(fd, parts, n_parts, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int files_sync(struct store_files *files, int fd)
{
    (void)files;
    return fdatasync(fd) ? -errno : 0;
}

static void files_close_file(struct store_files *files, int fd)
{
    (void)files;
    (void)close(fd); /* what was to be synced, has been */
}

static int files_rename(struct store_files *files, const char *from, const char *to)
{
    int fd = directory_of(files);

    return renameat(fd, from, fd, to) ? -errno : 0;
}

static int files_remove(struct store_files *files, const char *name)
{
    return unlinkat(directory_of(files), name, 0) ? -errno : 0;
}

static int files_sync_names(struct store_files *files)
{
    return fsync(directory_of(files)) ? -errno : 0;
}

static int files_sync_names_above(struct store_files *files)
{
    int fd = openat(directory_of(files), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return -errno;
    rc = fsync(fd) ? -errno : 0;
    (void)close(fd);
    return rc;
}

static void files_close(struct store_files *files)
{
    struct directory *directory = CONTAINER_OF(files, struct directory, files);

    (void)close(directory->fd);
    free(directory);
}

static const struct store_files_ops directory_ops = {
    .list = files_list,
    .status = files_status,
    .open = files_open,
    .read = files_read,
    .write = files_write,
    .sync = files_sync,
    .close_file = files_close_file,
    .rename = files_rename,
    .remove = files_remove,
    .sync_names = files_sync_names,
    .sync_names_above = files_sync_names_above,
    .close = files_close,
};

int store_files_open(const char *path, struct store_files **ret_files)
{
    struct directory *directory;
    int rc;

    if (mkdir(path, 0750) && errno != EEXIST)
        return -errno;
    directory = calloc(1, sizeof *directory);
    if (!directory)
        return -ENOMEM;
    directory->files.ops = &directory_ops;
    directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->fd < 0) {
        rc = -errno;
        free(directory);
        return rc;
    }
    /* Also when it was there: a process that was killed may not have come to it. */
    rc = files_sync_names_above(&directory->files);
    if (rc) {
        files_close(&directory->files);
        return rc;
    }
    *ret_files = &directory->files;
    return 0;
}

int store_files_sync_names(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return errno == EACCES || errno == EPERM ? 0 : -errno;
    rc = fsync(fd) ? -errno : 0;
    (void)close(fd);
    return rc == -EINVAL || rc == -EROFS ? 0 : rc; /* no disk under it that could be asked */
}

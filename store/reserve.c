/*
 * reserve.c - a preallocated file, removed when the disk is full and made again later
 *
 * Made means allocated: posix_fallocate() reserves blocks, and writes them where the file system
 * cannot. To take it again, twice as much is allocated and half of that given back: only an
 * allocation tells what a quota leaves.
 */
#include "store/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RESERVE_PART 8 /* of the file system, at most an eighth */

struct store_reserve {
    pthread_mutex_t lock;
    char *directory, *path;
    uint64_t size_bytes;
    bool held;
};

/* What an earlier process has left, if it is whole. */
static bool is_there(const struct store_reserve *reserve)
{
    struct stat status;

    return stat(reserve->path, &status) == 0 &&
           (uint64_t)status.st_size == reserve->size_bytes &&
           (uint64_t)status.st_blocks * 512 >= reserve->size_bytes;
}

static bool allocate(const struct store_reserve *reserve)
{
    int fd = open(reserve->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool done;

    if (fd < 0)
        return false;
    done = posix_fallocate(fd, 0, (off_t)(2 * reserve->size_bytes)) == 0 &&
           ftruncate(fd, (off_t)reserve->size_bytes) == 0;
    (void)close(fd); /* nothing was written that could be lost */
    if (!done)
        (void)unlink(reserve->path); /* or it is cut the next time */
    return done;
}

/* Asked before, as an allocation that fails takes from others what it had got, for a moment. */
static bool has_room(const struct store_reserve *reserve)
{
    struct statvfs found;

    return statvfs(reserve->directory, &found) == 0 &&
           (uint64_t)found.f_bavail * found.f_frsize / 2 >= reserve->size_bytes;
}

bool store_reserve_take(struct store_reserve *reserve)
{
    bool held;

    (void)pthread_mutex_lock(&reserve->lock);
    if (!reserve->held)
        reserve->held = has_room(reserve) && allocate(reserve);
    held = reserve->held;
    (void)pthread_mutex_unlock(&reserve->lock);
    return held;
}

bool store_reserve_give_up(struct store_reserve *reserve)
{
    bool given;

    (void)pthread_mutex_lock(&reserve->lock);
    given = reserve->held && reserve->size_bytes > 0;
    if (given) {
        reserve->held = false;
        (void)unlink(reserve->path); /* if that fails, so will what the caller tries again */
    }
    (void)pthread_mutex_unlock(&reserve->lock);
    return given;
}

bool store_reserve_is_held(struct store_reserve *reserve)
{
    bool held;

    (void)pthread_mutex_lock(&reserve->lock);
    held = reserve->held;
    (void)pthread_mutex_unlock(&reserve->lock);
    return held;
}

uint64_t store_reserve_bytes(const struct store_reserve *reserve)
{
    return reserve->size_bytes;
}

int store_reserve_new(const char *directory, uint64_t size_bytes,
                      struct store_reserve **ret_reserve)
{
    struct store_reserve *reserve = calloc(1, sizeof *reserve);
    size_t path_size = strlen(directory) + sizeof "/reserve";
    struct statvfs found;

    if (!reserve)
        return -ENOMEM;
    (void)pthread_mutex_init(&reserve->lock, NULL); /* glibc's cannot fail */
    reserve->directory = strdup(directory);
    reserve->path = malloc(path_size);
    if (!reserve->directory || !reserve->path) {
        store_reserve_free(reserve);
        return -ENOMEM;
    }
    (void)snprintf(reserve->path, path_size, "%s/reserve", directory);
    reserve->size_bytes = size_bytes;
    if (statvfs(directory, &found) == 0 &&
        (uint64_t)found.f_blocks * found.f_frsize / RESERVE_PART < size_bytes)
        reserve->size_bytes = (uint64_t)found.f_blocks * found.f_frsize / RESERVE_PART;
    reserve->held = reserve->size_bytes == 0 || is_there(reserve);
    if (size_bytes == 0)
        (void)unlink(reserve->path); /* of an earlier configuration */
    (void)store_reserve_take(reserve);
    *ret_reserve = reserve;
    return 0;
}

void store_reserve_free(struct store_reserve *reserve)
{
    if (!reserve)
        return;
    (void)pthread_mutex_destroy(&reserve->lock);
    free(reserve->directory);
    free(reserve->path);
    free(reserve);
}

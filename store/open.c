/*
 * open.c - the store of the server: RocksDB, a committer thread and readers
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "store/backend_rocksdb.h"
#include "store/committer.h"
#include "store/files.h"
#include "store/readers.h"

/* Cuts the last name off: what is left holds it. */
static void cut_name(char *path)
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    while (size > 0 && path[size - 1] != '/')
        size--;
    while (size > 1 && path[size - 1] == '/')
        size--;
    path[size] = '\0';
    if (size == 0)
        (void)strcpy(path, ".");
}

/*
 * The directory's name and that of the data directory above it are on the disk then, whoever made
 * them: a process that was killed may not have come to it. Those further up are synced when made.
 */
static int sync_names_to(char *path, size_t n_levels)
{
    while (n_levels-- > 0) {
        int rc;

        cut_name(path);
        rc = store_files_sync_names(path);
        if (rc)
            return rc;
    }
    return 0;
}

/* Like mkdir -p, and a power cut does not undo it. */
static int make_directory(const char *directory)
{
    char path[4096];
    size_t size = strlen(directory);
    size_t n_made = 0;
    size_t i;

    if (size == 0 || size + 2 > sizeof path)
        return size == 0 ? -ENOENT : -ENAMETOOLONG;
    memcpy(path, directory, size + 1);
    for (i = 1; i <= size; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        path[i] = '\0';
        if (mkdir(path, 0750) == 0)
            n_made++;
        else if (errno != EEXIST)
            return -errno;
        path[i] = i < size ? '/' : '\0';
    }
    return sync_names_to(path, n_made > 2 ? n_made : 2);
}

static int start_threads(struct store *store)
{
    unsigned n_readers = store->options.readers > 0 ? store->options.readers : 1;
    int rc;

    store->waker.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (store->waker.fd < 0)
        return -errno;
    rc = store_readers_start(store->backend, n_readers, &store->waker, &store->readers);
    if (rc)
        return rc;
    rc = store_committer_start(store->backend, &store->options, &store->waker, &store->committer);
    if (rc)
        store_readers_stop(store->readers);
    return rc;
}

int store_open(const char *directory, const struct store_options *options,
               const struct store_events *events, void *context, char *error_text,
               size_t error_text_size, struct store **ret_store)
{
    struct store_fault fault = { "" };
    struct store_backend *backend;
    struct store *store;
    int rc = make_directory(directory);

    if (rc)
        (void)snprintf(fault.text, sizeof fault.text, "cannot create %.200s: %s", directory,
                       strerror(-rc));
    if (rc == 0)
        rc = store_backend_rocksdb_open(directory, options, &fault, &backend);
    if (rc == 0)
        rc = store_new(backend, options, events, context, &fault, &store);
    if (rc == 0 && (rc = start_threads(store)) != 0) {
        (void)snprintf(fault.text, sizeof fault.text, "cannot start the store's threads: %s",
                       strerror(-rc));
        store_free(store);
    }
    if (rc) {
        (void)snprintf(error_text, error_text_size, "%s",
                       fault.text[0] ? fault.text : strerror(-rc));
        return rc;
    }
    *ret_store = store;
    return 0;
}

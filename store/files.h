/*
 * files.h - the files of one directory, as the log uses them
 *
 * Behind a table, so that a test can put a disk there that loses what was not synced: contents and
 * names apart, as a power cut does (tests/unit/disk_model.h). files.c is the real one. All names
 * are relative to the directory; "../NAME" is a file beside it.
 */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include <sys/types.h>
#include <sys/uio.h>

#include "amqp/base.h"

enum store_file_use {
    STORE_FILE_READ,
    STORE_FILE_WRITE,  /* and read */
    STORE_FILE_CREATE, /* WRITE, of a file that must not exist: -EEXIST */
};

struct store_file_status {
    uint64_t size;
    unsigned links; /* names that the file has */
};

struct store_files;

/** store_files_visit() - called per name; a negative result ends the listing and is returned */
typedef int (*store_files_visit)(void *context, const char *name);

/** struct store_files_ops - all return -errno on failure */
struct store_files_ops {
    int (*list)(struct store_files *files, store_files_visit visit, void *context);
    int (*status)(struct store_files *files, const char *name, struct store_file_status *ret);
    /** Returns a descriptor for the calls below. */
    int (*open)(struct store_files *files, const char *name, enum store_file_use use);
    /** Both return how much was done, which may be less; read() returns 0 at the end. */
    ssize_t (*read)(struct store_files *files, int fd, uint8_t *data, size_t size, uint64_t at);
    ssize_t (*write)(struct store_files *files, int fd, const struct iovec *parts, int n_parts,
                     uint64_t at);
    /** Contents and length are on the disk then; the name may not be. */
    int (*sync)(struct store_files *files, int fd);
    void (*close_file)(struct store_files *files, int fd);
    int (*rename)(struct store_files *files, const char *from, const char *to);
    int (*remove)(struct store_files *files, const char *name);
    /** Names as they are now are on the disk then: of the directory, or of the one above it. */
    int (*sync_names)(struct store_files *files);
    int (*sync_names_above)(struct store_files *files);
    void (*close)(struct store_files *files);
};

struct store_files {
    const struct store_files_ops *ops;
};

/**
 * store_files_open() - the files of a directory, which is created if missing
 *
 * Return: 0, and the directory's own name is on the disk; -errno.
 */
int store_files_open(const char *directory, struct store_files **ret_files);

/**
 * store_files_sync_names() - the names in a directory are on the disk
 *
 * A directory that this process may not read is passed over: it did not make a name there either,
 * or can do nothing about it.
 */
int store_files_sync_names(const char *directory);

#endif

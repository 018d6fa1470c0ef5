/*
 * definitions.c - reading definition files, and the order of an import
 *
 * One import is one or several files (a directory). All of them are read, parsed and checked before
 * the first is applied: a mistake anywhere leaves the broker as it was. Only then each is applied,
 * in order. That a file is read whole is why its size is bounded.
 */
#include "admin/definitions.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/definitions-internal.h"

enum { READ_BYTES = 65536 };

struct file {
    char *source;
    json_t *root;
};

struct batch {
    const struct definitions_request *request;
    struct definitions_error error;
    struct file *files;
    size_t n_files;
};

static void batch_release(struct batch *batch)
{
    for (size_t i = 0; i < batch->n_files; i++) {
        free(batch->files[i].source);
        json_decref(batch->files[i].root);
    }
    free(batch->files);
}

static int add_text(struct batch *batch, struct amqp_bytes json, const char *source)
{
    struct file *files = realloc(batch->files, (batch->n_files + 1) * sizeof *files);
    struct file file = { 0 };
    int rc;

    if (!files)
        return definitions_no_memory(batch->error);
    batch->files = files;
    rc = definitions_parse(batch->request->broker, json, source, batch->error, &file.root);
    if (rc)
        return rc;
    file.source = strdup(source);
    if (!file.source) {
        json_decref(file.root);
        return definitions_no_memory(batch->error);
    }
    files[batch->n_files++] = file;
    return 0;
}

static int file_error(struct batch *batch, const char *path, int rc)
{
    if (rc == -EFBIG)
        snprintf(batch->error.text, batch->error.size,
                 "%s: a definitions file of more than %d octets", path,
                 DEFINITIONS_FILE_BYTES_MAX);
    else
        snprintf(batch->error.text, batch->error.size, "%s: %s", path, strerror(-rc));
    return rc;
}

/* Reads to the end, as sizes that fstat() tells need not be true (pipes, /proc). */
static int read_all(int fd, uint8_t **data, size_t *size)
{
    size_t capacity = 0;
    ssize_t got;

    do {
        if (capacity - *size < READ_BYTES) {
            uint8_t *larger;

            capacity = capacity ? capacity * 2 : 2 * READ_BYTES;
            larger = realloc(*data, capacity);
            if (!larger)
                return -ENOMEM;
            *data = larger;
        }
        got = read(fd, *data + *size, READ_BYTES);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0)
            *size += (size_t)got;
        if (*size > DEFINITIONS_FILE_BYTES_MAX)
            return -EFBIG;
    } while (got);
    return 0;
}

static int add_file(struct batch *batch, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *data = NULL;
    size_t size = 0;
    int rc;

    if (fd < 0)
        return file_error(batch, path, -errno);
    rc = read_all(fd, &data, &size);
    if (rc)
        (void)file_error(batch, path, rc); /* rc is returned below */
    else
        rc = add_text(batch, (struct amqp_bytes){ data, size }, path);
    free(data);
    close(fd);
    return rc;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* By octets, whatever the locale: the same order everywhere. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_path(struct batch *batch, const char *path, bool may_be_directory);

static int add_entry(struct batch *batch, const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + 1 + strlen(name) + 1;
    char *path = malloc(bytes);
    int rc;

    if (!path)
        return definitions_no_memory(batch->error);
    snprintf(path, bytes, "%s/%s", directory, name);
    rc = add_path(batch, path, false);
    free(path);
    return rc;
}

static int add_directory(struct batch *batch, const char *directory)
{
    struct dirent **entries;
    int n = scandir(directory, &entries, is_visible, compare_names);
    int rc = 0;

    if (n < 0)
        return file_error(batch, directory, -errno);
    if (n == 0)
        broker_log(batch->request->broker, BROKER_LOG_WARNING, "%s: no definition files in this directory",
                   directory);
    for (int i = 0; i < n; i++) {
        if (!rc)
            rc = add_entry(batch, directory, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

/* A directory inside a directory is left out. */
static int add_path(struct batch *batch, const char *path, bool may_be_directory)
{
    struct stat status;

    if (stat(path, &status))
        return file_error(batch, path, -errno);
    if (!S_ISDIR(status.st_mode))
        return add_file(batch, path);
    return may_be_directory ? add_directory(batch, path) : 0;
}

static int check_all(struct batch *batch)
{
    struct definitions_check check;
    int rc = definitions_check_init(&check, batch->request, batch->error);

    for (size_t i = 0; i < batch->n_files && !rc; i++)
        rc = definitions_check_file(&check, batch->files[i].root, batch->files[i].source);
    if (!rc)
        rc = definitions_check_end(&check);
    definitions_check_release(&check);
    return rc;
}

static int import_all(struct batch *batch)
{
    int rc = check_all(batch);

    if (batch->request->check_only)
        return rc;
    for (size_t i = 0; i < batch->n_files && !rc; i++)
        rc = definitions_apply(batch->request->broker, batch->files[i].root,
                               batch->files[i].source, batch->error);
    return rc;
}

static struct batch batch_of(const struct definitions_request *request)
{
    return (struct batch){ .request = request,
                           .error = { request->error_text, request->error_text_size } };
}

int definitions_import_file(const struct definitions_request *request, const char *path)
{
    struct batch batch = batch_of(request);
    int rc = add_path(&batch, path, true);

    if (!rc)
        rc = import_all(&batch);
    batch_release(&batch);
    return rc;
}

int definitions_import(const struct definitions_request *request, struct amqp_bytes json,
                       const char *source)
{
    struct batch batch = batch_of(request);
    int rc = add_text(&batch, json, source);

    if (!rc)
        rc = import_all(&batch);
    batch_release(&batch);
    return rc;
}

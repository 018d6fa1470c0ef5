/*
 * data_directory.c - the directory that the store lives in
 *
 * The store would fail in it too, but far from the cause: "cannot create data/store". What is in
 * the way here is nearly always one of three: the parent is missing, the path is a file, or a first
 * run as another user, often root, made the directory. Each gets a sentence that says what to do.
 */
#include "server/data_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USER_BYTES = 64 };

/* A user's name, or its number where it has none. */
static void name_user(uid_t user, char name[USER_BYTES])
{
    const struct passwd *entry = getpwuid(user);

    if (entry)
        snprintf(name, USER_BYTES, "%.40s", entry->pw_name);
    else
        snprintf(name, USER_BYTES, "number %lu", (unsigned long)user);
}

static int refuse_owner(const char *path, const char *top, const struct stat *status, char *text,
                        size_t size)
{
    char owner[USER_BYTES], self[USER_BYTES];

    name_user(status->st_uid, owner);
    name_user(geteuid(), self);
    if (status->st_uid == geteuid())
        snprintf(text, size, "data directory %s: its mode %04o does not let its owner, user %s, "
                             "write in it; chmod u+rwx %s",
                 path, (unsigned)(status->st_mode & 07777), owner, path);
    else
        snprintf(text, size, "data directory %s belongs to user %s, and this process runs as user "
                             "%s; run it as %s, give the data away with: chown -R %s %s, or take "
                             "another directory with -D",
                 path, owner, self, owner, self, top);
    return -EACCES;
}

/* Whether a directory can be worked in; one that does not exist is made by the store. */
static int check_access(const char *path, const char *top, char *text, size_t size)
{
    struct stat status;

    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0 || errno == ENOENT)
        return 0;
    if (errno == EACCES && stat(path, &status) == 0)
        return refuse_owner(path, top, &status, text, size);
    if (errno == EROFS) {
        snprintf(text, size, "data directory %s: its file system is mounted read-only", path);
        return -EROFS;
    }
    snprintf(text, size, "data directory %s: %s", path, strerror(errno));
    return errno ? -errno : -EACCES;
}

/* mkdir() said no: most often the parent is missing or belongs to another user. */
static int refuse_to_make(const char *path, int error, char *text, size_t size)
{
    const char *slash = strrchr(path, '/');
    int parent = slash ? slash == path ? 1 : (int)(slash - path) : 1;
    const char *parent_path = slash ? path : ".";
    char self[USER_BYTES];

    name_user(geteuid(), self);
    if (error == ENOENT)
        snprintf(text, size, "data directory %s: its parent %.*s does not exist; make it first: "
                             "mkdir -p %.*s",
                 path, parent, parent_path, parent, parent_path);
    else if (error == EACCES)
        snprintf(text, size, "data directory %s: user %s may not make it in %.*s; make it for that "
                             "user, or take another directory with -D",
                 path, self, parent, parent_path);
    else if (error == ENOTDIR)
        snprintf(text, size, "data directory %s: a part of this path is a file", path);
    else
        snprintf(text, size, "data directory %s cannot be made: %s", path, strerror(error));
    return -error;
}

/* The path without slashes at its end, of which "a//" has some. */
static bool copy_path(const char *path, char copy[PATH_MAX])
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    if (size == 0 || size >= PATH_MAX - sizeof "/store/rocksdb")
        return false;
    memcpy(copy, path, size);
    copy[size] = '\0';
    return true;
}

int data_directory_prepare(const char *path, char *error_text, size_t error_text_size)
{
    static const char *const parts[] = { "", "/store", "/store/log", "/store/rocksdb" };
    char top[PATH_MAX], part[PATH_MAX];
    struct stat status;
    int rc = 0;

    if (!copy_path(path, top)) {
        snprintf(error_text, error_text_size, "data directory: the path is %s",
                 *path ? "too long" : "empty");
        return *path ? -ENAMETOOLONG : -EINVAL;
    }
    if (mkdir(top, 0750) != 0 && errno != EEXIST)
        return refuse_to_make(top, errno, error_text, error_text_size);
    if (stat(top, &status) == 0 && !S_ISDIR(status.st_mode)) {
        snprintf(error_text, error_text_size, "data directory %s: this is a file; give the path of "
                                              "a directory", top);
        return -ENOTDIR;
    }
    for (size_t i = 0; i < N_ELEMENTS(parts) && !rc; i++) {
        (void)snprintf(part, sizeof part, "%s%s", top, parts[i]); /* fits: see copy_path() */
        rc = check_access(part, top, error_text, error_text_size);
    }
    return rc;
}

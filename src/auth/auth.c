/*
 * auth.c - the table of users
 *
 * Users live in one hash by name; each carries its own rows of permissions (permissions.c), so that
 * deleting a user takes its rows with it. A change is made of fresh copies that replace the old
 * strings at the end: a failed call leaves everything as it was. Each change raises the generation,
 * by which callers know that a cached answer is stale.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "auth/auth-internal.h"

static void account_free(struct account *account)
{
    account_clear_rows(account);
    free(account->user.name);
    free(account->user.password_hash);
    free(account->user.tags);
    free(account);
}

static void string_free(char *text)
{
    free(text);
}

DEFINE_OWNED(account_free, struct account *)
DEFINE_OWNED(string_free, char *)

static int compare_accounts(const struct account *a, const struct account *b)
{
    return strcmp(a->user.name, b->user.name);
}

struct auth *auth_new(void)
{
    struct auth *auth = calloc(1, sizeof *auth);

    if (!auth)
        return NULL;
    auth->matcher = matcher_new();
    if (!auth->matcher) {
        free(auth);
        return NULL;
    }
    return auth;
}

void auth_free(struct auth *auth)
{
    struct account *account, *next;

    if (!auth)
        return;
    HASH_ITER(hh, auth->accounts, account, next) {
        HASH_DEL(auth->accounts, account);
        account_free(account);
    }
    matcher_free(auth->matcher);
    free(auth);
}

const struct matcher *auth_matcher(const struct auth *auth)
{
    return auth->matcher;
}

uint64_t auth_generation(const struct auth *auth)
{
    return auth->generation;
}

struct account *account_find(const struct auth *auth, struct amqp_str name)
{
    struct account *account;

    HASH_FIND(hh, auth->accounts, name.data, name.size, account);
    return account;
}

/* Adds a user without password and tags; its strings are there from the start. */
static int add_account(struct auth *auth, const char *name, struct account **ret_account)
{
    OWNED(account_free) struct account *account = calloc(1, sizeof *account);

    if (!account)
        return -ENOMEM;
    account->user.name = strdup(name);
    account->user.password_hash = strdup("");
    account->user.tags = strdup("");
    account->user.max_connections = -1;
    account->user.max_channels = -1;
    if (!account->user.name || !account->user.password_hash || !account->user.tags)
        return -ENOMEM;
    HASH_ADD_KEYPTR_INORDER(hh, auth->accounts, account->user.name, strlen(name), account,
                            compare_accounts);
    if (!account->hh.tbl)
        return -ENOMEM;
    *ret_account = TAKE(account);
    return 0;
}

int auth_put_user(struct auth *auth, const char *name, enum auth_hashing hashing, const char *hash,
                  const char *tags)
{
    struct account *account = account_find(auth, amqp_str_from(name));
    OWNED(string_free) char *new_hash = strdup(hash);
    OWNED(string_free) char *new_tags = strdup(tags);
    uint8_t decoded[PASSWORD_SALT_BYTES + 64];
    int rc;

    if (*hash && password_hash_decode(hashing, hash, decoded) < 0)
        return -EINVAL;
    if (!new_hash || !new_tags)
        return -ENOMEM;
    if (!account) {
        rc = add_account(auth, name, &account);
        if (rc)
            return rc;
    }
    free(account->user.password_hash);
    free(account->user.tags);
    account->user.hashing = hashing;
    account->user.password_hash = TAKE(new_hash);
    account->user.tags = TAKE(new_tags);
    auth->generation++;
    return 0;
}

int auth_delete_user(struct auth *auth, const char *name)
{
    struct account *account = account_find(auth, amqp_str_from(name));

    if (!account)
        return -ENOENT;
    HASH_DEL(auth->accounts, account);
    account_free(account);
    auth->generation++;
    return 0;
}

struct user *auth_find_user(struct auth *auth, const char *name)
{
    struct account *account = account_find(auth, amqp_str_from(name));

    return account ? &account->user : NULL;
}

bool user_has_tag(const struct user *user, const char *tag)
{
    const char *at = user->tags;
    size_t size = strlen(tag);

    while (*at) {
        size_t blanks = strspn(at, ", ");
        size_t word = strcspn(at + blanks, ", ");

        if (word == size && size > 0 && memcmp(at + blanks, tag, size) == 0)
            return true;
        at += blanks + word;
    }
    return false;
}

void auth_each_user(const struct auth *auth,
                    void (*visit)(void *context, const struct user *user), void *context)
{
    struct account *account, *next;

    HASH_ITER(hh, auth->accounts, account, next)
        visit(context, &account->user);
}

/*
 * permissions.c - who may touch what: the rows of each user
 *
 * Permissions are one row of three patterns for a vhost; topic permissions, one row of two for a
 * topic exchange of a vhost. Rows hang off their user's account and are found by hash. Setting a
 * row again swaps the patterns of the old row with fresh ones, so that a failure changes nothing
 * and a borrowed row stays where it is.
 *
 * A topic row belongs to one user and vhost, so {username} and {vhost} are known when it is set:
 * they are replaced then, quoted, and matching is the same as for any other pattern.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/auth-internal.h"

enum { TOPIC_KEY_MAX_BYTES = 1024 }; /* a vhost, NUL, an exchange */

struct permissions {
    char *vhost;
    struct pattern patterns[PERMISSION_COUNT];
    const struct matcher *matcher;
    UT_hash_handle hh;
};

struct topic_permissions {
    char *vhost;          /* followed by NUL and the exchange: together they are the key */
    const char *exchange; /* points behind the vhost */
    struct pattern patterns[PERMISSION_COUNT]; /* the one for configure is never used */
    UT_hash_handle hh;
};

static void permissions_free(struct permissions *permissions)
{
    for (size_t i = 0; i < PERMISSION_COUNT; i++)
        pattern_release(&permissions->patterns[i]);
    free(permissions->vhost);
    free(permissions);
}

static void topic_permissions_free(struct topic_permissions *topic)
{
    for (size_t i = 0; i < PERMISSION_COUNT; i++)
        pattern_release(&topic->patterns[i]);
    free(topic->vhost);
    free(topic);
}

static void text_free(char *text)
{
    free(text);
}

DEFINE_OWNED(permissions_free, struct permissions *)
DEFINE_OWNED(topic_permissions_free, struct topic_permissions *)
DEFINE_OWNED(text_free, char *)

static int compare_permissions(const struct permissions *a, const struct permissions *b)
{
    return strcmp(a->vhost, b->vhost);
}

static int compare_topics(const struct topic_permissions *a, const struct topic_permissions *b)
{
    int order = strcmp(a->vhost, b->vhost);

    return order ? order : strcmp(a->exchange, b->exchange);
}

static void remove_permissions(struct account *account, struct permissions *permissions)
{
    HASH_DEL(account->permissions, permissions);
    permissions_free(permissions);
}

static void remove_topic(struct account *account, struct topic_permissions *topic)
{
    HASH_DEL(account->topics, topic);
    topic_permissions_free(topic);
}

void account_clear_rows(struct account *account)
{
    struct permissions *permissions, *next_permissions;
    struct topic_permissions *topic, *next_topic;

    HASH_ITER(hh, account->permissions, permissions, next_permissions)
        remove_permissions(account, permissions);
    HASH_ITER(hh, account->topics, topic, next_topic)
        remove_topic(account, topic);
}

static void swap_patterns(struct pattern a[PERMISSION_COUNT], struct pattern b[PERMISSION_COUNT])
{
    for (size_t i = 0; i < PERMISSION_COUNT; i++) {
        struct pattern pattern = a[i];

        a[i] = b[i];
        b[i] = pattern;
    }
}

int auth_put_permissions(struct auth *auth, const char *user, const char *vhost,
                         const char *configure, const char *write, const char *read,
                         char *error_text, size_t error_text_size)
{
    const char *texts[PERMISSION_COUNT] = { configure, write, read };
    struct account *account = account_find(auth, amqp_str_from(user));
    OWNED(permissions_free) struct permissions *fresh = NULL;
    struct permissions *old;

    if (!account)
        return -ENOENT;
    fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return -ENOMEM;
    fresh->matcher = auth->matcher;
    fresh->vhost = strdup(vhost);
    if (!fresh->vhost)
        return -ENOMEM;
    for (enum permission what = 0; what < PERMISSION_COUNT; what++) {
        int rc = pattern_init(&fresh->patterns[what], auth->matcher, texts[what], texts[what], what,
                              (struct pattern_error){ error_text, error_text_size });
        if (rc)
            return rc;
    }
    HASH_FIND_STR(account->permissions, vhost, old);
    if (old) {
        swap_patterns(old->patterns, fresh->patterns);
    } else {
        HASH_ADD_KEYPTR_INORDER(hh, account->permissions, fresh->vhost, strlen(fresh->vhost), fresh,
                                compare_permissions);
        if (!fresh->hh.tbl)
            return -ENOMEM;
        (void)TAKE(fresh); /* the table owns it */
    }
    auth->generation++;
    return 0;
}

int auth_delete_permissions(struct auth *auth, const char *user, const char *vhost)
{
    struct account *account = account_find(auth, amqp_str_from(user));
    struct permissions *permissions;

    if (!account)
        return -ENOENT;
    HASH_FIND_STR(account->permissions, vhost, permissions);
    if (!permissions)
        return -ENOENT;
    remove_permissions(account, permissions);
    auth->generation++;
    return 0;
}

void auth_delete_vhost(struct auth *auth, const char *vhost)
{
    struct account *account, *next_account;

    HASH_ITER(hh, auth->accounts, account, next_account) {
        struct topic_permissions *topic, *next_topic;
        struct permissions *permissions;

        HASH_FIND_STR(account->permissions, vhost, permissions);
        if (permissions)
            remove_permissions(account, permissions);
        HASH_ITER(hh, account->topics, topic, next_topic)
            if (strcmp(topic->vhost, vhost) == 0)
                remove_topic(account, topic);
    }
    auth->generation++;
}

const struct permissions *auth_find_permissions(const struct auth *auth, const char *user,
                                                const char *vhost)
{
    struct account *account = account_find(auth, amqp_str_from(user));
    struct permissions *permissions = NULL;

    if (account)
        HASH_FIND_STR(account->permissions, vhost, permissions);
    return permissions;
}

const char *permissions_pattern(const struct permissions *permissions, enum permission what)
{
    return permissions->patterns[what].text;
}

bool permissions_allow(const struct permissions *permissions, enum permission what,
                       struct amqp_str name)
{
    return pattern_matches(&permissions->patterns[what], permissions->matcher, name);
}

/* Appends `value` with a backslash before everything that a regular expression could mean. */
static char *append_quoted(char *at, const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        bool plain = c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                     (c >= 'a' && c <= 'z');

        if (!plain)
            *at++ = '\\';
        *at++ = *value;
    }
    return at;
}

/* A copy of `text` with {username} and {vhost} replaced, quoted; NULL without memory. */
static char *expand_variables(const char *text, const char *user, const char *vhost)
{
    const struct {
        const char *name;
        const char *value;
    } variables[] = { { "{username}", user }, { "{vhost}", vhost } };
    size_t longest = strlen(user) > strlen(vhost) ? strlen(user) : strlen(vhost);
    size_t text_size = strlen(text);
    /* The shortest variable has 7 characters, so there are at most text_size / 7 of them. */
    char *out = malloc(text_size + text_size / strlen("{vhost}") * 2 * longest + 1);
    char *at = out;

    if (!out)
        return NULL;
    while (*text) {
        size_t i;

        for (i = 0; i < N_ELEMENTS(variables); i++)
            if (strncmp(text, variables[i].name, strlen(variables[i].name)) == 0)
                break;
        if (i == N_ELEMENTS(variables)) {
            *at++ = *text++;
            continue;
        }
        at = append_quoted(at, variables[i].value);
        text += strlen(variables[i].name);
    }
    *at = '\0';
    return out;
}

/*
 * Writes the key of a topic row, "vhost NUL exchange". Returns its size, or 0 when it does not fit:
 * no row has such a key.
 */
static size_t topic_key(const char *vhost, struct amqp_str exchange, char key[TOPIC_KEY_MAX_BYTES])
{
    size_t vhost_size = strlen(vhost) + 1;

    if (vhost_size > TOPIC_KEY_MAX_BYTES || exchange.size > TOPIC_KEY_MAX_BYTES - vhost_size)
        return 0;
    memcpy(key, vhost, vhost_size);
    if (exchange.size)
        memcpy(key + vhost_size, exchange.data, exchange.size);
    return vhost_size + exchange.size;
}

static struct topic_permissions *find_topic(const struct account *account, const char *vhost,
                                            struct amqp_str exchange)
{
    char key[TOPIC_KEY_MAX_BYTES];
    struct topic_permissions *topic = NULL;
    size_t size;

    if (!account || !account->topics)
        return NULL;
    size = topic_key(vhost, exchange, key);
    if (size)
        HASH_FIND(hh, account->topics, key, size, topic);
    return topic;
}

/* A row with its two patterns compiled, not in any table yet. */
static int new_topic(const struct auth *auth, const struct account *account, const char *vhost,
                     const char *exchange, const char *const texts[PERMISSION_COUNT],
                     struct pattern_error error, struct topic_permissions **ret_topic)
{
    OWNED(topic_permissions_free) struct topic_permissions *topic = calloc(1, sizeof *topic);
    size_t vhost_size = strlen(vhost) + 1;
    size_t exchange_size = strlen(exchange) + 1;

    if (!topic)
        return -ENOMEM;
    topic->vhost = malloc(vhost_size + exchange_size);
    if (!topic->vhost)
        return -ENOMEM;
    memcpy(topic->vhost, vhost, vhost_size);
    memcpy(topic->vhost + vhost_size, exchange, exchange_size);
    topic->exchange = topic->vhost + vhost_size;
    for (enum permission what = 0; what < PERMISSION_COUNT; what++) {
        OWNED(text_free) char *regex = expand_variables(texts[what], account->user.name, vhost);
        int rc;

        if (!regex)
            return -ENOMEM;
        rc = pattern_init(&topic->patterns[what], auth->matcher, texts[what], regex, what, error);
        if (rc)
            return rc;
    }
    *ret_topic = TAKE(topic);
    return 0;
}

int auth_put_topic_permissions(struct auth *auth, const char *user, const char *vhost,
                               const char *exchange, const char *write, const char *read,
                               char *error_text, size_t error_text_size)
{
    const char *texts[PERMISSION_COUNT] = { "", write, read };
    struct pattern_error error = { error_text, error_text_size };
    struct account *account = account_find(auth, amqp_str_from(user));
    OWNED(topic_permissions_free) struct topic_permissions *fresh = NULL;
    struct topic_permissions *old;
    char key[TOPIC_KEY_MAX_BYTES];
    size_t key_size = topic_key(vhost, amqp_str_from(exchange), key);
    int rc;

    if (!account)
        return -ENOENT;
    if (!key_size) {
        (void)snprintf(error_text, error_text_size, "the names of vhost and exchange are too long");
        return -EINVAL;
    }
    rc = new_topic(auth, account, vhost, exchange, texts, error, &fresh);
    if (rc)
        return rc;
    old = find_topic(account, vhost, amqp_str_from(exchange));
    if (old) {
        swap_patterns(old->patterns, fresh->patterns);
    } else {
        HASH_ADD_KEYPTR_INORDER(hh, account->topics, fresh->vhost, key_size, fresh, compare_topics);
        if (!fresh->hh.tbl)
            return -ENOMEM;
        (void)TAKE(fresh); /* the table owns it */
    }
    auth->generation++;
    return 0;
}

int auth_delete_topic_permissions(struct auth *auth, const char *user, const char *vhost,
                                  const char *exchange)
{
    struct account *account = account_find(auth, amqp_str_from(user));
    struct topic_permissions *topic = find_topic(account, vhost, amqp_str_from(exchange));

    if (!topic)
        return -ENOENT;
    remove_topic(account, topic);
    auth->generation++;
    return 0;
}

bool auth_topic_allows(const struct auth *auth, const char *user, const char *vhost,
                       struct amqp_str exchange, enum permission what, struct amqp_str routing_key)
{
    const struct account *account = account_find(auth, amqp_str_from(user));
    const struct topic_permissions *topic = find_topic(account, vhost, exchange);

    assert(what != PERMISSION_CONFIGURE);
    return !topic || pattern_matches(&topic->patterns[what], auth->matcher, routing_key);
}

void auth_each_permissions(const struct auth *auth,
                           void (*visit)(void *context, const char *user, const char *vhost,
                                         const struct permissions *permissions),
                           void *context)
{
    struct account *account, *next_account;
    struct permissions *row, *next_row;

    HASH_ITER(hh, auth->accounts, account, next_account)
        HASH_ITER(hh, account->permissions, row, next_row)
            visit(context, account->user.name, row->vhost, row);
}

void auth_each_topic_permissions(const struct auth *auth,
                                 void (*visit)(void *context, const char *user, const char *vhost,
                                               const char *exchange, const char *write,
                                               const char *read),
                                 void *context)
{
    struct account *account, *next_account;
    struct topic_permissions *row, *next_row;

    HASH_ITER(hh, auth->accounts, account, next_account)
        HASH_ITER(hh, account->topics, row, next_row)
            visit(context, account->user.name, row->vhost, row->exchange,
                  row->patterns[PERMISSION_WRITE].text, row->patterns[PERMISSION_READ].text);
}

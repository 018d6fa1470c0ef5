/*
 * auth-internal.h - what the files of src/auth/ share
 *
 * An account is a user and its rows: permissions by vhost, topic permissions by vhost and exchange.
 * Every table is kept in name order at insertion, so that visiting needs no memory. uthash reports
 * a failed allocation by leaving `hh.tbl` NULL in the element that was to be added.
 */
#ifndef AUTH_AUTH_INTERNAL_H
#define AUTH_AUTH_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

#include "auth/auth.h"
#include "auth/pattern.h"

#define PERMISSION_COUNT (PERMISSION_READ + 1)

struct topic_permissions; /* one row: vhost, exchange, two patterns */

struct account {
    struct user user;
    struct permissions *permissions;  /* keyed by vhost */
    struct topic_permissions *topics; /* keyed by vhost, NUL, exchange */
    UT_hash_handle hh;
};

struct auth {
    struct account *accounts; /* keyed by user name */
    uint64_t generation;
    struct matcher *matcher;
};

/** account_find() - by a name that may hold any octets; NULL if there is none */
struct account *account_find(const struct auth *auth, struct amqp_str name);

/** struct pattern_error - where a message about a bad pattern goes */
struct pattern_error {
    char *text;
    size_t size;
};

/**
 * pattern_init() - compile the pattern of a permission: an empty one matches only the empty name
 * @text:   what pattern->text remembers
 * @regex:  what is compiled: the text, perhaps with its variables replaced
 * @what:   named in the message
 *
 * Return: 0; -EINVAL with a message; -ENOMEM. On failure the pattern is untouched.
 */
int pattern_init(struct pattern *pattern, const struct matcher *matcher, const char *text,
                 const char *regex, enum permission what, struct pattern_error error);

/** account_clear_rows() - free all permissions and topic permissions of an account */
void account_clear_rows(struct account *account);

enum { PASSWORD_SALT_BYTES = 4 };

/**
 * password_hash_decode() - the octets of a stored hash
 * @ret: room for 4 octets of salt and 64 of digest; written on success only
 *
 * Return: 0; -EINVAL if it is not base64 or not of the length that @hashing makes.
 */
int password_hash_decode(enum auth_hashing hashing, const char *hash,
                         uint8_t ret[PASSWORD_SALT_BYTES + 64]);

#endif

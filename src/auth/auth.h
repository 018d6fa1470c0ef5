/*
 * auth.h - who may log in, and what they may touch
 *
 * Users with RabbitMQ's salted password hashes, their tags and limits, and permissions: three
 * regular expressions for a user and vhost (PCRE2, searched, not anchored; an empty one matches
 * only the empty name). Decisions only: nothing here does I/O or knows connections. Every change
 * raises auth_generation(), so that callers may cache answers until it moves.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "amqp/base.h"
#include "amqp/reply.h"

struct auth;
struct matcher; /* pattern.h */

enum auth_hashing {
    AUTH_HASHING_SHA256, /* rabbit_password_hashing_sha256 */
    AUTH_HASHING_SHA512,
    AUTH_HASHING_MD5,    /* of files of RabbitMQ before 3.6; verified, never made */
};

enum permission {
    PERMISSION_CONFIGURE,
    PERMISSION_WRITE,
    PERMISSION_READ,
};

/** struct user - borrowed from its auth until the user is deleted; strings end in NUL */
struct user {
    char *name;
    enum auth_hashing hashing;
    char *password_hash;   /* base64 of salt and digest; "" when the user cannot log in */
    char *tags;            /* comma separated, as RabbitMQ writes them */
    int64_t max_connections; /* -1 for no limit */
    int64_t max_channels;
    unsigned connections;    /* counted by the broker */
    unsigned channels;
};

/** struct permissions - what a user may do in a vhost, compiled; borrowed until it is deleted */
struct permissions;

struct auth *auth_new(void);
void auth_free(struct auth *auth);
uint64_t auth_generation(const struct auth *auth);
/** auth_matcher() - what its patterns are searched for with, lent to others of the same thread */
const struct matcher *auth_matcher(const struct auth *auth);

/**
 * auth_put_user() - add a user or replace its hash and tags (its permissions stay)
 * @hash: base64 of 4 octets of salt and the digest; "" for a user without password
 *
 * Return: 0; -EINVAL for a hash of the wrong length or not base64; -ENOMEM.
 */
int auth_put_user(struct auth *auth, const char *name, enum auth_hashing hashing,
                  const char *hash, const char *tags);
/**
 * auth_hash_password() - the hash of a password with a new random salt, for auth_put_user()
 * @hashing: SHA-256 or SHA-512
 *
 * Return: base64, to be freed; NULL without memory or randomness.
 */
char *auth_hash_password(enum auth_hashing hashing, struct amqp_bytes password);
int auth_delete_user(struct auth *auth, const char *name); /* -ENOENT */
struct user *auth_find_user(struct auth *auth, const char *name); /* NULL if there is none */
bool user_has_tag(const struct user *user, const char *tag);

/**
 * auth_check_password() - whether it is the user's password, in constant time
 * @user: NULL for a name that nobody has: costs the same, and is never passed
 *
 * A blank password, or a user without hash, never passes.
 */
bool auth_check_password(const struct user *user, struct amqp_bytes password);

/**
 * auth_put_permissions() - set a user's three patterns for a vhost
 * @error_text: on -EINVAL receives PCRE2's message and which pattern
 *
 * Return: 0; -ENOENT for an unknown user; -EINVAL; -ENOMEM. Vhosts are not checked here.
 */
int auth_put_permissions(struct auth *auth, const char *user, const char *vhost,
                         const char *configure, const char *write, const char *read,
                         char *error_text, size_t error_text_size);
int auth_delete_permissions(struct auth *auth, const char *user, const char *vhost); /* -ENOENT */
/** auth_delete_vhost() - delete every row, topic permissions too, that names the vhost */
void auth_delete_vhost(struct auth *auth, const char *vhost);
const struct permissions *auth_find_permissions(const struct auth *auth, const char *user,
                                                const char *vhost); /* NULL: no access */

/** permissions_pattern() - the pattern as it was set */
const char *permissions_pattern(const struct permissions *permissions, enum permission what);

/** permissions_allow() - whether a resource name matches; the default exchange is "amq.default" */
bool permissions_allow(const struct permissions *permissions, enum permission what,
                       struct amqp_str name);

/**
 * auth_put_topic_permissions() - set a user's patterns for routing keys of one topic exchange
 * @write, @read: {username} and {vhost} stand for the user's and vhost's names, taken literally
 *
 * Return: as auth_put_permissions(); -EINVAL also for names of more than 1 KiB together.
 */
int auth_put_topic_permissions(struct auth *auth, const char *user, const char *vhost,
                               const char *exchange, const char *write, const char *read,
                               char *error_text, size_t error_text_size);
int auth_delete_topic_permissions(struct auth *auth, const char *user, const char *vhost,
                                  const char *exchange);
/**
 * auth_topic_allows() - whether a routing key may be used; yes where no row was set
 * @what:  PERMISSION_WRITE to publish, PERMISSION_READ to bind and unbind
 */
bool auth_topic_allows(const struct auth *auth, const char *user, const char *vhost,
                       struct amqp_str exchange, enum permission what,
                       struct amqp_str routing_key);

/** auth_each_...() - visit in the order of names; what is visited is borrowed, and not changed */
void auth_each_user(const struct auth *auth,
                    void (*visit)(void *context, const struct user *user), void *context);
void auth_each_permissions(const struct auth *auth,
                           void (*visit)(void *context, const char *user, const char *vhost,
                                         const struct permissions *permissions),
                           void *context);
void auth_each_topic_permissions(const struct auth *auth,
                                 void (*visit)(void *context, const char *user, const char *vhost,
                                               const char *exchange, const char *write,
                                               const char *read),
                                 void *context);

#endif

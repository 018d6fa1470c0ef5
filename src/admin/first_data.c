/*
 * first_data.c - see first_data.h
 */
#include "admin/first_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "broker/broker.h"
#include "broker/vhost.h"
#include "server/config.h"

static int fail(const struct first_data *data, int rc)
{
    snprintf(data->error_text, data->error_text_size, "default user and vhost: %s", strerror(-rc));
    return rc;
}

/* --- definitions --- */

static struct definitions_request request_of(const struct first_data *data)
{
    return (struct definitions_request){
        .broker = data->broker,
        .vhost = data->config->definitions_vhost,
        .skip_unsupported = data->config->definitions_skip_unsupported,
        .error_text = data->error_text,
        .error_text_size = data->error_text_size,
    };
}

int first_data_import(const struct first_data *data)
{
    const struct definitions_request request = request_of(data);

    return data->definitions_path ? definitions_import_file(&request, data->definitions_path) : 0;
}

int first_data_check(const struct first_data *data)
{
    struct definitions_request request = request_of(data);

    request.check_only = true;
    return data->definitions_path ? definitions_import_file(&request, data->definitions_path) : 0;
}

/* --- the default user --- */

/* default_user_tags as users have them: "administrator,monitoring". NULL on allocation failure. */
static char *join_names(const struct config_names *names)
{
    size_t size = 1;
    char *joined, *at;

    for (size_t i = 0; i < names->count; i++)
        size += strlen(names->names[i]) + 1;
    joined = malloc(size);
    if (!joined)
        return NULL;
    *joined = '\0';
    at = joined;
    for (size_t i = 0; i < names->count; i++)
        at += sprintf(at, "%s%s", i ? "," : "", names->names[i]);
    return joined;
}

static struct amqp_bytes default_password(const struct first_data *data)
{
    return (struct amqp_bytes){ (const uint8_t *)data->config->default_pass,
                                strlen(data->config->default_pass) };
}

static int put_user(const struct first_data *data)
{
    enum auth_hashing hashing = data->broker->settings.password_hashing;
    char *hash = auth_hash_password(hashing, default_password(data));
    char *tags = join_names(&data->config->default_tags);
    int rc = -ENOMEM;

    if (hash && tags)
        rc = broker_put_user(data->broker, data->config->default_user, hashing, hash, tags, -1, -1);
    free(hash);
    free(tags);
    return rc;
}

static int put_vhost(const struct first_data *data)
{
    struct amqp_str name = amqp_str_from(data->config->default_vhost);
    struct vhost *vhost;

    if (broker_find_vhost(data->broker, name))
        return 0;
    return broker_put_vhost(data->broker, name, (struct amqp_table){ 0 }, &vhost);
}

static int put_permissions(const struct first_data *data, const char *vhost)
{
    const struct config *config = data->config;
    int rc = broker_put_permissions(data->broker, config->default_user, vhost,
                                    config->default_configure, config->default_write,
                                    config->default_read, data->error_text,
                                    data->error_text_size);

    if (rc)
        return *data->error_text ? rc : fail(data, rc);
    broker_log(data->broker, BROKER_LOG_INFO,
               "the new data directory has the user '%s' for vhost '%s'%s", config->default_user,
               vhost, data->definitions_path ? ": there is no user in the definitions" : "");
    return 0;
}

/* One user that may do everything in the default vhost, and in those that definitions have made. */
static int put_defaults(const struct first_data *data)
{
    struct vhost *vhost, *next;
    int rc = put_vhost(data);

    if (!rc)
        rc = put_user(data);
    if (rc)
        return fail(data, rc);
    HASH_ITER(by_name, data->broker->vhosts, vhost, next) {
        rc = put_permissions(data, vhost->name);
        if (rc)
            return rc;
    }
    return 0;
}

/* An operator who sets default_user expects that user to be there. */
static void report_unused(const struct first_data *data)
{
    const struct config *config = data->config;
    const struct user *user = auth_find_user(data->broker->auth, config->default_user);
    bool is_set = strcmp(config->default_user, "guest") != 0 ||
                  strcmp(config->default_pass, "guest") != 0;

    if (!is_set || (user && auth_check_password(user, default_password(data))))
        return;
    broker_log(data->broker, BROKER_LOG_WARNING,
               "default_user and default_pass have no effect: this data directory has been used "
               "before, and user '%s' %s; users are changed with a definitions file",
               config->default_user, user ? "has another password" : "is not in it");
}

int first_data_put(const struct first_data *data)
{
    bool blank = broker_is_blank(data->broker);
    int rc;

    *data->error_text = '\0';
    rc = first_data_import(data);
    if (rc)
        return rc;
    if (data->definitions_path)
        broker_log(data->broker, BROKER_LOG_INFO, "definitions were imported from %s",
                   data->definitions_path);
    if (blank && !broker_has_users(data->broker))
        return put_defaults(data);
    if (!blank)
        report_unused(data);
    return 0;
}

/*
 * vhost_limits.h - how many connections, queues, exchanges and vhosts there may be
 *
 * A vhost has limits of its own, set by the parameter vhost-limits/limits; the configuration may
 * limit the whole broker. A limit says nothing about what is there already.
 *
 * Spec: extensions.md 1.1 step 13, 4.10.
 */
#ifndef BROKER_VHOST_LIMITS_H
#define BROKER_VHOST_LIMITS_H

#include <jansson.h>

#include "amqp/reply.h"
#include "amqp/text.h"
#include "broker/vhost.h"

struct vhost_limits {
    int64_t max_connections, max_queues; /* negative: no limit */
};

/**
 * vhost_limits_parse() - the value of the parameter
 * @problems: what is wrong, one line each, in RabbitMQ's words
 *
 * Return: 0; -EINVAL.
 */
int vhost_limits_parse(const char *name, const json_t *value, struct amqp_text *problems,
                       struct vhost_limits *ret_limits);

/** vhost_check_queue_limit() - 406 when one queue more is too many, for the vhost or the broker */
int vhost_check_queue_limit(const struct vhost *vhost, struct amqp_str queue_name,
                            struct amqp_error *err);

/** vhost_check_exchange_limit() - 406 when one exchange more is too many for the broker */
int vhost_check_exchange_limit(const struct vhost *vhost, struct amqp_str exchange_name,
                               struct amqp_error *err);

/** broker_check_binding_limit() - 406 when one binding more is too many for the broker */
int broker_check_binding_limit(const struct broker *broker, const struct binding_request *request,
                               struct amqp_error *err);

/** vhost_check_connection_limit() - 530 when one connection more is too many for the vhost */
int vhost_check_connection_limit(const struct vhost *vhost, const char *user,
                                 struct amqp_error *err);

/** broker_check_connection_limit() - 530 when there are more connections than the node may have;
 *                                    the one that asks is counted */
int broker_check_connection_limit(const struct broker *broker, struct amqp_error *err);

/** broker_check_channel_limit() - 530 when one channel more is too many for the node */
int broker_check_channel_limit(const struct broker *broker, struct amqp_error *err);

/** broker_check_vhost_limit() - -EDQUOT, with a text, when one vhost more is too many */
int broker_check_vhost_limit(const struct broker *broker, struct amqp_str name, char *error_text,
                             size_t error_text_size);

#endif

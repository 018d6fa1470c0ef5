/*
 * queue_declare.c - is it the same queue, or a new one?
 */
#include "broker/connection-internal.h"
#include "broker/meta.h"
#include "broker/queue-internal.h"
#include "broker/queue_arguments.h"
#include "broker/vhost.h"

int queue_raise_locked(const struct queue *queue, struct amqp_error *err)
{
    return amqp_raise(err, AMQP_RESOURCE_LOCKED,
                      "cannot obtain exclusive access to locked queue '%.*s' in vhost '%s'. It "
                      "could be originally declared on another connection or the exclusive "
                      "property value does not match that of the original declaration.",
                      AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name);
}

static int check_flag(const struct queue *queue, const char *name, bool received, bool current,
                      struct amqp_error *err)
{
    if (received == current)
        return 0;
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "inequivalent arg '%s' for queue '%.*s' in vhost '%s': received '%s' but "
                      "current is '%s'",
                      name, AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name,
                      received ? "true" : "false", current ? "true" : "false");
}

/* Exclusivity first, then durable, auto_delete, arguments (6.5.2). */
static int check_equivalence(struct queue *queue, const struct queue_properties *properties,
                             struct amqp_error *err)
{
    bool durable = properties->durable && !properties->exclusive;
    int rc;

    if (queue->exclusive != properties->exclusive ||
        (queue->exclusive && queue_owner(queue) != properties->owner))
        return queue_raise_locked(queue, err);
    rc = check_flag(queue, "durable", durable, queue->durable, err);
    if (!rc)
        rc = check_flag(queue, "auto_delete", properties->auto_delete, queue->auto_delete, err);
    return rc ? rc : queue_arguments_compare(queue, properties->arguments, err);
}

int queue_declare(struct vhost *vhost, const struct queue_properties *properties,
                  struct amqp_error *err, struct queue **ret_queue)
{
    struct queue *queue = vhost_get_queue(vhost, properties->name);
    int rc;

    if (queue) {
        rc = check_equivalence(queue, properties, err);
        if (!rc) {
            queue_touch(queue);
            *ret_queue = queue;
        }
        return rc;
    }
    if (vhost_is_deleting_queue(vhost, properties->name))
        return amqp_raise(err, AMQP_RESOURCE_LOCKED, "queue '%.*s' in vhost '%s' is being deleted",
                          AMQP_STR_ARG(properties->name), vhost->name);
    rc = queue_arguments_check(vhost, properties, err);
    if (!rc)
        rc = queue_new(vhost, properties, &queue);
    if (rc)
        return rc;
    if (queue->durable) {
        rc = meta_put_queue(queue);
        if (rc) {
            queue_destroy(queue);
            return rc;
        }
    }
    *ret_queue = queue;
    return 0;
}

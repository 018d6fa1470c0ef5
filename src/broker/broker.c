/*
 * broker.c - the turn of the loop, and what the store has to say
 *
 * When to seal: at the end of a turn, when nothing is being synced, and somebody waits for the open
 * commit, or it has grown large, or it is SEAL_AGE_MS old. While a commit is being synced the open
 * one collects, so load makes commits larger, not slower.
 *
 * Gathering: publishers that keep a number of publishes unconfirmed would settle into halves, each
 * of which waits for the sync of the other: two syncs a publish. So when a commit is durable, the
 * next one is sealed only when as many publishes wait for it as did already and as have just been
 * confirmed, or when the first of them has waited for the time of one sync: waiting longer would
 * lose more than it wins. Often all come in one turn, and no timer is ever set.
 * Where less than half of those come, publishers have other things to do, and ever more commits go
 * without gathering before it is tried again.
 */
#include "broker/broker.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/consumer_timeout.h"
#include "broker/dead_letter.h"
#include "broker/policy.h"
#include "broker/queue.h"
#include "broker/task.h"

enum {
    SEAL_AGE_MS = 20,                   /* changes that nobody waits for */
    SEAL_BYTES = 256 * 1024,            /* do not collect more than this for want of a waiter */
    GATHER_US_MAX = 1000,               /* whatever a sync takes */
    GATHER_MS_MAX = 2,                  /* for callers without the finer clock */
    GATHER_RESTS_MAX = 64,
    POLICY_SLICE_QUEUES = 500,          /* looked at in one turn when policies have changed */
    RESUME_OPEN_BYTES = 8 * 1024 * 1024, /* publishers held back by the store go on below this */
};

int broker_new(const struct broker_settings *settings, struct broker **ret_broker)
{
    struct broker *broker = calloc(1, sizeof *broker);

    if (!broker)
        return -ENOMEM;
    broker->settings = *settings;
    broker->configured_cluster_name = settings->cluster_name;
    if (!settings->resident_messages_max)
        broker->settings.resident_messages_max = BOUND_RESIDENT_MESSAGES;
    if (!settings->resident_bytes_max)
        broker->settings.resident_bytes_max = BOUND_RESIDENT_BYTES;
    if (!settings->queue_memory_max)
        broker->settings.queue_memory_max = BOUND_QUEUE_MEMORY_BYTES;
    if (!settings->discards_max)
        broker->settings.discards_max = BOUND_DISCARDS;
    if (!settings->work_a_turn)
        broker->settings.work_a_turn = BOUND_WORK_A_TURN;
    task_begin_turn(broker);
    broker->hand_outs_left = BOUND_HAND_OUTS_A_TURN;
    deletion_init(broker);
    broker->topology_generation = 1;
    route_init(&broker->route);
    route_init(&broker->dead_letter_route);
    broker->consumer_look = 1;
    consumer_timeout_init(broker);
    broker->auth = auth_new();
    if (!broker->auth) {
        free(broker);
        return -ENOMEM;
    }
    *ret_broker = broker;
    return 0;
}

static struct queue *next_to_dispatch(struct broker *broker)
{
    struct queue *queue = broker->dispatch_first;

    if (!queue)
        return NULL;
    broker->dispatch_first = queue->dispatch_next;
    if (!broker->dispatch_first)
        broker->dispatch_last = NULL;
    queue->dispatching = false;
    return queue;
}

void broker_free(struct broker *broker)
{
    struct vhost *vhost, *next;
    struct queue *queue;

    deletion_stop(broker);
    task_finish_all(broker);
    while ((queue = next_to_dispatch(broker)))
        queue_unref(queue);
    queue_fetch_abandon_all(broker);
    dead_letter_release_all(broker);
    deletion_release_all(broker);
    HASH_ITER(by_name, broker->vhosts, vhost, next)
        vhost_free(vhost);
    broker_free_parameters(broker);
    route_release(&broker->route);
    route_release(&broker->dead_letter_route);
    timers_release(&broker->timers);
    auth_free(broker->auth);
    free(broker);
}

void broker_begin(struct broker *broker, uint64_t now_ms, uint64_t wall_ms)
{
    broker->turn++;
    broker->now_ms = now_ms;
    broker->wall_ms = wall_ms;
    broker->dead_letter_work = 0;
    broker->route.work = 0;
    broker->hand_outs_left = BOUND_HAND_OUTS_A_TURN;
    task_begin_turn(broker);
}

void broker_dispatch(struct broker *broker)
{
    struct queue *queue;

    broker_offer_rooms(broker);
    while (broker->hand_outs_left && (queue = next_to_dispatch(broker))) {
        if (!queue->destination.deleted)
            queue_dispatch(queue);
        queue_unref(queue);
    }
}

static void release_confirms(struct broker *broker)
{
    while (broker->confirm_first)
        channel_settle_confirms(broker->confirm_first);
}

/* Called when a commit is durable; the time of its sync is what waiting may cost. */
static void gather_begin(struct broker *broker)
{
    struct gather *gather = &broker->gather;
    uint32_t confirmed = gather->sealed_waits;
    struct store_stats stats;
    uint64_t sync_us;

    store_get_stats(broker->store, &stats);
    sync_us = stats.sync_us_total - gather->sync_us_total;
    gather->sync_us_total = stats.sync_us_total;
    gather->sealed_waits = 0;
    if (gather->rests) {
        gather->rests--;
        return;
    }
    if (confirmed == 0 || gather->open_waits + confirmed < 2 || sync_us == 0)
        return; /* nobody to wait for, or the first who comes is all */
    gather->sealed_waits = confirmed;
    gather->expected = gather->open_waits + confirmed;
    gather->limit_us = sync_us < GATHER_US_MAX ? (uint32_t)sync_us : GATHER_US_MAX;
    gather->since_ms = broker->now_ms;
}

void broker_gather_over(struct broker *broker)
{
    struct gather *gather = &broker->gather;

    if (!gather->expected)
        return;
    if (gather->open_waits + gather->sealed_waits / 2 < gather->expected) {
        gather->rests_next = gather->rests_next ? gather->rests_next * 2 : 1;
        if (gather->rests_next > GATHER_RESTS_MAX)
            gather->rests_next = GATHER_RESTS_MAX;
        gather->rests = gather->rests_next;
    } else {
        gather->rests_next = 0;
    }
    gather->expected = 0;
}

uint32_t broker_gather_us(const struct broker *broker)
{
    return broker->gather.expected && broker->gather.open_waits ? broker->gather.limit_us : 0;
}

/* Whether the open commit is to wait for more publishes. */
static bool is_gathering(struct broker *broker)
{
    struct gather *gather = &broker->gather;

    if (gather->expected && (gather->open_waits >= gather->expected ||
                             broker->now_ms - gather->since_ms >= GATHER_MS_MAX))
        broker_gather_over(broker);
    return gather->expected != 0;
}

static int seal_open(struct broker *broker)
{
    int rc = store_seal(broker->store);

    if (rc)
        return rc;
    broker->open_since_ms = 0;
    broker->commit_wanted = false;
    broker->gather.sealed_waits = broker->gather.open_waits;
    broker->gather.open_waits = 0;
    return 0;
}

/* Seals if it is time; returns how long until it may be, or -1. */
static int seal_if_due(struct broker *broker)
{
    size_t bytes = store_open_bytes(broker->store);
    uint64_t age;

    if (bytes == 0) {
        broker->open_since_ms = 0;
        broker->commit_wanted = false;
        return -1;
    }
    if (!broker->open_since_ms)
        broker->open_since_ms = broker->now_ms ? broker->now_ms : 1;
    if (store_in_flight(broker->store) || broker->seal_holds)
        return -1; /* its end begins the next turn, or the task that holds it is run there */
    age = broker->now_ms - broker->open_since_ms;
    if (!broker->commit_wanted && bytes < SEAL_BYTES && age < SEAL_AGE_MS)
        return (int)(SEAL_AGE_MS - age);
    if (is_gathering(broker))
        return GATHER_MS_MAX;
    return seal_open(broker) ? SEAL_AGE_MS : -1; /* without memory the commit stays open */
}

/* Milliseconds until the earliest deadline, or -1. */
static int until_next_timer(const struct broker *broker)
{
    uint64_t due_ms = timers_next(&broker->timers);

    if (due_ms == UINT64_MAX)
        return -1;
    if (due_ms <= broker->now_ms)
        return 0;
    return due_ms - broker->now_ms < INT_MAX ? (int)(due_ms - broker->now_ms) : INT_MAX;
}

static void resume_publishers(struct broker *broker)
{
    struct connection *connection;

    if (dead_letter_pending(broker) ||
        (broker->store && store_open_bytes(broker->store) > RESUME_OPEN_BYTES))
        return;
    broker->store_held_back = false;
    DL_FOREACH(broker->connections, connection)
        connection_resume(connection, CONNECTION_PAUSE_STORE);
}

int broker_end(struct broker *broker)
{
    int seal_ms, timer_ms;
    bool more;

    timers_run(&broker->timers, broker->now_ms);
    more = policy_apply_some(broker, POLICY_SLICE_QUEUES);
    if (!dead_letter_pending(broker)) /* a task could make more of them */
        task_run_some(broker);
    do {
        broker_dispatch(broker);
        dead_letter_run(broker);
    } while ((broker->dispatch_first || broker->offer_first) && broker->hand_outs_left);
    more = more || broker->dispatch_first || broker->offer_first || task_wants_turn(broker) ||
           dead_letter_pending(broker);
    if (broker->store_held_back)
        resume_publishers(broker);
    release_confirms(broker);
    seal_ms = broker->store ? seal_if_due(broker) : -1;
    timer_ms = more ? 0 : until_next_timer(broker);
    return seal_ms < 0 || (timer_ms >= 0 && timer_ms < seal_ms) ? timer_ms : seal_ms;
}

static void on_durable(void *context, uint64_t commit)
{
    struct broker *broker = context;
    struct channel *channel, *next;

    broker->durable_commit = commit;
    DL_FOREACH_SAFE2(broker->waiting_first, channel, next, waiting_next)
        channel_settle_confirms(channel);
    /* Those that still wait do so for the commit that is open now. */
    broker->commit_wanted = broker->waiting_first != NULL;
    gather_begin(broker);
    if (broker->store_held_back)
        resume_publishers(broker);
}

static void on_stalled(void *context, int error, const char *text)
{
    struct broker *broker = context;

    if (error)
        broker_log(broker, BROKER_LOG_ERROR,
                   "the store is out of order: %s. Publishers are blocked, and what cannot be "
                   "written is not confirmed, until it is well again.",
                   text);
    else
        broker_log(broker, BROKER_LOG_INFO, "the store is well again");
    broker_set_alarm(broker, BROKER_ALARM_STORE, error != 0);
}

static void on_read(void *context, void *request, int error, struct amqp_bytes message)
{
    (void)context;
    queue_fetched(request, error, message);
}

const struct store_events broker_store_events = {
    .durable = on_durable,
    .stalled = on_stalled,
    .read = on_read,
};

void broker_set_paging(struct broker *broker, bool low)
{
    broker->paging = low;
}

void broker_set_alarm(struct broker *broker, enum broker_alarm alarm, bool raised)
{
    unsigned before = broker->alarms;
    struct connection *connection;

    if (raised)
        broker->alarms |= alarm;
    else
        broker->alarms &= ~(unsigned)alarm;
    if (!before || broker->alarms)
        return;
    DL_FOREACH(broker->connections, connection) {
        if (connection->paused & CONNECTION_PAUSE_ALARM)
            connection_unblock(connection);
    }
}

struct vhost *broker_find_vhost(const struct broker *broker, struct amqp_str name)
{
    struct vhost *vhost;

    HASH_FIND(by_name, broker->vhosts, name.data, name.size, vhost);
    return vhost;
}

bool broker_is_blank(const struct broker *broker)
{
    return !broker->vhosts && !broker_has_users(broker);
}

void broker_log(const struct broker *broker, enum broker_log level, const char *format, ...)
{
    char text[BOUND_LOG_LINE_BYTES];
    va_list arguments;

    if (!broker->settings.log)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    broker->settings.log(broker->settings.log_context, (int)level, text);
}

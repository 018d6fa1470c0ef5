/*
 * world.c - opening, turning, crashing
 *
 * The store's events pass through here on their way to the broker: `durable` moves the journal on
 * before the broker can confirm anything.
 */
#include "world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/task.h"
#include "broker/connection-internal.h"
#include "client.h"
#include "store/backend_memory.h"
#include "watch.h"

enum { TURN_MS_MAX = 12, QUIET_MS = 25, QUIET_TURNS_MAX = 200 };

static void on_durable(void *context, uint64_t commit)
{
    struct sim *sim = context;

    sim->events++;
    sim->durable = commit;
    sim->late_writes = 0;
    history_add(&sim->history, "commit %llu is durable", (unsigned long long)commit);
    journal_apply(sim, commit);
    broker_store_events.durable(sim->broker, commit);
}

static void on_stalled(void *context, int error, const char *text)
{
    struct sim *sim = context;

    (void)text;
    sim->events++;
    sim->stalled = error != 0;
    if (error && sim->late_failures)
        sim->late_writes = 1;
    history_add(&sim->history, "the store %s", error ? "stalls" : "writes again");
    if (!error)
        for (unsigned i = 0; i < MODEL_CONNECTIONS; i++)
            sim->connections[i].published = false;
    broker_store_events.stalled(sim->broker, error, text);
}

static void on_read(void *context, void *request, int error, struct amqp_bytes message)
{
    struct sim *sim = context;

    sim->events++;
    broker_store_events.read(sim->broker, request, error, message);
}

static const struct store_events events = {
    .durable = on_durable,
    .stalled = on_stalled,
    .read = on_read,
};

static void log_line(void *context, int level, const char *text)
{
    struct sim *sim = context;

    if (sim->deaf)
        return;
    if (strstr(text, "cannot be read back"))
        history_fail(&sim->history, "%s", text); /* the imaginary disk loses nothing */
    if (level >= BROKER_LOG_WARNING && sim->history.verbose)
        printf("     log: %s\n", text);
}

/* A new database has nothing in it, not even a user. */
static void found(struct sim *sim)
{
    struct vhost *vhost;
    char text[256];
    int rc = broker_put_vhost(sim->broker, AMQP_STR("/"), (struct amqp_table){ NULL, 0 }, &vhost);

    if (!rc)
        rc = broker_put_user(sim->broker, "guest", AUTH_HASHING_SHA256, sim->password_hash,
                             "administrator", -1, -1);
    if (!rc)
        rc = broker_put_permissions(sim->broker, "guest", "/", ".*", ".*", ".*", text, sizeof text);
    if (rc)
        history_fail(&sim->history, "founding the broker: error %d", -rc);
}

static void open_broker(struct sim *sim)
{
    struct broker_settings settings = { .product = "RabbitMQ",
                                        .version = "3.13.7",
                                        .cluster_name = "sim",
                                        .node_name = "sim",
                                        .channel_max = 2047,
                                        .frame_max = 131072,
                                        .heartbeat_s = 60,
                                        .handshake_frame_bytes = BOUND_HANDSHAKE_FRAME_BYTES,
                                        .message_bytes_max = 1 << 20,
                                        .resident_messages_max = sim->resident_messages,
                                        .discards_max = sim->discards,
                                        .resident_bytes_max = sim->resident_bytes,
                                        .work_a_turn = sim->work,
                                        .queue_memory_max = sim->queue_memory,
                                        .log = log_line,
                                        .log_context = sim };
    struct store_options options = store_options_default();
    char text[256] = "";
    int rc;

    options.record_bytes = 2048; /* so that a commit has several records */
    rc = broker_new(&settings, &sim->broker);
    if (!rc)
        rc = store_open_memory(sim->disk, &options, &events, sim, &sim->store);
    broker_begin(sim->broker, sim->clock_ms, sim_wall_ms(sim)); /* recovery happens at a time */
    sim->recovers = true;
    if (!rc)
        rc = broker_attach_store(sim->broker, sim->store, text, sizeof text);
    sim->recovers = false;
    if (rc)
        history_fail(&sim->history, "the broker does not start: error %d: %s", -rc, text);
    sim->durable = 0;
    sim->late_writes = 0;
    sim->stalled = sim->held = sim->in_turn = sim->large = false;
    if (broker_is_blank(sim->broker))
        found(sim);
    broker_set_paging(sim->broker, sim->paging);
    world_turn(sim);
}

/*
 * What does not fit into a turn goes on in the next (task.h). The model knows of no slices, so they
 * all come here, one after another, before anything else does.
 */
void world_work(struct sim *sim)
{
    while (sim->broker->tasks) {
        sim->broker->work_left = sim->work;
        task_run_some(sim->broker);
    }
}

void world_begin(struct sim *sim)
{
    sim->disk = store_disk_new();
    assert(sim->disk);
    sim->clock_ms = 1000;
    watch_begin(sim);
    open_broker(sim);
}

/* Frees connections and broker without anybody listening; the store is left. */
static void drop_broker(struct sim *sim)
{
    sim->deaf = true;
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++)
        if (sim->connections[i].real)
            connection_free(sim->connections[i].real);
    broker_free(sim->broker);
    sim->broker = NULL;
    sim->deaf = false;
}

void world_end(struct sim *sim)
{
    drop_broker(sim);
    watch_begin(NULL);
    store_crash(sim->store, 0);
    store_disk_free(sim->disk);
}

static void end_turn(struct sim *sim)
{
    sim->large = sim->large && store_open_bytes(sim->store) > MODEL_LARGE_BYTES;
    model_expire_queues(sim);
    model_apply_to_exchanges(sim);
    (void)broker_end(sim->broker);
    world_work(sim);
    accept_turn_end(sim);
}

/* The next turn begins @ms later. */
static void turn_after(struct sim *sim, unsigned ms)
{
    if (sim->in_turn)
        end_turn(sim);
    sim->clock_ms += ms;
    broker_begin(sim->broker, sim->clock_ms, sim_wall_ms(sim));
    sim->turn++;
    sim->in_turn = true;
}

void world_flush_confirms(const struct m_channel *channel)
{
    struct channel *real;

    HASH_FIND(by_number, channel->connection->real->channels, &channel->number,
              sizeof channel->number, real);
    if (real)
        channel_settle_confirms(real);
}

void world_turn(struct sim *sim)
{
    turn_after(sim, random_below(&sim->random, TURN_MS_MAX));
}

void world_wait(struct sim *sim, unsigned ms)
{
    history_add(&sim->history, "%u ms pass", ms);
    turn_after(sim, ms);
}

void world_poll(struct sim *sim)
{
    sim->polls++;
    store_poll(sim->store);
    accept_end(sim);
}

void world_fail(struct sim *sim, unsigned writes, int error, bool late)
{
    sim->late_failures = late;
    if (late)
        store_disk_fail_late(sim->disk, 0, writes, error);
    else
        store_disk_fail(sim->disk, 0, writes, error);
    if (writes)
        history_add(&sim->history, "the next %u writes fail%s", writes, late ? " late" : "");
}

void world_hold(struct sim *sim, bool hold)
{
    history_add(&sim->history, hold ? "the disk is slow" : "the disk is quick");
    sim->held = hold;
    store_memory_hold(sim->store, hold);
}

void world_quiet(struct sim *sim)
{
    unsigned long before;
    unsigned turns = 0;

    history_add(&sim->history, "until it is quiet:");
    world_fail(sim, 0, 0, false);
    world_hold(sim, false);
    do {
        if (++turns > QUIET_TURNS_MAX)
            history_fail(&sim->history, "it never gets quiet");
        before = sim->events;
        turn_after(sim, QUIET_MS);
        world_poll(sim);
        world_turn(sim);
    } while (sim->events != before || store_in_flight(sim->store));
    accept_quiet(sim);
}

void world_crash(struct sim *sim)
{
    unsigned in_flight = store_in_flight(sim->store);
    unsigned keep = random_below(&sim->random, 3);
    uint64_t last = sim->durable;
    unsigned reached;

    if (random_percent(&sim->random, 50)) { /* in the middle of a turn, or behind its end */
        end_turn(sim);
        in_flight = store_in_flight(sim->store);
    }
    world_fail(sim, 0, 0, false);
    reached = keep < in_flight ? keep : in_flight;
    if (reached < sim->late_writes)
        reached = sim->late_writes;
    last += reached;
    history_add(&sim->history, "CRASH: what is on the disk ends with commit %llu",
                (unsigned long long)last);
    journal_apply(sim, last);
    journal_forget(sim);
    drop_broker(sim);
    store_crash(sim->store, keep);
    model_rebuild(sim);
    open_broker(sim);
}

void world_restart(struct sim *sim)
{
    static const struct amqp_connection_close forced = {
        .id = AMQP_ID_connection_close,
        .reply_code = 320,
        .reply_text = { "CONNECTION_FORCED - stop", 24 },
    };
    int rc;

    world_fail(sim, 0, 0, false);
    history_add(&sim->history, "RESTART");
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++) {
        struct m_connection *connection = &sim->connections[i];

        if (connection->state == CONNECTION_IS_OPEN) {
            expect_on_connection(sim, connection, &forced);
            model_close_connection(sim, connection);
            connection_force_close(connection->real, 320, "stop");
            world_work(sim);
            accept_end(sim);
        }
        if (connection->real)
            client_drop(sim, connection);
    }
    world_turn(sim);
    journal_apply(sim, UINT64_MAX);
    drop_broker(sim);
    rc = store_close(sim->store);
    if (rc)
        history_fail(&sim->history, "the store does not close: error %d", -rc);
    model_rebuild(sim);
    open_broker(sim);
}

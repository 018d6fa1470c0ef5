/*
 * ops.c - the table of operations, the choices they make, and what befalls connections and machine
 */
#include "ops.h"

#include <assert.h>
#include <errno.h>
#include <utlist.h>

/* ---- choices ---- */

struct m_channel *pick_channel(struct sim *sim)
{
    unsigned from = random_below(&sim->random, MODEL_CONNECTIONS * MODEL_CHANNELS);

    for (unsigned i = 0; i < MODEL_CONNECTIONS * MODEL_CHANNELS; i++) {
        unsigned at = (from + i * 5) % (MODEL_CONNECTIONS * MODEL_CHANNELS);
        struct m_connection *connection = &sim->connections[at / MODEL_CHANNELS];
        struct m_channel *channel = &connection->channels[at % MODEL_CHANNELS];

        if (connection->state == CONNECTION_IS_OPEN && !connection->paused &&
            channel->state == CHANNEL_IS_OPEN && !channel->content.message && !channel->n_commits)
            return channel;
    }
    return NULL;
}

struct amqp_str pick_new_queue_name(struct sim *sim)
{
    static const struct amqp_str names[] = { AMQP_STR("qa"), AMQP_STR("qb"), AMQP_STR("qc"),
                                             AMQP_STR("qd"), AMQP_STR("qe"), AMQP_STR("qf") };

    return names[random_below(&sim->random, N_ELEMENTS(names))];
}

void pick_queue_name(struct sim *sim, const struct m_channel *channel, bool or_last,
                     char out[MODEL_NAME_BYTES])
{
    struct m_queue *queue;
    unsigned seen = 0;

    if (or_last && (channel->last_queue[0] ? chance(sim, 10) : mistaken(sim))) {
        out[0] = '\0';
        return;
    }
    sim_copy(sim, out, pick_new_queue_name(sim));
    if (mistaken(sim))
        return;
    DL_FOREACH(sim->queues, queue) { /* each with the same chance */
        if (queue->exclusive && queue->owner != channel->connection)
            continue;
        if (random_below(&sim->random, ++seen) == 0)
            memcpy(out, queue->name, MODEL_NAME_BYTES);
    }
}

void pick_exchange_name(struct sim *sim, bool or_new, char out[MODEL_NAME_BYTES])
{
    static const struct amqp_str names[] = {
        AMQP_STR("xa"),         AMQP_STR("xb"),         AMQP_STR("xc"),
        AMQP_STR("xd"),         AMQP_STR("xe"),         AMQP_STR("amq.direct"),
        AMQP_STR("amq.fanout"), AMQP_STR("amq.topic"),
    };

    out[0] = '\0';
    if (mistaken(sim) && chance(sim, 20))
        return; /* the default exchange */
    do
        sim_copy(sim, out, names[random_below(&sim->random, N_ELEMENTS(names))]);
    while (!model_exchange(sim, out) && !or_new && !mistaken(sim));
}

const char *pick_key(struct sim *sim)
{
    static const char *const keys[] = { "a", "a", "a.b", "a.b", "b", "#", "*", "a.*",
                                        "*.b", "a.#", "#.b", "", "a..b", "#.a.#" };

    return keys[random_below(&sim->random, N_ELEMENTS(keys))];
}

/* ---- connections and channels ---- */

static struct m_connection *pick_connection(struct sim *sim, enum m_connection_state state)
{
    unsigned from = random_below(&sim->random, MODEL_CONNECTIONS);

    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++) {
        struct m_connection *connection = &sim->connections[(from + i) % MODEL_CONNECTIONS];

        if (connection->state == state)
            return connection;
    }
    return NULL;
}

bool op_open_connection(struct sim *sim)
{
    struct m_connection *connection = pick_connection(sim, CONNECTION_IS_GONE);

    if (connection)
        client_open(sim, connection);
    return connection != NULL;
}

static void free_connection(struct sim *sim, struct m_connection *connection)
{
    if (!connection->closed)
        history_fail(&sim->history, "connection c%u should be at its end", connection->number);
    connection_free(connection->real);
    client_forget(connection);
}

/* Answers the broker's close, or closes. */
bool op_close_connection(struct sim *sim)
{
    struct m_connection *connection = pick_connection(sim, CONNECTION_IS_CLOSING);

    if (connection) {
        client_send(sim, connection, 0,
                    &(struct amqp_connection_close_ok){ .id = AMQP_ID_connection_close_ok });
        free_connection(sim, connection);
        return true;
    }
    connection = pick_connection(sim, CONNECTION_IS_OPEN);
    if (!connection || connection->paused || chance(sim, 80))
        return false;
    model_close_connection(sim, connection);
    expect_on_connection(sim, connection,
                         &(struct amqp_connection_close_ok){ .id = AMQP_ID_connection_close_ok });
    client_send(sim, connection, 0,
                &(struct amqp_connection_close){ .id = AMQP_ID_connection_close,
                                                 .reply_code = 200 });
    free_connection(sim, connection);
    return true;
}

bool op_drop_connection(struct sim *sim)
{
    struct m_connection *connection =
        pick_connection(sim, chance(sim, 80) ? CONNECTION_IS_OPEN : CONNECTION_IS_CLOSING);

    if (connection)
        client_drop(sim, connection);
    return connection != NULL;
}

static struct m_channel *pick_channel_in(struct sim *sim, enum m_channel_state state)
{
    struct m_connection *connection = pick_connection(sim, CONNECTION_IS_OPEN);
    unsigned from = random_below(&sim->random, MODEL_CHANNELS);

    for (unsigned i = 0; connection && !connection->paused && i < MODEL_CHANNELS; i++) {
        struct m_channel *channel = &connection->channels[(from + i) % MODEL_CHANNELS];

        if (channel->state == state && !channel->content.message)
            return channel;
    }
    return NULL;
}

bool op_open_channel(struct sim *sim)
{
    struct m_channel *channel = pick_channel_in(sim, CHANNEL_IS_CLOSED);

    if (!channel)
        return false;
    model_open_channel(sim, channel);
    expect_method(sim, channel, &(struct amqp_channel_open_ok){ .id = AMQP_ID_channel_open_ok });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_channel_open){ .id = AMQP_ID_channel_open });
    return true;
}

/* A channel that the broker has closed: answer, or close it ourselves too, or talk on in vain. */
static void end_closing_channel(struct sim *sim, struct m_channel *channel)
{
    struct m_connection *connection = channel->connection;

    if (chance(sim, 10)) {
        client_send(sim, connection, channel->number,
                    &(struct amqp_queue_delete){ .id = AMQP_ID_queue_delete,
                                                 .queue = AMQP_STR("qa") });
    } else if (chance(sim, 10)) {
        channel->content = (struct m_publish){ .message = client_new_message(sim, "", "qa") };
        client_send_content(sim, channel, true);
    } else if (chance(sim, 10)) {
        expect_method(sim, channel,
                      &(struct amqp_channel_close_ok){ .id = AMQP_ID_channel_close_ok });
        client_send(sim, connection, channel->number,
                    &(struct amqp_channel_close){ .id = AMQP_ID_channel_close });
    } else {
        client_send(sim, connection, channel->number,
                    &(struct amqp_channel_close_ok){ .id = AMQP_ID_channel_close_ok });
        channel->state = CHANNEL_IS_CLOSED;
    }
}

bool op_close_channel(struct sim *sim)
{
    struct m_channel *channel = pick_channel_in(sim, CHANNEL_IS_CLOSING);

    if (channel) {
        end_closing_channel(sim, channel);
        return true;
    }
    channel = pick_channel(sim);
    if (!channel || chance(sim, 90))
        return false;
    world_flush_confirms(channel);
    model_close_channel(sim, channel);
    channel->state = CHANNEL_IS_CLOSING;
    expect_method(sim, channel, &(struct amqp_channel_close_ok){ .id = AMQP_ID_channel_close_ok });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_channel_close){ .id = AMQP_ID_channel_close });
    channel->state = CHANNEL_IS_CLOSED;
    return true;
}

bool op_flow(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);

    if (!channel)
        return false;
    channel->flow = chance(sim, 70);
    channel->had_to_wait = channel->had_to_wait || !channel->flow;
    expect_method(sim, channel,
                  &(struct amqp_channel_flow_ok){ .id = AMQP_ID_channel_flow_ok,
                                                  .active = channel->flow });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_channel_flow){ .id = AMQP_ID_channel_flow, .active = channel->flow });
    return true;
}

bool op_congest(struct sim *sim)
{
    struct m_connection *connection = pick_connection(sim, CONNECTION_IS_OPEN);

    if (!connection)
        return false;
    connection->congested = !connection->congested;
    for (unsigned c = 0; c < MODEL_CHANNELS; c++)
        connection->channels[c].had_to_wait = true;
    history_add(&sim->history, "c%u is %s", connection->number,
                connection->congested ? "congested" : "free again");
    model_refresh(sim);
    connection_set_congested(connection->real, connection->congested);
    accept_end(sim);
    return true;
}

bool op_memory(struct sim *sim)
{
    sim->paging = !sim->paging;
    history_add(&sim->history, "memory is %s", sim->paging ? "low" : "not low");
    broker_set_paging(sim->broker, sim->paging);
    return true;
}

/* What a client does only by mistake, and what ends the connection. */
bool op_mistake(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);

    if (!channel || !sim->mistakes)
        return false;
    switch (random_below(&sim->random, 3)) {
    case 0:
        model_raise(sim, channel, 504, AMQP_ID_channel_open, "second 'channel.open' seen");
        client_send(sim, channel->connection, channel->number,
                    &(struct amqp_channel_open){ .id = AMQP_ID_channel_open });
        break;
    case 1:
        model_raise(sim, channel, 540, AMQP_ID_basic_qos, "prefetch_size!=0 (10)");
        client_send(sim, channel->connection, channel->number,
                    &(struct amqp_basic_qos){ .id = AMQP_ID_basic_qos, .prefetch_size = 10 });
        break;
    default:
        channel = pick_channel_in(sim, CHANNEL_IS_CLOSED);
        if (!channel)
            return false;
        model_raise(sim, channel, 504, AMQP_ID_queue_purge, "expected 'channel.open'");
        client_send(sim, channel->connection, channel->number,
                    &(struct amqp_queue_purge){ .id = AMQP_ID_queue_purge });
        break;
    }
    return true;
}

/* ---- the machine ---- */

static bool op_turn(struct sim *sim)
{
    world_turn(sim);
    return true;
}

static bool op_wait(struct sim *sim)
{
    if (!(sim->features & (FEATURE_TTL | FEATURE_EXPIRES)))
        return false;
    world_wait(sim, random_below(&sim->random, chance(sim, 20) ? 1500 : 100));
    return true;
}

static bool op_poll(struct sim *sim)
{
    world_poll(sim);
    return true;
}

static bool op_hold(struct sim *sim)
{
    world_hold(sim, !sim->held);
    return true;
}

static bool op_fail(struct sim *sim)
{
    if (sim->stalled)
        return false;
    world_fail(sim, 1 + random_below(&sim->random, 5), chance(sim, 50) ? EIO : ENOSPC,
               chance(sim, 30));
    return true;
}

static bool op_crash(struct sim *sim)
{
    world_crash(sim);
    return true;
}

static bool op_restart(struct sim *sim)
{
    world_restart(sim);
    return true;
}

static bool op_quiet(struct sim *sim)
{
    world_quiet(sim);
    audit(sim);
    return true;
}

/* ---- the table ---- */

static const struct {
    unsigned weight;
    bool (*run)(struct sim *sim);
    bool always; /* without it nothing comes of a history */
    bool dispatches; /* the broker hands out first what is due, so the model does not see it late */
} table[] = {
    { 100, op_turn, true, false },
    { 10, op_wait, false, false },
    { 60, op_poll, true, false },
    { 5, op_hold, false, false },
    { 4, op_fail, false, false },
    { 2, op_crash, false, false },
    { 1, op_restart, false, false },
    { 4, op_quiet, false, false },
    { 12, op_policy, false, false },
    { 40, op_open_connection, true, false },
    { 5, op_close_connection, false, false },
    { 3, op_drop_connection, false, false },
    { 80, op_open_channel, true, false },
    { 15, op_close_channel, true, true },
    { 10, op_flow, false, false },
    { 10, op_congest, false, false },
    { 4, op_memory, false, false },
    { 1, op_mistake, false, false },
    { 14, op_exchange_declare, false, false },
    { 3, op_exchange_delete, false, false },
    { 12, op_exchange_bind, false, false },
    { 25, op_queue_declare, true, false },
    { 3, op_queue_delete, false, true },
    { 3, op_queue_purge, false, true },
    { 25, op_queue_bind, true, false },
    { 160, op_publish, true, false },
    { 45, op_consume, false, true },
    { 12, op_cancel, false, true },
    { 40, op_get, false, true },
    { 140, op_ack, false, false },
    { 30, op_nack, false, true },
    { 30, op_reject, false, true },
    { 5, op_recover, false, true },
    { 15, op_qos, false, false },
    { 15, op_confirm_select, false, false },
    { 6, op_tx_select, false, false },
    { 20, op_tx_commit, false, false },
    { 5, op_tx_rollback, false, false },
};

/*
 * Every history has its own character: some operations are common in it, some missing. Histories in
 * which everything happens equally often never get anywhere in particular.
 */
void ops_begin(struct sim *sim)
{
    static const unsigned mistakes[] = { 0, 1, 1, 2, 10 };
    static const unsigned bursts[] = { 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 150 };
    static const uint32_t messages[] = { 1, 3, 3, 3, UINT32_MAX, UINT32_MAX };
    static const uint32_t octets[] = { 60, UINT32_MAX, UINT32_MAX };
    static const uint64_t memory[] = { 400, 2000, UINT64_MAX, UINT64_MAX, UINT64_MAX };
    static const uint32_t discards[] = { 8, 50, UINT32_MAX };
    static const uint32_t work[] = { 1, 5, 40, UINT32_MAX, UINT32_MAX };
    static const unsigned factors[] = { 0, 1, 4, 4, 4, 4, 12 }; /* quarters */

    static_assert(N_ELEMENTS(table) <= N_ELEMENTS(sim->weights), "a weight for each row");
    sim->features = random_below(&sim->random, 4) ? (unsigned)random_next(&sim->random) : 0;
    sim->burst = bursts[random_below(&sim->random, N_ELEMENTS(bursts))];
    sim->resident_messages = messages[random_below(&sim->random, N_ELEMENTS(messages))];
    sim->resident_bytes = octets[random_below(&sim->random, N_ELEMENTS(octets))];
    sim->queue_memory = memory[random_below(&sim->random, N_ELEMENTS(memory))];
    sim->discards = discards[random_below(&sim->random, N_ELEMENTS(discards))];
    sim->work = work[random_below(&sim->random, N_ELEMENTS(work))];
    sim->mistakes = mistakes[random_below(&sim->random, N_ELEMENTS(mistakes))];
    for (size_t i = 0; i < N_ELEMENTS(table); i++) {
        unsigned factor = factors[random_below(&sim->random, N_ELEMENTS(factors))];

        sim->weights[i] = table[i].weight * (table[i].always && factor < 4 ? 4 : factor);
    }
}

void ops_step(struct sim *sim)
{
    unsigned total = 0, attempts = 0;
    bool done = false;

    for (size_t i = 0; i < N_ELEMENTS(table); i++)
        total += sim->weights[i];
    while (!done && attempts++ < 20) {
        unsigned drawn = random_below(&sim->random, total);
        size_t row = 0;

        while (drawn >= sim->weights[row])
            drawn -= sim->weights[row++];
        if (table[row].dispatches)
            broker_dispatch(sim->broker);
        done = table[row].run(sim);
    }
}

/* ---- the end of a history ---- */

/* The queue may expire meanwhile. */
static void drain(struct sim *sim, struct m_channel *channel, uint32_t id)
{
    struct m_queue *queue;

    while ((queue = model_queue_by_id(sim, id)) && queue_ready(queue) &&
           !(queue->given.quorum && queue->given.single_active)) { /* basic.get is refused there */
        channel->gets = true;
        channel->get_queue = id;
        channel->get_no_ack = true;
        model_use_queue(sim, queue);
        client_send(sim, channel->connection, channel->number,
                    &(struct amqp_basic_get){ .id = AMQP_ID_basic_get,
                                              .queue = amqp_str_from(queue->name),
                                              .no_ack = true });
        while (channel->gets) {
            world_poll(sim);
            world_turn(sim);
        }
    }
}

void ops_finish(struct sim *sim)
{
    struct m_connection *connection = &sim->connections[0];

    if (chance(sim, 50))
        world_crash(sim);
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++)
        if (sim->connections[i].real)
            client_drop(sim, &sim->connections[i]);
    world_quiet(sim);
    audit(sim);
    client_open(sim, connection);
    model_open_channel(sim, &connection->channels[0]);
    expect_method(sim, &connection->channels[0],
                  &(struct amqp_channel_open_ok){ .id = AMQP_ID_channel_open_ok });
    client_send(sim, connection, 1, &(struct amqp_channel_open){ .id = AMQP_ID_channel_open });
    for (uint32_t id = 1; id <= sim->next_queue_id; id++)
        drain(sim, &connection->channels[0], id);
    world_quiet(sim);
    audit(sim);
}

/*
 * ops.h - what may happen next
 *
 * An operation looks at the model, chooses something that a client or the machine could do now,
 * tells the model, does it, and leaves the rest to accept.c. One that finds nothing to do does
 * nothing: false, and another is drawn. The table in ops.c says how often each is tried.
 */
#ifndef SIM_OPS_H
#define SIM_OPS_H

#include "client.h"
#include "model.h"
#include "world.h"

/** ops_begin() - choose what this history is about */
void ops_begin(struct sim *sim);
/** ops_step() - one random operation */
void ops_step(struct sim *sim);
/** ops_finish() - read every queue to its end and compare */
void ops_finish(struct sim *sim);

/* Rows of the table */
bool op_open_connection(struct sim *sim);
bool op_close_connection(struct sim *sim);
bool op_drop_connection(struct sim *sim);
bool op_open_channel(struct sim *sim);
bool op_close_channel(struct sim *sim);
bool op_flow(struct sim *sim);
bool op_congest(struct sim *sim);
bool op_memory(struct sim *sim);
bool op_mistake(struct sim *sim);
/* ops_exchange.c */
bool op_exchange_declare(struct sim *sim);
bool op_exchange_delete(struct sim *sim);
/* ops_topology.c */
bool op_exchange_bind(struct sim *sim);
bool op_queue_declare(struct sim *sim);
bool op_queue_delete(struct sim *sim);
bool op_queue_purge(struct sim *sim);
bool op_queue_bind(struct sim *sim);
/* ops_basic.c */
bool op_publish(struct sim *sim);
bool op_consume(struct sim *sim);
bool op_cancel(struct sim *sim);
bool op_get(struct sim *sim);
bool op_ack(struct sim *sim);
bool op_nack(struct sim *sim);
bool op_reject(struct sim *sim);
bool op_recover(struct sim *sim);
bool op_qos(struct sim *sim);
bool op_confirm_select(struct sim *sim);
bool op_tx_select(struct sim *sim);
bool op_tx_commit(struct sim *sim);
bool op_tx_rollback(struct sim *sim);

/* ops_policy.c */
bool op_policy(struct sim *sim);

/* Choices */
/** pick_channel() - an open one that may send a method now, or NULL */
struct m_channel *pick_channel(struct sim *sim);
/**
 * pick_queue_name() - one that exists and that @channel may use, but for mistakes
 * @or_last: now and then "" for the last one declared
 */
void pick_queue_name(struct sim *sim, const struct m_channel *channel, bool or_last,
                     char out[MODEL_NAME_BYTES]);
/** pick_new_queue_name() - any, whether it exists or not */
struct amqp_str pick_new_queue_name(struct sim *sim);
/** pick_exchange_name() - one that exists, but for mistakes; @or_new: any */
void pick_exchange_name(struct sim *sim, bool or_new, char out[MODEL_NAME_BYTES]);
const char *pick_key(struct sim *sim);
/** flag_word() - as error texts spell it */
static inline const char *flag_word(bool value)
{
    return value ? "true" : "false";
}

/** chance() - true in @percent of 100 cases */
static inline bool chance(struct sim *sim, unsigned percent)
{
    return random_percent(&sim->random, percent);
}

/** mistaken() - now something wrong is to be done; how often differs from history to history */
static inline bool mistaken(struct sim *sim)
{
    return random_percent(&sim->random, sim->mistakes);
}

/**
 * find_queue() - the queue that a method means: by name, or the last declared one
 * @name: "" or a name; receives the name meant
 *
 * Return: NULL after the model has raised 404 or 405.
 */
struct m_queue *find_queue(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                           char name[MODEL_NAME_BYTES]);
/** queue_is_locked() - exclusive to another connection; @raise: then 405 has been raised */
bool queue_is_locked(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                     const struct m_queue *queue);

#endif

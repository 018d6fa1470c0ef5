/*
 * channel_task.c - settling very many deliveries, and leaving
 *
 * A *plan* says which deliveries of the channel are settled, and how: those up to a tag
 * (basic.ack and basic.nack with multiple), all (basic.recover, the channel's end), or those of a
 * consumer that has timed out. It is carried out a slice a turn (task.h).
 *
 * Order. Messages that come back stand where they stood, so nothing may be handed out of their
 * queues while some of them are back and others are not: a later message would overtake an earlier
 * one. A plan that does not fit into the turn therefore first counts its deliveries into
 * queue->held, without any other effect, and then puts them back, taking each off the count again;
 * a queue hands nothing out while it is held. Until the counting has ended all is as if the client
 * had asked a moment later. Queues that the plan has nothing of go on as always.
 *
 * Meanwhile the connection is not read and the channel gets no deliveries, so nobody else changes
 * channel->unacked. A channel that leaves with a plan under way (its socket is lost) carries it
 * out first: what has been acknowledged stays so.
 */
#include <assert.h>
#include <utlist.h>

#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/dead_letter.h"
#include "broker/direct_reply.h"
#include "broker/queue-internal.h"
#include "broker/task.h"
#include "broker/tx.h"

static void begin_leave(struct channel *channel);
static void end_leave(struct channel *channel);

/* --- the channel's task --- */

static struct channel *channel_of(struct task *task)
{
    return CONTAINER_OF(task, struct channel, task);
}

static void end_task(struct task *task)
{
    struct channel *channel = channel_of(task);
    bool leaves = channel->leaves != LEAVE_NOT;

    if (channel->busy) {
        channel->busy = channel->rests = false;
        connection_waited(channel->connection);
        if (!leaves)
            channel_room_came(channel);
    }
    if (leaves && channel->task_end != end_leave)
        begin_leave(channel); /* it was told to while it was busy: there is nobody to answer */
    else
        channel->task_end(channel);
}

bool channel_begin_task(struct channel *channel, bool (*run)(struct task *task),
                        void (*end)(struct channel *channel))
{
    assert(!channel->busy);
    channel->task.broker = channel->connection->broker;
    channel->task.run = run;
    channel->task.end = end_task;
    channel->task_end = end;
    if (task_start(&channel->task))
        return true;
    channel->busy = true;
    connection_wait(channel->connection);
    return false;
}

/* --- plans --- */

static struct unacked_delivery *plan_next(struct channel *channel)
{
    struct settle_plan *plan = &channel->plan;
    struct unacked_delivery *delivery;

    delivery = plan->newest_first ? unacked_before(&channel->unacked, plan->at)
                                  : unacked_from(&channel->unacked, plan->at);
    if (!delivery || (!plan->newest_first && delivery->tag > plan->up_to))
        return NULL;
    plan->at = plan->newest_first ? delivery->tag : delivery->tag + 1;
    return delivery;
}

static bool plan_has(const struct settle_plan *plan, const struct unacked_delivery *delivery)
{
    return !plan->consumer ||
           (delivery->consumer == plan->consumer && !delivery->timed_out);
}

static void plan_rewind(struct settle_plan *plan)
{
    plan->at = plan->newest_first ? plan->up_to : 0;
    if (plan->newest_first && plan->at != UINT64_MAX)
        plan->at++; /* those below it are looked for */
}

static bool hold_queues(struct channel *channel)
{
    struct settle_plan *plan = &channel->plan;
    struct unacked_delivery *delivery;

    while (task_pay(channel->connection->broker, TASK_COST_LOOK)) {
        delivery = plan_next(channel);
        if (!delivery) {
            plan_rewind(plan);
            return true;
        }
        if (plan_has(plan, delivery) && !delivery->timed_out)
            delivery->queue->held++;
    }
    return false;
}

static void release_hold(struct queue *queue)
{
    assert(queue->held > 0);
    if (--queue->held == 0)
        queue_wake(queue);
}

/* Its tag stays known, for the client may still settle it: that is no error, and does nothing. */
static void take_timed_out(struct channel *channel, struct unacked_delivery *delivery)
{
    (void)queue_ref(delivery->queue);
    delivery->consumer = NULL;
    delivery->timed_out = true;
    channel->timed_out_count++;
}

/* 0 or -ENOMEM: the transaction could not note it. */
static int plan_settle(struct channel *channel, struct unacked_delivery *found)
{
    struct settle_plan *plan = &channel->plan;
    struct unacked_delivery delivery = *found;
    int rc;

    if (plan->noted) {
        rc = tx_add_settlement(channel->tx, &delivery, plan->how);
        if (!rc)
            unacked_remove(&channel->unacked, found);
        return rc;
    }
    if (plan->holds && !delivery.timed_out)
        release_hold(delivery.queue);
    if (plan->consumer)
        take_timed_out(channel, found);
    else
        unacked_remove(&channel->unacked, found);
    channel_settle(channel, &delivery, plan->how);
    return 0;
}

/* It was kept for the sake of the plan. */
static void let_consumer_go(struct consumer *consumer)
{
    struct queue *queue = queue_ref(consumer->queue);

    consumer_release_delivery(consumer);
    queue_after_cancel(queue);
    queue_unref(queue);
}

static bool run_plan(struct task *task)
{
    struct channel *channel = channel_of(task);
    struct settle_plan *plan = &channel->plan;
    uint32_t cost = plan->how == SETTLE_REQUEUE ? TASK_COST_REQUEUE : TASK_COST_SETTLE;
    struct unacked_delivery *delivery;

    if (plan->counting && !hold_queues(channel))
        return false;
    plan->counting = false;
    while (!plan->done && !plan->error && task_pay(task->broker, cost)) {
        delivery = plan_next(channel);
        if (!delivery) {
            if (plan->consumer)
                let_consumer_go(TAKE(plan->consumer));
            plan->done = true;
            break;
        }
        if (plan_has(plan, delivery))
            plan->error = plan_settle(channel, delivery);
    }
    return plan->done || plan->error;
}

/* Holds are for what takes more than this turn; counting too is done in slices. */
static void plan_begin(struct channel *channel, const struct settle_plan *plan)
{
    bool fits = task_affords(channel->connection->broker,
                             (uint64_t)channel->unacked.count * TASK_COST_REQUEUE);

    channel->plan = *plan;
    plan_rewind(&channel->plan);
    channel->plan.holds = channel->plan.counting =
        plan->how == SETTLE_REQUEUE && !plan->noted && !fits;
}

bool channel_carry_out(struct channel *channel, const struct settle_plan *plan,
                       void (*end)(struct channel *channel))
{
    plan_begin(channel, plan);
    if (channel_begin_task(channel, run_plan, end))
        return true;
    channel->rests = true;
    return false;
}

/* --- leaving --- */

static void leave_lists(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    if (channel->in_confirm_list)
        DL_DELETE2(broker->confirm_first, channel, confirm_prev, confirm_next);
    if (channel->in_waiting_list)
        DL_DELETE2(broker->waiting_first, channel, waiting_prev, waiting_next);
    channel->in_confirm_list = channel->in_waiting_list = false;
}

static bool cancel_consumers(struct channel *channel)
{
    while (channel->consumers) {
        struct consumer *consumer = channel->consumers;
        struct queue *queue = consumer->queue;

        if (!task_pay(channel->connection->broker, TASK_COST_CANCEL))
            return false;
        consumer_cancel(consumer);
        queue_after_cancel(queue);
    }
    return true;
}

/* An open transaction, unacknowledged messages, consumers. */
static bool run_leave(struct task *task)
{
    struct channel *channel = channel_of(task);

    if (channel->tx) {
        if (!tx_rollback_some(channel, channel->tx))
            return false;
        tx_free(channel->tx);
        channel->tx = NULL;
        channel->mode = CHANNEL_PLAIN;
        plan_begin(channel, &(struct settle_plan){ .how = SETTLE_REQUEUE,
                                              .up_to = UINT64_MAX,
                                              .newest_first = true });
    }
    return run_plan(task) && cancel_consumers(channel);
}

static void end_leave(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    assert(channel->unacked.count == 0);
    dead_letter_run(broker);
    channel->left = true;
    channel_left(channel);
}

static void begin_leave(struct channel *channel)
{
    leave_lists(channel);
    channel_abandon_get(channel);
    direct_reply_release(channel);
    channel_drop_content(channel);
    plan_begin(channel, &(struct settle_plan){ .how = SETTLE_REQUEUE,
                                              .up_to = UINT64_MAX,
                                              .newest_first = true });
    (void)channel_begin_task(channel, run_leave, end_leave);
}

void channel_leave(struct channel *channel, enum channel_leave why)
{
    bool leaves = channel->leaves != LEAVE_NOT;

    channel->state = CHANNEL_CLOSING;
    if (channel->leaves < why)
        channel->leaves = why;
    if (channel->left)
        channel_left(channel);
    else if (!leaves && !channel->busy)
        begin_leave(channel);
}

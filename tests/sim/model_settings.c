/*
 * model_settings.c - choosing what queues are told to do
 *
 * Numbers are small, so that limits are met and times pass within a history.
 */
#include "model_settings.h"

#include "model.h"

const struct m_settings settings_none = { .ttl_ms = -1 };

static int64_t one_of(struct sim *sim, const int64_t *values, unsigned count)
{
    return values[random_below(&sim->random, count)];
}

#define ONE_OF(sim, ...)                                              \
    one_of((sim), (const int64_t[]){ __VA_ARGS__ },                   \
           (unsigned)N_ELEMENTS(((const int64_t[]){ __VA_ARGS__ })))

void settings_choose(struct sim *sim, struct m_settings *ret_settings)
{
    *ret_settings = settings_none;
    if ((sim->features & FEATURE_TTL) && random_percent(&sim->random, 40))
        ret_settings->ttl_ms = ONE_OF(sim, 0, 1, 10, 40, 40, 150, 1000);
}

void settings_write(const struct m_settings *settings, struct amqp_table_writer *arguments)
{
    if (settings->ttl_ms >= 0)
        amqp_table_put_int(arguments, "x-message-ttl", settings->ttl_ms);
}

/*
 * model_settings.c - choosing what queues are told to do
 *
 * Numbers are small, so that limits are met and times pass within a history.
 */
#include "model_settings.h"

#include "model.h"

const struct m_settings settings_none = { .ttl_ms = -1, .max_length = -1, .max_length_bytes = -1 };

static int64_t one_of(struct sim *sim, const int64_t *values, unsigned count)
{
    return values[random_below(&sim->random, count)];
}

#define ONE_OF(sim, ...)                                              \
    one_of((sim), (const int64_t[]){ __VA_ARGS__ },                   \
           (unsigned)N_ELEMENTS(((const int64_t[]){ __VA_ARGS__ })))

static void choose_length(struct sim *sim, struct m_settings *settings)
{
    if (random_percent(&sim->random, 60))
        settings->max_length = ONE_OF(sim, 0, 1, 2, 3, 5, 8);
    if (random_percent(&sim->random, 40))
        settings->max_length_bytes = ONE_OF(sim, 0, 15, 40, 100, 300, 2000);
    if (random_percent(&sim->random, 70))
        settings->overflow = (enum m_overflow)(1 + random_below(&sim->random, 3));
}

void settings_choose(struct sim *sim, struct m_settings *ret_settings)
{
    *ret_settings = settings_none;
    if ((sim->features & FEATURE_TTL) && random_percent(&sim->random, 40))
        ret_settings->ttl_ms = ONE_OF(sim, 0, 1, 10, 40, 40, 150, 1000);
    if ((sim->features & FEATURE_LENGTH) && random_percent(&sim->random, 50))
        choose_length(sim, ret_settings);
}

static void put(struct amqp_table_writer *arguments, const char *name, int64_t value)
{
    if (value >= 0)
        amqp_table_put_int(arguments, name, value);
}

void settings_write(const struct m_settings *settings, struct amqp_table_writer *arguments)
{
    static const char *const overflows[] = { NULL, "drop-head", "reject-publish",
                                             "reject-publish-dlx" };

    put(arguments, "x-message-ttl", settings->ttl_ms);
    put(arguments, "x-max-length", settings->max_length);
    put(arguments, "x-max-length-bytes", settings->max_length_bytes);
    if (settings->overflow)
        amqp_table_put_str(arguments, "x-overflow", amqp_str_from(overflows[settings->overflow]));
}

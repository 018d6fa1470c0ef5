/*
 * model_settings.c - choosing what queues are told to do
 *
 * Numbers are small, so that limits are met and times pass within a history.
 */
#include "model_settings.h"

#include <inttypes.h>
#include <stdio.h>

#include "ops.h"

const struct m_settings settings_none = {
    .ttl_ms = -1,
    .expires_ms = -1,
    .max_length = -1,
    .max_length_bytes = -1,
    .delivery_limit = -1,
    .max_priority = -1,
};

static int64_t one_of(struct sim *sim, const int64_t *values, unsigned count)
{
    return values[random_below(&sim->random, count)];
}

#define ONE_OF(sim, ...)                                              \
    one_of((sim), (const int64_t[]){ __VA_ARGS__ },                   \
           (unsigned)N_ELEMENTS(((const int64_t[]){ __VA_ARGS__ })))

static void choose_length(struct sim *sim, struct m_settings *settings)
{
    if (chance(sim, 60))
        settings->max_length = ONE_OF(sim, 0, 1, 2, 3, 5, 8);
    if (chance(sim, 40))
        settings->max_length_bytes = ONE_OF(sim, 0, 15, 40, 100, 300, 2000);
    if (chance(sim, 70))
        settings->overflow = (enum m_overflow)(1 + random_below(&sim->random, 3));
}

/* Straight to some queue, back to where it came from, or to an exchange that may be there. */
static void choose_dead_letters(struct sim *sim, struct m_settings *settings)
{
    settings->dead_letters = true;
    settings->has_dead_letter_key = chance(sim, 60);
    if (chance(sim, 50))
        pick_exchange_name(sim, true, settings->dead_letter_exchange);
    if (settings->has_dead_letter_key)
        sim_copy(sim, settings->dead_letter_key,
                 settings->dead_letter_exchange[0] ? amqp_str_from(pick_key(sim))
                                                   : pick_new_queue_name(sim));
}

void settings_choose(struct sim *sim, struct m_settings *ret_settings)
{
    *ret_settings = settings_none;
    if ((sim->features & FEATURE_TTL) && chance(sim, 40))
        ret_settings->ttl_ms = ONE_OF(sim, 0, 1, 10, 40, 40, 150, 1000);
    if ((sim->features & FEATURE_EXPIRES) && chance(sim, 25))
        ret_settings->expires_ms = ONE_OF(sim, 1, 30, 100, 100, 300, 2000);
    if ((sim->features & FEATURE_LENGTH) && chance(sim, 50))
        choose_length(sim, ret_settings);
    if ((sim->features & FEATURE_DEAD_LETTERS) && chance(sim, 70))
        choose_dead_letters(sim, ret_settings);
    if ((sim->features & FEATURE_DELIVERY_LIMIT) && chance(sim, 60))
        ret_settings->delivery_limit = ONE_OF(sim, 0, 1, 1, 2, 3);
    if ((sim->features & FEATURE_PRIORITY) && chance(sim, 50))
        ret_settings->max_priority = ONE_OF(sim, 0, 1, 2, 4, 255);
    else
        ret_settings->quorum = (sim->features & FEATURE_QUORUM) && chance(sim, 40);
    ret_settings->single_active = (sim->features & FEATURE_SINGLE_ACTIVE) && chance(sim, 50);
}

void settings_choose_for_policy(struct sim *sim, bool operator, struct m_settings *ret_settings)
{
    *ret_settings = settings_none;
    if (chance(sim, 40))
        ret_settings->ttl_ms = ONE_OF(sim, 0, 5, 20, 80, 500);
    if ((sim->features & FEATURE_EXPIRES) && chance(sim, 25))
        ret_settings->expires_ms = ONE_OF(sim, 50, 200, 1000, 1000);
    if ((sim->features & (FEATURE_DELIVERY_LIMIT | FEATURE_QUORUM)) && chance(sim, 15))
        ret_settings->delivery_limit = ONE_OF(sim, 0, 1, 2, 3);
    if (chance(sim, 50))
        choose_length(sim, ret_settings);
    if (!operator && chance(sim, 60))
        choose_dead_letters(sim, ret_settings);
    if (ret_settings->has_dead_letter_key && chance(sim, 20)) { /* alone: for another's exchange */
        ret_settings->dead_letters = false;
        ret_settings->dead_letter_exchange[0] = '\0';
    }
}

const char *settings_overflow_name(enum m_overflow overflow)
{
    static const char *const names[] = { "", "drop-head", "reject-publish", "reject-publish-dlx" };

    return names[overflow];
}

static void put(struct amqp_table_writer *arguments, const char *name, int64_t value)
{
    if (value >= 0)
        amqp_table_put_int(arguments, name, value);
}

void settings_write(const struct m_settings *settings, struct amqp_table_writer *arguments)
{
    put(arguments, "x-message-ttl", settings->ttl_ms);
    put(arguments, "x-expires", settings->expires_ms);
    put(arguments, "x-max-length", settings->max_length);
    put(arguments, "x-max-length-bytes", settings->max_length_bytes);
    put(arguments, "x-delivery-limit", settings->delivery_limit);
    put(arguments, "x-max-priority", settings->max_priority);
    if (settings->single_active)
        amqp_table_put_bool(arguments, "x-single-active-consumer", true);
    if (settings->quorum)
        amqp_table_put_str(arguments, "x-queue-type", AMQP_STR("quorum"));
    if (settings->overflow)
        amqp_table_put_str(arguments, "x-overflow",
                           amqp_str_from(settings_overflow_name(settings->overflow)));
    if (settings->dead_letters)
        amqp_table_put_str(arguments, "x-dead-letter-exchange",
                           amqp_str_from(settings->dead_letter_exchange));
    if (settings->has_dead_letter_key)
        amqp_table_put_str(arguments, "x-dead-letter-routing-key",
                           amqp_str_from(settings->dead_letter_key));
}

/* --- declared again --- */

/* In the order in which they are compared. */
enum { SETTINGS_ARGUMENTS = 10 };

struct argument {
    const char *name, *type;
    char value[MODEL_NAME_BYTES];
    bool given;
};

static void put_number(struct argument *argument, const char *name, int64_t number)
{
    *argument = (struct argument){ .name = name, .type = "long", .given = number >= 0 };
    snprintf(argument->value, sizeof argument->value, "%" PRId64, number);
}

static void put_text(struct argument *argument, const char *name, bool given, const char *text)
{
    *argument = (struct argument){ .name = name, .type = "longstr", .given = given };
    snprintf(argument->value, sizeof argument->value, "%s", text);
}

static void list(const struct m_settings *settings, struct argument arguments[SETTINGS_ARGUMENTS])
{
    put_number(&arguments[0], "x-expires", settings->expires_ms);
    put_number(&arguments[1], "x-message-ttl", settings->ttl_ms);
    put_text(&arguments[2], "x-dead-letter-exchange", settings->dead_letters,
             settings->dead_letter_exchange);
    put_text(&arguments[3], "x-dead-letter-routing-key", settings->has_dead_letter_key,
             settings->dead_letter_key);
    put_number(&arguments[4], "x-max-length", settings->max_length);
    put_number(&arguments[5], "x-max-length-bytes", settings->max_length_bytes);
    put_number(&arguments[6], "x-max-priority", settings->max_priority);
    put_text(&arguments[7], "x-overflow", settings->overflow != OVERFLOW_NONE,
             settings_overflow_name(settings->overflow));
    put_text(&arguments[8], "x-single-active-consumer", settings->single_active, "true");
    arguments[8].type = "bool";
    put_number(&arguments[9], "x-delivery-limit", settings->delivery_limit);
}

static void tell(const struct argument *argument, const struct argument *other,
                 char out[SETTINGS_SIDE_BYTES])
{
    if (!argument->given)
        snprintf(out, SETTINGS_SIDE_BYTES, "none");
    else if (other->given)
        snprintf(out, SETTINGS_SIDE_BYTES, "'%s'", argument->value);
    else
        snprintf(out, SETTINGS_SIDE_BYTES, "the value '%s' of type '%s'", argument->value,
                 argument->type);
}

const char *settings_difference(const struct m_settings *asked, const struct m_settings *there,
                                char ret_received[SETTINGS_SIDE_BYTES],
                                char ret_current[SETTINGS_SIDE_BYTES])
{
    struct argument received[SETTINGS_ARGUMENTS], current[SETTINGS_ARGUMENTS];

    list(asked, received);
    list(there, current);
    for (unsigned i = 0; i < SETTINGS_ARGUMENTS; i++) {
        if (received[i].given == current[i].given &&
            (!current[i].given || strcmp(received[i].value, current[i].value) == 0))
            continue;
        tell(&received[i], &current[i], ret_received);
        tell(&current[i], &received[i], ret_current);
        return received[i].name;
    }
    return NULL;
}

/*
 * model_settings.h - what queues are told to do beyond the protocol
 *
 * Arguments of queue.declare in one struct, with the values that are not given as -1. The broker
 * compiles them its own way; here they are chosen, written into a table and looked at.
 */
#ifndef SIM_MODEL_SETTINGS_H
#define SIM_MODEL_SETTINGS_H

#include "amqp/table.h"

struct sim;

enum { MODEL_NAME_BYTES = 48 };

/* What a history is about: each is in some histories and missing in others. */
enum feature {
    FEATURE_TTL = 1,
    FEATURE_LENGTH = 2,
    FEATURE_DEAD_LETTERS = 4,
    FEATURE_DELIVERY_LIMIT = 8,
    FEATURE_PRIORITY = 16,
    FEATURE_SINGLE_ACTIVE = 32,
    FEATURE_POLICY = 64,
    FEATURE_EXPIRES = 128,
    FEATURE_QUORUM = 256,
};

enum m_overflow { OVERFLOW_NONE, OVERFLOW_DROP_HEAD, OVERFLOW_REJECT, OVERFLOW_REJECT_DLX };

/* No policy may speak of the last three. */
struct m_settings {
    int64_t ttl_ms;
    int64_t expires_ms; /* of the queue itself */
    int64_t max_length, max_length_bytes; /* of ready messages */
    enum m_overflow overflow;
    bool dead_letters, has_dead_letter_key;
    char dead_letter_exchange[MODEL_NAME_BYTES], dead_letter_key[MODEL_NAME_BYTES];
    int64_t delivery_limit;
    int64_t max_priority;
    bool single_active, quorum;
};

static inline bool settings_refuse(const struct m_settings *settings)
{
    return settings->overflow == OVERFLOW_REJECT || settings->overflow == OVERFLOW_REJECT_DLX;
}

/* A regular expression, and what it finds: q or x and one of these letters, or everything. */
struct m_pattern {
    const char *text;
    bool all;
    const char *queues, *exchanges;
};

enum m_target { TO_CLASSIC = 1, TO_QUORUM = 2, TO_EXCHANGES = 4 };

struct m_policy {
    const char *name;
    bool operator;
    const struct m_pattern *pattern;
    int priority;
    const char *apply_to;
    unsigned targets; /* enum m_target: apply-to, less those that cannot do what it says */
    struct m_settings settings;
    bool has_alternate;
    char alternate[MODEL_NAME_BYTES];
    struct m_policy *next, *prev;
};

extern const struct m_settings settings_none;

/** settings_choose() - what the next new queue is declared with */
void settings_choose(struct sim *sim, struct m_settings *ret_settings);
/** settings_choose_for_policy() - the same, for a policy; perhaps nothing */
void settings_choose_for_policy(struct sim *sim, bool operator, struct m_settings *ret_settings);
/** settings_overflow_name() - as arguments and policies spell it */
const char *settings_overflow_name(enum m_overflow overflow);
/** settings_write() - as arguments of queue.declare */
void settings_write(const struct m_settings *settings, struct amqp_table_writer *arguments);

/**
 * settings_difference() - the first argument in which a redeclaration differs (1.4), or NULL
 * @ret_received, @ret_current: what the error says of both
 */
enum { SETTINGS_SIDE_BYTES = MODEL_NAME_BYTES + 40 };
const char *settings_difference(const struct m_settings *asked, const struct m_settings *there,
                                char ret_received[SETTINGS_SIDE_BYTES],
                                char ret_current[SETTINGS_SIDE_BYTES]);

#endif

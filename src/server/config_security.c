/*
 * config_security.c - settings of security are honoured, or the start is refused
 *
 * A warning is not enough here: a broker that runs without the LDAP server, the certificates or the
 * TLS that its configuration asks for is open to clients that its operator means to keep out. So a
 * setting of RabbitMQ's that decides who may do what, and that cannot be honoured, is remembered as
 * a refusal. A later value of the same key replaces it, as for any key, and what is left when
 * everything is read are errors.
 *
 * An operator who goes on without says so with a setting: listeners.ssl = none,
 * auth_backends.1 = internal, advanced_config = ignore. Each of them opens a gate, and the keys
 * behind it are then noted like any key without effect.
 *
 * What only makes the broker stricter than RabbitMQ is safe, and is noted: a mechanism that is
 * listed but not part of this version is not offered.
 */
#include <stdio.h>
#include <stdlib.h>

#include "auth/sasl.h"
#include "server/config-internal.h"
#include "server/edit_distance.h"

static const char mechanism_key[] = "auth_mechanisms.1";

/* --- refusals --- */

static void release_refusal(struct config_refusal *refusal)
{
    free(refusal->key);
    free(refusal->where);
    free(refusal->text);
}

void config_unrefuse(struct config *config, const char *key)
{
    struct config_internal *internal = config->internal;

    for (size_t i = 0; i < internal->refusal_count; i++) {
        if (strcmp(internal->refusals[i].key, key) != 0)
            continue;
        release_refusal(&internal->refusals[i]);
        internal->refusal_count--;
        memmove(internal->refusals + i, internal->refusals + i + 1,
                (internal->refusal_count - i) * sizeof *internal->refusals);
        return; /* a key has one */
    }
}

int config_refuse(struct config *config, const char *where, const char *key,
                  enum config_gate gate, const char *text)
{
    struct config_internal *internal = config->internal;
    struct config_refusal *grown;
    struct config_refusal refusal = { strdup(key), strdup(where), strdup(text), gate };

    config_unrefuse(config, key);
    grown = realloc(internal->refusals, (internal->refusal_count + 1) * sizeof *grown);
    if (grown)
        internal->refusals = grown;
    if (!grown || !refusal.key || !refusal.where || !refusal.text) {
        release_refusal(&refusal);
        return -ENOMEM;
    }
    grown[internal->refusal_count++] = refusal;
    return 0;
}

void config_release_security(struct config_internal *internal)
{
    for (size_t i = 0; i < internal->refusal_count; i++)
        release_refusal(&internal->refusals[i]);
    free(internal->refusals);
    for (size_t i = 0; i < internal->mechanism_count; i++) {
        free(internal->mechanisms[i].key);
        free(internal->mechanisms[i].value);
    }
    free(internal->mechanisms);
}

static void lift(struct config *config, enum config_gate gate)
{
    config->internal->lifted |= 1u << gate;
}

/* --- rows --- */

int config_apply_no_tls(struct config *config, const struct config_row *row,
                        struct config_value *value)
{
    if (strcmp(value->text, "none") != 0)
        return config_problem(value, -EINVAL, "'%.100s' is not none; an address needs a name: "
                                              "%s.default",
                              value->text, row->key);
    lift(config, CONFIG_GATE_TLS);
    return 0;
}

int config_apply_advanced(struct config *config, const struct config_row *row,
                          struct config_value *value)
{
    int rc = config_apply_choice(config, row, value);

    if (!rc && strcmp(value->text, "ignore") == 0)
        lift(config, CONFIG_GATE_ADVANCED);
    return rc;
}

/* One value only is like what this broker does. */
int config_apply_only(struct config *config, const struct config_row *row,
                      struct config_value *value)
{
    (void)config;
    if (strcmp(value->text, row->choices) == 0)
        return 0;
    return config_problem(value, -EPERM, "this version has no '%.100s': remove the line, or set it "
                                         "to %s",
                          value->text, row->choices);
}

/* Users are looked up in the broker's own database, with or without a cache before it. */
int config_apply_backend(struct config *config, const struct config_row *row,
                         struct config_value *value)
{
    static const char *const own[] = { "internal", "rabbit_auth_backend_internal", "cache",
                                       "rabbit_auth_backend_cache" };

    (void)row;
    if (strncmp(value->key, "auth_backends.", 14) == 0)
        lift(config, CONFIG_GATE_BACKENDS);
    for (size_t i = 0; i < N_ELEMENTS(own); i++)
        if (strcmp(value->text, own[i]) == 0)
            return 0;
    return config_problem(value, -EPERM, "this version cannot ask '%.100s' about users, only its "
                                         "own database: remove the line, or set it to internal",
                          value->text);
}

static bool is_word_of(const char *list, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = list; *at; at += strspn(at, " ")) {
        size_t next = strcspn(at, " ");

        if (next == size && memcmp(at, word, size) == 0)
            return true;
        at += next;
    }
    return false;
}

/* Mechanisms that RabbitMQ and its plugins bring. */
static const char rabbit_mechanisms[] = "PLAIN AMQPLAIN EXTERNAL ANONYMOUS RABBIT-CR-DEMO";

int config_apply_mechanism(struct config *config, const struct config_row *row,
                           struct config_value *value)
{
    (void)row;
    if (!is_word_of(rabbit_mechanisms, value->text))
        return config_problem(value, -EINVAL, "'%.100s' is not a mechanism: %s are, in capitals",
                              value->text, SASL_MECHANISMS);
    return config_put_raw(&config->internal->mechanisms, &config->internal->mechanism_count,
                          value->key, value->text);
}

/* --- the whole --- */

static int report_refusal(const struct config_refusal *refusal, bool lifted,
                          struct config_report *report)
{
    static const char *const without[] = {
        [CONFIG_GATE_TLS] = "listeners.ssl = none",
        [CONFIG_GATE_BACKENDS] = "auth_backends.1 = internal",
        [CONFIG_GATE_ADVANCED] = "advanced_config = ignore",
    };

    if (refusal->gate == CONFIG_GATE_NONE)
        return config_error(report, "%s: '%s': %s", refusal->where, refusal->key, refusal->text);
    if (lifted)
        return config_note(report, "%s: '%s' has no effect: %s", refusal->where, refusal->key,
                           refusal->text);
    return config_error(report, "%s: '%s' cannot be honoured: %s; set %s to go on without",
                        refusal->where, refusal->key, refusal->text, without[refusal->gate]);
}

static int report_refusals(struct config *config, struct config_report *report)
{
    const struct config_internal *internal = config->internal;
    int rc = 0;

    for (size_t i = 0; i < internal->refusal_count && !rc; i++)
        rc = report_refusal(&internal->refusals[i],
                            internal->lifted & 1u << internal->refusals[i].gate, report);
    return rc;
}

/* Writes those of our mechanisms that are listed, as connection.start has them. */
static void list_offered(const struct config_internal *internal, char *out)
{
    for (const char *at = SASL_MECHANISMS; *at; at += strspn(at, " ")) {
        size_t size = strcspn(at, " ");

        for (size_t i = 0; i < internal->mechanism_count; i++) {
            const char *listed = internal->mechanisms[i].value;

            if (strlen(listed) != size || memcmp(listed, at, size) != 0)
                continue;
            out += sprintf(out, "%s%s", out[-1] ? " " : "", listed);
            break;
        }
        at += size;
    }
}

/* What clients are offered: what is listed and part of this version. */
static int choose_mechanisms(struct config *config, struct config_report *report)
{
    const struct config_internal *internal = config->internal;
    char offered[sizeof SASL_MECHANISMS + 1] = "";
    int rc = 0;

    if (internal->mechanism_count == 0)
        return 0;
    list_offered(internal, offered + 1);
    if (!offered[1])
        return config_error(report,
                            "%s: no mechanism that is listed is part of this version: to let "
                            "clients log in with name and password, set %s = PLAIN",
                            mechanism_key, mechanism_key);
    for (size_t i = 0; i < internal->mechanism_count && !rc; i++)
        if (!is_word_of(SASL_MECHANISMS, internal->mechanisms[i].value))
            rc = config_note(report, "'%s': %s is not part of this version and is not offered",
                             internal->mechanisms[i].key, internal->mechanisms[i].value);
    free(config->mechanisms);
    config->mechanisms = strdup(offered + 1);
    return config->mechanisms ? rc : -ENOMEM;
}

static int check_listeners(const struct config *config, struct config_report *report)
{
    const struct config_listener *listeners = config->listeners;
    int rc = 0;

    if (config->listener_count == 0)
        return config_error(report, "listeners.tcp: none is left, so no client could connect: set "
                                    "listeners.tcp.default = 5672, or another port");
    for (size_t i = 0; i < config->listener_count; i++)
        for (size_t j = 0; j < i && !rc; j++)
            if (config_same_endpoint(&listeners[i], &listeners[j]))
                rc = config_error(report,
                                  "listeners.tcp.%s and listeners.tcp.%s are both port %u of the "
                                  "same address: remove one of them or change its port",
                                  listeners[j].name, listeners[i].name, listeners[i].port);
    return rc;
}

int config_check(struct config *config, struct config_report *report)
{
    int rc = report_refusals(config, report);

    if (!rc)
        rc = choose_mechanisms(config, report);
    return rc ? rc : check_listeners(config, report);
}

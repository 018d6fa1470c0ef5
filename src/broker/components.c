/*
 * components.c - one row for each component of parameters, and for global parameters with a meaning
 *
 * Rows without functions are kept and have no effect: those of shovels and federation.
 */
#include "broker/components.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "broker/policy.h"
#include "broker/vhost_limits.h"

struct component {
    enum store_kind kind;
    const char *component; /* NULL: any */
    const char *name;      /* NULL: any */
    /** 0 and a compiled form, -EINVAL with problems, -ENOMEM */
    int (*compile)(struct broker *broker, const struct parameter_key *key, json_t *value,
                   struct amqp_text *problems, void **ret_compiled);
    /** @compiled is moved; NULL: the parameter is gone */
    void (*apply)(struct broker *broker, const struct parameter_key *key, void *compiled);
    void (*release)(void *compiled);
};

static inline void json_free(json_t *value)
{
    json_decref(value);
}
DEFINE_OWNED(json_free, json_t *)

static struct vhost *vhost_of(const struct broker *broker, const struct parameter_key *key)
{
    return broker_find_vhost(broker, amqp_str_from(key->vhost));
}

/* --- policies --- */

static enum policy_kind policy_kind_of(const struct parameter_key *key)
{
    return key->kind == STORE_KIND_POLICY ? POLICY_USER : POLICY_OPERATOR;
}

static int compile_policy(struct broker *broker, const struct parameter_key *key, json_t *value,
                          struct amqp_text *problems, void **ret_compiled)
{
    struct policy *policy;
    int rc = policy_new(policy_kind_of(key), key->name, value, auth_matcher(broker->auth), problems,
                        &policy);

    if (!rc)
        *ret_compiled = policy;
    return rc;
}

static void apply_policy(struct broker *broker, const struct parameter_key *key, void *compiled)
{
    struct vhost *vhost = vhost_of(broker, key);

    if (compiled)
        policy_put(vhost, policy_kind_of(key), compiled);
    else
        policy_remove(vhost, policy_kind_of(key), key->name);
}

static void release_policy(void *compiled)
{
    policy_unref(compiled);
}

/* --- limits --- */

static int compile_limits(struct broker *broker, const struct parameter_key *key, json_t *value,
                          struct amqp_text *problems, void **ret_compiled)
{
    struct vhost_limits limits, *kept;
    int rc = vhost_limits_parse(key->name, value, problems, &limits);

    (void)broker;
    if (rc)
        return rc;
    kept = malloc(sizeof *kept);
    if (!kept)
        return -ENOMEM;
    *kept = limits;
    *ret_compiled = kept;
    return 0;
}

static void apply_limits(struct broker *broker, const struct parameter_key *key, void *compiled)
{
    struct vhost *vhost = vhost_of(broker, key);
    const struct vhost_limits *limits = compiled;

    vhost->max_connections = limits ? limits->max_connections : -1;
    vhost->max_queues = limits ? limits->max_queues : -1;
    free(compiled);
}

/* --- the name that clients are told --- */

static int compile_cluster_name(struct broker *broker, const struct parameter_key *key,
                                json_t *value, struct amqp_text *problems, void **ret_compiled)
{
    char *name;

    (void)broker;
    (void)key;
    if (!json_is_string(value)) {
        amqp_text_add(problems, AMQP_STR("cluster_name should be a string"));
        return -EINVAL;
    }
    name = strdup(json_string_value(value));
    if (!name)
        return -ENOMEM;
    *ret_compiled = name;
    return 0;
}

static void apply_cluster_name(struct broker *broker, const struct parameter_key *key,
                               void *compiled)
{
    (void)key;
    free(broker->cluster_name);
    broker->cluster_name = compiled;
    broker->settings.cluster_name = compiled ? compiled : broker->configured_cluster_name;
}

static const struct component components[] = {
    { STORE_KIND_POLICY, NULL, NULL, compile_policy, apply_policy, release_policy },
    { STORE_KIND_PARAMETER, "operator_policy", NULL, compile_policy, apply_policy, release_policy },
    { STORE_KIND_PARAMETER, "vhost-limits", "limits", compile_limits, apply_limits, free },
    { .kind = STORE_KIND_PARAMETER, .component = "shovel" },
    { .kind = STORE_KIND_PARAMETER, .component = "federation-upstream" },
    { .kind = STORE_KIND_PARAMETER, .component = "federation-upstream-set" },
    { STORE_KIND_GLOBAL_PARAMETER, NULL, "cluster_name", compile_cluster_name, apply_cluster_name,
      free },
    { .kind = STORE_KIND_GLOBAL_PARAMETER },
};

static const struct component *find_component(const struct parameter_key *key)
{
    for (size_t i = 0; i < N_ELEMENTS(components); i++) {
        const struct component *component = &components[i];

        if (component->kind == key->kind &&
            (!component->component || strcmp(component->component, key->component) == 0) &&
            (!component->name || strcmp(component->name, key->name) == 0))
            return component;
    }
    return NULL;
}

static int refuse_component(const struct parameter_key *key, struct amqp_text *problems)
{
    if (strcmp(key->component, "policy") == 0)
        amqp_text_add(problems, AMQP_STR("policies may not be set using this method"));
    else if (strcmp(key->component, "vhost-limits") == 0)
        amqp_text_printf(problems, "vhost-limits are set under the name 'limits', not '%s'",
                         key->name);
    else
        amqp_text_printf(problems, "component %s not found", key->component);
    return -EINVAL;
}

int component_compile(struct broker *broker, const struct parameter_key *key, const char *json,
                      char *error_text, size_t error_text_size,
                      struct component_effect *ret_effect)
{
    struct amqp_text problems = amqp_text_over(error_text, error_text_size);
    const struct component *component = find_component(key);
    OWNED(json_free) json_t *value = NULL;
    struct component_effect effect = { component, NULL };
    json_error_t error;
    int rc;

    if (!component)
        return refuse_component(key, &problems);
    value = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!value && json_error_code(&error) == json_error_out_of_memory)
        return -ENOMEM;
    if (!value) {
        amqp_text_printf(&problems, "JSON decoding error. Reason: %s", error.text);
        return -EINVAL;
    }
    rc = component->compile
             ? component->compile(broker, key, value, &problems, &effect.compiled)
             : 0;
    if (!rc)
        *ret_effect = effect;
    return rc;
}

void component_apply(struct broker *broker, const struct parameter_key *key,
                     struct component_effect *effect)
{
    const struct component *component = effect->component;

    if (component && component->apply)
        component->apply(broker, key, TAKE(effect->compiled));
    effect->component = NULL;
}

void component_clear(struct broker *broker, const struct parameter_key *key)
{
    const struct component *component = find_component(key);

    if (component && component->apply)
        component->apply(broker, key, NULL);
}

void component_release(struct component_effect *effect)
{
    if (effect->compiled)
        effect->component->release(TAKE(effect->compiled));
}

/*
 * test_queue_arguments.c - arguments of queue.declare: taken, refused, compared, and what they set
 *
 * Spec: extensions.md 1.1, 1.2, 1.4, 1.9, 1.11. Texts are those of RabbitMQ 3.10.
 */
#include "broker/queue_arguments.h"
#include "topology_fixture.h"
#include "unit.h"

/* One argument: a longstr, or an integer where `text` is NULL; 'V' and 't' by `type`. */
struct argument {
    const char *name;
    const char *text;
    int64_t number;
    char type;
};

static void put(struct amqp_table_writer *writer, const struct argument *argument)
{
    if (!argument->name)
        return;
    if (argument->type == 'V')
        amqp_table_put_void(writer, argument->name);
    else if (argument->type == 't')
        amqp_table_put_bool(writer, argument->name, argument->number);
    else if (argument->text)
        amqp_table_put_str(writer, argument->name, amqp_str_from(argument->text));
    else
        amqp_table_put_int(writer, argument->name, argument->number);
}

static int declare(const char *name, const struct queue_properties *like,
                   struct amqp_table arguments, struct queue **ret_queue)
{
    struct queue_properties properties = *like;

    properties.name = amqp_str_from(name);
    properties.arguments = arguments;
    return queue_declare(vhost, &properties, &err, ret_queue);
}

static int declare_with(const struct argument *first, const struct argument *second, bool durable)
{
    struct amqp_table_writer writer = { 0 };
    struct queue *made = NULL;
    int rc;

    put(&writer, first);
    put(&writer, second);
    rc = declare("q", &(struct queue_properties){ .durable = durable },
                 amqp_table_written(&writer), &made);
    amqp_table_writer_release(&writer);
    return rc;
}

#define QUORUM { "x-queue-type", "quorum", 0, 0 }
#define NOTHING { NULL, NULL, 0, 0 }
#define OF(name, reason)                                                                           \
    "PRECONDITION_FAILED - invalid arg '" name "' for queue 'q' in vhost 'v': " reason
#define NOT_OF(name, type)                                                                         \
    "PRECONDITION_FAILED - invalid arg '" name "' for queue 'q' in vhost 'v' of queue type "       \
    "rabbit_" type "_queue"

static const struct {
    struct argument argument, beside;
    const char *error;
} refused[] = {
    { { "x-expires", NULL, 0, 0 }, NOTHING, OF("x-expires", "{value_zero,0}") },
    { { "x-expires", NULL, -1, 0 }, NOTHING, OF("x-expires", "{value_negative,-1}") },
    { { "x-expires", NULL, 315360000001, 0 }, NOTHING,
      OF("x-expires", "{value_too_large,315360000001}") },
    { { "x-expires", "1", 0, 0 }, NOTHING, OF("x-expires", "\"expected integer, got longstr\"") },
    { { "x-message-ttl", NULL, -1, 0 }, NOTHING, OF("x-message-ttl", "{value_negative,-1}") },
    { { "x-message-ttl", NULL, 0, 'V' }, NOTHING,
      OF("x-message-ttl", "\"expected integer, got void\"") },
    { { "x-dead-letter-exchange", NULL, 1, 0 }, NOTHING,
      "PRECONDITION_FAILED - invalid type 'long' for arg 'x-dead-letter-exchange' in queue 'q' in "
      "vhost 'v'" },
    { { "x-dead-letter-exchange", NULL, 0, 'V' }, { "x-queue-type", "foo", 0, 0 },
      "PRECONDITION_FAILED - invalid type 'void' for arg 'x-dead-letter-exchange' in queue 'q' in "
      "vhost 'v'" },
    { { "x-dead-letter-routing-key", "k", 0, 0 }, NOTHING,
      OF("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined") },
    { { "x-dead-letter-routing-key", NULL, 3, 0 }, NOTHING,
      OF("x-dead-letter-routing-key", "{unacceptable_type,long}") },
    { { "x-max-length", NULL, -1, 0 }, NOTHING, OF("x-max-length", "{value_negative,-1}") },
    { { "x-max-length-bytes", NULL, -1, 0 }, NOTHING,
      OF("x-max-length-bytes", "{value_negative,-1}") },
    { { "x-max-priority", NULL, 256, 0 }, NOTHING,
      OF("x-max-priority", "{max_value_exceeded,256}") },
    { { "x-overflow", "foo", 0, 0 }, NOTHING, OF("x-overflow", "invalid_overflow") },
    { { "x-overflow", NULL, 1, 0 }, NOTHING, OF("x-overflow", "{unacceptable_type,long}") },
    { { "x-queue-mode", "foo", 0, 0 }, NOTHING,
      OF("x-queue-mode", "\"unsupported queue mode 'foo'\"") },
    { { "x-queue-version", NULL, 3, 0 }, NOTHING,
      OF("x-queue-version", "\"unsupported queue version '3'\"") },
    { { "x-single-active-consumer", "true", 0, 0 }, NOTHING,
      OF("x-single-active-consumer", "{unacceptable_type,longstr}") },
    { { "x-consumer-timeout", NULL, -1, 0 }, NOTHING,
      OF("x-consumer-timeout", "{value_negative,-1}") },
    { { "x-queue-type", "foo", 0, 0 }, NOTHING,
      OF("x-queue-type", "\"unsupported queue type 'foo'\"") },
    { { "x-queue-type", "", 0, 0 }, NOTHING, OF("x-queue-type", "\"unsupported queue type ''\"") },
    { { "x-queue-type", NULL, 0, 'V' }, NOTHING, OF("x-queue-type", "{unacceptable_type,void}") },
    { { "x-queue-type", "stream", 0, 0 }, NOTHING,
      OF("x-queue-type", "queue type 'stream' is not supported by this version of Leveret") },
    { { "x-queue-leader-locator", "x", 0, 0 }, NOTHING,
      OF("x-queue-leader-locator", "invalid_queue_locator_arg") },
    { { "x-member-placement-tag", "", 0, 0 }, NOTHING,
      OF("x-member-placement-tag", "invalid_member_placement_tag_arg") },
    { { "x-quorum-initial-group-size", NULL, 0, 0 }, QUORUM,
      OF("x-quorum-initial-group-size", "{value_zero,0}") },
    { { "x-dead-letter-strategy", "a", 0, 0 }, QUORUM,
      OF("x-dead-letter-strategy", "invalid_dlx_strategy") },
    { { "x-dead-letter-strategy", NULL, 3, 0 }, QUORUM,
      OF("x-dead-letter-strategy", "{unacceptable_type,long}") },
    { { "x-max-in-memory-length", NULL, -1, 0 }, QUORUM,
      OF("x-max-in-memory-length", "{value_negative,-1}") },
    /* the type comes first, values before names, names in the order of the client */
    { { "x-max-length", NULL, -1, 0 }, { "x-queue-type", "foo", 0, 0 },
      OF("x-queue-type", "\"unsupported queue type 'foo'\"") },
    { { "x-max-age", "1h", 0, 0 }, { "x-max-length", NULL, -1, 0 },
      OF("x-max-length", "{value_negative,-1}") },
    { { "x-max-age", "1h", 0, 0 }, { "x-dead-letter-strategy", "at-least-once", 0, 0 },
      NOT_OF("x-max-age", "classic") },
    { { "x-dead-letter-strategy", "at-least-once", 0, 0 }, { "x-max-age", "1h", 0, 0 },
      NOT_OF("x-dead-letter-strategy", "classic") },
    { { "x-max-priority", NULL, 3, 0 }, QUORUM, NOT_OF("x-max-priority", "quorum") },
    { { "x-queue-mode", "lazy", 0, 0 }, QUORUM, NOT_OF("x-queue-mode", "quorum") },
    { { "x-queue-version", NULL, 2, 0 }, QUORUM, NOT_OF("x-queue-version", "quorum") },
    { { "x-queue-master-locator", "random", 0, 0 }, QUORUM,
      NOT_OF("x-queue-master-locator", "quorum") },
    { { "x-max-age", "1h", 0, 0 }, QUORUM, NOT_OF("x-max-age", "quorum") },
    { { "x-stream-filter-size-bytes", NULL, 16, 0 }, NOTHING,
      NOT_OF("x-stream-filter-size-bytes", "classic") },
    { { "x-initial-cluster-size", NULL, 1, 0 }, NOTHING,
      NOT_OF("x-initial-cluster-size", "classic") },
};

START_TEST(test_what_cannot_be_is_refused_and_nothing_is_declared)
{
    ck_assert_int_eq(declare_with(&refused[_i].argument, &refused[_i].beside, true),
                     AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, refused[_i].error);
    ck_assert_ptr_null(vhost_get_queue(vhost, AMQP_STR("q")));
}
END_TEST

static const struct {
    struct argument argument, beside;
} taken[] = {
    { { "x-expires", NULL, 315360000000, 0 }, NOTHING },
    { { "x-message-ttl", NULL, 0, 0 }, NOTHING },
    { { "x-dead-letter-exchange", "", 0, 0 }, { "x-dead-letter-routing-key", "", 0, 0 } },
    { { "x-max-length", NULL, INT64_C(1) << 62, 0 }, NOTHING },
    { { "x-max-priority", NULL, 255, 0 }, NOTHING },
    { { "x-delivery-limit", NULL, 3, 0 }, NOTHING },
    { { "x-delivery-limit", "three", 0, 0 }, QUORUM },
    { { "x-consumer-timeout", NULL, 0, 0 }, NOTHING },
    { { "x-consumer-timeout", NULL, 1000, 0 }, QUORUM },
    { { "x-queue-leader-locator", "balanced", 0, 0 }, NOTHING },
    { { "x-queue-leader-locator", "least-leaders", 0, 0 }, QUORUM },
    { { "x-queue-master-locator", "min-masters", 0, 0 }, NOTHING },
    { { "x-member-placement-tag", "ssd", 0, 0 }, QUORUM },
    { { "x-quorum-initial-group-size", NULL, 3, 0 }, QUORUM },
    { { "x-dead-letter-strategy", "at-least-once", 0, 0 }, QUORUM },
    { { "x-overflow", "reject-publish-dlx", 0, 0 }, QUORUM },
    { { "x-ha-policy", "all", 0, 0 }, NOTHING },
    { { "x-unheard-of", NULL, 0, 'V' }, QUORUM },
};

START_TEST(test_what_can_be_is_taken_and_equal_to_itself)
{
    for (int again = 0; again < 2; again++)
        ck_assert_msg(declare_with(&taken[_i].argument, &taken[_i].beside, true) == 0, "%s",
                      err.text);
}
END_TEST

/* --- flags of quorum queues, and names --- */

static const struct {
    struct queue_properties properties;
    const char *property;
} flags[] = {
    { { .durable = false }, "non-durable" },
    { { .durable = true, .exclusive = true }, "exclusive-owner" },
    { { .durable = true, .exclusive = true, .auto_delete = true }, "auto-delete" },
    { { .durable = true, .auto_delete = true }, "auto-delete" },
};

START_TEST(test_quorum_queues_have_no_other_properties)
{
    struct amqp_table_writer writer = { 0 };
    struct queue *made = NULL;
    char wanted[128];

    snprintf(wanted, sizeof wanted,
             "PRECONDITION_FAILED - invalid property '%s' for queue 'q' in vhost 'v'",
             flags[_i].property);
    amqp_table_put_str(&writer, "x-queue-type", AMQP_STR("quorum"));
    ck_assert_int_eq(declare("q", &flags[_i].properties, amqp_table_written(&writer), &made),
                     AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, wanted);
    amqp_table_writer_release(&writer);
}
END_TEST

static const struct {
    const char *type, *error;
} server_named[] = {
    { "quorum", "PRECONDITION_FAILED - Cannot declare a server-named queue for type "
                "rabbit_quorum_queue" },
    { "stream", "PRECONDITION_FAILED - Cannot declare a server-named queue for type "
                "rabbit_stream_queue" },
    { "classic", NULL },
};

START_TEST(test_only_classic_queues_are_named_by_the_server)
{
    struct amqp_table_writer writer = { 0 };
    int rc;

    amqp_table_put_str(&writer, "x-queue-type", amqp_str_from(server_named[_i].type));
    rc = queue_arguments_check_server_named(amqp_table_written(&writer), &err);
    ck_assert_int_eq(rc, server_named[_i].error ? AMQP_PRECONDITION_FAILED : 0);
    if (rc)
        ck_assert_str_eq(err.text, server_named[_i].error);
    amqp_table_writer_release(&writer);
}
END_TEST

/* --- redeclaration --- */

static const struct {
    struct argument first, second;
    const char *difference; /* NULL: equal */
} again[] = {
    { { "x-max-length", NULL, 5, 0 }, { "x-max-length", NULL, 5, 0 }, NULL },
    { { "x-max-length", NULL, 5, 0 }, { "x-max-length", NULL, 6, 0 },
      "'x-max-length' for queue 'q' in vhost 'v': received '6' but current is '5'" },
    { { "x-max-length", NULL, 5, 0 }, { "x-max-length", "5", 0, 0 },
      "'x-max-length' for queue 'q' in vhost 'v': received '5' but current is '5'" },
    { NOTHING, { "x-max-length", NULL, 5, 0 },
      "'x-max-length' for queue 'q' in vhost 'v': received the value '5' of type 'long' but "
      "current is none" },
    { { "x-max-length", NULL, 5, 0 }, NOTHING,
      "'x-max-length' for queue 'q' in vhost 'v': received none but current is the value '5' of "
      "type 'long'" },
    { { "x-max-length", NULL, 5, 0 }, { "x-max-length", NULL, 0, 'V' },
      "'x-max-length' for queue 'q' in vhost 'v': received none but current is '5'" },
    { NOTHING, { "x-max-length", NULL, 0, 'V' },
      "'x-max-length' for queue 'q' in vhost 'v': received the value 'undefined' of type 'void' "
      "but current is none" },
    { NOTHING, { "x-queue-type", "classic", 0, 0 }, NULL },
    { { "x-queue-type", "classic", 0, 0 }, NOTHING, NULL },
    { NOTHING, QUORUM,
      "'x-queue-type' for queue 'q' in vhost 'v': received the value 'quorum' of type 'longstr' "
      "but current is none" },
    { QUORUM, NOTHING,
      "'x-queue-type' for queue 'q' in vhost 'v': received none but current is the value 'quorum' "
      "of type 'longstr'" },
    { QUORUM, { "x-queue-type", "classic", 0, 0 },
      "'x-queue-type' for queue 'q' in vhost 'v': received 'classic' but current is 'quorum'" },
    { NOTHING, { "x-consumer-timeout", NULL, 5, 0 }, NULL },
    { NOTHING, { "x-unheard-of", NULL, 5, 0 }, NULL },
    { NOTHING, { "x-max-age", "1h", 0, 0 }, NULL },
    { { "x-delivery-limit", NULL, 5, 0 }, { "x-delivery-limit", NULL, 6, 0 },
      "'x-delivery-limit' for queue 'q' in vhost 'v': received '6' but current is '5'" },
};

START_TEST(test_redeclaration_compares_the_arguments_of_the_type)
{
    static const struct argument nothing = NOTHING;
    char wanted[256];

    ck_assert_msg(declare_with(&again[_i].first, &nothing, true) == 0, "%s", err.text);
    if (!again[_i].difference) {
        ck_assert_msg(declare_with(&again[_i].second, &nothing, true) == 0, "%s", err.text);
        return;
    }
    snprintf(wanted, sizeof wanted, "PRECONDITION_FAILED - inequivalent arg %s",
             again[_i].difference);
    ck_assert_int_eq(declare_with(&again[_i].second, &nothing, true), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, wanted);
}
END_TEST

/* --- the default queue type --- */

static const struct {
    const char *of_vhost, *of_broker, *argued;
    struct queue_properties properties;
    const char *type; /* NULL: none is added */
} defaults[] = {
    { NULL, NULL, NULL, { .durable = true }, NULL },
    { NULL, "quorum", NULL, { .durable = true }, "quorum" },
    { "quorum", NULL, NULL, { .durable = true }, "quorum" },
    { "classic", "quorum", NULL, { .durable = true }, "classic" },
    { "quorum", "classic", NULL, { .durable = true }, "quorum" },
    { "quorum", NULL, "classic", { .durable = true }, "classic" },
    { "quorum", NULL, NULL, { .durable = false }, NULL },
    { "quorum", NULL, NULL, { .durable = true, .exclusive = true }, NULL },
    { "quorum", NULL, NULL, { .durable = true, .auto_delete = true }, NULL },
    { "classic", NULL, NULL, { .exclusive = true }, "classic" },
    { "stream", NULL, NULL, { .durable = true }, "stream" },
    { "undefined", NULL, NULL, { .durable = true }, NULL },
};

START_TEST(test_the_default_queue_type_becomes_an_argument)
{
    struct amqp_table_writer metadata = { 0 }, argued = { 0 }, writer = { 0 };
    struct queue_properties properties = defaults[_i].properties;
    struct amqp_table arguments;
    struct amqp_value value;

    if (defaults[_i].of_vhost)
        amqp_table_put_str(&metadata, "default_queue_type", amqp_str_from(defaults[_i].of_vhost));
    if (defaults[_i].argued)
        amqp_table_put_str(&argued, "x-queue-type", amqp_str_from(defaults[_i].argued));
    amqp_table_put_int(&argued, "x-max-length", 3);
    ck_assert_int_eq(broker_put_vhost(broker, AMQP_STR("v"), amqp_table_written(&metadata), &vhost),
                     0);
    broker->settings.default_queue_type = defaults[_i].of_broker;
    properties.arguments = amqp_table_written(&argued);
    ck_assert_int_eq(queue_arguments_add_default_type(vhost, &properties, &writer, &arguments), 0);
    ck_assert_int_eq(amqp_table_check(arguments), 0);
    ck_assert(amqp_table_get(arguments, AMQP_STR("x-max-length"), &value));
    ck_assert(amqp_table_get(arguments, AMQP_STR("x-queue-type"), &value) == !!defaults[_i].type);
    if (defaults[_i].type)
        ck_assert(amqp_str_equal(amqp_bytes_text(value.bytes), amqp_str_from(defaults[_i].type)));
    amqp_table_writer_release(&metadata);
    amqp_table_writer_release(&argued);
    amqp_table_writer_release(&writer);
}
END_TEST

/* --- what nobody knows --- */

static char log_text[16384];

static void note(void *context, int level, const char *text)
{
    (void)context;
    (void)level;
    strncat(log_text, text, sizeof log_text - strlen(log_text) - 1);
    strncat(log_text, "\n", sizeof log_text - strlen(log_text) - 1);
}

static unsigned lines(void)
{
    unsigned n = 0;

    for (const char *at = log_text; *at; at++)
        n += *at == '\n';
    return n;
}

static void declare_unknown(const char *queue_name, const char *name)
{
    struct amqp_table_writer writer = { 0 };
    struct queue *made = NULL;

    amqp_table_put_int(&writer, name, 1);
    ck_assert_int_eq(declare(queue_name, &(struct queue_properties){ 0 },
                             amqp_table_written(&writer), &made),
                     0);
    ck_assert(amqp_table_equal(queue_arguments(made), amqp_table_written(&writer)));
    amqp_table_writer_release(&writer);
}

START_TEST(test_an_argument_nobody_knows_is_kept_and_listed_once)
{
    char name[32];

    log_text[0] = '\0';
    broker->settings.log = note;
    declare_unknown("a", "x-max-lenght");
    declare_unknown("b", "x-max-lenght");
    ck_assert_uint_eq(lines(), 1);
    ck_assert_ptr_nonnull(strstr(log_text, "queue 'a' in vhost 'v' has the argument "
                                           "'x-max-lenght'"));
    for (int i = 0; i < 2 * BOUND_UNKNOWN_ARGUMENTS; i++) {
        snprintf(name, sizeof name, "x-%d", i);
        declare_unknown(name, name);
    }
    ck_assert_uint_eq(lines(), BOUND_UNKNOWN_ARGUMENTS + 1); /* the last says so */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue_arguments");
    TCase *tests = tcase_create("queue_arguments");

    tcase_add_checked_fixture(tests, topology_setup, topology_teardown);
    tcase_add_loop_test(tests, test_what_cannot_be_is_refused_and_nothing_is_declared, 0,
                        (int)N_ELEMENTS(refused));
    tcase_add_loop_test(tests, test_what_can_be_is_taken_and_equal_to_itself, 0,
                        (int)N_ELEMENTS(taken));
    tcase_add_loop_test(tests, test_quorum_queues_have_no_other_properties, 0,
                        (int)N_ELEMENTS(flags));
    tcase_add_loop_test(tests, test_only_classic_queues_are_named_by_the_server, 0,
                        (int)N_ELEMENTS(server_named));
    tcase_add_loop_test(tests, test_redeclaration_compares_the_arguments_of_the_type, 0,
                        (int)N_ELEMENTS(again));
    tcase_add_loop_test(tests, test_the_default_queue_type_becomes_an_argument, 0,
                        (int)N_ELEMENTS(defaults));
    tcase_add_test(tests, test_an_argument_nobody_knows_is_kept_and_listed_once);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}

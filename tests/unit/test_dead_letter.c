/*
 * test_dead_letter.c - the history in the headers, cycles, and where dead letters go
 *
 * The expected headers were read from RabbitMQ 3.10, except x-last-death-*, which it does not have.
 * They are compared as text that keeps order and types: count=l1 is a 64-bit integer.
 */
#include <errno.h>
#include <stdarg.h>

#include "broker/dead_letter.h"
#include "broker/message_headers.h"
#include "broker/queue-internal.h"
#include "broker/sender_selected.h"
#include "topology_fixture.h"
#include "unit.h"

enum { TEXT_BYTES = 4096 };

static const uint64_t wall_ms = 1700000000123;

/* --- tables as text, and back --- */

static char shown[TEXT_BYTES];
static size_t shown_bytes;

static void show(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void show(const char *format, ...)
{
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(shown + shown_bytes, sizeof shown - shown_bytes, format, arguments);
    va_end(arguments);
    ck_assert_int_ge(n, 0);
    shown_bytes += (size_t)n;
    ck_assert_uint_lt(shown_bytes, sizeof shown);
}

static void show_table(struct amqp_table table);

static void show_value(const struct amqp_value *value)
{
    struct amqp_table_iter iter;
    struct amqp_value element;

    show("%c", value->type);
    if (value->type == 'S') {
        show("%.*s", (int)value->bytes.size, (const char *)value->bytes.data);
    } else if (value->type == 'F') {
        show("{");
        show_table(value->table);
        show("}");
    } else if (value->type == 'A') {
        show("[");
        iter = amqp_table_begin(value->table);
        for (bool more = amqp_array_next(&iter, &element); more;) {
            show_value(&element);
            more = amqp_array_next(&iter, &element);
            if (more)
                show(" ");
        }
        show("]");
    } else {
        show("%lld", (long long)value->integer);
    }
}

static void show_table(struct amqp_table table)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    const char *blank = "";
    struct amqp_value value;
    struct amqp_str key;

    while (amqp_table_next(&iter, &key, &value)) {
        show("%s%.*s=", blank, AMQP_STR_ARG(key));
        show_value(&value);
        blank = " ";
    }
}

static struct amqp_properties properties_of(const struct message *message)
{
    struct amqp_properties properties;

    ck_assert_int_eq(amqp_properties_decode(message_properties(message), &properties), 0);
    return properties;
}

/* Borrowed until the next call. */
static const char *headers_text(const struct message *message)
{
    shown_bytes = 0;
    shown[0] = '\0';
    show_table(properties_of(message).headers);
    return shown;
}

/* One header as text; "" without it. */
static const char *header_text(const struct message *message, const char *key)
{
    struct amqp_value value;

    shown_bytes = 0;
    shown[0] = '\0';
    if (amqp_table_get(properties_of(message).headers, amqp_str_from(key), &value))
        show_value(&value);
    return shown;
}

static struct amqp_str token(const char **at)
{
    size_t n = strcspn(*at, " =[]{}");
    struct amqp_str text = { *at, n };

    *at += n;
    return text;
}

static void read_entries(struct amqp_table_writer *writer, const char **at, bool keys);

/* The value after its type octet; what show_value() writes, for types S, l, I, t, A and F. */
static void read_value(struct amqp_table_writer *writer, struct amqp_str key, const char **at)
{
    struct amqp_table_writer inner = { 0 };
    struct amqp_value value = { .type = *(*at)++ };
    struct amqp_str text;

    if (value.type == 'A' || value.type == 'F') {
        (*at)++;
        read_entries(&inner, at, value.type == 'F');
        (*at)++;
        value.table = amqp_table_written(&inner);
    } else {
        text = token(at);
        if (value.type == 'S')
            value.bytes = (struct amqp_bytes){ (const uint8_t *)text.data, text.size };
        else
            value.integer = strtoll(text.data, NULL, 10);
    }
    amqp_table_put_value(writer, key, &value);
    amqp_table_writer_release(&inner);
}

static void read_entries(struct amqp_table_writer *writer, const char **at, bool keys)
{
    while (**at && **at != ']' && **at != '}') {
        struct amqp_str key = { NULL, 0 };

        if (**at == ' ') {
            (*at)++;
            continue;
        }
        if (keys) {
            key = token(at);
            (*at)++;
        }
        read_value(writer, key, at);
    }
}

/* --- messages --- */

struct sample {
    const char *exchange, *key, *headers, *expiration;
};

static struct message *sample(struct sample with)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_properties properties = { .flags = AMQP_PROPERTY_DELIVERY_MODE,
                                          .delivery_mode = 2 };
    struct message *empty = message_new(amqp_str_from(with.exchange ? with.exchange : ""),
                                        amqp_str_from(with.key ? with.key : "key"),
                                        (struct amqp_bytes){ NULL, 0 }, 4);
    struct message *message;
    const char *at = with.headers;

    ck_assert_ptr_nonnull(empty);
    memcpy(message_body_writable(empty), "body", 4);
    empty->persistent = true;
    empty->priority = 3;
    if (with.headers) {
        read_entries(&writer, &at, true);
        properties.flags |= AMQP_PROPERTY_HEADERS;
        properties.headers = amqp_table_written(&writer);
    }
    if (with.expiration) {
        properties.flags |= AMQP_PROPERTY_EXPIRATION;
        properties.expiration = amqp_str_from(with.expiration);
        empty->expiration_ms = strtoll(with.expiration, NULL, 10);
    }
    ck_assert_int_eq(message_with_properties(empty, message_parts(empty), &properties, &message),
                     0);
    message_unref(empty);
    amqp_table_writer_release(&writer);
    return message;
}

/* @message, which is given up, after it has died in @queue_name; it goes to exchange "dlx". */
static struct message *died(struct message *message, const char *queue_name,
                            enum dead_letter_reason reason, const char *new_key)
{
    struct dead_letter_event event = {
        .queue_name = amqp_str_from(queue_name),
        .reason = reason,
        .wall_ms = wall_ms,
        .exchange = AMQP_STR("dlx"),
        .routing_key = new_key ? amqp_str_from(new_key) : message_routing_key(message),
        .replaces_keys = new_key != NULL,
    };
    struct message *copy = NULL;

    ck_assert_int_eq(dead_letter_message(message, &event, &copy), 0);
    message_unref(message);
    return copy;
}

/* --- history --- */

#define FIRST(exchange, queue, reason)                                                             \
    " x-first-death-exchange=S" exchange " x-first-death-queue=S" queue                            \
    " x-first-death-reason=S" reason
#define LAST(exchange, queue, reason)                                                              \
    " x-last-death-exchange=S" exchange " x-last-death-queue=S" queue                              \
    " x-last-death-reason=S" reason
#define FRESH                                                                                      \
    "count=l1 reason=Srejected queue=Ssrc time=T1700000000 exchange=S routing-keys=A[Skey]"
#define FRESH_SORTED                                                                               \
    "count=l1 exchange=S queue=Ssrc reason=Srejected routing-keys=A[Skey] time=T1700000000"

static const struct {
    const char *headers, *expiration, *expected;
} history_case[] = {
    { NULL, NULL,
      "x-death=A[F{" FRESH "}]" FIRST("", "src", "rejected") LAST("", "src", "rejected") },
    { "", NULL,
      "x-death=A[F{" FRESH "}]" FIRST("", "src", "rejected") LAST("", "src", "rejected") },
    { "b=I1 a=Ss z=l1", "60000",
      "a=Ss b=I1 x-death=A[F{" FRESH " original-expiration=S60000}]" FIRST("", "src", "rejected")
          LAST("", "src", "rejected") " z=l1" },
    { "x-e=I1 x-g=I1 Zz=I1 x-first-death-reason=Smine y=I5", NULL,
      "Zz=I1 x-death=A[F{" FRESH "}] x-e=I1" FIRST("", "src", "rejected") " x-g=I1"
          LAST("", "src", "rejected") " y=I5" },
    { "CC=A[Sk1 I5 Sk2]", NULL,
      "CC=A[Sk1 I5 Sk2] x-death=A[F{count=l1 reason=Srejected queue=Ssrc time=T1700000000 "
      "exchange=S routing-keys=A[Skey Sk1 Sk2]}]" FIRST("", "src", "rejected")
          LAST("", "src", "rejected") },
    /* forged, or published again: the history goes on, and x-first-death-* stay away */
    { "zz=I1 x-death=A[F{queue=Ssrc reason=Srejected count=I7}] aa=I2", NULL,
      "aa=I2 x-death=A[F{count=l8 queue=Ssrc reason=Srejected}]" LAST("", "src", "rejected")
      " zz=I1" },
    { "x-death=A[F{zeta=I1 queue=Sother reason=Srejected count=I7 alpha=I2} "
      "F{queue=Ssrc reason=Srejected count=I2 exchange=See}]", "5",
      "x-death=A[F{count=l3 exchange=See queue=Ssrc reason=Srejected} "
      "F{zeta=I1 queue=Sother reason=Srejected count=I7 alpha=I2}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=Ssrc reason=Srejected count=I7 tag=I1} "
      "F{queue=Ssrc reason=Srejected count=I2 tag=I2}]", NULL,
      "x-death=A[F{count=l8 queue=Ssrc reason=Srejected tag=I1}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=Ssrc reason=Srejected}]", NULL,
      "x-death=A[F{count=l1 queue=Ssrc reason=Srejected}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=Ssrc reason=Srejected} F{queue=Ssrc reason=Srejected count=I4}]", NULL,
      "x-death=A[F{count=l3 queue=Ssrc reason=Srejected}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=Sother reason=Srejected} F{queue=Ssrc reason=Srejected}]", NULL,
      "x-death=A[F{count=l2 queue=Ssrc reason=Srejected} "
      "F{count=l1 queue=Sother reason=Srejected}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=Ssrc reason=Srejected count=T5}]", NULL,
      "x-death=A[F{count=l6 queue=Ssrc reason=Srejected}]" LAST("", "src", "rejected") },
    /* entries that the event is not about become one, too */
    { "x-death=A[F{z=I1 queue=Sa reason=Sexpired} F{queue=Sb reason=Sexpired count=I2 n=I1} "
      "F{z=I2 queue=Sa reason=Sexpired count=I9} F{queue=Sb reason=Sexpired n=I2}]", NULL,
      "x-death=A[F{" FRESH_SORTED "} F{count=l2 z=I1 queue=Sa reason=Sexpired} "
      "F{queue=Sb reason=Sexpired count=I2 n=I1}]" LAST("", "src", "rejected") },
    { "x-death=A[F{n=I1} F{queue=Ssrc} F{n=I2} F{reason=Srejected} F{queue=Ssrc n=I3}]", NULL,
      "x-death=A[F{" FRESH_SORTED "} F{count=l2 n=I1} F{count=l2 queue=Ssrc} "
      "F{count=l1 reason=Srejected}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=I5 reason=l1} F{queue=l5 reason=I1} F{queue=T5 reason=l0} "
      "F{queue=S5 reason=l1}]", NULL,
      "x-death=A[F{" FRESH_SORTED "} F{count=l2 queue=I5 reason=l1} F{count=l1 queue=T5 reason=l0} "
      "F{count=l1 queue=S5 reason=l1}]" LAST("", "src", "rejected") },
    { "x-death=A[]", NULL, "x-death=A[F{" FRESH_SORTED "}]" LAST("", "src", "rejected") },
    { "x-death=A[F{}]", NULL, "x-death=A[F{" FRESH_SORTED "} F{}]" LAST("", "src", "rejected") },
    { "x-death=A[F{reason=Srejected count=I3}]", NULL,
      "x-death=A[F{" FRESH_SORTED "} F{reason=Srejected count=I3}]" LAST("", "src", "rejected") },
    { "aa=I1 x-death=Shello", NULL,
      "aa=I1 x-death=A[F{" FRESH "}]" LAST("", "src", "rejected") },
    { "x-death=I17", NULL, "x-death=A[F{" FRESH "}]" LAST("", "src", "rejected") },
    /* what would stop a queue of RabbitMQ: a count that is none, elements that are no tables */
    { "x-death=A[F{queue=Ssrc reason=Srejected count=S7}]", NULL,
      "x-death=A[F{count=l1 queue=Ssrc reason=Srejected}]" LAST("", "src", "rejected") },
    { "x-death=A[Sx I1]", NULL, "x-death=A[F{" FRESH_SORTED "}]" LAST("", "src", "rejected") },
    { "x-death=A[F{queue=Ssrc reason=Srejected count=l9223372036854775807}]", NULL,
      "x-death=A[F{count=l9223372036854775807 queue=Ssrc reason=Srejected}]"
          LAST("", "src", "rejected") },
};

START_TEST(test_history_is_written_as_rabbitmq_does)
{
    struct message *message = sample((struct sample){ .headers = history_case[_i].headers,
                                                      .expiration = history_case[_i].expiration });

    message = died(message, "src", DEAD_LETTER_REJECTED, "dst");
    if (!history_case[_i].headers || !strstr(history_case[_i].headers, "CC="))
        ck_assert_str_eq(headers_text(message), history_case[_i].expected);
    message_unref(message);

    message = sample((struct sample){ .headers = history_case[_i].headers,
                                      .expiration = history_case[_i].expiration });
    message = died(message, "src", DEAD_LETTER_REJECTED, NULL);
    ck_assert_str_eq(headers_text(message), history_case[_i].expected);
    message_unref(message);
}
END_TEST

/* @n entries about @n_queues queues in turn, none of them with a count. */
static struct message *with_entries(unsigned n, unsigned n_queues)
{
    struct message *empty = sample((struct sample){ .headers = NULL });
    struct amqp_table_writer writer = { 0 };
    size_t array = amqp_table_begin_array(&writer, "x-death"), entry;
    struct amqp_properties properties = { .flags = AMQP_PROPERTY_HEADERS };
    struct message *message;

    for (unsigned i = 0; i < n; i++) {
        entry = amqp_table_begin_table(&writer, NULL);
        amqp_table_put_int(&writer, "queue", i % n_queues);
        amqp_table_end(&writer, entry);
    }
    amqp_table_end(&writer, array);
    properties.headers = amqp_table_written(&writer);
    ck_assert_int_eq(message_with_properties(empty, message_parts(empty), &properties, &message),
                     0);
    amqp_table_writer_release(&writer);
    message_unref(empty);
    return message;
}

/* Comparing each entry with each other would take Check's time limit. */
START_TEST(test_history_of_many_forged_entries_is_merged)
{
    enum { N_ENTRIES = 30000, N_QUEUES = 15000 };
    struct message *message =
        died(with_entries(N_ENTRIES, N_QUEUES), "src", DEAD_LETTER_REJECTED, NULL);
    struct amqp_value deaths, death, value;
    struct amqp_table_iter iter;

    ck_assert(amqp_table_get(properties_of(message).headers, AMQP_STR("x-death"), &deaths));
    iter = amqp_table_begin(deaths.table);
    ck_assert(amqp_array_next(&iter, &death)); /* of the event */
    for (int i = 0; i < N_QUEUES; i++) {
        ck_assert(amqp_array_next(&iter, &death));
        ck_assert(amqp_table_get(death.table, AMQP_STR("queue"), &value));
        ck_assert_int_eq(value.integer, i);
        ck_assert(amqp_table_get(death.table, AMQP_STR("count"), &value));
        ck_assert_int_eq(value.integer, N_ENTRIES / N_QUEUES);
    }
    ck_assert(!amqp_array_next(&iter, &death));
    message_unref(message);
}
END_TEST

START_TEST(test_first_event_has_these_octets)
{
    static const uint8_t expected[] = "\x07x-deathA\0\0\0\x68"
                                      "F\0\0\0\x63"
                                      "\x05" "countl\0\0\0\0\0\0\0\x01"
                                      "\x06reasonS\0\0\0\x07" "expired"
                                      "\x05queueS\0\0\0\x01q"
                                      "\x04timeT\0\0\0\0\x65\x53\xf1\0"
                                      "\x08" "exchangeS\0\0\0\x01" "e"
                                      "\x0crouting-keysA\0\0\0\x06S\0\0\0\x01k";
    struct message *message = sample((struct sample){ .exchange = "e", .key = "k" });
    struct amqp_table headers;

    message = died(message, "q", DEAD_LETTER_EXPIRED, NULL);
    headers = properties_of(message).headers;
    ck_assert_uint_ge(headers.size, sizeof expected - 1);
    ck_assert_mem_eq(headers.data, expected, sizeof expected - 1);
    message_unref(message);
}
END_TEST

START_TEST(test_history_counts_up_in_the_retry_pattern)
{
    struct message *message = sample((struct sample){ .key = "w", .expiration = "60000" });

    message = died(message, "w", DEAD_LETTER_REJECTED, "r");
    message = died(message, "r", DEAD_LETTER_EXPIRED, "w");
    ck_assert_str_eq(
        header_text(message, "x-death"),
        "A[F{count=l1 exchange=Sdlx queue=Sr reason=Sexpired routing-keys=A[Sr] time=T1700000000} "
        "F{count=l1 reason=Srejected queue=Sw time=T1700000000 exchange=S routing-keys=A[Sw] "
        "original-expiration=S60000}]");
    for (int i = 0; i < 2; i++) {
        message = died(message, "w", DEAD_LETTER_REJECTED, "r");
        message = died(message, "r", DEAD_LETTER_EXPIRED, "w");
    }
    ck_assert_str_eq(
        headers_text(message),
        "x-death=A[F{count=l3 exchange=Sdlx queue=Sr reason=Sexpired routing-keys=A[Sr] "
        "time=T1700000000} F{count=l3 exchange=S original-expiration=S60000 queue=Sw "
        "reason=Srejected routing-keys=A[Sw] time=T1700000000}]" FIRST("", "w", "rejected")
            LAST("dlx", "r", "expired"));
    message_unref(message);
}
END_TEST

START_TEST(test_time_is_that_of_the_first_event)
{
    struct message *message = sample((struct sample){ 0 }), *later = NULL;
    struct dead_letter_event event = { .queue_name = AMQP_STR("q"),
                                       .reason = DEAD_LETTER_REJECTED,
                                       .wall_ms = wall_ms + 5000,
                                       .exchange = AMQP_STR("other"),
                                       .routing_key = AMQP_STR("other") };

    message = died(message, "q", DEAD_LETTER_REJECTED, NULL);
    ck_assert_int_eq(dead_letter_message(message, &event, &later), 0);
    ck_assert_str_eq(header_text(later, "x-death"),
                     "A[F{count=l2 exchange=S queue=Sq reason=Srejected routing-keys=A[Skey] "
                     "time=T1700000000}]");
    message_unref(message);
    message_unref(later);
}
END_TEST

START_TEST(test_dead_letter_keeps_all_but_expiration)
{
    struct message *message = sample((struct sample){ .exchange = "e", .expiration = "60000" });
    struct amqp_properties properties;

    message = died(message, "q", DEAD_LETTER_MAXLEN, "other");
    properties = properties_of(message);
    ck_assert_uint_eq(properties.flags, AMQP_PROPERTY_HEADERS | AMQP_PROPERTY_DELIVERY_MODE);
    ck_assert_uint_eq(properties.delivery_mode, 2);
    ck_assert(message->persistent);
    ck_assert_uint_eq(message->priority, 3);
    ck_assert_int_eq(message->expiration_ms, -1);
    ck_assert_uint_eq(message->location, 0);
    ck_assert(amqp_str_equal(message_exchange(message), AMQP_STR("dlx")));
    ck_assert(amqp_str_equal(message_routing_key(message), AMQP_STR("other")));
    ck_assert_uint_eq(message->body_bytes, 4);
    ck_assert_mem_eq(message_body(message), "body", 4);
    message_unref(message);
}
END_TEST

START_TEST(test_delivery_count_is_one_sorted_header)
{
    struct message *message =
        sample((struct sample){ .headers = "zz=I1 x-delivery-count=Sforged aa=I2" });
    struct message *counted = NULL, *bare = sample((struct sample){ 0 });

    ck_assert_int_eq(message_with_delivery_count(message, 2, &counted), 0);
    ck_assert_str_eq(headers_text(counted), "aa=I2 x-delivery-count=l2 zz=I1");
    message_unref(counted);
    ck_assert_int_eq(message_with_delivery_count(bare, 0, &counted), 0);
    ck_assert_str_eq(headers_text(counted), "x-delivery-count=l0");
    ck_assert(counted->persistent);
    message_unref(counted);
    message_unref(bare);
    message_unref(message);
}
END_TEST

/* --- cycles --- */

static const struct {
    const char *headers;
    enum dead_letter_reason reason;
    bool cycle; /* for queue "q" */
} cycle_case[] = {
    { NULL, DEAD_LETTER_EXPIRED, false },
    { "x-death=Sq", DEAD_LETTER_EXPIRED, false },
    { "x-death=A[F{queue=Sq reason=Sexpired}]", DEAD_LETTER_EXPIRED, true },
    { "x-death=A[F{queue=Sq reason=Smaxlen}]", DEAD_LETTER_MAXLEN, true },
    { "x-death=A[F{queue=Sq reason=Sdelivery_limit}]", DEAD_LETTER_DELIVERY_LIMIT, true },
    { "x-death=A[F{queue=Sother reason=Sexpired} F{queue=Sq reason=Smaxlen}]",
      DEAD_LETTER_EXPIRED, true },
    { "x-death=A[F{queue=Sother reason=Sexpired} Sx F{queue=Sq}]", DEAD_LETTER_EXPIRED, true },
    { "x-death=A[F{queue=Sother reason=Sexpired}]", DEAD_LETTER_EXPIRED, false },
    { "x-death=A[F{queue=Sr reason=Sexpired} F{queue=Sq reason=Srejected}]", DEAD_LETTER_EXPIRED,
      false },
    { "x-death=A[F{queue=Sr reason=Srejected} F{queue=Sq reason=Sexpired}]", DEAD_LETTER_EXPIRED,
      false },
    { "x-death=A[F{queue=Sq reason=Sexpired}]", DEAD_LETTER_REJECTED, false },
};

START_TEST(test_cycle_is_a_return_without_a_rejection)
{
    struct message *message = sample((struct sample){ .headers = cycle_case[_i].headers });

    ck_assert(dead_letter_is_cycle(message, cycle_case[_i].reason, AMQP_STR("q")) ==
              cycle_case[_i].cycle);
    message_unref(message);
}
END_TEST

/* --- keys --- */

/* A message with CC and BCC keys as channel_publish() leaves it. */
static struct message *published(const char *exchange_name, const char *key, const char *headers)
{
    struct message *message =
        sample((struct sample){ .exchange = exchange_name, .key = key, .headers = headers });
    struct amqp_properties properties = properties_of(message);
    struct message *stripped = NULL;

    message->persistent = false; /* there is no store */
    ck_assert_int_eq(message_without_bcc(message, &properties, &stripped), 0);
    message_unref(message);
    return stripped;
}

/* The keys that a publish again uses, separated by blanks. */
static const char *keys_text(const struct message *message)
{
    OWNED(sender_keys_release) struct sender_keys *keys = &(struct sender_keys){ 0 };

    ck_assert_int_eq(sender_keys_again(message, properties_of(message).headers, keys), 0);
    shown_bytes = 0;
    for (size_t i = 0; i < keys->n_keys; i++)
        show("%s%.*s", i ? " " : "", AMQP_STR_ARG(keys->keys[i]));
    return shown;
}

#define MANY_KEYS "b1 b2 b3 b4 b5 b6 b7 b8 b9"

static const struct {
    const char *headers, *keys, *left;
} key_case[] = {
    { NULL, "k", "" },
    { "CC=A[Sc1 Sc2]", "k c1 c2", "CC=A[Sc1 Sc2]" },
    { "BCC=A[Sb1 I7 Sb2] a=I1", "k b1 b2", "a=I1" },
    { "BCC=A[Sb] CC=A[Sc]", "k c b", "CC=A[Sc]" },
    { "BCC=A[]", "k", "" },
    { "BCC=A[Sb] BCC=Sx", "k b", "" },
    { "BCC=A[Sb1 Sb2 Sb3 Sb4 Sb5 Sb6 Sb7 Sb8 Sb9]", "k " MANY_KEYS, "" },
};

START_TEST(test_keys_of_the_publish_are_remembered)
{
    struct message *message = published("e", "k", key_case[_i].headers);

    ck_assert_str_eq(keys_text(message), key_case[_i].keys);
    ck_assert_str_eq(headers_text(message), key_case[_i].left);
    ck_assert_mem_eq(message_body(message), "body", 4);
    message_unref(message);
}
END_TEST

START_TEST(test_keys_survive_the_store)
{
    struct message *message = published("e", "k", "BCC=A[Sb1 Sb2] CC=A[Sc]"), *back = NULL;
    uint8_t head[MESSAGE_STORED_HEAD_BYTES];
    struct iovec parts[MESSAGE_STORED_PARTS];
    struct amqp_bytes stored;
    uint8_t *octets;

    message_stored_parts(message, head, parts);
    stored.size = parts[0].iov_len + parts[1].iov_len;
    octets = malloc(stored.size + 1);
    ck_assert_ptr_nonnull(octets);
    memcpy(octets, parts[0].iov_base, parts[0].iov_len);
    memcpy(octets + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    octets[stored.size] = 0;
    stored.data = octets;
    ck_assert_int_eq(message_from_stored(stored, 9, &back), 0);
    ck_assert_str_eq(keys_text(back), "k c b1 b2");
    ck_assert_mem_eq(message_body(back), "body", 4);
    message_unref(back);
    for (size_t size = 0; size <= stored.size + 1; size++)
        if (size != stored.size)
            ck_assert_int_eq(
                message_from_stored((struct amqp_bytes){ octets, size }, 9, &back), -EBADMSG);
    octets[stored.size - 7] = 0xff; /* in the length of the last key */
    ck_assert_int_eq(message_from_stored(stored, 9, &back), -EBADMSG);
    free(octets);
    message_unref(message);
}
END_TEST

START_TEST(test_new_key_replaces_all_others)
{
    struct message *message = published("e", "k", "BCC=A[Sb] CC=A[Sc] a=I1");

    message = died(message, "q", DEAD_LETTER_EXPIRED, NULL);
    ck_assert_str_eq(keys_text(message), "k c b");
    message = died(message, "r", DEAD_LETTER_EXPIRED, "new");
    ck_assert_str_eq(keys_text(message), "new");
    ck_assert_str_eq(header_text(message, "CC"), "");
    ck_assert_str_eq(
        header_text(message, "x-death"),
        "A[F{count=l1 exchange=Sdlx queue=Sr reason=Sexpired routing-keys=A[Sk Sc] "
        "time=T1700000000} F{count=l1 reason=Sexpired queue=Sq time=T1700000000 exchange=Se "
        "routing-keys=A[Sk Sc]}]");
    message_unref(message);
}
END_TEST

/* --- on the way, in a broker without a store --- */

static unsigned n_logged;
static char last_logged[BOUND_LOG_LINE_BYTES];

static void on_log(void *context, int level, const char *text)
{
    (void)context, (void)level;
    n_logged++;
    snprintf(last_logged, sizeof last_logged, "%s", text);
}

static void setup(void)
{
    topology_setup();
    broker->settings.log = on_log;
    n_logged = 0;
    broker_begin(broker, 1000, wall_ms);
}

/* A queue with dead letters: @arguments as text. */
static struct queue *source(const char *name, const char *arguments)
{
    struct amqp_table_writer writer = { 0 };
    struct queue_properties properties = { .name = amqp_str_from(name) };
    struct queue *queue = NULL;

    read_entries(&writer, &arguments, true);
    properties.arguments = amqp_table_written(&writer);
    ck_assert_int_eq(queue_new(vhost, &properties, &queue), 0);
    amqp_table_writer_release(&writer);
    return queue;
}

/* A message that dies in @queue; given up. */
static void die(struct queue *queue, struct message *message, enum dead_letter_reason reason)
{
    struct queue_entry entry = { .message = message,
                                 .body_bytes = message->body_bytes,
                                 .flags = ENTRY_RESIDENT };

    dead_letter_add(queue, &entry, reason);
}

/* Names and counts of the queues that hold something, by name. */
static const char *holding(void)
{
    struct queue *found[16], *queue, *next;
    size_t n = 0;

    VHOST_EACH_QUEUE(vhost, queue, next) {
        ck_assert_uint_lt(n, N_ELEMENTS(found));
        found[n++] = queue;
    }
    qsort(found, n, sizeof found[0], compare_names);
    shown_bytes = 0;
    shown[0] = '\0';
    for (size_t i = 0; i < n; i++)
        if (queue_ready_count(found[i]))
            show("%s%s:%u", shown_bytes ? " " : "", found[i]->destination.name.data,
                 queue_ready_count(found[i]));
    return shown;
}

static void two_routes(void)
{
    exchange("dlx", "direct");
    add(to_queue("dlx", "a", "k"));
    add(to_queue("dlx", "b", "c"));
    add(to_queue("dlx", "c", "b"));
    add(to_queue("dlx", "d", "new"));
}

START_TEST(test_dead_letter_goes_by_all_keys_of_its_publish)
{
    struct queue *src = source("src", "x-dead-letter-exchange=Sdlx");

    two_routes();
    die(src, published("e", "k", "CC=A[Sc] BCC=A[Sb]"), DEAD_LETTER_REJECTED);
    ck_assert(dead_letter_pending(broker));
    ck_assert_str_eq(holding(), "");
    dead_letter_run(broker);
    ck_assert(!dead_letter_pending(broker));
    ck_assert_str_eq(holding(), "a:1 b:1 c:1");
}
END_TEST

START_TEST(test_dead_letter_goes_by_the_queues_own_key)
{
    struct queue *src =
        source("src", "x-dead-letter-exchange=Sdlx x-dead-letter-routing-key=Snew");

    two_routes();
    die(src, published("e", "k", "CC=A[Sc] BCC=A[Sb]"), DEAD_LETTER_REJECTED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "d:1");
}
END_TEST

START_TEST(test_dead_letter_goes_to_the_default_exchange)
{
    struct queue *src = source("src", "x-dead-letter-exchange=S x-dead-letter-routing-key=Sdst");

    queue("dst");
    die(src, published("e", "k", NULL), DEAD_LETTER_EXPIRED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "dst:1");
}
END_TEST

START_TEST(test_missing_exchange_is_logged_once_and_may_come_later)
{
    struct queue *src = source("src", "x-dead-letter-exchange=Sdlx");

    for (int i = 0; i < 3; i++)
        die(src, published("e", "k", NULL), DEAD_LETTER_EXPIRED);
    ck_assert(!dead_letter_pending(broker));
    ck_assert_uint_eq(n_logged, 1);
    ck_assert_ptr_nonnull(strstr(last_logged, "'dlx'"));
    two_routes();
    die(src, published("e", "k", NULL), DEAD_LETTER_EXPIRED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "a:1");
}
END_TEST

START_TEST(test_queue_without_exchange_only_drops)
{
    die(queue("plain"), published("e", "k", NULL), DEAD_LETTER_REJECTED);
    ck_assert(!dead_letter_pending(broker));
    ck_assert_uint_eq(n_logged, 0);
}
END_TEST

START_TEST(test_alternate_exchange_takes_dead_letters)
{
    struct amqp_table_writer writer = { 0 };

    amqp_table_put_str(&writer, "alternate-exchange", AMQP_STR("other"));
    exchange_with("dlx", "direct",
                  (struct exchange_properties){ .internal = true,
                                                .arguments = amqp_table_written(&writer) });
    amqp_table_writer_release(&writer);
    exchange("other", "fanout");
    add(to_queue("other", "dst", ""));
    die(source("src", "x-dead-letter-exchange=Sdlx"), published("e", "k", NULL),
        DEAD_LETTER_EXPIRED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "dst:1");
}
END_TEST

START_TEST(test_cycle_leaves_out_its_queue_alone_and_is_logged_once)
{
    struct queue *src = source("src", "x-dead-letter-exchange=Sdlx");

    exchange("dlx", "fanout");
    add(to_queue("dlx", "src", ""));
    add(to_queue("dlx", "dst", ""));
    for (int i = 0; i < 3; i++)
        die(src, published("e", "k", NULL), DEAD_LETTER_EXPIRED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "dst:3");
    ck_assert_uint_eq(n_logged, 1);
    die(src, published("e", "k", NULL), DEAD_LETTER_REJECTED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "dst:4 src:1");
}
END_TEST

START_TEST(test_refused_message_is_dead_lettered_as_maxlen)
{
    struct queue *src = source("src", "x-dead-letter-exchange=Sdlx");
    struct message *message = published("e", "k", NULL);
    struct queue_entry entry;

    two_routes();
    dead_letter_refused(src, message);
    message_unref(message);
    dead_letter_run(broker);
    ck_assert(queue_pop(queue("a"), &entry));
    ck_assert_str_eq(header_text(entry.message, "x-first-death-reason"), "Smaxlen");
    queue_release_entry(queue("a"), &entry);
}
END_TEST

START_TEST(test_chain_runs_to_its_end)
{
    struct queue *src = source("src", "x-dead-letter-exchange=S x-dead-letter-routing-key=Smid");
    struct queue_entry entry;

    source("mid", "x-dead-letter-exchange=S x-dead-letter-routing-key=Send x-max-length=l0 "
                  "x-overflow=Sreject-publish-dlx");
    queue("end");
    die(src, published("e", "k", NULL), DEAD_LETTER_REJECTED);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "end:1");
    ck_assert(queue_pop(queue("end"), &entry));
    ck_assert_str_eq(header_text(entry.message, "x-death"),
                     "A[F{count=l1 exchange=S queue=Smid reason=Smaxlen routing-keys=A[Smid] "
                     "time=T1700000000} F{count=l1 reason=Srejected queue=Ssrc time=T1700000000 "
                     "exchange=Se routing-keys=A[Sk]}]");
    queue_release_entry(queue("end"), &entry);
}
END_TEST

START_TEST(test_source_may_be_deleted_meanwhile)
{
    struct queue *src = source("src", "x-dead-letter-exchange=Sdlx");

    two_routes();
    die(src, published("e", "k", NULL), DEAD_LETTER_REJECTED);
    queue_delete(src);
    dead_letter_run(broker);
    ck_assert_str_eq(holding(), "a:1");
}
END_TEST

static TCase *pure_cases(void)
{
    TCase *tcase = tcase_create("history");

    tcase_add_loop_test(tcase, test_history_is_written_as_rabbitmq_does, 0,
                        (int)N_ELEMENTS(history_case));
    tcase_add_test(tcase, test_history_of_many_forged_entries_is_merged);
    tcase_add_test(tcase, test_first_event_has_these_octets);
    tcase_add_test(tcase, test_history_counts_up_in_the_retry_pattern);
    tcase_add_test(tcase, test_time_is_that_of_the_first_event);
    tcase_add_test(tcase, test_dead_letter_keeps_all_but_expiration);
    tcase_add_test(tcase, test_delivery_count_is_one_sorted_header);
    tcase_add_loop_test(tcase, test_cycle_is_a_return_without_a_rejection, 0,
                        (int)N_ELEMENTS(cycle_case));
    tcase_add_loop_test(tcase, test_keys_of_the_publish_are_remembered, 0,
                        (int)N_ELEMENTS(key_case));
    tcase_add_test(tcase, test_keys_survive_the_store);
    tcase_add_test(tcase, test_new_key_replaces_all_others);
    return tcase;
}

static TCase *routed_cases(void)
{
    TCase *tcase = tcase_create("routing");

    tcase_add_checked_fixture(tcase, setup, topology_teardown);
    tcase_add_test(tcase, test_dead_letter_goes_by_all_keys_of_its_publish);
    tcase_add_test(tcase, test_dead_letter_goes_by_the_queues_own_key);
    tcase_add_test(tcase, test_dead_letter_goes_to_the_default_exchange);
    tcase_add_test(tcase, test_missing_exchange_is_logged_once_and_may_come_later);
    tcase_add_test(tcase, test_queue_without_exchange_only_drops);
    tcase_add_test(tcase, test_alternate_exchange_takes_dead_letters);
    tcase_add_test(tcase, test_cycle_leaves_out_its_queue_alone_and_is_logged_once);
    tcase_add_test(tcase, test_refused_message_is_dead_lettered_as_maxlen);
    tcase_add_test(tcase, test_chain_runs_to_its_end);
    tcase_add_test(tcase, test_source_may_be_deleted_meanwhile);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("dead_letter");

    suite_add_tcase(suite, pure_cases());
    suite_add_tcase(suite, routed_cases());
    return unit_run(suite);
}

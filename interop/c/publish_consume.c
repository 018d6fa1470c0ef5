/*
 * publish_consume.c - publish, get and consume, with every property and field type
 *
 * The first half publishes a message with all fourteen properties and a headers table of every
 * type that rabbitmq-c can encode, and prints what comes back. The second half consumes with a
 * prefetch window: the broker must stop at the window and go on when something is acknowledged.
 */
#include "libclient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE "interop.c.consume"
#define PREFETCH 3
#define MESSAGES 8

static amqp_table_entry_t entry(const char *key, amqp_field_value_t value)
{
    return (amqp_table_entry_t){ .key = amqp_cstring_bytes(key), .value = value };
}

static void publish_everything(amqp_connection_state_t conn)
{
    amqp_table_entry_t inner[] = {
        entry("deep", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_UTF8,
                                            .value.bytes = amqp_cstring_bytes("down") }),
    };
    amqp_field_value_t list[] = {
        { .kind = AMQP_FIELD_KIND_I32, .value.i32 = -5 },
        { .kind = AMQP_FIELD_KIND_VOID },
    };
    amqp_table_entry_t headers[] = {
        entry("bool", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 }),
        entry("i8", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I8, .value.i8 = -8 }),
        entry("u8", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_U8, .value.u8 = 200 }),
        entry("i16", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I16, .value.i16 = -1600 }),
        entry("u16", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_U16, .value.u16 = 60000 }),
        entry("i32", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I32, .value.i32 = -320000 }),
        entry("u32", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_U32, .value.u32 = 4000000000 }),
        entry("i64", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I64,
                                           .value.i64 = -64000000000 }),
        entry("f32", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_F32, .value.f32 = 1.5F }),
        entry("f64", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_F64, .value.f64 = -2.25 }),
        entry("decimal", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_DECIMAL,
                                               .value.decimal = { 2, 12345 } }),
        entry("text", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_UTF8,
                                            .value.bytes = amqp_cstring_bytes("hare") }),
        entry("bytes", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_BYTES,
                                             .value.bytes = amqp_cstring_bytes("\x01\x02") }),
        entry("time", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_TIMESTAMP,
                                            .value.u64 = 1700000000 }),
        entry("void", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_VOID }),
        entry("table", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_TABLE,
                                             .value.table = { 1, inner } }),
        entry("array", (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_ARRAY,
                                             .value.array = { 2, list } }),
    };
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
                  AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                  AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
                  AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_EXPIRATION_FLAG |
                  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG |
                  AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_APP_ID_FLAG | AMQP_BASIC_CLUSTER_ID_FLAG,
        .content_type = amqp_cstring_bytes("text/plain"),
        .content_encoding = amqp_cstring_bytes("utf-8"),
        .headers = { sizeof(headers) / sizeof(headers[0]), headers },
        .delivery_mode = 2,
        .priority = 7,
        .correlation_id = amqp_cstring_bytes("correlation"),
        .reply_to = amqp_cstring_bytes("somewhere"),
        .expiration = amqp_cstring_bytes("3600000"),
        .message_id = amqp_cstring_bytes("message-1"),
        .timestamp = 1700000001,
        .type = amqp_cstring_bytes("greeting"),
        .user_id = amqp_cstring_bytes("guest"),
        .app_id = amqp_cstring_bytes("interop"),
        .cluster_id = amqp_cstring_bytes("cluster"),
    };

    client_publish(conn, "", QUEUE, 0, &properties, "with everything");
}

static void print_value(const amqp_field_value_t *value)
{
    int at;

    printf("%c ", value->kind);
    switch (value->kind) {
    case AMQP_FIELD_KIND_BOOLEAN:
        printf("%d", value->value.boolean);
        break;
    case AMQP_FIELD_KIND_I8:
        printf("%d", value->value.i8);
        break;
    case AMQP_FIELD_KIND_U8:
        printf("%u", value->value.u8);
        break;
    case AMQP_FIELD_KIND_I16:
        printf("%d", value->value.i16);
        break;
    case AMQP_FIELD_KIND_U16:
        printf("%u", value->value.u16);
        break;
    case AMQP_FIELD_KIND_I32:
        printf("%d", value->value.i32);
        break;
    case AMQP_FIELD_KIND_U32:
        printf("%u", value->value.u32);
        break;
    case AMQP_FIELD_KIND_I64:
        printf("%lld", (long long)value->value.i64);
        break;
    case AMQP_FIELD_KIND_TIMESTAMP:
        printf("%llu", (unsigned long long)value->value.u64);
        break;
    case AMQP_FIELD_KIND_F32:
        printf("%g", (double)value->value.f32);
        break;
    case AMQP_FIELD_KIND_F64:
        printf("%g", value->value.f64);
        break;
    case AMQP_FIELD_KIND_DECIMAL:
        printf("%u/%u", value->value.decimal.value, value->value.decimal.decimals);
        break;
    case AMQP_FIELD_KIND_UTF8:
        printf("%.*s", (int)value->value.bytes.len, (const char *)value->value.bytes.bytes);
        break;
    case AMQP_FIELD_KIND_BYTES:
        for (size_t i = 0; i < value->value.bytes.len; i++)
            printf("%02x", ((const unsigned char *)value->value.bytes.bytes)[i]);
        break;
    case AMQP_FIELD_KIND_TABLE:
        for (at = 0; at < value->value.table.num_entries; at++) {
            const amqp_table_entry_t *inner = &value->value.table.entries[at];

            printf("%.*s=", (int)inner->key.len, (const char *)inner->key.bytes);
            print_value(&inner->value);
        }
        break;
    case AMQP_FIELD_KIND_ARRAY:
        for (at = 0; at < value->value.array.num_entries; at++) {
            printf("%s", at ? ", " : "");
            print_value(&value->value.array.entries[at]);
        }
        break;
    default:
        break;
    }
}

static void print_text(const char *name, amqp_bytes_t text)
{
    printf("  %s: %.*s\n", name, (int)text.len, (const char *)text.bytes);
}

static void print_properties(const amqp_basic_properties_t *p)
{
    printf("  flags: %04x\n", p->_flags);
    print_text("content-type", p->content_type);
    print_text("content-encoding", p->content_encoding);
    printf("  delivery-mode: %u\n  priority: %u\n", p->delivery_mode, p->priority);
    print_text("correlation-id", p->correlation_id);
    print_text("reply-to", p->reply_to);
    print_text("expiration", p->expiration);
    print_text("message-id", p->message_id);
    printf("  timestamp: %llu\n", (unsigned long long)p->timestamp);
    print_text("type", p->type);
    print_text("user-id", p->user_id);
    print_text("app-id", p->app_id);
    print_text("cluster-id", p->cluster_id);
    for (int at = 0; at < p->headers.num_entries; at++) {
        const amqp_table_entry_t *header = &p->headers.entries[at];

        printf("  header %.*s: ", (int)header->key.len, (const char *)header->key.bytes);
        print_value(&header->value);
        printf("\n");
    }
}

/* Takes one delivery, prints it and returns its tag; a body in many frames is one body here. */
static uint64_t consume_one(amqp_connection_state_t conn, int with_properties)
{
    struct timeval limit = { .tv_sec = CLIENT_WAIT_S };
    amqp_envelope_t envelope;
    uint64_t tag;

    amqp_maybe_release_buffers(conn);
    if (amqp_consume_message(conn, &envelope, &limit, 0).reply_type != AMQP_RESPONSE_NORMAL) {
        fprintf(stderr, "no delivery\n");
        exit(1);
    }
    tag = envelope.delivery_tag;
    printf("delivery %llu to %.*s: key '%.*s', redelivered %d, %zu bytes", (unsigned long long)tag,
           (int)envelope.consumer_tag.len, (const char *)envelope.consumer_tag.bytes,
           (int)envelope.routing_key.len, (const char *)envelope.routing_key.bytes,
           envelope.redelivered, envelope.message.body.len);
    if (envelope.message.body.len < 40)
        printf(": %.*s", (int)envelope.message.body.len,
               (const char *)envelope.message.body.bytes);
    printf("\n");
    if (with_properties)
        print_properties(&envelope.message.properties);
    amqp_destroy_envelope(&envelope);
    return tag;
}

static void check_no_delivery(amqp_connection_state_t conn)
{
    struct timeval now = { .tv_sec = 0 };
    amqp_frame_t frame;

    /* A synchronous call first: whatever was sent before its answer is queued in the library. */
    amqp_basic_qos(conn, 1, 0, PREFETCH, 0);
    client_must(conn, "basic.qos");
    printf("beyond the window: %s\n",
           amqp_simple_wait_frame_noblock(conn, &frame, &now) == AMQP_STATUS_TIMEOUT
               ? "nothing" : "a frame");
}

static void large_body(amqp_connection_state_t conn)
{
    size_t size = 1000000;
    char *body = malloc(size + 1);

    if (!body)
        exit(1);
    memset(body, 'x', size);
    body[size] = '\0';
    client_publish(conn, "", QUEUE, 0, NULL, body);
    free(body);
}

int main(void)
{
    amqp_connection_state_t conn = client_open();
    uint64_t tag = 0;
    char body[32];

    client_queue(conn, QUEUE, 1);
    amqp_basic_qos(conn, 1, 0, PREFETCH, 0);
    client_must(conn, "basic.qos");
    publish_everything(conn);
    client_publish(conn, "", QUEUE, 0, NULL, "");
    large_body(conn);
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(body, sizeof(body), "job %d", i);
        client_publish(conn, "amq.direct", QUEUE, 0, NULL, body); /* not bound: goes nowhere */
        client_publish(conn, "", QUEUE, 0, NULL, body);
    }
    client_print_count(conn, QUEUE, MESSAGES + 3);
    amqp_basic_consume(conn, 1, amqp_cstring_bytes(QUEUE), amqp_cstring_bytes("reader"), 0, 0, 0,
                       amqp_empty_table);
    client_must(conn, "basic.consume");
    for (int i = 0; i < PREFETCH; i++)
        tag = consume_one(conn, i == 0);
    check_no_delivery(conn);
    while (tag < MESSAGES + 3) {
        if (amqp_basic_ack(conn, 1, tag, 1))
            return 1;
        for (int i = 0; i < PREFETCH && tag < MESSAGES + 3; i++)
            tag = consume_one(conn, 0);
    }
    amqp_basic_cancel(conn, 1, amqp_cstring_bytes("reader"));
    client_must(conn, "basic.cancel");
    if (amqp_basic_nack(conn, 1, tag, 0, 1))
        return 1;
    tag = client_get(conn, QUEUE, 0);
    if (amqp_basic_reject(conn, 1, tag, 0))
        return 1;
    client_get(conn, QUEUE, 0);
    client_delete_queue(conn, QUEUE);
    client_close(conn);
    return 0;
}

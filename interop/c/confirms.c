/*
 * confirms.c - publisher confirms, mandatory returns and their order
 *
 * Confirms may be coalesced, so the transcript shows only the expanded result: every number once,
 * and for a mandatory message that nobody takes, the return before its confirm.
 */
#include "libclient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE "interop.c.confirms"
#define MESSAGES 500

struct outcome {
    uint64_t highest;     /* publishes 1..highest have been answered */
    unsigned acks, nacks; /* publishes, not frames */
    unsigned returns;
};

static void take_return(amqp_connection_state_t conn, const amqp_frame_t *frame,
                        const struct outcome *outcome)
{
    amqp_basic_return_t *returned = frame->payload.method.decoded;
    amqp_message_t message;

    printf("returned %u %.*s, exchange '%.*s', key '%.*s'", returned->reply_code,
           (int)returned->reply_text.len, (const char *)returned->reply_text.bytes,
           (int)returned->exchange.len, (const char *)returned->exchange.bytes,
           (int)returned->routing_key.len, (const char *)returned->routing_key.bytes);
    if (amqp_read_message(conn, 1, &message, 0).reply_type != AMQP_RESPONSE_NORMAL)
        exit(1);
    printf(", message-id '%.*s', body '%.*s', after %llu confirms\n",
           (int)message.properties.message_id.len,
           (const char *)message.properties.message_id.bytes, (int)message.body.len,
           (const char *)message.body.bytes, (unsigned long long)outcome->highest);
    amqp_destroy_message(&message);
}

/* Reads frames until @count publishes are answered; one channel, so tags close from below. */
static void wait_confirms(amqp_connection_state_t conn, uint64_t count, struct outcome *outcome)
{
    static unsigned char answered[MESSAGES * 2];

    while (outcome->highest < count) {
        amqp_frame_t frame = client_wait_frame(conn);
        uint64_t tag, first;
        int multiple, nack;

        if (frame.frame_type != AMQP_FRAME_METHOD)
            continue;
        if (frame.payload.method.id == AMQP_BASIC_RETURN_METHOD) {
            outcome->returns++;
            take_return(conn, &frame, outcome);
            continue;
        }
        nack = frame.payload.method.id == AMQP_BASIC_NACK_METHOD;
        if (!nack && frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
            fprintf(stderr, "unexpected method %08x\n", frame.payload.method.id);
            exit(1);
        }
        tag = nack ? ((amqp_basic_nack_t *)frame.payload.method.decoded)->delivery_tag
                   : ((amqp_basic_ack_t *)frame.payload.method.decoded)->delivery_tag;
        multiple = nack ? ((amqp_basic_nack_t *)frame.payload.method.decoded)->multiple
                        : ((amqp_basic_ack_t *)frame.payload.method.decoded)->multiple;
        first = multiple ? outcome->highest + 1 : tag;
        for (uint64_t i = first; i <= tag && i < sizeof(answered); i++) {
            if (answered[i] && !multiple)
                printf("publish %llu answered twice\n", (unsigned long long)i);
            if (!answered[i])
                nack ? outcome->nacks++ : outcome->acks++;
            answered[i] = 1;
        }
        while (outcome->highest + 1 < sizeof(answered) && answered[outcome->highest + 1])
            outcome->highest++;
    }
    printf("%llu answered: %u acks, %u nacks, %u returns\n", (unsigned long long)outcome->highest,
           outcome->acks, outcome->nacks, outcome->returns);
}

int main(void)
{
    amqp_connection_state_t conn = client_open();
    amqp_basic_properties_t persistent = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
        .delivery_mode = 2,
        .message_id = amqp_cstring_bytes("lost"),
    };
    struct outcome outcome = { 0 };

    client_queue(conn, QUEUE, 1);
    client_publish(conn, "", QUEUE, 0, NULL, "before select, not counted");
    amqp_confirm_select(conn, 1);
    client_must(conn, "confirm.select");
    for (int i = 0; i < MESSAGES; i++)
        client_publish(conn, "", QUEUE, 0, &persistent, "hop");
    wait_confirms(conn, MESSAGES, &outcome);
    client_publish(conn, "", "interop.c.nobody", 0, &persistent, "not mandatory");
    wait_confirms(conn, MESSAGES + 1, &outcome);
    client_publish(conn, "amq.topic", "interop.c.nobody", 1, &persistent, "mandatory");
    wait_confirms(conn, MESSAGES + 2, &outcome);
    client_publish(conn, "", QUEUE, 1, NULL, "mandatory and routed");
    wait_confirms(conn, MESSAGES + 3, &outcome);
    amqp_confirm_select(conn, 1);
    client_must(conn, "confirm.select");
    client_publish(conn, "", QUEUE, 0, NULL, "numbering goes on");
    wait_confirms(conn, MESSAGES + 4, &outcome);
    client_print_count(conn, QUEUE, MESSAGES + 3);
    amqp_tx_select(conn, 1);
    client_print_reply(conn, 1, "tx.select", amqp_get_rpc_reply(conn));
    client_open_channel(conn, 1);
    client_delete_queue(conn, QUEUE);
    client_close(conn);
    return 0;
}

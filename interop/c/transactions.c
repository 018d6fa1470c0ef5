/*
 * transactions.c - tx.select, commit and rollback of publishes and acknowledgements
 *
 * A second connection looks at the queue from outside, because counts seen there prove what was
 * committed and what was not.
 */
#include "libclient.h"

#include <stdio.h>

#define QUEUE "interop.c.tx"

static void commit(amqp_connection_state_t conn)
{
    amqp_tx_commit(conn, 1);
    client_print_reply(conn, 1, "tx.commit", amqp_get_rpc_reply(conn));
}

static void rollback(amqp_connection_state_t conn)
{
    amqp_tx_rollback(conn, 1);
    client_print_reply(conn, 1, "tx.rollback", amqp_get_rpc_reply(conn));
}

/* A transaction's mandatory message comes back at commit, before commit-ok: so it is queued. */
static void mandatory_in_transaction(amqp_connection_state_t conn)
{
    amqp_basic_return_t *returned;
    amqp_message_t message;
    amqp_frame_t frame;

    client_publish(conn, "", "interop.c.nobody", 1, NULL, "nobody");
    commit(conn);
    frame = client_wait_frame(conn);
    if (frame.payload.method.id != AMQP_BASIC_RETURN_METHOD) {
        printf("no return\n");
        return;
    }
    returned = frame.payload.method.decoded;
    printf("returned %u %.*s\n", returned->reply_code, (int)returned->reply_text.len,
           (const char *)returned->reply_text.bytes);
    if (amqp_read_message(conn, 1, &message, 0).reply_type != AMQP_RESPONSE_NORMAL)
        printf("without content\n");
    else
        amqp_destroy_message(&message);
}

int main(void)
{
    amqp_connection_state_t conn = client_open();
    amqp_connection_state_t outside = client_open();
    uint64_t tag;

    client_queue(conn, QUEUE, 1);
    commit(conn);
    client_open_channel(conn, 1);
    rollback(conn);
    client_open_channel(conn, 1);

    amqp_tx_select(conn, 1);
    client_print_reply(conn, 1, "tx.select", amqp_get_rpc_reply(conn));
    commit(conn);
    client_publish(conn, "", QUEUE, 0, NULL, "one");
    client_publish(conn, "", QUEUE, 0, NULL, "two");
    client_print_count(conn, QUEUE, 0);
    client_print_count(outside, QUEUE, 0);
    commit(conn);
    client_print_count(outside, QUEUE, 2);
    client_publish(conn, "", QUEUE, 0, NULL, "never");
    rollback(conn);
    client_print_count(outside, QUEUE, 2);
    mandatory_in_transaction(conn);

    tag = client_get(conn, QUEUE, 0);
    if (amqp_basic_ack(conn, 1, tag, 0))
        return 1;
    rollback(conn);
    printf("rolled back ack: still unacknowledged\n");
    client_print_count(outside, QUEUE, 1);
    if (amqp_basic_ack(conn, 1, tag, 0))
        return 1;
    client_publish(conn, "", QUEUE, 0, NULL, "three");
    commit(conn);
    client_print_count(outside, QUEUE, 2);
    tag = client_get(conn, QUEUE, 0);
    if (amqp_basic_nack(conn, 1, tag, 0, 1))
        return 1;
    client_print_count(outside, QUEUE, 1);
    commit(conn);
    client_print_count(outside, QUEUE, 2);

    client_publish(conn, "", QUEUE, 0, NULL, "uncommitted at close");
    client_close(conn);
    client_get(outside, QUEUE, 1);
    client_get(outside, QUEUE, 1);
    client_get(outside, QUEUE, 1);
    amqp_confirm_select(outside, 1);
    client_must(outside, "confirm.select");
    amqp_tx_select(outside, 1);
    client_print_reply(outside, 1, "tx.select in confirm mode", amqp_get_rpc_reply(outside));
    client_open_channel(outside, 1);
    client_delete_queue(outside, QUEUE);
    client_close(outside);
    return 0;
}

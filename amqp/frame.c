/*
 * frame.c - one whole frame, or the reason why not yet
 *
 * The scanner looks at the seven octets of the head and at the end octet, nothing in between, and
 * keeps no state: whoever reads from the socket calls it again with more octets. A size that is
 * announced is refused before one octet of it is waited for, so nobody buffers what will not be
 * accepted.
 */
#include "amqp/frame.h"

#include "amqp/text.h"
#include "amqp/wire.h"

enum {
    SNIPPET_BYTES = 16,     /* of a payload, quoted in an error text */
    SNIPPET_TEXT_BYTES = 80 /* 16 times "255," and the brackets */
};

enum amqp_scan amqp_frame_scan(struct amqp_bytes received, uint32_t payload_max_bytes,
                               struct amqp_frame *ret_frame)
{
    const uint8_t *at = received.data;
    size_t payload_bytes;

    ret_frame->frame_bytes = AMQP_FRAME_HEAD_BYTES;
    if (received.size < AMQP_FRAME_HEAD_BYTES)
        return AMQP_SCAN_MORE;
    payload_bytes = wire_load32(at + 3);
    ret_frame->frame_bytes = payload_bytes + AMQP_FRAME_OVERHEAD_BYTES;
    ret_frame->type = at[0];
    ret_frame->channel = wire_load16(at + 1);
    ret_frame->payload = (struct amqp_bytes){ at + AMQP_FRAME_HEAD_BYTES, 0 };
    if (UNLIKELY(payload_max_bytes && payload_bytes > payload_max_bytes))
        return AMQP_SCAN_OVERSIZED;
    if (received.size < ret_frame->frame_bytes)
        return AMQP_SCAN_MORE;
    ret_frame->payload.size = payload_bytes;
    if (UNLIKELY(at[AMQP_FRAME_HEAD_BYTES + payload_bytes] != AMQP_FRAME_END))
        return AMQP_SCAN_BAD_END;
    return AMQP_SCAN_FRAME;
}

int amqp_frame_raise(struct amqp_error *err, int code, const struct amqp_frame *frame,
                     const char *reason)
{
    bool whole = frame->payload.size <= SNIPPET_BYTES;
    struct amqp_bytes snippet = frame->payload;
    char octets[SNIPPET_TEXT_BYTES];

    if (!whole)
        snippet.size = SNIPPET_BYTES;
    amqp_octets_print(snippet, octets, sizeof octets);
    amqp_raise(err, code, "type %u, %s octets = %s%s%s", frame->type, whole ? "all" : "first 16",
               octets, reason ? ": " : "", reason ? reason : "");
    err->method_id = 0;
    return code;
}

/* The letter after the backslash where Erlang writes an octet as an escape, else 0. */
static char octet_escape(uint8_t octet)
{
    switch (octet) {
    case '\b':
        return 'b';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\v':
        return 'v';
    case '\f':
        return 'f';
    case '\r':
        return 'r';
    case 27:
        return 'e';
    case '"':
    case '\\':
        return (char)octet;
    default:
        return 0;
    }
}

static bool octets_printable(struct amqp_bytes octets)
{
    for (size_t i = 0; i < octets.size; i++) {
        if ((octets.data[i] < 32 || octets.data[i] > 126) && !octet_escape(octets.data[i]))
            return false;
    }
    return octets.size > 0;
}

size_t amqp_octets_print(struct amqp_bytes octets, char *out, size_t size)
{
    struct amqp_text text = amqp_text_over(out, size);
    bool printable = octets_printable(octets);

    amqp_text_printf(&text, printable ? "<<\"" : "<<");
    for (size_t i = 0; i < octets.size && !amqp_text_full(&text); i++) {
        char escape = octet_escape(octets.data[i]);

        if (!printable)
            amqp_text_printf(&text, i ? ",%u" : "%u", octets.data[i]);
        else if (escape)
            amqp_text_printf(&text, "\\%c", escape);
        else
            amqp_text_put(&text, (char)octets.data[i]);
    }
    amqp_text_printf(&text, printable ? "\">>" : ">>");
    return text.length;
}

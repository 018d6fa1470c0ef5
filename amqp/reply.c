/*
 * reply.c - the sentence that a peer gets with its close
 *
 * Clients match these texts, so their form is RabbitMQ's: "NOT_FOUND - no queue 'q' in vhost '/'".
 * A reply-text is a short string; a longer one keeps its first 252 octets and ends in "...". It is
 * UTF-8, and some clients fail on anything else: we cut at the start of a character, and show what
 * is none (a routing key may hold any octets) as '?'.
 */
#include "amqp/reply.h"

#include <stdarg.h>

#include "amqp/method.h"
#include "amqp/text.h"

static const struct amqp_reply_info {
    int code;
    const char *name;
    bool hard;
} replies[] = {
#define AMQP_REPLY_ROW(code, name, hard) { (code), #name, (hard) },
    AMQP_REPLIES(AMQP_REPLY_ROW)
#undef AMQP_REPLY_ROW
};

static const struct amqp_reply_info *reply_find(int code)
{
    for (size_t i = 0; i < N_ELEMENTS(replies); i++) {
        if (replies[i].code == code)
            return &replies[i];
    }
    return NULL;
}

/* The text is full and something is missing: make room for "..." where a character starts. */
static void text_abbreviate(char *text)
{
    size_t cut = BOUND_REPLY_TEXT_BYTES - 3;

    while (cut > 0 && ((uint8_t)text[cut] & 0xC0) == 0x80)
        cut--;
    memcpy(text + cut, "...", 4);
}

/* Octets of the character that starts at @at, 0 if none does. */
static size_t character_bytes(const char *at, size_t left)
{
    for (size_t size = 1; size <= 4 && size <= left; size++) {
        if (amqp_utf8_valid((struct amqp_str){ at, size }))
            return size;
    }
    return 0;
}

static void text_make_utf8(char *text)
{
    size_t left = strlen(text);

    while (left) {
        size_t size = character_bytes(text, left);

        if (size == 0) {
            *text = '?';
            size = 1;
        }
        text += size;
        left -= size;
    }
}

int amqp_raise(struct amqp_error *err, int code, const char *format, ...)
{
    const struct amqp_reply_info *info = reply_find(code);
    struct amqp_text text;
    va_list args;
    size_t room;
    int length;

    assert(info);
    err->code = code;
    err->hard = info->hard;
    err->method_id = AMQP_ERROR_METHOD_UNSET;
    text = amqp_text_over(err->text, sizeof err->text);
    amqp_text_printf(&text, "%s", info->name);
    if (!format)
        return code;
    amqp_text_printf(&text, " - ");
    room = text.size - text.length;
    va_start(args, format);
    length = vsnprintf(text.out + text.length, room, format, args);
    va_end(args);
    assert(length >= 0);
    if ((size_t)length >= room)
        text_abbreviate(err->text);
    text_make_utf8(err->text);
    return code;
}

const char *amqp_reply_name(int code)
{
    const struct amqp_reply_info *info = reply_find(code);

    return info ? info->name : NULL;
}

bool amqp_reply_is_hard(int code)
{
    const struct amqp_reply_info *info = reply_find(code);

    return info && info->hard;
}

/*
 * text.h - building a text in a buffer of fixed size
 *
 * For error texts and log lines, whose length somebody else decides: what does not fit is cut, the
 * text always ends with a NUL, and its length is what was written, never what would have been.
 */
#ifndef AMQP_TEXT_H
#define AMQP_TEXT_H

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "amqp/base.h"

/** struct amqp_text - the buffer of a caller, and how much of it is used */
struct amqp_text {
    char *out;
    size_t size; /* at least 1 */
    size_t length;
};

static inline struct amqp_text amqp_text_over(char *out, size_t size)
{
    assert(size > 0);
    out[0] = '\0';
    return (struct amqp_text){ out, size, 0 };
}

static inline bool amqp_text_full(const struct amqp_text *text)
{
    return text->length + 1 == text->size;
}

static inline void amqp_text_put(struct amqp_text *text, char c)
{
    if (amqp_text_full(text))
        return;
    text->out[text->length++] = c;
    text->out[text->length] = '\0';
}

/** amqp_text_add() - append octets as they are, NUL included */
static inline void amqp_text_add(struct amqp_text *text, struct amqp_str str)
{
    size_t room = text->size - text->length - 1;
    size_t size = str.size < room ? str.size : room;

    if (size)
        memcpy(text->out + text->length, str.data, size);
    text->length += size;
    text->out[text->length] = '\0';
}

PRINTF_LIKE(2, 3)
static inline void amqp_text_printf(struct amqp_text *text, const char *format, ...)
{
    size_t room = text->size - text->length;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(text->out + text->length, room, format, args);
    va_end(args);
    assert(length >= 0);
    text->length += (size_t)length < room ? (size_t)length : room - 1;
}

#endif

/*
 * base.h - the few words that every folder shares
 *
 * Ownership by scope (OWNED, TAKE), element counts, borrowed byte strings. Nothing here allocates.
 */
#ifndef AMQP_BASE_H
#define AMQP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define N_ELEMENTS(array) (sizeof(array) / sizeof *(array))

/* Declares the cleanup function that OWNED(fn) calls; `type` is what fn takes, a pointer type. */
#define DEFINE_OWNED(fn, type)                                                                     \
    static inline void fn##_owned(type *owned)                                                     \
    {                                                                                              \
        if (*owned)                                                                                \
            fn(*owned);                                                                            \
    }

/* A local variable that is freed with fn() whenever its scope ends, unless TAKE() emptied it. */
#define OWNED(fn) __attribute__((cleanup(fn##_owned)))

/* Moves an owned pointer out of its variable, which is NULL afterwards. */
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/**
 * struct amqp_str - text or octets that somebody else owns; not terminated by NUL
 *
 * A decoded string borrows the frame it came from: copy it to keep it.
 */
struct amqp_str {
    const char *data;
    size_t size;
};

/** struct amqp_bytes - octets that somebody else owns */
struct amqp_bytes {
    const uint8_t *data;
    size_t size;
};

/* For printf's %.*s. A size is at most 255 for short strings and is cut to INT_MAX for others. */
#define AMQP_STR_ARG(str) (int)((str).size > 0x7fffffff ? 0x7fffffff : (str).size), (str).data

#define AMQP_STR(literal) ((struct amqp_str){ "" literal, sizeof literal - 1 })

static inline struct amqp_str amqp_str_from(const char *text)
{
    return (struct amqp_str){ text, strlen(text) };
}

/** amqp_bytes_text() - the same octets, borrowed as text */
static inline struct amqp_str amqp_bytes_text(struct amqp_bytes bytes)
{
    return (struct amqp_str){ (const char *)bytes.data, bytes.size };
}

static inline bool amqp_str_equal(struct amqp_str a, struct amqp_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool amqp_str_starts_with(struct amqp_str str, struct amqp_str prefix)
{
    return str.size >= prefix.size &&
           (prefix.size == 0 || memcmp(str.data, prefix.data, prefix.size) == 0);
}

#endif

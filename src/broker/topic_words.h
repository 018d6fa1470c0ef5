/*
 * topic_words.h - routing keys and binding keys of topic exchanges as words
 *
 * The empty key has no words; "." has two empty ones (amqp-0-9-1.md 9.4).
 */
#ifndef BROKER_TOPIC_WORDS_H
#define BROKER_TOPIC_WORDS_H

#include "amqp/base.h"

/** struct words - those of a key that were not taken yet; borrows it */
struct words {
    const char *at, *end;
    bool more;
};

enum word_kind { WORD_LITERAL, WORD_STAR, WORD_HASH };

static inline struct words words_of(struct amqp_str key)
{
    return (struct words){ key.data, key.data + key.size, key.size > 0 };
}

static inline bool next_word(struct words *words, struct amqp_str *ret_word)
{
    size_t left = (size_t)(words->end - words->at);
    const char *dot;

    if (!words->more)
        return false;
    dot = left ? memchr(words->at, '.', left) : NULL;
    ret_word->data = words->at;
    ret_word->size = dot ? (size_t)(dot - words->at) : left;
    words->more = dot != NULL;
    words->at = dot ? dot + 1 : words->end;
    return true;
}

/** word_kind() - of a word of a binding key; in a routing key all are literal */
static inline enum word_kind word_kind(struct amqp_str word)
{
    if (word.size == 1 && word.data[0] == '*')
        return WORD_STAR;
    if (word.size == 1 && word.data[0] == '#')
        return WORD_HASH;
    return WORD_LITERAL;
}

/**
 * words_match() - whether words of a binding key match words of a routing key
 *
 * Takes at most one step for each pair of words.
 */
bool words_match(struct words pattern, struct words text);

#endif

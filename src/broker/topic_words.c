/*
 * topic_words.c - see topic_words.h
 */
#include "broker/topic_words.h"

#include "broker/route.h"

bool words_match(struct words pattern, struct words text)
{
    struct words retry_pattern = { 0 }, retry_text = { 0 };
    bool may_retry = false;

    for (;;) {
        struct words pattern_next = pattern, text_next = text;
        struct amqp_str want = { NULL, 0 }, word = { NULL, 0 };
        bool wanted = next_word(&pattern_next, &want), got = next_word(&text_next, &word);
        enum word_kind kind = word_kind(want);

        if (!wanted && !got)
            return true;
        if (wanted && kind == WORD_HASH) {
            /* Takes no word at first; after a mismatch behind it, one more. */
            pattern = retry_pattern = pattern_next;
            retry_text = text;
            may_retry = true;
        } else if (wanted && got && (kind == WORD_STAR || amqp_str_equal(want, word))) {
            pattern = pattern_next;
            text = text_next;
        } else if (may_retry && next_word(&retry_text, &word)) {
            pattern = retry_pattern;
            text = retry_text;
        } else {
            return false;
        }
    }
}

bool topic_match(struct amqp_str binding_key, struct amqp_str routing_key)
{
    return words_match(words_of(binding_key), words_of(routing_key));
}

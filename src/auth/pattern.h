/*
 * pattern.h - regular expressions that somebody configured, searched for in names
 *
 * Permissions and policies select names by them. An expression is PCRE2's, over octets, and is
 * searched for anywhere in the name. Every search is bounded (pattern.c), so that none can hold up
 * the loop.
 */
#ifndef AUTH_PATTERN_H
#define AUTH_PATTERN_H

#include "amqp/base.h"

struct matcher; /* PCRE2's contexts, shared by all patterns that are searched for with it */
struct pcre2_real_code_8;

struct matcher *matcher_new(void); /* NULL without memory */
void matcher_free(struct matcher *matcher);

/** struct pattern - one regular expression, compiled; {0} is not one yet, but can be released */
struct pattern {
    char *text; /* as it was set */
    enum { PATTERN_ANY, PATTERN_EMPTY, PATTERN_REGEX } kind;
    struct pcre2_real_code_8 *code; /* PATTERN_REGEX only */
};

/** struct pattern_problem - what is wrong with an expression, and where */
struct pattern_problem {
    char text[128];
    size_t offset;
};

/**
 * pattern_compile() - make a pattern of a regular expression
 * @text:  what pattern->text remembers
 * @regex: what is compiled: the text, perhaps with its variables replaced; "" is found in any name
 *
 * Return: 0; -EINVAL with a problem; -ENOMEM. On failure the pattern is untouched.
 */
int pattern_compile(struct pattern *pattern, const struct matcher *matcher, const char *text,
                    const char *regex, struct pattern_problem *ret_problem);
void pattern_release(struct pattern *pattern);

enum pattern_result {
    PATTERN_FOUND,
    PATTERN_NOT_FOUND,
    PATTERN_GAVE_UP, /* at a limit on steps, depth or memory, after milliseconds of work */
};

enum pattern_result pattern_search(const struct pattern *pattern, const struct matcher *matcher,
                                   struct amqp_str name);

/** pattern_matches() - whether it is found in @name; false when the search gives up */
static inline bool pattern_matches(const struct pattern *pattern, const struct matcher *matcher,
                                   struct amqp_str name)
{
    return pattern_search(pattern, matcher, name) == PATTERN_FOUND;
}

#endif

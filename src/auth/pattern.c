/*
 * pattern.c - one regular expression of a permission or a policy
 *
 * A pattern is a PCRE2 regular expression over octets, searched for anywhere in the name, as
 * Erlang's re:run/3 does for RabbitMQ. Those that nearly everyone writes never reach PCRE2: ".*"
 * takes everything, "^$" only the empty name. The others are compiled once, when they are set, with
 * the JIT where there is one, and every search runs under limits on backtracking, depth and memory:
 * a search that meets a limit, or any other error, counts as "no". The worst pattern thus costs
 * milliseconds and a refusal, never the loop.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "auth/auth-internal.h"

enum {
    PATTERN_MAX_BYTES = 16384, /* after replacement of variables */
    MATCH_LIMIT = 50000,       /* steps of backtracking from one starting point */
    MATCH_DEPTH_LIMIT = 10000,
    MATCH_HEAP_LIMIT_KIB = 4096,
};

struct matcher {
    pcre2_compile_context *compile;
    pcre2_match_context *match;
    pcre2_match_data *data; /* room for the one pair that a search needs */
};

static const char *const permission_names[PERMISSION_COUNT] = {
    [PERMISSION_CONFIGURE] = "configure",
    [PERMISSION_WRITE] = "write",
    [PERMISSION_READ] = "read",
};

struct matcher *matcher_new(void)
{
    struct matcher *matcher = calloc(1, sizeof *matcher);

    if (!matcher)
        return NULL;
    matcher->compile = pcre2_compile_context_create(NULL);
    matcher->match = pcre2_match_context_create(NULL);
    matcher->data = pcre2_match_data_create(1, NULL);
    if (!matcher->compile || !matcher->match || !matcher->data) {
        matcher_free(matcher);
        return NULL;
    }
    (void)pcre2_set_newline(matcher->compile, PCRE2_NEWLINE_LF); /* a valid constant */
    (void)pcre2_set_max_pattern_length(matcher->compile, PATTERN_MAX_BYTES); /* never fails */
    (void)pcre2_set_match_limit(matcher->match, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(matcher->match, MATCH_DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(matcher->match, MATCH_HEAP_LIMIT_KIB);
    return matcher;
}

void matcher_free(struct matcher *matcher)
{
    if (!matcher)
        return;
    pcre2_compile_context_free(matcher->compile);
    pcre2_match_context_free(matcher->match);
    pcre2_match_data_free(matcher->data);
    free(matcher);
}

void pattern_release(struct pattern *pattern)
{
    pcre2_code_free(pattern->code);
    free(pattern->text);
    *pattern = (struct pattern){ 0 };
}

/* PCRE2's own words; -EINVAL, or -ENOMEM */
static int compile(const char *regex, const struct matcher *matcher, pcre2_code **ret_code,
                   struct pattern_problem *ret_problem)
{
    PCRE2_SIZE offset;
    int error;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_UTF,
                                     &error, &offset, matcher->compile);

    if (!code) {
        if (error == PCRE2_ERROR_NOMEMORY)
            return -ENOMEM;
        (void)pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_problem->text,
                                      sizeof ret_problem->text);
        ret_problem->offset = offset;
        return -EINVAL;
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it: interpreted */
    *ret_code = code;
    return 0;
}

int pattern_compile(struct pattern *pattern, const struct matcher *matcher, const char *text,
                    const char *regex, struct pattern_problem *ret_problem)
{
    struct pattern fresh = { .kind = PATTERN_REGEX };
    int rc = 0;

    fresh.text = strdup(text);
    if (!fresh.text)
        return -ENOMEM;
    if (!*regex || strcmp(regex, ".*") == 0)
        fresh.kind = PATTERN_ANY;
    else if (strcmp(regex, "^$") == 0)
        fresh.kind = PATTERN_EMPTY;
    else
        rc = compile(regex, matcher, &fresh.code, ret_problem);
    if (rc)
        free(fresh.text);
    else
        *pattern = fresh;
    return rc;
}

int pattern_init(struct pattern *pattern, const struct matcher *matcher, const char *text,
                 const char *regex, enum permission what, struct pattern_error error)
{
    struct pattern_problem problem;
    int rc = pattern_compile(pattern, matcher, text, *regex ? regex : "^$", &problem);

    if (rc == -EINVAL)
        (void)snprintf(error.text, error.size, "%s: %s at offset %zu", permission_names[what],
                       problem.text, problem.offset);
    return rc;
}

enum pattern_result pattern_search(const struct pattern *pattern, const struct matcher *matcher,
                                   struct amqp_str name)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(name.size ? name.data : "");
    int rc;

    switch (pattern->kind) {
    case PATTERN_ANY:
        return PATTERN_FOUND;
    case PATTERN_EMPTY:
        return name.size == 0 ? PATTERN_FOUND : PATTERN_NOT_FOUND;
    case PATTERN_REGEX:
        break;
    }
    rc = pcre2_match(pattern->code, subject, name.size, 0, 0, matcher->data, matcher->match);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter's stack is on the heap, and bounded */
        rc = pcre2_match(pattern->code, subject, name.size, 0, PCRE2_NO_JIT, matcher->data,
                         matcher->match);
    if (rc >= 0)
        return PATTERN_FOUND;
    return rc == PCRE2_ERROR_NOMATCH ? PATTERN_NOT_FOUND : PATTERN_GAVE_UP;
}

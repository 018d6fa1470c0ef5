/*
 * test_headers.c - headers exchanges: what matches, and which bindings are refused
 */
#include "topology_fixture.h"
#include "unit.h"

/* A field in short: its name and its value; the type octet says which member counts. */
struct field {
    const char *name;
    char type;
    int64_t integer;
    const char *text;
    double real;
};

enum { FIELDS_MAX = 4 };

static struct amqp_value value_of(const struct field *field)
{
    struct amqp_value value = { .type = field->type };

    if (field->type == 'S' || field->type == 'x' || field->type == 'A' || field->type == 'F')
        value.bytes = (struct amqp_bytes){ (const uint8_t *)field->text, strlen(field->text) };
    else if (field->type == 't')
        value.boolean = field->integer != 0;
    else if (field->type == 'd' || field->type == 'f')
        value.real = field->real;
    else
        value.integer = field->integer;
    return value;
}

static struct amqp_table write_table(struct amqp_table_writer *writer, const char *x_match,
                                     const struct field *fields)
{
    if (x_match)
        amqp_table_put_str(writer, "x-match", amqp_str_from(x_match));
    for (size_t i = 0; i < FIELDS_MAX && fields[i].name; i++) {
        struct amqp_value value = value_of(&fields[i]);

        amqp_table_put_value(writer, amqp_str_from(fields[i].name), &value);
    }
    ck_assert(!writer->failed);
    return amqp_table_written(writer);
}

static void bind_fields(const char *name, const char *x_match, const struct field *fields)
{
    struct amqp_table_writer writer = { 0 };
    struct binding_request request = to_queue("amq.headers", name, "");

    request.arguments = write_table(&writer, x_match, fields);
    add(request);
    amqp_table_writer_release(&writer);
}

static const char *route_fields(const struct field *fields)
{
    struct amqp_table_writer writer = { 0 };
    const char *names;

    broker->route.headers = write_table(&writer, NULL, fields);
    broker->route.has_headers = true;
    names = route("amq.headers", "ignored");
    broker->route.headers = (struct amqp_table){ NULL, 0 };
    broker->route.has_headers = false;
    amqp_table_writer_release(&writer);
    return names;
}

#define INT(name, n) { name, 'I', n, NULL, 0 }
#define STR(name, s) { name, 'S', 0, s, 0 }
#define BOOL(name, b) { name, 't', b, NULL, 0 }
#define REAL(name, d) { name, 'd', 0, NULL, d }
#define VOID(name) { name, 'V', 0, NULL, 0 }

static const struct {
    const char *x_match; /* NULL: none */
    struct field arguments[FIELDS_MAX];
    struct field headers[FIELDS_MAX];
    bool match;
} match_case[] = {
    /* all, and none at all, which means all */
    { NULL, { INT("a", 1), STR("b", "x") }, { STR("b", "x"), INT("c", 3), INT("a", 1) }, true },
    { "all", { INT("a", 1), STR("b", "x") }, { INT("a", 1), STR("b", "x") }, true },
    { "all", { INT("a", 1), STR("b", "x") }, { INT("a", 1) }, false },
    { "all", { INT("a", 1), STR("b", "x") }, { STR("b", "x") }, false },
    { "all", { INT("a", 1), STR("b", "x") }, { INT("a", 1), STR("b", "y") }, false },
    /* any */
    { "any", { INT("a", 1), STR("b", "x") }, { STR("b", "x") }, true },
    { "any", { INT("a", 1), STR("b", "x") }, { INT("a", 1), STR("b", "y") }, true },
    { "any", { INT("a", 1), STR("b", "x") }, { INT("a", 2), STR("b", "y") }, false },
    { "any", { INT("a", 1) }, { { 0 } }, false },
    /* arguments that begin with x- */
    { "all", { INT("x-a", 1), INT("b", 2) }, { INT("b", 2) }, true },
    { "any", { INT("x-a", 1), INT("b", 2) }, { INT("x-a", 1) }, false },
    { "all-with-x", { INT("x-a", 1), INT("b", 2) }, { INT("b", 2) }, false },
    { "all-with-x", { INT("x-a", 1), INT("b", 2) }, { INT("b", 2), INT("x-a", 1) }, true },
    { "any-with-x", { INT("x-a", 1), INT("b", 2) }, { INT("x-a", 1) }, true },
    { "any-with-x", { INT("x-a", 1) }, { STR("x-match", "any-with-x") }, false },
    /* nothing left to ask for */
    { NULL, { { 0 } }, { { 0 } }, true },
    { "all", { INT("x-a", 1) }, { INT("b", 1) }, true },
    { "any", { INT("x-a", 1) }, { INT("x-a", 1) }, false },
    { "all-with-x", { { 0 } }, { { 0 } }, true },
    { "any-with-x", { { 0 } }, { INT("a", 1) }, false },
    /* void asks for presence */
    { "all", { VOID("a") }, { INT("a", 5) }, true },
    { "all", { VOID("a") }, { VOID("a") }, true },
    { "all", { VOID("a") }, { INT("b", 5) }, false },
    { "any", { VOID("a"), INT("b", 1) }, { STR("a", "x") }, true },
    { "all", { INT("a", 1) }, { VOID("a") }, false },
    /* values, not types of the wire */
    { "all", { INT("a", 1) }, { { "a", 'l', 1, NULL, 0 } }, true },
    { "all", { INT("a", 1) }, { { "a", 'T', 1, NULL, 0 } }, true },
    { "all", { INT("a", -1) }, { { "a", 'b', -1, NULL, 0 } }, true },
    { "all", { STR("a", "1") }, { { "a", 'x', 0, "1", 0 } }, true },
    { "all", { STR("a", "1") }, { INT("a", 1) }, false },
    { "all", { BOOL("a", 1) }, { INT("a", 1) }, false },
    { "all", { BOOL("a", 1) }, { BOOL("a", 1) }, true },
    { "all", { BOOL("a", 1) }, { BOOL("a", 0) }, false },
    { "all", { INT("a", 1) }, { REAL("a", 1.0) }, false },
    { "all", { REAL("a", 1.5) }, { { "a", 'f', 0, NULL, 1.5 } }, true },
    { "all", { REAL("a", 0.0) }, { REAL("a", -0.0) }, true },
    { "all", { { "a", 'A', 0, "b\1", 0 } }, { { "a", 'A', 0, "b\1", 0 } }, true },
    { "all", { { "a", 'A', 0, "b\1", 0 } }, { { "a", 'A', 0, "B\1", 0 } }, false },
    /* names are case-sensitive */
    { "all", { INT("a", 1) }, { INT("A", 1) }, false },
};

START_TEST(test_headers_match)
{
    bind_fields("q", match_case[_i].x_match, match_case[_i].arguments);
    ck_assert_str_eq(route_fields(match_case[_i].headers), match_case[_i].match ? "q" : "");
}
END_TEST

/* All rows at once: each must find its own predicate among the others. */
START_TEST(test_headers_match_among_many_bindings)
{
    char name[16];

    for (size_t i = 0; i < N_ELEMENTS(match_case); i++) {
        snprintf(name, sizeof name, "%zu", i);
        bind_fields(name, match_case[i].x_match, match_case[i].arguments);
    }
    for (size_t i = 0; i < N_ELEMENTS(match_case); i++) {
        bool found = false;

        snprintf(name, sizeof name, "%zu", i);
        route_fields(match_case[i].headers);
        for (size_t n = 0; n < broker->route.n_queues; n++)
            found = found || broker->route.queues[n] == queue(name);
        ck_assert_msg(found == match_case[i].match, "row %zu", i);
    }
    for (size_t i = 0; i < N_ELEMENTS(match_case); i++) {
        snprintf(name, sizeof name, "%zu", i);
        destination_unbind_all(&queue(name)->destination);
    }
    for (size_t i = 0; i < N_ELEMENTS(match_case); i++)
        ck_assert_str_eq(route_fields(match_case[i].headers), "");
}
END_TEST

START_TEST(test_message_without_headers_matches_what_asks_for_none)
{
    static const struct field none[FIELDS_MAX], some[FIELDS_MAX] = { INT("a", 1) };

    bind_fields("all", NULL, none);
    bind_fields("any", "any", none);
    bind_fields("some", NULL, some);
    ck_assert_str_eq(route("amq.headers", ""), "all");
}
END_TEST

static const struct {
    struct field argument;
    const char *text;
} refused[] = {
    { STR("x-match", "foo"),
      "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; expected all, any, "
      "all-with-x, or any-with-x" },
    { STR("x-match", "\x01\x02"),
      "PRECONDITION_FAILED - Invalid x-match field value <<1,2>>; expected all, any, all-with-x, "
      "or any-with-x" },
    { STR("x-match", ""),
      "PRECONDITION_FAILED - Invalid x-match field value <<>>; expected all, any, all-with-x, or "
      "any-with-x" },
    { INT("x-match", 4),
      "PRECONDITION_FAILED - Invalid x-match field type signedint (value 4); expected longstr" },
    { BOOL("x-match", 1),
      "PRECONDITION_FAILED - Invalid x-match field type bool (value true); expected longstr" },
};

START_TEST(test_bad_x_match_is_refused)
{
    const struct field fields[FIELDS_MAX] = { refused[_i].argument };
    struct amqp_table_writer writer = { 0 };
    struct binding_request request = to_queue("amq.match", "q", "");

    request.arguments = write_table(&writer, NULL, fields);
    ck_assert_int_eq(binding_add(&request, &err), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, refused[_i].text);
    ck_assert_uint_eq(get_exchange("amq.match")->binding_count, 0);
    ck_assert_ptr_null(binding_find(&request));
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_x_match_means_nothing_to_other_exchanges)
{
    static const struct field fields[FIELDS_MAX] = { STR("x-match", "foo") };
    struct amqp_table_writer writer = { 0 };
    struct binding_request request = to_queue("amq.direct", "q", "k");

    request.arguments = write_table(&writer, NULL, fields);
    add(request);
    ck_assert_str_eq(route("amq.direct", "k"), "q");
    amqp_table_writer_release(&writer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("headers");
    TCase *tcase = tcase_create("headers");

    tcase_add_checked_fixture(tcase, topology_setup, topology_teardown);
    tcase_add_loop_test(tcase, test_headers_match, 0, N_ELEMENTS(match_case));
    tcase_add_test(tcase, test_headers_match_among_many_bindings);
    tcase_add_test(tcase, test_message_without_headers_matches_what_asks_for_none);
    tcase_add_loop_test(tcase, test_bad_x_match_is_refused, 0, N_ELEMENTS(refused));
    tcase_add_test(tcase, test_x_match_means_nothing_to_other_exchanges);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

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

/* --- random tables against a twin that does as RabbitMQ does: sort, then merge --- */

enum { TWIN_BINDINGS = 60, TWIN_FIELDS = 6, TWIN_ROUNDS = 3000 };

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static struct field random_field(void)
{
    static const char *const names[] = { "a", "b", "c", "", "x-a", "x-match", "ab" };
    static const struct field values[] = {
        INT("", 0),  INT("", 1),  STR("", ""),   STR("", "1"),  BOOL("", 1), BOOL("", 0),
        REAL("", 1), VOID(""),    VOID(""),      { "", 'l', 1, NULL, 0 },
        { "", 'x', 0, "1", 0 },   { "", 'T', 1, NULL, 0 },
    };
    struct field field = values[random_below(N_ELEMENTS(values))];

    field.name = names[random_below(N_ELEMENTS(names))];
    return field;
}

struct twin_table {
    struct field fields[TWIN_FIELDS];
    size_t n;
};

static struct twin_table random_table(bool is_binding)
{
    struct twin_table table = { .n = random_below(TWIN_FIELDS + 1) };

    for (size_t i = 0; i < table.n; i++) {
        do {
            table.fields[i] = random_field();
        } while (is_binding && strcmp(table.fields[i].name, "x-match") == 0);
    }
    return table;
}

/* Without the fields that do not take part, sorted by name; equal names stay in order. */
static struct twin_table prepared(const struct twin_table *from, bool drop_x)
{
    struct twin_table to = { .n = 0 };

    for (size_t i = 0; i < from->n; i++) {
        size_t at = to.n;

        if (drop_x && strncmp(from->fields[i].name, "x-", 2) == 0)
            continue;
        for (; at > 0 && strcmp(to.fields[at - 1].name, from->fields[i].name) > 0; at--)
            to.fields[at] = to.fields[at - 1];
        to.fields[at] = from->fields[i];
        to.n++;
    }
    return to;
}

static bool twin_matches(const struct twin_table *arguments, const char *mode,
                         const struct twin_table *headers)
{
    struct twin_table pattern = prepared(arguments, !mode || !strstr(mode, "with-x"));
    struct twin_table data = prepared(headers, false);
    bool all = true, any = false;
    size_t at = 0;

    for (size_t i = 0; i < pattern.n; i++) {
        struct amqp_value asked = value_of(&pattern.fields[i]), has;

        while (at < data.n && strcmp(data.fields[at].name, pattern.fields[i].name) < 0)
            at++;
        if (at == data.n || strcmp(data.fields[at].name, pattern.fields[i].name) > 0) {
            all = false;
            continue;
        }
        has = value_of(&data.fields[at++]);
        if (asked.type == 'V' || amqp_value_equal(&asked, &has))
            any = true;
        else
            all = false;
    }
    return mode && strncmp(mode, "any", 3) == 0 ? any : all;
}

static struct twin_binding {
    bool bound;
    const char *mode;
    struct twin_table arguments;
} twin[TWIN_BINDINGS];

static struct amqp_table write_twin(struct amqp_table_writer *writer, const char *mode,
                                    const struct twin_table *table)
{
    struct field fields[TWIN_FIELDS + 1] = { { 0 } };
    struct amqp_value value;

    memcpy(fields, table->fields, table->n * sizeof fields[0]);
    if (mode)
        amqp_table_put_str(writer, "x-match", amqp_str_from(mode));
    for (size_t i = 0; i < table->n; i++) {
        value = value_of(&fields[i]);
        amqp_table_put_value(writer, amqp_str_from(fields[i].name), &value);
    }
    ck_assert(!writer->failed);
    return amqp_table_written(writer);
}

/* Bind one anew, or take its binding away. */
static void change_twin(size_t i)
{
    static const char *const modes[] = { NULL, "all", "any", "all-with-x", "any-with-x" };
    struct amqp_table_writer writer = { 0 };
    struct binding_request request;
    char name[16];

    snprintf(name, sizeof name, "%zu", i);
    request = to_queue("amq.headers", name, "");
    if (!twin[i].bound) {
        twin[i].mode = modes[random_below(N_ELEMENTS(modes))];
        twin[i].arguments = random_table(true);
    }
    request.arguments = write_twin(&writer, twin[i].mode, &twin[i].arguments);
    if (twin[i].bound)
        take_away(request);
    else
        add(request);
    twin[i].bound = !twin[i].bound;
    amqp_table_writer_release(&writer);
}

static void check_twins(void)
{
    struct twin_table headers = random_table(false);
    struct amqp_table_writer writer = { 0 };
    char name[16];

    broker->route.headers = write_twin(&writer, NULL, &headers);
    broker->route.has_headers = true;
    route("amq.headers", "");
    for (size_t i = 0; i < TWIN_BINDINGS; i++) {
        bool found = false;

        snprintf(name, sizeof name, "%zu", i);
        for (size_t n = 0; n < broker->route.n_queues; n++)
            found = found || broker->route.queues[n] == queue(name);
        ck_assert_msg(found == (twin[i].bound && twin_matches(&twin[i].arguments, twin[i].mode,
                                                              &headers)),
                      "binding %zu", i);
    }
    broker->route.headers = (struct amqp_table){ NULL, 0 };
    amqp_table_writer_release(&writer);
}

START_TEST(test_random_tables_match_as_in_a_merge_of_sorted_ones)
{
    memset(twin, 0, sizeof twin);
    random_state = (uint32_t)_i + 1;
    for (int n = 0; n < TWIN_ROUNDS; n++) {
        change_twin(random_below(TWIN_BINDINGS));
        check_twins();
    }
}
END_TEST

/* --- work --- */

enum { MANY_BINDINGS = 300, MANY_ROWS = 300 };

/* Arguments or headers: @n of them from @first on, each with the value @value. */
static struct amqp_table many_fields(struct amqp_table_writer *writer, const char *mode,
                                     unsigned first, unsigned n, int64_t value)
{
    char name[16];

    if (mode)
        amqp_table_put_str(writer, "x-match", amqp_str_from(mode));
    for (unsigned i = first; i < first + n; i++) {
        snprintf(name, sizeof name, "k%u", i);
        amqp_table_put_int(writer, name, value);
    }
    ck_assert(!writer->failed);
    return amqp_table_written(writer);
}

static void bind_many(const char *name, const char *mode, unsigned first, unsigned n,
                      int64_t value)
{
    struct amqp_table_writer writer = { 0 };
    struct binding_request request = to_queue("amq.headers", name, "");

    request.arguments = many_fields(&writer, mode, first, n, value);
    add(request);
    amqp_table_writer_release(&writer);
}

/* The steps of one message with so many headers of value 1; *ret_n: the queues it goes to. */
static size_t work_of(unsigned n_headers, size_t *ret_n)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_str key = AMQP_STR("");

    broker->route.headers = many_fields(&writer, NULL, 0, n_headers, 1);
    broker->route.work = 0;
    ck_assert_int_eq(route_message(&broker->route, get_exchange("amq.headers"), &key, 1), 0);
    *ret_n = broker->route.n_queues;
    broker->route.headers = (struct amqp_table){ NULL, 0 };
    amqp_table_writer_release(&writer);
    return broker->route.work;
}

static void bind_all_many(const char *mode, int64_t value)
{
    char name[16];

    for (unsigned i = 0; i < MANY_BINDINGS; i++) {
        snprintf(name, sizeof name, "q%u", i);
        bind_many(name, mode, 0, MANY_ROWS, value);
    }
}

START_TEST(test_work_is_what_the_message_has_and_what_bindings_share_with_it)
{
    static const char *const modes[] = { "all", "any" };
    size_t n;

    bind_all_many(modes[_i], 1);
    ck_assert_uint_le(work_of(MANY_ROWS, &n), MANY_ROWS + MANY_BINDINGS * MANY_ROWS);
    ck_assert_uint_eq(n, MANY_BINDINGS);
    ck_assert_uint_le(work_of(2 * MANY_ROWS, &n), 2 * MANY_ROWS + MANY_BINDINGS * MANY_ROWS);
    ck_assert_uint_eq(n, MANY_BINDINGS);
}
END_TEST

START_TEST(test_bindings_that_ask_for_other_values_cost_nothing)
{
    static const char *const modes[] = { "all", "any" };
    size_t n;

    bind_all_many(modes[_i], 2);
    ck_assert_uint_eq(work_of(MANY_ROWS, &n), MANY_ROWS);
    ck_assert_uint_eq(n, 0);
}
END_TEST

/* Each lacks one header, the last of its arguments: found out once, then it is asked first. */
START_TEST(test_what_fails_is_asked_first_the_next_time)
{
    size_t n;

    bind_all_many("all", 1);
    ck_assert_uint_le(work_of(MANY_ROWS - 1, &n), MANY_ROWS + MANY_BINDINGS * MANY_ROWS);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_le(work_of(MANY_ROWS - 1, &n), MANY_ROWS + MANY_BINDINGS);
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(test_many_headers_of_one_name_are_counted_not_compared)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_str key = AMQP_STR("");

    bind_many("q", "all", 0, 1, 1);
    for (unsigned i = 0; i < 10000; i++)
        amqp_table_put_int(&writer, "k0", i == 0);
    broker->route.headers = amqp_table_written(&writer);
    broker->route.work = 0;
    ck_assert_int_eq(route_message(&broker->route, get_exchange("amq.headers"), &key, 1), 0);
    ck_assert_uint_eq(broker->route.n_queues, 1);
    ck_assert_uint_le(broker->route.work, 10001);
    broker->route.headers = (struct amqp_table){ NULL, 0 };
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
    tcase_add_loop_test(tcase, test_random_tables_match_as_in_a_merge_of_sorted_ones, 0, 4);
    tcase_add_loop_test(tcase, test_work_is_what_the_message_has_and_what_bindings_share_with_it,
                        0, 2);
    tcase_add_loop_test(tcase, test_bindings_that_ask_for_other_values_cost_nothing, 0, 2);
    tcase_add_test(tcase, test_what_fails_is_asked_first_the_next_time);
    tcase_add_test(tcase, test_many_headers_of_one_name_are_counted_not_compared);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

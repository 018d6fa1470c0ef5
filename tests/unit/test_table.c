/*
 * test_table.c - field tables: what the check lets through, what readers then see, what is built
 */
#include <math.h>

#include "amqp/table.h"
#include "amqp/wire.h"
#include "sample.h"
#include "unit.h"

#define TABLE(literal) ((struct amqp_table){ (const uint8_t *)(literal), sizeof(literal) - 1 })

/* An exact copy on the heap, so that the sanitizer sees a read past the end. */
static int check_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    int rc;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    rc = amqp_table_check((struct amqp_table){ copy, size });
    free(copy);
    return rc;
}

#define OK(octets) { TABLE(octets), 0 }
#define BAD(octets) { TABLE(octets), AMQP_FRAME_ERROR }

static const struct {
    struct amqp_table table;
    int rc;
} check_case[] = {
    OK(""),
    OK("\1at\1"),
    OK("\1at\2"),
    OK("\0V"), /* a key may be empty */
    OK("\2\xff\0V"),
    OK("\1aV\1aV"), /* a key may be there twice */
    OK("\1ab\xff\1bB\xff\1cs\1\2\1du\1\2\1eU\1\2"),
    OK("\1aI\1\2\3\4\1bi\1\2\3\4"),
    OK("\1al\1\2\3\4\5\6\7\x8\1bL\1\2\3\4\5\6\7\x8\1cT\1\2\3\4\5\6\7\x8"),
    OK("\1af\x3f\x80\0\0\1bd\x3f\xf0\0\0\0\0\0\0\1cD\2\0\0\0\1"),
    OK("\1aS\0\0\0\2\xff\0\1bx\0\0\0\0"),
    OK("\1aA\0\0\0\0\1bF\0\0\0\0"),
    OK("\1aA\0\0\0\3Vt\1"),
    OK("\1aF\0\0\0\3\1bV"),
    BAD("\1"),                          /* key cut off */
    BAD("\1a"),                         /* no type */
    BAD("\1at"),                        /* no value */
    BAD("\1as\1"),                      /* values cut off */
    BAD("\1aI\1\2\3"),
    BAD("\1al\1\2\3\4\5\6\7"),
    BAD("\1aD\1\2\3\4"),
    BAD("\1aS\0\0\0"),
    BAD("\1aS\0\0\0\2a"),
    BAD("\1aS\xff\xff\xff\xff"),
    BAD("\1aF\xff\xff\xff\xff"),
    BAD("\1aF\0\0\0\4\1bV"),            /* longer than the table around it */
    BAD("\1aF\0\0\0\2\1bV"),            /* ends within an entry */
    BAD("\1aF\0\0\0\x8\1aS\0\0\0\4ab\1bV"), /* a string that leaves its table, not the outer one */
    BAD("\1aA\0\0\0\1S"),
    BAD("\1aA\0\0\0\3\1bV"),            /* an array has no keys */
    BAD("\1aC\0"),
    BAD("\1aW"),
    BAD("\1ay\0"),
    BAD("\1a\0"),
    BAD("\1a\xff"),
    BAD("\1af\x7f\x80\0\0"),            /* infinity */
    BAD("\1af\xff\x80\0\0"),
    BAD("\1af\x7f\xc0\0\0"),            /* not a number */
    BAD("\1ad\x7f\xf0\0\0\0\0\0\0"),
    BAD("\1ad\x7f\xf8\0\0\0\0\0\1"),
};

START_TEST(test_check_knows_good_tables_from_bad)
{
    ck_assert_int_eq(check_copy(check_case[_i].table.data, check_case[_i].table.size),
                     check_case[_i].rc);
}
END_TEST

START_TEST(test_check_refuses_every_type_octet_but_nineteen)
{
    uint8_t octets[3 + 12] = "\1a";
    unsigned n_known = 0;

    for (unsigned type = 0; type <= 255; type++) {
        bool known = false;

        octets[2] = (uint8_t)type;
        for (size_t size = 3; size <= sizeof octets; size++)
            known |= check_copy(octets, size) == 0;
        ck_assert_int_eq(known, type && strchr("tbBsuUIilLfdDSxTAFV", (int)type) != NULL);
        n_known += known;
    }
    ck_assert_uint_eq(n_known, 19);
}
END_TEST

/* @depth containers inside each other, `type` 'A' or 'F', or in turn where it is 0. */
static struct amqp_table_writer nested(size_t depth, char type)
{
    struct amqp_table_writer writer = { 0 };
    size_t begun[BOUND_TABLE_DEPTH + 2];
    bool in_array = false;

    for (size_t i = 0; i < depth; i++) {
        bool array = type ? type == 'A' : i % 2 == 0;
        const char *key = in_array ? NULL : "k";

        begun[i] = array ? amqp_table_begin_array(&writer, key)
                         : amqp_table_begin_table(&writer, key);
        in_array = array;
    }
    while (depth--)
        amqp_table_end(&writer, begun[depth]);
    ck_assert(!writer.failed);
    return writer;
}

START_TEST(test_check_bounds_nesting)
{
    static const char types[] = { 'A', 'F', 0 };

    for (size_t i = 0; i < N_ELEMENTS(types); i++) {
        struct amqp_table_writer deep = nested(BOUND_TABLE_DEPTH, types[i]);
        struct amqp_table_writer too_deep = nested(BOUND_TABLE_DEPTH + 1, types[i]);

        ck_assert_int_eq(check_copy(deep.data, deep.size), 0);
        ck_assert_int_eq(check_copy(too_deep.data, too_deep.size), AMQP_SYNTAX_ERROR);
        amqp_table_writer_release(&deep);
        amqp_table_writer_release(&too_deep);
    }
}
END_TEST

START_TEST(test_check_takes_any_number_of_siblings_at_the_depth_bound)
{
    struct amqp_table_writer writer = { 0 };

    for (int i = 0; i < 3 * BOUND_TABLE_DEPTH; i++)
        amqp_table_end(&writer, amqp_table_begin_table(&writer, "k"));
    ck_assert_int_eq(check_copy(writer.data, writer.size), 0);
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_check_bounds_entries_also_in_arrays_of_nothing)
{
    struct amqp_table_writer writer = { 0 };
    size_t begun = amqp_table_begin_array(&writer, "k");

    for (int i = 1; i < BOUND_TABLE_ENTRIES; i++)
        amqp_table_put_void(&writer, NULL);
    amqp_table_end(&writer, begun);
    ck_assert_int_eq(check_copy(writer.data, writer.size), 0);
    amqp_table_put_void(&writer, "one more");
    ck_assert_int_eq(check_copy(writer.data, writer.size), AMQP_SYNTAX_ERROR);
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_sample_is_a_table_only_up_to_the_end_of_an_entry)
{
    struct amqp_table_writer writer = { 0 };
    bool ends[SAMPLE_BYTES_MAX] = { true };
    struct amqp_table_iter iter;
    struct amqp_value value;
    struct amqp_str key;
    size_t n = 0;

    sample_table(&writer);
    iter = amqp_table_begin(amqp_table_written(&writer));
    while (amqp_table_next(&iter, &key, &value)) {
        ends[iter.at - writer.data] = true;
        n++;
    }
    ck_assert_uint_eq(n, 18);
    ck_assert_ptr_eq(iter.at, iter.end);
    for (size_t size = 0; size <= writer.size; size++)
        ck_assert_int_eq(check_copy(writer.data, size), ends[size] ? 0 : AMQP_FRAME_ERROR);
    amqp_table_writer_release(&writer);
}
END_TEST

/* Everything in a checked table can be read: walks it, nested ones too, to a small depth. */
static size_t walk(struct amqp_table table, bool array, int depth)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    struct amqp_value value;
    struct amqp_str key;
    char text[40];
    size_t n = 0;

    while (array ? amqp_array_next(&iter, &value) : amqp_table_next(&iter, &key, &value)) {
        ck_assert_str_ne(amqp_value_type_name(&value), "unknown");
        ck_assert_uint_lt(amqp_value_print(&value, text, sizeof text), sizeof text);
        ck_assert(amqp_value_equal(&value, &value));
        if (depth < 5 && (value.type == 'A' || value.type == 'F'))
            n += walk(value.table, value.type == 'A', depth + 1);
        n++;
    }
    return iter.at == iter.end ? n : SIZE_MAX / 2;
}

START_TEST(test_mutated_tables_are_refused_or_can_be_walked)
{
    uint64_t state = 0x9E3779B97F4A7C15 + (uint64_t)_i;
    struct amqp_table_writer writer = { 0 };
    unsigned n_good = 0, n_bad = 0;

    sample_table(&writer);
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(writer.size);

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, writer.data, writer.size);
        sample_mutate(copy, writer.size, &state);
        if (amqp_table_check((struct amqp_table){ copy, writer.size }) == 0) {
            ck_assert_uint_le(walk((struct amqp_table){ copy, writer.size }, false, 0),
                              writer.size);
            n_good++;
        } else {
            n_bad++;
        }
        free(copy);
    }
    ck_assert_uint_gt(n_good, 0);
    ck_assert_uint_gt(n_bad, 0);
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_readers_stop_at_the_end_of_what_no_check_has_seen)
{
    uint64_t state = 42;

    for (int round = 0; round < 20000; round++) {
        size_t size = sample_random(&state) % 24;
        uint8_t *octets = malloc(size + 1);
        struct amqp_value value;

        ck_assert_ptr_nonnull(octets);
        for (size_t i = 0; i < size; i++)
            octets[i] = (uint8_t)("tSAFVId\0\1\2"[sample_random(&state) % 10]);
        octets = realloc(octets, size ? size : 1);
        ck_assert_ptr_nonnull(octets);
        ck_assert(!amqp_table_get((struct amqp_table){ octets, size }, AMQP_STR("no"), &value));
        free(octets);
    }
}
END_TEST

static const struct {
    struct amqp_table table;
    char type;
    int64_t integer;
    const char *name;
    const char *text;
} integer_case[] = {
    { TABLE("\1kb\xff"), 'b', -1, "byte", "-1" },
    { TABLE("\1kB\xff"), 'B', 255, "unsignedbyte", "255" },
    { TABLE("\1ks\xff\xfe"), 's', -2, "short", "-2" },
    { TABLE("\1kU\xff\xfe"), 'U', -2, "short", "-2" },
    { TABLE("\1ku\xff\xfe"), 'u', 65534, "unsignedshort", "65534" },
    { TABLE("\1kI\x80\0\0\0"), 'I', INT32_MIN, "signedint", "-2147483648" },
    { TABLE("\1ki\x80\0\0\0"), 'i', 2147483648, "unsignedint", "2147483648" },
    { TABLE("\1kl\x80\0\0\0\0\0\0\0"), 'l', INT64_MIN, "long", "-9223372036854775808" },
    { TABLE("\1kL\xff\xff\xff\xff\xff\xff\xff\xff"), 'L', -1, "long", "-1" },
    { TABLE("\1kT\0\0\0\0\0\0\0\5"), 'T', 5, "timestamp", "5" },
};

START_TEST(test_integers_have_the_width_and_sign_of_their_type)
{
    struct amqp_value value;
    char text[32];

    ck_assert(amqp_table_get(integer_case[_i].table, AMQP_STR("k"), &value));
    ck_assert_int_eq(value.type, integer_case[_i].type);
    ck_assert_int_eq(value.integer, integer_case[_i].integer);
    ck_assert_int_eq(amqp_value_is_integer(&value), value.type != 'T');
    ck_assert_str_eq(amqp_value_type_name(&value), integer_case[_i].name);
    ck_assert_uint_eq(amqp_value_print(&value, text, sizeof text), strlen(text));
    ck_assert_str_eq(text, integer_case[_i].text);
}
END_TEST

static const struct {
    struct amqp_table table;
    const char *name;
    const char *text;
} print_case[] = {
    { TABLE("\1kt\1"), "bool", "true" },
    { TABLE("\1kt\0"), "bool", "false" },
    { TABLE("\1kt\x80"), "bool", "true" },
    { TABLE("\1kS\0\0\0\x9" "drop-head"), "longstr", "drop-head" },
    { TABLE("\1kx\0\0\0\2ab"), "binary", "ab" },
    { TABLE("\1kf\x3f\x80\0\0"), "float", "1.0" },
    { TABLE("\1kd\x40\x59\0\0\0\0\0\0"), "double", "100.0" },
    { TABLE("\1kD\2\0\0\1\x3a"), "decimal", "{2,314}" },
    { TABLE("\1kV"), "void", "undefined" },
    { TABLE("\1kA\0\0\0\0"), "array", "[]" },
    { TABLE("\1kF\0\0\0\3\1aV"), "table", "[...]" },
};

START_TEST(test_other_values_have_names_and_texts)
{
    struct amqp_value value;
    char text[32];

    ck_assert(amqp_table_get(print_case[_i].table, AMQP_STR("k"), &value));
    ck_assert(!amqp_value_is_integer(&value));
    ck_assert_str_eq(amqp_value_type_name(&value), print_case[_i].name);
    ck_assert_uint_eq(amqp_value_print(&value, text, sizeof text), strlen(text));
    ck_assert_str_eq(text, print_case[_i].text);
}
END_TEST

/* As Erlang/OTP 25 prints them with ~p. */
static const struct {
    double real;
    const char *text;
} real_case[] = {
    { 0.0, "0.0" },          { -0.0, "-0.0" },           { 1.5, "1.5" },
    { -100.0, "-100.0" },    { 1000.0, "1.0e3" },        { 1e10, "1.0e10" },
    { 1e21, "1.0e21" },      { 1.23e22, "1.23e22" },     { 1e23, "1.0e23" },
    { 0.1, "0.1" },          { 0.01, "0.01" },           { 0.001, "0.001" },
    { 0.0001, "0.0001" },    { 1e-5, "1.0e-5" },         { 0.00012345, "1.2345e-4" },
    { 123456.0, "123456.0" }, { 1234567890123.0, "1234567890123.0" },
    { 4503599627370496.0, "4503599627370496.0" },
    { 9007199254740992.0, "9.007199254740992e15" },
    { 1e-300, "1.0e-300" },  { 0.1f, "0.10000000149011612" },
    { 5e-324, "5.0e-324" },  { 1.7976931348623157e308, "1.7976931348623157e308" },
};

START_TEST(test_reals_print_as_the_shortest_text_that_reads_back)
{
    struct amqp_value value = { .type = 'd', .real = real_case[_i].real };
    char text[40];

    amqp_value_print(&value, text, sizeof text);
    ck_assert_str_eq(text, real_case[_i].text);
}
END_TEST

START_TEST(test_print_cuts_to_its_room)
{
    struct amqp_value value = { .type = 'S', .bytes = { (const uint8_t *)"drop-head", 9 } };
    char text[5];

    ck_assert_uint_eq(amqp_value_print(&value, text, sizeof text), 4);
    ck_assert_str_eq(text, "drop");
}
END_TEST

START_TEST(test_get_finds_the_first_of_equal_keys_or_nothing)
{
    struct amqp_table table = TABLE("\1aI\0\0\0\1\1bI\0\0\0\2\1bI\0\0\0\3");
    struct amqp_value value = { .type = 'V' };

    ck_assert(amqp_table_get(table, AMQP_STR("b"), &value));
    ck_assert_int_eq(value.integer, 2);
    value.type = 'V';
    ck_assert(!amqp_table_get(table, AMQP_STR("B"), &value));
    ck_assert(!amqp_table_get(table, AMQP_STR(""), &value));
    ck_assert(!amqp_table_get((struct amqp_table){ NULL, 0 }, AMQP_STR("a"), &value));
    ck_assert_int_eq(value.type, 'V');
}
END_TEST

static const struct {
    struct amqp_table a, b;
    bool equal;
} value_case[] = {
    { TABLE("\1kI\0\0\0\1"), TABLE("\1kl\0\0\0\0\0\0\0\1"), true },
    { TABLE("\1kb\xff"), TABLE("\1kI\xff\xff\xff\xff"), true },
    { TABLE("\1kB\xff"), TABLE("\1kb\xff"), false },
    { TABLE("\1kI\0\0\0\1"), TABLE("\1kT\0\0\0\0\0\0\0\1"), true },
    { TABLE("\1kI\0\0\0\1"), TABLE("\1kI\0\0\0\2"), false },
    { TABLE("\1kI\0\0\0\1"), TABLE("\1kd\x3f\xf0\0\0\0\0\0\0"), false },
    { TABLE("\1kI\0\0\0\1"), TABLE("\1kS\0\0\0\1" "1"), false },
    { TABLE("\1kI\0\0\0\1"), TABLE("\1kt\1"), false },
    { TABLE("\1kf\x3f\x80\0\0"), TABLE("\1kd\x3f\xf0\0\0\0\0\0\0"), true },
    { TABLE("\1kS\0\0\0\1" "1"), TABLE("\1kx\0\0\0\1" "1"), true },
    { TABLE("\1kS\0\0\0\0"), TABLE("\1kS\0\0\0\0"), true },
    { TABLE("\1kS\0\0\0\1a"), TABLE("\1kS\0\0\0\1b"), false },
    { TABLE("\1kS\0\0\0\1a"), TABLE("\1kS\0\0\0\2ab"), false },
    { TABLE("\1kt\1"), TABLE("\1kt\2"), true },
    { TABLE("\1kt\1"), TABLE("\1kt\0"), false },
    { TABLE("\1kV"), TABLE("\1kV"), true },
    { TABLE("\1kV"), TABLE("\1kt\0"), false },
    { TABLE("\1kD\1\0\0\0\1"), TABLE("\1kD\1\0\0\0\1"), true },
    { TABLE("\1kD\1\0\0\0\1"), TABLE("\1kD\2\0\0\0\1"), false },
    { TABLE("\1kA\0\0\0\2t\1"), TABLE("\1kA\0\0\0\2t\1"), true },
    { TABLE("\1kA\0\0\0\2b\1"), TABLE("\1kA\0\0\0\2B\1"), false }, /* types count in there */
    { TABLE("\1kA\0\0\0\0"), TABLE("\1kF\0\0\0\0"), false },
};

START_TEST(test_values_are_equal_whatever_their_width)
{
    struct amqp_value a, b;

    ck_assert(amqp_table_get(value_case[_i].a, AMQP_STR("k"), &a));
    ck_assert(amqp_table_get(value_case[_i].b, AMQP_STR("k"), &b));
    ck_assert_int_eq(amqp_value_equal(&a, &b), value_case[_i].equal);
    ck_assert_int_eq(amqp_value_equal(&b, &a), value_case[_i].equal);
    ck_assert_int_eq(amqp_value_compare(&a, &b) == 0, value_case[_i].equal);
    ck_assert_int_eq(amqp_value_compare(&a, &b) > 0, amqp_value_compare(&b, &a) < 0);
}
END_TEST

static const struct {
    struct amqp_table a, b;
    bool equal;
} table_case[] = {
    { TABLE(""), TABLE(""), true },
    { TABLE("\1aV"), TABLE(""), false },
    { TABLE("\1aV\1bt\1"), TABLE("\1bt\1\1aV"), true },
    { TABLE("\1aV\1bt\1"), TABLE("\1bt\0\1aV"), false },
    { TABLE("\1zb\1"), TABLE("\1zB\1"), false }, /* the type is part of it */
    { TABLE("\1aV\1aV\1bV"), TABLE("\1aV\1bV\1bV"), false },
    { TABLE("\1aV\1bV\1aV"), TABLE("\1aV\1aV\1bV"), true },
    { TABLE("\1aV\1bV"), TABLE("\4aaaaV"), false },
};

START_TEST(test_tables_are_equal_in_any_order)
{
    ck_assert_int_eq(amqp_table_equal(table_case[_i].a, table_case[_i].b), table_case[_i].equal);
    ck_assert_int_eq(amqp_table_equal(table_case[_i].b, table_case[_i].a), table_case[_i].equal);
}
END_TEST

static void put_numbered(struct amqp_table_writer *writer, unsigned number)
{
    char key[16];

    snprintf(key, sizeof key, "%05u", number);
    amqp_table_put_void(writer, key);
}

START_TEST(test_sixty_thousand_entries_backwards_compare_in_no_time)
{
    struct amqp_table_writer forth = { 0 }, back = { 0 };

    for (unsigned i = 0; i < 60000; i++) {
        put_numbered(&forth, i);
        put_numbered(&back, 59999 - i);
    }
    ck_assert(amqp_table_equal(amqp_table_written(&forth), amqp_table_written(&back)));
    back.data[1] = 'x'; /* its first key */
    ck_assert(!amqp_table_equal(amqp_table_written(&forth), amqp_table_written(&back)));
    amqp_table_writer_release(&forth);
    amqp_table_writer_release(&back);
}
END_TEST

START_TEST(test_writer_builds_what_readers_see)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_value value, element;
    struct amqp_table_iter iter;
    size_t begun;

    amqp_table_put_str(&writer, "product", AMQP_STR("Leveret"));
    amqp_table_put_bool(&writer, "yes", true);
    amqp_table_put_int(&writer, "count", -5);
    amqp_table_put_double(&writer, "ratio", 0.25);
    amqp_table_put_timestamp(&writer, "time", 1700000000);
    amqp_table_put_void(&writer, "nothing");
    begun = amqp_table_begin_array(&writer, "queues");
    amqp_table_put_str(&writer, NULL, AMQP_STR("q1"));
    amqp_table_put_int(&writer, NULL, 2);
    amqp_table_end(&writer, begun);
    ck_assert(!writer.failed);
    ck_assert_int_eq(check_copy(writer.data, writer.size), 0);

    ck_assert(amqp_table_get(amqp_table_written(&writer), AMQP_STR("product"), &value));
    ck_assert_int_eq(value.type, 'S');
    ck_assert_uint_eq(value.bytes.size, 7);
    ck_assert(amqp_table_get(amqp_table_written(&writer), AMQP_STR("count"), &value));
    ck_assert_int_eq(value.type, 'l');
    ck_assert_int_eq(value.integer, -5);
    ck_assert(amqp_table_get(amqp_table_written(&writer), AMQP_STR("ratio"), &value));
    ck_assert(value.type == 'd' && value.real == 0.25);
    ck_assert(amqp_table_get(amqp_table_written(&writer), AMQP_STR("time"), &value));
    ck_assert(value.type == 'T' && value.integer == 1700000000);
    ck_assert(amqp_table_get(amqp_table_written(&writer), AMQP_STR("queues"), &value));
    iter = amqp_table_begin(value.table);
    ck_assert(amqp_array_next(&iter, &element) && element.type == 'S');
    ck_assert(amqp_array_next(&iter, &element) && element.integer == 2);
    ck_assert(!amqp_array_next(&iter, &element));
    amqp_table_writer_release(&writer);
    ck_assert_ptr_null(writer.data);
}
END_TEST

START_TEST(test_writer_copies_every_type_octet_for_octet)
{
    struct amqp_table_writer sample = { 0 }, copy = { 0 };
    struct amqp_table_iter iter;
    struct amqp_value value;
    struct amqp_str key;

    sample_table(&sample);
    iter = amqp_table_begin(amqp_table_written(&sample));
    while (amqp_table_next(&iter, &key, &value))
        amqp_table_put_value(&copy, key, &value);
    ck_assert_uint_eq(copy.size, sample.size);
    ck_assert_mem_eq(copy.data, sample.data, sample.size);
    amqp_table_writer_release(&sample);
    amqp_table_writer_release(&copy);
}
END_TEST

START_TEST(test_writer_fails_for_a_key_that_is_no_short_string)
{
    struct amqp_value value = { .type = 'V' };
    struct amqp_table_writer writer = { 0 };
    char key[256];

    memset(key, 'k', sizeof key);
    amqp_table_put_value(&writer, (struct amqp_str){ key, 255 }, &value);
    ck_assert(!writer.failed);
    amqp_table_put_value(&writer, (struct amqp_str){ key, 256 }, &value);
    ck_assert(writer.failed);
    amqp_table_put_void(&writer, "ignored");
    amqp_table_end(&writer, amqp_table_begin_table(&writer, "ignored"));
    ck_assert_uint_eq(writer.size, 257);
    amqp_table_writer_release(&writer);
    ck_assert(!writer.failed);
}
END_TEST

START_TEST(test_writer_fails_past_four_gigabytes)
{
    struct amqp_value value = { .type = 'S', .bytes = { (const uint8_t *)"", UINT32_MAX } };
    struct amqp_table_writer writer = { 0 };

    amqp_table_put_value(&writer, AMQP_STR("k"), &value);
    ck_assert(writer.failed);
    ck_assert_uint_eq(writer.size, 0);
    amqp_table_writer_release(&writer);
}
END_TEST

static Suite *table_suite(void)
{
    Suite *suite = suite_create("table");
    TCase *check = tcase_create("check"), *values = tcase_create("values");
    TCase *equality = tcase_create("equality"), *writer = tcase_create("writer");

    tcase_add_loop_test(check, test_check_knows_good_tables_from_bad, 0, N_ELEMENTS(check_case));
    tcase_add_test(check, test_check_refuses_every_type_octet_but_nineteen);
    tcase_add_test(check, test_check_bounds_nesting);
    tcase_add_test(check, test_check_takes_any_number_of_siblings_at_the_depth_bound);
    tcase_add_test(check, test_check_bounds_entries_also_in_arrays_of_nothing);
    tcase_add_test(check, test_sample_is_a_table_only_up_to_the_end_of_an_entry);
    tcase_add_loop_test(check, test_mutated_tables_are_refused_or_can_be_walked, 0, 4);
    tcase_add_test(check, test_readers_stop_at_the_end_of_what_no_check_has_seen);
    suite_add_tcase(suite, check);
    tcase_add_loop_test(values, test_integers_have_the_width_and_sign_of_their_type, 0,
                        N_ELEMENTS(integer_case));
    tcase_add_loop_test(values, test_other_values_have_names_and_texts, 0, N_ELEMENTS(print_case));
    tcase_add_loop_test(values, test_reals_print_as_the_shortest_text_that_reads_back, 0,
                        N_ELEMENTS(real_case));
    tcase_add_test(values, test_print_cuts_to_its_room);
    tcase_add_test(values, test_get_finds_the_first_of_equal_keys_or_nothing);
    suite_add_tcase(suite, values);
    tcase_add_loop_test(equality, test_values_are_equal_whatever_their_width, 0,
                        N_ELEMENTS(value_case));
    tcase_add_loop_test(equality, test_tables_are_equal_in_any_order, 0, N_ELEMENTS(table_case));
    tcase_add_test(equality, test_sixty_thousand_entries_backwards_compare_in_no_time);
    suite_add_tcase(suite, equality);
    tcase_add_test(writer, test_writer_builds_what_readers_see);
    tcase_add_test(writer, test_writer_copies_every_type_octet_for_octet);
    tcase_add_test(writer, test_writer_fails_for_a_key_that_is_no_short_string);
    tcase_add_test(writer, test_writer_fails_past_four_gigabytes);
    suite_add_tcase(suite, writer);
    return suite;
}

int main(void)
{
    return unit_run(table_suite());
}

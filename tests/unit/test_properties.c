/*
 * test_properties.c - content headers: every set of flags, and every way to cut one short
 */
#include "amqp/properties.h"
#include "amqp/wire.h"
#include "sample.h"
#include "unit.h"

#define RAW(literal) ((struct amqp_bytes){ (const uint8_t *)(literal), sizeof(literal) - 1 })

enum { N_FLAG_SETS = 1 << 14 };

static struct amqp_table_writer headers;

static void setup(void)
{
    sample_table(&headers);
}

static void teardown(void)
{
    amqp_table_writer_release(&headers);
}

/* Decodes an exact copy on the heap, so that the sanitizer sees a read past the end. */
static int decode_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct amqp_properties properties;
    int rc;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    rc = amqp_properties_decode((struct amqp_bytes){ copy, size }, &properties);
    free(copy);
    return rc;
}

START_TEST(test_no_properties_decode_to_zeros)
{
    struct amqp_properties properties, zero;

    memset(&properties, 0x55, sizeof properties);
    memset(&zero, 0, sizeof zero);
    ck_assert_int_eq(amqp_properties_decode(RAW("\0\0"), &properties), 0);
    ck_assert_mem_eq(&properties, &zero, sizeof zero);
}
END_TEST

START_TEST(test_delivery_mode_alone_decodes)
{
    struct amqp_properties properties;

    memset(&properties, 0x55, sizeof properties);
    ck_assert_int_eq(amqp_properties_decode(RAW("\x10\0\2"), &properties), 0);
    ck_assert_uint_eq(properties.flags, AMQP_PROPERTY_DELIVERY_MODE);
    ck_assert_uint_eq(properties.delivery_mode, 2);
    ck_assert_uint_eq(properties.priority, 0);
    ck_assert_uint_eq(properties.headers.size, 0);
}
END_TEST

START_TEST(test_each_property_has_its_bit_and_place)
{
    /* content-type a .. cluster-id n, in wire order; timestamp 1, an empty table */
    static const uint8_t raw[] =
        "\xff\xfc\1a\1b\0\0\0\0\2\7\1f\1g\1h\1i\0\0\0\0\0\0\0\1\1k\1l\1m\1n";
    struct amqp_properties p;

    ck_assert_int_eq(amqp_properties_decode((struct amqp_bytes){ raw, sizeof raw - 1 }, &p), 0);
    ck_assert_uint_eq(p.flags, 0xFFFC);
    ck_assert(amqp_str_equal(p.content_type, AMQP_STR("a")));
    ck_assert(amqp_str_equal(p.content_encoding, AMQP_STR("b")));
    ck_assert_ptr_eq(p.headers.data, raw + 10);
    ck_assert_uint_eq(p.headers.size, 0);
    ck_assert_uint_eq(p.delivery_mode, 2);
    ck_assert_uint_eq(p.priority, 7);
    ck_assert(amqp_str_equal(p.correlation_id, AMQP_STR("f")));
    ck_assert(amqp_str_equal(p.reply_to, AMQP_STR("g")));
    ck_assert(amqp_str_equal(p.expiration, AMQP_STR("h")));
    ck_assert(amqp_str_equal(p.message_id, AMQP_STR("i")));
    ck_assert_uint_eq(p.timestamp, 1);
    ck_assert(amqp_str_equal(p.type, AMQP_STR("k")));
    ck_assert(amqp_str_equal(p.user_id, AMQP_STR("l")));
    ck_assert(amqp_str_equal(p.app_id, AMQP_STR("m")));
    ck_assert(amqp_str_equal(p.cluster_id, AMQP_STR("n")));
}
END_TEST

START_TEST(test_every_set_of_flags_survives_the_wire)
{
    uint8_t raw[SAMPLE_BYTES_MAX], again[SAMPLE_BYTES_MAX];

    for (unsigned set = 0; set < N_FLAG_SETS; set++) {
        struct amqp_properties sample =
            sample_properties((uint16_t)(set << 2), amqp_table_written(&headers));
        size_t size = amqp_properties_size(&sample);
        struct amqp_properties properties;

        ck_assert_uint_le(size, sizeof raw);
        ck_assert_ptr_eq(amqp_properties_encode(&sample, raw), raw + size);
        ck_assert_int_eq(amqp_properties_decode((struct amqp_bytes){ raw, size }, &properties), 0);
        ck_assert_uint_eq(properties.flags, set << 2);
        ck_assert_uint_eq(amqp_properties_size(&properties), size);
        amqp_properties_encode(&properties, again);
        ck_assert_mem_eq(again, raw, size);
    }
}
END_TEST

START_TEST(test_cut_properties_are_refused)
{
    uint8_t raw[SAMPLE_BYTES_MAX];

    for (unsigned set = 0; set < N_FLAG_SETS; set += 7) {
        struct amqp_properties sample =
            sample_properties((uint16_t)(set << 2), amqp_table_written(&headers));
        size_t size = (size_t)(amqp_properties_encode(&sample, raw) - raw);
        size_t step = size < 64 ? 1 : 17;

        for (size_t cut = 0; cut < size; cut += step)
            ck_assert_int_eq(decode_copy(raw, cut), AMQP_FRAME_ERROR);
        ck_assert_int_eq(decode_copy(raw, size - 1), AMQP_FRAME_ERROR);
        raw[size] = 0;
        ck_assert_int_eq(decode_copy(raw, size + 1), AMQP_FRAME_ERROR);
    }
}
END_TEST

START_TEST(test_all_properties_cut_at_any_octet_are_refused)
{
    struct amqp_properties sample = sample_properties(0xFFFC, amqp_table_written(&headers));
    uint8_t raw[SAMPLE_BYTES_MAX];
    size_t size = (size_t)(amqp_properties_encode(&sample, raw) - raw);

    for (size_t cut = 0; cut < size; cut++)
        ck_assert_int_eq(decode_copy(raw, cut), AMQP_FRAME_ERROR);
    ck_assert_int_eq(decode_copy(raw, size), 0);
}
END_TEST

/* One short string or table after the other, its length one too small and one too large. */
START_TEST(test_length_off_by_one_is_refused)
{
    uint8_t raw[SAMPLE_BYTES_MAX];

    for (unsigned bit = 2; bit < 16; bit++) {
        struct amqp_properties sample =
            sample_properties((uint16_t)(1u << bit), amqp_table_written(&headers));
        size_t size = (size_t)(amqp_properties_encode(&sample, raw) - raw);
        uint8_t *last = 1u << bit == AMQP_PROPERTY_HEADERS ? &raw[5] : &raw[2];

        if ((1u << bit) & (AMQP_PROPERTY_DELIVERY_MODE | AMQP_PROPERTY_PRIORITY |
                           AMQP_PROPERTY_TIMESTAMP))
            continue;
        --*last;
        ck_assert_int_eq(decode_copy(raw, size), AMQP_FRAME_ERROR);
        *last = (uint8_t)(*last + 2);
        ck_assert_int_eq(decode_copy(raw, size), AMQP_FRAME_ERROR);
        --*last;
        ck_assert_int_eq(decode_copy(raw, size), 0);
    }
}
END_TEST

static const struct {
    struct amqp_bytes raw;
    int rc;
} decode_case[] = {
    { RAW(""), AMQP_FRAME_ERROR },
    { RAW("\0"), AMQP_FRAME_ERROR },
    { RAW("\0\3"), 0 },                                 /* bits 0 and 1 mean nothing */
    { RAW("\0\1\0\0"), AMQP_FRAME_ERROR },              /* so no other flag word follows */
    { RAW("\x10\1\2"), 0 },
    { RAW("\x10\0"), AMQP_FRAME_ERROR },
    { RAW("\x10\0\2\2"), AMQP_FRAME_ERROR },
    { RAW("\x80\0\2\xff\xfe"), 0 },                     /* not UTF-8, passes */
    { RAW("\x20\0\0\0\0\0"), 0 },
    { RAW("\x20\0\0\0\0\3\1kV"), 0 },
    { RAW("\x20\0\0\0\0\3\1kC"), AMQP_FRAME_ERROR },
    { RAW("\x20\0\0\0\0\4\1kV"), AMQP_FRAME_ERROR },
    { RAW("\x20\0\xff\xff\xff\xff"), AMQP_FRAME_ERROR },
};

START_TEST(test_decode_knows_good_headers_from_bad)
{
    ck_assert_int_eq(decode_copy(decode_case[_i].raw.data, decode_case[_i].raw.size),
                     decode_case[_i].rc);
}
END_TEST

START_TEST(test_table_nested_past_its_bound_is_a_syntax_error)
{
    struct amqp_table_writer deep = { 0 };
    size_t begun[BOUND_TABLE_DEPTH + 1];
    struct amqp_properties sample;
    uint8_t raw[SAMPLE_BYTES_MAX];
    size_t size;

    for (size_t i = 0; i < N_ELEMENTS(begun); i++)
        begun[i] = amqp_table_begin_table(&deep, "");
    for (size_t i = N_ELEMENTS(begun); i-- > 0;)
        amqp_table_end(&deep, begun[i]);
    sample = sample_properties(AMQP_PROPERTY_HEADERS, amqp_table_written(&deep));
    size = amqp_properties_size(&sample);
    ck_assert_uint_le(size, sizeof raw);
    amqp_properties_encode(&sample, raw);
    ck_assert_int_eq(decode_copy(raw, size), AMQP_SYNTAX_ERROR);
    amqp_table_writer_release(&deep);
}
END_TEST

START_TEST(test_failed_decode_leaves_the_output_alone)
{
    struct amqp_properties properties, before;

    memset(&properties, 0x55, sizeof properties);
    before = properties;
    ck_assert_int_eq(amqp_properties_decode(RAW("\0\0\0"), &properties), AMQP_FRAME_ERROR);
    ck_assert_int_eq(amqp_properties_decode(RAW("\x10\0"), &properties), AMQP_FRAME_ERROR);
    ck_assert_int_eq(amqp_properties_decode(RAW("\xc0\0\1a"), &properties), AMQP_FRAME_ERROR);
    ck_assert_mem_eq(&properties, &before, sizeof properties);
}
END_TEST

START_TEST(test_mutated_properties_are_refused_or_say_the_same_again)
{
    struct amqp_properties sample = sample_properties(0xFFFC, amqp_table_written(&headers));
    uint64_t state = 0x9E3779B97F4A7C15 + (uint64_t)_i;
    uint8_t raw[SAMPLE_BYTES_MAX], copy[SAMPLE_BYTES_MAX], again[SAMPLE_BYTES_MAX];
    size_t size = (size_t)(amqp_properties_encode(&sample, raw) - raw);
    unsigned n_good = 0, n_bad = 0;

    for (int round = 0; round < 20000; round++) {
        struct amqp_properties properties;

        memcpy(copy, raw, size);
        sample_mutate(copy, size, &state);
        if (amqp_properties_decode((struct amqp_bytes){ copy, size }, &properties)) {
            n_bad++;
            continue;
        }
        n_good++;
        copy[1] &= 0xFC;
        ck_assert_uint_eq(amqp_properties_size(&properties), size);
        amqp_properties_encode(&properties, again);
        ck_assert_mem_eq(again, copy, size);
    }
    ck_assert_uint_gt(n_good, 0);
    ck_assert_uint_gt(n_bad, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("properties");
    TCase *good = tcase_create("good"), *bad = tcase_create("bad");

    tcase_add_checked_fixture(good, setup, teardown);
    tcase_add_test(good, test_no_properties_decode_to_zeros);
    tcase_add_test(good, test_delivery_mode_alone_decodes);
    tcase_add_test(good, test_each_property_has_its_bit_and_place);
    tcase_add_test(good, test_every_set_of_flags_survives_the_wire);
    suite_add_tcase(suite, good);
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_set_timeout(bad, 30);
    tcase_add_test(bad, test_cut_properties_are_refused);
    tcase_add_test(bad, test_all_properties_cut_at_any_octet_are_refused);
    tcase_add_test(bad, test_length_off_by_one_is_refused);
    tcase_add_loop_test(bad, test_decode_knows_good_headers_from_bad, 0, N_ELEMENTS(decode_case));
    tcase_add_test(bad, test_table_nested_past_its_bound_is_a_syntax_error);
    tcase_add_test(bad, test_failed_decode_leaves_the_output_alone);
    tcase_add_loop_test(bad, test_mutated_properties_are_refused_or_say_the_same_again, 0, 4);
    suite_add_tcase(suite, bad);
    return unit_run(suite);
}

/*
 * test_method.c - every method, whole and broken in every place
 *
 * The list of methods is written down here a second time, from the specification and not from
 * method.h, so that the two can be compared.
 */
#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/wire.h"
#include "sample.h"
#include "unit.h"

/* o octet, s short, l long, L longlong, $ shortstr, & longstr, # table, b bit */
static const struct {
    uint16_t class_id, method_id;
    const char *name;
    const char *arguments;
} spec[] = {
    { 10, 10, "connection.start", "oo#&&" },
    { 10, 11, "connection.start-ok", "#$&$" },
    { 10, 20, "connection.secure", "&" },
    { 10, 21, "connection.secure-ok", "&" },
    { 10, 30, "connection.tune", "sls" },
    { 10, 31, "connection.tune-ok", "sls" },
    { 10, 40, "connection.open", "$$b" },
    { 10, 41, "connection.open-ok", "$" },
    { 10, 50, "connection.close", "s$ss" },
    { 10, 51, "connection.close-ok", "" },
    { 10, 60, "connection.blocked", "$" },
    { 10, 61, "connection.unblocked", "" },
    { 10, 70, "connection.update-secret", "&$" },
    { 10, 71, "connection.update-secret-ok", "" },
    { 20, 10, "channel.open", "$" },
    { 20, 11, "channel.open-ok", "&" },
    { 20, 20, "channel.flow", "b" },
    { 20, 21, "channel.flow-ok", "b" },
    { 20, 40, "channel.close", "s$ss" },
    { 20, 41, "channel.close-ok", "" },
    { 30, 10, "access.request", "$bbbbb" },
    { 30, 11, "access.request-ok", "s" },
    { 40, 10, "exchange.declare", "s$$bbbbb#" },
    { 40, 11, "exchange.declare-ok", "" },
    { 40, 20, "exchange.delete", "s$bb" },
    { 40, 21, "exchange.delete-ok", "" },
    { 40, 30, "exchange.bind", "s$$$b#" },
    { 40, 31, "exchange.bind-ok", "" },
    { 40, 40, "exchange.unbind", "s$$$b#" },
    { 40, 51, "exchange.unbind-ok", "" },
    { 50, 10, "queue.declare", "s$bbbbb#" },
    { 50, 11, "queue.declare-ok", "$ll" },
    { 50, 20, "queue.bind", "s$$$b#" },
    { 50, 21, "queue.bind-ok", "" },
    { 50, 30, "queue.purge", "s$b" },
    { 50, 31, "queue.purge-ok", "l" },
    { 50, 40, "queue.delete", "s$bbb" },
    { 50, 41, "queue.delete-ok", "l" },
    { 50, 50, "queue.unbind", "s$$$#" },
    { 50, 51, "queue.unbind-ok", "" },
    { 60, 10, "basic.qos", "lsb" },
    { 60, 11, "basic.qos-ok", "" },
    { 60, 20, "basic.consume", "s$$bbbb#" },
    { 60, 21, "basic.consume-ok", "$" },
    { 60, 30, "basic.cancel", "$b" },
    { 60, 31, "basic.cancel-ok", "$" },
    { 60, 40, "basic.publish", "s$$bb" },
    { 60, 50, "basic.return", "s$$$" },
    { 60, 60, "basic.deliver", "$Lb$$" },
    { 60, 70, "basic.get", "s$b" },
    { 60, 71, "basic.get-ok", "Lb$$l" },
    { 60, 72, "basic.get-empty", "$" },
    { 60, 80, "basic.ack", "Lb" },
    { 60, 90, "basic.reject", "Lb" },
    { 60, 100, "basic.recover-async", "b" },
    { 60, 110, "basic.recover", "b" },
    { 60, 111, "basic.recover-ok", "" },
    { 60, 120, "basic.nack", "Lbb" },
    { 85, 10, "confirm.select", "b" },
    { 85, 11, "confirm.select-ok", "" },
    { 90, 10, "tx.select", "" },
    { 90, 11, "tx.select-ok", "" },
    { 90, 20, "tx.commit", "" },
    { 90, 21, "tx.commit-ok", "" },
    { 90, 30, "tx.rollback", "" },
    { 90, 31, "tx.rollback-ok", "" },
};

/* What a method looks like as a payload: method ids and arguments, without the frame around it. */
struct sample {
    const struct amqp_method_info *info;
    union amqp_method method;
    struct amqp_table_writer table;
    uint8_t frame[SAMPLE_BYTES_MAX];
    struct amqp_bytes payload;
};

static struct sample sample;

/* The i-th method of the list, with something in every field. */
static void sample_setup(int i)
{
    size_t size;

    sample.info = amqp_method_find(AMQP_METHOD_ID(spec[i].class_id, spec[i].method_id));
    ck_assert_ptr_nonnull(sample.info);
    sample_table(&sample.table);
    sample_method(sample.info, amqp_table_written(&sample.table), &sample.method);
    size = amqp_method_frame_size(&sample.method);
    ck_assert_uint_le(size, sizeof sample.frame);
    ck_assert_ptr_eq(amqp_method_frame_encode(&sample.method, 1, sample.frame),
                     sample.frame + size);
    sample.payload.data = sample.frame + AMQP_FRAME_HEAD_BYTES;
    sample.payload.size = size - AMQP_FRAME_OVERHEAD_BYTES;
}

static void teardown(void)
{
    amqp_table_writer_release(&sample.table);
}

/* Decodes an exact copy on the heap, so that the sanitizer sees a read past the end. */
static int decode_copy(const uint8_t *data, size_t size, struct amqp_error *err)
{
    uint8_t *copy = malloc(size);
    union amqp_method method;
    int rc;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    rc = amqp_method_decode((struct amqp_bytes){ copy, size }, &method, err);
    free(copy);
    return rc;
}

START_TEST(test_method_has_the_id_name_and_arguments_of_the_spec)
{
    static const char letters[] = {
        [AMQP_WIRE_octet] = 'o',    [AMQP_WIRE_short] = 's',    [AMQP_WIRE_long] = 'l',
        [AMQP_WIRE_longlong] = 'L', [AMQP_WIRE_bit] = 'b',      [AMQP_WIRE_shortstr] = '$',
        [AMQP_WIRE_longstr] = '&',  [AMQP_WIRE_table] = '#',
    };
    const struct amqp_method_info *info;
    char arguments[16] = { 0 };

    info = amqp_method_find((uint32_t)spec[_i].class_id << 16 | spec[_i].method_id);
    ck_assert_ptr_nonnull(info);
    ck_assert_uint_eq(info->id, (uint32_t)spec[_i].class_id << 16 | spec[_i].method_id);
    ck_assert_str_eq(info->name, spec[_i].name);
    ck_assert_uint_lt(info->n_fields, sizeof arguments);
    for (size_t i = 0; i < info->n_fields; i++)
        arguments[i] = letters[info->fields[i].wire];
    ck_assert_str_eq(arguments, spec[_i].arguments);
}
END_TEST

START_TEST(test_no_other_method_is_known)
{
    size_t n = 0;

    for (uint32_t class_id = 0; class_id < 200; class_id++) {
        for (uint32_t method_id = 0; method_id < 300; method_id++)
            n += amqp_method_find(class_id << 16 | method_id) != NULL;
    }
    ck_assert_uint_eq(n, N_ELEMENTS(spec));
    ck_assert_ptr_null(amqp_method_find(UINT32_MAX));
    ck_assert_ptr_null(amqp_method_find(0x10000u << 15 | 10));
}
END_TEST

START_TEST(test_names_in_c_are_the_names_of_the_spec)
{
#define NAME_ROW(M, c, m, name, spec_name, ARGUMENTS) { #name, spec_name, AMQP_ID_##name },
    static const struct {
        const char *c_name, *spec_name;
        uint32_t id;
    } names[] = { AMQP_METHOD_ROWS(NAME_ROW, ) };
    char name[40];

    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        snprintf(name, sizeof name, "%s", names[i].spec_name);
        for (char *c = name; *c; c++)
            *c = *c == '.' || *c == '-' ? '_' : *c;
        ck_assert_str_eq(name, names[i].c_name);
        ck_assert_str_eq(amqp_method_find(names[i].id)->name, names[i].spec_name);
    }
}
END_TEST

START_TEST(test_method_decodes_to_what_was_encoded)
{
    uint8_t again[SAMPLE_BYTES_MAX];
    struct amqp_frame frame;
    union amqp_method method;
    struct amqp_error err;

    sample_setup(_i);
    ck_assert_int_eq(amqp_frame_scan((struct amqp_bytes){ sample.frame, sample.payload.size + 8 },
                                     4096, &frame),
                     AMQP_SCAN_FRAME);
    ck_assert_int_eq(frame.type, AMQP_FRAME_METHOD);
    ck_assert_int_eq(frame.channel, 1);
    ck_assert_int_eq(amqp_method_decode(frame.payload, &method, &err), 0);
    ck_assert_uint_eq(method.id, sample.info->id);
    ck_assert_uint_eq(amqp_method_frame_size(&method), frame.frame_bytes);
    amqp_method_frame_encode(&method, 1, again);
    ck_assert_mem_eq(again, sample.frame, frame.frame_bytes);
}
END_TEST

START_TEST(test_method_cut_at_any_octet_is_refused)
{
    struct amqp_error err;

    sample_setup(_i);
    for (size_t size = 4; size < sample.payload.size; size++) {
        ck_assert_int_eq(decode_copy(sample.payload.data, size, &err), AMQP_FRAME_ERROR);
        ck_assert_uint_eq(err.method_id, sample.info->id);
        ck_assert_mem_eq(err.text, "FRAME_ERROR - cannot decode <<", 30);
    }
}
END_TEST

START_TEST(test_method_with_an_octet_left_over_is_refused)
{
    struct amqp_error err;

    sample_setup(_i);
    sample.frame[AMQP_FRAME_HEAD_BYTES + sample.payload.size] = 0;
    ck_assert_int_eq(decode_copy(sample.payload.data, sample.payload.size + 1, &err),
                     AMQP_FRAME_ERROR);
    ck_assert_uint_eq(err.method_id, sample.info->id);
}
END_TEST

static void refuse_other_lengths(uint8_t *length, size_t width)
{
    struct amqp_error err;
    uint8_t good[4];

    memcpy(good, length, width);
    for (int by = -1; by <= 1; by += 2) {
        uint32_t value = width == 1 ? good[0] : wire_load32(good);

        value += (uint32_t)by;
        if (width == 1)
            wire_store8(length, (uint8_t)value);
        else
            wire_store32(length, value);
        ck_assert_int_eq(decode_copy(sample.payload.data, sample.payload.size, &err),
                         AMQP_FRAME_ERROR);
        ck_assert_uint_eq(err.method_id, sample.info->id);
        memcpy(length, good, width);
    }
}

START_TEST(test_method_with_a_length_off_by_one_is_refused)
{
    uint8_t *at = sample.frame + AMQP_FRAME_HEAD_BYTES + 4;
    unsigned n_bits = 0;

    sample_setup(_i);
    for (size_t i = 0; i < sample.info->n_fields; i++) {
        enum amqp_wire wire = sample.info->fields[i].wire;

        if (wire == AMQP_WIRE_bit) {
            at += n_bits++ == 0;
            continue;
        }
        n_bits = 0;
        if (wire == AMQP_WIRE_shortstr) {
            refuse_other_lengths(at, 1);
            at += 1 + at[0];
        } else if (wire == AMQP_WIRE_longstr || wire == AMQP_WIRE_table) {
            refuse_other_lengths(at, 4);
            at += 4 + wire_load32(at);
        } else {
            at += (size_t)1 << wire; /* octet, short, long, longlong */
        }
    }
    ck_assert_ptr_eq(at, sample.payload.data + sample.payload.size);
}
END_TEST

START_TEST(test_mutated_method_is_refused_or_can_be_used)
{
    uint64_t state = 0x9E3779B97F4A7C15 + (uint64_t)_i;
    uint8_t copy[SAMPLE_BYTES_MAX], again[SAMPLE_BYTES_MAX];
    union amqp_method method;
    struct amqp_error err;
    char text[200];

    sample_setup(_i);
    for (int round = 0; round < 2000; round++) {
        size_t size = sample.payload.size;

        memcpy(copy, sample.payload.data, size);
        sample_mutate(copy + 4, size - 4, &state);
        if (amqp_method_decode((struct amqp_bytes){ copy, size }, &method, &err) == 0) {
            ck_assert_uint_eq(amqp_method_frame_size(&method), size + AMQP_FRAME_OVERHEAD_BYTES);
            amqp_method_frame_encode(&method, 1, again);
            ck_assert_uint_lt(amqp_method_print(&method, text, sizeof text), sizeof text);
        } else {
            ck_assert(err.code == AMQP_FRAME_ERROR || err.code == AMQP_SYNTAX_ERROR);
            ck_assert(amqp_utf8_valid(amqp_str_from(err.text)));
        }
    }
}
END_TEST

START_TEST(test_unknown_method_is_refused_by_number)
{
    static const uint8_t octets[] = { 0, 60, 0, 33 };
    struct amqp_error err;

    ck_assert_int_eq(decode_copy(octets, sizeof octets, &err), AMQP_COMMAND_INVALID);
    ck_assert_str_eq(err.text, "COMMAND_INVALID - unknown method (60,33)");
    ck_assert_uint_eq(err.method_id, 60 << 16 | 33);
}
END_TEST

START_TEST(test_refused_arguments_are_quoted_as_numbers)
{
    static const uint8_t octets[] = { 0, 50, 0, 30, 'z', 'z', 'z', 'z' };
    struct amqp_error err;

    ck_assert_int_eq(decode_copy(octets, sizeof octets, &err), AMQP_FRAME_ERROR);
    ck_assert_str_eq(err.text, "FRAME_ERROR - cannot decode <<122,122,122,122>>");
    ck_assert_uint_eq(err.method_id, AMQP_ID_queue_purge);
}
END_TEST

START_TEST(test_long_arguments_are_quoted_as_far_as_a_text_goes)
{
    uint8_t octets[404] = { 0, 50, 0, 30 };
    struct amqp_error err;

    memset(octets + 4, 'q', 400);
    ck_assert_int_eq(decode_copy(octets, sizeof octets, &err), AMQP_FRAME_ERROR);
    ck_assert_uint_eq(strlen(err.text), 255);
    ck_assert_str_eq(err.text + 255 - 9, "113,11...");
}
END_TEST

START_TEST(test_failed_decode_leaves_the_output_alone)
{
    static const uint8_t octets[] = { 0, 60, 0, 40, 0, 0, 1, 'x', 1, 'k', 0, 0 };
    union amqp_method method, before;
    struct amqp_error err;

    memset(&method, 0x55, sizeof method);
    before = method;
    for (size_t size = 4; size <= sizeof octets; size++) {
        int rc = amqp_method_decode((struct amqp_bytes){ octets, size }, &method, &err);

        ck_assert_int_eq(rc, size == sizeof octets - 1 ? 0 : AMQP_FRAME_ERROR);
        if (rc)
            ck_assert_mem_eq(&method, &before, sizeof method);
        method = before;
    }
}
END_TEST

START_TEST(test_unused_bits_are_ignored_and_written_as_zero)
{
    static const uint8_t ack[] = { 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 9, 0xFE };
    static const uint8_t publish[] = { 0, 60, 0, 40, 0, 0, 0, 0, 0xFE };
    union amqp_method method;
    struct amqp_error err;
    uint8_t frame[32];

    ck_assert_int_eq(amqp_method_decode((struct amqp_bytes){ ack, sizeof ack }, &method, &err), 0);
    ck_assert_uint_eq(method.basic_ack.delivery_tag, 9);
    ck_assert(!method.basic_ack.multiple);
    amqp_method_frame_encode(&method, 1, frame);
    ck_assert_uint_eq(frame[AMQP_FRAME_HEAD_BYTES + sizeof ack - 1], 0);

    ck_assert_int_eq(
        amqp_method_decode((struct amqp_bytes){ publish, sizeof publish }, &method, &err), 0);
    ck_assert(!method.basic_publish.mandatory);
    ck_assert(method.basic_publish.immediate);
}
END_TEST

START_TEST(test_bits_fill_an_octet_from_the_lowest)
{
    struct amqp_queue_declare declare = { .id = AMQP_ID_queue_declare, .durable = true,
                                          .no_wait = true };
    static const uint8_t expected[] = { 1, 0, 3, 0, 0, 0, 12, 0, 50, 0, 10, 0, 0, 0, 0x12,
                                        0, 0, 0, 0, 0xCE };
    uint8_t frame[32];

    ck_assert_uint_eq(amqp_method_frame_size(&declare), sizeof expected);
    amqp_method_frame_encode(&declare, 3, frame);
    ck_assert_mem_eq(frame, expected, sizeof expected);
}
END_TEST

/* purge of a queue, publish with a key: the short string is at the same place but for one octet */
START_TEST(test_short_strings_are_utf8_but_in_methods_with_content)
{
    static const uint8_t purge[] = { 0, 50, 0, 30, 0, 0, 2, 0xFF, 0xFE, 0 };
    static const uint8_t publish[] = { 0, 60, 0, 40, 0, 0, 0, 2, 0xFF, 0xFE, 0 };
    union amqp_method method;
    struct amqp_error err;

    ck_assert_int_eq(decode_copy(purge, sizeof purge, &err), AMQP_FRAME_ERROR);
    ck_assert_str_eq(err.text, "FRAME_ERROR - Malformed UTF-8 in shortstr");
    ck_assert_uint_eq(err.method_id, 0);
    ck_assert_int_eq(
        amqp_method_decode((struct amqp_bytes){ publish, sizeof publish }, &method, &err), 0);
    ck_assert_mem_eq(method.basic_publish.routing_key.data, "\xff\xfe", 2);
}
END_TEST

/* queue.declare whose arguments are @table */
static int decode_with_table(struct amqp_table table, struct amqp_error *err)
{
    struct amqp_queue_declare declare = { .id = AMQP_ID_queue_declare, .arguments = table };
    uint8_t *frame = malloc(amqp_method_frame_size(&declare));
    size_t size;
    int rc;

    ck_assert_ptr_nonnull(frame);
    size = (size_t)(amqp_method_frame_encode(&declare, 1, frame) - frame);
    rc = decode_copy(frame + AMQP_FRAME_HEAD_BYTES, size - AMQP_FRAME_OVERHEAD_BYTES, err);
    free(frame);
    return rc;
}

START_TEST(test_malformed_table_is_refused_as_undecodable)
{
    static const uint8_t octets[] = { 1, 'k', 'C', 0 };
    struct amqp_error err;

    ck_assert_int_eq(decode_with_table((struct amqp_table){ octets, sizeof octets }, &err),
                     AMQP_FRAME_ERROR);
    ck_assert_str_eq(err.text,
                     "FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,4,1,107,67,0>>");
    ck_assert_uint_eq(err.method_id, AMQP_ID_queue_declare);
}
END_TEST

START_TEST(test_overfull_table_is_a_syntax_error)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_error err;

    for (int i = 0; i <= BOUND_TABLE_ENTRIES; i++)
        amqp_table_put_void(&writer, "");
    ck_assert_int_eq(decode_with_table(amqp_table_written(&writer), &err), AMQP_SYNTAX_ERROR);
    ck_assert_str_eq(err.text,
                     "SYNTAX_ERROR - table 'arguments' has more than 128 levels or 65536 entries");
    ck_assert_uint_eq(err.method_id, AMQP_ID_queue_declare);
    amqp_table_writer_release(&writer);
}
END_TEST

static const struct {
    const char *octets;
    size_t size;
    bool valid;
} utf8_case[] = {
    { "", 0, true },
    { "plain\0text", 10, true },
    { "\xc2\x80\xdf\xbf", 4, true },
    { "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 12, true },
    { "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, true },
    { "\x80", 1, false },             /* follows nothing */
    { "\xc0\x80", 2, false },         /* too long for what it says */
    { "\xc1\xbf", 2, false },
    { "\xe0\x9f\xbf", 3, false },
    { "\xf0\x8f\xbf\xbf", 4, false },
    { "\xed\xa0\x80", 3, false },     /* surrogate */
    { "\xf4\x90\x80\x80", 4, false }, /* past U+10FFFF */
    { "\xf5\x80\x80\x80", 4, false },
    { "\xff", 1, false },
    { "a\xc3", 2, false },            /* cut off */
    { "\xe2\x82", 2, false },
    { "\xf0\x9f\x90", 3, false },
    { "\xe2\x82\x41", 3, false },
    { "\xf0\x9f\x41\x87", 4, false },
    { "\xc3\xc3", 2, false },
};

START_TEST(test_utf8_is_what_rfc_3629_says)
{
    char *copy = malloc(utf8_case[_i].size + 1);

    ck_assert_ptr_nonnull(copy);
    copy = realloc(copy, utf8_case[_i].size ? utf8_case[_i].size : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, utf8_case[_i].octets, utf8_case[_i].size);
    ck_assert_int_eq(amqp_utf8_valid((struct amqp_str){ copy, utf8_case[_i].size }),
                     utf8_case[_i].valid);
    free(copy);
}
END_TEST

START_TEST(test_print_names_what_was_said)
{
    static const uint8_t arguments[] = "\1ad\x40\x59\0\0\0\0\0\0\1bS\0\0\0\2x\n";
    struct amqp_queue_declare declare = {
        .id = AMQP_ID_queue_declare, .queue = AMQP_STR("q"), .durable = true,
        .arguments = { arguments, sizeof arguments - 1 },
    };
    struct amqp_connection_start_ok start_ok = {
        .id = AMQP_ID_connection_start_ok, .mechanism = AMQP_STR("PLAIN"),
        .response = { (const uint8_t *)"\0guest\0secret", 13 }, .locale = AMQP_STR("en'US"),
    };
    struct amqp_tx_select select = { .id = AMQP_ID_tx_select };
    char text[128];

    ck_assert_uint_eq(amqp_method_print(&declare, text, sizeof text), strlen(text));
    ck_assert_str_eq(text, "queue.declare{queue='q', durable=true, "
                           "arguments={'a'=100.0, 'b'='x\\x0a'}}");
    amqp_method_print(&start_ok, text, sizeof text);
    ck_assert_str_eq(text, "connection.start-ok{mechanism='PLAIN', response=<13 octets>, "
                           "locale='en\\x27US'}");
    amqp_method_print(&select, text, sizeof text);
    ck_assert_str_eq(text, "tx.select{}");
}
END_TEST

START_TEST(test_print_cuts_at_any_size)
{
    char whole[SAMPLE_BYTES_MAX];
    size_t length;

    sample_setup(_i);
    length = amqp_method_print(&sample.method, whole, sizeof whole);
    ck_assert_uint_eq(length, strlen(whole));
    for (size_t size = 1; size <= length; size++) {
        char *text = malloc(size);

        ck_assert_ptr_nonnull(text);
        ck_assert_uint_eq(amqp_method_print(&sample.method, text, size), size - 1);
        ck_assert_mem_eq(text, whole, size - 1);
        free(text);
    }
}
END_TEST

static Suite *method_suite(void)
{
    Suite *suite = suite_create("method");
    TCase *every = tcase_create("every method"), *some = tcase_create("some methods");
    int n = N_ELEMENTS(spec);

    tcase_add_checked_fixture(every, NULL, teardown);
    tcase_add_loop_test(every, test_method_has_the_id_name_and_arguments_of_the_spec, 0, n);
    tcase_add_loop_test(every, test_method_decodes_to_what_was_encoded, 0, n);
    tcase_add_loop_test(every, test_method_cut_at_any_octet_is_refused, 0, n);
    tcase_add_loop_test(every, test_method_with_an_octet_left_over_is_refused, 0, n);
    tcase_add_loop_test(every, test_method_with_a_length_off_by_one_is_refused, 0, n);
    tcase_add_loop_test(every, test_mutated_method_is_refused_or_can_be_used, 0, n);
    tcase_add_loop_test(every, test_print_cuts_at_any_size, 0, n);
    suite_add_tcase(suite, every);
    tcase_add_test(some, test_no_other_method_is_known);
    tcase_add_test(some, test_names_in_c_are_the_names_of_the_spec);
    tcase_add_test(some, test_unknown_method_is_refused_by_number);
    tcase_add_test(some, test_refused_arguments_are_quoted_as_numbers);
    tcase_add_test(some, test_long_arguments_are_quoted_as_far_as_a_text_goes);
    tcase_add_test(some, test_failed_decode_leaves_the_output_alone);
    tcase_add_test(some, test_unused_bits_are_ignored_and_written_as_zero);
    tcase_add_test(some, test_bits_fill_an_octet_from_the_lowest);
    tcase_add_test(some, test_short_strings_are_utf8_but_in_methods_with_content);
    tcase_add_test(some, test_malformed_table_is_refused_as_undecodable);
    tcase_add_test(some, test_overfull_table_is_a_syntax_error);
    tcase_add_loop_test(some, test_utf8_is_what_rfc_3629_says, 0, N_ELEMENTS(utf8_case));
    tcase_add_test(some, test_print_names_what_was_said);
    suite_add_tcase(suite, some);
    return suite;
}

int main(void)
{
    return unit_run(method_suite());
}

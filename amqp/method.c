/*
 * method.c - decoding, encoding and printing methods by their rows
 *
 * The lists of method.h become one array of field rows a method, and every loop here walks such
 * rows. Neighbouring bits share an octet, the first in the lowest place; any other type ends it.
 *
 * Decoding goes in two steps, as RabbitMQ's does: first the arguments must fill the payload
 * exactly, then short strings must be UTF-8 and tables well formed.
 *
 * basic.publish and basic.ack are also decoded directly; a test holds that against the rows.
 */
#include "amqp/method.h"

#include "amqp/frame.h"
#include "amqp/text.h"
#include "amqp/wire.h"

enum {
    METHOD_ID_BYTES = 4,
    BITS_PER_OCTET = 8,
    CLASS_ROWS = 10, /* class ids are tens, but for 85: class / 10 tells them apart */
    METHOD_SLOTS = 128,
    SCALAR_TEXT_BYTES = 64,
    OCTETS_TEXT_BYTES = 2 * BOUND_REPLY_TEXT_BYTES,
};

#define AS_FIELD(s, wire, name) { #name, AMQP_WIRE_##wire, offsetof(struct amqp_##s, name) },
#define AS_FIELDS(c, m, name, ARGUMENTS) \
    static const struct amqp_field fields_##name[] = { ARGUMENTS(AS_FIELD, name) };
AMQP_METHODS(AS_FIELDS)

#define AS_ORDINAL(c, m, name, ARGUMENTS) ORDINAL_##name,
enum { AMQP_METHODS(AS_ORDINAL) N_METHODS };

#define AS_INFO(M, c, m, name, spec_name, ARGUMENTS) \
    { AMQP_METHOD_ID(c, m), spec_name, N_ELEMENTS(fields_##name), fields_##name },
static const struct amqp_method_info methods[] = { AMQP_METHOD_ROWS(AS_INFO, ) };

/* ordinal + 1, or 0 for no method */
#define AS_SLOT(c, m, name, ARGUMENTS) [(c) / 10][m] = ORDINAL_##name + 1,
static const uint8_t slots[CLASS_ROWS][METHOD_SLOTS] = { AMQP_METHODS(AS_SLOT) };

static_assert(N_METHODS < UINT8_MAX, "a slot is an octet");

const struct amqp_method_info *amqp_method_find(uint32_t id)
{
    uint32_t row = (id >> 16) / 10, column = id & 0xFFFF;
    uint8_t slot = row < CLASS_ROWS && column < METHOD_SLOTS ? slots[row][column] : 0;

    if (slot == 0 || methods[slot - 1].id != id)
        return NULL;
    return &methods[slot - 1];
}

static bool decode_field(struct wire_reader *reader, enum amqp_wire wire, void *member)
{
    switch (wire) {
    case AMQP_WIRE_octet:
        return wire_get8(reader, member);
    case AMQP_WIRE_short:
        return wire_get16(reader, member);
    case AMQP_WIRE_long:
        return wire_get32(reader, member);
    case AMQP_WIRE_longlong:
        return wire_get64(reader, member);
    case AMQP_WIRE_shortstr:
        return wire_get_shortstr(reader, member);
    case AMQP_WIRE_longstr:
        return wire_get_longstr(reader, member);
    case AMQP_WIRE_table: {
        struct amqp_bytes octets;

        if (!wire_get_longstr(reader, &octets))
            return false;
        *(struct amqp_table *)member = (struct amqp_table){ octets.data, octets.size };
        return true;
    }
    case AMQP_WIRE_bit: /* decode_fields() keeps those together */
        break;
    }
    __builtin_unreachable();
}

static bool decode_fields(const struct amqp_method_info *info, struct wire_reader reader,
                          void *method)
{
    unsigned n_bits = 0;
    uint8_t bits = 0;

    for (size_t i = 0; i < info->n_fields; i++) {
        const struct amqp_field *field = &info->fields[i];
        char *member = (char *)method + field->offset;

        if (field->wire != AMQP_WIRE_bit) {
            n_bits = 0;
            if (!decode_field(&reader, field->wire, member))
                return false;
            continue;
        }
        if (n_bits % BITS_PER_OCTET == 0 && !wire_get8(&reader, &bits))
            return false;
        *(bool *)member = bits >> n_bits % BITS_PER_OCTET & 1;
        n_bits++;
    }
    return wire_left(&reader) == 0;
}

/* The arguments are quoted as numbers even where they are text, unlike in amqp_frame_raise(). */
static int raise_undecodable(struct amqp_error *err, uint32_t id, struct amqp_bytes arguments)
{
    char numbers[OCTETS_TEXT_BYTES];
    struct amqp_text text = amqp_text_over(numbers, sizeof numbers);

    for (size_t i = 0; i < arguments.size && !amqp_text_full(&text); i++)
        amqp_text_printf(&text, i ? ",%u" : "%u", arguments.data[i]);
    amqp_raise(err, AMQP_FRAME_ERROR, "cannot decode <<%s>>", numbers);
    err->method_id = id;
    return AMQP_FRAME_ERROR;
}

/* Methods that carry content take any octets in their short strings: they pass through. */
static bool takes_any_octets(uint32_t id)
{
    return id == AMQP_ID_basic_publish || id == AMQP_ID_basic_return ||
           id == AMQP_ID_basic_deliver || id == AMQP_ID_basic_get_ok;
}

static int check_fields(const struct amqp_method_info *info, struct amqp_bytes arguments,
                        const void *method, struct amqp_error *err)
{
    bool any_octets = takes_any_octets(info->id);

    for (size_t i = 0; i < info->n_fields; i++) {
        const struct amqp_field *field = &info->fields[i];
        const void *member = (const char *)method + field->offset;
        int rc;

        if (field->wire == AMQP_WIRE_shortstr && !any_octets &&
            !amqp_utf8_valid(*(const struct amqp_str *)member)) {
            amqp_raise(err, AMQP_FRAME_ERROR, "Malformed UTF-8 in shortstr");
            err->method_id = 0;
            return AMQP_FRAME_ERROR;
        }
        if (field->wire != AMQP_WIRE_table)
            continue;
        rc = amqp_table_check(*(const struct amqp_table *)member);
        if (rc == AMQP_FRAME_ERROR)
            return raise_undecodable(err, info->id, arguments);
        if (rc) {
            amqp_raise(err, rc, "table '%s' has more than %d levels or %d entries", field->name,
                       BOUND_TABLE_DEPTH, BOUND_TABLE_ENTRIES);
            err->method_id = info->id;
            return rc;
        }
    }
    return 0;
}

static bool decode_basic_publish(struct wire_reader reader, struct amqp_basic_publish *ret_publish)
{
    struct amqp_str exchange, routing_key;
    uint16_t reserved;
    uint8_t bits;

    if (!wire_get16(&reader, &reserved) || !wire_get_shortstr(&reader, &exchange) ||
        !wire_get_shortstr(&reader, &routing_key) || !wire_get8(&reader, &bits) ||
        wire_left(&reader))
        return false;
    ret_publish->id = AMQP_ID_basic_publish;
    ret_publish->reserved_1 = reserved;
    ret_publish->exchange = exchange;
    ret_publish->routing_key = routing_key;
    ret_publish->mandatory = bits & 1;
    ret_publish->immediate = bits >> 1 & 1;
    return true;
}

static bool decode_basic_ack(struct wire_reader reader, struct amqp_basic_ack *ret_ack)
{
    uint64_t delivery_tag;
    uint8_t bits;

    if (!wire_get64(&reader, &delivery_tag) || !wire_get8(&reader, &bits) || wire_left(&reader))
        return false;
    ret_ack->id = AMQP_ID_basic_ack;
    ret_ack->delivery_tag = delivery_tag;
    ret_ack->multiple = bits & 1;
    return true;
}

/*
 * What a broker reads most, without rows: 5 and 3 ns instead of 18 and 28. False leaves the method,
 * and what may be wrong with it, to the rows.
 */
static bool decode_directly(uint32_t id, struct wire_reader reader, union amqp_method *ret_method)
{
    if (LIKELY(id == AMQP_ID_basic_publish))
        return decode_basic_publish(reader, &ret_method->basic_publish);
    return id == AMQP_ID_basic_ack && decode_basic_ack(reader, &ret_method->basic_ack);
}

int amqp_method_decode(struct amqp_bytes payload, union amqp_method *ret_method,
                       struct amqp_error *err)
{
    const struct amqp_method_info *info;
    struct amqp_bytes arguments;
    struct wire_reader reader;
    union amqp_method method;
    int rc;

    assert(payload.size >= METHOD_ID_BYTES);
    method.id = wire_load32(payload.data);
    arguments.data = payload.data + METHOD_ID_BYTES;
    arguments.size = payload.size - METHOD_ID_BYTES;
    reader = wire_reader_over(arguments.data, arguments.size);
    if (decode_directly(method.id, reader, ret_method))
        return 0;
    info = amqp_method_find(method.id);
    if (!info) {
        amqp_raise(err, AMQP_COMMAND_INVALID, "unknown method (%u,%u)", method.id >> 16,
                   method.id & 0xFFFF);
        err->method_id = method.id;
        return AMQP_COMMAND_INVALID;
    }
    if (!decode_fields(info, reader, &method))
        return raise_undecodable(err, method.id, arguments);
    rc = check_fields(info, arguments, &method, err);
    if (rc)
        return rc;
    *ret_method = method;
    return 0;
}

static size_t field_size(enum amqp_wire wire, const void *member)
{
    switch (wire) {
    case AMQP_WIRE_octet:
        return 1;
    case AMQP_WIRE_short:
        return 2;
    case AMQP_WIRE_long:
        return 4;
    case AMQP_WIRE_longlong:
        return 8;
    case AMQP_WIRE_shortstr:
        return 1 + ((const struct amqp_str *)member)->size;
    case AMQP_WIRE_longstr:
        return 4 + ((const struct amqp_bytes *)member)->size;
    case AMQP_WIRE_table:
        return 4 + ((const struct amqp_table *)member)->size;
    case AMQP_WIRE_bit:
        break;
    }
    __builtin_unreachable();
}

static const struct amqp_method_info *info_of(const void *method)
{
    const struct amqp_method_info *info = amqp_method_find(*(const uint32_t *)method);

    assert(info);
    return info;
}

size_t amqp_method_frame_size(const void *method)
{
    const struct amqp_method_info *info = info_of(method);
    size_t size = AMQP_FRAME_OVERHEAD_BYTES + METHOD_ID_BYTES;
    unsigned n_bits = 0;

    for (size_t i = 0; i < info->n_fields; i++) {
        const struct amqp_field *field = &info->fields[i];

        if (field->wire == AMQP_WIRE_bit) {
            size += n_bits++ % BITS_PER_OCTET == 0;
            continue;
        }
        n_bits = 0;
        size += field_size(field->wire, (const char *)method + field->offset);
    }
    return size;
}

static uint8_t *encode_octets(uint8_t *at, const void *data, size_t size)
{
    assert(size <= UINT32_MAX);
    return wire_store(wire_store32(at, (uint32_t)size), data, size);
}

static uint8_t *encode_field(uint8_t *at, enum amqp_wire wire, const void *member)
{
    const struct amqp_bytes *bytes = member;
    const struct amqp_table *table = member;

    switch (wire) {
    case AMQP_WIRE_octet:
        return wire_store8(at, *(const uint8_t *)member);
    case AMQP_WIRE_short:
        return wire_store16(at, *(const uint16_t *)member);
    case AMQP_WIRE_long:
        return wire_store32(at, *(const uint32_t *)member);
    case AMQP_WIRE_longlong:
        return wire_store64(at, *(const uint64_t *)member);
    case AMQP_WIRE_shortstr:
        return wire_store_shortstr(at, *(const struct amqp_str *)member);
    case AMQP_WIRE_longstr:
        return encode_octets(at, bytes->data, bytes->size);
    case AMQP_WIRE_table:
        return encode_octets(at, table->data, table->size);
    case AMQP_WIRE_bit: /* encode_fields() keeps those together */
        break;
    }
    __builtin_unreachable();
}

static uint8_t *encode_fields(const struct amqp_method_info *info, const void *method, uint8_t *at)
{
    unsigned n_bits = 0;

    for (size_t i = 0; i < info->n_fields; i++) {
        const struct amqp_field *field = &info->fields[i];
        const char *member = (const char *)method + field->offset;

        if (field->wire != AMQP_WIRE_bit) {
            n_bits = 0;
            at = encode_field(at, field->wire, member);
            continue;
        }
        if (n_bits % BITS_PER_OCTET == 0)
            at = wire_store8(at, 0);
        at[-1] = (uint8_t)(at[-1] | *(const bool *)member << n_bits % BITS_PER_OCTET);
        n_bits++;
    }
    return at;
}

uint8_t *amqp_method_frame_encode(const void *method, uint16_t channel, uint8_t *at)
{
    const struct amqp_method_info *info = info_of(method);
    uint8_t *payload = at + AMQP_FRAME_HEAD_BYTES;
    uint8_t *end = encode_fields(info, method, wire_store32(payload, info->id));
    size_t payload_bytes = (size_t)(end - payload);

    assert(payload_bytes <= UINT32_MAX);
    amqp_frame_begin(at, AMQP_FRAME_METHOD, channel, (uint32_t)payload_bytes);
    return wire_store8(end, AMQP_FRAME_END);
}

/* 'abc', with \xNN for what would disturb a log line. */
static void print_str(struct amqp_text *text, struct amqp_str str)
{
    amqp_text_put(text, '\'');
    for (size_t i = 0; i < str.size && !amqp_text_full(text); i++) {
        uint8_t octet = (uint8_t)str.data[i];

        if (octet < 32 || octet == 127 || octet == '\'' || octet == '\\')
            amqp_text_printf(text, "\\x%02x", octet);
        else
            amqp_text_put(text, str.data[i]);
    }
    amqp_text_put(text, '\'');
}

static void print_value(struct amqp_text *text, const struct amqp_value *value)
{
    char scalar[SCALAR_TEXT_BYTES];

    amqp_value_print(value, scalar, sizeof scalar);
    if (value->type == 'S' || value->type == 'x')
        print_str(text, amqp_bytes_text(value->bytes));
    else
        amqp_text_printf(text, "%s", scalar);
}

static void print_table(struct amqp_text *text, struct amqp_table table)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    const char *separator = "";
    struct amqp_value value;
    struct amqp_str key;

    amqp_text_put(text, '{');
    while (!amqp_text_full(text) && amqp_table_next(&iter, &key, &value)) {
        amqp_text_printf(text, "%s", separator);
        print_str(text, key);
        amqp_text_put(text, '=');
        print_value(text, &value);
        separator = ", ";
    }
    amqp_text_put(text, '}');
}

/* Long strings hold secrets (SASL responses, tokens): a log shows only how long they are. */
static void print_field(struct amqp_text *text, enum amqp_wire wire, const void *member)
{
    switch (wire) {
    case AMQP_WIRE_octet:
        amqp_text_printf(text, "%u", *(const uint8_t *)member);
        return;
    case AMQP_WIRE_short:
        amqp_text_printf(text, "%u", *(const uint16_t *)member);
        return;
    case AMQP_WIRE_long:
        amqp_text_printf(text, "%u", *(const uint32_t *)member);
        return;
    case AMQP_WIRE_longlong:
        amqp_text_printf(text, "%llu", (unsigned long long)*(const uint64_t *)member);
        return;
    case AMQP_WIRE_bit:
        amqp_text_printf(text, "true");
        return;
    case AMQP_WIRE_shortstr:
        print_str(text, *(const struct amqp_str *)member);
        return;
    case AMQP_WIRE_longstr:
        amqp_text_printf(text, "<%zu octets>", ((const struct amqp_bytes *)member)->size);
        return;
    case AMQP_WIRE_table:
        print_table(text, *(const struct amqp_table *)member);
        return;
    }
}

/* Reserved fields, bits that are false and empty tables say nothing. */
static bool field_worth_printing(const struct amqp_field *field, const void *member)
{
    if (strncmp(field->name, "reserved", strlen("reserved")) == 0)
        return false;
    if (field->wire == AMQP_WIRE_bit)
        return *(const bool *)member;
    return field->wire != AMQP_WIRE_table || ((const struct amqp_table *)member)->size;
}

size_t amqp_method_print(const void *method, char *out, size_t size)
{
    const struct amqp_method_info *info = info_of(method);
    struct amqp_text text = amqp_text_over(out, size);
    const char *separator = "";

    amqp_text_printf(&text, "%s{", info->name);
    for (size_t i = 0; i < info->n_fields; i++) {
        const struct amqp_field *field = &info->fields[i];
        const void *member = (const char *)method + field->offset;

        if (!field_worth_printing(field, member))
            continue;
        amqp_text_printf(&text, "%s%s=", separator, field->name);
        print_field(&text, field->wire, member);
        separator = ", ";
    }
    amqp_text_put(&text, '}');
    return text.length;
}

/* Octets after the first of a character that starts with @lead; -1 where none can start so. */
static int utf8_followers(uint8_t lead)
{
    if (lead < 0x80)
        return 0;
    if (lead < 0xC2 || lead > 0xF4)
        return -1;
    return lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
}

/* No longer form than needed, no surrogates, nothing above U+10FFFF: the second octet decides. */
static bool utf8_second_allowed(uint8_t lead, uint8_t second)
{
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;

    return second >= low && second <= high;
}

bool amqp_utf8_valid(struct amqp_str str)
{
    const uint8_t *at = (const uint8_t *)str.data;
    size_t left = str.size;

    while (left) {
        int followers = utf8_followers(*at);

        if (followers < 0 || (size_t)followers >= left)
            return false;
        if (followers && !utf8_second_allowed(at[0], at[1]))
            return false;
        for (int i = 2; i <= followers; i++) {
            if ((at[i] & 0xC0) != 0x80)
                return false;
        }
        at += 1 + followers;
        left -= 1 + (size_t)followers;
    }
    return true;
}

/*
 * table.c - field tables read in place
 *
 *   table = entry*            entry = key (1-octet length, octets), value
 *   array = value*            value = type octet, octets that the type decides
 *
 * Nesting is what a peer can abuse: tables in arrays in tables, or a million values of no width.
 * So the check keeps its own stack, of the octets where each open container ends, as deep as
 * BOUND_TABLE_DEPTH and no deeper, and counts what it meets. Each length is compared with what
 * remains of the container around it, never added to anything.
 *
 * After that the octets are trusted to be a table. The readers below still do not run past the end
 * of what they are given: where they cannot read on, the table ends.
 */
#include "amqp/table.h"

#include <math.h>
#include <stdlib.h>

#include "amqp/bounds.h"
#include "amqp/text.h"
#include "amqp/wire.h"

/* What follows a type octet. Kinds up to 8 are that many octets of fixed width. */
enum {
    VALUE_WIDTH_MAX = 8,
    VALUE_STRING,    /* length and octets */
    VALUE_CONTAINER, /* length and entries or values */
};

enum { TYPE_FIRST = 'A', TYPE_LAST = 'x' };

enum { REAL_TEXT_BYTES = 32 };

enum { COUNTED_ENTRIES_MAX = 16 }; /* up to here quadratic and without memory is cheapest */

/* Where 0-9-1 and RabbitMQ disagree on a type octet, RabbitMQ is right: clients encode for it. */
static const struct value_type {
    const char *name; /* NULL where no such type is known */
    uint8_t kind;
    bool integer;
} types[] = {
#define TYPE(octet) [(octet) - TYPE_FIRST]
    TYPE('t') = { "bool", 1, false },
    TYPE('b') = { "byte", 1, true },
    TYPE('B') = { "unsignedbyte", 1, true },
    TYPE('s') = { "short", 2, true },
    TYPE('U') = { "short", 2, true },
    TYPE('u') = { "unsignedshort", 2, true },
    TYPE('I') = { "signedint", 4, true },
    TYPE('i') = { "unsignedint", 4, true },
    TYPE('l') = { "long", 8, true },
    TYPE('L') = { "long", 8, true },
    TYPE('f') = { "float", 4, false },
    TYPE('d') = { "double", 8, false },
    TYPE('D') = { "decimal", 5, false },
    TYPE('S') = { "longstr", VALUE_STRING, false },
    TYPE('x') = { "binary", VALUE_STRING, false },
    TYPE('T') = { "timestamp", 8, false },
    TYPE('A') = { "array", VALUE_CONTAINER, false },
    TYPE('F') = { "table", VALUE_CONTAINER, false },
    TYPE('V') = { "void", 0, false },
#undef TYPE
};

static_assert(N_ELEMENTS(types) == TYPE_LAST - TYPE_FIRST + 1, "a row for each octet between");

static const struct value_type *type_find(uint8_t octet)
{
    const struct value_type *type;

    if (octet < TYPE_FIRST || octet > TYPE_LAST)
        return NULL;
    type = &types[octet - TYPE_FIRST];
    return type->name ? type : NULL;
}

static double load_float(const uint8_t *at)
{
    uint32_t bits = wire_load32(at);
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static double load_double(const uint8_t *at)
{
    uint64_t bits = wire_load64(at);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* RabbitMQ has no infinities or NaN either; without them every value equals itself. */
static bool value_allowed(uint8_t type, const uint8_t *at)
{
    return (type != 'f' || isfinite(load_float(at))) && (type != 'd' || isfinite(load_double(at)));
}

/* Steps over one value; of a container only over the length: then *ret_inner is what it holds. */
static bool check_value(struct wire_reader *reader, uint8_t octet, struct amqp_bytes *ret_inner)
{
    const struct value_type *type = type_find(octet);
    struct amqp_bytes bytes;

    if (!type)
        return false;
    if (type->kind <= VALUE_WIDTH_MAX)
        return wire_get_bytes(reader, type->kind, &bytes) && value_allowed(octet, bytes.data);
    if (!wire_get_longstr(reader, &bytes))
        return false;
    if (type->kind == VALUE_CONTAINER) {
        reader->at = bytes.data;
        *ret_inner = bytes;
    }
    return true;
}

int amqp_table_check(struct amqp_table table)
{
    struct {
        const uint8_t *end;
        bool array;
    } level[BOUND_TABLE_DEPTH + 1];
    struct wire_reader reader = wire_reader_over(table.data, table.size);
    size_t depth = 0;
    uint32_t n_entries = 0;

    level[0].end = reader.end;
    level[0].array = false;
    for (;;) {
        struct amqp_bytes inner = { NULL, 0 };
        struct amqp_str key;
        uint8_t type;

        while (reader.at == reader.end) {
            if (depth == 0)
                return 0;
            reader.end = level[--depth].end;
        }
        if (++n_entries > BOUND_TABLE_ENTRIES)
            return AMQP_SYNTAX_ERROR;
        if (!level[depth].array && !wire_get_shortstr(&reader, &key))
            return AMQP_FRAME_ERROR;
        if (!wire_get8(&reader, &type) || !check_value(&reader, type, &inner))
            return AMQP_FRAME_ERROR;
        if (!inner.data)
            continue;
        if (depth == BOUND_TABLE_DEPTH)
            return AMQP_SYNTAX_ERROR;
        reader.end = inner.data + inner.size;
        level[++depth].end = reader.end;
        level[depth].array = type == 'A';
    }
}

static int64_t load_integer(uint8_t type, const uint8_t *at)
{
    switch (type) {
    case 'b':
        return (int8_t)at[0];
    case 'B':
        return at[0];
    case 's':
    case 'U':
        return (int16_t)wire_load16(at);
    case 'u':
        return wire_load16(at);
    case 'I':
        return (int32_t)wire_load32(at);
    case 'i':
        return wire_load32(at);
    default: /* l L T */
        return (int64_t)wire_load64(at);
    }
}

static bool get_value(struct amqp_table_iter *iter, struct amqp_value *ret_value)
{
    struct wire_reader reader = { iter->at, iter->end };
    const struct value_type *type;
    struct amqp_bytes bytes;
    uint8_t octet;

    if (!wire_get8(&reader, &octet))
        return false;
    type = type_find(octet);
    if (!type)
        return false;
    if (type->kind > VALUE_WIDTH_MAX ? !wire_get_longstr(&reader, &bytes)
                                     : !wire_get_bytes(&reader, type->kind, &bytes))
        return false;
    ret_value->type = (char)octet;
    if (type->integer || octet == 'T')
        ret_value->integer = load_integer(octet, bytes.data);
    else if (type->kind == VALUE_STRING)
        ret_value->bytes = bytes;
    else if (type->kind == VALUE_CONTAINER)
        ret_value->table = (struct amqp_table){ bytes.data, bytes.size };
    else if (octet == 't')
        ret_value->boolean = bytes.data[0] != 0;
    else if (octet == 'f')
        ret_value->real = load_float(bytes.data);
    else if (octet == 'd')
        ret_value->real = load_double(bytes.data);
    else if (octet == 'D') {
        ret_value->decimal.scale = bytes.data[0];
        ret_value->decimal.value = wire_load32(bytes.data + 1);
    }
    iter->at = reader.at;
    return true;
}

bool amqp_table_next(struct amqp_table_iter *iter, struct amqp_str *ret_key,
                     struct amqp_value *ret_value)
{
    struct wire_reader reader = { iter->at, iter->end };
    struct amqp_table_iter after_key;
    struct amqp_str key;

    if (!wire_get_shortstr(&reader, &key))
        return false;
    after_key = (struct amqp_table_iter){ reader.at, reader.end };
    if (!get_value(&after_key, ret_value))
        return false;
    *ret_key = key;
    *iter = after_key;
    return true;
}

bool amqp_array_next(struct amqp_table_iter *iter, struct amqp_value *ret_value)
{
    return get_value(iter, ret_value);
}

bool amqp_table_get(struct amqp_table table, struct amqp_str key, struct amqp_value *ret_value)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    struct amqp_value value;
    struct amqp_str name;

    while (amqp_table_next(&iter, &name, &value)) {
        if (amqp_str_equal(name, key)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool amqp_value_is_integer(const struct amqp_value *value)
{
    const struct value_type *type = type_find((uint8_t)value->type);

    return type && type->integer;
}

/* Types whose values compare with each other share a letter; 0 for a type that is not known. */
static char comparison_class(const struct amqp_value *value)
{
    if (amqp_value_is_integer(value) || value->type == 'T')
        return 'I';
    if (value->type == 'x')
        return 'S';
    if (value->type == 'f')
        return 'd';
    return value->type;
}

static bool octets_equal(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

bool amqp_value_equal(const struct amqp_value *a, const struct amqp_value *b)
{
    char class = comparison_class(a);

    if (class != comparison_class(b))
        return false;
    switch (class) {
    case 'I':
        return a->integer == b->integer;
    case 'S':
        return octets_equal(a->bytes.data, a->bytes.size, b->bytes.data, b->bytes.size);
    case 'A':
    case 'F':
        return octets_equal(a->table.data, a->table.size, b->table.data, b->table.size);
    case 'd':
        return a->real == b->real;
    case 't':
        return a->boolean == b->boolean;
    case 'D':
        return a->decimal.scale == b->decimal.scale && a->decimal.value == b->decimal.value;
    default: /* V */
        return true;
    }
}

static int compare_octets(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    size_t common = a_size < b_size ? a_size : b_size;
    int order = common ? memcmp(a, b, common) : 0;

    return order ? order : (a_size > b_size) - (a_size < b_size);
}

int amqp_value_compare(const struct amqp_value *a, const struct amqp_value *b)
{
    char class = comparison_class(a);

    if (class != comparison_class(b))
        return class < comparison_class(b) ? -1 : 1;
    switch (class) {
    case 'I':
        return (a->integer > b->integer) - (a->integer < b->integer);
    case 'S':
        return compare_octets(a->bytes.data, a->bytes.size, b->bytes.data, b->bytes.size);
    case 'A':
    case 'F':
        return compare_octets(a->table.data, a->table.size, b->table.data, b->table.size);
    case 'd':
        return (a->real > b->real) - (a->real < b->real);
    case 't':
        return a->boolean - b->boolean;
    case 'D':
        if (a->decimal.scale != b->decimal.scale)
            return a->decimal.scale - b->decimal.scale;
        return (a->decimal.value > b->decimal.value) - (a->decimal.value < b->decimal.value);
    default: /* V */
        return 0;
    }
}

const char *amqp_value_type_name(const struct amqp_value *value)
{
    const struct value_type *type = type_find((uint8_t)value->type);

    return type ? type->name : "unknown";
}

/* The fewest digits that read back as @real, and how many of them stand before the point. */
static int shortest_digits(double real, char digits[REAL_TEXT_BYTES], int *ret_point)
{
    int precision = 0;

    do {
        snprintf(digits, REAL_TEXT_BYTES, "%.*e", precision, real);
    } while (strtod(digits, NULL) != real && ++precision < 17);
    *ret_point = real != 0 ? atoi(strchr(digits, 'e') + 1) + 1 : 1;
    if (precision)
        memmove(digits + 1, digits + 2, (size_t)precision);
    digits[precision + 1] = '\0';
    return precision + 1;
}

/*
 * As Erlang prints a float: with a point while that is not longer than an exponent, "100.0" but
 * "1.0e3", and never from 2^53, where the zeros would pretend to be digits.
 */
static void print_real(struct amqp_text *text, double real)
{
    char digits[REAL_TEXT_BYTES];
    int point, n_digits = shortest_digits(fabs(real), digits, &point);
    int exponent_cost = snprintf(NULL, 0, "%d", point - 1) + (n_digits == 1 ? 3 : 2);
    bool short_enough = point <= 0 ? point == 0 || 2 - point <= exponent_cost
                                   : point < n_digits || point - n_digits + 2 <= exponent_cost;

    if (signbit(real))
        amqp_text_put(text, '-');
    if (!short_enough || fabs(real) >= 0x1p53)
        amqp_text_printf(text, "%c.%se%d", digits[0], n_digits > 1 ? digits + 1 : "0", point - 1);
    else if (point <= 0)
        amqp_text_printf(text, "0.%.*s%s", -point, "000000", digits);
    else if (point < n_digits)
        amqp_text_printf(text, "%.*s.%s", point, digits, digits + point);
    else
        amqp_text_printf(text, "%s%.*s.0", digits, point - n_digits, "000000");
}

size_t amqp_value_print(const struct amqp_value *value, char *out, size_t size)
{
    struct amqp_text text = amqp_text_over(out, size);

    switch (comparison_class(value)) {
    case 'I':
        amqp_text_printf(&text, "%lld", (long long)value->integer);
        break;
    case 'S':
        amqp_text_add(&text, amqp_bytes_text(value->bytes));
        break;
    case 't':
        amqp_text_printf(&text, "%s", value->boolean ? "true" : "false");
        break;
    case 'd':
        print_real(&text, value->real);
        break;
    case 'D':
        amqp_text_printf(&text, "{%u,%u}", value->decimal.scale, value->decimal.value);
        break;
    case 'V':
        amqp_text_printf(&text, "undefined");
        break;
    default: /* A F */
        amqp_text_printf(&text, "%s", value->table.size ? "[...]" : "[]");
        break;
    }
    return text.length;
}

/* One entry of a table, as a range of octets. */
struct entry {
    const uint8_t *at;
    const uint8_t *end;
};

static bool next_entry(struct amqp_table_iter *iter, struct entry *ret_entry)
{
    const uint8_t *at = iter->at;
    struct amqp_value value;
    struct amqp_str key;

    if (!amqp_table_next(iter, &key, &value))
        return false;
    *ret_entry = (struct entry){ at, iter->at };
    return true;
}

/* Any total order will do: equal octets are equal keys, types and values. */
static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    size_t a_size = (size_t)(a->end - a->at), b_size = (size_t)(b->end - b->at);

    if (a_size != b_size)
        return a_size < b_size ? -1 : 1;
    return memcmp(a->at, b->at, a_size);
}

/* How many entries of @table are equal to @wanted; all of them where it is NULL. */
static size_t count_entries(struct amqp_table table, const struct entry *wanted)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    struct entry entry;
    size_t n = 0;

    while (next_entry(&iter, &entry))
        n += !wanted || compare_entries(&entry, wanted) == 0;
    return n;
}

static bool equal_by_counting(struct amqp_table a, struct amqp_table b)
{
    struct amqp_table_iter iter = amqp_table_begin(a);
    struct entry entry;

    while (next_entry(&iter, &entry)) {
        if (count_entries(a, &entry) != count_entries(b, &entry))
            return false;
    }
    return true;
}

static void sort_entries(struct amqp_table table, struct entry *entries, size_t n)
{
    struct amqp_table_iter iter = amqp_table_begin(table);

    for (size_t i = 0; i < n; i++)
        (void)next_entry(&iter, &entries[i]); /* there are n: they have been counted */
    qsort(entries, n, sizeof *entries, compare_entries);
}

static bool equal_by_sorting(struct amqp_table a, struct amqp_table b, struct entry *room, size_t n)
{
    sort_entries(a, room, n);
    sort_entries(b, room + n, n);
    for (size_t i = 0; i < n; i++) {
        if (compare_entries(&room[i], &room[n + i]) != 0)
            return false;
    }
    return true;
}

bool amqp_table_equal(struct amqp_table a, struct amqp_table b)
{
    struct entry *room = NULL;
    size_t n;
    bool equal;

    if (a.size != b.size)
        return false;
    if (a.size == 0 || memcmp(a.data, b.data, a.size) == 0)
        return true;
    n = count_entries(a, NULL);
    if (n != count_entries(b, NULL))
        return false;
    /* A peer can send 65,000 entries backwards: counting those takes seconds, sorting does not. */
    if (n > COUNTED_ENTRIES_MAX)
        room = calloc(2 * n, sizeof *room);
    equal = room ? equal_by_sorting(a, b, room, n) : equal_by_counting(a, b);
    free(room);
    return equal;
}

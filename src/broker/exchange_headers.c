/*
 * exchange_headers.c - bindings that ask for headers and their values
 *
 * A binding's arguments become a *predicate* when it is made: the rows (key and value) that take
 * part, and whether all or any of them must hold. Predicates are found from the message's side:
 * rows hang in *slots* by a hash of key and value (of the key alone where the value is void, which
 * asks only for presence). An `any` predicate has each of its rows in a slot; an `all` predicate
 * only one, the one whose slot was least full; one without rows always holds. So a message meets
 * only the predicates that share a header with it, and those are then checked in earnest: a slot
 * is a hash and may be wrong.
 *
 * Spec: amqp-0-9-1.md 9.5, 9.6; an integer never equals a float (12).
 */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "amqp/text.h"
#include "broker/exchange_types.h"
#include "broker/hash_table.h"
#include "broker/route.h"

struct predicate;

struct header_slot {
    struct hash_link by_hash; /* of headers_index.slots */
    struct predicate_row *rows;
    size_t n_rows;
};

struct predicate_row {
    struct amqp_str key;
    struct amqp_value value; /* both borrow the binding's arguments */
    struct predicate *predicate;
    struct header_slot *slot; /* NULL: not in one */
    struct predicate_row *next, *prev;
};

struct predicate {
    struct binding *binding;
    bool any;
    bool always; /* all of no rows: in headers_index.always by next_same of the binding */
    size_t n_rows;
    struct predicate_row rows[];
};

struct headers_index {
    struct hash_table slots;
    struct binding *always;
};

/* --- x-match --- */

struct match_mode {
    const char *name;
    bool any;
    bool with_x; /* arguments whose names begin with x- take part */
};

static const struct match_mode modes[] = {
    { "all", false, false }, /* when there is no x-match */
    { "any", true, false },
    { "all-with-x", false, true },
    { "any-with-x", true, true },
};

static const struct match_mode *find_mode(struct amqp_bytes name)
{
    for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
        if (amqp_str_equal(amqp_str_from(modes[i].name), amqp_bytes_text(name)))
            return &modes[i];
    }
    return NULL;
}

static const struct match_mode *mode_of(struct amqp_table arguments)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, AMQP_STR("x-match"), &value))
        return &modes[0];
    return find_mode(value.bytes); /* headers_check() has seen it */
}

/* As Erlang shows octets: <<"foo">> where all are printable, <<1,2,3>> else. */
static void print_octets(struct amqp_text *text, struct amqp_bytes octets)
{
    bool printable = true;

    for (size_t i = 0; i < octets.size; i++)
        printable = printable && octets.data[i] >= ' ' && octets.data[i] <= '~';
    amqp_text_printf(text, printable && octets.size ? "<<\"" : "<<");
    for (size_t i = 0; i < octets.size && !amqp_text_full(text); i++) {
        if (!printable)
            amqp_text_printf(text, "%s%u", i ? "," : "", octets.data[i]);
        else if (octets.data[i] == '"' || octets.data[i] == '\\')
            amqp_text_printf(text, "\\%c", octets.data[i]);
        else
            amqp_text_put(text, (char)octets.data[i]);
    }
    amqp_text_printf(text, printable && octets.size ? "\">>" : ">>");
}

static int headers_check(struct exchange *exchange, struct amqp_table arguments,
                         struct amqp_error *err)
{
    char shown[BOUND_REPLY_TEXT_BYTES];
    struct amqp_text text = amqp_text_over(shown, sizeof shown);
    struct amqp_value value;

    (void)exchange;
    if (!amqp_table_get(arguments, AMQP_STR("x-match"), &value))
        return 0;
    if (value.type == 'S') {
        if (find_mode(value.bytes))
            return 0;
        print_octets(&text, value.bytes);
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "Invalid x-match field value %s; expected all, any, all-with-x, "
                          "or any-with-x",
                          shown);
    }
    if (value.type == 'x')
        print_octets(&text, value.bytes);
    else
        amqp_value_print(&value, shown, sizeof shown);
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "Invalid x-match field type %s (value %s); expected longstr",
                      amqp_value_type_name(&value), shown);
}

/* --- predicates --- */

static bool takes_part(const struct match_mode *mode, struct amqp_str key)
{
    if (!amqp_str_starts_with(key, AMQP_STR("x-")))
        return true;
    return mode->with_x && !amqp_str_equal(key, AMQP_STR("x-match"));
}

static size_t count_rows(const struct match_mode *mode, struct amqp_table arguments)
{
    struct amqp_table_iter iter = amqp_table_begin(arguments);
    struct amqp_value value;
    struct amqp_str key;
    size_t n = 0;

    while (amqp_table_next(&iter, &key, &value))
        n += takes_part(mode, key);
    return n;
}

static struct predicate *compile(struct binding *binding)
{
    const struct match_mode *mode = mode_of(binding_arguments(binding));
    struct amqp_table_iter iter = amqp_table_begin(binding_arguments(binding));
    size_t n_rows = count_rows(mode, binding_arguments(binding));
    struct predicate *predicate;
    struct amqp_value value;
    struct amqp_str key;

    predicate = calloc(1, sizeof *predicate + n_rows * sizeof predicate->rows[0]);
    if (!predicate)
        return NULL;
    predicate->binding = binding;
    predicate->any = mode->any;
    predicate->always = !mode->any && n_rows == 0;
    while (amqp_table_next(&iter, &key, &value)) {
        if (takes_part(mode, key))
            predicate->rows[predicate->n_rows++] =
                (struct predicate_row){ .key = key, .value = value, .predicate = predicate };
    }
    return predicate;
}

static bool row_accepts(const struct predicate_row *row, const struct amqp_value *value)
{
    return row->value.type == 'V' || amqp_value_equal(&row->value, value);
}

/* All rows hold. */
static bool predicate_holds(const struct predicate *predicate, struct amqp_table headers)
{
    for (size_t i = 0; i < predicate->n_rows; i++) {
        const struct predicate_row *row = &predicate->rows[i];
        struct amqp_value value;

        if (!amqp_table_get(headers, row->key, &value) || !row_accepts(row, &value))
            return false;
    }
    return true;
}

/* --- slots --- */

static uint64_t hash_number(uint64_t seed, uint64_t number)
{
    return hash_mix(seed ^ hash_mix(number + 1));
}

/* Equal for values that amqp_value_equal() calls equal; for a void one, of the key alone. */
static uint64_t hash_header(struct amqp_str key, const struct amqp_value *value)
{
    uint64_t hash = hash_str(0, key);
    double real = 0;
    uint64_t bits;

    switch (value->type) {
    case 'S':
    case 'x':
        return hash_octets(hash + 1, value->bytes.data, value->bytes.size);
    case 'A':
    case 'F':
        return hash_octets(hash + 2, value->table.data, value->table.size);
    case 't':
        return hash_number(hash + 3, value->boolean);
    case 'D':
        return hash_number(hash + 4, (uint64_t)value->decimal.value << 8 | value->decimal.scale);
    case 'f':
    case 'd':
        real += value->real; /* turns -0.0, which equals 0.0, into it */
        memcpy(&bits, &real, sizeof bits);
        return hash_number(hash + 5, bits);
    case 'V':
        return hash;
    default: /* integers and T */
        return hash_number(hash + 6, (uint64_t)value->integer);
    }
}

static struct header_slot *find_slot(const struct headers_index *index, uint64_t hash)
{
    struct hash_link *link = hash_table_first(&index->slots, hash);

    return link ? CONTAINER_OF(link, struct header_slot, by_hash) : NULL;
}

static int hang_row(struct headers_index *index, struct predicate_row *row)
{
    uint64_t hash = hash_header(row->key, &row->value);
    struct header_slot *slot = find_slot(index, hash);

    if (!slot) {
        slot = calloc(1, sizeof *slot);
        if (!slot)
            return -ENOMEM;
        if (hash_table_add(&index->slots, &slot->by_hash, hash)) {
            free(slot);
            return -ENOMEM;
        }
    }
    DL_APPEND(slot->rows, row);
    slot->n_rows++;
    row->slot = slot;
    return 0;
}

static void unhang_row(struct headers_index *index, struct predicate_row *row)
{
    struct header_slot *slot = row->slot;

    if (!slot)
        return;
    row->slot = NULL;
    DL_DELETE(slot->rows, row);
    if (--slot->n_rows == 0) {
        hash_table_remove(&index->slots, &slot->by_hash);
        free(slot);
    }
}

/* The row that the fewest other predicates share. */
static struct predicate_row *rarest_row(const struct headers_index *index,
                                        struct predicate *predicate)
{
    struct predicate_row *rarest = &predicate->rows[0];
    size_t fewest = SIZE_MAX;

    for (size_t i = 0; i < predicate->n_rows && fewest > 0; i++) {
        struct predicate_row *row = &predicate->rows[i];
        const struct header_slot *slot = find_slot(index, hash_header(row->key, &row->value));
        size_t n_rows = slot ? slot->n_rows : 0;

        if (n_rows < fewest) {
            fewest = n_rows;
            rarest = row;
        }
    }
    return rarest;
}

static int hang_predicate(struct headers_index *index, struct predicate *predicate)
{
    int rc = 0;

    if (predicate->always) {
        DL_APPEND2(index->always, predicate->binding, prev_same, next_same);
        return 0;
    }
    if (!predicate->any)
        return hang_row(index, rarest_row(index, predicate));
    for (size_t i = 0; i < predicate->n_rows && !rc; i++)
        rc = hang_row(index, &predicate->rows[i]);
    return rc;
}

static void unhang_predicate(struct headers_index *index, struct predicate *predicate)
{
    if (predicate->always)
        DL_DELETE2(index->always, predicate->binding, prev_same, next_same);
    for (size_t i = 0; i < predicate->n_rows; i++)
        unhang_row(index, &predicate->rows[i]);
}

/* --- the type --- */

static int headers_bind(struct exchange *exchange, struct binding *binding)
{
    struct predicate *predicate;

    if (!exchange->index)
        exchange->index = calloc(1, sizeof(struct headers_index));
    if (!exchange->index)
        return -ENOMEM;
    predicate = compile(binding);
    if (!predicate)
        return -ENOMEM;
    if (hang_predicate(exchange->index, predicate)) {
        unhang_predicate(exchange->index, predicate);
        free(predicate);
        return -ENOMEM;
    }
    binding->index = predicate;
    return 0;
}

static void headers_unbind(struct exchange *exchange, struct binding *binding)
{
    struct predicate *predicate = binding->index;

    unhang_predicate(exchange->index, predicate);
    free(predicate);
}

/* Predicates of one slot, for a header whose key and value have its hash. */
static int match_slot(const struct header_slot *slot, struct amqp_str key,
                      const struct amqp_value *value, struct route *route)
{
    const struct predicate_row *row = slot ? slot->rows : NULL;
    int rc = 0;

    for (; row && !rc; row = row->next) {
        const struct predicate *predicate = row->predicate;
        bool holds = predicate->any ? amqp_str_equal(row->key, key) && row_accepts(row, value)
                                    : predicate_holds(predicate, route->headers);

        if (holds)
            rc = route_add(route, predicate->binding->destination);
    }
    return rc;
}

static int headers_match(struct exchange *exchange, struct amqp_str routing_key,
                         struct route *route)
{
    const struct amqp_value present = { .type = 'V' };
    struct amqp_table_iter iter = amqp_table_begin(route->headers);
    struct headers_index *index = exchange->index;
    struct amqp_value value;
    struct amqp_str key;
    int rc = 0;

    (void)routing_key;
    if (!index)
        return 0;
    for (struct binding *at = index->always; at && !rc; at = at->next_same)
        rc = route_add(route, at->destination);
    while (!rc && amqp_table_next(&iter, &key, &value)) {
        rc = match_slot(find_slot(index, hash_header(key, &present)), key, &value, route);
        if (!rc && value.type != 'V')
            rc = match_slot(find_slot(index, hash_header(key, &value)), key, &value, route);
    }
    return rc;
}

static void headers_release(struct exchange *exchange)
{
    free(TAKE(exchange->index));
}

const struct exchange_type exchange_headers = {
    .name = "headers",
    .ignores_key = true,
    .check = headers_check,
    .bind = headers_bind,
    .unbind = headers_unbind,
    .match = headers_match,
    .release = headers_release,
};

/*
 * header_index.c - see header_index.h
 *
 * A *term* is what one argument of a binding asks for: a name, which of the headers with that name
 * (nearly always the first), and a value, or only that the header is there where the argument is
 * void. All bindings share the term of an equal argument. For a message the terms that it *holds*
 * are looked up and marked with the number of the match; whether a binding's argument is met is
 * then one comparison of numbers in an array.
 *
 *   "type" --- first, 'order' --- term 0 --- postings: (binding 1), (binding 3)
 *           `- first, any value - term 1
 *   "id" ----- first, 17 -------- term 2 --- postings: (binding 2)
 *
 * A binding becomes a *predicate*: the ids of its terms. Postings lead from a term to predicates.
 * One that any argument satisfies is posted at all of its terms. One that needs them all is posted
 * at a single term, the one where fewest others are, and its other terms are compared when the
 * message holds that one. One that asks for nothing always matches.
 *
 * RabbitMQ sorts both tables by name, keeping the order of equal names, and merges them, so the
 * nth argument of a name is compared with the nth header of that name and no other.
 */
#include "broker/header_index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/hash_table.h"
#include "broker/route.h"

/* A name that bindings ask for. */
struct header_name {
    struct hash_link by_octets; /* of header_index.names */
    uint64_t counted_in;        /* the table that `seen` was counted in */
    uint32_t seen;              /* entries of this name so far */
    uint32_t n_terms;
    uint32_t n_voids;           /* terms that a header of any value satisfies */
    uint8_t size;
    char octets[];
};

struct posting {
    struct predicate *predicate;
    uint32_t row; /* of the predicate: the one that is this term */
};

struct header_term {
    struct hash_link by_question; /* of header_index.terms */
    struct header_name *name;
    uint32_t nth;                 /* of the headers with this name, from 0 */
    uint32_t id;
    uint32_t n_rows;              /* of all predicates */
    uint32_t n_postings, capacity;
    struct posting *postings;
    struct header_term *next_held; /* by the message that is being matched */
    struct amqp_value value;       /* 'V': any; its octets follow */
    uint8_t octets[];
};

struct predicate {
    struct binding *binding;
    uint64_t matched_in; /* the match that has added its destination */
    bool any;
    bool always;
    uint32_t n_rows;
    uint32_t place;  /* unless `any`: of its posting, which is that of rows[0] */
    uint32_t rows[]; /* ids of its terms; where `any`, the places of their postings follow */
};

enum { NOT_POSTED = UINT32_MAX, IDS_MIN = 16 };

/* An id that is not used is in a list: held[] has this bit and the next free id, plus one. */
static const uint64_t ID_FREE = (uint64_t)1 << 63;

struct header_index {
    struct hash_table names, terms;
    uint64_t number;             /* of the last table that was walked: a binding's or a message's */
    uint64_t *held;              /* by term id: the number of the last message that held it */
    struct header_term **by_id;
    uint32_t n_ids, first_free;  /* the latter plus one; 0: none */
    struct binding *always;      /* by next_same */
};

/* --- names --- */

static struct header_name *find_name(const struct header_index *index, struct amqp_str octets,
                                     uint64_t hash)
{
    struct hash_link *link = hash_table_first(&index->names, hash);

    for (; link; link = hash_table_next(link)) {
        struct header_name *name = CONTAINER_OF(link, struct header_name, by_octets);

        if (amqp_str_equal((struct amqp_str){ name->octets, name->size }, octets))
            return name;
    }
    return NULL;
}

/* Made if it is missing; NULL on allocation failure. */
static struct header_name *get_name(struct header_index *index, struct amqp_str octets)
{
    uint64_t hash = hash_str(0, octets);
    struct header_name *name = find_name(index, octets, hash);

    if (name)
        return name;
    assert(octets.size <= UINT8_MAX);
    name = calloc(1, sizeof *name + octets.size);
    if (!name)
        return NULL;
    name->size = (uint8_t)octets.size;
    if (octets.size)
        memcpy(name->octets, octets.data, octets.size);
    if (hash_table_add(&index->names, &name->by_octets, hash)) {
        free(name);
        return NULL;
    }
    return name;
}

static void drop_unused_name(struct header_index *index, struct header_name *name)
{
    if (name->n_terms)
        return;
    hash_table_remove(&index->names, &name->by_octets);
    free(name);
}

/* How many entries of this name came before in the table of that number. */
static uint32_t count_entry(struct header_name *name, uint64_t table)
{
    if (name->counted_in != table) {
        name->counted_in = table;
        name->seen = 0;
    }
    return name->seen++;
}

/* --- terms --- */

static uint64_t hash_number(uint64_t seed, uint64_t number)
{
    return hash_mix(seed ^ hash_mix(number + 1));
}

/* Equal for values that amqp_value_equal() calls equal. */
static uint64_t hash_value(uint64_t hash, const struct amqp_value *value)
{
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

static uint64_t hash_question(const struct header_name *name, uint32_t nth,
                              const struct amqp_value *value)
{
    return hash_value(hash_mix(name->by_octets.hash + nth), value);
}

static struct header_term *find_term(const struct header_index *index,
                                     const struct header_name *name, uint32_t nth,
                                     const struct amqp_value *value)
{
    struct hash_link *link = hash_table_first(&index->terms, hash_question(name, nth, value));

    for (; link; link = hash_table_next(link)) {
        struct header_term *term = CONTAINER_OF(link, struct header_term, by_question);

        if (term->name == name && term->nth == nth && amqp_value_equal(&term->value, value))
            return term;
    }
    return NULL;
}

/* More ids, all of them free; 0 or -ENOMEM. */
static int grow_ids(struct header_index *index)
{
    uint32_t n_ids = index->n_ids ? 2 * index->n_ids : IDS_MIN;
    struct header_term **by_id;
    uint64_t *held;

    held = realloc(index->held, n_ids * sizeof *held);
    if (!held)
        return -ENOMEM;
    index->held = held;
    by_id = realloc(index->by_id, n_ids * sizeof(struct header_term *));
    if (!by_id)
        return -ENOMEM;
    index->by_id = by_id;
    for (uint32_t id = n_ids; id-- > index->n_ids;) {
        held[id] = ID_FREE | index->first_free;
        index->first_free = id + 1;
    }
    index->n_ids = n_ids;
    return 0;
}

static void take_id(struct header_index *index, struct header_term *term)
{
    term->id = index->first_free - 1;
    index->first_free = (uint32_t)(index->held[term->id] & ~ID_FREE);
    index->held[term->id] = 0;
    index->by_id[term->id] = term;
}

static void free_id(struct header_index *index, uint32_t id)
{
    index->held[id] = ID_FREE | index->first_free;
    index->first_free = id + 1;
}

/* The octets that a value borrows; none of most. */
static struct amqp_bytes borrowed_octets(const struct amqp_value *value)
{
    switch (value->type) {
    case 'S':
    case 'x':
        return value->bytes;
    case 'A':
    case 'F':
        return (struct amqp_bytes){ value->table.data, value->table.size };
    default:
        return (struct amqp_bytes){ NULL, 0 };
    }
}

static struct header_term *new_term(struct header_name *name, uint32_t nth,
                                    const struct amqp_value *value)
{
    struct amqp_bytes octets = borrowed_octets(value);
    struct header_term *term = calloc(1, sizeof *term + octets.size);

    if (!term)
        return NULL;
    term->name = name;
    term->nth = nth;
    term->value = *value;
    if (octets.size)
        memcpy(term->octets, octets.data, octets.size);
    if (value->type == 'S' || value->type == 'x')
        term->value.bytes.data = term->octets;
    else if (value->type == 'A' || value->type == 'F')
        term->value.table.data = term->octets;
    return term;
}

/* Made if it is missing; NULL on allocation failure. */
static struct header_term *get_term(struct header_index *index, struct header_name *name,
                                    uint32_t nth, const struct amqp_value *value)
{
    struct header_term *term = find_term(index, name, nth, value);

    if (term)
        return term;
    if (!index->first_free && grow_ids(index))
        return NULL;
    term = new_term(name, nth, value);
    if (!term)
        return NULL;
    if (hash_table_add(&index->terms, &term->by_question, hash_question(name, nth, value))) {
        free(term);
        return NULL;
    }
    take_id(index, term);
    name->n_terms++;
    name->n_voids += value->type == 'V';
    return term;
}

static void drop_unused_term(struct header_index *index, struct header_term *term)
{
    struct header_name *name = term->name;

    if (term->n_rows)
        return;
    assert(term->n_postings == 0);
    hash_table_remove(&index->terms, &term->by_question);
    free_id(index, term->id);
    name->n_terms--;
    name->n_voids -= term->value.type == 'V';
    drop_unused_name(index, name);
    free(term->postings);
    free(term);
    if (index->terms.count)
        return;
    free(TAKE(index->held));
    free(TAKE(index->by_id));
    index->n_ids = index->first_free = 0;
}

/* --- postings --- */

static uint32_t *place_of(struct predicate *predicate, uint32_t row)
{
    return predicate->any ? &predicate->rows[predicate->n_rows + row] : &predicate->place;
}

static int post(struct header_index *index, struct predicate *predicate, uint32_t row)
{
    struct header_term *term = index->by_id[predicate->rows[row]];

    if (term->n_postings == term->capacity) {
        uint32_t capacity = term->capacity ? 2 * term->capacity : 1;
        struct posting *postings = realloc(term->postings, capacity * sizeof *postings);

        if (!postings)
            return -ENOMEM;
        term->postings = postings;
        term->capacity = capacity;
    }
    *place_of(predicate, row) = term->n_postings;
    term->postings[term->n_postings++] = (struct posting){ predicate, row };
    return 0;
}

/* The last posting takes the place of the one that goes. */
static void take_down(struct header_index *index, struct predicate *predicate, uint32_t row)
{
    struct header_term *term = index->by_id[predicate->rows[row]];
    uint32_t place = *place_of(predicate, row);
    struct posting last;

    if (place == NOT_POSTED)
        return;
    last = term->postings[--term->n_postings];
    term->postings[place] = last;
    *place_of(last.predicate, last.row) = place;
}

/* The term where fewest others are posted becomes rows[0]. */
static void put_rarest_first(const struct header_index *index, struct predicate *predicate)
{
    uint32_t fewest = UINT32_MAX, rarest = 0, first = predicate->rows[0];

    for (uint32_t i = 0; i < predicate->n_rows && fewest > 0; i++) {
        const struct header_term *term = index->by_id[predicate->rows[i]];

        if (term->n_postings < fewest) {
            fewest = term->n_postings;
            rarest = i;
        }
    }
    predicate->rows[0] = predicate->rows[rarest];
    predicate->rows[rarest] = first;
}

static int post_predicate(struct header_index *index, struct predicate *predicate)
{
    int rc = 0;

    if (predicate->always) {
        DL_APPEND2(index->always, predicate->binding, prev_same, next_same);
        return 0;
    }
    if (!predicate->any) {
        put_rarest_first(index, predicate);
        return post(index, predicate, 0);
    }
    for (uint32_t i = 0; i < predicate->n_rows && !rc; i++)
        rc = post(index, predicate, i);
    return rc;
}

/* --- predicates --- */

static bool takes_part(struct header_match how, struct amqp_str key)
{
    if (!amqp_str_starts_with(key, AMQP_STR("x-")))
        return true;
    return how.with_x && !amqp_str_equal(key, AMQP_STR("x-match"));
}

static uint32_t count_rows(struct header_match how, struct amqp_table arguments)
{
    struct amqp_table_iter iter = amqp_table_begin(arguments);
    struct amqp_value value;
    struct amqp_str key;
    uint32_t n = 0; /* a table's entries are bounded */

    while (amqp_table_next(&iter, &key, &value))
        n += takes_part(how, key);
    return n;
}

static struct predicate *new_predicate(struct binding *binding, struct header_match how)
{
    uint32_t n_rows = count_rows(how, binding_arguments(binding));
    size_t n_numbers = how.any ? 2 * (size_t)n_rows : n_rows;
    struct predicate *predicate =
        calloc(1, sizeof *predicate + n_numbers * sizeof predicate->rows[0]);

    if (!predicate)
        return NULL;
    predicate->binding = binding;
    predicate->any = how.any;
    predicate->always = !how.any && n_rows == 0;
    predicate->place = NOT_POSTED;
    return predicate;
}

static int add_row(struct header_index *index, struct predicate *predicate, struct amqp_str key,
                   const struct amqp_value *value)
{
    struct header_name *name = get_name(index, key);
    struct header_term *term;

    if (!name)
        return -ENOMEM;
    term = get_term(index, name, count_entry(name, index->number), value);
    if (!term) {
        drop_unused_name(index, name);
        return -ENOMEM;
    }
    term->n_rows++;
    predicate->rows[predicate->n_rows++] = term->id;
    return 0;
}

static int add_rows(struct header_index *index, struct predicate *predicate,
                    struct header_match how)
{
    struct amqp_table_iter iter = amqp_table_begin(binding_arguments(predicate->binding));
    struct amqp_value value;
    struct amqp_str key;
    int rc = 0;

    index->number++;
    while (!rc && amqp_table_next(&iter, &key, &value)) {
        if (takes_part(how, key))
            rc = add_row(index, predicate, key, &value);
    }
    for (uint32_t i = 0; predicate->any && i < predicate->n_rows; i++)
        *place_of(predicate, i) = NOT_POSTED;
    return rc;
}

static void free_predicate(struct header_index *index, struct predicate *predicate)
{
    for (uint32_t i = 0; i < predicate->n_rows; i++) {
        struct header_term *term = index->by_id[predicate->rows[i]];

        if (predicate->any || i == 0)
            take_down(index, predicate, i);
        term->n_rows--;
        drop_unused_term(index, term);
    }
    free(predicate);
}

/* --- the index --- */

struct header_index *header_index_new(void)
{
    return calloc(1, sizeof(struct header_index));
}

void header_index_free(struct header_index *index)
{
    assert(!index || (index->terms.count == 0 && index->names.count == 0 && !index->always));
    free(index);
}

int header_index_add(struct header_index *index, struct binding *binding, struct header_match how)
{
    struct predicate *predicate = new_predicate(binding, how);
    int rc;

    if (!predicate)
        return -ENOMEM;
    rc = add_rows(index, predicate, how);
    if (!rc)
        rc = post_predicate(index, predicate);
    if (rc) {
        free_predicate(index, predicate);
        return rc;
    }
    binding->index = predicate;
    return 0;
}

void header_index_remove(struct header_index *index, struct binding *binding)
{
    struct predicate *predicate = binding->index;

    if (predicate->always)
        DL_DELETE2(index->always, binding, prev_same, next_same);
    free_predicate(index, predicate);
}

/* --- matching --- */

/* Mark a term as held, in front of those that are already. */
static void hold(struct header_index *index, struct header_term *term, struct header_term **held)
{
    if (!term)
        return;
    index->held[term->id] = index->number;
    term->next_held = *held;
    *held = term;
}

/* The terms that the message holds, by next_held. */
static struct header_term *hold_headers(struct header_index *index, struct route *route)
{
    static const struct amqp_value any_value = { .type = 'V' };
    struct amqp_table_iter iter = amqp_table_begin(route->headers);
    struct header_term *held = NULL;
    struct amqp_value value;
    struct amqp_str key;

    index->number++;
    while (index->names.count && amqp_table_next(&iter, &key, &value)) {
        struct header_name *name = find_name(index, key, hash_str(0, key));
        uint32_t nth;

        route->work++;
        if (!name)
            continue;
        nth = count_entry(name, index->number);
        if (name->n_voids)
            hold(index, find_term(index, name, nth, &any_value), &held);
        if (value.type != 'V')
            hold(index, find_term(index, name, nth, &value), &held);
    }
    return held;
}

/*
 * Whether the message holds all terms, the first of which it does hold. One that it does not hold
 * is asked first the next time: messages that fail often fail for the same reason.
 */
static bool holds_all(const struct header_index *index, struct predicate *predicate,
                      struct route *route)
{
    uint32_t *rows = predicate->rows, i = 1;

    while (i < predicate->n_rows && index->held[rows[i]] == index->number)
        i++;
    route->work += i;
    if (i == predicate->n_rows)
        return true;
    if (i > 1) {
        uint32_t failed = rows[i];

        rows[i] = rows[1];
        rows[1] = failed;
    }
    return false;
}

static bool matches(const struct header_index *index, struct predicate *predicate,
                    struct route *route)
{
    if (!predicate->any)
        return holds_all(index, predicate, route);
    route->work++;
    if (predicate->matched_in == index->number)
        return false; /* again */
    predicate->matched_in = index->number;
    return true;
}

static int match_term(const struct header_index *index, const struct header_term *term,
                      struct route *route)
{
    int rc = 0;

    for (uint32_t i = 0; i < term->n_postings && !rc; i++) {
        struct predicate *predicate = term->postings[i].predicate;

        if (matches(index, predicate, route))
            rc = route_add(route, predicate->binding->destination);
    }
    return rc;
}

int header_index_match(struct header_index *index, struct route *route)
{
    struct header_term *held = hold_headers(index, route);
    int rc = 0;

    for (struct binding *at = index->always; at && !rc; at = at->next_same)
        rc = route_add(route, at->destination);
    for (; held && !rc; held = held->next_held)
        rc = match_term(index, held, route);
    return rc;
}

/*
 * backend_memory.c - an imaginary disk: sorted arrays that outlive the store, and faults on demand
 *
 * It keeps what RocksDB keeps, with the same order and the same atomic batches, and checks what
 * RocksDB only assumes: that a key deleted by DELETE_ONCE was put exactly once. A failing write
 * leaves the disk as it was or, with store_disk_fail_late(), is applied in full and reported as
 * failed, as happens when only the sync fails: the store must come through both.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/backend_memory.h"

struct disk_pair {
    uint8_t *key;
    size_t key_size;
    uint8_t *value;
    size_t value_size;
    unsigned puts;
};

struct disk_family {
    struct disk_pair *pairs; /* by key */
    size_t n_pairs;
    size_t capacity;
};

struct store_disk {
    struct disk_family families[STORE_FAMILIES];
    unsigned good;   /* writes that pass before failures begin */
    unsigned failing; /* writes that fail then */
    bool late;
    bool retried; /* after a failure keys may be put twice, so DELETE_ONCE proves nothing */
    int error_number;
};

struct memory_backend {
    struct store_backend backend;
    struct store_disk *disk;
};

struct store_disk *store_disk_new(void)
{
    return calloc(1, sizeof(struct store_disk));
}

static void pair_release(struct disk_pair *pair)
{
    free(pair->key);
    free(pair->value);
}

void store_disk_free(struct store_disk *disk)
{
    size_t f;
    size_t i;

    if (!disk)
        return;
    for (f = 0; f < STORE_FAMILIES; f++) {
        for (i = 0; i < disk->families[f].n_pairs; i++)
            pair_release(&disk->families[f].pairs[i]);
        free(disk->families[f].pairs);
    }
    free(disk);
}

void store_disk_fail(struct store_disk *disk, unsigned good, unsigned writes, int error_number)
{
    disk->good = good;
    disk->failing = writes;
    disk->error_number = error_number;
    disk->late = false;
}

void store_disk_fail_late(struct store_disk *disk, unsigned good, unsigned writes, int error_number)
{
    store_disk_fail(disk, good, writes, error_number);
    disk->late = true;
}

size_t store_disk_count(const struct store_disk *disk, enum store_family family)
{
    return disk->families[family].n_pairs;
}

static int compare(struct amqp_bytes a, struct amqp_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static struct amqp_bytes pair_key(const struct disk_pair *pair)
{
    return (struct amqp_bytes){ pair->key, pair->key_size };
}

/* Index of the first pair whose key is not below @key. */
static size_t family_lower(const struct disk_family *family, struct amqp_bytes key)
{
    size_t low = 0;
    size_t high = family->n_pairs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(pair_key(&family->pairs[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct disk_pair *family_find(const struct disk_family *family, struct amqp_bytes key)
{
    size_t at = family_lower(family, key);

    if (at < family->n_pairs && compare(pair_key(&family->pairs[at]), key) == 0)
        return &family->pairs[at];
    return NULL;
}

static uint8_t *join(struct amqp_bytes a, struct amqp_bytes b)
{
    uint8_t *copy = malloc(a.size + b.size + 1);

    assert(copy); /* the disk of a test does not run out of memory */
    if (a.size > 0)
        memcpy(copy, a.data, a.size);
    if (b.size > 0)
        memcpy(copy + a.size, b.data, b.size);
    return copy;
}

static void family_put(struct disk_family *family, const struct store_op *op)
{
    struct amqp_bytes key = { op->key, op->key_size };
    size_t at = family_lower(family, key);
    struct disk_pair *pair;

    if (at == family->n_pairs || compare(pair_key(&family->pairs[at]), key) != 0) {
        if (family->n_pairs == family->capacity) {
            family->capacity = family->capacity ? family->capacity * 2 : 16;
            family->pairs = realloc(family->pairs, family->capacity * sizeof *family->pairs);
            assert(family->pairs);
        }
        memmove(&family->pairs[at + 1], &family->pairs[at],
                (family->n_pairs - at) * sizeof *family->pairs);
        family->pairs[at] = (struct disk_pair){
            .key = join(key, (struct amqp_bytes){ 0 }),
            .key_size = key.size,
        };
        family->n_pairs++;
    }
    pair = &family->pairs[at];
    free(pair->value);
    pair->value = join(op->value[0], op->value[1]);
    pair->value_size = op->value[0].size + op->value[1].size;
    pair->puts++;
}

static void family_delete(struct disk_family *family, size_t from, size_t to)
{
    size_t i;

    for (i = from; i < to; i++)
        pair_release(&family->pairs[i]);
    if (to < family->n_pairs)
        memmove(&family->pairs[from], &family->pairs[to],
                (family->n_pairs - to) * sizeof *family->pairs);
    family->n_pairs -= to - from;
}

static void disk_apply(struct store_disk *disk, const struct store_op *op)
{
    struct disk_family *family = &disk->families[op->family];
    struct amqp_bytes key = { op->key, op->key_size };
    const struct disk_pair *pair;
    size_t at;

    switch ((enum store_op_kind)op->kind) {
    case STORE_OP_PUT:
        family_put(family, op);
        return;
    case STORE_OP_DELETE_ONCE:
        pair = family_find(family, key);
        assert(disk->retried || (pair && pair->puts == 1));
        /* fall through */
    case STORE_OP_DELETE:
        at = family_lower(family, key);
        if (at < family->n_pairs && compare(pair_key(&family->pairs[at]), key) == 0)
            family_delete(family, at, at + 1);
        return;
    case STORE_OP_DELETE_RANGE:
        family_delete(family, family_lower(family, key), family_lower(family, op->value[0]));
        return;
    }
}

static int memory_write(struct store_backend *backend, const struct store_op *const *batches,
                        size_t n_batches, bool sync, struct store_fault *fault)
{
    struct store_disk *disk = CONTAINER_OF(backend, struct memory_backend, backend)->disk;
    const struct store_op *op;
    bool fail = false;
    size_t i;

    (void)sync; /* what is written to this disk is on it */
    if (disk->good > 0) {
        disk->good--;
    } else if (disk->failing > 0) {
        disk->failing--;
        fail = true;
    }
    for (i = 0; i < n_batches && (!fail || disk->late); i++)
        for (op = batches[i]; op; op = op->next)
            disk_apply(disk, op);
    if (!fail)
        return 0;
    disk->retried = true;
    (void)snprintf(fault->text, sizeof fault->text, "cannot write to the imaginary disk: %s",
                   strerror(disk->error_number));
    return -disk->error_number;
}

static int memory_apply(struct store_backend *backend, struct store_fault *fault)
{
    (void)backend;
    (void)fault;
    return 0; /* there is no log: memory_write() has done it */
}

static int memory_sync(struct store_backend *backend, struct store_fault *fault)
{
    (void)backend;
    (void)fault;
    return 0; /* nothing is ever unsynced */
}

static int memory_reopen(struct store_backend *backend, struct store_fault *fault)
{
    (void)backend;
    (void)fault;
    return 0; /* the disk was never closed */
}

static int memory_get(struct store_backend *backend, enum store_family family,
                      struct amqp_bytes key, uint8_t **ret_data, size_t *ret_size)
{
    struct store_disk *disk = CONTAINER_OF(backend, struct memory_backend, backend)->disk;
    const struct disk_pair *pair = family_find(&disk->families[family], key);

    if (!pair)
        return -ENOENT;
    *ret_data = join((struct amqp_bytes){ pair->value, pair->value_size },
                     (struct amqp_bytes){ 0 });
    *ret_size = pair->value_size;
    return 0;
}

static int memory_scan(struct store_backend *backend, enum store_family family,
                       struct amqp_bytes lower, struct amqp_bytes upper, store_scan_visit visit,
                       void *context)
{
    struct store_disk *disk = CONTAINER_OF(backend, struct memory_backend, backend)->disk;
    const struct disk_family *pairs = &disk->families[family];
    size_t end = upper.size > 0 ? family_lower(pairs, upper) : pairs->n_pairs;
    size_t i;
    int rc = 0;

    for (i = family_lower(pairs, lower); i < end && rc >= 0; i++)
        rc = visit(context, pair_key(&pairs->pairs[i]),
                   (struct amqp_bytes){ pairs->pairs[i].value, pairs->pairs[i].value_size });
    return rc < 0 ? rc : 0;
}

static void memory_close(struct store_backend *backend)
{
    free(CONTAINER_OF(backend, struct memory_backend, backend));
}

static const struct store_backend_ops memory_ops = {
    .write = memory_write,
    .apply = memory_apply,
    .sync = memory_sync,
    .reopen = memory_reopen,
    .get = memory_get,
    .scan = memory_scan,
    .close = memory_close,
};

struct store_backend *store_backend_memory(struct store_disk *disk)
{
    struct memory_backend *memory = calloc(1, sizeof *memory);

    if (!memory)
        return NULL;
    memory->backend.ops = &memory_ops;
    memory->disk = disk;
    return &memory->backend;
}

int store_open_memory(struct store_disk *disk, const struct store_options *options,
                      const struct store_events *events, void *context, struct store **ret_store)
{
    struct store_backend *backend = store_backend_memory(disk);
    struct store_fault fault;

    if (!backend)
        return -ENOMEM;
    return store_new(backend, options, events, context, &fault, ret_store);
}

void store_crash(struct store *store, unsigned keep_unreported)
{
    struct store_commit *commit = store->sealed;
    struct store_fault fault;

    for (; commit && keep_unreported > 0; commit = commit->next, keep_unreported--)
        if (store->backend->ops->write(store->backend,
                                       (const struct store_op *const[]){ commit->first_op }, 1,
                                       true, &fault))
            break;
    store_free(store);
}

void store_memory_hold(struct store *store, bool hold)
{
    store->held = hold;
}

/*
 * backend.h - what the store needs of an ordered key-value database
 *
 * Four families of keys, atomic batches, point reads and ordered scans: RocksDB under the server,
 * an imaginary disk under the tests. Everything that makes it a message store is above this line.
 * One thread writes and one, which may be another, applies; reopen() is called by the former while
 * the latter does nothing. get() may be called by any at any time.
 */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H

#include "amqp/base.h"

enum store_family {
    STORE_FAMILY_MESSAGES, /* record number -> packed messages */
    STORE_FAMILY_QUEUES,   /* queue id, first sequence -> packed entries */
    STORE_FAMILY_SETTLED,  /* queue id, what -> watermark, page of bits or delivery count */
    STORE_FAMILY_META,     /* kind, key -> value; kind 0 is the store's own */
};
#define STORE_FAMILIES 4

enum store_op_kind {
    STORE_OP_PUT,
    STORE_OP_DELETE,
    STORE_OP_DELETE_ONCE,  /* of a key that was put once and is never put again */
    STORE_OP_DELETE_RANGE, /* from key, up to but without value[0] */
};

/** struct store_op - one change; a batch is a list of them, applied in order */
struct store_op {
    struct store_op *next;
    struct amqp_bytes value[2]; /* of PUT: its two halves */
    uint32_t key_size;
    uint8_t kind;
    uint8_t family;
    uint8_t key[];
};

/** struct store_fault - why something failed, as a sentence for the operator */
struct store_fault {
    char text[720];
};

/** enum store_backend_state - how it is with the disk */
enum store_backend_state {
    STORE_BACKEND_WELL,
    STORE_BACKEND_SHORT, /* all works, with room that is kept for draining: publishers should stop */
    STORE_BACKEND_STUCK, /* something waits until the disk works: so may apply() and reopen() */
    STORE_BACKEND_LOST,  /* only write(), abandon() and close() may follow; the process has to end */
};

/** store_scan_visit() - called per key; a negative result ends the scan and is returned by it */
typedef int (*store_scan_visit)(void *context, struct amqp_bytes key, struct amqp_bytes value);

struct store_backend;

/** struct store_backend_ops - all return 0 or -errno and fill @fault on failure */
struct store_backend_ops {
    /**
     * Logs @n_batches lists in order as one atomic change, on stable storage if @sync. It cannot be
     * lost then, but get() and scan() see it only after apply(). After a failure a restart may find
     * it or not, until it is written again; only reopen() may follow.
     */
    int (*write)(struct store_backend *backend, const struct store_op *const *batches,
                 size_t n_batches, bool sync, struct store_fault *fault);
    /**
     * Applies what the oldest write() that was not applied has logged: one call for each. After a
     * failure only reopen() may follow, which has then applied all of them, or abandon().
     */
    int (*apply)(struct store_backend *backend, struct store_fault *fault);
    /** Makes everything written so far stable; a failure is like one of write(). */
    int (*sync)(struct store_backend *backend, struct store_fault *fault);
    /** Makes it fit for the next write() after a failure; what was logged has then been applied. */
    int (*reopen)(struct store_backend *backend, struct store_fault *fault);
    /** @ret_data is returned (free it); -ENOENT; -EAGAIN while not open. */
    int (*get)(struct store_backend *backend, enum store_family family, struct amqp_bytes key,
               uint8_t **ret_data, size_t *ret_size);
    /** Visits the keys from @lower, up to but without @upper (empty: to the end). */
    int (*scan)(struct store_backend *backend, enum store_family family, struct amqp_bytes lower,
                struct amqp_bytes upper, store_scan_visit visit, void *context);
    /** How it is: @ret_error and @fault are set unless WELL. By any thread; NULL: always WELL. */
    enum store_backend_state (*look)(struct store_backend *backend, int *ret_error,
                                     struct store_fault *fault);
    /** Calls @changed from any thread when what look() finds may have changed. NULL like look(). */
    void (*watch)(struct store_backend *backend, void (*changed)(void *context), void *context);
    /** Gives room back; called by the thread that writes, now and then while SHORT. NULL like look(). */
    void (*tidy)(struct store_backend *backend);
    /** An apply() that waits for the disk fails; close() will leave the database as it is. */
    void (*abandon)(struct store_backend *backend);
    void (*close)(struct store_backend *backend);
};

struct store_backend {
    const struct store_backend_ops *ops;
};

/* Format of the data, in META under kind 0. A change of any layout in pack.h raises it. */
#define STORE_FORMAT_VERSION 3

#endif

/*
 * flow-internal.h - what the loop, its producers and its consumers share
 *
 * The loop (flow.c) owns the sockets' readiness and the order of a run; producer.c and consumer.c
 * own what is said on them. All of it is one thread.
 */
#ifndef BENCH_FLOW_INTERNAL_H
#define BENCH_FLOW_INTERNAL_H

#include "meter.h"
#include "perf.h"

enum {
    RECEIVE_BYTES = 256 * 1024,       /* room for one read, beside a partial frame */
    BLOCK_BYTES = 128 * 1024,         /* of encoded messages; stays in the second-level cache */
    SEND_BYTES = 256 * 1024,          /* per producer and wake-up */
    PARTIAL_BYTES = 131072 + WIRE_OVERHEAD,
    VARIED_MESSAGES = 32,             /* of different sizes, in a block at least */
    BODY_INDEXED = 8, BODY_STAMPED = 16,
};

enum role { ROLE_PRODUCER, ROLE_CONSUMER };

struct link { /* what producers and consumers have in common; their first member */
    enum role role;
    struct client client; /* client.in keeps the partial frame */
    uint32_t interest;    /* what epoll watches for */
};

struct publish { /* some messages that were handed over at one time */
    uint64_t last_tag, at_ns;
};

struct producer {
    struct link link;
    uint8_t *block;
    size_t *starts, *body_starts;  /* where each message of the block and its body start */
    uint64_t limit;                /* messages to publish in all */
    uint64_t queued;               /* messages released for sending */
    uint64_t sent, sent_bytes;     /* messages and bytes that have left */
    uint64_t due_ns;               /* with a rate: when the next message is due */
    uint64_t lowest, ahead;        /* first unconfirmed tag; confirmed ones above it */
    uint8_t *done;                 /* by tag modulo span: confirmed above lowest */
    struct publish *publishes;     /* ring of span entries */
    uint64_t publish_head, publish_tail;
    uint64_t stamped; /* without a rate: 1 + the number of the message that has a time in it; or 0 */
    uint64_t random;  /* which one that is */
};

/* What is due of a delivery: its method, its header, its first body frame, the others. */
enum stage { STAGE_METHOD, STAGE_HEADER, STAGE_BODY, STAGE_REST };

struct consumer {
    struct link link;
    uint64_t tag, body_left;
    enum stage stage;
    uint64_t acked;  /* the last tag acknowledged */
    uint64_t worked, due_ns; /* with a rate: the last tag worked off; when the next one is */
    uint32_t *next_index; /* per producer: the next place in its block; NULL if not checked */
    size_t out_at;        /* in client.out, which holds acks the socket did not take */
};

struct flow {
    const struct settings *settings;
    struct producer *producers;
    struct consumer *consumers;
    int epoll_fd;
    unsigned block_messages, span; /* span: a power of two above the confirm window */
    uint64_t interval_ns;          /* with a rate: between two messages of one producer */
    uint64_t work_ns; /* with a rate of consumers: what one of them takes for a message */
    struct route route;
    uint64_t body_least, body_most; /* what deliveries may have */
    bool body_checked;              /* bodies are numbered, or stamped, and it matters */
    bool stamped;                   /* some bodies say when they were due, or else written */
    uint64_t block_body_bytes;      /* of all producers' blocks */
    struct meter *meter;
    uint64_t sent, confirmed, nacked, consumed, moved; /* moved: bytes, to notice a standstill */
    uint64_t consumed_bytes;                           /* of bodies */
    struct { uint64_t sent, confirmed, nacked, consumed, consumed_bytes; } base; /* after warm-up */
    uint64_t now_ns, begin_ns, stop_ns, progress_ns, progress_moved;
    double begin_cpu_us;
    bool measuring, stopped;
    char blocked[128];
    struct flow_result *result;
    uint8_t receive[PARTIAL_BYTES + RECEIVE_BYTES];
};

/** flow_watch() - have epoll report these events of a link */
void flow_watch(struct flow *flow, struct link *link, uint32_t interest);

/**
 * flow_other_method() - a method that neither producers nor consumers look for
 *
 * connection.blocked is remembered for the message of a standstill; all others end the process.
 */
void flow_other_method(struct flow *flow, const struct wire_frame *frame);

/** producer_start() - connect and encode producer @number; its link is not yet watched */
void producer_start(struct flow *flow, unsigned number);

/** producer_frame() - a frame from the broker: a confirm, in the main */
void producer_frame(struct flow *flow, struct producer *producer, const struct wire_frame *frame,
                    uint64_t now_ns);

/** producer_allowance() - how many more messages a producer may release now */
uint64_t producer_allowance(const struct flow *flow, const struct producer *producer);

/** producer_bytes() - how many bytes the first @n messages of a producer are */
uint64_t producer_bytes(const struct flow *flow, const struct producer *producer, uint64_t n);

/** producer_send() - release what may be released, unless there is a rate, and write */
void producer_send(struct flow *flow, struct producer *producer);

/** producer_release_due() - with a rate: release what is due, stamped with when it was */
void producer_release_due(struct flow *flow, struct producer *producer, uint64_t now_ns);

/** consumer_start() - connect consumer @number and consume; its link is not yet watched */
void consumer_start(struct flow *flow, unsigned number);

/** consumer_frame() - a frame from the broker: part of a delivery, in the main */
void consumer_frame(struct flow *flow, struct consumer *consumer, const struct wire_frame *frame,
                    uint64_t now_ns);

/** consumer_append_ack() - acknowledge everything delivered up to a tag */
void consumer_append_ack(struct consumer *consumer, uint64_t tag);

/** consumer_work() - with a rate of consumers: acknowledge what has been worked off by now */
void consumer_work(struct flow *flow, struct consumer *consumer, uint64_t now_ns);

/** consumer_flush() - write the acknowledgements that wait */
void consumer_flush(struct flow *flow, struct consumer *consumer);

#endif

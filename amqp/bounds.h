/*
 * bounds.h - every limit on what a peer can make grow
 *
 * A limit has a name, a unit, a default and the reply code that meets it. Those that an operator
 * may want to move are only defaults here; their key in leveret.conf stands beside them.
 */
#ifndef AMQP_BOUNDS_H
#define AMQP_BOUNDS_H

enum {
    BOUND_FRAME_MIN_BYTES = 4096,            /* the spec's frame-min-size */
    BOUND_FRAME_MAX_BYTES = 131072,          /* frame_max; 501 */
    BOUND_FRAME_TOLERANCE_BYTES = 8,         /* a payload of frame_max passes, as in RabbitMQ */
    BOUND_HANDSHAKE_FRAME_BYTES = 8192,      /* initial_frame_max: before tune-ok; silent close */
    BOUND_CHANNEL_MAX = 2047,                /* channel_max; 530 */
    BOUND_HEARTBEAT_S = 60,                  /* heartbeat */
    BOUND_HANDSHAKE_TIMEOUT_MS = 10000,      /* handshake_timeout; silent close */
    BOUND_SEND_TIMEOUT_MS = 30000,           /* tcp_listen_options.send_timeout; reset */
    BOUND_LINGERING_SOCKETS = 1024,          /* closed by us, not by the peer: the oldest goes */
    BOUND_SHORTSTR_BYTES = 255,
    BOUND_NAME_BYTES = 255,                  /* queues, exchanges, keys, tags */
    BOUND_REPLY_TEXT_BYTES = 255,
    BOUND_TABLE_DEPTH = 128,                 /* tables and arrays inside a table; 502 */
    BOUND_TABLE_ENTRIES = 65536,             /* entries of one table, nested ones included; 502 */
    BOUND_MESSAGE_BYTES = 134217728,         /* max_message_size; 406 */
    BOUND_MESSAGE_HARD_BYTES = 536870912,    /* the largest max_message_size; 501 */
    BOUND_CONSUMERS_PER_CHANNEL = 65535,     /* consumer_max_per_channel; 530 */
    BOUND_RESIDENT_MESSAGES = 16384,         /* of a queue, then they leave memory; no error */
    BOUND_RESIDENT_BYTES = 8388608,          /* the same for octets of their bodies */
    BOUND_QUEUE_MEMORY_BYTES = 67108864,     /* queue_memory_limit; then they leave memory; no error */
    BOUND_MESSAGE_OVERHEAD_BYTES = 128,      /* what one is taken to cost there besides its body */
    BOUND_PAGING_SHIFT = 6,                  /* RESIDENT_* are so many times halved while memory is low */
    BOUND_MEMORY_LOOK_BYTES = 16777216,      /* allocated for messages between two looks at memory */
    BOUND_UNFINISHED_DIVISOR = 4,            /* of the memory limit, for unfinished messages while the
                                                memory alarm is raised; 506, the largest first */
    BOUND_DISCARDS = 16384,                  /* of a queue, read to be dead-lettered; no error */
    BOUND_DISCARD_BYTES = 8388608,           /* the same for octets of their bodies */
    BOUND_TIMERS_A_TURN = 512,               /* that fire; the rest does in the next; no error */
    BOUND_HELD_LOOK = 64,                    /* held consumers among which priorities are compared */
    BOUND_UNACKED_PER_CHANNEL = 1000000,     /* deliveries pause there; no error */
    BOUND_WORK_A_TURN = 16384,               /* units of task.h; the rest in the next; no error */
    BOUND_ACCEPTS_A_TURN = 32,               /* connections, over all listeners; the same */
    BOUND_HAND_OUTS_A_TURN = 8192,           /* deliveries, entries given up; the same */
    BOUND_TX_MESSAGES = 100000,              /* tx_message_limit, for each queue; 406 */
    BOUND_TX_BYTES = 64000000,               /* tx_bytes_limit; 406 */
    BOUND_DIRECT_REPLY_BYTES = 67108864,     /* unsent on a connection: direct replies are dropped */
    BOUND_UNKNOWN_ARGUMENTS = 64,            /* names of queue arguments that the log has told of */
    BOUND_LOG_LINE_BYTES = 2048,
};

#endif

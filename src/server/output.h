/*
 * output.h - what waits to be written to one socket
 *
 * A chain of pieces in order. Small things are copied into chunks that come from a pool shared by
 * all sockets of a thread; large bodies are pieces that refer to their message. A socket with
 * nothing to write holds no chunk and no piece.
 *
 *   piece -> piece -> piece            chunk [ deliver header | head ]  chunk [ end head ... ]
 *     |        |        |                      ^ first piece              ^ third piece
 *   chunk   message   chunk            message .... body ....             second piece
 *
 * Nothing fails halfway: when memory runs out the output is marked `failed`, further octets are
 * dropped, and its owner must close the socket, for the stream has a hole.
 */
#ifndef SERVER_OUTPUT_H
#define SERVER_OUTPUT_H

#include "amqp/base.h"
#include "broker/message.h"
#include "server/transport.h"

enum {
    OUTPUT_CHUNK_BYTES = 16384, /* allocated; less the head to write into */
    OUTPUT_COPY_BYTES = 2048,   /* larger parts of messages are queued by reference */
    OUTPUT_RESERVE_BYTES = OUTPUT_CHUNK_BYTES - 16, /* what output_reserve() can always give */
};

struct output_chunk {
    struct output_chunk *next;
    uint32_t used;
    uint8_t data[OUTPUT_CHUNK_BYTES - sizeof(void *) - sizeof(uint32_t)];
};

struct output_piece {
    struct output_piece *next;
    const uint8_t *data;
    size_t size;
    struct output_chunk *chunk; /* the chunk ends with this piece: back to the pool after it */
    struct message *message;    /* referenced; NULL for a piece of a chunk */
};

/** struct output_pool - free chunks and pieces; zero-initialised is empty */
struct output_pool {
    struct output_chunk *chunks;
    struct output_piece *pieces;
    unsigned chunk_count; /* free ones */
    unsigned piece_count;
};

struct output {
    struct output_pool *pool; /* borrowed */
    struct output_piece *first, *last;
    struct output_chunk *open; /* being filled; ends where `last` ends, or is NULL */
    size_t bytes;              /* waiting */
    uint64_t written_bytes;    /* ever */
    bool failed;
};

void output_pool_release(struct output_pool *pool);

static inline void output_init(struct output *output, struct output_pool *pool)
{
    *output = (struct output){ .pool = pool };
}

/** output_clear() - drop what waits */
void output_clear(struct output *output);

/** output_reserve_slow() - output_reserve() when the open chunk is too full or missing */
uint8_t *output_reserve_slow(struct output *output, size_t size);

/**
 * output_reserve() - room to write @size octets into; output_commit() makes them part of the output
 * @size: at most OUTPUT_RESERVE_BYTES
 *
 * Return: the place, or NULL when memory is out (the output has failed). Committing fewer octets is
 *         fine; nothing else may be called between the two.
 */
static inline uint8_t *output_reserve(struct output *output, size_t size)
{
    struct output_chunk *chunk = output->open;

    if (LIKELY(chunk && size <= sizeof chunk->data - chunk->used))
        return chunk->data + chunk->used;
    return output_reserve_slow(output, size);
}

/** output_commit() - the reserved octets up to @end have been written */
static inline void output_commit(struct output *output, const uint8_t *end)
{
    struct output_chunk *chunk = output->open;
    size_t size = (size_t)(end - (chunk->data + chunk->used));

    chunk->used += (uint32_t)size;
    output->last->size += size;
    output->bytes += size;
}

/** output_put() - append a copy */
void output_put(struct output *output, const void *data, size_t size);

/**
 * output_put_message() - append octets that lie inside @message
 *
 * Copied up to OUTPUT_COPY_BYTES; more is sent from where it is, and a reference taken until then.
 */
void output_put_message(struct output *output, struct message *message, const uint8_t *data,
                        size_t size);

/**
 * output_flush() - write until nothing is left or the transport takes no more
 *
 * Return: 0 when all is written; -EAGAIN; another -errno from the transport.
 */
int output_flush(struct output *output, struct transport *transport);

#endif

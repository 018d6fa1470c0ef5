/*
 * exchange_topic.c - binding keys with * (one word) and # (any number of words)
 *
 * Keys without wildcards are in a hash by key. The others are in a trie by words:
 *
 *   root -+- "eu" -- * -- "created"      eu.*.created
 *         +- # ----- "error"             #.error
 *
 * A node has one * child, one # child and any number of literal children; these are found through
 * one hash for the whole exchange, by parent and word, since a table for each node would cost far
 * more than the nodes. A node's hash continues its parent's, so that those of all nodes along a key
 * without wildcards follow from the key alone: in a trie that is larger than the processor's caches
 * they are fetched from memory together, not one after another.
 *
 * Matching keeps the set of nodes that the words so far can lead to, and replaces it by its
 * successors word by word. A node is in a set once, so that a message costs at most words times
 * nodes, however many # there are. The sets are lists through the nodes: no memory is needed.
 *
 * The empty key has no words; "." has two empty ones (amqp-0-9-1.md 9.4).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/exchange_types.h"
#include "broker/hash_table.h"
#include "broker/key_index.h"
#include "broker/route.h"

enum {
    FETCH_NODES_MIN = 4096, /* fewer literal nodes are in the caches anyway */
    FETCH_WORDS_MAX = 8,
};

enum node_kind { NODE_ROOT, NODE_LITERAL, NODE_STAR, NODE_HASH };

struct topic_node {
    struct hash_link by_edge;    /* of topic_index.edges, when literal; its hash is always set */
    struct topic_node *parent;
    struct topic_node *star, *hash;
    struct binding *bindings;    /* keys that end here: list by next_same */
    uint32_t children;           /* of every kind */
    uint32_t literal_children;
    uint64_t in_set;             /* the set that it was last put into */
    struct topic_node *set_next[2]; /* in the sets of even and odd numbers */
    enum node_kind kind;
    uint8_t word_bytes;
    char word[];
};

struct topic_index {
    struct key_index literals;
    struct topic_node *root;
    struct hash_table edges;
    uint64_t last_set; /* numbers sets for topic_node.in_set */
};

/* --- words --- */

struct words {
    const char *at, *end;
    bool more;
};

static struct words words_of(struct amqp_str key)
{
    return (struct words){ key.data, key.data + key.size, key.size > 0 };
}

static bool next_word(struct words *words, struct amqp_str *ret_word)
{
    size_t left = (size_t)(words->end - words->at);
    const char *dot;

    if (!words->more)
        return false;
    dot = left ? memchr(words->at, '.', left) : NULL;
    ret_word->data = words->at;
    ret_word->size = dot ? (size_t)(dot - words->at) : left;
    words->more = dot != NULL;
    words->at = dot ? dot + 1 : words->end;
    return true;
}

static enum node_kind word_kind(struct amqp_str word)
{
    if (word.size == 1 && word.data[0] == '*')
        return NODE_STAR;
    if (word.size == 1 && word.data[0] == '#')
        return NODE_HASH;
    return NODE_LITERAL;
}

static bool has_wildcards(struct amqp_str key)
{
    struct words words = words_of(key);
    struct amqp_str word;

    while (next_word(&words, &word)) {
        if (word_kind(word) != NODE_LITERAL)
            return true;
    }
    return false;
}

bool topic_match(struct amqp_str binding_key, struct amqp_str routing_key)
{
    struct words pattern = words_of(binding_key), text = words_of(routing_key);
    struct words retry_pattern = { 0 }, retry_text = { 0 };
    bool may_retry = false;

    for (;;) {
        struct words pattern_next = pattern, text_next = text;
        struct amqp_str want = { NULL, 0 }, word = { NULL, 0 };
        bool wanted = next_word(&pattern_next, &want), got = next_word(&text_next, &word);
        enum node_kind kind = word_kind(want);

        if (!wanted && !got)
            return true;
        if (wanted && kind == NODE_HASH) {
            /* Takes no word at first; after a mismatch behind it, one more. */
            pattern = retry_pattern = pattern_next;
            retry_text = text;
            may_retry = true;
        } else if (wanted && got && (kind == NODE_STAR || amqp_str_equal(want, word))) {
            pattern = pattern_next;
            text = text_next;
        } else if (may_retry && next_word(&retry_text, &word)) {
            pattern = retry_pattern;
            text = retry_text;
        } else {
            return false;
        }
    }
}

/* --- the trie --- */

static uint64_t child_hash(uint64_t parent_hash, uint64_t word_hash)
{
    return hash_mix(word_hash ^ parent_hash);
}

static struct topic_node *find_literal(const struct topic_index *index,
                                       const struct topic_node *parent, struct amqp_str word,
                                       uint64_t word_hash)
{
    struct hash_link *link =
        hash_table_first(&index->edges, child_hash(parent->by_edge.hash, word_hash));

    for (; link; link = hash_table_next(link)) {
        struct topic_node *node = CONTAINER_OF(link, struct topic_node, by_edge);

        if (node->parent == parent &&
            amqp_str_equal((struct amqp_str){ node->word, node->word_bytes }, word))
            return node;
    }
    return NULL;
}

static struct topic_node *find_child(const struct topic_index *index,
                                     const struct topic_node *parent, struct amqp_str word)
{
    switch (word_kind(word)) {
    case NODE_STAR:
        return parent->star;
    case NODE_HASH:
        return parent->hash;
    default:
        return find_literal(index, parent, word, hash_str(0, word));
    }
}

static struct topic_node *add_child(struct topic_index *index, struct topic_node *parent,
                                    struct amqp_str word)
{
    struct topic_node *node = calloc(1, sizeof *node + word.size);
    uint64_t hash = child_hash(parent->by_edge.hash, hash_str(0, word));

    if (!node)
        return NULL;
    assert(word.size <= UINT8_MAX);
    node->parent = parent;
    node->by_edge.hash = hash;
    node->kind = word_kind(word);
    node->word_bytes = (uint8_t)word.size;
    if (word.size)
        memcpy(node->word, word.data, word.size);
    if (node->kind == NODE_LITERAL) {
        if (hash_table_add(&index->edges, &node->by_edge, hash)) {
            free(node);
            return NULL;
        }
        parent->literal_children++;
    } else if (node->kind == NODE_STAR) {
        parent->star = node;
    } else {
        parent->hash = node;
    }
    parent->children++;
    return node;
}

/* Free @node and those above it that nothing needs any more; the root stays. */
static void prune(struct topic_index *index, struct topic_node *node)
{
    while (node->kind != NODE_ROOT && !node->bindings && node->children == 0) {
        struct topic_node *parent = node->parent;

        if (node->kind == NODE_LITERAL) {
            hash_table_remove(&index->edges, &node->by_edge);
            parent->literal_children--;
        } else if (node->kind == NODE_STAR) {
            parent->star = NULL;
        } else {
            parent->hash = NULL;
        }
        parent->children--;
        free(node);
        node = parent;
    }
}

static int trie_add(struct topic_index *index, struct binding *binding)
{
    struct words words = words_of(binding->key);
    struct topic_node *node = index->root;
    struct amqp_str word;

    while (next_word(&words, &word)) {
        struct topic_node *child = find_child(index, node, word);

        if (!child)
            child = add_child(index, node, word);
        if (!child) {
            prune(index, node);
            return -ENOMEM;
        }
        node = child;
    }
    binding->index = node;
    DL_APPEND2(node->bindings, binding, prev_same, next_same);
    return 0;
}

/* --- the sets of nodes that a message's words lead to --- */

struct node_set {
    uint64_t number;
    struct topic_node *first;
};

static struct node_set begin_set(struct topic_index *index)
{
    return (struct node_set){ .number = ++index->last_set };
}

/* With the # below it, which may take no word at all, and the one below that. */
static void add_to_set(struct node_set *set, struct topic_node *node)
{
    for (; node && node->in_set != set->number; node = node->hash) {
        node->in_set = set->number;
        node->set_next[set->number & 1] = set->first;
        set->first = node;
    }
}

static struct node_set follow_word(struct topic_index *index, const struct node_set *from,
                                   struct amqp_str word)
{
    struct node_set to = begin_set(index);
    uint64_t word_hash = hash_str(0, word);

    for (struct topic_node *node = from->first; node; node = node->set_next[from->number & 1]) {
        if (node->kind == NODE_HASH)
            add_to_set(&to, node);
        add_to_set(&to, node->star);
        if (node->literal_children)
            add_to_set(&to, find_literal(index, node, word, word_hash));
    }
    return to;
}

static int add_bindings(const struct binding *binding, struct route *route)
{
    int rc = 0;

    for (; binding && !rc; binding = binding->next_same)
        rc = route_add(route, binding->destination);
    return rc;
}

/* Begin to fetch the nodes that stand along @routing_key without wildcards. */
static void fetch_path(const struct topic_index *index, struct amqp_str routing_key)
{
    struct words words = words_of(routing_key);
    uint64_t path[FETCH_WORDS_MAX], hash = index->root->by_edge.hash;
    struct amqp_str word;
    size_t n = 0;

    while (n < FETCH_WORDS_MAX && next_word(&words, &word)) {
        hash = child_hash(hash, hash_str(0, word));
        hash_table_fetch_bucket(&index->edges, hash);
        path[n++] = hash;
    }
    for (size_t i = 0; i < n; i++)
        hash_table_fetch_first(&index->edges, path[i]);
}

static int trie_match(struct topic_index *index, struct amqp_str routing_key, struct route *route)
{
    struct words words = words_of(routing_key);
    struct node_set set = begin_set(index);
    struct amqp_str word;
    int rc = 0;

    if (index->edges.count >= FETCH_NODES_MIN)
        fetch_path(index, routing_key);
    add_to_set(&set, index->root);
    while (set.first && next_word(&words, &word))
        set = follow_word(index, &set, word);
    for (struct topic_node *node = set.first; node && !rc; node = node->set_next[set.number & 1])
        rc = add_bindings(node->bindings, route);
    return rc;
}

/* --- the type --- */

static struct topic_index *new_index(void)
{
    struct topic_index *index = calloc(1, sizeof *index);

    if (!index)
        return NULL;
    index->root = calloc(1, sizeof *index->root);
    if (!index->root) {
        free(index);
        return NULL;
    }
    return index;
}

static int topic_bind(struct exchange *exchange, struct binding *binding)
{
    struct topic_index *index;

    if (!exchange->index)
        exchange->index = new_index();
    index = exchange->index;
    if (!index)
        return -ENOMEM;
    return has_wildcards(binding->key) ? trie_add(index, binding)
                                       : key_index_add(&index->literals, binding);
}

static void topic_unbind(struct exchange *exchange, struct binding *binding)
{
    struct topic_index *index = exchange->index;
    struct topic_node *node = binding->index;

    if (!has_wildcards(binding->key)) {
        key_index_remove(&index->literals, binding);
        return;
    }
    DL_DELETE2(node->bindings, binding, prev_same, next_same);
    prune(index, node);
}

static int topic_match_all(struct exchange *exchange, struct amqp_str routing_key,
                           struct route *route)
{
    struct topic_index *index = exchange->index;
    int rc;

    if (!index)
        return 0;
    rc = add_bindings(key_index_find(&index->literals, routing_key), route);
    if (!rc && index->root->children)
        rc = trie_match(index, routing_key, route);
    return rc;
}

static void topic_release(struct exchange *exchange)
{
    struct topic_index *index = TAKE(exchange->index);

    if (!index)
        return;
    assert(index->root->children == 0 && index->literals.keys.count == 0);
    free(index->root);
    free(index);
}

const struct exchange_type exchange_topic = {
    .name = "topic",
    .by_key = true,
    .bind = topic_bind,
    .unbind = topic_unbind,
    .match = topic_match_all,
    .release = topic_release,
};

/*
 * exchange_topic.c - binding keys with * (one word) and # (any number of words)
 *
 * Binding keys are in a trie by words:
 *
 *   root -+- "eu" -- * -+- "created"     eu.*.created
 *         |             +- "deleted"     eu.*.deleted
 *         +- "us.*.created"              us.*.created, a leaf
 *         +- # -------- "error"          #.error, as long as there is #.something else
 *
 * A node has one * edge, one # edge and any number of literal edges; these are found through one
 * hash for the whole exchange, by parent and word, since a table for each node would cost far more
 * than the nodes.
 *
 * An edge leads to a node only where keys part or one of several ends. A key that goes on alone has
 * its binding itself at the edge, as a leaf, and the words from that edge on are compared with the
 * message's. So whatever the number of bindings, a key is found at the cost of two visits to cold
 * memory: the edge and the binding. Below a # a message may come to a leaf once for each of its
 * words, so that what has a second # has nodes there: what a leaf is compared with is then bounded
 * by its own words, and matches once.
 *
 * Matching keeps the set of nodes that the words so far can lead to, and replaces it by its
 * successors word by word. A node is in a set once, so that a message costs at most its words times
 * the words of all binding keys, however many # there are. The sets are lists through the nodes: no
 * memory is needed.
 *
 * Each of those visits takes as long as all else that a message costs. So for messages that have
 * been received the way through the trie is walked word by word for all of them at once, before
 * their turn, only to begin to fetch what is there: they wait together (topic_fetch).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/exchange_types.h"
#include "broker/hash_table.h"
#include "broker/route.h"
#include "broker/topic_edges.h"
#include "broker/topic_words.h"

enum {
    LARGE_EDGES_MIN = 4096, /* fewer literal edges are in the caches anyway */
    AHEAD_WORDS_MAX = 8,
    AHEAD_NODES_MAX = 4,
};

struct topic_node {
    struct topic_edge star, hash;
    uint64_t path;               /* hash of the words that lead here */
    struct binding *bindings;    /* keys that end here: list by next_same */
    uint32_t children;           /* edges of every kind */
    uint32_t literal_children;
    uint64_t in_set;             /* the set that it was last put into */
    struct topic_node *set_next[2]; /* in the sets of even and odd numbers */
    struct topic_node *parent;   /* NULL: the root */
    enum word_kind kind;
    bool below_hash;             /* or it is one */
    uint16_t prefix_bytes;       /* of binding keys: where words of its edges begin */
    uint8_t word_bytes;
    char word[];
};

/* In every list of bindings by next_same the first one's `index` is the node whose list, or whose
 * edge, it is. */
struct topic_index {
    struct topic_node *root;
    struct topic_edges edges;
    uint64_t last_set; /* numbers sets for topic_node.in_set */
};

/* --- edges --- */

static uint64_t child_path(uint64_t parent_path, uint64_t word_hash)
{
    return hash_mix(word_hash ^ parent_path);
}

/* Of the leaf's key, from the word of the edge on that leads to it. */
static struct words leaf_words(const struct topic_node *parent, const struct binding *leaf)
{
    return (struct words){ leaf->key.data + parent->prefix_bytes, leaf->key.data + leaf->key.size,
                           true };
}

static bool leaf_begins(const struct topic_node *parent, const struct binding *leaf,
                        struct amqp_str word)
{
    struct words words = leaf_words(parent, leaf);
    size_t left = (size_t)(words.end - words.at);

    return leaf->index == parent && left >= word.size &&
           (left == word.size || words.at[word.size] == '.') &&
           (word.size == 0 || memcmp(words.at, word.data, word.size) == 0);
}

static bool edge_is(const struct topic_edge *edge, const struct topic_node *parent,
                    struct amqp_str word)
{
    const struct topic_node *node = edge->node;

    if (edge->kind == TOPIC_EDGE_LEAF) {
        __builtin_prefetch(edge->leaf + 1); /* its key, while its fields are waited for */
        return leaf_begins(parent, edge->leaf, word);
    }
    return node->parent == parent &&
           amqp_str_equal((struct amqp_str){ node->word, node->word_bytes }, word);
}

static struct topic_edge *find_literal(const struct topic_index *index,
                                       const struct topic_node *parent, struct amqp_str word,
                                       uint64_t word_hash)
{
    struct topic_edge *edge =
        topic_edges_first(&index->edges, (uint32_t)child_path(parent->path, word_hash));

    while (edge && !edge_is(edge, parent, word))
        edge = topic_edges_next(&index->edges, edge);
    return edge;
}

/* The * or # edge if @word is that; NULL for a literal word. */
static struct topic_edge *wild_edge(struct topic_node *parent, struct amqp_str word)
{
    switch (word_kind(word)) {
    case WORD_STAR:
        return &parent->star;
    case WORD_HASH:
        return &parent->hash;
    case WORD_LITERAL:
        break;
    }
    return NULL;
}

/* NULL if there is none. */
static struct topic_edge *find_edge(const struct topic_index *index, struct topic_node *parent,
                                    struct amqp_str word)
{
    struct topic_edge *edge = wild_edge(parent, word);

    if (!edge)
        return find_literal(index, parent, word, hash_str(0, word));
    return edge->kind != TOPIC_EDGE_NONE ? edge : NULL;
}

/* The caller fills it at once. NULL without memory. */
static struct topic_edge *add_edge(struct topic_index *index, struct topic_node *parent,
                                   struct amqp_str word)
{
    struct topic_edge *edge = wild_edge(parent, word);

    if (!edge) {
        edge = topic_edges_add(&index->edges,
                               (uint32_t)child_path(parent->path, hash_str(0, word)));
        if (!edge)
            return NULL;
        parent->literal_children++;
    }
    assert(edge->kind == TOPIC_EDGE_NONE);
    parent->children++;
    return edge;
}

static void remove_edge(struct topic_index *index, struct topic_node *parent,
                        struct topic_edge *edge)
{
    parent->children--;
    if (edge == &parent->star || edge == &parent->hash) {
        edge->kind = TOPIC_EDGE_NONE;
        return;
    }
    parent->literal_children--;
    topic_edges_remove(&index->edges, edge);
}

/* --- the trie --- */

/* No edge leads to it yet. */
static struct topic_node *new_node(struct topic_node *parent, struct amqp_str word)
{
    struct topic_node *node = calloc(1, sizeof *node + word.size);

    if (!node)
        return NULL;
    assert(word.size <= UINT8_MAX);
    node->parent = parent;
    node->path = child_path(parent->path, hash_str(0, word));
    node->kind = word_kind(word);
    node->below_hash = parent->below_hash || node->kind == WORD_HASH;
    node->prefix_bytes = (uint16_t)(parent->prefix_bytes + word.size + 1);
    node->word_bytes = (uint8_t)word.size;
    if (word.size)
        memcpy(node->word, word.data, word.size);
    return node;
}

/* Free @node and those above it that nothing needs any more; @last stays. */
static void prune(struct topic_index *index, struct topic_node *node, const struct topic_node *last)
{
    while (node != last && !node->bindings && node->children == 0) {
        struct topic_node *parent = node->parent;
        struct amqp_str word = { node->word, node->word_bytes };

        remove_edge(index, parent, find_edge(index, parent, word));
        free(node);
        node = parent;
    }
}

static bool have_hash(struct words words)
{
    struct amqp_str word;

    while (next_word(&words, &word)) {
        if (word_kind(word) == WORD_HASH)
            return true;
    }
    return false;
}

/* Below @top, with @words to go, where no edge has the first of them; 0 or -ENOMEM. */
static int hang(struct topic_index *index, struct topic_node *top, struct words words,
                struct binding *bindings)
{
    struct topic_node *node = top;
    struct words rest = words;
    struct amqp_str word;

    for (; next_word(&rest, &word); words = rest) {
        bool leaf = !node->below_hash || !have_hash(words);
        struct topic_node *child = leaf ? NULL : new_node(node, word);
        struct topic_edge *edge = leaf || child ? add_edge(index, node, word) : NULL;

        if (!edge) {
            free(child);
            prune(index, node, top);
            return -ENOMEM;
        }
        if (leaf) {
            *edge = (struct topic_edge){ edge->hash, TOPIC_EDGE_LEAF, { .leaf = bindings } };
            bindings->index = node;
            return 0;
        }
        *edge = (struct topic_edge){ edge->hash, TOPIC_EDGE_NODE, { .node = child } };
        node = child;
    }
    node->bindings = bindings;
    bindings->index = node;
    return 0;
}

/* Only these have edges in the table. */
static size_t count_literals(struct words words)
{
    struct amqp_str word;
    size_t n = 0;

    while (next_word(&words, &word))
        n += word_kind(word) == WORD_LITERAL;
    return n;
}

/*
 * Put a node where the leaf at @parent's edge @word was, and the leaf below it; 0 or -ENOMEM. What
 * is reserved for the words behind @word may stay unused: the last of them can be a leaf's own.
 */
static int split_edge(struct topic_index *index, struct topic_node *parent, struct amqp_str word)
{
    struct binding *leaf = find_edge(index, parent, word)->leaf;
    struct words words = leaf_words(parent, leaf);
    struct topic_edge *edge;
    struct topic_node *node;

    if (!topic_edges_reserve(&index->edges, count_literals(words)))
        return -ENOMEM;
    edge = find_edge(index, parent, word); /* stays where it is while there is room */
    node = new_node(parent, word);
    if (!node)
        return -ENOMEM;
    (void)next_word(&words, &word);
    if (hang(index, node, words, leaf)) {
        free(node);
        return -ENOMEM;
    }
    *edge = (struct topic_edge){ edge->hash, TOPIC_EDGE_NODE, { .node = node } };
    return 0;
}

static int split_leaf(struct topic_index *index, struct topic_node *parent, struct amqp_str word)
{
    int rc = split_edge(index, parent, word);

    topic_edges_trim(&index->edges);
    return rc;
}

static int topic_bind_key(struct topic_index *index, struct binding *binding)
{
    struct words words = words_of(binding->key), rest = words;
    struct topic_node *node = index->root;
    struct amqp_str word;

    for (; next_word(&rest, &word); words = rest) {
        struct topic_edge *edge = find_edge(index, node, word);

        if (!edge) {
            struct binding *bindings = NULL;

            DL_APPEND2(bindings, binding, prev_same, next_same);
            return hang(index, node, words, bindings);
        }
        if (edge->kind == TOPIC_EDGE_LEAF) {
            if (amqp_str_equal(edge->leaf->key, binding->key)) {
                DL_APPEND2(edge->leaf, binding, prev_same, next_same);
                return 0;
            }
            if (split_leaf(index, node, word))
                return -ENOMEM;
            edge = find_edge(index, node, word);
        }
        node = edge->node;
    }
    DL_APPEND2(node->bindings, binding, prev_same, next_same);
    return 0;
}

static void topic_unbind_key(struct topic_index *index, struct binding *binding)
{
    struct words words = words_of(binding->key);
    struct topic_node *node = index->root;
    struct topic_edge *edge = NULL;
    struct binding **bindings;
    struct amqp_str word;

    while (next_word(&words, &word)) {
        edge = find_edge(index, node, word);
        assert(edge);
        if (edge->kind == TOPIC_EDGE_LEAF)
            break;
        node = edge->node;
        edge = NULL;
    }
    bindings = edge ? &edge->leaf : &node->bindings;
    DL_DELETE2(*bindings, binding, prev_same, next_same);
    if (*bindings) {
        (*bindings)->index = node;
        return;
    }
    if (edge)
        remove_edge(index, node, edge);
    prune(index, node, index->root);
}

/* --- the sets of nodes that a message's words lead to --- */

struct node_set {
    uint64_t number;
    struct topic_node *first;
};

struct match {
    struct topic_index *index;
    struct route *route;
    struct words rest; /* of the routing key: those that the set of nodes has not taken */
};

static struct node_set begin_set(struct topic_index *index)
{
    return (struct node_set){ .number = ++index->last_set };
}

static int add_bindings(const struct binding *binding, struct route *route)
{
    int rc = 0;

    for (; binding && !rc; binding = binding->next_same)
        rc = route_add(route, binding->destination);
    return rc;
}

/* @text: what is left of the routing key for the word of the edge to the leaf and those behind it */
static int match_leaf(struct match *match, const struct topic_node *parent,
                      const struct binding *leaf, struct words text)
{
    return words_match(leaf_words(parent, leaf), text) ? add_bindings(leaf, match->route) : 0;
}

/* With what its # edge leads to, which may take no word at all. */
static int add_to_set(struct match *match, struct node_set *set, struct topic_node *node)
{
    while (node->in_set != set->number) {
        node->in_set = set->number;
        node->set_next[set->number & 1] = set->first;
        set->first = node;
        switch (node->hash.kind) {
        case TOPIC_EDGE_NONE:
            return 0;
        case TOPIC_EDGE_LEAF:
            return match_leaf(match, node, node->hash.leaf, match->rest);
        case TOPIC_EDGE_NODE:
            node = node->hash.node;
        }
    }
    return 0;
}

static int follow_edge(struct match *match, struct node_set *to, const struct topic_node *parent,
                       const struct topic_edge *edge, struct words text)
{
    switch (edge->kind) {
    case TOPIC_EDGE_NONE:
        return 0;
    case TOPIC_EDGE_LEAF:
        return match_leaf(match, parent, edge->leaf, text);
    case TOPIC_EDGE_NODE:
        break;
    }
    return add_to_set(match, to, edge->node);
}

/* @text: begins with @word, behind which is match->rest */
static int follow_word(struct match *match, struct node_set *set, struct amqp_str word,
                       struct words text)
{
    struct node_set to = begin_set(match->index);
    uint64_t word_hash = hash_str(0, word), number = set->number;
    int rc = 0;

    for (struct topic_node *node = set->first; node && !rc; node = node->set_next[number & 1]) {
        if (node->kind == WORD_HASH)
            rc = add_to_set(match, &to, node);
        if (!rc)
            rc = follow_edge(match, &to, node, &node->star, text);
        if (!rc && node->literal_children) {
            const struct topic_edge *edge = find_literal(match->index, node, word, word_hash);

            if (edge)
                rc = follow_edge(match, &to, node, edge, text);
        }
    }
    *set = to;
    return rc;
}

static int match_key(struct topic_index *index, struct amqp_str routing_key, struct route *route)
{
    struct match match = { index, route, words_of(routing_key) };
    struct node_set set = begin_set(index);
    struct words text = match.rest;
    struct amqp_str word;
    int rc;

    rc = add_to_set(&match, &set, index->root);
    for (; set.first && !rc && next_word(&match.rest, &word); text = match.rest)
        rc = follow_word(&match, &set, word, text);
    for (struct topic_node *node = set.first; node && !rc; node = node->set_next[set.number & 1])
        rc = add_bindings(node->bindings, route);
    return rc;
}

/* --- what is cold is fetched for several messages together --- */

/* Where the first words of a key may lead. Leaving out some costs time, nothing else. */
struct ahead {
    struct words rest;
    uint64_t word_hash; /* of the word in front of them, which is being followed */
    const struct topic_node *nodes[AHEAD_NODES_MAX];
    size_t n_nodes;
};

static const struct topic_edge *ahead_edge(const struct topic_index *index,
                                           const struct topic_node *node, uint64_t word_hash)
{
    return node->literal_children ? topic_edges_first(&index->edges,
                                                      (uint32_t)child_path(node->path, word_hash))
                                  : NULL;
}

/* The nodes have come: fetch the edges of the next word. */
static void ahead_fetch_edges(const struct topic_index *index, struct ahead *ahead)
{
    struct amqp_str word;

    if (ahead->n_nodes == 0 || !next_word(&ahead->rest, &word)) {
        ahead->n_nodes = 0;
        return;
    }
    ahead->word_hash = hash_str(0, word);
    for (size_t i = 0; i < ahead->n_nodes; i++) {
        const struct topic_node *node = ahead->nodes[i];

        if (node->hash.kind == TOPIC_EDGE_NODE && ahead->n_nodes < AHEAD_NODES_MAX)
            ahead->nodes[ahead->n_nodes++] = node->hash.node; /* # takes no word */
        if (node->literal_children)
            topic_edges_fetch(&index->edges, (uint32_t)child_path(node->path, ahead->word_hash));
    }
}

/* Fetch what an edge leads to. */
static void ahead_follow(struct ahead *ahead, const struct topic_edge *edge)
{
    if (edge->kind == TOPIC_EDGE_LEAF) {
        __builtin_prefetch(&edge->leaf->next_same);
        __builtin_prefetch(edge->leaf + 1); /* its key */
    } else if (edge->kind == TOPIC_EDGE_NODE && ahead->n_nodes < AHEAD_NODES_MAX) {
        __builtin_prefetch(edge->node);
        __builtin_prefetch(&edge->node->parent);
        ahead->nodes[ahead->n_nodes++] = edge->node;
    }
}

/* The edges have come: go along them. */
static void ahead_fetch_nodes(const struct topic_index *index, struct ahead *ahead)
{
    struct ahead from = *ahead;

    ahead->n_nodes = 0;
    for (size_t i = 0; i < from.n_nodes; i++) {
        const struct topic_node *node = from.nodes[i];
        const struct topic_edge *edge = ahead_edge(index, node, from.word_hash);

        if (node->kind == WORD_HASH && ahead->n_nodes < AHEAD_NODES_MAX)
            ahead->nodes[ahead->n_nodes++] = node;
        ahead_follow(ahead, &node->star);
        if (edge)
            ahead_follow(ahead, edge);
    }
}

static void topic_fetch(struct exchange *exchange, const struct amqp_str *keys, size_t n_keys)
{
    const struct topic_index *index = exchange->index;
    struct ahead ahead[FETCH_KEYS_MAX];

    assert(n_keys <= FETCH_KEYS_MAX);
    for (size_t i = 0; i < n_keys; i++) {
        ahead[i].rest = words_of(keys[i]);
        ahead[i].nodes[0] = index->root;
        ahead[i].n_nodes = 1;
    }
    for (size_t n = 0; n < AHEAD_WORDS_MAX; n++) {
        for (size_t i = 0; i < n_keys; i++)
            ahead_fetch_edges(index, &ahead[i]);
        for (size_t i = 0; i < n_keys; i++)
            ahead_fetch_nodes(index, &ahead[i]);
    }
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

static void note_size(struct exchange *exchange)
{
    const struct topic_index *index = exchange->index;

    exchange->fetch_ahead = index->edges.count >= LARGE_EDGES_MIN;
}

static int topic_bind(struct exchange *exchange, struct binding *binding)
{
    int rc;

    if (!exchange->index)
        exchange->index = new_index();
    if (!exchange->index)
        return -ENOMEM;
    rc = topic_bind_key(exchange->index, binding);
    note_size(exchange);
    return rc;
}

static void topic_unbind(struct exchange *exchange, struct binding *binding)
{
    topic_unbind_key(exchange->index, binding);
    note_size(exchange);
}

static int topic_match_all(struct exchange *exchange, struct amqp_str routing_key,
                           struct route *route)
{
    return exchange->index ? match_key(exchange->index, routing_key, route) : 0;
}

static void topic_release(struct exchange *exchange)
{
    struct topic_index *index = TAKE(exchange->index);

    if (!index)
        return;
    assert(index->root->children == 0 && !index->root->bindings && index->edges.count == 0);
    free(index->root);
    free(index);
}

const struct exchange_type exchange_topic = {
    .name = "topic",
    .by_key = true,
    .bind = topic_bind,
    .unbind = topic_unbind,
    .match = topic_match_all,
    .fetch = topic_fetch,
    .release = topic_release,
};

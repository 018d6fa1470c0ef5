/*
 * test_topic.c - topic exchanges against the observed table, and against a naive matcher
 */
#include "topology_fixture.h"
#include "unit.h"

/* amqp-0-9-1.md 9.4: what a real broker does, as rows of a routing key and what it matches. */
static const char *const binding_keys[] = {
    "a.b", "a.*",  "a.#", "#",     "*",   "*.*", "#.b", "a.#.b",
    "",    "a..b", "*.#", "a.*.#", "#.#", "#.*", "..",
};

static const struct {
    const char *routing_key;
    const char *matches; /* separated by blanks; the empty key is written as <> */
} observed[] = {
    { "a.b", "a.b a.* a.# # *.* #.b a.#.b *.# a.*.# #.# #.*" },
    { "a", "a.# # * *.# #.# #.*" },
    { "", "# <> #.#" },
    { "a.b.c", "a.# # *.# a.*.# #.# #.*" },
    { "a..b", "a.# # #.b a.#.b a..b *.# a.*.# #.# #.*" },
    { ".", "# *.* *.# #.# #.*" },
    { "a.", "a.* a.# # *.* *.# a.*.# #.# #.*" },
    { ".b", "# *.* #.b *.# #.# #.*" },
    { "b", "# * #.b *.# #.# #.*" },
    { "A.B", "# *.* *.# #.# #.*" },
};

static bool is_listed(const char *list, const char *binding_key)
{
    const char *wanted = binding_key[0] ? binding_key : "<>";
    size_t size = strlen(wanted);

    for (const char *at = list; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL) {
        if (strncmp(at, wanted, size) == 0 && (at[size] == ' ' || at[size] == '\0'))
            return true;
    }
    return false;
}

static bool is_routed(const char *queue_name)
{
    for (size_t i = 0; i < broker->route.n_queues; i++) {
        if (strcmp(broker->route.queues[i]->destination.name.data, queue_name) == 0)
            return true;
    }
    return false;
}

START_TEST(test_routing_key_matches_what_was_observed)
{
    char name[64];

    for (size_t i = 0; i < N_ELEMENTS(binding_keys); i++) {
        snprintf(name, sizeof name, "q:%s", binding_keys[i]);
        add(to_queue("amq.topic", name, binding_keys[i]));
    }
    for (int again = 0; again < 3; again++) { /* the third time it is recalled */
        route("amq.topic", observed[_i].routing_key);
        for (size_t i = 0; i < N_ELEMENTS(binding_keys); i++) {
            snprintf(name, sizeof name, "q:%s", binding_keys[i]);
            ck_assert_msg(is_routed(name) == is_listed(observed[_i].matches, binding_keys[i]),
                          "'%s' and '%s'", observed[_i].routing_key, binding_keys[i]);
        }
    }
}
END_TEST

START_TEST(test_topic_match_agrees_with_what_was_observed)
{
    for (size_t i = 0; i < N_ELEMENTS(binding_keys); i++)
        ck_assert_msg(topic_match(amqp_str_from(binding_keys[i]),
                                  amqp_str_from(observed[_i].routing_key)) ==
                          is_listed(observed[_i].matches, binding_keys[i]),
                      "'%s' and '%s'", observed[_i].routing_key, binding_keys[i]);
}
END_TEST

static const struct {
    const char *binding_key, *routing_key;
    bool match;
} odd_case[] = {
    { "*.stock.#", "usd.stock", true },      { "*.stock.#", "eur.stock.db", true },
    { "*.stock.#", "stock.nasdaq", false },  { "a.b*", "a.bc", false },
    { "a.b*", "a.b*", true },                { "a.**", "a.b", false },
    { "a.**", "a.**", true },                { "*.b", "#.b", true },
    { "a.b", "a.*", false },                 { "a.#.#.b", "a.b", true },
    { "#.a.#.b.#", "x.a.y.b", true },        { "#.a.#.b.#", "x.b.y.a", false },
    { "#.*.#", "", false },                  { "#.*.#", "a", true },
    { "#.a", "a.b.a.a", true },              { "..", "..", true },
    { "..", ".", false },                    { "*.*.*", "..", true },
    { "#.a.*", "a.a.a.b", true },            { "#.a.*.c", "a.a.c.a.c", false },
    { "#.a.#", "a.a.a", true },              { "#.a.#.b.*", "a.b.b.c.b.d", true },
};

START_TEST(test_odd_keys_match_as_words)
{
    struct amqp_str binding_key = amqp_str_from(odd_case[_i].binding_key);

    add(to_queue("amq.topic", "q", odd_case[_i].binding_key));
    ck_assert_str_eq(route("amq.topic", odd_case[_i].routing_key), odd_case[_i].match ? "q" : "");
    ck_assert_int_eq(topic_match(binding_key, amqp_str_from(odd_case[_i].routing_key)),
                     odd_case[_i].match);
}
END_TEST

/* Word by word, as the definition says; its cost may explode, so keys are short. */
static bool naive_match(const char *const *want, size_t n_want, const char *const *words,
                        size_t n_words)
{
    if (n_want == 0)
        return n_words == 0;
    if (strcmp(want[0], "#") == 0)
        return naive_match(want + 1, n_want - 1, words, n_words) ||
               (n_words && naive_match(want, n_want, words + 1, n_words - 1));
    if (n_words == 0 || (strcmp(want[0], "*") != 0 && strcmp(want[0], words[0]) != 0))
        return false;
    return naive_match(want + 1, n_want - 1, words + 1, n_words - 1);
}

/* Makes no difference; here even where there is little to fetch. */
static void fetch(const char *source, const char *routing_key)
{
    struct amqp_str keys[FETCH_KEYS_MAX];

    for (size_t i = 0; i < N_ELEMENTS(keys); i++)
        keys[i] = amqp_str_from(routing_key);
    route_fetch(get_exchange(source), keys, N_ELEMENTS(keys));
}

enum { KEY_WORDS_MAX = 5, RANDOM_BINDINGS = 60, RANDOM_KEYS = 300 };

struct random_key {
    const char *words[KEY_WORDS_MAX];
    size_t n_words;
    char text[32];
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static struct random_key random_key(uint32_t *state, const char *const *alphabet, size_t n)
{
    struct random_key key = { .n_words = next_random(state) % (KEY_WORDS_MAX + 1) };

    for (size_t i = 0; i < key.n_words; i++) {
        key.words[i] = alphabet[next_random(state) % n];
        strcat(strcat(key.text, i ? "." : ""), key.words[i]);
    }
    if (key.n_words == 1 && !key.text[0])
        key.n_words = 0; /* one empty word cannot be written */
    return key;
}

START_TEST(test_random_bindings_match_as_the_definition_says)
{
    static const char *const want_words[] = { "a", "b", "", "*", "#", "#" };
    static const char *const key_words[] = { "a", "b", "", "*", "c" };
    struct random_key bound[RANDOM_BINDINGS];
    bool present[RANDOM_BINDINGS];
    uint32_t state = (uint32_t)_i;
    char name[16];

    for (size_t i = 0; i < N_ELEMENTS(bound); i++) {
        bound[i] = random_key(&state, want_words, N_ELEMENTS(want_words));
        snprintf(name, sizeof name, "%zu", i);
        add(to_queue("amq.topic", name, bound[i].text));
        present[i] = true;
    }
    for (size_t n = 0; n < RANDOM_KEYS; n++) {
        struct random_key key = random_key(&state, key_words, N_ELEMENTS(key_words));
        size_t change = next_random(&state) % N_ELEMENTS(bound);

        snprintf(name, sizeof name, "%zu", change);
        if (present[change])
            take_away(to_queue("amq.topic", name, bound[change].text));
        else
            add(to_queue("amq.topic", name, bound[change].text));
        present[change] = !present[change];
        fetch("amq.topic", key.text);
        route("amq.topic", key.text);
        for (size_t i = 0; i < N_ELEMENTS(bound); i++) {
            bool match = naive_match(bound[i].words, bound[i].n_words, key.words, key.n_words);

            snprintf(name, sizeof name, "%zu", i);
            ck_assert_msg(is_routed(name) == (match && present[i]), "'%s' and '%s'",
                          bound[i].text, key.text);
            ck_assert_int_eq(topic_match(amqp_str_from(bound[i].text), amqp_str_from(key.text)),
                             match);
        }
    }
}
END_TEST

/* Trying every split of 127 words over 60 # would outlive the universe. */
START_TEST(test_many_hashes_cost_little)
{
    char binding_key[256] = "", routing_key[256] = "";

    for (int i = 0; i < 60; i++)
        strcat(binding_key, "#.a.");
    strcat(binding_key, "b");
    for (int i = 0; i < 126; i++)
        strcat(routing_key, "a.");
    strcat(routing_key, "c");
    add(to_queue("amq.topic", "q", binding_key));
    ck_assert_str_eq(route("amq.topic", routing_key), "");
    ck_assert(!topic_match(amqp_str_from(binding_key), amqp_str_from(routing_key)));
    routing_key[strlen(routing_key) - 1] = 'b';
    ck_assert_str_eq(route("amq.topic", routing_key), "q");
    ck_assert(topic_match(amqp_str_from(binding_key), amqp_str_from(routing_key)));
}
END_TEST

START_TEST(test_key_of_255_dots_has_256_words)
{
    char routing_key[256];

    memset(routing_key, '.', 255);
    routing_key[255] = '\0';
    add(to_queue("amq.topic", "q", "#.*"));
    fetch("amq.topic", routing_key);
    ck_assert_str_eq(route("amq.topic", routing_key), "q");
}
END_TEST

/* Keys that part late are split word by word; what stays finds its way when the others go. */
START_TEST(test_keys_that_part_late_are_told_apart)
{
    static const char *const keys[] = {
        "a.b.c.d.e", "a.b.c.d.f", "a.b.c.d",     "a.b.*.d.e", "a.b.*.d.#",     "a.b.*.d.",
        "#.x.y.z",   "#.x.y.w",   "#.x.y.z.#",   "a.b.#.d.e", "a.b.#.d.#.e.f", "a..",
        "a.",        "a",         "*.b.c.d.e",   "*.b.c.d.#", "..",            "#",
        "#.y.*",     "#.y.#",     "#.y.*.#.z",   "#.*.y",     "#.#.y",
    };
    static const char *const routing_keys[] = {
        "a.b.c.d.e", "a.b.c.d.f", "a.b.c.d", "a.b.c.d.", "a.b.d.e.f", "a.b.d.x.e.f",
        "x.y.z",     "q.x.y.z",   "x.y.w",   "a..",      "a.",        "a", "..", "",
    };
    bool present[N_ELEMENTS(keys)] = { false };

    for (size_t n = 0; n < 2 * N_ELEMENTS(keys); n++) {
        size_t change = (n * 7 + (size_t)_i) % N_ELEMENTS(keys);

        (present[change] ? take_away : add)(to_queue("amq.topic", keys[change], keys[change]));
        present[change] = !present[change];
        for (size_t k = 0; k < N_ELEMENTS(routing_keys); k++) {
            route("amq.topic", routing_keys[k]);
            for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                ck_assert_msg(is_routed(keys[i]) ==
                                  (present[i] && topic_match(amqp_str_from(keys[i]),
                                                             amqp_str_from(routing_keys[k]))),
                              "'%s' and '%s'", keys[i], routing_keys[k]);
        }
    }
}
END_TEST

/* The first of several bindings of one key goes first, as leaves and at a node. */
START_TEST(test_bindings_of_one_key_go_in_any_order)
{
    static const char *const keys[] = { "a.*.c", "a.b", "#.z" };

    for (int with_neighbours = 0; with_neighbours < 2; with_neighbours++) {
        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
            add(to_queue("amq.topic", "1", keys[i]));
            add(to_queue("amq.topic", "2", keys[i]));
            add(to_queue("amq.topic", "3", keys[i]));
        }
        if (with_neighbours) {
            add(to_queue("amq.topic", "n", "a.*.c.d"));
            add(to_queue("amq.topic", "n", "a.b.c.d"));
            add(to_queue("amq.topic", "n", "#.z.y"));
        }
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
            take_away(to_queue("amq.topic", "1", keys[i]));
        ck_assert_str_eq(route("amq.topic", "a.x.c"), "2 3");
        ck_assert_str_eq(route("amq.topic", "a.b"), "2 3");
        ck_assert_str_eq(route("amq.topic", "x.z"), "2 3");
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
            take_away(to_queue("amq.topic", "3", keys[i]));
        ck_assert_str_eq(route("amq.topic", "a.x.c"), "2");
        ck_assert_str_eq(route("amq.topic", "a.b"), "2");
        ck_assert_str_eq(route("amq.topic", "x.z"), "2");
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
            take_away(to_queue("amq.topic", "2", keys[i]));
        ck_assert_str_eq(route("amq.topic", "a.x.c"), "");
        ck_assert_str_eq(route("amq.topic", "a.b"), "");
        ck_assert_str_eq(route("amq.topic", "x.z"), "");
    }
}
END_TEST

START_TEST(test_hundred_thousand_bindings_come_and_go)
{
    enum { N = 100000 };
    char key[64];

    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, i % 2 ? "device.%d.state" : "device.%d.*", i);
        add(to_queue("amq.topic", "q", key));
    }
    ck_assert_uint_eq(get_exchange("amq.topic")->binding_count, N);
    ck_assert(get_exchange("amq.topic")->fetch_ahead);
    ck_assert_str_eq(route("amq.topic", "device.50000.x"), "q");
    ck_assert_str_eq(route("amq.topic", "device.50001.x"), "");
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, i % 2 ? "device.%d.state" : "device.%d.*", i);
        take_away(to_queue("amq.topic", "q", key));
    }
    ck_assert_uint_eq(get_exchange("amq.topic")->binding_count, 0);
    ck_assert(!get_exchange("amq.topic")->fetch_ahead);
    ck_assert_str_eq(route("amq.topic", "device.50000.x"), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topic");
    TCase *tcase = tcase_create("topic");

    tcase_add_checked_fixture(tcase, topology_setup, topology_teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_routing_key_matches_what_was_observed, 0,
                        N_ELEMENTS(observed));
    tcase_add_loop_test(tcase, test_topic_match_agrees_with_what_was_observed, 0,
                        N_ELEMENTS(observed));
    tcase_add_loop_test(tcase, test_odd_keys_match_as_words, 0, N_ELEMENTS(odd_case));
    tcase_add_loop_test(tcase, test_random_bindings_match_as_the_definition_says, 0, 20);
    tcase_add_test(tcase, test_many_hashes_cost_little);
    tcase_add_test(tcase, test_key_of_255_dots_has_256_words);
    tcase_add_loop_test(tcase, test_keys_that_part_late_are_told_apart, 0, 8);
    tcase_add_test(tcase, test_bindings_of_one_key_go_in_any_order);
    tcase_add_test(tcase, test_hundred_thousand_bindings_come_and_go);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

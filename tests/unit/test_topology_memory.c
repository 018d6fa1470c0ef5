/*
 * test_topology_memory.c - what is declared, bound and deleted again leaves no memory behind
 *
 * Every round declares and deletes the same things; from the second round on, the octets that are
 * allocated after each must be the same. So the test fails for memory that is lost, and for memory
 * that something still points to but that grows. Octets are counted by functions in place of the C
 * library's, or by the sanitizer, which also looks for what nothing points to.
 */
#include <malloc.h>

#include "peer_fixture.h"
#include "unit.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_SANITIZER 1
#endif

#ifdef HAVE_SANITIZER
size_t __sanitizer_get_current_allocated_bytes(void);

static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *block);

static size_t octets; /* one thread */

static size_t allocated(void)
{
    return octets;
}

static void *note(void *block)
{
    octets += malloc_usable_size(block);
    return block;
}

void *malloc(size_t size)
{
    return note(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return note(__libc_calloc(n, size));
}

void *realloc(void *old, size_t size)
{
    size_t before = malloc_usable_size(old);
    void *block = __libc_realloc(old, size);

    if (block || size == 0) {
        octets -= before;
        octets += malloc_usable_size(block);
    }
    return block;
}

void free(void *block)
{
    octets -= malloc_usable_size(block);
    __libc_free(block);
}
#endif

enum { ROUNDS = 6, CHANNEL = 1 };

/* Every pair of these is bound to one exchange, so that they part, split and end in each other. */
static const char *const keys[] = {
    "",      "#",     "*",       "#.#",   "*.*",     "#.*",     "*.#",   "a",         "a.b",
    "a.#",   "#.a",   "a.*",     "*.a",   "#.a.#",   "a.#.b",   "#.#.#", "a.b.c.d.e", "a.b.x",
    "a.*.#", ".",     "..",      "#.#.a", "a.#.#.b", "*.*.*.*", "#.*.#.*.#",
};

static const char *const types[] = { "direct", "fanout", "topic", "headers" };

static struct peer client, other;
static struct peer *speaker; /* who speaks next */

static void setup(void)
{
    peer_setup();
    peer_open(&client);
    speaker = &client;
    peer_open_channel(&client, CHANNEL);
}

static void teardown(void)
{
    peer_drop(&client);
    peer_teardown();
}

static void say(const void *method, uint32_t answer)
{
    peer_say(speaker, CHANNEL, method);
    while (speaker->paused) /* deleting takes turns */
        peer_turn();
    ck_assert_msg(peer_answer(speaker) == answer, "method %x is answered with %x %s",
                  *(const uint32_t *)method, peer_answer(speaker), speaker->reply_text);
}

static void declare_exchange(struct amqp_exchange_declare declare)
{
    declare.id = AMQP_ID_exchange_declare;
    say(&declare, AMQP_ID_exchange_declare_ok);
}

static void delete_exchange(const char *name)
{
    say(&(struct amqp_exchange_delete){ .id = AMQP_ID_exchange_delete,
                                        .exchange = amqp_str_from(name) },
        AMQP_ID_exchange_delete_ok);
}

static void declare_queue(struct amqp_queue_declare declare)
{
    declare.id = AMQP_ID_queue_declare;
    say(&declare, AMQP_ID_queue_declare_ok);
}

static void delete_queue(const char *name)
{
    say(&(struct amqp_queue_delete){ .id = AMQP_ID_queue_delete, .queue = amqp_str_from(name) },
        AMQP_ID_queue_delete_ok);
}

static void bind_queue(const char *source, const char *queue, const char *key,
                       struct amqp_table arguments)
{
    say(&(struct amqp_queue_bind){ .id = AMQP_ID_queue_bind,
                                   .exchange = amqp_str_from(source),
                                   .queue = amqp_str_from(queue),
                                   .routing_key = amqp_str_from(key),
                                   .arguments = arguments },
        AMQP_ID_queue_bind_ok);
}

static void unbind_queue(const char *source, const char *queue, const char *key,
                         struct amqp_table arguments)
{
    say(&(struct amqp_queue_unbind){ .id = AMQP_ID_queue_unbind,
                                     .exchange = amqp_str_from(source),
                                     .queue = amqp_str_from(queue),
                                     .routing_key = amqp_str_from(key),
                                     .arguments = arguments },
        AMQP_ID_queue_unbind_ok);
}

static void bind_exchange(const char *source, const char *destination, const char *key)
{
    say(&(struct amqp_exchange_bind){ .id = AMQP_ID_exchange_bind,
                                      .source = amqp_str_from(source),
                                      .destination = amqp_str_from(destination),
                                      .routing_key = amqp_str_from(key) },
        AMQP_ID_exchange_bind_ok);
}

static void unbind_exchange(const char *source, const char *destination, const char *key)
{
    say(&(struct amqp_exchange_unbind){ .id = AMQP_ID_exchange_unbind,
                                        .source = amqp_str_from(source),
                                        .destination = amqp_str_from(destination),
                                        .routing_key = amqp_str_from(key) },
        AMQP_ID_exchange_unbind_ok);
}

/* --- what a round may do: one function each --- */

static const struct amqp_table none = { NULL, 0 };

/* Pairs of topic keys, and how they go: in order, in the other order, with queue or exchange. */
static void topic_keys(void)
{
    for (size_t i = 0; i < N_ELEMENTS(keys) * N_ELEMENTS(keys) * 4; i++) {
        const char *first = keys[i / 4 / N_ELEMENTS(keys)];
        const char *second = keys[i / 4 % N_ELEMENTS(keys)];

        declare_exchange((struct amqp_exchange_declare){ .exchange = AMQP_STR("t"),
                                                         .type = AMQP_STR("topic") });
        declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("q") });
        bind_queue("t", "q", first, none);
        bind_queue("t", "q", second, none);
        switch (i % 4) {
        case 0:
            unbind_queue("t", "q", first, none);
            unbind_queue("t", "q", second, none);
            break;
        case 1:
            unbind_queue("t", "q", second, none);
            unbind_queue("t", "q", first, none);
            break;
        case 2:
            delete_queue("q");
            break;
        }
        delete_exchange("t");
        delete_queue("q");
    }
}

/* All keys at once, with messages between them, which make exchanges remember routes. */
static void all_keys_with_messages(const char *type)
{
    declare_exchange((struct amqp_exchange_declare){
        .exchange = AMQP_STR("x"), .type = amqp_str_from(type), .durable = true });
    declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("q"), .durable = true });
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        bind_queue("x", "q", keys[i], none);
        for (size_t n = 0; n < 3; n++)
            peer_publish(&client, CHANNEL, "x", keys[i], none);
    }
    for (size_t i = 0; i < N_ELEMENTS(keys); i += 2)
        unbind_queue("x", "q", keys[i], none);
    delete_queue("q");
    delete_exchange("x");
}

static struct amqp_table binding_table(struct amqp_table_writer *writer, size_t i)
{
    static const char *const modes[] = { "all", "any", "all-with-x", "any-with-x" };
    static const char *const names[] = { "a", "b", "x-c", "" };

    amqp_table_put_str(writer, "x-match", amqp_str_from(modes[i % 4]));
    for (size_t n = 0; n < i / 4; n++) {
        if (n % 3 == 0)
            amqp_table_put_void(writer, names[n % 4]);
        else if (n % 3 == 1)
            amqp_table_put_str(writer, names[n % 4], AMQP_STR("v"));
        else
            amqp_table_put_int(writer, names[n % 4], (int64_t)i);
    }
    return amqp_table_written(writer);
}

static void bindings_with_arguments(const char *type)
{
    declare_exchange((struct amqp_exchange_declare){ .exchange = AMQP_STR("x"),
                                                     .type = amqp_str_from(type) });
    declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("q") });
    declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("r") });
    for (size_t i = 0; i < 32; i++) {
        struct amqp_table_writer writer = { 0 };
        struct amqp_table table = binding_table(&writer, i);

        bind_queue("x", "q", "k", table);
        bind_queue("x", "r", "k", table);
        peer_publish(&client, CHANNEL, "x", "k", table);
        if (i % 3 == 0)
            unbind_queue("x", "q", "k", table);
        amqp_table_writer_release(&writer);
    }
    delete_queue("q");
    delete_exchange("x");
    delete_queue("r");
}

/* A chain and a circle of exchanges, taken apart by unbinding, deleting, or auto-delete. */
static void exchanges_to_exchanges(const char *type)
{
    for (int how = 0; how < 3; how++) {
        static const char *const names[] = { "e1", "e2", "e3" };

        for (size_t i = 0; i < 3; i++)
            declare_exchange((struct amqp_exchange_declare){ .exchange = amqp_str_from(names[i]),
                                                             .type = amqp_str_from(type),
                                                             .durable = how == 1,
                                                             .auto_delete = how == 2 });
        for (size_t i = 0; i < 3; i++) {
            bind_exchange(names[i], names[(i + 1) % 3], "#.a");
            bind_exchange(names[i], names[(i + 1) % 3], "");
        }
        peer_publish(&client, CHANNEL, "e1", "", none);
        if (how == 0)
            for (size_t i = 0; i < 3; i++)
                unbind_exchange(names[i], names[(i + 1) % 3], "");
        for (size_t i = 0; i < 3; i++)
            delete_exchange(names[i]);
    }
}

static void alternates_and_arguments(const char *type)
{
    struct amqp_table_writer alternate = { 0 }, arguments = { 0 };

    amqp_table_put_str(&alternate, "alternate-exchange", AMQP_STR("alt"));
    amqp_table_put_int(&arguments, "x-message-ttl", 5);
    amqp_table_put_int(&arguments, "x-max-priority", 5);
    amqp_table_put_int(&arguments, "x-max-length", 3);
    amqp_table_put_int(&arguments, "x-expires", 5);
    amqp_table_put_str(&arguments, "x-dead-letter-exchange", AMQP_STR("alt"));
    declare_exchange((struct amqp_exchange_declare){ .exchange = AMQP_STR("x"),
                                                     .type = amqp_str_from(type),
                                                     .internal = false,
                                                     .arguments = amqp_table_written(&alternate) });
    declare_exchange((struct amqp_exchange_declare){
        .exchange = AMQP_STR("alt"), .type = AMQP_STR("fanout"), .internal = true });
    declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("q"),
                                               .arguments = amqp_table_written(&arguments) });
    bind_queue("alt", "q", "", none);
    for (int i = 0; i < 5; i++)
        peer_publish(&client, CHANNEL, "x", "nowhere", none);
    peer_settle();
    for (int i = 0; i < 20; i++)
        peer_turn(); /* the queue expires */
    ck_assert_ptr_null(vhost_get_queue(vhost, AMQP_STR("q")));
    delete_exchange("alt");
    delete_exchange("x");
    amqp_table_writer_release(&alternate);
    amqp_table_writer_release(&arguments);
}

static void consume_queue(const char *name)
{
    say(&(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume,
                                      .queue = amqp_str_from(name),
                                      .consumer_tag = AMQP_STR("tag") },
        AMQP_ID_basic_consume_ok);
}

/* Queues that go with their last consumer, with their connection, and with both. */
static void queues_that_go_by_themselves(const char *type)
{
    peer_open(&other);
    speaker = &other;
    peer_open_channel(&other, CHANNEL);
    declare_exchange((struct amqp_exchange_declare){
        .exchange = AMQP_STR("x"), .type = amqp_str_from(type), .auto_delete = true });
    declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("a"), .auto_delete = true });
    declare_queue((struct amqp_queue_declare){ .queue = AMQP_STR("e"), .exclusive = true });
    declare_queue((struct amqp_queue_declare){
        .queue = AMQP_STR("ae"), .exclusive = true, .auto_delete = true });
    declare_queue((struct amqp_queue_declare){ .exclusive = true });
    bind_queue("x", "a", "#", none);
    bind_queue("x", "e", "#.#", none);
    bind_queue("x", "ae", "a.#", none);
    consume_queue("a");
    say(&(struct amqp_basic_cancel){ .id = AMQP_ID_basic_cancel, .consumer_tag = AMQP_STR("tag") },
        AMQP_ID_basic_cancel_ok);
    ck_assert_ptr_null(vhost_get_queue(vhost, AMQP_STR("a")));
    consume_queue("ae");
    peer_drop(&other);
    speaker = &client;
    ck_assert_uint_eq(vhost->queues.count, 0);
    ck_assert_ptr_null(vhost_get_exchange(vhost, AMQP_STR("x")));
}

static void by_type(void (*round)(const char *type))
{
    for (size_t i = 0; i < N_ELEMENTS(types); i++)
        round(types[i]);
}

static void round_of_everything(void)
{
    topic_keys();
    by_type(all_keys_with_messages);
    by_type(bindings_with_arguments);
    by_type(exchanges_to_exchanges);
    by_type(alternates_and_arguments);
    by_type(queues_that_go_by_themselves);
    for (int i = 0; i < 50; i++)
        peer_turn(); /* commits and times to live come to their ends */
    ck_assert_uint_eq(vhost->bindings.count, 0);
    ck_assert_uint_eq(vhost->queues.count, 0);
}

START_TEST(test_rounds_of_declaring_and_deleting_leave_no_memory)
{
    size_t after_second = 0;

    for (int i = 0; i < ROUNDS; i++) {
        round_of_everything();
        if (i == 1)
            after_second = allocated();
        if (i > 1)
            ck_assert_msg(allocated() == after_second, "round %d: %zd octets more", i,
                          (ssize_t)(allocated() - after_second));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topology memory");
    TCase *tcase = tcase_create("topology memory");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_rounds_of_declaring_and_deleting_leave_no_memory);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

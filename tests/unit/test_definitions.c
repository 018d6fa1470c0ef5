/*
 * test_definitions.c - importing definition files: what comes in, what is refused, and where
 *
 * The files under tests/data/definitions/ have the shapes of real exports: 3.10 over HTTP, 3.10's
 * command line tool with its arrays of pairs, 4.x. "Nothing changed" is judged by a text of all
 * that the broker holds, taken before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/definitions.h"
#include "broker/broker.h"
#include "broker/queue.h"
#include "store/memory.h"
#include "tests/unit/unit.h"

enum { STATE_BYTES = 65536, FILE_BYTES = 65536 };

static struct store_disk *disk;
static struct store *store;
static struct broker *broker;
static char error_text[1024];
static char log_text[16384];
static char directory[64];
static bool skip_unsupported;     /* of the requests that follow */
static const char *single_vhost;

/* --- fixture --- */

static void remember_line(void *context, int level, const char *text)
{
    size_t used = strlen(log_text);

    (void)context;
    if (level == BROKER_LOG_WARNING)
        snprintf(log_text + used, sizeof log_text - used, "%s\n", text);
}

static void open_broker(void)
{
    struct broker_settings settings = { .product = "test", .log = remember_line };
    struct store_options options = store_options_default();

    ck_assert_int_eq(broker_new(&settings, &broker), 0);
    ck_assert_int_eq(store_open_memory(disk, &options, &broker_store_events, broker, &store), 0);
    ck_assert_int_eq(broker_attach_store(broker, store, error_text, sizeof error_text), 0);
    broker_begin(broker, 1, 1);
}

static void close_broker(void)
{
    ck_assert_int_eq(store_close(store), 0);
    broker_free(broker);
}

static void setup(void)
{
    disk = store_disk_new();
    ck_assert_ptr_nonnull(disk);
    error_text[0] = log_text[0] = '\0';
    skip_unsupported = false;
    single_vhost = NULL;
    open_broker();
}

static void teardown(void)
{
    close_broker();
    store_disk_free(disk);
}

static struct definitions_request request(void)
{
    return (struct definitions_request){ .broker = broker, .vhost = single_vhost,
                                         .skip_unsupported = skip_unsupported,
                                         .error_text = error_text,
                                         .error_text_size = sizeof error_text };
}

static int import_octets(const char *json, size_t size)
{
    struct definitions_request wanted = request();

    log_text[0] = '\0';
    return definitions_import(&wanted, (struct amqp_bytes){ (const uint8_t *)json, size }, "f");
}

static int import_text(const char *json)
{
    return import_octets(json, strlen(json));
}

static void import_well(const char *json)
{
    ck_assert_msg(import_text(json) == 0, "%s", error_text);
}

static const char *data_path(const char *name)
{
    static char path[1024];
    const char *top = getenv("srcdir");

    snprintf(path, sizeof path, "%s/tests/data/definitions/%s", top ? top : ".", name);
    return path;
}

static int import_path(const char *path)
{
    struct definitions_request wanted = request();

    log_text[0] = '\0';
    return definitions_import_file(&wanted, path);
}

static int import_data(const char *name)
{
    return import_path(data_path(name));
}

/* http.json has a stream. */
static void import_data_well(const char *name)
{
    skip_unsupported = strcmp(name, "http.json") == 0;
    ck_assert_msg(import_data(name) == 0, "%s", error_text);
    skip_unsupported = false;
}

static void read_data(const char *name, char text[FILE_BYTES])
{
    FILE *file = fopen(data_path(name), "r");
    size_t size;

    ck_assert_ptr_nonnull(file);
    size = fread(text, 1, FILE_BYTES - 1, file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_uint_lt(size, FILE_BYTES - 1);
    text[size] = '\0';
}

static struct vhost *vhost(const char *name)
{
    struct vhost *vhost = broker_find_vhost(broker, amqp_str_from(name));

    ck_assert_msg(vhost, "no vhost '%s'", name);
    return vhost;
}

static struct queue *queue(const char *vhost_name, const char *name)
{
    struct queue *queue = vhost_get_queue(vhost(vhost_name), amqp_str_from(name));

    ck_assert_msg(queue, "no queue '%s'", name);
    return queue;
}

static struct exchange *exchange(const char *vhost_name, const char *name)
{
    struct exchange *exchange = vhost_get_exchange(vhost(vhost_name), amqp_str_from(name));

    ck_assert_msg(exchange, "no exchange '%s'", name);
    return exchange;
}

static struct user *user(const char *name)
{
    struct user *user = auth_find_user(broker->auth, name);

    ck_assert_msg(user, "no user '%s'", name);
    return user;
}

static bool logs_in(const char *name, const char *password)
{
    return auth_check_password(user(name), (struct amqp_bytes){ (const uint8_t *)password,
                                                                strlen(password) });
}

static const char *parameter(enum store_kind kind, const char *vhost_name, const char *component,
                             const char *name)
{
    const struct parameter *found =
        parameters_find(&broker->parameters,
                        &(struct parameter_key){ kind, vhost_name, component, name });

    return found ? found->json : NULL;
}

static void assert_warned(const char *text)
{
    ck_assert_msg(strstr(log_text, text), "'%s' is not in: %s", text, log_text);
}

/* --- everything that the broker holds, as a text --- */

static char *state_at;
static char *state_end;

PRINTF_LIKE(1, 2)
static void tell(const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(state_at, (size_t)(state_end - state_at), format, args);
    va_end(args);
    state_at += length;
    ck_assert(state_at < state_end);
}

static void tell_table(struct amqp_table table)
{
    for (size_t i = 0; i < table.size; i++)
        tell("%02x", table.data[i]);
    tell("\n");
}

static void tell_user(void *context, const struct user *one)
{
    (void)context;
    tell("user %s %d %s %s %lld %lld\n", one->name, (int)one->hashing, one->password_hash,
         one->tags, (long long)one->max_connections, (long long)one->max_channels);
}

static void tell_permissions(void *context, const char *name, const char *vhost_name,
                             const struct permissions *permissions)
{
    (void)context;
    tell("permissions %s %s %s %s %s\n", name, vhost_name,
         permissions_pattern(permissions, PERMISSION_CONFIGURE),
         permissions_pattern(permissions, PERMISSION_WRITE),
         permissions_pattern(permissions, PERMISSION_READ));
}

static void tell_topic(void *context, const char *name, const char *vhost_name,
                       const char *exchange_name, const char *write, const char *read)
{
    (void)context;
    tell("topic %s %s %s %s %s\n", name, vhost_name, exchange_name, write, read);
}

static int by_exchange(const struct exchange *a, const struct exchange *b)
{
    return strcmp(a->destination.name.data, b->destination.name.data);
}

static int by_queue(const void *a, const void *b)
{
    const struct queue *const *one = a, *const *other = b;

    return strcmp((*one)->destination.name.data, (*other)->destination.name.data);
}

static void tell_queues(const struct vhost *one)
{
    struct queue *held[64], *queue, *next;
    size_t n = 0;

    VHOST_EACH_QUEUE(one, queue, next) {
        ck_assert_uint_lt(n, N_ELEMENTS(held));
        held[n++] = queue;
    }
    qsort(held, n, sizeof held[0], by_queue);
    for (size_t i = 0; i < n; i++) {
        tell("queue %s %llu %d%d %u bindings ", held[i]->destination.name.data,
             (unsigned long long)held[i]->id, held[i]->durable, held[i]->auto_delete,
             held[i]->destination.binding_count);
        tell_table(queue_arguments(held[i]));
    }
}

static int by_vhost(const struct vhost *a, const struct vhost *b)
{
    return strcmp(a->name, b->name);
}

static void tell_vhost(struct vhost *one)
{
    struct exchange *source, *next_exchange;

    tell("vhost %s ", one->name);
    tell_table(one->metadata);
    HASH_SRT(by_name, one->exchanges, by_exchange);
    HASH_ITER(by_name, one->exchanges, source, next_exchange) {
        tell("exchange %s %s %d%d%d %u bindings ", source->destination.name.data,
             exchange_type_name(source), source->durable, source->auto_delete, source->internal,
             source->binding_count);
        tell_table(source->arguments);
    }
    tell_queues(one);
}

static void tell_state(char text[STATE_BYTES])
{
    struct vhost *one, *next;

    state_at = text;
    state_end = text + STATE_BYTES;
    HASH_SRT(by_name, broker->vhosts, by_vhost);
    HASH_ITER(by_name, broker->vhosts, one, next)
        tell_vhost(one);
    auth_each_user(broker->auth, tell_user, NULL);
    auth_each_permissions(broker->auth, tell_permissions, NULL);
    auth_each_topic_permissions(broker->auth, tell_topic, NULL);
    for (const struct parameter *at = broker->parameters.first; at; at = at->next)
        tell("parameter %d %s %s %s %s\n", (int)at->kind, at->vhost, at->component, at->name,
             at->json);
    tell(".");
}

/* --- files as they come --- */

START_TEST(test_http_export_is_imported_whole)
{
    struct exchange *internal;

    import_data_well("http.json");
    ck_assert(logs_in("boss", "test12"));
    ck_assert(logs_in("strong", "test12"));
    ck_assert_str_eq(user("boss")->tags, "administrator,monitoring");
    ck_assert_int_eq(user("strong")->max_channels, 1000);
    ck_assert_int_eq(user("strong")->max_connections, 100);
    ck_assert_int_eq(user("boss")->max_channels, -1);
    ck_assert_ptr_nonnull(auth_find_permissions(broker->auth, "strong", "mill"));
    ck_assert(!auth_topic_allows(broker->auth, "strong", "mill", AMQP_STR("jobs"),
                                 PERMISSION_WRITE, AMQP_STR("other.key")));
    internal = exchange("mill", "audit");
    ck_assert(internal->internal && internal->durable && !internal->auto_delete);
    ck_assert(exchange("mill", "events")->has_alternate);
    ck_assert(!exchange("mill", "brief")->durable);
    ck_assert(queue("mill", "jobs.retry")->durable);
    ck_assert(!queue("mill", "passing")->durable);
    ck_assert(queue("mill", "passing")->auto_delete);
    ck_assert_uint_eq(exchange("mill", "hdr")->binding_count, 1);
    ck_assert_uint_eq(exchange("mill", "jobs")->binding_count, 3);
    ck_assert_uint_eq(internal->destination.binding_count, 1);
    ck_assert_uint_eq(queue("dock/north", "q with space/and slash")->destination.binding_count, 1);
    ck_assert_str_eq(parameter(STORE_KIND_POLICY, "mill", "policy", "keep"),
                     "{\"apply-to\":\"queues\",\"definition\":{\"max-length\":1000,"
                     "\"message-ttl\":60000},\"pattern\":\"^jobs\\\\.retry$\",\"priority\":5}");
    ck_assert_str_eq(parameter(STORE_KIND_GLOBAL_PARAMETER, "", "", "cluster_name"),
                     "\"rabbit@localhost\"");
}
END_TEST

START_TEST(test_what_has_no_effect_or_no_place_is_reported_by_name)
{
    import_data_well("http.json");
    assert_warned("http.json: queues[2]: there are no streams in this version (queue 'jobs.log' in "
                  "vhost 'mill'): left out\n");
    ck_assert_ptr_null(strstr(log_text, "arguments of queues"));
    assert_warned("queue 'amq.gen-Aua4YwwjMJDCFu5BSMPD_w' in vhost 'mill' was skipped");
    assert_warned("exchange 'events' to queue 'nowhere' in vhost 'mill' was dropped: the "
                  "destination does not exist\n");
    assert_warned("exchange 'absent' to queue 'jobs.lazy' in vhost 'mill' was dropped: there is "
                  "no such exchange\n");
    assert_warned("exchange '' to queue 'jobs.lazy' in vhost 'mill' was dropped");
    ck_assert_ptr_null(vhost_get_queue(vhost("mill"), AMQP_STR("amq.gen-Aua4YwwjMJDCFu5BSMPD_w")));
}
END_TEST

START_TEST(test_ctl_export_with_arrays_of_pairs_is_imported)
{
    struct amqp_value value;

    import_data_well("ctl.json");
    ck_assert_str_eq(user("watch")->tags, "monitoring,management");
    ck_assert_int_eq(user("watch")->max_channels, 7);
    ck_assert(!logs_in("watch", ""));
    ck_assert_str_eq(parameter(STORE_KIND_PARAMETER, "mill", "vhost-limits", "limits"),
                     "{\"max-queues\":50}");
    ck_assert_str_eq(parameter(STORE_KIND_PARAMETER, "mill", "operator_policy", "bytes"),
                     "{\"apply-to\":\"queues\",\"definition\":{\"max-length-bytes\":104857600},"
                     "\"pattern\":\".*\",\"priority\":0}");
    ck_assert_str_eq(parameter(STORE_KIND_PARAMETER, "mill", "shovel", "s"),
                     "{\"src-uri\":\"amqp://\"}");
    ck_assert_str_eq(parameter(STORE_KIND_GLOBAL_PARAMETER, "", "", "mqtt_default_vhosts"),
                     "{\"O=client,CN=guest\":\"/\"}");
    ck_assert_str_eq(parameter(STORE_KIND_GLOBAL_PARAMETER, "", "", "list"), "[1,2]");
    ck_assert(amqp_table_get(vhost("mill")->metadata, AMQP_STR("tags"), &value));
    ck_assert_int_eq(value.type, 'A');
    ck_assert(!amqp_table_get(vhost("mill")->metadata, AMQP_STR("default_queue_type"), &value));
}
END_TEST

START_TEST(test_type_of_a_queue_becomes_its_argument)
{
    struct amqp_value value;

    import_data_well("ctl.json");
    ck_assert(amqp_table_get(queue_arguments(queue("mill", "jobs.quorum")),
                             AMQP_STR("x-queue-type"), &value));
    ck_assert(amqp_str_equal(amqp_bytes_text(value.bytes), AMQP_STR("quorum")));
    ck_assert(!amqp_table_get(queue_arguments(queue("mill", "jobs.lazy")),
                              AMQP_STR("x-queue-type"), &value));
}
END_TEST

START_TEST(test_export_of_4_is_imported)
{
    import_data_well("cluster-4.json");
    ck_assert(queue("mill", "qq")->durable);
    ck_assert_ptr_null(strstr(log_text, "default_queue_type"));
}
END_TEST

START_TEST(test_export_of_a_single_vhost_goes_to_the_vhost_that_it_names)
{
    import_data_well("single-vhost-4.json");
    ck_assert_ptr_nonnull(vhost("mill"));
    import_well("{\"rabbitmq_definition_format\":\"single_virtual_host\","
                "\"original_vhost_name\":\"shop\",\"default_queue_type\":\"quorum\","
                "\"limits\":[[\"max-queues\",7]],\"queues\":[{\"name\":\"q\",\"durable\":true,"
                "\"auto_delete\":false}],\"bindings\":[{\"source\":\"amq.direct\","
                "\"destination\":\"q\",\"destination_type\":\"queue\",\"routing_key\":\"k\"}],"
                "\"policies\":[{\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"expires\":9}}]}");
    ck_assert_uint_eq(queue("shop", "q")->destination.binding_count, 1);
    ck_assert_str_eq(parameter(STORE_KIND_PARAMETER, "shop", "vhost-limits", "limits"),
                     "{\"max-queues\":7}");
    ck_assert_ptr_nonnull(parameter(STORE_KIND_POLICY, "shop", "policy", "p"));
    ck_assert_uint_gt(vhost("shop")->metadata.size, 0);
}
END_TEST

START_TEST(test_export_of_a_single_vhost_goes_to_the_vhost_of_the_request)
{
    single_vhost = "other";
    import_data_well("single-vhost.json");
    import_data_well("single-vhost-4.json");
    ck_assert_ptr_nonnull(vhost("other"));
    ck_assert_ptr_null(broker_find_vhost(broker, AMQP_STR("mill")));
}
END_TEST

START_TEST(test_export_of_a_single_vhost_without_a_name_is_refused_with_a_sentence)
{
    ck_assert_int_eq(import_data("single-vhost.json"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text, "this is the export of a single vhost and does not "
                                             "say which: its name has to be given with "
                                             "definitions.vhost"));
    ck_assert(broker_is_blank(broker));
}
END_TEST

static const char *const good_files[] = { "http.json", "ctl.json", "cluster-4.json", "small.json" };

START_TEST(test_import_twice_is_import_once)
{
    static char first[STATE_BYTES], second[STATE_BYTES];

    import_data_well(good_files[_i]);
    tell_state(first);
    import_data_well(good_files[_i]);
    tell_state(second);
    ck_assert_str_eq(first, second);
}
END_TEST

START_TEST(test_import_survives_a_restart_and_then_changes_nothing)
{
    static char first[STATE_BYTES], second[STATE_BYTES];

    import_data_well("small.json"); /* all durable */
    tell_state(first);
    close_broker();
    open_broker();
    tell_state(second);
    ck_assert_str_eq(first, second);
    import_data_well("small.json");
    tell_state(second);
    ck_assert_str_eq(first, second);
}
END_TEST

START_TEST(test_empty_files_change_nothing)
{
    static const char *const empty[] = { "", " \r\n\t", "null", "{}", "\xef\xbb\xbf",
                                         "\xef\xbb\xbfnull", "{\"queues\":null,\"unknown\":[1]}" };

    for (size_t i = 0; i < N_ELEMENTS(empty); i++)
        import_well(empty[i]);
    ck_assert(broker_is_blank(broker));
}
END_TEST

START_TEST(test_byte_order_mark_is_skipped)
{
    import_well("\xef\xbb\xbf{\"vhosts\":[{\"name\":\"v\"}]}");
    ck_assert_ptr_nonnull(vhost("v"));
}
END_TEST

START_TEST(test_file_cut_at_any_octet_changes_nothing)
{
    static char whole[FILE_BYTES], before[STATE_BYTES], after[STATE_BYTES];
    size_t size;

    read_data("small.json", whole);
    size = strlen(whole);
    while (size && whole[size - 1] == '\n')
        size--;
    ck_assert_uint_gt(size, 100);
    tell_state(before);
    for (size_t cut = 1; cut < size; cut++) {
        ck_assert_int_eq(import_octets(whole, cut), -EINVAL);
        ck_assert_msg(strncmp(error_text, "f: line ", 8) == 0, "%s", error_text);
        tell_state(after);
        ck_assert_str_eq(before, after);
        ck_assert_uint_eq(store_open_bytes(store), 0);
    }
}
END_TEST

/* --- what an import leaves alone --- */

START_TEST(test_existing_queue_and_exchange_are_left_untouched)
{
    import_well("{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
                "\"durable\":true,\"auto_delete\":false,\"arguments\":{\"a\":1}}],"
                "\"exchanges\":[{\"name\":\"e\",\"vhost\":\"v\",\"type\":\"topic\","
                "\"durable\":true,\"auto_delete\":false}]}");
    import_well("{\"queues\":[{\"name\":\"q\",\"vhost\":\"v\",\"durable\":false,"
                "\"auto_delete\":true,\"arguments\":{\"b\":2}}],"
                "\"exchanges\":[{\"name\":\"e\",\"vhost\":\"v\",\"type\":\"fanout\","
                "\"durable\":false,\"auto_delete\":true}]}");
    ck_assert(queue("v", "q")->durable && !queue("v", "q")->auto_delete);
    ck_assert(exchange("v", "e")->durable && !exchange("v", "e")->auto_delete);
    ck_assert_str_eq(exchange_type_name(exchange("v", "e")), "topic");
}
END_TEST

START_TEST(test_the_rest_takes_the_values_of_the_file)
{
    import_well("{\"vhosts\":[{\"name\":\"v\"}],\"users\":[{\"name\":\"u\",\"tags\":\"a\"}],"
                "\"permissions\":[{\"user\":\"u\",\"vhost\":\"v\",\"configure\":\"1\","
                "\"write\":\"1\",\"read\":\"1\"}],\"global_parameters\":[{\"name\":\"g\","
                "\"value\":1}]}");
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":[\"b\",\"c\"]}],"
                "\"permissions\":[{\"user\":\"u\",\"vhost\":\"v\",\"configure\":\"2\","
                "\"write\":\"2\",\"read\":\"2\"}],\"global_parameters\":[{\"name\":\"g\","
                "\"value\":2}]}");
    ck_assert_str_eq(user("u")->tags, "b,c");
    ck_assert_str_eq(permissions_pattern(auth_find_permissions(broker->auth, "u", "v"),
                                         PERMISSION_READ),
                     "2");
    ck_assert_str_eq(parameter(STORE_KIND_GLOBAL_PARAMETER, "", "", "g"), "2");
}
END_TEST

START_TEST(test_metadata_that_the_file_does_not_mention_stays)
{
    struct amqp_value value;

    import_well("{\"vhosts\":[{\"name\":\"v\",\"description\":\"d\",\"tags\":\"x, y\"}]}");
    import_well("{\"vhosts\":[{\"name\":\"v\"}]}");
    import_well("{\"vhosts\":[{\"name\":\"v\",\"metadata\":{\"description\":\"new\"}}]}");
    ck_assert(amqp_table_get(vhost("v")->metadata, AMQP_STR("description"), &value));
    ck_assert(amqp_str_equal(amqp_bytes_text(value.bytes), AMQP_STR("new")));
    ck_assert(amqp_table_get(vhost("v")->metadata, AMQP_STR("tags"), &value));
    ck_assert_uint_eq(value.table.size, 2 * (1 + 4 + 1)); /* two strings of one octet */
}
END_TEST

START_TEST(test_limits_that_the_file_does_not_mention_stay)
{
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":\"\",\"limits\":{\"max-channels\":5}}]}");
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":\"\"}]}");
    ck_assert_int_eq(user("u")->max_channels, 5);
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":\"\",\"limits\":{\"max-channels\":-2}}]}");
    ck_assert_int_eq(user("u")->max_channels, -1);
}
END_TEST

/* --- users --- */

START_TEST(test_plain_password_is_hashed_as_the_broker_says)
{
    broker->settings.password_hashing = AUTH_HASHING_SHA512;
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":[],\"password\":\"secret\"},"
                "{\"name\":\"v\",\"tags\":[],\"password\":\"secret\","
                "\"hashing_algorithm\":\"rabbit_password_hashing_sha256\"}]}");
    ck_assert_int_eq(user("u")->hashing, AUTH_HASHING_SHA512);
    ck_assert_int_eq(user("v")->hashing, AUTH_HASHING_SHA256);
    ck_assert(logs_in("u", "secret"));
}
END_TEST

START_TEST(test_plain_password_is_hashed_once)
{
    static const char json[] = "{\"users\":[{\"name\":\"u\",\"tags\":[],\"password\":\"secret\"}]}";
    char hash[128];

    import_well(json);
    ck_assert(logs_in("u", "secret"));
    snprintf(hash, sizeof hash, "%s", user("u")->password_hash);
    import_well(json);
    ck_assert_str_eq(user("u")->password_hash, hash);
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":[],\"password\":\"other\"}]}");
    ck_assert(logs_in("u", "other"));
    import_well("{\"users\":[{\"name\":\"u\",\"tags\":[],\"password\":\"\"}]}");
    ck_assert_str_eq(user("u")->password_hash, "");
}
END_TEST

#define TEST12_MD5 "kI3GChNpte2FApYFXScl+0dIluk="

static const struct {
    const char *version;
    bool md5;
} hashing_case[] = {
    { "3.5.7", true },  { "3.0.0", true },   { "3.6.0", false }, { "3.6.1", false },
    { "3.10.8", false }, { "3.13.0", false }, { "4.1.0", false },
};

START_TEST(test_version_of_the_file_chooses_the_hash_of_users_without_one)
{
    char json[512];

    snprintf(json, sizeof json,
             "{\"rabbit_version\":\"%s\",\"users\":[{\"name\":\"u\",\"tags\":\"\","
             "\"password_hash\":\"" TEST12_MD5 "\"}]}",
             hashing_case[_i].version);
    ck_assert_int_eq(import_text(json), hashing_case[_i].md5 ? 0 : -EINVAL);
    if (hashing_case[_i].md5)
        ck_assert(logs_in("u", "test12"));
}
END_TEST

START_TEST(test_legacy_administrator_becomes_a_tag)
{
    import_well("{\"users\":[{\"name\":\"u\",\"administrator\":true}]}");
    ck_assert_str_eq(user("u")->tags, "administrator");
}
END_TEST

/* --- arguments --- */

START_TEST(test_arguments_take_the_types_of_rabbitmq)
{
    static const struct {
        const char *key;
        char type;
    } wanted[] = {
        { "i", 'l' }, { "f", 'd' }, { "s", 'S' }, { "t", 't' },
        { "n", 'V' }, { "o", 'F' }, { "a", 'A' },
    };
    struct amqp_table arguments;
    struct amqp_value value;

    import_well("{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
                "\"durable\":true,\"auto_delete\":false,\"arguments\":{\"i\":-9223372036854775808,"
                "\"f\":1.5,\"s\":\"x\",\"t\":true,\"n\":null,\"o\":{\"k\":[{\"d\":1}]},"
                "\"a\":[1,\"b\"]}}]}");
    arguments = queue_arguments(queue("v", "q"));
    ck_assert_int_eq(amqp_table_check(arguments), 0);
    for (size_t i = 0; i < N_ELEMENTS(wanted); i++) {
        ck_assert(amqp_table_get(arguments, amqp_str_from(wanted[i].key), &value));
        ck_assert_int_eq(value.type, wanted[i].type);
    }
    ck_assert(amqp_table_get(arguments, AMQP_STR("i"), &value));
    ck_assert(value.integer == INT64_MIN);
}
END_TEST

/* @depth containers inside the arguments */
static int import_nested(unsigned depth)
{
    static char json[8192];
    char *at = json;

    at += sprintf(at, "{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
                      "\"durable\":true,\"auto_delete\":false,\"arguments\":{\"x\":");
    for (unsigned i = 0; i < depth; i++)
        *at++ = '[';
    for (unsigned i = 0; i < depth; i++)
        *at++ = ']';
    sprintf(at, "}}]}");
    return import_text(json);
}

START_TEST(test_arguments_are_bounded_in_depth)
{
    ck_assert_int_eq(import_nested(BOUND_TABLE_DEPTH + 1), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text, "queues[0].arguments.x[0][0]"));
    ck_assert(broker_is_blank(broker));
    ck_assert_int_eq(import_nested(BOUND_TABLE_DEPTH), 0);
    ck_assert_int_eq(amqp_table_check(queue_arguments(queue("v", "q"))), 0);
}
END_TEST

START_TEST(test_arguments_are_bounded_in_number)
{
    size_t room = 2 * (BOUND_TABLE_ENTRIES + 1) + 256;
    char *json = malloc(room);
    char *at = json;

    ck_assert_ptr_nonnull(json);
    at += sprintf(at, "{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
                      "\"durable\":true,\"auto_delete\":false,\"arguments\":{\"x\":[1");
    for (unsigned i = 0; i < BOUND_TABLE_ENTRIES - 1; i++)
        at += sprintf(at, ",1");
    sprintf(at, "]}}]}");
    ck_assert_int_eq(import_text(json), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text, "too many entries"));
    sprintf(at - 2, "]}}]}"); /* one element fewer: the array is an entry too */
    ck_assert_int_eq(import_text(json), 0);
    free(json);
    ck_assert_int_eq(amqp_table_check(queue_arguments(queue("v", "q"))), 0);
}
END_TEST

START_TEST(test_binding_that_its_exchange_refuses_is_dropped)
{
    import_well("{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
                "\"durable\":true,\"auto_delete\":false}],"
                "\"bindings\":[{\"source\":\"amq.headers\",\"vhost\":\"v\",\"destination\":\"q\","
                "\"destination_type\":\"queue\","
                "\"routing_key\":\"\",\"arguments\":{\"x-match\":\"some\"}}]}");
    assert_warned("exchange 'amq.headers' to queue 'q' in vhost 'v' was dropped: ");
    ck_assert_uint_eq(queue("v", "q")->destination.binding_count, 0);
}
END_TEST

/* --- mistakes and where they are --- */

#define NAME_256 NAME_64 NAME_64 NAME_64 NAME_64
#define NAME_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define QUEUE(rest) \
    "{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"ok\",\"vhost\":\"v\"," \
    "\"durable\":true,\"auto_delete\":false},{" rest "}]}"
#define USER(rest) "{\"users\":[{\"name\":\"u\"," rest "}]}"
#define IN_V(section, rest)                                                       \
    "{\"vhosts\":[{\"name\":\"v\"}],\"users\":[{\"name\":\"u\",\"tags\":\"\"}],\"" \
    section "\":[{\"vhost\":\"v\"," rest "}]}"

static const struct {
    const char *json, *error;
} mistake[] = {
    { "{\"queues\":[\n  oops]}", "f: line 2, column 6: invalid token near 'oops'" },
    { "[]", "f: expected a JSON object" },
    { "7", "f: expected a JSON object" },
    { "{} {}", "f: line 1, column 4: end of file expected near '{'" },
    { "{\"users\":{}}", "f: users: expected an array" },
    { "{\"users\":[1]}", "f: users[0]: expected an object" },
    { "{\"vhosts\":[{}]}", "f: vhosts[0].name: missing" },
    { "{\"vhosts\":[{\"name\":\"\"}]}", "f: vhosts[0].name: must not be empty" },
    { "{\"vhosts\":[{\"name\":5}]}", "f: vhosts[0].name: expected a string" },
    { "{\"vhosts\":[{\"name\":\"" NAME_256 "\"}]}", "f: vhosts[0].name: longer than 255 octets" },
    { "{\"vhosts\":[{\"name\":\"v\",\"metadata\":5}]}",
      "f: vhosts[0].metadata: expected an object" },
    { "{\"vhosts\":[{\"name\":\"v\",\"metadata\":{\"description\":5}}]}",
      "f: vhosts[0].metadata.description: expected a string" },
    { "{\"vhosts\":[{\"name\":\"v\",\"tags\":[5]}]}",
      "f: vhosts[0].tags: expected an array of strings, or one string" },
    { USER("\"password_hash\":\"\""), "f: users[0].tags: missing" },
    { USER("\"tags\":5"), "f: users[0].tags: expected an array of strings, or one string" },
    { USER("\"tags\":[],\"password\":\"a\",\"password_hash\":\"\""),
      "f: users[0]: both password and password_hash are given" },
    { USER("\"tags\":[],\"password_hash\":\"abc\""),
      "f: users[0].password_hash: not the base64 of a salt and a digest of its algorithm" },
    { USER("\"tags\":[],\"hashing_algorithm\":\"rot13\""),
      "f: users[0].hashing_algorithm: unknown: 'rot13'" },
    { USER("\"tags\":[],\"limits\":{\"max-channels\":\"5\"}"),
      "f: users[0].limits.max-channels: expected an integer" },
    { IN_V("permissions", "\"user\":\"u\",\"configure\":\"\",\"write\":\"\""),
      "f: permissions[0].read: missing" },
    { IN_V("permissions", "\"user\":\"x\",\"configure\":\"\",\"write\":\"\",\"read\":\"\""),
      "f: permissions[0].user: no such user: 'x'" },
    { IN_V("permissions", "\"user\":\"u\",\"configure\":\"\",\"write\":\"(\",\"read\":\"\""),
      "f: permissions[0].write: missing closing parenthesis at offset 1" },
    { IN_V("topic_permissions", "\"user\":\"u\",\"write\":\"\",\"read\":\"\""),
      "f: topic_permissions[0].exchange: missing" },
    { IN_V("topic_permissions", "\"user\":\"u\",\"exchange\":\"e\",\"write\":\"\",\"read\":\"[\""),
      "f: topic_permissions[0].read: missing terminating ] for character class at offset 1" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"w\""), "f: queues[1].vhost: no such vhost: 'w'" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":1"),
      "f: queues[1].durable: expected true or false" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true"),
      "f: queues[1].auto_delete: missing" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":true,\"arguments\":1"),
      "f: queues[1].arguments: expected an object" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":true,\"type\":\"x\""),
      "f: queues[1].type: expected classic, quorum or stream" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":true,"
            "\"arguments\":{\"x-queue-type\":1}"),
      "f: queues[1].arguments.x-queue-type: expected classic, quorum or stream" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":true,"
            "\"arguments\":{\"a\":[{\"" NAME_256 "\":1}]}"),
      "f: queues[1].arguments.a[0]." NAME_256 ": a key of more than 255 octets" },
    { "{\"a\":18446744073709551616}",
      "f: line 1, column 25: too big integer near '18446744073709551616'" },
    { "{\"a\":\"\\u0000\"}", "f: line 1, column 13: \\u0000 is not allowed without "
                             "JSON_ALLOW_NUL near '\"\\u0000\"'" },
    { IN_V("exchanges", "\"name\":\"e\",\"durable\":true,\"auto_delete\":true,\"type\":\"x-odd\""),
      "f: exchanges[0].type: unknown exchange type 'x-odd'" },
    { IN_V("exchanges", "\"name\":\"e\",\"durable\":true,\"auto_delete\":true,\"type\":\"topic\","
                        "\"arguments\":{\"alternate-exchange\":1}"),
      "f: exchanges[0].arguments.alternate-exchange: expected a string" },
    { IN_V("bindings", "\"source\":\"amq.topic\",\"destination\":\"q\",\"routing_key\":\"\","
                       "\"destination_type\":\"topic\""),
      "f: bindings[0].destination_type: expected queue or exchange" },
    { IN_V("policies", "\"name\":\"p\",\"definition\":{\"a\":1}"),
      "f: policies[0].pattern: missing" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"*\",\"definition\":{\"a\":1}"),
      "f: policies[0].pattern: quantifier does not follow a repeatable item at offset 0" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{}"),
      "f: policies[0].definition: must not be empty" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"a\":1},"
                     "\"priority\":\"1\""),
      "f: policies[0].priority: expected an integer" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"a\":1},"
                     "\"apply-to\":\"x\""),
      "f: policies[0].apply-to: expected all, queues, exchanges, classic_queues, quorum_queues or "
      "streams" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"a\":1}"),
      "f: policies[0].definition: unknown policy key 'a'" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"mesage-ttl\":1}"),
      "f: policies[0].definition: unknown policy key 'mesage-ttl'; did you mean "
      "'message-ttl'?" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":false,"
            "\"argument\":{}"),
      "f: queues[1].argument: not known here; did you mean 'arguments'?" },
    { USER("\"tags\":\"\",\"limit\":{}"),
      "f: users[0].limit: not known here; did you mean 'limits'?" },
    { USER("\"tags\":\"\",\"limits\":{\"max-connection\":1}"),
      "f: users[0].limits.max-connection: expected max-connections or max-channels" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"expires\":1},"
                       "\"apply_to\":\"queues\""),
      "f: policies[0].apply_to: not known here; did you mean 'apply-to'?" },
    { "{\"vhosts\":[{\"name\":\"v\",\"default_queue_type\":\"bogus\"}]}",
      "f: vhosts[0].default_queue_type: expected classic, quorum or stream" },
    { "{\"vhosts\":[{\"name\":\"v\",\"metadata\":{\"default_queue_type\":\"stream\"}}]}",
      "f: vhosts[0].default_queue_type: there are no streams in this version" },
    { "{\"queus\":[]}", "f: queus: not known here; did you mean 'queues'?" },
    { QUEUE("\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":false,"
            "\"type\":\"stream\""), "f: queues[1]: there are no streams in this version" },
    { IN_V("policies", "\"name\":\"p\",\"pattern\":\"\",\"definition\":{\"expires\":0}"),
      "f: policies[0].definition: 0 is not a valid queue expiry" },
    { IN_V("parameters", "\"component\":\"operator_policy\",\"name\":\"p\",\"value\":{}"),
      "f: parameters[0].value.pattern: missing" },
    { IN_V("parameters", "\"component\":\"operator_policy\",\"name\":\"p\",\"value\":{"
                         "\"pattern\":\"\",\"definition\":{\"alternate-exchange\":\"a\"}}"),
      "f: parameters[0].value.definition: unknown operator policy key 'alternate-exchange'" },
    { IN_V("parameters", "\"component\":\"c\",\"name\":\"n\",\"value\":1"),
      "f: parameters[0].component: component c not found" },
    { IN_V("parameters", "\"component\":\"vhost-limits\",\"name\":\"n\",\"value\":{}"),
      "f: parameters[0].name: expected limits" },
    { IN_V("parameters", "\"component\":\"vhost-limits\",\"name\":\"limits\","
                         "\"value\":{\"max-foo\":1}"),
      "f: parameters[0].value: Unrecognised terms [{<<\"max-foo\">>,1}] in limits" },
    { "{\"global_parameters\":[{\"name\":\"cluster_name\",\"value\":1}]}",
      "f: global_parameters[0].value: expected a string" },
    { IN_V("parameters", "\"component\":\"vhost-limits\",\"name\":\"limits\","
                         "\"value\":{\"max-queues\":true}"),
      "f: parameters[0].value.max-queues: expected an integer" },
    { IN_V("parameters", "\"component\":\"c\",\"name\":\"n\""), "f: parameters[0].value: missing" },
    { "{\"global_parameters\":[{\"name\":\"n\"}]}", "f: global_parameters[0].value: missing" },
};

START_TEST(test_mistake_changes_nothing_and_says_where_it_is)
{
    ck_assert_int_eq(import_text(mistake[_i].json), -EINVAL);
    ck_assert_msg(strncmp(error_text, mistake[_i].error, strlen(mistake[_i].error)) == 0 &&
                      strchr(" \n", error_text[strlen(mistake[_i].error)]),
                  "'%s' instead of '%s'", error_text, mistake[_i].error);
    ck_assert(broker_is_blank(broker));
    ck_assert_uint_eq(store_open_bytes(store), 0);
}
END_TEST

START_TEST(test_all_mistakes_are_listed_with_the_objects_that_have_them)
{
    ck_assert_int_eq(import_text("{\"vhosts\":[{\"name\":\"v\"},{\"name\":\"w\",\"tags\":5}],"
                                 "\"queues\":[{\"name\":\"a\",\"vhost\":\"w\",\"durable\":1,"
                                 "\"auto_delete\":2},{\"vhost\":\"v\",\"durable\":true,"
                                 "\"auto_delete\":false}],\"exchanges\":[{\"name\":\"e\","
                                 "\"vhost\":\"v\",\"type\":\"x-odd\",\"durable\":true,"
                                 "\"auto_delete\":false}]}"),
                     -EINVAL);
    ck_assert_str_eq(
        error_text,
        "f: vhosts[1].tags: expected an array of strings, or one string (vhost 'w')\n"
        "f: exchanges[0].type: unknown exchange type 'x-odd' (exchange 'e' in vhost 'v')\n"
        "f: queues[0].durable: expected true or false (queue 'a' in vhost 'w')\n"
        "f: queues[0].auto_delete: expected true or false (queue 'a' in vhost 'w')\n"
        "f: queues[1].name: missing\n"
        "definitions.skip_unsupported = true leaves out what this version cannot do");
    ck_assert(broker_is_blank(broker));
}
END_TEST

START_TEST(test_mistakes_that_do_not_fit_are_counted)
{
    static char json[8192];
    char *at = json;

    at += sprintf(at, "{\"vhosts\":[");
    for (int i = 0; i < 200; i++)
        at += sprintf(at, "%s{\"name\":%d}", i ? "," : "", i);
    sprintf(at, "]}");
    ck_assert_int_eq(import_text(json), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text, "f: vhosts[0].name: expected a string\nf: vhosts[1]"));
    at = strstr(error_text, "\n... and ");
    ck_assert_ptr_nonnull(at);
    ck_assert_msg(strcmp(at + strlen(at) - 5, " more") == 0, "%s", at);
}
END_TEST

/* In the middle of a queue's object; refused as queue.declare refuses it. */
static const struct {
    const char *arguments, *error;
} argument_mistake[] = {
    { "\"x-message-ttl\":\"200\"",
      "invalid arg 'x-message-ttl' for queue 'q' in vhost 'v': \"expected integer, got longstr\"" },
    { "\"x-max-priority\":300",
      "invalid arg 'x-max-priority' for queue 'q' in vhost 'v': {max_value_exceeded,300}" },
    { "\"x-overflow\":\"bogus\"",
      "invalid arg 'x-overflow' for queue 'q' in vhost 'v': invalid_overflow" },
    { "\"x-dead-letter-exchange\":1", "invalid type 'long' for arg "
      "'x-dead-letter-exchange' in queue 'q' in vhost 'v'" },
    { "\"x-max-age\":\"7D\"", "invalid arg 'x-max-age' for queue 'q' in vhost 'v' of queue type "
                              "rabbit_classic_queue" },
    { "\"x-queue-type\":\"quorum\",\"x-max-priority\":3", "invalid arg 'x-max-priority' for queue "
      "'q' in vhost 'v' of queue type rabbit_quorum_queue" },
};

START_TEST(test_arguments_must_pass_the_checks_of_a_declaration)
{
    char json[1024];

    snprintf(json, sizeof json,
             "{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
             "\"durable\":true,\"auto_delete\":false,\"arguments\":{%s}}]}",
             argument_mistake[_i].arguments);
    ck_assert_int_eq(import_text(json), -EINVAL);
    ck_assert_msg(strstr(error_text, argument_mistake[_i].error), "%s", error_text);
    ck_assert(broker_is_blank(broker));
}
END_TEST

START_TEST(test_what_this_version_cannot_do_is_left_out_on_request)
{
    skip_unsupported = true;
    import_well("{\"vhosts\":[{\"name\":\"v\"}],\"exchanges\":[{\"name\":\"e\",\"vhost\":\"v\","
                "\"type\":\"x-odd\",\"durable\":true,\"auto_delete\":false},{\"name\":\"f\","
                "\"vhost\":\"v\",\"type\":\"topic\",\"durable\":true,\"auto_delete\":false}],"
                "\"queues\":[{\"name\":\"s\",\"vhost\":\"v\",\"durable\":true,"
                "\"auto_delete\":false,\"arguments\":{\"x-queue-type\":\"stream\"}},"
                "{\"name\":\"q\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":false}],"
                "\"policies\":[{\"name\":\"p\",\"vhost\":\"v\",\"pattern\":\"\","
                "\"definition\":{\"x-odd-key\":1,\"expires\":5}},{\"name\":\"none\","
                "\"vhost\":\"v\",\"pattern\":\"\",\"definition\":{\"x-odd-key\":1}}],"
                "\"parameters\":[{\"vhost\":\"v\",\"component\":\"odd\",\"name\":\"n\","
                "\"value\":1}]}");
    ck_assert_ptr_null(vhost_get_exchange(vhost("v"), AMQP_STR("e")));
    ck_assert_ptr_nonnull(exchange("v", "f"));
    ck_assert_ptr_null(vhost_get_queue(vhost("v"), AMQP_STR("s")));
    ck_assert_ptr_nonnull(queue("v", "q"));
    ck_assert_str_eq(parameter(STORE_KIND_POLICY, "v", "policy", "p"),
                     "{\"apply-to\":\"all\",\"definition\":{\"expires\":5},\"pattern\":\"\","
                     "\"priority\":0}");
    ck_assert_ptr_null(parameter(STORE_KIND_POLICY, "v", "policy", "none"));
    assert_warned("unknown exchange type 'x-odd' (exchange 'e' in vhost 'v'): left out\n");
    assert_warned("there are no streams in this version (queue 's' in vhost 'v'): left out\n");
    assert_warned("unknown policy key 'x-odd-key' (policy 'p' in vhost 'v'): left out\n");
    assert_warned("component odd not found (parameter 'n' in vhost 'v'): left out\n");
}
END_TEST

START_TEST(test_what_has_no_effect_is_reported_once_for_all_that_have_it)
{
    import_well("{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"q\",\"vhost\":\"v\","
                "\"durable\":true,\"auto_delete\":false,\"arguments\":{\"x-mesage-ttl\":5}},"
                "{\"name\":\"r\",\"vhost\":\"v\",\"durable\":true,\"auto_delete\":false,"
                "\"arguments\":{\"odd\":5}}],\"policies\":[{\"name\":\"p\",\"vhost\":\"v\","
                "\"pattern\":\"\",\"definition\":{\"ha-mode\":\"all\"}},{\"name\":\"o\","
                "\"vhost\":\"v\",\"pattern\":\"\",\"definition\":{\"ha-mode\":\"all\","
                "\"expires\":5}}],\"parameters\":[{\"vhost\":\"v\",\"component\":\"shovel\","
                "\"name\":\"n\",\"value\":1}],\"something\":[]}");
    assert_warned("arguments of queues that have no effect in this version: x-mesage-ttl (did you "
                  "mean 'x-message-ttl'?), odd\n");
    assert_warned("keys of policies that have no effect in this version: ha-mode (2)\n");
    assert_warned("parameters of components that have no effect in this version: shovel\n");
    assert_warned("f: 'something' is not known here and has no effect\n");
}
END_TEST

static const struct {
    const char *json, *warning;
} lenient[] = {
    { "{\"vhosts\":[{\"name\":\"a]\",},],}", "commas behind the last element" },
    { "// first\n{\"vhosts\": /* here, ] */ [{\"name\":\"a]\"}]} // last", "f: comments" },
    { "{\"vhosts\":[{\"name\":\"b\"}],\"vhosts\":[{\"name\":\"a]\"}]}",
      "line 1: duplicate object key" },
    { "{\"vhosts\":[{\"name\":\"b\"}],\"vhosts\":[{\"name\":\"a]\",}]}", "of members with one name" },
};

START_TEST(test_files_are_read_as_leniently_as_rabbitmq_reads_them)
{
    import_well(lenient[_i].json);
    ck_assert_ptr_nonnull(vhost("a]"));
    ck_assert_ptr_null(broker_find_vhost(broker, AMQP_STR("b")));
    assert_warned(lenient[_i].warning);
}
END_TEST

START_TEST(test_what_is_no_json_stays_refused)
{
    static const char *const bad[] = { "{,}", "[1,,2]", "{\"a\":1,,}", "/* {}", "{\"a\":\"/*\",",
                                       "/", "{\"a\":1}/", "\"\\" };

    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        ck_assert_msg(import_text(bad[i]) == -EINVAL, "%s", bad[i]);
        ck_assert_msg(strncmp(error_text, "f: line ", 8) == 0, "%s", error_text);
    }
}
END_TEST

START_TEST(test_a_check_alone_changes_nothing)
{
    struct definitions_request wanted = request();
    static char before[STATE_BYTES], after[STATE_BYTES];

    tell_state(before);
    wanted.check_only = true;
    ck_assert_int_eq(definitions_import_file(&wanted, data_path("small.json")), 0);
    tell_state(after);
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(store_open_bytes(store), 0);
}
END_TEST

START_TEST(test_a_check_alone_reports_bindings_that_would_be_dropped)
{
    struct definitions_request wanted = request();
    static const char json[] =
        "{\"vhosts\":[{\"name\":\"v\"}],\"queues\":[{\"name\":\"orders\",\"vhost\":\"v\","
        "\"durable\":true,\"auto_delete\":false}],\"bindings\":[{\"source\":\"amq.direct\","
        "\"vhost\":\"v\",\"destination\":\"orders\",\"destination_type\":\"queue\","
        "\"routing_key\":\"k\"},{\"source\":\"amq.direct\",\"vhost\":\"v\","
        "\"destination\":\"ordres\",\"destination_type\":\"queue\",\"routing_key\":\"k\"}]}";

    wanted.check_only = true;
    ck_assert_int_eq(definitions_import(&wanted,
                                        (struct amqp_bytes){ (const uint8_t *)json,
                                                             sizeof json - 1 }, "f"), 0);
    ck_assert_str_eq(log_text, "f: bindings[1]: would be dropped, as one of its ends does not exist "
                               "(exchange 'amq.direct' to queue 'ordres' in vhost 'v')\n");
}
END_TEST

START_TEST(test_error_text_is_cut_to_its_buffer)
{
    char small[8];
    struct amqp_bytes json = { (const uint8_t *)"[]", 2 };
    struct definitions_request wanted = request();

    wanted.error_text = small;
    wanted.error_text_size = sizeof small;
    ck_assert_int_eq(definitions_import(&wanted, json, "source"), -EINVAL);
    ck_assert_str_eq(small, "source:");
}
END_TEST

/* --- files and directories --- */

static const char *in_directory(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in_directory(name), "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void setup_directory(void)
{
    const char *parent = getenv("TMPDIR");

    setup();
    snprintf(directory, sizeof directory, "%s/definitions.XXXXXX", parent ? parent : P_tmpdir);
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void teardown_directory(void)
{
    static const char *const names[] = { "10.json", "20.json", "9.json", ".hidden", "large" };

    for (size_t i = 0; i < N_ELEMENTS(names); i++)
        (void)unlink(in_directory(names[i])); /* some tests make only some */
    (void)rmdir(in_directory("inner"));
    ck_assert_int_eq(rmdir(directory), 0);
    teardown();
}

static int import_directory(void)
{
    return import_path(directory);
}

START_TEST(test_files_of_a_directory_are_imported_in_order_of_their_names)
{
    write_file("20.json", "{\"users\":[{\"name\":\"u\",\"tags\":\"twenty\"}],"
                          "\"permissions\":[{\"user\":\"u\",\"vhost\":\"v\",\"configure\":\"\","
                          "\"write\":\"\",\"read\":\"\"}]}");
    write_file("10.json", "{\"vhosts\":[{\"name\":\"v\"}],"
                          "\"users\":[{\"name\":\"u\",\"tags\":\"ten\"}]}");
    write_file("9.json", "{\"users\":[{\"name\":\"u\",\"tags\":\"nine\"}]}");
    write_file(".hidden", "no definitions");
    ck_assert_int_eq(mkdir(in_directory("inner"), 0700), 0);
    ck_assert_msg(import_directory() == 0, "%s", error_text);
    ck_assert_str_eq(user("u")->tags, "nine");
    ck_assert_ptr_nonnull(auth_find_permissions(broker->auth, "u", "v"));
}
END_TEST

START_TEST(test_mistake_in_one_file_of_a_directory_keeps_all_of_them_out)
{
    write_file("10.json", "{\"vhosts\":[{\"name\":\"v\"}]}");
    write_file("20.json", "{\"queues\":[{\"name\":\"q\",\"vhost\":\"v\",\"durable\":\"yes\"}]}");
    ck_assert_int_eq(import_directory(), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_text, "/20.json: queues[0].durable: expected true or "
                                             "false"));
    ck_assert(broker_is_blank(broker));
}
END_TEST

START_TEST(test_directory_without_files_is_reported)
{
    ck_assert_int_eq(import_directory(), 0);
    assert_warned("no definition files in this directory");
}
END_TEST

START_TEST(test_file_past_the_limit_is_refused)
{
    write_file("large", "{}");
    ck_assert_int_eq(truncate(in_directory("large"), 64 * 1024 * 1024 + 1), 0);
    ck_assert_int_eq(import_directory(), -EFBIG);
    ck_assert_ptr_nonnull(strstr(error_text, "/large: a definitions file of more than 67108864 "
                                             "octets"));
}
END_TEST

START_TEST(test_missing_file_is_named)
{
    ck_assert_int_eq(import_path("/nonexistent.json"), -ENOENT);
    ck_assert_str_eq(error_text, "/nonexistent.json: No such file or directory");
}
END_TEST

static TCase *make_case(Suite *suite, const char *name, void (*begin)(void), void (*end)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, begin, end);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_imports(TCase *tcase)
{
    tcase_add_test(tcase, test_http_export_is_imported_whole);
    tcase_add_test(tcase, test_what_has_no_effect_or_no_place_is_reported_by_name);
    tcase_add_test(tcase, test_what_this_version_cannot_do_is_left_out_on_request);
    tcase_add_test(tcase, test_what_has_no_effect_is_reported_once_for_all_that_have_it);
    tcase_add_test(tcase, test_ctl_export_with_arrays_of_pairs_is_imported);
    tcase_add_test(tcase, test_type_of_a_queue_becomes_its_argument);
    tcase_add_test(tcase, test_export_of_4_is_imported);
    tcase_add_test(tcase, test_export_of_a_single_vhost_goes_to_the_vhost_that_it_names);
    tcase_add_test(tcase, test_export_of_a_single_vhost_goes_to_the_vhost_of_the_request);
    tcase_add_test(tcase,
                   test_export_of_a_single_vhost_without_a_name_is_refused_with_a_sentence);
    tcase_add_loop_test(tcase, test_import_twice_is_import_once, 0, N_ELEMENTS(good_files));
    tcase_add_test(tcase, test_import_survives_a_restart_and_then_changes_nothing);
    tcase_add_test(tcase, test_empty_files_change_nothing);
    tcase_add_test(tcase, test_byte_order_mark_is_skipped);
    tcase_add_test(tcase, test_existing_queue_and_exchange_are_left_untouched);
    tcase_add_test(tcase, test_the_rest_takes_the_values_of_the_file);
    tcase_add_test(tcase, test_metadata_that_the_file_does_not_mention_stays);
    tcase_add_test(tcase, test_limits_that_the_file_does_not_mention_stay);
    tcase_add_test(tcase, test_plain_password_is_hashed_once);
    tcase_add_test(tcase, test_plain_password_is_hashed_as_the_broker_says);
    tcase_add_loop_test(tcase, test_version_of_the_file_chooses_the_hash_of_users_without_one, 0,
                        N_ELEMENTS(hashing_case));
    tcase_add_test(tcase, test_legacy_administrator_becomes_a_tag);
    tcase_add_test(tcase, test_arguments_take_the_types_of_rabbitmq);
    tcase_add_test(tcase, test_binding_that_its_exchange_refuses_is_dropped);
}

static void add_refusals(TCase *tcase)
{
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_file_cut_at_any_octet_changes_nothing);
    tcase_add_test(tcase, test_arguments_are_bounded_in_depth);
    tcase_add_test(tcase, test_arguments_are_bounded_in_number);
    tcase_add_loop_test(tcase, test_mistake_changes_nothing_and_says_where_it_is, 0,
                        N_ELEMENTS(mistake));
    tcase_add_test(tcase, test_all_mistakes_are_listed_with_the_objects_that_have_them);
    tcase_add_test(tcase, test_mistakes_that_do_not_fit_are_counted);
    tcase_add_loop_test(tcase, test_arguments_must_pass_the_checks_of_a_declaration, 0,
                        N_ELEMENTS(argument_mistake));
    tcase_add_loop_test(tcase, test_files_are_read_as_leniently_as_rabbitmq_reads_them, 0,
                        N_ELEMENTS(lenient));
    tcase_add_test(tcase, test_what_is_no_json_stays_refused);
    tcase_add_test(tcase, test_a_check_alone_changes_nothing);
    tcase_add_test(tcase, test_a_check_alone_reports_bindings_that_would_be_dropped);
    tcase_add_test(tcase, test_error_text_is_cut_to_its_buffer);
    tcase_add_test(tcase, test_missing_file_is_named);
}

static void add_directories(TCase *tcase)
{
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_files_of_a_directory_are_imported_in_order_of_their_names);
    tcase_add_test(tcase, test_mistake_in_one_file_of_a_directory_keeps_all_of_them_out);
    tcase_add_test(tcase, test_directory_without_files_is_reported);
    tcase_add_test(tcase, test_file_past_the_limit_is_refused);
}

int main(void)
{
    Suite *suite = suite_create("definitions");

    add_imports(make_case(suite, "imports", setup, teardown));
    add_refusals(make_case(suite, "refusals", setup, teardown));
    add_directories(make_case(suite, "directories", setup_directory, teardown_directory));
    return unit_run(suite);
}

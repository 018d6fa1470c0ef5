/*
 * config.c - from a key to its row, and what is said when there is none
 *
 * A key is split into words; a pattern matches word by word. Keys with an effect are looked for
 * first (config_keys.c), then those without (config_noted.c). Unknown keys are refused with the
 * nearest known key (edit distance), since a setting that silently does nothing is the worst
 * outcome for the operator. For the same reason a key without effect leaves a note that says why.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/config-internal.h"
#include "server/edit_distance.h"

/* --- reports --- */

static int append_line(char ***lines, size_t *count, const char *format, va_list args)
{
    char **grown = realloc(*lines, (*count + 1) * sizeof **lines);
    char *line;

    if (!grown)
        return -ENOMEM;
    *lines = grown;
    if (vasprintf(&line, format, args) < 0)
        return -ENOMEM;
    grown[(*count)++] = line;
    return 0;
}

int config_error(struct config_report *report, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = append_line(&report->errors, &report->error_count, format, args);
    va_end(args);
    return rc;
}

int config_note(struct config_report *report, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = append_line(&report->notes, &report->note_count, format, args);
    va_end(args);
    return rc;
}

void config_report_release(struct config_report *report)
{
    for (size_t i = 0; i < report->error_count; i++)
        free(report->errors[i]);
    for (size_t i = 0; i < report->note_count; i++)
        free(report->notes[i]);
    free(report->errors);
    free(report->notes);
    *report = (struct config_report){ 0 };
}

int config_put_raw(struct config_raw **list, size_t *count, const char *key, const char *value)
{
    struct config_raw raw = { strdup(key), strdup(value) };
    struct config_raw *grown = NULL;
    size_t i;

    for (i = 0; i < *count; i++)
        if (strcmp((*list)[i].key, key) == 0)
            break;
    if (raw.key && raw.value)
        grown = i < *count ? *list : realloc(*list, (*count + 1) * sizeof *grown);
    if (!grown) {
        free(raw.key);
        free(raw.value);
        return -ENOMEM;
    }
    *list = grown;
    if (i < *count) {
        free(grown[i].key);
        free(grown[i].value);
    } else {
        ++*count;
    }
    grown[i] = raw;
    return 0;
}

/* --- keys --- */

/** struct key - a key in words; "a.b\.c" is the words "a" and "b.c" */
struct key {
    char text[CONFIG_KEY_BYTES]; /* the words, each with a NUL */
    const char *words[CONFIG_WORDS_MAX];
    size_t count;
};

static bool is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Whether `text` is a key: words that are not empty, with dots between them. */
static bool parse_key(const char *text, struct key *ret)
{
    char *at = ret->text;

    if (strlen(text) >= sizeof ret->text)
        return false;
    ret->count = 0;
    do {
        if (ret->count == CONFIG_WORDS_MAX)
            return false;
        ret->words[ret->count++] = at;
        for (; *text && *text != '.'; text++) {
            if (text[0] == '\\' && text[1] == '.')
                text++;
            else if (!is_word_character(*text))
                return false;
            *at++ = *text;
        }
        if (at == ret->words[ret->count - 1])
            return false;
        *at++ = '\0';
    } while (*text++ == '.');
    return true;
}

static bool pattern_matches(const char *at, const struct key *key, const char **ret_name)
{
    *ret_name = NULL;
    for (size_t i = 0; i < key->count; i++) {
        size_t size = strcspn(at, ".");

        if (strcmp(at, "*") == 0)
            return true;
        if (*at == '$')
            *ret_name = key->words[i];
        else if (strlen(key->words[i]) != size || memcmp(at, key->words[i], size) != 0)
            return false;
        at += size;
        if (!*at)
            return i + 1 == key->count;
        at++;
    }
    return false;
}

static const struct config_row *find_row(const struct key *key, const char **ret_name)
{
    size_t count;
    const struct config_row *rows = config_rows(&count);

    for (size_t i = 0; i < count; i++)
        if (pattern_matches(rows[i].key, key, ret_name))
            return &rows[i];
    return NULL;
}

/* Walks to the noted key that matches; false if none does. */
static bool find_noted(const struct key *key, struct config_noted *noted)
{
    const char *ignored;

    *noted = (struct config_noted){ 0 };
    while (config_noted_next(noted))
        if (pattern_matches(noted->pattern, key, &ignored))
            return true;
    return false;
}

/* --- suggestions --- */

/* The pattern with the words of `key` in place of "$name", where both have as many words. */
static void fill_names(const char *at, const struct key *key, char out[CONFIG_KEY_BYTES])
{
    size_t used = 0;

    for (size_t i = 0; *at; i++) {
        bool named = *at == '$' && i < key->count;
        size_t row_size = strcspn(at, ".");
        size_t size = named ? strlen(key->words[i]) : row_size;

        if (size + 1 >= CONFIG_KEY_BYTES - used)
            break;
        memcpy(out + used, named ? key->words[i] : at, size);
        used += size;
        at += row_size;
        if (*at)
            out[used++] = *at++;
    }
    out[used] = '\0';
}

/** struct suggestion - the known key that is nearest so far */
struct suggestion {
    const char *text; /* what was written */
    const struct key *key;
    size_t nearest;
    char found[CONFIG_KEY_BYTES];
};

/* Takes a pattern as the suggestion if it is within `near` edits and nearer than the last one. */
static void consider(struct suggestion *suggestion, const char *pattern, size_t near)
{
    char candidate[CONFIG_KEY_BYTES];
    size_t apart;

    if (strchr(pattern, '*'))
        return;
    fill_names(pattern, suggestion->key, candidate);
    apart = edit_distance(suggestion->text, candidate);
    if (apart > near || apart >= suggestion->nearest)
        return;
    suggestion->nearest = apart;
    strcpy(suggestion->found, candidate);
}

/* Writes the known key nearest to `text`, "" if none is. Keys without effect must be nearer. */
static void suggest_key(struct suggestion *suggestion)
{
    struct config_noted noted = { 0 };
    size_t count;
    const struct config_row *rows = config_rows(&count);

    for (size_t i = 0; i < count; i++)
        consider(suggestion, rows[i].key, strlen(suggestion->text) / 4 + 1);
    while (config_noted_next(&noted))
        consider(suggestion, noted.pattern, 2);
}

static int report_unknown(const char *where, const char *text, const struct key *key,
                          struct config_report *report)
{
    struct suggestion suggestion = { .text = text, .key = key, .nearest = CONFIG_KEY_BYTES };

    suggest_key(&suggestion);
    if (*suggestion.found)
        return config_error(report, "%s: unknown key '%s'; did you mean '%s'?", where, text,
                            suggestion.found);
    return config_error(report, "%s: unknown key '%s'", where, text);
}

/* --- applying --- */

/* Values of several lines may hold newlines and tabs. */
static bool has_control(const char *value)
{
    for (; *value; value++)
        if (((unsigned char)*value < 0x20 && !strchr("\n\t", *value)) || *value == 0x7f)
            return true;
    return false;
}

/* What the row's function found about a value that is not simply good. */
static int report_outcome(struct config *config, int rc, const char *where,
                          const struct config_row *row, const struct config_value *value,
                          struct config_report *report)
{
    switch (rc) {
    case -EINVAL:
        return config_error(report, "%s: '%s': %s", where, value->key, value->problem);
    case -EPERM:
        return config_refuse(config, where, value->key, row->gate, value->problem);
    case -ECANCELED:
        return config_note(report, "%s: '%s' has no effect: %s", where, value->key,
                           value->problem);
    default:
        return rc;
    }
}

static int apply_row(struct config *config, const char *where, const struct config_row *row,
                     struct config_value *value, struct config_report *report)
{
    int rc = row->apply(config, row, value);

    if (rc != -EINVAL)
        config_unrefuse(config, value->key);
    return report_outcome(config, rc, where, row, value, report);
}

static int apply_noted(struct config *config, const char *where, const struct config_noted *noted,
                       struct config_value *value, struct config_report *report)
{
    if (config_check_type(value, noted->type))
        return config_error(report, "%s: '%s': %s", where, value->key, value->problem);
    config_unrefuse(config, value->key);
    if (noted->group->gate)
        return config_refuse(config, where, value->key, noted->group->gate, noted->group->reason);
    return config_note(report, "%s: '%s' has no effect: %s", where, value->key,
                       noted->group->reason);
}

int config_apply(struct config *config, const char *where, const char *text, const char *value,
                 struct config_report *report)
{
    struct config_value parsed = { .text = value, .key = text };
    const struct config_row *row;
    struct config_noted noted;
    struct key key;

    if (!parse_key(text, &key))
        return config_error(report, "%s: '%.100s' is not a key: words of letters, digits, '_' and "
                                    "'-' with dots between them",
                            where, text);
    row = find_row(&key, &parsed.name);
    if (!row && !find_noted(&key, &noted))
        return report_unknown(where, text, &key, report);
    if (has_control(value))
        return config_error(report, "%s: '%s': a control character is in the value", where, text);
    if (row && strncmp(value, "encrypted:", 10) == 0)
        return config_error(report, "%s: '%s': encrypted values are not supported", where, text);
    return row ? apply_row(config, where, row, &parsed, report)
               : apply_noted(config, where, &noted, &parsed, report);
}

int config_set_key(struct config *config, const char *where, const char *key, const char *value,
                   struct config_report *report)
{
    config->internal->no_listeners = false; /* of a file, which this follows */
    return config_apply(config, where, key, value, report);
}

int config_set(struct config *config, const char *setting, struct config_report *report)
{
    size_t key_size = strcspn(setting, "=");
    char where[CONFIG_KEY_BYTES + 16];
    char key[CONFIG_KEY_BYTES];

    if (!setting[key_size])
        return config_error(report, "--set %.100s: expected KEY=VALUE", setting);
    while (key_size > 0 && setting[key_size - 1] == ' ')
        key_size--;
    if (key_size == 0 || key_size >= sizeof key)
        return config_error(report, "--set %.100s: expected KEY=VALUE", setting);
    memcpy(key, setting, key_size);
    key[key_size] = '\0';
    setting += strcspn(setting, "=") + 1;
    setting += strspn(setting, " ");
    (void)snprintf(where, sizeof where, "--set %s", key);
    return config_set_key(config, where, key, setting, report);
}

/* --- lifetime --- */

/* Lists have their defaults by name. */
static const char *const initial_lists[] = {
    "listeners.tcp.default=5672",
    "loopback_users.guest=true",
    "default_user_tags.administrator=true",
};

static int set_defaults(struct config *config)
{
    size_t count;
    const struct config_row *rows = config_rows(&count);
    struct config_report report = { 0 };

    for (size_t i = 0; i < count; i++) {
        struct config_value value = { .text = rows[i].initial };

        if (rows[i].initial && rows[i].width) {
            int rc = rows[i].apply(config, &rows[i], &value);

            assert(rc == 0 || rc == -ENOMEM); /* defaults are good values */
            if (rc)
                return rc;
        }
    }
    for (size_t i = 0; i < N_ELEMENTS(initial_lists); i++) {
        int rc = config_set(config, initial_lists[i], &report);

        assert(report.error_count == 0 && report.note_count == 0);
        if (rc)
            return rc;
    }
    config->store.readers = 2; /* not a setting: the design's number */
    config->internal->default_listeners = true;
    config->internal->default_loopback = true;
    config->internal->default_tags = true;
    return 0;
}

struct config *config_new(void)
{
    struct config *config = calloc(1, sizeof *config);

    if (!config)
        return NULL;
    config->internal = calloc(1, sizeof *config->internal);
    if (!config->internal || set_defaults(config) < 0) {
        config_free(config);
        return NULL;
    }
    return config;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    if (config->internal) {
        for (size_t i = 0; i < config->internal->raw_count; i++) {
            free(config->internal->raw[i].key);
            free(config->internal->raw[i].value);
        }
        free(config->internal->raw);
        config_release_security(config->internal);
        free(config->internal);
    }
    config_clear_listeners(config);
    config_clear_names(&config->default_tags);
    config_clear_names(&config->loopback_users);
    free(config->mechanisms);
    free(config->default_user);
    free(config->default_pass);
    free(config->default_vhost);
    free(config->default_configure);
    free(config->default_write);
    free(config->default_read);
    free(config->log_directory);
    free(config->log_file_name);
    free(config->definitions_path);
    free(config->definitions_vhost);
    free(config->cluster_name);
    free(config);
}

int config_log_path(const struct config *config, char **ret_path)
{
    char *path = NULL;
    int rc = 0;

    if (config->log_file && config->log_file_name[0] == '/')
        rc = asprintf(&path, "%s", config->log_file_name);
    else if (config->log_file)
        rc = asprintf(&path, "%s/%s", config->log_directory, config->log_file_name);
    if (rc < 0)
        return -ENOMEM;
    *ret_path = path;
    return 0;
}

void config_each_key(void (*visit)(void *context, const char *key, const char *initial,
                                   enum config_effect effect),
                     void *context)
{
    struct config_noted noted = { 0 };
    size_t count;
    const struct config_row *rows = config_rows(&count);

    for (size_t i = 0; i < count; i++)
        visit(context, rows[i].key, rows[i].initial ? rows[i].initial : "",
              rows[i].gate ? CONFIG_REFUSED : CONFIG_EFFECT);
    while (config_noted_next(&noted))
        visit(context, noted.pattern, "", noted.group->gate ? CONFIG_REFUSED : CONFIG_NOTED);
}

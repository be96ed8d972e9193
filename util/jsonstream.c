/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/error.h"
#include "util/jsonstream.h"

/*
 * Theory of operation
 *
 * A scanner finds where a document ends, and enforces the limits before the
 * bytes are kept; jansson alone judges what lies between.  The scanner looks at
 * each byte once, whatever the split, and knows brackets (their number, not
 * their kind), strings and words:
 *
 *   IDLE    between documents
 *   WORD    a document that is neither bracket nor string: a literal, a number
 *           or garbage, up to white space or the start of another document
 *   INSIDE  between brackets, outside strings
 *   STRING  in a string; ESCAPE: behind its backslash
 *   SKIP    behind text that has no end to be found: up to the next newline
 *
 * A string cannot hold a raw newline, so an unterminated one costs a line.
 */
typedef enum {
    STATE_IDLE,
    STATE_WORD,
    STATE_INSIDE,
    STATE_STRING,
    STATE_ESCAPE,
    STATE_SKIP,
} State;

/* A buffer that grew beyond this is not kept for the next document. */
#define KEPT_BYTES 65536

struct HmJsonStream {
    HmJsonStreamFunc func;
    HmJsonStreamTextFunc text_func;
    gsize aside; /* size of documents for @text_func */
    gpointer user_data;
    State state;
    GString *text; /* of the document so far */
    guint depth;
    guint tokens;
    gboolean in_word; /* INSIDE: the byte before belongs to a word */
    gboolean feeding;
    gboolean freed; /* by the callback */
};

static gboolean is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static gboolean is_control(char c)
{
    return (guchar)c < 0x20;
}

/* One document, by jansson */

/* Its words for an error, and QEMU's. */
static const struct {
    const char *jansson;
    const char *qemu;
} phrases[] = {
    {"unexpected token near", "expecting value, not"},
    {"unexpected token", "expecting value"},
    {"invalid token near", "invalid keyword"},
    {"invalid token", "invalid keyword"},
    {"end of file expected near", "stray"},
    {"end of file expected", "stray text"},
    {"duplicate object key near", "duplicate key"},
    {"duplicate object key", "duplicate key"},
    {"premature end of input", "premature EOI"},
    {"\\u0000 is not allowed without JSON_ALLOW_NUL", "\\u0000 in a string"},
};

static void set_parse_error(GError **error, const char *text)
{
    const char *phrase = "";
    g_autofree char *valid = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(phrases); i++) {
        if (g_str_has_prefix(text, phrases[i].jansson)) {
            phrase = phrases[i].qemu;
            text += strlen(phrases[i].jansson);
            break;
        }
    }
    valid = g_utf8_make_valid(text, -1);
    hm_set_error(error, HOSTMEM_ERROR_INVALID, "JSON parse error, %s%s", phrase,
                 valid);
}

static gboolean is_number_byte(char c)
{
    return g_ascii_isdigit(c) || c == '+' || c == '-' || c == '.' || c == 'e' ||
           c == 'E';
}

/* Bytes of the string, number or other byte at @text. */
static gsize measure_token(const char *text, gsize length)
{
    gsize n = 1;

    if (*text == '"') {
        while (n < length && text[n] != '"') {
            n += text[n] == '\\' ? 2 : 1;
        }
        return MIN(n + 1, length);
    }
    while (n < length && is_number_byte(*text) && is_number_byte(text[n])) {
        n++;
    }
    return n;
}

static gboolean is_big_integer(const char *token, gsize length)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    if (length < strlen("9223372036854775808") || !is_number_byte(*token)) {
        return FALSE;
    }
    text = g_strndup(token, length);
    g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, NULL, &error);
    return g_error_matches(error, G_NUMBER_PARSER_ERROR,
                           G_NUMBER_PARSER_ERROR_OUT_OF_BOUNDS);
}

/* A copy in which integers outside int64 are written as reals. */
static GString *widen_integers(const GString *text)
{
    GString *widened = g_string_sized_new(text->len);
    gsize i = 0;

    while (i < text->len) {
        gsize n = measure_token(text->str + i, text->len - i);

        g_string_append_len(widened, text->str + i, (gssize)n);
        if (is_big_integer(text->str + i, n)) {
            g_string_append(widened, ".0");
        }
        i += n;
    }
    return widened;
}

/* What jansson still has to read. */
typedef struct {
    const char *data;
    gsize length;
    GCancellable *cancellable;
} Input;

static size_t read_input(void *buffer, size_t size, void *data)
{
    Input *input = data;
    gsize n = MIN(size, input->length);

    if (g_cancellable_is_cancelled(input->cancellable)) {
        return (size_t)-1;
    }
    memcpy(buffer, input->data, n);
    input->data += n;
    input->length -= n;
    return n;
}

static json_t *load(const GString *text, GCancellable *cancellable,
                    json_error_t *details)
{
    Input input = {text->str, text->len, cancellable};

    return json_load_callback(
        read_input, &input, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, details);
}

json_t *hm_json_parse_text(const GString *text, GCancellable *cancellable,
                           GError **error)
{
    json_error_t details;
    json_t *value = load(text, cancellable, &details);

    if (!value && json_error_code(&details) == json_error_numeric_overflow) {
        GString *widened = widen_integers(text);

        value = load(widened, cancellable, &details);
        g_string_free(widened, TRUE);
    }
    if (!value) {
        set_parse_error(error, details.text);
    }
    return value;
}

/* The stream */

HmJsonStream *hm_json_stream_new(HmJsonStreamFunc func, gpointer user_data)
{
    HmJsonStream *self = g_new0(HmJsonStream, 1);

    self->func = func;
    self->user_data = user_data;
    self->aside = G_MAXSIZE;
    self->text = g_string_new(NULL);
    return self;
}

void hm_json_stream_set_aside(HmJsonStream *self, gsize size,
                              HmJsonStreamTextFunc func)
{
    self->aside = size;
    self->text_func = func;
}

void hm_json_stream_free(HmJsonStream *self)
{
    if (!self) {
        return;
    }
    if (self->feeding) {
        self->freed = TRUE;
        return;
    }
    g_string_free(self->text, TRUE);
    g_free(self);
}

static void reset(HmJsonStream *self, State state)
{
    self->state = state;
    self->depth = 0;
    self->tokens = 0;
    self->in_word = FALSE;
    if (self->text->allocated_len > KEPT_BYTES) {
        g_string_free(self->text, TRUE);
        self->text = g_string_new(NULL);
    }
    g_string_truncate(self->text, 0);
}

static void deliver_text(HmJsonStream *self)
{
    GString *text = self->text;

    self->text = g_string_new(NULL);
    reset(self, STATE_IDLE);
    self->text_func(text, self->user_data);
}

static void deliver_value(HmJsonStream *self)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *value = hm_json_parse_text(self->text, NULL, &error);

    reset(self, STATE_IDLE);
    self->func(value, error, self->user_data);
}

/* The document is complete. */
static void deliver(HmJsonStream *self)
{
    if (self->text->len >= self->aside) {
        deliver_text(self);
    } else {
        deliver_value(self);
    }
}

/* The document is broken and has no end to be found. */
static void give_up(HmJsonStream *self, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static void give_up(HmJsonStream *self, const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    va_list args;

    va_start(args, format);
    error =
        g_error_new_valist(HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID, format, args);
    va_end(args);
    reset(self, STATE_SKIP);
    self->func(NULL, error, self->user_data);
}

/* The scanner, byte by byte */

typedef enum {
    GO_ON,
    END_WITH,   /* this byte is the document's last */
    END_BEFORE, /* the byte before was */
    BAD_CONTROL,
    TOO_DEEP,
    TOO_MANY_TOKENS,
} Verdict;

static gboolean begins_value(char c)
{
    return c == '{' || c == '[' || c == '"';
}

static void count_token(HmJsonStream *self, gboolean word)
{
    if (!word || !self->in_word) {
        self->tokens++;
    }
    self->in_word = word;
}

static Verdict scan_bracket(HmJsonStream *self, char c)
{
    if (c == '{' || c == '[') {
        return ++self->depth > HM_JSON_MAX_DEPTH ? TOO_DEEP : GO_ON;
    }
    return --self->depth == 0 ? END_WITH : GO_ON;
}

static Verdict scan_inside(HmJsonStream *self, char c)
{
    if (is_space(c)) {
        self->in_word = FALSE;
        return GO_ON;
    }
    if (is_control(c)) {
        return BAD_CONTROL;
    }
    count_token(self, !strchr("{}[],:\"", c));
    if (self->tokens > HM_JSON_MAX_TOKENS) {
        return TOO_MANY_TOKENS;
    }
    if (c == '"') {
        self->state = STATE_STRING;
    }
    return strchr("{}[]", c) ? scan_bracket(self, c) : GO_ON;
}

static Verdict scan_string(HmJsonStream *self, char c)
{
    if (is_control(c)) {
        return BAD_CONTROL;
    }
    if (self->state == STATE_ESCAPE) {
        self->state = STATE_STRING;
    } else if (c == '\\') {
        self->state = STATE_ESCAPE;
    } else if (c == '"') {
        self->state = STATE_INSIDE;
        return self->depth ? GO_ON : END_WITH;
    }
    return GO_ON;
}

static Verdict scan_word(char c)
{
    if (is_space(c) || begins_value(c)) {
        return END_BEFORE;
    }
    return is_control(c) ? BAD_CONTROL : GO_ON;
}

static Verdict scan_byte(HmJsonStream *self, char c)
{
    switch (self->state) {
    case STATE_WORD:
        return scan_word(c);
    case STATE_INSIDE:
        return scan_inside(self, c);
    case STATE_STRING:
    case STATE_ESCAPE:
        return scan_string(self, c);
    case STATE_IDLE:
    case STATE_SKIP:
        break;
    }
    g_return_val_if_reached(GO_ON);
}

static void conclude(HmJsonStream *self, Verdict verdict, char c)
{
    gboolean in_string =
        self->state == STATE_STRING || self->state == STATE_ESCAPE;

    switch (verdict) {
    case GO_ON:
        break;
    case END_WITH:
    case END_BEFORE:
        deliver(self);
        break;
    case BAD_CONTROL:
        give_up(self, "JSON parse error, control character 0x%02x%s", c,
                in_string ? " in a string" : "");
        break;
    case TOO_DEEP:
        give_up(self, "JSON nesting depth limit exceeded (%d levels)",
                HM_JSON_MAX_DEPTH);
        break;
    case TOO_MANY_TOKENS:
        give_up(self, "JSON token count limit exceeded (%u in a message)",
                HM_JSON_MAX_TOKENS);
        break;
    }
}

/* Each takes bytes from @p on and returns where it stopped. */

static const char *take_idle(HmJsonStream *self, const char *p, const char *end)
{
    while (p < end && is_space(*p)) {
        p++;
    }
    if (p < end) {
        self->state = begins_value(*p) ? STATE_INSIDE : STATE_WORD;
    }
    return p;
}

static const char *take_skipped(HmJsonStream *self, const char *p,
                                const char *end)
{
    const char *newline = memchr(p, '\n', (gsize)(end - p));

    if (!newline) {
        return end;
    }
    self->state = STATE_IDLE;
    return newline + 1;
}

static const char *take_document(HmJsonStream *self, const char *p,
                                 const char *end)
{
    gsize room = HM_JSON_MAX_BYTES - self->text->len;
    const char *start = p;
    Verdict verdict = GO_ON;

    if (!room) {
        give_up(self, "JSON token size limit exceeded (%u bytes in a message)",
                HM_JSON_MAX_BYTES);
        return p;
    }
    end = p + MIN(room, (gsize)(end - p));
    while (p < end) {
        verdict = scan_byte(self, *p);
        if (verdict != GO_ON) {
            break;
        }
        p++;
    }
    g_string_append_len(self->text, start,
                        p - start + (verdict == END_WITH ? 1 : 0));
    conclude(self, verdict, verdict == GO_ON ? 0 : *p);
    return verdict == END_WITH ? p + 1 : p;
}

static const char *take(HmJsonStream *self, const char *p, const char *end)
{
    switch (self->state) {
    case STATE_IDLE:
        return take_idle(self, p, end);
    case STATE_SKIP:
        return take_skipped(self, p, end);
    case STATE_WORD:
    case STATE_INSIDE:
    case STATE_STRING:
    case STATE_ESCAPE:
        return take_document(self, p, end);
    }
    g_return_val_if_reached(end);
}

/* The callback may free the stream: only now is it safe. */
static void stop_feeding(HmJsonStream *self)
{
    self->feeding = FALSE;
    if (self->freed) {
        hm_json_stream_free(self);
    }
}

void hm_json_stream_feed(HmJsonStream *self, const char *data, gsize length)
{
    const char *end = data + length;

    g_return_if_fail(!self->feeding);

    self->feeding = TRUE;
    while (data < end && !self->freed) {
        data = take(self, data, end);
    }
    stop_feeding(self);
}

gboolean hm_json_stream_is_inside(const HmJsonStream *self)
{
    return self->state != STATE_IDLE && self->state != STATE_SKIP;
}

void hm_json_stream_end(HmJsonStream *self)
{
    g_return_if_fail(!self->feeding);

    self->feeding = TRUE;
    if (self->state == STATE_WORD) {
        deliver(self);
    } else if (self->state != STATE_IDLE && self->state != STATE_SKIP) {
        give_up(self, "JSON parse error, premature EOI");
    }
    if (!self->freed) {
        reset(self, STATE_IDLE);
    }
    stop_feeding(self);
}

/* One value, alone */

typedef struct {
    json_t *value;
    GError *error; /* the first; with @value as well when more came behind */
} Single;

static void take_single(json_t *value, const GError *error, gpointer user_data)
{
    Single *single = user_data;

    if (single->error) {
        return;
    }
    if (single->value) {
        hm_set_error(&single->error, HOSTMEM_ERROR_INVALID,
                     "JSON parse error, stray text behind the value");
    } else if (value) {
        single->value = json_incref(value);
    } else {
        single->error = g_error_copy(error);
    }
}

json_t *hm_json_parse(const char *text, gsize length, GError **error)
{
    Single single = {NULL, NULL};
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(take_single, &single);

    hm_json_stream_feed(stream, text, length);
    hm_json_stream_end(stream);
    if (single.error) {
        json_decref(single.value);
        g_propagate_error(error, single.error);
        return NULL;
    }
    if (!single.value) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "JSON parse error, expecting value");
    }
    return single.value;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/parser.h"
#include "util/jsonstream.h"
#include "util/thread.h"

/*
 * Theory of operation
 *
 * The first of the queue has a thread that knows it and nothing else, and frees
 * the text.  Its last act is to attach a source to the main context; there the
 * thread is joined, the answer given, and the next one started.  Who cancels
 * waits for nothing: the thread ends by itself.
 */

struct HmQmpParse {
    HmQmpParser *owner;
    HmQmpParseFunc func; /* NULL: cancelled, or to drop */
    gpointer user_data;
    GCancellable *cancellable;
    GThread *thread; /* NULL: waits, or the main loop parses it */
    GSource *done;   /* attached by the thread */
    GString *text; /* NULL: to drop; these three are the thread's until done */
    json_t *message;
    GError *error;
};

struct HmQmpParser {
    GMainContext *context;
    GQueue queue; /* of HmQmpParse, owned; the first is under way */
};

HmQmpParser *hm_qmp_parser_new(void)
{
    HmQmpParser *self = g_new0(HmQmpParser, 1);

    self->context = g_main_context_ref_thread_default();
    g_queue_init(&self->queue);
    return self;
}

static void parse_free(HmQmpParse *parse)
{
    if (parse->text) {
        g_string_free(parse->text, TRUE);
    }
    json_decref(parse->message);
    g_clear_error(&parse->error);
    g_source_unref(parse->done);
    g_object_unref(parse->cancellable);
    g_free(parse);
}

static void join(HmQmpParse *parse)
{
    g_clear_pointer(&parse->thread, g_thread_join);
    g_source_destroy(parse->done);
}

void hm_qmp_parser_free(HmQmpParser *self)
{
    HmQmpParse *parse;

    while ((parse = g_queue_pop_head(&self->queue))) {
        g_cancellable_cancel(parse->cancellable);
        join(parse);
        parse_free(parse);
    }
    g_main_context_unref(self->context);
    g_free(self);
}

/* Parsing */

static gpointer parse_main(gpointer data)
{
    HmQmpParse *parse = data;

    if (parse->text) {
        parse->message =
            hm_json_parse_text(parse->text, parse->cancellable, &parse->error);
        g_string_free(g_steal_pointer(&parse->text), TRUE);
    } else {
        g_clear_pointer(&parse->message, json_decref);
    }
    g_source_attach(parse->done, parse->owner->context);
    return NULL;
}

/* Without a thread it holds up the main loop, which still works. */
static void start_first(HmQmpParser *self)
{
    HmQmpParse *parse = g_queue_peek_head(&self->queue);

    if (!parse) {
        return;
    }
    parse->thread = hm_thread_new("hostmem-parse", parse_main, parse, NULL);
    if (!parse->thread) {
        parse_main(parse);
    }
}

static gboolean on_done(gpointer user_data)
{
    HmQmpParse *parse = user_data;
    HmQmpParser *self = parse->owner;

    join(parse);
    g_queue_pop_head(&self->queue);
    start_first(self);
    if (parse->func) {
        parse->func(parse->message, parse->error, parse->user_data);
    }
    parse_free(parse);
    return G_SOURCE_REMOVE;
}

static HmQmpParse *enqueue(HmQmpParser *self)
{
    HmQmpParse *parse = g_new0(HmQmpParse, 1);

    parse->owner = self;
    parse->cancellable = g_cancellable_new();
    parse->done = g_idle_source_new();
    g_source_set_priority(parse->done, G_PRIORITY_DEFAULT);
    g_source_set_callback(parse->done, on_done, parse, NULL);
    g_queue_push_tail(&self->queue, parse);
    return parse;
}

static void begin(HmQmpParser *self)
{
    if (self->queue.length == 1) {
        start_first(self);
    }
}

HmQmpParse *hm_qmp_parser_start(HmQmpParser *self, GString *text,
                                HmQmpParseFunc func, gpointer user_data)
{
    HmQmpParse *parse = enqueue(self);

    parse->text = text;
    parse->func = func;
    parse->user_data = user_data;
    begin(self);
    return parse;
}

void hm_qmp_parser_drop(HmQmpParser *self, json_t *message)
{
    enqueue(self)->message = message;
    begin(self);
}

/* One that waits gets its turn as well, and is soon done with. */
void hm_qmp_parse_cancel(HmQmpParse *parse)
{
    parse->func = NULL;
    g_cancellable_cancel(parse->cancellable);
}

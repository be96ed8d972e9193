/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <jansson.h>

/*
 * A stream of bytes to JSON values.
 *
 * Push bytes as they come; each complete value, or each error, is handed to
 * the callback, in order.  No newline is needed between values.  After an error
 * the stream goes on behind the next newline, or at once where the broken text
 * ended cleanly: with its last bracket or quote, or as a word.
 *
 * Errors are %HOSTMEM_ERROR_INVALID: "JSON parse error, ..." or "JSON ... limit
 * exceeded".  Time is linear in the bytes, whatever the split; memory is that
 * of one message.  Use a stream from one thread at a time.
 */
typedef struct HmJsonStream HmJsonStream;

/* Of one value: levels of brackets, bytes, and brackets, commas, words... */
#define HM_JSON_MAX_DEPTH  1024
#define HM_JSON_MAX_BYTES  (64u << 20)
#define HM_JSON_MAX_TOKENS (2u << 20)

/**
 * @value: (transfer none) (nullable): NULL with @error
 *
 * The callback may free the stream, feeding then ends at once; it does not
 * feed.
 */
typedef void (*HmJsonStreamFunc)(json_t *value, const GError *error,
                                 gpointer user_data);

HmJsonStream *hm_json_stream_new(HmJsonStreamFunc func, gpointer user_data);
void hm_json_stream_free(HmJsonStream *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmJsonStream, hm_json_stream_free)

/**
 * @text: (transfer full): for hm_json_parse_text(); the callback keeps to the
 * same rules
 */
typedef void (*HmJsonStreamTextFunc)(GString *text, gpointer user_data);

/** Hand over values of @size bytes and more unparsed, for that takes long. */
void hm_json_stream_set_aside(HmJsonStream *self, gsize size,
                              HmJsonStreamTextFunc func);

/**
 * hm_json_parse_text: what a stream has set aside.
 * @cancellable: (nullable): ends it soon, with an error; any thread
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID, as of the
 * stream
 */
json_t *hm_json_parse_text(const GString *text, GCancellable *cancellable,
                           GError **error);

/** Any bytes, any split. */
void hm_json_stream_feed(HmJsonStream *self, const char *data, gsize length);
/** Whether a value has begun and is not complete. */
gboolean hm_json_stream_is_inside(const HmJsonStream *self);
/**
 * The end: an unfinished value is an error ("premature EOI").  What is fed
 * afterwards is a stream of its own.
 */
void hm_json_stream_end(HmJsonStream *self);

/**
 * hm_json_parse: one value, alone.
 *
 * Depth, size and token limits as of the stream.  An integer outside int64
 * becomes a real, so that whoever checks it can name the parameter.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID, as of the
 * stream
 */
json_t *hm_json_parse(const char *text, gsize length, GError **error);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include "hostmemctl.h"

/* Ranges of a backend, and what is to become of them. */

#define ALL "all"

static gboolean refuse_range(const CtlCall *call, const char *word,
                             GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                "%s: '%s' is no range: OFFSET+LENGTH is expected, such as "
                "1G+512M, or " ALL,
                call->command->name, word);
    return FALSE;
}

/* What JSON has no number for is no range either. */
static gboolean parse_size(const char *text, guint64 *bytes)
{
    return hostmem_size_parse(text, bytes, NULL) && *bytes <= G_MAXINT64;
}

static gboolean add_range(const CtlCall *call, json_t *ranges, const char *word,
                          GError **error)
{
    const char *plus = strchr(word, '+');
    g_autofree char *first = plus ? g_strndup(word, plus - word) : NULL;
    guint64 offset, length;

    if (!plus || !parse_size(first, &offset) ||
        !parse_size(plus + 1, &length)) {
        return refuse_range(call, word, error);
    }
    json_array_append_new(ranges,
                          json_pack("{s:I,s:I}", "offset", (json_int_t)offset,
                                    "length", (json_int_t)length));
    return TRUE;
}

/* (transfer full) (nullable): NULL without an error: all of it. */
static json_t *ranges_of(const CtlCall *call, char **words, GError **error)
{
    json_auto_t *ranges = NULL;

    if (!*words || (g_str_equal(*words, ALL) && !words[1])) {
        return NULL;
    }
    ranges = json_array();
    for (; *words; words++) {
        if (!add_range(call, ranges, *words, error)) {
            return NULL;
        }
    }
    return json_incref(ranges);
}

/* (transfer full) (nullable): a range that is all of a backend. */
static json_t *all_of(CtlPeer *peer, const char *id, GError **error)
{
    g_autofree char *path = g_strconcat("/objects/", id, NULL);
    json_auto_t *size = ctl_peer_call(
        peer, "qom-get",
        json_pack("{s:s,s:s}", "path", path, "property", "size"), error);

    if (!size) {
        return NULL;
    }
    return json_pack("[{s:i,s:I}]", "offset", 0, "length",
                     json_integer_value(size));
}

/* Both */

/*
 * (transfer full) (nullable): what the command returned.
 * @advice: (nullable)
 * @words: those of the ranges, which are read before anybody is asked
 * @peer: (out): who was asked
 */
static json_t *call_with_ranges(CtlCall *call, const char *command,
                                const char *advice, char **words,
                                CtlPeer **peer, GError **error)
{
    const char *id = call->words[0];
    g_autoptr(GError) wrong = NULL;
    json_auto_t *ranges = ranges_of(call, words, &wrong);

    if (wrong) {
        g_propagate_error(error, g_steal_pointer(&wrong));
        return NULL;
    }
    *peer = ctl_peer_new(call, error);
    if (!*peer || (!ranges && !(ranges = all_of(*peer, id, error)))) {
        return NULL;
    }
    return ctl_peer_call(*peer, command,
                         json_pack("{s:s,s:O,s:s*}", "id", id, "ranges", ranges,
                                   "advice", advice),
                         error);
}

int ctl_run_discard(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = NULL;
    json_auto_t *done = call_with_ranges(call, "memory-discard", NULL,
                                         call->words + 1, &peer, error);

    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_run_advise(CtlCall *call, GError **error)
{
    g_autoptr(CtlPeer) peer = NULL;
    json_auto_t *done = call_with_ranges(call, "memory-advise", call->words[1],
                                         call->words + 2, &peer, error);
    const char *job = peer_json_string(done, "job");

    if (!job || !ctl_call_has(call, "--wait")) {
        return done ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    g_autoptr(CtlProgress) progress = ctl_progress_new();
    return ctl_job_wait(peer, job, progress, error);
}

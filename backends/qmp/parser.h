/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <jansson.h>

/**
 * HmQmpParser: large messages, parsed beside the main loop.
 *
 * One at a time, whoever sent them: a large tree in memory is enough.
 */
typedef struct HmQmpParser HmQmpParser;
typedef struct HmQmpParse HmQmpParse; /* a message that waits or is parsed */

/** @message: (transfer none) (nullable): NULL with @error */
typedef void (*HmQmpParseFunc)(json_t *message, const GError *error,
                               gpointer user_data);

HmQmpParser *hm_qmp_parser_new(void);
/** Pre: nobody waits for a message any more. */
void hm_qmp_parser_free(HmQmpParser *self);

/**
 * hm_qmp_parser_start: parse a message that HmJsonStream has set aside.
 * @text: (transfer full)
 * @func: runs once, later, in the thread-default context of this thread,
 * unless cancelled
 *
 * Returns: (transfer none): for hm_qmp_parse_cancel(), until @func runs
 */
HmQmpParse *hm_qmp_parser_start(HmQmpParser *self, GString *text,
                                HmQmpParseFunc func, gpointer user_data);
void hm_qmp_parse_cancel(HmQmpParse *parse);

/** Give up a large message, which takes long too; (transfer full). */
void hm_qmp_parser_drop(HmQmpParser *self, json_t *message);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <jansson.h>

/* JSON that a peer has sent: nothing in it is to be trusted, so that nothing is
 * there, and of the right type, before it was asked for. */

/**
 * peer_json_parse: one value.
 *
 * An integer outside int64 becomes a real.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID
 */
json_t *peer_json_parse(const char *text, GError **error);
/** (transfer full): in one line, of ASCII alone. */
char *peer_json_to_text(const json_t *value);

/** (transfer none) (nullable): a member that is a string. */
const char *peer_json_string(const json_t *object, const char *key);
/** A member that is an integer from 0 up.  FALSE, and 0, without one. */
gboolean peer_json_number(const json_t *object, const char *key,
                          guint64 *number);
/** (transfer none) (nullable): of an array of objects, that one whose member
 * @key is @value. */
json_t *peer_json_find(const json_t *array, const char *key, const char *value);

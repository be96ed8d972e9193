/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/props.h"

/*
 * `key=value,...` in both of QEMU's dialects at once:
 *
 *   legacy   host-nodes=0-1,host-nodes=3   (repeat the key; ranges)
 *   keyval   host-nodes.0=0,host-nodes.1=1 (dotted indices, gapless)
 *
 * A doubled comma stands for one in a value.  The first part may leave out its
 * key.  `flag` and `noflag` stand for flag=on and flag=off.  Of a scalar that
 * is repeated the last value counts, `id` included.
 */
typedef struct HmKeyval HmKeyval;

/**
 * hm_keyval_parse: split the text; values stay text.
 * @implied_key: (nullable): key of a first part without '='
 *
 * Returns: NULL with %HOSTMEM_ERROR_INVALID (a malformed key, no UTF-8)
 */
HmKeyval *hm_keyval_parse(const char *text, const char *implied_key,
                          GError **error);
void hm_keyval_free(HmKeyval *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmKeyval, hm_keyval_free)

/** (transfer none) (nullable): a scalar's value; the last one counts. */
const char *hm_keyval_get(const HmKeyval *self, const char *key);

/** (transfer container): all of its values, in order, NULL-terminated. */
const char **hm_keyval_get_all(const HmKeyval *self, const char *key);

/** (transfer none) (nullable): the first key of a value that has no row. */
const char *hm_keyval_find_unknown(const HmKeyval *self,
                                   const HmProp *(*find)(const char *key,
                                                         gpointer data),
                                   gpointer data);

/**
 * hm_keyval_to_json: the object that QMP would have sent.
 * @find: the row of a key, or NULL when there is none; a READ_ONLY row is none
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID ("Invalid
 * parameter 'x'", "Parameters 'x.*' are unexpected", a value)
 */
json_t *hm_keyval_to_json(const HmKeyval *self,
                          const HmProp *(*find)(const char *key, gpointer data),
                          gpointer data, GError **error);

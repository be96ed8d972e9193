/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/virtio/discard.h"

/*
 * A source without memory: blocks that are populated or not.  Any thread.
 */
#define HM_TEST_SOURCE_BLOCK ((guint64)0x1000)

#define HM_TYPE_TEST_SOURCE  (hm_test_source_get_type())
G_DECLARE_FINAL_TYPE(HmTestSource, hm_test_source, HM, TEST_SOURCE, GObject)

/** (transfer full): with @n_blocks that are all discarded */
HmTestSource *hm_test_source_new(guint n_blocks);

/** Populate blocks, none of which is; FALSE: as a source's request fails. */
gboolean hm_test_source_plug(HmTestSource *self, guint first, guint n,
                             GError **error);
/** Discard blocks, whatever they are. */
gboolean hm_test_source_unplug(HmTestSource *self, guint first, guint n,
                               GError **error);
/** (transfer full): a character per block, '#' populated, '.' discarded. */
char *hm_test_source_map(HmTestSource *self);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/registry.h>

/*
 * What the tests of memory pools have in common: a registry with a pool "p0" of
 * four segments of 2 MiB.
 */

#define HM_TEST_SEGMENT (G_GUINT64_CONSTANT(2) << 20)
#define HM_TEST_POOL    "memory-pool,id=p0,size=8M,segment-size=2M"

/** (transfer none): an object of a line, which works. */
gpointer hm_test_add(HostmemRegistry *registry, const char *line);
/** It does not: see hm_test_assert_error(). */
void hm_test_assert_add_fails(HostmemRegistry *registry, const char *line,
                              gint code, const char *part);
/** Remove an object, which works. */
void hm_test_remove(HostmemRegistry *registry, const char *id);

/** Sizes of the pool now, in segments. */
void hm_test_assert_segments(gpointer pool, guint ready, guint lent);
/** Wait until so many are ready, none is dirty and none is missing. */
void hm_test_await_ready(gpointer pool, guint ready);

/** All bytes of a backend are that. */
gboolean hm_test_is_filled(gpointer backend, guint8 byte);
void hm_test_fill_with(gpointer backend, guint8 byte);
/** The file that the backend's first byte lies in. */
guint64 hm_test_inode(gpointer backend);

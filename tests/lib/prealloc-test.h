/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/prealloc.h"

/*
 * A region to populate, with all that a run of it needs and gives.
 *
 * Without a plan set by the test each chunk is populated writable.  Chunks are
 * as the engine chooses, unless the test sets options.chunk_size.
 */
typedef struct {
    gsize page; /* bytes */
    HmPreallocPlan plan;
    HmPreallocRegion region;
    HmPreallocOptions options;
    HmProgress progress;
    GCancellable *cancellable;
    HmPreallocResult result;
    HmPreallocFailure failure;
    GError *error;
    void *reserved;
    gsize reserved_length;
} PreallocTest;

/** Private anonymous memory at a multiple of 2 MiB; no huge pages. */
void prealloc_test_map_anon(PreallocTest *test, gsize length);
/** A memfd, mapped from its second page on, at a multiple of 2 MiB. */
void prealloc_test_map_memfd(PreallocTest *test, gsize length, int map_flags);
/** Cut the region in chunks of @pages; one worker. */
void prealloc_test_set_chunks(PreallocTest *test, gsize pages);
void prealloc_test_set_plan(PreallocTest *test, const HmPreallocPlan *plan);
/** The whole region is a hole. */
void prealloc_test_set_holes(PreallocTest *test, const HmRangeList *holes);
void prealloc_test_clear(PreallocTest *test);

gboolean prealloc_test_run(PreallocTest *test);
/** Run and succeed. */
void prealloc_test_succeed(PreallocTest *test);
/** Run and fail with this error. */
void prealloc_test_fail(PreallocTest *test, GQuark domain, int code);

/** Bytes with page tables. */
guint64 prealloc_test_populated(const PreallocTest *test);
/** Bytes with storage in the file. */
guint64 prealloc_test_backed(const PreallocTest *test);
/** A different byte in each page; and whether they are still there. */
void prealloc_test_fill(PreallocTest *test, gsize first, gsize pages);
void prealloc_test_assert_filled(const PreallocTest *test, gsize first,
                                 gsize pages);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib/gstdio.h>
#include <hostmem/error.h>
#include <unistd.h>
#include "os-fake.h"
#include "snapshot-test.h"
#include "util/mmap.h"
#include "util/size.h"
#include "util/snapshot.h"

/* What the tests of util/snapshot have in common. */

#ifndef SIZE
#define SIZE (32 * HM_MIB)
#endif

/* Memory, and where its image goes. */
typedef struct {
    HmBacking backing;
    HmMapping mapping;
    char *folder;
    char *path;
    HmProgress progress;
    HmSnapshotOptions options;
} Fixture;

typedef enum {
    ANON,
    HUGE,
    MEMFD,
    UNSEALED,
} Kind;

static inline void map_kind(Fixture *fixture, Kind kind)
{
    const HmMappingOptions options = {.name = "test"};
    g_autoptr(GError) error = NULL;

    if (kind == MEMFD || kind == UNSEALED) {
        hm_backing_init_memfd(&fixture->backing, "test", SIZE, 0, kind == MEMFD,
                              TRUE, &error);
    } else {
        hm_backing_init_anon(&fixture->backing, SIZE, &error);
    }
    g_assert_no_error(error);
    hm_mapping_init(&fixture->mapping, &fixture->backing, &options, &error);
    g_assert_no_error(error);
    hm_os_advise(fixture->mapping.addr, SIZE,
                 kind == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static inline void set_up(Fixture *fixture, gconstpointer data)
{
    hm_fake_reset();
    fixture->backing = (HmBacking)HM_BACKING_INIT;
    map_kind(fixture, (Kind)GPOINTER_TO_INT(data));
    fixture->folder = g_dir_make_tmp("hostmem-snapshot-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "image", NULL);
    fixture->options = (HmSnapshotOptions){
        .backing = &fixture->backing,
        .addr = fixture->mapping.addr,
        .size = SIZE,
        .path = fixture->path,
        .threads = 2,
        .progress = &fixture->progress,
    };
}

static inline void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    hm_fake_reset();
    g_unlink(fixture->path);
    g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
    hm_mapping_clear(&fixture->mapping);
    hm_backing_clear(&fixture->backing);
    g_free(fixture->folder);
    g_free(fixture->path);
}

static inline HmSnapshot *start(Fixture *fixture)
{
    g_autoptr(HmRangeList) all = hm_range_list_new();
    g_autoptr(GError) error = NULL;
    const HmRange range = {0, SIZE};
    HmSnapshot *snapshot = hm_snapshot_new(&fixture->options, &error);

    g_assert_no_error(error);
    hm_range_list_add(all, &range);
    hm_snapshot_arm(snapshot, all, &error);
    g_assert_no_error(error);
    return snapshot;
}

static inline void run(HmSnapshot *snapshot)
{
    g_autoptr(GError) error = NULL;

    hm_snapshot_run(snapshot, NULL, &error);
    g_assert_no_error(error);
}

/* (transfer full): what the image holds; munmap() it. */
static inline guint8 *load(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = hm_image_open(fixture->path, SIZE, &error);
    void *addr;

    g_assert_no_error(error);
    g_assert_cmpint(hm_os_map(NULL, SIZE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &addr),
                    ==, 0);
    hm_image_load(image, addr, 2, NULL, NULL, &error);
    g_assert_no_error(error);
    return addr;
}

static inline gboolean can_protect(void)
{
    const char *why = hm_test_no_write_protect();

    if (why) {
        g_test_skip(why);
    }
    return !why;
}

#define ADD(path, kind, func)                                             \
    g_test_add("/snapshot/" path, Fixture, GINT_TO_POINTER(kind), set_up, \
               func, tear_down)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/snapshot.h>
#include "object-test.h"
#include "os-fake.h"
#include "snapshot-test.h"
#include "virtio-mem-test.h"

/* Snapshots of memory that comes and goes in blocks. */

typedef struct {
    HostmemBackend *memdev;
    HostmemVirtioMem *device;
    char *path;
} Fixture;

static gboolean set_up(Fixture *f, const char *type)
{
    const char *why = hm_test_no_write_protect();

    if (why) {
        g_test_skip(why);
        return FALSE;
    }
    f->memdev = hm_test_memdev(type);
    f->device =
        hm_test_virtio_mem(f->memdev, "requested-size", (guint64)REGION, NULL);
    f->path = g_build_filename(hm_test_folder(), "image", NULL);
    return TRUE;
}

static void tear_down(Fixture *f)
{
    g_object_unref(f->device);
    g_object_unref(f->memdev);
    g_free(f->path);
}

static void fill_block(Fixture *f, guint block, guint8 value)
{
    guint8 *addr = hostmem_backend_get_host_addr(f->memdev);

    hm_test_set_memory(addr + block * BLOCK, value, BLOCK);
}

static void plug(Fixture *f, gint first, guint16 n)
{
    hm_test_assert_answer(f->device, PLUG, first, n, ACK);
}

static HostmemJob *start(Fixture *f, guint64 max_bandwidth)
{
    const HostmemSnapshotOptions options = {.max_bandwidth = max_bandwidth};
    g_autoptr(GError) error = NULL;
    HostmemJob *job =
        hostmem_backend_snapshot(f->memdev, f->path, &options, &error);

    g_assert_no_error(error);
    return job;
}

static void wait_for(HostmemJob *job)
{
    g_autoptr(GError) error = NULL;

    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    error = hostmem_job_get_error(job);
    g_assert_no_error(error);
}

/* Blocks of the image that have this value, as a bit each. */
static guint64 find_blocks(Fixture *f, int value)
{
    g_autofree char *options =
        g_strdup_printf("memory-backend-ram,image=%s", f->path);
    g_autoptr(HostmemBackend) image = hm_test_memdev(options);
    const guint8 *addr = hostmem_backend_get_host_addr(image);
    guint64 found = 0;

    for (guint i = 0; i < REGION / BLOCK; i++) {
        if (addr[i * BLOCK] == value && addr[(i + 1) * BLOCK - 1] == value) {
            found |= G_GUINT64_CONSTANT(1) << i;
        }
    }
    return found;
}

static void check_plugged_alone(const char *type)
{
    g_autoptr(HostmemJob) job = NULL;
    Fixture f;

    if (!set_up(&f, type)) {
        return;
    }
    plug(&f, 2, 3);
    fill_block(&f, 2, 7);
    fill_block(&f, 4, 7);
    fill_block(&f, 10, 7); /* a guest that does not keep to its blocks */
    job = start(&f, 0);
    fill_block(&f, 11, 7); /* and is not held up there */
    wait_for(job);
    g_assert_cmphex(find_blocks(&f, 7), ==, 1 << 2 | 1 << 4);
    tear_down(&f);
}

static void test_plugged_alone(void)
{
    check_plugged_alone("memory-backend-ram");
}

static void test_plugged_alone_shared(void)
{
    check_plugged_alone("memory-backend-memfd");
}

static void check_unplug_meanwhile(const char *type)
{
    g_autoptr(HostmemJob) job = NULL;
    Fixture f;

    if (!set_up(&f, type)) {
        return;
    }
    plug(&f, 0, 8);
    for (guint i = 0; i < 8; i++) {
        fill_block(&f, i, 7);
    }
    job = start(&f, 5 * HM_MIB);
    hm_test_assert_answer(f.device, UNPLUG, 4, 4, ACK);
    g_assert_false(hostmem_job_is_over(job));
    plug(&f, 6, 1);
    fill_block(&f, 6, 8);
    wait_for(job);
    g_assert_cmphex(find_blocks(&f, 7), ==, 0xff);
    tear_down(&f);
}

static void test_unplug_meanwhile(void)
{
    check_unplug_meanwhile("memory-backend-ram");
}

static void test_unplug_meanwhile_shared(void)
{
    check_unplug_meanwhile("memory-backend-memfd");
}

static void test_plug_meanwhile(void)
{
    g_autoptr(HostmemJob) job = NULL;
    Fixture f;

    if (!set_up(&f, "memory-backend-ram")) {
        return;
    }
    plug(&f, 0, 4);
    fill_block(&f, 0, 7);
    fill_block(&f, 3, 7);
    job = start(&f, 4 * HM_MIB);
    plug(&f, 8, 2);
    fill_block(&f, 8, 7);
    wait_for(job);
    g_assert_cmphex(find_blocks(&f, 7), ==, 1 | 1 << 3);
    tear_down(&f);
}

/* A listener that is being told of a change holds up all others. */

static gboolean refuse_snapshot(HostmemDiscardSource *source G_GNUC_UNUSED,
                                guint64 offset G_GNUC_UNUSED,
                                guint64 length G_GNUC_UNUSED,
                                gpointer user_data,
                                GError **error G_GNUC_UNUSED)
{
    Fixture *f = user_data;
    GError *why = NULL;

    g_assert_null(hostmem_backend_snapshot(f->memdev, f->path, NULL, &why));
    hm_test_assert_error(why, HOSTMEM_ERROR_BUSY, "listener");
    return TRUE;
}

static void test_in_callback(void)
{
    static const HostmemDiscardListener listener = {refuse_snapshot, NULL};
    g_autoptr(HostmemJob) job = NULL;
    Fixture f;

    if (!set_up(&f, "memory-backend-ram")) {
        return;
    }
    hostmem_discard_source_add_listener(HOSTMEM_DISCARD_SOURCE(f.device), 0,
                                        REGION, &listener, &f, NULL, NULL);
    plug(&f, 0, 1);
    job = start(&f, 0);
    wait_for(job);
    tear_down(&f);
}

/* To make a device is to empty its memory. */
static void test_new_device_meanwhile(void)
{
    g_autoptr(HostmemJob) job = NULL;
    Fixture f;

    if (!set_up(&f, "memory-backend-ram")) {
        return;
    }
    g_clear_object(&f.device);
    fill_block(&f, 0, 7);
    fill_block(&f, 5, 7);
    job = start(&f, HM_MIB);
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_BUSY, "busy memdev", "memdev",
                                 f.memdev, NULL);
    g_assert_true(hostmem_job_cancel(job, NULL));
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    f.device = hm_test_virtio_mem(f.memdev, NULL);
    tear_down(&f);
}

/* Nor is what came from an image lost to one. */
static void test_new_device_on_image(void)
{
    g_autoptr(HostmemBackend) filled = NULL;
    g_autofree char *options = NULL;
    g_autoptr(HostmemJob) job = NULL;
    Fixture f;

    if (!set_up(&f, "memory-backend-ram")) {
        return;
    }
    plug(&f, 0, 1);
    fill_block(&f, 0, 7);
    job = start(&f, 0);
    wait_for(job);
    options = g_strdup_printf("memory-backend-ram,image=%s", f.path);
    filled = hm_test_memdev(options);
    hm_test_assert_no_virtio_mem(HOSTMEM_ERROR_INVALID,
                                 "a memdev that is filled from an 'image': mem0"
                                 ". A new virtio-mem device would discard what "
                                 "it holds",
                                 "memdev", filled, NULL);
    g_assert_cmpuint(*(guint8 *)hostmem_backend_get_host_addr(filled), ==, 7);
    tear_down(&f);
}

static const HmTest tests[] = {
    {"/virtio-mem-snapshot/plugged-alone", test_plugged_alone},
    {"/virtio-mem-snapshot/plugged-alone/shared", test_plugged_alone_shared},
    {"/virtio-mem-snapshot/unplug-meanwhile", test_unplug_meanwhile},
    {"/virtio-mem-snapshot/unplug-meanwhile/shared",
     test_unplug_meanwhile_shared},
    {"/virtio-mem-snapshot/plug-meanwhile", test_plug_meanwhile},
    {"/virtio-mem-snapshot/in-callback", test_in_callback},
    {"/virtio-mem-snapshot/new-device-meanwhile", test_new_device_meanwhile},
    {"/virtio-mem-snapshot/new-device-on-image", test_new_device_on_image},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

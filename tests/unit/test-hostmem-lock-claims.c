/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <glib/gstdio.h>
#include <hostmem/registry.h>
#include <hostmem/virtio-mem.h>
#include "smaps-test.h"
#include "util/os.h"
#include "util/size.h"

/*
 * What "mem-lock" promises, on the real kernel, as the kernel itself accounts
 * for it.
 */

#define SIZE (4 * HM_MIB)
#define HALF (SIZE / 2)

/* Faults besides ours: a context switch at a bad moment. */
#define STRAY_FAULTS 2

static HostmemRegistry *registry;
static char *folder;

/* (nullable) (transfer none): NULL, and the test is skipped, where the host
 * does not let us. */
static HostmemBackend *make(const char *options, const char *more)
{
    g_autofree char *all = g_strconcat(options, ",id=m0", more, NULL);
    g_autoptr(GError) error = NULL;
    HostmemObject *object = hostmem_registry_add(registry, all, NULL, &error);

    if (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT) ||
        g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES)) {
        g_test_skip(error->message);
        return NULL;
    }
    g_assert_no_error(error);
    return HOSTMEM_BACKEND(object);
}

static void drop(const char *id)
{
    g_autoptr(GError) error = NULL;

    hostmem_registry_remove(registry, id, &error);
    g_assert_no_error(error);
}

static void read_smaps(HostmemBackend *backend, HmTestSmaps *sums)
{
    hm_test_read_smaps(hostmem_backend_get_host_addr(backend), SIZE, sums);
    g_assert_cmpuint(sums->size, ==, SIZE);
    g_assert_cmpuint(sums->locks, ==, sums->mappings);
    g_assert_cmpuint(sums->locks_on_fault, ==, sums->mappings);
}

static void assert_locked(HostmemBackend *backend, guint64 bytes)
{
    HostmemBackendUsage usage;
    HmTestSmaps sums;

    read_smaps(backend, &sums);
    g_assert_cmpuint(sums.resident, ==, bytes);
    g_assert_cmpuint(sums.locked, ==, bytes);
    hostmem_backend_get_usage(backend, &usage);
    g_assert_cmpuint(usage.mapped, ==, SIZE);
    g_assert_cmpuint(usage.resident, ==, bytes);
    g_assert_cmpuint(usage.locked, ==, bytes);
}

/* Kinds of memory */

#define RAM   "memory-backend-ram,size=4M"
#define MEMFD "memory-backend-memfd,size=4M"
#define SHM   "memory-backend-shm,size=4M"
#define FILE_ "memory-backend-file,size=4M,mem-path="

static const char *const kinds[] = {
    RAM,   RAM ",thp=off",   RAM ",share=on",   RAM ",share=on,thp=off",
    MEMFD, MEMFD ",thp=off", MEMFD ",seal=off", MEMFD ",share=off",
    SHM,   SHM ",thp=off",
};

static void check_on(const char *options)
{
    HostmemBackend *backend = make(options, ",mem-lock=on");

    if (backend) {
        assert_locked(backend, SIZE);
        drop("m0");
    }
}

static void test_on(gconstpointer options)
{
    check_on(options);
}

static void populate(HostmemBackend *backend, guint64 offset, guint64 length)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_populate(backend, offset, length, NULL, &error);
    g_assert_no_error(error);
}

static void discard(HostmemBackend *backend, guint64 offset, guint64 length)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_discard(backend, offset, length, &error);
    g_assert_no_error(error);
}

/* Nothing; what was written; what was populated; less after a discard; and
 * what comes again is locked again. */
static void check_on_fault(const char *options)
{
    HostmemBackend *backend = make(options, ",mem-lock=on-fault");
    guint8 *addr;

    if (!backend) {
        return;
    }
    addr = hostmem_backend_get_host_addr(backend);
    assert_locked(backend, 0);
    memset(addr, 1, HALF);
    assert_locked(backend, HALF);
    populate(backend, HALF, HALF);
    assert_locked(backend, SIZE);
    discard(backend, HALF, HALF);
    assert_locked(backend, HALF);
    memset(addr + HALF, 1, HALF);
    assert_locked(backend, SIZE);
    drop("m0");
}

static void test_on_fault(gconstpointer options)
{
    check_on_fault(options);
}

/* Files; what the file has is there for a private mapping of it, too */

static char *file_options(const char *share)
{
    return g_strdup_printf(FILE_ "%s/f,share=%s", folder, share);
}

static void test_on_file(void)
{
    g_autofree char *shared = file_options("on");
    g_autofree char *private = file_options("off");

    check_on(shared);
    check_on(private);
}

static void test_on_fault_file(void)
{
    g_autofree char *shared = file_options("on");
    g_autofree char *private = file_options("off");

    check_on_fault(shared);
    check_on_fault(private);
}

static void test_not_locked(void)
{
    HostmemBackend *backend = make(RAM, ",prealloc=on");
    HostmemBackendUsage usage;
    HmTestSmaps sums;

    hm_test_read_smaps(hostmem_backend_get_host_addr(backend), SIZE, &sums);
    hostmem_backend_get_usage(backend, &usage);
    g_assert_cmpuint(sums.locks, ==, 0);
    g_assert_cmpuint(usage.resident, ==, SIZE);
    g_assert_cmpuint(usage.locked, ==, 0);
    drop("m0");
}

/* Nobody has asked us. */
static void test_locked_by_somebody_else(void)
{
    HostmemBackend *backend = make(RAM, ",prealloc=on");
    guint8 *addr = hostmem_backend_get_host_addr(backend);
    HostmemBackendUsage usage;

    if (hm_os_mlock(addr, SIZE)) {
        g_test_skip("not as much memory may be locked here");
    } else {
        hostmem_backend_get_usage(backend, &usage);
        g_assert_cmpuint(usage.locked, ==, SIZE);
    }
    drop("m0");
}

/* Everywhere: a job */

static void test_job(void)
{
    HostmemBackend *backend =
        make(MEMFD ",thp=off", ",mem-lock=on-fault,prealloc=on,"
                               "prealloc-async=on");
    g_autoptr(HostmemJob) job = NULL;

    if (!backend) {
        return;
    }
    job = hostmem_backend_get_job(backend);
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    assert_locked(backend, SIZE);
    drop("m0");
}

/* Bytes of all mappings of this process that are locked. */
static guint64 locked_by_process(void)
{
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
    line = strstr(text, "\nVmLck:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("\nVmLck:"), NULL, 10) * HM_KIB;
}

/* Several files, which the pool has mapped as well: a share is ours; and the
 * lock is all ours. */
static void test_pool(void)
{
    const guint64 before = locked_by_process();
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend;
    HmTestSmaps sums;

    hostmem_registry_add(registry, "memory-pool,id=p0,size=4M,segment-size=2M",
                         NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(locked_by_process(), ==, before);
    backend = make(MEMFD, ",pool=p0,mem-lock=on");
    if (backend) {
        read_smaps(backend, &sums);
        g_assert_cmpuint(sums.mappings, ==, 2);
        g_assert_cmpuint(sums.resident, ==, SIZE);
        g_assert_cmpuint(locked_by_process(), ==, before + SIZE);
        discard(backend, 0, HALF);
        read_smaps(backend, &sums);
        g_assert_cmpuint(sums.resident, ==, HALF);
        drop("m0");
        g_assert_cmpuint(locked_by_process(), ==, before);
    }
    drop("p0");
}

/* No fault */

static guint64 count_faults(void)
{
    struct rusage usage;

    g_assert_cmpint(getrusage(RUSAGE_THREAD, &usage), ==, 0);
    return (guint64)usage.ru_minflt + (guint64)usage.ru_majflt;
}

static void test_no_fault(void)
{
    HostmemBackend *backend = make(RAM ",thp=off", ",mem-lock=on");
    volatile guint8 *addr;
    guint64 before;

    if (!backend) {
        return;
    }
    addr = hostmem_backend_get_host_addr(backend);
    count_faults(); /* the code is there from now */
    before = count_faults();
    for (gsize at = 0; at < SIZE; at += hm_os_page_size()) {
        addr[at] = 42;
    }
    g_assert_cmpuint(count_faults() - before, <=, STRAY_FAULTS);
    drop("m0");
}

/* virtio-mem: what is plugged */

static void ask(HostmemVirtioMem *device, HostmemVirtioMemRequestType type,
                guint64 block, guint16 n)
{
    const HostmemVirtioMemRequest request = {
        .type = type,
        .addr = hostmem_virtio_mem_get_address(device) +
                block * hostmem_virtio_mem_get_block_size(device),
        .nb_blocks = n,
    };
    HostmemVirtioMemResponse response;
    g_autoptr(GError) error = NULL;

    hostmem_virtio_mem_request(device, &request, &response, &error);
    g_assert_no_error(error);
    g_assert_cmpint(response.answer, ==, HOSTMEM_VIRTIO_MEM_ACK);
}

static void check_virtio_mem(const char *options)
{
    HostmemBackend *backend = make(options, ",mem-lock=on-fault,reserve=off");
    g_autoptr(GError) error = NULL;
    HostmemDevice *made;
    HostmemVirtioMem *device;

    if (!backend) {
        return;
    }
    made = hostmem_registry_add_device(
        registry,
        "virtio-mem,id=vm0,memdev=m0,prealloc=on,block-size=1M,"
        "requested-size=4M",
        NULL, &error);
    g_assert_no_error(error);
    device = HOSTMEM_VIRTIO_MEM(made);
    assert_locked(backend, 0);
    ask(device, HOSTMEM_VIRTIO_MEM_PLUG, 1, 2);
    assert_locked(backend, 2 * HM_MIB);
    ask(device, HOSTMEM_VIRTIO_MEM_UNPLUG, 1, 1);
    assert_locked(backend, HM_MIB);
    hostmem_virtio_mem_reset(device);
    assert_locked(backend, 0);
    hostmem_virtio_mem_set_requested_size(device, 0, &error);
    hostmem_registry_remove_device(registry, "vm0", &error);
    g_assert_no_error(error);
    drop("m0");
}

static void test_virtio_mem(gconstpointer options)
{
    check_virtio_mem(options);
}

/* Life */

static void add_kinds(const char *path, GTestDataFunc func)
{
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *name = g_strdup_printf(
            "%s/%s", path, kinds[i] + strlen("memory-backend-"));

        g_test_add_data_func(name, kinds[i], func);
    }
}

static void add(const char *path, GTestFunc func)
{
    g_test_add_func(path, func);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    registry = hostmem_registry_new();
    folder = g_dir_make_tmp("hostmem-test-XXXXXX", NULL);
    add_kinds("/lock-claims/on", test_on);
    add_kinds("/lock-claims/on-fault", test_on_fault);
    add("/lock-claims/on/file", test_on_file);
    add("/lock-claims/on-fault/file", test_on_fault_file);
    add("/lock-claims/not-locked", test_not_locked);
    add("/lock-claims/locked-by-somebody-else", test_locked_by_somebody_else);
    add("/lock-claims/job", test_job);
    add("/lock-claims/pool", test_pool);
    add("/lock-claims/no-fault", test_no_fault);
    g_test_add_data_func("/lock-claims/virtio-mem/ram", RAM ",thp=off",
                         test_virtio_mem);
    g_test_add_data_func("/lock-claims/virtio-mem/memfd", MEMFD ",thp=off",
                         test_virtio_mem);
    ret = g_test_run();
    {
        g_autofree char *path = g_build_filename(folder, "f", NULL);

        g_unlink(path);
    }
    g_rmdir(folder);
    g_free(folder);
    g_object_unref(registry);
    return ret;
}

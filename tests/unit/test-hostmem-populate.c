/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <hostmem/backend.h>
#include <hostmem/thread-context.h>
#include "backends/object.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/size.h"

#define SIZE       (16 * HM_MIB)
#define RAM        "memory-backend-ram,id=m0,size=16M,"
#define ONE_THREAD "prealloc-threads=1,"

static HostmemPreallocReport report_of(HostmemBackend *backend)
{
    HostmemPreallocReport report;

    hostmem_backend_get_report(backend, &report);
    return report;
}

static void assert_all_populated(HostmemBackend *backend)
{
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, SIZE);
    g_assert_cmpuint(hostmem_backend_get_backed_size(backend), ==, SIZE);
}

static void pretend_little_memory(void)
{
    hm_fake_set_file("/proc/meminfo", "MemTotal:       65536 kB\n"
                                      "MemAvailable:    1024 kB\n"
                                      "SwapTotal:          0 kB\n"
                                      "SwapFree:           0 kB\n");
}

/* At creation */

static void test_at_creation(void)
{
    static const char *const options[] = {
        RAM "prealloc=on",
        RAM "prealloc=on,share=on",
        "memory-backend-memfd,id=m0,size=16M,prealloc=on",
        "memory-backend-memfd,id=m0,size=16M,prealloc=on,share=off",
        "memory-backend-shm,id=m0,size=16M,prealloc=on",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autoptr(HostmemBackend) backend = hm_test_make(options[i]);

        assert_all_populated(backend);
        hm_test_assert_reads(backend, "prealloc", "true");
    }
}

static void test_report(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM "prealloc=on");
    HostmemPreallocReport report = report_of(ram);
    g_autofree char *method = g_strdup_printf("\"%s\"", report.method);

    g_assert_false(report.running);
    g_assert_cmpuint(report.done, ==, SIZE);
    g_assert_cmpuint(report.total, ==, SIZE);
    g_assert_nonnull(report.reason);
    g_assert_cmpint(report.elapsed_us, >=, 0);
    hm_test_assert_reads(ram, "prealloc-method", method);
}

static void test_no_report_without(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM "prealloc=off");
    HostmemPreallocReport report = report_of(ram);

    g_assert_null(report.method);
    g_assert_cmpuint(report.total, ==, 0);
    g_assert_false(report.running);
}

static void test_threads_are_obeyed(void)
{
    for (guint threads = 1; threads <= 3; threads++) {
        g_autofree char *options =
            g_strdup_printf(RAM "prealloc=on,prealloc-threads=%u", threads);
        g_autoptr(HostmemBackend) ram = hm_test_make(options);

        g_assert_cmpuint(report_of(ram).threads, ==, threads);
        assert_all_populated(ram);
    }
}

static void test_auto_threads_by_size(void)
{
    g_autoptr(HostmemBackend) small = NULL;
    g_autoptr(HostmemBackend) large = NULL;

    hm_fake_set_nodes(1, 8, 64 * HM_GIB);
    small = hm_test_make(RAM "prealloc=on");
    large = hm_test_make("memory-backend-ram,id=m1,size=128M,prealloc=on");
    g_assert_cmpuint(report_of(small).threads, ==, 1);
    g_assert_cmpuint(report_of(large).threads, ==, 2);
}

static void test_auto_threads_by_cpus(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    hm_fake_set_nodes(2, 1, 64 * HM_GIB);
    ram = hm_test_make("memory-backend-ram,id=m1,size=128M,prealloc=on,"
                       "policy=bind,host-nodes=1");
    g_assert_cmpuint(report_of(ram).threads, ==, 1);
}

/* Where workers run */

typedef struct {
    GMutex lock;
    HmIdset *cpus; /* of all that populated */
    gboolean foreign;
    pid_t caller;
} Places;

static gint64 remember_place(const HmFakeRecord *record, gpointer data)
{
    Places *places = data;
    g_autoptr(HmIdset) cpus = hm_idset_new();

    if (record->arg == MADV_POPULATE_WRITE) {
        g_assert_cmpint(hm_os_get_affinity(0, cpus), ==, 0);
        g_mutex_lock(&places->lock);
        hm_idset_union(places->cpus, cpus);
        places->foreign |= hm_os_thread_id() != places->caller;
        g_mutex_unlock(&places->lock);
    }
    return 0;
}

/* (transfer full): the CPUs of all workers of one creation. */
static char *workers_of(HostmemThreadContext *context, HostmemPolicy policy,
                        const char *nodes, gboolean *foreign)
{
    g_autoptr(HmIdset) cpus = hm_idset_new();
    Places places = {.cpus = cpus, .caller = hm_os_thread_id()};
    g_autoptr(HostmemBackend) ram = NULL;
    g_autoptr(GError) error = NULL;

    g_mutex_init(&places.lock);
    hm_fake_hook(HM_FAKE_ADVISE, remember_place, &places);
    ram = g_initable_new(HOSTMEM_TYPE_BACKEND_RAM, NULL, &error, "size", SIZE,
                         "prealloc", TRUE, "prealloc-threads", 2,
                         "prealloc-context", context, "policy", policy,
                         "host-nodes", nodes, NULL);
    hm_fake_hook(HM_FAKE_ADVISE, NULL, NULL);
    g_assert_no_error(error);
    g_mutex_clear(&places.lock);
    *foreign = places.foreign;
    return hm_idset_to_string(cpus);
}

/* The real affinity: a pretended one is not inherited. */
static void test_workers_of_a_context(void)
{
    g_autoptr(HostmemThreadContext) context = NULL;
    g_autoptr(HmIdset) allowed = hm_idset_new();
    g_autofree char *cpu = NULL;
    g_autofree char *cpus = NULL;
    gboolean foreign;
    guint first;

    g_assert_cmpint(hm_os_get_affinity(0, allowed), ==, 0);
    g_assert_true(hm_idset_next(allowed, 0, &first));
    cpu = g_strdup_printf("%u", first);
    context = g_initable_new(HOSTMEM_TYPE_THREAD_CONTEXT, NULL, NULL,
                             "cpu-affinity", cpu, NULL);
    cpus = workers_of(context, HOSTMEM_POLICY_DEFAULT, "", &foreign);
    g_assert_true(foreign);
    g_assert_cmpstr(cpus, ==, cpu);
}

static void test_workers_near_the_memory(void)
{
    g_autofree char *cpus = NULL;
    gboolean foreign;

    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    cpus = workers_of(NULL, HOSTMEM_POLICY_BIND, "1,3", &foreign);
    g_assert_cmpstr(cpus, ==, "2-3,6-7");
}

static void test_workers_anywhere(void)
{
    g_autofree char *cpus = NULL;
    gboolean foreign;

    hm_fake_set_nodes(4, 2, 8 * HM_GIB);
    cpus = workers_of(NULL, HOSTMEM_POLICY_DEFAULT, "", &foreign);
    g_assert_cmpuint(hm_fake_count(HM_FAKE_SET_AFFINITY), ==, 0);
}

/* At run time */

static void test_turned_on(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM "prealloc=off");
    guint calls;

    hm_test_assert_set(ram, "prealloc", "on");
    hm_test_assert_reads(ram, "prealloc", "true");
    assert_all_populated(ram);
    calls = hm_fake_count_advice(MADV_POPULATE_WRITE);
    hm_test_assert_set(ram, "prealloc", "on");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, calls);
}

static void test_turned_off(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM "prealloc=off");

    hm_test_assert_set(ram, "prealloc", "off");
    hm_test_assert_set(ram, "prealloc", "on");
    hm_test_assert_set_fails(
        ram, "prealloc", "off", HOSTMEM_ERROR_INVALID,
        "property 'prealloc' of memory-backend-ram 'm0' cannot be turned off: "
        "populated memory is not given back that way");
}

static void test_turned_on_without_reserve(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM "reserve=off");

    hm_test_assert_set_fails(
        ram, "prealloc", "on", HOSTMEM_ERROR_INVALID,
        "'prealloc=on' and 'reserve=off' are incompatible");
}

static void assert_turning_on_fails(HostmemBackend *backend, gint code,
                                    const char *part)
{
    GError *error = NULL;

    g_assert_false(hostmem_object_set(HOSTMEM_OBJECT(backend), "prealloc", "on",
                                      NULL, &error));
    hm_test_assert_error(error, code, part);
    hm_test_assert_reads(backend, "prealloc", "false");
}

static void test_failure_rolls_back(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);
    guint8 *addr = hostmem_backend_get_host_addr(ram);
    guint64 before;

    *addr = 42;
    before = hostmem_backend_get_populated_size(ram);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, EIO);
    assert_turning_on_fails(ram, HOSTMEM_ERROR_SYSTEM,
                            "preallocating memory failed");
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), ==, before);
    g_assert_cmpuint(*addr, ==, 42);
    g_assert_false(report_of(ram).running);
}

static void test_failure_of_held_memory(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);

    hostmem_object_hold(HOSTMEM_OBJECT(ram));
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, EIO);
    assert_turning_on_fails(ram, HOSTMEM_ERROR_SYSTEM,
                            "preallocating memory failed");
    g_assert_cmpuint(hostmem_backend_get_populated_size(ram), >=, 8 * HM_MIB);
}

/* Whoever holds in the middle may have written where it was populated. */
static gint64 hold_and_write(const HmFakeRecord *record, gpointer backend)
{
    guint8 *addr = hostmem_backend_get_host_addr(backend);

    if (record->arg != MADV_POPULATE_WRITE || record->addr == addr ||
        hostmem_object_is_held(backend)) {
        return 0;
    }
    hostmem_object_hold(backend);
    *addr = 42;
    return -EIO;
}

static void test_hold_in_the_middle(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);

    hm_fake_hook(HM_FAKE_ADVISE, hold_and_write, ram);
    assert_turning_on_fails(ram, HOSTMEM_ERROR_SYSTEM,
                            "preallocating memory failed");
    g_assert_cmpuint(*(guint8 *)hostmem_backend_get_host_addr(ram), ==, 42);
}

typedef struct {
    HostmemBackend *backend;
    HostmemPreallocReport report;
} Watch;

static gint64 look_at_report(const HmFakeRecord *record, gpointer data)
{
    Watch *watch = data;

    if (record->arg == MADV_POPULATE_WRITE) {
        watch->report = report_of(watch->backend);
    }
    return 0;
}

static void test_report_while_running(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);
    Watch watch = {.backend = ram};

    hm_fake_hook(HM_FAKE_ADVISE, look_at_report, &watch);
    hm_test_assert_set(ram, "prealloc", "on");
    g_assert_true(watch.report.running);
    g_assert_cmpuint(watch.report.total, ==, SIZE);
    g_assert_cmpuint(watch.report.done, >, 0);
    g_assert_cmpuint(watch.report.done, <, SIZE);
    g_assert_cmpuint(watch.report.threads, ==, 1);
}

/* Cancelling */

static gint64 cancel_at_second(const HmFakeRecord *record, gpointer cancellable)
{
    if (record->arg == MADV_POPULATE_WRITE &&
        hm_fake_count_advice(MADV_POPULATE_WRITE) == 2) {
        g_cancellable_cancel(cancellable);
    }
    return 0;
}

static void test_cancel_creation(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    guint fds = hm_test_count_fds();

    hm_fake_hook(HM_FAKE_ADVISE, cancel_at_second, cancellable);
    g_assert_null(
        hm_test_try_make("memory-backend-ram,id=m0,size=17412K,share=on,"
                         "prealloc=on,prealloc-threads=1",
                         cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), <, 5);
    g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    g_assert_cmpuint(hm_test_count_mappings(HM_TEST_ODD_SIZE), ==, 0);
}

static void test_cancel_change(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;

    hm_fake_hook(HM_FAKE_ADVISE, cancel_at_second, cancellable);
    g_assert_false(hostmem_object_set(HOSTMEM_OBJECT(ram), "prealloc", "on",
                                      cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    hm_test_assert_reads(ram, "prealloc", "false");
    hm_test_assert_reads(ram, "populated-size", "0");
}

/* A part */

static void test_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-shm,id=m0,size=16M");
    g_autoptr(GError) error = NULL;

    hostmem_backend_populate(ram, 4 * HM_MIB, 2 * HM_MIB, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(hostmem_backend_get_backed_size(ram), ==, 2 * HM_MIB);
    g_assert_cmpuint(report_of(ram).total, ==, 2 * HM_MIB);
    hm_test_assert_reads(ram, "prealloc", "false");
}

static void test_failed_part_rolls_back(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-shm,id=m0,size=16M," ONE_THREAD);
    guint8 *addr = hostmem_backend_get_host_addr(ram);

    memset(addr, 42, 4 * HM_MIB);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 2, EIO);
    g_assert_false(
        hostmem_backend_populate(ram, 2 * HM_MIB, 12 * HM_MIB, NULL, NULL));
    g_assert_cmpuint(hostmem_backend_get_backed_size(ram), ==, 4 * HM_MIB);
    g_assert_cmpuint(addr[4 * HM_MIB - 1], ==, 42);
}

static void test_bad_ranges(void)
{
    static const struct {
        guint64 offset;
        guint64 length;
    } ranges[] = {
        {0, 0},       {1, 4096},           {0, 4095},
        {SIZE, 4096}, {SIZE - 4096, 8192}, {4096, G_MAXUINT64},
    };
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM);

    for (gsize i = 0; i < G_N_ELEMENTS(ranges); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(hostmem_backend_populate(
            ram, ranges[i].offset, ranges[i].length, NULL, &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    }
}

static void test_last_part(void)
{
    g_autoptr(HostmemBackend) ram =
        hm_test_make("memory-backend-ram,id=m0,size=5000");

    g_assert_true(hostmem_backend_populate(ram, 4096, 904, NULL, NULL));
    hm_test_assert_reads(ram, "populated-size", "4096");
}

static void test_before_creation(void)
{
    g_autoptr(HostmemBackend) ram =
        g_object_new(HOSTMEM_TYPE_BACKEND_RAM, "size", SIZE, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(hostmem_backend_populate(ram, 0, SIZE, NULL, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
}

/* Room */

static void test_refused_beforehand(void)
{
    pretend_little_memory();
    hm_test_assert_make_fails(RAM "prealloc=on", HOSTMEM_ERROR_NO_MEMORY,
                              "preallocating memory failed: "
                              "memory-backend-ram 'm0' needs 16 MiB");
    g_assert_cmpuint(hm_fake_count(HM_FAKE_MAP), ==, 0);
}

static void test_not_refused_without_check(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_little_memory();
    ram = hm_test_make(RAM "prealloc=on,prealloc-check=off");
    assert_all_populated(ram);
}

static void test_not_refused_without_prealloc(void)
{
    g_autoptr(HostmemBackend) ram = NULL;

    pretend_little_memory();
    ram = hm_test_make(RAM);
    g_assert_nonnull(ram);
}

static void test_present_needs_no_room(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM "prealloc=on");

    pretend_little_memory();
    g_assert_true(hostmem_backend_populate(ram, 0, SIZE, NULL, NULL));
    g_assert_true(
        hostmem_backend_populate(ram, 4 * HM_MIB, 4 * HM_MIB, NULL, NULL));
}

/* And what was found free is not believed for long. */
static gint64 eat_memory(const HmFakeRecord *record,
                         gpointer data G_GNUC_UNUSED)
{
    if (record->arg == MADV_POPULATE_WRITE) {
        pretend_little_memory();
        hm_fake_set_now(hm_os_now() + G_USEC_PER_SEC);
    }
    return 0;
}

static void test_room_runs_out(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);

    hm_fake_hook(HM_FAKE_ADVISE, eat_memory, NULL);
    assert_turning_on_fails(ram, HOSTMEM_ERROR_NO_MEMORY,
                            "preallocating memory failed: "
                            "memory-backend-ram 'm0' needs");
    g_assert_cmpuint(hm_fake_count_advice(MADV_POPULATE_WRITE), ==, 1);
    hm_test_assert_reads(ram, "populated-size", "0");
}

/* The kernel says EFAULT where a tmpfs is full: who reads that? */
static void test_diagnosis(void)
{
    const struct statfs full = {
        .f_type = TMPFS_MAGIC,
        .f_bsize = 4096,
        .f_blocks = 2048,
    };
    g_autoptr(HostmemBackend) shm = hm_test_make(
        "memory-backend-shm,id=m0,size=16M,prealloc-check=off," ONE_THREAD);

    hm_fake_set_statfs(&full);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EFAULT);
    assert_turning_on_fails(shm, HOSTMEM_ERROR_NO_SPACE,
                            "preallocating memory failed: "
                            "memory-backend-shm 'm0' needs 16 MiB: 0 B free on "
                            "tmpfs");
}

static void test_no_diagnosis_without_a_limit(void)
{
    g_autoptr(HostmemBackend) ram = hm_test_make(RAM ONE_THREAD);

    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, ENOMEM);
    assert_turning_on_fails(ram, HOSTMEM_ERROR_NO_MEMORY,
                            "Cannot allocate memory");
}

static const HmTest tests[] = {
    {"/hostmem-populate/at-creation", test_at_creation},
    {"/hostmem-populate/report", test_report},
    {"/hostmem-populate/no-report-without", test_no_report_without},
    {"/hostmem-populate/threads-are-obeyed", test_threads_are_obeyed},
    {"/hostmem-populate/auto-threads-by-size", test_auto_threads_by_size},
    {"/hostmem-populate/auto-threads-by-cpus", test_auto_threads_by_cpus},
    {"/hostmem-populate/workers-of-a-context", test_workers_of_a_context},
    {"/hostmem-populate/workers-near-the-memory", test_workers_near_the_memory},
    {"/hostmem-populate/workers-anywhere", test_workers_anywhere},
    {"/hostmem-populate/turned-on", test_turned_on},
    {"/hostmem-populate/turned-off", test_turned_off},
    {"/hostmem-populate/turned-on-without-reserve",
     test_turned_on_without_reserve},
    {"/hostmem-populate/failure-rolls-back", test_failure_rolls_back},
    {"/hostmem-populate/failure-of-held-memory", test_failure_of_held_memory},
    {"/hostmem-populate/hold-in-the-middle", test_hold_in_the_middle},
    {"/hostmem-populate/report-while-running", test_report_while_running},
    {"/hostmem-populate/cancel-creation", test_cancel_creation},
    {"/hostmem-populate/cancel-change", test_cancel_change},
    {"/hostmem-populate/part", test_part},
    {"/hostmem-populate/failed-part-rolls-back", test_failed_part_rolls_back},
    {"/hostmem-populate/bad-ranges", test_bad_ranges},
    {"/hostmem-populate/last-part", test_last_part},
    {"/hostmem-populate/before-creation", test_before_creation},
    {"/hostmem-populate/refused-beforehand", test_refused_beforehand},
    {"/hostmem-populate/not-refused-without-check",
     test_not_refused_without_check},
    {"/hostmem-populate/not-refused-without-prealloc",
     test_not_refused_without_prealloc},
    {"/hostmem-populate/present-needs-no-room", test_present_needs_no_room},
    {"/hostmem-populate/room-runs-out", test_room_runs_out},
    {"/hostmem-populate/diagnosis", test_diagnosis},
    {"/hostmem-populate/no-diagnosis-without-a-limit",
     test_no_diagnosis_without_a_limit},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

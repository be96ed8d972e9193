/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include "keeper-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/os.h"
#include "util/size.h"

#define SIZE      HM_TEST_ODD_SIZE
#define MEMFD(id) "memory-backend-memfd,size=17412K,thp=off,id=" id

/* The same object with the same bytes, whatever type it is. */
static void assert_survives(const char *options)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, options));
    hm_test_keeper_restart(&keeper);
    g_assert_nonnull(hm_test_keeper_find(&keeper, "m0"));
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_assert(&keeper, "/objects/m0", HOSTMEM_RESTORE_RESTORED,
                          NULL);
    hm_test_keeper_clear(&keeper);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

/* What survives */

static void test_sealed_memfd(void)
{
    assert_survives(MEMFD("m0"));
}

static void test_memfd(void)
{
    assert_survives(MEMFD("m0") ",seal=off");
}

static void test_ram(void)
{
    assert_survives("memory-backend-ram,size=17412K,id=m0,share=on");
}

static void test_shm(void)
{
    assert_survives("memory-backend-shm,size=17412K,id=m0");
}

static void test_file(void)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,size=17412K,id=m0,share=on,mem-path=%s/m0",
        hm_test_folder());

    assert_survives(options);
}

static void test_populated(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc=on"));
    hm_test_keeper_restart(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    hm_test_assert_filled(backend);
    hm_test_assert_reads(backend, "prealloc", "true");
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, SIZE);
    hm_test_keeper_clear(&keeper);
}

static void test_properties(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    hm_test_keeper_init(&keeper);
    backend = hm_test_keeper_add(&keeper, MEMFD("m0") ",threads=3,merge=off");
    hm_test_assert_set(backend, "prealloc-threads", "2");
    hm_test_assert_set(backend, "dump", "off");
    hm_test_assert_set(backend, "prealloc-priority", "idle");
    hm_test_keeper_restart(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    hm_test_assert_reads(backend, "prealloc-threads", "2");
    hm_test_assert_reads(backend, "threads", "2");
    hm_test_assert_reads(backend, "merge", "false");
    hm_test_assert_reads(backend, "dump", "false");
    hm_test_assert_reads(backend, "prealloc-priority", "\"idle\"");
    hm_test_assert_reads(backend, "prealloc", "false");
    hm_test_keeper_clear(&keeper);
}

static void test_order(void)
{
    g_autoptr(GPtrArray) list = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m1"));
    hm_test_keeper_add(&keeper, "thread-context,id=tc");
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_keeper_restart(&keeper);
    list = hostmem_registry_list(keeper.registry);
    g_assert_cmpuint(list->len, ==, 3);
    g_assert_cmpstr(hostmem_object_get_id(list->pdata[0]), ==, "m1");
    g_assert_cmpstr(hostmem_object_get_id(list->pdata[1]), ==, "tc");
    g_assert_cmpstr(hostmem_object_get_id(list->pdata[2]), ==, "m0");
    hm_test_keeper_clear(&keeper);
}

/* The link points to what was made later. */
static void test_links(void)
{
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;
    gpointer backend;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, "thread-context,id=tc,cpu-affinity=0");
    backend = hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc-context=tc");
    hm_test_assert_reads(backend, "prealloc-context", "\"/objects/tc\"");
    hm_test_keeper_restart(&keeper);
    hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "prealloc-context",
                         "\"/objects/tc\"");
    hm_test_assert_reads(hm_test_keeper_find(&keeper, "tc"), "cpu-affinity",
                         "[0]");
    hm_test_keeper_clear(&keeper);
}

static void test_context_that_fails_is_dropped(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, "thread-context,id=tc,cpu-affinity=0");
    hm_test_fill(
        hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc-context=tc"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_fail_always(HM_FAKE_SET_AFFINITY, EINVAL);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_fake_fail_always(HM_FAKE_SET_AFFINITY, 0);
    hm_test_keeper_assert(&keeper, "/objects/tc", HOSTMEM_RESTORE_FAILED,
                          "affinity");
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "prealloc-context",
                         "\"\"");
    hm_test_keeper_clear(&keeper);
}

/* It cannot even be tried, for nobody knows that property. */
static void test_context_of_unknown_options_is_dropped(void)
{
    g_autoptr(GString) changed = NULL;
    g_autofree char *text = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, "thread-context,id=tc,cpu-affinity=0");
    hm_test_fill(
        hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc-context=tc"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    text = hm_test_keeper_text(&keeper);
    changed = g_string_new(text);
    g_assert_cmpuint(
        g_string_replace(changed, "\"cpu-affinity\"", "\"cpu-colour\"", 0), >,
        0);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, changed->str);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_assert(&keeper, "/objects/tc", HOSTMEM_RESTORE_FAILED,
                          "cpu-colour");
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "prealloc-context",
                         "\"\"");
    hm_test_keeper_clear(&keeper);
}

static void test_note(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hostmem_registry_set_note(keeper.registry, "on the door");
    hm_test_keeper_restart(&keeper);
    g_assert_cmpstr(hostmem_registry_get_note(keeper.registry), ==,
                    "on the door");
    hm_test_keeper_clear(&keeper);
}

static void test_restart_after_restart(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m0")));
    for (guint i = 0; i < 3; i++) {
        hm_test_keeper_restart(&keeper);
        g_assert_cmpuint(keeper.kept->len, ==, 2);
    }
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

/* Jobs */

#define ASYNC MEMFD("m0") ",prealloc=on,prealloc-async=on,prealloc-threads=1"

static void wait_for_job(HmTestKeeper *keeper)
{
    g_autoptr(HostmemJob) job =
        hostmem_registry_lookup_job(keeper->registry, "m0", NULL);

    g_assert_nonnull(job);
    while (!hostmem_job_is_over(job)) {
        g_main_context_iteration(NULL, FALSE);
    }
}

/* What is kept was saved before the job was over. */
static void interrupt_job(HmTestKeeper *keeper)
{
    g_autofree char *text = hm_test_keeper_text(keeper);
    g_autoptr(GString) changed = g_string_new(text);

    g_assert_cmpuint(
        g_string_replace(changed, "\"over\":true", "\"over\":false", 0), ==, 1);
    hm_test_keeper_set_text(keeper, HOSTMEM_STATE_NAME, changed->str);
}

/* It begins anew where it was cut short, and nothing that is there changes. */
static void test_job_goes_on(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    hm_test_keeper_init(&keeper);
    backend = hm_test_keeper_add(&keeper, ASYNC);
    wait_for_job(&keeper);
    hm_test_fill(backend);
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    interrupt_job(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    wait_for_job(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    hm_test_assert_filled(backend);
    hm_test_assert_reads(backend, "prealloc", "true");
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, SIZE);
    hm_test_keeper_clear(&keeper);
}

static void test_job_that_failed_stays(void)
{
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    hm_test_keeper_add(&keeper, ASYNC);
    wait_for_job(&keeper);
    hm_test_keeper_restart(&keeper);
    job = hostmem_registry_lookup_job(keeper.registry, "m0", NULL);
    g_assert_cmpint(hostmem_job_get_status(job), ==, HOSTMEM_JOB_CONCLUDED);
    error = hostmem_job_get_error(job);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM);
    hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "prealloc",
                         "false");
    g_assert_true(hostmem_job_dismiss(job, NULL));
    hm_test_keeper_clear(&keeper);
}

static void test_what_cannot_be_populated_stays(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc=on"));
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m1") ",prealloc=on"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    for (guint i = 0; i < 2; i++) {
        gpointer backend = hm_test_keeper_find(&keeper, i ? "m1" : "m0");

        g_assert_nonnull(backend);
        hm_test_assert_filled(backend);
    }
    hm_test_keeper_clear(&keeper);
}

/* What does not survive */

/* Locked in memory */

/* FALSE, and the test is skipped: the limit is too low for it. */
static gboolean may_lock(void)
{
    /* A sanitizer keeps what is freed: not of the size that is counted. */
    const gsize length = SIZE + HM_MIB;
    g_autofree guint8 *memory = g_malloc(length);
    guint8 *page = (guint8 *)((guintptr)memory & ~(guintptr)4095);

    if (hm_os_mlock(page, length)) {
        g_test_skip("not as much memory may be locked here");
        return FALSE;
    }
    hm_os_munlock(page, length);
    return TRUE;
}

static void test_locked_again(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    if (!may_lock()) {
        return;
    }
    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",mem-lock=on"));
    hm_test_keeper_restart(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    hm_test_assert_filled(backend);
    hm_test_assert_reads(backend, "mem-lock", "\"on\"");
    g_assert_cmpint(
        hm_os_is_mlocked(hostmem_backend_get_host_addr(backend), SIZE), ==, 1);
    g_assert_cmpuint(hostmem_backend_get_populated_size(backend), ==, SIZE);
    hm_test_keeper_clear(&keeper);
}

/* What was set since does not go with it, but the memory is there. */
static void test_locked_again_whatever_was_set(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    if (!may_lock()) {
        return;
    }
    hm_test_keeper_init(&keeper);
    backend = hm_test_keeper_add(&keeper, MEMFD("m0") ",mem-lock=on");
    hm_test_assert_set(backend, "prealloc-async", "on");
    hm_test_assert_set(backend, "prealloc-deadline", "9");
    hm_test_keeper_restart(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    g_assert_nonnull(backend);
    hm_test_assert_reads(backend, "mem-lock", "\"on\"");
    hm_test_keeper_clear(&keeper);
}

static void test_memory_that_cannot_be_locked_again(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    if (!may_lock()) {
        return;
    }
    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",mem-lock=on-fault"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_fail(HM_FAKE_MLOCK, 1, ENOMEM);
    hm_fake_set_limit(RLIMIT_MEMLOCK, HM_KIB);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    backend = hm_test_keeper_find(&keeper, "m0");
    hm_test_assert_filled(backend);
    hm_test_assert_reads(backend, "mem-lock", "\"off\"");
    hm_test_keeper_clear(&keeper);
}

static void assert_lost(const char *options, const char *part)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, options);
    hm_test_keeper_restart(&keeper);
    hm_test_keeper_assert(&keeper, "/objects/m0", HOSTMEM_RESTORE_LOST, part);
    g_assert_null(hm_test_keeper_find(&keeper, "m0"));
    /* The id is free. */
    hm_test_keeper_add(&keeper, options);
    hm_test_keeper_clear(&keeper);
}

static void test_private_memory_is_lost(void)
{
    assert_lost("memory-backend-ram,size=17412K,id=m0", "private");
}

static void test_private_copy_is_lost(void)
{
    g_autofree char *options =
        g_strdup_printf("memory-backend-file,size=17412K,id=m0,share=off,"
                        "mem-path=%s/m0",
                        hm_test_folder());

    assert_lost(options, "share=off");
}

/* m0 is not made again for that reason, and m1 is. */
static void assert_fails(HmTestKeeper *keeper, const char *part)
{
    g_autoptr(GError) error = NULL;

    hm_test_keeper_try_restore(keeper, &error);
    g_assert_no_error(error);
    hm_test_keeper_assert(keeper, "/objects/m0", HOSTMEM_RESTORE_FAILED, part);
    hm_test_keeper_assert(keeper, "/objects/m1", HOSTMEM_RESTORE_RESTORED,
                          NULL);
    g_assert_null(hm_test_keeper_find(keeper, "m0"));
    hm_test_assert_filled(hm_test_keeper_find(keeper, "m1"));
    hm_test_keeper_save(keeper);
    g_assert_null(hm_test_keeper_get(keeper, "m0/"));
    hm_test_keeper_clear(keeper);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void begin_failure(HmTestKeeper *keeper, const char *options)
{
    hm_test_keeper_init(keeper);
    hm_test_fill(hm_test_keeper_add(keeper, options));
    hm_test_fill(hm_test_keeper_add(keeper, MEMFD("m1")));
    hm_test_keeper_save(keeper);
    hm_test_keeper_kill(keeper);
}

static void test_descriptor_that_is_missing(void)
{
    HmTestKeeper keeper;

    begin_failure(&keeper, MEMFD("m0"));
    hm_test_keeper_replace(&keeper, "m0/", -1);
    assert_fails(&keeper, "descriptor 'm0/0' of its memory is missing");
}

static void test_descriptor_of_another_size(void)
{
    HmTestKeeper keeper;

    begin_failure(&keeper, MEMFD("m0") ",seal=off");
    g_assert_cmpint(ftruncate(hm_test_keeper_get(&keeper, "m0/")->fd, 4096), ==,
                    0);
    assert_fails(&keeper, "is 4096 bytes long, expected: 17829888");
}

static void test_descriptor_of_another_file(void)
{
    HmTestKeeper keeper;

    begin_failure(&keeper, MEMFD("m0"));
    hm_test_keeper_replace(&keeper, "m0/", hm_os_memfd("other", 0));
    assert_fails(&keeper, "'m0/0' is another file than was saved");
}

static void test_descriptor_that_cannot_be_written_to(void)
{
    HmTestKeeper keeper;
    g_autofree char *path = NULL;

    begin_failure(&keeper, MEMFD("m0"));
    path = g_strdup_printf("/proc/self/fd/%d",
                           hm_test_keeper_get(&keeper, "m0/")->fd);
    hm_test_keeper_replace(&keeper, "m0/", open(path, O_RDONLY | O_CLOEXEC));
    assert_fails(&keeper, "was not opened for reading and writing");
}

static void test_descriptor_that_opens_nothing(void)
{
    HmTestKeeper keeper;
    g_autofree char *path = NULL;

    begin_failure(&keeper, MEMFD("m0"));
    path = g_strdup_printf("/proc/self/fd/%d",
                           hm_test_keeper_get(&keeper, "m0/")->fd);
    hm_test_keeper_replace(&keeper, "m0/", open(path, O_PATH | O_CLOEXEC));
    assert_fails(&keeper, "was not opened for reading and writing");
}

static void test_descriptor_that_is_not_sealed(void)
{
    HmTestKeeper keeper;

    begin_failure(&keeper, MEMFD("m0"));
    hm_fake_fail(HM_FAKE_GET_SEALS, 1, EINVAL);
    assert_fails(&keeper, "is not sealed");
}

static void test_memory_that_cannot_be_mapped(void)
{
    HmTestKeeper keeper;

    begin_failure(&keeper, MEMFD("m0"));
    hm_fake_fail(HM_FAKE_MAP, 1, ENOMEM);
    assert_fails(&keeper, "unable to map");
}

/* Leaving */

static void test_file_of_who_leaves_is_not_emptied(void)
{
    g_autofree char *options = g_strdup_printf(
        "memory-backend-file,size=17412K,id=m0,share=on,discard-data=on,"
        "mem-path=%s/m0",
        hm_test_folder());

    assert_survives(options);
}

int main(int argc, char **argv)
{
    static const HmTest tests[] = {
        {"/restore/type/sealed-memfd", test_sealed_memfd},
        {"/restore/type/memfd", test_memfd},
        {"/restore/type/ram", test_ram},
        {"/restore/type/shm", test_shm},
        {"/restore/type/file", test_file},
        {"/restore/populated", test_populated},
        {"/restore/properties", test_properties},
        {"/restore/order", test_order},
        {"/restore/links", test_links},
        {"/restore/context-that-fails", test_context_that_fails_is_dropped},
        {"/restore/context-of-unknown-options",
         test_context_of_unknown_options_is_dropped},
        {"/restore/note", test_note},
        {"/restore/again", test_restart_after_restart},
        {"/restore/job/goes-on", test_job_goes_on},
        {"/restore/job/failed", test_job_that_failed_stays},
        {"/restore/job/cannot-populate", test_what_cannot_be_populated_stays},
        {"/restore/lock/again", test_locked_again},
        {"/restore/lock/whatever-was-set", test_locked_again_whatever_was_set},
        {"/restore/lock/cannot", test_memory_that_cannot_be_locked_again},
        {"/restore/lost/private", test_private_memory_is_lost},
        {"/restore/lost/copy", test_private_copy_is_lost},
        {"/restore/descriptor/missing", test_descriptor_that_is_missing},
        {"/restore/descriptor/size", test_descriptor_of_another_size},
        {"/restore/descriptor/file", test_descriptor_of_another_file},
        {"/restore/descriptor/read-only",
         test_descriptor_that_cannot_be_written_to},
        {"/restore/descriptor/path", test_descriptor_that_opens_nothing},
        {"/restore/descriptor/seals", test_descriptor_that_is_not_sealed},
        {"/restore/descriptor/map", test_memory_that_cannot_be_mapped},
        {"/restore/leaving/discard-data",
         test_file_of_who_leaves_is_not_emptied},
    };

    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

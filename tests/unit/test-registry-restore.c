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
#define PATTERN   0xa5

static void fill(gpointer backend)
{
    memset(hostmem_backend_get_host_addr(backend), PATTERN, SIZE);
}

static void assert_filled(gpointer backend)
{
    const guint8 *at = hostmem_backend_get_host_addr(backend);

    for (gsize i = 0; i < SIZE; i++) {
        if (at[i] != PATTERN) {
            g_error("byte %zu is 0x%x", i, at[i]);
        }
    }
}

/* The same object with the same bytes, whatever type it is. */
static void assert_survives(const char *options)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    fill(hm_test_keeper_add(&keeper, options));
    hm_test_keeper_restart(&keeper);
    g_assert_nonnull(hm_test_keeper_find(&keeper, "m0"));
    assert_filled(hm_test_keeper_find(&keeper, "m0"));
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
    fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc=on"));
    hm_test_keeper_restart(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    assert_filled(backend);
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
    fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc-context=tc"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_fail_always(HM_FAKE_SET_AFFINITY, EINVAL);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_fake_fail_always(HM_FAKE_SET_AFFINITY, 0);
    hm_test_keeper_assert(&keeper, "/objects/tc", HOSTMEM_RESTORE_FAILED,
                          "affinity");
    assert_filled(hm_test_keeper_find(&keeper, "m0"));
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
    fill(hm_test_keeper_add(&keeper, MEMFD("m0")));
    for (guint i = 0; i < 3; i++) {
        hm_test_keeper_restart(&keeper);
        g_assert_cmpuint(keeper.kept->len, ==, 2);
    }
    assert_filled(hm_test_keeper_find(&keeper, "m0"));
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
    fill(backend);
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    interrupt_job(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    wait_for_job(&keeper);
    backend = hm_test_keeper_find(&keeper, "m0");
    assert_filled(backend);
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
    fill(hm_test_keeper_add(&keeper, MEMFD("m0") ",prealloc=on"));
    fill(hm_test_keeper_add(&keeper, MEMFD("m1") ",prealloc=on"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_fail_advice(MADV_POPULATE_WRITE, 1, EIO);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    for (guint i = 0; i < 2; i++) {
        gpointer backend = hm_test_keeper_find(&keeper, i ? "m1" : "m0");

        g_assert_nonnull(backend);
        assert_filled(backend);
    }
    hm_test_keeper_clear(&keeper);
}

/* What does not survive */

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
    assert_lost(MEMFD("m0") ",share=off", "share=off");
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
    assert_filled(hm_test_keeper_find(keeper, "m1"));
    hm_test_keeper_save(keeper);
    g_assert_null(hm_test_keeper_get(keeper, "m0/"));
    hm_test_keeper_clear(keeper);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void begin_failure(HmTestKeeper *keeper, const char *options)
{
    hm_test_keeper_init(keeper);
    fill(hm_test_keeper_add(keeper, options));
    fill(hm_test_keeper_add(keeper, MEMFD("m1")));
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

/* The state */

static void assert_refused(HmTestKeeper *keeper, gint code, const char *part)
{
    g_autoptr(GPtrArray) list = NULL;
    GError *error = NULL;

    g_assert_false(hm_test_keeper_try_restore(keeper, &error));
    hm_test_assert_error(error, code, part);
    list = hostmem_registry_list_restored(keeper->registry);
    g_assert_cmpuint(list->len, ==, 0);
    g_assert_null(hm_test_keeper_find(keeper, "m0"));
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void begin_state(HmTestKeeper *keeper)
{
    hm_test_keeper_init(keeper);
    fill(hm_test_keeper_add(keeper, MEMFD("m0")));
    hm_test_keeper_save(keeper);
    hm_test_keeper_kill(keeper);
}

static void test_state_is_sealed(void)
{
    HmTestKeeper keeper;
    int fd;

    begin_state(&keeper);
    fd = hm_test_keeper_get(&keeper, HOSTMEM_STATE_NAME)->fd;
    g_assert_cmpint(fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_GROW |
                                              F_SEAL_SHRINK | F_SEAL_SEAL),
                    ==,
                    F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    g_assert_cmpint(write(fd, "x", 1), <, 0);
    hm_test_keeper_clear(&keeper);
}

static void test_no_state(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_replace(&keeper, HOSTMEM_STATE_NAME, -1);
    assert_refused(&keeper, HOSTMEM_ERROR_NOT_FOUND, "no saved state");
    hm_test_keeper_clear(&keeper);
}

static void test_state_that_is_cut(void)
{
    HmTestKeeper keeper;
    g_autofree char *text = NULL;

    begin_state(&keeper);
    text = hm_test_keeper_text(&keeper);
    text[strlen(text) / 2] = '\0';
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, text);
    assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "JSON");
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, "");
    assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "0 bytes");
    hm_test_keeper_clear(&keeper);
}

static void test_state_of_another_version(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME,
                            "{\"hostmem-state\": 2}");
    assert_refused(&keeper, HOSTMEM_ERROR_UNSUPPORTED, "version 2");
    hm_test_keeper_clear(&keeper);
}

static void test_state_that_is_something_else(void)
{
    static const char *const texts[] = {
        "[]",
        "{}",
        "{\"hostmem-state\": 1}",
        "{\"hostmem-state\": 1, \"generation\": -1, \"serial\": 0, "
        "\"objects\": []}",
        "{\"hostmem-state\": 1, \"generation\": 1, \"serial\": 0, "
        "\"objects\": [{}]}",
        "{\"hostmem-state\": 1, \"generation\": 1, \"serial\": 0, "
        "\"objects\": [{\"path\": \"/a\\nb\"}]}",
    };
    HmTestKeeper keeper;

    begin_state(&keeper);
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, texts[i]);
        assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "saved state");
    }
    hm_test_keeper_replace(&keeper, HOSTMEM_STATE_NAME,
                           open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "no file");
    hm_test_keeper_clear(&keeper);
}

/* Entries that make no sense cost nobody else anything. */
static void test_entries_that_make_no_sense(void)
{
    static const char text[] =
        "{\"hostmem-state\": 1, \"generation\": 1, \"serial\": 0, \"objects\": "
        "[{\"path\": \"/objects/a\"},"
        " {\"path\": \"/objects/b\", \"options\": {}, \"state\": {}, "
        "\"descriptors\": []},"
        " {\"path\": \"/objects/c\", \"options\": {\"qom-type\": "
        "\"thread-context\", \"id\": \"d\"}, \"state\": {}, \"descriptors\": "
        "[]},"
        " {\"path\": \"/objects/e\", \"options\": {\"qom-type\": "
        "\"memory-backend-memfd\", \"id\": \"e\", \"size\": 4096, "
        "\"prealloc-context\": \"e\"}, \"state\": {}, \"descriptors\": []},"
        " {\"path\": \"/objects/tc\", \"options\": {\"qom-type\": "
        "\"thread-context\", \"id\": \"tc\"}, \"state\": {}, \"descriptors\": "
        "[]},"
        " {\"path\": \"/objects/tc\", \"options\": {\"qom-type\": "
        "\"thread-context\", \"id\": \"tc\"}, \"state\": {}, \"descriptors\": "
        "[]}]}";
    g_autoptr(GPtrArray) list = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, text);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    list = hostmem_registry_list_restored(keeper.registry);
    g_assert_cmpuint(list->len, ==, 6);
    hm_test_keeper_assert(&keeper, "/objects/a", HOSTMEM_RESTORE_FAILED,
                          "options");
    hm_test_keeper_assert(&keeper, "/objects/b", HOSTMEM_RESTORE_FAILED,
                          "qom-type");
    hm_test_keeper_assert(&keeper, "/objects/c", HOSTMEM_RESTORE_FAILED,
                          "path");
    hm_test_keeper_assert(&keeper, "/objects/e", HOSTMEM_RESTORE_FAILED, NULL);
    g_assert_nonnull(hm_test_keeper_find(&keeper, "tc"));
    hm_test_keeper_clear(&keeper);
}

static void test_newest_state_counts(void)
{
    HmTestKeeper keeper;
    g_autofree char *old = NULL;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_keeper_save(&keeper);
    old = hm_test_keeper_text(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m1"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME ".1", old);
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    g_assert_nonnull(hm_test_keeper_find(&keeper, "m1"));
    hm_test_keeper_save(&keeper);
    g_assert_null(hm_test_keeper_get(&keeper, HOSTMEM_STATE_NAME ".1"));
    g_assert_null(hm_test_keeper_get(&keeper, HOSTMEM_STATE_NAME ".2"));
    hm_test_keeper_clear(&keeper);
}

static void test_state_that_is_broken_is_passed_over(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME ".2", "{");
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE, "*older one*");
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    g_test_assert_expected_messages();
    assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

static void test_two_processes(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_fake_fail(HM_FAKE_LOCK, 1, EAGAIN);
    assert_refused(&keeper, HOSTMEM_ERROR_BUSY, "there can be only one");
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_clear(&keeper);
}

/* Saving */

static void assert_save(HmTestKeeper *keeper, guint added, guint removed)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemSave) save =
        hostmem_registry_save(keeper->registry, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(save->added->len, ==, added);
    g_assert_cmpuint(save->removed->len, ==, removed);
}

static void test_save_tells_what_came_and_went(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    assert_save(&keeper, 0, 0);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_keeper_add(&keeper, MEMFD("m1"));
    assert_save(&keeper, 2, 1);
    assert_save(&keeper, 0, 1);
    g_assert_true(hostmem_registry_remove(keeper.registry, "m0", NULL));
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    assert_save(&keeper, 1, 2);
    hm_test_keeper_clear(&keeper);
}

static void test_save_that_fails_hands_out_nothing(void)
{
    static const struct {
        HmFakeCall call;
        int err;
        gint code;
    } failures[] = {
        {HM_FAKE_WRITE, ENOSPC, HOSTMEM_ERROR_NO_SPACE},
        {HM_FAKE_WRITE, ENOMEM, HOSTMEM_ERROR_NO_MEMORY},
        {HM_FAKE_MEMFD, EMFILE, HOSTMEM_ERROR_LIMIT},
        {HM_FAKE_DUP, EMFILE, HOSTMEM_ERROR_LIMIT},
        {HM_FAKE_ADD_SEALS, EIO, HOSTMEM_ERROR_SYSTEM},
        {HM_FAKE_LOCK, ENOLCK, HOSTMEM_ERROR_SYSTEM},
    };
    HmTestKeeper keeper;
    guint fds;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    fds = hm_test_count_fds();
    for (guint i = 0; i < G_N_ELEMENTS(failures); i++) {
        GError *error = NULL;

        hm_fake_fail(failures[i].call, 1, failures[i].err);
        g_assert_null(hostmem_registry_save(keeper.registry, &error));
        g_assert_error(error, HOSTMEM_ERROR, failures[i].code);
        g_error_free(error);
        g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    }
    hm_fake_set_limit(RLIMIT_FSIZE, 10);
    g_assert_null(hostmem_registry_save(keeper.registry, NULL));
    hm_fake_set_limit(RLIMIT_FSIZE, G_MAXUINT64);
    assert_save(&keeper, 1, 0);
    hm_test_keeper_clear(&keeper);
}

static void test_changes_are_told_once_a_turn(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    hm_test_keeper_init(&keeper);
    backend = hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, ==, 1);
    hm_test_assert_set(backend, "merge", "off");
    hm_test_assert_set(backend, "dump", "off");
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, ==, 2);
    g_assert_true(hostmem_registry_remove(keeper.registry, "m0", NULL));
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, ==, 3);
    hm_test_keeper_clear(&keeper);
}

typedef struct {
    HmTestKeeper *keeper;
    guint changes; /* when the answer came */
} Answer;

static void on_added(GObject *source, GAsyncResult *result, gpointer data)
{
    Answer *answer = data;

    g_assert_nonnull(
        hostmem_registry_add_finish(HOSTMEM_REGISTRY(source), result, NULL));
    answer->changes = answer->keeper->changes;
}

static void test_changes_are_told_before_answers(void)
{
    HmTestKeeper keeper;
    Answer answer = {&keeper, 0};

    hm_test_keeper_init(&keeper);
    hostmem_registry_add_async(keeper.registry, MEMFD("m0"), NULL, on_added,
                               &answer);
    while (!keeper.changes) {
        g_main_context_iteration(NULL, TRUE);
    }
    hm_test_settle();
    g_assert_cmpuint(answer.changes, ==, 1);
    hm_test_keeper_clear(&keeper);
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

/* Without waiting */

static void on_restored(GObject *source, GAsyncResult *result, gpointer data)
{
    GError **error = data;

    if (hostmem_registry_restore_finish(HOSTMEM_REGISTRY(source), result,
                                        error)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_EXISTS, "done");
    }
}

static void restore_async(HmTestKeeper *keeper, GCancellable *cancellable,
                          GError **error)
{
    g_autoptr(GPtrArray) given =
        g_ptr_array_new_with_free_func((GDestroyNotify)hostmem_saved_fd_free);

    for (guint i = 0; i < keeper->kept->len; i++) {
        const HostmemSavedFd *fd = keeper->kept->pdata[i];

        g_ptr_array_add(given, hostmem_saved_fd_new(fd->name, dup(fd->fd)));
    }
    hostmem_registry_restore_async(keeper->registry, given, cancellable,
                                   on_restored, error);
}

static void test_without_waiting(void)
{
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    restore_async(&keeper, NULL, &error);
    g_assert_nonnull(hostmem_registry_lookup_pending(keeper.registry, "m0"));
    while (!error) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

static void test_cancelled(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    g_cancellable_cancel(cancellable);
    restore_async(&keeper, cancellable, &error);
    while (!error) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_null(hm_test_keeper_find(&keeper, "m0"));
    /* It is good for another try. */
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

static void test_registry_goes_meanwhile(void)
{
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    restore_async(&keeper, NULL, &error);
    hm_test_keeper_clear(&keeper);
    g_assert_nonnull(error);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void on_removed(GObject *source, GAsyncResult *result, gpointer data)
{
    gboolean *done = data;

    *done =
        hostmem_registry_remove_finish(HOSTMEM_REGISTRY(source), result, NULL);
}

static void test_removal_meanwhile(void)
{
    g_autoptr(GError) error = NULL;
    gboolean done = FALSE;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    fill(hm_test_keeper_add(&keeper, MEMFD("m0")));
    fill(hm_test_keeper_add(&keeper, MEMFD("m1")));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    restore_async(&keeper, NULL, &error);
    hostmem_registry_remove_async(keeper.registry, "m0", on_removed, &done);
    while (!done) {
        g_main_context_iteration(NULL, TRUE);
    }
    hm_test_settle();
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    g_assert_null(hm_test_keeper_find(&keeper, "m0"));
    assert_filled(hm_test_keeper_find(&keeper, "m1"));
    hm_test_keeper_save(&keeper);
    g_assert_null(hm_test_keeper_get(&keeper, "m0/"));
    hm_test_keeper_clear(&keeper);
}

/* Lines */

static void assert_compares(HmTestKeeper *keeper, const char *line,
                            const char *expected)
{
    g_autofree char *difference = NULL;

    g_assert_true(
        hostmem_registry_compare_restored(keeper->registry, line, &difference));
    g_assert_cmpstr(difference, ==, expected);
}

static void test_lines(void)
{
    g_autofree char *difference = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_assert_set(hm_test_keeper_add(&keeper, MEMFD("m0") ",threads=2"),
                       "prealloc-threads", "3");
    hm_test_keeper_restart(&keeper);
    assert_compares(&keeper, MEMFD("m0") ",threads=2", NULL);
    assert_compares(&keeper, MEMFD("m0") ",prealloc-threads=2", NULL);
    assert_compares(&keeper,
                    "{\"qom-type\": \"memory-backend-memfd\", \"id\": \"m0\", "
                    "\"size\": 17829888, \"thp\": \"off\", \"threads\": 2}",
                    NULL);
    assert_compares(&keeper, MEMFD("m0"), "prealloc-threads=not given (was 2)");
    assert_compares(&keeper, MEMFD("m0") ",threads=2,size=16M",
                    "size=16777216 (was 17829888)");
    g_assert_false(hostmem_registry_compare_restored(keeper.registry,
                                                     MEMFD("m1"), &difference));
    hm_test_keeper_clear(&keeper);
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
        {"/restore/note", test_note},
        {"/restore/again", test_restart_after_restart},
        {"/restore/job/goes-on", test_job_goes_on},
        {"/restore/job/failed", test_job_that_failed_stays},
        {"/restore/job/cannot-populate", test_what_cannot_be_populated_stays},
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
        {"/restore/state/sealed", test_state_is_sealed},
        {"/restore/state/none", test_no_state},
        {"/restore/state/cut", test_state_that_is_cut},
        {"/restore/state/version", test_state_of_another_version},
        {"/restore/state/other", test_state_that_is_something_else},
        {"/restore/state/entries", test_entries_that_make_no_sense},
        {"/restore/state/newest", test_newest_state_counts},
        {"/restore/state/broken", test_state_that_is_broken_is_passed_over},
        {"/restore/state/two-processes", test_two_processes},
        {"/restore/save/difference", test_save_tells_what_came_and_went},
        {"/restore/save/failure", test_save_that_fails_hands_out_nothing},
        {"/restore/save/once-a-turn", test_changes_are_told_once_a_turn},
        {"/restore/save/before-answers", test_changes_are_told_before_answers},
        {"/restore/leaving/discard-data",
         test_file_of_who_leaves_is_not_emptied},
        {"/restore/async/done", test_without_waiting},
        {"/restore/async/cancelled", test_cancelled},
        {"/restore/async/registry-goes", test_registry_goes_meanwhile},
        {"/restore/async/removal", test_removal_meanwhile},
        {"/restore/lines", test_lines},
    };

    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

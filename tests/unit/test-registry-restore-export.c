/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that others find by name, over a restart. */
#include <errno.h>
#include <glib/gstdio.h>
#include <unistd.h>
#include "backends/hostmem.h"
#include "keeper-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"

#define SIZE HM_TEST_ODD_SIZE
#define RAM  "memory-backend-ram,size=17412K,id=m0,share=on"

static char *in_folder(const char *name)
{
    return g_build_filename(hm_test_folder(), name, NULL);
}

/* Bytes; -1 when there is no such file. */
static gint64 length_of(const char *name)
{
    g_autofree char *path = in_folder(name);
    GStatBuf st;

    return g_stat(path, &st) < 0 ? -1 : st.st_size;
}

/* With m0, which has the name "vm" on what passes for a tmpfs. */
static void set_up(HmTestKeeper *keeper, const char *rest)
{
    const struct statfs fs = {.f_type = TMPFS_MAGIC, .f_bsize = 4096};
    g_autofree char *options =
        g_strdup_printf(RAM "%s,export-path=%s/vm", rest, hm_test_folder());

    hm_fake_set_statfs(&fs);
    hm_test_keeper_init(keeper);
    hm_test_fill(hm_test_keeper_add(keeper, options));
}

static void assert_restored(HmTestKeeper *keeper)
{
    hm_test_keeper_assert(keeper, "/objects/m0", HOSTMEM_RESTORE_RESTORED,
                          NULL);
    hm_test_assert_filled(hm_test_keeper_find(keeper, "m0"));
}

static void test_name_survives(void)
{
    g_autofree char *path = in_folder("vm");
    g_autofree char *quoted = g_strdup_printf("\"%s\"", path);
    HmTestKeeper keeper;

    set_up(&keeper, "");
    for (guint i = 0; i < 2; i++) {
        hm_test_keeper_restart(&keeper);
        assert_restored(&keeper);
        g_assert_cmpint(length_of("vm"), ==, SIZE);
        hm_test_assert_reads(hm_test_keeper_find(&keeper, "m0"), "export-path",
                             quoted);
    }
    g_assert_true(hostmem_registry_remove(keeper.registry, "m0", NULL));
    g_assert_cmpint(length_of("vm"), ==, -1);
    hm_test_keeper_clear(&keeper);
}

static void test_name_stays_while_nobody_is_there(void)
{
    HmTestKeeper keeper;

    set_up(&keeper, "");
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    g_assert_cmpint(length_of("vm"), ==, SIZE);
    hm_test_keeper_clear(&keeper);
}

static void test_name_that_others_took(void)
{
    g_autofree char *path = in_folder("vm");
    HmTestKeeper keeper;

    set_up(&keeper, "");
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    g_assert_true(g_file_set_contents(path, "mine", -1, NULL));
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE,
                          "*'m0': * does not lead to this memory*");
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    g_test_assert_expected_messages();
    assert_restored(&keeper);
    g_assert_null(
        hm_backend_get_export_path(hm_test_keeper_find(&keeper, "m0")));
    g_assert_true(hostmem_registry_remove(keeper.registry, "m0", NULL));
    g_assert_cmpint(length_of("vm"), ==, 4);
    hm_test_keeper_clear(&keeper);
}

static void test_name_stays_after_a_failure(void)
{
    HmTestKeeper keeper;

    set_up(&keeper, "");
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    hm_fake_fail_always(HM_FAKE_MAP, ENOMEM);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_fake_fail_always(HM_FAKE_MAP, 0);
    hm_test_keeper_assert(&keeper, "/objects/m0", HOSTMEM_RESTORE_FAILED, NULL);
    hm_test_keeper_clear(&keeper);
    g_assert_cmpint(length_of("vm"), ==, SIZE);
}

static void test_owner_survives(void)
{
    g_autofree char *rest =
        g_strdup_printf(",export-owner=%u", (guint)getuid());
    HmTestKeeper keeper;
    uid_t uid = 12345;

    set_up(&keeper, rest);
    hm_test_keeper_restart(&keeper);
    assert_restored(&keeper);
    g_assert_true(
        hm_backend_get_export_uid(hm_test_keeper_find(&keeper, "m0"), &uid));
    g_assert_cmpuint(uid, ==, getuid());
    hm_test_keeper_clear(&keeper);
}

static const HmTest tests[] = {
    {"/registry-restore-export/name-survives", test_name_survives},
    {"/registry-restore-export/name-stays-while-nobody-is-there",
     test_name_stays_while_nobody_is_there},
    {"/registry-restore-export/name-that-others-took",
     test_name_that_others_took},
    {"/registry-restore-export/name-stays-after-a-failure",
     test_name_stays_after_a_failure},
    {"/registry-restore-export/owner-survives", test_owner_survives},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

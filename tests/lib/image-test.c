/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/snapshot.h>
#include <string.h>
#include "image-test.h"
#include "object-test.h"
#include "snapshot-test.h"

#define PAGE 4096

gboolean hm_test_can_protect(void)
{
    const char *why = hm_test_no_write_protect();

    if (why) {
        g_test_skip(why);
    }
    return !why;
}

/* A byte of each page, other ones in each part, and zeroes at the end. */
void hm_test_fill(HostmemBackend *backend)
{
    guint8 *addr = hostmem_backend_get_host_addr(backend);

    for (gsize at = 0; at < HM_TEST_IMAGE_SIZE * 3 / 4; at += PAGE) {
        memset(addr + at, (int)(at / HM_MIB + 1), PAGE);
    }
}

void hm_test_assert_filled(HostmemBackend *backend)
{
    const guint8 *addr = hostmem_backend_get_host_addr(backend);

    for (gsize at = 0; at < HM_TEST_IMAGE_SIZE; at += PAGE) {
        g_assert_cmpuint(addr[at], ==,
                         at < HM_TEST_IMAGE_SIZE * 3 / 4 ? at / HM_MIB + 1 : 0);
        g_assert_cmpuint(addr[at + PAGE - 1], ==, addr[at]);
    }
}

HostmemBackend *hm_test_restore(const char *type)
{
    g_autofree char *options =
        g_strdup_printf("%s,image=%s/image", type, hm_test_folder());

    return hm_test_make(options);
}

void hm_test_assert_restore_fails(const char *type, gint code, const char *part)
{
    g_autofree char *options =
        g_strdup_printf("%s,image=%s/image", type, hm_test_folder());

    hm_test_assert_make_fails(options, code, part);
}

void hm_test_make_image(const char *type)
{
    g_autofree char *path = g_build_filename(hm_test_folder(), "image", NULL);
    g_autoptr(HostmemBackend) backend = hm_test_make(type);
    g_autoptr(HostmemJob) job = NULL;
    g_autoptr(GError) error = NULL;

    hm_test_fill(backend);
    job = hostmem_backend_snapshot(backend, path, NULL, &error);
    g_assert_no_error(error);
    while (!hostmem_job_is_over(job)) {
        g_usleep(1000);
    }
    error = hostmem_job_get_error(job);
    g_assert_no_error(error);
}

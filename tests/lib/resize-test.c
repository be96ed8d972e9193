/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>
#include "object-test.h"
#include "resize-test.h"

guint8 *hm_resize_memory(HostmemBackend *backend)
{
    return hostmem_backend_get_host_addr(backend);
}

void hm_resize_assert_bytes(HostmemBackend *backend, guint64 offset,
                            guint64 length, guint8 byte)
{
    const guint8 *at = hm_resize_memory(backend) + offset;

    for (guint64 i = 0; i < length; i += 512) {
        g_assert_cmpuint(at[i], ==, byte);
    }
}

void hm_resize_assert_size(HostmemBackend *backend, guint64 size)
{
    g_assert_cmpuint(hostmem_backend_get_size(backend), ==, size);
    g_assert_cmpuint(hm_test_read_number(backend, "size"), ==, size);
}

gint64 hm_resize_file_length(HostmemBackend *backend)
{
    struct stat st;

    g_assert_cmpint(fstat(hostmem_backend_get_fd(backend), &st), ==, 0);
    return st.st_size;
}

guint64 hm_resize_file_storage(HostmemBackend *backend)
{
    struct stat st;

    g_assert_cmpint(fstat(hostmem_backend_get_fd(backend), &st), ==, 0);
    return (guint64)st.st_blocks * 512;
}

void hm_resize_to(HostmemBackend *backend, guint64 size)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_resize(backend, size, HOSTMEM_RESIZE_IN_PLACE, NULL,
                           &error);
    g_assert_no_error(error);
    hm_resize_assert_size(backend, size);
}

void hm_resize_assert_refused(HostmemBackend *backend, guint64 size, gint code,
                              const char *part)
{
    const guint64 before = hostmem_backend_get_size(backend);
    GError *error = NULL;

    g_assert_false(hostmem_backend_resize(
        backend, size, HOSTMEM_RESIZE_IN_PLACE, NULL, &error));
    hm_test_assert_error(error, code, part);
    hm_resize_assert_size(backend, before);
}

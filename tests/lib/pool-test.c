/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/stat.h>
#include <hostmem/memory-pool.h>
#include "object-test.h"
#include "pool-test.h"

gpointer hm_test_add(HostmemRegistry *registry, const char *line)
{
    g_autoptr(GError) error = NULL;
    gpointer object = hostmem_registry_add(registry, line, NULL, &error);

    g_assert_no_error(error);
    return object;
}

void hm_test_assert_add_fails(HostmemRegistry *registry, const char *line,
                              gint code, const char *part)
{
    GError *error = NULL;

    g_assert_null(hostmem_registry_add(registry, line, NULL, &error));
    hm_test_assert_error(error, code, part);
}

void hm_test_remove(HostmemRegistry *registry, const char *id)
{
    g_autoptr(GError) error = NULL;

    hostmem_registry_remove(registry, id, &error);
    g_assert_no_error(error);
}

void hm_test_assert_segments(gpointer pool, guint ready, guint lent)
{
    HostmemMemoryPoolStatus status;

    hostmem_memory_pool_get_status(pool, &status);
    g_assert_cmpuint(status.ready, ==, ready * status.segment_size);
    g_assert_cmpuint(status.lent, ==, lent * status.segment_size);
}

void hm_test_await_ready(gpointer pool, guint ready)
{
    HostmemMemoryPoolStatus status;

    do {
        g_usleep(1000);
        hostmem_memory_pool_get_status(pool, &status);
    } while (status.ready != ready * status.segment_size || status.dirty ||
             status.ready + status.lent < status.size);
}

gboolean hm_test_is_filled(gpointer backend, guint8 byte)
{
    const guint8 *memory = hostmem_backend_get_host_addr(backend);
    gsize size = hostmem_backend_get_size(backend);

    return memory[0] == byte && memcmp(memory, memory + 1, size - 1) == 0;
}

void hm_test_fill_with(gpointer backend, guint8 byte)
{
    memset(hostmem_backend_get_host_addr(backend), byte,
           hostmem_backend_get_size(backend));
}

guint64 hm_test_inode(gpointer backend)
{
    guint n;
    const HostmemBackendPart *parts = hostmem_backend_get_parts(backend, &n);
    struct stat st;

    g_assert_cmpuint(n, >, 0);
    g_assert_cmpint(fstat(parts[0].fd, &st), ==, 0);
    return st.st_ino;
}

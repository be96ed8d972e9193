/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/stat.h>
#include "bench-pool.h"

#define POLL_US   20
#define TIMEOUT_S 120

/* With a single thread, which zeroes: the rate of one CPU. */
static char *pool_line(const BenchPoolWorld *self, const BenchOptions *options)
{
    return g_strdup_printf("memory-pool,id=p0,size=%" G_GUINT64_FORMAT
                           ",segment-size=%" G_GUINT64_FORMAT
                           ",zero-threads=1,prealloc-threads=%u%s",
                           self->size, self->size,
                           g_array_index(options->threads, guint, 0),
                           self->memory->properties);
}

static gboolean check_room(const BenchPoolWorld *self, GError **error)
{
    return self->memory->huge_pages
               ? bench_room_check_huge_pages(2 * self->size, error)
               : bench_room_check_memory(2 * self->size, error);
}

gboolean bench_pool_world_init(BenchPoolWorld *self,
                               const BenchOptions *options,
                               const BenchPoolMemory *memory, GError **error)
{
    g_autofree char *line = NULL;

    *self = (BenchPoolWorld){
        .registry = hostmem_registry_new(),
        .memory = memory,
        .size = options->size,
    };
    if (!check_room(self, error)) {
        return FALSE;
    }
    line = pool_line(self, options);
    self->pool = (HostmemMemoryPool *)hostmem_registry_add(self->registry, line,
                                                           NULL, error);
    return self->pool != NULL;
}

void bench_pool_world_clear(BenchPoolWorld *self)
{
    g_clear_object(&self->registry);
}

/* What replaces a segment is made by the kernel, which is not what is to be
 * measured. */
static gboolean check_segment(BenchPoolWorld *self, GError **error)
{
    struct stat st;

    if (fstat(hostmem_backend_get_fd(self->backend), &st) < 0) {
        return bench_set_errno(error, "fstat", errno);
    }
    if (self->inode && self->inode != st.st_ino) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED,
                    "the segment was replaced");
        return FALSE;
    }
    self->inode = st.st_ino;
    return TRUE;
}

gboolean bench_pool_world_take(BenchPoolWorld *self, GError **error)
{
    g_autofree char *line = g_strdup_printf(
        "memory-backend-memfd,id=m0,pool=p0,size=%" G_GUINT64_FORMAT "%s",
        self->size, self->memory->properties);

    self->backend = (HostmemBackend *)hostmem_registry_add(self->registry, line,
                                                           NULL, error);
    return self->backend && check_segment(self, error);
}

static gboolean await_ready(const BenchPoolWorld *self, GError **error)
{
    gint64 end = bench_now() + TIMEOUT_S * BENCH_NS_PER_S;
    HostmemMemoryPoolStatus status;

    do {
        hostmem_memory_pool_get_status(self->pool, &status);
        if (status.ready == self->size) {
            return TRUE;
        }
        g_usleep(POLL_US);
    } while (bench_now() < end);
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_TIMED_OUT,
                "no segment is ready after %d seconds", TIMEOUT_S);
    return FALSE;
}

gboolean bench_pool_world_return(BenchPoolWorld *self, GError **error)
{
    self->backend = NULL;
    return hostmem_registry_remove(self->registry, "m0", error) &&
           await_ready(self, error);
}

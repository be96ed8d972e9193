/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "bench-plug.h"

/* Two devices with the same memory, and what can be done with them. */

#define QEMU_FILL (2 * BENCH_MIB)

static guint64 length_of(const HostmemVirtioMemRequest *range)
{
    return range->nb_blocks * BENCH_BLOCK_SIZE;
}

static gboolean request_ours(BenchDevices *self,
                             const HostmemVirtioMemRequest *request,
                             GError **error)
{
    HostmemVirtioMemResponse response;

    hostmem_virtio_mem_request(self->device, request, &response, error);
    return response.answer == HOSTMEM_VIRTIO_MEM_ACK;
}

static gint64 serve_ours(BenchDevices *self, const GArray *requests,
                         GError **error)
{
    gint64 start = bench_now();

    for (guint i = 0; i < requests->len; i++) {
        if (!request_ours(self,
                          &g_array_index(requests, HostmemVirtioMemRequest, i),
                          error)) {
            return -1;
        }
    }
    return bench_now() - start;
}

static guint8 *memory_of(BenchDevices *self,
                         const HostmemVirtioMemRequest *range)
{
    guint8 *memory = hostmem_backend_get_host_addr(self->backend);

    return memory + (range->addr - BENCH_MEMADDR);
}

static gboolean fill_ours(BenchDevices *self,
                          const HostmemVirtioMemRequest *range,
                          G_GNUC_UNUSED GError **error)
{
    memset(memory_of(self, range), 0x5a, length_of(range));
    return TRUE;
}

static int discard_range(BenchDevices *self,
                         const HostmemVirtioMemRequest *range)
{
    int fd = hostmem_backend_get_fd(self->backend);
    guint64 start = hostmem_backend_get_fd_offset(self->backend);

    if (fd < 0) {
        return madvise(memory_of(self, range), length_of(range), MADV_DONTNEED);
    }
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     start + range->addr - BENCH_MEMADDR, length_of(range));
}

static gint64 discard_by_hand(BenchDevices *self, const GArray *ranges,
                              GError **error)
{
    gint64 start = bench_now();

    for (guint i = 0; i < ranges->len; i++) {
        if (discard_range(
                self, &g_array_index(ranges, HostmemVirtioMemRequest, i)) < 0) {
            bench_set_errno(error, "discarding", errno);
            return -1;
        }
    }
    return bench_now() - start;
}

static gint64 discard_by_list(BenchDevices *self, const GArray *ranges,
                              GError **error)
{
    g_autofree HostmemRange *list = g_new(HostmemRange, ranges->len);
    gint64 start = bench_now();

    for (guint i = 0; i < ranges->len; i++) {
        const HostmemVirtioMemRequest *range =
            &g_array_index(ranges, HostmemVirtioMemRequest, i);
        list[i] = (HostmemRange){range->addr - BENCH_MEMADDR, length_of(range)};
    }
    return hostmem_backend_discard_ranges(self->backend, list, ranges->len,
                                          NULL, error)
               ? bench_now() - start
               : -1;
}

static gint64 serve_qemu(BenchDevices *self, const GArray *requests,
                         GError **error)
{
    return bench_qemu_serve(self->qemu,
                            (const HostmemVirtioMemRequest *)requests->data,
                            requests->len, error);
}

static gboolean fill_qemu(BenchDevices *self,
                          const HostmemVirtioMemRequest *range, GError **error)
{
    for (guint64 done = 0; done < length_of(range); done += QEMU_FILL) {
        if (!bench_qemu_fill(self->qemu, range->addr + done, QEMU_FILL,
                             error)) {
            return FALSE;
        }
    }
    return TRUE;
}

const BenchSide bench_side_ours = {serve_ours, fill_ours, NULL};
const BenchSide bench_side_ours_by_list = {serve_ours, fill_ours,
                                           discard_by_list};
const BenchSide bench_side_qemu = {serve_qemu, fill_qemu, NULL};
const BenchSide bench_side_by_hand = {serve_ours, fill_ours, discard_by_hand};

/* Devices */

/* (transfer full): an -object line that both programs take */
static char *object_line(const BenchOptions *options,
                         const BenchPlugMemory *memory)
{
    return g_strdup_printf("memory-backend-%s,id=m0,size=%" G_GUINT64_FORMAT
                           ",reserve=off,prealloc-threads=%u",
                           memory->line, options->size,
                           g_array_index(options->threads, guint, 0));
}

static gboolean make_ours(BenchDevices *self, const BenchOptions *options,
                          const char *line, gboolean prealloc, GError **error)
{
    g_autoptr(HostmemRegistry) registry = hostmem_registry_new();
    HostmemObject *backend = hostmem_registry_add(registry, line, NULL, error);

    if (!backend) {
        return FALSE;
    }
    self->backend = HOSTMEM_BACKEND(g_object_ref(backend));
    self->device = g_initable_new(
        HOSTMEM_TYPE_VIRTIO_MEM, NULL, error, "memdev", backend, "memaddr",
        BENCH_MEMADDR, "block-size", BENCH_BLOCK_SIZE, "requested-size",
        options->size, "prealloc", prealloc, NULL);
    return self->device != NULL;
}

static gboolean check_room(const BenchOptions *options,
                           const BenchPlugMemory *memory, GError **error)
{
    return memory->pool ? bench_room_check_huge_pages(options->size, error)
                        : bench_room_check_memory(options->size, error);
}

gboolean bench_devices_init(BenchDevices *self, const BenchOptions *options,
                            const BenchPlugMemory *memory, gboolean prealloc,
                            GError **error)
{
    g_autofree char *line = object_line(options, memory);

    return check_room(options, memory, error) &&
           make_ours(self, options, line, prealloc, error);
}

gboolean bench_devices_add_qemu(BenchDevices *self, const BenchOptions *options,
                                const BenchPlugMemory *memory,
                                gboolean prealloc, GError **error)
{
    g_autofree char *line = object_line(options, memory);

    self->qemu =
        bench_qemu_new(options->qemu, line, options->size, prealloc, error);
    return self->qemu != NULL;
}

void bench_devices_clear(BenchDevices *self)
{
    g_clear_object(&self->device);
    g_clear_object(&self->backend);
    g_clear_pointer(&self->qemu, bench_qemu_free);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>
#include "bench-pool.h"

/*
 * A QEMU with a machine, which no guest runs in.  It is there when it answers:
 * its greeting is read, qmp_capabilities sent, and the answer to that read.
 */

#define MACHINE "q35"

static gboolean negotiate(BenchPeer *peer, GError **error)
{
    char line[BENCH_PEER_LINE];

    if (!bench_peer_receive(peer, line, error) ||
        !bench_peer_send(peer, "{\"execute\": \"qmp_capabilities\"}", error) ||
        !bench_peer_receive(peer, line, error)) {
        return FALSE;
    }
    if (!strstr(line, "\"return\"")) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "QEMU answers '%s'", g_strchomp(line));
        return FALSE;
    }
    return TRUE;
}

/* @object: (nullable): of all its memory, with id=m0; @start: nanoseconds */
static gint64 run(const BenchOptions *options, const char *object, int fd,
                  gint64 start, GError **error)
{
    g_autofree char *memory =
        g_strdup_printf("%" G_GUINT64_FORMAT "B", options->size);
    const char *argv[] = {
        options->qemu,
        "-accel",
        "tcg",
        "-S",
        "-display",
        "none",
        "-nodefaults",
        "-no-user-config",
        "-chardev",
        "socket,id=qmp,fd=" G_STRINGIFY(BENCH_PEER_SOCKET),
        "-mon",
        "chardev=qmp,mode=control",
        "-machine",
        object ? MACHINE ",memory-backend=m0" : MACHINE,
        object ? "-m" : NULL,
        memory,
        "-object",
        object,
        NULL,
    };
    g_autoptr(BenchPeer) peer = bench_peer_new(argv, fd, error);

    return peer && negotiate(peer, error) ? bench_now() - start : -1;
}

static gint64 run_with(BenchPoolWorld *world, const BenchOptions *options,
                       gint64 start, GError **error)
{
    int fd = hostmem_backend_dup_fd(world->backend, 0, error);
    g_autofree char *object =
        g_strdup_printf("memory-backend-file,id=m0,share=on,size="
                        "%" G_GUINT64_FORMAT ",mem-path=/proc/self/fd/%d",
                        options->size, BENCH_PEER_FD);
    gint64 ns = fd < 0 ? -1 : run(options, object, fd, start, error);

    if (fd >= 0) {
        close(fd);
    }
    return ns;
}

gint64 bench_pool_start_ready(BenchPoolWorld *world,
                              const BenchOptions *options, GError **error)
{
    gint64 start = bench_now();
    gint64 ns = bench_pool_world_take(world, error)
                    ? run_with(world, options, start, error)
                    : -1;

    return ns >= 0 && bench_pool_world_return(world, error) ? ns : -1;
}

gint64 bench_pool_start_bare(BenchPoolWorld *world G_GNUC_UNUSED,
                             const BenchOptions *options, GError **error)
{
    return run(options, NULL, -1, bench_now(), error);
}

gint64 bench_pool_start_prealloc(BenchPoolWorld *world,
                                 const BenchOptions *options, GError **error)
{
    g_autofree char *object = g_strdup_printf(
        "memory-backend-memfd,id=m0,share=on,size=%" G_GUINT64_FORMAT
        ",prealloc=on,prealloc-threads=%u%s",
        options->size, g_array_index(options->threads, guint, 0),
        world->memory->properties);

    return run(options, object, -1, bench_now(), error);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bench-snapshot.h"

/*
 * QEMU's own way: the migration capability background-snapshot.  A guest that
 * is nothing but a boot sector writes to its pages in the same order that is
 * none, on one vCPU that is emulated, and notes how long each page took by its
 * time stamp counter: the longest of each epoch, 2^30 ticks, in a ring of 16.
 *
 *     7c20  how many pages it has, from 16 MiB on
 *     7e00  the counter's value, and how many pages were written
 *     7e80  the ring: the longest, and the number of the epoch
 */

#define GUEST_NOW   0x7e00
#define GUEST_RING  0x7e80
#define N_EPOCHS    16
#define EPOCH_SHIFT 30
#define N_PAGES_AT  0x20 /* in the code */
#define SECTOR      512
#define KEPT        (32 * BENCH_MIB) /* where it does not write */
#define MAX_MEMORY  (2 * BENCH_GIB)  /* below the hole of a PC */
#define POLL_US     (20 * 1000)
#define BASE_US     (500 * 1000)
#define STILL_NS    (60 * BENCH_NS_PER_S)

static const guint8 code[] = {
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0x0f, 0x01, 0x16, 0xe8, 0x7c, 0xe4,
    0x92, 0x0c, 0x02, 0xe6, 0x92, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22,
    0xc0, 0xea, 0x24, 0x7c, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x31, 0xed, 0xc7, 0x05,
    0x18, 0x7e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfc, 0x45, 0x69, 0xc5,
    0xb1, 0x79, 0x37, 0x9e, 0xc1, 0xe8, 0x08, 0x31, 0xd2, 0xf7, 0x35, 0x20,
    0x7c, 0x00, 0x00, 0x89, 0xd7, 0xc1, 0xe7, 0x0c, 0x81, 0xc7, 0x00, 0x00,
    0x00, 0x01, 0x0f, 0x31, 0x89, 0xc6, 0x89, 0xd3, 0x89, 0xe8, 0x83, 0xc8,
    0x01, 0xb9, 0x00, 0x04, 0x00, 0x00, 0xf3, 0xab, 0x0f, 0x31, 0xa3, 0x00,
    0x7e, 0x00, 0x00, 0x89, 0x15, 0x04, 0x7e, 0x00, 0x00, 0x89, 0x2d, 0x08,
    0x7e, 0x00, 0x00, 0x89, 0xc1, 0x89, 0xd7, 0x29, 0xf0, 0x19, 0xda, 0x74,
    0x05, 0xb8, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xac, 0xf9, 0x1e, 0x89, 0xcf,
    0x83, 0xe7, 0x0f, 0x39, 0x0d, 0x18, 0x7e, 0x00, 0x00, 0x74, 0x11, 0x89,
    0x0d, 0x18, 0x7e, 0x00, 0x00, 0xc7, 0x04, 0xfd, 0x80, 0x7e, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x89, 0x0c, 0xfd, 0x84, 0x7e, 0x00, 0x00, 0x3b,
    0x04, 0xfd, 0x80, 0x7e, 0x00, 0x00, 0x0f, 0x86, 0x79, 0xff, 0xff, 0xff,
    0x89, 0x04, 0xfd, 0x80, 0x7e, 0x00, 0x00, 0xe9, 0x6d, 0xff, 0xff, 0xff,
    0x8d, 0x74, 0x26, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00, 0xff, 0xff, 0x00, 0x00,
    0x00, 0x92, 0xcf, 0x00, 0x17, 0x00, 0xd0, 0x7c, 0x00, 0x00,
};

/* What the guest has noted. */
typedef struct {
    guint64 ticks;
    guint64 pages;
    guint64 ring[N_EPOCHS];
} Look;

struct BenchSnapshotQemu {
    BenchPeer *peer;
    char *path;      /* of the file */
    double ns_tick;  /* nanoseconds of a tick */
    double a_second; /* pages, undisturbed */
};

static gboolean fail(const char *what, GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM, "QEMU: %s", what);
    return FALSE;
}

/* Its answer; events come in between. */
static gboolean ask(BenchPeer *peer, const char *command, char *answer,
                    GError **error)
{
    if (!bench_peer_send(peer, command, error)) {
        return FALSE;
    }
    do {
        if (!bench_peer_receive(peer, answer, error)) {
            return FALSE;
        }
    } while (strstr(answer, "\"event\""));
    return strstr(answer, "\"return\"") || fail(answer, error);
}

static gboolean tell(BenchPeer *peer, const char *command, GError **error)
{
    char answer[BENCH_PEER_LINE];

    return ask(peer, command, answer, error);
}

/* Words of 64 bits of guest memory. */
static gboolean read_words(BenchPeer *peer, guint address, guint64 *words,
                           guint n, GError **error)
{
    g_autofree char *command = g_strdup_printf(
        "{\"execute\": \"human-monitor-command\", \"arguments\": "
        "{\"command-line\": \"xp /%ugx 0x%x\"}}",
        n, address);
    char answer[BENCH_PEER_LINE];
    const char *at = answer;

    if (!ask(peer, command, answer, error)) {
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        at = strstr(at, " 0x");
        if (!at) {
            return fail(answer, error);
        }
        words[i] = g_ascii_strtoull(++at, NULL, 16);
    }
    return TRUE;
}

static gboolean look(BenchSnapshotQemu *self, Look *found, GError **error)
{
    guint64 words[2];

    if (!read_words(self->peer, GUEST_NOW, words, 2, error) ||
        !read_words(self->peer, GUEST_RING, found->ring, N_EPOCHS, error)) {
        return FALSE;
    }
    found->ticks = words[0];
    found->pages = words[1] & G_MAXUINT32;
    return TRUE;
}

/* Starting */

static int make_disk(guint64 size)
{
    const guint32 n_pages = GUINT32_TO_LE((guint32)((size - KEPT) / 4096));
    guint8 sector[SECTOR] = {[SECTOR - 2] = 0x55, [SECTOR - 1] = 0xaa};
    int fd = memfd_create("hostmem-bench-guest", MFD_CLOEXEC);

    memcpy(sector, code, sizeof(code));
    memcpy(sector + N_PAGES_AT, &n_pages, sizeof(n_pages));
    if (fd >= 0 && write(fd, sector, SECTOR) != SECTOR) {
        close(fd);
        return -1;
    }
    return fd;
}

static BenchPeer *start(const BenchOptions *options, GError **error)
{
    g_autofree char *memory =
        g_strdup_printf("%" G_GUINT64_FORMAT "B", options->size);
    g_autofree char *object = g_strdup_printf(
        "memory-backend-ram,id=m0,prealloc=on,size=%" G_GUINT64_FORMAT,
        options->size);
    const char *argv[] = {
        options->qemu,
        "-accel",
        "tcg",
        "-display",
        "none",
        "-nodefaults",
        "-no-user-config",
        "-chardev",
        "socket,id=qmp,fd=" G_STRINGIFY(BENCH_PEER_SOCKET),
        "-mon",
        "chardev=qmp,mode=control",
        "-machine",
        "pc,memory-backend=m0",
        "-m",
        memory,
        "-object",
        object,
        "-drive",
        "format=raw,if=ide,file=/proc/self/fd/" G_STRINGIFY(BENCH_PEER_FD),
        NULL,
    };
    int fd = make_disk(options->size);
    BenchPeer *peer = fd < 0 ? NULL : bench_peer_new(argv, fd, error);

    if (fd < 0) {
        bench_set_errno(error, "making a disk", errno);
        return NULL;
    }
    close(fd);
    return peer;
}

static gboolean negotiate(BenchSnapshotQemu *self, GError **error)
{
    char line[BENCH_PEER_LINE];

    return bench_peer_receive(self->peer, line, error) &&
           tell(self->peer, "{\"execute\": \"qmp_capabilities\"}", error) &&
           tell(self->peer,
                "{\"execute\": \"migrate-set-capabilities\", \"arguments\": "
                "{\"capabilities\": [{\"capability\": "
                "\"background-snapshot\", \"state\": true}]}}",
                error) &&
           tell(self->peer,
                "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
                "{\"max-bandwidth\": 1099511627776}}",
                error);
}

/* Until each page was written to about once: it may be slow, but not stand
 * still. */
static gboolean wait_for_guest(BenchSnapshotQemu *self, guint64 pages,
                               GError **error)
{
    gint64 until = bench_now() + STILL_NS;
    guint64 before = 0;
    Look now = {0};

    while (now.pages < pages) {
        if (bench_now() > until) {
            return fail("its guest does not get to work", error);
        }
        g_usleep(5 * POLL_US);
        if (!look(self, &now, error)) {
            return FALSE;
        }
        if (now.pages != before) {
            before = now.pages;
            until = bench_now() + STILL_NS;
        }
    }
    return TRUE;
}

static gboolean find_pace(BenchSnapshotQemu *self, GError **error)
{
    const gint64 began = bench_now();
    Look before, after;
    double ns;

    if (!look(self, &before, error)) {
        return FALSE;
    }
    g_usleep(BASE_US);
    if (!look(self, &after, error)) {
        return FALSE;
    }
    ns = (double)(bench_now() - began);
    self->ns_tick = ns / (double)MAX(after.ticks - before.ticks, 1);
    self->a_second = (double)(after.pages - before.pages) / ns * BENCH_NS_PER_S;
    return TRUE;
}

BenchSnapshotQemu *bench_snapshot_qemu_new(const BenchOptions *options,
                                           const char *path, GError **error)
{
    g_autoptr(BenchSnapshotQemu) self = NULL;

    if (options->size <= 2 * KEPT || options->size > MAX_MEMORY) {
        fail("its guest has more than 64 MiB, up to 2 GiB", error);
        return NULL;
    }
    self = g_new0(BenchSnapshotQemu, 1);
    self->path = g_strdup(path);
    self->peer = start(options, error);
    if (!self->peer || !negotiate(self, error) ||
        !wait_for_guest(self, options->size / 4096, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

void bench_snapshot_qemu_free(BenchSnapshotQemu *self)
{
    g_clear_pointer(&self->peer, bench_peer_free);
    g_unlink(self->path);
    g_free(self->path);
    g_free(self);
}

/* Measuring */

/* Nanoseconds of the longest page since an epoch. */
static gint64 longest_since(const BenchSnapshotQemu *self, const Look *now,
                            guint32 epoch)
{
    guint32 most = 0;

    for (guint i = 0; i < N_EPOCHS; i++) {
        if ((gint32)((guint32)(now->ring[i] >> 32) - epoch) >= 0) {
            most = MAX(most, (guint32)now->ring[i]);
        }
    }
    return (gint64)(most * self->ns_tick);
}

static gboolean begin(BenchSnapshotQemu *self, GError **error)
{
    g_autofree char *quoted = g_shell_quote(self->path);
    g_autofree char *escaped = g_strescape(quoted, NULL);
    g_autofree char *command =
        g_strdup_printf("{\"execute\": \"migrate\", \"arguments\": {\"uri\": "
                        "\"exec:cat > %s\"}}",
                        escaped);

    return tell(self->peer, command, error);
}

static gboolean is_over(BenchSnapshotQemu *self, gboolean *over, GError **error)
{
    char answer[BENCH_PEER_LINE];

    if (!ask(self->peer, "{\"execute\": \"query-migrate\"}", answer, error)) {
        return FALSE;
    }
    *over = strstr(answer, "\"completed\"") != NULL;
    return !strstr(answer, "\"failed\"") || fail(answer, error);
}

static gboolean wait_until_over(BenchSnapshotQemu *self, guint32 epoch,
                                gint64 *longest, GError **error)
{
    gboolean over = FALSE;
    Look now;

    while (!over) {
        g_usleep(POLL_US);
        if (!is_over(self, &over, error) || !look(self, &now, error)) {
            return FALSE;
        }
        *longest = MAX(*longest, longest_since(self, &now, epoch));
    }
    return TRUE;
}

static gboolean sync_file(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gboolean ok = fd >= 0 && fsync(fd) == 0;

    if (!ok) {
        bench_set_errno(error, path, errno);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

gboolean bench_snapshot_qemu_take(BenchSnapshotQemu *self,
                                  BenchSnapshotCell *cell, GError **error)
{
    Look before, after;
    gint64 longest = 0;
    gint64 began;
    double ns;

    if (!find_pace(self, error) || !look(self, &before, error)) {
        return FALSE;
    }
    began = bench_now();
    if (!begin(self, error) ||
        !wait_until_over(self, (guint32)(before.ticks >> EPOCH_SHIFT), &longest,
                         error) ||
        !sync_file(self->path, error) || !look(self, &after, error)) {
        return FALSE;
    }
    ns = (double)(bench_now() - began);
    bench_samples_add(&cell->longest, (double)longest);
    bench_samples_add(&cell->taken, ns);
    bench_samples_add(
        &cell->slowdown,
        self->a_second /
            MAX((double)(after.pages - before.pages) / ns * BENCH_NS_PER_S, 1));
    g_unlink(self->path);
    return TRUE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <hostmem/advise.h>
#include <hostmem/snapshot.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "image-test.h"
#include "object-test.h"
#include "snapshot-test.h"
#include "util/image.h"
#include "util/os.h"
#include "util/size.h"

/*
 * Many threads on memory of which one snapshot after the other is taken.
 *
 * Writers have cells of their own and write whole pages, by themselves or by a
 * read(2), and discard; they note what each page holds.  They stand still for
 * the moment of a snapshot, so that this is known to the byte, and go on while
 * it is saved.  Others do what changes no content, and ask nobody.
 */

#define PAGE      4096
#define WORDS     (PAGE / sizeof(guint64))
#define WRITERS   3
#define CELL      (64 * HM_KIB) /* that one writer has, at least */
#define MOMENTS   5
#define SLOW      50
#define BANDWIDTH (100 * HM_MIB)

typedef struct {
    HostmemBackend *backend;
    guint8 *addr;
    guint64 size;
    gsize cell;
    guint64 *held;  /* by each page: the word it is full of */
    GRWLock moment; /* a writer of memory has it for reading */
    gint hold;      /* atomic: they shall let it go */
    gint done;      /* atomic */
    gint next;      /* atomic: which of the writers */
} Crowd;

static gboolean goes_on(Crowd *crowd)
{
    return !g_atomic_int_get(&crowd->done);
}

/* Writers */

__attribute__((no_sanitize("thread"))) static void fill(volatile guint64 *words,
                                                        guint64 value)
{
    for (gsize i = 0; i < WORDS; i++) {
        words[i] = value;
    }
}

/* By the kernel. */
static void read_page(int fd, guint8 *page, guint64 value)
{
    guint64 words[WORDS];

    fill(words, value);
    g_assert_cmpint(pwrite(fd, words, PAGE, 0), ==, PAGE);
    g_assert_cmpint(pread(fd, page, PAGE, 0), ==, PAGE);
}

static void write_page(Crowd *crowd, GRand *rand, int fd, gsize at)
{
    const guint64 value =
        g_rand_int_range(rand, 0, 8) ? g_rand_int(rand) | 1u : 0;
    guint8 *page = crowd->addr + at;

    if (g_rand_int_range(rand, 0, 4)) {
        fill((guint64 *)(gpointer)page, value);
    } else {
        read_page(fd, page, value);
    }
    crowd->held[at / PAGE] = value;
}

static void discard_cell(Crowd *crowd, gsize at)
{
    g_autoptr(GError) error = NULL;

    hostmem_backend_discard(crowd->backend, at, crowd->cell, &error);
    g_assert_no_error(error);
    memset(crowd->held + at / PAGE, 0,
           crowd->cell / PAGE * sizeof(*crowd->held));
}

static gpointer write_memory(gpointer data)
{
    Crowd *crowd = data;
    const guint me = (guint)g_atomic_int_add(&crowd->next, 1);
    const guint n_cells = (guint)(crowd->size / crowd->cell);
    g_autoptr(GRand) rand = g_rand_new_with_seed(me);
    int fd = memfd_create("page", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    while (me < n_cells && goes_on(crowd)) {
        const guint mine = (n_cells - 1 - me) / WRITERS + 1;
        const gsize cell =
            me + WRITERS * (guint)g_rand_int_range(rand, 0, (gint)mine);
        const gsize page =
            (gsize)g_rand_int_range(rand, 0, (gint)(crowd->cell / PAGE));

        while (g_atomic_int_get(&crowd->hold)) {
            g_usleep(100);
        }
        g_rw_lock_reader_lock(&crowd->moment);
        if (g_rand_int_range(rand, 0, 100)) {
            write_page(crowd, rand, fd, cell * crowd->cell + page * PAGE);
        } else {
            discard_cell(crowd, cell * crowd->cell);
        }
        g_rw_lock_reader_unlock(&crowd->moment);
    }
    close(fd);
    return NULL;
}

/* Others */

static gpointer populate(gpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    Crowd *crowd = data;
    const gint n_cells = (gint)(crowd->size / crowd->cell);

    while (goes_on(crowd)) {
        const guint64 cell = (guint64)g_rand_int_range(rand, 0, n_cells);

        hostmem_backend_populate(crowd->backend, cell * crowd->cell,
                                 crowd->cell, NULL, NULL);
        g_usleep(500);
    }
    return NULL;
}

static gpointer advise(gpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(12);
    Crowd *crowd = data;

    while (goes_on(crowd)) {
        HostmemBackendUsage usage;

        hostmem_backend_advise(crowd->backend, 0, crowd->size,
                               (HostmemAdvice)g_rand_int_range(rand, 0, 4),
                               NULL);
        hostmem_backend_get_usage(crowd->backend, &usage);
        g_assert_cmpuint(usage.populated, <=, crowd->size);
        g_usleep(2000);
    }
    return NULL;
}

static gpointer fork_away(gpointer data)
{
    Crowd *crowd = data;

    while (goes_on(crowd)) {
        pid_t child = fork();

        if (child == 0) {
            _exit(0);
        }
        g_assert_cmpint(child, >, 0);
        g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
        g_usleep(20000);
    }
    return NULL;
}

/* Moments */

static void assert_held(const guint8 *memory, const guint64 *held, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        const guint64 *words = (gconstpointer)(memory + i * PAGE);

        for (gsize j = 0; j < WORDS; j++) {
            if (words[j] != held[i]) {
                g_error("page %zu word %zu: 0x%" G_GINT64_MODIFIER
                        "x and not 0x%" G_GINT64_MODIFIER "x",
                        i, j, words[j], held[i]);
            }
        }
    }
}

static void assert_image(const char *path, const Crowd *crowd,
                         const guint64 *held)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HmImage) image = hm_image_open(path, crowd->size, &error);
    void *addr;

    g_assert_no_error(error);
    g_assert_cmpint(hm_os_map(NULL, crowd->size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &addr),
                    ==, 0);
    hm_image_load(image, addr, 2, NULL, NULL, &error);
    g_assert_no_error(error);
    assert_held(addr, held, crowd->size / PAGE);
    hm_os_unmap(addr, crowd->size);
}

/* Nobody writes until this returns. */
static HostmemJob *start(Crowd *crowd, const char *path, guint i, guint64 *held)
{
    const HostmemSnapshotOptions options = {
        .max_bandwidth = i % 3 ? 0 : BANDWIDTH,
        .threads = i % 4,
        .allow_exposed = TRUE,
    };
    g_autoptr(GError) error = NULL;
    HostmemJob *job;

    g_atomic_int_set(&crowd->hold, TRUE);
    g_rw_lock_writer_lock(&crowd->moment);
    memcpy(held, crowd->held, crowd->size / PAGE * sizeof(*held));
    do {
        g_clear_error(&error);
        job = hostmem_backend_snapshot(crowd->backend, path, &options, &error);
    } while (g_error_matches(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY));
    g_atomic_int_set(&crowd->hold, FALSE);
    g_rw_lock_writer_unlock(&crowd->moment);
    g_assert_no_error(error);
    return job;
}

static void take_one(Crowd *crowd, const char *path, guint i)
{
    g_autofree guint64 *held = g_new(guint64, crowd->size / PAGE);
    g_autoptr(HostmemJob) job = start(crowd, path, i, held);
    g_autoptr(GError) error = NULL;

    if (i % 5 == 4) {
        g_usleep((gulong)(i * 397 % 5000));
        hostmem_job_cancel(job, NULL);
    }
    while (!hostmem_job_is_over(job)) {
        g_usleep(500);
    }
    error = hostmem_job_get_error(job);
    if (error) {
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        g_assert_cmpint(i % 5, ==, 4);
        g_assert_cmpint(g_access(path, F_OK), !=, 0);
        return;
    }
    assert_image(path, crowd, held);
    g_assert_cmpint(g_unlink(path), ==, 0);
}

static void run(const char *options)
{
    static const GThreadFunc all[] = {write_memory, write_memory, write_memory,
                                      populate,     advise,       fork_away};
    const guint moments = g_test_slow() ? SLOW : MOMENTS;
    g_autofree char *path = g_build_filename(hm_test_folder(), "image", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemBackend) backend = hm_test_try_make(options, NULL, &error);
    GThread *threads[G_N_ELEMENTS(all)];
    Crowd crowd = {.backend = backend};

    g_assert_no_error(error);
    crowd.addr = hostmem_backend_get_host_addr(backend);
    crowd.size = hostmem_backend_get_size(backend);
    crowd.cell = MAX(CELL, hostmem_backend_get_page_size(backend));
    crowd.held = g_new0(guint64, crowd.size / PAGE);
    g_rw_lock_init(&crowd.moment);
    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        threads[i] = g_thread_new("crowd", all[i], &crowd);
    }
    for (guint i = 0; i < moments; i++) {
        take_one(&crowd, path, i);
    }
    g_atomic_int_set(&crowd.done, TRUE);
    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        g_thread_join(threads[i]);
    }
    assert_held(crowd.addr, crowd.held, crowd.size / PAGE);
    g_rw_lock_clear(&crowd.moment);
    g_free(crowd.held);
}

static void test_private(void)
{
    if (hm_test_can_protect()) {
        run("memory-backend-ram,id=m0,size=16M,thp=off");
    }
}

static void test_huge(void)
{
    if (hm_test_can_protect()) {
        run("memory-backend-ram,id=m0,size=16M,thp=on,prealloc=on");
    }
}

static void test_shared(void)
{
    if (hm_test_can_protect()) {
        run("memory-backend-memfd,id=m0,size=16M,seal=off");
    }
}

static void test_shared_huge(void)
{
    if (hm_test_can_protect()) {
        run("memory-backend-memfd,id=m0,size=16M,prealloc=on,thp=on");
    }
}

static void test_copy_on_write(void)
{
    if (hm_test_can_protect()) {
        run("memory-backend-memfd,id=m0,size=16M,share=off");
    }
}

static void test_locked(void)
{
    if (hm_test_can_protect()) {
        run("memory-backend-ram,id=m0,size=16M,mem-lock=on-fault");
    }
}

int main(int argc, char **argv)
{
    static const HmTest tests[] = {
        {"/hostmem-snapshot-threads/private", test_private},
        {"/hostmem-snapshot-threads/huge", test_huge},
        {"/hostmem-snapshot-threads/shared", test_shared},
        {"/hostmem-snapshot-threads/shared-huge", test_shared_huge},
        {"/hostmem-snapshot-threads/copy-on-write", test_copy_on_write},
        {"/hostmem-snapshot-threads/locked", test_locked},
    };

    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

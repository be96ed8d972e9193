/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <hostmem/virtio-mem.h>
#include "backends/object-spec.h"
#include "fuzz.h"
#include "os-fake.h"
#include "util/size.h"

/*
 * What a guest, an operator and listeners do to a device, eight bytes a step,
 * against a model of it that is a byte for each block and counts nothing.
 */

#define BLOCK    (2 * HM_MIB)
#define N_BLOCKS 512
#define BASE     (4 * HM_GIB)
#ifdef __aarch64__
#define EXTENT (1024 * HM_MIB / BLOCK)
#else
#define EXTENT (256 * HM_MIB / BLOCK)
#endif

typedef struct {
    HostmemVirtioMem *device;
    gboolean vetoes;
    gboolean told[N_BLOCKS]; /* what a listener has */

    /* the model; blocks */
    gboolean plugged[N_BLOCKS];
    guint64 requested;
    guint64 usable;
    gboolean busy;
    gboolean stuck; /* nothing can be discarded */
} World;

/* The model */

static guint64 size_of(const World *w)
{
    guint64 n = 0;

    for (guint i = 0; i < N_BLOCKS; i++) {
        n += w->plugged[i] != 0;
    }
    return n;
}

static void resize_usable(World *w, gboolean shrink)
{
    guint64 usable = w->requested ? MIN(w->requested + EXTENT, N_BLOCKS) : 0;

    if (shrink || usable > w->usable) {
        w->usable = usable;
    }
}

static gboolean find(const World *w, const HostmemVirtioMemRequest *r,
                     guint64 *first)
{
    *first = (r->addr - BASE) / BLOCK;
    return r->addr % BLOCK == 0 && r->nb_blocks && r->addr >= BASE &&
           *first < w->usable && r->nb_blocks <= w->usable - *first;
}

static guint64 count(const World *w, guint64 first, guint64 n)
{
    guint64 found = 0;

    for (guint64 i = first; i < first + n; i++) {
        found += w->plugged[i] != 0;
    }
    return found;
}

static void fill(World *w, guint64 first, guint64 n, gboolean plugged)
{
    for (guint64 i = first; i < first + n; i++) {
        w->plugged[i] = plugged;
    }
}

static HostmemVirtioMemAnswer model_plug(World *w, guint64 first, guint64 n)
{
    if (size_of(w) + n > w->requested) {
        return HOSTMEM_VIRTIO_MEM_NACK;
    }
    if (count(w, first, n)) {
        return HOSTMEM_VIRTIO_MEM_ERROR;
    }
    if (w->busy || w->vetoes) {
        return HOSTMEM_VIRTIO_MEM_BUSY;
    }
    fill(w, first, n, TRUE);
    return HOSTMEM_VIRTIO_MEM_ACK;
}

static HostmemVirtioMemAnswer model_unplug(World *w, guint64 first, guint64 n)
{
    if (count(w, first, n) != n) {
        return HOSTMEM_VIRTIO_MEM_ERROR;
    }
    if (w->busy || w->stuck) {
        return HOSTMEM_VIRTIO_MEM_BUSY;
    }
    fill(w, first, n, FALSE);
    return HOSTMEM_VIRTIO_MEM_ACK;
}

static HostmemVirtioMemAnswer model_unplug_all(World *w)
{
    if (size_of(w) && (w->busy || w->stuck)) {
        return HOSTMEM_VIRTIO_MEM_BUSY;
    }
    fill(w, 0, N_BLOCKS, FALSE);
    resize_usable(w, TRUE);
    return HOSTMEM_VIRTIO_MEM_ACK;
}

static HostmemVirtioMemState model_state(const World *w, guint64 first,
                                         guint64 n)
{
    guint64 plugged = count(w, first, n);

    return plugged == n ? HOSTMEM_VIRTIO_MEM_PLUGGED
           : plugged    ? HOSTMEM_VIRTIO_MEM_MIXED
                        : HOSTMEM_VIRTIO_MEM_UNPLUGGED;
}

static HostmemVirtioMemResponse model_serve(World *w,
                                            const HostmemVirtioMemRequest *r)
{
    HostmemVirtioMemResponse response = {.answer = HOSTMEM_VIRTIO_MEM_ERROR};
    guint64 first;

    if (r->type == HOSTMEM_VIRTIO_MEM_UNPLUG_ALL) {
        response.answer = model_unplug_all(w);
    } else if (!find(w, r, &first)) {
        return response;
    } else if (r->type == HOSTMEM_VIRTIO_MEM_PLUG) {
        response.answer = model_plug(w, first, r->nb_blocks);
    } else if (r->type == HOSTMEM_VIRTIO_MEM_UNPLUG) {
        response.answer = model_unplug(w, first, r->nb_blocks);
    } else {
        response.answer = HOSTMEM_VIRTIO_MEM_ACK;
        response.state = model_state(w, first, r->nb_blocks);
    }
    return response;
}

/* The listener */

static gboolean on_populating(HostmemDiscardSource *source G_GNUC_UNUSED,
                              guint64 offset, guint64 length, gpointer data,
                              GError **error)
{
    World *w = data;

    if (w->vetoes) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_LIMIT, "not now");
        return FALSE;
    }
    for (guint64 i = offset / BLOCK; i < (offset + length) / BLOCK; i++) {
        g_assert_false(w->told[i]);
        w->told[i] = TRUE;
    }
    return TRUE;
}

static void on_discarded(HostmemDiscardSource *source G_GNUC_UNUSED,
                         guint64 offset, guint64 length, gpointer data)
{
    World *w = data;

    for (guint64 i = offset / BLOCK; i < (offset + length) / BLOCK; i++) {
        w->told[i] = FALSE;
    }
}

/* Steps */

typedef struct {
    guint8 what;
    guint8 address;
    guint16 block;
    guint16 n;
    guint16 spare;
} Step;

static guint64 address_of(const Step *step)
{
    switch (step->address % 5) {
    case 0:
    case 1:
        return BASE + step->block % (N_BLOCKS + 2) * BLOCK;
    case 2:
        return BASE + step->block;
    case 3:
        return BASE - step->block * BLOCK;
    default:
        return (guint64)step->block << 48 | step->spare * BLOCK;
    }
}

static void serve(World *w, const Step *step)
{
    const HostmemVirtioMemRequest request = {
        .type = step->what % 4,
        .addr = address_of(step),
        .nb_blocks = step->address & 0x80 ? step->n : step->n % 16,
    };
    HostmemVirtioMemResponse expected = model_serve(w, &request);
    HostmemVirtioMemResponse response;
    g_autoptr(GError) error = NULL;

    hostmem_virtio_mem_request(w->device, &request, &response, &error);
    g_assert_cmpint(response.answer, ==, expected.answer);
    g_assert_cmpint(response.state, ==, expected.state);
    fuzz_check_error(response.answer == HOSTMEM_VIRTIO_MEM_ACK, error);
}

static void set_requested(World *w, const Step *step)
{
    guint64 blocks = step->block % (N_BLOCKS + 2);
    guint64 size = blocks * BLOCK + (step->address % 4 ? 0 : step->n);
    gboolean fits = size <= N_BLOCKS * BLOCK && size % BLOCK == 0;
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(
        hostmem_virtio_mem_set_requested_size(w->device, size, &error), ==,
        fits);
    fuzz_check_error(fits, error);
    if (fits) {
        w->requested = blocks;
        resize_usable(w, FALSE);
    }
}

static void reset(World *w)
{
    if (!w->busy || !size_of(w)) {
        model_unplug_all(w);
    }
    hostmem_virtio_mem_reset(w->device);
}

static void stick(World *w, gboolean stuck)
{
    w->stuck = stuck;
    hm_fake_fail_always(HM_FAKE_ADVISE, stuck ? ENOMEM : 0);
    hm_fake_fail_always(HM_FAKE_ADVISE_VECTOR, stuck ? ENOMEM : 0);
}

static void run_step(World *w, const Step *step)
{
    switch (step->what / 4 % 8) {
    case 0:
        set_requested(w, step);
        break;
    case 1:
        w->busy = step->n & 1;
        hostmem_virtio_mem_set_busy(w->device, w->busy);
        break;
    case 2:
        w->vetoes = step->n & 1;
        break;
    case 3:
        stick(w, step->n & 1);
        break;
    case 4:
        reset(w);
        break;
    default:
        serve(w, step);
    }
}

static void assert_same(World *w)
{
    HostmemDiscardSource *source = HOSTMEM_DISCARD_SOURCE(w->device);

    g_assert_cmpuint(hostmem_virtio_mem_get_size(w->device), ==,
                     size_of(w) * BLOCK);
    g_assert_cmpuint(hostmem_virtio_mem_get_usable_region_size(w->device), ==,
                     w->usable * BLOCK);
    for (guint64 i = 0; i < N_BLOCKS; i++) {
        g_assert_cmpint(
            hostmem_discard_source_is_populated(source, i * BLOCK, BLOCK), ==,
            w->plugged[i]);
        g_assert_cmpint(w->told[i], ==, w->plugged[i]);
    }
}

/* Worlds */

static HostmemBackend *make_memdev(void)
{
    g_autoptr(HmObjectSpec) spec = hm_object_spec_from_text(
        HM_SPEC_OBJECT, "memory-backend-ram,id=m,size=1G,reserve=off", NULL,
        NULL);
    g_autoptr(HostmemObject) memdev = hm_object_spec_instantiate(spec);

    g_assert_true(g_initable_init(G_INITABLE(memdev), NULL, NULL));
    return HOSTMEM_BACKEND(g_steal_pointer(&memdev));
}

static void world_init(World *w)
{
    const HostmemDiscardListener listener = {on_populating, on_discarded};
    g_autoptr(HostmemBackend) memdev = make_memdev();

    w->device = HOSTMEM_VIRTIO_MEM(
        g_initable_new(HOSTMEM_TYPE_VIRTIO_MEM, NULL, NULL, "memdev", memdev,
                       "memaddr", BASE, "block-size", BLOCK, NULL));
    g_assert_nonnull(w->device);
    hostmem_discard_source_add_listener(HOSTMEM_DISCARD_SOURCE(w->device), 0,
                                        N_BLOCKS * BLOCK, &listener, w, NULL,
                                        NULL);
}

static void ignore_log(const char *domain G_GNUC_UNUSED,
                       GLogLevelFlags level G_GNUC_UNUSED,
                       const char *message G_GNUC_UNUSED,
                       gpointer data G_GNUC_UNUSED)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    World w = {0};
    guint handler;

    hm_fake_reset();
    handler =
        g_log_set_handler("hostmem", G_LOG_LEVEL_MESSAGE, ignore_log, NULL);
    world_init(&w);
    for (; size >= sizeof(Step); data += sizeof(Step), size -= sizeof(Step)) {
        Step step;

        memcpy(&step, data, sizeof(step));
        run_step(&w, &step);
    }
    assert_same(&w);
    stick(&w, FALSE);
    g_object_unref(w.device);
    g_log_remove_handler("hostmem", handler);
    return 0;
}

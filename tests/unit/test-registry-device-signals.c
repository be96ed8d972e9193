/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/registry.h>
#include <hostmem/virtio-mem.h>
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

#define BLOCK (2 * HM_MIB)

/* A registry with a device, and what it told. */
typedef struct {
    HostmemRegistry *registry;
    HostmemVirtioMem *device;
    GString *told;
} Fixture;

static void on_size(HostmemRegistry *registry G_GNUC_UNUSED,
                    HostmemDevice *device G_GNUC_UNUSED, guint64 size,
                    gpointer data)
{
    Fixture *self = data;

    g_string_append_printf(self->told, "%" G_GUINT64_FORMAT " ", size / BLOCK);
}

static void on_resize(HostmemRegistry *registry G_GNUC_UNUSED,
                      HostmemDevice *device G_GNUC_UNUSED,
                      HostmemResizeState state, gpointer data)
{
    static const char *const words[] = {"reached ", "running ", "stalled "};
    Fixture *self = data;

    g_string_append(self->told, words[state]);
}

static void set_up(Fixture *self, const char *options)
{
    g_autofree char *device =
        g_strconcat("virtio-mem,id=v0,memdev=m0", options, NULL);

    self->registry = hostmem_registry_new();
    self->told = g_string_new(NULL);
    g_signal_connect(self->registry, "device-size-changed", G_CALLBACK(on_size),
                     self);
    g_signal_connect(self->registry, "device-resize-changed",
                     G_CALLBACK(on_resize), self);
    hostmem_registry_add(self->registry, "memory-backend-ram,id=m0,size=64M",
                         NULL, NULL);
    self->device = HOSTMEM_VIRTIO_MEM(
        hostmem_registry_add_device(self->registry, device, NULL, NULL));
}

static void tear_down(Fixture *self)
{
    g_clear_object(&self->registry);
    g_string_free(self->told, TRUE);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, tear_down)

static void plug(HostmemVirtioMem *device, guint first)
{
    const HostmemVirtioMemRequest request = {
        HOSTMEM_VIRTIO_MEM_PLUG,
        hostmem_virtio_mem_get_address(device) + first * BLOCK, 1};
    HostmemVirtioMemResponse response;
    g_autoptr(GError) error = NULL;

    hostmem_virtio_mem_request(device, &request, &response, &error);
    g_assert_no_error(error);
}

static void drain(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* What was told since the last time. */
static void assert_told(Fixture *self, const char *expected)
{
    drain();
    g_assert_cmpstr(self->told->str, ==, expected);
    g_string_truncate(self->told, 0);
}

static void test_an_idle_device_is_silent(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, "");
    assert_told(&fixture, "");
}

static void test_a_resize_from_the_start(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, ",requested-size=2M");
    assert_told(&fixture, "running ");
}

static void test_sizes_and_states(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, "");
    hm_test_assert_set(fixture.device, "requested-size", "4M");
    assert_told(&fixture, "running ");
    plug(fixture.device, 0);
    assert_told(&fixture, "1 ");
    plug(fixture.device, 1);
    assert_told(&fixture, "2 reached ");
}

static void test_fast_changes_are_told_once(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, ",requested-size=32M");
    for (guint i = 0; i < 16; i++) {
        plug(fixture.device, i);
    }
    assert_told(&fixture, "16 reached ");
}

/* From reached to reached: the resize in between is not lost. */
static void test_a_quick_resize_is_told(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, "");
    drain();
    hm_test_assert_set(fixture.device, "requested-size", "2M");
    plug(fixture.device, 0);
    assert_told(&fixture, "1 reached ");
}

static gpointer plug_many(gpointer data)
{
    for (guint i = 0; i < 16; i++) {
        plug(data, i);
    }
    return NULL;
}

static void test_changes_in_another_thread(void)
{
    g_auto(Fixture) fixture = {0};
    GThread *thread;

    set_up(&fixture, ",requested-size=32M");
    thread = g_thread_new("guest", plug_many, fixture.device);
    while (!g_str_has_suffix(fixture.told->str, "16 reached ")) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_thread_join(thread);
}

static void test_a_stall_is_noticed(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, ",requested-size=2M,resize-timeout=1");
    while (!g_str_has_suffix(fixture.told->str, "stalled ")) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(fixture.told->str, ==, "running stalled ");
    g_string_truncate(fixture.told, 0);
    plug(fixture.device, 0);
    assert_told(&fixture, "1 reached ");
}

static void on_deleted(HostmemRegistry *registry G_GNUC_UNUSED,
                       const char *id G_GNUC_UNUSED,
                       const char *path G_GNUC_UNUSED, gpointer data)
{
    Fixture *self = data;

    g_string_append(self->told, "deleted ");
}

static void test_the_last_size_comes_before_the_end(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, ",requested-size=2M");
    g_signal_connect(fixture.registry, "device-deleted", G_CALLBACK(on_deleted),
                     &fixture);
    plug(fixture.device, 0);
    assert_told(&fixture, "1 reached ");
    hostmem_device_reset(HOSTMEM_DEVICE(fixture.device));
    hm_test_assert_set(fixture.device, "requested-size", "0");
    g_assert_true(hostmem_registry_remove_device(fixture.registry, "v0", NULL));
    assert_told(&fixture, "0 reached deleted ");
}

static void on_size_remove(HostmemRegistry *registry,
                           HostmemDevice *device G_GNUC_UNUSED, guint64 size,
                           gpointer data)
{
    if (!size) {
        *(gboolean *)data =
            hostmem_registry_remove_device(registry, "v0", NULL);
    }
}

static void test_a_handler_may_remove_the_device(void)
{
    g_auto(Fixture) fixture = {0};
    gboolean removed = FALSE;

    set_up(&fixture, ",requested-size=2M");
    g_signal_connect(fixture.registry, "device-size-changed",
                     G_CALLBACK(on_size_remove), &removed);
    plug(fixture.device, 0);
    drain();
    hm_test_assert_set(fixture.device, "requested-size", "0");
    hostmem_device_reset(HOSTMEM_DEVICE(fixture.device));
    drain();
    g_assert_true(removed);
    g_assert_true(hostmem_registry_remove(fixture.registry, "m0", NULL));
}

static void on_stalled_remove(HostmemVirtioMem *device G_GNUC_UNUSED,
                              HostmemResizeState state, gpointer data)
{
    Fixture *self = data;

    if (state == HOSTMEM_RESIZE_STALLED) {
        hm_test_assert_set(self->device, "requested-size", "0");
        g_assert_true(
            hostmem_registry_remove_device(self->registry, "v0", NULL));
        self->device = NULL;
    }
}

/* That it has stalled is noticed by who looks: the registry. */
static void test_a_handler_of_the_device_may_remove_it(void)
{
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, ",requested-size=2M,resize-timeout=1");
    g_signal_connect(fixture.device, "resize-changed",
                     G_CALLBACK(on_stalled_remove), &fixture);
    while (fixture.device) {
        g_main_context_iteration(NULL, TRUE);
    }
    assert_told(&fixture, "running reached ");
}

/* Whoever else has a reference may go on; nobody is told. */
static void test_a_device_outlives_its_registry(void)
{
    g_autoptr(HostmemVirtioMem) device = NULL;
    g_auto(Fixture) fixture = {0};

    set_up(&fixture, ",requested-size=2M");
    assert_told(&fixture, "running ");
    device = g_object_ref(fixture.device);
    g_clear_object(&fixture.registry);
    plug(device, 0);
    assert_told(&fixture, "");
}

static const HmTest tests[] = {
    {"/registry-device-signals/an-idle-device-is-silent",
     test_an_idle_device_is_silent},
    {"/registry-device-signals/a-resize-from-the-start",
     test_a_resize_from_the_start},
    {"/registry-device-signals/sizes-and-states", test_sizes_and_states},
    {"/registry-device-signals/fast-changes-are-told-once",
     test_fast_changes_are_told_once},
    {"/registry-device-signals/a-quick-resize-is-told",
     test_a_quick_resize_is_told},
    {"/registry-device-signals/changes-in-another-thread",
     test_changes_in_another_thread},
    {"/registry-device-signals/a-stall-is-noticed", test_a_stall_is_noticed},
    {"/registry-device-signals/the-last-size-comes-before-the-end",
     test_the_last_size_comes_before_the_end},
    {"/registry-device-signals/a-handler-may-remove-the-device",
     test_a_handler_may_remove_the_device},
    {"/registry-device-signals/a-handler-of-the-device-may-remove-it",
     test_a_handler_of_the_device_may_remove_it},
    {"/registry-device-signals/a-device-outlives-its-registry",
     test_a_device_outlives_its_registry},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/backend.h>
#include <hostmem/registry.h>
#include <hostmem/virtio-mem.h>
#include "backends/object.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/size.h"

#define BASE   (4 * HM_GIB)
#define REGION (64 * HM_MIB)

/* A registry with "m0" and "m1" of 64 MiB. */
static HostmemRegistry *registry_new(void)
{
    HostmemRegistry *registry = hostmem_registry_new();
    static const char *const options[] = {"memory-backend-ram,id=m0,size=64M",
                                          "memory-backend-ram,id=m1,size=64M"};

    for (guint i = 0; i < G_N_ELEMENTS(options); i++) {
        g_assert_nonnull(
            hostmem_registry_add(registry, options[i], NULL, NULL));
    }
    return registry;
}

static HostmemVirtioMem *add(HostmemRegistry *registry, const char *options)
{
    GError *error = NULL;
    HostmemDevice *device =
        hostmem_registry_add_device(registry, options, NULL, &error);

    g_assert_no_error(error);
    return HOSTMEM_VIRTIO_MEM(device);
}

static void assert_add_fails(HostmemRegistry *registry, const char *options,
                             gint code, const char *part)
{
    GError *error = NULL;

    g_assert_null(hostmem_registry_add_device(registry, options, NULL, &error));
    hm_test_assert_error(error, code, part);
}

static void assert_remove_fails(HostmemRegistry *registry, const char *id,
                                gint code, const char *part)
{
    GError *error = NULL;

    g_assert_false(hostmem_registry_remove_device(registry, id, &error));
    hm_test_assert_error(error, code, part);
}

static void assert_object_is_in_use(HostmemRegistry *registry, const char *id)
{
    GError *error = NULL;

    g_assert_false(hostmem_registry_remove(registry, id, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_BUSY,
                         "is in use, can not be deleted");
}

static HostmemVirtioMemAnswer ask(HostmemVirtioMem *device,
                                  HostmemVirtioMemRequestType type)
{
    const HostmemVirtioMemRequest request = {
        type, hostmem_virtio_mem_get_address(device), 1};
    HostmemVirtioMemResponse response;

    hostmem_virtio_mem_request(device, &request, &response, NULL);
    return response.answer;
}

/* Adding */

static void test_dialects(void)
{
    static const char *const options[] = {
        "virtio-mem,id=vm0,memdev=m0,requested-size=8M",
        "driver=virtio-mem-pci,id=vm0,memdev=/objects/m0,requested-size=8M",
        "id=vm0,memdev=m0,requested-size=8388608,driver=virtio-mem-device",
        ("{\"driver\": \"virtio-mem-pci\", \"id\": \"vm0\", \"memdev\": \"m0\","
         " \"requested-size\": 8388608}"),
    };

    for (gsize i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autoptr(HostmemRegistry) registry = registry_new();
        HostmemVirtioMem *device = add(registry, options[i]);

        g_assert_cmpuint(hostmem_virtio_mem_get_requested_size(device), ==,
                         8 * HM_MIB);
        g_assert_true((gpointer)device ==
                      hostmem_registry_lookup_device(registry, "vm0", NULL));
        hm_test_assert_reads(device, "type", "\"virtio-mem\"");
    }
}

static void test_option_errors(void)
{
    static const struct {
        const char *options;
        const char *part;
    } cases[] = {
        {"", "Parameter 'driver' is missing"},
        {"id=v,memdev=m0", "Parameter 'driver' is missing"},
        {"{\"id\": \"v\"}", "Parameter 'driver' is missing"},
        {"{\"driver\": 5}",
         "Invalid parameter type for 'driver', expected: string"},
        {"nosuch,id=v", "'nosuch' is not a valid device model name"},
        {"memory-backend-ram,id=v,size=1M",
         "'memory-backend-ram' is not a valid device model name"},
        {"object,id=v", "'object' is not a valid device model name"},
        {"device,id=v",
         "Parameter 'driver' expects a non-abstract device type"},
        {"virtio-mem-pci,id=v", "'memdev' property must be set"},
        {"virtio-mem-pci,id=1v,memdev=m0",
         "Parameter 'id' expects an identifier"},
        {"virtio-mem-pci,id=,memdev=m0",
         "Parameter 'id' expects an identifier"},
        {"virtio-mem-pci,id=v,memdev=m0,foo=1",
         "Property 'virtio-mem-pci.foo' not found"},
        {"virtio-mem-pci,id=v,memdev=m0,size=1M",
         "Property 'virtio-mem.size' is not writable"},
        {"{\"driver\": \"virtio-mem\", \"id\": \"v\", \"memdev\": \"m0\", "
         "\"foo\": 1}",
         "Property 'virtio-mem.foo' not found"},
        {"{\"driver\": \"virtio-mem\", \"id\": \"v\", \"memdev\": \"m0\", "
         "\"size\": 1}",
         "Property 'virtio-mem.size' is not writable"},
        {"virtio-mem,id=v,memdev=m0,requested-size=1X",
         "Parameter 'requested-size' expects a size value"},
        {"virtio-mem,id=v,memdev=m0,requested-size=1M",
         "'requested-size' property has to be multiples of 'block-size' "
         "(0x200000)"},
        {"virtio-mem,id=v,memdev=m0,requested-size=128M",
         "'requested-size' cannot exceed the memory backend size(0x4000000)"},
        {"virtio-mem,id=v,memdev=m0,requested-size=-1",
         "Parameter 'requested-size' expects a size value"},
    };
    g_autoptr(HostmemRegistry) registry = registry_new();

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_add_fails(registry, cases[i].options, HOSTMEM_ERROR_INVALID,
                         cases[i].part);
    }
    assert_add_fails(registry, "virtio-mem,id=v,memdev=nosuch",
                     HOSTMEM_ERROR_NOT_FOUND, "Device 'nosuch' not found");
    add(registry, "virtio-mem,id=v,memdev=m0");
}

static void test_memdev_of_another_type(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    hostmem_registry_add(registry, "thread-context,id=tc0", NULL, NULL);
    assert_add_fails(registry, "virtio-mem,id=v,memdev=tc0",
                     HOSTMEM_ERROR_INVALID,
                     "Invalid parameter type for 'memdev', expected: "
                     "memory-backend");
}

static void test_a_device_is_no_object(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autoptr(GPtrArray) list = NULL;
    GError *error = NULL;

    g_assert_null(hostmem_registry_add(registry, "virtio-mem,id=v,memdev=m0",
                                       NULL, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_INVALID,
                         "Parameter 'qom-type' does not accept value "
                         "'virtio-mem'");
    add(registry, "virtio-mem,id=v,memdev=m0");
    error = NULL;
    g_assert_null(
        hostmem_registry_lookup(registry, "v", HOSTMEM_TYPE_OBJECT, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_NOT_FOUND,
                         "Device 'v' not found");
    list = hostmem_registry_list(registry);
    g_assert_cmpuint(list->len, ==, 2);
}

static void test_ids_of_devices_are_apart(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *device = add(registry, "virtio-mem,id=m0,memdev=m0");

    g_assert_true((gpointer)device ==
                  hostmem_registry_lookup_device(registry, "m0", NULL));
    assert_add_fails(registry, "virtio-mem,id=m0,memdev=m1",
                     HOSTMEM_ERROR_EXISTS, "Duplicate device ID 'm0'");
}

static void test_without_id(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *first = add(registry, "virtio-mem,memdev=m0");
    g_autofree char *path = NULL;
    HostmemVirtioMem *second;

    g_assert_null(hostmem_object_get_id(HOSTMEM_OBJECT(first)));
    path = hm_object_get_path(HOSTMEM_OBJECT(first));
    g_assert_cmpstr(path, ==, "/machine/peripheral-anon/device[0]");
    g_assert_true((gpointer)first ==
                  hostmem_registry_lookup_device(registry, path, NULL));
    second = add(registry, "virtio-mem,memdev=m1");
    g_assert_true((gpointer)second ==
                  hostmem_registry_lookup_device(
                      registry, "/machine/peripheral-anon/device[1]", NULL));
}

static void test_failure_frees_id_memdev_and_address(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    assert_add_fails(registry,
                     "virtio-mem,id=v,memdev=m0,memaddr=0x140000000,"
                     "requested-size=128M",
                     HOSTMEM_ERROR_INVALID, "cannot exceed");
    add(registry, "virtio-mem,id=v,memdev=m0,memaddr=0x140000000");
}

/* memdev */

static void test_memdev_is_held(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    add(registry, "virtio-mem,id=v0,memdev=m0");
    assert_object_is_in_use(registry, "m0");
    assert_add_fails(registry, "virtio-mem,id=v1,memdev=m0", HOSTMEM_ERROR_BUSY,
                     "'memdev' property specifies a busy memdev: m0");
    g_assert_true(hostmem_registry_remove_device(registry, "v0", NULL));
    g_assert_true(hostmem_registry_remove(registry, "m0", NULL));
}

static void on_added(GObject *source, GAsyncResult *result, gpointer data)
{
    *(HostmemDevice **)data = hostmem_registry_add_device_finish(
        HOSTMEM_REGISTRY(source), result, NULL);
}

static void test_memdev_is_held_while_a_device_is_created(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemDevice *device = NULL;

    hostmem_registry_add_device_async(registry, "virtio-mem,id=v0,memdev=m0",
                                      NULL, on_added, &device);
    assert_object_is_in_use(registry, "m0");
    g_assert_true(hostmem_registry_remove(registry, "m1", NULL));
    while (!device) {
        g_main_context_iteration(NULL, TRUE);
    }
    assert_object_is_in_use(registry, "m0");
}

/* Addresses */

static void test_addresses_are_chosen(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *v0 = add(registry, "virtio-mem,id=v0,memdev=m0");
    HostmemVirtioMem *v1 = add(registry, "virtio-mem,id=v1,memdev=m1");

    g_assert_cmpuint(hostmem_virtio_mem_get_address(v0), ==, BASE);
    g_assert_cmpuint(hostmem_virtio_mem_get_address(v1), ==, BASE + REGION);
}

static void test_address_errors(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    add(registry, "virtio-mem,id=v0,memdev=m0");
    assert_add_fails(registry, "virtio-mem,id=v1,memdev=m1,memaddr=0x102000000",
                     HOSTMEM_ERROR_EXISTS,
                     "address range conflicts with memory device id='v0'");
    assert_add_fails(registry, "virtio-mem,id=v1,memdev=m1,memaddr=0x100100000",
                     HOSTMEM_ERROR_INVALID,
                     "address must be aligned to 0x200000 bytes");
    assert_add_fails(registry, "virtio-mem,id=v1,memdev=m1,memaddr=0x200000",
                     HOSTMEM_ERROR_INVALID,
                     "can't add memory device [0x200000:0x4000000], usable "
                     "range for memory devices [0x100000000:");
}

static void test_address_of_a_removed_device_is_free(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *device;

    add(registry, "virtio-mem,id=v0,memdev=m0");
    g_assert_true(hostmem_registry_remove_device(registry, "v0", NULL));
    device = add(registry, "virtio-mem,id=v1,memdev=m1");
    g_assert_cmpuint(hostmem_virtio_mem_get_address(device), ==, BASE);
}

/* Removing */

static void test_remove_errors(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *device =
        add(registry, "virtio-mem,id=v0,memdev=m0,requested-size=4M");

    assert_remove_fails(registry, "nosuch", HOSTMEM_ERROR_NOT_FOUND,
                        "Device 'nosuch' not found");
    assert_remove_fails(registry, "/objects/m0", HOSTMEM_ERROR_NOT_FOUND,
                        "Device '/objects/m0' not found");
    assert_remove_fails(registry, "v0", HOSTMEM_ERROR_BUSY,
                        "virtio-mem device cannot get unplugged while "
                        "'requested-size' != '0'");
    g_assert_cmpint(ask(device, HOSTMEM_VIRTIO_MEM_PLUG), ==,
                    HOSTMEM_VIRTIO_MEM_ACK);
    hm_test_assert_set(device, "requested-size", "0");
    assert_remove_fails(registry, "v0", HOSTMEM_ERROR_BUSY,
                        "virtio-mem device cannot get unplugged while some of "
                        "its memory is still plugged");
    g_assert_cmpint(ask(device, HOSTMEM_VIRTIO_MEM_UNPLUG), ==,
                    HOSTMEM_VIRTIO_MEM_ACK);
    g_assert_true(hostmem_registry_remove_device(registry, "v0", NULL));
}

static void test_device_that_a_guest_may_read_stays(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    add(registry, "virtio-mem,id=v0,memdev=m0,unplugged-inaccessible=off");
    assert_remove_fails(registry, "v0", HOSTMEM_ERROR_BUSY,
                        "virtio-mem device cannot get unplugged while "
                        "'unplugged-inaccessible' != 'on'");
}

static void test_held_device_stays(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *device = add(registry, "virtio-mem,id=v0,memdev=m0");

    hostmem_object_hold(HOSTMEM_OBJECT(device));
    assert_remove_fails(registry, "v0", HOSTMEM_ERROR_BUSY,
                        "device 'v0' is in use, can not be deleted");
    hostmem_object_release(HOSTMEM_OBJECT(device));
    g_assert_true(hostmem_registry_remove_device(registry, "v0", NULL));
}

static void test_remove_by_path(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();

    add(registry, "virtio-mem,id=v0,memdev=m0");
    add(registry, "virtio-mem,memdev=m1");
    g_assert_true(hostmem_registry_remove_device(
        registry, "/machine/peripheral/v0", NULL));
    g_assert_true(hostmem_registry_remove_device(
        registry, "/machine/peripheral-anon/device[0]", NULL));
}

static void on_deleted(HostmemRegistry *registry, const char *id,
                       const char *path, gpointer text)
{
    GError *error = NULL;

    g_assert_true(hostmem_registry_remove(registry, "m0", &error));
    g_assert_no_error(error);
    g_string_append_printf(text, "%s %s", id ? id : "-", path);
}

static void on_removed(GObject *source, GAsyncResult *result, gpointer data)
{
    g_assert_true(hostmem_registry_remove_device_finish(
        HOSTMEM_REGISTRY(source), result, NULL));
    *(gboolean *)data = TRUE;
}

static void test_memdev_is_free_when_a_device_is_deleted(void)
{
    static const struct {
        const char *options;
        const char *path;
        const char *told;
    } cases[] = {
        {"virtio-mem,id=v0,memdev=m0", "v0", "v0 /machine/peripheral/v0"},
        {"virtio-mem,memdev=m0", "/machine/peripheral-anon/device[0]",
         "- /machine/peripheral-anon/device[0]"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(HostmemRegistry) registry = registry_new();
        g_autoptr(GString) told = g_string_new(NULL);
        gboolean done = FALSE;

        g_signal_connect(registry, "device-deleted", G_CALLBACK(on_deleted),
                         told);
        add(registry, cases[i].options);
        hostmem_registry_remove_device_async(registry, cases[i].path,
                                             on_removed, &done);
        while (!done) {
            g_main_context_iteration(NULL, TRUE);
        }
        g_assert_cmpstr(told->str, ==, cases[i].told);
    }
}

static void test_cancelled_creation(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;

    g_cancellable_cancel(cancellable);
    g_assert_null(hostmem_registry_add_device(
        registry, "virtio-mem,id=v0,memdev=m0", cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    add(registry, "virtio-mem,id=v0,memdev=m0");
}

static void test_list_in_order(void)
{
    g_autoptr(HostmemRegistry) registry = registry_new();
    HostmemVirtioMem *v1 = add(registry, "virtio-mem,id=v1,memdev=m0");
    HostmemVirtioMem *v0 = add(registry, "virtio-mem,id=v0,memdev=m1");
    g_autoptr(GPtrArray) list = hostmem_registry_list_devices(registry);

    g_assert_cmpuint(list->len, ==, 2);
    g_assert_true(g_ptr_array_index(list, 0) == (gpointer)v1);
    g_assert_true(g_ptr_array_index(list, 1) == (gpointer)v0);
}

static void test_destruction_frees_all(void)
{
    HostmemRegistry *registry = hostmem_registry_new();

    hostmem_registry_add(registry, "memory-backend-ram,id=m0,size=64M", NULL,
                         NULL);
    g_assert_cmpuint(hm_test_count_mappings(REGION), ==, 1);
    add(registry, "virtio-mem,id=v0,memdev=m0,requested-size=4M");
    g_object_unref(registry);
    g_assert_cmpuint(hm_test_count_mappings(REGION), ==, 0);
}

static const HmTest tests[] = {
    {"/registry-device/dialects", test_dialects},
    {"/registry-device/option-errors", test_option_errors},
    {"/registry-device/memdev-of-another-type", test_memdev_of_another_type},
    {"/registry-device/a-device-is-no-object", test_a_device_is_no_object},
    {"/registry-device/ids-are-apart", test_ids_of_devices_are_apart},
    {"/registry-device/without-id", test_without_id},
    {"/registry-device/failure-frees-id-memdev-and-address",
     test_failure_frees_id_memdev_and_address},
    {"/registry-device/memdev-is-held", test_memdev_is_held},
    {"/registry-device/memdev-is-held-during-creation",
     test_memdev_is_held_while_a_device_is_created},
    {"/registry-device/addresses-are-chosen", test_addresses_are_chosen},
    {"/registry-device/address-errors", test_address_errors},
    {"/registry-device/address-of-a-removed-device-is-free",
     test_address_of_a_removed_device_is_free},
    {"/registry-device/remove-errors", test_remove_errors},
    {"/registry-device/device-that-a-guest-may-read-stays",
     test_device_that_a_guest_may_read_stays},
    {"/registry-device/held-device-stays", test_held_device_stays},
    {"/registry-device/remove-by-path", test_remove_by_path},
    {"/registry-device/memdev-is-free-when-a-device-is-deleted",
     test_memdev_is_free_when_a_device_is_deleted},
    {"/registry-device/cancelled-creation", test_cancelled_creation},
    {"/registry-device/list-in-order", test_list_in_order},
    {"/registry-device/destruction-frees-all", test_destruction_frees_all},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

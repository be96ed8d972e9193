/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/virtio-mem.h>
#include "backends/hostmem-advise.h"
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"
#include "util/error.h"
#include "util/hostcaps.h"

/*
 * memory-discard and memory-advise: what a VMM that has the memory, and a
 * balloon in its guest, wants done with parts of it.
 */

/* Ranges: [{"offset": ..., "length": ...}, ...] */

static gboolean refuse_range(gsize index, const char *why, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Invalid parameter 'ranges[%" G_GSIZE_FORMAT "]': %s",
                        index, why);
}

static gboolean read_member(json_t *entry, const char *name, guint64 *value)
{
    json_t *number = json_object_get(entry, name);

    if (!json_is_integer(number) || json_integer_value(number) < 0) {
        return FALSE;
    }
    *value = (guint64)json_integer_value(number);
    return TRUE;
}

static gboolean read_range(json_t *entry, gsize index, HostmemRange *range,
                           GError **error)
{
    if (!json_is_object(entry) || json_object_size(entry) != 2) {
        return refuse_range(index,
                            "an object of 'offset' and 'length' is "
                            "expected",
                            error);
    }
    return (read_member(entry, "offset", &range->offset) &&
            read_member(entry, "length", &range->length)) ||
           refuse_range(index, "'offset' and 'length' are expected, in bytes",
                        error);
}

/* (transfer full) (element-type HostmemRange) */
static GArray *read_ranges(HmQmpCall *call, GError **error)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(HostmemRange));
    json_t *list = hm_qmp_call_arg(call, "ranges");
    json_t *entry;
    gsize i;

    if (!json_is_array(list) || !json_array_size(list)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "Invalid parameter type for 'ranges', expected: array, "
                     "not empty");
        return NULL;
    }
    json_array_foreach(list, i, entry)
    {
        HostmemRange range;

        if (!read_range(entry, i, &range, error)) {
            return NULL;
        }
        g_array_append_val(ranges, range);
    }
    return g_steal_pointer(&ranges);
}

/* Who decides about the memory */

/* (nullable) (transfer none) */
static HostmemVirtioMem *find_device(HmQmpCall *call, HostmemBackend *backend)
{
    g_autoptr(GPtrArray) devices =
        hostmem_registry_list_devices(hm_qmp_server_get_registry(call->server));

    for (guint i = 0; i < devices->len; i++) {
        HostmemVirtioMem *device = g_ptr_array_index(devices, i);

        if (hostmem_virtio_mem_get_memdev(device) == backend) {
            return device;
        }
    }
    return NULL;
}

static gboolean refuse_device(HostmemVirtioMem *device, const char *why,
                              GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(device));

    return hm_set_error(error, HOSTMEM_ERROR_BUSY, "it is the memory of %s%s",
                        what, why);
}

/* What a device has plugged is there until it is unplugged, and those who map
 * it are asked. */
static gboolean check_discard(HmQmpCall *call, HostmemBackend *backend,
                              GError **error)
{
    HostmemVirtioMem *device = find_device(call, backend);

    return !device ||
           refuse_device(device,
                         ", which gives it back when its guest unplugs "
                         "it",
                         error);
}

/* A huge page must not populate a block that is not plugged. */
static gboolean check_advice(HmQmpCall *call, HostmemBackend *backend,
                             GError **error)
{
    HostmemVirtioMem *device = find_device(call, backend);

    return !device ||
           !g_str_equal(hm_qmp_call_string(call, "advice"), "collapse") ||
           hostmem_virtio_mem_get_block_size(device) >=
               hm_hostcaps_get()->thp_size ||
           refuse_device(device, ", whose blocks are smaller than huge pages",
                         error);
}

/* The work */

/* A HmQmpWorkFunc. */
static json_t *discard(HmQmpCall *call, GPtrArray *objects,
                       GObject *target G_GNUC_UNUSED,
                       GCancellable *cancellable G_GNUC_UNUSED, GError **error)
{
    g_autoptr(GArray) ranges = read_ranges(call, error);

    if (!ranges ||
        !hostmem_backend_discard_ranges(g_ptr_array_index(objects, 0),
                                        (const HostmemRange *)ranges->data,
                                        ranges->len, NULL, error)) {
        return NULL;
    }
    return json_object();
}

/* The row of "advice" has made sure that it is one of them. */
static HostmemAdvice advice_of(HmQmpCall *call)
{
    g_autoptr(GEnumClass) klass = g_type_class_ref(HOSTMEM_TYPE_ADVICE);

    return g_enum_get_value_by_nick(klass, hm_qmp_call_string(call, "advice"))
        ->value;
}

static gboolean check_ranges(HostmemBackend *backend, const GArray *ranges,
                             HostmemAdvice advice, GError **error)
{
    HmRange checked;

    if (advice == HOSTMEM_ADVICE_COLLAPSE && ranges->len > 1) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'ranges' expects one range: a job "
                            "collapses it");
    }
    for (guint i = 0; i < ranges->len; i++) {
        const HostmemRange *range = &g_array_index(ranges, HostmemRange, i);

        if (!hm_backend_check_range(backend, "advise", range->offset,
                                    range->length, &checked, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* (transfer full): what goes on, if something does. */
static json_t *tell_job(HostmemBackend *backend, HostmemAdvice advice)
{
    g_autoptr(HostmemJob) job = advice == HOSTMEM_ADVICE_COLLAPSE
                                    ? hostmem_backend_get_collapse_job(backend)
                                    : NULL;

    return job ? json_pack("{s:s}", "job", hostmem_job_get_id(job))
               : json_object();
}

/* A HmQmpWorkFunc. */
static json_t *advise(HmQmpCall *call, GPtrArray *objects,
                      GObject *target G_GNUC_UNUSED, GCancellable *cancellable,
                      GError **error)
{
    HostmemBackend *backend = g_ptr_array_index(objects, 0);
    const HostmemAdvice advice = advice_of(call);
    g_autoptr(GArray) ranges = read_ranges(call, error);

    if (!ranges || !check_ranges(backend, ranges, advice, error)) {
        return NULL;
    }
    for (guint i = 0; i < ranges->len; i++) {
        const HostmemRange *range = &g_array_index(ranges, HostmemRange, i);

        if (g_cancellable_set_error_if_cancelled(cancellable, error) ||
            !hostmem_backend_advise(backend, range->offset, range->length,
                                    advice, error)) {
            return NULL;
        }
    }
    return tell_job(backend, advice);
}

static void run(HmQmpCall *call,
                gboolean (*check)(HmQmpCall *call, HostmemBackend *backend,
                                  GError **error),
                HmQmpWorkFunc func)
{
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend = hostmem_registry_lookup(
        hm_qmp_server_get_registry(call->server),
        hm_qmp_call_string(call, "id"), HOSTMEM_TYPE_BACKEND, &error);

    if (!backend || !check(call, backend, &error)) {
        hm_qmp_call_fail(call, error);
        return;
    }
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      hm_qmp_work_objects(HOSTMEM_OBJECT(backend)), NULL, func);
}

void hm_qmp_run_memory_discard(HmQmpCall *call)
{
    run(call, check_discard, discard);
}

void hm_qmp_run_memory_advise(HmQmpCall *call)
{
    run(call, check_advice, advise);
}

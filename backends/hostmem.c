/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/mman.h>
#include <hostmem/memory-pool.h>
#include "backends/hostmem-advise.h"
#include "backends/hostmem-snapshot.h"
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/size.h"

G_DEFINE_ABSTRACT_TYPE(HostmemBackend, hostmem_backend, HOSTMEM_TYPE_OBJECT)

/* Computed properties */

static void get_populated_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_backend_get_populated_size(object));
}

static void get_populated_huge_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_backend_get_populated_huge_size(object));
}

static void get_backed_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_backend_get_backed_size(object));
}

static void get_page_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_backend_get_page_size(object));
}

/* As it was given, until it is decided where a name lies. */
static void get_export_path(gpointer object, GValue *value)
{
    const HostmemBackend *self = HOSTMEM_BACKEND(object);
    const char *path = hm_backend_get_export_path(object);

    g_value_set_string(value, path ? path : self->export_path);
}

static void get_prealloc_method(gpointer object, GValue *value)
{
    HostmemPreallocReport report;

    hostmem_backend_get_report(object, &report);
    g_value_set_string(value, report.method ? report.method : "");
}

static void get_pool_size(gpointer object, GValue *value)
{
    g_value_set_uint64(value, hostmem_backend_get_pool_size(object));
}

static const HmProp backend_props[] = {
    {
        .name = "size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_REQUIRED | HM_PROP_NOT_ZERO | HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, size),
        .description = "How much memory, for example 512M or 4G; with "
                       "max-size it may change",
    },
    {
        .name = "max-size",
        .kind = HM_PROP_SIZE,
        .offset = HM_PROP_FIELD(HostmemBackend, max_size),
        .description = "Bytes that size may come to later, whose address "
                       "space is reserved (0: size stays)",
    },
    {
        .name = "merge",
        .kind = HM_PROP_BOOL,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, merge),
        .def = TRUE,
        .description = "Let the kernel merge equal pages (KSM)",
    },
    {
        .name = "dump",
        .kind = HM_PROP_BOOL,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, dump),
        .def = TRUE,
        .description = "Include the memory in core dumps",
    },
    {
        .name = "prealloc",
        .kind = HM_PROP_BOOL,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc),
        .description = "Populate all pages before use",
    },
    {
        .name = "prealloc-threads",
        .kind = HM_PROP_UINT32,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_threads),
        .description = "How many threads populate (0: as many as make it "
                       "faster, of the usable CPUs)",
    },
    {
        .name = "threads",
        .alias_of = "prealloc-threads",
        .description = "Short for prealloc-threads",
    },
    {
        .name = "prealloc-context",
        .kind = HM_PROP_LINK,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_context),
        .type = hostmem_thread_context_get_type,
        .type_name = "link<thread-context>",
        .description = "The thread-context that the populating threads "
                       "come from",
    },
    {
        .name = "prealloc-check",
        .kind = HM_PROP_BOOL,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_check),
        .def = TRUE,
        .description = "Refuse at once what cannot fit, rather than run into "
                       "the limit",
    },
    {
        .name = "prealloc-async",
        .kind = HM_PROP_BOOL,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_async),
        .description = "Be ready when the memory is backed, and populate it "
                       "in a job",
    },
    {
        .name = "prealloc-state",
        .kind = HM_PROP_ENUM,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_state),
        .def = HOSTMEM_PREALLOC_STATE_WRITABLE,
        .type = hostmem_prealloc_state_get_type,
        .type_name = "HostMemPreallocState",
        .description = "How far prealloc brings the memory",
    },
    {
        .name = "prealloc-deadline",
        .kind = HM_PROP_UINT32,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_deadline),
        .description = "Seconds after which populating stops, and what is "
                       "there stays (0: none)",
    },
    {
        .name = "prealloc-priority",
        .kind = HM_PROP_ENUM,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemBackend, prealloc_priority),
        .def = HOSTMEM_PREALLOC_PRIORITY_NORMAL,
        .type = hostmem_prealloc_priority_get_type,
        .type_name = "HostMemPreallocPriority",
        .description = "Of the populating threads (low: nice 19, idle: when "
                       "no other thread wants the CPU)",
    },
    HM_BACKEND_SHARE_ROW(FALSE),
    {
        .name = "reserve",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemBackend, reserve),
        .def = TRUE,
        .description = "Reserve swap space or huge pages for all of it",
    },
    {
        .name = "host-nodes",
        .kind = HM_PROP_IDS,
        .offset = HM_PROP_FIELD(HostmemBackend, host_nodes),
        .max = HM_NUMA_MAX_NODES - 1,
        .description = "NUMA nodes of the host that the policy is about",
    },
    {
        .name = "policy",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemBackend, policy),
        .def = HOSTMEM_POLICY_DEFAULT,
        .type = hostmem_policy_get_type,
        .type_name = "HostMemPolicy",
        .description = "How memory is spread over host-nodes",
    },
    {
        .name = "thp",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemBackend, thp),
        .def = HOSTMEM_AUTO,
        .type = hostmem_on_off_auto_get_type,
        .type_name = "OnOffAuto",
        .description = "Transparent huge pages (auto: where the host gives "
                       "them; on: nothing less; off: base pages)",
    },
    {
        .name = "mem-lock",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemBackend, mem_lock),
        .def = HOSTMEM_MEM_LOCK_OFF,
        .type = hostmem_mem_lock_get_type,
        .type_name = "HostMemLock",
        .description = "Keep the memory in RAM (on: all of it, turns prealloc "
                       "on; on-fault: what is there, as it comes)",
    },
    {
        .name = "pool",
        .kind = HM_PROP_LINK,
        .offset = HM_PROP_FIELD(HostmemBackend, pool),
        .type = hostmem_memory_pool_get_type,
        .type_name = "link<memory-pool>",
        .description = "The memory-pool that the memory comes from, as far as "
                       "it has some ready; turns prealloc on",
    },
    {
        .name = "pool-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_pool_size,
        .description = "Bytes that were ready in the pool; the rest is fresh "
                       "memory",
    },
    {
        .name = "x-use-canonical-path-for-ramblock-id",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemBackend, canonical_path),
        .description = "Name what is made on disk after /objects/ID instead "
                       "of ID",
    },
    {
        .name = "export-path",
        .kind = HM_PROP_STRING,
        .offset = HM_PROP_FIELD(HostmemBackend, export_path),
        .get = get_export_path,
        .description = "File by which others find the memory, on a tmpfs or "
                       "hugetlbfs (a name alone: in the -export-dir)",
    },
    {
        .name = "export-owner",
        .kind = HM_PROP_STRING,
        .offset = HM_PROP_FIELD(HostmemBackend, export_owner),
        .description = "USER[:GROUP] whose the memory is, to open it by name "
                       "or by descriptor",
    },
    {
        .name = "guest-addr",
        .kind = HM_PROP_INT64,
        .offset = HM_PROP_FIELD(HostmemBackend, guest_addr),
        .def = (guint64)HM_GUEST_UNSAID,
        .description = "Guest physical address of the memory, for device trees "
                       "(-1: not said)",
    },
    {
        .name = "guest-node",
        .kind = HM_PROP_INT64,
        .offset = HM_PROP_FIELD(HostmemBackend, guest_node),
        .def = (guint64)HM_GUEST_UNSAID,
        .description = "NUMA node of the guest that the memory belongs to, for "
                       "device trees (-1: not said)",
    },
    {
        .name = "image",
        .kind = HM_PROP_STRING,
        .offset = HM_PROP_FIELD(HostmemBackend, image),
        .description = "File of a snapshot that the memory is filled from",
    },
    {
        .name = "populated-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_populated_size,
        .description = "Bytes with a page table entry now",
    },
    {
        .name = "populated-huge-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_populated_huge_size,
        .description = "How much of populated-size huge pages map (0 where "
                       "the kernel does not tell: before Linux 6.7)",
    },
    {
        .name = "backed-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_backed_size,
        .description = "Bytes whose storage is guaranteed now",
    },
    {
        .name = "resident-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = hm_backend_get_resident_size,
        .description = "Bytes of these that are in RAM; of large memory as "
                       "looked at bit by bit",
    },
    {
        .name = "locked-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = hm_backend_get_locked_size,
        .description = "How much of resident-size is kept there: mem-lock, "
                       "huge pages of a pool",
    },
    {
        .name = "page-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_page_size,
        .description = "Bytes of a page of the backing; transparent huge "
                       "pages do not change it",
    },
    {
        .name = "prealloc-method",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_READ_ONLY,
        .get = get_prealloc_method,
        .description = "How the last populate was done; empty before",
    },
};

/* Changes of a live backend; a failing madvise() is no failure, as in QEMU. */

static gboolean change_merge(HostmemBackend *self, gboolean on, GError **error)
{
    if (on && !hm_hostcaps_get()->merge) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "Memory merging is not supported on this host");
    }
    hm_os_advise(self->mapping.addr, self->mapping.length,
                 on ? MADV_MERGEABLE : MADV_UNMERGEABLE);
    return TRUE;
}

static void change_dump(HostmemBackend *self, gboolean on)
{
    hm_os_advise(self->mapping.addr, self->mapping.length,
                 on ? MADV_DODUMP : MADV_DONTDUMP);
}

static gboolean change_prealloc(HostmemBackend *self, gboolean on,
                                GCancellable *cancellable, GError **error)
{
    g_autofree char *what = NULL;

    if (on == self->prealloc) {
        return TRUE;
    }
    if (on) {
        return hm_backend_prealloc(self, cancellable, error);
    }
    what = hm_object_describe(HOSTMEM_OBJECT(self));
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'prealloc' of %s cannot be turned off: "
                        "populated memory is not given back that way",
                        what);
}

static gboolean change_size(HostmemBackend *self, const HmProp *row,
                            guint64 size, GCancellable *cancellable,
                            GError **error)
{
    HostmemObject *object = HOSTMEM_OBJECT(self);

    if (!self->max_size) {
        return HOSTMEM_OBJECT_GET_CLASS(object)->refuse_change(object, row,
                                                               error);
    }
    return hm_backend_resize(self, size, HOSTMEM_RESIZE_IN_PLACE, cancellable,
                             error);
}

static gboolean backend_change(HostmemObject *object, const HmProp *row,
                               const GValue *value, GCancellable *cancellable,
                               GError **error)
{
    HostmemBackend *self = HOSTMEM_BACKEND(object);

    if (g_str_equal(row->name, "size")) {
        return change_size(self, row, g_value_get_uint64(value), cancellable,
                           error);
    }
    if (g_str_equal(row->name, "merge")) {
        return change_merge(self, g_value_get_boolean(value), error);
    }
    if (g_str_equal(row->name, "dump")) {
        change_dump(self, g_value_get_boolean(value));
        return TRUE;
    }
    if (g_str_equal(row->name, "prealloc")) {
        return change_prealloc(self, g_value_get_boolean(value), cancellable,
                               error);
    }
    return TRUE;
}

/* Life */

static void hostmem_backend_init(HostmemBackend *self)
{
    self->backing.fd = -1;
    g_rw_lock_init(&self->extent_lock);
    self->usage = hm_usage_new();
    g_mutex_init(&self->populate_lock);
    g_mutex_init(&self->handover_lock);
    g_mutex_init(&self->report_lock);
    self->shooting = hm_shooting_new();
}

static void hostmem_backend_finalize(GObject *object)
{
    HostmemBackend *self = HOSTMEM_BACKEND(object);

    hm_backend_end_snapshot(self);
    hm_backend_end_collapse(self);
    hm_backend_end_job(self);
    hm_series_end(&self->series);
    if (hm_object_is_abandoned(HOSTMEM_OBJECT(self)) &&
        !hm_backend_is_exposed(self)) {
        hm_backend_undo(self);
    } else if (hm_object_is_complete(HOSTMEM_OBJECT(self))) {
        if (!hm_object_is_left_behind(HOSTMEM_OBJECT(self))) {
            HOSTMEM_BACKEND_GET_CLASS(self)->closing(self);
        }
        hm_backend_close(self);
    }
    g_free(self->fd_name);
    g_clear_object(&self->export_dir);
    g_clear_pointer(&self->needs, g_array_unref);
    g_rw_lock_clear(&self->extent_lock);
    hm_usage_free(self->usage);
    g_mutex_clear(&self->populate_lock);
    g_mutex_clear(&self->handover_lock);
    g_mutex_clear(&self->report_lock);
    hm_shooting_free(self->shooting);
    G_OBJECT_CLASS(hostmem_backend_parent_class)->finalize(object);
}

static gboolean backend_check(HostmemBackend *self G_GNUC_UNUSED,
                              GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

static gsize backend_pool_page_size(HostmemBackend *self G_GNUC_UNUSED)
{
    return 0;
}

static gboolean backend_check_export(HostmemBackend *self G_GNUC_UNUSED,
                                     GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

static void backend_mapping_options(HostmemBackend *self G_GNUC_UNUSED,
                                    HmMappingOptions *options G_GNUC_UNUSED)
{
}

static void backend_closing(HostmemBackend *self G_GNUC_UNUSED)
{
}

static void hostmem_backend_class_init(HostmemBackendClass *klass)
{
    HostmemObjectClass *hostmem_class = HOSTMEM_OBJECT_CLASS(klass);
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->finalize = hostmem_backend_finalize;
    hostmem_class->type_name = "memory-backend";
    hostmem_class->complete = hm_backend_complete;
    hostmem_class->change = backend_change;
    hostmem_class->save = hm_backend_save;
    klass->check = backend_check;
    klass->pool_page_size = backend_pool_page_size;
    klass->check_export = backend_check_export;
    klass->mapping_options = backend_mapping_options;
    klass->closing = backend_closing;
    hm_props_install(object_class, backend_props, G_N_ELEMENTS(backend_props));
}

gboolean hm_backend_check_multiple(HostmemBackend *self, gsize page_size,
                                   GError **error)
{
    g_autofree char *unit = NULL;

    if (hm_is_aligned(self->size | self->max_size, page_size)) {
        return TRUE;
    }
    unit = hm_size_format(page_size);
    return hm_set_error(
        error, HOSTMEM_ERROR_INVALID, "backend '%s' %s must be multiple of %s",
        hostmem_object_get_type_name(HOSTMEM_OBJECT(self)),
        hm_is_aligned(self->size, page_size) ? "max-size" : "memory size",
        unit);
}

char *hm_backend_block_name(HostmemBackend *self)
{
    HostmemObject *object = HOSTMEM_OBJECT(self);

    if (self->canonical_path) {
        return hm_object_get_path(object);
    }
    return g_strdup(object->id ? object->id
                               : hostmem_object_get_type_name(object));
}

static gboolean is_within(HostmemBackend *self, HmRange *range)
{
    /* What others know of: less than is mapped while it grows. */
    const guint64 size = hostmem_backend_get_size(self);
    HmRange all = {0, size};

    /* No overflow: the size was checked. */
    hm_align_up(size, self->backing.page_size, &all.length);
    if (hm_range_end(range) == size) {
        range->length = all.length - range->offset;
    }
    return hm_range_contains(&all, range);
}

static gboolean refuse_range(HostmemBackend *self, const char *verb,
                             guint64 offset, guint64 length, const char *why,
                             guint64 limit, GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *size = limit ? hm_size_format(limit) : g_strdup("");

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "cannot %s 0x%" G_GINT64_MODIFIER
                        "x bytes at offset 0x%" G_GINT64_MODIFIER
                        "x of %s: %s%s",
                        verb, length, offset, what, why, size);
}

gboolean hm_backend_check_range(HostmemBackend *self, const char *verb,
                                guint64 offset, guint64 length, HmRange *range,
                                GError **error)
{
    const gsize page_size = self->backing.page_size;

    if (!hm_object_is_complete(HOSTMEM_OBJECT(self))) {
        return refuse_range(self, verb, offset, length,
                            "it is still being created", 0, error);
    }
    if (!length) {
        return refuse_range(self, verb, offset, length,
                            "a range has at least a page of ", page_size,
                            error);
    }
    if (!hm_range_init(range, offset, length) || !is_within(self, range)) {
        return refuse_range(self, verb, offset, length, "its size is ",
                            hostmem_backend_get_size(self), error);
    }
    return hm_is_aligned(range->offset | range->length, page_size) ||
           refuse_range(self, verb, offset, length,
                        "not whole pages, which are of ", page_size, error);
}

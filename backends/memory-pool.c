/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/memory-pool.h"
#include "backends/pool-home.h"
#include "util/align.h"
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/numa.h"
#include "util/os.h"
#include "util/size.h"

struct _HostmemMemoryPoolClass {
    HostmemObjectClass parent_class;
};
typedef struct _HostmemMemoryPoolClass HostmemMemoryPoolClass;

G_DEFINE_TYPE(HostmemMemoryPool, hostmem_memory_pool, HOSTMEM_TYPE_OBJECT)

/* Larger sizes would overflow when offsets are added. */
#define MAX_SIZE (G_GUINT64_CONSTANT(1) << 62)
/* Each takes a descriptor and two mappings. */
#define MAX_SEGMENTS (1u << 20)

/* Computed properties */

static void get_ready_size(gpointer object, GValue *value)
{
    HostmemMemoryPoolStatus status;

    hostmem_memory_pool_get_status(object, &status);
    g_value_set_uint64(value, status.ready);
}

static void get_lent_size(gpointer object, GValue *value)
{
    HostmemMemoryPoolStatus status;

    hostmem_memory_pool_get_status(object, &status);
    g_value_set_uint64(value, status.lent);
}

static void get_dirty_size(gpointer object, GValue *value)
{
    HostmemMemoryPoolStatus status;

    hostmem_memory_pool_get_status(object, &status);
    g_value_set_uint64(value, status.dirty);
}

static void get_page_size(gpointer object, GValue *value)
{
    HostmemMemoryPoolStatus status;

    hostmem_memory_pool_get_status(object, &status);
    g_value_set_uint64(value, status.page_size);
}

static void get_last_error(gpointer object, GValue *value)
{
    g_autoptr(GError) error = hostmem_memory_pool_get_error(object);

    g_value_set_string(value, error ? error->message : "");
}

static const HmProp memory_pool_props[] = {
    {
        .name = "size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_REQUIRED | HM_PROP_NOT_ZERO | HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, size),
        .description = "How much memory to keep, lent or not; a multiple of "
                       "segment-size",
    },
    {
        .name = "segment-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_NOT_ZERO,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, segment_size),
        .def = HM_GIB,
        .description = "What is lent at a time, each in a file of its own; a "
                       "VMM takes one file for each of its memories",
    },
    {
        .name = "hugetlb",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, hugetlb),
        .description = "Take the memory from the kernel's pool of huge pages",
    },
    {
        .name = "hugetlbsize",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_NOT_ZERO,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, hugetlb_size),
        .description = "Which huge pages, for example 2M or 1G (otherwise "
                       "the kernel's default)",
    },
    {
        .name = "seal",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, seal),
        .def = TRUE,
        .description = "Forbid everybody to resize the segments",
    },
    {
        .name = "thp",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, thp),
        .def = HOSTMEM_AUTO,
        .type = hostmem_on_off_auto_get_type,
        .type_name = "OnOffAuto",
        .description = "Transparent huge pages (auto: where the host gives "
                       "them; on: nothing less; off: base pages)",
    },
    {
        .name = "host-nodes",
        .kind = HM_PROP_IDS,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, host_nodes),
        .max = HM_NUMA_MAX_NODES - 1,
        .description = "NUMA nodes of the host that the policy is about",
    },
    {
        .name = "policy",
        .kind = HM_PROP_ENUM,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, policy),
        .def = HOSTMEM_POLICY_DEFAULT,
        .type = hostmem_policy_get_type,
        .type_name = "HostMemPolicy",
        .description = "How each segment is spread over host-nodes",
    },
    {
        .name = "export-dir",
        .kind = HM_PROP_STRING,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, export_dir),
        .description = "Directory on a tmpfs or hugetlbfs where segments lie, "
                       "so that backends that borrow them can have an "
                       "export-path there",
    },
    {
        .name = "prealloc-threads",
        .kind = HM_PROP_UINT32,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, prealloc_threads),
        .description = "How many threads populate a segment (0: as many as "
                       "make it faster, of the usable CPUs)",
    },
    {
        .name = "prealloc-context",
        .kind = HM_PROP_LINK,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, prealloc_context),
        .type = hostmem_thread_context_get_type,
        .type_name = "link<thread-context>",
        .description = "The thread-context that all its threads come from",
    },
    {
        .name = "prealloc-async",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, prealloc_async),
        .description = "Be there at once, and fill in the background",
    },
    {
        .name = "low-water",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_LIVE,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, low_water),
        .description = "Tell when less than this is ready (0: never)",
    },
    {
        .name = "zero-threads",
        .kind = HM_PROP_UINT32,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, zero_threads),
        .max = HM_IDSET_MAX,
        .description = "How many threads at most write zeroes to what comes "
                       "back (0: one for each two usable CPUs)",
    },
    {
        .name = "reuse",
        .kind = HM_PROP_BOOL,
        .offset = HM_PROP_FIELD(HostmemMemoryPool, reuse),
        .def = TRUE,
        .description = "Lend again, zeroed, what another process has had (off: "
                       "replace it, for the other may have pinned its pages)",
    },
    {
        .name = "ready-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_ready_size,
        .description = "Bytes that can be taken now",
    },
    {
        .name = "lent-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_lent_size,
        .description = "Bytes that backends have",
    },
    {
        .name = "dirty-size",
        .kind = HM_PROP_SIZE,
        .flags = HM_PROP_READ_ONLY,
        .get = get_dirty_size,
        .description = "Bytes that came back and are not zeroed yet",
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
        .name = "last-error",
        .kind = HM_PROP_STRING,
        .flags = HM_PROP_READ_ONLY,
        .get = get_last_error,
        .description = "Why the last try to fill it failed; empty when it "
                       "did not",
    },
};

/* Checking */

static gboolean find_page_size(HostmemMemoryPool *self, GError **error)
{
    if (self->hugetlb_size && !hm_is_pow2(self->hugetlb_size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Hugepage size must be a power of 2");
    }
    self->page_size = hm_os_page_size();
    if (self->hugetlb) {
        self->page_size = self->hugetlb_size
                              ? self->hugetlb_size
                              : hm_hostcaps_get()->huge_page_size;
    }
    return self->page_size ||
           hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "property 'hugetlb' of memory-pool: this kernel has "
                        "no huge page pools");
}

static gboolean refuse_multiple(GError **error, const char *property,
                                guint64 value, const char *unit_name,
                                guint64 unit)
{
    g_autofree char *value_text = hm_size_format(value);
    g_autofree char *unit_text = hm_size_format(unit);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'%s' of memory-pool, %s, is no multiple of %s, %s",
                        property, value_text, unit_name, unit_text);
}

static gboolean check_segment_size(const HostmemMemoryPool *self,
                                   GError **error)
{
    const gsize huge_size = hm_hostcaps_get()->thp_size;

    if (!self->segment_size ||
        !hm_is_aligned(self->segment_size, self->page_size)) {
        return refuse_multiple(error, "segment-size", self->segment_size,
                               "the page size", self->page_size);
    }
    if (self->thp == HOSTMEM_ON && !self->hugetlb && huge_size &&
        !hm_is_aligned(self->segment_size, huge_size)) {
        return refuse_multiple(error, "segment-size", self->segment_size,
                               "the size of huge pages, which 'thp=on' wants",
                               huge_size);
    }
    return TRUE;
}

static gboolean check_size(const HostmemMemoryPool *self, guint64 size,
                           GError **error)
{
    g_autofree char *size_text = hm_size_format(size);
    g_autofree char *segment_text = hm_size_format(self->segment_size);

    if (self->segment_size > size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'segment-size' of memory-pool, %s, is larger "
                            "than its 'size', %s",
                            segment_text, size_text);
    }
    if (size % self->segment_size) {
        return refuse_multiple(error, "size", size, "'segment-size'",
                               self->segment_size);
    }
    if (size > MAX_SIZE || size / self->segment_size > MAX_SEGMENTS) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'size' of memory-pool, %s, is out of range: at "
                            "most %u segments of %s",
                            size_text, MAX_SEGMENTS, segment_text);
    }
    return TRUE;
}

static gboolean check_context(const HostmemMemoryPool *self, GError **error)
{
    HostmemObject *context = (HostmemObject *)self->prealloc_context;

    return !context || hm_object_is_complete(context) ||
           hm_set_error(error, HOSTMEM_ERROR_BUSY,
                        "'prealloc-context' of memory-pool is still being "
                        "created");
}

static gboolean check_export_dir(const HostmemMemoryPool *self, GError **error)
{
    if (!self->export_dir) {
        return TRUE;
    }
    if (!g_path_is_absolute(self->export_dir)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'export-dir' of memory-pool, '%s', is no absolute "
                            "path",
                            self->export_dir);
    }
    return !self->seal ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'export-dir' of memory-pool needs 'seal' = 'off': "
                        "only a memfd can be sealed, and it has no name");
}

/* Creation */

static void write_recipe(HostmemMemoryPool *self)
{
    self->recipe = (HmSegmentRecipe){
        .pool = HOSTMEM_OBJECT(self),
        .size = self->segment_size,
        .huge_page_size = self->hugetlb ? self->page_size : 0,
        .seal = self->seal,
        .thp = self->thp,
        .host_nodes = self->host_nodes,
        .policy = self->policy,
        .threads = self->prealloc_threads,
        .context = self->prealloc_context,
        .export_dir = self->export_dir,
    };
}

/* Whatever stands against one segment stands against all: nodes, seals...  Of
 * huge pages it is better to hear how many are missing for all. */
static gboolean try_one(HostmemMemoryPool *self, GCancellable *cancellable,
                        GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(HmPoolSegment) segment =
        hm_pool_segment_new(&self->recipe, cancellable, &why);
    const HmIdset *nodes = NULL;

    if (!segment) {
        if (!g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NO_HUGE_PAGES) ||
            hm_memory_pool_check_room(self, self->size, error)) {
            g_propagate_error(error, g_steal_pointer(&why));
        }
        return FALSE;
    }
    nodes = segment->parent_instance.nodes;
    self->nodes = nodes ? hm_idset_copy(nodes) : NULL;
    return TRUE;
}

static void aim(HostmemMemoryPool *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->wanted = (guint)(self->size / self->segment_size);
    self->mark = self->low_water;
}

static gboolean check(HostmemMemoryPool *self, GError **error)
{
    return find_page_size(self, error) && check_segment_size(self, error) &&
           check_size(self, self->size, error) && check_context(self, error) &&
           check_export_dir(self, error);
}

static gboolean memory_pool_complete(HostmemObject *object,
                                     GCancellable *cancellable, GError **error)
{
    HostmemMemoryPool *self = HOSTMEM_MEMORY_POOL(object);

    if (!check(self, error)) {
        return FALSE;
    }
    write_recipe(self);
    aim(self);
    if (self->export_dir) {
        hm_pool_home_sweep(self->export_dir);
    }
    if (hm_object_get_saved(object)) {
        return hm_memory_pool_restore(self, cancellable, error);
    }
    if (!try_one(self, cancellable, error) ||
        !hm_memory_pool_check_room(self, self->size, error)) {
        return FALSE;
    }
    hm_memory_pool_make_hands(self);
    if (!self->prealloc_async) {
        return hm_memory_pool_fill(self, cancellable, error);
    }
    hm_memory_pool_look(self);
    return TRUE;
}

/* Changes */

static gboolean change_size(HostmemMemoryPool *self, guint64 size,
                            GError **error)
{
    guint64 before = self->size;

    if (!check_size(self, size, error) ||
        (size > before &&
         !hm_memory_pool_check_room(self, size - before, error))) {
        return FALSE;
    }
    g_mutex_lock(&self->lock);
    self->wanted = (guint)(size / self->segment_size);
    g_mutex_unlock(&self->lock);
    hm_memory_pool_trim(self);
    hm_memory_pool_look(self);
    return TRUE;
}

static void change_low_water(HostmemMemoryPool *self, guint64 mark)
{
    gboolean low;

    g_mutex_lock(&self->lock);
    self->mark = mark;
    low = hm_memory_pool_look_at_mark(self);
    g_mutex_unlock(&self->lock);
    if (low) {
        hm_memory_pool_tell_low(self);
    }
}

static gboolean memory_pool_change(HostmemObject *object, const HmProp *row,
                                   const GValue *value,
                                   GCancellable *cancellable G_GNUC_UNUSED,
                                   GError **error)
{
    HostmemMemoryPool *self = HOSTMEM_MEMORY_POOL(object);

    if (g_str_equal(row->name, "size")) {
        return change_size(self, g_value_get_uint64(value), error);
    }
    change_low_water(self, g_value_get_uint64(value));
    return TRUE;
}

/* What can be asked */

void hostmem_memory_pool_get_status(HostmemMemoryPool *self,
                                    HostmemMemoryPoolStatus *status)
{
    g_autoptr(GMutexLocker) locker = NULL;
    guint64 n[HM_SEGMENT_N_STATES];

    g_return_if_fail(HOSTMEM_IS_MEMORY_POOL(self) && status);

    locker = g_mutex_locker_new(&self->lock);
    for (guint i = 0; i < HM_SEGMENT_N_STATES; i++) {
        n[i] = hm_memory_pool_count(self, i) * self->segment_size;
    }
    *status = (HostmemMemoryPoolStatus){
        .size = self->wanted * self->segment_size,
        .segment_size = self->segment_size,
        .page_size = self->page_size,
        .ready = n[HM_SEGMENT_READY],
        .lent = n[HM_SEGMENT_LENT],
        .dirty = n[HM_SEGMENT_DIRTY] + n[HM_SEGMENT_ZEROING],
        .low_water = self->mark,
    };
}

gboolean hostmem_memory_pool_get_progress(HostmemMemoryPool *self,
                                          guint64 *done, guint64 *total,
                                          gint64 *elapsed_us)
{
    g_autoptr(GMutexLocker) locker = NULL;
    guint64 batch;
    guint there;

    g_return_val_if_fail(HOSTMEM_IS_MEMORY_POOL(self) && done && total, FALSE);

    locker = g_mutex_locker_new(&self->lock);
    batch = self->n_progresses * self->segment_size;
    there = MIN(self->segments->len, self->wanted);
    *done = self->filled;
    for (guint i = 0; i < self->n_progresses; i++) {
        *done +=
            MIN(hm_progress_done(&self->progresses[i]), self->segment_size);
    }
    *total = self->filled + batch + (self->wanted - there) * self->segment_size;
    if (elapsed_us) {
        *elapsed_us = *total ? hm_os_now() - self->started_us : 0;
    }
    return self->n_progresses > 0;
}

GError *hostmem_memory_pool_get_error(HostmemMemoryPool *self)
{
    g_autoptr(GMutexLocker) locker = NULL;

    g_return_val_if_fail(HOSTMEM_IS_MEMORY_POOL(self), NULL);

    locker = g_mutex_locker_new(&self->lock);
    return self->error ? g_error_copy(self->error) : NULL;
}

/* Life */

static void hostmem_memory_pool_init(HostmemMemoryPool *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    g_weak_ref_init(&self->alive, self);
    self->segments = g_ptr_array_new_with_free_func(g_object_unref);
    self->cancellable = g_cancellable_new();
    self->below = TRUE; /* until it has been filled for the first time */
}

static void hostmem_memory_pool_finalize(GObject *object)
{
    HostmemMemoryPool *self = HOSTMEM_MEMORY_POOL(object);

    hm_memory_pool_quit(self);
    g_ptr_array_unref(self->segments);
    g_object_unref(self->cancellable);
    g_clear_error(&self->error);
    g_clear_pointer(&self->nodes, hm_idset_free);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_weak_ref_clear(&self->alive);
    G_OBJECT_CLASS(hostmem_memory_pool_parent_class)->finalize(object);
}

static void hostmem_memory_pool_class_init(HostmemMemoryPoolClass *klass)
{
    HostmemObjectClass *object_class = HOSTMEM_OBJECT_CLASS(klass);

    object_class->type_name = "memory-pool";
    object_class->complete = memory_pool_complete;
    object_class->change = memory_pool_change;
    object_class->save = hm_memory_pool_save;
    G_OBJECT_CLASS(klass)->finalize = hostmem_memory_pool_finalize;
    hm_props_install(G_OBJECT_CLASS(klass), memory_pool_props,
                     G_N_ELEMENTS(memory_pool_props));
    g_signal_new("low", HOSTMEM_TYPE_MEMORY_POOL, G_SIGNAL_RUN_LAST, 0, NULL,
                 NULL, NULL, G_TYPE_NONE, 2, G_TYPE_UINT64, G_TYPE_UINT64);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Creation is a row of steps: check, open, check huge pages, preflight, map,
 * advise, bind, lock, prepare to populate.  Each either does all of its job or
 * sets an error, and whatever the ones before it made is undone in one place,
 * so that a failure leaves nothing behind.  What the user got wrong is found by
 * the first step, before anything is made.  What another process has left is
 * taken, not made, and asked no more whether there is room.  Memory is bound
 * before it is populated, or its pages would lie on the wrong nodes.
 *
 * What takes long comes last, and can be done for several backends at a time:
 * hm_backends_finish().
 */
#include <sys/mman.h>
#include "backends/hostmem-image.h"
#include "backends/hostmem-lock.h"
#include "util/align.h"
#include "util/error.h"
#include "util/linux-compat.h"
#include "util/numa.h"
#include "util/os.h"

/* check */

static gboolean refuse_max_size(HostmemBackend *self, const char *why,
                                GError **error)
{
    const char *type = hostmem_object_get_type_name(HOSTMEM_OBJECT(self));

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "property 'max-size' of %s doesn't take value "
                        "'%" G_GUINT64_FORMAT "': %s",
                        type, self->max_size, why);
}

static gboolean check_max_size(HostmemBackend *self, GError **error)
{
    if (!self->max_size) {
        return TRUE;
    }
    if (self->max_size < self->size) {
        return refuse_max_size(self, "'size' is more", error);
    }
    if (self->max_size > HM_BACKEND_MAX_SIZE) {
        return refuse_max_size(self, "no host has that much memory", error);
    }
    return !self->pool ||
           refuse_max_size(self, "memory of a pool cannot be resized", error);
}

static gboolean check_size(HostmemBackend *self, GError **error)
{
    const char *type = hostmem_object_get_type_name(HOSTMEM_OBJECT(self));

    if (!self->size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property 'size' of %s doesn't take value '0'",
                            type);
    }
    if (self->size > HM_BACKEND_MAX_SIZE) {
        return hm_set_error(
            error, HOSTMEM_ERROR_INVALID,
            "property 'size' of %s doesn't take value '%" G_GUINT64_FORMAT
            "': no host has that much memory",
            type, self->size);
    }
    return check_max_size(self, error);
}

/* Where a guest would have it; a range of signed 64 bits does not wrap. */
static gboolean check_guest(HostmemBackend *self, GError **error)
{
    if (self->guest_addr < HM_GUEST_UNSAID ||
        self->guest_addr > G_MAXINT64 - (gint64)self->size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'guest-addr' expects an address, and "
                            "all of the memory behind it below 2^63, or -1");
    }
    if (self->guest_node < HM_GUEST_UNSAID || self->guest_node > G_MAXUINT32) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'guest-node' expects a number from 0 "
                            "to %u, or -1",
                            G_MAXUINT32);
    }
    return TRUE;
}

static gboolean check_policy(HostmemBackend *self, const HmIdset *nodes,
                             GError **error)
{
    g_autoptr(GEnumClass) klass = NULL;

    if (hm_idset_is_empty(nodes) == (self->policy == HOSTMEM_POLICY_DEFAULT)) {
        return TRUE;
    }
    if (self->policy == HOSTMEM_POLICY_DEFAULT) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "host-nodes must be empty for policy default, or "
                            "you should explicitly specify a policy other "
                            "than default");
    }
    klass = g_type_class_ref(HOSTMEM_TYPE_POLICY);
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "host-nodes must be set for policy %s",
                        g_enum_get_value(klass, self->policy)->value_nick);
}

static gboolean check_nodes_exist(const HmIdset *nodes, GError **error)
{
    g_autoptr(HmIdset) missing = hm_idset_copy(nodes);
    g_autoptr(HmIdset) present = hm_numa_memory_nodes();
    g_autofree char *missing_text = NULL;
    g_autofree char *present_text = NULL;

    HM_IDSET_FOREACH (present, id) {
        hm_idset_remove(missing, id);
    }
    if (hm_idset_is_empty(missing)) {
        return TRUE;
    }
    missing_text = hm_idset_to_string(missing);
    present_text = hm_idset_to_string(present);
    return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                        "cannot bind memory to host NUMA nodes: no node %s "
                        "with memory here, there is %s",
                        missing_text, present_text);
}

static gboolean check_nodes(HostmemBackend *self, GError **error)
{
    const char *text = self->host_nodes ? self->host_nodes : "";
    g_autoptr(HmIdset) nodes = hm_idset_parse(text, error);
    guint beyond;

    if (!nodes) {
        return FALSE;
    }
    if (hm_idset_next(nodes, HM_NUMA_MAX_NODES, &beyond)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid host-nodes value: %u", beyond);
    }
    if (!check_policy(self, nodes, error) || !check_nodes_exist(nodes, error)) {
        return FALSE;
    }
    if (!hm_idset_is_empty(nodes)) {
        self->nodes = g_steal_pointer(&nodes);
    }
    return TRUE;
}

static gboolean check(HostmemBackend *self,
                      GCancellable *cancellable G_GNUC_UNUSED, GError **error)
{
    self->prealloc |= self->pool != NULL;
    if (!hm_backend_check_pool(self, error) ||
        !hm_backend_check_lock(self, error)) {
        return FALSE;
    }
    if (self->prealloc && !self->reserve) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'prealloc=on' and 'reserve=off' are incompatible");
    }
    return check_size(self, error) && check_guest(self, error) &&
           check_nodes(self, error) &&
           HOSTMEM_BACKEND_GET_CLASS(self)->check(self, error) &&
           hm_backend_check_export(self, error) &&
           hm_backend_open_image(self, error);
}

/* open, preflight, map, advise, bind, populate */

gboolean hm_backend_is_restored(HostmemBackend *self)
{
    return hm_object_get_saved(HOSTMEM_OBJECT(self)) != NULL;
}

static gboolean open_backing(HostmemBackend *self,
                             GCancellable *cancellable G_GNUC_UNUSED,
                             GError **error)
{
    return hm_backend_is_restored(self) ? hm_backend_open_saved(self, error)
                                        : hm_backend_open(self, error);
}

static gboolean check_image(HostmemBackend *self,
                            GCancellable *cancellable G_GNUC_UNUSED,
                            GError **error)
{
    return hm_backend_check_image(self, error);
}

static gboolean check_thp(HostmemBackend *self,
                          GCancellable *cancellable G_GNUC_UNUSED,
                          GError **error)
{
    return hm_backend_is_restored(self) || hm_backend_check_thp(self, error);
}

static gboolean preflight(HostmemBackend *self,
                          GCancellable *cancellable G_GNUC_UNUSED,
                          GError **error)
{
    return hm_backend_is_restored(self) ||
           (hm_backend_check_lock_limit(self, self->backing.length, error) &&
            hm_backend_preflight(self, error));
}

HmMappingOptions hm_backend_mapping_options(HostmemBackend *self,
                                            const char *name)
{
    HmMappingOptions options = {.name = name, .noreserve = !self->reserve};

    /* No overflow: the size was checked. */
    hm_align_up(self->max_size, self->backing.page_size, &options.room);
    HOSTMEM_BACKEND_GET_CLASS(self)->mapping_options(self, &options);
    return options;
}

static gboolean map(HostmemBackend *self,
                    GCancellable *cancellable G_GNUC_UNUSED, GError **error)
{
    g_autofree char *name = hm_backend_block_name(self);
    const HmMappingOptions options = hm_backend_mapping_options(self, name);

    if (!hm_mapping_init(&self->mapping, &self->backing, &options, error)) {
        return FALSE;
    }
    self->writable = !options.readonly;
    hm_backend_set_parts(self);
    if (hm_backend_is_restored(self)) {
        hm_backend_expose(self); /* somebody may have it for long */
    }
    g_atomic_int_set(&self->reserved,
                     self->backing.kind == HM_MEM_HUGETLB && self->reserve);
    return TRUE;
}

/* All advice is best effort, as in QEMU. */
void hm_backend_advise_range(HostmemBackend *self, const HmRange *range,
                             gboolean huge)
{
    guint8 *addr = self->mapping.addr + range->offset;
    gsize length = (gsize)range->length;

    hm_backend_advise_thp(self, range, huge);
    hm_os_advise(addr, length, MADV_DONTFORK);
    if (self->merge) {
        hm_os_advise(addr, length, MADV_MERGEABLE);
    }
    if (!self->dump) {
        hm_os_advise(addr, length, MADV_DONTDUMP);
    }
}

/* Memory that is to be populated is the planner's business. */
static gboolean advise(HostmemBackend *self,
                       GCancellable *cancellable G_GNUC_UNUSED,
                       GError **error G_GNUC_UNUSED)
{
    const HmRange all = {0, self->mapping.length};

    hm_backend_advise_range(self, &all, !self->prealloc);
    return TRUE;
}

static int bind_to(HostmemBackend *self, const HmRange *range, int mode,
                   unsigned flags)
{
    return hm_os_bind(self->mapping.addr + range->offset, (gsize)range->length,
                      mode, self->nodes, flags);
}

/* A kernel before 5.15 prefers one node only: the first. */
static int bind_preferred(HostmemBackend *self, const HmRange *range,
                          unsigned flags)
{
    int ret = bind_to(self, range, MPOL_PREFERRED_MANY, flags);

    return ret == -EINVAL ? bind_to(self, range, MPOL_PREFERRED, flags) : ret;
}

static int bind_by_policy(HostmemBackend *self, const HmRange *range,
                          unsigned flags)
{
    switch ((HostmemPolicy)self->policy) {
    case HOSTMEM_POLICY_PREFERRED:
        return bind_preferred(self, range, flags);
    case HOSTMEM_POLICY_BIND:
        return bind_to(self, range, MPOL_BIND, flags);
    case HOSTMEM_POLICY_INTERLEAVE:
        return bind_to(self, range, MPOL_INTERLEAVE, flags);
    case HOSTMEM_POLICY_DEFAULT:
        break;
    }
    return 0;
}

static gboolean bind_failed(HostmemBackend *self, int err, GError **error)
{
    g_autofree char *nodes = hm_idset_to_string(self->nodes);

    return hm_set_error_errno(
        error, err, "cannot bind memory to host NUMA nodes: nodes %s", nodes);
}

gboolean hm_backend_bind_range(HostmemBackend *self, const HmRange *range,
                               GError **error)
{
    int ret;

    if (!self->nodes) {
        return TRUE;
    }
    ret = bind_by_policy(self, range, MPOL_MF_STRICT | MPOL_MF_MOVE);
    return !ret || bind_failed(self, -ret, error);
}

static int unbind(HostmemBackend *self, const HmRange *range)
{
    g_autoptr(HmIdset) none = hm_idset_new();

    return hm_os_bind(self->mapping.addr + range->offset, (gsize)range->length,
                      MPOL_DEFAULT, none, 0);
}

/* mbind(2) does nothing where the mapping has the policy already, whatever the
 * file has. */
gboolean hm_backend_bind_file(HostmemBackend *self, const HmRange *range,
                              GError **error)
{
    int ret;

    if (!self->nodes || !self->backing.shared) {
        return TRUE;
    }
    ret = unbind(self, range);
    return ret ? bind_failed(self, -ret, error)
               : hm_backend_bind_range(self, range, error);
}

static gboolean bind_memory(HostmemBackend *self,
                            GCancellable *cancellable G_GNUC_UNUSED,
                            GError **error)
{
    const HmRange all = {0, self->mapping.length};

    return hm_backend_bind_range(self, &all, error);
}

static gboolean lock(HostmemBackend *self,
                     GCancellable *cancellable G_GNUC_UNUSED, GError **error)
{
    return hm_backend_lock(self, error);
}

/* A kernel without NUMA has no policy that could be another one.  See above why
 * it is unbound first. */
void hm_backend_bind_again(HostmemBackend *self)
{
    const HmRange all = {0, self->mapping.length};

    unbind(self, &all);
    if (self->nodes) {
        bind_by_policy(self, &all, 0);
    }
}

static gboolean prepare_prealloc(HostmemBackend *self,
                                 GCancellable *cancellable G_GNUC_UNUSED,
                                 GError **error)
{
    return hm_backend_prepare_prealloc(self, error);
}

/* The order */

static gboolean (*const steps[])(HostmemBackend *self,
                                 GCancellable *cancellable, GError **error) = {
    check,
    open_backing,
    check_image,
    check_thp,
    preflight,
    map,
    advise,
    bind_memory,
    lock,
    hm_backend_fill_first,
    prepare_prealloc,
};

static gboolean run_steps(HostmemBackend *self, GCancellable *cancellable,
                          GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (g_cancellable_set_error_if_cancelled(cancellable, error) ||
            !steps[i](self, cancellable, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean hm_backend_prepare(HostmemBackend *self, GCancellable *cancellable,
                            GError **error)
{
    if (run_steps(self, cancellable, error)) {
        return TRUE;
    }
    hm_backend_undo(self);
    return FALSE;
}

gboolean hm_backend_complete(HostmemObject *object, GCancellable *cancellable,
                             GError **error)
{
    HostmemBackend *self = HOSTMEM_BACKEND(object);
    g_autoptr(GPtrArray) backends = g_ptr_array_new();
    HostmemBackend *culprit;

    if (!hm_backend_prepare(self, cancellable, error)) {
        return FALSE;
    }
    g_ptr_array_add(backends, self);
    return hm_backends_finish(backends, cancellable, &culprit, error);
}

void hm_backend_close(HostmemBackend *self)
{
    hm_backend_close_image(self);
    hm_backend_withdraw(self);
    hm_backend_clear_parts(self);
    hm_mapping_clear(&self->mapping);
    hm_backing_clear(&self->backing);
    hm_backend_give_back_pool(self);
    g_clear_pointer(&self->nodes, hm_idset_free);
}

void hm_backend_undo(HostmemBackend *self)
{
    hm_backend_withdraw(self);
    hm_backend_end_job(self);
    g_clear_pointer(&self->pending, hm_populate_free);
    hm_backend_close_image(self);
    hm_backend_clear_parts(self);
    hm_mapping_clear(&self->mapping);
    hm_backing_undo(&self->backing);
    hm_backend_give_back_pool(self);
    g_clear_pointer(&self->nodes, hm_idset_free);
}

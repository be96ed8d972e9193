/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>
#include "backends/hostmem-advise.h"
#include "util/error.h"
#include "util/linux-compat.h"
#include "util/os.h"
#include "util/size.h"

/* What one call gets: mmap_lock is held meanwhile. */
#define PIECE (64 * HM_MIB)

/* No page is cut in two. */
static gsize piece_size(const HostmemBackend *self)
{
    return MAX(PIECE, self->backing.page_size);
}

/* Whatever comes of it: a hint. */
static void will_need(HostmemBackend *self, const HmRange *range)
{
    const gsize piece = piece_size(self);

    for (guint64 at = 0; at < range->length; at += piece) {
        hm_os_advise(self->mapping.addr + range->offset + at,
                     MIN(piece, range->length - at), MADV_WILLNEED);
    }
}

static const char *obstacle(HostmemBackend *self, const HmRange *range)
{
    if (self->backing.kind == HM_MEM_HUGETLB) {
        return "huge pages of a pool stay in RAM";
    }
    if (hm_os_is_mlocked(self->mapping.addr + range->offset, range->length) ==
        1) {
        return "it is locked in memory";
    }
    return "this kernel cannot (Linux 5.4), or not with this kind of memory";
}

static gboolean set_error(HostmemBackend *self, const HmRange *range,
                          HostmemAdvice advice, int err, GError **error)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autofree char *asked =
        g_strdup_printf("cannot advise '%s' for 0x%" G_GINT64_MODIFIER
                        "x bytes at offset 0x%" G_GINT64_MODIFIER "x of %s",
                        advice == HOSTMEM_ADVICE_COLD ? "cold" : "page-out",
                        range->length, range->offset, what);

    if (err != EINVAL) {
        return hm_set_error_errno(error, err, "%s", asked);
    }
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED, "%s: %s", asked,
                        obstacle(self, range));
}

static gboolean give_up(HostmemBackend *self, const HmRange *range,
                        HostmemAdvice advice, GError **error)
{
    const int how = advice == HOSTMEM_ADVICE_COLD ? MADV_COLD : MADV_PAGEOUT;
    const gsize piece = piece_size(self);
    int ret = self->backing.kind == HM_MEM_HUGETLB ? -EINVAL : 0;

    for (guint64 at = 0; at < range->length && ret == 0; at += piece) {
        ret = hm_os_advise(self->mapping.addr + range->offset + at,
                           MIN(piece, range->length - at), how);
    }
    return !ret || set_error(self, range, advice, -ret, error);
}

static gboolean advise(HostmemBackend *self, guint64 offset, guint64 length,
                       HostmemAdvice advice, GError **error)
{
    g_autoptr(GRWLockReaderLocker) locker =
        g_rw_lock_reader_locker_new(&self->extent_lock);
    HmRange range;

    if (!hm_backend_check_range(self, "advise", offset, length, &range,
                                error)) {
        return FALSE;
    }
    if (advice == HOSTMEM_ADVICE_WILL_NEED) {
        will_need(self, &range);
        return TRUE;
    }
    return give_up(self, &range, advice, error);
}

gboolean hostmem_backend_advise(HostmemBackend *self, guint64 offset,
                                guint64 length, HostmemAdvice advice,
                                GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_BACKEND(self), FALSE);

    switch (advice) {
    case HOSTMEM_ADVICE_WILL_NEED:
    case HOSTMEM_ADVICE_COLD:
    case HOSTMEM_ADVICE_PAGE_OUT:
        return advise(self, offset, length, advice, error);
    case HOSTMEM_ADVICE_COLLAPSE:
        return hm_backend_collapse(self, offset, length, error);
    }
    g_return_val_if_reached(FALSE);
}

GType hostmem_advice_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_ADVICE_WILL_NEED, "HOSTMEM_ADVICE_WILL_NEED", "will-need"},
        {HOSTMEM_ADVICE_COLD, "HOSTMEM_ADVICE_COLD", "cold"},
        {HOSTMEM_ADVICE_PAGE_OUT, "HOSTMEM_ADVICE_PAGE_OUT", "page-out"},
        {HOSTMEM_ADVICE_COLLAPSE, "HOSTMEM_ADVICE_COLLAPSE", "collapse"},
        {0, NULL, NULL},
    };

    if (g_once_init_enter(&once)) {
        g_once_init_leave(&once,
                          g_enum_register_static("HostmemAdvice", values));
    }
    return once;
}

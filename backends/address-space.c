/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/address-space.h"
#include "util/align.h"
#include "util/error.h"

#define END (G_GUINT64_CONSTANT(1) << 52)

/* A number in a message, as QEMU writes them. */
#define HEX "0x%" G_GINT64_MODIFIER "x"

typedef struct {
    HmRange range;
    char *id; /* (nullable) */
} Claim;

struct HmAddressSpace {
    gatomicrefcount refs;
    guint64 start;

    GMutex lock;    /* guards what follows */
    GArray *claims; /* of Claim, sorted by address */
};

static void claim_clear(gpointer claim)
{
    g_free(((Claim *)claim)->id);
}

HmAddressSpace *hm_address_space_new(guint64 start)
{
    HmAddressSpace *self = g_new0(HmAddressSpace, 1);

    g_atomic_ref_count_init(&self->refs);
    self->start = start;
    g_mutex_init(&self->lock);
    self->claims = g_array_new(FALSE, FALSE, sizeof(Claim));
    g_array_set_clear_func(self->claims, claim_clear);
    return self;
}

HmAddressSpace *hm_address_space_ref(HmAddressSpace *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void hm_address_space_unref(HmAddressSpace *self)
{
    if (g_atomic_ref_count_dec(&self->refs)) {
        g_array_unref(self->claims);
        g_mutex_clear(&self->lock);
        g_free(self);
    }
}

/* Under the lock */

static const Claim *get_claim(const HmAddressSpace *self, guint i)
{
    return &g_array_index(self->claims, Claim, i);
}

static gboolean check_range(const HmAddressSpace *self, guint64 address,
                            guint64 size, HmRange *range, GError **error)
{
    const HmRange all = {self->start, END - self->start};

    if (hm_range_init(range, address, size) && hm_range_contains(&all, range)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "can't add memory device [" HEX ":" HEX
                        "], usable range for memory devices [" HEX ":" HEX "]",
                        address, size, all.offset, all.length);
}

static gboolean check_free(const HmAddressSpace *self, const HmRange *range,
                           GError **error)
{
    HmRange common;

    for (guint i = 0; i < self->claims->len; i++) {
        const Claim *claim = get_claim(self, i);

        if (hm_range_intersect(&claim->range, range, &common)) {
            return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                                "address range conflicts with memory device "
                                "id='%s'",
                                claim->id ? claim->id : "(unnamed)");
        }
    }
    return TRUE;
}

/* Claims are sorted: each one that is in the way moves the place up. */
static gboolean find_place(const HmAddressSpace *self, guint64 size,
                           guint64 alignment, HmRange *range, GError **error)
{
    const HmRange all = {self->start, END - self->start};
    guint64 place = MAX(self->start, HM_ADDRESS_SPACE_PLACES);
    gboolean fits = hm_align_up(place, alignment, &place) &&
                    hm_range_init(range, place, size);
    HmRange common;

    for (guint i = 0; fits && i < self->claims->len; i++) {
        const HmRange *taken = &get_claim(self, i)->range;

        if (hm_range_intersect(taken, range, &common)) {
            fits = hm_align_up(hm_range_end(taken), alignment, &place) &&
                   hm_range_init(range, place, size);
        }
    }
    if (fits && hm_range_contains(&all, range)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_NO_SPACE,
                        "could not find position in guest address space for "
                        "memory device of " HEX " bytes, aligned to " HEX
                        ", in [" HEX ":" HEX "]",
                        size, alignment, all.offset, all.length);
}

static gboolean find_range(const HmAddressSpace *self, guint64 address,
                           guint64 size, guint64 alignment, HmRange *range,
                           GError **error)
{
    if (!address) {
        return find_place(self, size, alignment, range, error);
    }
    if (!hm_is_aligned(address, alignment)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "address must be aligned to " HEX " bytes",
                            alignment);
    }
    return check_range(self, address, size, range, error) &&
           check_free(self, range, error);
}

static void insert(HmAddressSpace *self, const HmRange *range, const char *id)
{
    const Claim claim = {*range, g_strdup(id)};
    guint i = 0;

    while (i < self->claims->len &&
           get_claim(self, i)->range.offset < range->offset) {
        i++;
    }
    g_array_insert_val(self->claims, i, claim);
}

/* From outside */

gboolean hm_address_space_claim(HmAddressSpace *self, guint64 *address,
                                guint64 size, guint64 alignment, const char *id,
                                GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    HmRange range;

    if (!find_range(self, *address, size, alignment, &range, error)) {
        return FALSE;
    }
    insert(self, &range, id);
    *address = range.offset;
    return TRUE;
}

void hm_address_space_release(HmAddressSpace *self, guint64 address)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    for (guint i = 0; i < self->claims->len; i++) {
        if (get_claim(self, i)->range.offset == address) {
            g_array_remove_index(self->claims, i);
            return;
        }
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/range.h"
#include "util/size.h"

/**
 * HmAddressSpace: who has which guest physical addresses.
 *
 * It ends where a CPU of 52 physical address bits does.  Reference counted;
 * any thread.
 */
typedef struct HmAddressSpace HmAddressSpace;

/** Above what a PC has below: where to look for a place. */
#define HM_ADDRESS_SPACE_PLACES (4 * HM_GIB)

/** @start: nobody gets an address below it. */
HmAddressSpace *hm_address_space_new(guint64 start);
HmAddressSpace *hm_address_space_ref(HmAddressSpace *self);
void hm_address_space_unref(HmAddressSpace *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmAddressSpace, hm_address_space_unref)

/**
 * hm_address_space_claim: take addresses.
 * @address: (inout): where; 0 becomes the lowest place with room from
 *     HM_ADDRESS_SPACE_PLACES up
 * @size: bytes, not 0
 * @alignment: bytes, a power of two
 * @id: (nullable): whose they are, for the messages of others
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (alignment, beyond the space),
 * %HOSTMEM_ERROR_EXISTS (taken) or %HOSTMEM_ERROR_NO_SPACE (no such place), in
 * QEMU's words
 */
gboolean hm_address_space_claim(HmAddressSpace *self, guint64 *address,
                                guint64 size, guint64 alignment, const char *id,
                                GError **error);
/** Give back what was claimed at @address. */
void hm_address_space_release(HmAddressSpace *self, guint64 address);

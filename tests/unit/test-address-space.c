/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/address-space.h"
#include "object-test.h"

#define BLOCK (2 * HM_MIB)
#define START HM_ADDRESS_SPACE_PLACES

static HmAddressSpace *space_new(void)
{
    return hm_address_space_new(START);
}

static guint64 claim(HmAddressSpace *space, guint64 address, guint64 size)
{
    GError *error = NULL;

    hm_address_space_claim(space, &address, size, BLOCK, "x", &error);
    g_assert_no_error(error);
    return address;
}

static void assert_refused(HmAddressSpace *space, guint64 address, guint64 size,
                           gint code, const char *part)
{
    guint64 before = address;
    GError *error = NULL;

    g_assert_false(
        hm_address_space_claim(space, &address, size, BLOCK, "y", &error));
    hm_test_assert_error(error, code, part);
    g_assert_cmpuint(address, ==, before);
}

static void test_picks_the_lowest_place(void)
{
    g_autoptr(HmAddressSpace) space = space_new();

    g_assert_cmpuint(claim(space, 0, HM_GIB), ==, START);
    g_assert_cmpuint(claim(space, 0, HM_GIB), ==, START + HM_GIB);
}

static void test_places_are_aligned(void)
{
    g_autoptr(HmAddressSpace) space = space_new();
    guint64 address = 0;

    claim(space, 0, BLOCK);
    g_assert_true(
        hm_address_space_claim(space, &address, HM_GIB, HM_GIB, "x", NULL));
    g_assert_cmpuint(address, ==, START + HM_GIB);
}

static void test_fills_a_hole(void)
{
    g_autoptr(HmAddressSpace) space = space_new();

    claim(space, START + 4 * BLOCK, BLOCK);
    claim(space, START, BLOCK);
    g_assert_cmpuint(claim(space, 0, 4 * BLOCK), ==, START + 5 * BLOCK);
    g_assert_cmpuint(claim(space, 0, 3 * BLOCK), ==, START + BLOCK);
}

static void test_released_addresses_are_free(void)
{
    g_autoptr(HmAddressSpace) space = space_new();

    claim(space, START, BLOCK);
    hm_address_space_release(space, START);
    claim(space, START, BLOCK);
}

static void test_overlap(void)
{
    static const guint64 addresses[] = {START, START + BLOCK,
                                        START + 2 * BLOCK};
    g_autoptr(HmAddressSpace) space = space_new();

    claim(space, START + BLOCK, 2 * BLOCK);
    for (guint i = 0; i < G_N_ELEMENTS(addresses); i++) {
        assert_refused(space, addresses[i], 2 * BLOCK, HOSTMEM_ERROR_EXISTS,
                       "address range conflicts with memory device id='x'");
    }
    claim(space, START + 3 * BLOCK, BLOCK);
    claim(space, START, BLOCK);
}

static void test_overlap_with_one_without_id(void)
{
    g_autoptr(HmAddressSpace) space = space_new();
    guint64 address = START;

    g_assert_true(
        hm_address_space_claim(space, &address, BLOCK, BLOCK, NULL, NULL));
    assert_refused(space, START, BLOCK, HOSTMEM_ERROR_EXISTS,
                   "conflicts with memory device id='(unnamed)'");
}

static void test_alignment(void)
{
    g_autoptr(HmAddressSpace) space = space_new();

    assert_refused(space, START + HM_MIB, BLOCK, HOSTMEM_ERROR_INVALID,
                   "address must be aligned to 0x200000 bytes");
}

static void test_beyond_the_space(void)
{
    static const guint64 addresses[] = {
        BLOCK,
        START - BLOCK,
        (G_GUINT64_CONSTANT(1) << 52) - BLOCK,
        G_GUINT64_CONSTANT(1) << 52,
        G_GUINT64_CONSTANT(1) << 63,
        G_MAXUINT64 - BLOCK + 1,
    };
    g_autoptr(HmAddressSpace) space = space_new();

    for (guint i = 0; i < G_N_ELEMENTS(addresses); i++) {
        assert_refused(space, addresses[i], 2 * BLOCK, HOSTMEM_ERROR_INVALID,
                       "can't add memory device [0x");
    }
    assert_refused(space, BLOCK, BLOCK, HOSTMEM_ERROR_INVALID,
                   "can't add memory device [0x200000:0x200000], usable range "
                   "for memory devices [0x100000000:0xfffff00000000]");
}

static void test_no_place_is_left(void)
{
    g_autoptr(HmAddressSpace) space = space_new();

    claim(space, 0, (G_GUINT64_CONSTANT(1) << 52) - START - BLOCK);
    assert_refused(space, 0, 2 * BLOCK, HOSTMEM_ERROR_NO_SPACE,
                   "could not find position in guest address space");
    assert_refused(space, 0, G_MAXUINT64, HOSTMEM_ERROR_NO_SPACE,
                   "could not find position in guest address space");
    claim(space, 0, BLOCK);
}

static void test_a_space_may_begin_lower(void)
{
    g_autoptr(HmAddressSpace) space = hm_address_space_new(0);

    g_assert_cmpuint(claim(space, 0, BLOCK), ==, START);
    g_assert_cmpuint(claim(space, BLOCK, BLOCK), ==, BLOCK);
}

static const HmTest tests[] = {
    {"/address-space/picks-the-lowest-place", test_picks_the_lowest_place},
    {"/address-space/places-are-aligned", test_places_are_aligned},
    {"/address-space/fills-a-hole", test_fills_a_hole},
    {"/address-space/released-addresses-are-free",
     test_released_addresses_are_free},
    {"/address-space/overlap", test_overlap},
    {"/address-space/overlap-with-one-without-id",
     test_overlap_with_one_without_id},
    {"/address-space/alignment", test_alignment},
    {"/address-space/beyond-the-space", test_beyond_the_space},
    {"/address-space/no-place-is-left", test_no_place_is_left},
    {"/address-space/a-space-may-begin-lower", test_a_space_may_begin_lower},
};

int main(int argc, char **argv)
{
    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}

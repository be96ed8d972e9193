# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes that a new user may try."""

import harness
from expect import object_fails, object_works


def ram(size):
    return f"memory-backend-ram,id=m0,size={size}"


def test_zero():
    object_fails(ram("0"), "property 'size' of memory-backend-ram",
                 "doesn't take value '0'")


def test_missing():
    object_fails("memory-backend-ram,id=m0", "Parameter 'size' is missing")


def test_empty():
    object_fails(ram(""), "Parameter 'size' expects a size")


def test_fraction_is_fine():
    assert object_works(ram("1.5G"))[2:4] == ["1.5", "GiB"]


def test_unknown_suffix():
    object_fails(ram("10X"), "Parameter 'size' expects a size")


def test_two_suffixes():
    object_fails(ram("1KiB"), "Parameter 'size' expects a size")


def test_negative():
    object_fails(ram("-1"), "Parameter 'size' expects a size")
    object_fails(ram("-4096"), "Parameter 'size' expects a size")


def test_beyond_64_bits():
    object_fails(ram("18446744073709551616"), "size")
    object_fails(ram("16E"), "size")
    object_fails(ram("99999999999999999999999999"), "size")


def test_end_of_64_bits():
    object_fails(ram("18446744073709551615"), "size")
    object_fails(ram("0xfffffffffffff000"), "size")


def test_half_of_64_bits():
    object_fails(ram("9223372036854775808"), "size")
    object_fails(ram("8E"), "size")


def test_more_than_the_address_space():
    object_fails(ram("7E"), "'size'", "8070450532247928832")
    object_fails(ram("9223372036854775807"), "'size'")
    object_fails(ram("64T"), "m0", "TiB")


def test_no_page_multiple():
    for kind in ("file,mem-path=/dev/shm", "memfd"):
        object_fails(f"memory-backend-{kind},id=m0,size=5000",
                     "memory size must be multiple of 4 KiB")


def test_anonymous_memory_is_rounded_up():
    assert object_works(ram("5000"))[2:4] == ["4.88", "KiB"]


def test_text_where_json_has_a_number():
    object_fails('{"qom-type":"memory-backend-ram","id":"m0","size":"64M"}',
                 "Parameter 'size' expects uint64")


def test_fraction_where_json_has_an_integer():
    object_fails('{"qom-type":"memory-backend-ram","id":"m0","size":1.5}',
                 "Parameter 'size' expects uint64")


def test_more_than_the_host_has():
    """Refused before a page is touched: otherwise the OOM killer comes."""
    object_fails(ram("1T") + ",prealloc=on", "1 TiB")


if __name__ == "__main__":
    harness.main()

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/error.h>

G_BEGIN_DECLS

/*
 * libvirt is loaded by the first of these calls that needs it, and then stays:
 * a program that makes none pays nothing for it, and runs where it is not
 * installed.  A call that needs it fails with %HOSTMEM_ERROR_UNSUPPORTED where
 * libvirt is missing, or this library was built without it; the message says
 * which.
 */

/**
 * hostmem_libvirt_load: is libvirt there?
 *
 * Any thread.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_UNSUPPORTED
 */
gboolean hostmem_libvirt_load(GError **error);

/**
 * hostmem_libvirt_domain_to_argv: how libvirt would call QEMU for a domain, as
 * far as memory goes.
 * @xml: of a domain; from anywhere, but its <emulator> is run, to see what it
 *     can do
 * @root: absolute path of an empty directory; the caller removes it with all
 *     that is in it then
 *
 * What no memory depends on is left out of the XML before libvirt sees it, for
 * it may need what only the domain's host has, or root: all devices but memory,
 * balloon and controllers of PCI and USB, firmware, limits of cgroups,
 * metadata.
 *
 * It is libvirt's own conversion, by its QEMU driver in this process: no daemon
 * takes part.  The driver starts threads, programs and an event loop, takes
 * seconds, cannot be cancelled, and stays; a process can have one @root.  So
 * call it in a process made for that, as hostmemd does.
 *
 * Returns: (transfer full) (array zero-terminated=1): what a shell would be
 * given: assignments, the program, its options; or NULL with
 * %HOSTMEM_ERROR_INVALID (no XML, not of a domain, not a good one),
 * %HOSTMEM_ERROR_UNSUPPORTED (libvirt or its driver is missing, or it or QEMU
 * cannot do what the domain wants), or whatever stands for libvirt's error
 */
char **hostmem_libvirt_domain_to_argv(const char *xml, const char *root,
                                      GError **error);

/**
 * HostmemLibvirtPlace: where libvirt makes a directory for each domain.
 * @prefix: of these directories, as the command line names them
 * @dir: (nullable): the directory of this host to use instead, or NULL when it
 *     has none
 * @what: for messages: "the hugetlbfs with pages of 1 GiB"
 */
typedef struct {
    const char *prefix;
    const char *dir;
    const char *what;
} HostmemLibvirtPlace;

/**
 * hostmem_libvirt_memory_options: what of a command line of QEMU makes memory.
 * @argv: (array zero-terminated=1): need not be trusted; what no memory is
 *     about is skipped
 * @places: (array length=n_places): a mem-path below a prefix becomes that
 *     directory itself: what libvirt makes there it makes, and removes, with
 *     the domain
 *
 * Every memory backend and thread-context, every virtio-mem, and RAM that the
 * command line has in -m or -numa alone, whose backend is called "ram", or
 * "ram-nodeN".  What holds for all backends (mem-merge, dump-guest-core,
 * -mem-prealloc, mem-lock) is written down for each.  Values are checked when
 * the objects are created.  Any thread.
 *
 * Returns: (transfer full) (array zero-terminated=1): "-object" and "-device",
 * each followed by JSON for hostmem_registry_add() or
 * hostmem_registry_add_device(); or NULL with %HOSTMEM_ERROR_INVALID (the
 * message names the option), %HOSTMEM_ERROR_NOT_FOUND (a place without
 * directory)
 */
char **hostmem_libvirt_memory_options(const char *const *argv,
                                      const HostmemLibvirtPlace *places,
                                      guint n_places, GError **error);

/*
 * Values in XML of libvirt's, by its own rules; these two need no libvirt.  Any
 * thread.
 */

/**
 * hostmem_libvirt_parse_number: a decimal number, maybe with blanks around it.
 * @max: the largest that is taken
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID, which repeats @text
 */
gboolean hostmem_libvirt_parse_number(const char *text, guint64 max,
                                      guint64 *number, GError **error);

/**
 * hostmem_libvirt_parse_size: a size.
 * @text: a number, as above
 * @unit: (nullable): "b", "byte", "bytes"; "k", "M", "G", "T", "P", "E" or
 *     "KiB" and so on, powers of 1024; "KB" and so on, powers of 1000; in any
 *     case.  KiB when it is NULL or empty
 * @bytes: (out): at most the largest gint64
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID, which repeats @text or @unit
 */
gboolean hostmem_libvirt_parse_size(const char *text, const char *unit,
                                    guint64 *bytes, GError **error);

G_END_DECLS

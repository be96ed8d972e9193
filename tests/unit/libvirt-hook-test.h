/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/programs/hook/libvirt-hook-blocks.h"

/* Domains for tests of the hook. */

#define UUID "8d8b0ab5-4e5b-40ba-a1bb-8a6c74929b34"
#define MIB  (1024 * 1024)

/** A domain of 64 MiB, with more in it. */
#define DOMAIN(more)                                                    \
    "<domain type='kvm' id='3'><name>vm7</name><uuid>" UUID "</uuid>"   \
    "<memory unit='KiB'>65536</memory>"                                 \
    "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>" more \
    "</domain>"

#define SHARED_FILE                                \
    "<memoryBacking><source type='file'/><access " \
    "mode='shared'/></memoryBacking>"

static inline HookDomain *parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    HookDomain *domain = hook_domain_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return domain;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include "backends/qmp/access.h"

/** Where a QMP server listens. */
typedef struct {
    char *path;   /* of a Unix socket; NULL for TCP */
    char *host;   /* name or number, without brackets; "" is the loopback */
    guint16 port; /* 0: the kernel chooses */
    HmQmpAccess access; /* of a Unix socket */
} HmQmpAddress;

/**
 * hm_qmp_address_parse: "unix:PATH" or "tcp:HOST:PORT", with options.
 *
 * A doubled comma stands for one in PATH; an IPv6 HOST stands in brackets.
 * Options are those of QEMU's -qmp that a server without a configuration
 * needs: server (on, the default) and wait (ignored, as every client may come
 * at any time); and those of HmQmpAccess with a PATH.
 *
 * Returns: FALSE, with nothing to clear, and %HOSTMEM_ERROR_INVALID (syntax, a
 * path that does not fit a socket address, server=off, an option) or
 * %HOSTMEM_ERROR_NOT_FOUND (a user or group)
 */
gboolean hm_qmp_address_parse(HmQmpAddress *self, const char *text,
                              GError **error);
/** The same for a client: there are no options, and a port is named. */
gboolean hm_qmp_address_parse_peer(HmQmpAddress *self, const char *text,
                                   GError **error);
void hm_qmp_address_clear(HmQmpAddress *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HmQmpAddress, hm_qmp_address_clear)

/** (transfer full): text that hm_qmp_address_parse() takes back. */
char *hm_qmp_address_to_string(const HmQmpAddress *self);

/**
 * hm_qmp_address_set_error: what GIO says, with a code of ours.
 * @verb: what could not be done there: "listen on"
 *
 * %G_IO_ERROR_CANCELLED stays.
 */
void hm_qmp_address_set_error(const HmQmpAddress *self, const char *verb,
                              const GError *cause, GError **error);

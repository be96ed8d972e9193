/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-reduce.h"
#include "backends/export/libvirt.h"
#include "util/error.h"

#define FORMAT "qemu-argv"

/* The driver wants to know of an event loop before it starts; it converts
 * without one that runs. */
static virConnectPtr open_driver(const HmLibvirt *lib, const char *root,
                                 GError **error)
{
    g_autofree char *escaped = g_uri_escape_string(root, "/", FALSE);
    g_autofree char *uri = g_strdup_printf("qemu:///embed?root=%s", escaped);
    virConnectPtr connection = NULL;

    if (lib->virEventRegisterDefaultImpl() == 0) {
        connection = lib->virConnectOpen(uri);
    }
    if (!connection) {
        hm_libvirt_set_error(lib, error,
                             "libvirt's driver for QEMU does not start");
    }
    return connection;
}

static char **split(const char *command, GError **error)
{
    g_autoptr(GError) why = NULL;
    char **argv;

    if (!g_shell_parse_argv(command, NULL, &argv, &why)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "the command line of libvirt cannot be read: %s",
                     why->message);
        return NULL;
    }
    return argv;
}

static char **convert(const HmLibvirt *lib, virConnectPtr connection,
                      const char *xml, GError **error)
{
    char *command =
        lib->virConnectDomainXMLToNative(connection, FORMAT, xml, 0);
    char **argv;

    if (!command) {
        hm_libvirt_set_error(lib, error, "libvirt does not take it");
        return NULL;
    }
    argv = split(command, error);
    free(command);
    return argv;
}

char **hostmem_libvirt_domain_to_argv(const char *xml, const char *root,
                                      GError **error)
{
    g_autofree char *reduced = NULL;
    const HmLibvirt *lib;
    virConnectPtr connection;
    char **argv;

    g_return_val_if_fail(xml && root && g_path_is_absolute(root), NULL);
    reduced = hm_libvirt_reduce(xml, error);
    lib = reduced ? hm_libvirt_get(error) : NULL;
    connection = lib ? open_driver(lib, root, error) : NULL;
    if (!connection) {
        return NULL;
    }
    argv = convert(lib, connection, reduced, error);
    lib->virConnectClose(connection);
    return argv;
}

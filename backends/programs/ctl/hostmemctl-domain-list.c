/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include "hostmemctl-domain.h"

int ctl_run_domain_list(CtlCall *call, GError **error)
{
    g_autoptr(HostmemLibvirtConnection) connection =
        ctl_domain_connect(call, TRUE, error);
    json_auto_t *status =
        connection ? ctl_domain_read(connection, NULL, error) : NULL;
    g_autoptr(GString) text = g_string_new(NULL);

    if (!status) {
        return EXIT_FAILURE;
    }
    if (ctl_call_has(call, "--json")) {
        return ctl_put_json(status, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    ctl_domain_view(status, text);
    return ctl_put(text->str, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A file that has lost its last name never gets another one: link(2) refuses.
 * But a segment gets a name with each backend that borrows it, and whoever uses
 * the memory may remove that.  So it has one more, hidden and of no use to
 * anybody, that it keeps for as long as it lives.
 *
 * A process that is killed leaves these names.  The next pool in the same
 * directory removes those of files that nobody has open; what is kept over a
 * restart is open.
 */
#include <fcntl.h>
#include "backends/pool-home.h"
#include "util/align.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/os.h"

#define HIDDEN ".hostmem-"

gboolean hm_pool_home_open(HostmemBackend *backend, const char *dir,
                           gsize huge_page_size, gboolean keep, GError **error)
{
    g_autofree char *uuid = g_uuid_string_random();
    g_autofree char *name = g_strconcat(HIDDEN, uuid, NULL);
    g_autofree char *path = g_build_filename(dir, name, NULL);
    HmExportOptions options = {
        .path = path,
        .huge_page_size = huge_page_size,
    };
    g_autoptr(HmExport) hidden = NULL;

    /* No overflow: the size was checked. */
    hm_align_up(backend->size, hm_os_page_size(), &options.size);
    hidden = hm_export_new(&options, &backend->backing, error);
    if (!hidden) {
        g_prefix_error(error, "'export-dir' of memory-pool: ");
        return FALSE;
    }
    if (!hm_backend_check_huge_tmpfs(backend, error)) {
        return FALSE;
    }
    if (!keep) {
        return TRUE;
    }
    backend->export = g_steal_pointer(&hidden);
    return hm_export_publish(backend->export, backend->backing.fd, error);
}

/* Whoever makes a file has it open before it has a name. */
static void remove_unused(int dir, const char *name)
{
    hm_autofd int fd =
        hm_os_open_at(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);

    if (fd >= 0 && hm_os_only_user(fd) == 1) {
        hm_os_unlink_at(dir, name);
    }
}

void hm_pool_home_sweep(const char *dir)
{
    hm_autofd int fd = hm_os_open(dir, O_PATH | O_DIRECTORY, 0);
    g_auto(GStrv) names = NULL;

    if (fd < 0 || hm_os_list_dir(dir, &names) < 0) {
        return; /* whoever makes a file in it will say why not */
    }
    for (char **name = names; *name; name++) {
        if (g_str_has_prefix(*name, HIDDEN)) {
            remove_unused(fd, *name);
        }
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "backends/export/fdt.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/os.h"

#define FILE_MODE  0644
#define LAST_ERRNO 133 /* of Linux */

/* Loading */

static gboolean set_irregular(GError **error, const char *quoted)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID, "%s is no regular file",
                        quoted);
}

static gboolean check_file(int fd, const char *quoted, gsize *size,
                           GError **error)
{
    struct stat st;
    int err = hm_os_stat(fd, &st);

    if (err) {
        return hm_set_error_errno(error, -err, "cannot look at %s", quoted);
    }
    *size = MIN((guint64)st.st_size, HM_FDT_MAX_SIZE);
    return S_ISREG(st.st_mode) || set_irregular(error, quoted);
}

/* A file that is too large is cut, and its header says so. */
static GBytes *read_all(int fd, const char *quoted, GError **error)
{
    g_autofree guint8 *data = NULL;
    gssize length = 0;
    gsize size = 0;

    if (!check_file(fd, quoted, &size, error)) {
        return NULL;
    }
    data = g_malloc(size + 1);
    if (size) {
        length = hm_os_read_at(fd, data, size, 0);
    }
    if (length < 0) {
        hm_set_error_errno(error, (int)-length, "cannot read %s", quoted);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), (gsize)length);
}

HostmemFdt *hostmem_fdt_load(const char *path, GError **error)
{
    g_autofree char *quoted = NULL;
    g_autoptr(GBytes) blob = NULL;
    HostmemFdt *self;

    g_return_val_if_fail(path, NULL);
    quoted = hm_error_quote(path);
    /* A FIFO shall not make us wait for a writer. */
    hm_autofd int fd = hm_os_open(path, O_RDONLY | O_NONBLOCK, 0);

    if (fd < 0) {
        hm_set_error_errno(error, -fd, "cannot open %s", quoted);
        return NULL;
    }
    blob = read_all(fd, quoted, error);
    if (!blob) {
        return NULL;
    }
    self = hostmem_fdt_parse(g_bytes_get_data(blob, NULL),
                             g_bytes_get_size(blob), error);
    if (!self) {
        g_prefix_error(error, "%s: ", quoted);
    }
    return self;
}

/* Saving */

/* Whoever has that open would go on with the file that was replaced. */
static gboolean names_descriptor(const char *path)
{
    return g_str_has_prefix(path, "/proc/") ||
           g_str_has_prefix(path, "/dev/fd/") ||
           g_str_has_prefix(path, "/dev/std");
}

/* (transfer full) (nullable): the file to be replaced, links followed. */
static char *find_target(const char *path, const char *quoted, GError **error)
{
    char *target = realpath(path, NULL);
    char *copy = g_strdup(target ? target : path);

    if (names_descriptor(path) ||
        (target && !g_file_test(target, G_FILE_TEST_IS_REGULAR))) {
        set_irregular(error, quoted);
        g_clear_pointer(&copy, g_free);
    }
    free(target);
    return copy;
}

/* What a GFileError came from; EIO when it does not say. */
static int errno_of(const GError *why)
{
    for (int err = 1; err <= LAST_ERRNO && why->code != G_FILE_ERROR_FAILED;
         err++) {
        if ((gint)g_file_error_from_errno(err) == why->code) {
            return err;
        }
    }
    return EIO;
}

gboolean hostmem_fdt_save(HostmemFdt *self, const char *path, GError **error)
{
    g_autofree char *quoted = NULL;
    g_autofree char *target = NULL;
    g_autoptr(GError) why = NULL;

    g_return_val_if_fail(path, FALSE);
    quoted = hm_error_quote(path);
    target = find_target(path, quoted, error);
    if (!target) {
        return FALSE;
    }
    return g_file_set_contents_full(
               target, (const char *)self->blob, fdt_totalsize(self->blob),
               G_FILE_SET_CONTENTS_CONSISTENT, FILE_MODE, &why) ||
           hm_set_error_errno(error, errno_of(why), "cannot write %s", quoted);
}

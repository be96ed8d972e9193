/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * "export-path" makes the memory a file that other processes find by name.
 * The file is there from the start, so that everything about it is known
 * before memory is populated; its name comes last, when all of the memory is
 * ready: see util/export.  The name goes first when the object does.
 *
 * "export-owner" says whose the memory is: of that file, and of a memfd, whose
 * descriptor others open once more through /proc.
 */
#include <string.h>
#include "backends/export-dir.h"
#include "backends/hostmem.h"
#include "util/align.h"
#include "util/error.h"
#include "util/export.h"
#include "util/os.h"

void hm_backend_set_export_dir(HostmemBackend *self, HostmemExportDir *dir)
{
    g_set_object(&self->export_dir, dir);
}

/* What is asked for */

static gboolean parse_owner(HostmemBackend *self, GError **error)
{
    if (!self->export_owner) {
        return TRUE;
    }
    self->owned = hm_owner_parse(self->export_owner, &self->owner, error);
    if (!self->owned) {
        g_prefix_error(error, "property 'export-owner': ");
    }
    return self->owned;
}

/* Memory that another process has left is not lost for it. */
static void find_owner(HostmemBackend *self)
{
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autoptr(GError) why = NULL;

    if (!parse_owner(self, &why)) {
        g_message("%s: %s", what, why->message);
    }
}

char *hm_backend_resolve_export(HostmemBackend *self, GError **error)
{
    const char *name = self->export_path;

    if (g_path_is_absolute(name)) {
        return g_strdup(name);
    }
    if (!*name || strchr(name, '/')) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "property 'export-path': '%s' is neither a name nor an "
                     "absolute path",
                     name);
        return NULL;
    }
    if (!self->export_dir) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "property 'export-path': '%s' is a name in an export "
                     "directory, and there is none: give an absolute path, or "
                     "start hostmemd with -export-dir",
                     name);
        return NULL;
    }
    return g_build_filename(hostmem_export_dir_get_path(self->export_dir), name,
                            NULL);
}

gboolean hm_backend_check_export(HostmemBackend *self, GError **error)
{
    const char *property = self->export_path ? "export-path" : "export-owner";
    g_autofree char *path = NULL;

    if (!self->export_path && !self->export_owner) {
        return TRUE;
    }
    if (hm_backend_is_restored(self)) {
        find_owner(self);
        return TRUE;
    }
    if (!self->share) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "property '%s' needs 'share' = 'on': nobody else "
                            "sees private memory",
                            property);
    }
    if (!HOSTMEM_BACKEND_GET_CLASS(self)->check_export(self, error) ||
        !parse_owner(self, error)) {
        return FALSE;
    }
    if (self->export_path) {
        path = hm_backend_resolve_export(self, error);
    }
    return path || !self->export_path;
}

/* The memory */

static gboolean open_named(HostmemBackend *self, GError **error)
{
    g_autofree char *path = hm_backend_resolve_export(self, error);
    HmExportOptions options = {
        .path = path,
        .huge_page_size = HOSTMEM_BACKEND_GET_CLASS(self)->pool_page_size(self),
        .owner = self->owned ? &self->owner : NULL,
        .owner_name = self->export_owner,
    };

    if (!path) {
        return FALSE;
    }
    if (!hm_align_up(self->size, hm_os_page_size(), &options.size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "size overflows");
    }
    self->export = hm_export_new(&options, &self->backing, error);
    if (!self->export) {
        g_prefix_error(error, "property 'export-path': ");
        return FALSE;
    }
    return hm_backend_check_huge_tmpfs(self, error);
}

gboolean hm_backend_give_to_owner(HostmemBackend *self, int fd, GError **error)
{
    if (!self->owned ||
        hm_export_give(fd, &self->owner, self->export_owner, error)) {
        return TRUE;
    }
    g_prefix_error(error, "property 'export-owner': ");
    return FALSE;
}

gboolean hm_backend_open(HostmemBackend *self, GError **error)
{
    if (self->pool) {
        return hm_backend_open_pool(self, error);
    }
    if (self->export_path) {
        return open_named(self, error);
    }
    return HOSTMEM_BACKEND_GET_CLASS(self)->open_backing(self, error) &&
           hm_backend_give_to_owner(self, self->backing.fd, error);
}

/* What it was called by a process that is gone; without that it has no name,
 * and is as good. */
static gboolean adopt_name(HostmemBackend *self, GError **error)
{
    HmSaved *saved = hm_object_get_saved(HOSTMEM_OBJECT(self));
    g_autofree char *what = hm_object_describe(HOSTMEM_OBJECT(self));
    g_autoptr(GError) why = NULL;
    const char *path = NULL;

    if (!hm_saved_read_text(saved, HM_SAVED_EXPORT, &path, error)) {
        return FALSE;
    }
    if (!path) {
        return TRUE;
    }
    self->export = hm_export_adopt(path, self->backing.fd, &why);
    if (!self->export) {
        g_message("%s: %s", what, why->message);
    }
    return TRUE;
}

gboolean hm_backend_open_saved(HostmemBackend *self, GError **error)
{
    gboolean ok =
        self->pool
            ? hm_backend_adopt_loan(self, error)
            : HOSTMEM_BACKEND_GET_CLASS(self)->adopt_backing(self, error);

    return ok && adopt_name(self, error);
}

/* The name */

gboolean hm_backend_publish(HostmemBackend *self, GError **error)
{
    if (!self->export || hm_backend_is_restored(self)) {
        return TRUE;
    }
    hm_backend_expose(self);
    if (hm_export_publish(self->export, self->backing.fd, error)) {
        return TRUE;
    }
    g_prefix_error(error, "property 'export-path': ");
    return FALSE;
}

void hm_backend_withdraw(HostmemBackend *self)
{
    g_autoptr(HmExport) export = g_steal_pointer(&self->export);
    g_autofree char *what = NULL;
    g_autoptr(GError) error = NULL;

    /* Another process goes on with it, or may do so. */
    if (hm_object_is_left_behind(HOSTMEM_OBJECT(self)) ||
        hm_backend_is_restored(self)) {
        return;
    }
    if (export && !hm_export_withdraw(export, &error)) {
        what = hm_object_describe(HOSTMEM_OBJECT(self));
        g_message("%s: %s", what, error->message);
    }
}

/* What is told */

const char *hm_backend_get_export_path(HostmemBackend *self)
{
    return hm_object_is_complete(HOSTMEM_OBJECT(self)) && self->export
               ? hm_export_get_path(self->export)
               : NULL;
}

gboolean hm_backend_get_export_uid(HostmemBackend *self, uid_t *uid)
{
    if (!hm_object_is_complete(HOSTMEM_OBJECT(self)) || !self->owned) {
        return FALSE;
    }
    *uid = self->owner.uid;
    return TRUE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include "keeper-test.h"
#include "object-test.h"

#define PATTERN 0xa5

static void saved_fd_free(gpointer data)
{
    hostmem_saved_fd_free(data);
}

static void on_changed(HostmemRegistry *registry G_GNUC_UNUSED, gpointer data)
{
    HmTestKeeper *self = data;

    self->changes++;
}

static void begin(HmTestKeeper *self)
{
    self->registry = hostmem_registry_new();
    self->changes = 0;
    g_signal_connect(self->registry, "state-changed", G_CALLBACK(on_changed),
                     self);
}

void hm_test_settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

void hm_test_keeper_init(HmTestKeeper *self)
{
    self->kept = g_ptr_array_new_with_free_func(saved_fd_free);
    self->cancellable = NULL;
    begin(self);
}

void hm_test_keeper_clear(HmTestKeeper *self)
{
    g_clear_object(&self->registry);
    hm_test_settle();
    g_ptr_array_unref(self->kept);
}

gpointer hm_test_keeper_add(HmTestKeeper *self, const char *options)
{
    g_autoptr(GError) error = NULL;
    gpointer object =
        hostmem_registry_add(self->registry, options, NULL, &error);

    g_assert_no_error(error);
    return object;
}

gpointer hm_test_keeper_add_device(HmTestKeeper *self, const char *options)
{
    g_autoptr(GError) error = NULL;
    gpointer device =
        hostmem_registry_add_device(self->registry, options, NULL, &error);

    g_assert_no_error(error);
    return device;
}

gpointer hm_test_keeper_find(HmTestKeeper *self, const char *id)
{
    return hostmem_registry_lookup(self->registry, id, HOSTMEM_TYPE_OBJECT,
                                   NULL);
}

HostmemSavedFd *hm_test_keeper_get(HmTestKeeper *self, const char *prefix)
{
    for (guint i = 0; i < self->kept->len; i++) {
        HostmemSavedFd *fd = self->kept->pdata[i];

        if (g_str_has_prefix(fd->name, prefix)) {
            return fd;
        }
    }
    return NULL;
}

static void keep(HmTestKeeper *self, const char *name, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    g_assert_cmpint(copy, >=, 0);
    g_ptr_array_add(self->kept, hostmem_saved_fd_new(name, copy));
}

void hm_test_keeper_save(HmTestKeeper *self)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemSave) save = hostmem_registry_save(self->registry, &error);

    g_assert_no_error(error);
    for (guint i = 0; i < save->added->len; i++) {
        const HostmemSavedFd *fd = save->added->pdata[i];

        g_assert_null(hm_test_keeper_get(self, fd->name));
        keep(self, fd->name, fd->fd);
    }
    keep(self, save->state_name, save->state_fd);
    for (guint i = 0; i < save->removed->len; i++) {
        HostmemSavedFd *fd = hm_test_keeper_get(self, save->removed->pdata[i]);

        g_assert_nonnull(fd);
        g_ptr_array_remove(self->kept, fd);
    }
}

void hm_test_keeper_kill(HmTestKeeper *self)
{
    hostmem_registry_leave_behind(self->registry);
    g_clear_object(&self->registry);
    hm_test_settle();
    begin(self);
}

gboolean hm_test_keeper_try_restore(HmTestKeeper *self, GError **error)
{
    g_autoptr(GPtrArray) given = g_ptr_array_new_with_free_func(saved_fd_free);

    for (guint i = 0; i < self->kept->len; i++) {
        const HostmemSavedFd *fd = self->kept->pdata[i];

        g_ptr_array_add(
            given,
            hostmem_saved_fd_new(fd->name, fcntl(fd->fd, F_DUPFD_CLOEXEC, 0)));
    }
    return hostmem_registry_restore(self->registry, given, self->cancellable,
                                    error);
}

void hm_test_keeper_restart(HmTestKeeper *self)
{
    g_autoptr(GError) error = NULL;

    hm_test_keeper_save(self);
    hm_test_keeper_kill(self);
    hm_test_keeper_try_restore(self, &error);
    g_assert_no_error(error);
}

void hm_test_keeper_replace(HmTestKeeper *self, const char *prefix, int fd)
{
    HostmemSavedFd *kept = hm_test_keeper_get(self, prefix);

    g_assert_nonnull(kept);
    if (fd < 0) {
        g_ptr_array_remove(self->kept, kept);
        return;
    }
    close(kept->fd);
    kept->fd = fd;
}

char *hm_test_keeper_text(HmTestKeeper *self)
{
    HostmemSavedFd *state = hm_test_keeper_get(self, HOSTMEM_STATE_NAME);
    off_t length = lseek(state->fd, 0, SEEK_END);
    char *text = g_malloc0((gsize)length + 1);

    g_assert_cmpint(pread(state->fd, text, (gsize)length, 0), ==, length);
    return text;
}

void hm_test_keeper_set_text(HmTestKeeper *self, const char *name,
                             const char *text)
{
    int fd = memfd_create("state", MFD_CLOEXEC);

    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
    if (hm_test_keeper_get(self, name)) {
        hm_test_keeper_replace(self, name, fd);
    } else {
        g_ptr_array_add(self->kept, hostmem_saved_fd_new(name, fd));
    }
}

void hm_test_keeper_assert(HmTestKeeper *self, const char *path,
                           HostmemRestoreStatus status, const char *part)
{
    g_autoptr(GPtrArray) list = hostmem_registry_list_restored(self->registry);

    for (guint i = 0; i < list->len; i++) {
        const HostmemRestored *one = list->pdata[i];

        if (!g_str_equal(one->path, path)) {
            continue;
        }
        g_assert_cmpint(one->status, ==, status);
        if (part && !strstr(one->reason, part)) {
            g_error("'%s' has no '%s' in it", one->reason, part);
        }
        return;
    }
    g_error("nothing became of %s", path);
}

void hm_test_fill(gpointer backend)
{
    memset(hostmem_backend_get_host_addr(backend), PATTERN, HM_TEST_ODD_SIZE);
}

void hm_test_assert_filled(gpointer backend)
{
    const guint8 *at = hostmem_backend_get_host_addr(backend);

    for (gsize i = 0; i < HM_TEST_ODD_SIZE; i++) {
        if (at[i] != PATTERN) {
            g_error("byte %zu is 0x%x", i, at[i]);
        }
    }
}

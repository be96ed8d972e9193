/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <string.h>
#include "backends/export/libvirt.h"
#include "util/error.h"

/*
 * libvirt brings some fifty libraries along, and the time it takes to load
 * them is that of a whole start of hostmemd.  So nothing is linked with it: it
 * is loaded when somebody wants something of it.  The types of what is called
 * come from its headers, and it is never unloaded, for it has threads.
 *
 * Where the headers were missing when this was built, libvirt-none.c takes the
 * place of all libvirt*.c but libvirt-memory.c: the linker chooses.
 */

#define LIBVIRT      "libvirt.so.0"
#define LIBVIRT_QEMU "libvirt-qemu.so.0"

#define MAX_MESSAGE  512 /* bytes; texts from outside are repeated in it */

typedef struct {
    const char *name;
    gsize offset;
} Call;

#define CALL(name) {#name, G_STRUCT_OFFSET(HmLibvirt, name)},
static const Call calls[] = {HM_LIBVIRT_CALLS(CALL)};
static const Call qemu_calls[] = {HM_LIBVIRT_QEMU_CALLS(CALL)};
#undef CALL

static GMutex lock; /* guards @loaded while it is filled */
static HmLibvirt loaded;
static gboolean is_loaded;

static gboolean fail(GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "libvirt cannot be loaded: %s", dlerror());
}

static gboolean load_calls(HmLibvirt *lib, const char *file, const Call *table,
                           gsize n, GError **error)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!handle) {
        return fail(error);
    }
    for (gsize i = 0; i < n; i++) {
        gpointer *member = G_STRUCT_MEMBER_P(lib, table[i].offset);

        *member = dlsym(handle, table[i].name);
        if (!*member) {
            return fail(error);
        }
    }
    return TRUE;
}

/* Without one libvirt prints each error. */
static void ignore_error(G_GNUC_UNUSED void *data,
                         G_GNUC_UNUSED virErrorPtr error)
{
}

static gboolean load(HmLibvirt *lib, GError **error)
{
    if (!load_calls(lib, LIBVIRT, calls, G_N_ELEMENTS(calls), error) ||
        !load_calls(lib, LIBVIRT_QEMU, qemu_calls, G_N_ELEMENTS(qemu_calls),
                    error)) {
        return FALSE;
    }
    lib->virSetErrorFunc(NULL, ignore_error);
    return lib->virInitialize() == 0 ||
           hm_libvirt_set_error(lib, error, "libvirt does not start");
}

const HmLibvirt *hm_libvirt_get(GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);

    if (!is_loaded) {
        is_loaded = load(&loaded, error);
    }
    return is_loaded ? &loaded : NULL;
}

gboolean hostmem_libvirt_load(GError **error)
{
    return hm_libvirt_get(error) != NULL;
}

static HostmemError code_of(int libvirt_code)
{
    switch (libvirt_code) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_CONNECT:
        return HOSTMEM_ERROR_NOT_FOUND;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
        return HOSTMEM_ERROR_PERMISSION;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        return HOSTMEM_ERROR_UNSUPPORTED;
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_OPERATION_INVALID:
        return HOSTMEM_ERROR_INVALID;
    case VIR_ERR_OPERATION_TIMEOUT:
    case VIR_ERR_AGENT_UNRESPONSIVE:
        return HOSTMEM_ERROR_TIMED_OUT;
    case VIR_ERR_NO_MEMORY:
        return HOSTMEM_ERROR_NO_MEMORY;
    default:
        return HOSTMEM_ERROR_SYSTEM;
    }
}

/* (transfer full): behind the first line comes the XML, drawn upon. */
static char *first_line(const char *message)
{
    g_autofree char *line = g_strndup(message, strcspn(message, "\r\n"));
    char *valid =
        g_utf8_make_valid(line, MIN((gssize)strlen(line), MAX_MESSAGE));

    for (char *c = valid; *c; c++) {
        *c = g_ascii_iscntrl(*c) ? '?' : *c;
    }
    return valid;
}

gboolean hm_libvirt_set_error(const HmLibvirt *lib, GError **error,
                              const char *format, ...)
{
    virErrorPtr last = lib->virGetLastError();
    g_autofree char *reason =
        first_line(last && last->message ? last->message : "no reason given");
    va_list args;

    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    hm_set_error(error, code_of(last ? last->code : 0), "%s: %s", what, reason);
    lib->virResetLastError();
    return FALSE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-connection.h"
#include "backends/export/libvirt-domain.h"
#include "backends/export/libvirt-loop.h"
#include "util/error.h"
#include <string.h>

/*
 * All that libvirt itself makes safe for threads stays so: a connection of ours
 * has no state of its own but its events.
 */

#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_COUNT   3

struct _HostmemLibvirtConnection {
    GObject parent_instance;

    const HmLibvirt *lib;
    virConnectPtr connection;
    char *uri;
    HmLibvirtEvents *events;
};

typedef struct {
    GObjectClass parent_class;
} HostmemLibvirtConnectionClass;

G_DEFINE_TYPE(HostmemLibvirtConnection, hostmem_libvirt_connection,
              G_TYPE_OBJECT)

/* Its life */

static void hostmem_libvirt_connection_finalize(GObject *object)
{
    HostmemLibvirtConnection *self = HOSTMEM_LIBVIRT_CONNECTION(object);

    hm_libvirt_events_forget(self->events, self->connection);
    self->lib->virConnectClose(self->connection);
    hm_libvirt_events_unref(self->events);
    g_free(self->uri);
    G_OBJECT_CLASS(hostmem_libvirt_connection_parent_class)->finalize(object);
}

static void
hostmem_libvirt_connection_class_init(HostmemLibvirtConnectionClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hostmem_libvirt_connection_finalize;
}

static void
hostmem_libvirt_connection_init(HostmemLibvirtConnection *self G_GNUC_UNUSED)
{
}

/* libvirt has no code of its own for what is no URI. */
static void refuse_uri(const HmLibvirt *lib, const char *uri, GError **error)
{
    g_autoptr(GError) why = NULL;

    hm_libvirt_set_error(lib, &why, "%s: cannot connect",
                         uri ? uri : "libvirt's default");
    if (uri && !g_uri_is_valid(uri, G_URI_FLAGS_NONE, NULL)) {
        why->code = HOSTMEM_ERROR_INVALID;
    }
    g_propagate_error(error, g_steal_pointer(&why));
}

static virConnectPtr open_connection(const HmLibvirt *lib, const char *uri,
                                     gboolean read_only, GError **error)
{
    virConnectPtr connection =
        read_only ? lib->virConnectOpenReadOnly(uri) : lib->virConnectOpen(uri);

    if (!connection) {
        refuse_uri(lib, uri, error);
        return NULL;
    }
    /* Only where there is another side. */
    lib->virConnectSetKeepAlive(connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
    lib->virResetLastError();
    return connection;
}

/* (transfer full): as libvirt has it; it may have chosen one. */
static char *uri_of(const HmLibvirt *lib, virConnectPtr connection)
{
    char *uri = lib->virConnectGetURI(connection);
    char *copy = g_strdup(uri ? uri : "libvirt");

    free(uri);
    return copy;
}

HostmemLibvirtConnection *hostmem_libvirt_connection_new(const char *uri,
                                                         gboolean read_only,
                                                         GError **error)
{
    const HmLibvirt *lib = hm_libvirt_get(error);
    HostmemLibvirtConnection *self;
    virConnectPtr connection;

    if (!lib || !hm_libvirt_loop_start(lib, error)) {
        return NULL;
    }
    connection = open_connection(lib, uri, read_only, error);
    if (!connection) {
        return NULL;
    }
    self = g_object_new(HOSTMEM_TYPE_LIBVIRT_CONNECTION, NULL);
    self->lib = lib;
    self->connection = connection;
    self->uri = uri_of(lib, connection);
    self->events = hm_libvirt_events_new(lib);
    hm_libvirt_events_watch_close(self->events, connection);
    return self;
}

const char *hostmem_libvirt_connection_get_uri(HostmemLibvirtConnection *self)
{
    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self), NULL);
    return self->uri;
}

const HmLibvirt *hm_libvirt_connection_get_lib(HostmemLibvirtConnection *self)
{
    return self->lib;
}

HmLibvirtEvents *
hm_libvirt_connection_get_events(HostmemLibvirtConnection *self)
{
    return self->events;
}

/* Domains */

gboolean hm_libvirt_connection_fail(HostmemLibvirtConnection *self,
                                    const char *what, GError **error)
{
    return hm_libvirt_set_error(self->lib, error, "%s: %s", self->uri, what);
}

virDomainPtr hm_libvirt_connection_find(HostmemLibvirtConnection *self,
                                        const char *name, GError **error)
{
    virDomainPtr domain =
        self->lib->virDomainLookupByName(self->connection, name);

    if (!domain && g_uuid_string_is_valid(name)) {
        domain = self->lib->virDomainLookupByUUIDString(self->connection, name);
    }
    if (!domain) {
        g_autofree char *quoted = hm_error_quote(name);

        hm_libvirt_set_error(self->lib, error, "%s: domain %s", self->uri,
                             quoted);
    }
    return domain;
}

static gboolean refuse_idle(HostmemLibvirtConnection *self, const char *name,
                            GError **error)
{
    g_autofree char *quoted = hm_error_quote(name);

    return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                        "%s: domain %s does not run", self->uri, quoted);
}

static HostmemLibvirtDomain *read_domain(HostmemLibvirtConnection *self,
                                         const char *xml, GError **error)
{
    g_autoptr(HostmemLibvirtDomain) found = hm_domain_parse(xml, error);

    if (!found) {
        g_prefix_error(error, "%s: ", self->uri);
        return NULL;
    }
    if (found->id < 0) {
        refuse_idle(self, found->name, error);
        return NULL;
    }
    return g_steal_pointer(&found);
}

HostmemLibvirtDomain *
hm_libvirt_connection_describe(HostmemLibvirtConnection *self,
                               virDomainPtr domain, char **xml, GError **error)
{
    /* Any call of libvirt forgets the error of the one before. */
    const char *name = self->lib->virDomainGetName(domain);
    char *text = self->lib->virDomainGetXMLDesc(domain, 0);
    HostmemLibvirtDomain *found;

    if (!text) {
        g_autofree char *quoted = hm_error_quote(name ? name : "");

        hm_libvirt_set_error(self->lib, error, "%s: domain %s", self->uri,
                             quoted);
        return NULL;
    }
    found = read_domain(self, text, error);
    if (found && xml) {
        *xml = text;
    } else {
        free(text);
    }
    return found;
}

HostmemLibvirtDomain *
hostmem_libvirt_connection_get(HostmemLibvirtConnection *self, const char *name,
                               GError **error)
{
    HostmemLibvirtDomain *found;
    virDomainPtr domain;

    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self) && name, NULL);
    domain = hm_libvirt_connection_find(self, name, error);
    if (!domain) {
        return NULL;
    }
    found = hm_libvirt_connection_describe(self, domain, NULL, error);
    self->lib->virDomainFree(domain);
    return found;
}

/* Adds it, unless it has ended since.  FALSE with any other error. */
static gboolean append(HostmemLibvirtConnection *self, virDomainPtr domain,
                       GPtrArray *list, GError **error)
{
    g_autoptr(GError) why = NULL;
    HostmemLibvirtDomain *found =
        hm_libvirt_connection_describe(self, domain, NULL, &why);

    if (found) {
        g_ptr_array_add(list, found);
        return TRUE;
    }
    if (g_error_matches(why, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
}

static gint compare(gconstpointer a, gconstpointer b)
{
    const HostmemLibvirtDomain *one = *(HostmemLibvirtDomain *const *)a;
    const HostmemLibvirtDomain *other = *(HostmemLibvirtDomain *const *)b;

    return strcmp(one->name, other->name);
}

static void free_domain(gpointer domain)
{
    hostmem_libvirt_domain_free(domain);
}

GPtrArray *hostmem_libvirt_connection_list(HostmemLibvirtConnection *self,
                                           GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(free_domain);
    virDomainPtr *domains = NULL;
    gboolean done = TRUE;
    int n;

    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self), NULL);
    n = self->lib->virConnectListAllDomains(self->connection, &domains,
                                            VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (n < 0) {
        hm_libvirt_connection_fail(self, "cannot list domains", error);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        done = done && append(self, domains[i], list, error);
        self->lib->virDomainFree(domains[i]);
    }
    free(domains);
    g_ptr_array_sort(list, compare);
    return done ? g_steal_pointer(&list) : NULL;
}

/* The monitor */

static char *execute(HostmemLibvirtConnection *self, virDomainPtr domain,
                     const char *command, GError **error)
{
    g_autofree char *json = g_strdup_printf("{\"execute\":\"%s\"}", command);
    char *answer = NULL;
    char *copy;

    if (self->lib->virDomainQemuMonitorCommand(domain, json, &answer, 0) < 0) {
        hm_libvirt_connection_fail(self, "no answer of QEMU's monitor", error);
        return NULL;
    }
    copy = g_strdup(answer ? answer : "");
    free(answer);
    return copy;
}

char *hostmem_libvirt_connection_execute(HostmemLibvirtConnection *self,
                                         const char *name, const char *command,
                                         GError **error)
{
    virDomainPtr domain;
    char *answer;

    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self) && name && command,
                         NULL);
    g_return_val_if_fail(
        !command[strspn(command, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-_")],
        NULL);
    domain = hm_libvirt_connection_find(self, name, error);
    if (!domain) {
        return NULL;
    }
    answer = execute(self, domain, command, error);
    self->lib->virDomainFree(domain);
    return answer;
}

/* Events */

gboolean hostmem_libvirt_connection_listen(HostmemLibvirtConnection *self,
                                           GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self), FALSE);
    if (!hm_libvirt_events_listen(self->events, self->connection, error)) {
        g_prefix_error(error, "%s: ", self->uri);
        return FALSE;
    }
    return TRUE;
}

HostmemLibvirtEvent *
hostmem_libvirt_connection_wait(HostmemLibvirtConnection *self,
                                gint64 timeout_us, GCancellable *cancellable,
                                GError **error)
{
    gint64 until = g_get_monotonic_time() + timeout_us;

    g_return_val_if_fail(HOSTMEM_IS_LIBVIRT_CONNECTION(self), NULL);
    for (;;) {
        guint64 count = hm_libvirt_events_count(self->events);
        HostmemLibvirtEvent *event = hm_libvirt_events_take(self->events);

        if (event) {
            return event;
        }
        if (!hm_libvirt_events_wait(self->events, count, until, cancellable,
                                    error)) {
            g_prefix_error(error, "%s: ", self->uri);
            return NULL;
        }
        if (g_get_monotonic_time() >= until) {
            return hm_libvirt_events_take(self->events);
        }
    }
}

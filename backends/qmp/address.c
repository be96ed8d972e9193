/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "backends/qmp/address.h"
#include "util/error.h"
#include "util/keyval.h"

#define MAX_PATH_LENGTH (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static const HmProp address_options[] = {
    {.name = "server", .kind = HM_PROP_BOOL, .def = TRUE},
    {.name = "wait", .kind = HM_PROP_BOOL},
};

static const HmProp *find_option(const char *key, gpointer data G_GNUC_UNUSED)
{
    for (guint i = 0; i < G_N_ELEMENTS(address_options); i++) {
        if (g_str_equal(address_options[i].name, key)) {
            return &address_options[i];
        }
    }
    return NULL;
}

static const HmProp *find_unix_option(const char *key, gpointer data)
{
    const HmProp *row = find_option(key, data);

    return row ? row : hm_qmp_access_find_row(key);
}

static gboolean check_options(const HmKeyval *keyval, gboolean is_unix,
                              GError **error)
{
    const char *other = hm_keyval_find_unknown(keyval, find_option, NULL);
    json_auto_t *options = NULL;

    if (!is_unix && other && hm_qmp_access_find_row(other)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'%s' is an option of unix:PATH: TCP does not "
                            "tell who connects",
                            other);
    }
    options = hm_keyval_to_json(
        keyval, is_unix ? find_unix_option : find_option, NULL, error);
    if (!options) {
        return FALSE;
    }
    if (json_is_false(json_object_get(options, "server"))) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "server=off: QMP is served here, clients connect");
    }
    return TRUE;
}

static gboolean parse_options(HmQmpAddress *self, const char *text,
                              GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, NULL, error);

    return keyval && check_options(keyval, self->path != NULL, error) &&
           hm_qmp_access_parse(&self->access, keyval, error);
}

/* The part before the first single comma, its doubled commas made one. */
static char *split_options(const char *text, const char **options)
{
    GString *value = g_string_new(NULL);

    for (; *text && !(text[0] == ',' && text[1] != ','); text++) {
        g_string_append_c(value, *text);
        if (*text == ',') {
            text++;
        }
    }
    *options = *text ? text + 1 : text;
    return g_string_free(value, FALSE);
}

static gboolean parse_unix(HmQmpAddress *self, const char *path, GError **error)
{
    if (!*path) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'unix:' needs the path of a socket");
    }
    if (strlen(path) > MAX_PATH_LENGTH) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "UNIX socket path '%s' is too long: %zu bytes, "
                            "the kernel takes %zu",
                            path, strlen(path), MAX_PATH_LENGTH);
    }
    self->path = g_strdup(path);
    return TRUE;
}

/* Split HOST:PORT or [HOST]:PORT; NULL when it has neither form. */
static char *split_host(const char *text, const char **port)
{
    const char *end = strrchr(text, ':');
    g_autofree char *host = NULL;
    gsize length;

    if (!end) {
        return NULL;
    }
    *port = end + 1;
    host = g_strndup(text, end - text);
    length = strlen(host);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        return g_strndup(host + 1, length - 2);
    }
    return strpbrk(host, ":[]") ? NULL : g_steal_pointer(&host);
}

static gboolean parse_tcp(HmQmpAddress *self, const char *text, GError **error)
{
    const char *port_text = NULL;
    g_autofree char *host = split_host(text, &port_text);
    guint64 port;

    if (!host) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'tcp:%s': expected tcp:HOST:PORT, or "
                            "tcp:[ADDRESS]:PORT for IPv6",
                            text);
    }
    if (!g_ascii_string_to_unsigned(port_text, 10, 0, G_MAXUINT16, &port,
                                    NULL)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'tcp:%s': port '%s' is not a number up to 65535",
                            text, port_text);
    }
    self->host = g_steal_pointer(&host);
    self->port = port;
    return TRUE;
}

static gboolean parse_where(HmQmpAddress *self, const char *address,
                            GError **error)
{
    *self = (HmQmpAddress){.access = HM_QMP_ACCESS_INIT};
    if (g_str_has_prefix(address, "unix:")) {
        return parse_unix(self, address + strlen("unix:"), error);
    }
    if (g_str_has_prefix(address, "tcp:")) {
        return parse_tcp(self, address + strlen("tcp:"), error);
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'%s': expected unix:PATH or tcp:HOST:PORT", address);
}

gboolean hm_qmp_address_parse(HmQmpAddress *self, const char *text,
                              GError **error)
{
    const char *options;
    g_autofree char *address = split_options(text, &options);

    if (!parse_where(self, address, error)) {
        return FALSE;
    }
    if (!parse_options(self, options, error)) {
        hm_qmp_address_clear(self);
        return FALSE;
    }
    return TRUE;
}

gboolean hm_qmp_address_parse_peer(HmQmpAddress *self, const char *text,
                                   GError **error)
{
    const char *options;
    g_autofree char *address = split_options(text, &options);

    if (*options) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'%s': whoever connects takes no options (a comma "
                            "in a path is doubled)",
                            text);
    }
    if (!parse_where(self, address, error)) {
        return FALSE;
    }
    if (!self->path && !self->port) {
        hm_qmp_address_clear(self);
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'%s': which port is it?", text);
    }
    return TRUE;
}

void hm_qmp_address_clear(HmQmpAddress *self)
{
    hm_qmp_access_clear(&self->access);
    g_clear_pointer(&self->path, g_free);
    g_clear_pointer(&self->host, g_free);
}

static char *double_commas(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, ",", -1);

    return g_strjoinv(",,", parts);
}

char *hm_qmp_address_to_string(const HmQmpAddress *self)
{
    if (self->path) {
        g_autofree char *path = double_commas(self->path);

        return g_strconcat("unix:", path, NULL);
    }
    return g_strdup_printf(strchr(self->host, ':') ? "tcp:[%s]:%u"
                                                   : "tcp:%s:%u",
                           self->host, self->port);
}

static const struct {
    GIOErrorEnum theirs;
    HostmemError ours;
} codes[] = {
    {G_IO_ERROR_ADDRESS_IN_USE, HOSTMEM_ERROR_EXISTS},
    {G_IO_ERROR_CONNECTION_REFUSED, HOSTMEM_ERROR_NOT_FOUND},
    {G_IO_ERROR_HOST_NOT_FOUND, HOSTMEM_ERROR_NOT_FOUND},
    {G_IO_ERROR_NOT_FOUND, HOSTMEM_ERROR_NOT_FOUND},
    {G_IO_ERROR_PERMISSION_DENIED, HOSTMEM_ERROR_PERMISSION},
    {G_IO_ERROR_TIMED_OUT, HOSTMEM_ERROR_TIMED_OUT},
    {G_IO_ERROR_WOULD_BLOCK, HOSTMEM_ERROR_BUSY},
};

static HostmemError code_of(const GError *cause)
{
    for (guint i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (g_error_matches(cause, G_IO_ERROR, (gint)codes[i].theirs)) {
            return codes[i].ours;
        }
    }
    return cause->domain == G_RESOLVER_ERROR ? HOSTMEM_ERROR_NOT_FOUND
                                             : HOSTMEM_ERROR_SYSTEM;
}

void hm_qmp_address_set_error(const HmQmpAddress *self, const char *verb,
                              const GError *cause, GError **error)
{
    g_autofree char *text = NULL;

    if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_propagate_error(error, g_error_copy(cause));
        return;
    }
    text = hm_qmp_address_to_string(self);
    hm_set_error(error, code_of(cause), "cannot %s %s: %s", verb, text,
                 cause->message);
}

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

static gboolean check_options(const char *text, GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text, NULL, error);
    json_auto_t *options = NULL;

    if (!keyval) {
        return FALSE;
    }
    options = hm_keyval_to_json(keyval, find_option, NULL, error);
    if (!options) {
        return FALSE;
    }
    if (json_is_false(json_object_get(options, "server"))) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "server=off: QMP is served here, clients connect");
    }
    return TRUE;
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

gboolean hm_qmp_address_parse(HmQmpAddress *self, const char *text,
                              GError **error)
{
    const char *options;
    g_autofree char *address = split_options(text, &options);

    *self = (HmQmpAddress){0};
    if (!check_options(options, error)) {
        return FALSE;
    }
    if (g_str_has_prefix(address, "unix:")) {
        return parse_unix(self, address + strlen("unix:"), error);
    }
    if (g_str_has_prefix(address, "tcp:")) {
        return parse_tcp(self, address + strlen("tcp:"), error);
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "'%s': expected unix:PATH or tcp:HOST:PORT", address);
}

void hm_qmp_address_clear(HmQmpAddress *self)
{
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

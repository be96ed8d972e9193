/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gunixsocketaddress.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include "backends/qmp/address.h"
#include "backends/qmp/connect.h"
#include "util/error.h"

#define TIMEOUT_S 30

static GSocketConnectable *destination_of(const HmQmpAddress *address)
{
    g_autoptr(GInetAddress) local = NULL;

    if (address->path) {
        return G_SOCKET_CONNECTABLE(g_unix_socket_address_new(address->path));
    }
    if (*address->host) {
        return g_network_address_new(address->host, address->port);
    }
    local = g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4);
    return G_SOCKET_CONNECTABLE(
        g_inet_socket_address_new(local, address->port));
}

static GSocketConnection *connect_to(const HmQmpAddress *address,
                                     GCancellable *cancellable, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnectable) destination = destination_of(address);
    GSocketConnection *connection;
    GSocket *socket;

    g_socket_client_set_enable_proxy(client, FALSE);
    g_socket_client_set_timeout(client, TIMEOUT_S);
    connection =
        g_socket_client_connect(client, destination, cancellable, error);
    if (!connection) {
        return NULL;
    }
    socket = g_socket_connection_get_socket(connection);
    g_socket_set_timeout(socket, 0);
    if (!address->path) {
        /* A command behind another must not wait for the server's ACK. */
        g_socket_set_option(socket, IPPROTO_TCP, TCP_NODELAY, TRUE, NULL);
    }
    return connection;
}

GIOStream *hm_qmp_connect(const char *address, GCancellable *cancellable,
                          GError **error)
{
    g_auto(HmQmpAddress) parsed = {0};
    g_autoptr(GError) cause = NULL;
    GSocketConnection *connection;

    if (!hm_qmp_address_parse_peer(&parsed, address, error)) {
        return NULL;
    }
    connection = connect_to(&parsed, cancellable, &cause);
    if (!connection) {
        hm_qmp_address_set_error(&parsed, "connect to", cause, error);
        return NULL;
    }
    return G_IO_STREAM(connection);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <hostmem/backend.h>
#include "backends/hostmem.h"
#include "backends/qmp/call.h"
#include "backends/qmp/server.h"
#include "util/autofd.h"
#include "util/error.h"

/*
 * get-memory-fd: the memory of a backend, by descriptors.
 *
 * It is in order with the other commands of its session, never out of band:
 * one answer with descriptors at a time waits for the client, so that nobody
 * takes up the descriptors of the process by not reading.
 */

/* What is still to be learned of a backend whose descriptors are made. */
typedef struct {
    GUnixFDList *fds;
    json_t *parts;
    gboolean sealed; /* all of them so far */
} Handover;

/* Nobody can make it shorter, which would be a SIGBUS to all who use it. */
static gboolean is_sealed(int fd)
{
    int seals = hm_os_get_seals(fd);

    return seals >= 0 && seals & F_SEAL_SHRINK && seals & F_SEAL_GROW;
}

static gboolean add_fd(Handover *self, HostmemBackend *backend, guint i,
                       GError **error)
{
    hm_autofd int fd = hostmem_backend_dup_fd(backend, i, error);

    if (fd < 0) {
        return FALSE;
    }
    self->sealed = self->sealed && is_sealed(fd);
    return g_unix_fd_list_append(self->fds, fd, error) >= 0;
}

static void describe_part(Handover *self, const HostmemBackendPart *part)
{
    json_array_append_new(self->parts,
                          json_pack("{s:I,s:I,s:I}", "offset",
                                    (json_int_t)part->offset, "length",
                                    (json_int_t)part->length, "fd-offset",
                                    (json_int_t)part->fd_offset));
}

static gboolean check_parts(HostmemBackend *backend, guint n_parts,
                            GError **error)
{
    const char *id = hostmem_object_get_id(HOSTMEM_OBJECT(backend));

    if (!n_parts) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "the memory of '%s' is private and cannot be "
                            "handed over; create it with share=on",
                            id);
    }
    return n_parts <= HM_QMP_MAX_FDS ||
           hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "the memory of '%s' lies in %u parts, and a message "
                        "carries %d descriptors",
                        id, n_parts, HM_QMP_MAX_FDS);
}

static gboolean add_parts(Handover *self, HostmemBackend *backend,
                          GError **error)
{
    guint n_parts;
    const HostmemBackendPart *parts;

    hostmem_backend_get_parts(backend, &n_parts);
    if (!check_parts(backend, n_parts, error)) {
        return FALSE;
    }
    for (guint i = 0; i < n_parts; i++) {
        if (!add_fd(self, backend, i, error)) {
            return FALSE;
        }
    }
    /* Now that they are open it cannot become smaller any more. */
    parts = hostmem_backend_get_parts(backend, &n_parts);
    for (guint i = 0; i < n_parts; i++) {
        describe_part(self, &parts[i]);
    }
    return TRUE;
}

/* A HmQmpWorkFunc: whose file it is, the kernel may have to ask around. */
static json_t *get_memory_fd(HmQmpCall *call, GPtrArray *objects,
                             GObject *target G_GNUC_UNUSED,
                             GCancellable *cancellable G_GNUC_UNUSED,
                             GError **error)
{
    HostmemBackend *backend = g_ptr_array_index(objects, 0);
    const HmQmpPeer *peer = hm_qmp_session_get_peer(call->session);
    g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();
    json_auto_t *parts = json_array();
    Handover handover = {fds, parts, TRUE};
    g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&backend->handover_lock);
    int in_use = hm_backend_is_in_use(backend);
    json_t *answer;

    hm_backend_give_pool_to(backend, peer->uid);
    if (!add_parts(&handover, backend, error)) {
        return NULL;
    }
    call->fds = g_steal_pointer(&fds);
    answer =
        json_pack("{s:s,s:I,s:I,s:b,s:O}", "id",
                  hostmem_object_get_id(HOSTMEM_OBJECT(backend)), "size",
                  (json_int_t)hostmem_backend_get_size(backend), "page-size",
                  (json_int_t)hostmem_backend_get_page_size(backend), "sealed",
                  handover.sealed, "parts", parts);
    if (in_use >= 0) {
        json_object_set_new(answer, "in-use", json_boolean(in_use));
    }
    return answer;
}

static gboolean is_for(HostmemBackend *backend, const HmQmpPeer *peer)
{
    uid_t uid;

    return hm_qmp_peer_is_trusted(peer) ||
           (hm_backend_get_export_uid(backend, &uid) && uid == peer->uid);
}

static gboolean check_peer(HmQmpCall *call, HostmemBackend *backend,
                           GError **error)
{
    const HmQmpPeer *peer = hm_qmp_session_get_peer(call->session);
    const char *id = hostmem_object_get_id(HOSTMEM_OBJECT(backend));

    if (!peer->known) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "get-memory-fd needs a session on a Unix socket: "
                            "nothing else carries descriptors");
    }
    if (is_for(backend, peer)) {
        return TRUE;
    }
    g_message("QMP: get-memory-fd of '%s' refused: peer with pid %d, uid %u, "
              "gid %u",
              id, peer->pid, peer->uid, peer->gid);
    return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                        "the memory of '%s' is not for the process with pid "
                        "%d, uid %u, gid %u: allowed are root, the user of "
                        "the server, those of allow-uid and export-owner",
                        id, peer->pid, peer->uid, peer->gid);
}

void hm_qmp_run_get_memory_fd(HmQmpCall *call)
{
    g_autoptr(GError) error = NULL;
    HostmemBackend *backend = hostmem_registry_lookup(
        hm_qmp_server_get_registry(call->server),
        hm_qmp_call_string(call, "id"), HOSTMEM_TYPE_BACKEND, &error);

    if (!backend || !check_peer(call, backend, &error)) {
        hm_qmp_call_fail(call, error);
        return;
    }
    hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                      hm_qmp_work_objects(HOSTMEM_OBJECT(backend)), NULL,
                      get_memory_fd);
}

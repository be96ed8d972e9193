/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hostmemctl.h"

/* (transfer full) (nullable): the pool that a backend takes its memory from. */
static char *pool_of(CtlPeer *peer, const char *id)
{
    g_autofree char *path = g_strconcat("/objects/", id, NULL);
    json_auto_t *pool = ctl_peer_call(
        peer, "qom-get",
        json_pack("{s:s,s:s}", "path", path, "property", "pool"), NULL);
    const char *text = json_string_value(pool);

    return text && *text ? g_path_get_basename(text) : NULL;
}

static gboolean refuse(CtlPeer *peer, const char *id, const char *why,
                       GError **error)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_REMOTE,
                "%s: get-memory-fd of '%s': %s", ctl_peer_get_address(peer), id,
                why);
    return FALSE;
}

/* Who has a descriptor may have made the file shorter, where no seal keeps him
 * from that. */
static gboolean check_file(CtlPeer *peer, const char *id,
                           const CaptiveMemory *memory, GError **error)
{
    guint64 end = memory->offset + memory->size;
    struct stat st;

    if (fstat(memory->fd, &st) < 0 ||
        (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))) {
        return refuse(peer, id, "what came is no file", error);
    }
    if (S_ISREG(st.st_mode) && (guint64)st.st_size < end) {
        g_autofree char *there = hostmem_size_to_string(st.st_size);
        g_autofree char *needed = hostmem_size_to_string(end);
        g_autofree char *why = g_strdup_printf(
            "its file has %s and should have %s: somebody has truncated it",
            there, needed);
        return refuse(peer, id, why, error);
    }
    return TRUE;
}

static gboolean take_answer(CtlPeer *peer, const char *id, const json_t *answer,
                            GUnixFDList *fds, CaptiveMemory *memory,
                            GError **error)
{
    const json_t *parts = json_object_get(answer, "parts");
    const json_t *part = json_array_get(parts, 0);
    gsize n_fds = fds ? g_unix_fd_list_get_length(fds) : 0;

    if (!part || json_array_size(parts) != n_fds ||
        !peer_json_number(answer, "size", &memory->size) ||
        !peer_json_number(part, "fd-offset", &memory->offset)) {
        return refuse(peer, id, "the answer makes no sense", error);
    }
    if (n_fds > 1) {
        g_autofree char *pool = pool_of(peer, id);
        captive_check_parts(id, n_fds, memory->size, pool, error);
        g_prefix_error(error, "%s: ", ctl_peer_get_address(peer));
        return FALSE;
    }
    memory->fd = g_unix_fd_list_get(fds, 0, error);
    return memory->fd >= 0 && check_file(peer, id, memory, error);
}

gboolean ctl_memory_get(CtlPeer *peer, const char *id, CaptiveMemory *memory,
                        GError **error)
{
    g_autoptr(GUnixFDList) fds = NULL;
    json_auto_t *answer = ctl_peer_call_fds(
        peer, "get-memory-fd", json_pack("{s:s}", "id", id), NULL, &fds, error);

    *memory = (CaptiveMemory){.fd = -1};
    if (!answer) {
        return FALSE;
    }
    if (!take_answer(peer, id, answer, fds, memory, error)) {
        ctl_memory_clear(memory);
        return FALSE;
    }
    memory->in_use = json_is_true(json_object_get(answer, "in-use"));
    return TRUE;
}

void ctl_memory_warn(const char *id, const CaptiveMemory *memory)
{
    if (memory->in_use) {
        fprintf(stderr,
                "hostmemctl: warning: somebody else has the memory of '%s' "
                "open or mapped: it must not be another guest\n",
                id);
    }
}

void ctl_memory_clear(CaptiveMemory *memory)
{
    if (memory->fd >= 0) {
        close(memory->fd);
        memory->fd = -1;
    }
}

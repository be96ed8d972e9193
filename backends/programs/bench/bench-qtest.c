/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "bench-plug.h"

/* The qtest protocol: a line there, a line back. */

/* (transfer full): with what it needs to be asked */
static GPtrArray *complete_argv(const char *const *argv)
{
    GPtrArray *complete = g_ptr_array_new();

    for (; *argv; argv++) {
        g_ptr_array_add(complete, (gpointer)*argv);
    }
    g_ptr_array_add(complete, "-chardev");
    g_ptr_array_add(complete,
                    "socket,id=qtest,fd=" G_STRINGIFY(BENCH_PEER_SOCKET));
    g_ptr_array_add(complete, "-qtest");
    g_ptr_array_add(complete, "chardev:qtest");
    g_ptr_array_add(complete, "-qtest-log");
    g_ptr_array_add(complete, "none");
    g_ptr_array_add(complete, NULL);
    return complete;
}

BenchPeer *bench_qtest_new(const char *const *argv, int fd, GError **error)
{
    g_autoptr(GPtrArray) complete = complete_argv(argv);

    return bench_peer_new((const char *const *)complete->pdata, fd, error);
}

gboolean bench_qtest_ask(BenchPeer *self, guint64 *value, GError **error,
                         const char *format, ...)
{
    char answer[BENCH_PEER_LINE];
    va_list args;

    va_start(args, format);
    g_autofree char *words = g_strdup_vprintf(format, args);
    va_end(args);
    if (!bench_peer_send(self, words, error) ||
        !bench_peer_receive(self, answer, error)) {
        return FALSE;
    }
    if (!g_str_has_prefix(answer, "OK")) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM,
                    "QEMU answers '%s' to '%s'", answer, words);
        return FALSE;
    }
    if (value) {
        *value = g_ascii_strtoull(answer + strlen("OK"), NULL, 16);
    }
    return TRUE;
}

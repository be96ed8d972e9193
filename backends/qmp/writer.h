/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <jansson.h>

/**
 * HmQmpWriter: bytes that wait for a peer to take them, and descriptors that
 * go along with some of them.
 *
 * Writes little pieces as the peer takes them, and never blocks.
 */
typedef struct HmQmpWriter HmQmpWriter;

typedef struct {
    void (*written)(gpointer user_data); /* some bytes went */
    /* The peer takes no more, ever. */
    void (*failed)(const GError *why, gpointer user_data);
} HmQmpWriterFuncs;

/** Descriptors that one message can carry, as the kernel has it. */
#define HM_QMP_MAX_FDS 253

/** Writes from the thread-default context.  @funcs may free the writer. */
HmQmpWriter *hm_qmp_writer_new(GIOStream *stream, const HmQmpWriterFuncs *funcs,
                               gpointer user_data);
void hm_qmp_writer_free(HmQmpWriter *self);

/** Write from another context from now on. */
void hm_qmp_writer_set_context(HmQmpWriter *self, GMainContext *context);

void hm_qmp_writer_push(HmQmpWriter *self, GBytes *bytes);
/**
 * hm_qmp_writer_push_fds: bytes that descriptors go along with, with the first
 * of them.
 * @fds: (transfer none): 1 to HM_QMP_MAX_FDS; closed when they went, or never
 *     will
 * @instead: (nullable): what goes instead when the kernel does not take the
 *     descriptors, of which it limits those in flight; without it that is a
 *     failure
 *
 * Pre: hm_qmp_unix_socket_of() the stream is not NULL
 */
void hm_qmp_writer_push_fds(HmQmpWriter *self, GBytes *bytes, GUnixFDList *fds,
                            GBytes *instead);

/** Bytes that still wait. */
gsize hm_qmp_writer_get_waiting(HmQmpWriter *self);
/** Whether descriptors wait, too. */
gboolean hm_qmp_writer_has_fds(HmQmpWriter *self);

/** (transfer full): a message as it goes over the wire. */
GBytes *hm_qmp_line_new(json_t *message);

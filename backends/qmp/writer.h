/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

/**
 * HmQmpWriter: bytes that wait for a peer to take them.
 *
 * Writes little pieces as the peer takes them, and never blocks.
 */
typedef struct HmQmpWriter HmQmpWriter;

typedef struct {
    void (*written)(gpointer user_data); /* some bytes went */
    void (*failed)(gpointer user_data);  /* the peer takes no more, ever */
} HmQmpWriterFuncs;

/** Writes from the thread-default context.  @funcs may free the writer. */
HmQmpWriter *hm_qmp_writer_new(GPollableOutputStream *stream,
                               const HmQmpWriterFuncs *funcs,
                               gpointer user_data);
void hm_qmp_writer_free(HmQmpWriter *self);

void hm_qmp_writer_push(HmQmpWriter *self, GBytes *bytes);
/** Bytes that still wait. */
gsize hm_qmp_writer_get_waiting(HmQmpWriter *self);

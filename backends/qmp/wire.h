/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/qmp/writer.h"

/**
 * HmQmpWire: messages to and from a QMP server.
 *
 * Only says which messages there are, not what they mean.  Uses one main
 * context at a time, and never blocks.
 */
typedef struct HmQmpWire HmQmpWire;

typedef struct {
    /**
     * @message: (transfer none): any JSON value
     * @fds: (transfer none) (nullable): what came with it
     */
    void (*message)(json_t *message, GUnixFDList *fds, gpointer user_data);
    /**
     * Once, and nothing comes behind it.
     * @why: %HOSTMEM_ERROR_SYSTEM (the server closed, broke the protocol or
     *     does not read), %HOSTMEM_ERROR_LIMIT (descriptors)
     */
    void (*closed)(const GError *why, gpointer user_data);
} HmQmpWireFuncs;

/**
 * Reads and writes in the thread-default context.  @funcs may close the wire,
 * but not free it.
 */
HmQmpWire *hm_qmp_wire_new(GIOStream *stream, const HmQmpWireFuncs *funcs,
                           gpointer user_data);
/** Closes the stream. */
void hm_qmp_wire_free(HmQmpWire *self);

/** Read and write in another context from now on. */
void hm_qmp_wire_set_context(HmQmpWire *self, GMainContext *context);

/** Whether descriptors can go along. */
gboolean hm_qmp_wire_carries_fds(HmQmpWire *self);
/** @fds: (transfer none) (nullable) */
void hm_qmp_wire_send(HmQmpWire *self, json_t *message, GUnixFDList *fds);
/** Bytes that the server has still to take. */
gsize hm_qmp_wire_get_waiting(HmQmpWire *self);

/** Close the stream, and say @why unless it is NULL or was said before. */
void hm_qmp_wire_close(HmQmpWire *self, const GError *why);

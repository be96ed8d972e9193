/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/qmp/client-request.h"

/**
 * HmQmpNews: what the user of a client is to be told, in the order of the wire,
 * from the main context.
 */
typedef struct HmQmpNews HmQmpNews;

typedef struct {
    void (*event)(GObject *client, const char *name, const char *json);
    void (*closed)(GObject *client, const GError *why);
} HmQmpNewsFuncs;

/**
 * hm_qmp_news_new: told in the thread-default context.
 * @client: (transfer none): lives longer; kept alive while @funcs run
 */
HmQmpNews *hm_qmp_news_new(GObject *client, const HmQmpNewsFuncs *funcs);
void hm_qmp_news_free(HmQmpNews *self);

/** Of these three, what is (transfer full) is freed when it was told. */
void hm_qmp_news_push_event(HmQmpNews *self, json_t *message);
void hm_qmp_news_push_answered(HmQmpNews *self, HmQmpRequest *request);
void hm_qmp_news_push_closed(HmQmpNews *self, const GError *why);

/** Bytes that events take which were not told yet. */
gsize hm_qmp_news_get_size(HmQmpNews *self);

/** Tell answers alone from now on. */
void hm_qmp_news_mute(HmQmpNews *self);

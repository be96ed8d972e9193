/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/qmp/schema.h"

/** An event that the server may send. */
typedef struct {
    const char *name;
    const HmQmpType *data;
} HmQmpEvent;

#define HM_QMP_EVENT_DELETED      "DEVICE_DELETED"
#define HM_QMP_EVENT_JOB          "JOB_STATUS_CHANGE"
#define HM_QMP_EVENT_POOL_LOW     "MEMORY_POOL_LOW"
#define HM_QMP_EVENT_PROGRESS     "MEMORY_PREALLOC_PROGRESS"
#define HM_QMP_EVENT_RESET        "RESET"
#define HM_QMP_EVENT_RESIZE       "MEMORY_DEVICE_RESIZE"
#define HM_QMP_EVENT_SHUTDOWN     "SHUTDOWN"
#define HM_QMP_EVENT_SIZE         "MEMORY_DEVICE_SIZE_CHANGE"
#define HM_QMP_EVENT_BACKEND_SIZE "MEMORY_BACKEND_SIZE_CHANGE"

/** QEMU's JobStatus, those of its words that a job here comes to. */
extern const HmQmpType hm_qmp_type_job_status;

/** HostmemResizeState; its values are the names, in that order. */
extern const HmQmpType hm_qmp_type_resize_state;

/** The rows of all events; *@n says how many. */
const HmQmpEvent *hm_qmp_events(guint *n);

/** An event of now: (transfer full); @data is (transfer full). */
json_t *hm_qmp_event_new(const char *name, json_t *data);

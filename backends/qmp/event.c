/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/qmp/event.h"

const HmQmpType hm_qmp_type_job_status = {
    .kind = HM_QMP_ENUM,
    .name = "JobStatus",
    .values = (const char *const[]){"created", "running", "aborting",
                                    "concluded", "null", NULL},
};

static const HmQmpMember job_members[] = {
    {"id", &hm_qmp_type_str},
    {"status", &hm_qmp_type_job_status},
    {NULL},
};

static const HmQmpType type_job_change = {
    .kind = HM_QMP_OBJECT,
    .name = "JobStatusChangeEvent",
    .members = job_members,
};

static const char *const shutdown_causes[] = {
    "none",        "host-error", "host-qmp-quit", "host-qmp-system-reset",
    "host-signal", NULL};

static const HmQmpType type_shutdown_cause = {
    .kind = HM_QMP_ENUM,
    .name = "ShutdownCause",
    .values = shutdown_causes,
};

static const HmQmpMember shutdown_members[] = {
    {"guest", &hm_qmp_type_bool},
    {"reason", &type_shutdown_cause},
    {NULL},
};

static const HmQmpType type_shutdown = {
    .kind = HM_QMP_OBJECT,
    .name = "ShutdownEvent",
    .members = shutdown_members,
};

static const HmQmpMember progress_members[] = {
    {"id", &hm_qmp_type_str},
    {"current-progress", &hm_qmp_type_int},
    {"total-progress", &hm_qmp_type_int},
    {NULL},
};

static const HmQmpType type_progress = {
    .kind = HM_QMP_OBJECT,
    .name = "PreallocProgressEvent",
    .members = progress_members,
};

const HmQmpType hm_qmp_type_resize_state = {
    .kind = HM_QMP_ENUM,
    .name = "HostMemResizeState",
    .values = (const char *const[]){"reached", "running", "stalled", NULL},
};

static const HmQmpMember deleted_members[] = {
    {"device", &hm_qmp_type_str, TRUE},
    {"path", &hm_qmp_type_str},
    {NULL},
};

static const HmQmpType type_deleted = {
    .kind = HM_QMP_OBJECT,
    .name = "DeviceDeletedEvent",
    .members = deleted_members,
};

static const HmQmpMember size_members[] = {
    {"id", &hm_qmp_type_str, TRUE},
    {"size", &hm_qmp_type_int},
    {"qom-path", &hm_qmp_type_str},
    {NULL},
};

static const HmQmpType type_size = {
    .kind = HM_QMP_OBJECT,
    .name = "MemoryDeviceSizeChangeEvent",
    .members = size_members,
};

static const HmQmpMember backend_size_members[] = {
    {"id", &hm_qmp_type_str},
    {"size", &hm_qmp_type_int},
    {"qom-path", &hm_qmp_type_str},
    {NULL},
};

static const HmQmpType type_backend_size = {
    .kind = HM_QMP_OBJECT,
    .name = "MemoryBackendSizeChangeEvent",
    .members = backend_size_members,
};

static const HmQmpMember resize_members[] = {
    {"id", &hm_qmp_type_str, TRUE},
    {"qom-path", &hm_qmp_type_str},
    {"state", &hm_qmp_type_resize_state},
    {"requested-size", &hm_qmp_type_int},
    {"size", &hm_qmp_type_int},
    {"ack-count", &hm_qmp_type_int},
    {"nack-count", &hm_qmp_type_int},
    {"busy-count", &hm_qmp_type_int},
    {"error-count", &hm_qmp_type_int},
    {"last-reason", &hm_qmp_type_str, TRUE},
    {NULL},
};

static const HmQmpType type_resize = {
    .kind = HM_QMP_OBJECT,
    .name = "MemoryDeviceResizeEvent",
    .members = resize_members,
};

static const HmQmpMember pool_low_members[] = {
    {"id", &hm_qmp_type_str},
    {"ready-size", &hm_qmp_type_int},
    {"low-water", &hm_qmp_type_int},
    {NULL},
};

static const HmQmpType type_pool_low = {
    .kind = HM_QMP_OBJECT,
    .name = "MemoryPoolLowEvent",
    .members = pool_low_members,
};

static const HmQmpEvent events[] = {
    {HM_QMP_EVENT_BACKEND_SIZE, &type_backend_size},
    {HM_QMP_EVENT_DELETED, &type_deleted},
    {HM_QMP_EVENT_JOB, &type_job_change},
    {HM_QMP_EVENT_POOL_LOW, &type_pool_low},
    {HM_QMP_EVENT_PROGRESS, &type_progress},
    {HM_QMP_EVENT_RESET, &type_shutdown},
    {HM_QMP_EVENT_RESIZE, &type_resize},
    {HM_QMP_EVENT_SHUTDOWN, &type_shutdown},
    {HM_QMP_EVENT_SIZE, &type_size},
};

const HmQmpEvent *hm_qmp_events(guint *n)
{
    *n = G_N_ELEMENTS(events);
    return events;
}

json_t *hm_qmp_event_new(const char *name, json_t *data)
{
    gint64 now = g_get_real_time();

    return json_pack("{s:s,s:o,s:{s:I,s:I}}", "event", name, "data", data,
                     "timestamp", "seconds", (json_int_t)(now / G_USEC_PER_SEC),
                     "microseconds", (json_int_t)(now % G_USEC_PER_SEC));
}

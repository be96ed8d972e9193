/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/qmp/schema.h"

typedef struct HmQmpCall HmQmpCall;

typedef enum {
    HM_QMP_OOB = 1 << 0,         /* safe beside the session's own commands */
    HM_QMP_NEGOTIATION = 1 << 1, /* also before negotiation is complete */
    HM_QMP_OPTIONS = 1 << 2,     /* the arguments are an object's options */
    HM_QMP_DEVICE = 1 << 3,      /* those are a device's */
} HmQmpCommandFlags;

/** A command: one row says all about it. */
typedef struct {
    const char *name;
    void (*run)(HmQmpCall *call); /* owns the call until it ends it */
    const HmProp *rows;           /* of the arguments */
    guint n_rows;
    const HmQmpType *returns; /* NULL: the empty object */
    guint flags;
} HmQmpCommand;

/** The table, sorted by name; *@n says how many. */
const HmQmpCommand *hm_qmp_commands(guint *n);
/** (nullable): by name. */
const HmQmpCommand *hm_qmp_command_find(const char *name);

/* What the rows run, by file. */

/* commands-advise.c */
void hm_qmp_run_memory_advise(HmQmpCall *call);
void hm_qmp_run_memory_discard(HmQmpCall *call);

/* commands-device.c */
void hm_qmp_run_device_add(HmQmpCall *call);
void hm_qmp_run_device_del(HmQmpCall *call);
void hm_qmp_run_device_list_properties(HmQmpCall *call);

/* commands-fd.c */
void hm_qmp_run_get_memory_fd(HmQmpCall *call);

/* commands-fdt.c */
void hm_qmp_run_dump_fdt(HmQmpCall *call);

/* commands-host.c */
void hm_qmp_run_query_host_nodes(HmQmpCall *call);

/* commands-job.c */
void hm_qmp_run_job_cancel(HmQmpCall *call);
void hm_qmp_run_job_dismiss(HmQmpCall *call);
void hm_qmp_run_query_jobs(HmQmpCall *call);

/* commands-memory.c */
extern const char *const hm_qmp_virtio_mem_answers[];
extern const char *const hm_qmp_virtio_mem_states[];
GType hm_qmp_virtio_mem_request_type(void);
void hm_qmp_run_query_memory_devices(HmQmpCall *call);
void hm_qmp_run_query_memory_pools(HmQmpCall *call);
void hm_qmp_run_query_memory_size_summary(HmQmpCall *call);
void hm_qmp_run_system_reset(HmQmpCall *call);
void hm_qmp_run_virtio_mem_request(HmQmpCall *call);

/* commands-object.c */
void hm_qmp_run_object_add(HmQmpCall *call);
void hm_qmp_run_object_del(HmQmpCall *call);
void hm_qmp_run_query_memdev(HmQmpCall *call);
/** (transfer full): the backends, for work that measures them; those about to
 * be removed are not held up by it. */
GPtrArray *hm_qmp_measurable_backends(HmQmpCall *call);

/* commands-qom.c */
void hm_qmp_run_qom_get(HmQmpCall *call);
void hm_qmp_run_qom_list(HmQmpCall *call);
void hm_qmp_run_qom_list_properties(HmQmpCall *call);
void hm_qmp_run_qom_list_types(HmQmpCall *call);
void hm_qmp_run_qom_set(HmQmpCall *call);

/* commands-query.c */
void hm_qmp_run_capabilities(HmQmpCall *call);
void hm_qmp_run_query_commands(HmQmpCall *call);
extern const char *const hm_qmp_restore_statuses[];
void hm_qmp_run_query_restore(HmQmpCall *call);
void hm_qmp_run_query_schema(HmQmpCall *call);
void hm_qmp_run_query_status(HmQmpCall *call);
void hm_qmp_run_query_version(HmQmpCall *call);
void hm_qmp_run_quit(HmQmpCall *call);

/* commands-snapshot.c */
void hm_qmp_run_memory_snapshot(HmQmpCall *call);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <hostmem/advise.h>
#include "backends/fdt-options.h"
#include "backends/qmp/command.h"
#include "backends/qmp/event.h"

/* Arguments */

static const HmProp capabilities_rows[] = {
    {.name = "enable", .kind = HM_PROP_ANY, .type_name = "[QMPCapability]"},
};

static const HmProp device_del_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp device_list_properties_rows[] = {
    {.name = "typename", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp get_memory_fd_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp job_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp memory_advise_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "advice",
     .kind = HM_PROP_ENUM,
     .flags = HM_PROP_REQUIRED,
     .type = hostmem_advice_get_type,
     .type_name = "MemoryAdvice"},
    {.name = "ranges",
     .kind = HM_PROP_ANY,
     .flags = HM_PROP_REQUIRED,
     .type_name = "[MemoryRange]"},
};

static const HmProp memory_discard_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "ranges",
     .kind = HM_PROP_ANY,
     .flags = HM_PROP_REQUIRED,
     .type_name = "[MemoryRange]"},
};

static const HmProp memory_snapshot_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "file", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "max-bandwidth", .kind = HM_PROP_SIZE},
    {.name = "threads", .kind = HM_PROP_UINT32, .max = 1024},
    {.name = "allow-exposed", .kind = HM_PROP_BOOL},
};

static const HmProp object_del_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp qom_list_rows[] = {
    {.name = "path", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp qom_get_rows[] = {
    {.name = "path", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "property", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

static const HmProp qom_set_rows[] = {
    {.name = "path", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "property", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "value", .kind = HM_PROP_ANY, .flags = HM_PROP_REQUIRED},
};

static const HmProp qom_list_types_rows[] = {
    {.name = "implements", .kind = HM_PROP_STRING},
    {.name = "abstract", .kind = HM_PROP_BOOL},
};

static const HmProp qom_list_properties_rows[] = {
    {.name = "typename", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
};

/* "addr" is INT64: an address from 2^63 on is its negative number. */
static const HmProp virtio_mem_request_rows[] = {
    {.name = "id", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "type",
     .kind = HM_PROP_ENUM,
     .flags = HM_PROP_REQUIRED,
     .type = hm_qmp_virtio_mem_request_type,
     .type_name = "VirtioMemRequestType"},
    {.name = "addr", .kind = HM_PROP_INT64},
    {.name = "nb-blocks", .kind = HM_PROP_UINT32, .max = G_MAXUINT16},
};

/* Return values */

#define OBJECT(type_name, ...)                              \
    {                                                       \
        .kind = HM_QMP_OBJECT, .name = type_name,           \
        .members = (const HmQmpMember[]){__VA_ARGS__, {0}}, \
    }
#define ARRAY_OF(type)                            \
    {                                             \
        .kind = HM_QMP_ARRAY, .element = &(type), \
    }

static const HmQmpType type_policy = {
    .kind = HM_QMP_ENUM,
    .name = "HostMemPolicy",
    .values = (const char *const[]){"default", "preferred", "bind",
                                    "interleave", NULL},
};

static const HmQmpType type_mem_lock = {
    .kind = HM_QMP_ENUM,
    .name = "HostMemLock",
    .values = (const char *const[]){"off", "on", "on-fault", NULL},
};

static const HmQmpType type_int_list = ARRAY_OF(hm_qmp_type_int);
static const HmQmpType type_str_list = ARRAY_OF(hm_qmp_type_str);

static const HmQmpType type_qemu_version =
    OBJECT("VersionTriple", {"major", &hm_qmp_type_int},
           {"minor", &hm_qmp_type_int}, {"micro", &hm_qmp_type_int});

static const HmQmpType type_version = OBJECT(
    "VersionInfo", {"qemu", &type_qemu_version}, {"package", &hm_qmp_type_str});

static const HmQmpType type_command =
    OBJECT("CommandInfo", {"name", &hm_qmp_type_str});
static const HmQmpType type_command_list = ARRAY_OF(type_command);

static const HmQmpType type_run_state = {
    .kind = HM_QMP_ENUM,
    .name = "RunState",
    .values = (const char *const[]){"running", NULL},
};
static const HmQmpType type_status =
    OBJECT("StatusInfo", {"status", &type_run_state},
           {"singlestep", &hm_qmp_type_bool}, {"running", &hm_qmp_type_bool});

static const HmQmpType type_property =
    OBJECT("ObjectPropertyInfo", {"name", &hm_qmp_type_str},
           {"type", &hm_qmp_type_str}, {"description", &hm_qmp_type_str, TRUE});
static const HmQmpType type_property_list = ARRAY_OF(type_property);

static const HmQmpType type_type = OBJECT(
    "ObjectTypeInfo", {"name", &hm_qmp_type_str},
    {"abstract", &hm_qmp_type_bool, TRUE}, {"parent", &hm_qmp_type_str, TRUE});
static const HmQmpType type_type_list = ARRAY_OF(type_type);

static const HmQmpType type_job_type = {
    .kind = HM_QMP_ENUM,
    .name = "JobType",
    .values = (const char *const[]){"prealloc", "snapshot", "collapse", NULL},
};
static const HmQmpType type_job = OBJECT(
    "JobInfo", {"id", &hm_qmp_type_str}, {"type", &type_job_type},
    {"status", &hm_qmp_type_job_status}, {"current-progress", &hm_qmp_type_int},
    {"total-progress", &hm_qmp_type_int}, {"error", &hm_qmp_type_str, TRUE});
static const HmQmpType type_job_list = ARRAY_OF(type_job);

static const HmQmpType type_memdev = OBJECT(
    "Memdev", {"id", &hm_qmp_type_str}, {"type", &hm_qmp_type_str},
    {"size", &hm_qmp_type_int}, {"merge", &hm_qmp_type_bool},
    {"dump", &hm_qmp_type_bool}, {"prealloc", &hm_qmp_type_bool},
    {"share", &hm_qmp_type_bool}, {"reserve", &hm_qmp_type_bool},
    {"host-nodes", &type_int_list}, {"policy", &type_policy},
    {"page-size", &hm_qmp_type_int}, {"backed-size", &hm_qmp_type_int},
    {"populated-size", &hm_qmp_type_int}, {"max-size", &hm_qmp_type_int, TRUE},
    {"resident-size", &hm_qmp_type_int}, {"locked-size", &hm_qmp_type_int},
    {"mapped-size", &hm_qmp_type_int}, {"usage-age", &hm_qmp_type_int},
    {"mem-lock", &type_mem_lock}, {"export-path", &hm_qmp_type_str, TRUE},
    {"prealloc-method", &hm_qmp_type_str, TRUE},
    {"guest-addr", &hm_qmp_type_int, TRUE},
    {"guest-node", &hm_qmp_type_int, TRUE}, {"pool", &hm_qmp_type_str, TRUE},
    {"pool-size", &hm_qmp_type_int, TRUE}, {"in-use", &hm_qmp_type_bool, TRUE});
static const HmQmpType type_memdev_list = ARRAY_OF(type_memdev);

static const HmQmpType type_memory_part =
    OBJECT("MemoryPart", {"offset", &hm_qmp_type_int},
           {"length", &hm_qmp_type_int}, {"fd-offset", &hm_qmp_type_int});
static const HmQmpType type_memory_part_list = ARRAY_OF(type_memory_part);
static const HmQmpType type_memory_fd = OBJECT(
    "MemoryFd", {"id", &hm_qmp_type_str}, {"size", &hm_qmp_type_int},
    {"page-size", &hm_qmp_type_int}, {"sealed", &hm_qmp_type_bool},
    {"in-use", &hm_qmp_type_bool, TRUE}, {"parts", &type_memory_part_list});

static const HmQmpType type_memory_advise =
    OBJECT("MemoryAdviceInfo", {"job", &hm_qmp_type_str, TRUE});

static const HmQmpType type_memory_snapshot =
    OBJECT("MemorySnapshotInfo", {"job", &hm_qmp_type_str});

static const HmQmpType type_memory_device_kind = {
    .kind = HM_QMP_ENUM,
    .name = "MemoryDeviceInfoKind",
    .values = (const char *const[]){"virtio-mem", NULL},
};
static const HmQmpType type_virtio_mem =
    OBJECT("VirtioMEMDeviceInfo", {"id", &hm_qmp_type_str, TRUE},
           {"memaddr", &hm_qmp_type_int}, {"requested-size", &hm_qmp_type_int},
           {"size", &hm_qmp_type_int}, {"max-size", &hm_qmp_type_int},
           {"block-size", &hm_qmp_type_int}, {"node", &hm_qmp_type_int},
           {"memdev", &hm_qmp_type_str});
static const HmQmpType type_memory_device =
    OBJECT("MemoryDeviceInfo", {"type", &type_memory_device_kind},
           {"data", &type_virtio_mem});
static const HmQmpType type_memory_device_list = ARRAY_OF(type_memory_device);

static const HmQmpType type_memory_pool = OBJECT(
    "MemoryPoolInfo", {"id", &hm_qmp_type_str}, {"size", &hm_qmp_type_int},
    {"segment-size", &hm_qmp_type_int}, {"page-size", &hm_qmp_type_int},
    {"ready-size", &hm_qmp_type_int}, {"lent-size", &hm_qmp_type_int},
    {"dirty-size", &hm_qmp_type_int}, {"low-water", &hm_qmp_type_int},
    {"last-error", &hm_qmp_type_str, TRUE});
static const HmQmpType type_memory_pool_list = ARRAY_OF(type_memory_pool);

static const HmQmpType type_memory_info =
    OBJECT("MemoryInfo", {"base-memory", &hm_qmp_type_int},
           {"plugged-memory", &hm_qmp_type_int});

static const HmQmpType type_virtio_mem_answer = {
    .kind = HM_QMP_ENUM,
    .name = "VirtioMemAnswer",
    .values = hm_qmp_virtio_mem_answers,
};
static const HmQmpType type_virtio_mem_state = {
    .kind = HM_QMP_ENUM,
    .name = "VirtioMemState",
    .values = hm_qmp_virtio_mem_states,
};
static const HmQmpType type_virtio_mem_response =
    OBJECT("VirtioMemResponse", {"type", &type_virtio_mem_answer},
           {"state", &type_virtio_mem_state, TRUE},
           {"reason", &hm_qmp_type_str, TRUE});

static const HmQmpType type_huge_pages =
    OBJECT("HostHugePages", {"page-size", &hm_qmp_type_int},
           {"total", &hm_qmp_type_int}, {"free", &hm_qmp_type_int});
static const HmQmpType type_huge_pages_list = ARRAY_OF(type_huge_pages);
static const HmQmpType type_host_node = OBJECT(
    "HostNode", {"node", &hm_qmp_type_int}, {"total", &hm_qmp_type_int},
    {"free", &hm_qmp_type_int}, {"available", &hm_qmp_type_int},
    {"populated", &hm_qmp_type_int}, {"huge-pages", &type_huge_pages_list});
static const HmQmpType type_host_node_list = ARRAY_OF(type_host_node);

static const HmQmpType type_restore_status = {
    .kind = HM_QMP_ENUM,
    .name = "RestoreStatus",
    .values = hm_qmp_restore_statuses,
};
static const HmQmpType type_restored = OBJECT(
    "RestoredInfo", {"path", &hm_qmp_type_str},
    {"status", &type_restore_status}, {"reason", &hm_qmp_type_str, TRUE});
static const HmQmpType type_restored_list = ARRAY_OF(type_restored);

static const HmQmpType type_schema_member = OBJECT(
    "SchemaInfoMember", {"name", &hm_qmp_type_str},
    {"type", &hm_qmp_type_str, TRUE}, {"default", &hm_qmp_type_any, TRUE});
static const HmQmpType type_schema_member_list = ARRAY_OF(type_schema_member);

static const HmQmpType type_schema_variant =
    OBJECT("SchemaInfoVariant", {"case", &hm_qmp_type_str},
           {"type", &hm_qmp_type_str});
static const HmQmpType type_schema_variant_list = ARRAY_OF(type_schema_variant);

static const HmQmpType type_schema = OBJECT(
    "SchemaInfo", {"name", &hm_qmp_type_str}, {"meta-type", &hm_qmp_type_str},
    {"json-type", &hm_qmp_type_str, TRUE}, {"values", &type_str_list, TRUE},
    {"element-type", &hm_qmp_type_str, TRUE},
    {"members", &type_schema_member_list, TRUE},
    {"tag", &hm_qmp_type_str, TRUE},
    {"variants", &type_schema_variant_list, TRUE},
    {"arg-type", &hm_qmp_type_str, TRUE}, {"ret-type", &hm_qmp_type_str, TRUE},
    {"allow-oob", &hm_qmp_type_bool, TRUE});
static const HmQmpType type_schema_list = ARRAY_OF(type_schema);

/* The table */

#define ROWS(table) .rows = (table), .n_rows = G_N_ELEMENTS(table)

static const HmQmpCommand commands[] = {
    {"device-list-properties", hm_qmp_run_device_list_properties,
     ROWS(device_list_properties_rows), &type_property_list, HM_QMP_OOB},
    {"device_add", hm_qmp_run_device_add,
     .flags = HM_QMP_OPTIONS | HM_QMP_DEVICE},
    {"device_del", hm_qmp_run_device_del, ROWS(device_del_rows),
     .flags = HM_QMP_OOB},
    {"dump-fdt", hm_qmp_run_dump_fdt, hm_fdt_dump_rows, HM_FDT_N_DUMP_ROWS},
    {"get-memory-fd", hm_qmp_run_get_memory_fd, ROWS(get_memory_fd_rows),
     &type_memory_fd},
    {"job-cancel", hm_qmp_run_job_cancel, ROWS(job_rows), .flags = HM_QMP_OOB},
    {"job-dismiss", hm_qmp_run_job_dismiss, ROWS(job_rows),
     .flags = HM_QMP_OOB},
    {"memory-advise", hm_qmp_run_memory_advise, ROWS(memory_advise_rows),
     &type_memory_advise},
    {"memory-discard", hm_qmp_run_memory_discard, ROWS(memory_discard_rows)},
    {"memory-snapshot", hm_qmp_run_memory_snapshot, ROWS(memory_snapshot_rows),
     &type_memory_snapshot},
    {"object-add", hm_qmp_run_object_add, .flags = HM_QMP_OPTIONS},
    {"object-del", hm_qmp_run_object_del, ROWS(object_del_rows),
     .flags = HM_QMP_OOB},
    {"qmp_capabilities", hm_qmp_run_capabilities, ROWS(capabilities_rows),
     .flags = HM_QMP_NEGOTIATION},
    {"qom-get", hm_qmp_run_qom_get, ROWS(qom_get_rows), &hm_qmp_type_any,
     HM_QMP_OOB},
    {"qom-list", hm_qmp_run_qom_list, ROWS(qom_list_rows), &type_property_list,
     HM_QMP_OOB},
    {"qom-list-properties", hm_qmp_run_qom_list_properties,
     ROWS(qom_list_properties_rows), &type_property_list, HM_QMP_OOB},
    {"qom-list-types", hm_qmp_run_qom_list_types, ROWS(qom_list_types_rows),
     &type_type_list, HM_QMP_OOB},
    {"qom-set", hm_qmp_run_qom_set, ROWS(qom_set_rows)},
    {"query-commands", hm_qmp_run_query_commands, NULL, 0, &type_command_list,
     HM_QMP_OOB},
    {"query-host-nodes", hm_qmp_run_query_host_nodes, NULL, 0,
     &type_host_node_list, HM_QMP_OOB},
    {"query-jobs", hm_qmp_run_query_jobs, NULL, 0, &type_job_list, HM_QMP_OOB},
    {"query-memdev", hm_qmp_run_query_memdev, NULL, 0, &type_memdev_list,
     HM_QMP_OOB},
    {"query-memory-devices", hm_qmp_run_query_memory_devices, NULL, 0,
     &type_memory_device_list, HM_QMP_OOB},
    {"query-memory-pools", hm_qmp_run_query_memory_pools, NULL, 0,
     &type_memory_pool_list, HM_QMP_OOB},
    {"query-memory-size-summary", hm_qmp_run_query_memory_size_summary, NULL, 0,
     &type_memory_info, HM_QMP_OOB},
    {"query-qmp-schema", hm_qmp_run_query_schema, NULL, 0, &type_schema_list,
     HM_QMP_OOB},
    {"query-restore", hm_qmp_run_query_restore, NULL, 0, &type_restored_list,
     HM_QMP_OOB},
    {"query-status", hm_qmp_run_query_status, NULL, 0, &type_status,
     HM_QMP_OOB},
    {"query-version", hm_qmp_run_query_version, NULL, 0, &type_version,
     HM_QMP_OOB},
    {"quit", hm_qmp_run_quit, .flags = HM_QMP_OOB},
    {"system_reset", hm_qmp_run_system_reset, .flags = HM_QMP_OOB},
    {"virtio-mem-request", hm_qmp_run_virtio_mem_request,
     ROWS(virtio_mem_request_rows), &type_virtio_mem_response},
};

const HmQmpCommand *hm_qmp_commands(guint *n)
{
    *n = G_N_ELEMENTS(commands);
    return commands;
}

static int compare_name(const void *key, const void *row)
{
    return strcmp(key, ((const HmQmpCommand *)row)->name);
}

const HmQmpCommand *hm_qmp_command_find(const char *name)
{
    return bsearch(name, commands, G_N_ELEMENTS(commands), sizeof(*commands),
                   compare_name);
}

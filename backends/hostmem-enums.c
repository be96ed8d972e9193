/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/backend.h>
#include <hostmem/virtio-mem.h>

static GType register_enum(gsize *once, const char *name,
                           const GEnumValue *values)
{
    if (g_once_init_enter(once)) {
        g_once_init_leave(once, g_enum_register_static(name, values));
    }
    return *once;
}

GType hostmem_policy_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_POLICY_DEFAULT, "HOSTMEM_POLICY_DEFAULT", "default"},
        {HOSTMEM_POLICY_PREFERRED, "HOSTMEM_POLICY_PREFERRED", "preferred"},
        {HOSTMEM_POLICY_BIND, "HOSTMEM_POLICY_BIND", "bind"},
        {HOSTMEM_POLICY_INTERLEAVE, "HOSTMEM_POLICY_INTERLEAVE", "interleave"},
        {0, NULL, NULL},
    };

    return register_enum(&once, "HostmemPolicy", values);
}

GType hostmem_on_off_auto_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_AUTO, "HOSTMEM_AUTO", "auto"},
        {HOSTMEM_ON, "HOSTMEM_ON", "on"},
        {HOSTMEM_OFF, "HOSTMEM_OFF", "off"},
        {0, NULL, NULL},
    };

    return register_enum(&once, "HostmemOnOffAuto", values);
}

GType hostmem_mem_lock_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_MEM_LOCK_OFF, "HOSTMEM_MEM_LOCK_OFF", "off"},
        {HOSTMEM_MEM_LOCK_ON, "HOSTMEM_MEM_LOCK_ON", "on"},
        {HOSTMEM_MEM_LOCK_ON_FAULT, "HOSTMEM_MEM_LOCK_ON_FAULT", "on-fault"},
        {0, NULL, NULL},
    };

    return register_enum(&once, "HostmemMemLock", values);
}

GType hostmem_prealloc_state_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_PREALLOC_STATE_BACKED, "HOSTMEM_PREALLOC_STATE_BACKED",
         "backed"},
        {HOSTMEM_PREALLOC_STATE_READABLE, "HOSTMEM_PREALLOC_STATE_READABLE",
         "readable"},
        {HOSTMEM_PREALLOC_STATE_WRITABLE, "HOSTMEM_PREALLOC_STATE_WRITABLE",
         "writable"},
        {0, NULL, NULL},
    };

    return register_enum(&once, "HostmemPreallocState", values);
}

GType hostmem_prealloc_priority_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_PREALLOC_PRIORITY_NORMAL, "HOSTMEM_PREALLOC_PRIORITY_NORMAL",
         "normal"},
        {HOSTMEM_PREALLOC_PRIORITY_LOW, "HOSTMEM_PREALLOC_PRIORITY_LOW", "low"},
        {HOSTMEM_PREALLOC_PRIORITY_IDLE, "HOSTMEM_PREALLOC_PRIORITY_IDLE",
         "idle"},
        {0, NULL, NULL},
    };

    return register_enum(&once, "HostmemPreallocPriority", values);
}

GType hostmem_resize_state_get_type(void)
{
    static gsize once;
    static const GEnumValue values[] = {
        {HOSTMEM_RESIZE_REACHED, "HOSTMEM_RESIZE_REACHED", "reached"},
        {HOSTMEM_RESIZE_RUNNING, "HOSTMEM_RESIZE_RUNNING", "running"},
        {HOSTMEM_RESIZE_STALLED, "HOSTMEM_RESIZE_STALLED", "stalled"},
        {0, NULL, NULL},
    };

    return register_enum(&once, "HostmemResizeState", values);
}

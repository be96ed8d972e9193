/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/libvirt.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/*
 * What we call of libvirt, each named once: a file of ours calls
 * lib->virConnectOpen(...) of what hm_libvirt_get() returns.  See libvirt.c.
 */
#define HM_LIBVIRT_CALLS(CALL)               \
    CALL(virConnectClose)                    \
    CALL(virConnectDomainEventDeregisterAny) \
    CALL(virConnectDomainEventRegisterAny)   \
    CALL(virConnectDomainXMLToNative)        \
    CALL(virConnectGetURI)                   \
    CALL(virConnectListAllDomains)           \
    CALL(virConnectOpen)                     \
    CALL(virConnectOpenReadOnly)             \
    CALL(virConnectRegisterCloseCallback)    \
    CALL(virConnectSetKeepAlive)             \
    CALL(virConnectUnregisterCloseCallback)  \
    CALL(virDomainFree)                      \
    CALL(virDomainGetName)                   \
    CALL(virDomainGetXMLDesc)                \
    CALL(virDomainLookupByName)              \
    CALL(virDomainLookupByUUIDString)        \
    CALL(virDomainUpdateDeviceFlags)         \
    CALL(virEventRegisterDefaultImpl)        \
    CALL(virEventRegisterImpl)               \
    CALL(virGetLastError)                    \
    CALL(virInitialize)                      \
    CALL(virResetLastError)                  \
    CALL(virSetErrorFunc)

/* The same of libvirt-qemu. */
#define HM_LIBVIRT_QEMU_CALLS(CALL) CALL(virDomainQemuMonitorCommand)

#define HM_LIBVIRT_MEMBER(name)     __typeof__(name) *name;
typedef struct {
    HM_LIBVIRT_CALLS(HM_LIBVIRT_MEMBER)
    HM_LIBVIRT_QEMU_CALLS(HM_LIBVIRT_MEMBER)
} HmLibvirt;
#undef HM_LIBVIRT_MEMBER

/**
 * hm_libvirt_get: load libvirt, once.
 *
 * It is initialised, and prints no errors; its log is where its environment
 * says. Any thread.
 *
 * Returns: (transfer none): or NULL with %HOSTMEM_ERROR_UNSUPPORTED
 */
const HmLibvirt *hm_libvirt_get(GError **error);

/**
 * hm_libvirt_set_error: "FORMAT: " and what libvirt says of the last call that
 * failed in this thread, with the code that stands for it.
 *
 * Returns: FALSE, so that a caller can return it
 */
gboolean hm_libvirt_set_error(const HmLibvirt *lib, GError **error,
                              const char *format, ...) G_GNUC_PRINTF(3, 4);

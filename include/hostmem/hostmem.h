/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Threads that the library starts for itself block all signals but SIGBUS,
 * SIGSEGV, SIGILL, SIGFPE and SIGTRAP, so the program's handlers of what it is
 * sent from outside run in the program's own threads.
 */
#include <hostmem/advise.h>
#include <hostmem/backend.h>
#include <hostmem/device.h>
#include <hostmem/discard.h>
#include <hostmem/error.h>
#include <hostmem/export-dir.h>
#include <hostmem/fdt-guest.h>
#include <hostmem/fdt.h>
#include <hostmem/guest-memory.h>
#include <hostmem/host.h>
#include <hostmem/job.h>
#include <hostmem/libvirt-domain.h>
#include <hostmem/libvirt.h>
#include <hostmem/memory-pool.h>
#include <hostmem/object.h>
#include <hostmem/qmp-client.h>
#include <hostmem/qmp.h>
#include <hostmem/registry.h>
#include <hostmem/restore.h>
#include <hostmem/snapshot.h>
#include <hostmem/thread-context.h>
#include <hostmem/virtio-device.h>
#include <hostmem/virtio-mem.h>
#include <hostmem/virtio-mmio.h>
#include <hostmem/virtqueue.h>

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices that cannot be found by looking for them. */
#include "layout.h"

DefinitionBlock ("", "DSDT", 2, "HSTMEM", "VMM", 1)
{
    Name (\_S5, Package () { VMM_SLEEP_TYPE_OFF })

    Device (\_SB.COM1)
    {
        Name (_HID, EisaId ("PNP0501"))
        Name (_UID, 0)
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, VMM_SERIAL_PORT, VMM_SERIAL_PORT, 1, VMM_SERIAL_PORTS)
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
            {
                VMM_SERIAL_INPUT
            }
        })
    }

    /* What Linux takes for virtio-mmio. */
    Device (\_SB.VMEM)
    {
        Name (_HID, "LNRO0005")
        Name (_UID, 0)
        Name (_CRS, ResourceTemplate ()
        {
            Memory32Fixed (ReadWrite, VMM_VIRTIO, VMM_VIRTIO_SIZE)
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
            {
                VMM_VIRTIO_INPUT
            }
        })
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A 16550A that is always ready to send. */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "vmm.h"

enum {
    DATA,
    IER,
    IIR,
    LCR,
    MCR,
    LSR,
    MSR,
    SCRATCH
};

#define FCR           IIR /* when written */

#define IER_RECEIVED  0x01
#define IER_SENT      0x02
#define IIR_FIFOS     0xc0
#define IIR_RECEIVED  0x04
#define IIR_SENT      0x02
#define IIR_NONE      0x01
#define LCR_DIVISOR   0x80
#define MCR_LOOP      0x10
#define LSR_SENT      0x60
#define LSR_RECEIVED  0x01
#define MSR_CONNECTED 0xb0 /* carrier, ready, clear to send */

#define MAX_LINE      4096

struct VmmSerial {
    VmmSerialLine line;
    gpointer user_data;
    int interrupt; /* eventfd */
    GString *output;
    GMutex lock; /* of all below */
    GString *input;
    gboolean sent; /* an interrupt says so, until the guest looks */
    guint8 registers[VMM_SERIAL_PORTS];
    guint8 divisor[2];
};

VmmSerial *vmm_serial_new(VmmSerialLine line, gpointer user_data)
{
    VmmSerial *self = g_new0(VmmSerial, 1);

    self->line = line;
    self->user_data = user_data;
    self->interrupt = -1;
    self->output = g_string_new(NULL);
    self->input = g_string_new(NULL);
    g_mutex_init(&self->lock);
    return self;
}

void vmm_serial_free(VmmSerial *self)
{
    if (self->interrupt >= 0) {
        close(self->interrupt);
    }
    g_string_free(self->output, TRUE);
    g_string_free(self->input, TRUE);
    g_mutex_clear(&self->lock);
    g_free(self);
}

gboolean vmm_serial_connect(VmmSerial *self, VmmKvm *kvm, GError **error)
{
    if (self->interrupt < 0) {
        self->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    return vmm_kvm_add_interrupt(kvm, self->interrupt, VMM_SERIAL_INPUT, error);
}

static guint8 interrupt_reason(VmmSerial *self)
{
    guint8 enabled = self->registers[IER];

    if ((enabled & IER_RECEIVED) && self->input->len > 0) {
        return IIR_RECEIVED;
    }
    return (enabled & IER_SENT) && self->sent ? IIR_SENT : IIR_NONE;
}

/* A write fails only when the guest has 2^64 - 2 interrupts to look at. */
static void interrupt_if_needed(VmmSerial *self)
{
    if (interrupt_reason(self) != IIR_NONE) {
        eventfd_write(self->interrupt, 1);
    }
}

static void put(VmmSerial *self, char character)
{
    if (character != '\n') {
        g_string_append_c(self->output, character);
    }
    if (character != '\n' && self->output->len < MAX_LINE) {
        return;
    }
    g_strchomp(self->output->str);
    self->line(self->output->str, self->user_data);
    g_string_truncate(self->output, 0);
}

static guint8 take(VmmSerial *self)
{
    if (self->input->len == 0) {
        return 0;
    }
    guint8 character = self->input->str[0];
    g_string_erase(self->input, 0, 1);
    return character;
}

static guint8 read_reason(VmmSerial *self)
{
    guint8 reason = interrupt_reason(self);

    if (reason == IIR_SENT) {
        self->sent = FALSE;
    }
    return reason | IIR_FIFOS;
}

/* In a loop the outputs come back as inputs, rearranged; drivers try that. */
static guint8 modem_status(guint8 control)
{
    if (!(control & MCR_LOOP)) {
        return MSR_CONNECTED;
    }
    return (control & 0x0c) << 4 | (control & 0x02) << 3 |
           (control & 0x01) << 5;
}

static guint8 read_register(VmmSerial *self, guint offset)
{
    if (offset <= IER && self->registers[LCR] & LCR_DIVISOR) {
        return self->divisor[offset];
    }
    switch (offset) {
    case DATA:
        return take(self);
    case IIR:
        return read_reason(self);
    case LSR:
        return LSR_SENT | (self->input->len > 0 ? LSR_RECEIVED : 0);
    case MSR:
        return modem_status(self->registers[MCR]);
    default:
        return self->registers[offset];
    }
}

static void write_register(VmmSerial *self, guint offset, guint8 value)
{
    if (offset <= IER && self->registers[LCR] & LCR_DIVISOR) {
        self->divisor[offset] = value;
        return;
    }
    switch (offset) {
    case DATA:
        self->sent = TRUE;
        break;
    case IER:
        self->sent |= value & ~self->registers[IER] & IER_SENT;
        self->registers[IER] = value & 0x0f;
        break;
    case LCR:
    case MCR:
    case SCRATCH:
        self->registers[offset] = value;
        break;
    default:
        break;
    }
    interrupt_if_needed(self);
}

void vmm_serial_access(VmmSerial *self, VmmAccess *access)
{
    guint offset = access->address - VMM_SERIAL_PORT;
    gboolean divisor;

    g_mutex_lock(&self->lock);
    divisor = self->registers[LCR] & LCR_DIVISOR;
    if (access->write) {
        write_register(self, offset, access->value);
    } else {
        access->value = read_register(self, offset);
    }
    g_mutex_unlock(&self->lock);
    if (access->write && offset == DATA && !divisor) {
        put(self, access->value);
    }
}

void vmm_serial_send(VmmSerial *self, const char *text)
{
    g_mutex_lock(&self->lock);
    g_string_append(self->input, text);
    interrupt_if_needed(self);
    g_mutex_unlock(&self->lock);
}

void vmm_serial_reset(VmmSerial *self)
{
    g_mutex_lock(&self->lock);
    memset(self->registers, 0, sizeof(self->registers));
    g_string_truncate(self->input, 0);
    self->sent = FALSE;
    g_mutex_unlock(&self->lock);
}

/* A guest that does everything wrong that a driver can do, in the numbered cases of the list of hostile inputs, and
   tells on the serial port what came of each. Then it powers off. */
#include "guest.h"

struct gate {
    u16 low, selector, flags, middle;
    u32 high, reserved;
};
extern struct gate idt[32];
extern void fault(void);

void unexpected_fault(void) {
    put("FAIL: a fault in the guest\n");
    end_machine();
}

/* Whether one of the letters that the kernel's command line begins with is this; the zero page says where it is. */
static int is_told(u8 *zero_page, char letter) {
    for (char *text = (char *)(u64) * (u32 *)(zero_page + 0x228); *text && *text != ' '; text++)
        if (*text == letter) return 1;
    return 0;
}

void main(u8 *zero_page) {
    for (int vector = 0; vector < 32; vector++)
        idt[vector] = (struct gate){(u64)fault, 0x10, 0x8e00, (u64)fault >> 16, 0, 0};
    if (!find_devices()) {
        put("FAIL: no devices that work\n");
        end_machine();
    }
    if (is_told(zero_page, 'f')) flood(is_told(zero_page, 'w'));
    if (is_told(zero_page, 'r')) reset_forever();
    if (is_told(zero_page, 'c')) accept_forever();
    hypercalls_end = is_told(zero_page, 'h');
    for (int index = 0; index < device_count; index++) {
        struct device *d = &devices[index];
        if (d == witness) continue;
        register_cases(d);
        ring_cases(d);
        device_cases(d);
        race_cases(d);
    }
    machine_cases();
    put("done\n");
    end_machine();
}

/* What hack/soak has the guest do without end. */
#include "guest.h"

/* Resets every device in turn; a letter after each thousand. */
void reset_forever(void) {
    for (u32 count = 1;; count++) {
        struct device *d = &devices[count % device_count];
        int good = d == witness || (reset(d) && negotiate(d, 0));
        if (d != witness) {
            set_queue(d, d->queue, &d->rings[d->queue]);
            set(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
            if (count % 100 == 0) good &= begin(d, 0) && request(d);
        }
        if (!good) put("F");
        if (count % 1000 == 0) put(request(witness) ? "r" : "F");
    }
}

enum { REQUEST = 1, RESPONSE = 2, RST = 3, SHUTDOWN = 4, BUFFER = 1024 };

struct packet {
    u64 from, to;
    u32 from_port, to_port, length;
    u16 type, operation;
    u32 flags, room, taken;
};

/* Takes every connection from the host, on any port, until the host ends it. */
void accept_forever(void) {
    struct device *d = devices;
    while (d->kind != VSOCK) d++;
    struct ring *input = &d->rings[0], *output = &d->rings[1];
    struct packet *answer = (struct packet *)d->data;
    begin(d, 0);
    for (u16 index = 0; index < SIZE; index++) {
        describe(input, index, SCRATCH + index * BUFFER, BUFFER, WRITE, 0);
        offer(input, index);
    }
    kick(d, 0);
    put("listening\n");
    for (u16 next = 0;; next++) {
        while (*(volatile u16 *)&input->used.index == next) __asm__ volatile("pause");
        BARRIER();
        u16 head = input->used.ring[next % SIZE].id;
        struct packet *packet = (struct packet *)(u64)(SCRATCH + head * BUFFER);
        if (packet->operation == REQUEST || packet->operation == SHUTDOWN) {
            *answer = (struct packet){packet->to, packet->from, packet->to_port, packet->from_port, 0, 1,
                packet->operation == REQUEST ? RESPONSE : RST, 0, 4096, 0};
            describe(output, 0, (u64)answer, 44, 0, 0);
            offer(output, 0);
            kick(d, 1);
            if (!settle(d, 1)) put("F");
        }
        offer(input, head);
        kick(d, 0);
    }
}

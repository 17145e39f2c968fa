// A machine with as little around it as can be: the KVM calls that any monitor makes for a guest of 256 MiB with one
// processor, which resets at once. hack/bench/run start measures against it.
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { SIZE = 256 << 20, CODE = 0x100000, ENTRIES = 256 };

static int call(int fd, unsigned long request, void *argument, const char *name) {
    int result = ioctl(fd, request, argument);
    if (result < 0) err(1, "%s", name);
    return result;
}
#define CALL(fd, request, argument) call(fd, request, (void *)(argument), #request)

struct processor {
    int fd;
    struct kvm_run *run;
};

static void *run(void *argument) {
    struct processor *processor = argument;
    do CALL(processor->fd, KVM_RUN, 0);
    while (processor->run->exit_reason == KVM_EXIT_INTR);
    if (processor->run->exit_reason != KVM_EXIT_SHUTDOWN) errx(1, "exit %u", processor->run->exit_reason);
    return NULL;
}

int main(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) err(1, "/dev/kvm");
    int vm = CALL(kvm, KVM_CREATE_VM, 0);
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) err(1, "mmap");
    struct kvm_userspace_memory_region region = {.memory_size = SIZE, .userspace_addr = (unsigned long)memory};
    CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
    unsigned long identity = 0xfeffc000;
    CALL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    CALL(vm, KVM_SET_TSS_ADDR, 0xfeffd000ul);
    CALL(vm, KVM_CREATE_IRQCHIP, 0);
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    CALL(vm, KVM_CREATE_PIT2, &pit);

    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[ENTRIES];
    } cpuid = {.head.nent = ENTRIES};
    CALL(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
    struct processor processor = {.fd = CALL(vm, KVM_CREATE_VCPU, 0)};
    int size = CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    processor.run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, processor.fd, 0);
    if (processor.run == MAP_FAILED) err(1, "mmap");
    CALL(processor.fd, KVM_SET_CPUID2, &cpuid);
    struct kvm_lapic_state lapic;
    CALL(processor.fd, KVM_GET_LAPIC, &lapic);
    CALL(processor.fd, KVM_SET_LAPIC, &lapic);

    // lidt of an empty table; ud2
    memcpy(memory + CODE, "\x0f\x01\x1d\x00\x01\x10\x00\x0f\x0b", 9);
    struct kvm_sregs sregs;
    CALL(processor.fd, KVM_GET_SREGS, &sregs);
    sregs.cs = (struct kvm_segment){.limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1};
    sregs.ds = (struct kvm_segment){.limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    sregs.es = sregs.ss = sregs.ds;
    sregs.cr0 |= 1;
    CALL(processor.fd, KVM_SET_SREGS, &sregs);
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};
    CALL(processor.fd, KVM_SET_REGS, &regs);

    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &processor)) errx(1, "pthread_create");
    pthread_join(thread, NULL);
    return 0;
}

# Where the guest begins, by Linux's 64-bit boot protocol: long mode, the low 4 GiB mapped to themselves, interrupts
# off, the zero page in RSI. And where a second processor begins, in real mode.

    .set PAGE_TABLES, 0x9000            # what the monitor has made; the second processor uses them too
    .set TRAMPOLINE, 0x10000            # SIPI vector 0x10

    .text
    .code64
    .globl start
start:
    lgdt gdt_pointer
    lidt idt_pointer
    mov $first_stack, %rsp
    mov %rsi, %rdi
    call main
1:  hlt
    jmp 1b

# Every exception of the first processor: goes on where `attempt` says, or ends the test.
    .globl fault
fault:
    mov recovery, %rax
    test %rax, %rax
    jz 1f
    mov recovery_stack, %rsp
    jmp *%rax
1:  mov $first_stack, %rsp
    call unexpected_fault

# int attempt(void (*function)(u64), u64 argument): 0, or 1 if the processor refused to do it.
    .globl attempt
attempt:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, recovery_stack
    movq $1f, recovery
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    xor %eax, %eax
    jmp 2f
1:  mov $1, %eax
2:  movq $0, recovery
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

# From real mode to long mode; copied to TRAMPOLINE, so nothing here may depend on where it was linked.
    .globl trampoline, trampoline_end
    .code16
trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl (3f - trampoline)
    mov $0x11, %eax
    mov %eax, %cr0
    ljmpl $0x20, $(TRAMPOLINE + 1f - trampoline)
    .code32
1:  mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $0x20, %eax
    mov %eax, %cr4
    mov $PAGE_TABLES, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov $0x80000011, %eax
    mov %eax, %cr0
    ljmp $0x10, $second
    .align 4
3:  .word gdt_end - gdt - 1
    .long gdt
trampoline_end:

    .code64
second:
    mov $second_stack, %rsp
    call second_main
1:  cli
    hlt
    jmp 1b

    .data
    .align 8
gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff            # 0x10: 64-bit code
    .quad 0x00cf93000000ffff            # 0x18: data
    .quad 0x00cf9b000000ffff            # 0x20: 32-bit code
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
idt_pointer:
    .word 32 * 16 - 1
    .quad idt
    .globl idt
    .lcomm idt, 32 * 16
    .lcomm recovery, 8
    .lcomm recovery_stack, 8
    .bss
    .align 16
    .skip 16384
first_stack:
    .skip 4096
second_stack:
    .section .note.GNU-stack, "", @progbits

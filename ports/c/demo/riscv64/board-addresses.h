// QEMU's virt machine for riscv64. The addresses have been the same since it exists; a device tree would tell them as well.

#define BOARD_UART 0x10000000 // NS16550A
#define BOARD_FINISHER 0x100000
#define BOARD_TICKS_PER_SECOND 10000000
#define BOARD_VIRTIO 0x10001000
#define BOARD_VIRTIO_STRIDE 0x1000
#define BOARD_VIRTIO_SIZE 0x200
#define BOARD_VIRTIO_SLOTS 8
#define BOARD_VIRTIO_SOURCE 1 // the first slot's
#define BOARD_PLIC 0x0c000000

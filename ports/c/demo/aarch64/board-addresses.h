// QEMU's virt machine for aarch64. The addresses have been the same since it exists; a device tree would tell them as well.

#define BOARD_UART 0x09000000 // PL011
#define BOARD_VIRTIO 0x0a000000
#define BOARD_VIRTIO_STRIDE 0x200
#define BOARD_VIRTIO_SIZE 0x200
#define BOARD_VIRTIO_SLOTS 32
#define BOARD_VIRTIO_INTERRUPT 48 // the first slot's
#define BOARD_TIMER_INTERRUPT 27
#define BOARD_GIC_DISTRIBUTOR 0x08000000 // GICv2
#define BOARD_GIC_PROCESSOR 0x08010000
